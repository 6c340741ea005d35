//! Trouble with a source of tokens, or a service that guards: what the operator hears of it, and how a service is left in peace that is not there.
//!
//! One line in a while, however many clients meet it; never with a token in it.

use crate::limits::{SERVICE_REST_MS, TROUBLE_LOG_MS};
use crate::observe::log::{Escaped, Level, Log};
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
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

/// What to do where a file may not be read.
pub(super) const UNREADABLE: &str = "let the user read it who serves, or name another";

/// That a source cannot be read, and what to do about it.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> Trouble {
    let remedy = match error.kind() {
        ErrorKind::NotFound => "make it, or name another",
        ErrorKind::PermissionDenied => UNREADABLE,
        _ => "mend it, or name another",
    };
    Trouble::Met(format!("{}: {error}; {remedy}", path.display()))
}

/// Tells of trouble with one source.
#[derive(Clone, Debug)]
pub(super) struct Troubles {
    /// What its lines begin with.
    who: Arc<str>,
    /// The option that names the source.
    option: &'static str,
    log: Log,
    told: Arc<Told>,
}

#[derive(Debug, Default)]
struct Told {
    /// When the last line was written.
    last: Mutex<Option<Instant>>,
    /// How often trouble has been met since then. Shards count, too, and do not wait for whoever writes a line.
    met: AtomicU64,
}

impl Troubles {
    /// Of the source that `option` names; what is told of it in passing begins with `who`.
    pub fn new(who: &str, option: &'static str, log: &Log) -> Troubles {
        Troubles { who: who.into(), option, log: log.clone(), told: Arc::default() }
    }

    /// Notes that a client was refused for this, and says so unless that was said a moment ago.
    pub fn tell(&self, trouble: &Trouble) {
        self.told.met.fetch_add(1, Ordering::Relaxed);
        let Trouble::Met(cause) = trouble else { return };
        let mut last = self.told.last.lock().unwrap_or_else(PoisonError::into_inner);
        let every = Duration::from_millis(TROUBLE_LOG_MS);
        if last.is_none_or(|last| last.elapsed() >= every) {
            let (who, met) = (&self.who, self.told.met.swap(0, Ordering::Relaxed));
            *last = Some(Instant::now());
            self.log.line(Level::Error, format!("{who} failures={met} error=\"{}\"", Escaped(cause)));
        }
    }

    /// Says what is wrong with the source itself, with the remedy: whoever reads it named the source with an option.
    pub fn fault(&self, level: Level, text: &str) {
        self.log.line(level, format!("{}: {}", self.option, Escaped(text)));
    }

    /// Says what somebody has asked about the source itself.
    pub fn answer(&self, text: &str) {
        self.log.answer(format!("{}: {}", self.option, Escaped(text)));
    }

    /// Says something else that happens seldom by itself.
    pub fn note(&self, level: Level, text: &str) {
        self.log.line(level, format!("{} {}", self.who, Escaped(text)));
    }
}

/// Whether a service is tried: after it could not be reached, or has answered nothing of all that it was asked at once, for a
/// while not, then by one, then by all.
#[derive(Debug)]
pub(super) struct Rest {
    /// Most questions at once.
    threads: usize,
    seen: Mutex<Seen>,
}

/// What is known of a service.
#[derive(Debug, Default)]
struct Seen {
    /// When the rest is over, while it has one.
    until: Option<Instant>,
    /// When the last questions without an answer were given up, one for each thread; an answer strikes them out.
    silences: VecDeque<Instant>,
}

impl Rest {
    /// Of a service that up to `threads` ask at once.
    pub fn new(threads: usize) -> Rest {
        Rest { threads, seen: Mutex::default() }
    }

    /// Whether it may be tried now, until `until` at the latest. Whoever asks first after a rest is the one that tries; the
    /// others wait for what comes of that.
    pub fn is_over(&self, until: Instant) -> bool {
        let mut seen = self.seen();
        match seen.until {
            None => true,
            Some(time) if Instant::now() < time => false,
            Some(_) => {
                seen.until = Some(next().max(until));
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

    /// It was reached and did not answer in time a question that was `asked` then. One token may be slow for reasons of its own;
    /// nothing else is answered either where all threads waited in vain at the same time.
    pub fn silence(&self, asked: Instant) {
        let mut seen = self.seen();
        seen.silences.push_back(Instant::now());
        if seen.silences.len() > self.threads {
            seen.silences.pop_front();
        }
        let are_all = seen.silences.len() == self.threads && seen.silences.iter().all(|end| *end >= asked);
        if are_all || seen.until.is_some() {
            seen.until = Some(next());
        }
    }

    /// It answered.
    pub fn end(&self) {
        *self.seen() = Seen::default();
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a rest is over that begins now.
fn next() -> Instant {
    Instant::now() + Duration::from_millis(SERVICE_REST_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREADS: usize = 3;

    fn is_over(rest: &Rest) -> bool {
        rest.is_over(Instant::now())
    }

    #[test]
    fn a_service_rests_when_nothing_at_all_is_answered() {
        let (rest, asked) = (Rest::new(THREADS), Instant::now());
        for _ in 1..THREADS {
            rest.silence(asked);
        }
        assert!(is_over(&rest));
        rest.end();
        for _ in 1..THREADS {
            rest.silence(asked);
        }
        assert!(is_over(&rest), "an answer between them strikes them out");
        rest.silence(asked);
        assert!(rest.lasts() && !is_over(&rest));
        rest.end();
        assert!(!rest.lasts() && is_over(&rest));
    }

    #[test]
    fn one_slow_token_is_not_the_whole_service() {
        let rest = Rest::new(THREADS);
        for _ in 0..3 * THREADS {
            let asked = Instant::now();
            while asked.elapsed().is_zero() {}
            rest.silence(asked);
        }
        assert!(is_over(&rest), "one after the other says nothing of the others");
    }

    #[test]
    fn what_was_under_way_when_a_rest_began_does_not_end_it() {
        let (rest, asked) = (Rest::new(THREADS), Instant::now());
        rest.begin();
        rest.silence(asked);
        assert!(rest.lasts());
    }

    #[test]
    fn after_a_rest_one_tries_at_a_time() {
        let rest = Rest::new(THREADS);
        rest.begin();
        assert!(!is_over(&rest));
        let over = || rest.seen.lock().unwrap().until = Some(Instant::now());
        over();
        assert!(!rest.lasts() && rest.is_over(Instant::now() + Duration::from_secs(3600)));
        assert!(rest.lasts() && !is_over(&rest), "the next waits for what the first finds");
        let until = rest.seen.lock().unwrap().until.unwrap();
        assert!(until > Instant::now() + Duration::from_secs(3000), "however long that takes");
        rest.silence(Instant::now());
        over();
        assert!(is_over(&rest), "and when it has found nothing, another tries");
    }
}
