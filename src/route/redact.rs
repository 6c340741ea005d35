//! Secrets in texts: one is found however it is written, and something else stands in its place.
//!
//! Found is a secret as it is, in small or large letters (hosts have no case), percent-encoded in whole or in part, and
//! with `+` for blanks. One that is shorter than [`SECRET_BYTES_MIN`] is a part of everything, and counts only as a word of
//! its own. Pure.

use crate::limits::SECRET_BYTES_MIN;
use memchr::memmem;
use std::borrow::Cow;
use std::ops::Range;

/// A text in which secrets are looked for.
#[derive(Debug)]
pub struct Hay<'a> {
    text: &'a str,
    /// As it stands.
    plain: Vec<u8>,
    /// Without escapes, and where each byte of that, and its end, is in the text.
    bare: Option<(Vec<u8>, Vec<usize>)>,
}

impl<'a> Hay<'a> {
    /// For what is to be found in `text`.
    pub fn new(text: &'a str) -> Hay<'a> {
        let plain = even(text);
        let bare = text.contains('%').then(|| unescaped(&plain));
        Hay { text, plain, bare }
    }

    /// Adds to `found` where `secret` is, in any spelling.
    pub fn find(&self, secret: &str, found: &mut Vec<Range<usize>>) {
        if secret.is_empty() {
            return;
        }
        let wanted = even(secret);
        let is_short = secret.len() < SECRET_BYTES_MIN;
        let ranges = memmem::find_iter(&self.plain, &wanted).map(|at| at..at + wanted.len());
        found.extend(ranges.filter(|range| !is_short || self.is_word(range)));
        if let Some((bare, places)) = &self.bare {
            let ranges = memmem::find_iter(bare, &wanted).map(|at| places[at]..places[at + wanted.len()]);
            found.extend(ranges.filter(|range| !is_short || self.is_word(range)));
        }
    }

    /// The text with `instead` wherever something was found; overlaps are one. `None`: nothing was.
    pub fn without(&self, mut found: Vec<Range<usize>>, instead: &str) -> Option<String> {
        found.sort_unstable_by_key(|range| (range.start, range.end));
        let (mut out, mut at) = (String::new(), 0);
        for Range { start, end } in &found {
            if *start >= at {
                out.push_str(self.text.get(at..*start).unwrap_or_default());
                out.push_str(instead);
            }
            at = at.max(*end);
        }
        out.push_str(self.text.get(at..).unwrap_or_default());
        (!found.is_empty()).then_some(out)
    }

    /// Whether neither letters nor digits stand beside it.
    fn is_word(&self, range: &Range<usize>) -> bool {
        let part_of_word =
            |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || !byte.is_ascii());
        let before = range.start.checked_sub(1).and_then(|at| self.plain.get(at));
        !part_of_word(before) && !part_of_word(self.plain.get(range.end))
    }
}

/// `text` with `instead` wherever `secret` is written in it; borrowed if it is nowhere.
pub fn redacted<'a>(text: &'a str, secret: &str, instead: &str) -> Cow<'a, str> {
    let hay = Hay::new(text);
    let mut found = Vec::new();
    hay.find(secret, &mut found);
    hay.without(found, instead).map_or(Cow::Borrowed(text), Cow::Owned)
}

/// Bytes as they are compared: neither case nor the two ways to write a blank make a difference.
fn even(text: &str) -> Vec<u8> {
    text.bytes().map(|byte| if byte == b'+' { b' ' } else { byte.to_ascii_lowercase() }).collect()
}

/// Bytes without percent escapes, and where each, and their end, was.
fn unescaped(bytes: &[u8]) -> (Vec<u8>, Vec<usize>) {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (mut bare, mut places, mut at) = (Vec::with_capacity(bytes.len()), Vec::new(), 0);
    while let Some(&byte) = bytes.get(at) {
        let escaped = match bytes.get(at + 1..at + 3) {
            Some([high, low]) if byte == b'%' => digit(high).zip(digit(low)),
            _ => None,
        };
        places.push(at);
        match escaped {
            Some((high, low)) => {
                let byte = high << 4 | low;
                bare.push(if byte == b'+' { b' ' } else { byte.to_ascii_lowercase() });
                at += 3;
            }
            None => {
                bare.push(byte);
                at += 1;
            }
        }
    }
    places.push(at);
    (bare, places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_every_spelling() {
        for (text, secret, expected) in [
            ("/run/desks/s3cret.sock", "s3cret", "/run/desks/*.sock"),
            ("s3cret.desks.test:1", "S3CRET", "*.desks.test:1"),
            ("/run/a%2Fs3cret%20x", "a/s3cret x", "/run/*"),
            ("/run/a%2fs3cret+x", "a/s3cret x", "/run/*"),
            ("/run/%61%2f%733CRET+x.", "a/s3cret x", "/run/*."),
            ("/run/%C3%A9t%c3%a9", "\u{e9}t\u{e9}", "/run/*"),
            ("/run/\u{e9}t\u{e9}", "\u{e9}t\u{e9}", "/run/*"),
            ("/run/a%20b", "a%20b", "/run/*"),
            ("/run/a+b", "a+b", "/run/*"),
            ("/run/a%2Bb", "a+b", "/run/*"),
            ("ababab", "abab", "*ab"),
            ("100%/s3cret%", "s3cret", "100%/*%"),
            ("10.0.2.17:5900", "17", "10.0.2.*:5900"),
            ("10.0.2.17:5917", "17", "10.0.2.*:5917"),
            ("/run/a/desks/a.sock", "a", "/run/*/desks/*.sock"),
            ("\u{e9}a", "a", "\u{e9}a"),
            ("/run/desks/other", "s3cret", "/run/desks/other"),
            ("x", "", "x"),
            ("", "s3cret", ""),
        ] {
            assert_eq!(redacted(text, secret, "*"), expected, "{secret} in {text}");
        }
    }
}
