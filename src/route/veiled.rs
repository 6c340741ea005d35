//! Request targets as they may be shown: without their tokens.
//!
//! Wherever a request may carry its token, and in whatever spelling, a hash stands in its place. Parameters that hold a
//! whole address, as pages of noVNC have them (`path=websockify%3Ftoken%3D...`), are looked into as well. Pure.

use super::form::decode_form;
use super::token::{NAME, Place, Veil};
use std::borrow::Cow;

/// Addresses within addresses that are looked into; what lies deeper is shown as a whole hash.
const DEPTH: usize = 3;

/// `target`, the request target of any request, without what could be its token.
pub fn veiled<'a>(target: &'a str, places: &[Place], veil: &Veil) -> Cow<'a, str> {
    let local = match target.split_once("://") {
        // The host of an absolute target is the token itself.
        Some((_, rest)) if places.contains(&Place::Host) => {
            &rest[rest.find(['/', '?']).unwrap_or(rest.len())..]
        }
        _ => target,
    };
    let (path, query) = match local.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (local, None),
    };
    let path = match path.rsplit_once('/') {
        Some((front, last)) if places.contains(&Place::Path) && !last.is_empty() => {
            Cow::Owned(format!("{front}/{}", veil.mark(&super::form::decode(last))))
        }
        _ => Cow::Borrowed(path),
    };
    match query {
        // Also where the query is no place for tokens: clients err.
        Some(query) => Cow::Owned(format!("{path}?{}", pairs(query, veil, DEPTH))),
        None => path,
    }
}

/// A query without tokens.
fn pairs(query: &str, veil: &Veil, depth: usize) -> String {
    let shown = |pair| {
        let Some((name, value)) = str::split_once(pair, '=') else {
            return if is_suspect(pair) { veil.mark(pair).to_string() } else { pair.to_owned() };
        };
        if decode_form(name) == NAME && !value.is_empty() {
            return format!("{name}={}", veil.mark(decode_form(value).trim_end_matches('\n')));
        }
        if !is_suspect(value) && !is_suspect(name) {
            return pair.to_owned();
        }
        let inner = decode_form(value);
        match inner.split_once('?').filter(|_| depth > 0 && !is_suspect(name)) {
            Some((front, query)) if !is_suspect(front) => {
                format!("{name}={front}?{}", pairs(query, veil, depth - 1))
            }
            _ => format!("{}={}", veil.mark(name), veil.mark(value)),
        }
    };
    query.split('&').map(shown).collect::<Vec<_>>().join("&")
}

/// Whether a token might be written in here, behind one or more layers of escapes.
fn is_suspect(text: &str) -> bool {
    let mut text = Cow::Borrowed(text);
    for _ in 0..=DEPTH {
        if text.to_ascii_lowercase().contains(NAME) {
            return true;
        }
        if !text.contains('%') {
            return false;
        }
        text = Cow::Owned(decode_form(&text).into_owned());
    }
    // Nobody escapes this often for an honest reason.
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_not_shown_in_any_spelling() {
        let veil = Veil::default();
        let mark = veil.mark("s3cret");
        for (target, places, expected) in [
            ("/x?token=s3cret", &[Place::Query][..], format!("/x?token={mark}")),
            ("/x?token=s%33cret", &[Place::Query], format!("/x?token={mark}")),
            ("/x?%74oken=s3cret&a=b", &[Place::Query], format!("/x?%74oken={mark}&a=b")),
            ("/x?token=s3cret", &[Place::Path], format!("/{}?token={mark}", veil.mark("x"))),
            ("/a/s3cret", &[Place::Path], format!("/a/{mark}")),
            ("/a/%733cret?x", &[Place::Path], format!("/a/{mark}?x")),
            ("/a/", &[Place::Path], "/a/".into()),
            ("/a/b?c=d", &[Place::Query], "/a/b?c=d".into()),
            (
                "/vnc.html?path=websockify%3Ftoken%3Ds3cret&x=1",
                &[Place::Query],
                format!("/vnc.html?path=websockify?token={mark}&x=1"),
            ),
            ("http://s3cret/x?y", &[Place::Host], "/x?y".into()),
            ("http://s3cret", &[Place::Host], String::new()),
            ("http://host/x", &[Place::Query], "http://host/x".into()),
        ] {
            assert_eq!(veiled(target, places, &veil), expected, "{target}");
        }
    }

    #[test]
    fn what_is_odd_is_hidden_as_a_whole() {
        let veil = Veil::default();
        for target in [
            "/?a=b%26token%3Ds3cret",
            "/?path=x%253Ftoken%253Ds3cret",
            "/?path=x%2525253Ftoken%2525253Ds3cret",
            "/?token%3Ds3cret",
            "/?token%3Ds3cret=1",
            "/?TOKEN=s3cret",
            "/?path=/token=s3cret?x=1",
            "/?path=?path%3D%3Fpath%253D%253Ftoken%25253Ds3cret",
            "/?a=%2525252574oken%3Ds3cret",
            "/?token=s3cret&token=s3cret",
        ] {
            let shown = veiled(target, &[Place::Query], &veil);
            assert!(!decode_form(&decode_form(&shown)).contains("s3cret"), "{target} -> {shown}");
        }
    }
}
