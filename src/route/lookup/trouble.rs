//! Trouble with a source of tokens: what the operator hears of it, and how a service is left in peace that is not there.
//!
//! One line in a while, however many clients meet it; never with a token in it.

use crate::limits::{SERVICE_REST_MS, TROUBLE_LOG_MS};
use crate::observe::log::{Escaped, Level, Log};
use std::sync::{Arc, Mutex, PoisonError};
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

/// Whether a service is tried: after it could not be reached, for a while not, then by one, then by all.
#[derive(Debug, Default)]
pub(super) struct Rest(Mutex<Option<Instant>>);

impl Rest {
    /// Whether it may be tried now. Whoever asks first after a rest is the one that tries; the others wait another one.
    pub fn is_over(&self) -> bool {
        let mut until = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match *until {
            None => true,
            Some(time) if Instant::now() < time => false,
            Some(_) => {
                *until = Some(Instant::now() + Duration::from_millis(SERVICE_REST_MS));
                true
            }
        }
    }

    /// It could not be reached.
    pub fn begin(&self) {
        let until = Instant::now() + Duration::from_millis(SERVICE_REST_MS);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    /// It was reached.
    pub fn end(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
