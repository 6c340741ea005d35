//! What is opened while the process is still who it was started as: logs, pid file, certificates, listeners.
//!
//! Owns their order, and the moment at which the process becomes who it is to be; and the same order for finding out
//! whether they could be opened. All of it but a log file, which says why, is taken away again when this is dropped: also what
//! whoever serves may not take away, until the start has come to its end.

use super::daemon;
use super::pid_file::PidFile;
use crate::config::{Config, Listen, Process, Wrap};
use crate::listen::{self, Listeners};
use crate::observe::log::{LogFile, Places, Syslog};
use crate::observe::record;
use crate::sys::process::{self, Aside};
use crate::sys::user::Identity;
use crate::tls::renewal::Shelf;
use std::fmt::Display;
use std::io;
use std::path::Path;

/// What a server has before its first thread.
pub struct Opened {
    /// Who takes the files away if the start fails, and still may: before they are let go of. It ends with the start.
    undo: Option<Aside>,
    /// Certificates and keys.
    pub shelf: Option<Shelf>,
    /// Where clients come in.
    pub listeners: Listeners,
    /// The file with the number of the process.
    pid_file: Option<PidFile>,
}

impl Opened {
    /// Opens everything that others may not open, and then becomes who it is to be.
    ///
    /// # Errors
    /// One line that names the option concerned.
    pub fn all(config: &Config) -> Result<Opened, String> {
        let Process { pid_file, .. } = &config.process;
        let make = |path: &Path| PidFile::make(path).map_err(of("--pid-file", path.display()));
        let pid_file = pid_file.as_deref().map(make).transpose()?;
        let shelf = Shelf::wanted(&config.tls)?;
        let listeners = listen::open(&config.listen, owner(config)).map_err(of_socket)?;
        try_on_user(config)?;
        let undo = undo(config, pid_file.as_ref(), &listeners);
        let opened = Opened { undo, shelf, listeners, pid_file };
        become_user(config)?;
        Ok(opened)
    }

    /// Nothing can fail any more: what was made stays until the end, and is taken away by whoever serves.
    pub fn settle(&mut self) {
        if let Some(undo) = self.undo.take() {
            undo.dismiss();
        }
    }

    /// Lets clients find nobody any more. Leaves the pid file, which goes last; and the socket's with it where somebody waits to
    /// take both away at once, which is a start that has failed.
    pub fn close(self) -> Rest {
        let Opened { undo, mut listeners, pid_file, .. } = self;
        listeners.sockets.clear();
        let socket = match undo {
            None => Socket::Closed(listeners.close()),
            Some(undo) => Socket::Undone(undo, listeners),
        };
        Rest { socket, pid_file }
    }
}

/// What is there until everything else has ended.
#[must_use = "what is wrong with it is told at its end"]
pub struct Rest {
    socket: Socket,
    pid_file: Option<PidFile>,
}

/// What has become of the socket that clients came in by.
enum Socket {
    /// Its file has been taken away, or could not be.
    Closed(io::Result<()>),
    /// Its file is there until who waits has taken it away.
    Undone(Aside, Listeners),
}

impl Rest {
    /// Takes it away. What could not be is told.
    pub fn end(self) -> Vec<io::Error> {
        let socket = match self.socket {
            Socket::Closed(outcome) => outcome,
            Socket::Undone(undo, listeners) => {
                drop(undo);
                listeners.close()
            }
        };
        let number = self.pid_file.map_or(Ok(()), PidFile::remove);
        [socket, number].into_iter().filter_map(Result::err).collect()
    }
}

/// Opens what takes log lines besides standard error. What cannot be had is told as well, and the others are there to hear
/// of it.
pub fn places(config: &Config) -> (Places, Result<(), String>) {
    let mut outcome = Ok(());
    let file = config.logs.file.as_deref().and_then(|path| {
        let file =
            LogFile::open(path, owner(config), barred(config)).map_err(of("--log-file", path.display()));
        file.map_err(|message| outcome = Err(message)).ok()
    });
    let syslog = syslog(config).unwrap_or_else(|message| {
        outcome = outcome.clone().and(Err(message));
        None
    });
    (Places { file, syslog }, outcome)
}

/// Finds out whether all of it could be opened, and becomes who serves: what root may do is not what counts. Tells what an
/// operator should know about the listeners.
///
/// # Errors
/// As of [`places`] and [`Opened::all`].
pub fn check(config: &Config) -> Result<(Option<Shelf>, Vec<String>), String> {
    if let Some(path) = &config.logs.file {
        LogFile::check(path, owner(config), barred(config)).map_err(of("--log-file", path.display()))?;
    }
    syslog(config)?;
    if let Some(path) = &config.process.pid_file {
        PidFile::check(path).map_err(of("--pid-file", path.display()))?;
    }
    let shelf = Shelf::wanted(&config.tls)?;
    let notices = listen::check(&config.listen).map_err(of_socket)?;
    try_on_user(config)?;
    become_user(config)?;
    if let Some(options) = &config.logs.syslog {
        // One on this machine is tried again while it is away, and a start only warns of it.
        Syslog::reach(options).map_err(of("--syslog", &options.server))?;
    }
    Ok((shelf, notices))
}

fn syslog(config: &Config) -> Result<Option<Syslog>, String> {
    let remedy = |error| format!("{error}; check the name, or write an address");
    let find = |options: &crate::config::Syslog| {
        Syslog::find(options).map_err(remedy).map_err(of("--syslog", &options.server))
    };
    config.logs.syslog.as_ref().map(find).transpose()
}

/// Leaves somebody who may take away what was made, if that is about to be what this process may not.
fn undo(config: &Config, pid_file: Option<&PidFile>, listeners: &Listeners) -> Option<Aside> {
    let changes = config.process.user.as_ref().is_some_and(Identity::changes);
    let makes = pid_file.is_some() || listeners.has_file();
    let undo = || {
        listeners.take_away();
        if let Some(file) = pid_file {
            file.take_away();
        }
    };
    // Where there is no process to be had a start that fails leaves them, and says so.
    (changes && makes).then(|| process::stay_behind(undo).ok())?
}

fn become_user(config: &Config) -> Result<(), String> {
    let Some(user) = &config.process.user else { return Ok(()) };
    user.take_on().map_err(of("--user", user.user))?;
    // Where fs.suid_dumpable is set, the kernel takes another user for a reason to leave a core.
    daemon::protect(config);
    Ok(())
}

/// Finds out what whoever serves may not do, while what was made can be taken away yet: what root may do is not what counts.
fn try_on_user(config: &Config) -> Result<(), String> {
    let record = || config.record.as_ref().map_or(Ok(()), record::check);
    let Some(user) = &config.process.user else { return record() };
    let denied = |wrap: &&Wrap| !process::may_run(&wrap.program);
    let both = || match config.wrap.as_ref().filter(denied) {
        Some(wrap) => Err(format!(
            "-- COMMAND: {}: user {} may not execute it; change its permissions and those of its directories, or name another",
            wrap.program.display(),
            user.user
        )),
        None => record(),
    };
    user.try_on(both).map_err(of("--user", user.user))?
}

/// Why no lines may go to a descriptor, if they may not.
fn barred(config: &Config) -> Option<&'static str> {
    if config.process.daemon {
        return Some("a daemon has nothing open of whoever started it; name a file, or leave --daemon out");
    }
    let is_lent = config.listen == Listen::Inherited;
    is_lent
        .then_some("with --inetd it may be the socket of a client, which is sent no log lines; name a file")
}

/// Who owns what is made.
fn owner(config: &Config) -> Option<(u32, u32)> {
    config.process.user.as_ref().map(|user| (user.user, user.group))
}

/// Puts an option and its value in front of what is wrong with it.
fn of<E: Display>(option: &str, value: impl Display) -> impl FnOnce(E) -> String {
    move |error| format!("{option}: {value}: {error}")
}

/// In websockify's words, for those who look for them.
fn of_socket(error: io::Error) -> String {
    format!("Opening socket failed: {error}")
}
