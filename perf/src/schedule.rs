//! When messages are due: a clock that does not wait for anybody.
//!
//! A schedule is fixed before it begins. What is sent late is sent at once and keeps its time, so that whoever waits for it has
//! waited since then: latency is measured from the time that was meant, and a stall is not hidden by sending less
//! meanwhile. Pure; it never reads the clock.

use std::time::{Duration, Instant};

/// Events at even distances, or scattered around them, handed out in turn to a number of actors.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    start: Instant,
    /// Nanoseconds between two events; a fraction, so that many of them do not drift.
    every: f64,
    next: u64,
    actors: u64,
    /// What scatters events; `None` where they are even.
    seed: Option<u64>,
    /// Events from this moment on are not handed out.
    end: Option<Instant>,
}

impl Schedule {
    /// `rate` events a second over all `actors`, from `start` on.
    pub fn new(start: Instant, rate: f64, actors: usize) -> Self {
        Self { start, every: 1e9 / rate, next: 0, actors: actors.max(1) as u64, seed: None, end: None }
    }

    /// The same, but that each event comes at any moment of its own period, as `seed` has it: two schedules that are even never
    /// change their distance, so that one always runs into the other, or never.
    pub fn scattered(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
    }

    /// The next event that is due at `now`: its number and who is to act. Each is handed out once.
    pub fn due(&mut self, now: Instant) -> Option<(u64, usize)> {
        if self.meant(self.next) > now || self.is_over() {
            return None;
        }
        let number = self.next;
        self.next += 1;
        Some((number, (number % self.actors) as usize))
    }

    /// Events from `end` on will not be: those before it, and only those, are still handed out.
    pub fn end_at(&mut self, end: Instant) {
        self.end = Some(end);
    }

    /// Whether all events before the end were handed out; without an end there are always more.
    pub fn is_over(&self) -> bool {
        self.end.is_some_and(|end| self.meant(self.next) >= end)
    }

    /// When event `number` was meant to be.
    pub fn meant(&self, number: u64) -> Instant {
        let into = self.seed.map_or(0.0, |seed| fraction(seed.wrapping_add(number)));
        self.start + Duration::from_nanos(((number as f64 + into) * self.every) as u64)
    }

    /// Whether `number` follows `before` in one actor's turn.
    pub fn follows(&self, before: Option<u64>, number: u64) -> bool {
        before.is_none_or(|before| number == before + self.actors)
    }
}

/// From 0 to below 1, another for each number (the output function of SplitMix64).
fn fraction(number: u64) -> f64 {
    let mut word = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((word ^ (word >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_turn_and_keep_their_times() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, 1000.0, 3);
        assert_eq!(schedule.due(start), Some((0, 0)));
        assert_eq!(schedule.due(start), None);
        let late = start + Duration::from_millis(4);
        let due: Vec<_> = std::iter::from_fn(|| schedule.due(late)).collect();
        assert_eq!(due, [(1, 1), (2, 2), (3, 0), (4, 1)]);
        assert_eq!(schedule.meant(2), start + Duration::from_millis(2));
    }

    #[test]
    fn what_was_due_before_the_end_is_still_handed_out() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let mut schedule = Schedule::new(start, 1000.0, 1);
        assert_eq!(schedule.due(start), Some((0, 0)));
        schedule.end_at(after(3));
        assert!(!schedule.is_over());
        let due: Vec<u64> =
            std::iter::from_fn(|| schedule.due(after(100))).map(|(number, _)| number).collect();
        assert_eq!(due, [1, 2]);
        assert!(schedule.is_over() && schedule.due(after(200)).is_none());
    }

    #[test]
    fn scattered_events_keep_their_order_and_rate() {
        let start = Instant::now();
        let schedule = Schedule::new(start, 1000.0, 1).scattered(7);
        let into: Vec<f64> = (0..10_000)
            .map(|number| (schedule.meant(number) - start).as_secs_f64() * 1000.0 - number as f64)
            .collect();
        assert!(into.iter().all(|into| (-1e-3..1.0).contains(into)));
        let mean = into.iter().sum::<f64>() / into.len() as f64;
        assert!((0.49..0.51).contains(&mean), "{mean}");
        for tenth in 0..10 {
            let here = into.iter().filter(|into| (**into * 10.0) as i32 == tenth).count();
            assert!((900..1100).contains(&here), "{here} in tenth {tenth}");
        }
        assert_ne!(schedule.meant(5), Schedule::new(start, 1000.0, 1).scattered(8).meant(5));
    }

    #[test]
    fn a_million_events_do_not_drift() {
        let start = Instant::now();
        let schedule = Schedule::new(start, 70_001.0, 64);
        let meant = schedule.meant(70_001_000) - start;
        assert!((meant.as_secs_f64() - 1000.0).abs() < 1e-6, "{meant:?}");
    }

    #[test]
    fn an_actors_own_events_are_a_turn_apart() {
        let schedule = Schedule::new(Instant::now(), 1.0, 50);
        assert!(schedule.follows(None, 7) && schedule.follows(Some(7), 57));
        assert!(!schedule.follows(Some(7), 107) && !schedule.follows(Some(7), 7));
    }
}
