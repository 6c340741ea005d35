//! What the engine does with bytes that nobody has to see: when it takes a pipe, and that nothing else changes then.

use super::{Bench, hog};
use websplice::engine::{Completion, Operation, Token};
use websplice::limits::{HOT_BYTES, PIPES_PER_SHARD, SPLICE_FROM_BYTES};
use websplice::pool::Lease;
use websplice::sim::{Hand, Odds};

/// As much as ever counts as bulk.
pub const MUCH: usize = SPLICE_FROM_BYTES;

pub fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at % 251) as u8).collect()
}

/// Buffers that hold the whole of a test.
pub fn roomy() -> Odds {
    Odds { buffer_bytes: 1 << 22, ..Odds::calm() }
}

impl Bench {
    /// Has `from` send `bytes` and takes what one unseen receive brings of them.
    pub fn unseen(&mut self, hand: &Hand, from: Token, bytes: &[u8]) -> Lease {
        hand.write(bytes);
        self.turns(5);
        self.engine.receive_unseen(from, HOT_BYTES);
        self.turns(1);
        match self.done.pop() {
            Some(Completion::Received(token, lease)) if token == from => lease,
            other => panic!("{other:?}"),
        }
    }

    /// A client whose stream has just become bulk.
    pub fn bulky(&mut self, index: u32) -> (Hand, Token) {
        let (hand, token) = self.client(index);
        let first = self.unseen(&hand, token, &bytes(MUCH));
        assert!(first.piped() == 0 && first.len() == MUCH, "{first:?}");
        (hand, token)
    }
}

#[test]
fn bulk_comes_in_a_pipe_and_leaves_behind_its_header() {
    let mut bench = Bench::new(roomy(), super::BUFFER_MEMORY_MIN);
    let (from, source) = bench.bulky(0);
    let (to, sink) = bench.client(1);
    let mut lease = bench.unseen(&from, source, &bytes(100_000));
    assert_eq!((lease.len(), lease.piped(), bench.engine.pool().in_use()), (0, 100_000, 100_000));
    lease.prepend(b"header");
    bench.engine.send(sink, lease, true);
    let mut got = Vec::new();
    while !to.ended() {
        bench.turns(1);
        got.extend(to.read());
    }
    assert!(got.starts_with(b"header") && got[6..] == bytes(100_000));
    let sent = bench.done.iter().filter(|it| matches!(it, Completion::Sent(_))).count();
    assert_eq!((sent, matches!(bench.done.last(), Some(Completion::Sent(_)))), (1, true));
    assert_eq!(bench.engine.pool().in_use(), 0);
    bench.leave(&[source, sink]);
}

#[test]
fn little_in_a_row_and_bytes_that_are_to_be_seen_are_copied() {
    let mut bench = Bench::new(roomy(), super::BUFFER_MEMORY_MIN);
    let (from, source) = bench.bulky(0);
    from.write(b"seen");
    bench.engine.receive(source, HOT_BYTES);
    bench.turns(5);
    assert!(matches!(&bench.done[..], [Completion::Received(_, lease)] if **lease == *b"seen"));
    bench.done.clear();
    let kinds = [(); 6].map(|()| bench.unseen(&from, source, b"little").pipe().is_some());
    assert_eq!(kinds, [true, true, true, true, false, false]);
    assert_eq!(bench.unseen(&from, source, &bytes(MUCH)).pipe(), None);
    assert!(bench.unseen(&from, source, b"bulk again").pipe().is_some());
    bench.leave(&[source]);
}

#[test]
fn without_a_pipe_bytes_are_copied() {
    for odds in [Odds { pipe_fails: 1000, ..roomy() }, Odds { splice_fails: 1000, ..roomy() }] {
        let mut bench = Bench::new(odds, super::BUFFER_MEMORY_MIN);
        let (from, source) = bench.bulky(0);
        for count in [MUCH, 7, MUCH] {
            let lease = bench.unseen(&from, source, &bytes(count));
            assert!(lease.pipe().is_none() && *lease == *bytes(count));
        }
        bench.leave(&[source]);
    }
    // Somebody else has them all.
    let mut bench = Bench::new(roomy(), super::BUFFER_MEMORY_MIN);
    let all: Vec<Lease> = std::iter::from_fn(|| bench.engine.pool().pipe()).collect();
    assert_eq!(all.len(), PIPES_PER_SHARD);
    let (from, source) = bench.bulky(0);
    assert!(bench.unseen(&from, source, b"copied").pipe().is_none());
    drop(all);
    assert!(bench.unseen(&from, source, b"piped").pipe().is_some());
    bench.leave(&[source]);
}

#[test]
fn while_memory_is_short_bytes_are_copied_and_at_the_ceiling_they_wait() {
    let mut bench = Bench::new(roomy(), super::BUFFER_MEMORY_MIN);
    let (from, source) = bench.bulky(0);
    let half = bench.engine.pool().reserve(super::BUFFER_MEMORY_MIN / 2).expect("half is for anything");
    assert!(bench.unseen(&from, source, b"copied").pipe().is_none());
    let all = hog(bench.engine.pool());
    bench.engine.receive_unseen(source, HOT_BYTES);
    from.write(b"waiting");
    bench.turns(5);
    assert!(bench.done.is_empty() && bench.engine.starved() > 0);
    drop((all, half));
    bench.turns(2);
    assert_eq!(bench.received(), [source]);
    bench.done.clear();
    bench.leave(&[source]);
}

#[test]
fn what_is_stuck_in_a_pipe_moves_and_is_given_up_like_any_other_send() {
    let mut bench = Bench::new(Odds { buffer_bytes: 1 << 12, ..Odds::calm() }, super::BUFFER_MEMORY_MIN);
    bench.engine.splice_from(2);
    let (from, source) = bench.client(0);
    drop(bench.unseen(&from, source, b"bulk"));
    let (to, sink) = bench.client(1);
    let mut taken = b"bulk".len();
    // Until the far end, which reads nothing, is full.
    loop {
        let lease = bench.unseen(&from, source, &bytes(900));
        taken += lease.size();
        assert!(lease.pipe().is_some());
        bench.engine.send(sink, lease, false);
        bench.turns(20);
        if !bench.done.iter().any(|it| matches!(it, Completion::Sent(_))) {
            break;
        }
        bench.done.clear();
    }
    let stuck = bench.engine.pool().in_use();
    assert!(stuck > 0);
    bench.done.clear();
    let got = to.read_up_to(1);
    bench.turns(20);
    assert!(matches!(bench.done[..], [Completion::Moved(_)]), "{:?}", bench.done);
    assert_eq!(bench.engine.pool().in_use(), stuck - 1);
    bench.done.clear();
    bench.engine.cancel(sink);
    bench.turns(2);
    assert!(matches!(bench.done[..], [Completion::Cancelled(_, Operation::Send)]), "{:?}", bench.done);
    assert_eq!(bench.engine.pool().in_use(), 0);
    assert!(from.written()[4..].starts_with(&got));
    // What was given up does not come out of the next pipe.
    let (to, next) = bench.client(2);
    let lease = bench.unseen(&from, source, b"next");
    let due = from.written()[taken..][..lease.size()].to_vec();
    bench.engine.send(next, lease, true);
    let mut got = Vec::new();
    while !to.ended() {
        bench.turns(1);
        got.extend(to.read());
    }
    assert!(got == due);
    bench.leave(&[source, sink, next]);
}
