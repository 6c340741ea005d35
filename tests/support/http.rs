//! An HTTP/1.1 client for one connection: bytes out as given, responses in, read strictly.

use super::wire::{Fault, Inbox, PATIENCE, Wire, soon};
use std::fmt;
use std::time::{Duration, Instant};

/// One response.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Reason phrase.
    pub reason: String,
    /// Headers as sent, in order.
    pub headers: Vec<(String, String)>,
    /// Body, as long as `Content-Length` said.
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a header; a header that came twice makes the test fail.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "header {name} twice in {self:?}");
        value
    }

    /// Whether the server said that it closes.
    pub fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {:?}, {:?}, body of {}",
            self.status,
            self.reason,
            self.headers,
            super::brief(&self.body)
        )
    }
}

/// A connection that speaks HTTP.
#[derive(Debug)]
pub struct HttpClient {
    /// Bytes from the server.
    pub inbox: Inbox,
}

impl HttpClient {
    /// Speaks HTTP on a connection.
    pub fn new(wire: Wire) -> HttpClient {
        HttpClient { inbox: Inbox::new(wire) }
    }

    /// Writes bytes. A server that refuses early may break the write; its answer is what counts.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut HttpClient {
        let _ = self.inbox.wire.write_chopped(bytes.as_ref(), 0);
        self
    }

    /// The next response.
    #[track_caller]
    pub fn response(&mut self) -> Response {
        let read = read_response(&mut self.inbox, false, soon());
        read.unwrap_or_else(|fault| panic!("expected a response, got {fault}"))
    }

    /// The next response, which answers a HEAD and so has no body.
    #[track_caller]
    pub fn response_to_head(&mut self) -> Response {
        let read = read_response(&mut self.inbox, true, soon());
        read.unwrap_or_else(|fault| panic!("expected a response to HEAD, got {fault}"))
    }

    /// Asks for a path and reads the answer; `more` is further header lines, each with its line end.
    #[track_caller]
    pub fn get(&mut self, path: &str, more: &str) -> Response {
        self.send(request("GET", path, more)).response()
    }

    /// The same with HEAD.
    #[track_caller]
    pub fn head(&mut self, path: &str, more: &str) -> Response {
        self.send(request("HEAD", path, more)).response_to_head()
    }

    /// The orderly end of the stream.
    #[track_caller]
    pub fn expect_eof(&mut self) {
        self.expect_eof_within(PATIENCE);
    }

    /// The orderly end of the stream, in time.
    #[track_caller]
    pub fn expect_eof_within(&mut self, time: Duration) {
        let ended = self.inbox.end(Instant::now() + time);
        ended.unwrap_or_else(|fault| panic!("expected the end of the stream within {time:?}, got {fault}"));
    }
}

/// A request without a body.
pub fn request(method: &str, path: &str, more: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: gateway.test\r\n{more}\r\n")
}

/// Reads one response; `bodiless`: to a HEAD or an upgrade, whose length, if any, is not of bytes that follow.
pub fn read_response(inbox: &mut Inbox, bodiless: bool, until: Instant) -> Result<Response, Fault> {
    let head = inbox.take_through(b"\r\n\r\n", until)?;
    let nonsense = |what: &str| Fault::Nonsense(format!("{what}: {}", head.escape_ascii()));
    let text = std::str::from_utf8(&head).map_err(|_| nonsense("a head that is not UTF-8"))?;
    let mut lines = text.trim_end_matches("\r\n").split("\r\n");
    let start = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 "));
    let start = start.ok_or_else(|| nonsense("no status line"))?;
    let (status, reason) = start.split_once(' ').unwrap_or((start, ""));
    let status = status.parse().map_err(|_| nonsense("no status"))?;
    let mut response = Response { status, reason: reason.to_owned(), headers: Vec::new(), body: Vec::new() };
    for line in lines {
        let (name, value) =
            line.split_once(": ").or(line.split_once(':')).ok_or_else(|| nonsense("a bad header"))?;
        response.headers.push((name.to_owned(), value.to_owned()));
    }
    if bodiless || status == 304 || status == 204 || status < 200 {
        return Ok(response);
    }
    let length = response.header("content-length").ok_or_else(|| nonsense("a response without a length"))?;
    let length: usize = length.parse().map_err(|_| nonsense("a bad length"))?;
    response.body = inbox.take(length, until)?;
    Ok(response)
}
