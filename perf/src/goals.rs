//! What websplice is to reach, each as a ratio within one run.
//!
//! A table and its verdicts. It never changes how anything is measured.

use crate::report::Run;
use crate::rows::{ROWS, row};
use crate::stats::headline;

/// The peers that the goals are set for.
const OURS: [&str; 2] = ["websplice-ring", "websplice-poll"];

/// What a row is held against.
#[derive(Clone, Copy)]
enum Against {
    /// Another peer in the same row.
    Peer(&'static str),
    /// The same peer in another row.
    Row(&'static str),
}

/// One goal: in `row`, at least `factor` times as good as `against`. Twice as good is twice the work per CPU second, or
/// half the CPU or memory per piece.
struct Goal {
    row: &'static str,
    against: Against,
    factor: f64,
    /// Whether a spread that reaches [`LEVEL`] is enough.
    noise: bool,
}

const fn goal(row: &'static str, against: &'static str, factor: f64) -> Goal {
    Goal { row, against: Against::Peer(against), factor, noise: false }
}

const fn within(row: &'static str, other: &'static str, factor: f64) -> Goal {
    Goal { row, against: Against::Row(other), factor, noise: false }
}

const GOALS: [Goal; 22] = [
    goal("down-1", "haproxy", 0.9),
    goal("down-16", "haproxy", 0.9),
    goal("up-1", "haproxy", 0.7),
    goal("up-16", "haproxy", 0.7),
    goal("echo-64", "haproxy", 1.0 / 1.2),
    goal("setup", "haproxy", 1.0 / 1.5),
    goal("down-1", "python", 1.3),
    goal("down-16", "python", 1.3),
    goal("up-1", "python", 4.0),
    goal("up-16", "python", 4.0),
    goal("echo-1", "python", 10.0),
    goal("echo-64", "python", 10.0),
    goal("setup", "python", 50.0),
    goal("idle", "python", 1.0),
    goal("tls-down-1", "nginx", 0.9),
    goal("tls-down-16", "nginx", 0.9),
    goal("tls-up-1", "nginx", 0.9),
    goal("tls-up-16", "nginx", 0.9),
    goal("tls-echo-64", "nginx", 1.0 / 1.1),
    goal("tls-full", "nginx", 1.0 / 1.2),
    // A resumption is to be no dearer than what it saves; with RSA it is to save most of it.
    within("tls-resumed", "tls-full", 1.0),
    within("tls-resumed-rsa", "tls-full-rsa", 1.0 / 0.4),
];

/// Most memory of an idle session beyond kernel sockets, in KiB, by row.
const IDLE_KIB_MAX: [(&str, f64); 2] = [("idle", 2.0), ("tls-idle", 6.0)];

/// The ring engine against the other, in every row: the little that is lacking to one is noise.
const RING_TO_POLL: f64 = 0.97;
/// Where rounds scatter more than that, the best of them has to reach this: then the run does not tell the two apart.
const LEVEL: f64 = 1.0;

/// What became of one goal.
struct Verdict {
    /// Peer, row, what was asked and what was reached, as columns.
    text: String,
    met: bool,
}

/// All goals that the run says something about.
fn verdicts(run: &Run) -> Vec<Verdict> {
    let [ring, poll] = OURS;
    let mut all = Vec::new();
    for peer in OURS {
        all.extend(GOALS.iter().filter_map(|goal| ratio(run, peer, goal)));
        all.extend(IDLE_KIB_MAX.iter().filter_map(|&(name, kib)| idle(run, peer, name, kib)));
    }
    all.extend(ROWS.iter().filter_map(|row| {
        let goal = Goal { noise: true, ..goal(row.name, poll, RING_TO_POLL) };
        ratio(run, ring, &goal)
    }));
    all
}

/// The goals' table; empty when none of ours ran.
pub fn table(run: &Run) -> String {
    let verdicts = verdicts(run);
    if verdicts.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "\n## Goals\n\nThe median decides. Against websplice-poll, websplice-ring may be behind by what this run cannot tell \
         from noise: the goal is met where the median is at least {RING_TO_POLL} or the best round at least {LEVEL:.2}.\n\n\
         | peer | row | at least | reached | met |\n|---|---|---|---|---|\n"
    );
    for Verdict { text: columns, met } in verdicts {
        text += &format!("| {columns} | {} |\n", if met { "yes" } else { "**no**" });
    }
    text
}

/// Whether all goals that the run says something about are met.
///
/// # Errors
/// Those that are not, a line each; or that the run says nothing about any.
pub fn check(run: &Run) -> Result<(), String> {
    let verdicts = verdicts(run);
    if verdicts.is_empty() {
        return Err("no goal can be judged: take rows and peers of which there are goals".into());
    }
    let missed: Vec<String> = verdicts.into_iter().filter(|it| !it.met).map(|it| it.text).collect();
    match missed.len() {
        0 => Ok(()),
        count => Err(format!("goals that are not met: {count}\n{}", missed.join("\n"))),
    }
}

/// `None` when one of the two did not run, or the other has no figure.
fn ratio(run: &Run, peer: &str, goal: &Goal) -> Option<Verdict> {
    let (figure, more) = headline(row(goal.row).kind);
    let own = run.cell(goal.row, peer)?;
    let (other, name) = match goal.against {
        Against::Peer(name) => (run.cell(goal.row, name)?, name),
        Against::Row(name) => (run.cell(name, peer)?, name),
    };
    other.spread(figure)?;
    let (row, factor) = (goal.row, goal.factor);
    let head = format!("{peer} | {row} | {factor:.2} times {name}");
    Some(match if more { own.ratio(other, figure) } else { other.ratio(own, figure) } {
        Some(ratio) => Verdict {
            text: format!("{head} | {ratio}"),
            met: ratio.median >= factor || goal.noise && ratio.max >= LEVEL,
        },
        None => Verdict { text: format!("{head} | no figure"), met: false },
    })
}

/// `None` when the peer did not run.
fn idle(run: &Run, peer: &str, name: &str, kib: f64) -> Option<Verdict> {
    let spread = run.cell(name, peer)?.spread(headline(row(name).kind).0);
    let reached = spread.map_or("no figure".into(), |spread| spread.to_string());
    Some(Verdict {
        text: format!("{peer} | {name} | no more than {kib} KiB | {reached}"),
        met: spread.is_some_and(|spread| spread.median <= kib),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Sample;
    use crate::stats::Cell;

    /// A cell with this much work per CPU second in each round; a negative one failed.
    fn cell(row: &str, peer: &str, work: &[f64]) -> Cell {
        let round = |&work: &f64| match work {
            work if work < 0.0 => Err("it stalled".into()),
            work => Ok(Sample { work: work * 1e6, seconds: 1.0, peer_cpu: 1.0, ..Sample::default() }),
        };
        Cell { row: row.into(), peer: peer.into(), rounds: work.iter().map(round).collect() }
    }

    fn run(cells: &[(&str, &[f64])]) -> Run {
        let cells = cells.iter().map(|(peer, work)| cell("down-1", peer, work)).collect();
        Run { facts: Vec::new(), cells }
    }

    /// Whether each goal is met, in order.
    fn met(run: &Run) -> Vec<bool> {
        verdicts(run).iter().map(|verdict| verdict.met).collect()
    }

    #[test]
    fn the_median_decides() {
        for (ours, expected) in [([80.0, 90.0, 95.0], true), ([80.0, 89.0, 200.0], false)] {
            let run = run(&[("websplice-poll", &ours), ("haproxy", &[100.0; 3])]);
            assert_eq!(met(&run), [expected]);
            assert_eq!(check(&run).is_ok(), expected);
            assert_eq!(table(&run).contains("**no**"), !expected);
        }
    }

    #[test]
    fn ring_may_be_behind_poll_by_noise() {
        for (ring, expected) in [
            ([97.0, 97.0, 97.0], true),
            ([96.0, 96.9, 99.9], false),
            ([80.0, 90.0, 100.0], true),
            ([80.0, 90.0, 99.0], false),
        ] {
            let run = run(&[("websplice-ring", &ring), ("websplice-poll", &[100.0; 3])]);
            assert_eq!(met(&run), [expected], "{ring:?}");
        }
        let text = table(&run(&[("websplice-ring", &[1.0]), ("websplice-poll", &[1.0])]));
        assert!(text.contains("at least 0.97 or the best round at least 1.00"), "{text}");
    }

    #[test]
    fn less_is_better_where_it_costs() {
        let cells =
            |ours: f64| vec![cell("setup", "websplice-poll", &[ours]), cell("setup", "haproxy", &[1.0])];
        // Work per CPU second, so half of the sessions are twice the price of each.
        assert_eq!(met(&Run { facts: Vec::new(), cells: cells(0.7) }), [true]);
        assert_eq!(met(&Run { facts: Vec::new(), cells: cells(0.5) }), [false]);
    }

    #[test]
    fn a_check_says_what_is_missed() {
        let said = check(&run(&[("websplice-ring", &[10.0]), ("haproxy", &[100.0])])).unwrap_err();
        assert!(said.contains("not met: 1\nwebsplice-ring | down-1 | 0.90 times haproxy | 0.100"), "{said}");
        assert!(check(&run(&[("haproxy", &[100.0])])).unwrap_err().contains("no goal"));
    }

    #[test]
    fn without_a_figure_of_ours_a_goal_is_missed() {
        assert_eq!(met(&run(&[("websplice-ring", &[-1.0]), ("haproxy", &[100.0])])), [false]);
        assert_eq!(met(&run(&[("websplice-ring", &[1.0]), ("haproxy", &[-1.0])])), [false; 0]);
        let idle = Run { facts: Vec::new(), cells: vec![cell("idle", "websplice-ring", &[-1.0])] };
        assert_eq!(met(&idle), [false]);
    }
}
