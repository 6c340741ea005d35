//! The log file: appended to, and opened anew under its name when it has been moved away.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

/// Who may read a log file that did not exist: its owner only, since paths of requests are in it.
const MODE: u32 = 0o600;

/// An open log file.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
    /// Lines that are not written yet.
    held: Vec<u8>,
    /// The last write failed, and that has been told.
    failing: bool,
}

impl LogFile {
    /// Opens the file at `path`, or makes one that belongs to `owner`, if that is somebody else.
    ///
    /// # Errors
    /// When it cannot be opened for appending.
    pub fn open(path: &Path, owner: Option<(u32, u32)>) -> io::Result<LogFile> {
        let file = match options().create_new(true).open(path) {
            Ok(file) => {
                if let Some((user, group)) = owner {
                    fchown(&file, Some(user), Some(group))?;
                }
                file
            }
            Err(_) => open(path)?,
        };
        Ok(LogFile { path: path.to_owned(), file, held: Vec::new(), failing: false })
    }

    /// Opens what has that name now. If that fails, lines still go where they went.
    pub fn reopen(&mut self) -> Result<(), String> {
        // A failure to write belongs to the file before.
        let _ = self.file.write_all(&std::mem::take(&mut self.held));
        self.file =
            open(&self.path).map_err(|error| format!("log file not reopened: {}", self.complaint(&error)))?;
        self.failing = false;
        Ok(())
    }

    /// Takes bytes of lines.
    pub fn hold(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// Writes what is held. `Err` is a word for the other places, once for all failures in a row.
    pub fn flush(&mut self) -> Result<(), String> {
        let outcome = self.file.write_all(&self.held);
        self.held.clear();
        match outcome {
            Ok(()) => {
                self.failing = false;
                Ok(())
            }
            Err(_) if self.failing => Ok(()),
            Err(error) => {
                self.failing = true;
                Err(format!("log file not written: {}", self.complaint(&error)))
            }
        }
    }

    fn complaint(&self, error: &io::Error) -> String {
        format!("file=\"{}\" error=\"{error}\"", super::Escaped(&self.path.to_string_lossy()))
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.append(true).mode(MODE).custom_flags(libc::O_NOCTTY);
    options
}

fn open(path: &Path) -> io::Result<File> {
    options().create(true).open(path)
}
