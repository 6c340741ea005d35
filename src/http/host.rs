//! The hosts that a server answers for: what a page of somebody else's name, which leads to this address, is kept out with.
//!
//! Owns the grammar of `--allow-host` and the comparison with a request's Host. Pure.

use crate::limits::HOST_BYTES_MAX;
use std::net::Ipv6Addr;

/// Which hosts are answered for. Without any name all are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts(pub Vec<Name>);

/// A host, or all beneath one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// In small letters, without a dot at its end; an IPv6 address in the shortest form, without brackets.
    host: String,
    /// Any name counts that ends with a dot and this one.
    beneath: bool,
    /// The port, if only one counts.
    port: Option<u16>,
}

/// How an item is written, for complaints.
const FORMS: &str =
    "write such as gateway.example, *.gateway.example, gateway.example:6080, 10.0.0.7 or [::1]";

impl Hosts {
    /// Whether the server answers for `host`, the value of the Host header, which came with or without TLS. Without the header
    /// nobody can say for whom.
    pub fn admit(&self, host: Option<&[u8]>, secure: bool) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let Some((host, port)) = host.and_then(|host| split(std::str::from_utf8(host).ok()?)) else {
            return false;
        };
        let port = port.unwrap_or(if secure { 443 } else { 80 });
        self.0.iter().any(|name| name.port.is_none_or(|own| own == port) && name.covers(&host))
    }
}

impl Name {
    /// Reads an item of a list.
    ///
    /// # Errors
    /// What is wrong with it and how to write it.
    pub fn parse(item: &str) -> Result<Name, String> {
        if item.is_empty() {
            return Err(format!("an item is empty; {FORMS}"));
        }
        let (beneath, name) = match item.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, item),
        };
        match split(name) {
            Some((host, port)) if !beneath || !host.contains(':') => Ok(Name { host, beneath, port }),
            _ => Err(format!("'{item}' is no host; {FORMS}")),
        }
    }

    fn covers(&self, host: &str) -> bool {
        match host.strip_suffix(self.host.as_str()) {
            Some("") => !self.beneath,
            Some(front) => self.beneath && front.len() > 1 && front.ends_with('.'),
            None => false,
        }
    }
}

/// A host as it is compared, and the port if there is one; `None` if it is none. An IPv6 address stands in brackets.
fn split(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(inner) => {
            let (host, behind) = inner.split_once(']')?;
            let host = host.parse::<Ipv6Addr>().ok()?.to_string();
            match behind {
                "" => (host, None),
                behind => (host, Some(behind.strip_prefix(':')?)),
            }
        }
        None => {
            let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
            // Both mean the same name.
            let host = host.strip_suffix('.').unwrap_or(host);
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            let may_be = (1..=HOST_BYTES_MAX).contains(&host.len()) && !host.starts_with('.');
            if !may_be || !host.bytes().all(is_name) {
                return None;
            }
            (host.to_ascii_lowercase(), port)
        }
    };
    let number = |port: &str| -> Option<u16> {
        let digits = port.bytes().all(|byte| byte.is_ascii_digit()).then_some(port)?;
        digits.parse().ok().filter(|port| *port > 0)
    };
    match port {
        // RFC 3986 section 3.2.3: a colon without a port stands for the usual one.
        None | Some("") => Some((host, None)),
        Some(port) => Some((host, Some(number(port)?))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(list: &str) -> Hosts {
        Hosts(list.split(',').map(|item| Name::parse(item).unwrap()).collect())
    }

    #[test]
    fn a_host_is_answered_for_or_not() {
        let rows: [(&str, &[&str], &[&str]); 8] = [
            (
                "gateway.example",
                &[
                    "gateway.example",
                    "GateWay.Example",
                    "gateway.example:6080",
                    "gateway.example.",
                    "gateway.example:",
                ],
                &[
                    "",
                    "example",
                    "a.gateway.example",
                    "evilgateway.example",
                    "gateway.example.evil",
                    "gateway.example..",
                    ".gateway.example",
                ],
            ),
            (
                "*.gateway.example",
                &["a.gateway.example", "A.B.gateway.example:1", "a.gateway.example."],
                &["gateway.example", ".gateway.example", "evilgateway.example", "a.gateway.example.evil"],
            ),
            (
                "gateway.example:6080",
                &["gateway.example:6080"],
                &["gateway.example", "gateway.example:80", "gateway.example:06081"],
            ),
            (
                "Gateway.Example.:80",
                &["gateway.example", "gateway.example:80", "gateway.example:080"],
                &["gateway.example:443", "gateway.example:6080"],
            ),
            ("10.0.0.7", &["10.0.0.7", "10.0.0.7:1"], &["10.0.0.70", "110.0.0.7", "[::ffff:10.0.0.7]"]),
            (
                "[::1]",
                &["[::1]", "[0:0::1]:6080"],
                &["::1", "[::2]", "[::1", "[::1]6080", "[::1]:x", "::1:6080"],
            ),
            ("[::1]:6080", &["[::1]:6080"], &["[::1]", "[::1]:80"]),
            ("a,b:1,*.c", &["a:9", "b:1", "x.c"], &["b:2", "c", "d"]),
        ];
        for (list, yes, no) in rows {
            let hosts = hosts(list);
            yes.iter()
                .for_each(|host| assert!(hosts.admit(Some(host.as_bytes()), false), "{list} has {host}"));
            no.iter()
                .for_each(|host| assert!(!hosts.admit(Some(host.as_bytes()), false), "{list} has no {host}"));
            assert!(!hosts.admit(None, false) && !hosts.admit(Some(b"\xff"), false));
        }
        assert!(Hosts::default().admit(None, false) && Hosts::default().admit(Some(b"any"), true));
    }

    #[test]
    fn the_port_that_is_not_said_is_that_of_the_scheme() {
        let hosts = hosts("a:443,b:80");
        let admits = |host: &str, secure| hosts.admit(Some(host.as_bytes()), secure);
        assert_eq!(
            [admits("a", true), admits("a", false), admits("b", true), admits("b", false)],
            [true, false, false, true]
        );
        assert!(admits("a:443", false) && admits("b:80", true));
    }

    #[test]
    fn what_is_no_item_is_told_with_a_remedy() {
        let long = "a".repeat(HOST_BYTES_MAX + 1);
        let rows = [
            "",
            "*",
            "*.",
            "*.[::1]",
            "a.*.b",
            "*a",
            "::1",
            "[::1",
            "[10.0.0.1]",
            "a:0",
            "a:65536",
            "a:x",
            "a:1:2",
            ".a",
            "http://a",
            "a/b",
            "a b",
            "\u{e4}",
            &long,
        ];
        for item in rows {
            let why = Name::parse(item).expect_err(item);
            assert!(why.contains("; write "), "{item:?}: {why}");
        }
    }

    #[test]
    fn whatever_a_host_is_a_name_covers_itself_alone() {
        // Numbers that only look like chance, from a seed (xorshift64*).
        let mut state = 5_u64;
        let mut next = |bound: usize| {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
        };
        let letters: Vec<char> = "aAbB.-:[]019*\0\u{e4} /".chars().collect();
        for _ in 0..20_000 {
            let mut draw = || -> String { (0..next(8)).map(|_| letters[next(letters.len())]).collect() };
            let (item, host) = (draw(), draw());
            let Ok(name) = Name::parse(&item) else { continue };
            let hosts = Hosts(vec![name.clone()]);
            if !name.beneath {
                assert!(hosts.admit(Some(item.as_bytes()), name.port == Some(443)), "{item:?}");
            }
            if hosts.admit(Some(host.as_bytes()), false) {
                let (admitted, _) = split(&host).expect("it is one");
                let same = admitted == name.host;
                assert!(same != name.beneath && admitted.ends_with(&name.host), "{item:?} {host:?}");
            }
        }
    }
}
