//! UTF-8 checked as it arrives, in runs of any length (RFC 3629 section 4, for RFC 6455 section 8.1).
//!
//! The bulk of a run goes through the standard library's checker; only a character that is cut by the end of a run
//! takes single steps. Between runs three bytes are kept, never text: how many bytes of the open character are due,
//! and the range the next of them must lie in. That range is where overlong forms, surrogates and numbers above
//! U+10FFFF are caught, at the first byte that makes them certain.

/// Where a check stands between two runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utf8 {
    due: u8,
    low: u8,
    high: u8,
}

impl Utf8 {
    /// The check at the start of a text, or after a whole character.
    pub const START: Utf8 = Utf8 { due: 0, low: 0x80, high: 0xBF };

    /// Takes the next run. `Err(at)` is the offset in `run` of the first byte that no UTF-8 text could have there, and
    /// the check must not be used again; everything before it could still have become text.
    #[inline]
    pub fn feed(&mut self, run: &[u8]) -> Result<(), usize> {
        let opened = self.walk(run, 0, |check| check.due > 0)?;
        match std::str::from_utf8(&run[opened..]) {
            Ok(_) => Ok(()),
            // What the library did not accept is one character, cut short or wrong; walking through it tells which.
            Err(error) => self.walk(run, opened + error.valid_up_to(), |_| true).map(|_| ()),
        }
    }

    /// Whether the text may end here: no character is open.
    #[inline]
    pub fn is_complete(&self) -> bool {
        self.due == 0
    }

    /// Steps through `run` from `at` on while `more` says so; tells where it stopped.
    fn walk(&mut self, run: &[u8], mut at: usize, more: impl Fn(&Utf8) -> bool) -> Result<usize, usize> {
        while at < run.len() && more(self) {
            *self = self.step(run[at]).ok_or(at)?;
            at += 1;
        }
        Ok(at)
    }

    /// The state after one more byte; `None` if that byte cannot stand here. Table 3-7 of the Unicode standard.
    fn step(self, byte: u8) -> Option<Utf8> {
        if self.due > 0 {
            let after = Utf8 { due: self.due - 1, ..Utf8::START };
            return (self.low..=self.high).contains(&byte).then_some(after);
        }
        let (due, low, high) = match byte {
            0x00..=0x7F => (0, 0x80, 0xBF),
            0xC2..=0xDF => (1, 0x80, 0xBF),
            0xE0 => (2, 0xA0, 0xBF),
            0xED => (2, 0x80, 0x9F),
            0xE1..=0xEF => (2, 0x80, 0xBF),
            0xF0 => (3, 0x90, 0xBF),
            0xF1..=0xF3 => (3, 0x80, 0xBF),
            0xF4 => (3, 0x80, 0x8F),
            0x80..=0xC1 | 0xF5..=0xFF => return None,
        };
        Some(Utf8 { due, low, high })
    }
}

#[cfg(test)]
mod tests {
    use super::Utf8;

    /// What becomes of a text: legal, cut inside a character, or impossible from the byte at this offset on.
    #[derive(Debug, PartialEq)]
    enum Fate {
        Good,
        Cut,
        Bad(usize),
    }
    use Fate::{Bad, Cut, Good};

    const TABLE: &[(&str, &[u8], Fate)] = &[
        ("nothing", b"", Good),
        ("ascii", b"plain ascii, long enough for the word-wise path of the library", Good),
        ("NUL", b"\0", Good),
        ("U+007F", b"\x7F", Good),
        ("two bytes, first", b"\xC2\x80", Good),
        ("two bytes, last", b"\xDF\xBF", Good),
        ("three bytes, first", b"\xE0\xA0\x80", Good),
        ("U+D7FF, before the surrogates", b"\xED\x9F\xBF", Good),
        ("U+E000, after the surrogates", b"\xEE\x80\x80", Good),
        ("U+FFFD", b"\xEF\xBF\xBD", Good),
        ("U+FFFF, a non-character, is legal", b"\xEF\xBF\xBF", Good),
        ("four bytes, first", b"\xF0\x90\x80\x80", Good),
        ("U+3FFFF", b"\xF0\xBF\xBF\xBF", Good),
        ("U+40000", b"\xF1\x80\x80\x80", Good),
        ("U+FFFFF", b"\xF3\xBF\xBF\xBF", Good),
        ("U+10FFFF, the last", b"\xF4\x8F\xBF\xBF", Good),
        ("kosme", "κόσμε".as_bytes(), Good),
        ("mixed", "a¢€𐍈z¢€𐍈 and some ascii behind it".as_bytes(), Good),
        ("byte order mark", b"\xEF\xBB\xBFx", Good),
        ("two of two missing", b"\xC2", Cut),
        ("two of three missing", b"abc\xE2", Cut),
        ("one of three missing", b"abc\xE2\x82", Cut),
        ("three of four missing", b"\xF0", Cut),
        ("two of four missing", b"\xF0\x90", Cut),
        ("one of four missing", b"\xF0\x90\x8D", Cut),
        ("lone continuation", b"\x80", Bad(0)),
        ("lone last continuation", b"\xBF", Bad(0)),
        ("continuation after a character", b"\xC2\x80\x80", Bad(2)),
        ("overlong slash in two", b"\xC0\xAF", Bad(0)),
        ("overlong C1", b"\xC1\xBF", Bad(0)),
        ("overlong slash in three", b"\xE0\x80\xAF", Bad(1)),
        ("overlong U+07FF in three", b"\xE0\x9F\xBF", Bad(1)),
        ("overlong slash in four", b"\xF0\x80\x80\xAF", Bad(1)),
        ("overlong U+FFFF in four", b"\xF0\x8F\xBF\xBF", Bad(1)),
        ("overlong in five", b"\xF8\x80\x80\x80\xAF", Bad(0)),
        ("overlong in six", b"\xFC\x80\x80\x80\x80\xAF", Bad(0)),
        ("first surrogate", b"\xED\xA0\x80", Bad(1)),
        ("last high surrogate", b"\xED\xAF\xBF", Bad(1)),
        ("first low surrogate", b"\xED\xB0\x80", Bad(1)),
        ("last surrogate", b"\xED\xBF\xBF", Bad(1)),
        ("surrogate pair", b"\xED\xA0\x80\xED\xB0\x80", Bad(1)),
        ("U+110000", b"\xF4\x90\x80\x80", Bad(1)),
        ("U+13FFFF", b"\xF4\xBF\xBF\xBF", Bad(1)),
        ("F5", b"\xF5\x80\x80\x80", Bad(0)),
        ("F7", b"\xF7\xBF\xBF\xBF", Bad(0)),
        ("FE", b"\xFE", Bad(0)),
        ("FF", b"\xFF", Bad(0)),
        ("ascii inside two", b"\xC2A", Bad(1)),
        ("ascii inside three", b"\xE2\x82A", Bad(2)),
        ("ascii inside four", b"\xF0\x90\x8DA", Bad(3)),
        ("lead inside three", b"\xE2\xE2\x82\xAC", Bad(1)),
        ("lead inside four", b"\xF0\x90\xC2\x80", Bad(2)),
        ("bad far behind good", b"0123456789abcdef0123456789abcdef\xC3\xA9\xFF", Bad(34)),
        ("good turning bad", b"\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xED\xA0\x80edited", Bad(12)),
    ];

    /// Feeds `text` in the runs that `cuts` makes of it.
    fn fate(text: &[u8], cuts: &[usize]) -> Fate {
        let mut check = Utf8::START;
        let mut from = 0;
        for &to in cuts.iter().chain([&text.len()]) {
            if let Err(at) = check.feed(&text[from..to]) {
                return Bad(from + at);
            }
            from = to;
        }
        if check.is_complete() { Good } else { Cut }
    }

    #[test]
    fn every_row_whole_and_split_anywhere() {
        for (name, text, expected) in TABLE {
            assert_eq!(fate(text, &[]), *expected, "{name}, whole");
            for first in 0..=text.len() {
                for second in first..=text.len() {
                    assert_eq!(
                        fate(text, &[first, second]),
                        *expected,
                        "{name}, cut at {first} and {second}"
                    );
                }
            }
            let each: Vec<usize> = (1..text.len()).collect();
            assert_eq!(fate(text, &each), *expected, "{name}, byte by byte");
        }
    }

    #[test]
    fn every_character_passes_and_every_lead_pair_agrees_with_the_library() {
        let mut buffer = [0; 4];
        for character in '\0'..=char::MAX {
            let text = character.encode_utf8(&mut buffer).as_bytes();
            assert_eq!(fate(text, &[1]), Good, "U+{:X}", u32::from(character));
        }
        for pair in 0..=u16::MAX {
            let text = pair.to_be_bytes();
            let expected = match std::str::from_utf8(&text) {
                Ok(_) => Good,
                Err(error) if error.error_len().is_none() => Cut,
                Err(_) => continue,
            };
            assert_eq!(fate(&text, &[1]), expected, "{pair:04x}");
        }
    }
}
