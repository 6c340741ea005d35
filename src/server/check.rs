//! `--check`: everything that can be found out about a configuration without serving. Nothing is bound, made or removed.
//! What a start would only warn of counts as wrong.

use super::engines;
use super::means::Means;
use crate::cli::EXIT_CONFIG;
use crate::config::Config;
use crate::helpers::Helpers;
use crate::listen;
use crate::observe::log::{Level, Log, Syslog, say};
use crate::observe::record;
use crate::tls::renewal::Shelf;
use nix::unistd::{AccessFlags, access};
use std::io::Write as _;
use std::path::Path;

/// Checks `config`, says what came of it, and returns the exit status.
pub fn run(config: &Config) -> u8 {
    match check(config) {
        Ok(()) => {
            // A reader that has gone wants to know nothing.
            let _ = writeln!(std::io::stdout(), "configuration ok");
            0
        }
        Err(message) => {
            say(&format!("{}: {message}", config.program));
            EXIT_CONFIG
        }
    }
}

fn check(config: &Config) -> Result<(), String> {
    if let Some(shelf) = Shelf::wanted(&config.tls)?
        && let Some(warning) = shelf.current().warnings.first()
    {
        return Err(warning.clone());
    }
    listen::check(&config.listen).map_err(|error| format!("Opening socket failed: {error}"))?;
    for (option, path) in [("--log-file", &config.logs.file), ("--pid-file", &config.process.pid_file)] {
        if let Some(path) = path {
            writable(path).map_err(|error| format!("{option}: {}: {}", path.display(), error.desc()))?;
        }
    }
    if let Some(options) = &config.logs.syslog {
        Syslog::find(options).map_err(|error| format!("--syslog: {}: {error}", options.server))?;
    }
    // From here on as who would serve: what root may do is not what counts.
    if let Some(user) = &config.process.user {
        user.take_on().map_err(|error| format!("--user: {error}"))?;
    }
    Means::find(config)?;
    engines::choose(config.engine)?;
    if let Some(record) = &config.record {
        record::check(record)?;
    }
    let (log, said) = Log::kept(Level::Warn);
    Helpers::start(config, &log).map_err(|error| error.to_string())?;
    said.first().map_or(Ok(()), Err)
}

/// Whether a file can be written, or made where it is missing.
fn writable(path: &Path) -> nix::Result<()> {
    match access(path, AccessFlags::W_OK) {
        Err(nix::errno::Errno::ENOENT) => {
            access(path.parent().unwrap_or(Path::new("/")), AccessFlags::W_OK | AccessFlags::X_OK)
        }
        outcome => outcome,
    }
}
