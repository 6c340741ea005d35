//! The file with the number of the process: made for this process alone, locked while it lives, and taken away at the end.
//!
//! It is made beside its place, under a name that only this user may open, and moved there when it is locked and written: who
//! sees it sees a number, and who may read it could not have locked it first. A file that another process holds is an error;
//! one that nobody holds, or that somebody keeps locked whose number it is not, is a leftover and replaced. Numbers mean
//! something only where their process is seen: who holds it in another container or on another machine is believed. It
//! never follows a link, never replaces what does not look like such a file, and keeps nothing open that can be written to.

use crate::config::Process;
use crate::sys::directory;
use crate::sys::locks::{Holder, Locked, holders};
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::{Pid, geteuid};
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
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
const FOREIGN_DRAFT: &str = "what is there was not made by this program; move it";
/// What is said where it cannot be had for so long that somebody must be at fault.
const CONTENDED: &str = "others keep making it too; give each server a file of its own";
/// A link is not followed, and nothing that is opened holds the process up.
const FLAGS: i32 = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;

/// The file of this process.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    /// Open for reading only: it may be root's, and the process somebody else by now.
    file: Locked,
}

impl PidFile {
    /// Makes the file at `path`.
    ///
    /// # Errors
    /// When another process holds it, or something else is in the way.
    pub fn make(path: &Path) -> io::Result<PidFile> {
        // What is wrong from the beginning is told of its own name.
        vacant(path, || directory::owner_of_new(path))?;
        directory::admits(path).map_err(explained)?;
        let draft = Process::draft_of(path);
        for _ in 0..TRIES {
            if let Some((file, is_new)) = begin(&draft).map_err(|error| named(&draft, explained(error)))?
                && let Some(mut own) = claim(&draft, file, is_new).map_err(|error| named(&draft, error))?
            {
                // Of all who make a file there, no other judges or replaces what is there at the same time. If it comes to
                // nothing, the draft is taken away while it is still held: it would be another's a moment later.
                let owner = own.file.metadata()?.uid();
                vacant(path, || Some(owner))?;
                own.file.set_permissions(Permissions::from_mode(MODE)).map_err(explained)?;
                fs::rename(&draft, path).map_err(explained)?;
                own.path = path.to_owned();
                return Ok(own);
            }
            sleep(TRY_AGAIN);
        }
        Err(refusal(CONTENDED))
    }

    /// Finds out whether the file at `path` could be made. A leftover stays, and is locked for a moment. That another server has
    /// it is no error: it may be the one that the next start takes the place of, as it is with ports.
    ///
    /// # Errors
    /// As of [`PidFile::make`], as far as it can be told without making anything.
    pub fn check(path: &Path) -> io::Result<()> {
        judge(path, || directory::owner_of_new(path))?;
        directory::admits(path).map_err(explained)?;
        let draft = Process::draft_of(path);
        judge_draft(&draft).map_err(|error| named(&draft, error))
    }

    /// Takes the file away.
    ///
    /// # Errors
    /// When that is not permitted: with `--user` the directory may be another's.
    pub fn remove(self) -> io::Result<()> {
        self.take_away();
        match self.is_there() {
            false => Ok(()),
            true => Err(io::Error::other(format!(
                "--pid-file: {} could not be removed: give the user of --user its directory; the next start replaces it",
                self.path.display()
            ))),
        }
    }

    /// Takes the file away if this process may, while it is held: nobody else puts one there meanwhile.
    pub fn take_away(&self) {
        if self.is_there() {
            let _ = fs::remove_file(&self.path);
        }
    }

    /// Ends without taking the file away: it is another's.
    fn leave(mut self) {
        self.path.clear();
    }

    /// Whether it is in its place: somebody may have put another one there.
    fn is_there(&self) -> bool {
        is_at(&self.path, &self.file)
    }
}

impl Drop for PidFile {
    /// With `--user` the directory may be another's by now; then the file stays, and the next start finds that nobody has it.
    fn drop(&mut self) {
        self.take_away();
    }
}

/// Opens a file for reading.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(FLAGS).open(path)
}

/// Makes a file that was not there, and opens it for reading: the standard library makes none without writing.
fn make_new(path: &Path) -> io::Result<File> {
    use nix::fcntl::{OFlag, open};
    use nix::sys::stat::Mode;
    let flags = OFlag::O_RDONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let mode = Mode::from_bits_truncate(MODE_BEFORE as libc::mode_t);
    Ok(open(path, flags | OFlag::from_bits_retain(FLAGS), mode)?.into())
}

/// Makes the draft, or opens what is there; tells whether it was made. `None` if it has gone meanwhile.
fn begin(draft: &Path) -> io::Result<Option<(File, bool)>> {
    match make_new(draft) {
        Ok(file) => return Ok(Some((file, true))),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    match open(draft) {
        Ok(file) => Ok(Some((file, false))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Locks and writes the draft. `None` if another process has it, or had it and has moved or removed it: a lock on it would then
/// keep nobody out.
fn claim(draft: &Path, file: File, is_new: bool) -> io::Result<Option<PidFile>> {
    let found = file.metadata()?;
    // Whose it is can be somebody else's name for this process; and to be one of these it is no longer than a number.
    let owner = || if is_new { Some(found.uid()) } else { owner_beside(draft) };
    if !may_be_draft(&found, owner) {
        return Err(refusal(FOREIGN_DRAFT));
    }
    let lock = lock(draft, file).inspect_err(|_| drop(is_new.then(|| fs::remove_file(draft))))?;
    let (first, reader) = match lock {
        Lock::Had(file) => (file, None),
        Lock::HadByWriter(writer, reader) => (writer, Some(reader)),
        Lock::Taken(..) => return Ok(None),
    };
    if !is_at(draft, &first) {
        return Ok(None);
    }
    let first = PidFile { path: draft.to_owned(), file: first };
    let mut writer = open_again(draft, &first.file, OpenOptions::new().write(true))?;
    // What was begun by one that was killed may be there.
    writer.set_len(0).and_then(|()| writeln!(writer, "{}", std::process::id())).map_err(explained)?;
    let Some(reader) = reader else { return Ok(Some(first)) };
    hand_down(first, reader)
}

/// Holds by `reader` what `first` holds by a descriptor that can be written to, which a process that becomes another user's must
/// not have. Others may have it beside us then, but nobody alone, as everybody has to who makes one.
fn hand_down(first: PidFile, reader: File) -> io::Result<Option<PidFile>> {
    let shared = first.file.share().and_then(|()| Locked::shared(reader).map_err(|(_, error)| error));
    let written = shared.and_then(|file| Ok((content(&file)?, file)));
    match written {
        // Where there was no lock for a moment, whoever had it then has written another number.
        Ok((number, file)) if number.trim() == std::process::id().to_string() => {
            let PidFile { path, .. } = &first;
            let own = PidFile { path: path.clone(), file };
            first.leave();
            Ok(Some(own))
        }
        Err(error) if error.kind() != ErrorKind::WouldBlock => Err(unlockable(&error)),
        _ => {
            first.leave();
            Ok(None)
        }
    }
}

/// What came of the attempt to lock a file.
enum Lock {
    /// Nobody else has it.
    Had(Locked),
    /// Nor here, but what holds it can be written to: this file system locks nothing else. The other cannot.
    HadByWriter(Locked, File),
    /// Somebody has it, in that way or not.
    Taken(File, bool),
}

/// Locks `file`, which is open for reading, and is at `path`.
fn lock(path: &Path, file: File) -> io::Result<Lock> {
    let (file, error) = match Locked::exclusively(file) {
        Ok(locked) => return Ok(Lock::Had(locked)),
        Err(failed) => failed,
    };
    match error.raw_os_error() {
        Some(libc::EWOULDBLOCK) => return Ok(Lock::Taken(file, false)),
        Some(libc::EBADF) => {}
        _ => return Err(unlockable(&error)),
    }
    let writer = open_again(path, &file, OpenOptions::new().read(true).write(true))?;
    match Locked::exclusively(writer) {
        Ok(locked) => Ok(Lock::HadByWriter(locked, file)),
        Err((_, error)) if error.kind() == ErrorKind::WouldBlock => Ok(Lock::Taken(file, true)),
        Err((_, error)) => Err(unlockable(&error)),
    }
}

/// Opens what is at `path` once more, which is to be `file`.
fn open_again(path: &Path, file: &File, options: &mut OpenOptions) -> io::Result<File> {
    let again = options.custom_flags(FLAGS).open(path).map_err(explained)?;
    if !is_same(&again.metadata()?, &file.metadata()?) {
        return Err(refusal("somebody else writes in its directory; name a file in another"));
    }
    Ok(again)
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Whether `file` has the name `path`.
fn is_at(path: &Path, file: &File) -> bool {
    let (there, own) = (fs::symlink_metadata(path), file.metadata());
    there.is_ok_and(|there| own.is_ok_and(|own| is_same(&there, &own)))
}

/// What the system says, and what to do about it.
fn explained(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ELOOP) => refusal("a symbolic link is in the way; move it"),
        Some(libc::ENXIO) => refusal(FOREIGN),
        Some(libc::ENOSPC | libc::EDQUOT) => {
            io::Error::new(error.kind(), format!("{error}; make room there, or name another"))
        }
        // It is one of our own, which has its remedy.
        None => error,
        _ => io::Error::new(
            error.kind(),
            format!("{error}; check the file, its directory and their permissions, or name another"),
        ),
    }
}

fn unlockable(error: &io::Error) -> io::Error {
    let remedy = "its file system has no locks for it; name a file on another, such as one in /run";
    io::Error::new(error.kind(), format!("it cannot be locked: {error}; {remedy}"))
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn refusal(what: &str) -> io::Error {
    io::Error::new(ErrorKind::AlreadyExists, what)
}

/// Whether a file of this user is its own. `made` tells whose it would be if this process made it: on NFS root's files are
/// somebody else's, and file systems that know no owners have one for all. It is asked only where that matters.
fn is_own(found: &Metadata, made: impl Fn() -> Option<u32>) -> bool {
    // Where that cannot be told, it is left for the start to say.
    found.uid() == geteuid().as_raw() || made().is_none_or(|owner| owner == found.uid())
}

/// Who owns what this process makes beside the draft.
fn owner_beside(draft: &Path) -> Option<u32> {
    let mut name = draft.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    let sample = PathBuf::from(name);
    let owner = make_new(&sample).and_then(|file| file.metadata()).map(|found| found.uid());
    // What was in the way is not ours, and nobody's owner is no number of a user.
    let Ok(owner) = owner else { return Some(u32::MAX) };
    let _ = fs::remove_file(&sample);
    Some(owner)
}

/// Whether it looks like what a server has begun.
fn may_be_draft(found: &Metadata, made: impl Fn() -> Option<u32>) -> bool {
    found.is_file() && found.nlink() <= 1 && found.len() <= CONTENT_BYTES_MAX && is_own(found, made)
}

/// Makes sure that there is no draft but what a server has left, or is about to move to its place.
fn judge_draft(draft: &Path) -> io::Result<()> {
    for _ in 0..TRIES {
        let file = match open(draft) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(explained(error)),
        };
        if !may_be_draft(&file.metadata()?, || directory::owner_of_new(draft)) {
            return Err(refusal(FOREIGN_DRAFT));
        }
        match lock(draft, file) {
            Ok(Lock::Taken(..)) => sleep(TRY_AGAIN),
            outcome => return outcome.map(drop),
        }
    }
    Err(refusal(CONTENDED))
}

/// Makes sure that at `path` is nothing but what a server has left behind.
fn vacant(path: &Path, made: impl Fn() -> Option<u32>) -> io::Result<()> {
    judge(path, made)?.map_or(Ok(()), |who| Err(refusal(&who)))
}

/// Makes sure that at `path` is nothing but the file of a server. Tells which one has it, if one does.
fn judge(path: &Path, made: impl Fn() -> Option<u32>) -> io::Result<Option<String>> {
    match open(path) {
        Ok(file) => judge_file(path, file, made),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(explained(error)),
    }
}

/// The same of a file that is there.
fn judge_file(path: &Path, file: File, made: impl Fn() -> Option<u32>) -> io::Result<Option<String>> {
    let found = file.metadata()?;
    if !found.is_file() || found.len() > CONTENT_BYTES_MAX {
        return Err(refusal(FOREIGN));
    }
    if !is_own(&found, made) {
        return Err(refusal("what is there belongs to another user; move it"));
    }
    // What is no text is no number either.
    let content = content(&file).unwrap_or_default();
    let content = content.trim();
    if !content.bytes().all(|byte| byte.is_ascii_digit()) || (content.is_empty() && found.len() > 1) {
        return Err(refusal(FOREIGN));
    }
    Ok(match lock(path, file)? {
        Lock::Taken(file, is_shared) => who_has(&file, content, is_shared),
        Lock::Had(_) | Lock::HadByWriter(..) => None,
    })
}

/// What is in a file.
fn content(mut file: &File) -> io::Result<String> {
    use std::io::Seek as _;
    let mut content = String::new();
    file.rewind()?;
    file.take(CONTENT_BYTES_MAX).read_to_string(&mut content)?;
    Ok(content)
}

/// Which server has a file locked that says `number`, if it is one: whoever may read it can lock it, too. Servers share their
/// lock where that `is_shared`, and else nobody has it beside them.
fn who_has(file: &File, number: &str, is_shared: bool) -> Option<String> {
    // A file that is held has a number in it from the beginning.
    let number = number.parse::<i32>().ok().filter(|pid| *pid > 0)?;
    let who = match holders(file) {
        Ok(seen) => believed(&seen, number, is_shared)?,
        Err(_) if is_other(number) => Who::Process(number),
        Err(_) => Who::Unseen,
    };
    Some(match who {
        Who::Process(pid) => format!("process {pid} has it; end that first"),
        Who::Unseen => format!(
            "a process that cannot be seen from here has it, of another container or machine, where its number is {number}; \
             end that first, or name another file"
        ),
    })
}

/// Who has a file, as far as that can be seen.
#[derive(Debug, PartialEq, Eq)]
enum Who {
    /// The process of this number here.
    Process(i32),
    /// Somebody of another container or machine.
    Unseen,
}

/// Who of those that are seen to have a file locked is the server whose number it says, or whether that is somebody unseen.
/// Whose own number is not told counts by the one here: under hidepid every other user's process is such a one, and may have
/// locked a leftover to keep the server from starting.
fn believed(seen: &[Holder], number: i32, is_shared: bool) -> Option<Who> {
    match seen.iter().find(|it| it.pid == number || it.own == Some(number)) {
        Some(server) => Some(Who::Process(server.pid)),
        None if seen.iter().any(|it| it.is_alone || !is_shared) => None,
        None => Some(Who::Unseen),
    }
}

/// Whether there is another process of this number; one that may not be sent a signal is one, too.
fn is_other(number: i32) -> bool {
    Ok(number) != i32::try_from(std::process::id()) && kill(Pid::from_raw(number), None) != Err(Errno::ESRCH)
}

#[cfg(test)]
#[path = "pid_file_tests.rs"]
mod tests;
