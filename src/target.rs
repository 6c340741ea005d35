//! A target: what the command line names and a session dials, and how it is written.
//!
//! Owns the grammar of target words (`host:port`, `[v6]:port`, `echo://`, a Unix path, `@abstract`). It never resolves a
//! name or opens a socket: names become addresses on a helper.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

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
    /// A Unix stream socket in the abstract namespace (Linux), named without the leading `@`.
    Abstract(Vec<u8>),
    /// No socket at all: each message comes back with its type and boundaries.
    Echo,
}

/// One place that can be dialled: a target after its names have been looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix stream socket in the file system.
    Unix(PathBuf),
    /// A Unix stream socket in the abstract namespace, without the leading `@`.
    Abstract(Vec<u8>),
}

/// A port as written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Port {
    /// A number.
    Number(u16),
    /// The name of a service, such as `vnc`; looked up together with the host.
    Service(String),
}

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
            Target::Unix(path) => write!(f, "{}", path.display()),
            Target::Abstract(name) => write!(f, "@{}", name.escape_ascii()),
            Target::Echo => f.write_str("echo://"),
        }
    }
}
