//! What a charge does: a turn that is used up by work is over, and those who are ready come before what is done.

use super::pipes::roomy;
use super::{BUFFER_MEMORY_MIN, Bench, HOT_BYTES};
use std::time::Duration;
use websplice::engine::{Completion, Token};
use websplice::limits::TURN_BYTES;
use websplice::pool::Lease;
use websplice::sim::Hand;

/// What a client sends that works, and how much of that it is given at a time.
const WORK: &[u8] = b"work to be done";
const PIECE: usize = 5;

impl Bench {
    /// A client whose bytes are known to be there, so that a receive of them is ready as soon as it is asked for.
    fn ready(&mut self, index: u32) -> (Hand, Token) {
        let (hand, token) = self.client(index);
        hand.write(WORK);
        self.turns(5);
        (hand, token)
    }

    fn begin(&mut self) {
        self.engine.wait(Some(Duration::ZERO)).expect("a calm day");
    }

    /// Takes what is next, in words: whose it is, by slot.
    fn next(&mut self) -> Option<(&'static str, u32)> {
        self.engine.take().map(|completion| match completion {
            Completion::Received(token, _) => ("received", token.key().index),
            Completion::Sent(token) => ("sent", token.key().index),
            other => panic!("{other:?}"),
        })
    }

    fn send(&mut self, token: Token) {
        self.engine.send(token, Lease::own(b"done".to_vec()), false);
    }
}

fn two() -> (Bench, [Token; 2], [Hand; 2]) {
    let mut bench = Bench::new(roomy(), BUFFER_MEMORY_MIN);
    let ((one, first), (other, second)) = (bench.ready(0), bench.ready(1));
    (bench, [first, second], [one, other])
}

#[test]
fn work_that_uses_a_turn_up_ends_it_and_those_who_are_ready_come_first() {
    let (mut bench, [first, second], _hands) = two();
    bench.engine.receive(first, PIECE);
    bench.engine.receive(second, PIECE);
    bench.begin();
    assert_eq!(bench.next(), Some(("received", 0)));
    bench.send(first);
    bench.engine.charge(TURN_BYTES - PIECE);
    assert_eq!([bench.next(), bench.next()], [None, None], "the turn is over");
    bench.begin();
    assert_eq!(bench.next(), Some(("received", 1)));
    // It is ready again, but its turn has been.
    bench.engine.receive(second, PIECE);
    assert_eq!(bench.next(), Some(("sent", 0)), "what is done waits no longer");
    assert_eq!([bench.next(), bench.next()], [Some(("received", 1)), None]);
    bench.leave(&[first, second]);
}

#[test]
fn less_work_leaves_the_rest_of_the_turn_to_others() {
    let (mut bench, [first, second], _hands) = two();
    bench.engine.receive(first, PIECE);
    bench.begin();
    assert_eq!(bench.next(), Some(("received", 0)));
    bench.send(first);
    bench.engine.charge(TURN_BYTES - PIECE - 1);
    bench.engine.receive(second, PIECE);
    assert_eq!([bench.next(), bench.next()], [Some(("sent", 0)), Some(("received", 1))]);
    // Bytes alone end the receives of a turn: what is done, and frees memory, is still taken.
    bench.send(second);
    bench.engine.receive(first, HOT_BYTES);
    assert_eq!([bench.next(), bench.next()], [Some(("sent", 1)), None]);
    // And the next turn begins with that.
    bench.send(second);
    bench.begin();
    assert_eq!([bench.next(), bench.next()], [Some(("sent", 1)), Some(("received", 0))]);
    bench.leave(&[first, second]);
}

#[test]
fn work_that_goes_on_from_send_to_send_lets_others_in_between_each_time() {
    let (mut bench, [first, second], _hands) = two();
    bench.engine.receive(first, PIECE);
    bench.begin();
    assert_eq!(bench.next(), Some(("received", 0)));
    bench.send(first);
    bench.engine.charge(TURN_BYTES);
    for _ in 0..WORK.len() / PIECE {
        bench.engine.receive(second, PIECE);
        bench.begin();
        assert_eq!([bench.next(), bench.next()], [Some(("received", 1)), Some(("sent", 0))]);
        bench.send(first);
        bench.engine.charge(TURN_BYTES);
        assert_eq!(bench.next(), None);
        bench.begin();
        assert_eq!(bench.next(), Some(("sent", 0)), "what is done has every other turn");
        bench.send(first);
        bench.engine.charge(TURN_BYTES);
    }
    bench.begin();
    assert_eq!([bench.next(), bench.next()], [Some(("sent", 0)), None], "nobody else is ready");
    bench.leave(&[first, second]);
}

#[test]
fn receives_that_work_again_and_again_do_not_shut_out_what_is_done() {
    let (mut bench, [first, second], _hands) = two();
    bench.engine.receive(first, PIECE);
    bench.begin();
    assert_eq!(bench.next(), Some(("received", 0)));
    bench.send(second);
    bench.engine.receive(first, PIECE);
    bench.engine.charge(TURN_BYTES);
    bench.begin();
    assert_eq!(bench.next(), Some(("received", 0)));
    bench.engine.receive(first, PIECE);
    bench.engine.charge(TURN_BYTES);
    bench.begin();
    assert_eq!([bench.next(), bench.next()], [Some(("sent", 1)), Some(("received", 0))]);
    bench.leave(&[first, second]);
}
