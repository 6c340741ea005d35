//! Trouble with a source of tokens: what the operator hears of it, and how a service is left in peace that is not there.
//!
//! One line in a while, however many clients meet it; never with a token in it.

use crate::limits::{SERVICE_REST_MS, SERVICE_SILENCES_MAX, TROUBLE_LOG_MS};
use crate::observe::log::{Escaped, Level, Log};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Why a source is of no use just now.
#[derive(Debug)]
pub(super) enum Trouble {
    /// What went wrong, without any secret.
    Met(String),
    /// It was of no use a moment ago, which has been said, and is not tried before a while.
    Resting,
}

/// Tells of trouble with one source.
#[derive(Clone, Debug)]
pub(super) struct Troubles {
    name: Arc<str>,
    log: Log,
    told: Arc<Mutex<Told>>,
}

#[derive(Debug, Default)]
struct Told {
    /// When the last line was written.
    last: Option<Instant>,
    /// How often trouble has been met since then.
    met: u64,
}

impl Troubles {
    pub fn new(name: &str, log: &Log) -> Troubles {
        Troubles { name: name.into(), log: log.clone(), told: Arc::default() }
    }

    /// Notes that a client was refused for this, and says so unless that was said a moment ago.
    pub fn tell(&self, trouble: &Trouble) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.met += 1;
        let Trouble::Met(cause) = trouble else { return };
        let every = Duration::from_millis(TROUBLE_LOG_MS);
        if told.last.is_none_or(|last| last.elapsed() >= every) {
            let (name, met) = (&self.name, std::mem::take(&mut told.met));
            told.last = Some(Instant::now());
            self.log.line(
                Level::Error,
                format!("tokens source={name} failures={met} error=\"{}\"", Escaped(cause)),
            );
        }
    }

    /// Says something that happens seldom by itself.
    pub fn note(&self, level: Level, text: &str) {
        self.log.line(level, format!("tokens source={} {}", self.name, Escaped(text)));
    }
}

/// Whether a service is tried: after it could not be reached, or has been silent for long, for a while not, then by one, then
/// by all.
#[derive(Debug, Default)]
pub(super) struct Rest(Mutex<Seen>);

/// What is known of a service.
#[derive(Debug, Default)]
struct Seen {
    /// When the rest is over, while it has one.
    until: Option<Instant>,
    /// Questions in a row that it took and did not answer in time.
    silences: usize,
}

impl Rest {
    /// Whether it may be tried now. Whoever asks first after a rest is the one that tries; the others wait another one.
    pub fn is_over(&self) -> bool {
        let mut seen = self.seen();
        match seen.until {
            None => true,
            Some(time) if Instant::now() < time => false,
            Some(_) => {
                seen.until = Some(next());
                true
            }
        }
    }

    /// Whether it is not tried just now, by anybody.
    pub fn lasts(&self) -> bool {
        self.seen().until.is_some_and(|time| Instant::now() < time)
    }

    /// It could not be reached.
    pub fn begin(&self) {
        self.seen().until = Some(next());
    }

    /// It was reached and did not answer in time. One token may be slow for reasons of its own; nothing else is answered either
    /// where all that were asked at once are.
    pub fn silence(&self) {
        let mut seen = self.seen();
        seen.silences = (seen.silences + 1).min(SERVICE_SILENCES_MAX);
        seen.until = (seen.silences == SERVICE_SILENCES_MAX).then(next);
    }

    /// It answered.
    pub fn end(&self) {
        *self.seen() = Seen::default();
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a rest is over that begins now.
fn next() -> Instant {
    Instant::now() + Duration::from_millis(SERVICE_REST_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_rests_when_nothing_at_all_is_answered() {
        let rest = Rest::default();
        for _ in 1..SERVICE_SILENCES_MAX {
            rest.silence();
        }
        assert!(rest.is_over());
        rest.end();
        for _ in 1..SERVICE_SILENCES_MAX {
            rest.silence();
        }
        assert!(rest.is_over(), "an answer between them begins the count anew");
        assert!(!rest.lasts());
        rest.silence();
        assert!(rest.lasts() && !rest.is_over());
        rest.silence();
        assert!(!rest.is_over(), "who tried after a rest was not answered either");
        rest.end();
        assert!(rest.is_over());
    }

    #[test]
    fn after_a_rest_one_tries_at_a_time() {
        let rest = Rest::default();
        rest.begin();
        assert!(!rest.is_over());
        rest.0.lock().unwrap().until = Some(Instant::now());
        assert!(!rest.lasts() && rest.is_over());
        assert!(rest.lasts() && !rest.is_over(), "the next waits for what the first finds");
    }
}
