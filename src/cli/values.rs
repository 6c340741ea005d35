//! Reads the values of options: durations, sizes, counts, modes, names. Pure.
//!
//! Numbers are plain decimal digits: no blanks, no fraction, no underscores, and no sign but in front of seconds, where
//! websockify takes one. What a value may be is said in the
//! refusal, so that nobody has to look it up.

use super::option::Refusal;
use crate::config::{Lapse, SyslogServer};
use crate::limits;
use crate::target::{self, Port, TargetError};
use std::ffi::OsStr;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Whether a duration may be zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zero {
    /// Zero means something.
    Allowed,
    /// Without this deadline a session could last for ever.
    Refused,
}

/// Units of durations, in milliseconds.
const UNITS: [(&str, u64); 6] =
    [("", 1000), ("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Reads `500ms`, `30`, `30s`, `2m`, `1h`, `1d`; a bare number is seconds.
///
/// # Errors
/// Anything else, zero unless allowed, and more than [`limits::DEADLINE_MS_MAX`].
pub fn duration(value: &OsStr, zero: Zero) -> Result<Duration, Refusal> {
    let least = if zero == Zero::Allowed { 0 } else { 1 };
    let said = value.to_str().unwrap_or_default();
    scaled(OsStr::new(unsigned(said)), UNITS.iter())
        .filter(|millis| (least..=limits::DEADLINE_MS_MAX).contains(millis))
        .map(Duration::from_millis)
        .ok_or_else(|| {
            let from = if zero == Zero::Allowed { "0" } else { "1ms" };
            let hint = format!("such as 30, 500ms, 2m, 1h; from {from} to 7d");
            Refusal::Invalid { kind: "duration", hint }
        })
}

/// Reads a time that may pass before something ends, as [`duration`] does, or negative, which has passed at once; zero is
/// none. There is no upper bound.
///
/// # Errors
/// Anything else.
pub fn lapse(value: &OsStr) -> Result<Option<Lapse>, Refusal> {
    let said = unsigned(value.to_str().unwrap_or_default());
    let (negative, amount) = match said.strip_prefix('-') {
        Some(amount) => (true, amount),
        None => (false, said),
    };
    let digits = amount.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = amount.split_at(digits);
    let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let (Some(factor), false) = (factor, number.is_empty()) else {
        return Err(Refusal::Invalid {
            kind: "duration",
            hint: "such as 30, 500ms, 2m, 1h; 0 for none".into(),
        });
    };
    // Whoever writes more digits than fit means for ever.
    let millis = number.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(factor);
    let time = Duration::from_millis(if negative { 0 } else { millis });
    Ok((millis > 0).then(|| Lapse { time, said: said.to_owned() }))
}

/// Without the plus sign that a number may have.
fn unsigned(said: &str) -> &str {
    said.strip_prefix('+').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit())).unwrap_or(said)
}

/// Reads `65536`, `64KiB`, `1MiB`, `2GiB`; a bare number is bytes.
///
/// # Errors
/// Anything else, and what is outside of `range`.
pub fn size(value: &OsStr, range: RangeInclusive<usize>) -> Result<usize, Refusal> {
    const UNITS: [(&str, u64); 4] = [("", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
    scaled(value, UNITS.iter())
        .and_then(|bytes| usize::try_from(bytes).ok())
        .filter(|bytes| range.contains(bytes))
        .ok_or_else(|| {
            let (least, most) = (*range.start(), *range.end());
            let bound = if most == usize::MAX {
                format!("at least {}", written_size(least))
            } else {
                format!("from {} to {}", written_size(least), written_size(most))
            };
            Refusal::Invalid { kind: "size", hint: format!("such as 65536, 64KiB, 1MiB, 1GiB; {bound}") }
        })
}

/// Reads a decimal number.
///
/// # Errors
/// Anything else, and what is outside of `range`.
pub fn count(value: &OsStr, range: RangeInclusive<usize>) -> Result<usize, Refusal> {
    scaled(value, [("", 1)].iter())
        .and_then(|number| usize::try_from(number).ok())
        .filter(|number| range.contains(number))
        .ok_or_else(|| Refusal::Invalid {
            kind: "integer",
            hint: format!("from {} to {}", range.start(), range.end()),
        })
}

/// Reads permission bits in octal: `600`, `0660`, `0o600`. Empty means the default, as in websockify. None for anything
/// else, and for bits that are none of `rwxrwxrwx`.
pub fn mode(value: &OsStr) -> Option<u32> {
    let text = value.to_str().unwrap_or("?");
    if text.is_empty() {
        return Some(limits::UNIX_LISTEN_MODE_DEFAULT);
    }
    let digits = text.strip_prefix("0o").unwrap_or(text);
    Some(digits)
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|digits| u32::from_str_radix(digits, 8).ok())
        .filter(|mode| *mode <= 0o777)
}

/// Reads the place of a syslog server: `host:port`, or the path of a local socket. Empty means that there is none.
///
/// # Errors
/// A port that is none, and a host that cannot be one.
pub fn syslog(value: &OsStr) -> Result<Option<SyslogServer>, Refusal> {
    const MESSAGE: &str = "Error parsing syslog port";
    let refuse = |message: String| Err(Refusal::Message(message));
    let Some((host, port)) = value.to_str().and_then(target::split) else {
        return Ok((!value.is_empty()).then(|| SyslogServer::Local(value.into())));
    };
    let port = match Port::parse(port) {
        Ok(Port::Number(number)) => number,
        Ok(Port::Service(_)) | Err(TargetError::Port | TargetError::Word) => {
            let said = quoted(OsStr::new(port));
            return refuse(format!(
                "{MESSAGE}: {said} is no number; write host:port, or the path of a socket, which has no colon"
            ));
        }
        Err(TargetError::PortRange(text)) => return refuse(format!("{MESSAGE}: {text} is above 65535")),
    };
    if !target::plausible_host(host) {
        return refuse(format!(
            "Error parsing syslog address: {} cannot be one; write a name or an address",
            quoted(OsStr::new(host))
        ));
    }
    Ok(Some(SyslogServer::Udp { host: host.to_owned(), port }))
}

/// Reads the name of an index file: one component of a path, not hidden.
///
/// # Errors
/// Anything else.
pub fn file_name(value: &OsStr) -> Result<String, Refusal> {
    value
        .to_str()
        .filter(|name| !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0']))
        .map(str::to_owned)
        .ok_or_else(|| Refusal::Invalid {
            kind: "file name",
            hint: "such as vnc.html; no directory, not hidden".into(),
        })
}

/// Reads the name of a sub-protocol: a token (RFC 6455 section 4.1, RFC 9110 section 5.6.2).
///
/// # Errors
/// Anything else, and more than [`limits::SUBPROTOCOL_BYTES_MAX`] bytes.
pub fn token(value: &OsStr) -> Result<String, Refusal> {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    value
        .to_str()
        .filter(|name| {
            (1..=limits::SUBPROTOCOL_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_tchar)
        })
        .map(str::to_owned)
        .ok_or_else(|| Refusal::Invalid {
            kind: "name",
            hint: "such as chat or v1.stomp; no blanks, no commas".into(),
        })
}

/// Reads the value of a header: printable ASCII without blanks at its ends, or nothing.
///
/// # Errors
/// Anything else, and more than [`limits::SERVER_NAME_BYTES_MAX`] bytes.
pub fn header(value: &OsStr) -> Result<String, Refusal> {
    let printable = |text: &&str| text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    value
        .to_str()
        .filter(|text| text.len() <= limits::SERVER_NAME_BYTES_MAX && text.trim() == *text)
        .filter(printable)
        .map(str::to_owned)
        .ok_or_else(|| Refusal::Invalid {
            kind: "header",
            hint: format!(
                "such as nginx; printable ASCII, at most {} bytes, or nothing",
                limits::SERVER_NAME_BYTES_MAX
            ),
        })
}

/// Reads text.
///
/// # Errors
/// Bytes that are none.
pub fn text(value: &OsStr) -> Result<String, Refusal> {
    let invalid = || Refusal::Invalid { kind: "text", hint: "it is not UTF-8; write it in UTF-8".into() };
    value.to_str().map(str::to_owned).ok_or_else(invalid)
}

/// A word as an error message shows it: in quotes, on one line, whatever it contains.
pub fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let quote = if word.contains('\'') && !word.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for c in word.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            c if c == quote => out.extend(['\\', c]),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

/// A size as it would be written: the largest unit that divides it.
fn written_size(bytes: usize) -> String {
    [("GiB", 30), ("MiB", 20), ("KiB", 10)]
        .iter()
        .find(|(_, bits)| bytes > 0 && bytes.trailing_zeros() >= *bits)
        .map_or_else(|| bytes.to_string(), |(unit, bits)| format!("{}{unit}", bytes >> bits))
}

/// Digits and a unit, multiplied; `None` if it is anything else or too large.
fn scaled<'a>(value: &OsStr, mut units: impl Iterator<Item = &'a (&'a str, u64)>) -> Option<u64> {
    let text = value.to_str()?;
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}
