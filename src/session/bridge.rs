//! The open part of a session: two pumps that never wait for each other, and what the client is owed.
//!
//! Up, from client to target: frames are taken apart in the buffer they came in, payloads slide together, and one send
//! passes them on. Down, from target to client: what one receive brought becomes one frame, its header written in front
//! of it, and one send, unless messages have to be cut in a certain way (`framed`); where nobody looks at those bytes the engine may carry them past us, in a pipe. Up it may not: what
//! clients send is masked. A pump receives again when its send is done, so back pressure needs no rule. The client's writer
//! is shared by the down pump and by pongs, pings and the close; one send at a time keeps frames whole.

use super::dial::{Dial, Dialled};
use super::echo::Echo;
use super::framed::Framer;
use super::leave::Rest;
use super::tap::Tap;
use super::{Core, Cx, End, Input, Next, Operation, Phase, Side};
use crate::framing::Framing;
use crate::limits::{HEADROOM_BYTES, HOT_BYTES, KEEP_AFTER_MS, STUDIED_BYTE_COST};
use crate::pool::Lease;
use crate::target::Target;
use crate::timers::Time;
use crate::ws::{self, CloseReason, ControlFrame, ControlPayload, Decoder, Event, Opcode, Rules};
use std::time::Duration;

const KEEP_AFTER: Duration = Duration::from_millis(KEEP_AFTER_MS);

/// An open bridge, or one whose target is being dialled.
#[derive(Debug)]
pub(super) struct Bridge {
    decoder: Decoder,
    writer: Writer,
    far: Far,
    /// When the next ping is due.
    ping_due: Time,
    /// When the oldest ping was sent that nothing has come after, or when the client last took bytes since.
    pinged: Option<Time>,
    /// Answer to the client's close frame, once it has come.
    reply: Option<Box<ControlPayload>>,
}

/// What is at the other end of a bridge.
#[derive(Debug)]
enum Far {
    /// A target that is being dialled, and payload that waits for it.
    Dialling(Box<Dial>, Option<Lease>),
    /// A connected target.
    Target,
    /// The same, where messages have to be cut in a certain way.
    Framed(Box<Framer>),
    /// No socket.
    Echo(Box<Echo>),
}

/// The client's writer.
#[derive(Debug)]
struct Writer {
    out: Out,
    /// A whole frame that came while a control frame was on its way.
    waiting: Option<Lease>,
    /// The newest ping that is not answered yet (RFC 6455 section 5.5.3 lets us skip older ones).
    pong: Option<Box<ControlPayload>>,
    ping: bool,
}

/// What the client is being sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Out {
    Nothing,
    Control,
    Data,
}

impl Bridge {
    /// Sends the 101, dials the target at the same time, and takes what the client sent right behind its request.
    pub fn open(
        switching: Lease,
        rest: Option<Lease>,
        framing: Option<&Framing>,
        core: &mut Core,
        cx: &mut Cx<'_>,
    ) -> Next {
        let config = cx.config;
        let routed = core.target.clone();
        let Some(target) = routed.as_deref().or(config.target.as_ref()) else {
            // Who configures no target configures a route, and a route that was taken leads somewhere.
            return Next::Leave(End::Internal);
        };
        let echoes = *target == Target::Echo;
        core.tap(cx);
        let framer = framing.and_then(|framing| Framer::new(framing, cx));
        // Whom messages are cut for sends text of its own.
        let text = echoes || framer.is_some();
        let far = match Dial::begin(target, core, cx) {
            Some(mut dial) => {
                dial.framer = framer;
                Far::Dialling(dial, None)
            }
            None => Far::Echo(Box::default()),
        };
        if echoes {
            core.show_sent(Tap::Connected, cx);
        }
        let mut bridge = Bridge {
            decoder: Decoder::new(Rules { text }),
            writer: Writer { out: Out::Control, waiting: None, pong: None, ping: false },
            far,
            ping_due: cx.now + config.timing.heartbeat,
            pinged: None,
            reply: None,
        };
        core.send(Side::Client, switching, cx);
        bridge.arm(core, cx);
        match rest {
            None => bridge.receive_up(core, cx),
            Some(rest) => {
                if let Next::Leave(end) = bridge.up(rest, core, cx) {
                    return Next::GoAndLeave(Phase::Open(bridge), end);
                }
            }
        }
        Next::Go(Phase::Open(bridge))
    }

    pub fn handle(&mut self, core: &mut Core, input: Input, cx: &mut Cx<'_>) -> Next {
        match input {
            Input::Received(Side::Client, lease) => self.up(lease, core, cx),
            Input::Received(Side::Target, lease) => self.down(lease, core, cx),
            Input::Sent(Side::Client) => self.written(core, cx),
            Input::Sent(Side::Target) => {
                core.show_sent(Tap::Sent(Side::Target), cx);
                core.receive(Side::Client, HOT_BYTES, cx);
                Next::Stay
            }
            Input::Moved(side) => {
                core.show_sent(Tap::Moved(side), cx);
                self.takes_bytes(side, cx);
                Next::Stay
            }
            Input::Ended(Side::Client) => Next::Leave(End::ClientEnded),
            Input::Ended(Side::Target) => self.target_over(End::TargetClosed, core, cx),
            Input::Failed(side, Operation::Send, _) => self.unsendable(side, core, cx),
            Input::Failed(Side::Client, ..) => Next::Leave(End::ClientReset),
            Input::Failed(Side::Target, Operation::Receive, _) => {
                self.target_over(End::TargetReset, core, cx)
            }
            Input::Stop => Next::Leave(End::Stopped),
            Input::Expired => self.expired(core, cx),
            Input::Connected
            | Input::Failed(Side::Target, Operation::Connect, _)
            | Input::Cancelled(..)
            | Input::Closed(_)
            | Input::Verdict(_) => self.dialled(input, core, cx),
        }
    }

    /// A side takes nothing more. What it sent before it went can still be read; the end of that ends the session.
    fn unsendable(&mut self, side: Side, core: &mut Core, cx: &mut Cx<'_>) -> Next {
        if side == Side::Client {
            self.writer.forget();
        }
        self.receive_up(core, cx);
        self.go_on(core, cx)
    }

    /// The target brings nothing more. What it brought is cut first, where it has to be.
    fn target_over(&mut self, end: End, core: &mut Core, cx: &mut Cx<'_>) -> Next {
        let Far::Framed(framer) = &mut self.far else { return Next::Leave(end) };
        framer.end(end);
        self.go_on(core, cx)
    }

    /// Goes on with what the target sent, or receives more of it.
    fn go_on(&mut self, core: &mut Core, cx: &mut Cx<'_>) -> Next {
        while !self.writer.has_data()
            && let Far::Framed(framer) = &mut self.far
            && let Some(framed) = framer.next(core, cx)
        {
            let put = framed.out.map_or(Ok(()), |out| self.put(out, core, cx));
            if let Some(end) = put.err().or(framed.end) {
                return Next::Leave(end);
            }
        }
        self.receive_down(core, cx);
        Next::Stay
    }

    /// What still has to go out when the session ends.
    pub fn into_rest(self) -> Rest {
        let dial = match self.far {
            Far::Dialling(dial, Some(held)) => Some((dial, held)),
            Far::Dialling(_, None) | Far::Target | Far::Framed(_) | Far::Echo(_) => None,
        };
        Rest { waiting: self.writer.waiting, reply: self.reply, dial }
    }

    /// A client that goes on taking what was stuck is alive, but its answer to a ping waits behind all of that.
    fn takes_bytes(&mut self, side: Side, cx: &Cx<'_>) {
        if side == Side::Client && self.pinged.is_some() {
            self.pinged = Some(cx.now);
        }
    }

    fn up(&mut self, mut lease: Lease, core: &mut Core, cx: &mut Cx<'_>) -> Next {
        self.pinged = None;
        let came = lease.len();
        if let Far::Echo(echo) = &mut self.far {
            let echoed = echo.turn_round(&mut self.decoder, lease, core.watch.as_deref_mut(), cx);
            core.charge(came.saturating_sub(echoed.payload) * STUDIED_BYTE_COST, cx);
            core.show_echoed(cx);
            core.count_in(echoed.bytes, echoed.messages, cx);
            core.count_out(echoed.bytes, echoed.messages, cx);
            return self.echoed(echoed, core, cx);
        }
        let mut read = 0;
        let mut messages = 0;
        let mut payload = 0..0;
        let mut end = loop {
            let into = if payload.is_empty() { None } else { Some(payload.end) };
            match self.decoder.next(&mut lease, &mut read, into) {
                Event::Payload(piece) => {
                    messages += u64::from(piece.ends);
                    if let Some(watch) = &mut core.watch {
                        watch.note(&lease[piece.range.clone()], piece.ends);
                    }
                    match payload.is_empty() {
                        true => payload = piece.range,
                        false => payload.end = piece.range.end.max(payload.end),
                    }
                }
                Event::Ping(ping) => self.writer.pong = Some(Box::new(ping)),
                Event::Pong(_) => {}
                Event::Close(reason) => break Some(self.client_closes(reason)),
                Event::Fail(violation) => break Some(End::Protocol(violation)),
                Event::Starved => break None,
            }
        };
        core.charge((came - payload.len()) * STUDIED_BYTE_COST, cx);
        core.count_in(payload.len() as u64, messages, cx);
        core.show_brought(Side::Client, cx);
        if payload.is_empty() {
            drop(lease);
        } else {
            lease.narrow(payload);
            end = self.pass_up(lease, core, cx).err().or(end);
        }
        self.flush(core, cx);
        match end {
            Some(end) => Next::Leave(end),
            None => {
                self.receive_up(core, cx);
                Next::Stay
            }
        }
    }

    fn client_closes(&mut self, reason: Option<CloseReason>) -> End {
        let code = reason.as_ref().map(CloseReason::code);
        self.reply = Some(Box::new(reason.map_or(ControlPayload::EMPTY, |reason| *reason.payload())));
        End::ClientClosed(code)
    }

    fn pass_up(&mut self, lease: Lease, core: &mut Core, cx: &mut Cx<'_>) -> Result<(), End> {
        match &mut self.far {
            Far::Dialling(_, held) => *held = Some(lease.kept_to_hold().ok_or(End::NoMemory)?),
            Far::Target | Far::Framed(_) if core.may_send(Side::Target) => {
                core.send(Side::Target, lease, cx);
            }
            // A target that broke takes nothing more; its last words are being read.
            Far::Target | Far::Framed(_) | Far::Echo(_) => {}
        }
        Ok(())
    }

    /// Receives from the client again, unless something it sent has not been passed on yet.
    fn receive_up(&self, core: &mut Core, cx: &mut Cx<'_>) {
        let (full, most) = match &self.far {
            // Where memory is short nothing is to wait in it for a target: the client has it until that is there.
            Far::Dialling(_, held) => (held.is_some() || cx.pool.is_short(), HOT_BYTES),
            // A target that broke takes nothing, but the client's goodbye is still to be heard.
            Far::Target | Far::Framed(_) => (core.sending(Side::Target), HOT_BYTES),
            Far::Echo(echo) => (self.writer.has_data(), echo.receive_bytes()),
        };
        if !full {
            core.receive(Side::Client, most, cx);
        }
    }

    /// Receives from the target again, unless something it sent has not been passed on yet.
    fn receive_down(&self, core: &mut Core, cx: &mut Cx<'_>) {
        let most = match &self.far {
            _ if self.writer.has_data() => return,
            Far::Target => HOT_BYTES,
            Far::Framed(framer) => framer.receive_bytes(),
            Far::Dialling(..) | Far::Echo(_) => return,
        };
        match self.may_pass_unseen(core) {
            true => core.receive_unseen(Side::Target, most, cx),
            false => core.receive(Side::Target, most, cx),
        }
    }

    /// Whether nobody looks at what the target sends, so that it need not come into this process. Whoever is to see, change
    /// or encrypt it says so here.
    fn may_pass_unseen(&self, core: &Core) -> bool {
        matches!(self.far, Far::Target) && !core.has_wires() && !core.is_tapped()
    }

    fn echoed(&mut self, echoed: super::echo::Echoed, core: &mut Core, cx: &mut Cx<'_>) -> Next {
        let put = echoed.out.map_or(Ok(()), |out| self.put(out, core, cx));
        if let Some((end, reply)) = put.err().map(|end| (end, None)).or(echoed.end) {
            self.reply = reply.map(Box::new);
            return Next::Leave(end);
        }
        self.receive_up(core, cx);
        Next::Stay
    }

    fn down(&mut self, mut lease: Lease, core: &mut Core, cx: &mut Cx<'_>) -> Next {
        if let Far::Framed(framer) = &mut self.far {
            framer.take(lease);
            return self.go_on(core, cx);
        }
        let size = lease.size() as u64;
        core.count_out(size, 1, cx);
        core.show_down(&lease, cx);
        lease.prepend(ws::header(Opcode::Binary, true, size).as_slice());
        // A frame that has to wait takes no pong along: the pong of a later ping could pass it.
        if core.may_send(Side::Client)
            && let Some(ping) = self.writer.pong.take()
        {
            lease.prepend(ControlFrame::pong(&ping).as_slice());
        }
        self.put(lease, core, cx).map_or_else(Next::Leave, |()| Next::Stay)
    }

    /// Sends whole frames to the client, or keeps them until a control frame has gone.
    fn put(&mut self, frames: Lease, core: &mut Core, cx: &mut Cx<'_>) -> Result<(), End> {
        if core.may_send(Side::Client) {
            self.writer.out = Out::Data;
            core.send(Side::Client, frames, cx);
        } else if !core.broken(Side::Client) {
            self.writer.waiting = Some(frames.kept().ok_or(End::NoMemory)?);
        }
        Ok(())
    }

    /// A send to the client is done: the pump that fed it receives again, and what is owed goes out.
    fn written(&mut self, core: &mut Core, cx: &mut Cx<'_>) -> Next {
        let out = std::mem::replace(&mut self.writer.out, Out::Nothing);
        self.flush(core, cx);
        if out == Out::Data {
            core.show_sent(Tap::Sent(Side::Client), cx);
            match self.far {
                Far::Target => self.receive_down(core, cx),
                Far::Framed(_) => return self.go_on(core, cx),
                Far::Echo(_) => self.receive_up(core, cx),
                Far::Dialling(..) => {}
            }
        }
        Next::Stay
    }

    /// Sends the next of what is owed, if the client's writer is free and there is memory for it.
    fn flush(&mut self, core: &mut Core, cx: &mut Cx<'_>) {
        if !core.may_send(Side::Client) {
            return;
        }
        let is_owed = self.writer.pong.is_some() || self.writer.ping;
        let Some(mut lease) = is_owed.then(|| cx.pool.chunk(HEADROOM_BYTES)).flatten() else {
            if let Some(frames) = self.writer.waiting.take() {
                self.writer.out = Out::Data;
                core.send(Side::Client, frames, cx);
            }
            return;
        };
        let frame = if let Some(ping) = self.writer.pong.take() {
            ControlFrame::pong(&ping)
        } else {
            self.writer.ping = false;
            // The client's time to answer begins when the ping goes out, not while it waits behind a frame.
            self.pinged.get_or_insert(cx.now);
            ControlFrame::ping(&ControlPayload::EMPTY)
        };
        self.writer.out = Out::Control;
        lease.append(frame.as_slice());
        core.send(Side::Client, lease, cx);
    }

    fn dialled(&mut self, input: Input, core: &mut Core, cx: &mut Cx<'_>) -> Next {
        let Far::Dialling(dial, held) = &mut self.far else { return Next::Stay };
        match dial.handle(input, core, cx) {
            Dialled::Pending => {
                self.arm(core, cx);
                Next::Stay
            }
            Dialled::Failed(end) => {
                *held = None;
                Next::Leave(end)
            }
            Dialled::Connected => {
                let held = held.take();
                self.far = dial.framer.take().map_or(Far::Target, Far::Framed);
                core.show_sent(Tap::Connected, cx);
                self.receive_down(core, cx);
                if let Some(held) = held {
                    core.send(Side::Target, held, cx);
                }
                self.receive_up(core, cx);
                self.arm(core, cx);
                Next::Stay
            }
        }
    }

    fn expired(&mut self, core: &mut Core, cx: &mut Cx<'_>) -> Next {
        let now = cx.now;
        for (side, end) in [(Side::Client, End::ClientStalled), (Side::Target, End::TargetStalled)] {
            if core.sending(side) && now >= core.moved(side) + cx.config.timing.write {
                return Next::Leave(end);
            }
        }
        if let Far::Dialling(dial, held) = &mut self.far
            && let Dialled::Failed(end) = dial.handle(Input::Expired, core, cx)
        {
            *held = None;
            return Next::Leave(end);
        }
        if matches!(&self.far, Far::Framed(framer) if framer.hoards(cx)) {
            return Next::Leave(End::NoMemory);
        }
        if now >= core.opened + KEEP_AFTER {
            core.keep_target(cx);
        }
        if self.heart_is_lost(core, cx) {
            return Next::Leave(End::HeartbeatLost);
        }
        if !cx.config.timing.heartbeat.is_zero() && now >= self.ping_due {
            self.ping_due = now + cx.config.timing.heartbeat;
            self.writer.ping = true;
            self.flush(core, cx);
        }
        self.arm(core, cx);
        Next::Stay
    }

    /// Whether a ping has gone unanswered for too long. Any byte counts as life; a client that is not being received from
    /// cannot be judged, and then the write deadline of the other side is what runs.
    fn heart_is_lost(&mut self, core: &Core, cx: &Cx<'_>) -> bool {
        self.pinged = self.pinged.filter(|_| core.receiving(Side::Client));
        self.pong_due(cx).is_some_and(|due| cx.now >= due)
    }

    /// When a client that stays silent is given up, if ever. The time counts from the oldest ping that nothing has come after,
    /// whether or not others were sent since: the interval of pings says how often one looks, not how patient one is.
    fn pong_due(&self, cx: &Cx<'_>) -> Option<Time> {
        let pong = cx.config.timing.pong;
        self.pinged.filter(|_| !pong.is_zero()).map(|pinged| pinged + pong)
    }

    /// Sets the deadline to the next moment at which something may be due.
    fn arm(&self, core: &mut Core, cx: &mut Cx<'_>) {
        let write = cx.config.timing.write;
        let mut due = cx.now + write;
        for side in [Side::Client, Side::Target] {
            if core.sending(side) {
                due = due.min(core.moved(side) + write);
            }
        }
        if let Far::Dialling(dial, _) = &self.far {
            due = due.min(dial.due());
        }
        if core.is_target_unkept() {
            due = due.min(core.opened + KEEP_AFTER);
        }
        if !cx.config.timing.heartbeat.is_zero() {
            due = due.min(self.ping_due);
            due = self.pong_due(cx).map_or(due, |pong| due.min(pong));
        }
        core.arm(due, cx);
    }
}

impl Writer {
    /// Whether frames from the other pump are on their way or wait: that pump must not bring more.
    fn has_data(&self) -> bool {
        self.out == Out::Data || self.waiting.is_some()
    }

    /// Drops what is owed: the client takes nothing more.
    fn forget(&mut self) {
        *self = Writer { out: Out::Nothing, waiting: None, pong: None, ping: false };
    }
}
