//! What a running server was told to do: plain data, complete and checked, put together from the rooms' own options.
//!
//! `cli` builds one of these from a command line; everything above reads it and nothing changes it. It never parses and
//! never touches the system.

use crate::target::Target;
use crate::{http, limits, route, tls, web};
use std::path::PathBuf;
use std::time::Duration;

/// The whole configuration of a process.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Base name of `argv[0]`, for messages.
    pub program: String,
    /// Where clients come in.
    pub listen: Listen,
    /// Where they are carried; `None`: where the route of each request leads.
    pub target: Option<Target>,
    /// Who may pass, and where to.
    pub route: route::Options,
    /// Static files, if any are served.
    pub web: Option<web::Options>,
    /// Directory of the static files, absolute, a directory when the process started; `None` with `web` set means the
    /// built-in page.
    pub web_root: Option<PathBuf>,
    /// How upgrades are judged and sub-protocols chosen.
    pub upgrade: http::upgrade::Options,
    /// Certificates, keys and rules of TLS; without certificates clients are not offered any.
    pub tls: tls::Options,
    /// What becomes of clients without TLS; all are served where there is no certificate.
    pub plain: http::secure::Plain,
    /// Every deadline.
    pub timing: Timing,
    /// Largest message that is held whole, in bytes: 1 to [`crate::limits::MESSAGE_BYTES_MAX`].
    pub message_bytes_max: usize,
    /// Which engine carries the bytes.
    pub engine: EngineChoice,
    /// Shards, 1 to [`crate::limits::SHARDS_MAX`]; `None`: one per allowed core.
    pub threads: Option<usize>,
    /// Ceiling of all buffers of the process, in bytes, at least [`crate::limits::BUFFER_MEMORY_MIN`]; `None`: a quarter of memory or of the cgroup's limit.
    pub buffer_memory: Option<usize>,
    /// Most sessions of the process: 1 to [`crate::limits::SESSIONS_MAX`].
    pub sessions_max: usize,
    /// Also log what is only useful when looking for something.
    pub verbose: bool,
}

/// A listening address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// TCP. An empty host means all interfaces, both families.
    Tcp {
        /// Name or address as written, brackets removed. One that contains a colon is an IPv6 address, a scope included.
        host: String,
        /// Port; 0 lets the kernel choose.
        port: u16,
        /// Resolve names to IPv6 first.
        prefer_ipv6: bool,
    },
    /// A Unix stream socket.
    Unix {
        /// Its path, absolute.
        path: PathBuf,
        /// Permission bits of the socket file.
        mode: u32,
    },
}

/// Which engine to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineChoice {
    /// `Ring` where the kernel allows it, else `Poll`.
    Auto,
    /// io_uring, or refuse to start.
    Ring,
    /// Readiness through mio.
    Poll,
}

/// Deadlines; each is documented at its default in [`crate::limits`]. None is zero unless its line says so, and none is
/// above [`crate::limits::DEADLINE_MS_MAX`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Accept to complete head.
    pub head: Duration,
    /// A request's whole route: everything others are asked about it.
    pub route: Duration,
    /// Whole dial of a target.
    pub dial: Duration,
    /// Our close frame to the client's end.
    pub close: Duration,
    /// A send without progress.
    pub write: Duration,
    /// Between pings; zero: none are sent.
    pub heartbeat: Duration,
    /// Goodbyes when the server stops; zero: closed at once.
    pub drain: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            head: Duration::from_millis(limits::HEAD_TIMEOUT_MS),
            route: Duration::from_millis(limits::ROUTE_TIMEOUT_MS),
            dial: Duration::from_millis(limits::DIAL_TIMEOUT_MS),
            close: Duration::from_millis(limits::CLOSE_TIMEOUT_MS),
            write: Duration::from_millis(limits::WRITE_TIMEOUT_MS),
            heartbeat: Duration::from_millis(limits::HEARTBEAT_MS),
            drain: Duration::from_millis(limits::DRAIN_TIMEOUT_MS),
        }
    }
}
