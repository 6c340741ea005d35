//! The desk between sessions that ask and a process that answers: what waits, what has been asked, and until when.
//!
//! Owns every bound: how many questions wait, how many are with the process at once, how long an answer may take, and how
//! long a process may be silent, or sit on a question, before it counts as hung. What is logged of a plugin goes through
//! here, because here is known what was asked, and so what must not be told. Sessions never wait here. It neither starts the process nor reads
//! or writes: it says what to write, takes what was read, and sends the signals.

use super::message::{self, By, Kind, Line};
use super::pace::Pace;
use super::secrets::{self, Keeper};
use super::spout::Spout;
use super::state::{Ask, Cause, Complaint, State};
use super::{Question, Reply};
use crate::http::Refusal;
use crate::limits;
use crate::observe::log::{Escaped, Level, Log};
use crate::route::plugin::Plugin;
use crate::session::job::Verdict;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Where questions lie.
#[derive(Debug)]
pub struct Desk {
    /// What it is asked.
    pub kind: Kind,
    /// Where its lines go.
    spout: Spout,
    /// What is secret whatever is asked.
    source: Vec<String>,
    /// How long things may take.
    pub pace: Pace,
    state: Mutex<State>,
    changed: Condvar,
}

impl Desk {
    /// For a plugin that has not been started.
    pub fn new(plugin: &Plugin, kind: Kind, log: Log) -> Desk {
        let spout = Spout::new(plugin.name(), log);
        let source = plugin.source.as_deref().map(secrets::of_source).unwrap_or_default();
        Desk { kind, spout, source, pace: Pace::default(), state: Mutex::default(), changed: Condvar::new() }
    }

    /// Logs a line about the plugin, unless there have been too many: `ours`, and behind it `theirs` without secrets. Ours
    /// can hold none, and a short one would be found in many words of it.
    pub fn tell(&self, level: Level, what: &str, ours: &str, theirs: &str) {
        if self.spout.admits() && self.spout.takes(level) {
            self.spout.line(level, what, &joined(ours, &self.masked(theirs)));
        }
    }

    /// Logs what became of a process, `theirs` being without secrets: however much it has said itself, since there are no
    /// more such lines than processes, which are not started in haste.
    fn report(&self, what: &str, ours: &str, theirs: &str) {
        if self.spout.takes(Level::Error) {
            self.spout.line(Level::Error, what, &joined(ours, theirs));
        }
    }

    /// Takes a line of what the process complains about.
    pub fn complained(&self, line: &str) {
        let mut state = self.lock();
        // Also what is not logged may be needed: the last word of a process says why it ended. It is told when others have
        // been asked about, so it keeps what is secret in it; most lines are never told, so it is not looked for yet.
        state.last = Complaint { text: line.to_owned(), keepers: state.keepers() };
        if matches!(state.first, Some(Ok(()))) {
            drop(state);
            return self.tell(Level::Info, "says", "", line);
        }
        // A start that comes to nothing is told in one line, which has the last of these.
        if state.early.len() < limits::PLUGIN_LOG_LINES as usize {
            state.early.push(line.to_owned());
        }
    }

    /// Text without the secrets of what was asked, and of its own.
    fn masked(&self, text: &str) -> String {
        if text.is_empty() {
            return String::new();
        }
        let keepers = self.lock().keepers();
        self.without(text, &keepers)
    }

    /// Text without the secrets of these, and of its own.
    fn without(&self, text: &str, keepers: &[Keeper]) -> String {
        let mut all = self.source.clone();
        all.extend(keepers.iter().flat_map(secrets::of));
        secrets::masked(text, &all)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic is done while it is held, and a half-done change is a lost question at worst.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, until: Instant) -> MutexGuard<'a, State> {
        let left = until.saturating_duration_since(Instant::now());
        self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
    }

    /// What the process answers by; while there is none, or a new one is not ready yet, the one before it.
    pub fn by(&self) -> By {
        self.lock().by.unwrap_or_default()
    }

    /// See [`super::Running::ask`] and, for one that is `shared`, [`super::Running::ask_for_all`].
    pub fn ask(&self, question: Question, shared: bool, reply: Reply) {
        let now = Instant::now();
        let mut state = self.lock();
        let away = state.next_start.is_some_and(|at| at > now + self.pace.answer / 4);
        // Its session may have less time left than an answer has.
        let until = now + self.pace.answer.min(question.budget);
        if state.stopping || away || until <= now || state.waiting.len() >= limits::PLUGIN_QUEUE_MAX {
            drop(state);
            return reply(Verdict::Busy);
        }
        state.waiting.push_back(Ask { question, reply, asked: now, until, shared });
        drop(state);
        self.changed.notify_all();
    }

    /// Waits for what comes of the first start.
    pub fn first_word(&self, patience: Duration) -> Result<(), String> {
        let until = Instant::now() + patience;
        let mut state = self.lock();
        while state.first.is_none() && Instant::now() < until {
            state = self.wait(state, until);
        }
        let first = state.first.clone();
        drop(state);
        match first {
            None => Err("did not start in time".into()),
            Some(first) => first.map_err(|Cause { ours, theirs }| {
                joined(&ours, &Escaped(&secrets::masked(&theirs, &self.source)).to_string())
            }),
        }
    }

    /// See [`super::Running::renew`].
    pub fn renew(&self) {
        self.lock().renewing = true;
        self.changed.notify_all();
    }

    /// See [`super::Running::leave`].
    pub fn leave(&self) {
        let mut state = self.lock();
        state.stopping = true;
        state.leaving.get_or_insert((Instant::now(), None));
        drop(state);
        self.changed.notify_all();
    }

    /// See [`super::Running::stop`].
    pub fn stop(&self) {
        self.leave();
        let until = Instant::now() + self.pace.stop * 2;
        let mut state = self.lock();
        while !state.ended && Instant::now() < until {
            state = self.wait(state, until);
        }
    }

    /// A process was started, in a group of its own. Says which life this is; nothing if it is not wanted any more.
    pub fn began(&self, process: Pid) -> u64 {
        let mut state = self.lock();
        state.life += 1;
        (state.process, state.ready, state.lost, state.next_start) = (Some(process), false, None, None);
        state.starting = Some(Instant::now());
        state.renewing = false;
        state.leaving = state.stopping.then(|| (Instant::now(), None));
        drop(state);
        self.changed.notify_all();
        self.lock().life
    }

    /// Waits for the next question that the process may be asked, as a line. `None`: its input is to be closed.
    pub fn next(&self, life: u64) -> Option<String> {
        let mut state = self.lock();
        loop {
            let over = state.life != life || state.process.is_none() || state.stopping;
            if over || (state.renewing && state.flying.is_empty()) {
                if state.life == life && state.process.is_some() {
                    state.leaving.get_or_insert((Instant::now(), None));
                }
                drop(state);
                self.changed.notify_all();
                return None;
            }
            let asked = state.flying.len() + state.hung.len();
            let may = state.ready && !state.renewing && asked < limits::PLUGIN_IN_FLIGHT_MAX;
            let Some(ask) = (if may { state.waiting.pop_front() } else { None }) else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.asked += 1;
            let (id, by) = (state.asked, state.by.unwrap_or_default());
            drop(state);
            if ask.shared && by != By::Token {
                // It was to be asked of another process: what this one says is for one request alone.
                (ask.reply)(Verdict::Busy);
                state = self.lock();
                continue;
            }
            // It may be long, and nobody who asks waits for that.
            let Some(line) = message::question(id, self.kind, by, &ask.question) else {
                (ask.reply)(Verdict::Routed(Err(Refusal::HEAD_TOO_LARGE)));
                state = self.lock();
                continue;
            };
            state = self.lock();
            if state.life != life || state.process.is_none() {
                // Nobody is there any more to answer it.
                drop(state);
                (ask.reply)(Verdict::Busy);
                return None;
            }
            state.flying.insert(id, ask);
            drop(state);
            self.changed.notify_all();
            return Some(line);
        }
    }

    /// Takes a line that the process wrote. One of an earlier life says nothing.
    pub fn heard(&self, life: u64, line: &[u8]) {
        let said = message::read(line);
        let mut state = self.lock();
        if state.life != life {
            return;
        }
        let (id, said) = match said {
            Ok(Line::Answer(id, said)) => (id, said),
            // A process says once what it is: questions are under way to what it was.
            Ok(Line::Ready(_)) if state.ready => return,
            Ok(Line::Ready(By::Token)) if self.kind != Kind::Token => {
                return self.is_unfit(state, message::GUARDS_BY_TOKEN, "");
            }
            Ok(Line::Ready(by)) => return self.is_ready(state, by),
            Ok(Line::Unfit(why)) => return self.is_unfit(state, "", &why),
            Err(why) => {
                drop(state);
                let text = String::from_utf8_lossy(line);
                self.tell(Level::Warn, "garbage", &why, text.trim_end());
                return;
            }
        };
        let by = state.by.unwrap_or_default();
        let ask = state.flying.remove(&id);
        let keeper = state.hung.remove(&id).map(|(_, keeper)| keeper).or(ask.as_ref().map(Ask::keeper));
        state.remember(keeper);
        state.lost = None;
        drop(state);
        self.changed.notify_all();
        // Without one it was asked nothing, or the answer comes too late.
        let Some(ask) = ask else {
            self.tell(Level::Debug, "late", &format!("an answer that nobody waits for, id {id}"), "");
            return;
        };
        let answer = message::judge(self.kind, by, &ask.question.request, said).unwrap_or_else(|why| {
            self.tell(Level::Warn, "error", "", &why);
            Err(Refusal::BUSY)
        });
        (ask.reply)(Verdict::Routed(answer));
    }

    fn is_ready(&self, mut state: MutexGuard<'_, State>, by: By) {
        (state.ready, state.starting) = (true, None);
        state.first.get_or_insert(Ok(()));
        let before = state.by.replace(by);
        let early = std::mem::take(&mut state.early);
        drop(state);
        self.changed.notify_all();
        early.iter().for_each(|line| self.tell(Level::Info, "says", "", line));
        if before.is_some_and(|before| before != by) {
            self.tell(Level::Warn, "changed", by.consequence(), "");
        }
    }

    fn is_unfit(&self, mut state: MutexGuard<'_, State>, ours: &str, theirs: &str) {
        let is_first = state.first.is_none();
        if is_first {
            state.first = Some(Err(Cause { ours: ours.into(), theirs: theirs.into() }));
        }
        state.signal(Signal::SIGTERM);
        drop(state);
        self.changed.notify_all();
        if !is_first {
            self.tell(Level::Error, "error", ours, theirs);
        }
    }

    /// The process has closed its output, and so cannot answer any more: it is to end.
    pub fn mute(&self, life: u64) {
        let mut state = self.lock();
        if state.life == life && state.process.is_some() && state.leaving.is_none() {
            state.leaving = Some((Instant::now(), Some(Signal::SIGTERM)));
            state.signal(Signal::SIGTERM);
            drop(state);
            self.changed.notify_all();
        }
    }

    /// Has `look` look whether the process is gone, and forgets its group in the same moment, so that no signal can meet
    /// somebody else.
    pub fn reap<T>(&self, look: impl FnOnce() -> Option<T>) -> Option<T> {
        let mut state = self.lock();
        let gone = look();
        if gone.is_some() {
            state.process = None;
        }
        drop(state);
        self.changed.notify_all();
        gone
    }

    /// Sends a signal to the process and all it has started, if it is there.
    pub fn signal(&self, signal: Signal) {
        self.lock().signal(signal);
    }

    /// The process is gone, or could not be started. What it was asked is refused. Says whether it has been replaced on
    /// purpose; `None`: there shall be no other.
    pub fn over(&self, why: &str) -> Option<bool> {
        let mut state = self.lock();
        let Complaint { text, mut keepers } = std::mem::take(&mut state.last);
        keepers.extend(state.keepers());
        let first = state.first.get_or_insert_with(|| Err(Cause { ours: why.into(), theirs: text.clone() }));
        let failed_first = first.is_err();
        let unanswered: Vec<Ask> = state.flying.drain().map(|(_, ask)| ask).collect();
        let hung: Vec<Keeper> = state.hung.drain().map(|(_, (_, keeper))| keeper).collect();
        unanswered.iter().map(Ask::keeper).chain(hung).for_each(|keeper| state.remember(Some(keeper)));
        (state.ready, state.starting, state.leaving) = (false, None, None);
        let wanted = !(state.stopping || failed_first);
        let renewing = std::mem::take(&mut state.renewing);
        let early = std::mem::take(&mut state.early);
        drop(state);
        self.changed.notify_all();
        early.iter().for_each(|line| self.tell(Level::Debug, "says", "", line));
        if wanted && !renewing {
            self.report("ended", why, &self.without(&text, &keepers));
        }
        unanswered.into_iter().for_each(|ask| (ask.reply)(Verdict::Busy));
        wanted.then_some(renewing)
    }

    /// Waits before the next start; says whether there is to be one. Nobody is kept waiting for a start that is far away.
    pub fn rest(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut state = self.lock();
        state.next_start = Some(until);
        if time > self.pace.answer / 4 {
            let waiting = std::mem::take(&mut state.waiting);
            drop(state);
            waiting.into_iter().for_each(|ask| (ask.reply)(Verdict::Busy));
            state = self.lock();
        }
        while !state.stopping && !state.renewing && Instant::now() < until {
            state = self.wait(state, until);
        }
        !state.stopping
    }

    /// There will be no further process: whoever waits is refused.
    pub fn end(&self) {
        let mut state = self.lock();
        (state.ended, state.stopping) = (true, true);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        self.changed.notify_all();
        waiting.into_iter().for_each(|ask| (ask.reply)(Verdict::Busy));
    }

    /// Watches the time, until the end of the plugin.
    pub fn watch(&self) {
        let mut state = self.lock();
        while !state.ended {
            let now = Instant::now();
            let overdue = state.overdue(now);
            if !overdue.is_empty() {
                drop(state);
                // The process may be renewed now that nobody waits for it.
                self.changed.notify_all();
                let ours = format!("{} questions not answered", overdue.len());
                self.tell(Level::Warn, "overdue", &ours, "");
                overdue.into_iter().for_each(|reply| reply(Verdict::Busy));
                state = self.lock();
                continue;
            }
            if let Some((what, why)) = state.mind(now, &self.pace) {
                drop(state);
                self.changed.notify_all();
                self.report(what, why, "");
                state = self.lock();
                continue;
            }
            state = match state.next_look(&self.pace) {
                Some(until) => self.wait(state, until),
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// What we say of something and what was said of it, either of which there may be none of.
fn joined(ours: &str, theirs: &str) -> String {
    let between = if ours.is_empty() || theirs.is_empty() { "" } else { ": " };
    format!("{ours}{between}{theirs}")
}
