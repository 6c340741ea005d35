//! From a request head to what shall be fetched.
//!
//! Owns the rules of methods, paths (decoded once, never twice), ranges and conditions. A [`Fetch`] owns its parts and so
//! crosses to a helper. Nothing here knows whether a file exists.

use crate::http::{Head, Refusal, date};

/// What shall be fetched, checked and owned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetch {
    /// Names from the root down, decoded; none is empty, begins with a dot, or has a slash or a control character.
    pub names: Vec<Vec<u8>>,
    /// The path ended in a slash: a directory is meant.
    pub directory: bool,
    /// The query as it was sent; only a redirect repeats it.
    pub query: Option<String>,
    /// HEAD: everything but the body.
    pub head_only: bool,
    /// The client takes gzip.
    pub gzip: bool,
    /// If-None-Match; when there, `since` does not count (RFC 9110 section 13.2.2).
    pub none_match: Option<Vec<Vec<u8>>>,
    /// If-Modified-Since, in seconds since 1970.
    pub since: Option<u64>,
    /// The one range asked for.
    pub range: Option<Range>,
    /// If-Range: the range counts only if this tag or date is still that of the file.
    pub if_range: Option<Vec<u8>>,
}

/// One range of bytes (RFC 9110 section 14.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// From this offset to this one, included, or to the end.
    From(u64, Option<u64>),
    /// The last so many bytes.
    Last(u64),
}

impl Range {
    /// Offset and length within `size` bytes; `None` when nothing of it lies there.
    pub fn within(self, size: u64) -> Option<(u64, u64)> {
        let (from, end) = match self {
            Range::From(from, Some(last)) => (from, size.min(last.saturating_add(1))),
            Range::From(from, None) => (from, size),
            Range::Last(bytes) => (size.saturating_sub(bytes), size),
        };
        (from < end).then(|| (from, end - from))
    }
}

/// Decides what `head` asks for, where files are served. Upgrades are judged before.
///
/// # Errors
///
/// 405 and 501 for methods, 400 for paths that no client writes in good faith, 404 for names that are never served.
pub fn plan(head: &Head<'_>) -> Result<Fetch, Refusal> {
    check_method(head.method(), Refusal::METHOD_NOT_ALLOWED)?;
    let (names, directory) = names(head.path())?;
    let head_only = head.method() == "HEAD";
    let none_match =
        head.first("If-None-Match").map(|_| head.list("If-None-Match").map(<[u8]>::to_vec).collect());
    Ok(Fetch {
        names,
        directory,
        query: head.query().map(str::to_owned),
        head_only,
        gzip: takes_gzip(head),
        none_match,
        since: head.first("If-Modified-Since").and_then(date::parse),
        // Only GET knows ranges (RFC 9110 section 14.2). A repeated header is like several ranges: the whole file.
        range: head.single("Range").ok().flatten().filter(|_| !head_only).and_then(range),
        if_range: head.first("If-Range").map(<[u8]>::to_vec),
    })
}

/// The refusal of a plain request where no files are served.
pub fn without_files(head: &Head<'_>) -> Refusal {
    check_method(head.method(), Refusal::UPGRADE_ONLY).err().unwrap_or(Refusal::UPGRADE_ONLY)
}

/// Passes GET and HEAD; other known methods are `known`, the rest nobody implements.
fn check_method(method: &str, known: Refusal) -> Result<(), Refusal> {
    match method {
        "GET" | "HEAD" => Ok(()),
        "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" | "CONNECT" => Err(known),
        _ => Err(Refusal::METHOD_UNKNOWN),
    }
}

/// The names of a path, and whether it ended in a slash.
fn names(path: &str) -> Result<(Vec<Vec<u8>>, bool), Refusal> {
    let bad = || Refusal::bad("Bad path");
    let decoded = decode(path).ok_or_else(bad)?;
    if decoded.iter().any(|byte| byte.is_ascii_control() || *byte == b'\\') {
        return Err(bad());
    }
    let mut names: Vec<Vec<u8>> =
        decoded.strip_prefix(b"/").ok_or_else(bad)?.split(|&byte| byte == b'/').map(<[u8]>::to_vec).collect();
    // Splitting gives at least one piece, and an empty last one for a path that ends in a slash.
    let directory = names.last().is_some_and(Vec::is_empty);
    if directory {
        names.pop();
    }
    // An empty name in front would be `//host`, from which a redirect could be made to lead away.
    if names.iter().any(Vec::is_empty) {
        return Err(bad());
    }
    // Dot files are hidden. `.` and `..` are too: a client resolves them itself before it asks.
    if names.iter().any(|name| name.starts_with(b".")) {
        return Err(Refusal::NOT_FOUND);
    }
    Ok((names, directory))
}

/// Percent-decodes once; `None` for a percent sign without two hexadecimal digits.
fn decode(path: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        let hex = |byte: u8| char::from(byte).to_digit(16);
        decoded.push(match byte {
            b'%' => (hex(bytes.next()?)? * 16 + hex(bytes.next()?)?) as u8,
            other => other,
        });
    }
    Some(decoded)
}

/// Appends `name` percent-encoded for use as one piece of a path or a relative link: only what can mean nothing else
/// stays as it is.
pub fn encode(name: &[u8], out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in name {
        if byte.is_ascii_alphanumeric() || b"-._~!$'()*+,;=@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

/// Whether gzip may be sent (RFC 9110 section 12.5.3): named, or covered by `*`, and not with a quality of zero.
fn takes_gzip(head: &Head<'_>) -> bool {
    let mut any = false;
    for element in head.list("Accept-Encoding") {
        let mut parts = element.split(|&byte| byte == b';').map(crate::http::trim);
        let coding = parts.next().unwrap_or_default();
        let refused = parts.any(is_zero_quality);
        if coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"x-gzip") {
            return !refused;
        }
        any |= coding == b"*" && !refused;
    }
    any
}

fn is_zero_quality(parameter: &[u8]) -> bool {
    match parameter.split_first_chunk::<2>() {
        Some((b"q=" | b"Q=", value)) => !value.is_empty() && value.iter().all(|byte| b"0.".contains(byte)),
        _ => false,
    }
}

/// One range in bytes. Several, other units and bad syntax count as none: the answer is then the whole file, which is
/// always right, and no request can ask for more work than that.
fn range(value: &[u8]) -> Option<Range> {
    let (unit, spec) = std::str::from_utf8(value).ok()?.split_once('=')?;
    let (first, last) = spec.trim_matches([' ', '\t']).split_once('-')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    match (first, last) {
        ("", last) => Some(Range::Last(number(last)?)),
        (first, "") => Some(Range::From(number(first)?, None)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Range::From(first, Some(last)))
        }
    }
}

/// Digits as a number; one beyond all files is as good as the largest.
fn number(digits: &str) -> Option<u64> {
    let digital = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    digital.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
