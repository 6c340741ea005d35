//! The report: what is printed at the end and written to RESULTS.md.
//!
//! It turns samples into tables. It never measures; everything it says about the machine is handed to it.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::coverage::Coverage;
use crate::goals;
use crate::plots;
use crate::rows::{Kind, ROWS, Row};
use crate::stats::{Cell, Figure, LOAD_LIMIT, Spread, figures, headline};

/// Peers that every other peer is compared with where they take part, without and with TLS.
const REFERENCES: [&str; 5] = ["floor-epoll", "floor-splice", "haproxy", "haproxy-splice", "python"];
const TLS_REFERENCES: [&str; 3] = ["nginx", "haproxy", "python"];

/// Whom the overview is about, and whom it names.
const OURS: &str = "websplice-ring";
const OVERVIEW: [&str; 4] = ["haproxy", "haproxy-splice", "nginx", "python"];

/// A whole run: where and when, and every sample.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Run {
    /// Facts about the machine and the run, in order: name and value.
    pub facts: Vec<(String, String)>,
    /// What was to be measured, and what was left out.
    #[serde(default)]
    pub coverage: Coverage,
    /// Peers that are WebSocket bridges and not ours.
    #[serde(default)]
    pub bridges: Vec<String>,
    /// All cells, row by row.
    pub cells: Vec<Cell>,
}

impl Run {
    /// The cell of one row and peer.
    pub fn cell(&self, row: &str, peer: &str) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.row == row && cell.peer == peer)
    }

    /// Of the peers of `names` that have a figure in `row`, the one whose median is the best.
    pub fn best(&self, row: &str, names: &[&str], figure: Figure, more: bool) -> Option<&Cell> {
        let there = self.cells.iter().filter(|cell| cell.row == row && names.contains(&cell.peer.as_str()));
        let judged = there.filter_map(|cell| Some((cell.median(figure)?, cell)));
        let sign = if more { 1.0 } else { -1.0 };
        judged.max_by(|(one, _), (two, _)| (sign * one).total_cmp(&(sign * two))).map(|(_, cell)| cell)
    }

    /// The whole report in Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "# {}\n\nWritten by `make perf`; `perf/README.md` says what is measured and how to read it.\n\n",
            self.coverage.title(&self.cells)
        );
        text += "| what | value |\n|---|---|\n";
        for (name, value) in self.facts.iter().chain(&self.coverage.facts(&self.cells)) {
            let _ = writeln!(text, "| {name} | {} |", value.replace('|', "/"));
        }
        text += "\nMedians of all rounds (smallest–largest); columns without brackets show the median alone. CPU time is that of the peer's process tree and the softirq \
                 thread of its core; \"of it tree\" leaves the latter out. Ratios are taken round by round.\n";
        let _ = writeln!(
            text,
            "\n\\* The load's core was busy for more than {LOAD_LIMIT} % of the window: what was reached is the load's limit, and \
             not the peer's."
        );
        text += &self.overview();
        for plot in plots::all(self) {
            let _ = writeln!(text, "\n![{}](plots/{}.svg)", plot.title, plot.name);
        }
        for row in &ROWS {
            self.table(row, &mut text);
        }
        text + &goals::table(self)
    }

    /// How many times as good ours is as others, a line each row; empty when ours did not run.
    fn overview(&self) -> String {
        let bridges: Vec<&str> = self.bridges.iter().map(String::as_str).collect();
        let mut lines = String::new();
        for row in &ROWS {
            let Some(own) = self.cell(row.name, OURS) else { continue };
            let (figure, more) = headline(row.kind);
            let Some(spread) = own.spread(figure) else { continue };
            let times = |other: Option<&Cell>| {
                let ratio = other.and_then(|other| {
                    if more { own.ratio(figure, other, figure) } else { other.ratio(figure, own, figure) }
                });
                ratio.map_or("–".to_owned(), |ratio| ratio.to_string())
            };
            let _ = write!(lines, "| `{}` | {} {} |", row.name, spread.middle(), figure.head);
            for name in OVERVIEW {
                let _ = write!(lines, " {} |", times(self.cell(row.name, name)));
            }
            let best = self.best(row.name, &bridges, figure, more);
            let name = best.map_or(String::new(), |cell| format!(" ({})", cell.peer));
            let _ = writeln!(lines, " {}{name} |", times(best));
        }
        if lines.is_empty() {
            return lines;
        }
        format!(
            "\n## {OURS} beside others\n\nHow many times as good: above 1 is better for {OURS}, whether more or less of the \
             figure is.\n\n| row | {OURS} | as {} | as the best bridge |\n|{}\n{lines}",
            OVERVIEW.join(" | as "),
            "---|".repeat(OVERVIEW.len() + 3)
        )
    }

    fn table(&self, row: &Row, text: &mut String) {
        let cells: Vec<&Cell> = self.cells.iter().filter(|cell| cell.row == row.name).collect();
        if cells.is_empty() {
            return;
        }
        let (figure, more) = headline(row.kind);
        let columns = figures(row);
        let direction = if more { "more" } else { "less" };
        let title = match self.coverage.held_of(row.open()) {
            Some(held) => format!(
                "{}, but {} of {} held: limit of descriptors",
                row.title,
                whole(held),
                whole(row.open())
            ),
            None => row.title.to_owned(),
        };
        let _ = writeln!(text, "\n## {title} (`{}`; {direction} is better)\n", row.name);
        let named = if row.secure.is_some() { &TLS_REFERENCES[..] } else { &REFERENCES[..] };
        let mut references: Vec<(String, &Cell)> = named
            .iter()
            .filter_map(|name| Some((format!("to {name}"), self.cell(row.name, name)?)))
            .collect();
        let bridges: Vec<&str> = self.bridges.iter().map(String::as_str).collect();
        let best = self.best(row.name, &bridges, figure, more);
        references.extend(best.map(|cell| (format!("to best bridge, {}", cell.peer), cell)));
        let mut heads = vec!["peer".to_owned(), format!("**{}**", figure.head)];
        heads.extend(references.iter().map(|(head, _)| head.clone()));
        heads.extend(columns.iter().map(|column| column.head.to_owned()));
        let _ = writeln!(text, "| {} |\n|{}", heads.join(" | "), "---|".repeat(heads.len()));
        let shown = |spread: Option<Spread>| spread.map_or("–".to_owned(), |spread| spread.to_string());
        let middle = |spread: Option<Spread>| spread.map_or("–".to_owned(), |spread| spread.middle());
        let mut failures = String::new();
        for cell in cells {
            // What idles has no load to speak of, and a load that goes by the clock never sleeps.
            let mark = if can_be_bound(row) && cell.is_load_bound() { " *" } else { "" };
            let mut line = vec![format!("{}{mark}", cell.peer), shown(cell.spread(figure))];
            for (_, other) in &references {
                line.push(shown(cell.ratio(figure, other, figure)));
            }
            line.extend(columns.iter().map(|column| middle(cell.spread(*column))));
            let _ = writeln!(text, "| {} |", line.join(" | "));
            if let Some(failure) = cell.failure() {
                let failed = cell.rounds.iter().filter(|round| round.is_err()).count();
                let _ = writeln!(
                    failures,
                    "\n{} failed in {failed} of {} rounds: {failure}",
                    cell.peer,
                    cell.rounds.len()
                );
            }
        }
        *text += &failures;
    }
}

/// A number with its thousands apart.
fn whole(number: usize) -> String {
    plots::whole(number as f64)
}

/// Whether the load may be what limits a row.
fn can_be_bound(row: &Row) -> bool {
    matches!(row.kind, Kind::Down | Kind::Up | Kind::Both | Kind::Echo | Kind::Setup)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Sample;

    #[test]
    fn the_best_bridge_is_best_by_the_rows_own_figure() {
        let cell = |row: &str, peer: &str, work: f64| {
            let sample = Sample { work, seconds: 1.0, peer_cpu: 1.0, ..Sample::default() };
            Cell { row: row.into(), peer: peer.into(), rounds: vec![Ok(sample)] }
        };
        let cells = vec![
            cell("echo-64", "websplice-ring", 9e5),
            cell("echo-64", "python", 1e5),
            cell("echo-64", "node", 3e5),
            cell("echo-64", "haproxy", 8e5),
        ];
        let run = Run { bridges: vec!["python".into(), "node".into()], cells, ..Run::default() };
        let text = run.markdown();
        assert!(text.contains("| to best bridge, node |"), "{text}");
        let overview = "| `echo-64` | 1.11 CPU us per message | 1.12 (1.12–1.12) | – | – | 9.00 (9.00–9.00) | 3.00 (3.00–3.00) (node) |";
        assert!(text.contains(overview), "{text}");
        assert!(text.contains("| websplice-ring | 1.11 (1.11–1.11) | 0.889"), "{text}");
    }

    #[test]
    fn a_row_that_held_fewer_says_so() {
        let cell =
            Cell { row: "held-20000".into(), peer: "nginx".into(), rounds: vec![Ok(Sample::default())] };
        let run = |sessions_max| {
            let coverage = Coverage { rows: vec!["held-20000".into()], sessions_max, ..Coverage::default() };
            Run { coverage, cells: vec![cell.clone()], ..Run::default() }.markdown()
        };
        let title = "\n## 20,000 sessions open, 16 active, but 9,500 of 20,000 held: limit of descriptors (`held-20000`;";
        assert!(run(9500).contains(title), "{}", run(9500));
        assert!(!run(20_000).contains("of descriptors"));
        assert!(
            run(9500).starts_with("# Results of a part of the rows")
                && run(9500).contains("| rows measured | 1 of")
        );
    }

    #[test]
    fn a_load_at_its_limit_is_marked() {
        let cell = |row: &str, peer: &str, load_cpu: f64| {
            let sample = Sample { work: 1e6, seconds: 1.0, peer_cpu: 0.5, load_cpu, ..Sample::default() };
            Cell { row: row.into(), peer: peer.into(), rounds: vec![Ok(sample)] }
        };
        let cells = vec![
            cell("down-1", "websplice-ring", 0.98),
            cell("down-1", "websplice-poll", 0.97),
            cell("idle", "websplice-ring", 1.0),
        ];
        let text = Run { cells, ..Run::default() }.markdown();
        let marked: Vec<&str> = text.lines().filter(|line| line.contains(" * |")).collect();
        assert_eq!(marked.len(), 1, "{text}");
        assert!(marked[0].starts_with("| websplice-ring * | 2.00 "), "{text}");
        assert!(text.contains("\n\\* The load's core was busy for more than 97 %"), "{text}");
    }
}
