//! Measures websplice and its peers side by side.
//!
//! For each row, rounds go over all peers in turn (A B C A B C), so that what the machine does meanwhile hits all alike.
//! The storeys of this small house, from the ground up: [`sys`] [`mod@say`] [`rows`] [`pace`] [`schedule`] [`frames`] [`messages`]
//! [`queue`] [`cores`] [`procfs`], then [`tls`], what is [`shared`] by [`client`] and [`target`] with the [`load`] that carries
//! them, [`peers`] with [`extras`], the [`tokens`] and the [`services`] that know them, and those of our own, the [`floor`] with its
//! [`pipes`] and the [`bridge_floor`], that are [`running`], the [`courses`] of rows, what it takes to [`begin`] and what goes on
//! [`beside`] others, [`measure`], and on top [`stats`], [`coverage`], [`judge`], [`goals`], [`chart`] [`plots`] [`report`],
//! [`compare`], [`plan`], what is measured [`again`], [`options`] and [`machine`]. This file owns the order of things and never measures itself.

mod again;
mod begin;
mod beside;
mod bridge_floor;
mod chart;
mod client;
mod compare;
mod configurations;
mod cores;
mod courses;
mod coverage;
mod extras;
mod floor;
mod frames;
mod goals;
mod judge;
mod load;
mod machine;
mod measure;
mod messages;
mod options;
mod pace;
mod peers;
mod pipes;
mod plan;
mod plots;
mod procfs;
mod queue;
mod report;
mod rows;
mod running;
mod say;
mod schedule;
mod services;
mod shared;
mod stats;
mod sys;
mod target;
mod tls;
mod tokens;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use coverage::{Coverage, NO_TIME};
use measure::Sample;
use options::{Errand, Options, Out};
use peers::Peer;
use plan::{Progress, QUICK_LIMIT, Turn};
use report::Run;
use rows::{Key, Knower, Row};
use say::{complain, say};
use stats::{Cell, Spread, figures, headline};

/// Where whole runs are published.
const PUBLISHED: &str = "perf/RESULTS.md";
/// Name of a report beside the samples.
const REPORT: &str = "RESULTS.md";

fn main() -> ExitCode {
    let told = std::env::var("PERF_PEERS").unwrap_or_default();
    let result = match Errand::parse(lexopt::Parser::from_env(), &told) {
        Ok(Errand::Measure(options)) => run(*options),
        Ok(Errand::Floor(order)) if order.way.speaks_messages() => bridge_floor::run(order),
        Ok(Errand::Floor(order)) => floor::run(order),
        Ok(Errand::Compare { old, new }) => compare_saved(&old, &new),
        Ok(Errand::Report(file)) => report_saved(&file),
        Ok(Errand::Help) => {
            say!("{}", options::help().trim_end());
            Ok(())
        }
        Err(error) => {
            complain!("websplice-perf: {error}\n\n{}", options::help().trim_end());
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) if say::is_nobody_there() => ExitCode::FAILURE,
        Err(error) => {
            complain!("websplice-perf: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut options: Options) -> Result<(), String> {
    sys::catch_interrupts().map_err(|error| format!("signals: {error}"))?;
    fs::create_dir_all(&options.programs.scratch)
        .map_err(|error| format!("{}: {error}", options.programs.scratch.display()))?;
    let sessions = machine::raise_descriptor_limit()?;
    // A little more is let in than comes, so that nobody waits at the door.
    (options.pace.sessions_max, options.programs.sessions_max) = (sessions, sessions.min(22_000) + 100);
    let mut coverage = coverage_of(&options);
    let present = leave_out(&mut options, &mut coverage)?;
    let options = &options;
    let turns = plan::turns(&options.rows, &present);
    let mut progress = Progress::new(&turns, &options.pace);
    say!("{} rows, {} peers: {}", options.rows.len(), present.len(), progress.outlook());
    if let Some(row) = options.rows.iter().find(|row| row.open() > sessions) {
        say!("descriptors allow {sessions} sessions: {} and others hold no more", row.name);
    }
    if options.list {
        turns.iter().for_each(|(row, peer)| say!("  {:<24}{}", row.name, peer.name()));
        return Ok(());
    }
    let congestion = machine::choose_congestion(&options.congestion)?;
    let _preference = if options.first { Some(machine::First::ask()?) } else { None };
    let cores = cores::settle()?;
    for key in [Key::Ecdsa, Key::Rsa] {
        if options.rows.iter().any(|row| row.secure.is_some_and(|secure| secure.key == key)) {
            tls::make_certificate(&options.programs.scratch, key)?;
        }
    }
    say!("peers on core {}, load on core {}; congestion control: {congestion}", cores.peer, cores.load);
    let bridge = |peer: &&Peer| peer.path().is_some() && !peer.ours() && **peer != Peer::FloorWs;
    let mut run = Run {
        facts: machine::facts(options, &present, &congestion),
        coverage,
        bridges: present.iter().filter(bridge).map(|peer| peer.name().to_owned()).collect(),
        cells: Vec::new(),
    };
    let start = Instant::now();
    let limit = if options.pace.quick { QUICK_LIMIT } else { f64::INFINITY };
    measure_all(&mut run, options, &present, &mut progress, (start, limit))?;
    decide(&mut run, options, &present)?;
    say!("\n{}", run.markdown());
    say!("{} in all", plan::spoken(start.elapsed().as_secs_f64()));
    for place in write_out(options, &run, true)? {
        say!("written: {}", place.display());
    }
    if options.check { goals::check(&run, options.let_untold) } else { Ok(()) }
}

/// What a run is to measure, as long as nothing is left out.
fn coverage_of(options: &Options) -> Coverage {
    let peers = |extra: bool| {
        let is_so = move |peer: &&Peer| !extra || matches!(peer, Peer::Extra(_));
        options.peers.iter().filter(is_so).map(|peer| peer.name().to_owned()).collect()
    };
    Coverage {
        rows: options.rows.iter().map(|row| row.name.to_owned()).collect(),
        peers: peers(false),
        extras: peers(true),
        left_out: Vec::new(),
        rounds: options.pace.rounds,
        more_rounds: Vec::new(),
        quick: options.pace.quick,
        sessions_max: options.pace.sessions_max,
    }
}

/// Leaves out rows whose source of tokens is not there, and peers whose program is not; returns the peers that are. What is left
/// out is named.
fn leave_out(options: &mut Options, coverage: &mut Coverage) -> Result<Vec<Peer>, String> {
    let mut note = |name: &str, why: String| {
        complain!("{name}: {why}; left out");
        coverage.left_out.push((name.to_owned(), why));
    };
    options.rows.retain(|row| match row.tokens.and_then(Knower::lacks) {
        Some(program) => {
            note(row.name, format!("no {program} in PATH"));
            false
        }
        None => true,
    });
    if options.rows.is_empty() {
        return Err("no row is left to be measured".into());
    }
    let mut present = options.peers.clone();
    present.retain(|peer| match peer.lacks(&options.programs) {
        Some(why) => {
            note(peer.name(), why);
            false
        }
        None => true,
    });
    if present.is_empty() {
        return Err("no peer is left to be measured".into());
    }
    Ok(present)
}

/// Measures row after row into `run` until so many seconds after `start`, and writes down after each row what there is.
fn measure_all(
    run: &mut Run,
    options: &Options,
    present: &[Peer],
    progress: &mut Progress,
    (start, limit): (Instant, f64),
) -> Result<(), String> {
    for rows in options.rows.chunk_by(|row, next| row.is_beside(next)) {
        let turns = plan::turns(rows, present);
        let gone = start.elapsed();
        let mut late = gone.as_secs_f64() + progress.expected(&turns, &options.pace, gone) > limit;
        if late {
            progress.skip(&turns, &options.pace, 0);
        } else {
            for row in rows {
                say!("\n{} ({})", row.title, row.name);
            }
            let (cells, complete) = measure_rows(&turns, options, progress, (start, limit))?;
            late = !complete;
            run.cells.extend(cells);
        }
        if late {
            for row in rows {
                say!("{}: {NO_TIME}", row.name);
                run.coverage.left_out.push((row.name.to_owned(), NO_TIME.to_owned()));
            }
        }
        // Written each time, so that an interrupted run is not lost.
        write_out(options, run, false)?;
    }
    Ok(())
}

/// Measures rows that share their rounds, as long as there is time; returns what was measured, and whether that is all.
fn measure_rows(
    turns: &[Turn],
    options: &Options,
    progress: &mut Progress,
    (start, limit): (Instant, f64),
) -> Result<(Vec<Cell>, bool), String> {
    let empty =
        |(row, peer): &Turn| Cell { row: row.name.into(), peer: peer.name().into(), rounds: Vec::new() };
    let mut cells: Vec<Cell> = turns.iter().map(empty).collect();
    let rounds = turns.iter().map(|(row, _)| options.pace.of(row).rounds).max().unwrap_or_default();
    let in_round = |round| plan::order(turns, round).into_iter().map(move |at| (round, at));
    for (made, (round, at)) in (0..rounds).flat_map(in_round).enumerate() {
        if start.elapsed().as_secs_f64() > limit {
            progress.skip(turns, &options.pace, made);
            cells.retain(|cell| !cell.rounds.is_empty());
            return Ok((cells, false));
        }
        let (row, peer) = turns[at];
        let result = measure::measure(row, peer, &options.programs, &options.pace.of(row));
        if sys::interrupted() {
            return Err("interrupted".into());
        }
        let stands = progress.step(row, &options.pace, start.elapsed());
        let head = if row.together.is_empty() { String::new() } else { format!("{:<23}", row.name) };
        let told = told(row, &result);
        say!("  round {} of {rounds}  {head}{:<15} {told}  [{stands}]", round + 1, peer.name());
        cells[at].rounds.push(result);
    }
    Ok((cells, true))
}

/// Goes on, round after round over all of them, with rows whose goals are not decided: until they are, or time or rounds are up.
fn decide(run: &mut Run, options: &Options, present: &[Peer]) -> Result<(), String> {
    let start = Instant::now();
    let made = |run: &Run, row: &Row| {
        let cells = run.cells.iter().filter(|cell| cell.row == row.name);
        cells.map(|cell| cell.rounds.len()).max().unwrap_or_default()
    };
    let mut rows = options.rows.clone();
    // What was cut short has not had the same rounds with everybody.
    rows.retain(|row| !run.coverage.left_out.iter().any(|(name, _)| name == row.name));
    let mut units = again::units(&goals::undecided(run), &rows, present, |row| made(run, row));
    loop {
        let undecided = goals::undecided(run);
        let left = options.decide.saturating_sub(start.elapsed());
        units.retain(|unit| unit.is_open(&undecided) && unit.may_go_on(&options.pace, left));
        if units.is_empty() {
            return Ok(());
        }
        say!("\nundecided: {} rows, {} left at most", units.len(), plan::spoken(left.as_secs_f64()));
        for unit in &mut units {
            let left = options.decide.saturating_sub(start.elapsed());
            if unit.may_go_on(&options.pace, left) {
                another_round(run, options, unit)?;
                unit.turns.iter().for_each(|(row, _)| run.coverage.note_rounds(row.name, unit.rounds));
            }
        }
        write_out(options, run, false)?;
    }
}

/// Measures a round of `unit`, into the cells that are there.
fn another_round(run: &mut Run, options: &Options, unit: &mut again::Unit) -> Result<(), String> {
    for at in plan::order(&unit.turns, unit.rounds) {
        let (row, peer) = unit.turns[at];
        let result = measure::measure(row, peer, &options.programs, &options.pace.of(row));
        if sys::interrupted() {
            return Err("interrupted".into());
        }
        let told = told(row, &result);
        say!("  round {:<3} {:<23}{:<15} {told}", unit.rounds + 1, row.name, peer.name());
        let mut cells = run.cells.iter_mut();
        let cell = cells.find(|cell| cell.row == row.name && cell.peer == peer.name());
        cell.expect("what is undecided was measured").rounds.push(result);
    }
    unit.rounds += 1;
    Ok(())
}

/// What a measurement found, in a few words.
fn told(row: &Row, result: &Result<Sample, String>) -> String {
    let sample = match result {
        Ok(sample) => sample,
        Err(error) => return format!("failed: {error}"),
    };
    let shown = |figure: &stats::Figure| {
        let value = Spread::of(vec![(figure.of)(sample)]);
        format!("{:>9} {}", value.map_or("–".into(), |value| value.middle()), figure.head)
    };
    let reached = figures(row).first().map(shown).unwrap_or_default();
    format!("{}  {reached}", shown(&headline(row.kind).0))
}

/// The run that was saved in `file`.
fn saved(file: &Path) -> Result<Run, String> {
    let told = |what: String| format!("{}: {what}", file.display());
    let text = fs::read_to_string(file).map_err(|error| told(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| told(format!("not a saved run: {error}")))
}

fn compare_saved(old: &Path, new: &Path) -> Result<(), String> {
    let comparison = compare::Comparison::of(&saved(old)?, &saved(new)?);
    say!("{}", comparison.markdown());
    comparison.check()
}

/// Writes the report of a saved run to where such a run's report goes.
fn report_saved(file: &Path) -> Result<(), String> {
    let run = saved(file)?;
    let place = if run.coverage.is_whole(&run.cells) {
        PathBuf::from(PUBLISHED)
    } else {
        Path::new(options::LAST).with_file_name(REPORT)
    };
    write_report(&place, &run)?;
    say!("written: {}", place.display());
    Ok(())
}

/// Writes a file, and the folder for it if that is missing.
fn written(path: &Path, text: &str) -> Result<(), String> {
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
    folder.and_then(|()| fs::write(path, text)).map_err(|error| format!("{}: {error}", path.display()))
}

/// Writes samples and report; what is published only at the end, and only of a whole run. Returns where the report is.
fn write_out(options: &Options, run: &Run, at_end: bool) -> Result<Vec<PathBuf>, String> {
    let text = serde_json::to_string_pretty(run).map_err(|error| format!("JSON: {error}"))?;
    written(&options.programs.scratch.join("last.json"), &text)?;
    if let Some(path) = &options.json {
        written(path, &text)?;
    }
    let mut places = match &options.out {
        Out::Usual => vec![options.programs.scratch.join(REPORT)],
        Out::File(path) => vec![path.clone()],
        Out::Nowhere => Vec::new(),
    };
    if at_end && options.out == Out::Usual && run.coverage.is_whole(&run.cells) {
        places.push(PUBLISHED.into());
    }
    places.iter().try_for_each(|path| write_report(path, run))?;
    Ok(places)
}

/// The report, and its plots in a folder beside it; plots of an earlier run that this one does not have are removed.
fn write_report(path: &Path, run: &Run) -> Result<(), String> {
    written(path, &run.markdown())?;
    let folder = path.with_file_name("plots");
    let made = plots::all(run);
    for name in plots::NAMES {
        let file = folder.join(format!("{name}.svg"));
        match made.iter().find(|plot| plot.name == name) {
            Some(plot) => written(&file, &plot.svg)?,
            None => match fs::remove_file(&file) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(format!("{}: {error}", file.display()));
                }
                _ => {}
            },
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_without_time_left_are_skipped_and_named() {
        let folder = std::env::temp_dir().join(format!("websplice-perf-time-{}", std::process::id()));
        let words = ["--quick", "--rows=down-1,up-1", "--peers=none", "--scratch"];
        let words = words.iter().map(|word| word.to_string()).chain([folder.to_string_lossy().into_owned()]);
        let Ok(Errand::Measure(options)) = Errand::parse(lexopt::Parser::from_args(words), "") else {
            panic!("the words are legal");
        };
        let turns = plan::turns(&options.rows, &options.peers);
        let mut progress = Progress::new(&turns, &options.pace);
        let start = Instant::now();
        let mut run = Run { coverage: coverage_of(&options), ..Run::default() };
        measure_all(&mut run, &options, &options.peers, &mut progress, (start, 0.0))
            .expect("nothing is measured");
        assert!(run.cells.is_empty());
        let named: Vec<&str> = run.coverage.left_out.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(named, ["down-1", "up-1"]);
        let text = fs::read_to_string(folder.join(REPORT)).expect("a report");
        assert!(text.contains("no time left: down-1, up-1"), "{text}");
        let mut progress = Progress::new(&turns, &options.pace);
        let (cells, complete) =
            measure_rows(&turns, &options, &mut progress, (start, 0.0)).expect("nothing again");
        assert!(cells.is_empty() && !complete);
        fs::remove_dir_all(&folder).expect("the folder is ours");
    }

    #[test]
    fn plots_that_a_run_did_not_make_are_not_left_beside_its_report() {
        let folder = std::env::temp_dir().join(format!("websplice-perf-plots-{}", std::process::id()));
        let stale = folder.join("plots/latency.svg");
        let other = folder.join("plots/of-somebody-else.svg");
        written(&stale, "old").and_then(|()| written(&other, "kept")).expect("a folder");
        write_report(&folder.join(REPORT), &Run::default()).expect("a report");
        assert!(!stale.exists() && other.exists());
        fs::remove_dir_all(&folder).expect("the folder is ours");
    }
}
