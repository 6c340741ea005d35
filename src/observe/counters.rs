//! Numbers for operators. [`Counters`] are a shard's own: nobody shares them, so nothing on the way of a byte is atomic.
//! [`Renewals`] belong to the process and change a few times a year.
//!
//! It owns the names under which numbers are told. It never decides when that is.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

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
    /// Sessions dropped before their first head because too many others were waiting, or all places were taken.
    pub heads_shed: u64,
    /// Connections closed between two requests, or behind their last answer, to make room for others.
    pub idle_shed: u64,
    /// Connections closed at once because their source had as many as it may.
    pub sources_refused: u64,
    /// Requests refused because of the host that they asked for.
    pub hosts_refused: u64,
    /// Requests refused because their target is none that may be connected to.
    pub targets_refused: u64,
    /// Receives put off because buffer memory was at its ceiling.
    pub starved: u64,
    /// Log lines about clients that were not said, because there were too many.
    pub lines_suppressed: u64,
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
            ("idle_shed", self.idle_shed),
            ("sources_refused", self.sources_refused),
            ("hosts_refused", self.hosts_refused),
            ("targets_refused", self.targets_refused),
            ("starved", self.starved),
            ("lines_suppressed", self.lines_suppressed),
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

/// What became of changed certificate, key and authority files. One thread notes, any thread may tell.
#[derive(Debug, Default)]
pub struct Renewals {
    taken: AtomicU64,
    failed: AtomicU64,
    stale: AtomicBool,
}

impl Renewals {
    /// New files are in use.
    pub fn note_taken(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
        self.stale.store(false, Ordering::Relaxed);
    }

    /// New files could not be used, and those before them still are.
    pub fn note_failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.stale.store(true, Ordering::Relaxed);
    }
}

impl fmt::Display for Renewals {
    /// Two counters, and as a gauge whether the last renewal failed, so that what is in use is not what is on disk.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (taken, failed) = (self.taken.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed));
        let stale = u8::from(self.stale.load(Ordering::Relaxed));
        write!(f, "tls_renewals={taken} tls_renewals_failed={failed} tls_stale={stale}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewals_are_stale_until_one_succeeds() {
        let renewals = Renewals::default();
        let mut told = vec![renewals.to_string()];
        for succeeds in [true, false, false, true] {
            if succeeds {
                renewals.note_taken()
            } else {
                renewals.note_failed()
            }
            told.push(renewals.to_string());
        }
        let numbers = [(0, 0, 0), (1, 0, 0), (1, 1, 1), (1, 2, 1), (2, 2, 0)];
        let expected = numbers.map(|(taken, failed, stale)| {
            format!("tls_renewals={taken} tls_renewals_failed={failed} tls_stale={stale}")
        });
        assert_eq!(told, expected);
    }
}
