//! Signals as something to wait for: blocked in every thread, taken by one.

use nix::sys::signal::{SigSet, Signal};
use std::io;

/// Signals that the server answers.
pub const ANSWERED: [Signal; 6] =
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGQUIT];

/// A file that grows beyond the limit of the process is an error of that file, and no end of the process. Blocked rather than
/// ignored: what a program is started with has no such mark.
const NEVER: Signal = Signal::SIGXFSZ;

/// The set of [`ANSWERED`], blocked in this thread and in all it starts from now on.
#[derive(Debug)]
pub struct Signals(SigSet);

impl Signals {
    /// Blocks them. To be called before the first thread is started.
    pub fn block() -> io::Result<Signals> {
        let set = ANSWERED.into_iter().collect::<SigSet>();
        (set | NEVER).thread_block()?;
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
