//! Signals as something to wait for: blocked in every thread, taken by one.

use nix::sys::signal::{SigSet, Signal};
use std::io;

/// Signals that the server answers.
pub const ANSWERED: [Signal; 6] =
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGQUIT];

/// The set of [`ANSWERED`], blocked in this thread and in all it starts from now on.
#[derive(Debug)]
pub struct Signals(SigSet);

impl Signals {
    /// Blocks them. To be called before the first thread is started.
    pub fn block() -> io::Result<Signals> {
        let set = ANSWERED.into_iter().collect::<SigSet>();
        set.thread_block()?;
        Ok(Signals(set))
    }

    /// Waits for the next one.
    pub fn wait(&self) -> io::Result<Signal> {
        loop {
            match self.0.wait() {
                Err(nix::errno::Errno::EINTR) => {}
                outcome => return Ok(outcome?),
            }
        }
    }
}
