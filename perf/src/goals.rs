//! What websplice is to reach, each as a ratio or a bound within one run.
//!
//! A table and its verdicts. It never changes how anything is measured.

use crate::report::Run;
use crate::rows::{Kind, ROWS, row};
use crate::stats::{ADDED_P50, ADDED_P99, BESIDE, Cell, Figure, IMBALANCE, P99, Spread, capacity, headline};

const RING: &str = "websplice-ring";
const POLL: &str = "websplice-poll";
/// The limits of relaying, with copying and without: what a goal comes down to where the better of them does not reach it.
const FLOORS: [&str; 2] = ["floor-epoll", "floor-splice"];
/// That of set-ups: a bridge has to take and answer a request and a close, a relay has not.
const SETUP_FLOORS: [&str; 1] = ["floor-ws"];
/// The share of the floor that is to be reached then.
const FLOOR_SHARE: f64 = 0.95;
/// The ring engine against the other, in every row: the little that is lacking to one is noise.
const RING_TO_POLL: f64 = 0.97;
/// Where rounds scatter more than that, the best of them has to reach this: then the run does not tell the two apart.
const LEVEL: f64 = 1.0;

/// What a row is held against.
#[derive(Clone, Copy)]
enum Against {
    /// Another peer in the same row.
    Peer(&'static str),
    /// The better of two peers in the same row.
    Better([&'static str; 2]),
    /// The best WebSocket bridge in the same row that is not ours.
    Bridges,
    /// The same peer in another row.
    Row(&'static str),
    /// A bound of its own.
    Bound,
}

/// One goal: in `row`, at least `factor` times as good as `against`, or no more than `factor`. Twice as good is twice the work
/// per CPU second, or half the CPU, memory or time per piece.
#[derive(Clone, Copy)]
struct Goal {
    row: &'static str,
    against: Against,
    factor: f64,
    /// Another figure than the row's own; less of it is better.
    figure: Option<Figure>,
    /// Whether a spread that reaches [`LEVEL`] is enough.
    noise: bool,
}

const fn goal(row: &'static str, peer: &'static str, factor: f64) -> Goal {
    Goal { row, against: Against::Peer(peer), factor, figure: None, noise: false }
}

const fn better(row: &'static str, peers: [&'static str; 2], factor: f64) -> Goal {
    Goal { against: Against::Better(peers), ..goal(row, "", factor) }
}

const fn within(row: &'static str, other: &'static str, factor: f64) -> Goal {
    Goal { against: Against::Row(other), ..goal(row, "", factor) }
}

const fn bound(row: &'static str, most: f64) -> Goal {
    Goal { against: Against::Bound, ..goal(row, "", most) }
}

const fn by(figure: Figure, goal: Goal) -> Goal {
    Goal { figure: Some(figure), ..goal }
}

/// What the ring engine is to reach.
const RING_GOALS: [Goal; 31] = [
    better("down-1", ["haproxy", "haproxy-splice"], 1.2),
    goal("down-16", "haproxy-splice", 1.0),
    goal("up-1", "haproxy", 0.9),
    goal("up-16", "haproxy", 0.9),
    goal("both-1", "haproxy", 1.0),
    goal("both-16", "haproxy", 1.0),
    goal("echo-64", "haproxy", 1.0 / 0.75),
    goal("echo-1000", "haproxy", 1.0 / 0.75),
    goal("setup", "haproxy", 1.0),
    goal("desktops", "haproxy", 1.0 / 0.8),
    Goal { noise: true, ..by(P99, goal("desktops", "haproxy", RING_TO_POLL)) },
    bound("idle", 1.0),
    bound("tls-idle", 5.0),
    goal("tls-down-1", "nginx", 1.2),
    goal("tls-down-16", "nginx", 1.2),
    goal("tls-up-1", "nginx", 1.0),
    goal("tls-up-16", "nginx", 1.0),
    goal("tls-echo-64", "nginx", 1.0 / 0.9),
    goal("tls-full", "nginx", 1.0),
    bound("start", 10.0),
    by(ADDED_P50, bound("latency", 30.0)),
    by(ADDED_P99, bound("latency", 150.0)),
    // What rests beside them is to cost those nothing that work.
    within("idle-20000+active-1000", "echo-1000", 1.0 / 1.1),
    by(IMBALANCE, bound("shards-16", 1.3)),
    by(IMBALANCE, bound("shards-64", 1.3)),
    by(IMBALANCE, bound("shards-1000", 1.3)),
    within("cores-2", "cores-1", 1.8),
    // A resumption is to be no dearer than what it saves; with RSA it is to save most of it.
    within("tls-resumed", "tls-full", 1.0),
    within("tls-resumed-rsa", "tls-full-rsa", 1.0 / 0.4),
    goal("echo-1", "python", 10.0),
    goal("setup", "python", 50.0),
];

/// What both engines are to reach at least.
const GOALS: [Goal; 19] = [
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
    goal("echo-64", "python", 10.0),
    goal("idle", "python", 1.0),
    goal("tls-down-1", "nginx", 0.9),
    goal("tls-down-16", "nginx", 0.9),
    goal("tls-up-1", "nginx", 0.9),
    goal("tls-up-16", "nginx", 0.9),
    goal("tls-full", "nginx", 1.0 / 1.2),
    // Who needs no look-up is not to notice those that wait for one.
    by(BESIDE, bound("tokens-beside-redis", 1.1)),
    by(BESIDE, bound("tokens-beside-http", 1.1)),
];

/// What became of one goal.
struct Verdict {
    /// Peer, row, what was asked and what was reached, as columns.
    text: String,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Met,
    /// The limit itself does not reach it, and ours is as near to the limit as it is to be.
    AtTheFloor,
    Missed,
}

/// All goals that the run says something about.
fn verdicts(run: &Run) -> Vec<Verdict> {
    let mut all: Vec<Verdict> = RING_GOALS.iter().filter_map(|goal| verdict(run, RING, goal)).collect();
    for peer in [RING, POLL] {
        all.extend(GOALS.iter().filter_map(|goal| verdict(run, peer, goal)));
    }
    // What is held against itself says nothing of two engines.
    for row in ROWS.iter().filter(|row| row.kind != Kind::Beside) {
        let bridges = Goal { against: Against::Bridges, ..goal(row.name, "", 1.0) };
        let engines = Goal { noise: true, ..goal(row.name, POLL, RING_TO_POLL) };
        all.extend([bridges, engines].iter().filter_map(|goal| verdict(run, RING, goal)));
    }
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
         from noise: the goal is met where the median is at least {RING_TO_POLL} or the best round at least {LEVEL:.2}. Where \
         no floor reaches a goal itself, {FLOOR_SHARE} of the better one is enough: \"at the floor\".\n\n\
         | peer | row | goal | reached | met |\n|---|---|---|---|---|\n"
    );
    for Verdict { text: columns, outcome } in verdicts {
        let word = match outcome {
            Outcome::Met => "yes",
            Outcome::AtTheFloor => "at the floor",
            Outcome::Missed => "**no**",
        };
        text += &format!("| {columns} | {word} |\n");
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
    let missed = verdicts.into_iter().filter(|it| it.outcome == Outcome::Missed);
    let missed: Vec<String> = missed.map(|it| it.text).collect();
    match missed.len() {
        0 => Ok(()),
        count => Err(format!("goals that are not met: {count}\n{}", missed.join("\n"))),
    }
}

impl Goal {
    /// The figure that counts, and whether more of it is better.
    fn figure(&self) -> (Figure, bool) {
        match self.figure {
            Some(figure) => (figure, false),
            None if row(self.row).all_cores() => (capacity(row(self.row).shards), true),
            None => headline(row(self.row).kind),
        }
    }

    /// What `own` reaches, and the name of what it is held against. `None` where that has no figure.
    fn reached(&self, run: &Run, own: &Cell) -> Option<(Option<Spread>, String)> {
        let (figure, more) = self.figure();
        let to = |other: &Cell, figure_there: Figure, name: &str| {
            other.spread(figure_there)?;
            let ratio = if more {
                own.ratio(figure, other, figure_there)
            } else {
                other.ratio(figure_there, own, figure)
            };
            Some((ratio, name.to_owned()))
        };
        match self.against {
            Against::Peer(name) => to(run.cell(self.row, name)?, figure, name),
            Against::Better(names) => {
                let cell = run.best(self.row, &names, figure, more)?;
                to(cell, figure, &cell.peer)
            }
            Against::Bridges => {
                let names: Vec<&str> = run.bridges.iter().map(String::as_str).collect();
                let cell = run.best(self.row, &names, figure, more)?;
                to(cell, figure, &cell.peer)
            }
            Against::Row(name) => {
                let there = if row(name).all_cores() { capacity(row(name).shards) } else { figure };
                to(run.cell(name, &own.peer)?, there, name)
            }
            Against::Bound => Some((own.spread(figure), figure.head.to_owned())),
        }
    }

    fn met(&self, reached: Spread) -> bool {
        match self.against {
            Against::Bound => reached.median <= self.factor,
            _ => reached.median >= self.factor || self.noise && reached.max >= LEVEL,
        }
    }
}

/// `None` when one of the two did not run, or the other has no figure.
fn verdict(run: &Run, peer: &str, goal: &Goal) -> Option<Verdict> {
    let own = run.cell(goal.row, peer)?;
    let (reached, name) = goal.reached(run, own)?;
    let (row, factor) = (goal.row, goal.factor);
    let asked = match (goal.against, goal.figure) {
        (Against::Bound, _) => format!("at most {factor} {name}"),
        (_, Some(figure)) => format!("{factor:.2} times {name} in {}", figure.head),
        _ => format!("{factor:.2} times {name}"),
    };
    let head = format!("{peer} | {row} | {asked}");
    let Some(reached) = reached else {
        return Some(Verdict { text: format!("{head} | no figure"), outcome: Outcome::Missed });
    };
    if goal.met(reached) {
        return Some(Verdict { text: format!("{head} | {reached}"), outcome: Outcome::Met });
    }
    match to_floor(run, own, goal) {
        Some(share) if share.median >= FLOOR_SHARE => Some(Verdict {
            text: format!("{head} | {reached}; {share} of floor"),
            outcome: Outcome::AtTheFloor,
        }),
        Some(share) => {
            Some(Verdict { text: format!("{head} | {reached}; {share} of floor"), outcome: Outcome::Missed })
        }
        None => Some(Verdict { text: format!("{head} | {reached}"), outcome: Outcome::Missed }),
    }
}

/// How near to the floor `own` is, where the floor does not reach the goal either.
fn to_floor(run: &Run, own: &Cell, goal: &Goal) -> Option<Spread> {
    let (figure, more) = goal.figure();
    let floors = if goal.row == "setup" { &SETUP_FLOORS[..] } else { &FLOORS };
    let floor = run.best(goal.row, floors, figure, more)?;
    let (there, _) = goal.reached(run, floor)?;
    if goal.met(there?) {
        return None;
    }
    if more { own.ratio(figure, floor, figure) } else { floor.ratio(figure, own, figure) }
}

#[cfg(test)]
#[path = "goals_tests.rs"]
mod tests;
