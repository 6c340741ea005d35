//! Looking for a moment before falling asleep: when the next event is a few microseconds away, a sleep and its wake-up
//! cost more than the wait itself. Where many are served it is the sleep that pays: it gathers what they bring. And behind bulk
//! one is to last for a moment at least, for what comes meanwhile waits in the sockets and is moved at once.
//!
//! Owns the judgement what pays just now, from how the last waits went. It never waits by itself, and where looking does not
//! pay it soon stops: an idle shard spends nothing on it, and a busy one next to nothing.

use std::time::{Duration, Instant};

/// How long one wait is looked through.
const LOOK_MAX: Duration = Duration::from_micros(50);
/// A sleep of at most this may have been one that looking would have spared: the wake-up itself takes tens of microseconds.
const SLEEP_SHORT: Duration = Duration::from_micros(200);
/// Behind a turn that moved so much, more is on its way.
const BULK_BYTES: usize = 64 * 1024;
/// How long a sleep behind bulk lasts at least: for 200 KB, which a pipe holds.
const GATHER: Duration = Duration::from_micros(100);
/// And while there is nothing but bulk, of several sessions perhaps: nobody waits for an answer then.
const GATHER_ALONE: Duration = Duration::from_micros(300);
/// A receive of fewer bytes may be of somebody who waits.
const SMALL_BYTES: usize = 4 * 1024;
/// And it lasts no longer than what was moved takes at this many bytes a microsecond, two gigabytes a second. Who may only have so
/// much on its way to us waits until we take that: to sleep for longer would make our sleep the limit, at 64 KiB in 300 us some
/// 200 megabytes a second.
const GATHER_SPEED: u64 = 2_000;
/// So many sleeps behind bulk without a small one, and nobody waits: some 10 ms.
const CALM: u8 = 100;
/// Behind so many small ones since the last wait nobody looks: there are several who have something on its way, and what they bring
/// comes together during a sleep and is dealt with in one turn. A look would find it piece by piece.
const CROWD: u32 = 4;
/// What is found so soon was on its way before the last turn was over, and answers nothing that it sent: to receive, to think and
/// to send takes anybody longer. It is of another session, and of the same crowd.
const ANSWER_MIN: Duration = Duration::from_micros(3);
/// Looks between two at the clock.
const LOOKS_PER_CLOCK: u32 = 16;
/// How many more waits are looked through in vain than with success before that is given up.
const MISSES_MAX: u32 = 4;
/// Short sleeps until it is tried again: doubled from the one to the other each time it is given up, halved by finds.
const REST_MIN: u32 = 64;
const REST_MAX: u32 = 16 * 1024;

/// What turns have moved.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moved {
    /// Bytes of what was not small.
    bytes: usize,
    /// How many receives were small: somebody may wait for an answer.
    small: u32,
}

impl Moved {
    /// A receive brought so many `bytes`, into a pipe or not: only bulk goes through pipes, whose last piece may be small.
    pub(super) fn received(&mut self, bytes: usize, piped: bool) {
        if bytes < SMALL_BYTES && !piped {
            self.small += 1;
        } else {
            self.bytes += bytes;
        }
    }

    /// So many `bytes` went that had to wait.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    fn is_bulk(self) -> bool {
        self.bytes >= BULK_BYTES
    }

    fn is_of_a_crowd(self) -> bool {
        self.small >= CROWD
    }
}

/// One thread's judgement.
#[derive(Debug, Default)]
pub struct Spin {
    /// The last sleep was short.
    hopeful: bool,
    /// What was moved since the kernel was last waited for.
    moved: Moved,
    /// Sleeps behind bulk since something small came.
    calm: u8,
    /// Waits looked through in vain beyond those that found something.
    misses: u32,
    /// Short sleeps to go until it is tried again, and how many it was the last time.
    rest: u32,
    rested: u32,
}

impl Spin {
    /// The turn that is over has `moved` so much; so have all since the last wait that was more than a glance.
    pub fn moved(&mut self, moved: Moved) {
        self.moved.bytes += moved.bytes;
        self.moved.small = self.moved.small.saturating_add(moved.small);
        if moved.small > 0 {
            self.calm = 0;
        }
    }

    /// Looks, if that is likely to pay, until `there` finds something. False: it did not, so sleep.
    pub fn look(&mut self, mut there: impl FnMut() -> bool) -> bool {
        if !self.hopeful || self.moved.is_bulk() || self.moved.is_of_a_crowd() || self.rest > 0 {
            return false;
        }
        let began = Instant::now();
        let found = loop {
            // The core is not offered to others meanwhile: who sleeps gets it back when something comes, who has lent it waits.
            if (0..LOOKS_PER_CLOCK).any(|_| there()) {
                break true;
            }
            if began.elapsed() >= LOOK_MAX {
                break false;
            }
        };
        self.looked(found, began.elapsed());
        found
    }

    /// How long the next sleep, of a wait of up to `wait`, is to last although something comes; a kernel may end it when much
    /// has come, or not know how. It does not reach beyond the end of a wait that is shorter.
    pub fn gather(&self, wait: Option<Duration>) -> Option<Duration> {
        let fits = |gather: &Duration| wait.is_none_or(|wait| wait > *gather);
        let longest = if self.calm >= CALM { GATHER_ALONE } else { GATHER };
        let useful = Duration::from_micros(self.moved.bytes as u64 / GATHER_SPEED);
        [longest, GATHER]
            .map(|gather| gather.min(useful))
            .into_iter()
            .find(fits)
            .filter(|_| self.moved.is_bulk())
    }

    /// Sleeps by `sleep`, and judges by how long that took.
    pub fn sleep<T>(&mut self, sleep: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let outcome = sleep();
        self.slept(began.elapsed());
        outcome
    }

    /// A look ended after `took`.
    fn looked(&mut self, found: bool, took: Duration) {
        if found {
            let small = if took < ANSWER_MIN { self.moved.small } else { 0 };
            self.moved = Moved { bytes: 0, small };
        }
        // Found late is found in vain: while somebody else had the core, a sleeper would have been woken sooner.
        if found && took <= LOOK_MAX {
            self.rested /= if self.misses == 0 { 2 } else { 1 };
            self.misses = self.misses.saturating_sub(1);
            return;
        }
        self.misses += 1;
        if self.misses == MISSES_MAX {
            self.misses = 0;
            self.rested = (self.rested * 2).clamp(REST_MIN, REST_MAX);
            self.rest = self.rested;
        }
    }

    fn slept(&mut self, took: Duration) {
        let moved = std::mem::take(&mut self.moved);
        // One that gathered was made to last and says nothing.
        if moved.is_bulk() {
            self.calm = self.calm.saturating_add(1);
            return;
        }
        self.hopeful = took <= SLEEP_SHORT;
        if self.hopeful {
            self.rest = self.rest.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits whose event is never there while it is looked for; how many of them were looked through.
    fn looked(spin: &mut Spin, waits: u32, took: Duration) -> u32 {
        let mut count = 0;
        for _ in 0..waits {
            let mut asked = false;
            spin.look(|| {
                asked = true;
                false
            });
            count += u32::from(asked);
            spin.slept(took);
        }
        count
    }

    fn bytes(count: usize) -> Moved {
        let mut moved = Moved::default();
        moved.received(count, false);
        moved
    }

    #[test]
    fn long_sleeps_are_never_looked_through() {
        assert_eq!(looked(&mut Spin::default(), 1000, SLEEP_SHORT * 2), 0);
    }

    #[test]
    fn what_is_looked_through_in_vain_is_given_up_for_longer_and_longer() {
        let mut spin = Spin::default();
        spin.slept(SLEEP_SHORT);
        let rests = [0, 1, 2, 3].map(|round| {
            assert_eq!(looked(&mut spin, MISSES_MAX, SLEEP_SHORT), MISSES_MAX, "round {round}");
            let rest = spin.rest;
            assert_eq!(looked(&mut spin, rest, SLEEP_SHORT), 0);
            rest
        });
        // The sleep behind the last look counts.
        assert_eq!(rests, [1, 2, 4, 8].map(|times| REST_MIN * times - 1));
    }

    /// So much that a sleep behind it may last as long as any.
    const MUCH: usize = 1024 * 1024;

    #[test]
    fn behind_a_crowd_nobody_looks() {
        let mut spin = Spin::default();
        spin.slept(SLEEP_SHORT);
        for (receives, looks) in [(CROWD - 1, 1), (CROWD, 0), (1, 1)] {
            (0..receives).for_each(|_| spin.moved(bytes(SMALL_BYTES - 1)));
            assert_eq!(looked(&mut spin, 1, SLEEP_SHORT), looks, "{receives}");
        }
    }

    #[test]
    fn what_is_found_sooner_than_anybody_answers_is_of_a_crowd() {
        for (took, looks) in [(Duration::ZERO, 0), (ANSWER_MIN - Duration::from_nanos(1), 0), (ANSWER_MIN, 1)]
        {
            let mut spin = Spin::default();
            spin.slept(SLEEP_SHORT);
            for _ in 1..CROWD {
                spin.moved(bytes(SMALL_BYTES - 1));
                spin.looked(true, took);
            }
            spin.moved(bytes(SMALL_BYTES - 1));
            assert_eq!(looked(&mut spin, 1, SLEEP_SHORT), looks, "{took:?}");
        }
    }

    #[test]
    fn behind_bulk_nobody_looks_and_sleeps_gather() {
        let mut spin = Spin::default();
        spin.slept(SLEEP_SHORT);
        spin.moved(bytes(MUCH));
        assert_eq!(spin.gather(None), Some(GATHER));
        assert_eq!([GATHER, GATHER * 2].map(|wait| spin.gather(Some(wait))), [None, Some(GATHER)]);
        // A long sleep behind bulk was made to last.
        assert_eq!(looked(&mut spin, 1, SLEEP_SHORT * 2), 0);
        spin.moved(bytes(BULK_BYTES - 1));
        assert_eq!(spin.gather(None), None);
        assert_eq!(looked(&mut spin, 1, SLEEP_SHORT), 1);
    }

    #[test]
    fn a_sleep_is_no_longer_than_what_was_moved_is_worth() {
        for (moved, micros) in [(BULK_BYTES, 32), (128_000, 64), (190_000, 95), (200_000, 100), (MUCH, 100)] {
            let mut spin = Spin::default();
            spin.moved(bytes(moved));
            assert_eq!(spin.gather(None), Some(Duration::from_micros(micros)), "{moved}");
        }
    }

    #[test]
    fn turns_that_wait_for_nothing_go_on_with_the_one_before() {
        let mut spin = Spin::default();
        spin.moved(bytes(MUCH));
        spin.moved(Moved::default());
        assert_eq!(spin.gather(None), Some(GATHER));
        spin.slept(GATHER);
        assert_eq!(spin.gather(None), None);
        let mut waited = Moved::default();
        waited.sent(MUCH);
        spin.moved(waited);
        assert_eq!(spin.gather(None), Some(GATHER), "what was sent counts too");
    }

    #[test]
    fn small_messages_are_no_bulk_however_many_there_are() {
        let mut spin = Spin::default();
        (0..BULK_BYTES).for_each(|_| spin.moved(bytes(SMALL_BYTES - 1)));
        assert_eq!(spin.gather(None), None);
    }

    #[test]
    fn sleeps_are_longer_while_there_is_nothing_but_bulk() {
        let mut spin = Spin::default();
        let slept = |spin: &mut Spin, counts: &[usize]| {
            counts.iter().for_each(|count| spin.moved(bytes(*count)));
            let gather = spin.gather(None);
            spin.slept(GATHER);
            gather
        };
        for other in [&[SMALL_BYTES - 1][..], &[SMALL_BYTES - 1, MUCH]] {
            for _ in 0..CALM {
                assert_eq!(slept(&mut spin, &[MUCH, SMALL_BYTES]), Some(GATHER));
            }
            assert_eq!(slept(&mut spin, &[MUCH]), Some(GATHER_ALONE));
            spin.moved(bytes(MUCH));
            let waits = [GATHER_ALONE * 2, GATHER_ALONE, GATHER];
            assert_eq!(waits.map(|wait| spin.gather(Some(wait))), [Some(GATHER_ALONE), Some(GATHER), None]);
            spin.slept(GATHER);
            assert_ne!(slept(&mut spin, other), Some(GATHER_ALONE), "somebody may wait");
            assert_eq!(slept(&mut spin, &[MUCH]), Some(GATHER));
            spin.calm = 0;
        }
    }

    #[test]
    fn what_is_found_late_is_found_in_vain() {
        let mut spin = Spin::default();
        spin.slept(SLEEP_SHORT);
        for _ in 0..MISSES_MAX {
            assert!(spin.look(|| {
                std::thread::sleep(LOOK_MAX * 2);
                true
            }));
        }
        assert!(!spin.look(|| true), "it rests");
    }

    #[test]
    fn as_many_finds_as_misses_keep_it_going_and_fewer_do_not() {
        let mut spin = Spin::default();
        spin.slept(SLEEP_SHORT);
        for _ in 0..100 {
            assert_eq!(looked(&mut spin, 1, SLEEP_SHORT), 1);
            assert!(spin.look(|| true));
        }
        let mut count = 0;
        for _ in 0..100 {
            count += looked(&mut spin, 4, SLEEP_SHORT);
            spin.look(|| true);
        }
        assert!(count < 40, "{count} of 400 waits were looked through in vain");
        let rest = spin.rest;
        looked(&mut spin, rest, SLEEP_SHORT);
        assert!(spin.look(|| true), "it is tried again");
    }
}
