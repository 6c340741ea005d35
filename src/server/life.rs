//! How long the process lives by itself: `--timeout` and `--idle-timeout`, decided with the clock as an argument.
//!
//! All times are counted from the start of the shards' clock. It says when to look again and never waits itself.

use crate::config::{Lapse, Process};
use std::time::Duration;

/// What is left of a process's own deadlines.
#[derive(Debug)]
pub struct Life {
    timeout: Option<Lapse>,
    idle: Option<Lapse>,
    /// When the quiet is looked at next; it is never too late for that by more than sessions that came meanwhile.
    idle_look: Duration,
}

impl Life {
    /// A life that begins now.
    pub fn new(process: &Process) -> Life {
        let idle_look = process.idle.as_ref().map_or(Duration::ZERO, |idle| idle.time);
        Life { timeout: process.timeout.clone(), idle: process.idle.clone(), idle_look }
    }

    /// When to look next, if ever.
    pub fn next(&self) -> Option<Duration> {
        let timeout = self.timeout.as_ref().map(|timeout| timeout.time);
        let idle = self.idle.as_ref().map(|_| self.idle_look);
        [timeout, idle].into_iter().flatten().min()
    }

    /// Looks at the clock, at how many `sessions` there are, and at when the last one `ended`. `Some` tells that nobody is
    /// to be let in any more, in websockify's words; after that there is nothing to look at any more.
    pub fn look(&mut self, now: Duration, sessions: usize, ended: Duration) -> Option<String> {
        let word = self.has_passed(now, sessions, ended)?;
        (self.timeout, self.idle) = (None, None);
        Some(word)
    }

    fn has_passed(&mut self, now: Duration, sessions: usize, ended: Duration) -> Option<String> {
        if let Some(timeout) = self.timeout.as_ref().filter(|timeout| now >= timeout.time) {
            return Some(format!("listener exit due to --timeout {}", timeout.said));
        }
        let idle = self.idle.as_ref()?;
        // With sessions there is no telling when the last one will end, but the quiet lasts long enough then at the
        // earliest when this much has passed.
        let quiet_from = if sessions > 0 { now } else { ended };
        self.idle_look = quiet_from.saturating_add(idle.time);
        (sessions == 0 && now >= self.idle_look)
            .then(|| format!("listener exit due to --idle-timeout {}", idle.said))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn lapse(said: &str, millis: u64) -> Option<Lapse> {
        Some(Lapse { time: at(millis), said: said.into() })
    }

    fn life(timeout: Option<Lapse>, idle: Option<Lapse>) -> Life {
        Life::new(&Process { timeout, idle, ..Process::default() })
    }

    #[test]
    fn nothing_is_looked_at_where_nothing_was_asked_for() {
        let mut life = life(None, None);
        assert_eq!(life.next(), None);
        assert_eq!(life.look(at(1 << 40), 0, at(0)), None);
    }

    #[test]
    fn a_timeout_passes_once_whoever_is_there() {
        let mut life = life(lapse("2", 2000), None);
        assert_eq!(life.next(), Some(at(2000)));
        assert_eq!(life.look(at(1999), 7, at(0)), None);
        assert_eq!(life.look(at(2000), 7, at(0)).as_deref(), Some("listener exit due to --timeout 2"));
        assert_eq!((life.next(), life.look(at(9000), 0, at(0))), (None, None));
    }

    #[test]
    fn what_is_negative_has_passed_at_once() {
        let mut life = life(lapse("-1", 0), None);
        assert_eq!(life.next(), Some(at(0)));
        assert_eq!(life.look(at(0), 0, at(0)).as_deref(), Some("listener exit due to --timeout -1"));
    }

    #[test]
    fn quiet_is_counted_from_the_last_end() {
        // Now, sessions, last end; when to look next, or `None` for the end.
        let rows = [
            (999, 0, 0, Some(1000)),
            // Somebody is there.
            (1000, 1, 0, Some(2000)),
            // They went, and others came and went.
            (2000, 0, 1500, Some(2500)),
            (2500, 3, 2400, Some(3500)),
            (3500, 0, 2501, Some(3501)),
            (3501, 0, 2501, None),
        ];
        let mut life = life(None, lapse("1", 1000));
        assert_eq!(life.next(), Some(at(1000)));
        for (now, sessions, ended, next) in rows {
            let word = life.look(at(now), sessions, at(ended));
            assert_eq!(word.is_none(), next.is_some(), "{now}");
            assert_eq!(life.next(), next.map(at), "{now}");
        }
    }

    #[test]
    fn the_quiet_of_an_unused_server_begins_with_its_start() {
        let mut life = life(lapse("9", 9000), lapse("500ms", 500));
        assert_eq!(life.next(), Some(at(500)));
        let word = life.look(at(500), 0, at(0));
        assert_eq!(word.as_deref(), Some("listener exit due to --idle-timeout 500ms"));
        assert_eq!(life.next(), None, "one end is enough");
    }

    #[test]
    fn what_comes_first_counts() {
        let mut life = life(lapse("1", 1000), lapse("5", 5000));
        assert_eq!(life.next(), Some(at(1000)));
        assert!(life.look(at(1000), 0, at(0)).is_some_and(|word| word.ends_with("--timeout 1")));
    }
}
