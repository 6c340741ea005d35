//! Users of a password file as htpasswd(1) makes it, for `HtpasswdAuth`.
//!
//! Owns the file as it was last read, which hashes count, and how long a request may wait for one. A password that was right
//! is remembered for a short time by a keyed digest, so that the many requests of one page cost one hash, and that those who
//! were here are let in however many strangers try their luck. A file that is gone lets nobody in. A name that is not in the file costs as much as one
//! that is, so that nobody can find out names by the clock.

use super::stamp::{self, Stamp};
use super::trouble::UNREADABLE;
use crate::http::Refusal;
use crate::limits::{
    BCRYPT_COST_MAX, PASSWORD_BYTES_MAX, PASSWORD_CACHE_MAX, PASSWORD_CACHE_MS, PASSWORD_FILE_BYTES_MAX,
    PASSWORD_WAIT_MS, PLUGIN_LABEL_BYTES_MAX, SHA_CRYPT_ROUNDS_MAX,
};
use crate::observe::log::{Escaped, Level, Log};
use crate::route::equal;
use crate::route::guard::{UNAUTHORIZED, credentials};
use crate::route::request::Request;
use crate::route::{Answer, Pass};
use aws_lc_rs::hmac;
use md5::{Digest, Md5};
use sha_crypt::{PasswordVerifier, ShaCrypt};
use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines of no use that are named one by one; of the others there is only the number.
const FAULTS_TOLD: usize = 5;

/// The users of a file.
pub(super) struct Users {
    path: PathBuf,
    log: Log,
    /// What digests in memory are made with: of no use outside of this process.
    key: hmac::Key,
    /// No table: the file is gone.
    read: Mutex<(Option<Stamp>, Option<Arc<Table>>)>,
    /// What the last hash took, in microseconds.
    cost: AtomicU64,
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

/// A password to be hashed.
pub(super) struct Work {
    /// User and password, and where the colon is between them.
    said: Vec<u8>,
    at: usize,
    hash: Hash,
    /// The hash is that of the user, and not of somebody else.
    is_user: bool,
    mark: [u8; 32],
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
            cost: AtomicU64::new(0),
            known: Mutex::default(),
        };
        let (stamp, table) = users.load().map_err(|error| {
            let remedy = match error.kind() {
                ErrorKind::PermissionDenied => UNREADABLE,
                _ => "make it with htpasswd, or name another",
            };
            failed(format!("{error}; {remedy}"))
        })?;
        *users.read.lock().unwrap_or_else(PoisonError::into_inner) = (Some(stamp), Some(Arc::new(table)));
        Ok(users)
    }

    /// What can be said of a request without hashing anything; otherwise what is to be hashed. The file is looked at.
    pub fn look(&self, request: &Request) -> Result<Answer, Work> {
        self.sought(request).unwrap_or_else(|refusal| Ok(Err(refusal)))
    }

    fn sought(&self, request: &Request) -> Result<Result<Answer, Work>, Refusal> {
        let said = credentials(request)?;
        let at = said.iter().position(|byte| *byte == b':').ok_or(UNAUTHORIZED)?;
        let user = &said[..at];
        // Nobody can tell who may come in.
        let table = self.table().ok_or(Refusal::BUSY)?;
        let place = table.users.get(user).copied();
        // Somebody else's hash in place of one that is not there: the same one each time, and nobody can tell whose.
        let decoy = || {
            let number = u64::from_be_bytes(self.digest(&[user])[..8].try_into().unwrap_or_default());
            usize::try_from(number.checked_rem(table.hashes.len() as u64)?).ok()
        };
        let hash = place.or_else(decoy).and_then(|at| table.hashes.get(at)).ok_or(UNAUTHORIZED)?;
        let mark = self.digest(&[hash.text().as_bytes(), &said]);
        if place.is_some() && self.is_known(&mark) {
            return Ok(Ok(Ok(pass(user))));
        }
        let (hash, is_user) = (hash.clone(), place.is_some());
        Ok(Err(Work { said, at, hash, is_user, mark }))
    }

    /// Does the hashing for a request that has waited since `asked`.
    pub fn settle(&self, work: &Work, asked: Instant) -> Answer {
        let begun = Instant::now();
        if begun.duration_since(asked) >= Duration::from_millis(PASSWORD_WAIT_MS) {
            // Nobody waits for it any more, and there may be others who do.
            return Err(Refusal::BUSY);
        }
        let (user, password) = (&work.said[..work.at], &work.said[work.at + 1..]);
        let right = password.len() <= PASSWORD_BYTES_MAX && work.hash.is_of(password);
        let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.cost.store(took, Ordering::Relaxed);
        if !(right && work.is_user) {
            return Err(UNAUTHORIZED);
        }
        self.keep(work.mark);
        Ok(pass(user))
    }

    /// Whether so many hashes can be made by one thread before the last of them is too late.
    pub fn has_time(&self, hashes: usize) -> bool {
        let took = self.cost.load(Ordering::Relaxed);
        took.saturating_mul(hashes as u64) <= PASSWORD_WAIT_MS * 1_000
    }

    /// The users as the file has them now. What was read stays in force while the file cannot be; where there is none,
    /// nobody is in it.
    fn table(&self) -> Option<Arc<Table>> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let now = stamp::stamp(&self.path);
        if matches!((&now, read.0), (Ok(now), Some(own)) if *now == own && own.is_settled()) {
            return read.1.clone();
        }
        match now.and_then(|_| self.load()) {
            Ok((stamp, table)) => *read = (Some(stamp), Some(Arc::new(table))),
            Err(error) => {
                let is_gone = matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory);
                // It is told once: without a stamp the file counts as changed, and as soon as it can be read it is.
                let is_news = read.0.take().is_some() || (is_gone && read.1.is_some());
                if is_gone {
                    read.1 = None;
                }
                if is_news {
                    let path = self.path.display().to_string();
                    let path = Escaped(&path);
                    let what = if is_gone { "nobody is let in" } else { "what was there stays" };
                    let line = format!("passwords file=\"{path}\" not read, {what}: error=\"{error}\"");
                    self.log.line(Level::Error, line);
                }
            }
        }
        read.1.clone()
    }

    fn load(&self) -> std::io::Result<(Stamp, Table)> {
        let (bytes, stamp) = stamp::read(&self.path, PASSWORD_FILE_BYTES_MAX)?;
        let mut table = Table::default();
        let mut faults = 0;
        for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let mut parts = line.splitn(3, |byte| *byte == b':');
            let (user, hash) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            match std::str::from_utf8(hash)
                .map_err(|_| "its hash is not text; use htpasswd -B")
                .and_then(Hash::parse)
            {
                Ok(hash) => {
                    table.users.insert(user.to_vec(), table.hashes.len());
                    table.hashes.push(hash);
                }
                Err(why) => {
                    faults += 1;
                    if faults <= FAULTS_TOLD {
                        self.ignored(&format!("line={} ignored: {why}", number + 1));
                    }
                }
            }
        }
        if faults > FAULTS_TOLD {
            self.ignored(&format!("{} more lines ignored", faults - FAULTS_TOLD));
        }
        Ok((stamp, table))
    }

    fn ignored(&self, what: &str) {
        let path = self.path.display().to_string();
        let path = Escaped(&path);
        self.log.line(Level::Warn, format!("--auth-source: passwords file=\"{path}\" {what}"));
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

/// Why a hash of bcrypt is not taken.
const TOO_COSTLY: &str =
    "its cost of bcrypt is above 13, and so a request would wait too long; use htpasswd -B -C 12";
const _: () = assert!(BCRYPT_COST_MAX == 13, "the text above says so");

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
            ..4 => Err("a cost of bcrypt that is too low to be one"),
            _ => Err(TOO_COSTLY),
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
                equal::same(digest.as_bytes(), made.as_bytes())
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
