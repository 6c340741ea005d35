//! What websplice is to reach, each as a ratio or a bound within one run.
//!
//! A table and its verdicts. It never changes how anything is measured.

use crate::coverage::ROUNDS_MIN;
use crate::judge::{Told, is_noise, judge};
use crate::pace::is_about_the_tail;
use crate::report::Run;
use crate::rows::{Kind, ROWS, row};
use crate::stats::{ADDED_P50, ADDED_P99, BESIDE, Cell, Figure, IMBALANCE, P99, Spread, capacity, headline};

const RING: &str = "websplice-ring";
const POLL: &str = "websplice-poll";
/// The limits of relaying, with copying and without: what a goal comes down to where the best of those that ran does not reach it.
const FLOORS: [&str; 2] = ["floor-epoll", "floor-splice"];
/// That of bridging, which goes before these where it ran: a bridge has requests, headers and masks to deal with, a relay has not.
const BRIDGE_FLOORS: [&str; 1] = ["floor-ws"];
/// The share of the floor that is to be reached then.
const FLOOR_SHARE: f64 = 0.95;

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
    /// Whether what cannot be told from noise is enough ([`is_noise`]).
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
    by(P99, goal("desktops", "haproxy", 1.0)),
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
    within("cores-up-2", "cores-up-1", 1.8),
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
    /// Behind by no more than noise, where that is enough.
    WithinNoise,
    /// The limit itself does not reach it, and ours is as near to the limit as it is to be.
    AtTheFloor,
    Missed,
    /// The figures scatter too widely to say.
    NotTold,
    /// The row was not what the goal is about.
    NotJudged,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Met => "yes",
            Self::WithinNoise => "within noise",
            Self::AtTheFloor => "at the floor",
            Self::Missed => "**no**",
            Self::NotTold => "**not told**",
            Self::NotJudged => "not judged",
        }
    }
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
        let engines = Goal { noise: true, ..goal(row.name, POLL, 1.0) };
        all.extend([bridges, engines].iter().filter_map(|goal| verdict(run, RING, goal)));
    }
    all
}

/// A goal whose bar is inside the interval of what counts for it: more rounds may decide it.
#[derive(Debug)]
pub struct Undecided {
    /// The rows that it is about.
    pub rows: Vec<&'static str>,
    /// Who has a part in it.
    pub peers: Vec<String>,
}

/// What more rounds may decide of the goals that the run can judge; of beating other bridges and of the two engines beside each
/// other nothing, since that is asked of every row.
pub fn undecided(run: &Run) -> Vec<Undecided> {
    let of = |peer: &'static str, goals: &[Goal]| {
        goals.iter().filter_map(|goal| goal.undecided(run, peer)).collect::<Vec<_>>()
    };
    [of(RING, &RING_GOALS), of(RING, &GOALS), of(POLL, &GOALS)].into_iter().flatten().collect()
}

/// The goals' table; empty when none of ours ran.
pub fn table(run: &Run) -> String {
    let verdicts = verdicts(run);
    if verdicts.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "\n## Goals\n\nThe median decides. \"Not told\": fewer than three rounds, or the bar is inside the interval of the median, \
         and that is wider than twice the distance between the two and than a quarter of the bar. \"At the floor\": the row's floor \
         does not reach the goal itself, and ours is at least {FLOOR_SHARE} of it. \"Within noise\", of the two engines \
         beside each other only: behind by at most 3 %, with the bar inside the interval of the median.\n\n\
         | peer | row | goal | reached | met |\n|---|---|---|---|---|\n"
    );
    for Verdict { text: columns, outcome } in verdicts {
        text += &format!("| {columns} | {} |\n", outcome.word());
    }
    text
}

/// Whether all goals that the run can judge are met; goals that it cannot tell are not, unless `let_untold`.
///
/// # Errors
/// Those that are not, a line each; or that the run can judge none.
pub fn check(run: &Run, let_untold: bool) -> Result<(), String> {
    let verdicts = verdicts(run);
    if verdicts.iter().all(|it| it.outcome == Outcome::NotJudged) {
        return Err("no goal can be judged: take rows and peers of which there are goals".into());
    }
    let of = |outcome: Outcome, what: &str| {
        let texts: Vec<&str> =
            verdicts.iter().filter(|it| it.outcome == outcome).map(|it| it.text.as_str()).collect();
        if texts.is_empty() {
            return String::new();
        }
        format!("goals that {what}: {}\n{}\n", texts.len(), texts.join("\n"))
    };
    let missed = of(Outcome::Missed, "are not met");
    let untold = if let_untold { String::new() } else { of(Outcome::NotTold, "the figures do not tell") };
    let all = missed + &untold;
    if all.is_empty() { Ok(()) } else { Err(all.trim_end().to_owned()) }
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

    /// Whether it is about what happens once in a hundred messages, in a row that is to be long for that.
    fn is_tail(&self) -> bool {
        let row = row(self.row);
        is_about_the_tail(row) && self.figure().0.head.contains("p99")
    }

    /// Why the run cannot judge it at all, if so.
    fn unfit(&self, run: &Run) -> Option<String> {
        let wanted = row(self.row).open();
        if let Some(held) = run.coverage.held_of(wanted) {
            return Some(format!("{held} of {wanted} sessions held: limit of descriptors"));
        }
        (run.coverage.quick && self.is_tail()).then(|| "too short a run for it".to_owned())
    }

    /// Who is to be measured again, and where, for `peer`'s part in it to be decided; `None` where it is, or cannot be.
    fn undecided(&self, run: &Run, peer: &str) -> Option<Undecided> {
        let own = run.cell(self.row, peer)?;
        let reached = self.reached(run, own)?.0.filter(|_| self.unfit(run).is_none())?;
        let floor = if self.has_floor() { to_floor(run, own, self) } else { None };
        // A round that failed leaves too few to say anything.
        let is_short = reached.count < ROUNDS_MIN && reached.count < own.rounds.len();
        let is_open = match (self.judged(&reached), &floor) {
            _ if is_short => true,
            (Told::No, Some((floor_misses, share))) => {
                !floor_misses || share.is_around(FLOOR_SHARE) || reached.is_around(self.factor)
            }
            _ => reached.is_around(self.factor),
        };
        let others: &[&str] = match &self.against {
            Against::Peer(name) => &[name],
            Against::Better(names) => names,
            Against::Bridges | Against::Row(_) | Against::Bound => &[],
        };
        let there = |names: &[&'static str]| -> Vec<&'static str> {
            names.iter().copied().filter(|name| run.cell(self.row, name).is_some()).collect()
        };
        let bridging = there(&BRIDGE_FLOORS);
        let floors = if bridging.is_empty() { there(&FLOORS) } else { bridging };
        let floors = if floor.is_some() { floors } else { Vec::new() };
        let other_row = if let Against::Row(name) = self.against { Some(name) } else { None };
        is_open.then(|| Undecided {
            rows: std::iter::once(self.row).chain(other_row).collect(),
            peers: [peer].iter().chain(others).chain(&floors).map(|name| (*name).to_owned()).collect(),
        })
    }

    /// What `reached` says of the goal.
    fn judged(&self, reached: &Spread) -> Told {
        judge(reached, self.factor, matches!(self.against, Against::Bound))
    }

    /// Whether the limit of relaying is an excuse: not for what is held against another bridge or our other engine, which have
    /// the same limit.
    fn has_floor(&self) -> bool {
        !matches!(self.against, Against::Bridges | Against::Peer(POLL))
    }

    /// What became of it, where `own` reached so much; and how near to the floor that is, if that matters.
    fn outcome(&self, run: &Run, own: &Cell, reached: &Spread) -> (Outcome, Option<Spread>) {
        match self.judged(reached) {
            Told::Yes => return (Outcome::Met, None),
            Told::Nothing => return (Outcome::NotTold, None),
            Told::No if self.noise && is_noise(reached, self.factor) => return (Outcome::WithinNoise, None),
            Told::No => {}
        }
        let floor = if self.has_floor() { to_floor(run, own, self) } else { None };
        let Some((floor_misses, share)) = floor else { return (Outcome::Missed, None) };
        let outcome = match (judge(&share, FLOOR_SHARE, false), floor_misses) {
            (Told::No, _) => Outcome::Missed,
            (Told::Yes, true) => Outcome::AtTheFloor,
            _ => Outcome::NotTold,
        };
        (outcome, Some(share))
    }
}

/// `None` when one of the two did not run, or the other has no figure.
fn verdict(run: &Run, peer: &str, goal: &Goal) -> Option<Verdict> {
    let own = run.cell(goal.row, peer)?;
    let (reached, name) = goal.reached(run, own)?;
    let factor = goal.factor;
    let asked = match (goal.against, goal.figure) {
        (Against::Bound, _) => format!("at most {factor} {name}"),
        (_, Some(figure)) => format!("{factor:.2} times {name} in {}", figure.head),
        _ => format!("{factor:.2} times {name}"),
    };
    let head = format!("{peer} | {} | {asked}", goal.row);
    if let Some(why) = goal.unfit(run) {
        return Some(Verdict { text: format!("{head} | {why}"), outcome: Outcome::NotJudged });
    }
    let Some(reached) = reached else {
        return Some(Verdict { text: format!("{head} | no figure"), outcome: Outcome::Missed });
    };
    let (outcome, share) = goal.outcome(run, own, &reached);
    let share = share.map_or(String::new(), |share| format!("; {share} of floor"));
    let failed = own.rounds.iter().filter(|round| round.is_err()).count();
    let failed = if failed == 0 { String::new() } else { format!("; {failed} rounds failed") };
    Some(Verdict { text: format!("{head} | {reached}{share}{failed}"), outcome })
}

/// Whether the row's floor misses the goal for certain, and how near to it `own` is; `None` where it reaches the goal, or none ran.
fn to_floor(run: &Run, own: &Cell, goal: &Goal) -> Option<(bool, Spread)> {
    let (figure, more) = goal.figure();
    let bridges = run.best(goal.row, &BRIDGE_FLOORS, figure, more);
    let floor = bridges.or_else(|| run.best(goal.row, &FLOORS, figure, more))?;
    let (there, _) = goal.reached(run, floor)?;
    let misses = match goal.judged(&there?) {
        Told::Yes => return None,
        Told::No => true,
        Told::Nothing => false,
    };
    let share = if more { own.ratio(figure, floor, figure) } else { floor.ratio(figure, own, figure) };
    Some((misses, share?))
}

#[cfg(test)]
#[path = "goals_tests.rs"]
mod tests;
