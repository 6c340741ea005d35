//! Whole shards that share their places, each with a calm simulated network of its own: who has a place, who waits for one, who
//! makes room, and that nobody is forgotten.
//!
//! A client that comes to a shard here is seen by that shard alone, and a shard learns of the others by their places only. Nothing
//! waits: time is counted in rounds of a millisecond, in which each shard has a turn.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;
use websplice::cli::{Outcome, dispatch};
use websplice::config::Config;
use websplice::engine::{Engine, Kernel};
use websplice::http::Response;
use websplice::limits::{
    ACCEPT_PAUSE_MS, BUFFER_MEMORY_MIN, PENDING_HEADS_MAX, PENDING_HEADS_SHARE, SHED_GRACE_MS,
};
use websplice::observe::log::Log;
use websplice::pool::Pool;
use websplice::session::job::{Job, Verdict};
use websplice::shard::balance::Balance;
use websplice::shard::mailbox::{Mailbox, Note};
use websplice::shard::sources::Sources;
use websplice::shard::tap::Taps;
use websplice::shard::{Setup, Shard};
use websplice::sim::{Dice, Hand, Odds, SimKernel, World};
use websplice::timers::Time;
use websplice::web::{Body, Served};

/// What clients say: who stays for good, who may ask again, who gets a last answer, and who never comes to the point.
const BRIDGE: &str = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                      Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const IDLE: &str = "GET /page HTTP/1.1\r\nHost: a\r\n\r\n";
const LAST: &str = "BAD\r\n\r\n";
const MUTE: &str = "G";

/// Listeners of each shard.
const LISTENERS: usize = 2;
/// Rounds in which whatever happens at once has happened, and in which anything at all has.
const SOON: u64 = 50;
const ROUNDS_MAX: u64 = 20_000;

/// Days on which nothing is late, lost or cut to pieces.
fn roomy() -> Odds {
    Odds { buffer_bytes: usize::MAX, ..Odds::calm() }
}

/// Some shards.
struct House {
    worlds: Vec<World>,
    shards: Vec<Shard<SimKernel>>,
    mailboxes: Vec<Mailbox>,
    balance: Balance,
    places: usize,
    now: u64,
}

/// Nothing ends by itself while a test lasts.
fn config(places: usize) -> Config {
    let places = format!("--max-sessions={places}");
    let words = ["websplice", "--echo", "--head-timeout=5m", "--write-timeout=5m", "--close-timeout=5m"];
    let argv = words.iter().copied().chain([places.as_str(), "127.0.0.1:0"]).map(OsString::from);
    match dispatch(argv) {
        Outcome::Run(config) => Config { web: Some(Default::default()), ..*config },
        Outcome::Exit(answer) => panic!("{}", answer.err),
    }
}

/// There is one page.
fn verdict(job: Job) -> Verdict {
    let Job::Fetch(_) = job else { panic!("{job:?}") };
    let response = Response::new(200, "OK").length(4);
    Verdict::Fetched(Served { response, body: Body::Bytes(b"page".to_vec().into()) })
}

fn shard(number: usize, world: &World, balance: &Balance, places: usize) -> (Shard<SimKernel>, Mailbox) {
    let mut engine = Engine::new(world.kernel(), Pool::new(16 * BUFFER_MEMORY_MIN));
    let mailbox = Mailbox::new(engine.kernel().waker());
    let (notes, waker) = (mailbox.clone(), world.clone());
    let setup = Setup {
        number,
        listeners: LISTENERS,
        log: Log::silent(),
        balance: balance.clone(),
        sources: Sources::default(),
        config: Arc::new(config(places)),
        shelf: None,
        taps: Taps::default(),
        mailbox: mailbox.clone(),
        desk: Box::new(move |key, job| {
            notes.put(Note::Verdict(key, verdict(job)));
            waker.wake();
        }),
    };
    (Shard::new(engine, setup), mailbox)
}

impl House {
    fn new(shards: usize, places: usize) -> House {
        House::with_odds(&vec![roomy(); shards], places)
    }

    /// A shard for each of these worlds.
    fn with_odds(odds: &[Odds], places: usize) -> House {
        let worlds: Vec<World> = odds.iter().map(|odds| World::with_odds(1, odds.clone())).collect();
        let balance = Balance::new(worlds.len(), places);
        let made = worlds.iter().enumerate().map(|(number, world)| shard(number, world, &balance, places));
        let (shards, mailboxes) = made.unzip();
        let mut house = House { worlds, shards, mailboxes, balance, places, now: 0 };
        // From here on every shard has its accepts in flight.
        house.rounds(2);
        house
    }

    /// A client comes to a shard, and says this.
    fn come(&self, shard: usize, words: &str) -> Hand {
        self.come_to(shard, 0, words)
    }

    fn come_to(&self, shard: usize, listener: usize, words: &str) -> Hand {
        let hand = self.worlds[shard].client_connects(listener);
        hand.write(words.as_bytes());
        hand
    }

    /// A client that comes to a shard and is served.
    #[track_caller]
    fn served(&mut self, shard: usize, words: &str) -> Hand {
        let hand = self.come(shard, words);
        self.until_served(&hand);
        hand
    }

    /// One turn of every shard.
    fn round(&mut self) {
        self.now += 1;
        for number in 0..self.shards.len() {
            let (now, shed) = (Time(self.now), self.all_shed());
            let (is_full, is_waited_for) = (self.balance.is_full(), self.balance.is_waited_for());
            let turn = self.shards[number].turn(Some(Duration::from_millis(1)), || (now, 1_700_000_000));
            turn.expect("a simulated kernel turns");
            let sessions: usize = self.shards.iter().map(Shard::sessions).sum();
            assert!(sessions <= self.places, "{sessions} sessions in {} places", self.places);
            assert_eq!(sessions, self.balance.sessions());
            let is_bound = self.places >= PENDING_HEADS_SHARE * PENDING_HEADS_MAX;
            let is_needed = is_full && is_waited_for;
            assert!(is_needed || is_bound || self.all_shed() == shed, "somebody went for nobody");
        }
    }

    fn rounds(&mut self, count: u64) {
        (0..count).for_each(|_| self.round());
    }

    /// Rounds until `done`; how many.
    #[track_caller]
    fn until(&mut self, most: u64, done: impl Fn() -> bool) -> u64 {
        let began = self.now;
        while !done() {
            assert!(self.now - began < most, "not within {most} ms");
            self.round();
        }
        self.now - began
    }

    /// Rounds until the last session has ended.
    #[track_caller]
    fn until_done(&mut self) {
        for _ in 0..ROUNDS_MAX {
            if self.shards.iter().all(Shard::is_done) {
                return;
            }
            self.round();
        }
        panic!("{} sessions are left", self.balance.sessions());
    }

    #[track_caller]
    fn until_served(&mut self, hand: &Hand) -> u64 {
        self.until(SOON, || is_answered(hand))
    }

    /// Clients that were told to go, by shard.
    fn shed(&self) -> Vec<u64> {
        let counters = self.shards.iter().map(Shard::counters);
        counters.map(|counters| counters.heads_shed + counters.idle_shed).collect()
    }

    fn all_shed(&self) -> u64 {
        self.shed().iter().sum()
    }

    fn tell(&self, shard: usize, note: Note) {
        self.mailboxes[shard].put(note);
        self.worlds[shard].wake();
    }

    /// Stops all of it, and finds every place free.
    #[track_caller]
    fn stop(mut self) {
        (0..self.shards.len()).for_each(|shard| self.tell(shard, Note::Stop));
        self.until_done();
        assert!(self.shards.iter().all(|shard| shard.counters().panics == 0));
        let free = std::iter::repeat_with(|| self.balance.claim()).take_while(|claimed| *claimed).count();
        assert_eq!(free, self.places, "places that are free in the end");
        assert!(!self.balance.is_waited_for());
        drop(self.shards);
        self.worlds.iter().for_each(World::check);
    }
}

/// Whether an answer has come; reads what has.
fn is_answered(hand: &Hand) -> bool {
    hand.read();
    hand.received().starts_with(b"HTTP/1.1 ")
}

/// Goes without another word, as whoever pulls a plug.
fn all_go<'a>(hands: impl IntoIterator<Item = &'a Hand>) {
    hands.into_iter().for_each(Hand::reset);
}

#[test]
fn a_place_that_nobody_uses_is_anybodys() {
    let mut house = House::new(2, 3);
    let idle = house.served(1, IDLE);
    let bridge = house.served(1, BRIDGE);
    // The first shard has accepts in flight, and nobody comes to it.
    let third = house.served(1, BRIDGE);
    assert!(!idle.is_left(), "nobody has to go while a place is free");
    // Now there is none.
    let fourth = house.served(1, BRIDGE);
    assert!(idle.is_left());
    assert_eq!(house.shed(), [0, 1]);
    all_go([&bridge, &third, &fourth]);
    house.stop();
}

#[test]
fn who_finds_the_last_place_taken_waits_and_nobody_passes() {
    let mut house = House::new(2, 1);
    // Both are accepted at the same time; the first shard is quicker, and the second finds no place for its client.
    let (first, second) = (house.come(0, BRIDGE), house.come(1, BRIDGE));
    house.until_served(&first);
    assert!(second.met_at().is_some(), "it has been accepted");
    let third = house.come(0, BRIDGE);
    house.rounds(5 * ACCEPT_PAUSE_MS);
    assert!(!is_answered(&second) && !second.is_left() && !is_answered(&third));
    first.reset();
    house.until_served(&second);
    house.rounds(5 * ACCEPT_PAUSE_MS);
    assert!(!is_answered(&third) && !third.is_left());
    second.reset();
    house.until(2 * ACCEPT_PAUSE_MS, || is_answered(&third));
    assert_eq!(house.shed(), [0, 0]);
    third.reset();
    house.stop();
}

#[test]
fn those_who_wait_at_several_shards_have_places_in_the_order_in_which_they_came() {
    let mut house = House::new(3, 3);
    // All at once: the shards have their turns one after the other.
    let comes = |shard: usize| (0..LISTENERS).map(move |listener| (shard, listener));
    let crowd: Vec<Hand> =
        (0..3).flat_map(comes).map(|(shard, listener)| house.come_to(shard, listener, BRIDGE)).collect();
    house.rounds(SOON);
    let answered: Vec<bool> = crowd.iter().map(is_answered).collect();
    assert_eq!(answered, [true, true, true, false, false, false]);
    assert!(crowd.iter().all(|hand| hand.met_at().is_some()));
    // Whichever shard a place becomes free at.
    for (gone, next) in [(2, 3), (0, 4), (3, 5)] {
        crowd[gone].reset();
        house.until_served(&crowd[next]);
        let waiting = crowd[next + 1..].iter().filter(|hand| is_answered(hand)).count();
        assert_eq!(waiting, 0, "one after the other");
    }
    all_go(&crowd);
    house.stop();
}

#[test]
fn who_is_idle_at_one_shard_makes_room_for_a_client_of_another() {
    // Somebody between two requests goes at once, and the others have their time.
    for (words, time) in [(IDLE, 0), (MUTE, SHED_GRACE_MS), (LAST, SHED_GRACE_MS)] {
        let mut house = House::new(2, 2);
        let bridge = house.served(1, BRIDGE);
        let idle = house.come(0, words);
        let idle_since = house.now;
        house.rounds(SOON);
        assert!(house.balance.is_full());
        let client = house.come(1, BRIDGE);
        house.until(SHED_GRACE_MS + 2 * ACCEPT_PAUSE_MS, || is_answered(&client));
        assert!(house.now - idle_since >= time, "{words:?} had {} ms", house.now - idle_since);
        idle.read();
        assert!(idle.is_left() && !bridge.is_left());
        assert_eq!(house.shed(), [1, 0]);
        all_go([&bridge, &client]);
        house.stop();
    }
}

#[test]
fn as_many_go_as_come_and_the_longest_idle_of_each_shard_first() {
    let mut house = House::new(2, 8);
    let idle: Vec<[Hand; 2]> = (0..4).map(|_| [0, 1].map(|shard| house.served(shard, IDLE))).collect();
    let comers: Vec<Hand> = [(0, 0), (0, 0), (0, 1), (1, 0), (1, 1)]
        .into_iter()
        .map(|(shard, listener)| house.come_to(shard, listener, BRIDGE))
        .collect();
    house.until(2 * ACCEPT_PAUSE_MS, || comers.iter().all(is_answered));
    house.rounds(SOON);
    assert_eq!(house.all_shed(), 5);
    for shard in [0, 1] {
        let left: Vec<bool> = idle.iter().map(|pair| pair[shard].is_left()).collect();
        assert!(left.is_sorted_by(|earlier, later| earlier >= later), "{left:?} of shard {shard}");
    }
    assert_eq!(idle.iter().flatten().filter(|hand| hand.is_left()).count(), 5);
    all_go(comers.iter().chain(idle.iter().flatten()));
    house.stop();
}

#[test]
fn who_is_slow_to_take_an_answer_hides_nobody() {
    let mut house = House::with_odds(&[Odds { buffer_bytes: 16, ..Odds::calm() }], 2);
    // It reads nothing, and what it is told is more than the network holds.
    let slow = house.come(0, LAST);
    house.rounds(SOON);
    let answered = house.come(0, LAST);
    house.until(ROUNDS_MAX, || is_answered(&answered) && answered.ended());
    house.rounds(2 * SHED_GRACE_MS);
    let client = house.come(0, BRIDGE);
    house.until(ROUNDS_MAX, || is_answered(&client));
    assert!(answered.is_left() && !slow.is_left());
    assert_eq!(house.shed(), [1]);
    // It had time for all of it.
    house.until(ROUNDS_MAX, || is_answered(&slow) && slow.ended());
    assert_eq!(slow.received().len(), answered.received().len());
    all_go([&client, &slow]);
    house.stop();
}

#[test]
fn the_oldest_of_very_many_silent_connections_go() {
    let mut house = House::new(1, PENDING_HEADS_SHARE * PENDING_HEADS_MAX);
    let live = house.served(0, BRIDGE);
    let silent: Vec<Hand> = (0..PENDING_HEADS_MAX + 76).map(|_| house.come(0, MUTE)).collect();
    let last = silent.last().expect("there are many");
    // So fast that nobody has had the time of a head.
    let rounds = house.until(SHED_GRACE_MS, || last.met_at().is_some());
    assert!(rounds < SHED_GRACE_MS);
    house.rounds(2);
    assert_eq!(house.shed(), [76]);
    let left = silent.iter().take_while(|hand| hand.is_left()).count();
    assert_eq!((left, silent.iter().filter(|hand| hand.is_left()).count()), (76, 76));
    // Everybody else is still welcome.
    for hand in [&silent[76], &silent[600], last] {
        hand.write(&BRIDGE.as_bytes()[1..]);
        house.until_served(hand);
    }
    assert!(!live.is_left());
    all_go(silent.iter().chain([&live]));
    house.stop();
}

#[test]
fn a_client_that_cannot_be_taken_in_leaves_its_place_to_others() {
    let broken = || Odds { watch_fails: 1000, ..roomy() };
    let mut house = House::with_odds(&[broken(), roomy()], 1);
    let failed = house.come(0, BRIDGE);
    house.until(SOON, || failed.is_left());
    assert_eq!(house.shards[0].counters().accepts_failed, 1);
    let client = house.served(1, BRIDGE);
    client.reset();
    house.stop();
    // Nor does one that has waited take it along.
    let mut house = House::with_odds(&[roomy(), broken()], 1);
    let (first, failed) = (house.come(0, BRIDGE), house.come(1, BRIDGE));
    house.until_served(&first);
    house.rounds(SOON);
    assert!(failed.met_at().is_some() && !failed.is_left());
    let third = house.come(0, BRIDGE);
    first.reset();
    house.until(2 * ACCEPT_PAUSE_MS, || is_answered(&third));
    assert!(failed.is_left());
    assert_eq!(house.shards[1].counters().accepts_failed, 1);
    third.reset();
    house.stop();
}

#[test]
fn who_waits_when_the_doors_are_shut_is_let_go_and_who_has_a_place_stays() {
    let mut house = House::new(2, 1);
    let (first, second) = (house.come(0, BRIDGE), house.come(1, BRIDGE));
    house.until_served(&first);
    house.rounds(SOON);
    assert!(second.met_at().is_some() && !second.is_left());
    [0, 1].into_iter().for_each(|shard| house.tell(shard, Note::Finish));
    house.rounds(SOON);
    assert!(!is_answered(&second) && second.is_left() && !first.is_left());
    assert_eq!([0, 1].map(|shard| house.shards[shard].is_done()), [false, true]);
    first.reset();
    house.until_done();
    house.stop();
}

/// A client of a random day.
struct Guest {
    hand: Hand,
    words: &'static str,
    came: u64,
    /// It has left, or was told to.
    gone: bool,
}

impl Guest {
    fn new(house: &House, words: &'static str, dice: &mut Dice) -> Guest {
        let hand = house.come_to(dice.below(house.shards.len()), dice.below(LISTENERS), words);
        Guest { hand, words, came: house.now, gone: false }
    }

    /// Whether it has what it came for. A mute one came for nothing.
    fn is_content(&self) -> bool {
        self.words == MUTE || is_answered(&self.hand)
    }

    fn act(&mut self, house: &House, dice: &mut Dice) {
        let (content, is_bridge) = (self.is_content(), self.words == BRIDGE);
        assert!(!is_bridge || !self.hand.is_left(), "a bridge made room");
        if self.hand.is_over() {
            assert!(content, "it was sent away");
            self.gone = true;
        } else if self.hand.met_at().is_none() && house.now > self.came + 3 * ACCEPT_PAUSE_MS {
            // Where all shards see all clients, one that can make room takes it: here it goes there itself.
            self.hand.reset();
            *self = Guest::new(house, self.words, dice);
        } else if is_bridge && content && dice.chance(10) {
            self.hand.reset();
            self.gone = true;
        }
    }
}

/// Whoever comes has what it came for in the end, and no bridge ends but by its client. How many had to make room.
fn random_day(seed: u64) -> u64 {
    let mut dice = Dice::new(seed);
    let (shards, places) = (dice.between(2, 3), dice.between(1, 5));
    eprintln!("seed {seed}: {shards} shards, {places} places");
    let mut house = House::new(shards, places);
    let mut guests: Vec<Guest> = Vec::new();
    for round in 0..2 * ROUNDS_MAX {
        if round < 2_000 && dice.chance(15) {
            let words = *dice.pick(&[BRIDGE, BRIDGE, IDLE, LAST, MUTE]);
            guests.push(Guest::new(&house, words, &mut dice));
        }
        house.round();
        guests.iter_mut().filter(|guest| !guest.gone).for_each(|guest| guest.act(&house, &mut dice));
        if round >= 2_000 && guests.iter().all(Guest::is_content) {
            let shed = house.all_shed();
            all_go(guests.iter().map(|guest| &guest.hand));
            house.stop();
            return shed;
        }
    }
    let forgotten = guests.iter().filter(|guest| !guest.is_content()).count();
    panic!("{forgotten} of {} clients are forgotten", guests.len());
}

#[test]
fn nobody_is_forgotten_on_random_days() {
    let shed: u64 = (0..48).map(random_day).sum();
    assert!(shed > 0, "nobody had to make room");
}
