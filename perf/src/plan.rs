//! What a run is going to measure, how long that takes, and how far it has come.
//!
//! Arithmetic and words. It never measures, and the clock is told to it.

use std::time::Duration;

use crate::beside;
use crate::measure::Pace;
use crate::peers::Peer;
use crate::rows::{Kind, Row};

/// One measurement to come: each of them is made once a round.
pub type Turn = (&'static Row, Peer);

/// Starting a peer, opening a few sessions and ending it, in seconds.
const AROUND: f64 = 0.2;
/// Sessions that are opened in a second, by most.
const OPENED: f64 = 6000.0;

/// Rows that share their rounds, with everybody who takes part.
pub fn turns(rows: &[&'static Row], peers: &[Peer]) -> Vec<Turn> {
    peers.iter().flat_map(|peer| rows.iter().filter(|row| peer.fits(row)).map(|row| (*row, *peer))).collect()
}

/// About how many seconds one measurement takes.
pub fn seconds(row: &Row, pace: &Pace) -> f64 {
    let (warm_up, window) = (pace.warm_up.as_secs_f64(), pace.window.as_secs_f64());
    let opening = |sessions: usize| sessions.min(pace.sessions_max) as f64 / OPENED;
    AROUND
        + match row.kind {
            Kind::Start => 1.2,
            Kind::Shards => opening(row.sessions),
            Kind::Idle => 1.5 + opening(pace.idle_sessions),
            Kind::Beside => warm_up + beside::seconds(window),
            Kind::Latency => 3.0 * warm_up + 2.5 * window,
            _ if row.held => 1.5 + 1.5 * opening(row.open()) + warm_up + window,
            _ => warm_up + window,
        }
}

/// How far a run has come.
#[derive(Debug)]
pub struct Progress {
    total: f64,
    done: f64,
    count: usize,
    of: usize,
}

impl Progress {
    /// Of a run that takes every one of `turns` once in each of `rounds`.
    pub fn new(turns: &[Turn], rounds: usize, pace: &Pace) -> Self {
        let total: f64 = turns.iter().map(|(row, _)| seconds(row, pace)).sum();
        Self { total: total * rounds as f64, done: 0.0, count: 0, of: turns.len() * rounds }
    }

    /// What is to come, before anything is done.
    pub fn outlook(&self) -> String {
        format!("{} measurements, about {}", self.of, spoken(self.total))
    }

    /// That another measurement of `row` was made, when `gone` has passed; returns how things stand. What is left is guessed
    /// anew from what was needed so far.
    pub fn step(&mut self, row: &Row, pace: &Pace, gone: Duration) -> String {
        self.done += seconds(row, pace);
        self.count += 1;
        let slower = if self.done > 10.0 { gone.as_secs_f64() / self.done } else { 1.0 };
        let left = (self.total - self.done).max(0.0) * slower;
        format!("{}/{}, {} left", self.count, self.of, spoken(left))
    }
}

/// Seconds as minutes and seconds.
pub fn spoken(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    format!("{}:{:02}", whole / 60, whole % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::{ROWS, row};

    const PACE: Pace = Pace {
        warm_up: Duration::from_millis(250),
        window: Duration::from_millis(700),
        idle_sessions: 5000,
        sessions_max: 20_000,
    };

    #[test]
    fn a_whole_run_is_short_enough() {
        let rows: Vec<&'static Row> = ROWS.iter().collect();
        let progress = Progress::new(&turns(&rows, &crate::peers::PEERS), 3, &PACE);
        assert!(progress.total < 1800.0, "{}", progress.outlook());
    }

    #[test]
    fn a_short_run_is_short_enough() {
        let rows: Vec<&'static Row> = ROWS.iter().filter(|row| row.quick).collect();
        let peers: Vec<Peer> = crate::peers::PEERS.into_iter().filter(|peer| peer.quick()).collect();
        let pace = Pace { warm_up: Duration::from_millis(150), window: Duration::from_millis(300), ..PACE };
        let progress = Progress::new(&turns(&rows, &peers), 2, &pace);
        assert!(progress.total < 160.0, "{}", progress.outlook());
    }

    #[test]
    fn what_is_left_follows_what_was_needed() {
        let turns: Vec<Turn> = [Peer::None, Peer::Floor].map(|peer| (row("down-1"), peer)).to_vec();
        let mut progress = Progress::new(&turns, 10, &PACE);
        let each = seconds(row("down-1"), &PACE);
        assert_eq!(progress.outlook(), format!("20 measurements, about {}", spoken(20.0 * each)));
        let mut said = String::new();
        for step in 1..=10 {
            said = progress.step(row("down-1"), &PACE, Duration::from_secs_f64(2.0 * each * f64::from(step)));
        }
        assert_eq!(said, format!("10/20, {} left", spoken(20.0 * each)));
        assert_eq!(spoken(61.4), "1:01");
    }
}
