//! What wrap mode needs of Linux and no crate offers: programs started with care, their `bind()` calls seen by seccomp
//! user notification, and sockets taken out of other processes. The only `unsafe` of wrap mode is here.
//!
//! Each function is a few calls and no policy: who decides which bind is moved, and where, is `wrap`.

#![allow(unsafe_code, reason = "no crate offers these calls; each one says why it is sound")]

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::{ForkResult, Pid};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

/// How `seccomp_data` names the machine this was built for (linux/audit.h); `None` where nobody has looked it up.
const MACHINE: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xc000_003e)
} else if cfg!(target_arch = "aarch64") {
    Some(0xc000_00b7)
} else if cfg!(target_arch = "riscv64") {
    Some(0xc000_00f3)
} else if cfg!(target_arch = "arm") {
    Some(0x4000_0028)
} else if cfg!(all(target_arch = "powerpc64", target_endian = "little")) {
    Some(0xc000_0015)
} else {
    None
};

/// Descriptors from here on are not standard streams.
const FIRST: libc::c_uint = 3;

/// A `bind()` that waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bind {
    /// What the kernel knows it by.
    pub id: u64,
    /// The thread that called.
    pub thread: Pid,
    /// Its socket, a descriptor of that process.
    pub descriptor: RawFd,
    /// Where its memory holds the address.
    pub address: usize,
    /// How long it says that is.
    pub length: usize,
}

/// What a waiting `bind()` is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To go on as if nobody had looked.
    Continue,
    /// That it has been done.
    Done,
    /// That it failed.
    Failed(Errno),
}

/// Room for what the kernel writes and reads: newer kernels may know longer forms of both.
#[repr(C)]
struct Roomy<T> {
    known: T,
    spare: [u64; 32],
}

/// Puts a filter on this process, and on all it will start, that lets everything through but has `bind()` wait for an
/// answer from whoever holds the returned descriptor. Where the privilege for that is missing, it is had by giving up
/// gaining others (`no_new_privs`).
///
/// # Errors
/// What the kernel says; `EBUSY` where another such filter is in place already.
fn notify_binds() -> io::Result<OwnedFd> {
    const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    let machine = MACHINE.ok_or(io::ErrorKind::Unsupported)?;
    let call = u32::try_from(libc::SYS_bind).map_err(|_| io::ErrorKind::Unsupported)?;
    let step = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let number = mem::offset_of!(libc::seccomp_data, nr) as u32;
    let architecture = mem::offset_of!(libc::seccomp_data, arch) as u32;
    let mut steps = [
        step(LOAD, 0, 0, architecture),
        step(EQUAL, 0, 3, machine),
        step(LOAD, 0, 0, number),
        step(EQUAL, 0, 1, call),
        step(RETURN, 0, 0, libc::SECCOMP_RET_USER_NOTIF),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    let install = |flags: libc::c_ulong| {
        // SAFETY: `program` and the steps it points to outlive the call, which only reads them.
        let listener = unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
        };
        Errno::result(listener)
    };
    let privileged = |flags| match install(flags) {
        Err(Errno::EACCES) => {
            prctl::set_no_new_privs()?;
            install(flags)
        }
        outcome => outcome,
    };
    // A bind that waits may be interrupted by a signal and begin again, unless the kernel knows this flag (Linux 5.19).
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    let listener = match privileged(flags | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) {
        Err(Errno::EINVAL) => privileged(flags),
        outcome => outcome,
    }?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(listener as RawFd) })
}

/// Takes the next waiting bind. `None` if it went away before it could be looked at.
///
/// # Errors
/// What the kernel says otherwise.
pub fn next_bind(listener: BorrowedFd<'_>) -> io::Result<Option<Bind>> {
    // SAFETY: all zeroes is a value of these plain integers, and the one that the kernel asks for.
    let mut room: Roomy<libc::seccomp_notif> = unsafe { mem::zeroed() };
    // SAFETY: the request writes one notification, for which there is more than enough room.
    let outcome = Errno::result(unsafe {
        libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut room)
    });
    match outcome {
        Err(Errno::ENOENT | Errno::EINTR | Errno::EAGAIN) => return Ok(None),
        Err(error) => return Err(error.into()),
        Ok(_) => {}
    }
    let seen = &room.known;
    Ok(Some(Bind {
        id: seen.id,
        thread: Pid::from_raw(seen.pid as i32),
        descriptor: seen.data.args[0] as RawFd,
        address: seen.data.args[1] as usize,
        length: seen.data.args[2] as u32 as usize,
    }))
}

/// Whether a bind still waits. While it does, its thread's number is nobody else's.
pub fn still_waits(listener: BorrowedFd<'_>, bind: &Bind) -> bool {
    // SAFETY: the request reads the eight bytes of the number.
    let outcome =
        unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const bind.id) };
    outcome == 0
}

/// Answers a bind.
///
/// # Errors
/// `ENOENT` when it no longer waits.
pub fn answer(listener: BorrowedFd<'_>, bind: &Bind, answer: Answer) -> Result<(), Errno> {
    let (error, flags) = match answer {
        Answer::Continue => (0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
        Answer::Done => (0, 0),
        Answer::Failed(errno) => (-(errno as i32), 0),
    };
    let known = libc::seccomp_notif_resp { id: bind.id, val: 0, error, flags };
    let mut room = Roomy { known, spare: [0; 32] };
    // SAFETY: the request reads one answer.
    let outcome = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut room) };
    Errno::result(outcome).map(drop)
}

/// Copies memory of another process into `into`; returns how much of it there was.
///
/// # Errors
/// What the kernel says.
pub fn read_memory(process: Pid, address: usize, into: &mut [u8]) -> Result<usize, Errno> {
    let there = RemoteIoVec { base: address, len: into.len() };
    process_vm_readv(process, &mut [IoSliceMut::new(into)], &[there])
}

/// A descriptor of our own for what `descriptor` is in the process of `thread`.
///
/// # Errors
/// The call that was refused, and why.
pub fn take_descriptor(thread: Pid, descriptor: RawFd) -> Result<OwnedFd, (&'static str, Errno)> {
    // A thread has its own table of descriptors if it wants to; kernels before 6.9 know whole processes only.
    let holder = match open_process(thread, libc::O_EXCL as libc::c_uint) {
        Err(Errno::EINVAL) => open_process(leader(thread), 0),
        outcome => outcome,
    };
    let holder = holder.map_err(|errno| ("pidfd_open", errno))?;
    // SAFETY: the call takes three numbers.
    let taken = unsafe { libc::syscall(libc::SYS_pidfd_getfd, holder.as_raw_fd(), descriptor, 0) };
    let taken = Errno::result(taken).map_err(|errno| ("pidfd_getfd", errno))?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(taken as RawFd) })
}

fn open_process(number: Pid, flags: libc::c_uint) -> Result<OwnedFd, Errno> {
    // SAFETY: the call takes two numbers.
    let opened = unsafe { libc::syscall(libc::SYS_pidfd_open, number.as_raw(), flags) };
    let opened = Errno::result(opened)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(opened as RawFd) })
}

/// The process that a thread belongs to; itself if that cannot be read.
fn leader(thread: Pid) -> Pid {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
    line.and_then(|number| number.trim().parse().ok()).map_or(thread, Pid::from_raw)
}

/// Starts a program that keeps these descriptors, under their numbers, and no others but the standard streams. May be
/// called whatever other threads do.
///
/// # Errors
/// When the program cannot be started.
pub fn spawn_keeping(command: &mut Command, kept: &[BorrowedFd<'_>]) -> io::Result<Child> {
    let kept: Vec<RawFd> = kept.iter().map(AsRawFd::as_raw_fd).collect();
    let prepare = move || {
        // Where ends of children are ignored nobody hears how they ended, and exec does not change that.
        // SAFETY: the call takes two numbers; the default is no function of ours.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
        close_others_at_exec();
        for &descriptor in &kept {
            // SAFETY: the call takes three numbers; the descriptor is borrowed by our caller until we return.
            Errno::result(unsafe { libc::fcntl(descriptor, libc::F_SETFD, 0) })?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes system calls only: it takes no lock and no memory.
    unsafe { command.pre_exec(prepare) };
    command.spawn()
}

/// How a wrapped program is started.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// To be ended when this process is.
    pub bound: bool,
    /// Its binds are to be seen: the descriptor that sees them comes over this socket.
    pub notify: Option<BorrowedFd<'a>>,
}

/// Starts a program with no signal blocked and no descriptor but the standard streams. This process must have one thread.
///
/// # Errors
/// When the program cannot be started.
pub fn spawn_wrapped(command: &mut Command, start: Start<'_>) -> io::Result<Child> {
    let parent = nix::unistd::getpid();
    let notify = start.notify.map(|socket| socket.as_raw_fd());
    let prepare = move || {
        SigSet::empty().thread_set_mask()?;
        if start.bound {
            prctl::set_pdeathsig(Signal::SIGTERM)?;
            if nix::unistd::getppid() != parent {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        }
        close_others_at_exec();
        if let Some(socket) = notify {
            send_listener(socket)?;
        }
        Ok(())
    };
    // SAFETY: the process has one thread, so nobody held a lock when it was forked: the closure may do what it likes.
    unsafe { command.pre_exec(prepare) };
    command.spawn()
}

/// Runs `work` in a forked copy of this process, which must have one thread, with its binds seen as in [`spawn_wrapped`];
/// the copy ends with status 0 if `work` says so.
///
/// # Errors
/// When no copy can be made.
pub fn fork_notified(socket: BorrowedFd<'_>, work: impl FnOnce() -> bool) -> io::Result<Pid> {
    // SAFETY: the process has one thread, so nobody held a lock when it was forked.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let done = send_listener(socket.as_raw_fd()).is_ok() && work();
            // SAFETY: ends the copy at once, without what belongs to the process it is a copy of.
            unsafe { libc::_exit(i32::from(!done)) }
        }
    }
}

/// Marks all descriptors but the standard streams to be closed by exec. Kernels before 5.11 cannot; there those of the
/// program's own are closed because they are opened so, and those that it was started with are kept.
fn close_others_at_exec() {
    // SAFETY: the call takes three numbers; marking closes nothing in this process.
    unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}

/// Installs the filter and sends its descriptor; the errno of a refusal goes over the socket in its place.
fn send_listener(socket: RawFd) -> io::Result<()> {
    let installed = notify_binds();
    let code = installed.as_ref().err().map_or(0, |error| error.raw_os_error().unwrap_or(libc::ENOSYS));
    let listener: Vec<RawFd> = installed.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&listener)];
    let rights = if listener.is_empty() { &rights[..0] } else { &rights[..] };
    sendmsg::<()>(socket, &[IoSlice::new(&code.to_ne_bytes())], rights, MsgFlags::MSG_NOSIGNAL, None)?;
    installed.map(drop)
}

/// Receives what [`spawn_wrapped`] or [`fork_notified`] sends.
///
/// # Errors
/// Why the filter was refused, or that nothing came.
pub fn receive_listener(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut code = [0; size_of::<i32>()];
    let mut space = nix::cmsg_space!(RawFd);
    let mut parts = [IoSliceMut::new(&mut code)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    let mut received = None;
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(descriptors) = part {
            // SAFETY: the kernel has just made these descriptors for us.
            received = descriptors.first().map(|&one| unsafe { OwnedFd::from_raw_fd(one) });
        }
    }
    let length = message.bytes;
    match (received, i32::from_ne_bytes(code)) {
        (Some(listener), _) => Ok(listener),
        (None, code) if length == size_of::<i32>() && code != 0 => Err(io::Error::from_raw_os_error(code)),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Takes over a descriptor that this process was started with for its own use. Each number may be taken over once.
///
/// # Errors
/// When there is no such descriptor.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    if number < FIRST as RawFd {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: the call takes three numbers.
    Errno::result(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: it is open, and was left open for us by whoever started this process; nothing here has opened any with that
    // number, as it was taken when the process began.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Points the standard streams nowhere, so that this process keeps no terminal and no pipe of others open.
///
/// # Errors
/// When there is no `/dev/null`.
pub fn leave_streams() -> io::Result<()> {
    let nowhere = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(nowhere.as_fd())?;
    nix::unistd::dup2_stdout(nowhere.as_fd())?;
    nix::unistd::dup2_stderr(nowhere.as_fd())?;
    Ok(())
}
