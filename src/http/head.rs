//! A request head, cut into its parts.
//!
//! [`Scan`] says when a head is whole and that its syntax is right; [`Head`] borrows those bytes and checks what needs the
//! whole: headers that may stand only once, the length of a body, the forms of a target. It never copies a value and
//! never decides what a request is for.

pub use super::scan::{Progress, Scan};
use super::{Refusal, trim};
use crate::limits::HEADERS_MAX;

/// Headers that make a request ambiguous when they stand twice.
const SINGLE: [&str; 6] =
    ["Host", "Content-Length", "Origin", "Authorization", "Sec-WebSocket-Key", "Sec-WebSocket-Version"];

/// One header, as places in the head: offsets fit because a head is shorter than 64 KiB.
#[derive(Clone, Copy, Default)]
struct Field {
    name_at: u16,
    name_len: u16,
    value_at: u16,
    value_len: u16,
}

/// A complete and unambiguous request head. Borrows the bytes it was cut from.
#[derive(Clone)]
pub struct Head<'a> {
    bytes: &'a [u8],
    method: &'a str,
    target: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    minor: u8,
    has_body: bool,
    fields: [Field; HEADERS_MAX],
    count: usize,
}

impl<'a> Head<'a> {
    /// Cuts `bytes`, which a [`Scan`] found to be one complete head. Other bytes give a refusal or a useless head, never
    /// a panic.
    ///
    /// # Errors
    ///
    /// What RFC 9112 calls a bad request: repeated single headers (section 3.2, 6.3), a host that is not one, lengths
    /// that contradict each other, a target in a form that only a forward proxy would take.
    pub fn parse(bytes: &'a [u8]) -> Result<Head<'a>, Refusal> {
        // The scan allows one empty line in front.
        let skip = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
        let line_end = skip + line_end(&bytes[skip..]).ok_or(Refusal::BAD_SYNTAX)?;
        let line = std::str::from_utf8(&bytes[skip..line_end]).map_err(|_| Refusal::BAD_SYNTAX)?;
        let mut words = line.split(' ');
        let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next()) else {
            return Err(Refusal::BAD_SYNTAX);
        };
        let minor =
            version.strip_prefix("HTTP/1.").and_then(|minor| minor.parse().ok()).ok_or(Refusal::VERSION)?;
        let fields = [Field::default(); HEADERS_MAX];
        let mut head =
            Head { bytes, method, target, path: "/", query: None, minor, has_body: false, fields, count: 0 };
        head.index(line_end + 2)?;
        for name in SINGLE {
            head.single(name)?;
        }
        head.has_body = head.body()?;
        let host = head.first("Host");
        if host.is_some_and(|host| !is_host(host)) {
            return Err(Refusal::bad("Bad Host header"));
        }
        (head.path, head.query) = place(method, target, host)?;
        Ok(head)
    }

    /// The method, such as `GET`; methods differ by case.
    pub fn method(&self) -> &'a str {
        self.method
    }

    /// The target as it was sent. For logs and messages; decide by [`Head::path`] and [`Head::query`].
    pub fn target(&self) -> &'a str {
        self.target
    }

    /// The path, still percent-encoded; begins with a slash.
    pub fn path(&self) -> &'a str {
        self.path
    }

    /// What follows the first `?`, still encoded.
    pub fn query(&self) -> Option<&'a str> {
        self.query
    }

    /// The digit behind `HTTP/1.`; above 1 counts as 1.
    pub fn minor(&self) -> u8 {
        self.minor
    }

    /// Whether bytes of a body follow. Nobody reads them: answer and close.
    pub fn has_body(&self) -> bool {
        self.has_body
    }

    /// All headers in order: name as sent, value trimmed.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + '_ {
        self.fields[..self.count].iter().map(|field| (self.name(field), self.value(field)))
    }

    /// The value of the first header of this name, in any case, trimmed.
    pub fn first(&self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// The value of a header that may stand only once.
    ///
    /// # Errors
    ///
    /// A 400 when it stands twice, even with the same value. [`Head::parse`] has already refused this for `Host`,
    /// `Content-Length`, `Origin`, `Authorization`, `Sec-WebSocket-Key` and `Sec-WebSocket-Version`.
    pub fn single(&self, name: &str) -> Result<Option<&'a [u8]>, Refusal> {
        let mut all = self.all(name);
        let value = all.next();
        if all.next().is_some() { Err(Refusal::bad("Repeated header")) } else { Ok(value) }
    }

    /// The elements of a comma-separated header, over all its lines, trimmed; empty ones are left out (RFC 9110 section
    /// 5.6.1). Commas in quoted strings separate too: no header that we read this way has them.
    pub fn list<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a [u8]> + 's {
        let elements = |value: &'a [u8]| value.split(|&byte| byte == b',').map(trim);
        self.all(name).flat_map(elements).filter(|element| !element.is_empty())
    }

    fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a [u8]> + 's {
        let wanted = name.as_bytes();
        let same = move |field: &&Field| {
            let at = usize::from(field.name_at);
            usize::from(field.name_len) == wanted.len()
                && self.bytes[at..at + wanted.len()].eq_ignore_ascii_case(wanted)
        };
        self.fields[..self.count].iter().filter(same).map(|field| self.value(field))
    }

    fn name(&self, field: &Field) -> &'a str {
        let at = usize::from(field.name_at);
        let name = &self.bytes[at..at + usize::from(field.name_len)];
        std::str::from_utf8(name).unwrap_or_default()
    }

    fn value(&self, field: &Field) -> &'a [u8] {
        let at = usize::from(field.value_at);
        &self.bytes[at..at + usize::from(field.value_len)]
    }

    /// Notes where the headers lie, the first of which begins at `at`.
    fn index(&mut self, mut at: usize) -> Result<(), Refusal> {
        let offset = |at: usize| u16::try_from(at).map_err(|_| Refusal::HEAD_TOO_LARGE);
        loop {
            let line = &self.bytes[at..];
            let line = &line[..line_end(line).ok_or(Refusal::BAD_SYNTAX)?];
            if line.is_empty() {
                return Ok(());
            }
            let colon = memchr::memchr(b':', line).ok_or(Refusal::BAD_SYNTAX)?;
            let value = trim(&line[colon + 1..]);
            // An empty value has no place of its own; any will do.
            let value_at = at
                + colon
                + 1
                + line[colon + 1..].iter().position(|byte| !b" \t".contains(byte)).unwrap_or(0);
            let field = self.fields.get_mut(self.count).ok_or(Refusal::TOO_MANY_HEADERS)?;
            *field = Field {
                name_at: offset(at)?,
                name_len: offset(colon)?,
                value_at: offset(value_at)?,
                value_len: offset(value.len())?,
            };
            self.count += 1;
            at += line.len() + 2;
        }
    }

    /// Whether a body follows (RFC 9112 section 6.3). Both ways of saying so in one request are an attack on whoever
    /// else read it, and so is a number that readers might take differently.
    fn body(&self) -> Result<bool, Refusal> {
        let length = self.first("Content-Length");
        let coded = self.first("Transfer-Encoding").is_some();
        if coded && (length.is_some() || self.minor == 0) {
            return Err(Refusal::bad("Ambiguous body length"));
        }
        let Some(digits) = length else { return Ok(coded) };
        let number =
            std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        match number.and_then(|number| number.parse::<u64>().ok()) {
            Some(bytes) => Ok(bytes > 0),
            None => Err(Refusal::bad("Bad Content-Length")),
        }
    }
}

impl std::fmt::Debug for Head<'_> {
    /// Without header values: they may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (method, path, headers) = (self.method, self.path, self.count);
        write!(f, "Head {{ {method} {path} HTTP/1.{}, {headers} headers }}", self.minor)
    }
}

/// Offset of the first CRLF. A CR stands nowhere else in what a scan let through.
fn line_end(bytes: &[u8]) -> Option<usize> {
    memchr::memchr(b'\r', bytes).filter(|at| bytes.get(at + 1) == Some(&b'\n'))
}

/// Path and query of a target (RFC 9112 section 3.2). Whatever asks us to be a forward proxy is refused: nothing in a
/// target ever makes us connect anywhere.
fn place<'a>(
    method: &str,
    target: &'a str,
    host: Option<&[u8]>,
) -> Result<(&'a str, Option<&'a str>), Refusal> {
    if method == "CONNECT" || (method == "OPTIONS" && target == "*") {
        return Err(Refusal::METHOD_NOT_ALLOWED);
    }
    let local = if target.starts_with('/') {
        target
    } else {
        absolute(target, host).ok_or(Refusal::bad("Bad request target"))?
    };
    Ok(match local.split_once('?') {
        // `http://host?query` has an empty path, which means the root.
        Some(("", query)) => ("/", Some(query)),
        Some((path, query)) => (path, Some(query)),
        None if local.is_empty() => ("/", None),
        None => (local, None),
    })
}

/// What follows the authority of an absolute target, if that authority is the host we were addressed as.
fn absolute<'a>(target: &'a str, host: Option<&[u8]>) -> Option<&'a str> {
    let (scheme, rest) = target.split_once("://")?;
    let port = match scheme.to_ascii_lowercase().as_str() {
        "http" | "ws" => ":80",
        "https" | "wss" => ":443",
        _ => return None,
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, local) = rest.split_at(end);
    let host = std::str::from_utf8(host?).ok()?;
    let plain = |name: &'a str| name.strip_suffix(port).unwrap_or(name);
    let same = plain(authority).eq_ignore_ascii_case(host.strip_suffix(port).unwrap_or(host));
    (same && !authority.is_empty()).then_some(local)
}

/// Whether `host` has only bytes that a host and port may have (RFC 3986 section 3.2.2). Empty is allowed.
fn is_host(host: &[u8]) -> bool {
    host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=:[]".contains(byte))
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
