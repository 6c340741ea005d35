//! A refusal: why a request is not served, as a value that knows its answer.
//!
//! Owns the status, the reason phrase and the headers that belong to each refusal, and the small page that names them.
//! Every refusal ends the connection: behind an error nothing of the stream can be trusted. It never holds text from
//! outside that was not made harmless first.

use super::response::{After, Response};
use std::borrow::Cow;

/// Why a request is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    status: u16,
    reason: Cow<'static, str>,
    headers: Cow<'static, [Header]>,
}

/// Name and value of a header.
pub type Header = (Cow<'static, str>, Cow<'static, str>);

const ALLOW_FILES: &[Header] = &[(Cow::Borrowed("Allow"), Cow::Borrowed("GET, HEAD"))];
const ALLOW_UPGRADE: &[Header] = &[(Cow::Borrowed("Allow"), Cow::Borrowed("GET"))];
/// A 426 names the protocol to go to, and a hop-by-hop header is named in Connection (RFC 9110 section 15.5.22).
const VERSIONS: &[Header] = &[
    (Cow::Borrowed("Sec-WebSocket-Version"), Cow::Borrowed("13, 8, 7")),
    (Cow::Borrowed("Upgrade"), Cow::Borrowed("websocket")),
];

impl Refusal {
    /// Not the grammar of a request head.
    pub const BAD_SYNTAX: Refusal = Refusal::fixed(400, "Bad request syntax");
    /// Another major version of HTTP.
    pub const VERSION: Refusal = Refusal::fixed(505, "HTTP Version Not Supported");
    /// The head has no end within its bound.
    pub const HEAD_TOO_LARGE: Refusal = Refusal::fixed(431, "Request Header Fields Too Large");
    /// More header lines than allowed.
    pub const TOO_MANY_HEADERS: Refusal = Refusal::fixed(431, "Too many headers");
    /// A request target beyond its bound.
    pub const TARGET_TOO_LONG: Refusal = Refusal::fixed(414, "Request-URI Too Long");
    /// A method that nobody registered or that we never serve.
    pub const METHOD_UNKNOWN: Refusal = Refusal::fixed(501, "Unsupported method");
    /// A known method where only files are served.
    pub const METHOD_NOT_ALLOWED: Refusal = Refusal {
        status: 405,
        reason: Cow::Borrowed("Method Not Allowed"),
        headers: Cow::Borrowed(ALLOW_FILES),
    };
    /// A plain request where no files are served: only an upgrade has an answer here.
    pub const UPGRADE_ONLY: Refusal = Refusal {
        status: 405,
        reason: Cow::Borrowed("Method Not Allowed"),
        headers: Cow::Borrowed(ALLOW_UPGRADE),
    };
    /// Nothing there, or nothing that may be seen.
    pub const NOT_FOUND: Refusal = Refusal::fixed(404, "File not found");
    /// A directory whose names nobody is told, in websockify's words.
    pub const NOT_LISTED: Refusal = Refusal::fixed(404, "Not Found");
    /// A range behind the end of a file.
    pub const RANGE: Refusal = Refusal::fixed(416, "Requested Range Not Satisfiable");
    /// The server failed, not the client.
    pub const INTERNAL: Refusal = Refusal::fixed(500, "Internal Server Error");
    /// A bound of the server is reached; later may be better.
    pub const BUSY: Refusal = Refusal::fixed(503, "Service Unavailable");
    /// A token is needed and there is none.
    pub const NO_TOKEN: Refusal = Refusal::fixed(403, "Token not present");
    /// It cannot be told which token is meant: what carries it is there twice, or is no text.
    pub const UNCLEAR_TOKEN: Refusal = Refusal::fixed(400, "Token not clear");
    /// A token that stands for nothing: unknown, expired or malformed, which are not told apart.
    pub const UNKNOWN_TOKEN: Refusal = Refusal::fixed(404, "Token not found");
    /// Nobody can say where the target is.
    pub const UNREACHED: Refusal = Refusal::fixed(502, "Bad Gateway");
    /// The host that is asked for is none of those that this server answers for.
    pub const MISDIRECTED: Refusal = Refusal::fixed(421, "Misdirected Request");
    /// Whoever had to be asked about the request did not answer in time.
    pub const NOT_DECIDED: Refusal = Refusal::fixed(504, "Gateway Timeout");

    /// A refusal with nothing to add.
    pub const fn fixed(status: u16, reason: &'static str) -> Refusal {
        Refusal { status, reason: Cow::Borrowed(reason), headers: Cow::Borrowed(&[]) }
    }

    /// A refusal with headers.
    pub const fn with(status: u16, reason: &'static str, headers: &'static [Header]) -> Refusal {
        Refusal { status, reason: Cow::Borrowed(reason), headers: Cow::Borrowed(headers) }
    }

    /// A refusal that somebody else decided. What could end a line of the answer is left out of it.
    pub fn told(status: u16, reason: String, headers: Vec<Header>) -> Refusal {
        Refusal { status, reason: Cow::Owned(reason), headers: Cow::Owned(headers) }
    }

    /// A 400 that says what is wrong.
    pub const fn bad(reason: &'static str) -> Refusal {
        Refusal::fixed(400, reason)
    }

    /// A 426 that names the WebSocket versions we speak (RFC 6455 section 4.2.2). `offered` is what the client sent; it
    /// is only repeated when it is short and harmless.
    pub fn websocket_version(offered: &[u8]) -> Refusal {
        let harmless = offered.len() <= 8 && offered.iter().all(u8::is_ascii_alphanumeric);
        let reason = match std::str::from_utf8(offered) {
            Ok(text) if harmless => Cow::Owned(format!("Unsupported protocol version {text}")),
            _ => Cow::Borrowed("Unsupported protocol version"),
        };
        Refusal { status: 426, reason, headers: Cow::Borrowed(VERSIONS) }
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The reason phrase: fixed text, or fixed text and something checked.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The headers that belong to it alone.
    pub fn headers(&self) -> &[Header] {
        &self.headers
    }

    /// The answer as a response and its page. The response announces the page's length; leave the page away for HEAD.
    pub fn answer(&self) -> (Response, Vec<u8>) {
        let page = page(self.status, &self.reason);
        let mut response = Response::new(self.status, self.reason.clone());
        for (name, value) in self.headers.iter() {
            response = response.header(name.clone(), value.clone());
        }
        let response = response
            .header("Content-Type", "text/html; charset=utf-8")
            .header("X-Content-Type-Options", "nosniff")
            .length(page.len() as u64);
        (response, page)
    }

    /// Appends the whole answer to `out`; without its page when the request was a HEAD. `client` as in
    /// [`Response::come_again`], `server` and `date` as in [`Response::write`].
    pub fn write(&self, head_only: bool, client: u64, server: &str, date: &[u8; 29], out: &mut Vec<u8>) {
        let (response, page) = self.answer();
        response.come_again(client).write(After::Close, server, date, out);
        if !head_only {
            out.extend_from_slice(&page);
        }
    }
}

fn page(status: u16, reason: &str) -> Vec<u8> {
    let reason = escape(reason);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{status} {reason}</title></head>\n\
         <body><h1>{status}</h1><p>{reason}</p></body>\n</html>\n"
    )
    .into_bytes()
}

/// `text` with the five characters that mean something in HTML replaced, fit for text and quoted attributes.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &[u8; 29] = b"Fri, 20 Nov 2026 13:46:36 GMT";

    fn written(refusal: &Refusal, head_only: bool) -> String {
        let mut out = Vec::new();
        refusal.write(head_only, 7, "websplice", DATE, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_error_page_is_complete_and_closes() {
        let text = written(&Refusal::NOT_FOUND, false);
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert_eq!(
            head,
            format!(
                "HTTP/1.1 404 File not found\r\nServer: websplice\r\nDate: Fri, 20 Nov 2026 13:46:36 GMT\r\n\
                 Connection: close\r\nContent-Type: text/html; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n\
                 Content-Length: {}",
                body.len()
            )
        );
        assert!(body.contains("<h1>404</h1><p>File not found</p>"));
    }

    #[test]
    fn head_gets_the_length_and_no_page() {
        let text = written(&Refusal::METHOD_NOT_ALLOWED, true);
        assert!(text.ends_with("\r\n\r\n"));
        assert!(text.contains("\r\nAllow: GET, HEAD\r\n"));
        assert!(text.contains("\r\nContent-Length: "));
    }

    #[test]
    fn a_503_says_when_to_come_again() {
        let told = |refusal: &Refusal, client| {
            let mut out = Vec::new();
            refusal.write(false, client, "", DATE, &mut out);
            let text = String::from_utf8(out).unwrap();
            let values = text.lines().filter_map(|line| line.strip_prefix("Retry-After: ")?.parse().ok());
            values.collect::<Vec<u64>>()
        };
        // Those who come one behind the other are not sent to the same second.
        let spread: Vec<_> = (255..261).map(|client| told(&Refusal::BUSY, client)).collect();
        assert_eq!(spread, [[1], [2], [3], [4], [5], [1]]);
        assert!(told(&Refusal::NOT_DECIDED, 3).is_empty());
        let own = vec![("retry-after".into(), "60".into())];
        assert!(told(&Refusal::told(503, "Full".into(), own), 3).is_empty(), "one word on it is enough");
    }

    #[test]
    fn a_version_is_repeated_only_when_harmless() {
        for (offered, reason) in [
            (&b"12"[..], "Unsupported protocol version 12"),
            (b"hybi0", "Unsupported protocol version hybi0"),
            (b"<b>", "Unsupported protocol version"),
            (b"1\x802", "Unsupported protocol version"),
            (b"1234567890", "Unsupported protocol version"),
        ] {
            let refusal = Refusal::websocket_version(offered);
            assert_eq!((refusal.status(), refusal.reason()), (426, reason));
        }
        let text = written(&Refusal::websocket_version(b"6"), false);
        assert!(text.contains("\r\nSec-WebSocket-Version: 13, 8, 7\r\n"));
        assert!(text.contains("\r\nConnection: close, Upgrade\r\n"));
    }

    #[test]
    fn markup_is_escaped() {
        assert_eq!(escape("a<b>&\"'"), "a&lt;b&gt;&amp;&quot;&#39;");
        assert!(matches!(escape("plain"), Cow::Borrowed(_)));
    }
}
