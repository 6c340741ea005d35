//! Newcomers: when accepts are armed, who of those accepted gets a place, and what happens when accepting fails.
//!
//! Owns the accepts in flight, the place held for whoever comes next, and the pauses. A shard arms accepts only while it
//! holds a place, or has somebody who could make room, so all shards together never have more sessions than they may.

use super::Shard;
use super::waiters::Line;
use crate::engine::{Kernel, Lane, Token};
use crate::limits::{ACCEPT_LOG_MS, ACCEPT_PAUSE_MS, ACCEPTS_PER_TURN, SHARDS_MAX};
use crate::session::{Cx, Session, Wait};
use crate::timers::Time;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(ACCEPT_PAUSE_MS);

/// What a shard knows about accepting.
pub(super) struct Accepts<S> {
    /// Listeners whose accept is in flight.
    armed: Vec<bool>,
    /// A place among all sessions is held for the next client.
    has_place: bool,
    /// Clients that came in on other listeners besides the one who got the place; at most one for each.
    waiting: Vec<(S, Option<SocketAddr>)>,
    /// All places were taken, or more than a fair share is here: looked at again then, or when a session ends.
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
            has_place: false,
            waiting: Vec::new(),
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
}

impl<K: Kernel> Shard<K> {
    /// Has an accept in flight on every listener, if a newcomer may come.
    pub(super) fn arm_accepts(&mut self) {
        // Nearly every turn ends here: nobody has come since the last, and who comes next has a place.
        let is_ready = self.accepts.has_place && !self.accepts.armed.contains(&false);
        if self.closed || (self.accepts.waiting.is_empty() && is_ready) {
            return;
        }
        if self.accepts.failed_until.is_some_and(|until| self.now < until) {
            return;
        }
        self.accepts.failed_until = None;
        if !self.engine.pool().recovers() {
            // What is left belongs to those who are here.
            return self.failed(&io::ErrorKind::OutOfMemory.into());
        }
        self.begin_waiting();
        if self.accepts.failed_until.is_some() {
            return;
        }
        self.make_room(self.accepts.waiting.len());
        if self.accepts.full_until.is_some_and(|until| self.now < until) {
            return;
        }
        // Others may end sessions without this shard noticing, so it looks again by itself.
        let may = self.accepts.waiting.is_empty() && (self.claim_place() || self.could_make_room());
        self.accepts.full_until = if may { None } else { Some(self.now + PAUSE) };
        if !may {
            return;
        }
        for index in 0..self.accepts.armed.len() {
            if !std::mem::replace(&mut self.accepts.armed[index], true) {
                self.engine.arm_accept(index);
            }
        }
    }

    pub(super) fn accepted(&mut self, index: usize, socket: K::Socket, client: Option<SocketAddr>) {
        self.accepts.armed[index] = false;
        if self.closed {
            return self.late(socket, client);
        }
        if !self.accepts.has_place {
            return self.accepts.waiting.push((socket, client));
        }
        self.begin(socket, client);
        for _ in 1..ACCEPTS_PER_TURN {
            if self.accepts.failed_until.is_some() || !self.claim_place() {
                return;
            }
            match self.engine.accept(index) {
                Ok(Some((socket, client))) => self.begin(socket, client),
                Ok(None) => return,
                Err(error) => return self.accept_failed(index, &error),
            }
        }
    }

    /// Begins with those who were accepted without a place, as far as there are places now.
    fn begin_waiting(&mut self) {
        while self.accepts.failed_until.is_none()
            && !self.accepts.waiting.is_empty()
            && self.claim_for_present()
        {
            if let Some((socket, client)) = self.accepts.waiting.pop() {
                self.begin(socket, client);
            }
        }
    }

    /// A client that was accepted before the door was shut. A listener that is lent goes on listening, so who was left there
    /// would have been served by somebody else: this one is served here, unless all are to go, there is to be but one, or
    /// every place is taken.
    fn late(&mut self, socket: K::Socket, client: Option<SocketAddr>) {
        if !self.stopping && !self.setup.config.process.once && self.claim_for_present() {
            self.begin(socket, client);
        }
    }

    /// Whether a place is held for a client who is here, now or already.
    fn claim_for_present(&mut self) -> bool {
        let accepts = &mut self.accepts;
        accepts.has_place = accepts.has_place || self.setup.balance.claim_for_present();
        accepts.has_place
    }

    /// Whether a place is held for the next client, now or already.
    fn claim_place(&mut self) -> bool {
        let accepts = &mut self.accepts;
        accepts.has_place = accepts.has_place || self.setup.balance.claim(self.setup.number);
        accepts.has_place
    }

    /// Makes a session of a client, in the place that was held.
    fn begin(&mut self, socket: K::Socket, client: Option<SocketAddr>) {
        if !self.setup.sources.admit(client) {
            // The socket goes with this, which closes it; the place is for the next one.
            return self.turn_away(client);
        }
        self.accepts.has_place = false;
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
                self.perform(key, &mut actions);
            }
            Err(error) => {
                self.sessions.remove(key);
                actions.clear();
                self.setup.sources.leave(client);
                self.accepts.has_place = true;
                self.failed(&error);
            }
        }
        self.actions = actions;
        self.setup.balance.set(self.setup.number, self.sessions.len());
    }

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

    /// A session has ended: its place is free again, for any shard.
    pub(super) fn give_place_back(&mut self) {
        self.setup.balance.give_back(self.now);
        self.setup.balance.set(self.setup.number, self.sessions.len());
        self.accepts.full_until = None;
    }

    /// Serves a client that somebody else accepted, and nobody besides.
    pub fn serve_only(&mut self, socket: K::Socket, client: Option<SocketAddr>) {
        if self.claim_for_present() {
            self.begin(socket, client);
        }
        self.finish();
    }

    /// Nobody comes in any more; with the last session the shard is done.
    pub(super) fn finish(&mut self) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        for (socket, client) in std::mem::take(&mut self.accepts.waiting) {
            self.late(socket, client);
        }
        for index in 0..self.accepts.armed.len() {
            self.engine.close_listener(index);
        }
    }
}
