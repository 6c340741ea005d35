//! The warden: a small process between the server and a wrapped program, this same binary under another name.
//!
//! It is a process of its own because what it does has to last as long as any process of the program's tree, which in
//! `--wrap-mode ignore` is longer than the server: a `bind()` that waits for an answer fails once nobody is left to give
//! it. It is the program's parent and the subreaper of all it starts, so that Yama lets it take their sockets, none of
//! them becomes a zombie, and to have no child left means that the tree has gone. It has one thread and one loop.
//!
//! It never decides when a program is started again, and serves no client.

use super::binds::{Mover, Outcome};
use super::said::{Exit, Said, take_stops};
use super::scratch::{self, Scratch};
use super::task::{Task, Way};
use super::tree;
use crate::config::WrapMode;
use crate::limits::{WRAP_KILL_MS, WRAP_LINE_BYTES_MAX, WRAP_ORPHAN_GRACE_MS, WRAP_START_MS};
use crate::sys::memory;
use crate::sys::process;
use crate::sys::seccomp::{self, Start};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};
use socket2::{Domain, SockAddr, Socket, Type};
use std::ffi::OsString;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long the server may leave what it is told unread.
const TELL_PATIENCE: Duration = Duration::from_secs(1);
/// Between two rounds of killing: what is killed may just have started something.
const KILL_AGAIN: Duration = Duration::from_millis(50);

/// Does the work of a warden, if this command line is one: returns the exit status then. To be called before anything else,
/// and before there is a second thread.
pub fn entry(argv: &[OsString]) -> Option<u8> {
    let task = Task::parse(argv)?;
    Some(u8::from(work(&task).is_err()))
}

fn work(task: &Task) -> io::Result<()> {
    // What the server does without is not for its program to do without.
    memory::huge_pages(true);
    let mut control = UnixStream::from(seccomp::inherited(task.control)?);
    control.set_write_timeout(Some(TELL_PATIENCE))?;
    let holders = task.holders.iter().map(|&number| seccomp::inherited(number));
    // The server holds it until this has said that the program runs. One that cannot be held is left to who made it.
    let scratch = task.scratch.as_deref().and_then(|path| Scratch::hold(path).ok()?);
    let mover = Mover::new(task.old, task.new, holders.collect::<io::Result<_>>()?);
    match &task.program {
        None => {
            let said = trial(task, mover);
            control.write_all(said.line().as_bytes())
        }
        Some((program, words)) => match Warden::start(task, control, mover, scratch, (program, words))? {
            Some(warden) => warden.watch(),
            None => Ok(()),
        },
    }
}

/// Tries with a copy of this process whether a bind can be moved: the whole way, as it will be.
fn trial(task: &Task, mut mover: Mover) -> Said {
    match try_once(task, &mut mover) {
        Ok(no_new_privs) => Said::Able { no_new_privs },
        Err(why) => Said::Unable(why),
    }
}

fn try_once(task: &Task, mover: &mut Mover) -> Result<bool, String> {
    let cause = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    let (ours, theirs) = UnixStream::pair().map_err(cause("socketpair"))?;
    let (old, new) = (task.old, task.new);
    let copy =
        seccomp::fork_notified(theirs.as_fd(), || binds_and_is_moved(old, new)).map_err(cause("fork"))?;
    drop(theirs);
    let outcome = seccomp::receive_listener(ours.as_fd()).map_err(cause("seccomp")).and_then(|listener| {
        let mut waiting = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        let patience = PollTimeout::from(u16::try_from(WRAP_START_MS / 2).unwrap_or(u16::MAX));
        if poll(&mut waiting, patience) != Ok(1) {
            return Err("no notification came".to_owned());
        }
        let bind = seccomp::next_bind(listener.as_fd()).map_err(cause("seccomp notification"))?;
        let bind = bind.ok_or("the notification went away")?;
        let no_new_privs = has_no_new_privs(bind.thread);
        match mover.handle(listener.as_fd(), &bind) {
            Outcome::Moved(_) => Ok(no_new_privs),
            Outcome::Passed => Err("a bind was not recognized".to_owned()),
            Outcome::Failed(to, errno) => Err(format!("bind to {to}: {}", errno.desc())),
            Outcome::Refused(call, errno) => Err(format!("{call}: {}", errno.desc())),
        }
    });
    if outcome.is_err() {
        let _ = kill(copy, Signal::SIGKILL);
    }
    let ended = waitpid(copy, None);
    mover.close();
    match (outcome, ended) {
        (Ok(no_new_privs), Ok(WaitStatus::Exited(_, 0))) => Ok(no_new_privs),
        (Ok(_), ended) => Err(format!("a bind was moved, but not where it should: {ended:?}")),
        (Err(why), _) => Err(why),
    }
}

/// In the copy: binds to the old port, and sees that it has the new one.
fn binds_and_is_moved(old: u16, new: u16) -> bool {
    let bound = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SockAddr::from(SocketAddr::from((Ipv4Addr::LOCALHOST, old))))?;
        socket.local_addr()
    };
    bound().is_ok_and(|address| address.as_socket().is_some_and(|address| address.port() == new))
}

fn has_no_new_privs(process: Pid) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    status.lines().any(|line| line.split_whitespace().eq(["NoNewPrivs:", "1"]))
}

/// A warden whose program was started.
struct Warden<'a> {
    task: &'a Task,
    /// The server, unless it has gone, and what it began to say.
    control: Option<(UnixStream, Vec<u8>)>,
    /// Where binds are seen, as long as anybody can make one.
    listener: Option<OwnedFd>,
    mover: Mover,
    /// Held for the program.
    scratch: Option<Scratch>,
    children: SignalFd,
    program: Pid,
    stop: Option<Stop>,
    /// Which refusals were told; there are few different ones.
    told: Vec<(&'static str, Errno)>,
}

/// How far the end of the tree is.
#[derive(Clone, Copy)]
struct Stop {
    /// When to kill, or to kill again.
    at: Instant,
    /// When to give up.
    last: Option<Instant>,
}

impl<'a> Warden<'a> {
    /// Starts the program and tells the server; `None` if it cannot be started.
    fn start(
        task: &'a Task,
        mut control: UnixStream,
        mover: Mover,
        scratch: Option<Scratch>,
        (program, words): (&Path, &[OsString]),
    ) -> io::Result<Option<Warden<'a>>> {
        prctl::set_child_subreaper(true)?;
        memory::limit_descriptors(task.files)?;
        let ends = SigSet::from(Signal::SIGCHLD);
        ends.thread_block()?;
        let children = SignalFd::with_flags(&ends, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let (ours, theirs) = UnixStream::pair()?;
        let notify = (task.way == Way::Seccomp).then(|| theirs.as_fd());
        if task.way == Way::Preload {
            mover.open()?;
        }
        let spawned = seccomp::spawn_wrapped(
            &mut command(task, program, words),
            Start { bound: task.mode != WrapMode::Ignore, notify },
        );
        drop(theirs);
        let child = match spawned {
            Ok(child) => child,
            Err(error) => {
                let filter = match task.way {
                    Way::Seccomp => seccomp::receive_listener(ours.as_fd()).err(),
                    Way::Preload | Way::Plain => None,
                };
                let why = match filter {
                    Some(filter) => format!("{}: seccomp: {filter}", program.display()),
                    None => format!("{}: {error}", program.display()),
                };
                control.write_all(Said::Failed(why).line().as_bytes())?;
                return Ok(None);
            }
        };
        let listener = match task.way {
            Way::Seccomp => Some(seccomp::receive_listener(ours.as_fd())?),
            Way::Preload | Way::Plain => None,
        };
        let program = Pid::from_raw(child.id() as i32);
        control.write_all(Said::Started(child.id()).line().as_bytes())?;
        // From here on the program's terminal, pipes and directory are its own business.
        seccomp::leave_streams()?;
        std::env::set_current_dir("/")?;
        let control = Some((control, Vec::new()));
        let told = Vec::new();
        Ok(Some(Warden { task, control, listener, mover, scratch, children, program, stop: None, told }))
    }

    /// Watches until the whole tree has gone.
    fn watch(mut self) -> io::Result<()> {
        while self.collect() {
            if self.stop.is_some_and(|stop| Instant::now() >= stop.at) && !self.kill() {
                break;
            }
            self.wait()?;
        }
        // Only a program that is started again needs it again, and only as long as there is somebody to do so.
        let again = self.task.mode == WrapMode::Respawn && self.has_server();
        if let Some(directory) = self.scratch.as_ref().filter(|_| !again) {
            directory.remove();
        }
        Ok(())
    }

    /// Is the server there, at this moment?
    fn has_server(&self) -> bool {
        let Some((stream, _)) = &self.control else { return false };
        let mut polled = [PollFd::new(stream.as_fd(), PollFlags::empty())];
        let _ = poll(&mut polled, PollTimeout::ZERO);
        !polled[0].revents().is_some_and(|seen| seen.contains(PollFlags::POLLHUP))
    }

    /// Collects all who have ended; whether anybody is left.
    fn collect(&mut self) -> bool {
        loop {
            let ended = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(process, code)) => (process, Exit::Code(code)),
                Ok(WaitStatus::Signaled(process, signal, _)) => (process, Exit::Signal(signal as i32)),
                Ok(WaitStatus::StillAlive) => return true,
                Err(Errno::ECHILD) => return false,
                Ok(_) | Err(_) => continue,
            };
            if ended.0 == self.program {
                self.tell(&Said::Ended(ended.1));
            }
        }
    }

    /// Waits for the next thing to do, and does it.
    fn wait(&mut self) -> io::Result<()> {
        let control = self.control.as_ref().map(|(stream, _)| stream.as_fd());
        let fds = [Some(self.children.as_fd()), control, self.listener.as_ref().map(OwnedFd::as_fd)];
        let mut polled: Vec<_> = fds.iter().flatten().map(|&fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        let timeout = match self.stop {
            None => PollTimeout::NONE,
            Some(stop) => {
                // Rounded up, so as not to wake a moment too early again and again.
                let left = stop.at.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
            }
        };
        match poll(&mut polled, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut seen = polled.iter().map(|one| one.revents().unwrap_or(PollFlags::empty()));
        let seen = fds.map(|fd| fd.and_then(|_| seen.next()).unwrap_or(PollFlags::empty()));
        while seen[0].contains(PollFlags::POLLIN) && matches!(self.children.read_signal(), Ok(Some(_))) {}
        if !seen[1].is_empty() {
            self.listen();
        }
        if seen[2].contains(PollFlags::POLLIN) {
            self.answer();
        } else if !seen[2].is_empty() {
            // Nobody is left who could make a bind.
            self.listener = None;
        }
        Ok(())
    }

    /// Answers one bind.
    fn answer(&mut self) {
        let Some(listener) = &self.listener else { return };
        let bind = match seccomp::next_bind(listener.as_fd()) {
            Ok(Some(bind)) => bind,
            Ok(None) => return,
            Err(_) => {
                self.listener = None;
                return;
            }
        };
        let who = bind.thread;
        match self.mover.handle(listener.as_fd(), &bind) {
            Outcome::Passed => {}
            Outcome::Moved(to) => self.tell(&Said::Note(format!("bind of {who} moved to {to}"))),
            Outcome::Failed(to, errno) => {
                self.tell(&Said::Note(format!("bind of {who} to {to} failed: {}", errno.desc())));
            }
            Outcome::Refused(call, errno) if !self.told.contains(&(call, errno)) => {
                self.told.push((call, errno));
                let why = errno.desc();
                self.tell(&Said::Warning(format!("binds of {who} cannot be moved: {call}: {why}")));
            }
            Outcome::Refused(..) => {}
        }
    }

    /// Hears what the server says, or that it has gone.
    fn listen(&mut self) {
        let Some((stream, held)) = &mut self.control else { return };
        let mut bytes = [0; 64];
        match stream.read(&mut bytes) {
            Ok(count) if count > 0 && held.len() + count <= WRAP_LINE_BYTES_MAX => {
                held.extend_from_slice(&bytes[..count]);
            }
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => return,
            Ok(_) | Err(_) => {
                self.control = None;
                if self.task.mode != WrapMode::Ignore {
                    self.begin_stop(WRAP_ORPHAN_GRACE_MS);
                }
                return;
            }
        }
        if let Some(grace) = take_stops(held) {
            self.begin_stop(grace);
        }
    }

    /// Asks everybody to end. Asked again, it is only more urgent.
    fn begin_stop(&mut self, grace_ms: u64) {
        let at = Instant::now() + Duration::from_millis(grace_ms);
        if self.stop.is_none_or(|stop| at < stop.at) {
            self.stop = Some(Stop { at, last: None });
            tree::tell(getpid(), Signal::SIGTERM);
        }
    }

    /// Kills everybody; `false` when that has been tried for long enough.
    fn kill(&mut self) -> bool {
        let now = Instant::now();
        let last = self.stop.and_then(|stop| stop.last);
        let last = last.unwrap_or(now + Duration::from_millis(WRAP_KILL_MS));
        tree::tell(getpid(), Signal::SIGKILL);
        self.stop = Some(Stop { at: now + KILL_AGAIN, last: Some(last) });
        now < last
    }

    fn tell(&mut self, said: &Said) {
        if let Some((stream, _)) = &mut self.control {
            // A server that has gone is noticed where it is listened to.
            let _ = stream.write_all(said.line().as_bytes());
        }
    }
}

/// The program's command, with the environment that tells it of its ports.
fn command(task: &Task, program: &Path, words: &[OsString]) -> Command {
    let mut command = Command::new(program);
    command.arg0(words.first().map_or(program.as_os_str(), |word| word)).args(words.iter().skip(1));
    process::HANDED_OVER_WORDS.iter().for_each(|name| {
        command.env_remove(name);
    });
    for (name, port) in [("REBIND_OLD_PORT", task.old), ("REBIND_NEW_PORT", task.new)] {
        if port != 0 {
            command.env(name, port.to_string());
        }
    }
    if let (Way::Preload, Some(directory)) = (task.way, &task.scratch) {
        let mut libraries = scratch::interposer(directory).into_os_string();
        if let Some(others) = std::env::var_os("LD_PRELOAD").filter(|others| !others.is_empty()) {
            libraries.push(":");
            libraries.push(others);
        }
        command.env("LD_PRELOAD", libraries);
    }
    command
}
