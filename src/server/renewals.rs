//! The files of TLS while the server runs: watched, and what became of changes told and counted.
//!
//! Reading them is `tls::renewal`'s.

use crate::observe::counters::Renewals;
use crate::observe::log::{Escaped, Level, Log};
use crate::tls::renewal::{Report, Shelf, Watcher};
use std::sync::Arc;

/// The files of TLS, watched, and what has become of changes.
pub(super) struct Watched {
    pub(super) watcher: Watcher,
    pub(super) renewals: Arc<Renewals>,
}

impl Watched {
    /// Begins to watch, and to report what comes of a change.
    pub(super) fn start(shelf: &Shelf, log: &Log) -> Result<Watched, String> {
        let warn = |log: &Log, warnings: &[String]| {
            for warning in warnings {
                log.line(Level::Warn, format!("tls warning=\"{}\"", Escaped(warning)));
            }
        };
        warn(log, &shelf.current().warnings);
        let renewals = Arc::<Renewals>::default();
        let (noted, log) = (renewals.clone(), log.clone());
        let report = move |report| match report {
            Report::Renewed(warnings) => {
                noted.note_taken();
                log.line(Level::Info, "tls renewed: new sessions use the new files".into());
                warn(&log, &warnings);
            }
            Report::Kept(reason) => {
                noted.note_failed();
                let reason = Escaped(&reason);
                log.line(Level::Error, format!("tls not renewed, what was there stays: error=\"{reason}\""));
            }
        };
        let watcher = Watcher::start(shelf.clone(), report)
            .map_err(|error| format!("starting the watch of certificates: {error}"))?;
        Ok(Watched { watcher, renewals })
    }
}
