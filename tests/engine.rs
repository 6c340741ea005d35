//! The engine over the simulated kernel: its contract, kept on many kinds of bad days.
//!
//! A small bridge (`bridge.rs`) stands where a shard would: it accepts clients, dials a target for each and carries bytes
//! both ways, one receive or send in flight per direction. Its ledger checks at every step that each submission is
//! answered by exactly one completion, that the pool keeps its ceiling, and at the end that bytes came in order. Each seed
//! is another world; `SIM_SEED=n` plays one aloud, `SIM_SEEDS=n` plays so many.

#[path = "engine/bridge.rs"]
mod bridge;
#[path = "engine/charge.rs"]
mod charge;
#[path = "engine/moved.rs"]
mod moved;
#[path = "engine/pipes.rs"]
mod pipes;
#[path = "engine/unwatched.rs"]
mod unwatched;

use bridge::{Bridge, place};
use std::io;
use websplice::engine::{Completion, Engine, Lane, Operation, Token};
use websplice::limits::{BUFFER_MEMORY_MIN, CHUNK_CLASSES, HOT_BYTES};
use websplice::pool::{Lease, Pool};
use websplice::sim::{Behaviour, Dice, Hand, Odds, SimKernel, SimSocket, World};
use websplice::slab::Key;

/// Bytes of the largest chunk, the unit in which the ceiling thinks.
const LARGEST: usize = CHUNK_CLASSES[3];
/// The smallest chunk: with two of them there is hardly memory for anyone.
const SMALLEST: usize = CHUNK_CLASSES[0];

/// Turns in which nothing is answered before a world counts as stuck: bytes on their way to a far end can take as long.
const QUIET_MAX: usize = 200_000;

/// Plays `test` with each seed of the sweep and says which one failed.
fn each_seed(count: u64, test: impl Fn(u64, bool)) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    if let Some(seed) = number("SIM_SEED") {
        return test(seed, true);
    }
    for seed in 0..number("SIM_SEEDS").unwrap_or(count) {
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(seed, false)));
        assert!(played.is_ok(), "seed {seed} failed; SIM_SEED={seed} plays it aloud");
    }
}

fn world_of(seed: u64, odds: Option<Odds>, aloud: bool) -> World {
    let world = odds.map_or_else(|| World::new(seed), |odds| World::with_odds(seed, odds));
    if aloud {
        eprintln!("{:#?}", world.odds());
        world.trace_aloud();
    }
    world
}

/// What a client does: random bytes in random pieces, then an end of some kind.
struct Client {
    hand: Hand,
    pieces: usize,
    leaves: usize,
}

impl Client {
    fn act(&mut self, dice: &mut Dice, most: usize) {
        if dice.chance(700) {
            self.hand.read_up_to(dice.size(4 * most));
        }
        if dice.chance(500) && self.pieces > 0 {
            self.pieces -= 1;
            let bytes: Vec<u8> = (0..dice.size(most)).map(|_| dice.word() as u8).collect();
            self.hand.write(&bytes);
        } else if self.pieces == 0 {
            self.pieces = usize::MAX;
            match self.leaves {
                0 => self.hand.reset(),
                1 => self.hand.close(),
                _ => self.hand.shut(),
            }
        }
        self.pieces = if self.pieces == usize::MAX { 0 } else { self.pieces };
    }
}

/// One world with several clients; every byte and every submission is accounted for.
fn play(seed: u64, aloud: bool, ceiling: usize, odds: Option<Odds>) -> (u64, u64) {
    let world = world_of(seed, odds, aloud);
    let mut dice = world.dice();
    let choices = [
        Behaviour::Echo,
        Behaviour::Sink,
        Behaviour::Source(dice.size(5000)),
        Behaviour::CloseAfter(dice.below(100)),
        Behaviour::ResetAfter(dice.below(100)),
        Behaviour::Refuse,
        Behaviour::Echo,
    ];
    let script: Vec<Behaviour> = (0..8).map(|_| *dice.pick(&choices)).collect();
    world.target(place(), &script);
    let mut bridge = Bridge::new(&world, ceiling);
    let most = world.odds().buffer_bytes.clamp(8, 1 << 14);
    let mut clients: Vec<Client> = Vec::new();
    let count = dice.between(1, 8);
    loop {
        if clients.len() < count && dice.chance(300) {
            let (pieces, leaves) = (dice.below(10), dice.below(10));
            let hand = world.client_connects(0);
            bridge.clients.push(hand.clone());
            clients.push(Client { hand, pieces, leaves });
        }
        for client in &mut clients {
            client.act(&mut dice, most);
        }
        bridge.turn();
        if clients.len() == count && bridge.is_idle(count) && world.open_sockets() == 0 {
            break;
        }
        assert!(bridge.quiet < QUIET_MAX, "stuck: {}", bridge.describe());
    }
    // What was sent before the closes still travels.
    while clients.iter().any(|client| !client.hand.read().is_empty()) || !world.is_quiet() {
        bridge.turn();
    }
    bridge.check_bytes();
    assert_eq!(bridge.engine.pool().in_use(), 0);
    let starved = bridge.engine.starved();
    drop(bridge);
    world.check();
    (starved, world.trace_hash())
}

#[test]
fn every_submission_completes_once_and_bytes_keep_their_order() {
    each_seed(200, |seed, aloud| {
        play(seed, aloud, BUFFER_MEMORY_MIN, None);
    });
}

#[test]
fn a_day_replays() {
    for seed in 0..10 {
        assert_eq!(play(seed, false, BUFFER_MEMORY_MIN, None), play(seed, false, BUFFER_MEMORY_MIN, None));
    }
}

#[test]
fn with_the_smallest_pool_everything_still_finishes() {
    let narrow = Odds { buffer_bytes: 64, delay_ms: 5, split: 300, again: 200, ..Odds::calm() };
    let starved: u64 = (0..30).map(|seed| play(seed, false, 2 * SMALLEST, Some(narrow.clone())).0).sum();
    assert!(starved > 0, "nobody had to wait for memory");
}

/// Two sockets of one slot over a calm network, for rules that need no bad day.
struct Bench {
    world: World,
    engine: Engine<SimKernel>,
    done: Vec<Completion<SimSocket>>,
}

impl Bench {
    /// Whose bytes came, in the order in which they did.
    fn received(&self) -> Vec<Token> {
        let token = |it: &Completion<SimSocket>| match it {
            Completion::Received(token, _) => *token,
            other => panic!("{other:?}"),
        };
        self.done.iter().map(token).collect()
    }

    fn new(odds: Odds, ceiling: usize) -> Bench {
        let world = World::with_odds(1, odds);
        let engine = Engine::new(world.kernel(), Pool::new(ceiling));
        Bench { world, engine, done: Vec::new() }
    }

    fn client(&mut self, index: u32) -> (Hand, Token) {
        let hand = self.world.client_connects(0);
        self.engine.arm_accept(0);
        self.turns(5);
        let token = Token::new(Key { index, generation: 0 }, Lane::First);
        let Some(Completion::Accepted(_, socket, _)) = self.done.pop() else { panic!("nobody came") };
        self.engine.adopt(token, socket).expect("a calm day");
        (hand, token)
    }

    fn turns(&mut self, count: usize) {
        for _ in 0..count {
            self.engine.wait(Some(std::time::Duration::from_millis(10))).expect("a calm day");
            while let Some(completion) = self.engine.take() {
                // Bytes are kept, as somebody does who cannot pass them on.
                self.done.push(match completion {
                    Completion::Received(token, lease) => {
                        Completion::Received(token, lease.kept().expect("there is memory"))
                    }
                    other => other,
                });
            }
        }
    }

    fn leave(mut self, tokens: &[Token]) {
        self.done.clear();
        for &token in tokens {
            self.engine.cancel(token);
        }
        self.turns(3);
        tokens.iter().for_each(|&token| self.engine.close(token));
        self.turns(3);
        assert_eq!((self.world.open_sockets(), self.world.now().0 > 0), (0, true));
        self.world.check();
    }
}

#[test]
#[should_panic(expected = "close with work in flight")]
fn closing_with_a_receive_in_flight_is_a_bug() {
    let mut bench = Bench::new(Odds::calm(), LARGEST);
    let (_hand, token) = bench.client(0);
    bench.engine.receive(token, HOT_BYTES);
    bench.engine.close(token);
}

#[test]
#[should_panic(expected = "one receive in flight")]
fn a_second_receive_is_a_bug() {
    let mut bench = Bench::new(Odds::calm(), LARGEST);
    let (_hand, token) = bench.client(0);
    bench.engine.receive(token, HOT_BYTES);
    bench.engine.receive(token, HOT_BYTES);
}

#[test]
fn nothing_completes_inside_a_submission_and_a_cancel_answers_each_part() {
    let mut bench = Bench::new(Odds { buffer_bytes: 1, ..Odds::calm() }, LARGEST);
    let (_hand, token) = bench.client(0);
    bench.engine.receive(token, HOT_BYTES);
    bench.engine.send(token, Lease::own(vec![1; 10]), false);
    bench.turns(5);
    assert!(bench.done.iter().all(|it| matches!(it, Completion::Moved(_))), "{:?}", bench.done);
    bench.done.clear();
    bench.engine.cancel(token);
    bench.engine.cancel(token);
    bench.turns(2);
    let operations = bench.done.iter().map(|it| match it {
        Completion::Cancelled(_, operation) => *operation,
        other => panic!("{other:?}"),
    });
    assert_eq!(operations.collect::<Vec<_>>(), [Operation::Receive, Operation::Send]);
    bench.leave(&[token]);
}

#[test]
fn a_last_send_is_followed_by_the_end() {
    let mut bench = Bench::new(Odds { buffer_bytes: 1, ..Odds::calm() }, LARGEST);
    let (hand, token) = bench.client(0);
    bench.engine.send(token, Lease::own(b"goodbye".to_vec()), true);
    let mut got = Vec::new();
    for _ in 0..100 {
        bench.turns(1);
        let sent = bench.done.iter().any(|it| matches!(it, Completion::Sent(_)));
        assert!(sent || !hand.ended(), "the end comes behind the bytes");
        got.extend(hand.read());
    }
    assert_eq!((&got[..], hand.ended()), (&b"goodbye"[..], true));
    let sent = bench.done.iter().filter(|it| matches!(it, Completion::Sent(_))).count();
    assert_eq!(sent, 1);
    bench.done.clear();
    bench.leave(&[token]);
}

#[test]
fn a_send_that_is_said_to_be_done_does_not_complete_again_and_one_that_is_stuck_does() {
    let mut bench = Bench::new(Odds { buffer_bytes: 1, ..Odds::calm() }, LARGEST);
    let (hand, token) = bench.client(0);
    assert!(bench.engine.send_now(token, Lease::own(b"1".to_vec()), false), "there is room");
    assert!(!bench.engine.send_now(token, Lease::own(b", 2 and last".to_vec()), true), "there is none");
    let mut got = Vec::new();
    while !hand.ended() {
        bench.turns(1);
        got.extend(hand.read());
    }
    bench.turns(5);
    assert_eq!(got, b"1, 2 and last");
    let (sent, other): (Vec<_>, Vec<_>) =
        bench.done.drain(..).partition(|it| matches!(it, Completion::Sent(_)));
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(other.iter().all(|it| matches!(it, Completion::Moved(_))), "{other:?}");
    bench.leave(&[token]);
}

/// All the memory there is.
fn hog(pool: &Pool) -> Vec<Lease> {
    let mut all = Vec::new();
    while pool.allowance() > 0 {
        all.push(pool.chunk(1).expect("there is memory"));
    }
    all
}

#[test]
fn starved_receives_are_served_in_the_order_they_began_to_wait() {
    let mut bench = Bench::new(Odds::calm(), LARGEST);
    let hog = hog(bench.engine.pool());
    let clients: Vec<_> = (0..4).map(|index| bench.client(index)).collect();
    let order = [2, 0, 3, 1];
    for &at in &order {
        bench.engine.receive(clients[at].1, HOT_BYTES);
        clients[at].0.write(b"bytes");
        bench.turns(5);
    }
    assert!(bench.done.is_empty() && bench.engine.starved() >= 4);
    drop(hog);
    bench.turns(12);
    assert_eq!(bench.received(), order.map(|at| clients[at].1));
    bench.done.clear();
    bench.leave(&clients.iter().map(|client| client.1).collect::<Vec<_>>());
}

#[test]
fn a_newcomer_does_not_pass_those_who_wait_for_memory() {
    let mut bench = Bench::new(Odds::calm(), LARGEST);
    let hog = hog(bench.engine.pool());
    let (waiting, first) = bench.client(0);
    let (lively, second) = bench.client(1);
    bench.engine.receive(first, HOT_BYTES);
    waiting.write(b"bytes");
    bench.turns(5);
    lively.write(b"bytes");
    bench.turns(5);
    // Its bytes are known to be there, so this receive is ready to be tried at once.
    bench.engine.receive(second, HOT_BYTES);
    drop(hog);
    bench.turns(3);
    assert_eq!(bench.received(), [first, second]);
    bench.done.clear();
    bench.leave(&[first, second]);
}

#[test]
fn a_broken_stream_fails_once_and_is_then_at_its_end() {
    let mut bench = Bench::new(Odds::calm(), LARGEST);
    let (hand, token) = bench.client(0);
    bench.engine.receive(token, HOT_BYTES);
    hand.reset();
    bench.turns(5);
    let [Completion::Failed(_, Operation::Receive, error)] = &bench.done[..] else {
        panic!("{:?}", bench.done)
    };
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    bench.leave(&[token]);
}
