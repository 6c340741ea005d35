//! The plots of a run: which rows make which chart.
//!
//! It picks figures out of a run and hands them to [`crate::chart`]. It never measures and never writes a file.

use crate::chart::{Axis, Chart, Line, Scale};
use crate::measure::Sample;
use crate::peers::PEERS;
use crate::report::Run;
use crate::rows::{Kind, ROWS, Row, row};
use crate::stats::{Cell, Figure, Spread, capacity, headline};

/// One plot.
#[derive(Debug)]
pub struct Plot {
    /// Name of its file, without the ending.
    pub name: &'static str,
    /// What it shows.
    pub title: &'static str,
    /// What is in it.
    pub svg: String,
}

const MEMORY: Figure = Figure { head: "MiB", of: |s| s.pss_each * s.sessions / 1024.0 / 1024.0 };
const SESSIONS: Axis = Axis { label: "sessions open", scale: Scale::Log, tick: whole };

/// The names of all plots that there can be.
pub const NAMES: [&str; 6] =
    ["throughput-sessions", "cpu-message-size", "latency", "memory-sessions", "cpu-sessions", "cores"];

/// All plots that the run has points for.
pub fn all(run: &Run) -> Vec<Plot> {
    let bulk = |row: &Row| row.kind == Kind::Down && row.secure.is_none() && !row.all_cores();
    let charts = [
        (
            "throughput-sessions",
            Chart {
                title: "Bulk down: bytes for a CPU second, against sessions",
                note: "MB that the peer carried for each second of its CPU; more is better",
                x: Axis { label: "sessions, all of them busy", ..SESSIONS },
                y: Axis { label: "MB per CPU second", scale: Scale::Linear, tick: whole },
                lines: lines(run, bulk, |row, _| row.sessions as f64, headline(Kind::Down).0),
            },
        ),
        (
            "cpu-message-size",
            Chart {
                title: "CPU per message against message size",
                note: "ping-pong, 16 sessions; a message goes there and back; less is better",
                x: Axis { label: "payload of a message, bytes", scale: Scale::Log, tick: bytes },
                y: Axis { label: "CPU us per message", scale: Scale::Log, tick: plain },
                lines: lines(
                    run,
                    |row| row.name.starts_with("size-"),
                    |row, _| row.message as f64,
                    headline(Kind::Echo).0,
                ),
            },
        ),
        ("latency", latency(run)),
        (
            "memory-sessions",
            Chart {
                title: "Memory against sessions",
                note: "growth of the peer's own memory (PSS), kernel sockets not counted; less is better",
                x: SESSIONS,
                y: Axis { label: "MiB", scale: Scale::Log, tick: plain },
                lines: lines(run, |row| row.held, held, MEMORY),
            },
        ),
        (
            "cpu-sessions",
            Chart {
                title: "CPU per message against sessions open",
                note: "64-byte ping-pong on 16 of them while the others rest; flat is as it should be, less is better",
                x: SESSIONS,
                y: Axis { label: "CPU us per message", scale: Scale::Linear, tick: plain },
                lines: lines(run, |row| row.name.starts_with("held-"), held, headline(Kind::Echo).0),
            },
        ),
        ("cores", cores(run)),
    ];
    charts
        .into_iter()
        .filter_map(|(name, chart)| Some(Plot { name, title: chart.title, svg: chart.svg()? }))
        .collect()
}

/// The line of a peer, which looks the same in every plot.
fn line(peer: &str, points: Vec<(f64, f64, f64, f64)>) -> Line {
    let known = PEERS.iter().position(|known| known.name() == peer);
    Line { name: peer.to_owned(), style: known.unwrap_or(PEERS.len()), points }
}

fn held(_: &Row, cell: &Cell) -> f64 {
    cell.median(Figure { head: "", of: |sample| sample.sessions }).unwrap_or(f64::NAN)
}

/// A line for every peer that has points in the rows that `fit`.
fn lines(run: &Run, fit: impl Fn(&Row) -> bool, x: impl Fn(&Row, &Cell) -> f64, figure: Figure) -> Vec<Line> {
    let rows: Vec<&Row> = ROWS.iter().filter(|row| fit(row)).collect();
    let mut lines: Vec<Line> = Vec::new();
    for cell in &run.cells {
        let Some(row) = rows.iter().find(|row| row.name == cell.row) else { continue };
        let Some(Spread { median, min, max, .. }) = cell.spread(figure) else { continue };
        let point = (x(row, cell), median, min, max);
        match lines.iter_mut().find(|line| line.name == cell.peer) {
            Some(line) => line.points.push(point),
            None => lines.push(line(&cell.peer, vec![point])),
        }
    }
    for line in &mut lines {
        line.points.sort_by(|one, two| one.0.total_cmp(&two.0));
    }
    lines
}

fn latency(run: &Run) -> Chart {
    let mut lines: Vec<Line> = Vec::new();
    let mut direct: Vec<&Sample> = Vec::new();
    for cell in run.cells.iter().filter(|cell| cell.row == "latency") {
        let samples: Vec<&Sample> = cell.rounds.iter().flatten().collect();
        direct.extend(&samples);
        lines.push(line(&cell.peer, middle(&samples, |sample| &sample.curve)));
    }
    lines.insert(0, line("none", middle(&direct, |sample| &sample.direct)));
    Chart {
        title: "Latency of 64-byte messages there and back",
        note: "sent by the clock on 64 sessions, at 70 % of what each peer can do; none: the same with nobody between",
        x: Axis { label: "share of messages that are as fast, %", scale: Scale::Nines, tick: percent },
        y: Axis { label: "us", scale: Scale::Log, tick: plain },
        lines,
    }
}

/// The middle of all curves, quantile by quantile.
fn middle(samples: &[&Sample], curve: impl Fn(&Sample) -> &Vec<(f64, f64)>) -> Vec<(f64, f64, f64, f64)> {
    let Some(first) = samples.first() else { return Vec::new() };
    let quantiles = curve(first).iter().map(|(quantile, _)| *quantile);
    quantiles
        .filter_map(|wanted| {
            let values = samples.iter().map(|sample| crate::measure::at(curve(sample), wanted)).collect();
            Spread::of(values).map(|Spread { median, min, max, .. }| (wanted, median, min, max))
        })
        .collect()
}

fn cores(run: &Run) -> Chart {
    let mut lines = Vec::new();
    for shards in [1, 2] {
        let name = if shards == 1 { "cores-up-1" } else { "cores-up-2" };
        let more = super::plots::lines(run, |row| row.name == name, |_, _| shards as f64, capacity(shards));
        for line in more {
            match lines.iter_mut().find(|other: &&mut Line| other.name == line.name) {
                Some(other) => other.points.extend(line.points),
                None => lines.push(line),
            }
        }
    }
    Chart {
        title: "One core and two: what shards could move",
        note: "MB for a CPU second, times cores, divided by the share of the fullest shard",
        x: Axis { label: "shards", scale: Scale::Linear, tick: even },
        y: Axis { label: "MB per second", scale: Scale::Linear, tick: whole },
        lines: if run.cells.iter().any(|cell| cell.row == row("cores-up-2").name) {
            lines
        } else {
            Vec::new()
        },
    }
}

/// A whole number with its thousands apart.
pub fn whole(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn plain(value: f64) -> String {
    if value >= 1000.0 { whole(value) } else { format!("{value}") }
}

/// Whole numbers alone.
fn even(value: f64) -> String {
    if value.fract() == 0.0 && value > 0.0 { plain(value) } else { String::new() }
}

fn bytes(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{} MB", value / 1e6),
        value if value >= 1e3 => format!("{} kB", value / 1e3),
        value => format!("{value}"),
    }
}

fn percent(quantile: f64) -> String {
    let text = format!("{:.2}", quantile * 100.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(row: &str, peer: &str, sample: Sample) -> Cell {
        let sample = Sample { seconds: 1.0, peer_cpu: 1.0, ..sample };
        Cell { row: row.into(), peer: peer.into(), rounds: vec![Ok(sample)] }
    }

    #[test]
    fn every_plot_has_its_rows() {
        let curve = vec![(0.5, 20.0), (0.99, 50.0), (1.0, 90.0)];
        let work = |work: f64| Sample { work, ..Sample::default() };
        let held = |sessions: f64| Sample { work: 1e5, sessions, pss_each: 2048.0, ..Sample::default() };
        let cells = vec![
            cell("down-1", "websplice-ring", work(2e9)),
            cell("down-16", "websplice-ring", work(3e9)),
            cell("size-1", "websplice-ring", work(1e5)),
            cell("size-1048576", "websplice-ring", work(1e3)),
            cell("held-1", "websplice-ring", held(1.0)),
            cell("held-5000", "websplice-ring", held(5000.0)),
            cell("latency", "websplice-ring", Sample { curve: curve.clone(), direct: curve, ..work(1e4) }),
            cell("cores-up-1", "websplice-ring", work(2e9)),
            cell("cores-up-2", "websplice-ring", Sample { shards: vec![8.0, 8.0], ..work(2e9) }),
        ];
        let run = Run { cells, ..Run::default() };
        let names: Vec<&str> = all(&run).iter().map(|plot| plot.name).collect();
        assert_eq!(names, NAMES);
        assert!(
            all(&run).iter().all(|plot| plot.svg.contains("websplice-ring") && !plot.svg.contains("NaN"))
        );
        assert_eq!(latency(&run).lines[0].name, "none");
        assert_eq!(cores(&run).lines[0].points.len(), 2);
        assert!(all(&Run::default()).is_empty());
    }

    #[test]
    fn numbers_are_written_as_they_are_read() {
        assert_eq!(
            [whole(12_345.0), whole(100.0), plain(0.1), plain(10_000.0)],
            ["12,345", "100", "0.1", "10,000"]
        );
        assert_eq!([bytes(1.0), bytes(1e4), bytes(1e6)], ["1", "10 kB", "1 MB"]);
        assert_eq!([percent(0.5), percent(0.9), percent(0.9999)], ["50", "90", "99.99"]);
    }
}
