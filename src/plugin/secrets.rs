//! What must not be told: the secrets of requests, wherever a plugin writes them down.
//!
//! Owns what counts as one. A plugin may well write what it was asked, and what it writes goes to the log. Pure.

use crate::http::trim;
use crate::limits::{LOG_FIELD_BYTES_MAX, PLUGIN_SECRET_BYTES_MIN, PLUGIN_SECRETS_MAX};
use crate::route::form;
use crate::route::request::Request;
use crate::route::token::Token;
use crate::target::Target;
use memchr::memmem;
use std::ops::Range;
use std::sync::Arc;

/// Whose secrets are kept: a request and its token.
pub type Keeper = (Arc<Request>, Option<Token>);

/// What stands in their place.
const MASK: &str = "(secret)";

/// `text` without secrets, as much of it as is logged. The work is bounded by the size of the secrets: nothing is looked
/// for that would begin behind what is shown.
pub fn masked(text: &str, secrets: &[String]) -> String {
    let mut shown = text.len().min(LOG_FIELD_BYTES_MAX + 1);
    while !text.is_char_boundary(shown) {
        shown -= 1;
    }
    let mut found: Vec<Range<usize>> = Vec::new();
    for secret in secrets {
        let within = &text.as_bytes()[..text.len().min(shown + secret.len())];
        found.extend(memmem::find_iter(within, secret.as_bytes()).map(|at| at..at + secret.len()));
    }
    found.sort_unstable_by_key(|range| (range.start, range.end));
    let (mut out, mut at) = (String::with_capacity(shown), 0);
    for Range { start, end } in found {
        if start >= shown {
            break;
        }
        if start >= at {
            out.push_str(&text[at..start]);
            out.push_str(MASK);
        }
        at = at.max(end);
    }
    if at < shown {
        out.push_str(&text[at..shown]);
    }
    out
}

/// How a target may be shown that was found for a token: with a NUL in its place. `None`: as it is.
pub fn veiled(target: &Target, token: Option<&Token>) -> Option<Box<str>> {
    let token = token.map(Token::secret).filter(|token| token.len() >= PLUGIN_SECRET_BYTES_MIN)?;
    let shown = target.to_string();
    // Hosts are written in lower case as well.
    let lower = token.to_ascii_lowercase();
    let veiled = shown.replace(token, "\0").replace(&lower, "\0");
    (veiled != shown).then(|| veiled.into())
}

/// What a source may be written as: itself, and what is behind its first colon.
pub fn of_source(source: &str) -> Vec<String> {
    let behind = source.split_once(':').map(|(_, behind)| behind);
    let all = [Some(source), behind].into_iter().flatten();
    all.filter(|text| text.len() >= PLUGIN_SECRET_BYTES_MIN).map(str::to_owned).collect()
}

/// The secrets of a request: its token, who it says it is, its cookies, and the values of its query.
pub fn of((request, token): &Keeper) -> Vec<String> {
    let mut all = Vec::new();
    if let Some(token) = token {
        all.push(token.secret().to_owned());
        all.push(form::encode(token.secret()));
    }
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
    all.retain(|text| text.len() >= PLUGIN_SECRET_BYTES_MIN);
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
    fn a_target_shows_no_token() {
        let shown = |target: &str, token: &str| {
            let target =
                Target::parse_unix(std::ffi::OsStr::new(target)).or(Target::parse(target).ok()).unwrap();
            veiled(&target, Some(&Token::new(token))).map(String::from)
        };
        assert_eq!(shown("/run/desks/s3cret.sock", "s3cret").as_deref(), Some("/run/desks/\0.sock"));
        assert_eq!(shown("s3cret.desks.test:1", "S3cret").as_deref(), Some("\0.desks.test:1"));
        assert_eq!(shown("/run/desks/other", "s3cret"), None);
        assert_eq!(veiled(&Target::Echo, None), None);
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
