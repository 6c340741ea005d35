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
}

const fn goal(row: &'static str, against: &'static str, factor: f64) -> Goal {
    Goal { row, against: Against::Peer(against), factor }
}

const fn within(row: &'static str, other: &'static str, factor: f64) -> Goal {
    Goal { row, against: Against::Row(other), factor }
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

/// The goals' table; empty when none of ours ran.
pub fn table(run: &Run) -> String {
    let [ring, poll] = OURS;
    let mut lines = String::new();
    for peer in OURS {
        for goal in &GOALS {
            lines += &line(run, peer, goal).unwrap_or_default();
        }
        for (name, kib) in IDLE_KIB_MAX {
            lines += &idle_line(run, peer, name, kib).unwrap_or_default();
        }
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
    let (figure, more) = headline(row(goal.row).kind);
    let own = run.cell(goal.row, peer)?;
    let (other, name) = match goal.against {
        Against::Peer(name) => (run.cell(goal.row, name)?, name),
        Against::Row(name) => (run.cell(name, peer)?, name),
    };
    let ratio = if more { own.ratio(other, figure) } else { other.ratio(own, figure) }?;
    let (row, factor, met) = (goal.row, goal.factor, verdict(ratio.median >= goal.factor));
    Some(format!("| {peer} | {row} | {factor:.2} times {name} | {ratio} | {met} |\n"))
}

fn idle_line(run: &Run, peer: &str, name: &str, kib: f64) -> Option<String> {
    let spread = run.cell(name, peer)?.spread(headline(row(name).kind).0)?;
    Some(format!(
        "| {peer} | {name} | no more than {kib} KiB | {spread} | {} |\n",
        verdict(spread.median <= kib)
    ))
}

fn verdict(met: bool) -> &'static str {
    if met { "yes" } else { "**no**" }
}
