//! Making room: who has to go when places are short, so that strangers who take one and say nothing shut nobody out.
//!
//! Owns the order in which connections give way: who has had the last answer and does not go, who does not come to a request,
//! who is between two requests. Never a bridge, and never one whose answer is under way. Who came a moment ago has its time, so that
//! a crowd of honest clients waits instead of driving each other out. Nobody goes while a
//! place is free, and no more than wait; but those without a head also have a bound of their own.

use super::Shard;
use super::waiters::Line;
use crate::engine::{Kernel, Lane, Token};
use crate::limits::{
    PENDING_HEADS_MAX, PENDING_HEADS_MIN, PENDING_HEADS_SHARE, SHED_GRACE_MS, SHED_LOOKS_MAX,
};
use crate::session::End;
use std::time::Duration;

const GRACE: Duration = Duration::from_millis(SHED_GRACE_MS);

impl<K: Kernel> Shard<K> {
    /// Keeps the sessions without a head below their bounds before one more begins: the oldest go.
    pub(super) fn bound_heads(&mut self) {
        let share = (self.setup.balance.share() / PENDING_HEADS_SHARE).max(PENDING_HEADS_MIN);
        loop {
            let pending = self.waiters.len(Line::Head);
            let oldest = match pending {
                _ if pending >= PENDING_HEADS_MAX => self.waiters.first(Line::Head).map(|(slot, _)| slot),
                _ if pending >= share => self.ripe(Line::Head, GRACE),
                _ => None,
            };
            let Some(oldest) = oldest else { return };
            let awaited = self.setup.balance.may_shed();
            self.shed(oldest, awaited);
        }
    }

    /// Whether somebody could be told to go for a newcomer, all places being taken.
    pub(super) fn could_make_room(&mut self) -> bool {
        if !self.setup.balance.is_full() {
            return false;
        }
        self.log_full();
        self.dispensable().is_some()
    }

    /// Tells as many to go as it takes for the clients of this shard that wait to have places, and for those of others that have
    /// nobody to spare, as far as there is anybody here. Where that is not enough, the others are called.
    pub(super) fn make_room(&mut self) {
        let waiting = self.accepts.lined();
        if waiting > 0 {
            self.log_full();
        }
        while self.setup.balance.is_called() || self.waiters.len(Line::Leaving) < waiting {
            let Some(slot) = self.dispensable() else {
                if waiting > 0 {
                    self.setup.balance.call_others(self.setup.number, self.now);
                }
                return;
            };
            if !self.setup.balance.may_shed() {
                return;
            }
            self.shed(slot, true);
        }
    }

    /// Who has to go first.
    fn dispensable(&mut self) -> Option<u32> {
        // The one place of `--run-once` is no shortage: who has come to it first has the time of a head.
        let mute = || if self.setup.config.process.once { None } else { self.ripe(Line::Head, GRACE) };
        self.ripe(Line::Farewell, GRACE).or_else(mute).or_else(|| self.idle())
    }

    /// Who has been between two requests for longest. Who has sent the next one, which this shard has not come round to, gives
    /// way to nobody: its turn is next.
    fn idle(&mut self) -> Option<u32> {
        for _ in 0..self.waiters.len(Line::Request).min(SHED_LOOKS_MAX) {
            let slot = self.ripe(Line::Request, Duration::ZERO)?;
            let key = self.sessions.at(slot).map(|(key, _)| key);
            if !key.is_some_and(|key| self.engine.has_arrived(Token::new(key, Lane::First))) {
                return Some(slot);
            }
            self.waiters.put(slot, Some(Line::Request), self.now);
        }
        None
    }

    /// Who has stood in `line` for longest, if that is so long.
    fn ripe(&self, line: Line, grace: Duration) -> Option<u32> {
        self.waiters.first(line).filter(|(_, since)| self.now.since(*since) >= grace).map(|(slot, _)| slot)
    }

    /// Tells the session in `slot` to go; `awaited` says that somebody waits for its place, who is told when it is gone.
    fn shed(&mut self, slot: u32, awaited: bool) {
        let Some((key, session)) = self.sessions.at(slot) else {
            return self.waiters.put(slot, None, self.now);
        };
        match session.waits().map(Line::of) {
            Some(Line::Head) => self.counters.heads_shed += 1,
            _ => self.counters.idle_shed += 1,
        }
        self.abort(key, End::Shed);
        debug_assert!(self.sessions.at(slot).is_some(), "a socket is closed in another turn");
        self.waiters.put(slot, awaited.then_some(Line::Leaving), self.now);
    }
}
