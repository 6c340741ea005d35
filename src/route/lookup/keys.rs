//! Tokens that are judged with a key from a file, which is read again when it changes.
//!
//! A new file that is no key, or one by which no token can be good, changes nothing; one that is gone lets nobody pass.

use super::stamp::{self, Stamp};
use super::trouble::{Trouble, Troubles, unreadable};
use super::{Found, Seek, Wanted};
use crate::limits::TOKEN_SMALL_FILE_BYTES_MAX;
use crate::observe::log::Level;
use crate::route::jwt::{self, Key};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The key in a file.
pub(super) struct Keys {
    path: PathBuf,
    troubles: Troubles,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// What the file was like when it was read, and whether another change would show.
    seen: Option<(Stamp, bool)>,
    key: Option<Arc<Key>>,
    /// Why there is none.
    fault: Option<String>,
}

impl Keys {
    pub fn new(path: &Path, troubles: Troubles) -> Keys {
        Keys { path: path.to_owned(), troubles, kept: Mutex::default() }
    }

    fn key(&self) -> Result<Arc<Key>, Trouble> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let trouble = |why: &str| Trouble::Met(format!("{}: {why}", self.path.display()));
        match self.renew(&mut kept) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                *kept = Kept::default();
                return Err(unreadable(&self.path, &error));
            }
            Err(error) if kept.key.is_some() => {
                self.troubles.tell(&trouble(&format!("{error}; the key before stays")));
            }
            Err(error) => return Err(unreadable(&self.path, &error)),
        }
        let remedy = "put the key of the tokens there, or name another file";
        let fault = || trouble(&format!("{}; {remedy}", kept.fault.as_deref().unwrap_or("is no key")));
        kept.key.clone().ok_or_else(fault)
    }

    fn renew(&self, kept: &mut Kept) -> io::Result<()> {
        let stamp = stamp::stamp(&self.path)?;
        if kept.seen == Some((stamp, true)) {
            return Ok(());
        }
        let (bytes, stamp) = stamp::read(&self.path, TOKEN_SMALL_FILE_BYTES_MAX)?;
        let is_news = kept.seen.is_none_or(|(before, _)| before != stamp);
        match Key::parse(&bytes).and_then(Key::able) {
            Ok(key) => kept.key = Some(Arc::new(key)),
            Err(why) => {
                // Without a key whoever asks for one tells.
                if is_news && kept.key.is_some() {
                    let path = self.path.display();
                    self.troubles.fault(Level::Error, &format!("{path} {why}; the key before stays"));
                }
                kept.fault = Some(why);
            }
        }
        kept.seen = Some((stamp, stamp.is_settled()));
        Ok(())
    }
}

impl Seek for Keys {
    fn seek(&self, wanted: &Wanted) -> Found {
        let key = self.key()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        match jwt::target(wanted.token.secret(), &key, now) {
            Ok(target) => Ok(Some(Arc::new(target))),
            Err(fault) => {
                self.troubles.note(Level::Debug, &format!("Failed to parse token: {fault}"));
                Ok(None)
            }
        }
    }

    fn probe(&self, _: Instant) -> Result<Option<String>, Trouble> {
        self.key().map(|_| None)
    }
}
