//! Calls to the system that need `unsafe` or that several rooms share: being told of Ctrl-C, accepting, unpaced sockets,
//! children that begin on cores of ours and end with us, and threads that are held to a share of a core.
//!
//! It owns the flag that SIGINT and SIGTERM raise. It never ends the process itself: the flag is looked at between two
//! waits, an error travels up the ordinary way, and what was started is ended by its owner's `Drop`.
#![allow(unsafe_code, reason = "signal handlers and bare descriptors need it")]

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::socket::{SockFlag, accept4, setsockopt, sockopt};
use nix::unistd::Pid;
use socket2::{Domain, Socket, Type};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_signal: i32) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Makes SIGINT and SIGTERM raise the flag instead of ending the process. Waits in progress return with EINTR.
pub fn catch_interrupts() -> nix::Result<()> {
    let action = SigAction::new(SigHandler::Handler(note), SaFlags::empty(), SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        // SAFETY: `note` only stores to an atomic, which is async-signal-safe.
        unsafe { sigaction(signal, &action) }?;
    }
    Ok(())
}

/// Raises the flag as a signal would.
pub fn interrupt() {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Whether SIGINT or SIGTERM came since the start.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Accepts one client in one call: non-blocking, and not inherited by children.
pub fn accept(listener: impl AsFd) -> nix::Result<OwnedFd> {
    let raw = accept4(listener.as_fd().as_raw_fd(), SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC)?;
    // SAFETY: the kernel just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// A congestion control for sockets on loopback, when the system's default is one that paces by a timer: there that
/// measures the timer. `None` when the default does not pace.
pub fn unpaced_congestion_control() -> Option<&'static [u8]> {
    let probe = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
    let default = probe.tcp_congestion().ok()?;
    if !default.starts_with(b"bbr") {
        return None;
    }
    [&b"cubic"[..], b"reno"].into_iter().find(|name| probe.set_tcp_congestion(name).is_ok())
}

/// Lets the process of `command` begin on `cores`, at the head of a process group of its own, and end when the thread that
/// starts it does. No other program stands in between, so that the time to start is the program's own.
pub fn confine(command: &mut Command, cores: CpuSet) {
    let begin = move || {
        sched_setaffinity(Pid::from_raw(0), &cores)?;
        set_pdeathsig(Signal::SIGKILL)?;
        Ok(())
    };
    command.process_group(0);
    // SAFETY: between fork and exec the closure makes two plain system calls; it takes no lock and no memory.
    unsafe { command.pre_exec(begin) };
}

/// Lets `thread` run for `time` in each `period` and not much longer, on `cores`, before all threads without such a promise
/// (`SCHED_DEADLINE`, sched(7)). It stays as it is where that is refused.
///
/// # Errors
/// `EPERM` without CAP_SYS_NICE, and where `cores` are not all there are; `EBUSY` where too much is promised already.
pub fn ration(thread: i32, cores: CpuSet, time: Duration, period: Duration) -> io::Result<()> {
    let thread = Pid::from_raw(thread);
    let before = sched_getaffinity(thread)?;
    sched_setaffinity(thread, &cores)?;
    // SAFETY: it is made of integers alone, for which zero is a value.
    let mut attributes: nix::libc::sched_attr = unsafe { std::mem::zeroed() };
    attributes.size = size_of::<nix::libc::sched_attr>() as u32;
    attributes.sched_policy = nix::libc::SCHED_DEADLINE.cast_unsigned();
    attributes.sched_runtime = time.as_nanos() as u64;
    (attributes.sched_deadline, attributes.sched_period) =
        (period.as_nanos() as u64, period.as_nanos() as u64);
    // SAFETY: the kernel reads what is there for the whole call, and its size is said in it.
    let set = unsafe {
        nix::libc::syscall(nix::libc::SYS_sched_setattr, thread.as_raw(), &raw const attributes, 0)
    };
    if let Err(error) = nix::errno::Errno::result(set) {
        sched_setaffinity(thread, &before)?;
        return Err(error.into());
    }
    Ok(())
}

/// Binds `socket` to an address of its own and lets the kernel choose the port only when it connects: then ports may be shared
/// among sockets with other ends.
pub fn bind_without_port(socket: &Socket, address: Ipv4Addr) -> io::Result<()> {
    setsockopt(socket, sockopt::IpBindAddressNoPort, &true)?;
    socket.bind(&SocketAddr::from((address, 0)).into())
}
