//! What a client gets that came without TLS where TLS is wanted: a redirect for a page, a refusal for anything else. Pure.
//!
//! Owns the check of the host and the encoding of the path that go into the redirect. It never decides whether TLS is
//! wanted.

use super::{After, Head, Refusal, Response};
use crate::limits::HOST_BYTES_MAX;

/// What becomes of a client that came without TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plain {
    /// It is served as any other.
    #[default]
    Served,
    /// Pages are redirected to https, everything else is refused.
    Redirected,
    /// Everything is refused.
    Refused,
    /// It is closed without an answer.
    Closed,
}

/// Where the page of a plain GET or HEAD is with TLS; `None` when that cannot be said, or it is no request for a page.
pub fn place(head: &Head<'_>) -> Option<String> {
    if !matches!(head.method(), "GET" | "HEAD") {
        return None;
    }
    let host = head.first("Host").filter(|host| is_host(host))?;
    let mut place = String::from("https://");
    place.extend(host.iter().map(|&byte| char::from(byte)));
    encode(head.path(), &mut place);
    if let Some(query) = head.query() {
        place.push('?');
        encode(query, &mut place);
    }
    Some(place)
}

/// A host as a browser sends it, with its port: nothing in it can be taken for a path, a user or another line.
fn is_host(host: &[u8]) -> bool {
    let most = HOST_BYTES_MAX + "[]:65535".len();
    (1..=most).contains(&host.len())
        && host.iter().all(|&byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte))
}

/// Appends path or query, which keep their own escapes; what some reader might take for markup is escaped too.
fn encode(text: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

/// Appends the redirect to `place`. `server` and `date` as in [`Response::write`].
pub fn write_redirect(place: String, server: &str, date: &[u8; 29], out: &mut Vec<u8>) {
    let response = Response::new(301, "Moved Permanently").header("Location", place).length(0);
    response.write(After::Close, server, date, out);
}

/// What a plain client is told that is not redirected.
pub const REFUSAL: Refusal = Refusal::fixed(403, "TLS is required here; use wss:// or https://");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_the_same_with_tls() {
        let rows = [
            ("GET /a?b=c HTTP/1.1\r\nHost: h:6080\r\n\r\n", Some("https://h:6080/a?b=c")),
            (
                "HEAD /%2e/<x>?\"q HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
                Some("https://[::1]:80/%2e/%3Cx%3E?%22q"),
            ),
            ("GET //evil.example/ HTTP/1.1\r\nHost: h\r\n\r\n", Some("https://h//evil.example/")),
            ("GET / HTTP/1.0\r\n\r\n", None),
            ("GET / HTTP/1.1\r\nHost: \r\n\r\n", None),
            ("GET / HTTP/1.1\r\nHost: user@evil.example\r\n\r\n", None),
            ("GET / HTTP/1.1\r\nHost: evil.example/\r\n\r\n", None),
            ("POST / HTTP/1.1\r\nHost: h\r\n\r\n", None),
        ];
        for (request, expected) in rows {
            let place = Head::parse(request.as_bytes()).ok().and_then(|head| place(&head));
            assert_eq!(place.as_deref(), expected, "{request:?}");
        }
    }
}
