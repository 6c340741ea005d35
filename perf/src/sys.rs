//! The one place of this harness that needs `unsafe`: being told of Ctrl-C.
//!
//! It owns the flag that SIGINT and SIGTERM raise. It never ends the process itself: the flag is looked at between two
//! waits, an error travels up the ordinary way, and what was started is ended by its owner's `Drop`.
#![allow(unsafe_code, reason = "a signal handler can only be installed through an unsafe call")]

use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

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
