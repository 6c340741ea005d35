//! What a run is going to measure, in which order, how long that takes, and how far it has come.
//!
//! Arithmetic and words. It never measures, and the clock is told to it.

use std::time::Duration;

use crate::beside;
use crate::pace::Pace;
use crate::peers::Peer;
use crate::rows::{Kind, Row};

/// How long a short run may measure, in seconds: less than three minutes by as much as one measurement takes at most whose peer does
/// not listen, opens no sessions or lets nothing arrive.
pub const QUICK_LIMIT: f64 = 140.0;
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

/// In which order round `round`, of 0 and more, takes `turns`: peer by peer, and each round begins with the next peer, so that
/// nobody always goes first or always follows the same long row of others.
pub fn order(turns: &[Turn], round: usize) -> Vec<usize> {
    let starts: Vec<usize> =
        (0..turns.len()).filter(|&at| at == 0 || turns[at].1 != turns[at - 1].1).collect();
    let first = if starts.is_empty() { 0 } else { starts[round % starts.len()] };
    (first..turns.len()).chain(0..first).collect()
}

/// About how many seconds one measurement of `row` takes.
pub fn seconds(row: &Row, pace: &Pace) -> f64 {
    let pace = &pace.of(row);
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
            _ if row.all_cores() => 3.0 * warm_up + window,
            _ => warm_up + window,
        }
}

/// The seconds of all rounds of `turns`.
fn whole(turns: &[Turn], pace: &Pace) -> f64 {
    turns.iter().map(|(row, _)| seconds(row, pace) * pace.of(row).rounds as f64).sum()
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
    /// Of a run that takes every one of `turns` once in each of its row's rounds.
    pub fn new(turns: &[Turn], pace: &Pace) -> Self {
        let of = turns.iter().map(|(row, _)| pace.of(row).rounds).sum();
        Self { total: whole(turns, pace), done: 0.0, count: 0, of }
    }

    /// How many seconds `turns` are going to need, as things went in the first `gone`.
    pub fn expected(&self, turns: &[Turn], pace: &Pace, gone: Duration) -> f64 {
        whole(turns, pace) * self.slower(gone)
    }

    /// That `turns` are not made, or only `made` of their measurements.
    pub fn skip(&mut self, turns: &[Turn], pace: &Pace, made: usize) {
        let of: usize = turns.iter().map(|(row, _)| pace.of(row).rounds).sum();
        let left = of.saturating_sub(made);
        self.of -= left;
        self.total -= whole(turns, pace) * left as f64 / of.max(1) as f64;
    }

    fn slower(&self, gone: Duration) -> f64 {
        if self.done > 10.0 { gone.as_secs_f64() / self.done } else { 1.0 }
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
        let left = (self.total - self.done).max(0.0) * self.slower(gone);
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
        rounds: 3,
        quick: false,
        idle_sessions: 5000,
        sessions_max: 20_000,
    };

    #[test]
    fn a_whole_run_is_short_enough() {
        let rows: Vec<&'static Row> = ROWS.iter().collect();
        let progress = Progress::new(&turns(&rows, &crate::peers::PEERS), &PACE);
        assert!(progress.total < 2900.0, "{}", progress.outlook());
    }

    #[test]
    fn a_short_run_is_short_enough() {
        let rows: Vec<&'static Row> = ROWS.iter().filter(|row| row.quick).collect();
        let peers: Vec<Peer> = crate::peers::PEERS.into_iter().filter(|peer| peer.quick()).collect();
        let pace = Pace {
            warm_up: crate::options::QUICK_WARM_UP,
            window: crate::options::QUICK_WINDOW,
            quick: true,
            ..PACE
        };
        let progress = Progress::new(&turns(&rows, &peers), &pace);
        assert!(progress.total < 0.8 * QUICK_LIMIT, "{}", progress.outlook());
    }

    #[test]
    fn each_round_begins_with_the_next_peer() {
        let rows = [row("tls-full"), row("tls-resumed")];
        let turns: Vec<Turn> = turns(&rows, &[Peer::WebspliceRing, Peer::Haproxy, Peer::Nginx]);
        assert_eq!(order(&turns, 0), [0, 1, 2, 3, 4, 5]);
        assert_eq!(order(&turns, 1), [2, 3, 4, 5, 0, 1]);
        assert_eq!(order(&turns, 2), [4, 5, 0, 1, 2, 3]);
        assert_eq!(order(&turns, 3), order(&turns, 0));
        assert!(order(&[], 1).is_empty());
    }

    #[test]
    fn what_is_skipped_is_waited_for_no_more() {
        let turns: Vec<Turn> = [Peer::None, Peer::Floor].map(|peer| (row("down-1"), peer)).to_vec();
        let mut progress = Progress::new(&turns, &PACE);
        let each = seconds(row("down-1"), &PACE);
        assert!((progress.expected(&turns, &PACE, Duration::ZERO) - 6.0 * each).abs() < 1e-9);
        progress.skip(&turns, &PACE, 2);
        assert_eq!(progress.outlook(), format!("2 measurements, about {}", spoken(2.0 * each)));
        let long = seconds(row("latency"), &PACE);
        assert!(long > 5.0 && seconds(row("latency"), &Pace { quick: true, ..PACE }) < 3.0);
    }

    #[test]
    fn what_is_left_follows_what_was_needed() {
        let turns: Vec<Turn> = [Peer::None, Peer::Floor].map(|peer| (row("down-1"), peer)).to_vec();
        let pace = &Pace { rounds: 10, ..PACE };
        let mut progress = Progress::new(&turns, pace);
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
