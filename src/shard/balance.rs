//! How many sessions each shard has, for all shards to see: who has more than its share stops accepting for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A count on a cache line of its own, so that shards do not slow each other down by keeping it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Count(AtomicUsize);

/// The counts of all shards.
#[derive(Clone, Debug)]
pub struct Balance {
    counts: Arc<[Count]>,
    /// Most sessions of all shards together.
    sessions_max: usize,
}

impl Balance {
    /// For `shards` shards that may have `sessions_max` sessions together.
    pub fn new(shards: usize, sessions_max: usize) -> Balance {
        Balance { counts: (0..shards).map(|_| Count::default()).collect(), sessions_max }
    }

    /// Says how many sessions `shard` has.
    pub fn set(&self, shard: usize, sessions: usize) {
        self.counts[shard].0.store(sessions, Ordering::Relaxed);
    }

    /// Whether `shard` should accept: not when all shards are full together, nor when it has an eighth, and at least
    /// eight, more than the mean.
    pub fn may_accept(&self, shard: usize) -> bool {
        let total: usize = self.counts.iter().map(|count| count.0.load(Ordering::Relaxed)).sum();
        if total >= self.sessions_max {
            return false;
        }
        let mean = total / self.counts.len();
        self.counts[shard].0.load(Ordering::Relaxed) <= mean + (mean / 8).max(8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_its_share_waits_and_full_is_full() {
        let balance = Balance::new(2, 400);
        for (first, second, may) in [
            (0, 0, [true, true]),
            (8, 0, [true, true]),
            (20, 0, [false, true]),
            (200, 180, [true, true]),
            (200, 100, [false, true]),
            (200, 200, [false, false]),
        ] {
            balance.set(0, first);
            balance.set(1, second);
            assert_eq!([balance.may_accept(0), balance.may_accept(1)], may, "{first} {second}");
        }
    }
}
