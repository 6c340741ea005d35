//! Rounds that decide: where a goal's bar is inside the interval of the median, who has a part in it is measured again.
//!
//! It owns which rows go on, with whom, in which order and for how long. It never measures, and the clock is told to it.

use std::time::Duration;

use crate::goals::Undecided;
use crate::pace::Pace;
use crate::peers::Peer;
use crate::plan::{self, Turn};
use crate::rows::Row;

/// Most rounds of a row. The interval of the median of so many leaves out the three smallest and the three largest.
pub const ROUNDS_MAX: usize = 15;
/// How long a whole run may go on deciding.
pub const LIMIT: Duration = Duration::from_secs(15 * 60);

/// Rows that are measured again in the same rounds, and by whom. Who that is stays the same, for rounds are held against each other
/// by their number.
#[derive(Debug)]
pub struct Unit {
    /// What a round of it takes.
    pub turns: Vec<Turn>,
    /// Rounds that were made.
    pub rounds: usize,
}

/// What is to be measured again of `rows` for the goals in `undecided`; `rounds` says how many rounds a row has had.
pub fn units(
    undecided: &[Undecided],
    rows: &[&'static Row],
    peers: &[Peer],
    rounds: impl Fn(&Row) -> usize,
) -> Vec<Unit> {
    let has_part = |(row, peer): &Turn| {
        undecided
            .iter()
            .any(|goal| goal.rows.contains(&row.name) && goal.peers.iter().any(|name| name == peer.name()))
    };
    let unit = |group: &[&'static Row]| {
        let mut turns = plan::turns(group, peers);
        turns.retain(has_part);
        let rounds = turns.iter().map(|(row, _)| rounds(row)).max().unwrap_or(0);
        Unit { turns, rounds }
    };
    let all = rows.chunk_by(|row, next| row.is_beside(next)).map(unit);
    all.filter(|unit| !unit.turns.is_empty()).collect()
}

impl Unit {
    /// Whether a goal about it is still among `undecided`.
    pub fn is_open(&self, undecided: &[Undecided]) -> bool {
        let mut rows = self.turns.iter().map(|(row, _)| row.name);
        rows.any(|name| undecided.iter().any(|goal| goal.rows.contains(&name)))
    }

    /// About how many seconds a round of it takes.
    pub fn seconds(&self, pace: &Pace) -> f64 {
        self.turns.iter().map(|(row, _)| plan::seconds(row, pace)).sum()
    }

    /// Whether it may have another round that is over before `left` is.
    pub fn may_go_on(&self, pace: &Pace, left: Duration) -> bool {
        self.rounds < ROUNDS_MAX && self.seconds(pace) <= left.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::row;

    const PACE: Pace = Pace {
        warm_up: Duration::from_millis(250),
        window: Duration::from_millis(750),
        rounds: 3,
        quick: false,
        idle_sessions: 5000,
        sessions_max: 20_000,
    };

    fn undecided(rows: &[&'static str], peers: &[&str]) -> Undecided {
        Undecided { rows: rows.to_vec(), peers: peers.iter().map(|name| (*name).to_owned()).collect() }
    }

    #[test]
    fn who_has_a_part_in_what_is_undecided_goes_on() {
        let rows = ["down-1", "setup", "tls-full", "tls-resumed"].map(row);
        let peers = [Peer::WebspliceRing, Peer::WebsplicePoll, Peer::Haproxy, Peer::Nginx, Peer::Python];
        let goals = [
            undecided(&["setup"], &["websplice-ring", "haproxy"]),
            undecided(&["setup"], &["websplice-poll", "haproxy"]),
            undecided(&["tls-resumed", "tls-full"], &["websplice-ring"]),
        ];
        let units = units(&goals, &rows, &peers, |row| if row.name == "setup" { 5 } else { 3 });
        let told: Vec<Vec<(&str, Peer)>> = units
            .iter()
            .map(|unit| unit.turns.iter().map(|(row, peer)| (row.name, *peer)).collect())
            .collect();
        let setup = [Peer::WebspliceRing, Peer::WebsplicePoll, Peer::Haproxy].map(|peer| ("setup", peer));
        let tls = ["tls-full", "tls-resumed"].map(|name| (name, Peer::WebspliceRing));
        assert_eq!(told, [setup.to_vec(), tls.to_vec()]);
        assert_eq!((units[0].rounds, units[1].rounds), (5, 3));
        assert!(units[1].is_open(&goals) && !units[1].is_open(&goals[..2]) && units[0].is_open(&goals[1..2]));
    }

    #[test]
    fn rounds_and_time_have_an_end() {
        let mut unit = Unit { turns: vec![(row("down-1"), Peer::WebspliceRing)], rounds: ROUNDS_MAX - 1 };
        let seconds = Duration::from_secs_f64(unit.seconds(&PACE));
        assert!(unit.may_go_on(&PACE, seconds * 2) && !unit.may_go_on(&PACE, seconds / 2));
        unit.rounds = ROUNDS_MAX;
        assert!(!unit.may_go_on(&PACE, LIMIT));
    }
}
