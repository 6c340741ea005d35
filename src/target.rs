//! A target: what the command line names and a session dials, and how it is written.
//!
//! Owns the grammar of target words (`host:port`, `[v6]:port`, `echo://`, a Unix path, `@abstract`). It never resolves a
//! name or opens a socket: names become addresses on a helper.

use crate::limits::{HOST_BYTES_MAX, SERVICE_BYTES_MAX};
use std::ffi::OsStr;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

/// Where a bridge leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A host name or address and a port number or service name, resolved when dialled.
    Tcp {
        /// Name or address, brackets removed; empty means loopback, as in websockify.
        host: String,
        /// Port, or the name of a service.
        port: Port,
    },
    /// A Unix stream socket in the file system.
    Unix(PathBuf),
    /// The same, looked up already: this very socket is dialled, whatever is at its path by then.
    Held(Held),
    /// A Unix stream socket in the abstract namespace (Linux), named without the leading `@`.
    Abstract(Vec<u8>),
    /// A name that was looked up already: these addresses are dialled, whatever it leads to by then.
    Resolved {
        /// What it goes by.
        name: Arc<Target>,
        /// In the order in which they are tried.
        addresses: Vec<SocketAddr>,
    },
    /// No socket at all: each message comes back with its type and boundaries.
    Echo,
}

/// A Unix socket that is kept from being taken for another one.
#[derive(Clone, Debug)]
pub struct Held {
    /// Its path when it was looked up, by which it goes.
    pub path: PathBuf,
    /// The path by which it is dialled; good for as long as `socket` is.
    pub way: PathBuf,
    /// The socket's file, opened for nothing but this.
    socket: Arc<OwnedFd>,
}

/// A port as written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Port {
    /// A number.
    Number(u16),
    /// The name of a service, such as `vnc`; looked up together with the host.
    Service(String),
}

/// Why a target word is refused. `Display` gives websockify's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetError {
    /// No colon, or a host that cannot be one.
    Word,
    /// A port that is neither a number nor the name of a service.
    Port,
    /// A number that no port has.
    PortRange(String),
}

impl Target {
    /// Reads a word of the command line: `host:port`, `[v6]:port` or `echo://`.
    ///
    /// Host and port are split at the last colon and brackets are optional, as in websockify: `::1:5900` is port 5900 of
    /// `::1`. Port 0 is a port like any other here; dialling it fails.
    ///
    /// # Errors
    /// [`TargetError`], never anything else, whatever the word.
    pub fn parse(word: &str) -> Result<Target, TargetError> {
        if word == "echo://" {
            return Ok(Target::Echo);
        }
        let (host, port) = split(word).ok_or(TargetError::Word)?;
        let port = Port::parse(port)?;
        if !plausible_host(host) {
            return Err(TargetError::Word);
        }
        Ok(Target::Tcp { host: host.to_owned(), port })
    }

    /// Reads the name of a Unix socket: a path, or `@name` for the abstract namespace. A path that starts with `@` is
    /// written `./@name`. `None` if the name is empty.
    pub fn parse_unix(name: &OsStr) -> Option<Target> {
        match name.as_bytes() {
            [] | [b'@'] => None,
            [b'@', name @ ..] => Some(Target::Abstract(name.to_vec())),
            _ => Some(Target::Unix(PathBuf::from(name))),
        }
    }
}

impl Target {
    /// The name that it goes by if it is given no other: its host, or that of this machine.
    pub fn name(&self) -> &str {
        match self {
            Target::Tcp { host, .. } if !host.is_empty() => host,
            Target::Resolved { name, .. } => name.name(),
            Target::Tcp { .. } | Target::Unix(_) | Target::Held(_) | Target::Abstract(_) | Target::Echo => {
                "localhost"
            }
        }
    }
}

impl Held {
    /// The socket that was found at `path`, and the way to it through `socket`.
    pub fn new(path: PathBuf, way: PathBuf, socket: OwnedFd) -> Held {
        Held { path, way, socket: Arc::new(socket) }
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Held) -> bool {
        Arc::ptr_eq(&self.socket, &other.socket)
    }
}

impl Eq for Held {}

impl Hash for Held {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.way.hash(state);
    }
}

impl Port {
    /// Reads a port: decimal digits, or the name of a service.
    ///
    /// # Errors
    /// [`TargetError::Port`] or [`TargetError::PortRange`].
    pub fn parse(text: &str) -> Result<Port, TargetError> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            let number = text.parse().map_err(|_| TargetError::PortRange(text.to_owned()))?;
            return Ok(Port::Number(number));
        }
        if is_service(text) { Ok(Port::Service(text.to_owned())) } else { Err(TargetError::Port) }
    }
}

/// Splits a word at its last colon into host, brackets removed, and port; `None` if it has no colon.
pub fn split(word: &str) -> Option<(&str, &str)> {
    let (host, port) = word.rsplit_once(':')?;
    Some((host.trim_matches(['[', ']']), port))
}

/// Could this be a host? Empty (loopback for a target, all interfaces for a listener), an IPv6 address with or without a
/// scope, or anything without colons, blanks and control characters: the rest is for the resolver to say.
pub fn plausible_host(host: &str) -> bool {
    if host.contains(':') {
        return host.split('%').next().is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    host.len() <= HOST_BYTES_MAX && !host.chars().any(|c| c.is_whitespace() || c.is_control())
}

/// Is this a name by RFC 6335 section 5.1: letters, digits and single inner hyphens, at least one letter?
fn is_service(name: &str) -> bool {
    name.len() <= SERVICE_BYTES_MAX
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && name.bytes().any(|byte| byte.is_ascii_alphabetic())
        && !(name.starts_with('-') || name.ends_with('-') || name.contains("--"))
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TargetError::Word => f.write_str("Error parsing target"),
            TargetError::Port => f.write_str("Error parsing target port"),
            TargetError::PortRange(text) => write!(f, "Error parsing target port: {text} is above 65535"),
        }
    }
}

impl std::error::Error for TargetError {}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Port::Number(number) => write!(f, "{number}"),
            Port::Service(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Target::Tcp { host, port } => write!(f, "{host}:{port}"),
            Target::Unix(path) | Target::Held(Held { path, .. }) => write!(f, "{}", path.display()),
            Target::Abstract(name) => write!(f, "@{}", name.escape_ascii()),
            Target::Resolved { name, .. } => name.fmt(f),
            Target::Echo => f.write_str("echo://"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Result<Target, TargetError> {
        Ok(Target::Tcp { host: host.into(), port: Port::Number(port) })
    }

    fn service(host: &str, name: &str) -> Result<Target, TargetError> {
        Ok(Target::Tcp { host: host.into(), port: Port::Service(name.into()) })
    }

    #[test]
    fn words() {
        let rows = [
            ("localhost:5901", tcp("localhost", 5901)),
            (":5900", tcp("", 5900)),
            ("[::1]:5900", tcp("::1", 5900)),
            ("::1:5900", tcp("::1", 5900)),
            ("[fe80::1%eth0]:5900", tcp("fe80::1%eth0", 5900)),
            ("10.0.0.1:0", tcp("10.0.0.1", 0)),
            ("host:00080", tcp("host", 80)),
            ("host:65535", tcp("host", 65535)),
            ("host:vnc", service("host", "vnc")),
            ("host:vnc-1", service("host", "vnc-1")),
            ("host:3com-tsmux", service("host", "3com-tsmux")),
            ("echo://", Ok(Target::Echo)),
            ("echo:7", tcp("echo", 7)),
            ("host", Err(TargetError::Word)),
            ("", Err(TargetError::Word)),
            ("a b:1", Err(TargetError::Word)),
            ("a\n:1", Err(TargetError::Word)),
            ("a:b:1", Err(TargetError::Word)),
            ("::1", Err(TargetError::Word)),
            ("host:", Err(TargetError::Port)),
            ("host:-1", Err(TargetError::Port)),
            ("host:+1", Err(TargetError::Port)),
            ("host: 1", Err(TargetError::Port)),
            ("host:1.5", Err(TargetError::Port)),
            ("host:a--b", Err(TargetError::Port)),
            ("host:vnc-", Err(TargetError::Port)),
            ("host:a-name-too-long-for-one", Err(TargetError::Port)),
            ("[::1]", Err(TargetError::Port)),
            ("echo://x", Err(TargetError::Port)),
            ("host:65536", Err(TargetError::PortRange("65536".into()))),
            ("host:99999999999999999999", Err(TargetError::PortRange("99999999999999999999".into()))),
        ];
        for (word, expected) in rows {
            assert_eq!(Target::parse(word), expected, "{word:?}");
        }
        assert_eq!(Target::parse(&format!("{}:1", "a".repeat(HOST_BYTES_MAX + 1))), Err(TargetError::Word));
    }

    #[test]
    fn unix_names() {
        let unix = |name: &str| Target::parse_unix(OsStr::new(name));
        assert_eq!(unix("/run/x"), Some(Target::Unix("/run/x".into())));
        assert_eq!(unix("./@x"), Some(Target::Unix("./@x".into())));
        assert_eq!(unix("@x"), Some(Target::Abstract(b"x".to_vec())));
        assert_eq!((unix(""), unix("@")), (None, None));
    }

    #[test]
    fn a_word_written_back_is_read_the_same() {
        for word in ["localhost:5901", ":5900", "[::1]:5900", "host:vnc", "echo://"] {
            assert_eq!(Target::parse(word).unwrap().to_string(), word);
        }
    }
}
