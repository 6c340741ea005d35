//! When buffer memory stays at its ceiling, or the system gives none: who has been stuck for longest makes room for all others.
//! And memory is sought again, for who gave it back may have been anybody.

use super::Shard;
use crate::engine::Kernel;
use crate::limits::{ACCEPT_PAUSE_MS, RETRY_MS, STARVED_TIMEOUT_MS};
use crate::session::{End, Side};
use std::time::Duration;

impl<K: Kernel> Shard<K> {
    /// Ends one session if receives have waited for memory for too long.
    pub(super) fn relieve(&mut self) {
        if !self.engine.is_starving() {
            self.starving_until = None;
            return;
        }
        let patience = Duration::from_millis(STARVED_TIMEOUT_MS);
        let until = *self.starving_until.get_or_insert(self.now + patience);
        if self.now < until {
            return;
        }
        let stuck = self.sessions.keys().filter_map(|key| {
            let (_, session) = self.sessions.at(key.index)?;
            session.core().stuck().map(|(since, side)| (since, side, key))
        });
        if let Some((_, side, key)) = stuck.min_by_key(|(since, ..)| *since) {
            let end = match side {
                Side::Client => End::ClientStalled,
                Side::Target => End::TargetStalled,
            };
            self.abort(key, end);
        }
        self.starving_until = Some(self.now + Duration::from_millis(RETRY_MS));
    }

    /// Seeks memory now and then where the system gave none. What others gave back nobody here notices: those who are here
    /// would go without for as long as nobody comes and nobody goes.
    pub(super) fn seek_memory(&mut self) {
        let pool = self.engine.pool();
        if !pool.lacks() {
            self.lacking_until = None;
            return;
        }
        let pause = Duration::from_millis(ACCEPT_PAUSE_MS);
        let until = *self.lacking_until.get_or_insert(self.now + pause);
        if self.now >= until {
            self.lacking_until = if pool.recovers() { None } else { Some(self.now + pause) };
        }
    }
}
