//! The file with the number of the process: made for this process alone, locked while it lives, and taken away at the end.
//!
//! It is made beside its place, under a name that only this user may open, and moved there when it is locked and written: who
//! sees it sees a number, and who may read it could not have locked it first. A file that another process holds is an error;
//! one that nobody holds, or that whoever may read it keeps locked for a process that is gone, is a leftover and replaced. It
//! never follows a link, never replaces what does not look like such a file, and keeps nothing open that can be written to.

use crate::sys::directory;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::sys::signal::kill;
use nix::sys::stat::Mode;
use nix::unistd::{Pid, geteuid};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// Who may read it: everybody, since the number is no secret and scripts look for it.
const MODE: u32 = 0o644;
/// Who may open what is not yet in its place. Opening is enough to lock.
const MODE_BEFORE: u32 = 0o600;
/// How often it is tried to be the one who makes it, and how long others are given in between: they need no more than some
/// calls.
const TRIES: usize = 50;
const TRY_AGAIN: Duration = Duration::from_millis(10);
/// Longest content of a file that is taken for one of these.
const CONTENT_BYTES_MAX: u64 = 32;
/// What is said of something that this program has not made.
const FOREIGN: &str = "what is there is no such file; move it";

/// The file of this process.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    /// Open for reading only: it may be root's, and the process somebody else by now.
    file: Flock<File>,
}

impl PidFile {
    /// Makes the file at `path`.
    ///
    /// # Errors
    /// When another process holds it, or something else is in the way.
    pub fn make(path: &Path) -> io::Result<PidFile> {
        // What is wrong from the beginning is told of its own name.
        PidFile::check(path)?;
        let draft = draft(path);
        for _ in 0..TRIES {
            let begun = begin(&draft).map_err(|error| named(&draft, explained(error)))?;
            if let Some(file) = claim(&draft, begun)? {
                // It is removed while it is still held: a draft of this name would be another's a moment later.
                settle(path, &draft, &file).inspect_err(|_| drop(fs::remove_file(&draft)))?;
                let own = PidFile { path: path.to_owned(), file };
                own.file.set_permissions(Permissions::from_mode(MODE))?;
                return Ok(own);
            }
            sleep(TRY_AGAIN);
        }
        Err(refusal("others keep making it too; give each server a file of its own"))
    }

    /// Finds out whether the file at `path` could be made. A leftover stays, and is locked for a moment.
    ///
    /// # Errors
    /// As of [`PidFile::make`].
    pub fn check(path: &Path) -> io::Result<()> {
        judge(path)?;
        directory::admits(path).map_err(explained)
    }

    /// Takes the file away.
    ///
    /// # Errors
    /// When that is not permitted: with `--user` the directory may be another's.
    pub fn remove(self) -> io::Result<()> {
        let (path, own) = (self.path.clone(), self.file.metadata()?);
        drop(self);
        match fs::symlink_metadata(&path) {
            Ok(there) if is_same(&there, &own) => Err(io::Error::other(format!(
                "--pid-file: {} could not be removed: give the user of --user its directory; the next start replaces it",
                path.display()
            ))),
            _ => Ok(()),
        }
    }
}

/// A link is not followed, and nothing that is opened holds the process up.
const FLAGS: i32 = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;

/// Where the file of `path` is before it is in its place: always the same name, so that those who make it meet there.
fn draft(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    path.with_file_name(name)
}

/// Opens the draft for reading, or makes it.
fn begin(draft: &Path) -> io::Result<File> {
    let flags = OFlag::O_RDONLY | OFlag::O_CREAT | OFlag::O_CLOEXEC | OFlag::from_bits_retain(FLAGS);
    let mode = Mode::from_bits_truncate(MODE_BEFORE as libc::mode_t);
    Ok(nix::fcntl::open(draft, flags, mode)?.into())
}

/// Locks the draft; `None` if another process has it, or had it and has moved or removed it: a lock on it would then keep
/// nobody out.
fn claim(draft: &Path, file: File) -> io::Result<Option<Flock<File>>> {
    let found = file.metadata()?;
    let is_own = found.is_file() && found.uid() == geteuid().as_raw() && found.nlink() <= 1;
    if !is_own || found.len() > CONTENT_BYTES_MAX {
        return Err(named(draft, refusal("what is there was not made by this program; move it")));
    }
    let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(file) => file,
        Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
        Err((_, error)) => return Err(error.into()),
    };
    let there = fs::symlink_metadata(draft);
    Ok(there.is_ok_and(|there| is_same(&there, &found)).then_some(file))
}

/// Puts the draft, which nobody else has, in its place. Of all who make a file there, no other judges or replaces what is
/// there at the same time.
fn settle(path: &Path, draft: &Path, file: &File) -> io::Result<()> {
    judge(path)?;
    let mut written = OpenOptions::new().write(true).custom_flags(FLAGS).open(draft).map_err(explained)?;
    if !is_same(&written.metadata()?, &file.metadata()?) {
        return Err(refusal("somebody else writes in its directory; name a file in another"));
    }
    // What was begun by one that was killed may be there.
    written.set_len(0)?;
    writeln!(written, "{}", std::process::id()).map_err(explained)?;
    fs::rename(draft, path).map_err(explained)
}

fn is_same(one: &fs::Metadata, other: &fs::Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
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

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Makes sure that at `path` is nothing but what a server has left behind.
fn judge(path: &Path) -> io::Result<()> {
    match OpenOptions::new().read(true).custom_flags(FLAGS).open(path) {
        Ok(file) => leftover(file),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(explained(error)),
    }
}

/// Makes sure that `file` is one that a server has left behind.
fn leftover(file: File) -> io::Result<()> {
    let found = file.metadata()?;
    if !found.is_file() || found.len() > CONTENT_BYTES_MAX {
        return Err(refusal(FOREIGN));
    }
    if found.uid() != geteuid().as_raw() {
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
        Ok(_) => Ok(()),
        // Whoever may read it can lock it, and then it is not the server that has it.
        Err((_, Errno::EWOULDBLOCK)) if !is_alive(content) => Ok(()),
        Err((_, Errno::EWOULDBLOCK)) => Err(refusal(&format!("process {content} has it; end that first"))),
        Err((_, error)) => Err(error.into()),
    }
}

/// Whether there is a process of this number; one that may not be sent a signal is one, too.
fn is_alive(number: &str) -> bool {
    // A file that is held has a number in it from the beginning.
    let pid = number.parse::<i32>().ok().filter(|pid| *pid > 0);
    pid.is_some_and(|pid| kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH))
}

fn refusal(what: &str) -> io::Error {
    io::Error::new(ErrorKind::AlreadyExists, what)
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let Ok(own) = self.file.metadata() else { return };
        // Somebody may have put another one there meanwhile. With --user the directory may be another's by now; then the file
        // stays, and the next start finds that nobody has it.
        if fs::symlink_metadata(&self.path).is_ok_and(|there| is_same(&there, &own)) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn a_lock_of_somebody_else_keeps_no_server_from_starting() {
        let directory = std::env::temp_dir().join(format!("websplice-pid-lock-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("pid");
        // The number of a process that has ended.
        let mut gone = std::process::Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        fs::write(&path, format!("{}\n", gone.id())).unwrap();
        // As everybody can who may read it.
        let held = Flock::lock(File::open(&path).unwrap(), FlockArg::LockExclusiveNonblock).unwrap();
        PidFile::check(&path).unwrap();
        let own = PidFile::make(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        drop(held);
        let refused = PidFile::make(&path).unwrap_err().to_string();
        assert!(refused.contains("has it; end that first"), "{refused}");
        drop(own);
        // Process 1 is there everywhere, whosever it is.
        fs::write(&path, "1\n").unwrap();
        let _held = Flock::lock(File::open(&path).unwrap(), FlockArg::LockExclusiveNonblock).unwrap();
        assert!(PidFile::make(&path).unwrap_err().to_string().starts_with("process 1 has it"));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "no draft is left");
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn nothing_is_kept_open_that_can_be_written_to() {
        let directory = std::env::temp_dir().join(format!("websplice-pid-read-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let own = PidFile::make(&directory.join("pid")).unwrap();
        assert_eq!((&*own.file).write(b"1").unwrap_err().raw_os_error(), Some(libc::EBADF));
        fs::remove_dir_all(&directory).unwrap();
    }

    /// A lock on a draft counts only as long as the draft has its name.
    #[test]
    fn of_those_who_make_it_at_once_one_has_it() {
        let directory = std::env::temp_dir().join(format!("websplice-pid-race-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let (path, draft) = (directory.join("pid"), draft(&directory.join("pid")));
        let early = begin(&draft).unwrap();
        assert_eq!(early.metadata().unwrap().mode() & 0o777, 0o600, "nobody else may open it");
        fs::remove_file(&draft).unwrap();
        assert!(claim(&draft, early).unwrap().is_none());
        let early = begin(&draft).unwrap();
        let other = PidFile::make(&path).unwrap();
        assert!(claim(&draft, early).unwrap().is_none(), "it is in its place, and held");
        drop(other);
        let held = claim(&draft, begin(&draft).unwrap()).unwrap();
        assert!(held.is_some() && claim(&draft, begin(&draft).unwrap()).unwrap().is_none());
        drop(held);

        // One that was locked by somebody else before.
        fs::write(&path, "4194305\n").unwrap();
        let held = Flock::lock(File::open(&path).unwrap(), FlockArg::LockExclusiveNonblock).unwrap();
        let start = std::sync::Barrier::new(8);
        let made: Vec<_> = std::thread::scope(|scope| {
            let make = || {
                start.wait();
                PidFile::make(&path)
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1, "{made:?}");
        drop((held, made));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0, "nothing is left");

        fs::write(directory.join("theirs"), "x").unwrap();
        symlink(directory.join("theirs"), &draft).unwrap();
        let refused = PidFile::make(&path).unwrap_err().to_string();
        assert!(refused.contains(".pid.new: a symbolic link is in the way; move it"), "{refused}");
        assert_eq!(fs::read_to_string(directory.join("theirs")).unwrap(), "x");
        fs::remove_dir_all(&directory).unwrap();
    }
}
