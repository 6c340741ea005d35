//! Flights: one question to a service for all who want the same, and its answer for those who come soon after.
//!
//! Owns the queue in front of a service, who waits for what, and the answers that are kept. Everything is bounded: tokens
//! that wait, requests that wait for them, answers. Tokens themselves are not kept, only their hashes, with keys of this
//! process.

use super::{Reply, Wanted};
use crate::crew::{Crew, Standing};
use crate::http::Refusal;
use crate::http::refusal::Header;
use crate::limits::{
    LOOKUP_WAITERS_MAX, SERVICE_QUEUE_PART, TOKEN_CACHE_ANSWER_BYTES_MAX, TOKEN_CACHE_MAX,
    TOKEN_CACHE_UNKNOWN_MS,
};
use crate::plugin::Running;
use crate::route::token::Token;
use crate::route::{Answer, Question, Step};
use crate::session::job::Verdict;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A token, as it is remembered.
type Print = (u64, u64);

/// The way to a service; cheap to clone.
#[derive(Clone)]
pub(super) struct Flights {
    board: Arc<Board>,
    crew: Crew<(Print, Wanted)>,
    rests: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// What is on its way and what has come back.
struct Board {
    hashers: (RandomState, RandomState),
    /// How long answers are kept.
    keep: Duration,
    state: Mutex<State>,
}

/// Somebody who waits for a token.
struct Waiter {
    /// When it has waited too long for the service to be asked.
    turn_by: Instant,
    /// When its own time is over.
    until: Instant,
    reply: Reply,
}

#[derive(Default)]
struct State {
    waiting: HashMap<Print, Vec<Waiter>>,
    /// Requests in all of `waiting`.
    waiters: usize,
    known: HashMap<Print, (Instant, Answer)>,
    unknown: HashMap<Print, (Instant, Refusal)>,
    /// Those of `waiting` whose answer is not kept.
    stale: HashSet<Print>,
}

impl Flights {
    /// Starts `threads` that have tokens looked up with `settle`, but for when `rests` says that it would be in vain; up to
    /// `queue` tokens may wait.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        threads: usize,
        queue: usize,
        keep: Duration,
        rests: impl Fn() -> bool + Send + Sync + 'static,
        settle: impl Fn(&Wanted) -> Answer + Send + Sync + 'static,
    ) -> io::Result<Flights> {
        let board = Board::new(keep);
        let landing = board.clone();
        let crew = Crew::start(
            "services",
            threads,
            queue,
            Standing::GivesWay,
            move |(print, mut wanted): (Print, Wanted)| {
                // Each round is for those whose time goes beyond that of the one before.
                while let Some(until) = landing.shed(print) {
                    wanted.until = until;
                    if landing.land(print, settle(&wanted), until).is_none() {
                        return;
                    }
                }
            },
        )?;
        Ok(Flights { board, crew, rests: Arc::new(rests) })
    }

    /// Has a token looked up, unless that is known or on its way; [`Verdict::Busy`] when too many wait, or for nothing.
    pub fn ask(&self, wanted: Wanted, reply: Reply) {
        let (print, until) = (self.board.print(&wanted.token), wanted.until);
        if self.board.join(print, until, &*self.rests, reply) && self.crew.ask((print, wanted)).is_err() {
            self.board.ground(print);
        }
    }
}

/// The way to a plugin, whose answers are for all who have the token if it says that they depend on that alone; cheap to
/// clone.
#[derive(Clone)]
pub(super) struct Lookups {
    board: Arc<Board>,
    plugin: Arc<Running>,
}

impl Lookups {
    /// Has `plugin` asked, and its answers kept for `keep`.
    pub fn new(plugin: Running, keep: Duration) -> Lookups {
        Lookups { board: Board::new(keep), plugin: plugin.into() }
    }

    pub fn plugin(&self) -> &Running {
        &self.plugin
    }

    /// Forgets what was answered, and what is about to be: another process may say something else.
    pub fn forget(&self) {
        self.board.lock().forget();
    }

    /// Has the token of a question looked up by `until`, unless that is known or on its way. Whoever may answer by the
    /// whole request, say by the client's address or the hour, is asked about each; so is everybody without a memory, as
    /// tokens need that are good for once.
    pub fn ask(&self, question: Question, token: &Token, until: Instant, reply: Reply) {
        let is_by_token = self.plugin.answers_by_token();
        if !is_by_token {
            // What a process before this one said is over, also should there be another such.
            self.forget();
        }
        if !is_by_token || self.board.keep.is_zero() {
            return self.plugin.ask(question, reply);
        }
        let print = self.board.print(token);
        if self.board.join(print, until, &|| false, reply) {
            fly(&self.board, &self.plugin, print, question, until);
        }
    }
}

/// Has a plugin asked by `until`, and again for those who have time beyond that.
fn fly(board: &Arc<Board>, plugin: &Arc<Running>, print: Print, mut question: Question, until: Instant) {
    question.budget = until.saturating_duration_since(Instant::now());
    let (request, token) = (question.request.clone(), question.token.clone());
    // The plugin ends with the last that has it, which must not be one that it answers to.
    let (board, again) = (board.clone(), Arc::downgrade(plugin));
    let reply = move |verdict| {
        let answer = match verdict {
            Verdict::Routed(answer) => answer,
            _ => Err(Refusal::BUSY),
        };
        let Some(later) = board.land(print, answer, until) else { return };
        let (step, target, budget) = (Step::Lookup, None, Duration::ZERO);
        match again.upgrade() {
            Some(plugin) => {
                fly(&board, &plugin, print, Question { step, request, token, target, budget }, later);
            }
            None => board.ground(print),
        }
    };
    plugin.ask_for_all(question, Box::new(reply));
}

impl Board {
    fn new(keep: Duration) -> Arc<Board> {
        Arc::new(Board { hashers: Default::default(), keep, state: Mutex::default() })
    }

    /// Has `reply` answered: by what is known, as busy when it is in vain or too many wait, or else when the flight lands. Says
    /// whether that is still to take off.
    fn join(&self, print: Print, until: Instant, in_vain: &dyn Fn() -> bool, reply: Reply) -> bool {
        let mut state = self.lock();
        if let Some(answer) = state.kept(print) {
            drop(state);
            reply(Verdict::Routed(answer));
            return false;
        }
        if state.waiters >= LOOKUP_WAITERS_MAX || in_vain() {
            drop(state);
            reply(Verdict::Busy);
            return false;
        }
        state.waiters += 1;
        let now = Instant::now();
        let turn_by = now + until.saturating_duration_since(now) / SERVICE_QUEUE_PART;
        let waiting = state.waiting.entry(print).or_default();
        waiting.push(Waiter { turn_by, until, reply });
        waiting.len() == 1
    }

    /// A flight could not take off: tells all who wait for it.
    fn ground(&self, print: Print) {
        let mut state = self.lock();
        let waiting = state.waiting.remove(&print).unwrap_or_default();
        state.waiters -= waiting.len();
        state.stale.remove(&print);
        drop(state);
        waiting.into_iter().for_each(|waiter| (waiter.reply)(Verdict::Busy));
    }

    /// A flight may take off: tells those for whom that is too late, and says until when the first of the others has time.
    fn shed(&self, print: Print) -> Option<Instant> {
        let now = Instant::now();
        let mut state = self.lock();
        let waiting = state.waiting.remove(&print).unwrap_or_default();
        let (stay, late): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|waiter| now < waiter.turn_by);
        state.waiters -= late.len();
        let until = stay.first().map(|waiter| waiter.until);
        match until {
            Some(_) => drop(state.waiting.insert(print, stay)),
            // The next flight is another.
            None => drop(state.stale.remove(&print)),
        }
        drop(state);
        late.into_iter().for_each(|waiter| (waiter.reply)(Verdict::Busy));
        until
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Two hashes with secret keys: nobody can find two tokens that share them.
    fn print(&self, token: &Token) -> Print {
        (self.hashers.0.hash_one(token), self.hashers.1.hash_one(token))
    }

    /// An answer has come to a question whose time went to `until`: keeps it, and tells all who wait for it. Whoever has
    /// time left is not told that there was no time; then it is said until when to ask again.
    fn land(&self, print: Print, answer: Answer, until: Instant) -> Option<Instant> {
        let was_late =
            matches!(&answer, Err(refusal) if *refusal == Refusal::BUSY) && Instant::now() >= until;
        let mut state = self.lock();
        if !state.stale.remove(&print) && !self.keep.is_zero() {
            state.keep(print, &answer, self.keep);
        }
        let waiting = state.waiting.remove(&print).unwrap_or_default();
        let (told, stay): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|waiter| !was_late || waiter.until <= until);
        state.waiters -= told.len();
        let later = stay.iter().map(|waiter| waiter.until).max();
        if later.is_some() {
            state.waiting.insert(print, stay);
        }
        drop(state);
        for waiter in told {
            (waiter.reply)(Verdict::Routed(answer.clone()));
        }
        later
    }
}

impl State {
    /// Keeps nothing of what has come, nor of what is on its way.
    fn forget(&mut self) {
        self.known.clear();
        self.unknown.clear();
        self.stale = self.waiting.keys().copied().collect();
    }

    fn kept(&self, print: Print) -> Option<Answer> {
        let now = Instant::now();
        match self.known.get(&print) {
            Some((until, answer)) if now < *until => return Some(answer.clone()),
            _ => {}
        }
        let (until, refusal) = self.unknown.get(&print)?;
        (now < *until).then(|| Err(refusal.clone()))
    }

    /// Keeps what a service said; that it could not say anything is not kept, nor what is too long.
    fn keep(&mut self, print: Print, answer: &Answer, keep: Duration) {
        let now = Instant::now();
        if weight(answer) > TOKEN_CACHE_ANSWER_BYTES_MAX {
            return;
        }
        match answer {
            Ok(_) => {
                make_room(&mut self.known, |(until, _)| now < *until);
                self.known.insert(print, (now + keep, answer.clone()));
            }
            // Anything else is trouble, of ours or of others.
            Err(refusal) if refusal.status() < 500 => {
                make_room(&mut self.unknown, |(until, _)| now < *until);
                // Who has just made a token expects it to work soon.
                let keep = keep.min(Duration::from_millis(TOKEN_CACHE_UNKNOWN_MS));
                self.unknown.insert(print, (now + keep, refusal.clone()));
                self.known.remove(&print);
            }
            Err(_) => {}
        }
    }
}

/// How much of an answer a plugin can make as long as it likes, in bytes.
fn weight(answer: &Answer) -> usize {
    let pairs =
        |headers: &[Header]| headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    match answer {
        Ok(pass) => {
            let target = pass.target.as_ref().map_or(0, |target| target.to_string().len());
            pairs(&pass.headers) + target
        }
        Err(refusal) => refusal.reason().len() + pairs(refusal.headers()),
    }
}

/// Strikes out what is too old when there is no room; if there is still none, everything.
fn make_room<T>(kept: &mut HashMap<Print, T>, is_fresh: impl Fn(&T) -> bool) {
    if kept.len() >= TOKEN_CACHE_MAX {
        kept.retain(|_, entry| is_fresh(entry));
        if kept.len() >= TOKEN_CACHE_MAX {
            kept.clear();
        }
    }
}

impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flights")
    }
}

impl fmt::Debug for Lookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lookups")
    }
}

#[cfg(test)]
#[path = "flights_tests.rs"]
mod tests;
