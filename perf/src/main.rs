//! Measures websplice and its peers side by side.
//!
//! For each row, rounds go over all peers in turn (A B C A B C), so that what the machine does meanwhile hits all alike.
//! The storeys of this small house, from the ground up: [`sys`] [`rows`] [`frames`] [`cores`] [`procfs`], then [`tls`]
//! [`client`] and [`target`] with the [`load`] that carries them, [`peers`] with one of our own, the [`floor`], [`measure`], and on top [`stats`], [`goals`], [`report`],
//! [`options`] and [`machine`]. This file owns the order of things and never measures itself.

mod client;
mod configurations;
mod cores;
mod floor;
mod frames;
mod goals;
mod load;
mod machine;
mod measure;
mod options;
mod peers;
mod procfs;
mod report;
mod rows;
mod stats;
mod sys;
mod target;
mod tls;

use std::fs;
use std::process::ExitCode;
use std::time::Instant;

use options::{Errand, HELP, Options};
use peers::Peer;
use report::Run;
use rows::{Key, Row};
use stats::{Cell, Spread, figures, headline};

fn main() -> ExitCode {
    let result = match Errand::parse(lexopt::Parser::from_env()) {
        Ok(Errand::Measure(options)) => run(&options),
        Ok(Errand::Floor(order)) => floor::run(order),
        Ok(Errand::Help) => {
            print!("{HELP}");
            Ok(())
        }
        Err(error) => {
            eprintln!("websplice-perf: {error}\n\n{HELP}");
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

fn run(options: &Options) -> Result<(), String> {
    sys::catch_interrupts().map_err(|error| format!("signals: {error}"))?;
    fs::create_dir_all(&options.programs.scratch)
        .map_err(|error| format!("{}: {error}", options.programs.scratch.display()))?;
    machine::raise_descriptor_limit()?;
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
    let present = present_peers(options);
    println!("peers on core {}, load on core {}; {} rounds", cores.peer, cores.load, options.rounds);
    let mut run = Run { facts: machine::facts(options, &present), cells: Vec::new() };
    let start = Instant::now();
    for rows in options.rows.chunk_by(|row, next| row.is_beside(next)) {
        for row in rows {
            println!("\n{} ({})", row.title, row.name);
        }
        run.cells.extend(measure_rows(rows, &present, options)?);
        // Written each time, so that an interrupted run is not lost.
        write_out(options, &run)?;
    }
    println!("\n{}", run.markdown());
    println!("{:.0} seconds in all", start.elapsed().as_secs_f64());
    if options.check { goals::check(&run) } else { Ok(()) }
}

/// The peers whose program is there; the others are named and left out.
fn present_peers(options: &Options) -> Vec<Peer> {
    let there = |peer: &Peer| match peer.program(&options.programs) {
        Some(program) if !program.exists() => {
            eprintln!("{}: no {}; left out", peer.name(), program.display());
            false
        }
        _ => true,
    };
    options.peers.iter().copied().filter(there).collect()
}

/// Measures rows that share their rounds.
fn measure_rows(rows: &[&Row], peers: &[Peer], options: &Options) -> Result<Vec<Cell>, String> {
    let turns: Vec<(&Row, Peer)> = peers
        .iter()
        .flat_map(|peer| rows.iter().filter(|row| peer.fits(row)).map(|row| (*row, *peer)))
        .collect();
    let empty = |(row, peer): &(&Row, Peer)| Cell {
        row: row.name.into(),
        peer: peer.name().into(),
        rounds: Vec::new(),
    };
    let mut cells: Vec<Cell> = turns.iter().map(empty).collect();
    for round in 1..=options.rounds {
        for ((row, peer), cell) in turns.iter().zip(&mut cells) {
            let result = measure::measure(row, *peer, &options.programs, &options.pace);
            if sys::interrupted() {
                return Err("interrupted".into());
            }
            let told = match &result {
                Ok(sample) => {
                    let shown = |figure: &stats::Figure| {
                        let value = Spread::of(vec![(figure.of)(sample)]);
                        format!("{:>9} {}", value.map_or("–".into(), |value| value.middle()), figure.head)
                    };
                    let reached = figures(row.kind).first().map(shown).unwrap_or_default();
                    format!("{}  {reached}", shown(&headline(row.kind).0))
                }
                Err(error) => format!("failed: {error}"),
            };
            let head = if rows.len() > 1 { format!("{:<16}", row.name) } else { String::new() };
            println!("  round {round} of {}  {head}{:<15} {told}", options.rounds, peer.name());
            cell.rounds.push(result);
        }
    }
    Ok(cells)
}

fn write_out(options: &Options, run: &Run) -> Result<(), String> {
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(run).map_err(|error| format!("JSON: {error}"))?;
        fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if let Some(path) = &options.out {
        fs::write(path, run.markdown()).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}
