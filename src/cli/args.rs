//! What a command line says, as types: the low level of arguments.
//!
//! Everything here is checked and typed, but nothing is resolved: paths are as written and no default depends on the
//! machine. It never touches the system, so `--help` works even where nothing else does.

use crate::config::{EngineChoice, Lapse, Listen, SyslogServer, Timing, Verbosity, WrapBind, WrapMode};
use crate::http::host::Hosts;
use crate::limits;
use crate::route::reach::Reach;
use crate::route::token::Place;
use crate::tape::name::Pattern;
use crate::target::Target;
use crate::tls::{Secret, Version};
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Serve.
    Run(Box<Args>),
    /// Print help.
    Help {
        /// With everything there is to say, or one line an option.
        long: bool,
    },
    /// Print name, version and commit.
    Version,
    /// Print a generated document.
    Generate(Document),
}

/// A document that is made from the option table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document {
    /// The man page, section 1, in roff.
    Man,
    /// Completions for bash.
    Bash,
    /// Completions for zsh.
    Zsh,
    /// Completions for fish.
    Fish,
}

/// A command line that serves.
#[derive(Clone, Debug, PartialEq)]
pub struct Args {
    /// Base name of `argv[0]`.
    pub program: String,
    /// Where clients come in; a Unix path is as written.
    pub listen: Listen,
    /// Where they are carried; a Unix path is as written. `None`: where the route of each request leads. Port 0 if a wrapped
    /// program's is still to be chosen.
    pub target: Option<Target>,
    /// The words behind `--`: a program to wrap. Never empty.
    pub wrap: Option<Vec<OsString>>,
    /// Everything that was said with options.
    pub options: Options,
}

/// The certificate that is used if none is named, where the program was started.
pub const CERT_DEFAULT: &str = "self.pem";

/// What was said with options, each field starting at its default.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// `--quiet` or `--verbose`, whichever came last.
    pub verbosity: Verbosity,
    /// `--prefer-ipv6`
    pub prefer_ipv6: bool,
    /// `--unix-listen`, as written.
    pub unix_listen: Option<PathBuf>,
    /// `--unix-listen-mode`: permission bits, at most 0o777; none if what was written is no mode.
    pub unix_listen_mode: Result<u32, OsString>,
    /// `--unix-target`, as written.
    pub unix_target: Option<Target>,
    /// `--echo`
    pub echo: bool,
    /// `--wrap-mode`
    pub wrap_mode: WrapMode,
    /// `--wrap-bind`
    pub wrap_bind: WrapBind,
    /// `--web`
    pub web: Option<WebRoot>,
    /// `--file-only`
    pub file_only: bool,
    /// `--web-index`: one path component, not hidden.
    pub web_index: Option<String>,
    /// `--subprotocol`: tokens of RFC 9110 section 5.6.2, in the order given, none twice.
    pub subprotocols: Vec<String>,
    /// `--lenient-handshake`
    pub lenient_handshake: bool,
    /// `--server-header`: text for a header, or nothing.
    pub server_header: Box<str>,
    /// `--cert`, `--key` and all `--ssl-...`
    pub tls: Tls,
    /// `--auth-plugin` and what goes with it.
    pub guards: Guards,
    /// `--token-...` and what belongs to it.
    pub route: Route,
    /// `--allow-host`
    pub hosts: Hosts,
    /// `--allow-target` and `--deny-target`; directories as written.
    pub reach: Reach,
    /// `--record`, all that begins with it, and `--traffic`.
    pub tap: Tap,
    /// `--max-message`, in bytes.
    pub message_bytes_max: usize,
    /// `--heartbeat` and every `--...-timeout`.
    pub timing: Timing,
    /// `--engine`
    pub engine: EngineChoice,
    /// `--threads`
    pub threads: Option<usize>,
    /// `--buffer-memory`, in bytes.
    pub buffer_memory: Option<usize>,
    /// `--max-sessions`
    pub sessions_max: Option<usize>,
    /// `--max-per-source`; `None`: no bound.
    pub source_sessions_max: Option<usize>,
    /// How the process begins and ends, and where it tells what it does.
    pub process: Process,
}

/// What was said about the process; all paths as written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Process {
    /// `--inetd`
    pub inetd: bool,
    /// `--run-once`
    pub once: bool,
    /// `--timeout`; `None`: never.
    pub timeout: Option<Lapse>,
    /// `--idle-timeout`; `None`: never.
    pub idle: Option<Lapse>,
    /// `--daemon`
    pub daemon: bool,
    /// `--pid-file`
    pub pid_file: Option<PathBuf>,
    /// `--user`
    pub user: Option<String>,
    /// `--libserver`
    pub libserver: bool,
    /// `--check`
    pub check: bool,
    /// `--log-file`
    pub log_file: Option<PathBuf>,
    /// `--syslog`
    pub syslog: Option<SyslogServer>,
    /// `--legacy-syslog`
    pub legacy_syslog: bool,
}

/// What was said about who may connect.
#[derive(Clone, PartialEq)]
pub struct Guards {
    /// `--auth-plugin`, in the order given.
    pub plugins: Vec<String>,
    /// An `--auth-plugin` without a name: it may be meant to guard, so nobody is served without it.
    pub unnamed: bool,
    /// `--auth-source`, the same. Secrets may be among them, so they are never shown.
    pub sources: Vec<OsString>,
    /// `--web-auth`
    pub files: bool,
    /// `--python`, as written.
    pub python: OsString,
}

/// What was said about TLS; all paths as written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tls {
    /// `--cert`, in the order given.
    pub certs: Vec<PathBuf>,
    /// `--key`, the same.
    pub keys: Vec<PathBuf>,
    /// `--key-password`
    pub password: Option<Secret>,
    /// `--ssl-only`
    pub only: SslOnly,
    /// `--ssl-version`
    pub version: Version,
    /// `--ssl-ciphers`, not yet checked.
    pub ciphers: Option<String>,
    /// `--verify-client`
    pub verify_client: bool,
    /// `--cafile`
    pub cafile: Option<PathBuf>,
    /// `--ssl-target` and what begins with it.
    pub target: TlsTarget,
}

/// What was said about TLS to the target.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TlsTarget {
    /// `--ssl-target`
    pub on: bool,
    /// `--ssl-target-ca`
    pub ca: Option<PathBuf>,
    /// `--ssl-target-cert`
    pub cert: Option<PathBuf>,
    /// `--ssl-target-key`
    pub key: Option<PathBuf>,
    /// `--ssl-target-name`
    pub name: Option<String>,
    /// `--ssl-target-insecure`
    pub insecure: bool,
}

/// A word that may hold a secret, and so is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretWord(pub OsString);

/// What was said about who may pass and where to; all paths as written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Route {
    /// `--token-plugin`
    pub token_plugin: Option<String>,
    /// The last `--token-plugin` has no name.
    pub unnamed: bool,
    /// `--token-source`, which may be a path of any bytes.
    pub token_source: Option<SecretWord>,
    /// `--host-token`
    pub host_token: bool,
    /// `--target-config`
    pub target_config: Option<PathBuf>,
    /// `--token-from`, in the order given, none twice.
    pub token_from: Vec<Place>,
    /// `--token-cache`
    pub token_cache: Option<Duration>,
    /// `--token-timeout`
    pub token_timeout: Option<Duration>,
}

impl Route {
    /// Do tokens say where a client is carried?
    pub fn leads(&self) -> bool {
        self.token_plugin.is_some() || self.target_config.is_some()
    }
}

/// What was said about watching sessions; paths as written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tap {
    /// `--record`
    pub record: Option<PathBuf>,
    /// `--record-name`
    pub name: Option<Pattern>,
    /// `--record-size`, in bytes.
    pub file_bytes_max: Option<usize>,
    /// `--record-buffer`, in bytes.
    pub buffer_bytes: Option<usize>,
    /// `--traffic`
    pub traffic: bool,
}

/// What was said with `--ssl-only`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SslOnly {
    /// Nothing: plain clients are served.
    #[default]
    No,
    /// They are redirected or refused.
    Yes,
    /// They are closed.
    Strict,
}

/// Where static files come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebRoot {
    /// The page inside the program, written `builtin:`.
    Builtin,
    /// A directory, as written.
    Dir(PathBuf),
}

/// A command line that makes no sense. `Display` is what the user sees: the whole usage, an empty line, and one line
/// that says what is wrong. The exit status is 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError {
    /// Base name of `argv[0]`.
    pub program: String,
    /// One line, in websockify's words where it has some.
    pub message: String,
    /// The words behind the options are wrong, and these certificates are needed: whether they are there is to be looked
    /// at first.
    pub needs_certificates: Vec<PathBuf>,
}

impl Tls {
    /// The certificates without which there can be no client, as written: those that are named, or else the default.
    pub fn needs_certificates(&self) -> Vec<PathBuf> {
        match self.only {
            SslOnly::No => Vec::new(),
            _ if self.certs.is_empty() => vec![CERT_DEFAULT.into()],
            _ => self.certs.clone(),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Options {
            verbosity: Verbosity::Usual,
            prefer_ipv6: false,
            unix_listen: None,
            unix_listen_mode: Ok(limits::UNIX_LISTEN_MODE_DEFAULT),
            unix_target: None,
            echo: false,
            wrap_mode: WrapMode::Exit,
            wrap_bind: WrapBind::Auto,
            web: None,
            file_only: false,
            web_index: None,
            subprotocols: Vec::new(),
            lenient_handshake: false,
            server_header: env!("CARGO_PKG_NAME").into(),
            tls: Tls::default(),
            guards: Guards::default(),
            route: Route::default(),
            hosts: Hosts::default(),
            reach: Reach::default(),
            tap: Tap::default(),
            message_bytes_max: limits::MESSAGE_BYTES_DEFAULT,
            timing: Timing::default(),
            engine: EngineChoice::Auto,
            threads: None,
            buffer_memory: None,
            sessions_max: None,
            source_sessions_max: None,
            process: Process::default(),
        }
    }
}

impl Default for Guards {
    fn default() -> Self {
        Guards {
            plugins: Vec::new(),
            unnamed: false,
            sources: Vec::new(),
            files: false,
            python: "python3".into(),
        }
    }
}

impl fmt::Debug for SecretWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl fmt::Debug for Guards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guards({:?}, {} sources)", self.plugins, self.sources.len())
    }
}

impl Args {
    /// Was the program called by one of websockify's names? Then sloppy handshakes pass and `--web` directories are
    /// listed; nothing else differs.
    pub fn compatible(&self) -> bool {
        matches!(self.program.as_str(), "websockify" | "run")
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UsageError { program, message, .. } = self;
        write!(f, "{}\n{program}: error: {message}", super::help::usage(program))
    }
}

impl std::error::Error for UsageError {}
