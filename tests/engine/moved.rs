//! What the engine tells its kernel of each turn: by it the kernel judges whether to look for more, or to sleep for a while.

use super::pipes::{MUCH, bytes, roomy};
use super::{BUFFER_MEMORY_MIN, Bench, HOT_BYTES};
use std::time::Duration;
use websplice::engine::{Completion, Token};
use websplice::pool::Lease;
use websplice::sim::{Hand, Odds};

/// Turns that bring bulk between two sleeps.
const TURNS: usize = 10;

impl Bench {
    /// How long a sleep would last at least behind what was moved since this was asked last.
    fn gathers(&mut self) -> Option<Duration> {
        let spin = self.engine.kernel().spin();
        let gathers = spin.gather(None);
        spin.sleep(|| ());
        gathers
    }

    /// Has `from` send so much, taken without being seen, that a sleep behind it may last as long as any.
    fn stream(&mut self, from: &Hand, source: Token) {
        for _ in 0..TURNS {
            assert!(self.unseen(from, source, &bytes(MUCH)).piped() > 0);
            self.turns(1);
        }
    }

    /// Has `from` send so many bytes, and takes them in one receive that sees them.
    fn seen(&mut self, from: &Hand, source: Token, count: usize) {
        from.write(&bytes(count));
        self.turns(5);
        self.engine.receive(source, HOT_BYTES);
        self.turns(1);
        assert!(matches!(&self.done[..], [Completion::Received(_, lease)] if lease.len() == count));
        self.done.clear();
    }
}

#[test]
fn what_a_turn_has_received_is_told_before_the_next() {
    let mut bench = Bench::new(roomy(), BUFFER_MEMORY_MIN);
    let (from, source) = bench.client(0);
    assert_eq!(bench.gathers(), None, "nothing was moved yet");
    bench.seen(&from, source, MUCH);
    assert_eq!(bench.gathers(), None, "the turn is not over");
    bench.turns(1);
    assert!(bench.gathers().is_some(), "bulk");
    bench.turns(1);
    assert_eq!(bench.gathers(), None, "once");
    bench.seen(&from, source, MUCH / 2);
    bench.turns(1);
    assert_eq!(bench.gathers(), None, "that is not much");
    for _ in 0..2 {
        bench.seen(&from, source, MUCH / 2);
        bench.turns(1);
    }
    assert!(bench.gathers().is_some(), "twice that since the last sleep is");
    bench.leave(&[source]);
}

#[test]
fn what_goes_through_pipes_is_told_too_and_its_last_piece_is_not_small() {
    let mut bench = Bench::new(roomy(), BUFFER_MEMORY_MIN);
    let (from, source) = bench.bulky(0);
    let mut longest = None;
    // Until nobody seems to wait for an answer.
    for _ in 0..1_000 {
        bench.stream(&from, source);
        let gathers = bench.gathers();
        assert!(gathers.is_some(), "bulk");
        if longest.is_some() && gathers > longest {
            longest = gathers;
            break;
        }
        longest = gathers;
    }
    let mut behind = |piece: fn(&mut Bench, &Hand, Token)| {
        piece(&mut bench, &from, source);
        bench.turns(1);
        bench.gathers();
        bench.stream(&from, source);
        bench.gathers()
    };
    assert_eq!(behind(|bench, from, source| drop(bench.unseen(from, source, b"the last piece"))), longest);
    assert!(behind(|bench, from, source| bench.seen(from, source, 10)) < longest, "somebody waits");
    bench.leave(&[source]);
}

#[test]
fn what_had_to_wait_is_told_when_it_goes() {
    let mut bench = Bench::new(Odds { buffer_bytes: 2 * MUCH, ..Odds::calm() }, BUFFER_MEMORY_MIN);
    let (to, sink) = bench.client(0);
    bench.engine.send(sink, Lease::own(vec![1; 8 * MUCH]), false);
    bench.turns(20);
    assert_eq!(bench.gathers(), None, "what goes at once is none of it: whoever sent it has received it");
    let mut read = 0;
    while read < 4 * MUCH {
        let count = to.read_up_to(MUCH).len();
        assert!(count > 0, "it goes on");
        read += count;
        bench.turns(20);
    }
    assert!(bench.gathers().is_some(), "bulk");
    bench.leave(&[sink]);
}
