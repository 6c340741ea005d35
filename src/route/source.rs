//! What knows tokens, by the names of websockify's plugins, and how each is told where to look.
//!
//! Reads the words of the command line. It opens nothing: paths are as written until somebody makes them absolute. Pure.

use super::authority::{Authority, Parts};
use super::plugin::Plugin;
use crate::target::{Port, Target, plausible_host};
use std::fmt;
use std::path::PathBuf;

/// What knows tokens.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A file, or a directory of files, with a line for each token.
    TokenFile {
        /// File or directory.
        path: PathBuf,
        /// Whether it was asked for as `ReadOnlyTokenFile`, which does the same.
        read_only: bool,
    },
    /// A directory with a file for each token, named after it.
    TokenFileName(PathBuf),
    /// A web service that is asked for each token.
    Api(Api),
    /// The token itself says the target, signed with the key in this file.
    Jwt(PathBuf),
    /// A Redis database.
    Redis(Redis),
    /// A directory of Unix sockets, each named by its token.
    SocketDirectory(PathBuf),
    /// A process that is asked.
    Plugin(Plugin),
}

/// A web service that knows tokens.
#[derive(Clone, PartialEq)]
pub struct Api {
    /// The address in front of the token.
    pub before: String,
    /// The address behind it.
    pub behind: String,
    /// Whether it answers in JSON, rather than with `host:port`.
    pub json: bool,
}

/// A Redis database that knows tokens.
#[derive(Clone, PartialEq)]
pub struct Redis {
    /// The server's host, brackets removed.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Number of the database.
    pub database: u32,
    /// What it wants to be told first. Never shown.
    pub password: Option<String>,
    /// What stands in front of each token, with a colon between.
    pub namespace: Option<String>,
}

/// The names of all sources.
pub const NAMES: [&str; 8] = [
    "TokenFile",
    "ReadOnlyTokenFile",
    "TokenFileName",
    "BaseTokenAPI",
    "JSONTokenApi",
    "JWTTokenApi",
    "TokenRedis",
    "UnixDomainSocketDirectory",
];

impl Source {
    /// Reads the name of a plugin and where it looks.
    ///
    /// # Errors
    /// What is wrong, the option first. It never repeats a source that may hold a password.
    pub fn parse(plugin: &str, place: Option<&str>) -> Result<Source, String> {
        if !NAMES.contains(&plugin) {
            let names = NAMES.join(", ");
            return Err(format!(
                "--token-plugin: {plugin:?}: there is no such plugin; use one of {names}, a Python class with a dot, or \
                 exec:COMMAND"
            ));
        }
        let place = place.ok_or_else(|| {
            let what = match plugin {
                "BaseTokenAPI" | "JSONTokenApi" => "the address of the service, with %s for the token",
                "JWTTokenApi" => "the file of the key",
                "TokenRedis" => "host[:port[:db[:password[:namespace]]]]",
                "TokenFile" | "ReadOnlyTokenFile" => "the file or directory of tokens",
                _ => "the directory",
            };
            format!("--token-plugin: {plugin} needs a source; name {what} with --token-source")
        })?;
        // The word may hold a password, so it is not repeated.
        let refused = |why: String| format!("--token-source: {why}");
        Ok(match (Source::at(plugin, place.into()), plugin) {
            (Some(source), _) => source,
            (None, "TokenRedis") => Source::Redis(Redis::parse(place).map_err(refused)?),
            (None, name) => Source::Api(Api::parse(place, name == "JSONTokenApi").map_err(refused)?),
        })
    }

    /// The source at a path, whatever its bytes; `None` where the plugin takes no path.
    pub fn at(plugin: &str, path: PathBuf) -> Option<Source> {
        Some(match plugin {
            "TokenFile" => Source::TokenFile { path, read_only: false },
            "ReadOnlyTokenFile" => Source::TokenFile { path, read_only: true },
            "TokenFileName" => Source::TokenFileName(path),
            "JWTTokenApi" => Source::Jwt(path),
            "UnixDomainSocketDirectory" => Source::SocketDirectory(path),
            _ => return None,
        })
    }

    /// Its name in websockify.
    pub fn name(&self) -> &str {
        match self {
            Source::TokenFile { read_only: false, .. } => "TokenFile",
            Source::TokenFile { read_only: true, .. } => "ReadOnlyTokenFile",
            Source::TokenFileName(_) => "TokenFileName",
            Source::Api(Api { json: false, .. }) => "BaseTokenAPI",
            Source::Api(Api { json: true, .. }) => "JSONTokenApi",
            Source::Jwt(_) => "JWTTokenApi",
            Source::Redis(_) => "TokenRedis",
            Source::SocketDirectory(_) => "UnixDomainSocketDirectory",
            Source::Plugin(plugin) => plugin.name(),
        }
    }

    /// The path in it, to be made absolute.
    pub fn path_mut(&mut self) -> Option<&mut PathBuf> {
        match self {
            Source::TokenFile { path, .. }
            | Source::TokenFileName(path)
            | Source::Jwt(path)
            | Source::SocketDirectory(path) => Some(path),
            Source::Api(_) | Source::Redis(_) | Source::Plugin(_) => None,
        }
    }
}

impl Api {
    fn parse(address: &str, json: bool) -> Result<Api, String> {
        let parts = Parts::of(address).filter(|parts| ["http", "https"].contains(&parts.scheme));
        let parts = parts.ok_or("the address of the service must begin with http:// or https://")?;
        // Passwords stand in front of a host, keys behind it; with another @ it is not clear which one is the host.
        let shown = if parts.rest.contains('@') { "..." } else { parts.place() };
        let refused = |why: &str| format!("\"{}://{}/...\": {why}", parts.scheme, shown.escape_debug());
        if address.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return Err(refused(
                "has blanks or letters that an address cannot have; percent-encode them, as %20 for a blank",
            ));
        }
        let around = around_token(address);
        let [before, behind] = &around[..] else {
            return Err(refused("must have %s once, for the token; write it where the token goes"));
        };
        if !before[parts.scheme.len() + "://".len()..].contains(['/', '?', '#']) {
            return Err(refused("the token may not be a part of the host; put %s behind a / or a ?"));
        }
        Authority::parse(parts.authority).map_err(refused)?;
        if before.contains('#') {
            return Err(refused("what stands behind # is not sent; put %s in front of it"));
        }
        Ok(Api { before: before.clone(), behind: behind.clone(), json })
    }

    /// Host and port of the service, for the log: the rest of its address could be secret.
    pub fn place(&self) -> &str {
        Parts::of(&self.before).map_or("", |parts| parts.place())
    }
}

impl Redis {
    fn parse(word: &str) -> Result<Redis, String> {
        let fields = fields(word)?;
        if fields.len() > 5 {
            return Err(
                "more than five fields; write host[:port[:db[:password[:namespace]]]], a field with a \
                        colon in double quotes, an IPv6 address in brackets"
                    .into(),
            );
        }
        let field = |at: usize| fields.get(at).filter(|field| !field.is_empty());
        let number = |at: usize, what: &str, default: u32, most: u32| match field(at) {
            None => Ok(default),
            Some(text) => text
                .parse()
                .ok()
                .filter(|number| *number <= most)
                // A field too few makes this one the password.
                .ok_or_else(|| {
                    format!(
                        "field {}, {what} of Redis, is not a number from 0 to {most}; write \
                         host[:port[:db[:password[:namespace]]]]",
                        at + 1
                    )
                }),
        };
        let host =
            field(0).ok_or("the host of Redis is missing; write host[:port[:db[:password[:namespace]]]]")?;
        let host = host.trim_matches(['[', ']']);
        if !plausible_host(host) || host.contains('@') {
            return Err("field 1, the host of Redis, can be none; write a name, an address, or [IPv6]".into());
        }
        let port = number(1, "the port", 6379, 65535)?;
        Ok(Redis {
            host: host.into(),
            port: u16::try_from(port).unwrap_or(6379),
            database: number(2, "the database", 0, u32::MAX)?,
            password: field(3).cloned(),
            namespace: field(4).cloned(),
        })
    }
}

/// What stands around each `%s` of an address. A `%` may be doubled, as it had to be for websockify, whose addresses are formats
/// of Python; a single one in front of anything else is itself.
fn around_token(address: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut letters = address.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter == '%' && letters.next_if_eq(&'s').is_some() {
            parts.push(String::new());
            continue;
        }
        if letter == '%' {
            letters.next_if_eq(&'%');
        }
        if let Some(part) = parts.last_mut() {
            part.push(letter);
        }
    }
    parts
}

/// Splits at colons, but not in brackets, nor in a field that stands in double quotes as a whole; other quotes are letters.
fn fields(word: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut rest = word.trim();
    loop {
        let ends = |at: usize| rest[at..].is_empty() || rest[at..].starts_with(':');
        let quoted = rest.strip_prefix('"').map(|inner| (inner.find('"'), inner));
        // Only the host has brackets; elsewhere they are letters.
        let (field, end) = match quoted {
            Some((Some(len), inner)) if len > 0 && ends(len + 2) => (&inner[..len], len + 2),
            Some((None, _)) => {
                return Err(format!(
                    "the quote of field {} of Redis is not closed; write \" behind the field, or none in front",
                    fields.len() + 1
                ));
            }
            _ => {
                let closed = match rest.find('[').filter(|_| fields.is_empty()) {
                    Some(at) if !rest[..at].contains(':') => rest[at..].find(']').map(|len| at + len).ok_or(
                        "the bracket of field 1, the host of Redis, is not closed; write [::1] or [::1]:port",
                    )?,
                    _ => 0,
                };
                let end = rest[closed..].find(':').map_or(rest.len(), |at| closed + at);
                (&rest[..end], end)
            }
        };
        fields.push(field.to_owned());
        match rest.get(end + 1..) {
            Some(behind) => rest = behind,
            None => return Ok(fields),
        }
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Api {{ {} }}", self.place())
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redis {{ {self} }}")
    }
}

impl fmt::Display for Redis {
    /// Host and port, as in websockify's log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Target::Tcp { host: self.host.clone(), port: Port::Number(self.port) }.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::authority::tests::BAD;

    /// Host, port, database, password, namespace.
    type Parts = (String, u16, u32, Option<String>, Option<String>);

    fn redis(word: &str) -> Result<Parts, String> {
        match Source::parse("TokenRedis", Some(word)) {
            Ok(Source::Redis(it)) => Ok((it.host, it.port, it.database, it.password, it.namespace)),
            Ok(other) => panic!("{other:?}"),
            Err(why) => Err(why),
        }
    }

    #[test]
    fn names_are_those_of_websockify() {
        for name in NAMES {
            let place = if name.contains("API") || name == "JSONTokenApi" { "http://h/%s" } else { "/x" };
            let source = Source::parse(name, Some(place)).unwrap();
            assert_eq!(source.name(), name);
            let why = Source::parse(name, None).unwrap_err();
            assert!(why.contains(name) && why.contains("--token-source"), "{why}");
        }
        let why = Source::parse("tokenfile", Some("/x")).unwrap_err();
        assert!(why.contains("\"tokenfile\"") && why.contains("TokenFile, "), "{why}");
    }

    #[test]
    fn redis_sources() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(redis("h"), Ok(("h".into(), 6379, 0, None, None)));
        assert_eq!(redis("h:1:2:p:n"), Ok(("h".into(), 1, 2, some("p"), some("n"))));
        assert_eq!(redis("h::::\"a:b\""), Ok(("h".into(), 6379, 0, None, some("a:b"))));
        assert_eq!(redis("h:::\"p:[w\""), Ok(("h".into(), 6379, 0, some("p:[w"), None)));
        for (field, password) in
            [("p\"w", "p\"w"), ("p\"w\"", "p\"w\""), ("\"p\"w", "\"p\"w"), ("\"\"", "\"\""), ("\"p\"", "p")]
        {
            let expected = Ok(("h".into(), 6379, 0, some(password), some("n")));
            assert_eq!(
                redis(&format!("h:::{field}:n")),
                expected,
                "only quotes around a whole field are none of it"
            );
        }
        assert_eq!(redis("h:::p[w"), Ok(("h".into(), 6379, 0, some("p[w"), None)));
        assert_eq!(redis("[::1]:1"), Ok(("::1".into(), 1, 0, None, None)));
        for bad in ["", ":1", "h:x", "h:65536", "h:1:x", "h:1:-1", "h:1:2:p:n:x", "::1"] {
            assert!(redis(bad).is_err(), "{bad}");
        }
        for (bad, part) in [
            ("a b:1", "field 1, the host of Redis, can be none; write"),
            ("[a:b]:1", "field 1, the host of Redis, can be none; write"),
            ("me@h:1", "field 1, the host of Redis, can be none; write"),
            ("h:::\"p", "the quote of field 4 of Redis is not closed; write"),
            ("[::1", "the bracket of field 1, the host of Redis, is not closed; write"),
        ] {
            let why = redis(bad).unwrap_err();
            assert!(why.starts_with("--token-source: ") && why.contains(part), "{why}");
        }
        for misplaced in [
            "h:1:2:hunter2:n:x",
            "h:x:0:hunter2",
            "h:hunter2",
            "h:1:hunter2",
            ":1::hunter2",
            "h:1:2:\"hunter2",
        ] {
            let why = redis(misplaced).unwrap_err();
            assert!(!why.contains("hunter2") && why.starts_with("--token-source: "), "{why}");
        }
        assert!(redis("h:hunter2").unwrap_err().contains("field 2, the port"));
        let shown = format!("{:?}", Source::parse("TokenRedis", Some("h:1:2:hunter2")).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn addresses_of_services() {
        let api = |address: &str| Source::parse("BaseTokenAPI", Some(address));
        let Ok(Source::Api(parsed)) = api("https://u:p@h:8/t/%s?k=1") else { panic!() };
        assert_eq!((&*parsed.before, &*parsed.behind, parsed.place()), ("https://u:p@h:8/t/", "?k=1", "h:8"));
        for (address, before, behind) in [
            ("http://h/a%%20b/%s", "http://h/a%20b/", ""),
            ("http://h/a%20b/%s%%2F", "http://h/a%20b/", "%2F"),
            ("http://u:p%%sw@h/%s", "http://u:p%sw@h/", ""),
            ("http://h?%%s=%s", "http://h?%s=", ""),
        ] {
            let Ok(Source::Api(parsed)) = api(address) else { panic!("{address}") };
            assert_eq!((&*parsed.before, &*parsed.behind), (before, behind), "{address}: a doubled % is one");
        }
        for bad in [
            "",
            "http://h/%%s",
            "http://h/#%s",
            "h/%s",
            "ftp://h/%s",
            "http://h/",
            "http://h/%s/%s",
            "http://%s/",
            "http:///%s",
            "http://h /%s",
            "http://[::1/%s",
        ] {
            assert!(api(bad).is_err_and(|why| why.starts_with("--token-source: ")), "{bad}");
        }
        for (bad, part) in BAD {
            let address = format!("http://{bad}/%s");
            let why = api(&address).unwrap_err();
            assert!(why.starts_with("--token-source: \"http://") && why.contains(part), "{bad}: {why}");
        }
        for secret in [
            "http://me:hunter2@h:99999/%s",
            "http://me:hunt/er2@h/%s",
            "http://me:hunter2@h/",
            "http://me:hunter2@h/%s/%s",
            "http://me:hunter2@h/ %s",
            "http://me:hunt/er2@h/",
            "http://h/?key=hunter2",
            "http://hunter2@/%s",
            "http://%s:hunter2@h/",
            "me:hunter2@h/%s",
            "ftp://me:hunter2@h/%s",
        ] {
            let why = api(secret).unwrap_err();
            assert!(!why.contains("hunt"), "{secret}: {why}");
        }
        assert!(
            api("https://me:hunter2@h:8/").unwrap_err().contains("\"https://h:8/...\": must have %s once")
        );
    }
}
