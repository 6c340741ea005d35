//! A wire: the TLS that stands between what the engine brings to one side and what the phases see of it.
//!
//! A side with a wire receives ciphertext and its phase hears of plaintext; what the phase sends is sealed and put in line
//! behind what TLS itself has to say, and goes out when the phase has had its say, in as few sends as may be. So a wire
//! owns two marks that a plain side does not need: what the engine has in flight, apart from what the phase believes. It
//! never decides how a session goes on.

use super::core::Lane;
use super::{Action, Core, Cx, Input, Operation, Side};
use crate::limits::{TLS_CIPHER_RECEIVE_BYTES, TLS_QUEUE_MAX};
use crate::pool::Lease;
use crate::tls::stream::{Failure, Opened, Stream};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use std::io;
use std::sync::Arc;

/// What TLS streams that begin now work with. Without any of it there is no TLS.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keys<'a> {
    /// Towards clients.
    pub server: Option<&'a Arc<ServerConfig>>,
    /// Towards the target.
    pub client: Option<&'a Arc<ClientConfig>>,
    /// The name that every target is verified as; `None`: each as its own.
    pub target_name: Option<&'a ServerName<'static>>,
}

/// Whose bytes are being sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// The phase's: it is told when they have gone.
    Phase,
    /// TLS's own.
    Stream,
}

/// One side's TLS.
#[derive(Debug)]
pub(super) struct Wire {
    stream: Stream,
    /// What is to be sent, behind what is in flight, in order; at most one piece of it is the phase's.
    queue: Line,
    /// The engine has a send in flight, for this owner.
    flying: Option<Owner>,
    /// The engine has a receive in flight.
    hearing: bool,
    /// The most plaintext the phase asked for.
    most: usize,
    /// An end or a failure is about to be told: nothing more is received until then.
    over: bool,
    /// The stream has failed: what still comes is passed on as it is, to be dropped.
    pub(super) failed: bool,
    /// End of stream is said when the queue is empty.
    shut: bool,
    /// Why the target could not be secured; told as soon as nothing is in flight.
    doom: Option<io::Error>,
    /// Why what the phase sent could not be sealed.
    unsealed: Option<Box<Failure>>,
}

/// Pieces in line. There is seldom more than one, so the first takes no memory of its own; behind it are so few, by
/// `TLS_QUEUE_MAX`, that a vector in which the others move up will do.
#[derive(Debug, Default)]
struct Line {
    first: Option<(Lease, Owner)>,
    more: Vec<(Lease, Owner)>,
}

impl Line {
    fn push_back(&mut self, piece: (Lease, Owner)) {
        match self.first {
            None => self.first = Some(piece),
            Some(_) => self.more.push(piece),
        }
    }

    fn pop_front(&mut self) -> Option<(Lease, Owner)> {
        let next = (!self.more.is_empty()).then(|| self.more.remove(0));
        if self.more.is_empty() {
            self.more = Vec::new();
        }
        std::mem::replace(&mut self.first, next)
    }

    fn front(&self) -> Option<&(Lease, Owner)> {
        self.first.as_ref()
    }

    fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.len()
    }
}

/// What a raw input means for the phase: at most a connect, bytes, and an end, in this order.
pub(super) type Told = [Option<Input>; 3];

fn one(input: Input) -> Told {
    [Some(input), None, None]
}

impl Wire {
    fn new(stream: Stream) -> Box<Wire> {
        Box::new(Wire {
            stream,
            queue: Line::default(),
            flying: None,
            hearing: false,
            most: TLS_CIPHER_RECEIVE_BYTES,
            over: false,
            failed: false,
            shut: false,
            doom: None,
            unsealed: None,
        })
    }

    pub(super) fn busy(&self) -> bool {
        self.has_unsent() || self.hearing
    }

    /// Whether something the phase or TLS has said is in flight or in line.
    pub(super) fn has_unsent(&self) -> bool {
        self.flying.is_some() || !self.queue.is_empty()
    }

    /// Notes that the phase wants up to `most` bytes; [`Core::hear`] receives them.
    pub(super) fn want(&mut self, most: usize) {
        self.most = most;
    }

    /// Whether the phase can still have something said.
    pub(super) fn speaks(&self) -> bool {
        self.stream.speaks()
    }

    /// What was about to be told has been told: from a stream that failed, receiving goes on.
    pub(super) fn told(&mut self) {
        self.over &= !self.failed;
    }

    /// Seals what the phase sends, and puts it in line.
    pub(super) fn seal(&mut self, lease: Lease, cx: &mut Cx<'_>) {
        match self.stream.seal(lease, cx.pool) {
            Ok(sealed) => self.queue.push_back((sealed, Owner::Phase)),
            Err(failure) => self.unsealed = Some(Box::new(failure)),
        }
    }

    /// Says close_notify, and end of stream behind it. Nothing may follow (RFC 8446 section 6.1): the lane is marked as shut.
    pub(super) fn shut(&mut self, side: Side, cx: &mut Cx<'_>) {
        if let Some(goodbye) = self.stream.close_notify(cx.pool) {
            self.queue.push_back((goodbye, Owner::Stream));
        }
        self.shut = self.has_unsent();
        if !self.shut {
            cx.actions.push(Action::Shut(side));
        }
    }

    /// Sends what is in line, if nothing is in flight: small pieces together, the last of all with the end of stream. Says
    /// whether a send was begun.
    fn speak(&mut self, side: Side, cx: &mut Cx<'_>) -> bool {
        if self.flying.is_some() {
            return false;
        }
        let Some((mut lease, mut owner)) = self.queue.pop_front() else { return false };
        while self.queue.front().is_some_and(|(next, _)| next.len() <= lease.tailroom())
            && let Some((next, whose)) = self.queue.pop_front()
        {
            lease.append(&next);
            if whose == Owner::Phase {
                owner = whose;
            }
        }
        self.flying = Some(owner);
        cx.actions.push(match self.queue.is_empty() && std::mem::take(&mut self.shut) {
            true => Action::SendLast(side, lease),
            false => Action::Send(side, lease),
        });
        true
    }

    /// Takes a send that has gone; `last` says that nothing can be put in line any more. Says what the phase hears of it: its
    /// own, and when the last word has gone.
    fn sent(&mut self, side: Side, last: bool, cx: &mut Cx<'_>) -> Told {
        let owner = self.flying.take();
        let over = last && self.queue.is_empty();
        if over && std::mem::take(&mut self.shut) {
            cx.actions.push(Action::Shut(side));
        }
        if over || owner == Some(Owner::Phase) { one(Input::Sent(side)) } else { Told::default() }
    }

    /// What may go out at once still does, and is joined like all that was begun; nothing else will be sent.
    pub(super) fn give_up(&mut self, side: Side, cx: &mut Cx<'_>) {
        self.speak(side, cx);
        self.forget();
    }

    /// Nothing that waits will be sent any more.
    pub(super) fn forget(&mut self) {
        self.queue = Line::default();
        self.shut = false;
    }
}

impl Core {
    /// Whether what the phase shall hear of `input` is for a wire to say.
    pub(super) fn is_wired(&self, input: &Input, cx: &Cx<'_>) -> bool {
        match input {
            Input::Received(side, _)
            | Input::Ended(side)
            | Input::Sent(side)
            | Input::Failed(side, ..)
            | Input::Cancelled(side, _) => self.lanes[*side as usize].wire.is_some(),
            Input::Connected => cx.keys.client.is_some(),
            Input::Moved(_) | Input::Closed(_) | Input::Verdict(_) | Input::Expired | Input::Stop => false,
        }
    }

    /// Whether a part of a record has come from `side`, of which nobody has heard yet.
    pub(super) fn is_amid_record(&self, side: Side) -> bool {
        self.lanes[side as usize].wire.as_ref().is_some_and(|wire| wire.stream.is_amid_record())
    }

    /// The common name in the certificate that the client has proved to hold in the handshake of this connection; `None`
    /// without TLS and without a certificate.
    pub(super) fn certified(&self) -> Option<Box<str>> {
        self.lanes[Side::Client as usize].wire.as_ref()?.stream.certified()
    }

    /// Puts a wire on the client's side, where a TLS hello has come.
    pub(super) fn wire_client(&mut self, config: &Arc<ServerConfig>) -> Result<(), Failure> {
        self.lane(Side::Client).wire = Some(Wire::new(Stream::server(config.clone())?));
        Ok(())
    }

    /// Turns a raw input of a wired side into what its phase hears.
    pub(super) fn unwrap(&mut self, input: Input, cx: &mut Cx<'_>) -> Told {
        let side = match &input {
            Input::Received(side, _)
            | Input::Ended(side)
            | Input::Sent(side)
            | Input::Failed(side, ..)
            | Input::Cancelled(side, _) => *side,
            _ => return self.secure_target(cx),
        };
        let lane = &mut self.lanes[side as usize];
        let Some(wire) = &mut lane.wire else { return one(input) };
        match &input {
            Input::Failed(_, Operation::Send, _) | Input::Cancelled(_, Operation::Send) => wire.flying = None,
            Input::Sent(_) if lane.cancelled => wire.flying = None,
            Input::Received(..) | Input::Ended(_) | Input::Failed(..) | Input::Cancelled(..) => {
                wire.hearing = false;
            }
            _ => {}
        }
        if lane.cancelled {
            return lane.joined(side);
        }
        let securing = lane.connecting;
        match input {
            Input::Received(_, lease) if wire.failed => one(Input::Received(side, lease)),
            Input::Received(_, lease) if wire.doom.is_none() => self.opened(side, lease, cx),
            Input::Received(..) => self.doomed(side, cx),
            Input::Sent(_) => {
                let told = wire.sent(side, lane.shut, cx);
                if wire.doom.is_some() { self.doomed(side, cx) } else { told }
            }
            Input::Ended(_) if securing => self.doom(
                side,
                io::Error::new(io::ErrorKind::UnexpectedEof, "TLS: ended in the handshake"),
                cx,
            ),
            Input::Ended(Side::Target) if wire.stream.carried() > 0 => {
                wire.failed = true;
                let cut = io::Error::new(io::ErrorKind::UnexpectedEof, "TLS: cut within a record");
                [Some(Input::Failed(side, Operation::Receive, cut)), Some(input), None]
            }
            Input::Ended(Side::Target) if self.end.is_none() => {
                // What was whole has been passed on. Many targets end so, and their protocols know where theirs ends; the
                // operator is told that this one may have been cut.
                self.detail.get_or_insert_with(|| "TLS: ended without close_notify".into());
                one(input)
            }
            Input::Failed(_, _, error) if securing => self.doom(side, error, cx),
            Input::Failed(_, operation, error) => {
                if operation == Operation::Send {
                    wire.forget();
                }
                one(Input::Failed(side, operation, error))
            }
            other => one(other),
        }
    }

    /// Begins the handshake with a target that is connected now.
    fn secure_target(&mut self, cx: &mut Cx<'_>) -> Told {
        let Some(config) = cx.keys.client else { return one(Input::Connected) };
        let name = match (cx.keys.target_name, &self.target) {
            (Some(name), _) => Ok(name.clone()),
            (None, Some(target)) => ServerName::try_from(target.name().to_owned()).map_err(io::Error::other),
            (None, None) => Err(io::Error::other("no name to verify the target as")),
        };
        let lane = self.lane(Side::Target);
        if lane.cancelled {
            return one(Input::Cancelled(Side::Target, Operation::Connect));
        }
        let begun = name.and_then(|name| {
            let mut stream = Stream::client(config.clone(), name)?;
            let hello = stream.hello(cx.pool)?;
            Ok((Wire::new(stream), hello))
        });
        match begun {
            Ok((mut wire, hello)) => {
                wire.queue.push_back((hello, Owner::Stream));
                lane.wire = Some(wire);
                Told::default()
            }
            Err(error) => one(Input::Failed(Side::Target, Operation::Connect, error)),
        }
    }

    /// Decrypts what came, and says what is owed for it.
    fn opened(&mut self, side: Side, lease: Lease, cx: &mut Cx<'_>) -> Told {
        let lane = &mut self.lanes[side as usize];
        let Some(wire) = &mut lane.wire else { return Told::default() };
        if lane.shut {
            // Behind our goodbye everything is dropped, so nobody decrypts it: an error in it could not be told any more.
            return one(Input::Received(side, lease));
        }
        let Opened { plain, reply, established, closed, failed } = wire.stream.received(lease, cx.pool);
        if let Some(reply) = reply {
            wire.queue.push_back((reply, Owner::Stream));
        }
        wire.over = closed || failed.is_some();
        if established && side == Side::Client {
            self.tls = wire.stream.version().zip(wire.stream.cipher());
        }
        let connected = (established && lane.connecting).then_some(Input::Connected);
        let end = match failed {
            Some(failure) => {
                wire.failed = true;
                let error = io::Error::from(failure);
                if lane.connecting && connected.is_none() {
                    return self.doom(side, error, cx);
                }
                Some(Input::Failed(side, Operation::Receive, error))
            }
            None if closed && lane.connecting && connected.is_none() => {
                let error = io::Error::other("TLS: closed in the handshake");
                return self.doom(side, error, cx);
            }
            None => closed.then_some(Input::Ended(side)),
        };
        [connected, plain.map(|plain| Input::Received(side, plain)), end]
    }

    /// The target cannot be secured: what TLS has to say about that goes out, then the dial hears of it.
    fn doom(&mut self, side: Side, error: io::Error, cx: &mut Cx<'_>) -> Told {
        if let Some(wire) = &mut self.lane(side).wire {
            wire.over = true;
            wire.doom.get_or_insert(error);
        }
        self.doomed(side, cx)
    }

    fn doomed(&mut self, side: Side, cx: &mut Cx<'_>) -> Told {
        let lane = self.lane(side);
        let Some(wire) = &mut lane.wire else { return Told::default() };
        let unsent = wire.has_unsent();
        if !unsent && wire.hearing {
            self.cancel(side, cx);
            return Told::default();
        }
        match wire.doom.take_if(|_| !unsent) {
            Some(error) => one(Input::Failed(side, Operation::Connect, error)),
            None => Told::default(),
        }
    }

    /// Sends what wired sides have to say, now that their phase has had its say.
    pub(super) fn speak(&mut self, cx: &mut Cx<'_>) {
        for side in [Side::Client, Side::Target] {
            let lane = self.lane(side);
            if let Some(wire) = &mut lane.wire
                && wire.speak(side, cx)
            {
                lane.moved = cx.now;
            }
        }
    }

    /// Receives again on wired sides whose phase waits for bytes, or whose handshake does.
    pub(super) fn hear(&mut self, cx: &mut Cx<'_>) {
        for side in [Side::Client, Side::Target] {
            let lane = self.lane(side);
            let waits = lane.receiving || lane.connecting;
            let may = lane.open && !lane.closing && !lane.cancelled && !lane.ended;
            if let Some(wire) = &mut lane.wire
                && waits
                && may
                && !wire.hearing
                && !wire.over
                && wire.queue.len() < TLS_QUEUE_MAX
            {
                wire.hearing = true;
                cx.actions.push(Action::Receive(side, wire.most.min(TLS_CIPHER_RECEIVE_BYTES)));
            }
        }
    }

    /// A failure to seal that no phase has heard of. A stream that cannot speak is of no use, so it counts as failed.
    pub(super) fn unsealed(&mut self) -> Option<Input> {
        [Side::Client, Side::Target].into_iter().find_map(|side| {
            let lane = self.lane(side);
            let wire = lane.wire.as_mut()?;
            let failure = wire.unsealed.take()?;
            (wire.failed, lane.sending) = (true, false);
            if side == Side::Target {
                // A client hears why it has not got all. A target that heard a goodbye would believe that it has.
                wire.stream.abandon();
            }
            Some(Input::Failed(side, Operation::Receive, io::Error::from(*failure)))
        })
    }

    /// Whether either side has a wire.
    pub(super) fn has_wires(&self) -> bool {
        self.lanes.iter().any(|lane| lane.wire.is_some())
    }

    /// Whether `side` has a wire, so that what it carries is encrypted.
    pub fn is_secure(&self, side: Side) -> bool {
        self.lanes[side as usize].wire.is_some()
    }

    /// Whether the TLS of `side` has failed. Its socket has not: the alert that says so is to arrive.
    pub fn is_garbled(&self, side: Side) -> bool {
        self.lanes[side as usize].wire.as_ref().is_some_and(|wire| wire.failed)
    }

    /// Whether anything sent to `side` is still on its way.
    pub fn flying(&self, side: Side) -> bool {
        let lane = &self.lanes[side as usize];
        lane.sending || lane.wire.as_ref().is_some_and(|wire| wire.has_unsent())
    }
}

impl Lane {
    /// A cancelled side: tells of the cancel once, when everything is joined.
    fn joined(&mut self, side: Side) -> Told {
        let Some(wire) = &mut self.wire else { return Told::default() };
        if wire.busy() {
            return Told::default();
        }
        let doom = wire.doom.take();
        let operation = if self.connecting { Operation::Connect } else { Operation::Receive };
        (self.receiving, self.sending, self.cancelled) = (false, false, false);
        one(match doom {
            Some(error) => Input::Failed(side, operation, error),
            None => Input::Cancelled(side, operation),
        })
    }
}
