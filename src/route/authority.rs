//! The authority of a URL (RFC 3986 section 3.2): where it stands, whom it names, by which port, and what of the URL may be shown.
//!
//! The one reading of it for all services that are configured by a URL, and for whoever connects to them: what is asked is
//! what was checked, and a port that makes no sense is never taken for the scheme's own. Pure.

use crate::limits::HOST_BYTES_MAX;
use std::net::Ipv6Addr;

/// A URL as it is written, cut at its authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    /// In front of `://`.
    pub scheme: &'a str,
    /// Up to the first `/`, `?` or `#`; may have a user and a password in it.
    pub authority: &'a str,
    /// What follows the authority: path, query and fragment.
    pub rest: &'a str,
}

impl<'a> Parts<'a> {
    /// Cuts `url`; `None` where no scheme is written.
    pub fn of(url: &'a str) -> Option<Parts<'a>> {
        url.split_once("://").map(|(scheme, behind)| Parts::behind(scheme, behind))
    }

    /// Cuts what stands behind `scheme` and its `://`.
    pub fn behind(scheme: &'a str, text: &'a str) -> Parts<'a> {
        let end = text.find(['/', '?', '#']).unwrap_or(text.len());
        let (authority, rest) = text.split_at(end);
        Parts { scheme, authority, rest }
    }

    /// User and password, if they are written.
    pub fn user(&self) -> Option<&'a str> {
        divided(self.authority).0
    }

    /// Host and port as they are written, without user and password.
    pub fn place(&self) -> &'a str {
        divided(self.authority).1
    }
}

/// What stands in front of the host of an authority, if anything, and the rest.
fn divided(authority: &str) -> (Option<&str>, &str) {
    authority.rsplit_once('@').map_or((None, authority), |(user, place)| (Some(user), place))
}

/// Host and port as an authority has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority<'a> {
    /// Name or address, brackets removed. Never empty.
    pub host: &'a str,
    /// The port, if one is written. Never 0.
    pub port: Option<u16>,
}

impl Authority<'_> {
    /// Reads an authority; a user and a password in front of the host are passed over.
    ///
    /// A colon without a port behind it is refused, which RFC 3986 would let stand for the scheme's own: it is what is left
    /// of a variable that was not set, and the service behind that port is another one.
    ///
    /// # Errors
    /// What is wrong and how to write it; nothing of the authority itself, which may hold a password.
    pub fn parse(authority: &str) -> Result<Authority<'_>, &'static str> {
        let (_, place) = divided(authority);
        let (host, port) = match place.strip_prefix('[') {
            Some(inner) => {
                let (host, behind) =
                    inner.split_once(']').ok_or("its bracket is not closed; write [::1] or [::1]:port")?;
                if host.parse::<Ipv6Addr>().is_err() {
                    return Err("what stands in brackets is no IPv6 address; write one such as [::1]");
                }
                match behind.strip_prefix(':') {
                    None if !behind.is_empty() => {
                        return Err("something else than a port follows the bracket; write [::1]:port");
                    }
                    port => (host, port),
                }
            }
            None => match place.split_once(':') {
                Some((_, port)) if port.contains(':') => {
                    return Err("it has a colon too many; write an IPv6 address in brackets");
                }
                Some((host, port)) => (host, Some(port)),
                None => (place, None),
            },
        };
        if host.is_empty() {
            return Err("it has no host; write one");
        }
        // RFC 3986 section 3.2.2, without escapes: a name of the net has none. Within brackets an address stands already.
        let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:".contains(&byte);
        if host.len() > HOST_BYTES_MAX || !host.bytes().all(in_name) {
            return Err("its host can be none; write a name or an address");
        }
        let port = port.map(number).transpose()?;
        Ok(Authority { host, port })
    }
}

fn number(port: &str) -> Result<u16, &'static str> {
    if port.is_empty() {
        return Err("no port follows the colon; write one from 1 to 65535, or leave the colon out");
    }
    let number = Some(port).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    let number = number.and_then(|port| port.parse().ok()).filter(|number| *number > 0);
    number.ok_or("its port is no number from 1 to 65535; write one, or leave it out with its colon")
}

/// What may be shown of a URL, or of what was meant to be one: no user, password or query.
pub fn shown(url: &str) -> String {
    // A password may hold what ends a host elsewhere, so the last sign counts.
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let rest = match rest.rsplit_once('@') {
        Some((_, place)) => format!("(secret)@{place}"),
        None => rest.to_owned(),
    };
    let rest = match rest.split_once('?') {
        Some((place, _)) => format!("{place}?(secret)"),
        None => rest,
    };
    if scheme.is_empty() { rest } else { format!("{scheme}://{rest}") }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Authorities that are none, and what is said of each.
    pub const BAD: [(&str, &str); 21] = [
        ("h:99999", "no number from 1 to 65535"),
        ("h:65536", "no number from 1 to 65535"),
        ("h:165535", "no number from 1 to 65535"),
        ("h:0", "no number from 1 to 65535"),
        ("h:abc", "no number from 1 to 65535"),
        ("h:+80", "no number from 1 to 65535"),
        ("h:-1", "no number from 1 to 65535"),
        ("h:80x", "no number from 1 to 65535"),
        ("[::1]:abc", "no number from 1 to 65535"),
        ("h:", "no port follows the colon"),
        ("[::1]:", "no port follows the colon"),
        ("[::1", "bracket is not closed"),
        ("[::1:80", "bracket is not closed"),
        ("[::1]80", "follows the bracket"),
        ("[h]:80", "no IPv6 address"),
        ("[]:80", "no IPv6 address"),
        ("::1", "a colon too many"),
        ("h:1:2", "a colon too many"),
        (":80", "no host"),
        ("a%20b:80", "can be none"),
        ("a\\b", "can be none"),
    ];

    #[test]
    fn a_port_that_is_none_is_never_another_one() {
        for (authority, part) in BAD {
            for text in [authority.to_owned(), format!("me:hunter2@{authority}")] {
                let why = Authority::parse(&text).unwrap_err();
                assert!(why.contains(part) && !why.contains("hunter2"), "{text}: {why}");
            }
        }
        assert!(Authority::parse("").unwrap_err().contains("no host"));
        assert!(Authority::parse(&"a".repeat(HOST_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn a_url_is_cut_at_its_authority() {
        for (url, expected) in [
            ("http://h", ("http", "h", "", None, "h")),
            ("https://u:p@h:8/x@y:z", ("https", "u:p@h:8", "/x@y:z", Some("u:p"), "h:8")),
            ("http://h?x@y/z", ("http", "h", "?x@y/z", None, "h")),
            ("http://[::1]:8#x/y?z", ("http", "[::1]:8", "#x/y?z", None, "[::1]:8")),
            ("http://u:p@w@h/", ("http", "u:p@w@h", "/", Some("u:p@w"), "h")),
            ("http://@h", ("http", "@h", "", Some(""), "h")),
            ("://h://i", ("", "h:", "//i", None, "h:")),
            ("http:///x", ("http", "", "/x", None, "")),
        ] {
            let parts = Parts::of(url).unwrap();
            let said = (parts.scheme, parts.authority, parts.rest, parts.user(), parts.place());
            assert_eq!(said, expected, "{url}");
        }
        assert_eq!(Parts::of("h:1/x"), None);
        assert_eq!(Parts::behind("", "h:1/x").authority, "h:1");
    }

    #[test]
    fn host_and_port_are_those_that_are_written() {
        for (authority, host, port) in [
            ("h", "h", None),
            ("h:1", "h", Some(1)),
            ("h:00080", "h", Some(80)),
            ("H.example_1:65535", "H.example_1", Some(65535)),
            ("[::1]", "::1", None),
            ("[::ffff:1.2.3.4]:8", "::ffff:1.2.3.4", Some(8)),
            ("u:99999@h:8", "h", Some(8)),
            ("u:p@w@h", "h", None),
        ] {
            assert_eq!(Authority::parse(authority), Ok(Authority { host, port }), "{authority}");
        }
    }
}
