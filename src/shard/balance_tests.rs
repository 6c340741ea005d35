//! Places and who has them, one shard after the other and all at the same time.

use super::*;
use crate::engine::{Kernel, Ready};
use crate::poll::Poll;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Instant;

/// How many places are free: takes all of them.
fn take_all(balance: &Balance) -> usize {
    std::iter::repeat_with(|| balance.claim()).take_while(|claimed| *claimed).count()
}

/// How many clients of `shard` have been given places since this was last asked.
fn granted(balance: &Balance, shard: usize) -> usize {
    std::iter::repeat_with(|| balance.take_granted(shard)).take_while(|granted| *granted).count()
}

#[test]
fn more_than_its_share_does_not_accept() {
    for (first, second, may) in [
        (0, 0, [true, true]),
        (1, 0, [true, true]),
        (2, 0, [true, true]),
        (3, 0, [false, true]),
        (9, 7, [true, true]),
        (10, 6, [false, true]),
        (20, 0, [false, true]),
        (200, 180, [true, true]),
        (200, 100, [false, true]),
    ] {
        let balance = Balance::new(2, 400);
        (0..first + second).for_each(|_| assert!(balance.claim()));
        balance.set(0, first);
        balance.set(1, second);
        assert_eq!([balance.is_open_to(0), balance.is_open_to(1)], may, "{first} {second}");
        assert!(balance.claim(), "who is here is not sent to others");
    }
}

#[test]
fn one_shard_tells_that_all_is_taken_and_not_soon_again() {
    let (balance, other) = (Balance::new(2, 3), Balance::new(2, 3));
    assert!(balance.claim() && balance.claim());
    assert!(!balance.is_full() && !other.is_full());
    assert!(balance.claim());
    assert!(balance.is_full());
    let shards = [balance.clone(), balance];
    let told: Vec<bool> = [0, 0, FULL_LOG_MS - 1, FULL_LOG_MS + 1, FULL_LOG_MS + 1]
        .into_iter()
        .enumerate()
        .map(|(number, now)| shards[number % 2].may_tell_full(Time(now)))
        .collect();
    assert_eq!(told, [true, false, false, true, false]);
}

#[test]
fn there_are_never_more_places_than_there_may_be() {
    let balance = Balance::new(2, 1000);
    let taken = thread::scope(|scope| {
        let other = scope.spawn(|| take_all(&balance));
        take_all(&balance) + other.join().unwrap()
    });
    assert_eq!(taken, 1000);
    assert!(!balance.is_open_to(0) && !balance.is_open_to(1));
    for (shard, now) in [(0, 7), (1, 5)] {
        balance.note_end(Time(now));
        balance.give_back(shard, false);
    }
    assert_eq!(balance.last_end(), Duration::from_millis(7));
    assert_eq!(take_all(&balance), 2);
}

#[test]
fn whoever_waits_longest_has_the_next_place() {
    let balance = Balance::new(3, 2);
    assert_eq!(take_all(&balance), 2);
    // Accepted by three shards, and another one was quicker each time.
    for shard in [1, 0, 1, 2] {
        assert!(!balance.claim());
        balance.wait(shard);
    }
    let given = [0, 1, 2].map(|shard| granted(&balance, shard));
    assert_eq!(given, [0, 0, 0], "there was no place for anybody");
    // Whoever gives it back, and however full or empty it is itself.
    let order: Vec<usize> = [2, 1, 0, 0]
        .into_iter()
        .map(|shard| {
            balance.give_back(shard, false);
            assert!(!balance.claim(), "who comes now does not pass those who wait");
            let mut given = [0, 1, 2].into_iter().filter(|&shard| granted(&balance, shard) == 1);
            let first = given.next();
            assert_eq!(given.next(), None, "one place is given once");
            first.expect("it is given at once")
        })
        .collect();
    assert_eq!(order, [1, 0, 1, 2]);
    assert!(!balance.is_waited_for());
    balance.give_back(0, false);
    assert!(balance.is_open_to(0) && balance.is_open_to(1));
    assert_eq!(take_all(&balance), 1);
}

#[test]
fn a_place_that_came_back_before_the_line_was_joined_is_found_there() {
    let balance = Balance::new(2, 1);
    assert!(balance.claim());
    assert!(!balance.claim());
    // Between the claim in vain and the line.
    balance.give_back(0, false);
    balance.wait(1);
    assert_eq!([granted(&balance, 0), granted(&balance, 1)], [0, 1]);
    assert!(!balance.is_waited_for() && balance.is_full());
}

#[test]
fn who_withdraws_leaves_its_places_to_others() {
    let balance = Balance::new(3, 2);
    assert_eq!(take_all(&balance), 2);
    [1, 1, 2, 1].into_iter().for_each(|shard| balance.wait(shard));
    balance.give_back(0, false);
    // One of its clients has been given a place and not begun, two wait.
    balance.withdraw(1);
    assert_eq!([granted(&balance, 1), granted(&balance, 2)], [0, 1]);
    assert!(!balance.is_waited_for());
    balance.give_back(0, false);
    balance.give_back(2, false);
    assert_eq!([granted(&balance, 1), take_all(&balance)], [0, 2]);
}

#[test]
fn as_many_go_as_wait_and_no_more() {
    let balance = Balance::new(2, 4);
    assert_eq!(take_all(&balance), 4);
    assert!(!balance.may_shed(), "nobody waits");
    [0, 1].into_iter().for_each(|shard| balance.wait(shard));
    let asked: Vec<bool> = (0..3).map(|_| balance.may_shed()).collect();
    assert_eq!(asked, [true, true, false]);
    // Another session ends by itself, so that more leave than wait; whoever comes then has the place that is too many.
    balance.give_back(0, false);
    assert!(!balance.may_shed());
    balance.wait(1);
    assert!(!balance.may_shed());
    balance.give_back(1, true);
    assert!(!balance.may_shed(), "one waits, and one leaves");
    balance.give_back(0, true);
    assert_eq!([granted(&balance, 0), granted(&balance, 1)], [1, 2]);
    assert!(!balance.is_waited_for() && !balance.may_shed());
    balance.wait(0);
    assert!(balance.may_shed(), "nobody leaves any more");
}

/// A shard that sleeps.
struct Sleeper(Poll);

impl Sleeper {
    fn new(balance: &Balance, shard: usize) -> Sleeper {
        let poll = Poll::new(Vec::new()).expect("there are descriptors");
        balance.join(shard, poll.waker());
        Sleeper(poll)
    }

    /// Whether it was woken since this was last asked.
    fn was_woken(&mut self) -> bool {
        let mut ready = Vec::new();
        self.0.turn(Some(Duration::ZERO), &mut ready).expect("it can be waited for");
        ready.iter().any(|report| matches!(report, Ready::Woken))
    }
}

#[test]
fn who_is_given_a_place_is_woken_and_nobody_else() {
    let balance = Balance::new(3, 1);
    let mut shards = [0, 1, 2].map(|shard| Sleeper::new(&balance, shard));
    let mut woken = || [0, 1, 2].map(|shard: usize| shards[shard].was_woken());
    assert!(balance.claim());
    balance.wait(1);
    balance.wait(2);
    assert_eq!(woken(), [false; 3]);
    balance.give_back(0, false);
    assert_eq!(woken(), [false, true, false]);
    // Then whoever is next in line, and then itself, which takes no waking.
    balance.wait(1);
    balance.give_back(1, false);
    assert_eq!(woken(), [false, false, true]);
    balance.give_back(1, false);
    assert_eq!(woken(), [false; 3]);
    balance.wait(0);
    balance.give_back(1, false);
    assert_eq!(woken(), [true, false, false]);
}

#[test]
fn others_are_called_when_nobody_makes_room_yet_and_not_all_the_time() {
    let balance = Balance::new(3, 1);
    let mut shards = [0, 1, 2].map(|shard| Sleeper::new(&balance, shard));
    let mut woken = || [0, 1, 2].map(|shard: usize| shards[shard].was_woken());
    assert!(balance.claim());
    balance.call_others(0, Time(1));
    assert_eq!((woken(), balance.is_called()), ([false; 3], false), "nobody waits");
    balance.wait(1);
    balance.call_others(1, Time(1));
    assert_eq!((woken(), balance.is_called()), ([true, false, true], true));
    balance.call_others(1, Time(9 * ACCEPT_PAUSE_MS));
    assert_eq!(woken(), [false; 3], "they look by themselves until it is over");
    assert!(balance.may_shed());
    assert!(!balance.is_called(), "somebody leaves");
    balance.call_others(1, Time(9 * ACCEPT_PAUSE_MS));
    assert_eq!((woken(), balance.is_called()), ([false; 3], false));
    // Another one comes; who is awake is told at once, and the others when they have slept for a while.
    balance.wait(2);
    balance.call_others(2, Time(ACCEPT_PAUSE_MS));
    assert_eq!((woken(), balance.is_called()), ([false; 3], true));
    balance.call_others(2, Time(1 + ACCEPT_PAUSE_MS));
    assert_eq!((woken(), balance.is_called()), ([true, true, false], true));
    // Nor is it for ever if both give up.
    balance.withdraw(2);
    balance.withdraw(1);
    assert!(!balance.is_called());
}

/// Shards that begin, wait, make room and end as fast as they can. None has a clock, so what is not found at once is
/// found never.
#[test]
fn nobody_is_forgotten_however_many_come_and_go_at_the_same_time() {
    const SHARDS: usize = 4;
    const PLACES: usize = 3;
    const ROUNDS: usize = 20_000;
    let balance = Balance::new(SHARDS, PLACES);
    let (inside, running, gave_up) = (AtomicUsize::new(0), AtomicUsize::new(SHARDS), AtomicBool::new(false));
    let deadline = Instant::now() + Duration::from_secs(120);
    let pass = || {
        gave_up.fetch_or(Instant::now() > deadline, Ordering::Relaxed);
        assert!(!gave_up.load(Ordering::Relaxed), "somebody has been forgotten");
        thread::yield_now();
    };
    let serve = |shard: usize| {
        for round in 0..ROUNDS {
            if !balance.claim() {
                balance.wait(shard);
                while !balance.take_granted(shard) {
                    pass();
                }
            }
            let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
            assert!(now <= PLACES, "{now} at the same time");
            // Now and then until somebody waits, so that some do however seldom threads run at the same time.
            while round % 16 == 0 && running.load(Ordering::Relaxed) > PLACES && !balance.is_waited_for() {
                pass();
            }
            let shed = balance.may_shed();
            inside.fetch_sub(1, Ordering::SeqCst);
            balance.give_back(shard, shed);
        }
        running.fetch_sub(1, Ordering::Relaxed);
    };
    thread::scope(|scope| (0..SHARDS).for_each(|shard| drop(scope.spawn(move || serve(shard)))));
    assert!(!balance.is_waited_for() && !balance.may_shed());
    assert_eq!((0..SHARDS).map(|shard| granted(&balance, shard)).sum::<usize>(), 0);
    assert_eq!(take_all(&balance), PLACES);
}
