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

    fn find(&self, request: &Request) -> Option<String> {
        let text = |bytes| std::str::from_utf8(bytes).ok();
        match self {
            Place::Query => parameter(request.query.as_deref()?),
            Place::Cookie(name) => {
                let lines = request.all("Cookie").filter_map(text);
                let mut pairs =
                    lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
                let value = pairs.find(|(own, value)| own.trim() == &**name && !value.trim().is_empty())?.1;
                Some(value.trim().trim_matches('"').to_owned())
            }
            Place::Header(name) => {
                let value = request.all(name).find_map(text)?;
                let bare =
                    value.split_at_checked(7).filter(|(front, _)| front.eq_ignore_ascii_case("bearer "));
                Some(bare.map_or(value, |(_, rest)| rest).trim().to_owned())
            }
            Place::Path => Some(decode(request.path.rsplit('/').next()?).into_owned()),
            Place::Subprotocol => {
                let lines = request.all("Sec-WebSocket-Protocol").filter_map(text);
                let mut offers = lines.flat_map(|line| line.split(','));
                offers.find_map(|offer| offer.trim().strip_prefix(OFFER)).map(str::to_owned)
            }
            Place::Host => Some(host(text(request.first("Host")?)?)),
        }
    }
}

/// The token of a request: that of the first of `places` that has one. An empty one counts as none.
pub fn find(request: &Request, places: &[Place]) -> Option<Token> {
    let found = places.iter().filter_map(|place| place.find(request));
    found.map(|text| text.trim_end_matches('\n').to_owned()).find(|text| !text.is_empty()).map(Token::new)
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
        find(request, &[place]).map(|token| token.secret().to_owned())
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
        assert_eq!(find(&request, &places).unwrap().secret(), "a/b+c", "the first that has one");
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
