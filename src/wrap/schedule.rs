//! When a program that has gone is started again: websockify's schedule. Pure; time comes in as an argument.
//!
//! websockify looks once a second, and starts the program unless the mean of its last three starts is less than ten
//! seconds ago. So one that fails at once is started after 0, 1, 2, 11, 15, 20, 26 and 31 seconds.

use crate::limits::{WRAP_RESPAWN_LOOK_MS, WRAP_RESPAWN_MEAN_MS};
use std::time::Duration;

/// How many starts the mean is taken of.
const STARTS: usize = 3;

/// The last starts of a program. Times are since the first of them.
#[derive(Debug, Default)]
pub struct Schedule {
    /// Milliseconds, oldest first; as many as there have been, at most [`STARTS`].
    starts: Vec<u64>,
    warned: bool,
}

/// What to do about a program that has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// When to start it.
    pub at: Duration,
    /// That is later than it would be by the next look, and nobody has been told since its last start.
    pub warn: bool,
}

impl Schedule {
    /// Notes a start. It counts from the look that it was due at, so that delays of the machine do not add up.
    pub fn started(&mut self, at: Duration) {
        let at = millis(at);
        if self.starts.len() == STARTS {
            self.starts.remove(0);
        }
        self.starts.push(at - at % WRAP_RESPAWN_LOOK_MS);
        self.warned = false;
    }

    /// The program was found gone at `now`.
    pub fn next(&mut self, now: Duration) -> Next {
        let after_last = self.starts.last().map_or(0, |last| last + WRAP_RESPAWN_LOOK_MS);
        let look = look_at_or_after(millis(now)).max(after_last);
        let mean = self.starts.iter().sum::<u64>() / STARTS as u64;
        let at = match self.starts.len() {
            STARTS => look.max(look_at_or_after(mean + WRAP_RESPAWN_MEAN_MS)),
            _ => look,
        };
        let warn = at > look && !self.warned;
        self.warned |= warn;
        Next { at: Duration::from_millis(at), warn }
    }
}

fn look_at_or_after(at: u64) -> u64 {
    at.div_ceil(WRAP_RESPAWN_LOOK_MS) * WRAP_RESPAWN_LOOK_MS
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts of a program that runs for `life` each time, and which of its ends were followed by a warning. Each start is
    /// `late` milliseconds later than it was due.
    fn run(life: u64, late: u64, count: usize) -> (Vec<u64>, Vec<bool>) {
        let (mut schedule, mut at) = (Schedule::default(), 0);
        let (mut starts, mut warnings) = (Vec::new(), Vec::new());
        for _ in 0..count {
            schedule.started(Duration::from_millis(at));
            starts.push(at - at % 1000);
            let next = schedule.next(Duration::from_millis(at + life));
            warnings.push(next.warn);
            at = millis(next.at) + late;
        }
        (starts.iter().map(|at| at / 1000).collect(), warnings)
    }

    #[test]
    fn starts_are_those_of_websockify() {
        let seconds = vec![0, 1, 2, 11, 15, 20, 26, 31];
        for (life, late) in [(0, 0), (5, 0), (5, 7), (400, 90)] {
            let (starts, warnings) = run(life, late, 8);
            assert_eq!(starts, seconds, "life {life} ms, {late} ms late");
            assert_eq!(warnings, [false, false, true, true, true, true, true, true]);
        }
    }

    #[test]
    fn a_program_that_lives_is_started_at_the_next_look() {
        for (life, starts) in [
            (20_000, vec![0, 20, 40, 60, 80]),
            (20_400, vec![0, 21, 42, 63, 84]),
            (1_000, vec![0, 1, 2, 11, 15]),
            (9_990, vec![0, 10, 20, 30, 40]),
            (6_000, vec![0, 6, 12, 18, 24]),
        ] {
            let (got, _) = run(life, 0, 5);
            assert_eq!(got, starts, "life {life} ms");
        }
    }

    #[test]
    fn one_warning_for_each_wait() {
        let mut schedule = Schedule::default();
        for second in 0..3 {
            schedule.started(Duration::from_secs(second));
        }
        let due = Duration::from_secs(11);
        assert_eq!(schedule.next(Duration::from_millis(2100)), Next { at: due, warn: true });
        assert_eq!(schedule.next(Duration::from_millis(5000)), Next { at: due, warn: false });
        assert_eq!(schedule.next(Duration::from_millis(11_500)).at, Duration::from_secs(12));
        schedule.started(due);
        assert_eq!(schedule.next(due), Next { at: Duration::from_secs(15), warn: true });
    }
}
