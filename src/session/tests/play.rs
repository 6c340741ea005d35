//! The vocabulary of the tables: one session, its two sockets, its clock and its helper, all played.
//!
//! [`Play`] owns everything around a session and keeps the engine's contract to the letter: one completion for each
//! submission, one receive and one send in flight a side, nothing on a socket that is closed or being closed, no action
//! behind the release. It asserts that the session keeps its part, and after each input that it cannot hang. It never
//! judges what a case is about: that is read off [`Play::heard`], [`Play::got`] and [`Play::end`].

use super::read;
pub use super::settings::config;
use super::socket::Pipes;
pub use super::socket::{Socket, Tail};
use crate::config::Config;
use crate::limits::{BUFFER_MEMORY_MIN, HOT_BYTES};
use crate::observe::counters::Counters;
use crate::pool::{Lease, Pool};
use crate::session::job::{Job, Verdict};
use crate::session::tap::Tap;
use crate::session::{Action, Cx, End, Input, Keys, Operation, Session, Side, Wait};
use crate::slab::Key;
use crate::sys::address::Address;
use crate::timers::Time;
use crate::web;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

pub use Side::{Client, Target as Far};

/// Most completions of one input: far more than any case needs, so that a loop fails instead of hanging.
const COMPLETIONS_MAX: usize = 100_000;

/// One session and the world around it.
pub struct Play {
    pub config: Config,
    pub pool: Pool,
    /// The most bytes that the system gives at once.
    pub gives: Rc<Cell<usize>>,
    pub counters: Counters,
    pub now: Time,
    pub session: Option<Session>,
    pub sockets: [Socket; 2],
    pub pipes: Pipes,
    pub due: Option<Time>,
    /// What helpers have been asked and have not answered.
    pub jobs: VecDeque<Job>,
    /// Addresses that were dialled, in order.
    pub dialled: Vec<String>,
    /// What was logged, in order.
    pub lines: Vec<String>,
    /// What was shown to those who watch, in order.
    pub shown: Vec<Tap>,
    /// What turns were charged, in order.
    pub charges: Vec<usize>,
    /// The answer is to a HEAD request: its length is announced and nothing follows.
    pub head_only: bool,
    /// Most bytes that one receive brings, whatever was asked.
    pub gulp: usize,
    /// A place in the client's stream where a receive ends, whatever was asked.
    pub cut: usize,
    pub released: bool,
    /// What it has said that it waits for.
    pub wait_for: Option<Wait>,
    /// What TLS towards the client works with, and towards the target, if there is any.
    pub tls: Option<Arc<ServerConfig>>,
    pub target_tls: TargetTls,
    /// Nothing is handed over but by [`Play::step`].
    pub slow: bool,
    /// Completions that have not been handed over.
    pub done: VecDeque<Input>,
}

/// A client's part of TLS, and the name it verifies.
pub type TargetTls = Option<(Arc<ClientConfig>, ServerName<'static>)>;

/// Something that happens, as a row of a table.
pub type Event = fn(&mut Play) -> &mut Play;

impl Play {
    /// A session that was just accepted.
    pub fn new(config: Config) -> Play {
        Play::with_tls(config, None, None)
    }

    /// The same where TLS is spoken.
    pub fn with_tls(config: Config, tls: Option<Arc<ServerConfig>>, target_tls: TargetTls) -> Play {
        let gives = Rc::new(Cell::new(usize::MAX));
        let most = gives.clone();
        let system = move |bytes| (bytes <= most.get()).then(|| vec![0; bytes].into_boxed_slice());
        let mut play = Play {
            config,
            pool: Pool::over(BUFFER_MEMORY_MIN, system),
            gives,
            counters: Counters::default(),
            now: Time(1_000),
            session: None,
            sockets: [Socket { open: true, ..Socket::default() }, Socket::default()],
            pipes: Pipes::default(),
            due: None,
            jobs: VecDeque::new(),
            dialled: Vec::new(),
            lines: Vec::new(),
            shown: Vec::new(),
            charges: Vec::new(),
            head_only: false,
            gulp: usize::MAX,
            cut: usize::MAX,
            released: false,
            wait_for: Some(Wait::Head),
            tls,
            target_tls,
            slow: false,
            done: VecDeque::new(),
        };
        play.decide(|_, cx| Some(Session::accept(Key { index: 0, generation: 0 }, 1, None, cx)));
        play
    }

    /// A session whose client was just answered with 101, with target `target`.
    pub fn open(target: &str) -> Play {
        let mut play = Play::new(config(target));
        play.client(read::UPGRADE);
        play
    }

    /// A bridge whose target is connected.
    pub fn bridge() -> Play {
        let mut play = Play::open("127.0.0.1:5900");
        play.connected();
        play
    }

    /// A session that serves files.
    pub fn web() -> Play {
        let mut config = config("127.0.0.1:5900");
        config.web = Some(web::Options { listings: false, index: None });
        Play::new(config)
    }

    /// The client sends.
    pub fn client(&mut self, bytes: impl AsRef<[u8]>) -> &mut Play {
        self.put(Client, bytes.as_ref())
    }

    /// The target sends.
    pub fn target(&mut self, bytes: impl AsRef<[u8]>) -> &mut Play {
        self.put(Far, bytes.as_ref())
    }

    fn put(&mut self, side: Side, bytes: &[u8]) -> &mut Play {
        self.sockets[side as usize].inbox.extend(bytes);
        self.run()
    }

    /// `side` ends its stream behind what it has sent.
    pub fn fin(&mut self, side: Side) -> &mut Play {
        self.sockets[side as usize].tail = Tail::Fin;
        self.run()
    }

    /// `side` resets the connection: what can be received still is.
    pub fn reset(&mut self, side: Side) -> &mut Play {
        let socket = &mut self.sockets[side as usize];
        socket.tail = Tail::Reset;
        socket.deaf = true;
        self.flush(side);
        self.run()
    }

    /// `side` takes nothing more, until [`Play::unstick`].
    pub fn stick(&mut self, side: Side) -> &mut Play {
        self.sockets[side as usize].stuck = true;
        self
    }

    /// `side` takes everything again.
    pub fn unstick(&mut self, side: Side) -> &mut Play {
        self.sockets[side as usize].stuck = false;
        self.flush(side);
        self.run()
    }

    /// A send that is stuck makes progress: `side` takes one byte.
    pub fn nibble(&mut self, side: Side) -> &mut Play {
        let socket = &mut self.sockets[side as usize];
        let lease = socket.sending.as_mut().expect("a send is stuck");
        socket.got.extend(self.pipes.take(lease, 1));
        self.done.push_back(Input::Moved(side));
        self.run()
    }

    /// The address that is being dialled takes the connection.
    pub fn connected(&mut self) -> &mut Play {
        assert!(std::mem::take(&mut self.sockets[1].connecting), "nothing is dialled");
        self.done.push_back(Input::Connected);
        self.run()
    }

    /// The address that is being dialled refuses.
    pub fn refused(&mut self) -> &mut Play {
        assert!(std::mem::take(&mut self.sockets[1].connecting), "nothing is dialled");
        self.sockets[1].tail = Tail::Reset;
        let error = io::Error::from(io::ErrorKind::ConnectionRefused);
        self.done.push_back(Input::Failed(Far, Operation::Connect, error));
        self.run()
    }

    /// A helper answers the oldest job.
    pub fn verdict(&mut self, verdict: Verdict) -> &mut Play {
        self.jobs.pop_front().expect("a helper was asked");
        self.done.push_back(Input::Verdict(verdict));
        self.run()
    }

    /// The name is looked up: it has these addresses.
    pub fn resolved(&mut self, addresses: &[&str]) -> &mut Play {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        self.verdict(Verdict::Addresses(Ok(addresses)))
    }

    /// The server stops.
    pub fn stop(&mut self) -> &mut Play {
        self.hand_over(Input::Stop);
        self.run()
    }

    /// Time passes, and each deadline on the way comes.
    pub fn wait(&mut self, ms: u64) -> &mut Play {
        let until = self.now + Duration::from_millis(ms);
        let mut at_once = 0;
        while let Some(due) = self.due.filter(|&due| due <= until && !self.released) {
            at_once = if due <= self.now { at_once + 1 } else { 0 };
            assert!(at_once < 3, "a deadline that has passed is armed again and again: {:?}", self.session);
            self.now = self.now.max(due);
            self.due = None;
            self.hand_over(Input::Expired);
            self.run();
        }
        self.now = until;
        self
    }

    /// From now on the system gives at most so many bytes at once, and the pool has found that out.
    pub fn gives(&mut self, most: usize) -> &mut Play {
        self.pool.set_aside();
        self.gives.set(most);
        assert!(self.pool.chunk_to_hold(2 * HOT_BYTES).is_none() && self.pool.lacks());
        self
    }

    /// Ends the session without a word.
    pub fn abort(&mut self, end: End) -> &mut Play {
        self.decide(|mut session, cx| {
            session.as_mut().expect("it is there").abort(end, cx);
            session
        });
        self.run()
    }

    /// What the client was sent, in words, see [`read::heard`].
    pub fn heard(&self) -> String {
        read::heard(&self.sockets[0].got, self.head_only)
    }

    /// The same behind the 101.
    pub fn frames(&self) -> String {
        self.heard().strip_prefix("101").expect("it was upgraded").trim_start_matches(", ").into()
    }

    /// What the target was sent.
    pub fn got(&self) -> String {
        String::from_utf8_lossy(&self.sockets[1].got).into_owned()
    }

    /// Why the session ended; it must have been released, and everything must have come home.
    pub fn end(&self) -> &'static str {
        assert!(self.released, "it is still there");
        assert_eq!(self.pool.in_use(), 0, "a chunk is lost");
        self.session.as_ref().unwrap().core().end.map_or("none", End::name)
    }

    /// Hands over what has been completed, and what can be received, until nothing is left.
    pub fn run(&mut self) -> &mut Play {
        for _ in 0..COMPLETIONS_MAX {
            if self.slow || !self.step(Client, Far) {
                return self;
            }
        }
        panic!("the session goes round in circles");
    }

    /// Hands over one completion: one that is done or else what can be received, from one side or else the other.
    pub fn step(&mut self, one: Side, other: Side) -> bool {
        let next = self.done.pop_front().or_else(|| self.receive(one)).or_else(|| self.receive(other));
        next.is_some_and(|input| {
            self.hand_over(input);
            true
        })
    }

    /// Hands one input over, unless the slot is free already.
    pub fn hand_over(&mut self, input: Input) {
        match input {
            Input::Closed(side) => self.sockets[side as usize].reopen(),
            _ if self.released => return,
            _ => {}
        }
        self.decide(|session, cx| {
            let mut session = session.expect("it was accepted");
            session.handle(input, cx);
            Some(session)
        });
    }

    /// Completes the receive that is in flight on `side`, if something is there for it.
    pub fn receive(&mut self, side: Side) -> Option<Input> {
        let socket = &mut self.sockets[side as usize];
        let most = socket.receiving?.min(self.gulp);
        let most = match side == Client && socket.taken < self.cut {
            true => most.min(self.cut - socket.taken),
            false => most,
        };
        let count = most.min(socket.inbox.len());
        if count == 0 && socket.tail == Tail::Open {
            return None;
        }
        socket.receiving = None;
        if count == 0 && socket.tail == Tail::Fin {
            return Some(Input::Ended(side));
        }
        if count == 0 {
            let error = io::Error::from(io::ErrorKind::ConnectionReset);
            return Some(Input::Failed(side, Operation::Receive, error));
        }
        socket.taken += count;
        let bytes: Vec<u8> = socket.inbox.drain(..count).collect();
        let piped = if socket.unseen && self.pipes.on { self.pipes.fill(&self.pool, &bytes) } else { None };
        let lease = piped.unwrap_or_else(|| {
            let mut lease = self.pool.hot();
            lease.append(&bytes);
            lease
        });
        Some(Input::Received(side, lease))
    }

    fn decide(&mut self, decide: impl FnOnce(Option<Session>, &mut Cx<'_>) -> Option<Session>) {
        let mut actions = Vec::new();
        let mut cx = Cx {
            now: self.now,
            pool: &self.pool,
            config: &self.config,
            date: b"Sun, 06 Nov 1994 08:49:37 GMT",
            keys: Keys {
                server: self.tls.as_ref(),
                client: self.target_tls.as_ref().map(|(config, _)| config),
                target_name: self.target_tls.as_ref().map(|(_, name)| name),
            },
            counters: &mut self.counters,
            actions: &mut actions,
        };
        self.session = decide(self.session.take(), &mut cx);
        for action in actions {
            assert!(!self.released, "behind the release: {action:?}");
            self.perform(action);
        }
        drop(self.pool.hot());
        self.check();
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Receive(side, most) => self.arm(side, most, false),
            Action::ReceiveUnseen(side, most) => {
                assert!(self.tls.is_none() && self.target_tls.is_none(), "what TLS is to encrypt is seen");
                self.arm(side, most, true);
            }
            Action::Send(side, lease) => self.send(side, lease, false),
            Action::SendLast(side, lease) => self.send(side, lease, true),
            Action::Connect(address) => {
                let socket = &mut self.sockets[1];
                assert!(!socket.open, "one target at a time");
                (socket.open, socket.connecting) = (true, true);
                self.dialled.push(match address {
                    Address::Tcp(address) => address.to_string(),
                    Address::Unix(path) => format!("unix:{}", path.display()),
                    Address::Abstract(name) => format!("unix:@{}", name.escape_ascii()),
                });
            }
            Action::KeepTarget => {
                assert!(!std::mem::replace(&mut self.usable(Side::Target).kept, true), "kept twice");
            }
            Action::Cancel(side) => self.cancel(side),
            Action::Shut(side) => {
                let socket = self.usable(side);
                assert!(!socket.last && !std::mem::replace(&mut socket.shut, true), "{side:?} is shut twice");
            }
            Action::Close(side) => {
                let socket = &mut self.sockets[side as usize];
                assert!(socket.open && !socket.closing && !socket.busy(), "{side:?}");
                socket.closing = true;
                self.done.push_back(Input::Closed(side));
            }
            Action::Charge(bytes) => self.charges.push(bytes),
            Action::Ask(job) => self.jobs.push_back(job),
            Action::Arm(due) => self.due = Some(due),
            Action::Opened(path) => self.lines.push(format!("open {path}")),
            Action::Answered(line, status) => self.lines.push(format!("{line} {status}")),
            Action::Tap(tap) => self.shown.push(tap),
            Action::Waits(wait) => self.wait_for = wait,
            Action::Release => {
                assert!(self.sockets.iter().all(|socket| !socket.open), "a socket is left open");
                self.released = true;
            }
        }
    }

    fn arm(&mut self, side: Side, most: usize, unseen: bool) {
        let socket = self.usable(side);
        assert!(socket.receiving.is_none() && most > 0 && most <= HOT_BYTES, "{side:?} {most}");
        (socket.receiving, socket.unseen) = (Some(most), unseen);
    }

    fn usable(&mut self, side: Side) -> &mut Socket {
        let socket = &mut self.sockets[side as usize];
        assert!(socket.open && !socket.closing && !socket.connecting, "{side:?} cannot be used");
        socket
    }

    /// What is in flight comes back as cancelled; what is done already comes back as done.
    fn cancel(&mut self, side: Side) {
        let socket = &mut self.sockets[side as usize];
        if socket.connecting {
            socket.tail = Tail::Reset;
        }
        let parts = [
            (socket.receiving.take().is_some(), Operation::Receive),
            (socket.sending.take().is_some(), Operation::Send),
            (std::mem::take(&mut socket.connecting), Operation::Connect),
        ];
        for (_, operation) in parts.into_iter().filter(|(flying, _)| *flying) {
            self.done.push_back(Input::Cancelled(side, operation));
        }
    }

    /// Takes a send, and counts it.
    fn send(&mut self, side: Side, lease: Lease, last: bool) {
        let socket = self.usable(side);
        assert!(socket.sending.is_none() && !socket.shut && !lease.is_empty(), "{side:?} {lease:?}");
        // Only what is not taken at once has to be kept.
        let is_stuck = socket.stuck && !socket.deaf;
        (socket.sending, socket.last) = (if is_stuck { lease.kept() } else { Some(lease) }, last);
        socket.sends.push(last);
        if socket.sending.is_none() {
            let error = io::ErrorKind::OutOfMemory.into();
            self.done.push_back(Input::Failed(side, Operation::Send, error));
        }
        self.flush(side);
    }

    /// Completes the send that is in flight on `side`, unless it is stuck.
    fn flush(&mut self, side: Side) {
        let socket = &mut self.sockets[side as usize];
        if socket.stuck && !socket.deaf {
            return;
        }
        let Some(mut lease) = socket.sending.take() else { return };
        self.done.push_back(match socket.deaf {
            true => Input::Failed(side, Operation::Send, io::ErrorKind::BrokenPipe.into()),
            false => {
                let size = lease.size();
                socket.got.extend(self.pipes.take(&mut lease, size));
                socket.shut |= std::mem::take(&mut socket.last);
                Input::Sent(side)
            }
        });
    }

    /// Nothing may wait for ever: while a session is there, something is on its way back or a deadline is armed.
    fn check(&self) {
        let wait = self.session.as_ref().and_then(Session::waits);
        assert_eq!(self.wait_for, wait, "whoever makes room was told something else");
        let coming = !self.done.is_empty() || self.sockets.iter().any(|socket| socket.closing);
        assert!(self.released || coming || self.due.is_some(), "nothing will ever wake this session");
    }
}
