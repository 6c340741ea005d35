//! Places and shares: how many sessions there are in all, which no shard may exceed, how many each shard has, and in which
//! order those have places who wait for one.
//!
//! A place is claimed for a client who is there, when its session begins, and never for whoever comes next: so the sum is exact
//! however many accept at the same time, and no place is kept for nobody. A client that was accepted and finds none waits in one
//! line of all shards, and what becomes free goes to whoever stands in front. Who has more than its share stops accepting for a
//! while. Touched when sessions begin and end, never on the way of a byte, and locked only while somebody waits.

use crate::limits::{ACCEPT_PAUSE_MS, FULL_LOG_MS};
use crate::sys::wake::Waker;
use crate::timers::Time;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// A count on a cache line of its own, so that shards do not slow each other down by keeping it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Count(AtomicUsize);

/// What all look at all the time and nobody changes unless places are short; on a cache line of its own likewise.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Signs {
    /// The length of the queue.
    waiting: AtomicUsize,
    /// A client waits for which its own shard has nobody who could go.
    called: AtomicBool,
    /// All others have been woken since then.
    woken: AtomicBool,
}

/// What all know of one shard; on cache lines of its own likewise.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Seat {
    sessions: AtomicUsize,
    /// Places that its clients in the line were given and have not taken yet.
    granted: AtomicUsize,
    /// Ends its sleep.
    waker: OnceLock<Waker>,
}

/// Clients without a place.
#[derive(Debug, Default)]
struct Queue {
    /// The shard of each, whoever has waited longest in front. At most one for each listener of each shard.
    shards: VecDeque<usize>,
    /// Sessions, of any shard, that were told to go for them and are not gone yet.
    leaving: usize,
}

/// The counts of all shards.
#[derive(Clone, Debug)]
pub struct Balance(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Most sessions of all shards together.
    sessions_max: usize,
    /// Places taken, each for a session that is there or begins in a moment.
    taken: Count,
    /// What can be told of the queue without its lock.
    signs: Signs,
    queue: Mutex<Queue>,
    seats: Box<[Seat]>,
    /// When the last session ended, in milliseconds of the shards' clock.
    ended: AtomicU64,
    /// When it was last told that all places are taken, likewise; and when a shard last called the others.
    told_full: AtomicU64,
    last_call: AtomicU64,
}

impl Balance {
    /// For `shards` shards that may have `sessions_max` sessions together.
    pub fn new(shards: usize, sessions_max: usize) -> Balance {
        Balance(Arc::new(Shared {
            sessions_max,
            taken: Count::default(),
            signs: Signs::default(),
            queue: Mutex::default(),
            seats: (0..shards).map(|_| Seat::default()).collect(),
            ended: AtomicU64::new(0),
            told_full: AtomicU64::new(0),
            last_call: AtomicU64::new(0),
        }))
    }

    /// Says how `shard` is woken when its clients are given places, and when it is asked for room.
    pub fn join(&self, shard: usize, waker: Waker) {
        // A shard is made once; the first waker is its own.
        let _ = self.0.seats[shard].waker.set(waker);
    }

    /// Says how many sessions `shard` has.
    pub fn set(&self, shard: usize, sessions: usize) {
        // Whoever sees that there are none sees when the last one ended.
        self.0.seats[shard].sessions.store(sessions, Ordering::Release);
    }

    /// Whether `shard` should accept whoever comes next: not when all places are taken, nor when it has an eighth, and at least
    /// one, more sessions than the mean: few sessions may be all there are, and each of them a busy desktop.
    pub fn is_open_to(&self, shard: usize) -> bool {
        !self.is_waited_for() && !self.is_full() && self.is_fair(shard)
    }

    /// Takes a place for a client who is here and has not waited: not when all are taken, nor when others wait for one. True when
    /// there is one more to be given back.
    pub fn claim(&self) -> bool {
        !self.is_waited_for() && self.take()
    }

    /// Puts a client of `shard`, for whom there was no place, at the end of the line.
    pub fn wait(&self, shard: usize) {
        let mut queue = self.queue();
        queue.shards.push_back(shard);
        // Whoever gives a place back behind this sees that somebody waits; what was given back before is found in a moment.
        self.0.signs.waiting.store(queue.shards.len(), Ordering::SeqCst);
        self.settle(&mut queue, shard);
    }

    /// Takes a place that was given to a client of `shard` in the line, the one who has waited there longest. True when there is
    /// one more to be given back.
    pub fn take_granted(&self, shard: usize) -> bool {
        let granted = &self.0.seats[shard].granted;
        // Only the shard itself makes it less.
        let is_granted = granted.load(Ordering::Acquire) > 0;
        granted.fetch_sub(usize::from(is_granted), Ordering::AcqRel);
        is_granted
    }

    /// Takes the clients of `shard` out of the line; places that they were given go to others.
    pub fn withdraw(&self, shard: usize) {
        let mut queue = self.queue();
        queue.shards.retain(|&waiting| waiting != shard);
        let granted = self.0.seats[shard].granted.swap(0, Ordering::AcqRel);
        self.0.taken.0.fetch_sub(granted, Ordering::SeqCst);
        self.settle(&mut queue, shard);
    }

    /// Whether a client waits for a place, at any shard.
    pub fn is_waited_for(&self) -> bool {
        self.0.signs.waiting.load(Ordering::Relaxed) > 0
    }

    /// Whether somebody is to go for one who waits: not if as many leave already. Whoever is told so has one go, and says when
    /// that one is gone ([`Balance::give_back`]).
    pub fn may_shed(&self) -> bool {
        if !self.is_waited_for() {
            return false;
        }
        let mut queue = self.queue();
        let may = queue.lacks();
        queue.leaving += usize::from(may);
        self.look(&queue);
        may
    }

    /// Asks the other shards for somebody who could go for a client of `shard`, which has nobody, until as many leave as wait.
    /// They are woken for it once, and not sooner than [`ACCEPT_PAUSE_MS`] after the time before; from then on they look again by
    /// themselves.
    pub fn call_others(&self, shard: usize, now: Time) {
        let (signs, last) = (&self.0.signs, &self.0.last_call);
        let is_due = is_due(last.load(Ordering::Relaxed), now, ACCEPT_PAUSE_MS);
        if self.is_called() && (signs.woken.load(Ordering::Relaxed) || !is_due) {
            return;
        }
        let queue = self.queue();
        if !queue.lacks() {
            return;
        }
        signs.called.store(true, Ordering::Release);
        if is_due && !signs.woken.swap(true, Ordering::Relaxed) {
            last.store(now.0.max(1), Ordering::Relaxed);
            drop(queue);
            let others = self.0.seats.iter().enumerate().filter(|(number, _)| *number != shard);
            others.for_each(|(_, seat)| seat.wake());
        }
    }

    /// Whether shards are asked for somebody who could go for a client of another.
    pub fn is_called(&self) -> bool {
        self.0.signs.called.load(Ordering::Acquire)
    }

    /// Sessions of all shards.
    pub fn sessions(&self) -> usize {
        self.0.seats.iter().map(|seat| seat.sessions.load(Ordering::Acquire)).sum()
    }

    /// Most sessions of all shards together.
    pub fn places(&self) -> usize {
        self.0.sessions_max
    }

    /// What one of equal shards has of them.
    pub fn share(&self) -> usize {
        self.0.sessions_max / self.0.seats.len()
    }

    /// Whether a session is in every place, or about to begin there.
    pub fn is_full(&self) -> bool {
        self.0.taken.0.load(Ordering::Relaxed) >= self.0.sessions_max
    }

    /// Whether it may be told now that all places are taken: by one shard in [`FULL_LOG_MS`].
    pub fn may_tell_full(&self, now: Time) -> bool {
        let anew = |told| is_due(told, now, FULL_LOG_MS).then_some(now.0.max(1));
        self.0.told_full.fetch_update(Ordering::Relaxed, Ordering::Relaxed, anew).is_ok()
    }

    /// Says that a session ended now.
    pub fn note_end(&self, now: Time) {
        self.0.ended.fetch_max(now.0, Ordering::Relaxed);
    }

    /// When the last session ended, since the shards' clock began; zero if none has.
    pub fn last_end(&self) -> Duration {
        Duration::from_millis(self.0.ended.load(Ordering::Relaxed))
    }

    /// Gives a place of `shard` back; `shed` says that its session went for one who waits ([`Balance::may_shed`]).
    pub fn give_back(&self, shard: usize, shed: bool) {
        let before = self.0.taken.0.fetch_sub(1, Ordering::SeqCst);
        debug_assert!(before > 0, "only what was claimed is given back");
        if !shed && self.0.signs.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut queue = self.queue();
        queue.leaving -= usize::from(shed);
        self.settle(&mut queue, shard);
    }

    /// Gives free places to those who wait, in their order. `by` is awake, and looks for what it was given by itself.
    fn settle(&self, queue: &mut Queue, by: usize) {
        while let Some(&shard) = queue.shards.front()
            && self.take()
        {
            queue.shards.pop_front();
            let seat = &self.0.seats[shard];
            seat.granted.fetch_add(1, Ordering::AcqRel);
            if shard != by {
                seat.wake();
            }
        }
        self.0.signs.waiting.store(queue.shards.len(), Ordering::SeqCst);
        self.look(queue);
    }

    /// Takes the call back when as many leave as wait.
    fn look(&self, queue: &Queue) {
        if !queue.lacks() {
            self.0.signs.called.store(false, Ordering::Relaxed);
            self.0.signs.woken.store(false, Ordering::Relaxed);
        }
    }

    fn take(&self) -> bool {
        let one_more = |taken| (taken < self.0.sessions_max).then_some(taken + 1);
        self.0.taken.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).is_ok()
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_fair(&self, shard: usize) -> bool {
        let mean = self.0.taken.0.load(Ordering::Relaxed) / self.0.seats.len();
        self.0.seats[shard].sessions.load(Ordering::Relaxed) <= mean + (mean / 8).max(1)
    }
}

impl Queue {
    /// Whether fewer leave than wait.
    fn lacks(&self) -> bool {
        self.leaving < self.shards.len()
    }
}

impl Seat {
    fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake();
        }
    }
}

/// Whether it is `every` milliseconds since `last`, where zero is never.
fn is_due(last: u64, now: Time, every: u64) -> bool {
    last == 0 || now.0 >= last + every
}

#[cfg(test)]
#[path = "balance_tests.rs"]
mod tests;
