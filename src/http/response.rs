//! An answer: status, headers and length, written once the date is known.
//!
//! Owns the order of what every answer carries (Server, Date, Connection, then its own headers, then Content-Length) and
//! the last check that no header value can end its line. It never carries a body: what follows is the caller's.

use super::{Head, is_token};
use crate::limits::RETRY_AFTER_S_MAX;
use std::borrow::Cow;

/// What happens to the connection when the answer has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It stays, as is usual in HTTP/1.1.
    Keep,
    /// It stays because an HTTP/1.0 client asked for it, and the answer says so.
    KeepSaid,
    /// It closes, and the answer says so.
    Close,
}

impl After {
    /// What `head` asks for (RFC 9112 section 9.3). A body is never read, and who waits for `100 Continue` would send
    /// one, so both close: what follows on the connection would not be a request.
    pub fn of(head: &Head<'_>) -> After {
        let named = |option: &[u8]| head.list("Connection").any(|word| word.eq_ignore_ascii_case(option));
        if head.has_body() || head.first("Expect").is_some() || named(b"close") {
            After::Close
        } else if head.minor() >= 1 {
            After::Keep
        } else if named(b"keep-alive") {
            After::KeepSaid
        } else {
            After::Close
        }
    }
}

/// An answer without its body and date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    status: u16,
    reason: Cow<'static, str>,
    headers: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    length: Option<u64>,
}

impl Response {
    /// An answer without headers. A `reason` that could end the line is left out.
    pub fn new(status: u16, reason: impl Into<Cow<'static, str>>) -> Response {
        let reason = reason.into();
        let reason = if is_value(&reason) { reason } else { Cow::Borrowed("") };
        Response { status, reason, headers: Vec::new(), length: None }
    }

    /// Adds a header. A name that is no token, or a value with a control character, is not added at all: it could
    /// otherwise start a header, or an answer, of somebody else's making.
    pub fn header(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Response {
        let (name, value) = (name.into(), value.into());
        if is_token(name.as_bytes()) && is_value(&value) {
            self.headers.push((name, value));
        }
        self
    }

    /// Tells the client of a 503 after how many seconds to come again (RFC 9110 section 10.2.3), unless that is told already.
    /// `client` is a number that is another one for the next client, so that all who were refused at once do not come back
    /// at once.
    pub fn come_again(self, client: u64) -> Response {
        if self.status != 503 || self.value("Retry-After").is_some() {
            return self;
        }
        self.header("Retry-After", (1 + client % RETRY_AFTER_S_MAX).to_string())
    }

    /// Announces a body of `bytes`.
    pub fn length(mut self, bytes: u64) -> Response {
        self.length = Some(bytes);
        self
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The announced length of the body in bytes.
    pub fn announced(&self) -> Option<u64> {
        self.length
    }

    /// The value of a header of this answer.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    /// What really happens to the connection when the request asked for `after`: every error closes.
    pub fn after(&self, after: After) -> After {
        if self.status >= 400 { After::Close } else { after }
    }

    /// Appends status line and headers to `out`. `server` names us and is left out when empty; `date` is of the form
    /// [`super::date::imf`] makes.
    pub fn write(&self, after: After, server: &str, date: &[u8; 29], out: &mut Vec<u8>) {
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(self.status.to_string().as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.reason.as_bytes());
        out.extend_from_slice(b"\r\n");
        write_origin(server, date, out);
        let upgrade = self.value("Upgrade").is_some();
        match self.after(after) {
            After::Keep => {}
            After::KeepSaid => write_header("Connection", "keep-alive", out),
            After::Close if upgrade => write_header("Connection", "close, Upgrade", out),
            After::Close => write_header("Connection", "close", out),
        }
        for (name, value) in &self.headers {
            write_header(name, value, out);
        }
        if let Some(length) = self.length {
            write_header("Content-Length", &length.to_string(), out);
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Server and Date, with which every answer begins.
pub(super) fn write_origin(server: &str, date: &[u8; 29], out: &mut Vec<u8>) {
    if !server.is_empty() && is_value(server) {
        write_header("Server", server, out);
    }
    out.extend_from_slice(b"Date: ");
    out.extend_from_slice(date);
    out.extend_from_slice(b"\r\n");
}

/// One header line. The caller has checked the value.
pub(super) fn write_header(name: &str, value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Whether `value` may stand in a header: no control character, so nothing that ends a line.
pub(super) fn is_value(value: &str) -> bool {
    value.bytes().all(super::scan::is_in_value)
}
