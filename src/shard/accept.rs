//! Newcomers: when accepts are armed, who of those accepted gets a place, and what happens when accepting fails.
//!
//! Owns the accepts in flight, the clients that were accepted and wait for a place, and the pauses. A shard arms accepts while
//! places are free, or while it has somebody who could make room. Others may take the last place before a client comes: then that
//! one waits here, in the line of all shards, so that all together never have more sessions than they may.

use super::Shard;
use super::waiters::Line;
use crate::engine::{Kernel, Lane, Token};
use crate::limits::{ACCEPT_LOG_MS, ACCEPT_PAUSE_MS, ACCEPTS_PER_TURN, SHARDS_MAX};
use crate::session::{Cx, Session, Wait};
use crate::timers::Time;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(ACCEPT_PAUSE_MS);

/// What a shard knows about accepting.
pub(super) struct Accepts<S> {
    /// Listeners whose accept is in flight.
    armed: Vec<bool>,
    /// Clients without a place, or for whom there was no memory, in the order in which they came; at most one for each listener.
    waiting: VecDeque<(S, Option<SocketAddr>)>,
    /// How many of these, from the front, stand in the line of all shards, or have been given a place since.
    lined: usize,
    /// All places were taken, or more than a fair share is here, or others ask for room: looked at again then, or when a session
    /// ends.
    full_until: Option<Time>,
    /// Accepting failed: tried again then, whoever ends meanwhile.
    failed_until: Option<Time>,
    /// Failures that no line has told of yet, and from when on one may.
    failures: u64,
    log_from: Time,
}

impl<S> Accepts<S> {
    pub fn new(listeners: usize) -> Accepts<S> {
        Accepts {
            armed: vec![false; listeners],
            waiting: VecDeque::new(),
            lined: 0,
            full_until: None,
            failed_until: None,
            failures: 0,
            log_from: Time::default(),
        }
    }

    /// When to look again; a failure is waited for even if there is room.
    pub fn pause(&self) -> Option<Time> {
        self.failed_until.max(self.full_until)
    }

    /// How many clients wait for a place.
    pub fn lined(&self) -> usize {
        self.lined
    }
}

impl<K: Kernel> Shard<K> {
    /// Has an accept in flight on every listener, if a newcomer may come; sees to those who wait for a place before.
    pub(super) fn arm_accepts(&mut self) {
        if self.closed {
            return;
        }
        let is_called = self.setup.balance.is_called();
        // Nearly every turn ends here: whoever comes next is accepted, and nobody here or elsewhere is short of a place.
        if !is_called && self.accepts.waiting.is_empty() && !self.accepts.armed.contains(&false) {
            self.accepts.full_until = None;
            return;
        }
        self.begin_waiting();
        self.make_room();
        if self.accepts.failed_until.is_some_and(|until| self.now < until) {
            return;
        }
        self.accepts.failed_until = None;
        if !self.engine.pool().recovers() {
            // What is left belongs to those who are here.
            return self.failed(&io::ErrorKind::OutOfMemory.into());
        }
        if self.accepts.lined < self.accepts.waiting.len() {
            self.line_up();
            self.begin_waiting();
            if self.accepts.failed_until.is_some() {
                return;
            }
            self.make_room();
        }
        if self.accepts.full_until.is_some_and(|until| self.now < until) {
            return;
        }
        let is_open = self.setup.balance.is_open_to(self.setup.number);
        let may = self.accepts.waiting.is_empty() && (is_open || self.could_make_room());
        // Others may end sessions without this shard noticing, and somebody here may be one who could go for their clients a
        // moment later, so it looks again by itself.
        self.accepts.full_until = if may && !is_called { None } else { Some(self.now + PAUSE) };
        if !may {
            return;
        }
        for index in 0..self.accepts.armed.len() {
            if !std::mem::replace(&mut self.accepts.armed[index], true) {
                self.engine.arm_accept(index);
            }
        }
    }

    #[inline(never)]
    pub(super) fn accepted(&mut self, index: usize, socket: K::Socket, client: Option<SocketAddr>) {
        self.accepts.armed[index] = false;
        self.admit(socket, client);
        for _ in 1..ACCEPTS_PER_TURN {
            let is_open = self.setup.balance.is_open_to(self.setup.number);
            if self.closed
                || self.accepts.failed_until.is_some()
                || !self.accepts.waiting.is_empty()
                || !is_open
            {
                return;
            }
            match self.engine.accept(index) {
                Ok(Some((socket, client))) => self.admit(socket, client),
                Ok(None) => return,
                Err(error) => return self.accept_failed(index, &error),
            }
        }
    }

    /// Begins with a client, or has it wait if there is no place, or there are others before it. One too many of its source goes at
    /// once, which closes it, and nobody makes room for it. Where memory is gone, what is left belongs to those who are here; an
    /// accept that was armed before knows nothing of it.
    fn admit(&mut self, socket: K::Socket, client: Option<SocketAddr>) {
        if !self.setup.sources.admit(client) {
            return self.turn_away(client);
        }
        if self.closed {
            return self.late(socket, client);
        }
        let is_next = self.accepts.waiting.is_empty() && !self.engine.pool().lacks();
        if is_next && self.setup.balance.claim() {
            return self.begin(socket, client);
        }
        self.accepts.waiting.push_back((socket, client));
        self.line_up();
    }

    /// Has those who wait stand in the line of all shards; not while memory is gone, for they could not use what they are given.
    fn line_up(&mut self) {
        while self.accepts.lined < self.accepts.waiting.len() && !self.engine.pool().lacks() {
            self.accepts.lined += 1;
            self.setup.balance.wait(self.setup.number);
        }
    }

    /// Begins with those who have waited, as far as they have been given places. Neither a failure to accept others nor a lack of
    /// memory holds that up: the places are taken, and nobody else could use them.
    fn begin_waiting(&mut self) {
        while self.accepts.lined > 0 && self.setup.balance.take_granted(self.setup.number) {
            self.accepts.lined -= 1;
            self.accepts.full_until = None;
            if let Some((socket, client)) = self.accepts.waiting.pop_front() {
                self.begin(socket, client);
            }
        }
    }

    /// A client that was accepted before the door was shut. A listener that is lent goes on listening, so who was left there
    /// would have been served by somebody else: this one is served here, unless all are to go, there is to be but one, or
    /// every place is taken.
    fn late(&mut self, socket: K::Socket, client: Option<SocketAddr>) {
        match self.takes_late() {
            true => self.begin_if_free(socket, client),
            false => self.setup.sources.leave(client),
        }
    }

    fn takes_late(&self) -> bool {
        !self.stopping && !self.setup.config.process.once
    }

    /// Begins with a client unless every place is taken.
    fn begin_if_free(&mut self, socket: K::Socket, client: Option<SocketAddr>) {
        match self.setup.balance.claim() {
            true => self.begin(socket, client),
            false => self.setup.sources.leave(client),
        }
    }

    /// Makes a session of a client, in the place that was claimed for it.
    fn begin(&mut self, socket: K::Socket, client: Option<SocketAddr>) {
        self.counters.accepted += 1;
        self.sessions_begun += 1;
        let id = self.sessions_begun * SHARDS_MAX as u64 + self.setup.number as u64;
        self.bound_heads();
        let mut actions = std::mem::take(&mut self.actions);
        let mut cx = Cx {
            now: self.now,
            pool: self.engine.pool(),
            config: &self.setup.config,
            date: &self.date,
            keys: super::keys(self.material.as_deref()),
            counters: &mut self.counters,
            actions: &mut actions,
        };
        let key = self.sessions.insert_with(|key| Session::accept(key, id, client, &mut cx));
        match self.engine.adopt(Token::new(key, Lane::First), socket) {
            Ok(()) => {
                self.count_connection(key);
                self.waiters.put(key.index, Some(Line::of(Wait::Head)), self.now);
                self.perform(key, &mut actions, false);
            }
            Err(error) => {
                self.sessions.remove(key);
                actions.clear();
                self.setup.sources.leave(client);
                self.setup.balance.give_back(self.setup.number, false);
                self.failed(&error);
            }
        }
        self.actions = actions;
        self.setup.balance.set(self.setup.number, self.sessions.len());
    }

    #[inline(never)]
    pub(super) fn accept_failed(&mut self, index: usize, error: &io::Error) {
        self.accepts.armed[index] = false;
        // That client is gone; the next may be fine.
        const PASSING: [i32; 3] = [libc::ECONNABORTED, libc::EPROTO, libc::EINTR];
        match error.raw_os_error() {
            Some(code) if PASSING.contains(&code) => {}
            // Another shard was told to stop first and shut the listener. The word is on its way here too.
            Some(libc::EINVAL) => self.accepts.failed_until = Some(self.now + PAUSE),
            _ => self.failed(error),
        }
    }

    /// Counts a failure to accept, tells of it now and then, and pauses: what is short seldom comes back at once.
    fn failed(&mut self, error: &io::Error) {
        self.counters.accepts_failed += 1;
        self.accepts.failures += 1;
        self.accepts.failed_until = Some(self.now + PAUSE);
        if self.now >= self.accepts.log_from {
            self.log_accept_failures(self.accepts.failures, error);
            self.accepts.failures = 0;
            self.accepts.log_from = self.now + Duration::from_millis(ACCEPT_LOG_MS);
        }
    }

    /// A session has ended: its place is free again, for any shard. `shed` says that it went for one who waits.
    pub(super) fn give_place_back(&mut self, shed: bool) {
        let (balance, number) = (&self.setup.balance, self.setup.number);
        balance.note_end(self.now);
        balance.set(number, self.sessions.len());
        balance.give_back(number, shed);
        self.accepts.full_until = None;
    }

    /// Serves a client that somebody else accepted, and nobody besides.
    pub fn serve_only(&mut self, socket: K::Socket, client: Option<SocketAddr>) {
        match self.setup.sources.admit(client) {
            true => self.begin_if_free(socket, client),
            false => self.turn_away(client),
        }
        self.finish();
    }

    /// Nobody comes in any more; with the last session the shard is done.
    pub(super) fn finish(&mut self) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        if self.takes_late() {
            self.begin_waiting();
        }
        self.setup.balance.withdraw(self.setup.number);
        self.accepts.lined = 0;
        for (socket, client) in std::mem::take(&mut self.accepts.waiting) {
            self.late(socket, client);
        }
        for index in 0..self.accepts.armed.len() {
            self.engine.close_listener(index);
        }
    }
}
