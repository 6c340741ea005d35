//! Percent-encoding, in both directions (RFC 3986 section 2.1), and the `+` of forms. Pure.

use std::borrow::Cow;
use std::fmt::Write;

/// Decodes a part of a query as forms are written: `+` is a blank. What is no escape stays as it is; what is not UTF-8 is
/// replaced, as websockify does.
pub fn decode_form(text: &str) -> Cow<'_, str> {
    if text.contains('+') { Cow::Owned(decode(&text.replace('+', " ")).into_owned()) } else { decode(text) }
}

/// Decodes escapes and nothing else.
pub fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let escaped = match (first, behind) {
            (b'%', [high, low, ..]) => digit(*high).zip(digit(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                bytes.push(high << 4 | low);
                rest = &behind[2..];
            }
            None => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

/// Encodes everything that could mean something in a URL: all but letters, digits and `-._~`.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded_and_what_is_none_stays() {
        for (from, to) in [
            ("a%20b", "a b"),
            ("a+b", "a b"),
            ("%2B", "+"),
            ("%", "%"),
            ("%4", "%4"),
            ("%zz%41", "%zzA"),
            ("%c3%A9", "\u{e9}"),
            ("%ff", "\u{fffd}"),
            ("%2525", "%25"),
            ("", ""),
        ] {
            assert_eq!(decode_form(from), to, "{from}");
        }
        assert_eq!(decode("a+b"), "a+b");
    }

    #[test]
    fn whatever_is_encoded_means_only_itself() {
        assert_eq!(encode("a/b?c#d%e&f\u{e9} .."), "a%2Fb%3Fc%23d%25e%26f%C3%A9%20..");
        assert_eq!(decode(&encode("\u{0}\n/../%41\u{1f600}")), "\u{0}\n/../%41\u{1f600}");
    }
}
