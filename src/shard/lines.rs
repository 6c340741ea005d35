//! How many lines a shard says of what clients do: as many as a log can bear, and how many there were besides.
//!
//! Owns two buckets that fill by themselves and are emptied by lines, and the count of what was not said. Time comes in as an
//! argument. It never sees a line.

use crate::limits::{
    LOG_DETAILS_BURST, LOG_DETAILS_PER_SECOND, LOG_LINES_BURST, LOG_LINES_KEPT, LOG_LINES_PER_SECOND,
    LOG_SUPPRESSED_MS,
};
use crate::timers::Time;
use std::time::Duration;

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Matter {
    /// A session that was let in.
    Session,
    /// A client that was refused.
    Stranger,
    /// What is said only when everything is wanted.
    Detail,
}

/// What may be said still, and what was not.
#[derive(Debug)]
pub(super) struct Lines {
    clients: Bucket,
    details: Bucket,
    suppressed: u64,
    /// When that is told; `None` while it is nothing.
    due: Option<Time>,
}

#[derive(Debug)]
struct Bucket {
    /// Thousandths of lines: what a millisecond brings is a whole number of them.
    left: u64,
    filled: Time,
    per_second: u64,
    most: u64,
}

impl Bucket {
    fn full(per_second: u64, burst: u64) -> Bucket {
        Bucket { left: burst * 1000, filled: Time::default(), per_second, most: burst * 1000 }
    }

    /// Takes one line out, if `kept` are left behind it.
    fn take(&mut self, kept: u64, now: Time) -> bool {
        let passed = now.0.saturating_sub(self.filled.0);
        self.filled = self.filled.max(now);
        self.left = passed.saturating_mul(self.per_second).saturating_add(self.left).min(self.most);
        let may = self.left >= (kept + 1) * 1000;
        if may {
            self.left -= 1000;
        }
        may
    }
}

impl Default for Lines {
    fn default() -> Lines {
        Lines {
            clients: Bucket::full(LOG_LINES_PER_SECOND, LOG_LINES_BURST),
            details: Bucket::full(LOG_DETAILS_PER_SECOND, LOG_DETAILS_BURST),
            suppressed: 0,
            due: None,
        }
    }
}

impl Lines {
    /// Whether a line about this may be said; it is counted if not.
    pub fn admit(&mut self, matter: Matter, now: Time) -> bool {
        let may = match matter {
            Matter::Session => self.clients.take(0, now),
            Matter::Stranger => self.clients.take(LOG_LINES_KEPT, now),
            Matter::Detail => self.details.take(0, now),
        };
        if !may {
            self.suppressed += 1;
            self.due.get_or_insert(now + Duration::from_millis(LOG_SUPPRESSED_MS));
        }
        may
    }

    /// When there is something to tell about lines that were not said.
    pub fn due(&self) -> Option<Time> {
        self.due
    }

    /// How many lines were not said, if it is time to tell, or the last chance.
    pub fn suppressed(&mut self, now: Time, last: bool) -> Option<u64> {
        self.due.take_if(|due| last || *due <= now)?;
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::LOG_QUEUE_MAX;
    use crate::observe::log::{Level, Log};
    use Matter::{Detail, Session, Stranger};

    /// How many of `count` lines at `now` are said.
    fn said(lines: &mut Lines, matter: Matter, count: u64, now: u64) -> u64 {
        (0..count).filter(|_| lines.admit(matter, Time(now))).count() as u64
    }

    #[test]
    fn a_flood_is_cut_to_so_many_a_second() {
        let mut lines = Lines::default();
        let strangers = LOG_LINES_BURST - LOG_LINES_KEPT;
        assert_eq!(said(&mut lines, Stranger, 100_000, 5), strangers);
        // Ten seconds, ten thousand lines in each.
        let more: u64 = (1..=10_000).map(|ms| said(&mut lines, Stranger, 10, 5 + ms)).sum();
        assert_eq!(more, 10 * LOG_LINES_PER_SECOND);
        assert_eq!(lines.suppressed(Time(10_005), false), Some(100_000 + 100_000 - strangers - more));
        // Whoever is let in is told of all the same, and so is what only the curious want.
        assert_eq!(said(&mut lines, Session, 100_000, 10_005), LOG_LINES_KEPT);
        assert_eq!(said(&mut lines, Detail, 100_000, 10_005), LOG_DETAILS_BURST);
        assert_eq!(said(&mut lines, Detail, 100_000, 11_005), LOG_DETAILS_PER_SECOND);
        // After a rest everything is as it was, and no more than that.
        assert_eq!(said(&mut lines, Session, 100_000, 100_000_000), LOG_LINES_BURST);
    }

    #[test]
    fn all_that_shards_may_say_at_once_has_room_in_the_log() {
        const SHARDS: u64 = 5;
        // Nobody writes meanwhile.
        let (log, kept) = Log::kept_of(Level::Debug, SHARDS as usize);
        let shard = || {
            let mut lines = Lines::default();
            let all = [Stranger, Detail, Session].map(|matter| said(&mut lines, matter, 100_000, 5));
            let all: u64 = all.iter().sum();
            (0..all).for_each(|_| log.line(Level::Info, "a client".into()));
            all
        };
        let all: u64 = std::thread::scope(|scope| {
            let shards: Vec<_> = (0..SHARDS).map(|_| scope.spawn(shard)).collect();
            shards.into_iter().map(|shard| shard.join().unwrap()).sum()
        });
        assert_eq!((all, log.dropped()), (SHARDS * (LOG_LINES_BURST + LOG_DETAILS_BURST), 0));
        // What is told of the server itself has room of its own, and an end.
        (0..LOG_QUEUE_MAX + 3).for_each(|_| log.line(Level::Error, "the server".into()));
        assert_eq!(log.dropped(), 3);
        let mut kept: Vec<_> = std::iter::from_fn(|| kept.pop()).collect();
        assert!(kept.drain(..all as usize).all(|(level, _)| level == Level::Info));
        assert!(kept.len() == LOG_QUEUE_MAX && kept.iter().all(|(level, _)| *level == Level::Error));
    }

    #[test]
    fn what_was_not_said_is_told_once_a_second_and_at_the_end() {
        let mut lines = Lines::default();
        assert_eq!(said(&mut lines, Session, LOG_LINES_BURST, 100), LOG_LINES_BURST);
        assert_eq!((lines.due(), lines.suppressed(Time(100), true)), (None, None));
        assert_eq!(said(&mut lines, Session, 3, 100), 0);
        assert_eq!(said(&mut lines, Stranger, 3, 102), 0);
        assert_eq!(lines.due(), Some(Time(100 + LOG_SUPPRESSED_MS)));
        assert_eq!(lines.suppressed(Time(99 + LOG_SUPPRESSED_MS), false), None);
        assert_eq!(lines.suppressed(Time(100 + LOG_SUPPRESSED_MS), false), Some(6));
        assert_eq!((lines.due(), lines.suppressed(Time(9_000), true)), (None, None));
        assert_eq!(said(&mut lines, Session, 100_000, 200_000), LOG_LINES_BURST);
        assert_eq!(lines.suppressed(Time(200_000), true), Some(100_000 - LOG_LINES_BURST));
    }
}
