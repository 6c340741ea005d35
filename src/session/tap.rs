//! What a bridge shows to those who watch it: recordings, and the letters of `--traffic`.
//!
//! A session that nobody watches has no tap, and pays one branch for that. One that is watched copies what each receive
//! brought, once, and tells where messages end; what becomes of it is the shard's to know. It never changes or delays
//! what is passed on.

use super::{Action, Core, Cx, Side};
use crate::limits::{HOT_BYTES, TAP_PIECES_MAX};

/// Something that those who watch are shown, in the order in which it happened.
#[derive(Debug)]
pub enum Tap {
    /// The target is connected, or there is none to connect.
    Connected,
    /// A receive brought this from a side.
    Brought(Box<Brought>),
    /// All of it has been sent on to this side.
    Sent(Side),
    /// A part of it has been.
    Moved(Side),
}

/// What one receive brought: payload, freed from frames. Where messages are cut it is what was cut at once, or a part of that:
/// it never holds more bytes than a receive brings, nor more pieces than [`TAP_PIECES_MAX`].
#[derive(Debug)]
pub struct Brought {
    /// Whom it came from.
    pub from: Side,
    /// All of it; empty where only letters are wanted, and where there was no memory for it.
    pub bytes: Vec<u8>,
    /// How it is divided into messages, in order. None: it held control frames at most, or a part of a header.
    pub pieces: Vec<Piece>,
}

/// A run of a message's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Bytes of it; an empty message has a piece of none.
    pub len: usize,
    /// Whether its message ends with it.
    pub ends: bool,
}

/// A tap on a bridge.
#[derive(Debug)]
pub(super) struct Watch {
    /// Payload is wanted, not only when it came.
    bytes_wanted: bool,
    /// Sends are of interest as well.
    sends_wanted: bool,
    /// What the receive that is being looked at has brought so far.
    bytes: Vec<u8>,
    pieces: Vec<Piece>,
    /// There was no memory for it: only how much it was is shown.
    is_torn: bool,
}

impl Watch {
    /// Notes a run of payload.
    pub fn note(&mut self, payload: &[u8], ends: bool) {
        if self.bytes_wanted && !self.is_torn {
            match self.bytes.try_reserve(payload.len()) {
                Ok(()) => self.bytes.extend_from_slice(payload),
                Err(_) => self.tear(),
            }
        }
        match self.pieces.try_reserve(1) {
            Ok(()) => self.pieces.push(Piece { len: payload.len(), ends }),
            Err(_) => {
                self.tear();
                if let Some(last) = self.pieces.last_mut() {
                    (last.len, last.ends) = (last.len + payload.len(), last.ends | ends);
                }
            }
        }
    }

    /// Gives up the bytes of what is being looked at.
    fn tear(&mut self) {
        (self.bytes, self.is_torn) = (Vec::new(), true);
    }

    /// The same once more, as far as there is memory for it.
    fn copied(&self) -> (Vec<u8>, Vec<Piece>) {
        let (mut bytes, mut pieces) = (Vec::new(), Vec::new());
        if pieces.try_reserve_exact(self.pieces.len()).is_err() {
            let len = self.pieces.iter().map(|piece| piece.len).sum();
            return (bytes, vec![Piece { len, ends: true }]);
        }
        pieces.extend_from_slice(&self.pieces);
        if bytes.try_reserve_exact(self.bytes.len()).is_ok() {
            bytes.extend_from_slice(&self.bytes);
        }
        (bytes, pieces)
    }

    /// Whether `more` bytes as another piece would be too much to be shown at once.
    fn is_full(&self, more: usize) -> bool {
        self.bytes.len() + more > HOT_BYTES || self.pieces.len() == TAP_PIECES_MAX
    }
}

impl Core {
    /// Whether every byte of this session is shown to somebody: then none may pass outside of user space.
    pub fn is_tapped(&self) -> bool {
        self.watch.is_some()
    }

    /// Puts the tap in, if the configuration wants one.
    pub(super) fn tap(&mut self, cx: &Cx<'_>) {
        let (bytes_wanted, sends_wanted) = (cx.config.record.is_some(), cx.config.traffic);
        if bytes_wanted || sends_wanted {
            let (bytes, pieces) = (Vec::new(), Vec::new());
            self.watch = Some(Box::new(Watch { bytes_wanted, sends_wanted, bytes, pieces, is_torn: false }));
        }
    }

    /// From now on shows how much came, and not what.
    pub(super) fn show_no_bytes(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.bytes_wanted = false;
        }
    }

    /// Shows what the receive that was looked at has brought.
    pub(super) fn show_brought(&mut self, from: Side, cx: &mut Cx<'_>) {
        if let Some(watch) = &mut self.watch {
            let (bytes, pieces) = (std::mem::take(&mut watch.bytes), std::mem::take(&mut watch.pieces));
            watch.is_torn = false;
            cx.actions.push(Action::Tap(Tap::Brought(Box::new(Brought { from, bytes, pieces }))));
        }
    }

    /// Shows what the receive that was looked at has brought, from the client and back to it.
    pub(super) fn show_echoed(&mut self, cx: &mut Cx<'_>) {
        let Some(watch) = &self.watch else { return };
        let (bytes, pieces) = watch.copied();
        self.show_brought(Side::Client, cx);
        if !pieces.is_empty() {
            let back = Brought { from: Side::Target, bytes, pieces };
            cx.actions.push(Action::Tap(Tap::Brought(Box::new(back))));
        }
    }

    /// Notes a whole message of the target, in runs no longer than what a receive brings; what is too much for one showing is
    /// shown before it.
    pub(super) fn note_down(&mut self, payload: &[u8], cx: &mut Cx<'_>) {
        let mut runs = payload.chunks(HOT_BYTES).peekable();
        while let (Some(watch), Some(run)) = (&self.watch, runs.next()) {
            let (is_full, ends) = (watch.is_full(run.len()), runs.peek().is_none());
            if is_full {
                self.show_brought(Side::Target, cx);
            }
            if let Some(watch) = &mut self.watch {
                watch.note(run, ends);
            }
        }
    }

    /// Shows a whole message of the target.
    pub(super) fn show_down(&mut self, payload: &[u8], cx: &mut Cx<'_>) {
        if let Some(watch) = &mut self.watch {
            watch.note(payload, true);
            self.show_brought(Side::Target, cx);
        }
    }

    /// Shows that something was sent, to those who want to know.
    pub(super) fn show_sent(&self, tap: Tap, cx: &mut Cx<'_>) {
        if self.watch.as_ref().is_some_and(|watch| watch.sends_wanted) {
            cx.actions.push(Action::Tap(tap));
        }
    }
}
