//! Tokens: where a request carries one, and what knows them.
//!
//! A token is a secret: it is never shown, and compared in constant time where it is compared at all. Pure.

use super::request::Request;
use std::fmt;
use std::path::PathBuf;

/// What a client says to be carried to its target. Never shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Token(Box<str>);

/// Where a request may carry its token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The parameter `token` of the query.
    Query,
}

/// What knows tokens, by the names of websockify's plugins.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A file, or a directory of files, with a line for each token.
    TokenFile(PathBuf),
}

impl Source {
    /// Its name in websockify.
    pub fn name(&self) -> &str {
        match self {
            Source::TokenFile(_) => "TokenFile",
        }
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
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(token)")
    }
}

/// The token of a request: that of the first of `places` that has one. An empty one counts as none.
pub fn find(request: &Request, places: &[Place]) -> Option<Token> {
    places.iter().find_map(|place| match place {
        Place::Query => parameter(request.query.as_deref()?, "token"),
    })
}

fn parameter(query: &str, name: &str) -> Option<Token> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(own, value)| *own == name && !value.is_empty())?;
    Some(Token::new(value))
}
