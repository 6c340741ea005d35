//! Users of a password file as htpasswd(1) makes it, for `HtpasswdAuth`.
//!
//! Owns the file as it was last read, and which hashes count. A password that was right is remembered for a short time by
//! a keyed digest, so that the many requests of one page cost one hash. A name that is not in the file costs as much as one
//! that is, so that nobody can find out names by the clock.

use super::stamp::{self, Stamp};
use crate::limits::{
    BCRYPT_COST_MAX, PASSWORD_BYTES_MAX, PASSWORD_CACHE_MAX, PASSWORD_CACHE_MS, PASSWORD_FILE_BYTES_MAX,
    PLUGIN_LABEL_BYTES_MAX, SHA_CRYPT_ROUNDS_MAX,
};
use crate::observe::log::{Escaped, Level, Log};
use crate::route::guard::{UNAUTHORIZED, credentials};
use crate::route::request::Request;
use crate::route::{Answer, Pass};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use md5::{Digest, Md5};
use sha_crypt::{PasswordVerifier, ShaCrypt};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The users of a file.
pub(super) struct Users {
    path: PathBuf,
    log: Log,
    /// What digests in memory are made with: of no use outside of this process.
    key: hmac::Key,
    read: Mutex<(Option<Stamp>, Arc<Table>)>,
    known: Mutex<HashMap<[u8; 32], Instant>>,
}

/// A file, read.
#[derive(Default)]
struct Table {
    hashes: Vec<Hash>,
    /// Places in `hashes`.
    users: HashMap<Vec<u8>, usize>,
}

/// The hash of a password.
#[derive(Clone, Debug, PartialEq)]
enum Hash {
    Bcrypt(String),
    Sha(String),
    /// Salt and digest.
    Apr1(String, String),
}

impl Users {
    /// Reads the file.
    ///
    /// # Errors
    /// One line that says why it is of no use.
    pub fn open(path: &Path, log: &Log) -> Result<Users, String> {
        let failed = |why: String| format!("option --auth-source: password file {}: {why}", path.display());
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &aws_lc_rs::rand::SystemRandom::new());
        let users = Users {
            path: path.into(),
            log: log.clone(),
            key: key.map_err(|_| failed("no randomness to be had".into()))?,
            read: Mutex::default(),
            known: Mutex::default(),
        };
        let (stamp, table) = users.load().map_err(|error| failed(error.to_string()))?;
        *users.read.lock().unwrap_or_else(PoisonError::into_inner) = (Some(stamp), Arc::new(table));
        Ok(users)
    }

    /// Whether a request may pass, by the user and password it brings.
    pub fn answer(&self, request: &Request) -> Answer {
        let said = credentials(request)?;
        let at = said.iter().position(|byte| *byte == b':').ok_or(UNAUTHORIZED)?;
        let (user, password) = (&said[..at], &said[at + 1..]);
        let table = self.table();
        let place = table.users.get(user).copied();
        // Somebody else's hash in place of one that is not there: the same one each time, and nobody can tell whose.
        let decoy = || {
            let number = u64::from_be_bytes(self.digest(&[user])[..8].try_into().unwrap_or_default());
            usize::try_from(number.checked_rem(table.hashes.len() as u64)?).ok()
        };
        let Some(hash) = place.or_else(decoy).and_then(|at| table.hashes.get(at)) else {
            return Err(UNAUTHORIZED);
        };
        let mark = self.digest(&[hash.text().as_bytes(), &said]);
        if place.is_some() && self.is_known(&mark) {
            return Ok(pass(user));
        }
        let right = password.len() <= PASSWORD_BYTES_MAX && hash.is_of(password);
        if !(right && place.is_some()) {
            return Err(UNAUTHORIZED);
        }
        self.keep(mark);
        Ok(pass(user))
    }

    /// The users as the file has them now. What was read stays in force while the file cannot be.
    fn table(&self) -> Arc<Table> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let now = stamp::stamp(&self.path);
        if matches!((&now, read.0), (Ok(now), Some(own)) if *now == own && own.is_settled()) {
            return read.1.clone();
        }
        match now.and_then(|_| self.load()) {
            Ok((stamp, table)) => *read = (Some(stamp), Arc::new(table)),
            // It is told once: without a stamp the file counts as changed, and as soon as it can be read it is.
            Err(error) => {
                if read.0.take().is_some() {
                    let path = self.path.display().to_string();
                    let path = Escaped(&path);
                    let line = format!(
                        "passwords file=\"{path}\" not read, what was there stays: error=\"{error}\""
                    );
                    self.log.line(Level::Error, line);
                }
            }
        }
        read.1.clone()
    }

    fn load(&self) -> std::io::Result<(Stamp, Table)> {
        let (bytes, stamp) = stamp::read(&self.path, PASSWORD_FILE_BYTES_MAX)?;
        let mut table = Table::default();
        for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let mut parts = line.splitn(3, |byte| *byte == b':');
            let (user, hash) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            match std::str::from_utf8(hash).map_err(|_| "not text").and_then(Hash::parse) {
                Ok(hash) => {
                    table.users.insert(user.to_vec(), table.hashes.len());
                    table.hashes.push(hash);
                }
                Err(why) => {
                    let path = self.path.display().to_string();
                    let (path, line) = (Escaped(&path), number + 1);
                    self.log
                        .line(Level::Warn, format!("passwords file=\"{path}\" line={line} ignored: {why}"));
                }
            }
        }
        Ok((stamp, table))
    }

    fn digest(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }

    fn is_known(&self, mark: &[u8; 32]) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(mark).is_some_and(|since| since.elapsed() < Duration::from_millis(PASSWORD_CACHE_MS))
    }

    fn keep(&self, mark: [u8; 32]) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= PASSWORD_CACHE_MAX {
            known.retain(|_, since| since.elapsed() < Duration::from_millis(PASSWORD_CACHE_MS));
        }
        if known.len() >= PASSWORD_CACHE_MAX {
            known.clear();
        }
        known.insert(mark, Instant::now());
    }
}

fn pass(user: &[u8]) -> Pass {
    let mut name = String::from_utf8_lossy(user).into_owned();
    let end =
        (0..=PLUGIN_LABEL_BYTES_MAX.min(name.len())).rfind(|at| name.is_char_boundary(*at)).unwrap_or(0);
    name.truncate(end);
    Pass { labels: vec![("user".into(), name.into())], ..Pass::default() }
}

impl Hash {
    fn parse(text: &str) -> Result<Hash, &'static str> {
        const KNOWN: &str =
            "only bcrypt ($2y$), SHA-crypt ($5$, $6$) and apr1 ($apr1$) are taken; use htpasswd -B";
        if let Some(rest) = text.strip_prefix("$apr1$") {
            let (salt, digest) = rest.split_once('$').ok_or("an apr1 hash without a digest")?;
            let salt: String = salt.chars().take(8).collect();
            return Ok(Hash::Apr1(salt, digest.into()));
        }
        if text.starts_with("$5$") || text.starts_with("$6$") {
            let rounds = text[3..]
                .strip_prefix("rounds=")
                .and_then(|rest| rest.split_once('$')?.0.parse::<u32>().ok());
            return match rounds {
                Some(rounds) if rounds > SHA_CRYPT_ROUNDS_MAX => {
                    Err("more rounds of SHA-crypt than are taken")
                }
                _ => Ok(Hash::Sha(text.into())),
            };
        }
        let is_bcrypt = ["$2y$", "$2b$", "$2a$"].iter().any(|kind| text.starts_with(kind));
        let parts = text.parse::<bcrypt::HashParts>().ok().filter(|_| is_bcrypt).ok_or(KNOWN)?;
        match parts.get_cost() {
            4..=BCRYPT_COST_MAX => Ok(Hash::Bcrypt(text.into())),
            _ => Err("a cost of bcrypt that is not taken"),
        }
    }

    fn text(&self) -> &str {
        match self {
            Hash::Bcrypt(text) | Hash::Sha(text) | Hash::Apr1(_, text) => text,
        }
    }

    fn is_of(&self, password: &[u8]) -> bool {
        match self {
            Hash::Bcrypt(text) => bcrypt::verify(password, text).unwrap_or(false),
            Hash::Sha(text) => ShaCrypt::default().verify_password(password, text.as_str()).is_ok(),
            Hash::Apr1(salt, digest) => {
                let made = apr1(password, salt.as_bytes());
                verify_slices_are_equal(made.as_bytes(), digest.as_bytes()).is_ok()
            }
        }
    }
}

/// Apache's variant of the MD5-based crypt of FreeBSD, as in the sources of both; text of 22 letters.
fn apr1(password: &[u8], salt: &[u8]) -> String {
    let inner = Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    let mut outer = Md5::new().chain_update(password).chain_update(b"$apr1$").chain_update(salt);
    outer.update(inner.iter().copied().cycle().take(password.len()).collect::<Vec<u8>>());
    let mut bits = password.len();
    while bits > 0 {
        outer.update(if bits & 1 == 1 { &[0] } else { &password[..1] });
        bits >>= 1;
    }
    let mut digest = outer.finalize();
    for round in 0..1000 {
        let mut next = Md5::new();
        next.update(if round % 2 == 1 { password } else { &digest[..] });
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(if round % 2 == 1 { &digest[..] } else { password });
        digest = next.finalize();
    }
    const ORDER: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];
    let mut text = String::with_capacity(22);
    for [high, middle, low] in ORDER {
        put(u32::from_be_bytes([0, digest[high], digest[middle], digest[low]]), 4, &mut text);
    }
    put(u32::from(digest[11]), 2, &mut text);
    text
}

/// `count` letters for the lowest bits of `value`, six a letter.
fn put(value: u32, count: u32, text: &mut String) {
    const LETTERS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for letter in 0..count {
        text.push(char::from(LETTERS[(value >> (6 * letter)) as usize & 63]));
    }
}

#[cfg(test)]
#[path = "passwords_tests.rs"]
mod tests;
