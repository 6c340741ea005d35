//! Measures websplice and its peers side by side.
//!
//! For each row, rounds go over all peers in turn (A B C A B C), so that what the machine does meanwhile hits all alike.
//! The storeys of this small house, from the ground up: [`sys`] [`rows`] [`schedule`] [`frames`] [`messages`] [`queue`] [`cores`]
//! [`procfs`], then [`tls`] [`client`] and [`target`] with the [`load`] that carries them, [`peers`] with [`extras`], the [`tokens`]
//! and the [`services`] that know them, and one of our own, the [`floor`] with its [`pipes`], that are [`running`], the [`courses`] of
//! rows, what it takes to [`begin`] and what goes on [`beside`] others, [`measure`], and on top [`stats`], [`goals`], [`chart`]
//! [`plots`] [`report`], [`compare`], [`plan`], [`options`] and [`machine`]. This file owns the
//! order of things and never measures itself.

mod begin;
mod beside;
mod bridge_floor;
mod chart;
mod client;
mod compare;
mod configurations;
mod cores;
mod courses;
mod extras;
mod floor;
mod frames;
mod goals;
mod load;
mod machine;
mod measure;
mod messages;
mod options;
mod peers;
mod pipes;
mod plan;
mod plots;
mod procfs;
mod queue;
mod report;
mod rows;
mod running;
mod schedule;
mod services;
mod stats;
mod sys;
mod target;
mod tls;
mod tokens;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use measure::Sample;
use options::{Errand, Options};
use peers::Peer;
use plan::{Progress, Turn};
use report::Run;
use rows::{Key, Knower, Row};
use stats::{Cell, Spread, figures, headline};

fn main() -> ExitCode {
    let told = std::env::var("PERF_PEERS").unwrap_or_default();
    let result = match Errand::parse(lexopt::Parser::from_env(), &told) {
        Ok(Errand::Measure(options)) => run(*options),
        Ok(Errand::Floor(order)) if order.way == floor::By::Message => bridge_floor::run(order),
        Ok(Errand::Floor(order)) => floor::run(order),
        Ok(Errand::Compare { old, new }) => compare_saved(&old, &new),
        Ok(Errand::Report(file)) => {
            saved(&file).and_then(|run| write_report(&PathBuf::from("perf/RESULTS.md"), &run))
        }
        Ok(Errand::Help) => {
            print!("{}", options::help());
            Ok(())
        }
        Err(error) => {
            eprintln!("websplice-perf: {error}\n\n{}", options::help());
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("websplice-perf: {error}");
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
    options.rows.retain(|row| is_possible(row));
    if options.rows.is_empty() {
        return Err("no row is left to be measured".into());
    }
    let options = &options;
    let present = present_peers(options);
    let turns = plan::turns(&options.rows, &present);
    let mut progress = Progress::new(&turns, options.rounds, &options.pace);
    println!("{} rows, {} peers: {}", options.rows.len(), present.len(), progress.outlook());
    if let Some(row) = options.rows.iter().find(|row| row.open() > sessions) {
        println!("descriptors allow {sessions} sessions: {} and others hold no more", row.name);
    }
    if options.list {
        turns.iter().for_each(|(row, peer)| println!("  {:<24}{}", row.name, peer.name()));
        return Ok(());
    }
    if let Some(name) = &options.congestion {
        machine::enter_own_network(name)?;
    }
    let _preference = if options.first { Some(machine::First::ask()?) } else { None };
    let cores = cores::settle()?;
    for key in [Key::Ecdsa, Key::Rsa] {
        if options.rows.iter().any(|row| row.secure.is_some_and(|secure| secure.key == key)) {
            tls::make_certificate(&options.programs.scratch, key)?;
        }
    }
    println!("peers on core {}, load on core {}; {} rounds", cores.peer, cores.load, options.rounds);
    let bridge = |peer: &&Peer| peer.path().is_some() && !peer.ours() && **peer != Peer::FloorWs;
    let mut run = Run {
        facts: machine::facts(options, &present),
        bridges: present.iter().filter(bridge).map(|peer| peer.name().to_owned()).collect(),
        cells: Vec::new(),
    };
    let start = Instant::now();
    for rows in options.rows.chunk_by(|row, next| row.is_beside(next)) {
        for row in rows {
            println!("\n{} ({})", row.title, row.name);
        }
        let cells = measure_rows(&plan::turns(rows, &present), options, &mut progress, start)?;
        run.cells.extend(cells);
        // Written each time, so that an interrupted run is not lost.
        write_out(options, &run)?;
    }
    println!("\n{}", run.markdown());
    println!("{} in all", plan::spoken(start.elapsed().as_secs_f64()));
    if options.check { goals::check(&run) } else { Ok(()) }
}

/// Whether whoever knows a row's tokens is there; a row without is named and left out.
fn is_possible(row: &Row) -> bool {
    match row.tokens.and_then(Knower::lacks) {
        Some(program) => {
            eprintln!("{}: no {program} in PATH; left out", row.name);
            false
        }
        None => true,
    }
}

/// The peers whose program is there; the others are named and left out.
fn present_peers(options: &Options) -> Vec<Peer> {
    let there = |peer: &Peer| match peer.lacks(&options.programs) {
        Some(file) => {
            eprintln!("{}: no {}; left out", peer.name(), file.display());
            false
        }
        None => true,
    };
    options.peers.iter().copied().filter(there).collect()
}

/// Measures rows that share their rounds.
fn measure_rows(
    turns: &[Turn],
    options: &Options,
    progress: &mut Progress,
    start: Instant,
) -> Result<Vec<Cell>, String> {
    let empty =
        |(row, peer): &Turn| Cell { row: row.name.into(), peer: peer.name().into(), rounds: Vec::new() };
    let mut cells: Vec<Cell> = turns.iter().map(empty).collect();
    for round in 1..=options.rounds {
        for ((row, peer), cell) in turns.iter().zip(&mut cells) {
            let result = measure::measure(row, *peer, &options.programs, &options.pace);
            if sys::interrupted() {
                return Err("interrupted".into());
            }
            let stands = progress.step(row, &options.pace, start.elapsed());
            let head = if row.together.is_empty() { String::new() } else { format!("{:<23}", row.name) };
            let told = told(row, &result);
            println!("  round {round} of {}  {head}{:<15} {told}  [{stands}]", options.rounds, peer.name());
            cell.rounds.push(result);
        }
    }
    Ok(cells)
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
    println!("{}", comparison.markdown());
    comparison.check()
}

/// Writes a file, and the folder for it if that is missing.
fn written(path: &Path, text: &str) -> Result<(), String> {
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
    folder.and_then(|()| fs::write(path, text)).map_err(|error| format!("{}: {error}", path.display()))
}

fn write_out(options: &Options, run: &Run) -> Result<(), String> {
    let text = serde_json::to_string_pretty(run).map_err(|error| format!("JSON: {error}"))?;
    written(&options.programs.scratch.join("last.json"), &text)?;
    if let Some(path) = &options.json {
        written(path, &text)?;
    }
    options.out.as_ref().map_or(Ok(()), |path| write_report(path, run))
}

/// The report, and its plots in a folder beside it.
fn write_report(path: &Path, run: &Run) -> Result<(), String> {
    written(path, &run.markdown())?;
    let folder = path.with_file_name("plots");
    plots::all(run).iter().try_for_each(|plot| written(&folder.join(format!("{}.svg", plot.name)), &plot.svg))
}
