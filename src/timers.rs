//! Deadlines: one for each slot, on a coarse wheel.
//!
//! Owns which slot is due when. Arming and disarming are O(1) and allocate nothing once a slot exists; precision is one
//! tick, and a deadline never fires early. The wheel never reads a clock: time comes in as an argument.

use crate::slab::Pages;
use std::ops::Add;
use std::time::Duration;

/// Milliseconds of one tick: how late a deadline may fire.
pub const TICK_MS: u64 = 20;
/// Buckets of the wheel; a deadline further away than all of them stays in its bucket for another round.
const BUCKETS: usize = 2048;
const NONE: u32 = u32::MAX;

/// A moment, in milliseconds since its shard started. The clock that makes it only goes forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub u64);

impl Time {
    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;
    fn add(self, more: Duration) -> Time {
        Time(self.0.saturating_add(u64::try_from(more.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// Which slots are due when.
#[derive(Debug)]
pub struct Wheel {
    /// First slot of each bucket's list.
    heads: Box<[u32; BUCKETS]>,
    /// A bit for each bucket that has a list.
    filled: [u64; BUCKETS / 64],
    /// By slot.
    links: Pages<Link>,
    /// All ticks up to and including this one have been looked at.
    done_tick: u64,
    armed: usize,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    previous: u32,
    next: u32,
    /// Tick at which the slot is due; 0 while it is not armed.
    due_tick: u64,
}

impl Default for Link {
    fn default() -> Link {
        Link { previous: NONE, next: NONE, due_tick: 0 }
    }
}

impl Default for Wheel {
    fn default() -> Wheel {
        Wheel {
            heads: Box::new([NONE; BUCKETS]),
            filled: [0; BUCKETS / 64],
            links: Pages::default(),
            done_tick: 0,
            armed: 0,
        }
    }
}

impl Wheel {
    /// Sets the deadline of `slot`, replacing the one it had. A deadline that has passed fires at the next
    /// [`Wheel::expire`] of a later tick.
    pub fn arm(&mut self, slot: u32, due: Time) {
        self.disarm(slot);
        self.links.reach(slot as usize);
        let due_tick = due.0.div_ceil(TICK_MS).max(self.done_tick + 1);
        let bucket = bucket(due_tick);
        let next = self.heads[bucket];
        self.links[slot as usize] = Link { previous: NONE, next, due_tick };
        if next != NONE {
            self.links[next as usize].previous = slot;
        }
        self.heads[bucket] = slot;
        self.filled[bucket / 64] |= 1 << (bucket % 64);
        self.armed += 1;
    }

    /// Takes the deadline of `slot` away, if it has one.
    pub fn disarm(&mut self, slot: u32) {
        let Some(&Link { previous, next, due_tick }) = self.links.get(slot as usize) else { return };
        if due_tick == 0 {
            return;
        }
        let bucket = bucket(due_tick);
        match previous {
            NONE => self.heads[bucket] = next,
            _ => self.links[previous as usize].next = next,
        }
        if next != NONE {
            self.links[next as usize].previous = previous;
        }
        if self.heads[bucket] == NONE {
            self.filled[bucket / 64] &= !(1 << (bucket % 64));
        }
        self.links[slot as usize].due_tick = 0;
        self.armed -= 1;
    }

    /// Takes every slot that is due at `now` off the wheel and adds it to `due`.
    pub fn expire(&mut self, now: Time, due: &mut Vec<u32>) {
        let tick = now.0 / TICK_MS;
        if self.armed == 0 {
            self.done_tick = self.done_tick.max(tick);
            return;
        }
        // After a long sleep one round over all buckets sees everything that is due.
        let first = (self.done_tick + 1).max(tick.saturating_sub(BUCKETS as u64 - 1));
        for looked_at in first..=tick {
            let mut slot = self.heads[bucket(looked_at)];
            while slot != NONE {
                let link = self.links[slot as usize];
                if link.due_tick <= tick {
                    self.disarm(slot);
                    due.push(slot);
                }
                slot = link.next;
            }
        }
        self.done_tick = self.done_tick.max(tick);
    }

    /// When to look again: at or before the next deadline, `None` when there is none.
    pub fn next_look(&self) -> Option<Time> {
        if self.armed == 0 {
            return None;
        }
        let first = self.done_tick + 1;
        let mut ahead = 0;
        while ahead < BUCKETS as u64 {
            let at = bucket(first + ahead);
            let word = self.filled[at / 64] >> (at % 64);
            if word != 0 {
                return Some(Time((first + ahead + u64::from(word.trailing_zeros())) * TICK_MS));
            }
            ahead += 64 - (at % 64) as u64;
        }
        Some(Time((first + BUCKETS as u64) * TICK_MS))
    }
}

fn bucket(tick: u64) -> usize {
    (tick % BUCKETS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expired(wheel: &mut Wheel, now: u64) -> Vec<u32> {
        let mut due = Vec::new();
        wheel.expire(Time(now), &mut due);
        due.sort_unstable();
        due
    }

    #[test]
    fn fires_once_never_early_and_at_most_a_tick_late() {
        for delay in [1, 19, 20, 21, 999, 40_960, 40_961, 500_000] {
            let mut wheel = Wheel::default();
            wheel.arm(3, Time(delay));
            let mut fired = None;
            for now in 0..delay + 2 * TICK_MS {
                let due = expired(&mut wheel, now);
                assert!(due.is_empty() || (due == [3] && fired.is_none()));
                if !due.is_empty() {
                    fired = Some(now);
                }
            }
            let fired = fired.unwrap();
            assert!((delay..=delay + TICK_MS).contains(&fired), "{delay} fired at {fired}");
        }
    }

    #[test]
    fn arming_again_moves_and_disarming_removes() {
        let mut wheel = Wheel::default();
        wheel.arm(0, Time(100));
        wheel.arm(1, Time(100));
        wheel.arm(2, Time(100));
        wheel.arm(1, Time(300));
        wheel.disarm(2);
        wheel.disarm(2);
        assert_eq!(expired(&mut wheel, 200), [0]);
        assert_eq!(expired(&mut wheel, 400), [1]);
        assert_eq!(wheel.next_look(), None);
    }

    #[test]
    fn a_long_sleep_loses_nothing() {
        let mut wheel = Wheel::default();
        for slot in 0..5000 {
            wheel.arm(slot, Time(u64::from(slot) * 37));
        }
        assert_eq!(expired(&mut wheel, 10_000_000).len(), 5000);
        wheel.arm(7, Time(5));
        assert_eq!(expired(&mut wheel, 10_000_020), [7]);
    }

    #[test]
    fn next_look_is_never_past_a_deadline() {
        let mut wheel = Wheel::default();
        assert_eq!(wheel.next_look(), None);
        for (slot, due) in [(0, 90_000u64), (1, 41_000), (2, 1_000), (3, 21)] {
            wheel.arm(slot, Time(due));
            let look = wheel.next_look().unwrap().0;
            assert!(look <= due + TICK_MS && look > 0, "{due}: {look}");
        }
        assert_eq!(wheel.next_look(), Some(Time(40)));
    }
}
