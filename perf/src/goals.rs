//! What websplice is to reach, each as a ratio within one run.
//!
//! A table and its verdicts. It never changes how anything is measured.

use std::fmt::Write as _;

use crate::report::Run;
use crate::rows::{Kind, ROWS};
use crate::stats::headline;

/// The peers that the goals are set for.
const OURS: [&str; 2] = ["websplice-ring", "websplice-poll"];

/// One goal: in `row`, at least `factor` times as good as `against`. Twice as good is twice the work per CPU second, or
/// half the CPU or memory per piece.
struct Goal {
    row: &'static str,
    against: &'static str,
    factor: f64,
}

const fn goal(row: &'static str, against: &'static str, factor: f64) -> Goal {
    Goal { row, against, factor }
}

const GOALS: [Goal; 15] = [
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
    goal("idle", "haproxy", 1.0),
];

/// Most memory of an idle session beyond kernel sockets, in KiB.
const IDLE_KIB_MAX: f64 = 2.0;

/// The goals' table; empty when none of ours ran.
pub fn table(run: &Run) -> String {
    let mut lines = String::new();
    for peer in OURS {
        for goal in &GOALS {
            let row = ROWS.iter().find(|row| row.name == goal.row).expect("goals name known rows");
            let (figure, more) = headline(row.kind);
            let cells = (run.cell(row.name, peer), run.cell(row.name, goal.against));
            let (Some(own), Some(other)) = cells else { continue };
            let ratio = if more { own.ratio(other, figure) } else { other.ratio(own, figure) };
            let Some(ratio) = ratio else { continue };
            let verdict = if ratio.median >= goal.factor { "yes" } else { "**no**" };
            let against = format!("{:.2} times {}", goal.factor, goal.against);
            let _ = writeln!(lines, "| {peer} | {} | {against} | {ratio} | {verdict} |", row.name);
        }
        let idle = ROWS.iter().find(|row| row.kind == Kind::Idle).expect("there is an idle row");
        if let Some(spread) = run.cell(idle.name, peer).and_then(|cell| cell.spread(headline(idle.kind).0)) {
            let verdict = if spread.median <= IDLE_KIB_MAX { "yes" } else { "**no**" };
            let _ = writeln!(lines, "| {peer} | {} | at most {IDLE_KIB_MAX} KiB | {spread} | {verdict} |", idle.name);
        }
    }
    if lines.is_empty() {
        return lines;
    }
    format!("\n## Goals\n\n| peer | row | at least | reached | met |\n|---|---|---|---|---|\n{lines}")
}
