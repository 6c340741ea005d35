//! Plugins: processes of any language that are asked about requests, one line of JSON a question and one an answer.
//!
//! Owns the protocol (`message`, told in `docs/plugins.md`), the process with what is waiting for it (`desk`), and its
//! life from start to restart to end (`process`). It never decides about a request: what is said is passed on, and what
//! is not said, or cannot be understood, is a refusal.

mod desk;
mod message;
mod pace;
mod pipes;
mod process;
mod secrets;
mod spout;
mod state;

use crate::limits::{PLUGIN_START_MS, PLUGIN_STOP_MS};
use crate::observe::log::Log;
use crate::route::Question;
use crate::route::plugin::{Plugin, Program};
use crate::session::job::Reply;
use desk::Desk;
pub use message::Kind;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A plugin that is kept running. Its process ends with this.
pub struct Running {
    desk: Arc<Desk>,
}

impl Running {
    /// Starts the process, and waits until it says that it is ready. An answer of it may take `answer`, the wait for a turn
    /// included.
    ///
    /// # Errors
    /// One line that says why it is of no use: it cannot be run, it says so itself, or it says nothing in time.
    pub fn start(plugin: &Plugin, kind: Kind, answer: Duration, log: &Log) -> Result<Running, String> {
        let mut desk = Desk::new(plugin, kind, log.clone());
        desk.pace.answer = answer;
        desk.pace.silence = desk.pace.silence.max(answer * 2);
        let desk = Arc::new(desk);
        let running = Running { desk: desk.clone() };
        let name = plugin.name().to_owned();
        let remedy = match &plugin.program {
            Program::Python { .. } => "check the class, PYTHONPATH and --python",
            Program::Shell(_) => "see that the command runs by itself",
        };
        let failed = |why: String| format!("option --{}: {name}: {why}; {remedy}", kind.option());
        process::supervise(plugin.clone(), &desk).map_err(|error| failed(error.to_string()))?;
        match desk.first_word(Duration::from_millis(PLUGIN_START_MS + PLUGIN_STOP_MS)) {
            Ok(()) => Ok(running),
            Err(why) => Err(failed(why)),
        }
    }

    /// Asks about a request. The answer goes to `reply`, as a refusal when there is none in time; [`Verdict::Busy`](crate::session::job::Verdict::Busy) at once
    /// when too many questions wait or nobody is there to answer.
    pub fn ask(&self, question: Question, reply: Reply) {
        self.desk.ask(question, false, reply);
    }

    /// Asks for a token alone, for all who have it: as [`Running::ask`], and [`Verdict::Busy`](crate::session::job::Verdict::Busy)
    /// as well when the process whose turn it is to answer does so by other things too.
    pub fn ask_for_all(&self, question: Question, reply: Reply) {
        self.desk.ask(question, true, reply);
    }

    /// Whether it answers by the token alone, as its process has said, or the one before until a new one is ready.
    pub fn answers_by_token(&self) -> bool {
        self.desk.by() == message::By::Token
    }

    /// Has the process replaced by a new one once it has answered what it was asked.
    pub fn renew(&self) {
        self.desk.renew();
    }

    /// Tells the process to end, and does not wait for it.
    pub fn leave(&self) {
        self.desk.leave();
    }

    /// Ends the process: by the end of its standard input, then SIGTERM, then SIGKILL.
    pub fn stop(&self) {
        self.desk.stop();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Running")
    }
}

#[cfg(test)]
mod complaints_tests;
#[cfg(test)]
#[path = "tests.rs"]
mod tests;
