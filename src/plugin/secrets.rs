//! What must not be told: the secrets of requests, wherever a plugin writes them down.
//!
//! Owns what counts as one. A plugin may well write what it was asked, and what it writes goes to the log. Pure.

use crate::http::trim;
use crate::limits::{LOG_FIELD_BYTES_MAX, PLUGIN_SECRETS_MAX, SECRET_BYTES_MIN};
use crate::route::form;
use crate::route::redact::Hay;
use crate::route::request::Request;
use crate::route::token::Token;
use std::ops::Range;
use std::sync::Arc;

/// Whose secrets are kept: a request and its token.
pub type Keeper = (Arc<Request>, Option<Token>);

/// What stands in their place.
const MASK: &str = "(secret)";

/// `text` without secrets, as much of it as is logged. The work is bounded by the size of the secrets: nothing is looked
/// for that would begin behind what is shown.
pub fn masked(text: &str, secrets: &[String]) -> String {
    let mut shown = floor(text, LOG_FIELD_BYTES_MAX + 1);
    // A secret that is percent-encoded is three times as long.
    let longest = 3 * secrets.iter().map(String::len).max().unwrap_or(0);
    let hay = Hay::new(&text[..floor(text, shown + longest)]);
    let mut found: Vec<Range<usize>> = Vec::new();
    secrets.iter().for_each(|secret| hay.find(secret, &mut found));
    found.retain(|range| range.start < shown);
    shown = found.iter().map(|range| range.end).max().unwrap_or(0).max(shown);
    let hay = Hay::new(&text[..shown]);
    hay.without(found, MASK).unwrap_or_else(|| text[..shown].to_owned())
}

/// The last place where `text` can be cut that is not behind `most`.
fn floor(text: &str, most: usize) -> usize {
    let mut at = text.len().min(most);
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// What a source may be written as: itself, and what is behind its first colon.
pub fn of_source(source: &str) -> Vec<String> {
    let behind = source.split_once(':').map(|(_, behind)| behind);
    let all = [Some(source), behind].into_iter().flatten();
    all.filter(|text| text.len() >= SECRET_BYTES_MIN).map(str::to_owned).collect()
}

/// The secrets of a request: its token, who it says it is, its cookies, and the values of its query.
pub fn of((request, token): &Keeper) -> Vec<String> {
    let mut all = Vec::new();
    for value in request.all("Authorization") {
        tell(&mut all, value);
        let rest = trim(&value[value.iter().position(|byte| *byte == b' ').unwrap_or(0)..]);
        tell(&mut all, rest);
        if let Ok(pair) = base64_simd::STANDARD.decode_to_vec(rest) {
            tell(&mut all, &pair);
            if let Some(at) = pair.iter().position(|byte| *byte == b':') {
                tell(&mut all, &pair[at + 1..]);
            }
        }
    }
    for value in request.all("Cookie") {
        tell(&mut all, value);
        for pair in value.split(|byte| *byte == b';') {
            let at = pair.iter().position(|byte| *byte == b'=').map_or(0, |at| at + 1);
            tell(&mut all, trim(&pair[at..]));
        }
    }
    for pair in request.query.as_deref().unwrap_or_default().split('&') {
        let (_, value) = pair.split_once('=').unwrap_or(("", pair));
        all.push(value.to_owned());
        all.push(form::decode_form(value).into_owned());
    }
    all.retain(|text| text.len() >= SECRET_BYTES_MIN);
    if let Some(token) = token {
        all.insert(0, token.secret().to_owned());
    }
    all.truncate(PLUGIN_SECRETS_MAX);
    all
}

/// Bytes as text in both ways in which a plugin may take them.
fn tell(all: &mut Vec<String>, bytes: &[u8]) {
    all.push(String::from_utf8_lossy(bytes).into_owned());
    if !bytes.is_ascii() {
        all.push(bytes.iter().copied().map(char::from).collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeper() -> Keeper {
        let pair = base64_simd::STANDARD.encode_to_string("me:pa ss\u{e9}");
        let headers: [(&str, Vec<u8>); 2] = [
            ("Authorization", format!("Basic {pair}").into_bytes()),
            ("Cookie", b"a=first-one; session=second one".to_vec()),
        ];
        let request = Request {
            method: "GET".into(),
            path: "/".into(),
            query: Some("x=y&key=in%2Fthe+query".into()),
            headers: headers.map(|(name, value)| (name.into(), value.into())).into(),
            client: None,
            tls: None,
            certified: None,
        };
        (request.into(), Some(Token::new("the token")))
    }

    #[test]
    fn nothing_of_a_request_is_told() {
        let secrets = of(&keeper());
        for secret in [
            "the token",
            "the%20token",
            "pa ss\u{e9}",
            "first-one",
            "second one",
            "in%2Fthe+query",
            "in/the query",
        ] {
            let text = masked(&format!("<{secret}{secret}> and {secret}"), &secrets);
            assert_eq!(text, "<(secret)(secret)> and (secret)", "{secret}");
        }
        assert_eq!(masked("me: x=y, nothing else", &secrets), "me: x=y, nothing else");
        assert_eq!(masked("a:b:cdef", &of_source("user:b:cdef")), "a:(secret)");
    }

    #[test]
    fn what_is_cut_shows_no_part_of_a_secret() {
        let secret = "s".repeat(300);
        for front in [0, 300, LOG_FIELD_BYTES_MAX - 1, LOG_FIELD_BYTES_MAX] {
            let text = format!("{}{secret}{secret}", "-".repeat(front));
            let told = masked(&text, std::slice::from_ref(&secret));
            assert!(!told.replace(MASK, "").contains('s'), "{told}");
        }
        let wide = "\u{20ac}".repeat(LOG_FIELD_BYTES_MAX);
        assert!(wide.starts_with(&masked(&wide, &[])));
    }
}
