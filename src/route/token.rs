//! Tokens: where a request carries one, and how it is shown.
//!
//! A token is a secret: it is never shown, and what is shown in its place is a short hash with a key that each process
//! makes for itself. Pure; the key comes in as an argument.

use super::form::{decode, decode_form};
use super::request::Request;
use crate::limits::TOKEN_BYTES_MAX;
use std::fmt;
use std::hash::{BuildHasher, RandomState};

/// What a client says to be carried to its target. Never shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Token(Box<str>);

/// Where a request may carry its token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The parameter `token` of the query.
    Query,
    /// The cookie of this name.
    Cookie(Box<str>),
    /// The header of this name; `Bearer` in front of the token is left out.
    Header(Box<str>),
    /// The last segment of the path.
    Path,
    /// An offered sub-protocol that begins with `token.`.
    Subprotocol,
    /// The name in the Host header, in small letters, without port and brackets.
    Host,
}

/// It cannot be told which token a request has: the header or the cookie that carries it is there twice, or is no text. To take
/// one of two would let a client overrule the proxy in front that adds its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unclear;

/// What an offered sub-protocol that is a token begins with.
const OFFER: &str = "token.";

/// The parameter of the query, and the cookie unless another is named.
pub(super) const NAME: &str = "token";

/// The key of the hashes that stand for tokens where they may not be shown: made once for a process, so that equal tokens
/// can be told in its log, and nobody can try tokens against it.
#[derive(Clone, Default)]
pub struct Veil(RandomState);

/// What is shown of a token: `~1a2b3c4d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u32);

impl Mark {
    /// The number in it, which means nothing outside of this process.
    pub fn number(self) -> u32 {
        self.0
    }
}

impl Token {
    /// A token as it was found.
    pub fn new(text: impl Into<Box<str>>) -> Token {
        Token(text.into())
    }

    /// The secret itself, for whoever has to look it up.
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// Whether anything could stand behind it: not empty, not longer than [`TOKEN_BYTES_MAX`], no control characters.
    pub fn is_plausible(&self) -> bool {
        (1..=TOKEN_BYTES_MAX).contains(&self.0.len()) && !self.0.chars().any(char::is_control)
    }

    /// The token as the name of something in a directory, if it can be one: up to 255 bytes, not hidden, and nothing that
    /// could lead out of it.
    pub fn as_file_name(&self) -> Option<&str> {
        let name = self.secret();
        let plain = self.is_plausible() && name.len() <= 255 && !name.contains(['/', '\\']);
        (plain && !name.starts_with('.')).then_some(name)
    }
}

impl Place {
    /// Reads `query`, `cookie`, `cookie:NAME`, `header:NAME`, `path` or `subprotocol`; `None` if it is none of them.
    pub fn parse(word: &str) -> Option<Place> {
        let (kind, name) = match word.split_once(':') {
            None => (word, None),
            Some((kind, name)) if crate::http::is_token(name.as_bytes()) => (kind, Some(name.into())),
            Some(_) => return None,
        };
        match (kind, name) {
            ("query", None) => Some(Place::Query),
            ("cookie", name) => Some(Place::Cookie(name.unwrap_or_else(|| NAME.into()))),
            ("header", Some(name)) => Some(Place::Header(name)),
            ("path", None) => Some(Place::Path),
            ("subprotocol", None) => Some(Place::Subprotocol),
            _ => None,
        }
    }

    fn find(&self, request: &Request) -> Result<Option<String>, Unclear> {
        let text = |bytes| std::str::from_utf8(bytes).ok();
        Ok(match self {
            Place::Query => request.query.as_deref().and_then(parameter),
            Place::Cookie(name) => {
                only(cookies(request, name))?.map(|value| value.trim_matches('"').to_owned())
            }
            Place::Header(name) => only(request.all(name))?.map(|value| {
                let bare =
                    value.split_at_checked(7).filter(|(front, _)| front.eq_ignore_ascii_case("bearer "));
                bare.map_or(value, |(_, rest)| rest).trim().to_owned()
            }),
            Place::Path => request.path.rsplit('/').next().map(|segment| decode(segment).into_owned()),
            Place::Subprotocol => {
                let lines = request.all("Sec-WebSocket-Protocol").filter_map(text);
                let mut offers = lines.flat_map(|line| line.split(','));
                offers.find_map(|offer| offer.trim().strip_prefix(OFFER)).map(str::to_owned)
            }
            Place::Host => request.first("Host").and_then(text).map(host),
        })
    }
}

/// The token of a request: that of the first of `places` that has one. An empty one counts as none.
///
/// # Errors
/// When a place that comes before any other token has more than one, or none that is text.
pub fn find(request: &Request, places: &[Place]) -> Result<Option<Token>, Unclear> {
    for place in places {
        let found = place.find(request)?.map(|text| text.trim_end_matches('\n').to_owned());
        if let Some(text) = found.filter(|text| !text.is_empty()) {
            return Ok(Some(Token::new(text)));
        }
    }
    Ok(None)
}

/// The value of something that may be there once.
fn only<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Result<Option<&'a str>, Unclear> {
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => std::str::from_utf8(value).map(Some).map_err(|_| Unclear),
        (Some(_), Some(_)) => Err(Unclear),
    }
}

/// The values of all cookies of this name.
fn cookies<'a>(request: &'a Request, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let pairs = request.all("Cookie").flat_map(|line| line.split(|byte| *byte == b';'));
    pairs.filter_map(move |pair| {
        let end = pair.iter().position(|byte| *byte == b'=')?;
        (pair[..end].trim_ascii() == name.as_bytes()).then(|| pair[end + 1..].trim_ascii())
    })
}

/// The first value of the parameter that is not empty.
fn parameter(query: &str) -> Option<String> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(own, value)| decode_form(own) == NAME && !value.is_empty())?;
    Some(decode_form(value).into_owned())
}

/// The name in a Host header, as names are compared: small letters, neither port nor brackets.
fn host(value: &str) -> String {
    let name = match value.strip_prefix('[') {
        Some(literal) => literal.split(']').next().unwrap_or_default(),
        None => value.split(':').next().unwrap_or_default(),
    };
    name.to_ascii_lowercase()
}

impl Veil {
    /// What is shown of `token`.
    pub fn mark(&self, token: &str) -> Mark {
        Mark((self.0.hash_one(token) >> 32) as u32)
    }
}

impl PartialEq for Veil {
    /// Which key it is makes no difference to what a server does.
    fn eq(&self, _: &Veil) -> bool {
        true
    }
}

impl fmt::Debug for Veil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Veil")
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "~{:08x}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(token)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(path: &str, query: Option<&str>, headers: &[(&str, &str)]) -> Request {
        Request {
            method: "GET".into(),
            path: path.into(),
            query: query.map(Into::into),
            headers: headers.iter().map(|(name, value)| ((*name).into(), value.as_bytes().into())).collect(),
            client: None,
            tls: None,
            certified: None,
        }
    }

    fn found(request: &Request, place: &str) -> Option<String> {
        let place = if place == "host" { Place::Host } else { Place::parse(place).unwrap() };
        find(request, &[place]).unwrap().map(|token| token.secret().to_owned())
    }

    #[test]
    fn queries() {
        for (query, expected) in [
            ("token=a", Some("a")),
            ("x=1&token=a&token=b", Some("a")),
            ("token=&token=b", Some("b")),
            ("token=a%20b+c", Some("a b c")),
            ("%74oken=a", Some("a")),
            ("token=a;b", Some("a;b")),
            ("token=a=b", Some("a=b")),
            ("token=a%0A%0A", Some("a")),
            ("token=%0A", None),
            ("Token=a", None),
            ("token", None),
            ("token=", None),
            ("tokens=a", None),
            ("", None),
        ] {
            assert_eq!(found(&request("/", Some(query), &[]), "query").as_deref(), expected, "{query:?}");
        }
        assert_eq!(found(&request("/token=a", None, &[]), "query"), None);
    }

    #[test]
    fn other_places() {
        let headers = [
            ("Host", "Desk.Example:6080"),
            ("cookie", "other=1"),
            ("Cookie", "x=y; token=\"a.b\"; mine=c"),
            ("authorization", "bearer  abc"),
            ("X-Token", "plain"),
            ("Sec-WebSocket-Protocol", "binary, token.a-b.c"),
        ];
        let request = request("/websockify/a%2Fb+c", Some("token=q"), &headers);
        for (place, expected) in [
            ("cookie", Some("a.b")),
            ("cookie:mine", Some("c")),
            ("cookie:absent", None),
            ("header:Authorization", Some("abc")),
            ("header:x-token", Some("plain")),
            ("header:absent", None),
            ("path", Some("a/b+c")),
            ("subprotocol", Some("a-b.c")),
            ("host", Some("desk.example")),
        ] {
            assert_eq!(found(&request, place).as_deref(), expected, "{place}");
        }
        let places = [Place::parse("cookie:absent").unwrap(), Place::Path, Place::Query];
        assert_eq!(find(&request, &places).unwrap().unwrap().secret(), "a/b+c", "the first that has one");
    }

    #[test]
    fn what_is_there_twice_is_no_token() {
        type Headers = &'static [(&'static str, &'static [u8])];
        let rows: [(&str, Headers); 8] = [
            ("header:x-token", &[("X-Token", b"a"), ("x-token", b"b")]),
            ("header:x-token", &[("X-Token", b"a"), ("x-token", b"a")]),
            ("header:x-token", &[("X-Token", b""), ("x-token", b"a")]),
            ("header:x-token", &[("X-Token", b"\xff"), ("x-token", b"a")]),
            ("header:x-token", &[("X-Token", b"\xff")]),
            ("cookie", &[("Cookie", b"token=a; x=y; token=b")]),
            ("cookie", &[("Cookie", b"token=a"), ("Cookie", b"x=\xff; token=")]),
            ("cookie", &[("Cookie", b"token=\xff")]),
        ];
        let own = |headers: Headers| {
            Request::bare(headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
        };
        for (place, headers) in rows {
            let request = own(headers);
            let place = Place::parse(place).unwrap();
            let find = |places: &[Place]| find(&request, places).map(|token| token.map(|token| token.0));
            assert_eq!(find(std::slice::from_ref(&place)), Err(Unclear), "{headers:?}");
            assert_eq!(find(&[place.clone(), Place::Path]), Err(Unclear), "nor does another place help");
            let path = Request { path: "/p".into(), ..own(headers) };
            assert_eq!(super::find(&path, &[Place::Path, place]).unwrap().unwrap().secret(), "p");
        }
        // Of what else is no text nothing is wanted.
        let request = own(&[("Cookie", b"\xff=\xff; token=a"), ("Cookie", b"\xff")]);
        assert_eq!(found(&request, "cookie").as_deref(), Some("a"));
    }

    #[test]
    fn hosts() {
        for (value, expected) in [
            ("GOOD", "good"),
            ("good:80", "good"),
            ("[FE80::1]:80", "fe80::1"),
            ("[::1]", "::1"),
            ("10.0.0.1:1", "10.0.0.1"),
        ] {
            assert_eq!(found(&request("/", None, &[("Host", value)]), "host").as_deref(), Some(expected));
        }
        assert_eq!(found(&request("/", None, &[("Host", "")]), "host"), None);
        assert_eq!(found(&request("/", None, &[("Host", ":80")]), "host"), None);
    }

    #[test]
    fn places_are_named() {
        for word in
            ["", "Query", "query:x", "header", "header:", "header:a b", "cookie:a;b", "path:x", "host"]
        {
            assert_eq!(Place::parse(word), None, "{word:?}");
        }
    }

    #[test]
    fn a_name_in_a_directory_is_a_plain_one() {
        for bad in ["", ".", "..", ".x", "a/b", "/a", "a\\b", "a\0", "a\n", "../x", "a/../b"] {
            assert_eq!(Token::new(bad).as_file_name(), None, "{bad:?}");
        }
        for good in ["a", "a b", "a..b", "\u{e9}", "a.sock"] {
            assert_eq!(Token::new(good).as_file_name(), Some(good));
        }
        assert_eq!(Token::new("a".repeat(256)).as_file_name(), None);
        assert!(!Token::new("a".repeat(TOKEN_BYTES_MAX + 1)).is_plausible());
    }

    #[test]
    fn what_is_shown_is_equal_for_equal_tokens_of_one_process() {
        let (here, there) = (Veil::default(), Veil::default());
        assert_eq!(here.mark("a"), here.clone().mark("a"));
        assert_ne!(here.mark("a"), here.mark("b"));
        assert_ne!(here.mark("a"), there.mark("a"));
        assert_eq!(here.mark("a").to_string().len(), 9);
        assert!(!format!("{:?}", Token::new("secret")).contains("secret"));
    }
}
