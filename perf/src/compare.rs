//! Two runs, row by row: what got better, what got worse, and what cannot be told from noise.
//!
//! A machine has moods, and two runs meet different ones; so where both runs measured a reference in the same row, a peer is
//! held against it first, round by round, and the runs are compared in what is left. A difference counts when it is larger
//! than a few per cent and the rounds of both runs do not overlap. It never measures.

use std::fmt::Write as _;

use crate::report::Run;
use crate::rows::{ROWS, Row};
use crate::stats::{Cell, Figure, Spread, headline};

/// Peers that do not change with this project, in the order in which they are taken as references.
const REFERENCES: [&str; 3] = ["floor-epoll", "haproxy", "nginx"];
/// Differences up to this share are noise, however little the rounds scatter.
const NOISE: f64 = 0.05;
/// Whose figures may not get worse.
const OURS: &str = "websplice-";

/// What became of one figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Better by more than the noise.
    Better,
    /// Not to be told apart.
    Same,
    /// Worse by more than the noise.
    Worse,
    /// There was a figure, and now the measurement fails.
    Lost,
    /// There was none.
    New,
    /// It was asked for, and was not even tried.
    Missing,
}

/// One peer in one row, in both runs.
#[derive(Debug)]
struct Pair {
    row: &'static Row,
    peer: String,
    old: Option<Spread>,
    new: Option<Spread>,
    reference: Option<&'static str>,
    /// New to old, as good is: above one is better.
    change: Option<f64>,
    verdict: Verdict,
}

/// All pairs.
#[derive(Debug)]
pub struct Comparison {
    pairs: Vec<Pair>,
    /// Rows and peers that one of the two runs did not measure.
    left_out: usize,
    /// Facts that the two runs do not share: name, old and new.
    facts: Vec<[String; 3]>,
}

/// Facts that differ between any two runs and say nothing of what can be compared.
const PASSING: [&str; 4] = ["date", "commit", "command", "load average at start"];

impl Comparison {
    /// Holds `new` against `old`.
    pub fn of(old: &Run, new: &Run) -> Self {
        let mut pairs = Vec::new();
        for row in &ROWS {
            for cell in new.cells.iter().filter(|cell| cell.row == row.name) {
                if let Some(before) = old.cell(row.name, &cell.peer) {
                    pairs.push(pair(row, before, cell, old, new));
                }
            }
        }
        let met = pairs.len();
        let left_out = old.cells.len() + new.cells.len() - 2 * met;
        pairs.extend(old.cells.iter().filter_map(|cell| missing(cell, new)));
        Self { pairs, left_out, facts: differing(old, new) }
    }

    /// A table of all that is common to both.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for [name, old, new] in &self.facts {
            let _ = writeln!(text, "- {name} differs: {old} — then, {new} — now");
        }
        if !text.is_empty() {
            text.insert_str(0, "The runs were not made alike:\n\n");
            text.push('\n');
        }
        let _ = write!(
            text,
            "Above 1 is better. Where there is a reference, figures are compared by their ratio to it. Worse or better: by more \
             than {:.0} %, and without overlap of the rounds.\n\n| row | peer | figure | old | new | against | change | verdict |\n\
             |---|---|---|---|---|---|---|---|\n",
            100.0 * NOISE
        );
        let shown = |spread: Option<Spread>| spread.map_or("–".to_owned(), |spread| spread.to_string());
        for pair in &self.pairs {
            let word = match pair.verdict {
                Verdict::Better => "better",
                Verdict::Same => "same",
                Verdict::Worse => "**worse**",
                Verdict::Lost => "**lost**",
                Verdict::New => "new",
                Verdict::Missing => "**missing**",
            };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} | {word} |",
                pair.row.name,
                pair.peer,
                headline(pair.row.kind).0.head,
                shown(pair.old),
                shown(pair.new),
                pair.reference.unwrap_or("itself"),
                pair.change.map_or("–".into(), |change| format!("{change:.3}")),
            );
        }
        if self.left_out > 0 {
            let _ = writeln!(text, "\n{} figures are in one of the two runs only.", self.left_out);
        }
        text
    }

    /// Whether nothing of ours got worse.
    ///
    /// # Errors
    /// What did, a line each; or that there was nothing to compare.
    pub fn check(&self) -> Result<(), String> {
        let bad = |pair: &&Pair| {
            pair.peer.starts_with(OURS)
                && matches!(pair.verdict, Verdict::Worse | Verdict::Lost | Verdict::Missing)
        };
        if self.pairs.is_empty() {
            return Err("the two runs have no row and peer in common".into());
        }
        let told = |pair: &Pair| {
            let why = match pair.verdict {
                Verdict::Lost => " (no figure any more)",
                Verdict::Missing => " (not measured any more)",
                _ => "",
            };
            format!("{} {}{why}", pair.row.name, pair.peer)
        };
        let worse: Vec<String> = self.pairs.iter().filter(bad).map(told).collect();
        if worse.is_empty() { Ok(()) } else { Err(format!("worse beyond noise: {}", worse.join(", "))) }
    }
}

/// A figure of ours that the old run had, and the new one, which was asked for it, has not.
fn missing(before: &Cell, new: &Run) -> Option<Pair> {
    let row = ROWS.iter().find(|row| row.name == before.row)?;
    let old = before.spread(headline(row.kind).0)?;
    // Runs that were saved without what they were asked for were asked for the rows that they have.
    let is_asked = if new.coverage.is_known() {
        new.coverage.is_asked(row.name, &before.peer)
    } else {
        new.cells.iter().any(|cell| cell.row == row.name)
    };
    let is_missing = new.cell(row.name, &before.peer).is_none();
    (before.peer.starts_with(OURS) && is_asked && is_missing).then(|| Pair {
        row,
        peer: before.peer.clone(),
        old: Some(old),
        new: None,
        reference: None,
        change: None,
        verdict: Verdict::Missing,
    })
}

/// The facts that both runs state differently.
fn differing(old: &Run, new: &Run) -> Vec<[String; 3]> {
    let told =
        old.facts.iter().filter(|(name, _)| !PASSING.contains(&name.as_str()) && !name.starts_with(OURS));
    told.filter_map(|(name, value)| {
        let (_, now) = new.facts.iter().find(|(other, now)| other == name && now != value)?;
        Some([name.clone(), value.clone(), now.clone()])
    })
    .collect()
}

fn pair(row: &'static Row, old: &Cell, new: &Cell, old_run: &Run, new_run: &Run) -> Pair {
    let (figure, more) = headline(row.kind);
    let there = |name: &&str| {
        *name != new.peer
            && [old_run, new_run]
                .iter()
                .all(|run| run.cell(row.name, name).is_some_and(|cell| cell.spread(figure).is_some()))
    };
    let reference = REFERENCES.into_iter().find(there);
    let held = |cell: &Cell, run: &Run| match reference {
        Some(name) => cell.ratio(figure, run.cell(row.name, name)?, figure),
        None => cell.spread(figure),
    };
    let (before, now) = (held(old, old_run), held(new, new_run));
    let (change, verdict) = match (before, now) {
        (Some(before), Some(now)) => {
            let (change, verdict) = judged(before, now, more);
            (Some(change), verdict)
        }
        (Some(_), None) => (None, Verdict::Lost),
        (None, Some(_)) => (None, Verdict::New),
        (None, None) => (None, Verdict::Same),
    };
    let spread = |cell: &Cell, figure: Figure| cell.spread(figure);
    Pair {
        row,
        peer: new.peer.clone(),
        old: spread(old, figure),
        new: spread(new, figure),
        reference,
        change,
        verdict,
    }
}

/// How good `now` is for each of `before`, and what that means.
fn judged(before: Spread, now: Spread, more: bool) -> (f64, Verdict) {
    let ratio = now.median / before.median;
    let change = if more { ratio } else { 1.0 / ratio };
    let (above, below) = (now.min > before.max, now.max < before.min);
    let (better, worse) = if more { (above, below) } else { (below, above) };
    let verdict = if worse && change < 1.0 - NOISE {
        Verdict::Worse
    } else if better && change > 1.0 + NOISE {
        Verdict::Better
    } else {
        Verdict::Same
    };
    (change, verdict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coverage::Coverage;
    use crate::measure::Sample;

    /// A run of one row, with work per CPU second.
    fn run(row: &str, cells: &[(&str, [f64; 3])]) -> Run {
        let sample = |&work: &f64| match work {
            work if work < 0.0 => Err("it stalled".into()),
            work => Ok(Sample { work: work * 1e6, seconds: 1.0, peer_cpu: 1.0, ..Sample::default() }),
        };
        let cell = |(peer, work): &(&str, [f64; 3])| Cell {
            row: row.into(),
            peer: (*peer).into(),
            rounds: work.iter().map(sample).collect(),
        };
        Run { cells: cells.iter().map(cell).collect(), ..Run::default() }
    }

    fn verdict(row: &str, old: [f64; 3], new: [f64; 3]) -> Verdict {
        let of = |work| run(row, &[("websplice-ring", work)]);
        Comparison::of(&of(old), &of(new)).pairs[0].verdict
    }

    #[test]
    fn only_what_is_beyond_noise_counts() {
        let old = [100.0, 102.0, 104.0];
        assert_eq!(verdict("down-1", old, [80.0, 90.0, 95.0]), Verdict::Worse);
        assert_eq!(verdict("down-1", old, [80.0, 90.0, 101.0]), Verdict::Same, "rounds overlap");
        assert_eq!(verdict("down-1", old, [98.0, 98.5, 99.0]), Verdict::Same, "too little");
        assert_eq!(verdict("down-1", old, [120.0, 121.0, 122.0]), Verdict::Better);
        // More work for a CPU second is less CPU for a session.
        assert_eq!(verdict("setup", old, [80.0, 90.0, 95.0]), Verdict::Worse);
    }

    #[test]
    fn a_slow_machine_is_not_a_slow_program() {
        let old = run("down-1", &[("websplice-ring", [100.0; 3]), ("haproxy", [50.0; 3])]);
        let slow = run("down-1", &[("websplice-ring", [60.0; 3]), ("haproxy", [30.0; 3])]);
        let worse = run("down-1", &[("websplice-ring", [60.0; 3]), ("haproxy", [50.0; 3])]);
        assert_eq!(Comparison::of(&old, &slow).check(), Ok(()));
        let said = Comparison::of(&old, &worse);
        assert_eq!(said.check().unwrap_err(), "worse beyond noise: down-1 websplice-ring");
        assert!(said.markdown().contains("| haproxy | 0.600 | **worse** |"), "{}", said.markdown());
    }

    #[test]
    fn peers_may_change_and_lost_figures_of_ours_may_not() {
        let old = run("down-1", &[("websplice-ring", [100.0; 3]), ("python", [50.0; 3])]);
        let python = run("down-1", &[("websplice-ring", [100.0; 3]), ("python", [5.0; 3])]);
        assert_eq!(Comparison::of(&old, &python).check(), Ok(()));
        let lost = run("down-1", &[("websplice-ring", [-1.0; 3]), ("python", [50.0; 3])]);
        assert!(Comparison::of(&old, &lost).check().is_err());
        assert_eq!(Comparison::of(&lost, &old).check(), Ok(()), "a new figure is no loss");
    }

    #[test]
    fn figures_of_ours_that_are_asked_for_and_missing_are_a_failure() {
        let old = run(
            "down-1",
            &[("websplice-ring", [100.0; 3]), ("websplice-poll", [90.0; 3]), ("node", [1.0; 3])],
        );
        let mut new = run("down-1", &[("websplice-ring", [100.0; 3])]);
        let said = Comparison::of(&old, &new).check().unwrap_err();
        assert_eq!(said, "worse beyond noise: down-1 websplice-poll (not measured any more)");
        assert!(Comparison::of(&old, &new).markdown().contains("| websplice-poll |"));
        let asked = |peers: &[&str]| Coverage {
            rows: vec!["down-1".into()],
            peers: peers.iter().map(|name| (*name).to_owned()).collect(),
            ..Coverage::default()
        };
        new.coverage = asked(&["websplice-ring"]);
        assert_eq!(Comparison::of(&old, &new).check(), Ok(()), "it was not asked for");
        new.coverage = asked(&["websplice-ring", "websplice-poll", "node"]);
        assert!(Comparison::of(&old, &new).check().is_err());
        let nothing = Run { coverage: asked(&["websplice-ring"]), ..Run::default() };
        assert!(Comparison::of(&old, &nothing).check().unwrap_err().contains("websplice-ring (not measured"));
    }

    #[test]
    fn runs_that_were_not_made_alike_say_so_first() {
        let with = |facts: &[(&str, &str)]| {
            let facts = facts.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            Run { facts, ..run("down-1", &[("websplice-ring", [100.0; 3])]) }
        };
        let old = with(&[
            ("date", "1"),
            ("kernel", "6.1"),
            ("machine", "x"),
            ("only then", "y"),
            ("websplice-ring", "0.1"),
        ]);
        let new = with(&[("date", "2"), ("kernel", "6.2"), ("machine", "x"), ("websplice-ring", "0.2")]);
        let text = Comparison::of(&old, &new).markdown();
        assert!(text.starts_with(
            "The runs were not made alike:\n\n- kernel differs: 6.1 — then, 6.2 — now\n\nAbove"
        ));
        assert!(Comparison::of(&new, &new).markdown().starts_with("Above 1"));
    }

    #[test]
    fn runs_with_nothing_in_common_are_an_error() {
        let one = run("down-1", &[("websplice-ring", [100.0; 3])]);
        let two = run("up-1", &[("websplice-ring", [100.0; 3])]);
        assert!(Comparison::of(&one, &two).check().is_err());
        assert!(Comparison::of(&one, &two).markdown().contains("2 figures"));
    }
}
