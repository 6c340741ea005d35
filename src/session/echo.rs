//! The echo target: each message comes back with its type and boundaries, without any socket.
//!
//! A server's frame is always shorter than the client's that brought the same payload, so whole messages are answered in
//! the very buffer they came in. Only a message that does not come whole is held, within `--max-message` and the
//! ceiling of buffer memory.

use super::{Cx, End};
use crate::pool::{Lease, Reservation};
use crate::ws::{self, ControlFrame, Decoder, Event, Kind, Piece};

/// Messages on their way back.
#[derive(Debug, Default)]
pub(super) struct Echo {
    held: Option<Held>,
}

/// The part of a message that has come.
#[derive(Debug)]
struct Held {
    bytes: Vec<u8>,
    /// Bytes of the ceiling that are set aside for `bytes`, in steps.
    reserved: usize,
    reservation: Reservation,
}

/// The ceiling is asked in steps of this many bytes, so that small pieces stay cheap.
const RESERVE_STEP: usize = 16 * 1024;

/// What one lease of client bytes became.
pub(super) struct Echoed {
    /// Frames for the client.
    pub out: Option<Lease>,
    /// The messages and payload bytes among them.
    pub messages: u64,
    pub bytes: u64,
    /// Why the session must end, if it must; `out` still goes first.
    pub end: Option<(End, Option<ws::ControlPayload>)>,
}

/// Where the answer is being written.
struct Output {
    /// Frames at the front of the lease itself, up to here ...
    written: usize,
    /// ... or all of them here, once a held message has made them longer than what came.
    own: Option<Vec<u8>>,
}

impl Echo {
    /// Turns what one receive brought into what goes back.
    pub fn turn_round(&mut self, decoder: &mut Decoder, mut lease: Lease, cx: &mut Cx<'_>) -> Echoed {
        let mut echoed = Echoed { out: None, messages: 0, bytes: 0, end: None };
        let mut output = Output { written: 0, own: None };
        let mut read = 0;
        echoed.end = loop {
            match decoder.next(&mut lease, &mut read, None) {
                Event::Payload(piece) => match self.piece(&piece, &mut lease, &mut output, cx) {
                    Ok(Some(len)) => {
                        echoed.messages += 1;
                        echoed.bytes += len as u64;
                    }
                    Ok(None) => {}
                    Err(end) => break Some((end, None)),
                },
                Event::Ping(payload) => output.push(&mut lease, ControlFrame::pong(&payload).as_slice()),
                Event::Pong(_) => {}
                Event::Close(reason) => {
                    let code = reason.as_ref().map(ws::CloseReason::code);
                    let payload = reason.map_or(ws::ControlPayload::EMPTY, |reason| *reason.payload());
                    break Some((End::ClientClosed(code), Some(payload)));
                }
                Event::Fail(violation) => break Some((End::Protocol(violation), None)),
                Event::Starved => break None,
            }
        };
        echoed.out = output.finish(lease);
        echoed
    }

    /// Takes one piece; `Some(length)` when it completed a message, which has then been put out.
    fn piece(
        &mut self,
        piece: &Piece,
        lease: &mut Lease,
        output: &mut Output,
        cx: &mut Cx<'_>,
    ) -> Result<Option<usize>, End> {
        let payload = piece.range.clone();
        let before = self.held.as_ref().map_or(0, |held| held.bytes.len());
        let len = before + payload.len();
        if len > cx.config.message_bytes_max {
            return Err(End::TooLarge);
        }
        if piece.ends && self.held.is_none() {
            output.message(lease, piece.kind, payload);
            return Ok(Some(len));
        }
        let held = match &mut self.held {
            Some(held) => held,
            none => none.insert(Held {
                bytes: Vec::new(),
                reserved: 0,
                reservation: cx.pool.reserve(0).ok_or(End::NoMemory)?,
            }),
        };
        if len > held.reserved {
            let more = (len - held.reserved).next_multiple_of(RESERVE_STEP);
            if !held.reservation.grow(more) {
                return Err(End::NoMemory);
            }
            held.reserved += more;
        }
        held.bytes.extend_from_slice(&lease[payload]);
        if !piece.ends {
            return Ok(None);
        }
        let held = self.held.take().expect("a piece was just added to it");
        let own = output.own(lease);
        own.extend_from_slice(ws::header(piece.kind.opcode(), true, len as u64).as_slice());
        own.extend_from_slice(&held.bytes);
        Ok(Some(len))
    }
}

impl Output {
    /// Puts a whole message out whose payload lies in the lease.
    fn message(&mut self, lease: &mut Lease, kind: Kind, payload: std::ops::Range<usize>) {
        let header = ws::header(kind.opcode(), true, payload.len() as u64);
        let header = header.as_slice();
        match &mut self.own {
            Some(own) => {
                own.extend_from_slice(header);
                own.extend_from_slice(&lease[payload]);
            }
            None if self.written + header.len() <= payload.start => {
                let start = self.written + header.len();
                lease[self.written..start].copy_from_slice(header);
                self.written = start + payload.len();
                lease.copy_within(payload, start);
            }
            // The client's header came with an earlier receive, so there is no room for ours here.
            None => {
                let own = self.own(lease);
                own.extend_from_slice(header);
                own.extend_from_slice(&lease[payload]);
            }
        }
    }

    /// Puts a control frame out. The one it answers was longer, but it may have come in two receives.
    fn push(&mut self, lease: &mut Lease, frame: &[u8]) {
        // A pong is copied off the client's ping, whose bytes are consumed: whether they leave room is only known for
        // pings that came whole, and pings are rare, so they always go to memory of their own.
        self.own(lease).extend_from_slice(frame);
    }

    fn own(&mut self, lease: &Lease) -> &mut Vec<u8> {
        let written = self.written;
        self.own.get_or_insert_with(|| lease[..written].to_vec())
    }

    fn finish(self, mut lease: Lease) -> Option<Lease> {
        match self.own {
            Some(own) => Some(Lease::own(own)),
            None if self.written > 0 => {
                lease.narrow(0..self.written);
                Some(lease)
            }
            None => None,
        }
    }
}
