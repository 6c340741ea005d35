//! What websplice is to reach, each as a ratio within one run.
//!
//! A table and its verdicts. It never changes how anything is measured.

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

const GOALS: [Goal; 14] = [
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
];

/// Most memory of an idle session beyond kernel sockets, in KiB.
const IDLE_KIB_MAX: f64 = 2.0;

/// The ring engine against the other, in every row: the little that is lacking to one is noise.
const RING_TO_POLL: f64 = 0.97;

/// The goals' table; empty when none of ours ran.
pub fn table(run: &Run) -> String {
    let [ring, poll] = OURS;
    let mut lines = String::new();
    for peer in OURS {
        for goal in &GOALS {
            lines += &line(run, peer, goal).unwrap_or_default();
        }
        lines += &idle_line(run, peer).unwrap_or_default();
    }
    for row in &ROWS {
        lines += &line(run, ring, &goal(row.name, poll, RING_TO_POLL)).unwrap_or_default();
    }
    if lines.is_empty() {
        return lines;
    }
    format!("\n## Goals\n\n| peer | row | at least | reached | met |\n|---|---|---|---|---|\n{lines}")
}

fn line(run: &Run, peer: &str, goal: &Goal) -> Option<String> {
    let row = ROWS.iter().find(|row| row.name == goal.row).expect("goals name known rows");
    let (figure, more) = headline(row.kind);
    let (own, other) = (run.cell(row.name, peer)?, run.cell(row.name, goal.against)?);
    let ratio = if more { own.ratio(other, figure) } else { other.ratio(own, figure) }?;
    let (factor, against, met) = (goal.factor, goal.against, verdict(ratio.median >= goal.factor));
    Some(format!("| {peer} | {} | {factor:.2} times {against} | {ratio} | {met} |\n", row.name))
}

fn idle_line(run: &Run, peer: &str) -> Option<String> {
    let row = ROWS.iter().find(|row| row.kind == Kind::Idle).expect("there is an idle row");
    let spread = run.cell(row.name, peer)?.spread(headline(row.kind).0)?;
    let met = verdict(spread.median <= IDLE_KIB_MAX);
    Some(format!("| {peer} | {} | no more than {IDLE_KIB_MAX} KiB | {spread} | {met} |\n", row.name))
}

fn verdict(met: bool) -> &'static str {
    if met { "yes" } else { "**no**" }
}
