//! Request targets as they may be shown: without their tokens, and without what else lets a client pass.
//!
//! A mark stands wherever a request may carry its token, and in whatever spelling. Where tokens or guards decide who passes,
//! every value of the query is a mark, for nobody but them knows which parameter is the secret; elsewhere only what could be
//! a parameter `token` is. Parameters that hold a whole address, as pages of noVNC have them
//! (`path=websockify%3Ftoken%3D...`), are then looked into as well. Pure.

use super::authority::Parts;
use super::form::{decode, decode_form};
use super::token::{NAME, Place, Veil};
use std::borrow::Cow;

/// Addresses within addresses that are looked into; what lies deeper is shown as a whole hash.
const DEPTH: usize = 3;

/// What is veiled of a request target.
#[derive(Clone, Copy, Debug)]
pub struct Rule<'a> {
    /// Where requests carry tokens.
    pub places: &'a [Place],
    /// Whether any parameter may be what lets a client pass.
    pub strict: bool,
}

/// `target`, the request target of any request, without what could be its token.
pub fn veiled<'a>(target: &'a str, rule: Rule<'_>, veil: &Veil) -> Cow<'a, str> {
    if !rule.strict && rule.places.is_empty() && !target.contains('@') && !is_suspect(target) {
        return Cow::Borrowed(target);
    }
    let local = match Parts::of(target).filter(|_| !target.starts_with('/')) {
        // The host of an absolute target is the token itself, and in front of a host is a password.
        Some(parts) => {
            let shown = !rule.places.contains(&Place::Host) && parts.user().is_none();
            if shown { target } else { parts.rest }
        }
        None => target,
    };
    let (path, query) = match local.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (local, None),
    };
    let path = path_of(path, rule, veil);
    match query {
        // Also where the query is no place for tokens: clients err.
        Some(query) => Cow::Owned(format!("{path}?{}", pairs(query, rule.strict, veil, DEPTH))),
        None => path,
    }
}

/// A path without tokens: of clients that wrote a query into it, and of those that were to write a token as its end.
fn path_of<'a>(path: &'a str, rule: Rule<'_>, veil: &Veil) -> Cow<'a, str> {
    let mut from = 0;
    for segment in path.split('/') {
        if is_query(segment, rule.strict) {
            // Where it ends only its writer knows.
            return Cow::Owned(format!("{}{}", &path[..from], veil.mark(&decode(&path[from..]))));
        }
        from += segment.len() + 1;
    }
    if !rule.places.contains(&Place::Path) {
        return Cow::Borrowed(path);
    }
    // Segments behind it that say nothing make no token public.
    let mut end = path.len();
    while let Some((front, _)) = path[..end].rsplit_once('/').filter(|(_, last)| is_blank(last)) {
        end = front.len();
    }
    match path[..end].rsplit_once('/') {
        Some((front, last)) => Cow::Owned(format!("{front}/{}{}", veil.mark(&decode(last)), &path[end..])),
        None => Cow::Borrowed(path),
    }
}

/// Whether a segment of a path says nothing: empty, or dots and blanks in any spelling.
fn is_blank(segment: &str) -> bool {
    decode(segment).chars().all(|letter| matches!(letter, '.' | '/' | '+') || letter.is_whitespace())
}

/// Whether a segment of a path is, behind one or more layers of escapes, what belongs into a query.
fn is_query(segment: &str, strict: bool) -> bool {
    within(segment, |text| {
        let text = text.to_ascii_lowercase();
        let named = text.split_once(NAME).is_some_and(|(_, behind)| behind.contains('='));
        named || (strict && text.contains(['=', '&', ';', '?']))
    })
}

/// A query without tokens.
fn pairs(query: &str, strict: bool, veil: &Veil, depth: usize) -> String {
    let whole = |text: &str| veil.mark(decode_form(text).trim_end_matches('\n'));
    let shown = |pair: &str| {
        let Some((name, value)) = pair.split_once('=') else {
            let is_veiled = is_suspect(pair) || (strict && !pair.is_empty());
            return if is_veiled { whole(pair).to_string() } else { pair.to_owned() };
        };
        if (strict && is_name(name)) || decode_form(name) == NAME {
            return if value.is_empty() { format!("{name}=") } else { format!("{name}={}", whole(value)) };
        }
        if !strict && !is_suspect(value) && !is_suspect(name) {
            return pair.to_owned();
        }
        let inner = decode_form(value);
        match inner.split_once('?').filter(|_| !strict && depth > 0 && !is_suspect(name)) {
            Some((front, query)) if !is_suspect(front) => {
                format!("{name}={front}?{}", pairs(query, strict, veil, depth - 1))
            }
            _ => format!("{}={}", whole(name), whole(value)),
        }
    };
    query.split('&').map(shown).collect::<Vec<_>>().join("&")
}

/// Whether this can be nothing but the name of a parameter.
fn is_name(name: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.[]".contains(letter);
    decode_form(name).chars().all(plain)
}

/// Whether a token might be written in here, behind one or more layers of escapes.
fn is_suspect(text: &str) -> bool {
    within(text, |text| text.to_ascii_lowercase().contains(NAME))
}

/// Whether something is true of this text as it stands or without one or more layers of escapes.
fn within(text: &str, is_so: impl Fn(&str) -> bool) -> bool {
    let mut text = Cow::Borrowed(text);
    for _ in 0..=DEPTH {
        if is_so(&text) {
            return true;
        }
        if !text.contains('%') {
            return false;
        }
        let less = decode_form(&text).into_owned();
        if less == *text {
            return false;
        }
        text = Cow::Owned(less);
    }
    // Nobody escapes this often for an honest reason.
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENIENT: Rule<'_> = Rule { places: &[], strict: false };

    fn shown(target: &str, place: Place) -> (String, Veil) {
        let veil = Veil::default();
        (veiled(target, Rule { places: &[place], strict: true }, &veil).into_owned(), veil)
    }

    #[test]
    fn tokens_are_not_shown_in_any_spelling() {
        for (target, place, expected) in [
            ("/x?token=s3cret", Place::Query, "/x?token=MARK"),
            ("/x?token=s%33cret", Place::Query, "/x?token=MARK"),
            ("/x?%74oken=s3cret&a=", Place::Query, "/x?%74oken=MARK&a="),
            ("/y/s3cret?token=s3cret", Place::Path, "/y/MARK?token=MARK"),
            ("/a/s3cret", Place::Path, "/a/MARK"),
            ("/a/%733cret?", Place::Path, "/a/MARK?"),
            ("/a/s3cret/", Place::Path, "/a/MARK/"),
            ("/a/s3cret//.%2e/%20", Place::Path, "/a/MARK//.%2e/%20"),
            ("/", Place::Path, "/"),
            ("/a/b", Place::Query, "/a/b"),
            ("/a/token.js", Place::Query, "/a/token.js"),
            ("http://s3cret/x", Place::Host, "/x"),
            ("http://s3cret", Place::Host, ""),
            ("http://host/x", Place::Query, "http://host/x"),
            ("http://me:s3cret@host/x", Place::Query, "/x"),
            ("/x?key=s3cret&key=s3cret", Place::Query, "/x?key=MARK&key=MARK"),
            ("/x?s3cret", Place::Query, "/x?MARK"),
            ("/x?a=b://s3cret/s3cret", Place::Host, "/x?a=OTHER"),
        ] {
            let (shown, veil) = shown(target, place);
            let expected = expected.replace("MARK", &veil.mark("s3cret").to_string());
            let expected = expected.replace("OTHER", &veil.mark("b://s3cret/s3cret").to_string());
            assert_eq!(shown, expected, "{target}");
        }
    }

    #[test]
    fn without_tokens_and_guards_only_a_token_is_veiled() {
        let veil = Veil::default();
        let mark = veil.mark("s3cret").to_string();
        for (target, expected) in [
            ("/x?token=s3cret&a=b", "/x?token=MARK&a=b"),
            ("/vnc.html?path=websockify%3Ftoken%3Ds3cret&x=1", "/vnc.html?path=websockify?token=MARK&x=1"),
            ("/a=b;c/d?e=f&g", "/a=b;c/d?e=f&g"),
            ("/100%/x?a=50%", "/100%/x?a=50%"),
            ("/@me/x?a=b@c", "/@me/x?a=b@c"),
            ("http://me:s3cret@host/x?a=b", "/x?a=b"),
        ] {
            assert_eq!(veiled(target, LENIENT, &veil), expected.replace("MARK", &mark), "{target}");
        }
    }

    #[test]
    fn what_is_odd_is_veiled_as_a_whole() {
        let veil = Veil::default();
        for target in [
            "/websockify%3Ftoken%3Ds3cret",
            "/websockify%253Ftoken%253Ds3cret",
            "/websockify&token=s3cret",
            "/websockify%26%74oken%3Da/s3cret",
            "/x;token=s3cret",
            "/x;token%20=s3cret/",
            "/token=s3cret/vnc.html?x=1",
            "/?a=b%26token%3Ds3cret",
            "/?a=b;token=s3cret",
            "/?path=x%253Ftoken%253Ds3cret",
            "/?path=x%2525253Ftoken%2525253Ds3cret",
            "/?token%3Ds3cret",
            "/?token%3Ds3cret=1",
            "/?TOKEN=s3cret",
            "/?path=/token=s3cret?x=1",
            "/?path=?path%3D%3Fpath%253D%253Ftoken%25253Ds3cret",
            "/?a=%2525252574oken=s3cret",
            "/?token=s3cret&token=s3cret",
        ] {
            for rule in [LENIENT, Rule { places: &[Place::Query], strict: true }] {
                let shown = veiled(target, rule, &veil);
                assert!(!decode_form(&decode_form(&shown)).contains("s3cret"), "{target} -> {shown}");
            }
        }
        for target in
            ["/websockify%3Fkey%3Ds3cret", "/x;key=s3cret", "/?s3cret;a=b", "/?key;x=s3cret", "/x%3fs3cret"]
        {
            let shown = veiled(target, Rule { places: &[], strict: true }, &veil);
            assert!(!shown.contains("s3cret"), "{target} -> {shown}");
        }
    }
}
