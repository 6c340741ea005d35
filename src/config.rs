//! What a running server was told to do: plain data, complete and checked, put together from the rooms' own options.
//!
//! `cli` builds one of these from a command line; everything above reads it and nothing changes it. It never parses and
//! never touches the system.

use crate::sys::user::Identity;
use crate::target::Target;
use crate::{http, limits, route, tape, tls, web};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
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
    /// The hosts that are answered for.
    pub hosts: http::host::Hosts,
    /// What the Server header of every answer says; empty: there is none. Printable ASCII, at most
    /// [`crate::limits::SERVER_NAME_BYTES_MAX`] bytes.
    pub server_header: Box<str>,
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
    /// Ceiling of all buffers of the process, in bytes, at least [`crate::limits::BUFFER_MEMORY_MIN`]; `None`: a quarter of memory, or of what limits leave of it.
    pub buffer_memory: Option<usize>,
    /// Most sessions of the process: 1 to [`crate::limits::SESSIONS_MAX`]; `None`: [`crate::limits::SESSIONS_DEFAULT`].
    pub sessions_max: Option<usize>,
    /// Most connections of one source address, 1 to [`crate::limits::SESSIONS_MAX`], a /64 of IPv6 being one; `None`: as many as
    /// there are places.
    pub source_sessions_max: Option<usize>,
    /// Where sessions are recorded to, if they are.
    pub record: Option<tape::Options>,
    /// Write a letter to standard output for everything that passes.
    pub traffic: bool,
    /// A program to run beside, whose port this server has taken. Its target is `target`; where that is port 0 of the
    /// loopback, the port is chosen when the server starts.
    pub wrap: Option<Wrap>,
    /// How much is logged.
    pub verbosity: Verbosity,
    /// How the process begins and ends.
    pub process: Process,
    /// Where log lines go besides standard error.
    pub logs: Logs,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbosity {
    /// What needs an operator, and no sessions.
    Quiet,
    /// Sessions too.
    Usual,
    /// Also what is only useful when looking for something.
    Verbose,
}

/// Where log lines go besides standard error.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Logs {
    /// A file, absolute, in a directory that was there when the process started; lines are appended.
    pub file: Option<PathBuf>,
    /// A syslog server.
    pub syslog: Option<Syslog>,
}

/// A syslog server and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syslog {
    /// Where it is.
    pub server: SyslogServer,
    /// In the form of BSD instead of RFC 5424.
    pub legacy: bool,
    /// As a daemon instead of a user's program.
    pub daemon: bool,
    /// What the program calls itself.
    pub ident: String,
}

/// Where a syslog server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyslogServer {
    /// At a Unix socket of either kind; its path, absolute.
    Local(PathBuf),
    /// At a UDP port.
    Udp {
        /// Name or address, brackets removed; empty means loopback.
        host: String,
        /// Port.
        port: u16,
    },
}

/// How the process begins and ends.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Process {
    /// What was said and nothing comes of, though it may well be meant: a line each, for whoever starts it.
    pub doubts: Vec<String>,
    /// Serve one client at a time, and end with the first session that became a bridge.
    pub once: bool,
    /// Let nobody in any more when this has passed since the start, and end with the last session.
    pub timeout: Option<Lapse>,
    /// End when there has been no session for this long.
    pub idle: Option<Lapse>,
    /// Leave whoever started it, and go on in the background.
    pub daemon: bool,
    /// websockify's other engine was asked for, which there is not.
    pub libserver: bool,
    /// Serve nobody, and say whether this would start.
    pub check: bool,
    /// Where the process writes its number; absolute.
    pub pid_file: Option<PathBuf>,
    /// Who to be once everything is open.
    pub user: Option<Identity>,
}

impl Process {
    /// Where the file with the number is before it is in its place: always the same name, so that those who make it meet there.
    pub fn draft_of(pid_file: &Path) -> PathBuf {
        let mut name = OsString::from(".");
        name.push(pid_file.file_name().unwrap_or_default());
        name.push(".new");
        pid_file.with_file_name(name)
    }
}

/// A time that may pass, and how it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lapse {
    /// How long; zero has passed already.
    pub time: Duration,
    /// As written, for the line that tells that it has passed: digits, a sign and a unit, nothing else.
    pub said: String,
}

impl fmt::Display for SyslogServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SyslogServer::Local(path) => path.display().fmt(f),
            SyslogServer::Udp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            SyslogServer::Udp { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// A wrapped program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrap {
    /// The file to run; absolute, unless it has to be looked up again.
    pub program: PathBuf,
    /// Its words as written, the first one being what it is called by; never empty.
    pub words: Vec<OsString>,
    /// What its end means.
    pub mode: WrapMode,
    /// How its `bind()` is moved.
    pub bind: WrapBind,
}

impl Wrap {
    /// What stands for the port to listen on, in the words.
    pub const PORT: &str = "{port}";
    /// What stands for the Unix socket to listen on, in the words.
    pub const UNIX_SOCKET: &str = "{unix_socket}";

    /// The command as messages show it: its words as written, on one line.
    pub fn shown(&self) -> String {
        let mut out = String::new();
        for word in &self.words {
            let blank = if out.is_empty() { "" } else { " " };
            out.push_str(blank);
            for c in word.to_string_lossy().chars() {
                if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
            }
        }
        out
    }

    /// Does any word have this in it?
    pub fn says(&self, name: &str) -> bool {
        says(&self.words, name)
    }
}

/// Does any of these words have `name` in it?
pub fn says(words: &[OsString], name: &str) -> bool {
    words.iter().any(|word| memchr::memmem::find(word.as_encoded_bytes(), name.as_bytes()).is_some())
}

/// What the end of a wrapped program means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrapMode {
    /// The server ends too, with its status.
    Exit,
    /// Nothing: it may have left a daemon behind.
    Ignore,
    /// It is started again.
    Respawn,
}

/// How the `bind()` of a wrapped program is moved to another port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrapBind {
    /// `Seccomp` where that can be done, else `Preload`.
    Auto,
    /// From outside, by seccomp user notification, or refuse to start.
    Seccomp,
    /// From inside, by an LD_PRELOAD interposer.
    Preload,
    /// Not at all.
    None,
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
    /// Standard input: a listening socket, or one client that somebody else accepted.
    Inherited,
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
    /// From a ping to anything at all that the client sends; zero: it may stay silent.
    pub pong: Duration,
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
            pong: Duration::from_millis(limits::PONG_TIMEOUT_MS),
            drain: Duration::from_millis(limits::DRAIN_TIMEOUT_MS),
        }
    }
}
