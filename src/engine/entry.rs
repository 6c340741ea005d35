//! What the engine knows of one socket, and can find out. Owns the socket; what it means is `drive`'s to know.

use super::splice::Bulk;
use super::{Engine, Kernel, Token};
use crate::pool::Lease;
use std::io;
use std::num::NonZeroU32;

/// One socket and what is in flight on it.
pub struct Entry<S> {
    pub socket: Option<S>,
    /// Which token the socket belongs to; reports with another one are stale.
    pub token: Option<Token>,
    /// The most bytes the armed receive may bring; `None`: none is armed.
    pub receiving: Option<NonZeroU32>,
    /// Nobody has to see the bytes that the armed receive brings.
    pub unseen: bool,
    pub(super) bulk: Bulk,
    /// No call on it blocks, splices included.
    pub unblocked: bool,
    pub sending: bool,
    /// The end of the stream follows the send in flight.
    pub last: bool,
    pub connecting: bool,
    /// The kernel owes a write report.
    pub wanted: bool,
    pub closing: bool,
    /// On `run` or on `starved`.
    pub queued: bool,
    /// Bytes may be there: a receive is worth a try before the next edge.
    pub readable: bool,
    /// An end or an urgent mark was reported, or the socket is one that divides what it has: a short receive does not mean
    /// that nothing is left.
    pub unsure: bool,
    /// Why the socket cannot be watched any more: a receive that finds nothing fails with it.
    pub blind: Option<io::Error>,
    /// What the kernel has not taken yet of the send in flight.
    pub parked: Option<Lease>,
}

impl<K: Kernel> Engine<K> {
    /// Whether bytes have arrived at `token` that no receive has brought yet.
    pub fn has_arrived(&mut self, token: Token) -> bool {
        let entry = &self.sockets[token.place()];
        debug_assert_eq!(entry.token, Some(token));
        entry.socket.as_ref().is_some_and(|socket| self.kernel.has_arrived(socket))
    }
}

impl<S> Default for Entry<S> {
    fn default() -> Entry<S> {
        Entry {
            socket: None,
            token: None,
            receiving: None,
            unseen: false,
            bulk: Bulk::default(),
            unblocked: false,
            sending: false,
            last: false,
            connecting: false,
            wanted: false,
            closing: false,
            queued: false,
            readable: false,
            unsure: false,
            blind: None,
            parked: None,
        }
    }
}
