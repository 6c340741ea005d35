//! From what a command line says to what a server does: the high level of arguments.
//!
//! The only part of `cli` that looks at the system: at the working directory, to make paths absolute, and at the directory
//! of `--web`. It opens nothing that stays open, and decides nothing that depends on cores or memory.

use super::args::{Args, WebRoot};
use crate::config::{Config, Listen};
use crate::limits::SOCKET_PATH_BYTES_MAX;
use crate::target::Target;
use crate::{http, web};
use std::fmt;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A command line that makes sense on a system where it does not work. `Display` is one line; the exit status is 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartError {
    /// Base name of `argv[0]`.
    pub program: String,
    /// The option concerned, its value, and what is wrong with it.
    pub message: String,
}

/// Completes a command line into a configuration.
///
/// # Errors
/// [`StartError`] if a path cannot be made absolute, is too long for a socket, or is not the directory it should be.
pub fn settle(args: &Args) -> Result<Config, StartError> {
    complete(args).map_err(|message| StartError { program: args.program.clone(), message })
}

fn complete(args: &Args) -> Result<Config, String> {
    let options = &args.options;
    let web_root = match &options.web {
        Some(WebRoot::Dir(path)) => Some(directory("--web", path)?),
        Some(WebRoot::Builtin) | None => None,
    };
    let listen = match &args.listen {
        Listen::Unix { path, mode } => Listen::Unix { path: socket("--unix-listen", path)?, mode: *mode },
        tcp @ Listen::Tcp { .. } => tcp.clone(),
    };
    let target = match &args.target {
        Target::Unix(path) => Target::Unix(socket("--unix-target", path)?),
        Target::Abstract(name) if name.len() > SOCKET_PATH_BYTES_MAX => {
            return Err(too_long("--unix-target", &args.target));
        }
        other => other.clone(),
    };
    Ok(Config {
        program: args.program.clone(),
        listen,
        target,
        web: options.web.is_some().then(|| web::Options {
            listings: args.compatible() && !options.file_only,
            index: options.web_index.clone(),
        }),
        web_root,
        upgrade: http::upgrade::Options {
            subprotocols: options.subprotocols.clone(),
            lenient: args.compatible() || options.lenient_handshake,
        },
        timing: options.timing.clone(),
        message_bytes_max: options.message_bytes_max,
        engine: options.engine,
        threads: options.threads,
        buffer_memory: options.buffer_memory,
        sessions_max: options.sessions_max,
        verbose: options.verbose,
    })
}

/// The absolute path of a directory that is there and can be read.
fn directory(option: &str, path: &Path) -> Result<PathBuf, String> {
    let absolute = absolute(option, path)?;
    match std::fs::read_dir(&absolute) {
        Ok(_) => Ok(absolute),
        Err(error) => Err(format!("{option}: {}: {}", path.display(), reason(&error))),
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
    format!("{option}: {name}: longer than {SOCKET_PATH_BYTES_MAX} bytes")
}

fn absolute(option: &str, path: &Path) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error| format!("{option}: {}: {error}", path.display()))
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "no such directory".into(),
        ErrorKind::NotADirectory => "not a directory".into(),
        ErrorKind::PermissionDenied => "permission denied".into(),
        _ => error.to_string(),
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.program, self.message)
    }
}

impl std::error::Error for StartError {}
