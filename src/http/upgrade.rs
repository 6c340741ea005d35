//! The opening handshake of a WebSocket (RFC 6455 section 4.2).
//!
//! Owns the judgement whether a request is an upgrade and may become one, the choice of a sub-protocol, and the 101. No
//! extension is ever accepted. It never computes the accept key (that is `ws::handshake`) and never looks at the path.

use super::refusal::Header;
use super::response::{is_value, write_header, write_origin};
use super::{Head, Refusal, is_token};

/// The sub-protocol that is always accepted, and preferred: bytes in binary messages.
const BINARY: &str = "binary";

/// How upgrades are judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Sub-protocols besides `binary` that are accepted and echoed, in order of preference.
    pub subprotocols: Vec<String>,
    /// Accept what sloppy proxies send: no `Connection: upgrade`, HTTP/1.0, an odd key.
    pub lenient: bool,
}

/// What a request turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Ordinary HTTP: a file, or nothing that we serve.
    Plain,
    /// A WebSocket to open.
    Upgrade(Upgrade<'a>),
}

/// An upgrade that may be answered with a 101.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade<'a> {
    /// The client's key, as sent: 16 bytes in base64, or some ASCII text when judged leniently.
    pub key: &'a [u8],
    /// The protocol version: 7, 8 or 13. They do not differ in anything that we do.
    pub version: u8,
    /// The sub-protocol to answer with; always one that the client offered.
    pub subprotocol: Option<&'a str>,
}

/// Judges any request, upgrade or not. Called once for each head, before anything else looks at it.
///
/// # Errors
///
/// 400 for a request of HTTP/1.1 without Host, for an upgrade with a body, without its headers or with a key that is
/// none; 426 for a version that we do not speak. The reason phrases of missing headers are those of websockify.
pub fn judge<'h>(head: &Head<'h>, options: &'h Options) -> Result<Request<'h>, Refusal> {
    if head.minor() >= 1 && !options.lenient && head.first("Host").is_none() {
        return Err(Refusal::bad("Missing Host header"));
    }
    let asks = head.list("Upgrade").any(|protocol| protocol.eq_ignore_ascii_case(b"websocket"));
    if head.method() != "GET" || !asks {
        return Ok(Request::Plain);
    }
    if head.has_body() {
        return Err(Refusal::bad("Upgrade with a body"));
    }
    if !options.lenient {
        if head.minor() == 0 {
            return Err(Refusal::bad("Upgrade needs HTTP/1.1"));
        }
        if !head.list("Connection").any(|word| word.eq_ignore_ascii_case(b"upgrade")) {
            return Err(Refusal::bad("Missing Connection: Upgrade header"));
        }
    }
    let version = match head.first("Sec-WebSocket-Version") {
        None => return Err(Refusal::bad("Missing Sec-WebSocket-Version header")),
        Some(b"13") => 13,
        Some(b"8") => 8,
        Some(b"7") => 7,
        Some(other) => return Err(Refusal::websocket_version(other)),
    };
    let key = match head.first("Sec-WebSocket-Key") {
        None => return Err(Refusal::bad("Missing Sec-WebSocket-Key header")),
        Some(key) if is_key(key) || (options.lenient && key.is_ascii()) => key,
        Some(_) => return Err(Refusal::bad("Bad Sec-WebSocket-Key header")),
    };
    Ok(Request::Upgrade(Upgrade { key, version, subprotocol: choose(head, &options.subprotocols) }))
}

/// The sub-protocol to answer with: `binary` if offered, else the first configured one that was. Offers that are no
/// tokens are passed over. Offers that nobody knows get no answer rather than a refusal (RFC 6455 section 4.2.2):
/// browsers then close by themselves, and other clients, which must offer something, work.
fn choose<'o>(head: &Head<'_>, configured: &'o [String]) -> Option<&'o str> {
    let offered = |name: &str| head.list("Sec-WebSocket-Protocol").any(|offer| offer == name.as_bytes());
    let known = std::iter::once(BINARY).chain(configured.iter().map(String::as_str));
    known.filter(|name| is_token(name.as_bytes())).find(|name| offered(name))
}

/// Whether `key` is 16 bytes in base64: 22 letters of its alphabet and two of padding.
fn is_key(key: &[u8]) -> bool {
    let letter = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'+' || *byte == b'/';
    key.len() == 24 && key.ends_with(b"==") && key[..22].iter().all(letter)
}

/// Appends the 101 to `out`. `accept` is the digest of the client's key (RFC 6455 section 4.2.2), `protocol` what
/// [`judge`] chose, `headers` what others add: one that could end its line is left out; `server` and `date` as in
/// [`super::Response::write`].
pub fn write_switching(
    accept: &[u8; 28],
    protocol: Option<&str>,
    headers: &[Header],
    server: &str,
    date: &[u8; 29],
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
    write_origin(server, date, out);
    out.extend_from_slice(b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ");
    out.extend_from_slice(accept);
    out.extend_from_slice(b"\r\n");
    if let Some(protocol) = protocol.filter(|protocol| is_value(protocol)) {
        write_header("Sec-WebSocket-Protocol", protocol, out);
    }
    for (name, value) in headers.iter().filter(|(name, value)| is_token(name.as_bytes()) && is_value(value)) {
        write_header(name, value, out);
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
#[path = "upgrade_tests.rs"]
mod tests;
