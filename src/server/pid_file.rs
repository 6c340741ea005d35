//! The file with the number of the process: made for this process alone, locked while it lives, and taken away at the end.
//!
//! A file that another process holds is an error, one that nobody holds is a leftover and replaced. It never follows a
//! link, and never removes what does not look like such a file.

use crate::sys::directory;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Who may read it: everybody, since the number is no secret and scripts look for it.
const MODE: u32 = 0o644;
/// How often it is tried to be the one who makes it.
const TRIES: usize = 5;
/// Longest content of a file that is taken for one of these.
const CONTENT_BYTES_MAX: u64 = 32;
/// What is said of something that this program has not made.
const FOREIGN: &str = "what is there is no such file; move it";

/// The file of this process.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    file: Flock<File>,
}

impl PidFile {
    /// Makes the file at `path`.
    ///
    /// # Errors
    /// When another process holds it, or something else is in the way.
    pub fn make(path: &Path) -> io::Result<PidFile> {
        for _ in 0..TRIES {
            match options().create_new(true).mode(MODE).open(path) {
                Ok(file) => {
                    if let Some(own) = PidFile::claim(path, file)? {
                        return Ok(own);
                    }
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(explained(error)),
            }
            match options().open(path) {
                Ok(file) => {
                    let (_held, inode) = leftover(file)?;
                    remove_if_same(path, inode).map_err(explained)?;
                }
                // Somebody else has removed it meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(explained(error)),
            }
        }
        Err(refusal("others keep making it too; give each server a file of its own"))
    }

    /// Finds out whether the file at `path` could be made. A leftover stays, and is locked for a moment.
    ///
    /// # Errors
    /// As of [`PidFile::make`].
    pub fn check(path: &Path) -> io::Result<()> {
        match options().open(path) {
            Ok(file) => drop(leftover(file)?),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(explained(error)),
        }
        directory::admits(path).map_err(explained)
    }

    /// Makes `file`, just made at `path`, this process's own; `None` if somebody else was faster. Between its making and its
    /// lock it looks like a leftover, and may have been removed: a lock on it would then keep nobody out.
    fn claim(path: &Path, file: File) -> io::Result<Option<PidFile>> {
        let Ok(file) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else { return Ok(None) };
        let own = file.metadata()?;
        let there = std::fs::symlink_metadata(path);
        if !there.is_ok_and(|there| (there.dev(), there.ino()) == (own.dev(), own.ino())) {
            return Ok(None);
        }
        // From here on it is taken away again, also when the disk is full.
        let mut own = PidFile { path: path.to_owned(), file };
        writeln!(own.file, "{}", std::process::id()).map_err(explained)?;
        Ok(Some(own))
    }

    /// Takes the file away.
    ///
    /// # Errors
    /// When that is not permitted: with `--user` the directory may be another's. What is left is empty and names nobody.
    pub fn remove(self) -> io::Result<()> {
        let (path, inode) = (self.path.clone(), self.file.metadata()?.ino());
        drop(self);
        match std::fs::symlink_metadata(&path) {
            Ok(found) if found.ino() == inode => Err(io::Error::other(format!(
                "--pid-file: {} could not be removed and is left empty: give the user of --user its directory",
                path.display()
            ))),
            _ => Ok(()),
        }
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY);
    options
}

/// What the system says, and what to do about it.
fn explained(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ELOOP) => refusal("a symbolic link is in the way; move it"),
        Some(libc::ENXIO) => refusal(FOREIGN),
        Some(libc::ENOSPC | libc::EDQUOT) => {
            io::Error::new(error.kind(), format!("{error}; make room there, or name another"))
        }
        _ => io::Error::new(
            error.kind(),
            format!("{error}; check the file, its directory and their permissions, or name another"),
        ),
    }
}

/// Makes sure that `file` is one that a server has left behind, and holds it; with its number in the file system.
fn leftover(file: File) -> io::Result<(Flock<File>, u64)> {
    let found = file.metadata()?;
    if !found.is_file() || found.len() > CONTENT_BYTES_MAX {
        return Err(refusal(FOREIGN));
    }
    if found.uid() != nix::unistd::geteuid().as_raw() {
        return Err(refusal("what is there belongs to another user; move it"));
    }
    let mut content = String::new();
    // What is no text is no number either.
    let _ = (&file).take(CONTENT_BYTES_MAX).read_to_string(&mut content);
    let content = content.trim();
    if !content.bytes().all(|byte| byte.is_ascii_digit()) || (content.is_empty() && found.len() > 1) {
        return Err(refusal(FOREIGN));
    }
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(held) => Ok((held, found.ino())),
        Err((_, Errno::EWOULDBLOCK)) => Err(refusal(&format!("process {content} has it; end that first"))),
        Err((_, error)) => Err(error.into()),
    }
}

/// Removes `path` if it is still the file of this number: somebody may have put another one there meanwhile.
fn remove_if_same(path: &Path, inode: u64) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.ino() == inode => std::fs::remove_file(path),
        _ => Ok(()),
    }
}

fn refusal(what: &str) -> io::Error {
    io::Error::new(ErrorKind::AlreadyExists, what)
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let Ok(own) = self.file.metadata() else { return };
        if remove_if_same(&self.path, own.ino()).is_err() {
            // With --user the directory may be another's by now; an empty file names nobody.
            let _ = self.file.set_len(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_a_leftover_is_replaced() {
        let directory = std::env::temp_dir().join(format!("websplice-pid-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("pid");
        let own = format!("{}\n", std::process::id());

        let first = PidFile::make(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), own);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o644);
        let refused = PidFile::make(&path).unwrap_err().to_string();
        assert_eq!(refused, format!("process {} has it; end that first", std::process::id()));
        assert_eq!(PidFile::check(&path).unwrap_err().to_string(), refused);
        drop(first);
        PidFile::check(&path).unwrap();
        assert!(!path.exists());

        for leftover in ["4194305\n", "12", ""] {
            fs::write(&path, leftover).unwrap();
            PidFile::check(&path).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), leftover, "a check leaves it there");
            drop(PidFile::make(&path).unwrap());
            assert!(!path.exists(), "{leftover:?}");
        }
        for precious in ["key = value\n", "1234567890123456789012345678901234567890\n", "\n\n", "-1"] {
            fs::write(&path, precious).unwrap();
            let refused = PidFile::make(&path).unwrap_err().to_string();
            assert_eq!(PidFile::check(&path).unwrap_err().to_string(), refused, "{precious:?}");
            assert_eq!(fs::read_to_string(&path).unwrap(), precious);
        }
        fs::remove_file(&path).unwrap();
        fs::write(directory.join("other"), "12\n").unwrap();
        symlink(directory.join("other"), &path).unwrap();
        assert!(PidFile::make(&path).is_err_and(|error| error.to_string().contains("symbolic link")));
        assert_eq!(fs::read_to_string(directory.join("other")).unwrap(), "12\n");

        // Whoever has put another file there keeps it.
        fs::remove_file(&path).unwrap();
        let mine = PidFile::make(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "theirs").unwrap();
        drop(mine);
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_file_that_was_taken_for_a_leftover_is_nobodys() {
        let directory = std::env::temp_dir().join(format!("websplice-pid-race-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("pid");
        let begin = || File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        // Between the making of the file and its lock another process removes it, or makes its own, or locks it.
        let early = begin();
        fs::remove_file(&path).unwrap();
        assert!(PidFile::claim(&path, early).unwrap().is_none());
        let early = begin();
        let other = PidFile::make(&path).unwrap();
        assert!(PidFile::claim(&path, early).unwrap().is_none());
        assert!(path.exists());
        drop(other);
        let early = begin();
        let _held = Flock::lock(File::open(&path).unwrap(), FlockArg::LockExclusiveNonblock).unwrap();
        assert!(PidFile::claim(&path, early).unwrap().is_none());
        fs::remove_dir_all(&directory).unwrap();
    }
}
