//! A shard: one thread with its engine, its sessions and their deadlines.
//!
//! The loop takes completions one at a time, lets the session they belong to decide, and carries its actions out before
//! the next is taken. Owns its sessions from accept to release and never shares one. It never decides anything about a
//! client, and never blocks but in the engine's wait.

mod accept;
pub mod balance;
mod lines;
pub mod mailbox;
mod perform;
mod relief;
mod report;
mod room;
pub mod sources;
pub mod tap;
mod waiters;

use crate::config::Config;
use crate::engine::{Completion, Engine, Kernel, Lane, Operation as Flown, Token};
use crate::http::date;
use crate::observe::counters::Counters;
use crate::observe::log::Log;
use crate::session::job::Job;
use crate::session::{Action, Cx, End, Input, Keys, Operation, Session, Side};
use crate::slab::{Key, Slab};
use crate::sys::prefetch::prefetch;
use crate::timers::{Time, Wheel};
use crate::tls::material::Material;
use crate::tls::renewal::Shelf;
use accept::Accepts;
use balance::Balance;
use lines::Lines;
use mailbox::{Mailbox, Note};
use sources::Sources;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use tap::{Tapes, Taps};
use waiters::Waiters;

/// What a shard is told and given when it is made.
pub struct Setup {
    /// Its number, 0 and up.
    pub number: usize,
    /// How many listeners its kernel has.
    pub listeners: usize,
    /// What the server was told to do.
    pub config: Arc<Config>,
    /// Where its log lines go.
    pub log: Log,
    /// Who has how many sessions.
    pub balance: Balance,
    /// Who of the clients has how many connections.
    pub sources: Sources,
    /// Where the material of TLS is; `None`: no TLS on either side, ever.
    pub shelf: Option<Shelf>,
    /// Who watches sessions.
    pub taps: Taps,
    /// Notes from other threads.
    pub mailbox: Mailbox,
    /// Where jobs go: the session's key comes back with the verdict, as a [`Note`].
    pub desk: Box<dyn FnMut(Key, Job)>,
}

/// One shard.
pub struct Shard<K: Kernel> {
    setup: Setup,
    engine: Engine<K>,
    sessions: Slab<Session>,
    wheel: Wheel,
    counters: Counters,
    /// What was on the shelf when this turn began.
    material: Option<Arc<Material>>,
    /// How much is said of what clients do.
    lines: Lines,
    /// Who could make room for others.
    waiters: Waiters,
    accepts: Accepts<K::Socket>,
    /// What is being recorded; empty where nothing is.
    tapes: Tapes,
    /// Receives have been waiting for memory; when the next session has to make room.
    starving_until: Option<Time>,
    /// The system gave no memory; when it is asked again.
    lacking_until: Option<Time>,
    /// Nobody is let in any more.
    closed: bool,
    /// And everybody has been told to go.
    stopping: bool,
    now: Time,
    /// The date of `date_seconds`, written once a second.
    date: [u8; date::BYTES],
    date_seconds: u64,
    /// Kept for their capacity.
    actions: Vec<Action>,
    notes: Vec<Note>,
    due: Vec<u32>,
    sessions_begun: u64,
}

impl<K: Kernel> Shard<K> {
    /// A shard over `engine`, accepting as soon as it runs.
    pub fn new(engine: Engine<K>, setup: Setup) -> Shard<K> {
        setup.balance.join(setup.number, setup.mailbox.waker());
        Shard {
            accepts: Accepts::new(setup.listeners),
            material: setup.shelf.as_ref().map(Shelf::current),
            setup,
            engine,
            sessions: Slab::default(),
            wheel: Wheel::default(),
            counters: Counters::default(),
            lines: Lines::default(),
            waiters: Waiters::default(),
            tapes: Tapes::default(),
            starving_until: None,
            lacking_until: None,
            closed: false,
            stopping: false,
            now: Time::default(),
            date: date::imf(0),
            date_seconds: 0,
            actions: Vec::new(),
            notes: Vec::new(),
            due: Vec::new(),
            sessions_begun: 0,
        }
    }

    /// One turn: waits for something to do, up to `most`, and does it. `clock` says what time it is, and the wall
    /// clock's seconds since 1970; it is read once, behind the wait.
    ///
    /// # Errors
    /// When the kernel can no longer be waited for; nothing can go on then.
    pub fn turn(&mut self, most: Option<Duration>, clock: impl FnOnce() -> (Time, u64)) -> io::Result<()> {
        self.arm_accepts();
        self.engine.wait(self.wait_time(most))?;
        let (now, seconds) = clock();
        self.now = now;
        if seconds != self.date_seconds {
            (self.date, self.date_seconds) = (date::imf(seconds), seconds);
        }
        if let Some(shelf) = &self.setup.shelf {
            shelf.refresh(&mut self.material);
        }
        while let Some(completion) = self.engine.take() {
            if let Some((_, next)) = self.engine.next_slot().and_then(|slot| self.sessions.at(slot)) {
                prefetch(next);
            }
            self.complete(completion);
        }
        self.expire();
        self.relieve();
        self.seek_memory();
        self.log_suppressed();
        self.counters.starved = self.engine.starved();
        Ok(())
    }

    /// Whether it lets nobody in any more and the last session is gone.
    pub fn is_done(&self) -> bool {
        self.closed && self.sessions.is_empty()
    }

    /// What it has seen.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How many sessions it has.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Its engine, for what a simulation asserts.
    pub fn engine(&mut self) -> &mut Engine<K> {
        &mut self.engine
    }

    fn wait_time(&self, most: Option<Duration>) -> Option<Duration> {
        // A pause means nothing any more when nobody is let in.
        let pause = self.accepts.pause().filter(|_| !self.closed);
        let next = [self.wheel.next_look(), pause, self.starving_until, self.lacking_until, self.lines.due()];
        let next = next.into_iter().flatten().min();
        let next = next.map(|next| next.since(self.now));
        [next, most].into_iter().flatten().min()
    }

    fn complete(&mut self, completion: Completion<K::Socket>) {
        let (token, input) = match completion {
            Completion::Accepted(index, socket, client) => return self.accepted(index, socket, client),
            Completion::AcceptFailed(index, error) => return self.accept_failed(index, &error),
            Completion::Woken => return self.read_notes(),
            Completion::Received(token, lease) => (token, Input::Received(side(token), lease)),
            Completion::Ended(token) => (token, Input::Ended(side(token))),
            Completion::Sent(token) => (token, Input::Sent(side(token))),
            Completion::Moved(token) => (token, Input::Moved(side(token))),
            Completion::Connected(token) => (token, Input::Connected),
            Completion::Failed(token, flown, error) => {
                (token, Input::Failed(side(token), operation(flown), error))
            }
            Completion::Cancelled(token, flown) => (token, Input::Cancelled(side(token), operation(flown))),
            Completion::Closed(token) => (token, Input::Closed(side(token))),
        };
        self.handle(token.key(), input);
    }

    #[inline(never)]
    fn read_notes(&mut self) {
        let mut notes = std::mem::take(&mut self.notes);
        self.setup.mailbox.take(&mut notes);
        for note in notes.drain(..) {
            match note {
                Note::Verdict(key, verdict) => self.handle(key, Input::Verdict(verdict)),
                Note::Finish => self.finish(),
                Note::Stop => self.stop(),
                Note::Cut => self.cut(),
                Note::Report => self.log_report(),
            }
        }
        self.notes = notes;
    }

    fn stop(&mut self) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        self.finish();
        for key in self.sessions.keys().collect::<Vec<_>>() {
            self.handle(key, Input::Stop);
        }
    }

    fn cut(&mut self) {
        self.stop();
        for key in self.sessions.keys().collect::<Vec<_>>() {
            self.abort(key, End::Stopped);
        }
    }

    fn expire(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        self.wheel.expire(self.now, &mut due);
        for slot in due.drain(..) {
            if let Some((key, _)) = self.sessions.at(slot) {
                self.handle(key, Input::Expired);
            }
        }
        self.due = due;
    }

    fn handle(&mut self, key: Key, input: Input) {
        self.with_session(key, |session, cx| session.handle(input, cx));
    }

    fn abort(&mut self, key: Key, end: End) {
        self.with_session(key, |session, cx| session.abort(end, cx));
    }

    /// Lets a session decide, carries out what it wants, and tells it of sends that are done by then. What follows from that
    /// waits for its turn: sessions that could go on and on get no further than others.
    fn with_session(&mut self, key: Key, decide: impl FnOnce(&mut Session, &mut Cx<'_>)) {
        let mut actions = std::mem::take(&mut self.actions);
        self.decide(key, &mut actions, decide);
        let gone = self.perform(key, &mut actions, true);
        for side in [Side::Client, Side::Target] {
            if gone[side as usize] {
                self.decide(key, &mut actions, |session, cx| session.handle(Input::Sent(side), cx));
                self.perform(key, &mut actions, false);
            }
        }
        self.actions = actions;
    }

    /// Lets a session decide. A panic ends that session and no other.
    fn decide(
        &mut self,
        key: Key,
        actions: &mut Vec<Action>,
        decide: impl FnOnce(&mut Session, &mut Cx<'_>),
    ) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let mut cx = Cx {
            now: self.now,
            pool: self.engine.pool(),
            config: &self.setup.config,
            date: &self.date,
            keys: keys(self.material.as_deref()),
            counters: &mut self.counters,
            actions,
        };
        if catch_unwind(AssertUnwindSafe(|| decide(session, &mut cx))).is_err() {
            cx.counters.panics += 1;
            // What was decided before the panic has left its mark in the session, so it is carried out.
            session.abort(End::Internal, &mut cx);
        }
    }
}

/// What of the shelf's material sessions work with.
fn keys(material: Option<&Material>) -> Keys<'_> {
    material.map_or_else(Keys::default, |material| Keys {
        server: material.server.as_ref(),
        client: material.client.as_ref(),
        target_name: material.target_name.as_ref(),
    })
}

fn side(token: Token) -> Side {
    match token.lane() {
        Lane::First => Side::Client,
        Lane::Second => Side::Target,
    }
}

fn operation(flown: Flown) -> Operation {
    match flown {
        Flown::Receive => Operation::Receive,
        Flown::Send => Operation::Send,
        Flown::Connect => Operation::Connect,
    }
}
