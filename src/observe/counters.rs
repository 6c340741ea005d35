//! Plain numbers that one shard owns and adds to; nobody shares them, so nothing on the way of a byte is atomic.

use std::ops::AddAssign;

/// What one shard has seen since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Clients accepted.
    pub accepted: u64,
    /// Sessions that became bridges.
    pub bridged: u64,
    /// Requests answered in HTTP: files, pages, refusals.
    pub answered: u64,
    /// Accepts that failed for want of descriptors or memory.
    pub accepts_failed: u64,
    /// Sessions dropped before their first head because too many others were waiting.
    pub heads_shed: u64,
    /// Receives put off because buffer memory was at its ceiling.
    pub starved: u64,
    /// Payload bytes and messages from clients and to clients.
    pub bytes_in: u64,
    /// See `bytes_in`.
    pub bytes_out: u64,
    /// See `bytes_in`.
    pub messages_in: u64,
    /// See `bytes_in`.
    pub messages_out: u64,
    /// Sessions ended because handling them panicked: a bug, never a peer's doing.
    pub panics: u64,
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Counters) {
        self.accepted += other.accepted;
        self.bridged += other.bridged;
        self.answered += other.answered;
        self.accepts_failed += other.accepts_failed;
        self.heads_shed += other.heads_shed;
        self.starved += other.starved;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.messages_in += other.messages_in;
        self.messages_out += other.messages_out;
        self.panics += other.panics;
    }
}
