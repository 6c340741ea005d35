//! The proxy of the environment through which a web service is asked about tokens, where there is one.
//!
//! Owns which variable counts and who is exempt, as Python's programs read them, websockify among them: the variable of the
//! service's scheme before `all_proxy`, small letters before capitals, and `no_proxy`. They are read once, at the start. One
//! that cannot be used is an error: tokens would go to the service by a way that the operator did not mean.

use crate::route::authority::{Authority, Parts, shown};
use std::env;
use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;

/// A proxy. `Display` says which, and the variable that names it.
#[derive(Clone, Debug)]
pub(super) struct Proxy {
    variable: &'static str,
    /// Host and port as they are written.
    place: String,
    /// TLS is spoken with the proxy itself.
    pub is_secure: bool,
    pub way: ureq::Proxy,
}

/// Both spellings of a variable.
type Names = [&'static str; 2];

const ALL: Names = ["all_proxy", "ALL_PROXY"];
const HTTP: Names = ["http_proxy", "HTTP_PROXY"];
const HTTPS: Names = ["https_proxy", "HTTPS_PROXY"];
const EXEMPT: Names = ["no_proxy", "NO_PROXY"];

/// Reads a variable of the environment.
type Get<'a> = &'a dyn Fn(&str) -> Option<OsString>;

impl Proxy {
    /// The proxy for the service at `url`; `None` if it is asked directly.
    ///
    /// # Errors
    /// When a proxy is named that cannot be used.
    pub fn of_environment(url: &str) -> Result<Option<Proxy>, String> {
        Proxy::find(url, &|name| env::var_os(name))
    }

    fn find(url: &str, get: Get<'_>) -> Result<Option<Proxy>, String> {
        let parts = Parts::of(url).unwrap_or_else(|| Parts::behind("http", url));
        let own = if parts.scheme == "https" { HTTPS } else { HTTP };
        let service = Authority::parse(parts.authority)?;
        let port = service.port.unwrap_or(if own == HTTPS { 443 } else { 80 });
        // Other than of proxies' own variables, one that is empty says nothing.
        let listed = EXEMPT.iter().find_map(|name| get(name).filter(|list| !list.is_empty()));
        let exempt = listed.is_some_and(|list| {
            list.to_string_lossy().split([',', ' ']).any(|entry| is_meant(entry.trim(), service.host, port))
        });
        match said(own, get).or_else(|| said(ALL, get)).filter(|_| !exempt) {
            Some((variable, value)) => Proxy::parse(variable, &value).map(Some),
            None => Ok(None),
        }
    }

    fn parse(variable: &'static str, value: &OsString) -> Result<Proxy, String> {
        let text = value.to_string_lossy();
        let refused = |why: &str| {
            let shown = shown(&text);
            let remedy = "write http://host:port there, or unset it";
            format!("{variable}='{}' in the environment is no proxy: {why}; {remedy}", shown.escape_debug())
        };
        if value.to_str().is_none() {
            return Err(refused("it is not UTF-8"));
        }
        let parts = Parts::of(&text).unwrap_or_else(|| Parts::behind("http", &text));
        let (scheme, authority) = (parts.scheme.to_ascii_lowercase(), parts.authority);
        if !["http", "https"].contains(&&*scheme) {
            return Err(refused("only proxies with http:// and https:// are spoken to"));
        }
        let place = Authority::parse(authority).map_err(refused)?;
        let way = ureq::Proxy::new(&format!("{scheme}://{authority}"));
        Ok(Proxy {
            variable,
            place: match place.port {
                Some(port) if place.host.contains(':') => format!("[{}]:{port}", place.host),
                Some(port) => format!("{}:{port}", place.host),
                None => place.host.to_owned(),
            },
            is_secure: scheme == "https",
            way: way.map_err(|_| refused("its user or password must be percent-encoded"))?,
        })
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the proxy {} of {}", self.place, self.variable)
    }
}

/// The variable that counts and its value. One in small letters that is empty takes the other one back.
fn said([small, large]: Names, get: Get<'_>) -> Option<(&'static str, OsString)> {
    let (name, value) = match get(small) {
        Some(value) => (small, value),
        None => (large, get(large)?),
    };
    (!value.is_empty()).then_some((name, value))
}

/// Whether a service is meant by an entry of `no_proxy`: a host and those below it, an address, a network, the beginning of
/// either with `*`, each with a port or without; `*` alone means everybody.
fn is_meant(entry: &str, host: &str, port: u16) -> bool {
    let (entry, host) = (entry.to_ascii_lowercase(), host.trim_end_matches('.').to_ascii_lowercase());
    let entry = match Authority::parse(&entry) {
        Ok(Authority { port: Some(own), .. }) if own != port => return false,
        Ok(Authority { host, .. }) => host,
        // An address of IPv6 without brackets, a network, or nothing.
        Err(_) => &entry,
    };
    if entry == "*"
        || entry.strip_suffix('*').is_some_and(|begin| !begin.is_empty() && host.starts_with(begin))
    {
        return true;
    }
    match (host.parse::<IpAddr>(), entry.split_once('/')) {
        (Ok(address), Some((net, bits))) => is_within(net, bits, address),
        (Ok(address), None) => entry.parse() == Ok(address),
        (Err(_), _) => {
            let name = entry.trim_start_matches('*').trim_start_matches('.');
            let above = host.strip_suffix(name).filter(|_| !name.is_empty());
            above.is_some_and(|below| below.is_empty() || below.ends_with('.'))
        }
    }
}

fn is_within(net: &str, bits: &str, address: IpAddr) -> bool {
    let (Ok(net), Ok(bits)) = (net.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
    let word = |address: IpAddr| match address {
        IpAddr::V4(address) => (u128::from(u32::from(address)) << 96, 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    };
    let ((net, most), (address, len)) = (word(net), word(address));
    most == len && bits <= most && (net ^ address).checked_shr(128 - bits).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    fn find(url: &str, variables: &[(&str, &str)]) -> Result<Option<String>, String> {
        let get = |name: &str| variables.iter().find(|(own, _)| *own == name).map(|(_, value)| value.into());
        Proxy::find(url, &get).map(|found| found.map(|proxy| proxy.to_string()))
    }

    #[test]
    fn the_variable_of_the_scheme_counts() {
        let both = [("http_proxy", "http://p:1"), ("https_proxy", "q:2"), ("ALL_PROXY", "https://[::1]:3/")];
        let small = [("http_proxy", ""), ("HTTP_PROXY", "p"), ("all_proxy", "u:hunter2@a")];
        for (url, variables, expected) in [
            ("http://h/", &both[..], Some("the proxy p:1 of http_proxy")),
            ("https://h/", &both, Some("the proxy q:2 of https_proxy")),
            ("http://h/", &both[1..], Some("the proxy [::1]:3 of ALL_PROXY")),
            ("http://h/", &both[1..2], None),
            ("http://h/", &small[1..2], Some("the proxy p of HTTP_PROXY")),
            ("http://h/", &small[..2], None),
            ("http://h/", &small, Some("the proxy a of all_proxy")),
            ("http://h/", &[], None),
        ] {
            assert_eq!(find(url, variables), Ok(expected.map(str::to_owned)), "{url} {variables:?}");
        }
    }

    #[test]
    fn one_that_cannot_be_used_is_never_passed_over() {
        for (value, part) in [
            ("socks5://127.0.0.1:1", "only proxies with http"),
            ("ftp://p", "only proxies with http"),
            (":::bad", "a colon too many"),
            ("http://127.0.0.1:99999", "no number from 1 to 65535"),
            ("http://me:hunter2@p:0", "no number from 1 to 65535"),
            ("http://me:hunter2@", "no host"),
            ("http://me:%ff-hunter2@p", "percent-encoded"),
            ("http://p q", "can be none"),
        ] {
            let why = find("http://h/", &[("http_proxy", value), ("ALL_PROXY", "http://good")]).unwrap_err();
            assert!(why.starts_with("http_proxy='") && why.contains(part), "{why}");
            assert!(why.contains("or unset it") && !why.contains("hunter2"), "{why}");
            // Nobody uses it.
            assert_eq!(find("http://h/", &[("http_proxy", value), ("no_proxy", "h")]), Ok(None));
            assert_eq!(find("https://h/", &[("http_proxy", value)]), Ok(None));
        }
        let get = |name: &str| (name == "http_proxy").then(|| OsString::from_vec(b"http://p\xff".to_vec()));
        assert!(Proxy::find("http://h/", &get).unwrap_err().contains("not UTF-8"));
    }

    #[test]
    fn who_is_exempt() {
        for (list, host, exempt) in [
            ("*", "h:1", true),
            ("a, desk.example ,b", "desk.example", true),
            ("desk.example", "a.DESK.example.", true),
            (".desk.example", "desk.example", true),
            ("*.desk.example", "a.desk.example", true),
            ("desk.example:80", "desk.example", true),
            ("desk.example:81", "desk.example", false),
            ("desk.example", "mydesk.example", false),
            ("sk.example", "desk.example", false),
            ("localhost, 127.0.0.1", "127.0.0.1:9", true),
            ("10.0.*", "10.0.1.2", true),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("10.0.0.0/33", "10.0.0.0", false),
            ("0.0.0.0/0", "11.1.2.3", true),
            ("::1", "[::1]:8", true),
            ("[::1]:8", "[::1]:8", true),
            ("fd00::/8", "[fd12::1]", true),
            ("fd00::/8", "10.0.0.1", false),
            ("", "h", false),
            (",.,", "h", false),
            ("1", "127.0.0.1", false),
        ] {
            let found = find(&format!("http://{host}/"), &[("http_proxy", "p"), ("NO_PROXY", list)]);
            assert_eq!(found.unwrap().is_none(), exempt, "{list} {host}");
        }
        // In small letters it comes first, unless it is empty.
        for (small, exempt) in [("", true), ("other.example", false)] {
            let said = [("http_proxy", "p"), ("no_proxy", small), ("NO_PROXY", "desk.example")];
            assert_eq!(find("http://desk.example/", &said).unwrap().is_none(), exempt, "{small}");
        }
    }
}
