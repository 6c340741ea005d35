//! Becoming a daemon: descriptors that were inherited are closed, and the process leaves whoever started it, who learns
//! how that went. A copy of the process that stays who it was. And descriptors that were handed over on purpose, and what the
//! list of processes shows.
//!
//! One of the few files that may hold `unsafe`: fork, what is done behind it, close_range, a descriptor known by its
//! number and the memory of the arguments have no safe form.

#![expect(
    unsafe_code,
    reason = "fork, close_range, numbers of descriptors and arguments in place have no safe form"
)]

use nix::fcntl::{AT_FDCWD, AtFlags, FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::waitpid;
use nix::unistd::{AccessFlags, ForkResult, Pid, access, faccessat, fork, setsid};
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
#[cfg(target_os = "linux")]
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

/// The first descriptor behind standard input, output and error.
const FIRST: i32 = 3;
/// How long a daemon waits for its starter to take in that it has started.
const STARTER_PATIENCE: Duration = Duration::from_secs(5);
/// Most sockets that are taken from a service manager.
const HANDED_OVER_MAX: i32 = 64;

/// Who comes out of [`detach`].
#[derive(Debug)]
pub enum Role {
    /// The process that was started. The daemon has ended its start with this status; `None`: it ended without a word.
    Starter(Option<u8>),
    /// The daemon, in a session of its own that it does not lead: it can never get a terminal again.
    Daemon(Ready),
}

/// The daemon's way to tell its starter how the start went.
#[derive(Debug)]
pub struct Ready(UnixStream);

impl Ready {
    /// Lets the starter end with `status`. False if it was ended before it could take that in: whoever started it was told
    /// then that it failed. One that is merely slow is waited for, but not without end.
    pub fn tell(mut self, status: u8) -> bool {
        let _ = self.0.set_read_timeout(Some(STARTER_PATIENCE));
        let told = self.0.write_all(&[status]);
        match told.and_then(|()| self.0.read_exact(&mut [0])) {
            Ok(()) => true,
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }
}

/// Where the process was before it went to `/`.
static START: OnceLock<PathBuf> = OnceLock::new();

/// Leaves the directory it was started in, so that it can be unmounted.
///
/// # Errors
/// When the system refuses.
pub fn go_to_root() -> io::Result<()> {
    if let Ok(start) = std::env::current_dir() {
        let _ = START.set(start);
    }
    std::env::set_current_dir("/")
}

/// The directory that was [left](go_to_root), if it was and can still be entered.
pub fn start_directory() -> Option<&'static Path> {
    START.get().map(PathBuf::as_path).filter(|path| access(*path, AccessFlags::X_OK).is_ok())
}

/// A path as whoever started the process meant it, also when it has gone to `/`: where that directory cannot be entered any
/// more, an error that comes of the path names it all the same.
pub fn as_started(path: PathBuf) -> PathBuf {
    match START.get() {
        Some(start) => start.join(path),
        None => path,
    }
}

/// Whether whoever this process is may run the program at `path`, as far as its permissions say.
pub fn may_run(path: &Path) -> bool {
    faccessat(AT_FDCWD, path, AccessFlags::X_OK, AtFlags::AT_EACCESS).is_ok()
}

/// Has the program of `command` killed when the thread that starts it ends, also where its whole process is killed. Programs
/// that this one starts are not, and nor is one that becomes another user's, or any where the system refuses it.
#[cfg(target_os = "linux")]
pub fn bind_to_thread(command: &mut Command) {
    let parent = nix::unistd::getpid();
    let prepare = move || {
        // A sandbox that refuses it is no reason to do without the program.
        let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
        // It may have ended before it could be followed.
        if nix::unistd::getppid() == parent { Ok(()) } else { Err(ErrorKind::BrokenPipe.into()) }
    };
    // SAFETY: between fork and exec the closure makes system calls only: it takes no lock and no memory.
    unsafe { command.pre_exec(prepare) };
}

/// See above: there is no such call, and the program stays.
#[cfg(not(target_os = "linux"))]
pub fn bind_to_thread(_: &mut Command) {}

/// Takes parts of this process's arguments out of the list of processes, where others can read them for as long as it runs: in
/// that word, the program's name being the first, from that byte on. An `x` and blanks stand there then. To be called when the
/// arguments were read for the last time, and before there is a second thread. The words of a loader that was started with this
/// program as an argument stay in front of them. Where /proc does not tell where they lie nothing happens, and so it is where they
/// do not lie there as the program got them.
#[cfg(target_os = "linux")]
pub fn blank_arguments(parts: &[(usize, usize)]) {
    if parts.is_empty() || !is_alone() {
        return;
    }
    let Some((start, shown)) = arguments() else { return };
    let Some(mut at) = own_words(&shown, std::env::args_os().skip(1)) else { return };
    for (number, word) in (1..).zip(shown[at..].split_inclusive(|byte| *byte == 0)) {
        for &(_, from) in parts.iter().filter(|(word, _)| *word == number) {
            for offset in from..word.len() - 1 {
                let place = std::ptr::with_exposed_provenance_mut::<u8>(start + at + offset);
                // SAFETY: the kernel has told that the arguments lie there, which are this process's to write as long as it
                // lives, and as many bytes were just read there that are those of the program. Nobody borrows them: whoever
                // asks the standard library is given a copy, and there is one thread.
                unsafe { place.write_volatile(if offset == from { b'x' } else { b' ' }) };
            }
        }
        at += word.len();
    }
}

/// Where the words behind the program's name begin in what is shown, which ends with them. The name itself may be another: a
/// loader may have been told one. `None` if they are not there.
#[cfg(target_os = "linux")]
fn own_words(shown: &[u8], given: impl Iterator<Item = std::ffi::OsString>) -> Option<usize> {
    let given: Vec<u8> = given.flat_map(|word| [word.as_encoded_bytes(), b"\0"].concat()).collect();
    let before = shown.strip_suffix(given.as_slice())?;
    before.ends_with(b"\0").then_some(before.len())
}

/// Elsewhere nothing tells where the arguments are.
#[cfg(not(target_os = "linux"))]
pub fn blank_arguments(_: &[(usize, usize)]) {}

/// Where the arguments of this process begin, and all of them as others can read them.
#[cfg(target_os = "linux")]
fn arguments() -> Option<(usize, Vec<u8>)> {
    let stat = fs::read("/proc/self/stat").ok()?;
    let stat = String::from_utf8_lossy(&stat);
    // pid (name) state ...; the name may hold anything, and the state is the third field of proc(5).
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<usize>().ok();
    let (start, end) = (number(48)?, number(49)?);
    let shown = fs::read("/proc/self/cmdline").ok()?;
    (start > 0 && end.checked_sub(start) == Some(shown.len())).then_some((start, shown))
}

/// Waits until a child has ended, and leaves it to be collected: until then its number is nobody else's.
///
/// # Errors
/// When there is no such child, or the system has no such call.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
pub fn await_end(child: Pid) -> io::Result<()> {
    use nix::errno::Errno;
    use nix::sys::wait::{Id, WaitPidFlag, waitid};
    loop {
        match waitid(Id::Pid(child), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
            Err(Errno::EINTR) => {}
            other => return other.map(drop).map_err(io::Error::from),
        }
    }
}

/// See above: there is no such call.
///
/// # Errors
/// Always.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
pub fn await_end(_: Pid) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

/// Whether a process group has living members besides its leader; `None` where that cannot be seen.
pub fn has_others(group: Pid) -> Option<bool> {
    let mut seen = false;
    for entry in fs::read_dir("/proc").ok()? {
        let name = entry.ok()?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Ok(stat) = fs::read(format!("/proc/{pid}/stat")) else { continue };
        // pid (name) state parent group; the name may hold anything.
        let stat = String::from_utf8_lossy(&stat);
        let mut fields = stat.rsplit(')').next()?.split_whitespace();
        let (state, own) = (fields.next(), fields.nth(1));
        seen = true;
        let is_gone = matches!(state, Some("Z" | "X"));
        if pid != group.as_raw() && !is_gone && own.and_then(|own| own.parse().ok()) == Some(group.as_raw()) {
            return Some(true);
        }
    }
    seen.then_some(false)
}

/// Forks twice. The starter waits here until the daemon has told how its start went.
///
/// # Errors
/// When there is more than one thread, since the others would be missing in the daemon with whatever they held; or the
/// system refuses.
pub fn detach() -> io::Result<Role> {
    if !is_alone() {
        return Err(io::Error::other("there is more than one thread"));
    }
    let (told, tell) = UnixStream::pair()?;
    // SAFETY: there is one thread, which was just looked at, so nothing is left half done in the child.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => {
            drop(tell);
            // It ends at once; that there is none left to wait for is as good.
            let _ = waitpid(child, None);
            Ok(Role::Starter(hear(told)))
        }
        ForkResult::Child => {
            drop(told);
            setsid()?;
            // SAFETY: as above; no thread was started since.
            match unsafe { fork() }? {
                ForkResult::Parent { .. } => std::process::exit(0),
                ForkResult::Child => Ok(Role::Daemon(Ready(tell))),
            }
        }
    }
}

/// A copy of this process that waits, as who this one was when it was made.
#[derive(Debug)]
pub struct Aside {
    child: Pid,
    word: UnixStream,
}

/// Leaves a copy of this process that does `work` when the value is dropped, or this process ends; unless it is dismissed. In
/// either case it ends with that.
///
/// # Errors
/// As of [`detach`].
pub fn stay_behind(work: impl FnOnce()) -> io::Result<Aside> {
    if !is_alone() {
        return Err(io::Error::other("there is more than one thread"));
    }
    let (word, mut heard) = UnixStream::pair()?;
    // SAFETY: there is one thread, which was just looked at, so nothing is left half done in the child.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(Aside { child, word }),
        ForkResult::Child => {
            drop(word);
            if heard.read_exact(&mut [0]).is_err() {
                work();
            }
            std::process::exit(0)
        }
    }
}

impl Aside {
    /// Nothing is to be done.
    pub fn dismiss(mut self) {
        // If it has gone, nothing is done either.
        let _ = self.word.write_all(&[0]);
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // A process that is being started may hold a copy of the descriptor for a moment.
        let _ = self.word.shutdown(Shutdown::Write);
        while waitpid(self.child, None) == Err(nix::errno::Errno::EINTR) {}
    }
}

/// What the daemon tells, as its starter hears it. From then on the starter ends with that, whoever would have it end otherwise:
/// the daemon, which is told that it was heard, serves.
fn hear(mut told: UnixStream) -> Option<u8> {
    let mut status = [0];
    told.read_exact(&mut status).ok()?;
    let _ = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().collect::<SigSet>().thread_block();
    // If it has gone since, it has said all the same how it went.
    let _ = told.write_all(&[0]);
    Some(status[0])
}

/// What tells a process of sockets that were handed over to it: for no program that is started from here.
pub const HANDED_OVER_WORDS: [&str; 3] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// Sockets that a service manager has handed over to this process, in its order (sd_listen_fds(3)). Each is a copy; that of
/// the manager's number stays open. No program inherits either.
pub fn handed_over() -> io::Result<Vec<OwnedFd>> {
    let said = |name| std::env::var(name).ok()?.parse::<i32>().ok();
    // Whoever started a program that started this one meant that one.
    let is_ours = said("LISTEN_PID").is_some_and(|pid| pid == nix::unistd::getpid().as_raw());
    let count = said("LISTEN_FDS").filter(|_| is_ours).unwrap_or(0).clamp(0, HANDED_OVER_MAX);
    (FIRST..FIRST + count).map(copy_of).collect()
}

fn copy_of(number: i32) -> io::Result<OwnedFd> {
    // SAFETY: it is only marked and copied, in calls that answer EBADF to a number that is no descriptor; no other
    // thread is there yet to close it in between.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    descriptor.try_clone_to_owned()
}

/// A copy of a descriptor that whoever started this process has left open for writing. No program inherits the copy, nor the
/// descriptor itself unless it is standard input, output or error. To be called before anything is opened: the number could be
/// that of something of our own.
///
/// # Errors
/// `EBADF` for a number that is no descriptor; and that it is not open for writing.
pub fn copy_to_write(number: i32) -> io::Result<OwnedFd> {
    if number < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: it is not negative, and is only asked about, marked and copied, in calls that answer EBADF to a number that is
    // no descriptor; nobody else closes what was inherited.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    if fcntl(descriptor, FcntlArg::F_GETFL)? & libc::O_ACCMODE == libc::O_RDONLY {
        return Err(io::Error::other("is not open for writing"));
    }
    if number >= FIRST {
        fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    }
    descriptor.try_clone_to_owned()
}

/// Closes every descriptor that was inherited but standard input, output and error. To be called before anything is
/// opened: whoever owns a descriptor would lose it. Takes the same time whatever the limit of descriptors is.
pub fn close_inherited() {
    if !close_range() {
        close_listed();
    }
}

#[cfg(target_os = "linux")]
fn close_range() -> bool {
    // SAFETY: the call takes numbers only. Nothing that owns a descriptor is alive yet, which is the caller's part.
    unsafe { libc::syscall(libc::SYS_close_range, FIRST, u32::MAX, 0) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn close_range() -> bool {
    false
}

/// Where the call is unknown (Linux before 5.9, other systems): those that are open, one by one.
fn close_listed() {
    let Ok(entries) = fs::read_dir("/dev/fd") else { return };
    let names = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    // The directory itself is among them, and is closed by then.
    for descriptor in names.filter(|number| *number >= FIRST).collect::<Vec<_>>() {
        let _ = nix::unistd::close(descriptor);
    }
}

/// Whether this is the only thread. Where the system does not say, it is taken for granted.
fn is_alone() -> bool {
    fs::read_dir("/proc/self/task").map_or(true, |tasks| tasks.count() == 1)
}

/// Keeps the memory of this process, with its keys, from core dumps and, on Linux, from other processes of its user. A
/// program that is started inherits only that it leaves no core. To be called again when the process has become another user's:
/// the kernel may then have taken it back.
pub fn leave_no_core() {
    use nix::sys::resource::{Resource, setrlimit};
    // To lower a limit is everybody's right, and every Linux since 2.6 knows the other call.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_dumpable(false);
}

/// Every capability that this thread can use or could take up, as bits of their numbers.
///
/// # Errors
/// What the kernel says.
#[cfg(target_os = "linux")]
pub fn capabilities() -> io::Result<u64> {
    /// `_LINUX_CAPABILITY_VERSION_3` of linux/capability.h, and the structs around it.
    const VERSION: u32 = 0x2008_0522;
    #[repr(C)]
    struct Header {
        version: u32,
        pid: libc::c_int,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    struct Sets {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    let mut header = Header { version: VERSION, pid: 0 };
    let mut sets = [Sets::default(); 2];
    // SAFETY: both are what this version of the call reads and writes, and live until it returns.
    let done = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) };
    nix::errno::Errno::result(done)?;
    // The ambient ones are part of the permitted ones.
    let [low, high] = sets.map(|half| u64::from(half.effective | half.permitted));
    Ok(high << 32 | low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn capabilities_are_those_of_the_system() {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let of = |name| {
            let value = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            u64::from_str_radix(value.trim(), 16).unwrap()
        };
        assert_eq!(capabilities().unwrap(), of("CapPrm:") | of("CapEff:") | of("CapAmb:"));
    }

    #[test]
    fn nobody_forks_beside_other_threads() {
        // The thread that runs this test is not the first one.
        assert!(detach().is_err_and(|error| error.to_string().contains("thread")));
    }
}
