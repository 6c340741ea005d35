//! Takes what sessions show to those who watch them: to recordings, and to the letters of `--traffic`.

use super::Shard;
use crate::config::Config;
use crate::engine::Kernel;
use crate::observe::log::Log;
use crate::observe::record::{Recorder, Tape};
use crate::observe::traffic::Traffic;
use crate::session::tap::Tap;
use crate::slab::Key;
use std::collections::HashMap;

/// Who watches sessions; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Taps {
    recorder: Option<Recorder>,
    traffic: Option<Traffic>,
}

/// The recordings of a shard's sessions.
pub(super) type Tapes = HashMap<Key, Tape>;

impl Taps {
    /// Starts those that `config` wants.
    ///
    /// # Errors
    /// For an operator: when recordings cannot be made where they should be, or a thread cannot be started.
    pub fn start(config: &Config, log: &Log) -> Result<Taps, String> {
        let recorder = config.record.clone().map(|options| Recorder::start(options, log.clone()));
        let traffic = config.traffic.then(Traffic::start).transpose();
        Ok(Taps {
            recorder: recorder.transpose()?,
            traffic: traffic.map_err(|error| format!("starting the letters of --traffic: {error}"))?,
        })
    }

    /// The recorder, for its numbers.
    pub fn recorder(&self) -> Option<&Recorder> {
        self.recorder.as_ref()
    }

    /// Waits, for a while, until all they were shown is written.
    pub fn finish(&self, log: &Log) {
        if let Some(recorder) = &self.recorder {
            recorder.finish(log);
        }
        if let Some(traffic) = &self.traffic {
            traffic.finish();
        }
    }
}

impl<K: Kernel> Shard<K> {
    /// Counts a connection for the names of recordings.
    pub(super) fn count_connection(&mut self, key: Key) {
        if let (Some(recorder), Some(session)) = (&self.setup.taps.recorder, self.sessions.get_mut(key)) {
            session.set_number(recorder.count());
        }
    }

    /// Begins the recording of a session that became a bridge.
    pub(super) fn begin_tape(&mut self, key: Key) {
        let Some(recorder) = &self.setup.taps.recorder else { return };
        let Some((_, session)) = self.sessions.at(key.index).filter(|(own, _)| *own == key) else { return };
        let core = session.core();
        let target = self.shown_target(core);
        let client = core.client.map(|client| client.ip());
        let tape = recorder.open(self.now, core.number, core.token, client, target);
        self.tapes.insert(key, tape);
    }

    pub(super) fn show(&mut self, key: Key, tap: Tap) {
        if let Some(traffic) = &self.setup.taps.traffic {
            traffic.show(&tap);
        }
        if let Tap::Brought(brought) = tap
            && let Some(tape) = self.tapes.get_mut(&key)
            && !tape.keep(self.now, brought)
            && let Some(session) = self.sessions.get_mut(key)
        {
            session.show_no_bytes();
        }
    }
}
