//! Files of tokens: read once, kept as a table, and read again when they change.
//!
//! Each look-up asks the system whether the files are still the same, so that an edit acts at once; reading is done only
//! when they are not. A new text that makes no sense changes nothing: what was read before stays in force, and the log
//! says so. Files that are gone are another matter: nobody passes then.

use super::stamp::{self, Stamp};
use super::trouble::{Trouble, Troubles, unreadable};
use super::{Found, Seek, Wanted};
use crate::limits::{FILE_SETTLED_MS, TOKEN_FILE_BYTES_MAX, TOKEN_FILES_MAX};
use crate::observe::log::Level;
use crate::route::table::Table;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often a file that is being written is looked at.
const WRITER_LOOK: Duration = Duration::from_millis(5);
/// Lines with faults that are named one by one; of the others there is only the number.
const FAULTS_TOLD: usize = 5;

/// What to do about them. The words in front of it are websockify's.
const MEND: &str = "write token: host:port there, or # in front of it";

/// A file, or a directory of files.
pub(super) struct Files {
    path: PathBuf,
    troubles: Troubles,
    kept: Mutex<Kept>,
}

/// What is there: each file and its stamp, sorted.
type Seen = Vec<(PathBuf, Stamp)>;

#[derive(Default)]
struct Kept {
    /// What was there when the table was made, or could not be made.
    seen: Seen,
    /// Whether another change would show.
    settled: bool,
    /// What tokens lead to, if that could ever be read.
    table: Option<Arc<Table>>,
    /// Why it could not, then.
    fault: Option<String>,
}

impl Files {
    pub fn new(path: &Path, troubles: Troubles) -> Files {
        Files { path: path.to_owned(), troubles, kept: Mutex::default() }
    }

    fn table(&self) -> Result<Arc<Table>, Trouble> {
        let patience = Instant::now() + Duration::from_millis(2 * FILE_SETTLED_MS);
        loop {
            let seen = look(&self.path);
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let outcome = seen.and_then(|seen| {
                if kept.settled && kept.seen == seen {
                    return Ok(());
                }
                self.renew(&mut kept, seen, Instant::now() < patience)
            });
            match (outcome, &kept.table) {
                (Ok(()), Some(table)) => return Ok(table.clone()),
                (Ok(()), None) => {
                    let fault = kept.fault.as_deref().unwrap_or("it could not be read");
                    return Err(Trouble::Met(format!("{fault}; save it as UTF-8, or name another")));
                }
                // Somebody is writing: what they mean will be there in a moment.
                (Err(error), _) if error.kind() == ErrorKind::ResourceBusy && Instant::now() < patience => {
                    drop(kept);
                    sleep(WRITER_LOOK);
                }
                (Err(error), _) if error.kind() == ErrorKind::NotFound => {
                    *kept = Kept::default();
                    return Err(unreadable(&self.path, &error));
                }
                (Err(error), Some(table)) => {
                    self.troubles.tell(&self.trouble(&format!("{error}; what was read before stays")));
                    return Ok(table.clone());
                }
                (Err(error), None) => return Err(unreadable(&self.path, &error)),
            }
        }
    }

    fn trouble(&self, why: &str) -> Trouble {
        Trouble::Met(format!("{}: {why}", self.path.display()))
    }

    /// Reads what is there and keeps it, if it makes sense. `patient`: what looks half-written is left for later.
    fn renew(&self, kept: &mut Kept, seen: Seen, patient: bool) -> io::Result<()> {
        let settled = seen.iter().all(|(_, stamp)| stamp.is_settled());
        let mut table = Table::default();
        // Lines in front of each file.
        let mut before = Vec::with_capacity(seen.len());
        let mut room = TOKEN_FILE_BYTES_MAX;
        for (path, stamp) in &seen {
            let (bytes, now) = stamp::read(path, room).map_err(|error| match error.kind() {
                // It was there a moment ago; another look will tell what is there now.
                ErrorKind::NotFound => io::Error::new(ErrorKind::ResourceBusy, error),
                _ => error,
            })?;
            if now != *stamp || (patient && !stamp.is_settled() && !bytes.ends_with(b"\n")) {
                return Err(io::Error::new(ErrorKind::ResourceBusy, "it is being written"));
            }
            room -= bytes.len();
            match std::str::from_utf8(&bytes) {
                Ok(text) => {
                    before.push(table.lines);
                    table.add(text);
                }
                Err(_) => {
                    // It will not get better by being read again.
                    let fault = format!("{} is not UTF-8", path.display());
                    if kept.table.is_some() {
                        self.troubles.fault(Level::Error, &format!("{fault}; what was read before stays"));
                    }
                    kept.fault = Some(fault);
                    (kept.seen, kept.settled) = (seen, settled);
                    return Ok(());
                }
            }
        }
        // Being read again only because it is young is no news.
        if kept.seen != seen {
            self.note_faults(&table, &seen, &before);
        }
        *kept = Kept { seen, settled, table: Some(Arc::new(table)), fault: None };
        Ok(())
    }

    /// Names lines with faults, each in its own file.
    fn note_faults(&self, table: &Table, seen: &Seen, before: &[usize]) {
        for line in table.faults.iter().take(FAULTS_TOLD) {
            let file = before.partition_point(|count| count < line) - 1;
            let (path, line) = (seen[file].0.display(), line - before[file]);
            let text = format!("Syntax error in {path} on line {line}; {MEND}");
            self.troubles.fault(Level::Warn, &text);
        }
        if let Some(more) = table.faults.len().checked_sub(FAULTS_TOLD).filter(|more| *more > 0) {
            let path = self.path.display();
            let text = format!("Syntax error in {path} on {more} more lines; {MEND}");
            self.troubles.fault(Level::Warn, &text);
        }
    }
}

impl Seek for Files {
    fn seek(&self, wanted: &Wanted) -> Found {
        Ok(self.table()?.find(&wanted.token, wanted.is_host))
    }

    fn probe(&self, until: Instant) -> Result<Option<String>, Trouble> {
        self.table()?;
        if let Some(odd) = first_odd(&self.path, until) {
            let odd = odd.display();
            let text = format!("{odd} is no file and is passed over; put a file there, or take it away");
            self.troubles.fault(Level::Warn, &text);
        }
        Ok(None)
    }
}

/// What is first found in a directory, if it is one, and is neither file nor directory: a pipe, a device, a socket.
fn first_odd(path: &Path, until: Instant) -> Option<PathBuf> {
    let entries = fs::read_dir(path).ok()?.flatten().take_while(|_| Instant::now() < until);
    let is_odd = |path: &PathBuf| fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir());
    entries.map(|entry| entry.path()).find(is_odd)
}

/// What is there: the file itself, or every regular file in the directory, but not in those within it.
fn look(path: &Path) -> io::Result<Seen> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_dir() {
        return Ok(vec![(path.to_owned(), Stamp::of(&metadata))]);
    }
    let mut seen = Seen::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        // What has gone since it was listed was not there.
        let Ok(metadata) = fs::metadata(&path) else { continue };
        if metadata.is_file() {
            seen.push((path, Stamp::of(&metadata)));
        }
        if seen.len() > TOKEN_FILES_MAX {
            return Err(io::Error::other(format!("more than {TOKEN_FILES_MAX} files")));
        }
    }
    seen.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(seen)
}
