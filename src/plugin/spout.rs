//! What a plugin writes that is no answer, on its way to the log: whole lines, escaped, and not too many of them.

use crate::limits::PLUGIN_LOG_LINES;
use crate::observe::log::{Escaped, Level, Log};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The span in which [`PLUGIN_LOG_LINES`] lines are taken.
const SPAN: Duration = Duration::from_secs(1);

/// The way of one plugin's lines to the log.
#[derive(Debug)]
pub struct Spout {
    log: Log,
    name: String,
    flow: Mutex<Flow>,
}

#[derive(Debug)]
struct Flow {
    since: Instant,
    taken: u32,
    suppressed: u64,
}

impl Spout {
    /// For the plugin called `name`.
    pub fn new(name: &str, log: Log) -> Spout {
        let flow = Flow { since: Instant::now(), taken: 0, suppressed: 0 };
        Spout { log, name: name.to_owned(), flow: Mutex::new(flow) }
    }

    /// Whether another line may be said now; it is counted either way.
    pub fn admits(&self) -> bool {
        let mut flow = self.flow.lock().unwrap_or_else(PoisonError::into_inner);
        if flow.since.elapsed() >= SPAN {
            (flow.since, flow.taken) = (Instant::now(), 0);
        }
        if flow.taken >= PLUGIN_LOG_LINES {
            flow.suppressed += 1;
            return false;
        }
        flow.taken += 1;
        let suppressed = std::mem::take(&mut flow.suppressed);
        if suppressed > 0 {
            let name = Escaped(&self.name);
            self.log.line(Level::Warn, format!("plugin name=\"{name}\" lines_suppressed={suppressed}"));
        }
        true
    }

    /// Whether lines of this level are logged at all.
    pub fn takes(&self, level: Level) -> bool {
        self.log.takes(level)
    }

    /// Logs a line about the plugin that was [admitted](Spout::admits), or is told in any case.
    pub fn line(&self, level: Level, what: &str, text: &str) {
        let name = Escaped(&self.name);
        self.log.line(level, format!("plugin name=\"{name}\" {what}=\"{}\"", Escaped(text)));
    }
}
