//! The report: what is printed at the end and written to RESULTS.md.
//!
//! It turns samples into tables. It never measures; everything it says about the machine is handed to it.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::goals;
use crate::rows::{Kind, ROWS, Row};
use crate::stats::{Cell, LOAD_LIMIT, Spread, figures, headline};

/// Peers that every other peer is compared with, without and with TLS.
const REFERENCES: [&str; 3] = ["floor-epoll", "haproxy", "python"];
const TLS_REFERENCES: [&str; 3] = ["nginx", "haproxy", "python"];

/// A whole run: where and when, and every sample.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// Facts about the machine and the run, in order: name and value.
    pub facts: Vec<(String, String)>,
    /// All cells, row by row.
    pub cells: Vec<Cell>,
}

impl Run {
    /// The cell of one row and peer.
    pub fn cell(&self, row: &str, peer: &str) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.row == row && cell.peer == peer)
    }

    /// The whole report in Markdown.
    pub fn markdown(&self) -> String {
        let mut text = String::from(
            "# Results\n\nWritten by `make perf`; `README.md` beside this file says what is measured and how to read it.\n\n",
        );
        text += "| what | value |\n|---|---|\n";
        for (name, value) in &self.facts {
            let _ = writeln!(text, "| {name} | {} |", value.replace('|', "/"));
        }
        text += "\nMedians of all rounds (smallest–largest); columns without brackets show the median alone. CPU time is that of the peer's process tree and the softirq \
                 thread of its core; \"of it tree\" leaves the latter out. Ratios are taken round by round.\n";
        let _ = writeln!(
            text,
            "\n\\* The load's core was busy for more than {LOAD_LIMIT} % of the window: what was reached is the load's limit, and \
             not the peer's."
        );
        for row in &ROWS {
            self.table(row, &mut text);
        }
        text + &goals::table(self)
    }

    fn table(&self, row: &Row, text: &mut String) {
        let cells: Vec<&Cell> = self.cells.iter().filter(|cell| cell.row == row.name).collect();
        if cells.is_empty() {
            return;
        }
        let (figure, more) = headline(row.kind);
        let columns = figures(row.kind);
        let direction = if more { "more" } else { "less" };
        let _ = writeln!(text, "\n## {} (`{}`; {direction} is better)\n", row.title, row.name);
        let references = if row.secure.is_some() { TLS_REFERENCES } else { REFERENCES };
        let mut heads = vec!["peer".to_owned(), format!("**{}**", figure.head)];
        heads.extend(references.iter().map(|name| format!("to {}", name.split('-').next().unwrap_or(name))));
        heads.extend(columns.iter().map(|column| column.head.to_owned()));
        let _ = writeln!(text, "| {} |\n|{}", heads.join(" | "), "---|".repeat(heads.len()));
        let shown = |spread: Option<Spread>| spread.map_or("–".to_owned(), |spread| spread.to_string());
        let middle = |spread: Option<Spread>| spread.map_or("–".to_owned(), |spread| spread.middle());
        let mut failures = String::new();
        for cell in cells {
            // What idles has no load to speak of.
            let mark = if row.kind != Kind::Idle && cell.is_load_bound() { " *" } else { "" };
            let mut line = vec![format!("{}{mark}", cell.peer), shown(cell.spread(figure))];
            for name in references {
                let ratio = self.cell(row.name, name).and_then(|other| cell.ratio(other, figure));
                line.push(shown(ratio));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Sample;

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
        let text = Run { facts: Vec::new(), cells }.markdown();
        let marked: Vec<&str> = text.lines().filter(|line| line.contains(" * |")).collect();
        assert_eq!(marked.len(), 1, "{text}");
        assert!(marked[0].starts_with("| websplice-ring * | 2.00 "), "{text}");
        assert!(text.contains("\n\\* The load's core was busy for more than 97 %"), "{text}");
    }
}
