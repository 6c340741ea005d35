//! Places and shares: how many sessions there are in all, which no shard may exceed, and how many each shard has.
//!
//! A shard claims a place before it accepts, so that the sum is exact however many accept at the same time; who has more
//! than its share stops claiming for a while. Touched when sessions begin and end, never on the way of a byte.

use crate::limits::FULL_LOG_MS;
use crate::timers::Time;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// A count on a cache line of its own, so that shards do not slow each other down by keeping it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Count(AtomicUsize);

/// The counts of all shards.
#[derive(Clone, Debug)]
pub struct Balance {
    /// Places taken: by sessions, and by shards for whoever comes next.
    taken: Arc<Count>,
    /// Sessions of each shard.
    counts: Arc<[Count]>,
    /// Most sessions of all shards together.
    sessions_max: usize,
    /// When the last session ended, in milliseconds of the shards' clock.
    ended: Arc<AtomicU64>,
    /// When it was last told that all places are taken, likewise.
    told_full: Arc<AtomicU64>,
}

impl Balance {
    /// For `shards` shards that may have `sessions_max` sessions together.
    pub fn new(shards: usize, sessions_max: usize) -> Balance {
        Balance {
            taken: Arc::default(),
            counts: (0..shards).map(|_| Count::default()).collect(),
            sessions_max,
            ended: Arc::default(),
            told_full: Arc::default(),
        }
    }

    /// Says how many sessions `shard` has.
    pub fn set(&self, shard: usize, sessions: usize) {
        // Whoever sees that there are none sees when the last one ended.
        self.counts[shard].0.store(sessions, Ordering::Release);
    }

    /// Takes a place for whoever comes next to `shard`: not when all are taken, nor when it has an eighth, and at least one,
    /// more sessions than the mean: few sessions may be all there are, and each of them a busy desktop. True when there is
    /// one more to be given back.
    pub fn claim(&self, shard: usize) -> bool {
        self.is_fair(shard) && self.claim_for_present()
    }

    /// Takes a place for a client who is here already and can be served by nobody else: not when all are taken.
    pub fn claim_for_present(&self) -> bool {
        let one_more = |taken| (taken < self.sessions_max).then_some(taken + 1);
        self.taken.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    /// Sessions of all shards.
    pub fn sessions(&self) -> usize {
        self.counts.iter().map(|count| count.0.load(Ordering::Acquire)).sum()
    }

    /// Most sessions of all shards together.
    pub fn places(&self) -> usize {
        self.sessions_max
    }

    /// What one of equal shards has of them.
    pub fn share(&self) -> usize {
        self.sessions_max / self.counts.len()
    }

    /// Whether a session is in every place; none is held for somebody who may never come.
    pub fn is_full(&self) -> bool {
        self.sessions() >= self.sessions_max
    }

    /// Whether it may be told now that all places are taken: by one shard in [`FULL_LOG_MS`].
    pub fn may_tell_full(&self, now: Time) -> bool {
        // Zero: never.
        let anew = |told: u64| (told == 0 || now.0 >= told + FULL_LOG_MS).then_some(now.0.max(1));
        self.told_full.fetch_update(Ordering::Relaxed, Ordering::Relaxed, anew).is_ok()
    }

    /// When the last session ended, since the shards' clock began; zero if none has.
    pub fn last_end(&self) -> Duration {
        Duration::from_millis(self.ended.load(Ordering::Relaxed))
    }

    /// Gives the claimed place of a session back that ended now.
    pub fn give_back(&self, now: Time) {
        self.ended.fetch_max(now.0, Ordering::Relaxed);
        let before = self.taken.0.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "only what was claimed is given back");
    }

    fn is_fair(&self, shard: usize) -> bool {
        let total: usize = self.counts.iter().map(|count| count.0.load(Ordering::Relaxed)).sum();
        let mean = total / self.counts.len();
        self.counts[shard].0.load(Ordering::Relaxed) <= mean + (mean / 8).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_its_share_waits() {
        let balance = Balance::new(2, 400);
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
            balance.set(0, first);
            balance.set(1, second);
            assert_eq!([balance.claim(0), balance.claim(1)], may, "{first} {second}");
            assert!(balance.claim_for_present(), "who is here is not sent to others");
        }
    }

    #[test]
    fn one_shard_tells_that_all_is_taken_and_not_soon_again() {
        let (balance, other) = (Balance::new(2, 3), Balance::new(2, 3));
        balance.set(0, 2);
        assert!(!balance.is_full() && !other.is_full());
        balance.set(1, 1);
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
        let claim_all = |shard| (0..1000).filter(|_| balance.claim(shard)).count();
        let taken = std::thread::scope(|scope| {
            let other = scope.spawn(|| claim_all(1));
            claim_all(0) + other.join().unwrap()
        });
        assert_eq!(taken, 1000);
        balance.give_back(Time(7));
        balance.give_back(Time(5));
        assert!(balance.claim(1));
        assert_eq!(balance.last_end(), Duration::from_millis(7));
        assert_eq!([balance.claim(0), balance.claim(1)], [true, false]);
    }
}
