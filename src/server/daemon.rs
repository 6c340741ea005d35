//! Becoming a daemon, and telling whoever started it when clients can connect.
//!
//! The process forks before it does anything else, so that nothing that was begun is left half done, and keeps standard
//! error until it is ready: what is wrong at the start is said where it was started. The mask of the one who started it stays,
//! for the programs that it starts; files of its own are made with bits of their own.

use crate::config::{Config, Verbosity};
use crate::sys::{process, stdio};

/// Who comes out of [`begin`].
pub enum Begun {
    /// The process that was started; the server is another one. Its exit status.
    Starter(u8),
    /// The process that serves.
    Server(Readiness),
}

/// The word that clients can connect, to be given once.
pub struct Readiness(Option<process::Ready>);

/// Becomes a daemon, if it is to be one.
///
/// # Errors
/// When the system refuses.
pub fn begin(config: &Config) -> Result<Begun, String> {
    protect(config);
    if !config.process.daemon {
        return Ok(Begun::Server(Readiness(None)));
    }
    process::close_inherited();
    match process::detach().map_err(|error| format!("--daemon: {error}"))? {
        process::Role::Starter(Some(status)) => Ok(Begun::Starter(status)),
        process::Role::Starter(None) => {
            Err("--daemon: it ended before clients could connect; start it without to see why".into())
        }
        process::Role::Daemon(ready) => {
            process::go_to_root().map_err(|error| format!("--daemon: /: {error}"))?;
            Ok(Begun::Server(Readiness(Some(ready))))
        }
    }
}

/// Keeps keys and tokens from core dumps and from debuggers, unless somebody looks for something (-v).
pub fn protect(config: &Config) {
    if config.verbosity != Verbosity::Verbose {
        process::leave_no_core();
    }
}

impl Readiness {
    /// What is started from here on has nothing of the starter's terminal, which may wait for its end.
    ///
    /// # Errors
    /// When there is no /dev/null.
    pub fn near(&self) -> Result<(), String> {
        match self.0 {
            Some(_) => stdio::give_up().map_err(|error| format!("--daemon: /dev/null: {error}")),
            None => Ok(()),
        }
    }

    /// Clients can connect: the starter ends well, and nothing is said to its terminal any more. False if the starter was
    /// ended meanwhile, and the start with it.
    #[must_use]
    pub fn reached(&mut self) -> bool {
        self.0.take().is_none_or(|ready| {
            stdio::let_go();
            ready.tell(0)
        })
    }

    /// The start was stopped by a signal, and the server has ended with `status`. Whoever told it to has what was wanted; whoever
    /// waits until clients can connect has not.
    ///
    /// # Errors
    /// Where there is one who waits.
    pub fn given_up(&self, status: u8) -> Result<u8, String> {
        match self.0 {
            Some(_) => {
                Err("--daemon: a signal stopped it before clients could connect; start it again".into())
            }
            None => Ok(status),
        }
    }

    /// The start has failed, and why has been said.
    pub fn failed(&mut self, status: u8) {
        if let Some(ready) = self.0.take() {
            let _ = ready.tell(status);
        }
    }
}
