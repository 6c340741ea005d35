//! What a run was to measure, and what of all that there is it leaves out, and why.
//!
//! Names and reasons. It never decides what is measured and never prints.

use serde::{Deserialize, Serialize};

use crate::peers::PEERS;
use crate::rows::ROWS;
use crate::stats::Cell;

/// Why a row is left out, or cut short, in a short run.
pub const NO_TIME: &str = "no time left";
/// Fewer rounds than these say nothing of how a figure scatters.
pub const ROUNDS_MIN: usize = 3;
/// Longest failure that is repeated.
const FAILURE_LETTERS_MAX: usize = 100;

/// What a run was to measure.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Coverage {
    /// Rows that were asked for; none in runs that were saved before this was kept.
    pub rows: Vec<String>,
    /// Peers that were asked for.
    pub peers: Vec<String>,
    /// Peers beyond those that every harness knows: found in PATH or told by the user.
    pub extras: Vec<String>,
    /// Rows and peers that were asked for and left out, and why; rows that were cut short too.
    pub left_out: Vec<(String, String)>,
    /// Rounds of most rows.
    pub rounds: usize,
    /// Rows that had more rounds for a goal that was not decided, and how many.
    pub more_rounds: Vec<(String, usize)>,
    /// Whether rows that are judged by their 99th percentile were as short as others.
    pub quick: bool,
    /// Most sessions that descriptors allow.
    pub sessions_max: usize,
}

impl Coverage {
    /// Whether it was kept what was asked for.
    pub fn is_known(&self) -> bool {
        !self.rows.is_empty()
    }

    /// Whether `row` was to be measured with `peer`.
    pub fn is_asked(&self, row: &str, peer: &str) -> bool {
        has(&self.rows, row) && has(&self.peers, peer)
    }

    /// That `row` has had so many `rounds`.
    pub fn note_rounds(&mut self, row: &str, rounds: usize) {
        match self.more_rounds.iter_mut().find(|(name, _)| name == row) {
            Some((_, noted)) => *noted = rounds,
            None => self.more_rounds.push((row.to_owned(), rounds)),
        }
    }

    /// Of how many sessions a row that asks for `wanted` held fewer: so many.
    pub fn held_of(&self, wanted: usize) -> Option<usize> {
        (0 < self.sessions_max && self.sessions_max < wanted).then_some(self.sessions_max)
    }

    /// Whether every row was measured, all of it.
    pub fn has_all_rows(&self, cells: &[Cell]) -> bool {
        ROWS.iter().all(|row| self.why_not(row.name).is_none() && works(cells, |cell| cell.row == row.name))
    }

    /// Whether every peer was measured that a run takes by default.
    pub fn has_all_peers(&self, cells: &[Cell]) -> bool {
        PEERS.iter().all(|peer| works(cells, |cell| cell.peer == peer.name()))
    }

    /// Whether it is what is published: all rows, all peers, and rounds enough.
    pub fn is_whole(&self, cells: &[Cell]) -> bool {
        self.is_known() && self.rounds >= ROUNDS_MIN && self.has_all_rows(cells) && self.has_all_peers(cells)
    }

    /// The title of a report.
    pub fn title(&self, cells: &[Cell]) -> &'static str {
        match (self.has_all_rows(cells), self.has_all_peers(cells)) {
            _ if !self.is_known() => "Results",
            (true, true) => "Results",
            (true, false) => "Results of all rows with a part of the peers",
            (false, true) => "Results of a part of the rows",
            (false, false) => "Results of a part of the rows with a part of the peers",
        }
    }

    /// What was measured and what was not, as facts for the head of a report.
    pub fn facts(&self, cells: &[Cell]) -> Vec<(String, String)> {
        if !self.is_known() {
            return Vec::new();
        }
        let mut facts = Vec::new();
        let rows: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        let peers: Vec<&str> =
            PEERS.iter().map(|peer| peer.name()).chain(self.extras.iter().map(String::as_str)).collect();
        let mut tell = |what: &str, all: &[&str], asked: &[String], is_of: fn(&Cell, &str) -> bool| {
            let is_there = |name: &str| works(cells, |cell| is_of(cell, name));
            let there = all.iter().filter(|name| is_there(name)).count();
            facts.push((format!("{what} measured"), format!("{there} of {}", all.len())));
            let why = |name: &&str| {
                let usual = match (has(asked, name), cells.iter().any(|cell| is_of(cell, name))) {
                    (false, _) => "not asked for",
                    (true, false) => "not reached",
                    (true, true) => "failed in every round, see below",
                };
                (self.why_not(name).unwrap_or(usual).to_owned(), (*name).to_owned())
            };
            let missing = all.iter().filter(|name| !is_there(name)).map(why);
            facts.push((format!("{what} not measured"), by_reason(missing)));
        };
        tell("rows", &rows, &self.rows, |cell, name| cell.row == name);
        tell("peers", &peers, &self.peers, |cell, name| cell.peer == name);
        let short = self.left_out.iter().filter(|(name, _)| cells.iter().any(|cell| cell.row == *name));
        let short: Vec<String> = short.map(|(name, why)| format!("{name}: {why}")).collect();
        if !short.is_empty() {
            facts.push(("rows cut short".into(), short.join("; ")));
        }
        let more: Vec<String> =
            self.more_rounds.iter().map(|(name, rounds)| format!("{name} {rounds}")).collect();
        if !more.is_empty() {
            let told = format!(
                "of those whose goals the first did not decide, with who has a part in these: {}",
                more.join(", ")
            );
            facts.push(("more rounds".into(), told));
        }
        facts.push(("failed in every round".into(), failures(cells)));
        facts
    }

    fn why_not(&self, name: &str) -> Option<&str> {
        self.left_out.iter().find(|(other, _)| other == name).map(|(_, why)| why.as_str())
    }
}

/// Whether one of the cells that `are` so has a figure.
fn works(cells: &[Cell], are: impl Fn(&Cell) -> bool) -> bool {
    cells.iter().any(|cell| are(cell) && cell.rounds.iter().any(Result::is_ok))
}

fn has(names: &[String], name: &str) -> bool {
    names.iter().any(|other| other == name)
}

/// Names by the reason that they share: pairs of reason and name.
fn by_reason(pairs: impl Iterator<Item = (String, String)>) -> String {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for (why, name) in pairs {
        match groups.iter_mut().find(|(other, _)| *other == why) {
            Some((_, names)) => names.push(name),
            None => groups.push((why, vec![name])),
        }
    }
    let told: Vec<String> =
        groups.iter().map(|(why, names)| format!("{why}: {}", names.join(", "))).collect();
    if told.is_empty() { "–".into() } else { told.join("; ") }
}

/// Peers that have no figure in a row, by what they failed of.
fn failures(cells: &[Cell]) -> String {
    let failed = cells.iter().filter(|cell| cell.rounds.iter().all(Result::is_err));
    let pairs = failed.filter_map(|cell| {
        let words: String = cell.failure()?.chars().take(FAILURE_LETTERS_MAX).collect();
        Some((words, format!("{} in {}", cell.peer, cell.row)))
    });
    by_reason(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Sample;

    fn cell(row: &str, peer: &str, works: bool) -> Cell {
        let round = if works { Ok(Sample::default()) } else { Err("it stalled".to_owned()) };
        Cell { row: row.into(), peer: peer.into(), rounds: vec![round] }
    }

    fn whole() -> (Coverage, Vec<Cell>) {
        let names = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect();
        let rows: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        let peers: Vec<&str> = PEERS.iter().map(|peer| peer.name()).collect();
        let cells = rows.iter().flat_map(|row| peers.iter().map(|peer| cell(row, peer, true))).collect();
        (Coverage { rows: names(&rows), peers: names(&peers), rounds: 3, ..Coverage::default() }, cells)
    }

    #[test]
    fn only_all_of_it_is_whole() {
        let (coverage, cells) = whole();
        assert!(coverage.is_whole(&cells) && coverage.title(&cells) == "Results");
        let without = |what: &str| -> Vec<Cell> {
            cells.iter().filter(|cell| cell.row != what && cell.peer != what).cloned().collect()
        };
        assert_eq!(coverage.title(&without("idle")), "Results of a part of the rows");
        assert_eq!(coverage.title(&without("nginx")), "Results of all rows with a part of the peers");
        assert!(!coverage.is_whole(&without("idle")) && !coverage.is_whole(&without("nginx")));
        let few = Coverage { rounds: 2, ..coverage.clone() };
        let short = Coverage { left_out: vec![("idle".into(), NO_TIME.into())], ..coverage };
        assert!(!few.is_whole(&cells) && !short.is_whole(&cells) && !Coverage::default().is_whole(&cells));
    }

    #[test]
    fn whatever_is_missing_is_named_with_its_reason() {
        let coverage = Coverage {
            rows: ["down-1", "idle", "tokens-redis", "start"].map(str::to_owned).to_vec(),
            peers: ["none", "nginx", "python"].map(str::to_owned).to_vec(),
            extras: vec!["mine".into()],
            left_out: vec![
                ("nginx".into(), "not installed".into()),
                ("tokens-redis".into(), "no redis-server".into()),
                ("start".into(), NO_TIME.into()),
            ],
            ..Coverage::default()
        };
        let cells =
            [cell("down-1", "none", true), cell("down-1", "python", false), cell("start", "none", true)];
        let facts = coverage.facts(&cells);
        let said = |name: &str| facts.iter().find(|(other, _)| other == name).map_or("", |(_, value)| value);
        assert_eq!(said("rows measured"), format!("2 of {}", ROWS.len()));
        let rows = said("rows not measured");
        assert!(
            rows.contains("not reached: idle;") && rows.contains("no redis-server: tokens-redis"),
            "{rows}"
        );
        assert!(rows.contains("not asked for: down-16, "), "{rows}");
        assert_eq!(said("peers measured"), format!("1 of {}", PEERS.len() + 1));
        let peers = said("peers not measured");
        assert!(
            peers.contains("not installed: nginx")
                && peers.contains("node, mine;")
                && peers.contains("see below: python"),
            "{peers}"
        );
        assert_eq!(said("rows cut short"), "start: no time left");
        assert_eq!(said("more rounds"), "");
        let mut more = coverage.clone();
        [("down-1", 4), ("idle", 4), ("down-1", 5)]
            .iter()
            .for_each(|(row, rounds)| more.note_rounds(row, *rounds));
        let facts = more.facts(&cells);
        let told = facts.iter().find(|(name, _)| name == "more rounds").map(|(_, value)| value.as_str());
        assert!(told.is_some_and(|value| value.ends_with(": down-1 5, idle 4")), "{told:?}");
        assert_eq!(said("failed in every round"), "it stalled: python in down-1");
        assert!(Coverage::default().facts(&cells).is_empty());
    }

    #[test]
    fn only_asked_pairs_are_asked_and_few_descriptors_are_told() {
        let coverage = Coverage {
            rows: vec!["down-1".into()],
            peers: vec!["none".into()],
            sessions_max: 9500,
            ..Coverage::default()
        };
        assert!(coverage.is_asked("down-1", "none"));
        assert!(!coverage.is_asked("up-1", "none") && !coverage.is_asked("down-1", "nginx"));
        assert_eq!((coverage.held_of(20_000), coverage.held_of(9500)), (Some(9500), None));
        assert_eq!(Coverage::default().held_of(20_000), None);
    }
}
