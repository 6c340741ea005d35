//! Calls to the system that need `unsafe` or that several rooms share: being told of Ctrl-C, accepting, unpaced sockets.
//!
//! It owns the flag that SIGINT and SIGTERM raise. It never ends the process itself: the flag is looked at between two
//! waits, an error travels up the ordinary way, and what was started is ended by its owner's `Drop`.
#![allow(unsafe_code, reason = "signal handlers and bare descriptors need it")]

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::socket::{SockFlag, accept4};
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
