//! Guards: who may have a bridge, and under `--web-auth` a file.
//!
//! Owns the rules of each kind of guard by the names of websockify's plugins, and the judgement of those that need no more
//! than the request. What a guard compares with is never shown, and secrets are compared as digests, in constant time. It
//! never waits: what needs a file, a service or a process is left to helpers. Pure.

use super::authority::{Authority, Parts, shown};
use super::equal;
use super::plugin::Plugin;
use super::request::Request;
use crate::http::Refusal;
use crate::http::refusal::Header;
use crate::limits::CREDENTIALS_BYTES_MAX;
use aws_lc_rs::digest::{SHA256, digest};
use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

/// One guard; several may be combined, and a request must pass all of them.
#[derive(Clone, Debug, PartialEq)]
pub enum Guard {
    /// `BasicHTTPAuth`: one user and one password.
    Basic(Secret),
    /// `ExpectOrigin`: the page must come from one of these places, each as [`origin`] makes it.
    ExpectOrigin(Vec<Box<str>>),
    /// `SameOrigin`: the page must come from the host that is asked.
    SameOrigin,
    /// `ClientCertCNAuth`: the certificate that the client has proved to hold must be for one of these names.
    ClientCertCn(Vec<Box<str>>),
    /// `HtpasswdAuth`: the users of a file, absolute, in the format of Apache.
    Htpasswd(PathBuf),
    /// `ForwardAuth`: a service at this URL is asked.
    Forward(Url),
    /// A process is asked.
    Plugin(Plugin),
}

/// The URL of a service. What is secret in it is never shown: user and password, and the query.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(Box<str>);

/// What a guard compares with, as its digest. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([[u8; 32]; 2]);

const CHALLENGE: &[Header] =
    &[(Cow::Borrowed("WWW-Authenticate"), Cow::Borrowed("Basic realm=\"Websockify\""))];
/// The client has to say who it is.
pub const UNAUTHORIZED: Refusal = Refusal::with(401, "Unauthorized", CHALLENGE);
/// The client has said who it is, or cannot, and may not pass.
pub const FORBIDDEN: Refusal = Refusal::fixed(403, "Forbidden");
/// The page comes from elsewhere, or from nowhere.
pub const INVALID_ORIGIN: Refusal = Refusal::fixed(403, "Invalid Origin");

/// The names of all built-in guards.
pub const NAMES: [&str; 6] =
    ["BasicHTTPAuth", "ExpectOrigin", "ClientCertCNAuth", "HtpasswdAuth", "SameOrigin", "ForwardAuth"];

impl Guard {
    /// The built-in guard of this name; `None` if there is none.
    ///
    /// # Errors
    /// What is wrong with the source, and how to write one.
    pub fn built_in(name: &str, source: Option<&str>) -> Option<Result<Guard, String>> {
        if !NAMES.contains(&name) {
            return None;
        }
        // A user or a password may well begin or end with a blank.
        let source = if name == "BasicHTTPAuth" { source } else { source.map(str::trim) };
        Some(Guard::of(name, source.filter(|source| !source.is_empty())))
    }

    fn of(name: &str, source: Option<&str>) -> Result<Guard, String> {
        let needs = |what: &str| source.ok_or_else(|| format!("{name} needs --auth-source={what}"));
        let words = |text: &str| text.split_whitespace().map(Into::into).collect();
        Ok(match name {
            "BasicHTTPAuth" => {
                let pair = needs("USER:PASSWORD")?;
                if !pair.contains(':') {
                    return Err(format!("{name}: the source has no colon; write it as USER:PASSWORD"));
                }
                Guard::Basic(Secret::of(pair))
            }
            "ExpectOrigin" => {
                let origins = needs("'ORIGIN ...'")?.split_whitespace().map(|word| {
                    origin(word).ok_or_else(|| {
                        format!(
                            "{name}: '{}' is no origin; write https://host or https://host:port",
                            word.escape_debug()
                        )
                    })
                });
                Guard::ExpectOrigin(origins.collect::<Result<_, _>>()?)
            }
            "ClientCertCNAuth" => Guard::ClientCertCn(words(needs("'NAME ...'")?)),
            "HtpasswdAuth" => Guard::Htpasswd(needs("FILE")?.into()),
            "ForwardAuth" => Guard::Forward(Url::parse(name, needs("URL")?)?),
            _ if source.is_some() => return Err(format!("{name} takes no --auth-source")),
            _ => Guard::SameOrigin,
        })
    }

    /// Whether it is given a source. A plugin may do without.
    pub fn takes_source(name: &str) -> bool {
        name != "SameOrigin"
    }

    /// Its name in websockify, or as it was written.
    pub fn name(&self) -> &str {
        match self {
            Guard::Basic(_) => "BasicHTTPAuth",
            Guard::ExpectOrigin(_) => "ExpectOrigin",
            Guard::SameOrigin => "SameOrigin",
            Guard::ClientCertCn(_) => "ClientCertCNAuth",
            Guard::Htpasswd(_) => "HtpasswdAuth",
            Guard::Forward(_) => "ForwardAuth",
            Guard::Plugin(plugin) => plugin.name(),
        }
    }

    /// Whether it wants to know the target, and so has its turn when that is known.
    pub fn wants_target(&self) -> bool {
        matches!(self, Guard::Plugin(_))
    }

    /// Whether it guards files too. Browsers name no origin when they ask for a page of the same one, and let no other page
    /// read it; so there is nothing to compare there.
    pub fn guards_files(&self) -> bool {
        *self != Guard::SameOrigin
    }

    /// What the request alone is enough to say; `None`: a helper must say.
    pub fn judge(&self, request: &Request) -> Option<Result<(), Refusal>> {
        match self {
            Guard::Basic(secret) => {
                Some(credentials(request).and_then(
                    |said| {
                        if secret.is(&said) { Ok(()) } else { Err(UNAUTHORIZED) }
                    },
                ))
            }
            Guard::ExpectOrigin(origins) => {
                let own = said_origin(request);
                let listed = own.is_some_and(|own| origins.iter().any(|listed| **listed == *own));
                Some(if listed { Ok(()) } else { Err(INVALID_ORIGIN) })
            }
            Guard::SameOrigin => Some(if is_same_origin(request) { Ok(()) } else { Err(INVALID_ORIGIN) }),
            Guard::ClientCertCn(names) => {
                let own = request.certified.as_deref();
                let listed = own.is_some_and(|own| names.iter().any(|name| **name == *own));
                Some(if listed { Ok(()) } else { Err(FORBIDDEN) })
            }
            // Who says nothing that could be right costs nobody anything.
            Guard::Htpasswd(_) => credentials(request).err().map(Err),
            Guard::Forward(_) | Guard::Plugin(_) => None,
        }
    }
}

impl Secret {
    /// Text as it comes in UTF-8, and as it comes in Latin-1 from clients that still use that; where it has no such form,
    /// the same twice.
    fn of(text: &str) -> Secret {
        let narrow: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
        Secret([hash(text.as_bytes()), hash(narrow.as_deref().unwrap_or(text.as_bytes()))])
    }

    fn is(&self, said: &[u8]) -> bool {
        let said = hash(said);
        // Both are always looked at, and each from end to end.
        let [wide, narrow] = self.0.each_ref().map(|own| equal::same(own, &said));
        wide | narrow
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

fn hash(text: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, text).as_ref());
    out
}

/// The `user:password` that a request brings (RFC 7617).
///
/// # Errors
/// 401 where there is none that can be read, 403 for another scheme and for text without a colon.
pub fn credentials(request: &Request) -> Result<Vec<u8>, Refusal> {
    // An empty one says nothing.
    let said =
        request.first("Authorization").filter(|said| (1..=CREDENTIALS_BYTES_MAX).contains(&said.len()));
    let said = said.ok_or(UNAUTHORIZED)?;
    let blank = said.iter().position(|byte| *byte == b' ').unwrap_or(said.len());
    let (scheme, rest) = said.split_at(blank);
    if !scheme.eq_ignore_ascii_case(b"Basic") {
        return Err(FORBIDDEN);
    }
    let pair = base64_simd::STANDARD.decode_to_vec(crate::http::trim(rest)).map_err(|_| UNAUTHORIZED)?;
    if pair.contains(&b':') { Ok(pair) } else { Err(FORBIDDEN) }
}

/// An origin in one spelling (RFC 6454 section 6.2): scheme and host in lower case, no port where it is the scheme's own.
/// `None` if it is none.
pub fn origin(text: &str) -> Option<Box<str>> {
    if text == "null" {
        return Some(text.into());
    }
    let text = text.to_ascii_lowercase();
    let (scheme, place) = text.split_once("://")?;
    let in_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let in_place = |byte: u8| byte.is_ascii_graphic() && !b"/?#@\\,\"<>".contains(&byte);
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        || !scheme.bytes().all(in_scheme)
        || !place.bytes().all(in_place)
    {
        return None;
    }
    Some(format!("{scheme}://{}", without_port(place, port_of(scheme))).into())
}

/// The page that the client says it comes from. [`crate::http::Head::parse`] has refused two of them.
fn said_origin(request: &Request) -> Option<Box<str>> {
    origin(std::str::from_utf8(request.first("Origin")?).ok()?)
}

/// Whether the page comes from the host that is asked. Where TLS ends in front of us the scheme of the page is not ours, so
/// it counts only on a connection that is secure itself.
fn is_same_origin(request: &Request) -> bool {
    let (Some(origin), Some(host)) = (said_origin(request), request.first("Host")) else { return false };
    let Some((scheme, place)) = origin.split_once("://") else { return false };
    let Ok(host) = std::str::from_utf8(host) else { return false };
    let known = scheme == "https" || (scheme == "http" && request.tls.is_none());
    known && !place.is_empty() && without_port(&host.to_ascii_lowercase(), port_of(scheme)) == place
}

fn port_of(scheme: &str) -> &'static str {
    match scheme {
        "http" | "ws" => ":80",
        "https" | "wss" => ":443",
        _ => ":",
    }
}

fn without_port<'a>(place: &'a str, port: &str) -> &'a str {
    place.strip_suffix(port).unwrap_or(place)
}

impl Url {
    fn parse(name: &str, url: &str) -> Result<Url, String> {
        let refused = |why: &str| {
            let shown = shown(url);
            format!(
                "{name}: '{}' is no URL: {why}; the form is http://host:port/path or https://...",
                shown.escape_debug()
            )
        };
        let parts = Parts::of(url).filter(|parts| ["http", "https"].contains(&parts.scheme));
        let parts = parts.ok_or_else(|| refused("it must begin with http:// or https://"))?;
        if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(refused("it has blanks or letters that a URL cannot have"));
        }
        Authority::parse(parts.authority).map_err(refused)?;
        Ok(Url(url.into()))
    }

    /// All of it, for whoever speaks with the service.
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.0))
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
