//! The words of a wrapped command: places that are filled in, and how it is shown. Pure.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Puts `value` in the place of every `name` in every word.
pub fn filled(words: &[OsString], name: &str, value: &OsStr) -> Vec<OsString> {
    let fill = |word: &OsString| {
        let (mut out, mut rest) = (Vec::new(), word.as_bytes());
        while let Some(at) = memchr::memmem::find(rest, name.as_bytes()) {
            out.extend_from_slice(&rest[..at]);
            out.extend_from_slice(value.as_bytes());
            rest = &rest[at + name.len()..];
        }
        out.extend_from_slice(rest);
        OsString::from_vec(out)
    };
    words.iter().map(fill).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_of_every_word_is_filled_in() {
        let words = |list: &[&str]| list.iter().map(OsString::from).collect::<Vec<_>>();
        for (given, expected) in [
            (&["a", "b"][..], &["a", "b"][..]),
            (&["-p", "{port}"], &["-p", "70"]),
            (&["{port}:{port}", "x{port}y", "{port"], &["70:70", "x70y", "{port"]),
            (&["{{port}}"], &["{70}"]),
        ] {
            assert_eq!(filled(&words(given), "{port}", OsStr::new("70")), words(expected));
        }
        let odd = OsString::from_vec(b"\xff{port}\xfe".to_vec());
        assert_eq!(filled(&[odd], "{port}", OsStr::new("7"))[0].as_bytes(), b"\xff7\xfe");
    }
}
