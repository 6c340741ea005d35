//! The echo target: each message comes back with its type and boundaries, without any socket.
//!
//! A server's frame is always shorter than the client's that brought the same payload, so whole messages are answered in
//! the very buffer they came in. Only a message that does not come whole is held, within `--max-message` and the
//! ceiling of buffer memory.

use super::tap::Watch;
use super::{Cx, End};
use crate::limits::{CHUNK_CLASSES, CONTROL_PAYLOAD_BYTES_MAX, HOT_BYTES, SERVER_HEADER_BYTES_MAX};
use crate::pool::{Lease, Pool};
use crate::ws::{self, ControlFrame, Decoder, Event, Kind, Piece};

/// Messages on their way back.
#[derive(Debug, Default)]
pub(super) struct Echo {
    /// The part of a message that has come.
    held: Option<Lease>,
}

/// What may be written beyond what came: of one frame the client's header, or most of a ping, may have come earlier.
const MORE_BYTES_MAX: usize = 2 * SERVER_HEADER_BYTES_MAX + CONTROL_PAYLOAD_BYTES_MAX;
/// The largest chunk that is kept for reuse.
const LARGEST: usize = CHUNK_CLASSES[CHUNK_CLASSES.len() - 1];

const _: () = assert!(HOT_BYTES + MORE_BYTES_MAX <= LARGEST);

/// What one lease of client bytes became.
pub(super) struct Echoed {
    /// Frames for the client.
    pub out: Option<Lease>,
    /// The messages and payload bytes among them.
    pub messages: u64,
    pub bytes: u64,
    /// Bytes of the lease that were payload, of messages that are still open too.
    pub payload: usize,
    /// Why the session must end, if it must; `out` still goes first.
    pub end: Option<(End, Option<ws::ControlPayload>)>,
}

/// Where the answer is being written.
struct Output {
    /// Frames at the front of the lease itself, up to here ...
    written: usize,
    /// ... or all of them here, once a held message has made them longer than what came.
    own: Option<Lease>,
    /// Bytes of the held message, if it will be among them.
    held: usize,
}

impl Echo {
    /// How much to receive next, so that it makes one chunk with what is held, unless a message fills most of one alone.
    pub fn receive_bytes(&self) -> usize {
        let held = self.held.as_ref().map_or(0, |held| held.len());
        if held <= HOT_BYTES / 2 { HOT_BYTES - held } else { HOT_BYTES }
    }

    /// Turns what one receive brought into what goes back.
    pub fn turn_round(
        &mut self,
        decoder: &mut Decoder,
        mut lease: Lease,
        mut watch: Option<&mut Watch>,
        cx: &mut Cx<'_>,
    ) -> Echoed {
        let mut echoed = Echoed { out: None, messages: 0, bytes: 0, payload: 0, end: None };
        let mut output =
            Output { written: 0, own: None, held: self.held.as_ref().map_or(0, |held| held.len()) };
        let mut read = 0;
        echoed.end = loop {
            match decoder.next(&mut lease, &mut read, None) {
                Event::Payload(piece) => {
                    if let Some(watch) = &mut watch {
                        watch.note(&lease[piece.range.clone()], piece.ends);
                    }
                    match self.piece(&piece, &mut lease, &mut output, cx) {
                        Ok(Some(len)) => {
                            echoed.messages += 1;
                            echoed.bytes += len as u64;
                        }
                        Ok(None) => {}
                        Err(end) => break Some((end, None)),
                    }
                }
                Event::Ping(payload) => {
                    // The pong is shorter than its ping, but that may have come in two receives: it goes elsewhere.
                    match output.own(&lease, cx.pool) {
                        Ok(own) => append(own, ControlFrame::pong(&payload).as_slice()),
                        Err(end) => break Some((end, None)),
                    }
                }
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
        let held = self.held.as_ref().map_or(0, |held| held.len());
        echoed.payload = (echoed.bytes as usize + held).saturating_sub(output.held);
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
        let len = self.held.as_ref().map_or(0, |held| held.len()) + payload.len();
        if len > cx.config.message_bytes_max {
            return Err(End::TooLarge);
        }
        if self.held.is_none() && piece.ends {
            output.message(lease, piece.kind, payload, cx.pool)?;
            return Ok(Some(len));
        }
        if !piece.ends {
            self.held = Some(joined(self.held.take(), &lease[payload], cx.pool)?);
            return Ok(None);
        }
        let own = output.own(lease, cx.pool)?;
        append(own, ws::header(piece.kind.opcode(), true, len as u64).as_slice());
        if let Some(held) = self.held.take() {
            append(own, &held);
        }
        append(own, &lease[payload]);
        Ok(Some(len))
    }
}

/// `held` with `more` behind it, in a larger chunk if it must; room doubles, so that many small pieces stay cheap.
fn joined(held: Option<Lease>, more: &[u8], pool: &Pool) -> Result<Lease, End> {
    let before = held.as_ref().map_or(0, |held| held.len());
    let mut joined = match held {
        Some(held) if held.tailroom() >= more.len() => held,
        held => {
            let more_room = if before < LARGEST { (2 * before).min(LARGEST) } else { 2 * before };
            let room = more_room.max(before + more.len());
            let mut larger = pool.chunk_within(room).ok_or(End::NoMemory)?;
            append(&mut larger, held.as_deref().unwrap_or_default());
            drop(held);
            // The last place is for those whose bytes only pass: what waits for its end may wait for ever.
            if pool.allowance() == 0 {
                return Err(End::NoMemory);
            }
            larger
        }
    };
    append(&mut joined, more);
    Ok(joined)
}

fn append(lease: &mut Lease, bytes: &[u8]) {
    let taken = lease.append(bytes);
    assert_eq!(taken, bytes.len(), "room was made for all of it");
}

impl Output {
    /// Puts a whole message out whose payload lies in the lease.
    fn message(
        &mut self,
        lease: &mut Lease,
        kind: Kind,
        payload: std::ops::Range<usize>,
        pool: &Pool,
    ) -> Result<(), End> {
        let header = ws::header(kind.opcode(), true, payload.len() as u64);
        let header = header.as_slice();
        let start = self.written + header.len();
        if self.own.is_none() && start <= payload.start {
            lease[self.written..start].copy_from_slice(header);
            self.written = start + payload.len();
            lease.copy_within(payload, start);
            return Ok(());
        }
        // The client's header came with an earlier receive, so there is no room for ours here.
        let own = self.own(lease, pool)?;
        append(own, header);
        append(own, &lease[payload]);
        Ok(())
    }

    /// The frames, in memory of their own from here on.
    fn own(&mut self, lease: &Lease, pool: &Pool) -> Result<&mut Lease, End> {
        if self.own.is_none() {
            let room = lease.len() + self.held + MORE_BYTES_MAX;
            // What a permitted receive brought always has its place; only a held message can be too much.
            let own = if self.held == 0 { pool.chunk(room) } else { pool.chunk_within(room) };
            let mut own = own.ok_or(End::NoMemory)?;
            append(&mut own, &lease[..self.written]);
            self.own = Some(own);
        }
        Ok(self.own.as_mut().expect("it was just put there"))
    }

    fn finish(self, mut lease: Lease) -> Option<Lease> {
        if self.own.is_some() {
            return self.own;
        }
        lease.narrow(0..self.written);
        Some(lease).filter(|frames| !frames.is_empty())
    }
}
