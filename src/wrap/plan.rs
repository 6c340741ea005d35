//! Where a wrapped program listens, and how it gets there: decided once, before it is started for the first time.

use super::said::Said;
use super::scratch::Scratch;
use super::task::{NAME, Task, Way};
use super::{elf, port, scratch, words};
use crate::config::{Wrap, WrapBind, WrapMode};
use crate::limits::WRAP_START_MS;
use crate::observe::log::{Escaped, Level, Log};
use crate::sys::seccomp;
use crate::target::{Port, Target};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

/// This program, whatever has become of its file since it was started.
const ITSELF: &str = "/proc/self/exe";

/// A program to wrap, and all that is decided about it.
#[derive(Debug)]
pub struct Plan {
    program: PathBuf,
    words: Vec<OsString>,
    shown: String,
    pub(super) mode: WrapMode,
    way: Way,
    /// The server's port, 0 if it has none.
    old: u16,
    /// The program's port, 0 if it has none.
    new: u16,
    holders: Vec<OwnedFd>,
    files: u64,
    scratch: Option<Scratch>,
    target: Option<Target>,
}

impl Plan {
    /// Decides for a server that listens on `listen_port`, 0 if on none, and carries clients to `target`, or where the route
    /// of each leads. The program may have `files` descriptors.
    ///
    /// # Errors
    /// One line that says what cannot be had, and what can be done.
    pub fn prepare(
        wrap: &Wrap,
        listen_port: u16,
        target: Option<&Target>,
        files: u64,
        log: &Log,
    ) -> Result<Plan, String> {
        start_itself()?;
        let mut plan = Plan::new(wrap, listen_port, target, files);
        let (port, socket) = (wrap.says(Wrap::PORT), wrap.says(Wrap::UNIX_SOCKET));
        if socket {
            let path = match target {
                Some(Target::Unix(path)) => path.clone().into_os_string(),
                Some(Target::Abstract(name)) => OsString::from_vec([b"@", &name[..]].concat()),
                _ => {
                    let (directory, path) = scratch::for_socket()?;
                    plan.scratch = Some(directory);
                    plan.aim(Target::Unix(path.clone()));
                    path.into_os_string()
                }
            };
            plan.words = words::filled(&plan.words, Wrap::UNIX_SOCKET, &path);
        }
        if port {
            plan.choose_port()?;
            plan.words = words::filled(&plan.words, Wrap::PORT, plan.new.to_string().as_ref());
        } else if is_moved(wrap, target) && listen_port != 0 {
            plan.choose_port()?;
            plan.choose_way(wrap.bind, log)?;
            if plan.way == Way::Preload {
                plan.scratch = Some(scratch::for_interposer()?);
            }
        } else {
            plan.old = 0;
        }
        Ok(plan)
    }

    /// Finds out whether [`Plan::prepare`] could do so. Whether binds can be moved from outside is tried as it tries it, which
    /// takes a free port of the loopback for a moment; no file is made. Returns the socket that would be made for the
    /// program if clients are carried there, with `{unix_socket}` for the names that are not chosen yet.
    ///
    /// # Errors
    /// As of [`Plan::prepare`].
    pub fn check(
        wrap: &Wrap,
        listen_port: u16,
        target: Option<&Target>,
        files: u64,
        log: &Log,
    ) -> Result<Option<Target>, String> {
        start_itself()?;
        let makes_socket =
            wrap.says(Wrap::UNIX_SOCKET) && !matches!(target, Some(Target::Unix(_) | Target::Abstract(_)));
        if makes_socket {
            let place = scratch::check()?;
            return Ok(target.map(|_| Target::Unix(place.join(Wrap::UNIX_SOCKET))));
        }
        if wrap.says(Wrap::PORT) || !is_moved(wrap, target) {
            return Ok(None);
        }
        let mut plan = Plan::new(wrap, listen_port, target, files);
        plan.choose_port()?;
        plan.choose_way(wrap.bind, log)?;
        if plan.way == Way::Preload {
            scratch::check()?;
        }
        Ok(None)
    }

    /// A plan that decides nothing yet.
    fn new(wrap: &Wrap, listen_port: u16, target: Option<&Target>, files: u64) -> Plan {
        Plan {
            program: wrap.program.clone(),
            words: wrap.words.clone(),
            shown: wrap.shown(),
            mode: wrap.mode,
            way: Way::Plain,
            old: listen_port,
            new: 0,
            holders: Vec::new(),
            files,
            scratch: None,
            target: target.cloned(),
        }
    }

    /// Where clients are to be carried; `None`: where the route of each leads.
    pub fn target(&self) -> Option<&Target> {
        self.target.as_ref()
    }

    /// The command as messages show it: its words as they were written.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    fn choose_port(&mut self) -> Result<(), String> {
        let none = |error: io::Error| {
            format!("-- COMMAND: no port of 127.0.0.1 to move it to: {error}; write {{unix_socket}} in it")
        };
        (self.new, self.holders) = port::choose(self.old).map_err(none)?;
        self.aim(Target::Tcp { host: String::new(), port: Port::Number(self.new) });
        Ok(())
    }

    /// Has clients carried to the program, unless somebody else says where they go.
    fn aim(&mut self, target: Target) {
        if self.target.is_some() {
            self.target = Some(target);
        }
    }

    /// Decides how the program is brought to its port. What only preloading needs is not made yet.
    fn choose_way(&mut self, bind: WrapBind, log: &Log) -> Result<(), String> {
        match bind {
            WrapBind::None => return Ok(()),
            WrapBind::Preload => {}
            WrapBind::Auto | WrapBind::Seccomp => match self.trial() {
                Said::Able { no_new_privs } => {
                    let cost = if no_new_privs { "yes" } else { "no" };
                    log.line(Level::Debug, format!("wrap bind=seccomp no_new_privs={cost}"));
                    self.way = Way::Seccomp;
                    return Ok(());
                }
                Said::Unable(why) if bind == WrapBind::Seccomp => {
                    return Err(format!("option --wrap-bind: seccomp: {why}; use auto"));
                }
                Said::Unable(why) => {
                    log.line(Level::Info, format!("wrap bind=preload instead of seccomp: {why}"));
                }
                other => return Err(format!("trying seccomp: {other:?}")),
            },
        }
        self.way = Way::Preload;
        if let Some(why) = out_of_reach(&self.program) {
            let name = self.program.display().to_string();
            let name = Escaped(&name);
            log.line(
                Level::Warn,
                format!(
                    "wrap program=\"{name}\" {why}, so LD_PRELOAD does not reach it and its bind is not moved; \
                     write {{port}} or {{unix_socket}} in its command, or allow seccomp"
                ),
            );
        }
        Ok(())
    }

    /// Has a warden try whether binds can be moved from outside.
    fn trial(&self) -> Said {
        let cause = |error: io::Error| Said::Unable(format!("starting a warden: {error}"));
        let (mut child, stream) = match self.spawn(None, Way::Seccomp) {
            Ok(spawned) => spawned,
            Err(error) => return cause(error),
        };
        let mut line = String::new();
        let read = stream
            .set_read_timeout(Some(Duration::from_millis(WRAP_START_MS)))
            .and_then(|()| BufReader::new(&stream).read_line(&mut line));
        if read.is_err() {
            let _ = child.kill();
        }
        let _ = child.wait();
        match read {
            Err(error) => cause(error),
            Ok(_) => Said::parse(line.trim_end_matches('\n'))
                .unwrap_or_else(|| Said::Unable("the warden ended without a word".into())),
        }
    }

    /// Starts a warden with the program.
    pub(super) fn launch(&mut self) -> io::Result<(Child, UnixStream)> {
        if self.way == Way::Plain {
            // The program binds by itself, and not every program does so in a way that shares.
            self.holders.clear();
        }
        if let Some(directory) = &self.scratch {
            // One that was killed leaves its socket, and the next could not bind.
            directory.remove_socket();
        }
        self.spawn(Some((self.program.clone(), self.words.clone())), self.way)
    }

    /// Nothing is left of the program: nobody may have its port, until it is started again.
    pub(super) fn gone(&mut self) {
        match self.way {
            Way::Plain if self.new != 0 => self.holders = port::hold(self.new),
            // What is refused here only leaves the port shared.
            _ => drop(port::share(&self.holders, false)),
        }
    }

    fn spawn(&self, program: Option<(PathBuf, Vec<OsString>)>, way: Way) -> io::Result<(Child, UnixStream)> {
        let (ours, theirs) = UnixStream::pair()?;
        let task = Task {
            control: theirs.as_raw_fd(),
            holders: self.holders.iter().map(AsRawFd::as_raw_fd).collect(),
            old: self.old,
            new: self.new,
            way,
            mode: self.mode,
            files: self.files,
            scratch: self.scratch.as_ref().map(|directory| directory.path().to_owned()),
            program,
        };
        let kept: Vec<_> =
            std::iter::once(theirs.as_fd()).chain(self.holders.iter().map(AsFd::as_fd)).collect();
        let mut command = Command::new(ITSELF);
        let child = seccomp::spawn_keeping(command.arg0(NAME).args(task.words()), &kept)?;
        Ok((child, ours))
    }

    /// Takes away what belonged to the program, unless that is still there: then its warden does so later.
    pub(super) fn close(&mut self, still_there: bool) {
        if let Some(directory) = self.scratch.take().filter(|_| !still_there) {
            directory.remove();
        }
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        self.close(false);
    }
}

/// Makes sure that this program can be started once more, beside the one that is wrapped.
fn start_itself() -> Result<(), String> {
    let gone = |error| {
        format!("-- COMMAND: {ITSELF}: {error}; mount /proc, by which this program starts its warden")
    };
    std::fs::metadata(ITSELF).map(drop).map_err(gone)
}

/// Is a program to be moved that is not told where to listen?
fn is_moved(wrap: &Wrap, target: Option<&Target>) -> bool {
    !wrap.says(Wrap::PORT)
        && !wrap.says(Wrap::UNIX_SOCKET)
        && !matches!(target, Some(Target::Unix(_) | Target::Abstract(_)))
}

/// Why the interposer does not get into a program, if it does not.
fn out_of_reach(program: &Path) -> Option<&'static str> {
    let file = File::open(program).ok()?;
    if file.metadata().is_ok_and(|found| found.permissions().mode() & 0o6000 != 0) {
        return Some("changes its user or group");
    }
    let mut head = Vec::new();
    file.take(elf::HEAD_BYTES as u64).read_to_end(&mut head).ok()?;
    elf::is_static(&head).then_some("is a static executable")
}
