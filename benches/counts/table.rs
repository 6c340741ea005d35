//! The table of instruction counts: its text, and what is said of a count that differs.
//!
//! Text in, verdicts out. It never runs anything.

use std::ffi::OsStr;
use std::fmt;

/// How far a count may be from the table's, in both directions: what got much cheaper is worth a new line, or later losses would
/// hide in it.
pub const TOLERANCE: f64 = 0.03;
/// Counts below this may differ by as many instructions as they like to the next whole one: a share of nothing is nothing.
const SLACK: f64 = 2.0;

/// What was counted, and with what.
#[derive(Debug, PartialEq)]
pub struct Table {
    /// What moves the counts: name and value.
    pub surroundings: Vec<(String, String)>,
    /// Instructions of one round, by case.
    pub counts: Vec<(String, f64)>,
}

/// What is to be said of a count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// As in the table, within the tolerance.
    Same,
    /// More than that: the table's count, and the change as a share.
    Dearer(f64, f64),
    /// Less than that.
    Cheaper(f64, f64),
    /// The table has no such case.
    Unknown,
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same => write!(out, "same"),
            Self::Dearer(before, share) => write!(out, "{:+.1} % (was {before:.1})", 100.0 * share),
            Self::Cheaper(before, share) => {
                write!(out, "{:+.1} % (was {before:.1}): cheaper than the table says", 100.0 * share)
            }
            Self::Unknown => write!(out, "not in the table"),
        }
    }
}

impl Table {
    /// Reads a table: comments, `# name: value` for the surroundings, and lines of a case and its count.
    ///
    /// # Errors
    /// The line that is neither.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut table = Self { surroundings: Vec::new(), counts: Vec::new() };
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(comment) = line.strip_prefix("# ") {
                if let Some((name, value)) = comment.split_once(": ") {
                    table.surroundings.push((name.to_owned(), value.to_owned()));
                }
                continue;
            }
            let count =
                line.split_once('\t').and_then(|(case, count)| Some((case.to_owned(), count.parse().ok()?)));
            table.counts.push(count.ok_or_else(|| format!("not a case and a count: '{line}'"))?);
        }
        Ok(table)
    }

    /// The table as it is kept.
    pub fn text(&self) -> String {
        let mut text = String::from(
            "# Instructions of one round of each case, by callgrind. Written by make counts BLESS=1\n",
        );
        for (name, value) in &self.surroundings {
            text += &format!("# {name}: {value}\n");
        }
        for (case, count) in &self.counts {
            text += &format!("{case}\t{count:.1}\n");
        }
        text
    }

    /// All of the table's surroundings that are not so `here`.
    pub fn differs(&self, here: &[(String, String)]) -> Vec<String> {
        let other = |(name, value): &(String, String)| {
            let now = here.iter().find(|(there, _)| there == name).map_or("unknown", |(_, now)| now);
            (now != value).then(|| format!("the table is for {name} '{value}', and here it is '{now}'"))
        };
        self.surroundings.iter().filter_map(other).collect()
    }

    /// What is to be said of `counted` instructions of `case`.
    pub fn verdict(&self, case: &str, counted: f64) -> Verdict {
        let Some((_, before)) = self.counts.iter().find(|(name, _)| name == case) else {
            return Verdict::Unknown;
        };
        let share = counted / before - 1.0;
        match counted - before {
            change if change.abs() <= SLACK.max(before * TOLERANCE) => Verdict::Same,
            change if change > 0.0 => Verdict::Dearer(*before, share),
            _ => Verdict::Cheaper(*before, share),
        }
    }
}

/// Whether `variable`, the value of CI, says that this is continuous integration, where what cannot be checked is a failure.
pub fn is_ci(variable: Option<&OsStr>) -> bool {
    variable.is_some_and(|value| !value.is_empty() && value != "false" && value != "0")
}

/// The number of instructions in what callgrind says at its end.
pub fn collected(said: &str) -> Option<u64> {
    said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok())
}
