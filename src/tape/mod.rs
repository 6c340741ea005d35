//! Recordings as text: their lines, their names, and how a line is put into a file that is whole at any moment.
//!
//! A recording is a fragment of JavaScript with an array of strings, one an entry, as noVNC plays it. Owns its form to
//! the byte, the patterns of names, and the order of writes. Pure: files are opened and written in `observe::record`.

pub mod line;
pub mod name;

use name::Pattern;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// What to record, and where to.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The directory, absolute.
    pub directory: PathBuf,
    /// What `{name}` stands for: the last part of the path that was given.
    pub base: OsString,
    /// How recordings are called.
    pub pattern: Pattern,
    /// Whether a file that is there stays, and a new one is called differently; else it is overwritten.
    pub unique: bool,
    /// Most bytes of a file, [`crate::limits::RECORD_FILE_BYTES_MIN`] at least; behind them a next one is begun. `None`:
    /// no bound.
    pub file_bytes_max: Option<u64>,
    /// Most bytes that may wait to be written, [`crate::limits::RECORD_BUFFER_BYTES_MIN`] at least.
    pub buffer_bytes: usize,
}

impl Options {
    /// Whether a recording would be called `name` whatever is there: the name, a dot and a number, and perhaps a part.
    pub fn overwrites(&self, name: &OsStr) -> bool {
        let is_number = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
        let base = self.base.as_encoded_bytes();
        let rest = name.as_encoded_bytes().strip_prefix(base).and_then(|rest| rest.strip_prefix(b"."));
        let Some(rest) = rest.filter(|_| !self.unique) else { return false };
        match memchr::memmem::find(rest, PART) {
            Some(at) => is_number(&rest[..at]) && is_number(&rest[at + PART.len()..]),
            None => is_number(rest),
        }
    }
}

/// What stands in front of the number of a recording's further file.
const PART: &[u8] = b".part";

/// Whose bytes an entry has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The client, on their way to the target.
    Client,
    /// The target, on their way to the client.
    Target,
}
