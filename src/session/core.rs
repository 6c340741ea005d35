//! What every phase of a session shares: its lanes, what is in flight on them, its deadline and its sums.
//!
//! Every action goes out through here, so that the in-flight marks are exact whatever phase is on. It never decides
//! anything.

use super::tap::Watch;
use super::wire::Wire;
use super::{Action, Cx, End, Input, Operation, Side, Wait, lacks_memory};
use crate::config::Config;
use crate::limits::{CHARGE_BYTES_MIN, TLS_PLAIN_RECEIVE_BYTES};
use crate::pool::Lease;
use crate::route::token::{Mark, Token};
use crate::route::{Label, redact};
use crate::session::job::Job;
use crate::slab::Key;
use crate::target::Target;
use crate::timers::Time;
use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

/// What a route said of how to log a session.
#[derive(Debug)]
pub struct Told {
    /// What to log with it.
    pub labels: Box<[Label]>,
    /// The token, where it is written in the target: what is told of that has its mark instead.
    pub token: Option<Token>,
}

/// The part of a session that outlives its phases.
#[derive(Debug)]
pub struct Core {
    /// Its slot.
    pub key: Key,
    /// Number for log lines, unique in the process.
    pub id: u64,
    /// Where the client is; `None` on a Unix socket.
    pub client: Option<SocketAddr>,
    /// Where its route leads; `None`: where the configuration says.
    pub target: Option<Arc<Target>>,
    /// The how many-th connection of the process it is, from 1; 0 where nobody counts.
    pub number: u64,
    /// What is shown of the token that its request carried.
    pub token: Option<Mark>,
    /// What its route said of how to log it, if anything: few sessions have that.
    pub told: Option<Box<Told>>,
    /// When it was accepted.
    pub opened: Time,
    /// Payload bytes from the client and to it.
    pub bytes_in: u64,
    /// See `bytes_in`.
    pub bytes_out: u64,
    /// Messages from the client and to it.
    pub messages_in: u64,
    /// See `messages_in`.
    pub messages_out: u64,
    /// Whether it became a bridge.
    pub bridged: bool,
    /// Why it ended, once that is decided.
    pub end: Option<End>,
    /// The code of the close frame that was sent or, if none was, received.
    pub close_code: Option<u16>,
    /// What the system said about it, for the operator only.
    pub detail: Option<Box<str>>,
    /// Version and cipher suite of the client's TLS, once they are agreed.
    pub tls: Option<(&'static str, &'static str)>,
    /// What it waits for, as those who make room were told.
    pub(super) waited: Option<Wait>,
    /// Who watches it, if anybody does.
    pub(super) watch: Option<Box<Watch>>,
    pub(super) lanes: [Lane; 2],
}

/// One side's socket and what is in flight on it.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) open: bool,
    pub(super) receiving: bool,
    pub(super) sending: bool,
    /// Also while a target that is connected is being secured.
    pub(super) connecting: bool,
    pub(super) cancelled: bool,
    pub(super) closing: bool,
    /// End of stream has been said, or is said as soon as what is in flight has gone.
    pub(super) shut: bool,
    /// Nothing more comes from it: it ended or broke.
    pub(super) ended: bool,
    /// It broke: nothing can be sent either.
    broken: bool,
    /// The system finds out when the other end is gone.
    kept: bool,
    /// When a send was begun or last made progress.
    pub(super) moved: Time,
    /// Its TLS. The marks above then say what the phase has begun; what the engine has in flight is the wire's to know.
    pub(super) wire: Option<Box<Wire>>,
}

impl Told {
    /// `None` if there is nothing to tell.
    pub fn of(labels: Vec<Label>, token: Option<Token>) -> Option<Box<Told>> {
        let is_worth_it = token.is_some() || !labels.is_empty();
        is_worth_it.then(|| Box::new(Told { labels: labels.into(), token }))
    }
}

impl Core {
    /// What its route said to log with it.
    pub fn labels(&self) -> &[Label] {
        self.told.as_ref().map_or(&[], |told| &told.labels)
    }

    /// `text`, something about the target, as it may be logged: without the token.
    pub fn veiled<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let token = self.told.as_ref().and_then(|told| told.token.as_ref());
        match token.zip(self.token) {
            Some((token, mark)) => redact::redacted(text, token.secret(), &mark.to_string()),
            None => Cow::Borrowed(text),
        }
    }

    /// A session that was just accepted.
    pub fn new(key: Key, id: u64, client: Option<SocketAddr>, now: Time) -> Core {
        Core {
            key,
            id,
            client,
            target: None,
            number: 0,
            token: None,
            told: None,
            opened: now,
            bytes_in: 0,
            bytes_out: 0,
            messages_in: 0,
            messages_out: 0,
            bridged: false,
            end: None,
            close_code: None,
            detail: None,
            tls: None,
            waited: Some(Wait::Head),
            watch: None,
            lanes: [Lane { open: true, ..Lane::default() }, Lane::default()],
        }
    }

    /// Where the client is carried: where its route leads, or else where `config` says.
    pub fn target<'a>(&'a self, config: &'a Config) -> Option<&'a Target> {
        self.target.as_deref().or(config.target.as_ref())
    }

    /// Keeps the in-flight marks true to what has come back. Called once for each input, before any phase sees it.
    pub fn note(&mut self, input: &Input, now: Time) {
        match input {
            Input::Received(side, _) => {
                self.lane(*side).settle(Operation::Receive);
            }
            Input::Ended(side) => {
                let lane = self.lane(*side);
                lane.settle(Operation::Receive);
                lane.ended = true;
            }
            Input::Sent(side) => self.lane(*side).settle(Operation::Send),
            Input::Moved(side) => self.lane(*side).moved = now,
            Input::Connected => self.lane(Side::Target).settle(Operation::Connect),
            Input::Failed(side, operation, error) => {
                if self.end.is_none() {
                    self.detail = Some(error.to_string().into());
                }
                let lane = self.lane(*side);
                lane.settle(*operation);
                match &mut lane.wire {
                    // The socket is sound, and is read to its end so that the alert arrives; or the goodbye, where all that
                    // is wrong is that there was no memory.
                    Some(wire) if wire.failed => {
                        wire.told();
                        lane.broken |= !(lacks_memory(error) && wire.speaks());
                    }
                    // What came before a send failed can still be read.
                    _ => {
                        lane.broken = true;
                        lane.ended |= *operation != Operation::Send;
                    }
                }
            }
            Input::Cancelled(side, operation) => self.lane(*side).settle(*operation),
            Input::Closed(side) => *self.lane(*side) = Lane::default(),
            Input::Verdict(_) | Input::Expired | Input::Stop => {}
        }
    }

    /// Counts payload that came from the client.
    pub fn count_in(&mut self, bytes: u64, messages: u64, cx: &mut Cx<'_>) {
        self.bytes_in += bytes;
        self.messages_in += messages;
        cx.counters.bytes_in += bytes;
        cx.counters.messages_in += messages;
    }

    /// Counts payload that goes to the client.
    pub fn count_out(&mut self, bytes: u64, messages: u64, cx: &mut Cx<'_>) {
        self.bytes_out += bytes;
        self.messages_out += messages;
        cx.counters.bytes_out += bytes;
        cx.counters.messages_out += messages;
    }

    /// Has the turn charged for work that cost as much as receiving so many `bytes`, unless that is little.
    #[inline]
    pub fn charge(&self, bytes: usize, cx: &mut Cx<'_>) {
        if bytes >= CHARGE_BYTES_MIN {
            cx.actions.push(Action::Charge(bytes));
        }
    }

    /// Receives from `side` up to `most` bytes, unless that is on already or nothing more can come.
    pub fn receive(&mut self, side: Side, most: usize, cx: &mut Cx<'_>) {
        let most = if self.is_secure(side.other()) { most.min(TLS_PLAIN_RECEIVE_BYTES) } else { most };
        let lane = self.lane(side);
        if lane.usable() && !lane.receiving && !lane.ended {
            lane.receiving = true;
            match &mut lane.wire {
                None => cx.actions.push(Action::Receive(side, most)),
                Some(wire) => wire.want(most),
            }
        }
    }

    /// Receives from `side`, which like the other one has no wire, bytes that nobody here is going to look at.
    pub fn receive_unseen(&mut self, side: Side, most: usize, cx: &mut Cx<'_>) {
        debug_assert!(!self.has_wires());
        let lane = self.lane(side);
        if lane.usable() && !lane.receiving && !lane.ended {
            lane.receiving = true;
            cx.actions.push(Action::ReceiveUnseen(side, most));
        }
    }

    /// Sends `lease` to `side`. The side must be idle: see [`Core::may_send`].
    pub fn send(&mut self, side: Side, lease: Lease, cx: &mut Cx<'_>) {
        let now = cx.now;
        let lane = self.lane(side);
        debug_assert!(lane.usable() && !lane.sending);
        lane.sending = true;
        lane.moved = now;
        match &mut lane.wire {
            None => cx.actions.push(Action::Send(side, lease)),
            Some(wire) => wire.seal(lease, cx),
        }
    }

    /// Sends `lease` to `side`, and says end of stream when it has gone.
    pub fn send_last(&mut self, side: Side, lease: Lease, cx: &mut Cx<'_>) {
        let now = cx.now;
        let lane = self.lane(side);
        debug_assert!(lane.usable() && !lane.sending && !lane.shut);
        (lane.sending, lane.shut, lane.moved) = (true, true, now);
        match &mut lane.wire {
            None => cx.actions.push(Action::SendLast(side, lease)),
            Some(wire) => {
                wire.seal(lease, cx);
                wire.shut(side, cx);
            }
        }
    }

    /// Opens the target's lane.
    pub fn connect(&mut self, address: crate::sys::address::Address, cx: &mut Cx<'_>) {
        let lane = self.lane(Side::Target);
        debug_assert!(!lane.open);
        *lane = Lane { open: true, connecting: true, ..Lane::default() };
        cx.actions.push(Action::Connect(address));
    }

    /// Gives up what is in flight on `side`, once.
    pub fn cancel(&mut self, side: Side, cx: &mut Cx<'_>) {
        let lane = self.lane(side);
        if lane.busy() && !lane.cancelled {
            lane.cancelled = true;
            if let Some(wire) = &mut lane.wire {
                wire.give_up(side, cx);
            }
            cx.actions.push(Action::Cancel(side));
        }
    }

    /// Says end of stream to `side`, if that has not been said.
    pub fn shut(&mut self, side: Side, cx: &mut Cx<'_>) {
        let lane = self.lane(side);
        if !lane.open || std::mem::replace(&mut lane.shut, true) {
            return;
        }
        match &mut lane.wire {
            Some(wire) => wire.shut(side, cx),
            None => cx.actions.push(Action::Shut(side)),
        }
    }

    /// Closes `side`, on which nothing may be in flight.
    pub fn close(&mut self, side: Side, cx: &mut Cx<'_>) {
        let lane = self.lane(side);
        if lane.open && !lane.closing {
            debug_assert!(!lane.busy());
            lane.closing = true;
            cx.actions.push(Action::Close(side));
        }
    }

    /// Asks a helper.
    pub fn ask(&mut self, job: Job, cx: &mut Cx<'_>) {
        cx.actions.push(Action::Ask(job));
    }

    /// Has the system find out when the target is gone, if there is one and that has not been done.
    pub fn keep_target(&mut self, cx: &mut Cx<'_>) {
        if self.is_target_unkept() {
            self.lane(Side::Target).kept = true;
            cx.actions.push(Action::KeepTarget);
        }
    }

    /// Whether there is a target and the system has not been told to find out when it is gone.
    pub fn is_target_unkept(&self) -> bool {
        let lane = &self.lanes[Side::Target as usize];
        lane.usable() && !lane.kept
    }

    /// Sets the session's one deadline.
    pub fn arm(&mut self, due: Time, cx: &mut Cx<'_>) {
        cx.actions.push(Action::Arm(due));
    }

    /// Whether a send to `side` may be begun.
    pub fn may_send(&self, side: Side) -> bool {
        let lane = &self.lanes[side as usize];
        lane.usable() && !lane.sending && !lane.broken
    }

    /// Whether a send to `side` is in flight.
    pub fn sending(&self, side: Side) -> bool {
        self.lanes[side as usize].sending
    }

    /// Whether a receive from `side` is in flight.
    pub fn receiving(&self, side: Side) -> bool {
        self.lanes[side as usize].receiving
    }

    /// Whether bytes can pass on `side`: its socket is connected and not being closed.
    pub fn usable(&self, side: Side) -> bool {
        self.lanes[side as usize].usable()
    }

    /// Whether `side` has a socket.
    pub fn open(&self, side: Side) -> bool {
        self.lanes[side as usize].open
    }

    /// Whether `side` will bring nothing more.
    pub fn ended(&self, side: Side) -> bool {
        self.lanes[side as usize].ended
    }

    /// Whether `side` can neither bring nor take anything.
    pub fn broken(&self, side: Side) -> bool {
        self.lanes[side as usize].broken
    }

    /// Whether anything is in flight on `side`.
    pub fn busy(&self, side: Side) -> bool {
        self.lanes[side as usize].busy()
    }

    /// Since when a send has been stuck, one of TLS itself included, and on which side, if one has.
    pub fn stuck(&self) -> Option<(Time, Side)> {
        let stuck = [Side::Client, Side::Target].into_iter().filter(|&side| self.flying(side));
        stuck.map(|side| (self.moved(side), side)).min_by_key(|(since, _)| *since)
    }

    /// When a send to `side` was begun or last made progress.
    pub fn moved(&self, side: Side) -> Time {
        self.lanes[side as usize].moved
    }

    pub(super) fn lane(&mut self, side: Side) -> &mut Lane {
        &mut self.lanes[side as usize]
    }
}

impl Lane {
    fn usable(&self) -> bool {
        self.open && !self.connecting && !self.closing
    }

    fn busy(&self) -> bool {
        match &self.wire {
            None => self.receiving || self.sending || self.connecting,
            Some(wire) => wire.busy(),
        }
    }

    /// Joins one operation. A cancel is over when all that was in flight is joined, in whatever way each part ended:
    /// one that was done already when it was cancelled comes back as done.
    fn settle(&mut self, operation: Operation) {
        match operation {
            Operation::Receive => self.receiving = false,
            Operation::Send => self.sending = false,
            Operation::Connect => self.connecting = false,
        }
        self.cancelled &= self.busy();
    }
}
