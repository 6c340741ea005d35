//! What is known of a process and of the questions for it, and what the time has to do with them.
//!
//! Owns when a question is overdue, and when a process hangs, sits on too much or does not leave. It sends the signals that
//! follow; who is told, and what is logged, is `desk`'s.

use super::message::By;
use super::pace::Pace;
use super::secrets::Keeper;
use super::{Question, Reply};
use crate::limits;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

#[derive(Debug, Default)]
pub(super) struct State {
    /// What came of the first start.
    pub first: Option<Result<(), Cause>>,
    /// What the process complained of last.
    pub last: Complaint,
    /// What the first one complains of before it is ready: at most [`limits::PLUGIN_LOG_LINES`] lines.
    pub early: Vec<String>,
    /// The plugin is to end.
    pub stopping: bool,
    /// It has.
    pub ended: bool,
    /// The process is to be replaced as soon as it has answered.
    pub renewing: bool,
    /// Its process group, while that cannot be anybody else's.
    pub process: Option<Pid>,
    /// Counts processes.
    pub life: u64,
    /// When the process was started, until it is ready.
    pub starting: Option<Instant>,
    pub ready: bool,
    /// What the process answers by, or the one before it until this one has said so.
    pub by: Option<By>,
    /// When the next one is started, while there is none.
    pub next_start: Option<Instant>,
    /// Since when its input has been closed, and the last signal it was sent.
    pub leaving: Option<(Instant, Option<Signal>)>,
    pub waiting: VecDeque<Ask>,
    pub flying: HashMap<u64, Ask>,
    /// Questions that whoever asked has been refused, but that the process still sits on, and since when.
    pub hung: HashMap<u64, (Instant, Keeper)>,
    /// Whose questions were answered last: a process may write of them later, or what it wrote be read later.
    pub recent: VecDeque<Keeper>,
    /// The number of the last question.
    pub asked: u64,
    /// When the first question was asked that was not answered in time, if nothing has been answered since.
    pub lost: Option<Instant>,
}

/// What a process wrote to standard error, as it wrote it, and whose secrets may be in it.
#[derive(Debug, Default)]
pub(super) struct Complaint {
    pub text: String,
    pub keepers: Vec<Keeper>,
}

/// Why a process is of no use.
#[derive(Clone, Debug)]
pub(super) struct Cause {
    /// In our words.
    pub ours: String,
    /// In its own, with whatever is in them.
    pub theirs: String,
}

/// A question and where its answer goes.
pub(super) struct Ask {
    pub question: Question,
    pub reply: Reply,
    pub asked: Instant,
    /// When nobody waits for its answer any more.
    pub until: Instant,
    /// The answer is for all who have its token, and must not depend on anything else.
    pub shared: bool,
}

impl Ask {
    pub fn keeper(&self) -> Keeper {
        (self.question.request.clone(), self.question.token.clone())
    }
}

impl std::fmt::Debug for Ask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ask")
    }
}

impl State {
    pub fn signal(&self, signal: Signal) {
        if let Some(group) = self.process {
            // It may have ended this very moment; then there is nobody left to be told.
            let _ = killpg(group, signal);
        }
    }

    /// Whose secrets the process may write down now.
    pub fn keepers(&self) -> Vec<Keeper> {
        let flying = self.flying.values().map(Ask::keeper);
        let hung = self.hung.values().map(|(_, keeper)| keeper.clone());
        flying.chain(hung).chain(self.recent.iter().cloned()).collect()
    }

    /// Keeps in mind whose question was done with last.
    pub fn remember(&mut self, keeper: Option<Keeper>) {
        self.recent.extend(keeper);
        while self.recent.len() > limits::PLUGIN_IN_FLIGHT_MAX {
            self.recent.pop_front();
        }
    }

    /// Takes out what has waited for too long. What the process was asked it still sits on.
    pub fn overdue(&mut self, now: Instant) -> Vec<Reply> {
        let late = |ask: &Ask| ask.until <= now;
        let mut overdue = Vec::new();
        for (id, ask) in self.flying.extract_if(|_, ask| late(ask)) {
            let first = self.lost.get_or_insert(ask.asked);
            *first = ask.asked.min(*first);
            self.hung.insert(id, (ask.asked, ask.keeper()));
            overdue.push(ask.reply);
        }
        if self.waiting.iter().any(late) {
            let (gone, stay) = self.waiting.drain(..).partition::<VecDeque<_>, _>(late);
            self.waiting = stay;
            overdue.extend(gone.into_iter().map(|ask| ask.reply));
        }
        overdue
    }

    /// Since when the process sits on a question, if it is not about to be replaced anyway.
    fn hung_since(&self) -> Option<Instant> {
        let stays = !self.renewing && self.leaving.is_none() && self.process.is_some();
        self.hung.values().map(|(asked, _)| *asked).min().filter(|_| stays)
    }

    /// Ends a process that hangs, that does not start, or that does not leave, and replaces one that sits on questions. Says
    /// what and why, if it is not asked to leave.
    pub fn mind(&mut self, now: Instant, pace: &Pace) -> Option<(&'static str, &'static str)> {
        let since = |at: Option<Instant>, time: Duration| at.is_some_and(|at| at + time <= now);
        if since(self.starting, pace.start) {
            self.starting = None;
            let ours = "did not say {\"ready\":true} in time".into();
            self.first.get_or_insert(Err(Cause { ours, theirs: self.last.text.clone() }));
            self.signal(Signal::SIGKILL);
            return Some(("killed", "it did not get ready in time"));
        }
        if since(self.lost, pace.silence) {
            self.lost = None;
            self.signal(Signal::SIGKILL);
            return Some(("killed", "it answers nothing any more"));
        }
        if let Some(since) = self.hung_since() {
            // That somebody had little time is not its fault.
            let slow = self.hung.values().filter(|(asked, _)| *asked + pace.answer <= now);
            let many = slow.count() > limits::PLUGIN_HUNG_MAX;
            if many || since + pace.answer * limits::PLUGIN_HUNG_TIMES <= now {
                self.renewing = true;
                let few = "it does not come to an end with a question";
                return Some(("replaced", if many { "it sits on too many questions" } else { few }));
            }
        }
        if let Some((at, sent)) = self.leaving {
            let due = match sent {
                None => (pace.stop / 2, Signal::SIGTERM),
                Some(Signal::SIGTERM) => (pace.stop, Signal::SIGKILL),
                Some(_) => return None,
            };
            if at + due.0 <= now {
                self.signal(due.1);
                self.leaving = Some((at, Some(due.1)));
            }
        }
        None
    }

    /// When something is due next.
    pub fn next_look(&self, pace: &Pace) -> Option<Instant> {
        let asked = self.flying.values().chain(&self.waiting).map(|ask| ask.until).min();
        let slow =
            self.hung.values().map(|(asked, _)| *asked + pace.answer).filter(|at| *at > Instant::now()).min();
        let leaving = match self.leaving {
            Some((at, None)) => Some(at + pace.stop / 2),
            Some((at, Some(Signal::SIGTERM))) => Some(at + pace.stop),
            _ => None,
        };
        let times = [
            asked,
            slow,
            self.starting.map(|at| at + pace.start),
            self.lost.map(|at| at + pace.silence),
            self.hung_since().map(|at| at + pace.answer * limits::PLUGIN_HUNG_TIMES),
            leaving,
        ];
        times.into_iter().flatten().min()
    }
}
