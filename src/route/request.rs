//! A request as those see it who decide about it: owned, so that it can cross threads.

use crate::http::Head;
use std::fmt;
use std::net::SocketAddr;

/// Everything that is known about a request.
#[derive(Clone, PartialEq)]
pub struct Request {
    /// The method.
    pub method: Box<str>,
    /// The path, still percent-encoded; begins with a slash.
    pub path: Box<str>,
    /// What follows the first `?`, still encoded.
    pub query: Option<Box<str>>,
    /// All headers in order: name as sent, value trimmed.
    pub headers: Vec<(Box<str>, Box<[u8]>)>,
    /// Where the client is; `None` on a Unix socket.
    pub client: Option<SocketAddr>,
    /// Version and cipher suite of the client's TLS.
    pub tls: Option<(&'static str, &'static str)>,
    /// The common name in the certificate that the client has proved to hold on this connection. Nothing that a request
    /// says plays a part in it.
    pub certified: Option<Box<str>>,
}

#[cfg(test)]
impl Request {
    /// A request for `/` with nothing but `headers`, for tests.
    pub fn bare(headers: Vec<(Box<str>, Box<[u8]>)>) -> Request {
        Request {
            method: "GET".into(),
            path: "/".into(),
            query: None,
            headers,
            client: None,
            tls: None,
            certified: None,
        }
    }
}

impl Request {
    /// Takes what is needed out of a head.
    pub fn of(
        head: &Head<'_>,
        client: Option<SocketAddr>,
        tls: Option<(&'static str, &'static str)>,
    ) -> Request {
        Request {
            method: head.method().into(),
            path: head.path().into(),
            query: head.query().map(Into::into),
            headers: head.headers().map(|(name, value)| (name.into(), value.into())).collect(),
            client,
            tls,
            certified: None,
        }
    }

    /// The values of all headers of this name, in any case.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let same = move |(own, _): &&(Box<str>, Box<[u8]>)| own.eq_ignore_ascii_case(name);
        self.headers.iter().filter(same).map(|(_, value)| &**value)
    }

    /// The value of the first header of this name, in any case.
    pub fn first<'a>(&'a self, name: &'a str) -> Option<&'a [u8]> {
        self.all(name).next()
    }
}

impl fmt::Debug for Request {
    /// Method, length of the path and names of headers: everything else may be a token or a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("path_bytes", &self.path.len())
            .field("has_query", &self.query.is_some())
            .field("headers", &self.headers.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("client", &self.client)
            .field("tls", &self.tls)
            .field("is_certified", &self.certified.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_shown_to_who_debugs() {
        let request = Request {
            method: "GET".into(),
            path: "/x/s3cret".into(),
            query: Some("token=s3cret".into()),
            headers: vec![("Authorization".into(), b"Bearer s3cret".as_slice().into())],
            client: None,
            tls: None,
            certified: Some("s3cret".into()),
        };
        let shown = format!("{request:?}");
        assert!(shown.contains("GET") && shown.contains("Authorization"), "{shown}");
        assert!(
            !shown.contains("s3cret") && !shown.contains(&format!("{:?}", b"s3cret").replace(['[', ']'], ""))
        );
    }
}
