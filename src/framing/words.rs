//! The words that choose a framing: its name, and what configures it.
//!
//! They are those of websocksy and mean the same, with `text`, `hold` and `trim` besides; where its parser takes nonsense for
//! something, this one says what is wrong. What is wrong is repeated byte for byte: it may hold a secret, which who logs it finds
//! only as it was written, and escapes then.

use super::Framing;
use crate::limits::FRAMING_SEPARATOR_BYTES_MAX;

const NAMES: &str = "binary, auto, text, newline, separator, fixedlength, dynamic32 and json";

pub(super) fn parse(name: &str, config: Option<&str>) -> Result<Framing, String> {
    let said = config.unwrap_or_default();
    let why = |remedy: &str| match config {
        Some(config) => format!("framing \"{name}\" cannot be configured as \"{config}\"; {remedy}"),
        None => format!("framing \"{name}\" needs a \"framing_config\"; {remedy}"),
    };
    let nothing = "leave it out";
    match name {
        "binary" if said.is_empty() => Ok(Framing::Binary),
        "text" if said.is_empty() => Ok(Framing::Text),
        "binary" | "text" => Err(why(nothing)),
        "auto" => match said {
            "" => Ok(Framing::Auto { holds: false }),
            "hold" => Ok(Framing::Auto { holds: true }),
            _ => Err(why("write \"hold\", or leave it out")),
        },
        "json" => match said {
            "" => Ok(Framing::Json { trims: false }),
            "trim" => Ok(Framing::Json { trims: true }),
            _ => Err(why("write \"trim\", or leave it out")),
        },
        "newline" => {
            let mark: &[u8] = match said {
                "" | "crlf" => b"\r\n",
                "lfcr" => b"\n\r",
                "lf" => b"\n",
                "cr" => b"\r",
                _ => return Err(why("write crlf, lfcr, lf or cr")),
            };
            Ok(Framing::Marked { mark: mark.into(), text: true })
        }
        "separator" => {
            let remedy =
                "write the bytes that end a message, up to 256, with \\r, \\t, \\n, \\f, \\0, \\\\ and \\xHH";
            let mark = config.and_then(bytes).ok_or_else(|| why(remedy))?;
            Ok(match mark.is_empty() {
                true => Framing::Binary,
                false => Framing::Marked { mark, text: false },
            })
        }
        "fixedlength" => {
            let length = config.and_then(number).ok_or_else(|| why("write a number of bytes"))?;
            Ok(if length == 0 { Framing::Binary } else { Framing::Fixed(length) })
        }
        "dynamic32" => prefixed(said).ok_or_else(|| {
            why("write any of offset=BYTES, static=BYTES and endian=little or big, with commas between them")
        }),
        _ => Err(format!("framing \"{name}\" is not known; there are {NAMES}")),
    }
}

/// Bytes written with escapes; `None` where there is no such escape, or too many bytes.
fn bytes(text: &str) -> Option<Box<[u8]>> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next()? {
                b'r' => b'\r',
                b't' => b'\t',
                b'n' => b'\n',
                b'f' => 0x0C,
                b'0' => 0,
                b'\\' => b'\\',
                b'x' => {
                    let mut digit = || char::from(rest.next()?).to_digit(16);
                    (digit()? * 16 + digit()?) as u8
                }
                _ => return None,
            },
            plain => plain,
        });
    }
    (bytes.len() <= FRAMING_SEPARATOR_BYTES_MAX).then(|| bytes.into())
}

/// A number in the writing of C: decimal, hexadecimal behind `0x`, octal behind `0`.
fn number(text: &str) -> Option<u32> {
    let (digits, base) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    // What the library takes besides digits is a sign.
    u32::from_str_radix(digits, base).ok().filter(|_| !digits.starts_with('+'))
}

/// The options of `dynamic32`; of one that is written twice the last counts.
fn prefixed(text: &str) -> Option<Framing> {
    let (mut offset, mut extra, mut big) = (0, 0, false);
    for option in text.split(',').filter(|_| !text.trim().is_empty()) {
        let (name, value) = option.trim().split_once('=')?;
        match (name, value) {
            ("offset", value) => offset = number(value)?,
            ("static", value) => {
                extra = match value.strip_prefix('-') {
                    Some(value) => -i64::from(number(value)?),
                    None => i64::from(number(value.strip_prefix('+').unwrap_or(value))?),
                }
            }
            ("endian", "little") => big = false,
            ("endian", "big") => big = true,
            _ => return None,
        }
    }
    Some(Framing::Prefixed { offset, extra, big })
}
