//! How long things may take with a plugin. Numbers only; `desk` heeds them.

use crate::limits;
use std::time::Duration;

/// How long things may take; each is documented at its number in [`limits`].
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// From a question to its answer.
    pub answer: Duration,
    /// Without an answer to anything, when one is overdue.
    pub silence: Duration,
    /// From the start of a process to its being ready.
    pub start: Duration,
    /// From the end of its input to SIGKILL; SIGTERM comes half-way.
    pub stop: Duration,
    /// From the end of a process to the next start, at first.
    pub restart_min: Duration,
    /// See `restart_min`: it doubles up to this.
    pub restart_max: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            answer: Duration::from_millis(limits::PLUGIN_ANSWER_MS),
            silence: Duration::from_millis(limits::PLUGIN_SILENCE_MS),
            start: Duration::from_millis(limits::PLUGIN_START_MS),
            stop: Duration::from_millis(limits::PLUGIN_STOP_MS),
            restart_min: Duration::from_millis(limits::PLUGIN_RESTART_MIN_MS),
            restart_max: Duration::from_millis(limits::PLUGIN_RESTART_MAX_MS),
        }
    }
}
