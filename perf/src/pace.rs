//! How long things run, and how often.
//!
//! Plain data and arithmetic. It never measures and never reads the clock.

use std::time::Duration;

use crate::rows::{Kind, Row};

/// Shortest window and fewest rounds of rows that are judged by their 99th percentile: what happens once in a hundred messages has
/// to happen often, and at several moments of the machine, before it says anything.
const TAIL_WINDOW_MIN: Duration = Duration::from_secs(2);
const TAIL_ROUNDS_MIN: usize = 5;

/// Fewest rounds of rows whose goals lie as near to what they reach as rounds lie from each other.
const NARROW_ROUNDS_MIN: usize = 5;
const NARROW: [&str; 4] = ["down-16", "echo-1000", "idle-20000+active-1000", "setup"];

/// How long things run.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Before the window, with data flowing.
    pub warm_up: Duration,
    /// The window.
    pub window: Duration,
    /// Rounds over all peers.
    pub rounds: usize,
    /// Whether rows that are judged by their 99th percentile are measured no longer than others.
    pub quick: bool,
    /// Sessions of the idle row.
    pub idle_sessions: usize,
    /// Most sessions in any row.
    pub sessions_max: usize,
}

impl Pace {
    /// The same for `row`, which may need more.
    pub fn of(&self, row: &Row) -> Self {
        if !self.quick && NARROW.contains(&row.name) {
            return Self { rounds: self.rounds.max(NARROW_ROUNDS_MIN), ..*self };
        }
        if self.quick || !is_about_the_tail(row) {
            return *self;
        }
        Self { window: self.window.max(TAIL_WINDOW_MIN), rounds: self.rounds.max(TAIL_ROUNDS_MIN), ..*self }
    }

    /// All of it in words.
    pub fn told(&self, rows: &[&Row]) -> String {
        let words =
            |pace: &Self| format!("{} of {:?} each, after {:?}", pace.rounds, pace.window, pace.warm_up);
        let narrow = |row: &&&Row| NARROW.contains(&row.name) && !self.quick;
        let narrow: Vec<String> = rows.iter().filter(narrow).map(|row| format!("`{}`", row.name)).collect();
        let narrow = match narrow.is_empty() {
            true => String::new(),
            false => format!("; in {} at least {NARROW_ROUNDS_MIN} rounds", narrow.join(", ")),
        };
        let own: Vec<&&Row> = rows.iter().filter(|row| is_about_the_tail(row)).collect();
        let Some(row) = own.first() else { return words(self) + &narrow };
        let names: Vec<String> = own.iter().map(|row| format!("`{}`", row.name)).collect();
        let (names, pace) = (names.join(", "), self.of(row));
        if self.quick {
            return format!("{}; so short even in {names}, whose p99 says little then", words(self));
        }
        format!("{}; in {names} {}{narrow}", words(self), words(&pace))
    }
}

/// Whether a row is judged by its 99th percentile.
pub fn is_about_the_tail(row: &Row) -> bool {
    matches!(row.kind, Kind::Latency | Kind::Desktop | Kind::Beside)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::row;

    const PACE: Pace = Pace {
        warm_up: Duration::from_millis(150),
        window: Duration::from_millis(400),
        rounds: 3,
        quick: false,
        idle_sessions: 5000,
        sessions_max: 20_000,
    };

    #[test]
    fn what_is_about_the_tail_takes_its_time() {
        let of = |pace: Pace, name: &str| (pace.of(row(name)).window, pace.of(row(name)).rounds);
        for name in ["latency", "desktops", "tokens-beside-http"] {
            assert_eq!(of(PACE, name), (TAIL_WINDOW_MIN, TAIL_ROUNDS_MIN));
            assert_eq!(of(Pace { quick: true, ..PACE }, name), (PACE.window, 3));
            let long = Pace { window: Duration::from_secs(9), rounds: 7, ..PACE };
            assert_eq!(of(long, name), (long.window, 7));
        }
        assert_eq!(of(PACE, "down-1"), (PACE.window, 3));
        assert_eq!(of(PACE, "setup"), (PACE.window, NARROW_ROUNDS_MIN));
        assert_eq!(of(Pace { quick: true, ..PACE }, "setup"), (PACE.window, 3));
    }

    #[test]
    fn what_differs_is_told() {
        let told = |quick, names: &[&str]| {
            let rows: Vec<&Row> = names.iter().map(|name| row(name)).collect();
            Pace { quick, ..PACE }.told(&rows)
        };
        assert!(told(false, &["down-1", "setup"]).ends_with("; in `setup` at least 5 rounds"));
        assert_eq!(told(false, &["down-1"]), "3 of 400ms each, after 150ms");
        assert!(told(false, &["down-1", "latency"]).ends_with("; in `latency` 5 of 2s each, after 150ms"));
        assert!(told(true, &["desktops", "latency"]).contains("even in `desktops`, `latency`"));
    }
}
