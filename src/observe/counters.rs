//! Plain numbers that one shard owns and adds to; nobody shares them, so nothing on the way of a byte is atomic.

use std::fmt;

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

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = [
            ("accepted", self.accepted),
            ("bridged", self.bridged),
            ("answered", self.answered),
            ("accepts_failed", self.accepts_failed),
            ("heads_shed", self.heads_shed),
            ("starved", self.starved),
            ("bytes_in", self.bytes_in),
            ("bytes_out", self.bytes_out),
            ("messages_in", self.messages_in),
            ("messages_out", self.messages_out),
            ("panics", self.panics),
        ];
        for (number, (name, value)) in rows.into_iter().enumerate() {
            let blank = if number == 0 { "" } else { " " };
            write!(f, "{blank}{name}={value}")?;
        }
        Ok(())
    }
}
