//! A session: one client from accept to release, as a pure state machine.
//!
//! [`Session::handle`] takes one [`Input`], the time and the buffers, and leaves [`Action`]s; the shard carries those out
//! and brings back what came of them. Owns every decision about a client: what its request is, when the target is
//! dialled, what is received and sent and when not, how it ends. It never sees a descriptor, a clock, a thread or a log.
//!
//! The phases tell the story in order:
//!
//! | phase | file | what goes on |
//! |---|---|---|
//! | `Sniff` | `opening` | nothing has come yet; the first byte tells whether it is TLS |
//! | `Head` | `opening` | a request head is coming in and is judged |
//! | `Route` | `route` | others are asked whether the request may pass, and to which target |
//! | `Answer` | `answer` | plain HTTP: an answer goes out, then the next head |
//! | `Open` | `bridge`, with `dial`, `echo` and `framed` | the 101 is out; two pumps carry bytes while the target is dialled or there |
//! | `Close` | `leave` | goodbye is said and heard on both sides |
//! | `Drain` | `leave` | what is in flight is joined, then descriptors are closed and the slot is released |
//!
//! No phase knows of TLS: a side that speaks it has a `wire`, which stands between the engine and the phase.

mod answer;
mod bridge;
mod core;
mod dial;
mod echo;
mod end;
mod framed;
pub mod job;
mod leave;
mod opening;
mod reach;
mod route;
pub mod tap;
mod wire;

pub use self::core::Core;
pub use end::End;
pub use wire::Keys;

use crate::config::Config;
use crate::http::Refusal;
use crate::observe::counters::Counters;
use crate::pool::{Lease, Pool};
use crate::slab::Key;
use crate::sys::address::Address;
use crate::timers::Time;
use answer::Answer;
use bridge::Bridge;
use job::{Job, Verdict};
use leave::{Close, Drain};
use opening::{Head, Sniff};
use route::Route;
use std::io;
use std::net::SocketAddr;
use tap::Tap;

/// One of a session's two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The WebSocket side.
    Client = 0,
    /// The other one.
    Target = 1,
}

impl Side {
    /// The one across.
    pub fn other(self) -> Side {
        match self {
            Side::Client => Side::Target,
            Side::Target => Side::Client,
        }
    }
}

/// What was in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// [`Action::Receive`] and [`Action::ReceiveUnseen`]
    Receive,
    /// [`Action::Send`] and [`Action::SendLast`]
    Send,
    /// [`Action::Connect`]
    Connect,
}

/// What the world did.
#[derive(Debug)]
pub enum Input {
    /// Bytes came. The lease is sent, kept or dropped before this input has been handled. What [`Action::ReceiveUnseen`]
    /// asked for may lie in a pipe.
    Received(Side, Lease),
    /// A stream ended.
    Ended(Side),
    /// A send has gone out whole.
    Sent(Side),
    /// A send that is stuck has made progress.
    Moved(Side),
    /// The target is connected.
    Connected,
    /// Something in flight failed.
    Failed(Side, Operation, io::Error),
    /// Something in flight was cancelled.
    Cancelled(Side, Operation),
    /// A close is done.
    Closed(Side),
    /// A helper answered.
    Verdict(Verdict),
    /// The deadline has come.
    Expired,
    /// The server stops: say goodbye.
    Stop,
}

impl Input {
    /// Whether there was no memory for what came or what was to be sent: nothing is wrong with that side, but its stream has
    /// a gap.
    fn is_of_no_memory(&self) -> bool {
        match self {
            Input::Failed(_, Operation::Send, error) => error.kind() == io::ErrorKind::OutOfMemory,
            Input::Failed(_, Operation::Receive, error) => lacks_memory(error),
            _ => false,
        }
    }
}

/// Whether it was buffer memory that failed, and not a socket: what the system says is about that.
fn lacks_memory(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::OutOfMemory && error.raw_os_error().is_none()
}

/// What is to be done.
#[derive(Debug)]
pub enum Action {
    /// Receive, at most this many bytes.
    Receive(Side, usize),
    /// Receive, at most this many bytes, which nobody here is going to look at.
    ReceiveUnseen(Side, usize),
    /// Send all of it.
    Send(Side, Lease),
    /// Send all of it, and say end of stream behind it.
    SendLast(Side, Lease),
    /// Connect the target.
    Connect(Address),
    /// Have the system find out when the target is gone.
    KeepTarget,
    /// Cancel what is in flight.
    Cancel(Side),
    /// Say end of stream.
    Shut(Side),
    /// Close the socket; nothing is in flight on it.
    Close(Side),
    /// Charge what was done with what came: it cost as much as receiving this many bytes more.
    Charge(usize),
    /// Have a helper do it.
    Ask(Job),
    /// Set the deadline, replacing the one before.
    Arm(Time),
    /// The session became a bridge, on this request target: log it.
    Opened(Box<str>),
    /// A plain request was answered with this status: log it. Method and request target come first.
    Answered(Box<str>, u16),
    /// Show it to those who watch.
    Tap(Tap),
    /// Who makes room for others can tell by this whether, and since now, it waits for its client.
    Waits(Option<Wait>),
    /// Everything is closed: free the slot.
    Release,
}

/// What a session that has nothing to do for its client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The first head, or the rest of another one.
    Head = 0,
    /// The next head, behind an answer; nothing of it has come.
    Request = 1,
    /// That the client goes, which has had its last answer: all of it is with the system.
    Farewell = 2,
}

/// What a session is given to work with, for one input.
#[derive(Debug)]
pub struct Cx<'a> {
    /// The time.
    pub now: Time,
    /// Where buffers come from.
    pub pool: &'a Pool,
    /// What the server was told to do.
    pub config: &'a Config,
    /// The wall clock's time for HTTP headers.
    pub date: &'a [u8; 29],
    /// What TLS streams that begin now work with.
    pub keys: Keys<'a>,
    /// The sums of the shard.
    pub counters: &'a mut Counters,
    /// Filled by the session, carried out by the shard, in order.
    pub actions: &'a mut Vec<Action>,
}

/// One client from accept to release.
#[derive(Debug)]
pub struct Session {
    core: Core,
    phase: Phase,
}

/// Where a session stands, with exactly the data that means something there.
#[derive(Debug)]
enum Phase {
    Sniff(Sniff),
    Head(Head),
    Route(Box<Route>),
    Answer(Box<Answer>),
    Open(Bridge),
    Close(Box<Close>),
    Drain(Drain),
}

/// What a phase wants after an input.
enum Next {
    Stay,
    Go(Phase),
    /// Goes on to a phase and ends there at once, for this reason.
    GoAndLeave(Phase, End),
    /// The session ends, for this reason.
    Leave(End),
    /// The client speaks TLS: begins with the first bytes of its hello.
    Secure(Lease),
}

impl Session {
    /// A session that was just accepted: begins to receive its first bytes, with a deadline.
    pub fn accept(key: Key, id: u64, client: Option<SocketAddr>, cx: &mut Cx<'_>) -> Session {
        let mut core = Core::new(key, id, client, cx.now);
        let phase = Phase::Sniff(Sniff::begin(&mut core, cx));
        Session { core, phase }
    }

    /// Says the how many-th connection of the process it is, where somebody counts.
    pub fn set_number(&mut self, number: u64) {
        self.core.number = number;
    }

    /// Those who watch have no use for payload any more.
    pub fn show_no_bytes(&mut self) {
        self.core.show_no_bytes();
    }

    /// What all phases share, for log lines.
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// What it waits for while it could make room for others.
    pub fn waits(&self) -> Option<Wait> {
        match &self.phase {
            Phase::Sniff(_) => Some(Wait::Head),
            Phase::Head(head) => {
                let begun = head.is_first() || head.has_begun() || self.core.is_amid_record(Side::Client);
                Some(if begun { Wait::Head } else { Wait::Request })
            }
            // Whoever has not taken all of the answer is still being served.
            Phase::Close(close) if !self.core.bridged && close.is_told() => Some(Wait::Farewell),
            Phase::Route(_) | Phase::Answer(_) | Phase::Open(_) | Phase::Close(_) | Phase::Drain(_) => None,
        }
    }

    /// Takes one input and leaves the actions it calls for in `cx`.
    pub fn handle(&mut self, input: Input, cx: &mut Cx<'_>) {
        if self.core.is_wired(&input, cx) {
            self.unwrap(input, cx);
        } else {
            self.step(input, cx);
        }
        if self.core.has_wires() {
            self.wrap(cx);
        }
        // A bridge waits like nobody, and that was told when it became one.
        if self.core.waited.is_some() || !self.core.bridged {
            self.tell_wait(cx);
        }
    }

    /// Has the phase take what a wire makes of `input`.
    #[inline(never)]
    fn unwrap(&mut self, input: Input, cx: &mut Cx<'_>) {
        for told in self.core.unwrap(input, cx).into_iter().flatten() {
            self.step(told, cx);
        }
    }

    /// Has the wires carry on with what the phase has begun.
    #[inline(never)]
    fn wrap(&mut self, cx: &mut Cx<'_>) {
        while let Some(failed) = self.core.unsealed() {
            self.step(failed, cx);
        }
        self.core.speak(cx);
        self.core.hear(cx);
    }

    /// Has the phase take one input, as it is behind TLS.
    fn step(&mut self, input: Input, cx: &mut Cx<'_>) {
        self.core.note(&input, cx.now);
        let core = &mut self.core;
        let next = match &mut self.phase {
            Phase::Close(close) => close.handle(core, input, cx),
            Phase::Drain(drain) => drain.handle(core, cx),
            Phase::Head(_) if input.is_of_no_memory() && core.may_send(Side::Client) => {
                opening::refuse(&Refusal::BUSY, false, "-", core, cx)
            }
            _ if input.is_of_no_memory() => Next::Leave(End::NoMemory),
            Phase::Sniff(sniff) => sniff.handle(core, input, cx),
            Phase::Head(head) => head.handle(core, input, cx),
            Phase::Route(route) => route.handle(core, input, cx),
            Phase::Answer(answer) => answer.handle(core, input, cx),
            Phase::Open(bridge) => bridge.handle(core, input, cx),
        };
        if !matches!(next, Next::Stay) {
            self.go(next, cx);
        }
    }

    /// Goes where a phase wants to.
    #[inline(never)]
    fn go(&mut self, next: Next, cx: &mut Cx<'_>) {
        match next {
            Next::Stay => {}
            Next::Go(phase) => self.phase = phase,
            Next::GoAndLeave(phase, end) => {
                self.phase = phase;
                self.leave(end, cx);
            }
            Next::Leave(end) => self.leave(end, cx),
            Next::Secure(hello) => self.secure(hello, cx),
        }
    }

    /// Says what it waits for now, if that is something else than before.
    fn tell_wait(&mut self, cx: &mut Cx<'_>) {
        let now = self.waits();
        if std::mem::replace(&mut self.core.waited, now) != now {
            cx.actions.push(Action::Waits(now));
        }
    }

    /// Puts TLS before the head, and begins with the first bytes of the client's hello.
    fn secure(&mut self, hello: Lease, cx: &mut Cx<'_>) {
        let wired = cx.keys.server.map(|config| self.core.wire_client(config));
        self.phase = Phase::Head(Head::begin(&mut self.core, cx));
        match wired {
            Some(Ok(())) => {
                for told in self.core.unwrap(Input::Received(Side::Client, hello), cx).into_iter().flatten() {
                    self.step(told, cx);
                }
            }
            // What the server was told at its start has been checked, so this is ours.
            Some(Err(_)) | None => self.leave(End::Internal, cx),
        }
    }

    /// Ends the session now and without a word: the last resort, also after a panic.
    pub fn abort(&mut self, end: End, cx: &mut Cx<'_>) {
        self.core.end.get_or_insert(end);
        if !matches!(self.phase, Phase::Drain(_)) {
            self.phase = Phase::Drain(Drain::begin(&mut self.core, cx));
        }
        self.tell_wait(cx);
    }
}

#[cfg(test)]
mod tests;
