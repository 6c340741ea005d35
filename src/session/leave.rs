//! Leaving, in three named steps: `Close` says goodbye to both sides, `Drain` joins what is in flight and closes, and
//! the slot is released. Every end of every session goes this one road.

use super::dial::{Dial, Dialled};
use super::{Action, Core, Cx, End, Input, Next, Operation, Phase, Session, Side};
use crate::limits::{HOT_BYTES, LINGER_BYTES_MAX};
use crate::pool::Lease;
use crate::timers::Time;
use crate::ws::{self, ControlFrame, ControlPayload};

/// Goodbye on both sides: what is owed goes out, then our end of stream, then theirs is waited for. Closing a socket with
/// unread bytes would send a reset that can overtake the last frame, so what still comes is read and dropped.
#[derive(Debug)]
pub(super) struct Close {
    parts: [Part; 2],
    /// Frames for the client, and after them its close frame.
    waiting: Option<Lease>,
    goodbye: Option<ControlPayload>,
    /// A dial that is finished because payload waits for its target.
    dial: Option<(Box<Dial>, Lease)>,
    /// Bytes read and dropped on each side.
    dropped: [usize; 2],
    /// The client was never answered: when it has been told that this is the end, nobody waits for its own.
    curt: bool,
    /// When the goodbye has taken long enough, whatever is still missing.
    until: Time,
}

/// How far the goodbye to one side has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Something still has to go out.
    Flushing,
    /// Our end of stream has gone out; theirs is waited for.
    Lingering,
    /// There is nothing left to say or hear.
    Gone,
}

/// What a bridge leaves behind when its session ends: what still has to go out.
#[derive(Debug)]
pub(super) struct Rest {
    /// Frames for the client.
    pub waiting: Option<Lease>,
    /// Answer to the client's close frame.
    pub reply: Option<Box<ControlPayload>>,
    /// A dial whose target has payload waiting for it.
    pub dial: Option<(Box<Dial>, Lease)>,
}

impl Session {
    /// Ends the session, for the reason `end`.
    pub(super) fn leave(&mut self, end: End, cx: &mut Cx<'_>) {
        let end = match end {
            End::ClientReset if self.core.is_garbled(Side::Client) => End::ClientTls,
            End::TargetReset if self.core.is_garbled(Side::Target) => End::TargetTls,
            other => other,
        };
        self.core.end = Some(end);
        let phase = std::mem::replace(&mut self.phase, Phase::Drain(Drain));
        let rest = match phase {
            Phase::Open(bridge) => Some(bridge.into_rest()),
            Phase::Sniff(_)
            | Phase::Head(_)
            | Phase::Route(_)
            | Phase::Answer(_)
            | Phase::Close(_)
            | Phase::Drain(_) => None,
        };
        self.phase = match Close::begin(end, rest, &mut self.core, cx) {
            Some(close) => Phase::Close(close),
            None => Phase::Drain(Drain::begin(&mut self.core, cx)),
        };
    }
}

impl Close {
    /// Begins to say goodbye; `None` when there is nothing to say to anyone.
    fn begin(end: End, rest: Option<Rest>, core: &mut Core, cx: &mut Cx<'_>) -> Option<Box<Close>> {
        let mut close = Close {
            parts: [Part::Flushing; 2],
            waiting: None,
            goodbye: None,
            dial: None,
            dropped: [0; 2],
            curt: false,
            until: cx.now + cx.config.timing.close,
        };
        if let Some(rest) = rest {
            let told = end.goodbye().map(|(code, reason)| ws::close_payload(code, reason));
            close.goodbye = rest.reply.map(|reply| *reply).or(told);
            close.waiting = rest.waiting;
            close.dial = rest.dial;
            if let End::ClientClosed(code) = end {
                core.close_code = code;
            }
        } else if !matches!(end, End::Answered | End::Refused(_) | End::ClientTls) {
            // A client with TLS is told at least that this is the end, so that it can tell it from a cut; but one whose
            // answer was broken off must see the cut that it is.
            if core.tls.is_none() || matches!(end, End::Internal | End::NoMemory) {
                return None;
            }
            close.curt = true;
        }
        for side in [Side::Client, Side::Target] {
            if gone_at_once(side, end, core) && !(side == Side::Target && close.dial.is_some()) {
                close.parts[side as usize] = Part::Gone;
                if !core.usable(side) {
                    // Nobody waits any more for a target that is being dialled, so it is not secured meanwhile either.
                    core.cancel(side, cx);
                }
            }
        }
        close.advance(Side::Client, core, cx);
        close.advance(Side::Target, core, cx);
        if core.sending(Side::Target) {
            // That may take as long as a bridge.
            core.keep_target(cx);
        }
        close.arm(core, cx);
        if close.is_done() { None } else { Some(Box::new(close)) }
    }

    #[inline(never)]
    pub fn handle(&mut self, core: &mut Core, input: Input, cx: &mut Cx<'_>) -> Next {
        match input {
            Input::Received(side, lease) => {
                self.dropped[side as usize] += lease.size();
                drop(lease);
                if self.dropped[side as usize] > LINGER_BYTES_MAX {
                    // Enough was heard; what is still owed to this side goes out all the same.
                    if self.parts[side as usize] == Part::Lingering {
                        self.parts[side as usize] = Part::Gone;
                    }
                } else if self.parts[side as usize] != Part::Gone {
                    core.receive(side, HOT_BYTES, cx);
                }
            }
            Input::Ended(side) | Input::Sent(side) => self.advance(side, core, cx),
            Input::Failed(Side::Target, Operation::Connect, _)
            | Input::Connected
            | Input::Closed(_)
            | Input::Cancelled(..)
            | Input::Verdict(_) => self.dialled(input, core, cx),
            // Its TLS failed, not its socket: what was on its way and the alert behind it still go out.
            Input::Failed(side, Operation::Receive, _)
                if self.parts[side as usize] == Part::Flushing && core.is_garbled(side) =>
            {
                self.advance(side, core, cx);
            }
            Input::Failed(side, ..) => self.parts[side as usize] = Part::Gone,
            Input::Expired => self.expired(core, cx),
            Input::Moved(_) | Input::Stop => {}
        }
        if self.is_done() { Next::Go(Phase::Drain(Drain::begin(core, cx))) } else { Next::Stay }
    }

    /// Whether the client has been told everything, and only its own end is waited for.
    pub fn is_told(&self) -> bool {
        self.parts[Side::Client as usize] == Part::Lingering
    }

    fn is_done(&self) -> bool {
        self.parts == [Part::Gone; 2]
    }

    /// Takes the next step on `side`: the next send, our end of stream, or the end of waiting for theirs.
    fn advance(&mut self, side: Side, core: &mut Core, cx: &mut Cx<'_>) {
        if self.parts[side as usize] == Part::Gone || (side == Side::Target && self.dial.is_some()) {
            return;
        }
        // Reading on lets a side that is blocked in sending come round to taking what it is owed.
        core.receive(side, HOT_BYTES, cx);
        if self.parts[side as usize] == Part::Flushing && !core.sending(side) {
            // What cannot be sent is not taken either, so that no close is logged that was never said.
            let frames = if core.may_send(side) { self.next_frames(side, core, cx) } else { None };
            match frames {
                Some(frames) => match self.goodbye {
                    Some(_) => core.send(side, frames, cx),
                    None => core.send_last(side, frames, cx),
                },
                None => {
                    core.shut(side, cx);
                    self.parts[side as usize] = Part::Lingering;
                    self.until = cx.now + cx.config.timing.close;
                    self.arm(core, cx);
                }
            }
        }
        let heard = core.ended(side) || (self.curt && side == Side::Client);
        if self.parts[side as usize] == Part::Lingering && heard && !core.flying(side) {
            self.parts[side as usize] = Part::Gone;
        }
    }

    fn next_frames(&mut self, side: Side, core: &mut Core, cx: &Cx<'_>) -> Option<Lease> {
        if side == Side::Target {
            return None;
        }
        if let Some(waiting) = self.waiting.take() {
            return Some(waiting);
        }
        let payload = self.goodbye.take()?;
        let goodbye = ControlFrame::close(&payload);
        // Where there is no memory for it, the end of stream has to say it all.
        let mut lease = cx.pool.chunk(goodbye.as_slice().len())?;
        if let &[high, low, ..] = payload.as_slice() {
            core.close_code = Some(u16::from_be_bytes([high, low]));
        }
        lease.append(goodbye.as_slice());
        Some(lease)
    }

    fn dialled(&mut self, input: Input, core: &mut Core, cx: &mut Cx<'_>) {
        let Some((dial, _)) = &mut self.dial else { return };
        match dial.handle(input, core, cx) {
            Dialled::Pending => {}
            Dialled::Failed(_) => {
                self.dial = None;
                self.parts[Side::Target as usize] = Part::Gone;
            }
            Dialled::Connected => {
                if let Some((_, held)) = self.dial.take() {
                    core.send(Side::Target, held, cx);
                    core.keep_target(cx);
                }
                self.advance(Side::Target, core, cx);
            }
        }
        self.arm(core, cx);
    }

    /// Gives up each side that has had its time.
    fn expired(&mut self, core: &mut Core, cx: &mut Cx<'_>) {
        if let Some((dial, _)) = &mut self.dial
            && let Dialled::Failed(_) = dial.handle(Input::Expired, core, cx)
        {
            self.dial = None;
            self.parts[Side::Target as usize] = Part::Gone;
            core.cancel(Side::Target, cx);
        }
        for side in [Side::Client, Side::Target] {
            if self.due(side, core, cx).is_some_and(|due| cx.now >= due) {
                self.parts[side as usize] = Part::Gone;
                core.cancel(side, cx);
            }
        }
        self.arm(core, cx);
    }

    /// Sets the deadline to the next moment at which a side may have had its time.
    fn arm(&self, core: &mut Core, cx: &mut Cx<'_>) {
        let dues = [Side::Client, Side::Target].map(|side| self.due(side, core, cx));
        if let Some(due) = dues.into_iter().flatten().min() {
            core.arm(due, cx);
        }
    }

    /// When `side` has had its time, if it is still there. A target that takes what the client sent has that of any send,
    /// and one that is dialled for it that of any dial: nothing a client sent is lost because the client was quick to go.
    fn due(&self, side: Side, core: &Core, cx: &Cx<'_>) -> Option<Time> {
        match (&self.dial, side) {
            _ if self.parts[side as usize] == Part::Gone => None,
            (Some((dial, _)), Side::Target) => Some(dial.due()),
            (None, Side::Target) if core.sending(side) => Some(core.moved(side) + cx.config.timing.write),
            _ => Some(self.until),
        }
    }
}

/// Whether nothing can or should be said to `side`.
fn gone_at_once(side: Side, end: End, core: &Core) -> bool {
    if !core.usable(side) || (core.broken(side) && !core.is_garbled(side)) {
        return true;
    }
    match side {
        Side::Client => matches!(end, End::ClientStalled),
        Side::Target => matches!(end, End::TargetStalled),
    }
}

/// Joins what is in flight, then closes, then releases.
#[derive(Debug)]
pub(super) struct Drain;

impl Drain {
    pub fn begin(core: &mut Core, cx: &mut Cx<'_>) -> Drain {
        Drain.step(core, cx);
        Drain
    }

    #[inline(never)]
    pub fn handle(&mut self, core: &mut Core, cx: &mut Cx<'_>) -> Next {
        self.step(core, cx);
        Next::Stay
    }

    fn step(&self, core: &mut Core, cx: &mut Cx<'_>) {
        for side in [Side::Client, Side::Target] {
            if core.busy(side) {
                core.cancel(side, cx);
            } else {
                core.close(side, cx);
            }
        }
        if !core.open(Side::Client) && !core.open(Side::Target) {
            cx.actions.push(Action::Release);
        }
    }
}
