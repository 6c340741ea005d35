//! From what a command line says to what a server does: the high level of arguments.
//!
//! The only part of `cli` that looks at the system: at the working directory, to make paths absolute, and at the directory
//! of `--web`. It opens nothing that stays open, and decides nothing that depends on cores or memory.

use super::args::{self, Args, CERT_DEFAULT, Guards, SslOnly, Tls, WebRoot};
use super::{access, apart, guards, route, source_file, tap, wrap};
use crate::config::{Config, Listen, Logs, Process, Syslog, SyslogServer};
use crate::http::secure::Plain;
use crate::limits::SOCKET_PATH_BYTES_MAX;
use crate::observe::log::descriptor;
use crate::sys::resolve;
use crate::sys::user::Identity;
use crate::target::{Port, Target, TargetError};
use crate::tls::Secret;
use crate::{http, tls, web};
use std::fmt;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What websockify calls itself in the system's log, whatever it was started as.
const WEBSOCKIFY: &str = "websockify";

/// A command line that makes sense on a system where it does not work. `Display` is one line and the exit status 1, unless
/// it is `usage`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartError {
    /// Base name of `argv[0]`.
    pub program: String,
    /// The option concerned, its value, and what is wrong with it.
    pub message: String,
    /// Where websockify shows its usage, and exits with 2.
    pub usage: bool,
}

/// Completes a command line into a configuration.
///
/// # Errors
/// [`StartError`] if a path cannot be made absolute, is too long for a socket, or is not the directory it should be.
pub fn settle(args: &Args) -> Result<Config, StartError> {
    let program = args.program.clone();
    let wrong =
        uncertified(&args.options.tls.needs_certificates()).or_else(|| unserved(args.target.as_ref()));
    if let Some(message) = wrong {
        return Err(StartError { program, message, usage: true });
    }
    complete(args).map_err(|message| StartError { program, message, usage: false })
}

/// What is wrong, in websockify's words and on one line, where a certificate that is `needed` is not there. Of one that
/// cannot be reached that is not known; whoever reads it says why.
pub(super) fn uncertified(needed: &[PathBuf]) -> Option<String> {
    let missing = needed.iter().find(|path| matches!(path.try_exists(), Ok(false)))?;
    Some(format!("SSL only and {} not found: make it, or name another with --cert", missing.display()))
}

/// What is wrong with a target whose port is the name of no service: no client could ever be carried there.
fn unserved(target: Option<&Target>) -> Option<String> {
    let Some(Target::Tcp { port: Port::Service(name), .. }) = target else { return None };
    let unknown = resolve::stream("", name).is_err();
    unknown.then(|| format!("{}: no service is called '{name}' here; write a number", TargetError::Port))
}

fn complete(args: &Args) -> Result<Config, String> {
    let options = &args.options;
    let web_root = match &options.web {
        Some(WebRoot::Dir(path)) => Some(directory("--web", path)?),
        Some(WebRoot::Builtin) | None => None,
    };
    let listen = match &args.listen {
        Listen::Unix { path, mode } => Listen::Unix { path: socket("--unix-listen", path)?, mode: *mode },
        other @ (Listen::Tcp { .. } | Listen::Inherited) => other.clone(),
    };
    let target = match &args.target {
        Some(Target::Unix(path)) => Some(Target::Unix(socket("--unix-target", path)?)),
        Some(target @ Target::Abstract(name)) if name.len() > SOCKET_PATH_BYTES_MAX => {
            return Err(too_long("--unix-target", target));
        }
        other => other.clone(),
    };
    let tls = secure(&options.tls, target.as_ref())?;
    let tokens =
        route::tokens(&options.route, &options.guards.python, |option, path| absolute(option, &path))?;
    let reach = access::settle(&options.reach, target.as_ref(), args.wrap.as_deref())?;
    let wrap = args.wrap.as_deref().map(|words| wrap::settle(words, options)).transpose()?;
    let mut config = Config {
        program: args.program.clone(),
        listen,
        target,
        timing: options.timing.clone(),
        route: crate::route::Options { tokens, reach, ..Default::default() },
        web: options.web.is_some().then(|| web::Options {
            listings: args.compatible() && !options.file_only,
            index: options.web_index.clone(),
        }),
        web_root,
        upgrade: http::upgrade::Options {
            subprotocols: options.subprotocols.clone(),
            lenient: args.compatible() || options.lenient_handshake,
        },
        hosts: options.hosts.clone(),
        server_header: options.server_header.clone(),
        plain: plain(&options.tls),
        tls,
        message_bytes_max: options.message_bytes_max,
        engine: options.engine,
        threads: options.threads,
        buffer_memory: options.buffer_memory,
        sessions_max: options.sessions_max,
        source_sessions_max: options.source_sessions_max,
        record: tap::settle(&options.tap)?,
        traffic: options.tap.traffic,
        wrap,
        verbosity: options.verbosity,
        process: Process { doubts: doubts(options), ..process(&options.process)? },
        logs: logs(args)?,
    };
    apart::check(&config)?;
    guards::settle(&options.guards, &mut config)?;
    config.timing.route = config.route.time();
    Ok(config)
}

fn process(said: &args::Process) -> Result<Process, String> {
    let find = |word: &str| Identity::find(word).map_err(|why| format!("--user: {why}"));
    Ok(Process {
        once: said.once,
        timeout: said.timeout.clone(),
        idle: said.idle.clone(),
        daemon: said.daemon,
        libserver: said.libserver,
        check: said.check,
        doubts: Vec::new(),
        pid_file: said.pid_file.as_deref().map(|path| in_directory("--pid-file", path)).transpose()?,
        user: said.user.as_deref().map(find).transpose()?,
    })
}

/// What was said and nothing comes of, though it may well be meant: one line each.
fn doubts(options: &args::Options) -> Vec<String> {
    let route = &options.route;
    let mut doubts = Vec::new();
    if let (Some(path), Some(plugin)) = (&route.target_config, &route.token_plugin) {
        doubts.push(format!(
            "--target-config: {} takes the place of --token-plugin={plugin} and its source; leave one of both out",
            path.display()
        ));
    }
    if let (Some(path), true) = (&options.unix_listen, options.process.inetd) {
        doubts.push(format!(
            "--unix-listen: {}: ignored, since with --inetd clients come in by standard input; leave one out",
            path.display()
        ));
    }
    // Where a plugin is loaded with it the start fails by itself.
    if options.guards.python != Guards::default().python
        && let Err(why) = wrap::find(&options.guards.python)
    {
        doubts.push(format!("--python: {}: {why}", Path::new(&options.guards.python).display()));
    }
    doubts
}

/// Where log lines go besides standard error.
fn logs(args: &Args) -> Result<Logs, String> {
    let said = &args.options.process;
    let server = match &said.syslog {
        Some(SyslogServer::Local(path)) => Some(SyslogServer::Local(socket("--syslog", path)?)),
        other => other.clone(),
    };
    let ident = if args.compatible() { WEBSOCKIFY.to_owned() } else { args.program.clone() };
    Ok(Logs {
        file: said.log_file.as_deref().map(log_file).transpose()?,
        syslog: server.map(|server| Syslog {
            server,
            legacy: said.legacy_syslog,
            daemon: said.daemon,
            ident,
        }),
    })
}

/// A file in a directory that is there; the name of a descriptor needs none.
fn log_file(path: &Path) -> Result<PathBuf, String> {
    match descriptor(path) {
        Some(_) => Ok(path.to_owned()),
        None => in_directory("--log-file", path),
    }
}

/// What becomes of clients without TLS.
fn plain(tls: &Tls) -> Plain {
    match (tls.only, tls.verify_client) {
        (SslOnly::Strict, _) => Plain::Closed,
        (SslOnly::Yes, _) => Plain::Redirected,
        (SslOnly::No, true) => Plain::Refused,
        (SslOnly::No, false) => Plain::Served,
    }
}

/// Certificates and the keys beside them, as written. The default certificate counts only where it is, or is needed.
fn pairs(tls: &Tls) -> Vec<(PathBuf, Option<PathBuf>)> {
    let mut certs = tls.certs.clone();
    let is_needed = !tls.needs_certificates().is_empty() || !tls.keys.is_empty();
    if certs.is_empty() && (is_needed || Path::new(CERT_DEFAULT).exists()) {
        certs.push(CERT_DEFAULT.into());
    }
    certs.into_iter().enumerate().map(|(at, cert)| (cert, tls.keys.get(at).cloned())).collect()
}

fn secure(said: &Tls, target: Option<&Target>) -> Result<tls::Options, String> {
    let pair = |cert: &Path, key: Option<&Path>, password| -> Result<tls::Pair, String> {
        let key = key.map(|key| absolute("--key", key)).transpose()?;
        Ok(tls::Pair { cert: absolute("--cert", cert)?, key, password })
    };
    let file = |path: &Option<PathBuf>| path.as_deref().map(|path| absolute("--cafile", path)).transpose();
    let mut options = tls::Options {
        version: said.version,
        ciphers: said.ciphers.clone(),
        verify_client: said.verify_client,
        cafile: file(&said.cafile)?,
        ..tls::Options::default()
    };
    let read = |password: &Secret| source_file::text("--key-password", password.0.as_ref()).map(Secret);
    let password = said.password.as_ref().map(read).transpose()?;
    for (cert, key) in pairs(said) {
        options.pairs.push(pair(&cert, key.as_deref(), password.clone())?);
    }
    if let Some(key) = said.keys.first()
        && said.certs.is_empty()
        && !Path::new(CERT_DEFAULT).exists()
    {
        return Err(format!(
            "--key: {}: there is no certificate to it: {CERT_DEFAULT} not found; name one with --cert",
            key.display()
        ));
    }
    if options.pairs.is_empty() {
        // Where the directory is gone it cannot come either.
        options.awaited = pair(CERT_DEFAULT.as_ref(), None, password).ok();
    }
    if said.verify_client && options.pairs.is_empty() {
        return Err(format!("--verify-client: {CERT_DEFAULT} not found; name a certificate with --cert"));
    }
    let theirs = &said.target;
    if theirs.on {
        let cert = theirs.cert.as_ref();
        options.target = Some(tls::TargetOptions {
            ca: file(&theirs.ca)?,
            pair: cert.map(|cert| pair(cert, theirs.key.as_deref(), None)).transpose()?,
            name: theirs.name.clone().or_else(|| target.map(|target| target.name().to_owned())),
            insecure: theirs.insecure,
        });
    }
    Ok(options)
}

/// The absolute path of a directory that is there and can be read.
fn directory(option: &str, path: &Path) -> Result<PathBuf, String> {
    let absolute = absolute(option, path)?;
    match std::fs::read_dir(&absolute) {
        Ok(_) => Ok(absolute),
        Err(error) => Err(format!("{option}: {}: {}", path.display(), reason(&error))),
    }
}

/// The absolute path of a file that may be missing, in a directory that is there.
fn in_directory(option: &str, path: &Path) -> Result<PathBuf, String> {
    let absolute = absolute(option, path)?;
    let refuse = |what: &str| Err(format!("{option}: {}: {what}", path.display()));
    match absolute.parent().map(std::fs::metadata) {
        Some(Ok(found)) if found.is_dir() && !absolute.is_dir() => Ok(absolute),
        Some(Err(error)) => refuse(&reason(&error)),
        _ if absolute.is_dir() => refuse("is a directory; name a file in it"),
        _ => refuse("not in a directory; name another"),
    }
}

/// The absolute path of a Unix socket, which the kernel limits more than other paths.
fn socket(option: &str, path: &Path) -> Result<PathBuf, String> {
    let absolute = absolute(option, path)?;
    if absolute.as_os_str().as_bytes().len() > SOCKET_PATH_BYTES_MAX {
        return Err(too_long(option, &absolute.display()));
    }
    Ok(absolute)
}

fn too_long(option: &str, name: &dyn fmt::Display) -> String {
    format!("{option}: {name}: longer than {SOCKET_PATH_BYTES_MAX} bytes; name a shorter one")
}

pub(super) fn absolute(option: &str, path: &Path) -> Result<PathBuf, String> {
    let gone = |error| format!("{option}: {}: {error}; name an absolute path", path.display());
    std::path::absolute(path).map_err(gone)
}

/// What is wrong with a directory, and what to do about it.
pub(super) fn reason(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "no such directory; make it, or name another".into(),
        ErrorKind::NotADirectory => "not a directory; name another".into(),
        ErrorKind::PermissionDenied => "permission denied; change its permissions, or name another".into(),
        _ => format!("{error}; name another"),
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.usage {
            true => {
                write!(f, "{}\n{}: error: {}", super::help::usage(&self.program), self.program, self.message)
            }
            false => write!(f, "{}: {}", self.program, self.message),
        }
    }
}

impl std::error::Error for StartError {}
