//! A directory of its own for a wrapped program: for its socket, or for the interposer that it loads.
//!
//! Whoever needs it holds it by a lock, server and warden each for itself. One that was killed takes nothing away, so the next
//! start removes what a server that is gone has made and nobody holds. What is in it is made and removed by its descriptor:
//! whoever may write around it could have put another one, or a link, in its place.

use crate::limits::WRAP_STALE_LOOKS_MAX;
use crate::sys::directory;
use crate::sys::locks::Locked;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::signal::kill;
use nix::sys::stat::{Mode, SFlag, fstatat};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{Pid, UnlinkatFlags, geteuid, unlinkat};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// How many names are tried for a directory: one that somebody has made on purpose is not used, nor is one that somebody who
/// tidies up has taken.
const NAME_TRIES: usize = 8;
/// The interposer, as `build.rs` made it.
static REBIND: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/rebind.so"));
/// Its name in the directory.
const REBIND_NAME: &str = "rebind.so";
/// The socket's name in the directory.
const SOCKET_NAME: &str = "socket";
/// Where a directory may be made if the environment names no place.
const PLACES: [&str; 5] = ["/run", "/tmp", "/var/tmp", "/dev/shm", "/var/run"];

/// A directory that nobody takes for one that is not needed, for as long as the value is there.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    directory: File,
    /// Its lock, where its file system has such. What tidies up temporary files by their age goes by it, too (tmpfiles.d(5)).
    _held: Option<Locked>,
}

impl Scratch {
    /// Holds the directory at `path`, which this user has made. `None` if it has gone, or is somebody else's by now; or if
    /// somebody holds it alone, who is about to remove it then.
    ///
    /// # Errors
    /// What the system says of it.
    pub fn hold(path: &Path) -> io::Result<Option<Scratch>> {
        let directory = match open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            outcome => outcome?,
        };
        let held = match Locked::shared(directory.try_clone()?) {
            Ok(held) => Some(held),
            Err((_, error)) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(_) => None,
        };
        let is_own = directory.metadata()?.uid() == geteuid().as_raw() && is_at(path, &directory);
        Ok(is_own.then(|| Scratch { path: path.to_owned(), directory, _held: held }))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the socket that a program has left in it; nothing else of that name.
    pub fn remove_socket(&self) {
        let found = fstatat(&self.directory, SOCKET_NAME, AtFlags::AT_SYMLINK_NOFOLLOW);
        if found
            .is_ok_and(|found| SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFSOCK)
        {
            let _ = unlinkat(&self.directory, SOCKET_NAME, UnlinkatFlags::NoRemoveDir);
        }
    }

    /// Removes it with what is known to be in it. What cannot be removed stays.
    pub fn remove(&self) {
        clear(&self.directory, &self.path);
    }

    /// Puts the interposer into it, and lets others get there.
    fn add_interposer(&self) -> io::Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let mut file = File::from(openat(&self.directory, REBIND_NAME, flags, Mode::S_IRWXU)?);
        file.write_all(REBIND)?;
        file.set_permissions(Permissions::from_mode(0o555))?;
        self.directory.set_permissions(Permissions::from_mode(0o711))
    }
}

/// Makes a directory that only this user can enter; returns it and the path for a socket in it.
///
/// # Errors
/// Why there is no place for one.
pub fn for_socket() -> Result<(Scratch, PathBuf), String> {
    remove_stale(&places());
    let directory = make(&places(), |_| Ok(())).map_err(|tried| format!("{{unix_socket}}: {tried}"))?;
    let socket = directory.path.join(SOCKET_NAME);
    Ok((directory, socket))
}

/// Makes a directory with the interposer in it, to be loaded by everybody who knows its name: a program may start others
/// as another user, and each of them would complain of a file that it cannot open.
///
/// # Errors
/// Why there is no place for one.
pub fn for_interposer() -> Result<Scratch, String> {
    remove_stale(&places());
    make(&for_others(places().into_iter().filter(|place| loadable(place)).collect()), Scratch::add_interposer)
        .map_err(|tried| format!("no place for the LD_PRELOAD interposer, on a file system from which programs may be run: {tried}; set TMPDIR"))
}

/// Finds out which place there is for a directory, and makes none.
///
/// # Errors
/// That there is none.
pub fn check() -> Result<PathBuf, String> {
    let places = places();
    if let Some(place) = places.iter().find(|place| directory::admits(&place.join(REBIND_NAME)).is_ok()) {
        return Ok(place.clone());
    }
    let tried: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
    Err(format!("-- COMMAND: no place for files of its own in {}; set TMPDIR", tried.join(", ")))
}

/// A directory itself, and no link to one.
fn open(directory: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW).open(directory)
}

/// Whether `directory` has the name `path`.
fn is_at(path: &Path, directory: &File) -> bool {
    let place = |found: fs::Metadata| (found.dev(), found.ino());
    let (there, own) = (fs::symlink_metadata(path).map(place), directory.metadata().map(place));
    there.is_ok_and(|there| own.is_ok_and(|own| there == own))
}

/// Removes directories of this user whose server is gone and which nobody holds, with what is known to be in them.
fn remove_stale(places: &[PathBuf]) {
    for place in places {
        let Ok(entries) = fs::read_dir(place) else { continue };
        for entry in entries.take(WRAP_STALE_LOOKS_MAX).flatten() {
            let name = entry.file_name();
            let Some(server) = name.to_str().and_then(server_of) else { continue };
            // It need not be looked at closer. One in a container has another number here, or none, and holds what it needs.
            if kill(server, None) != Err(Errno::ESRCH) {
                continue;
            }
            let Ok(directory) = open(&entry.path()) else { continue };
            let is_own = directory.metadata().is_ok_and(|found| found.uid() == geteuid().as_raw());
            // One that was made at this moment may not be held yet. Whoever made it finds it gone then, and makes another.
            if is_own && let Ok(held) = Locked::exclusively(directory) {
                clear(&held, &entry.path());
            }
        }
    }
}

/// Removes what is known to be in a directory, and it, which was at `path`.
fn clear(directory: &File, path: &Path) {
    for name in [REBIND_NAME, SOCKET_NAME] {
        let _ = unlinkat(directory, name, UnlinkatFlags::NoRemoveDir);
    }
    // There is no other way to remove one than by its name. Whatever was put there since, no more than an empty directory goes.
    if is_at(path, directory) {
        let _ = fs::remove_dir(path);
    }
}

/// The server that has made a directory of this name.
fn server_of(name: &str) -> Option<Pid> {
    let (server, mark) = name.strip_prefix("websplice-")?.split_once('-')?;
    let is_mark = !mark.is_empty() && mark.bytes().all(|byte| byte.is_ascii_hexdigit());
    server.parse().ok().filter(|server| is_mark && *server > 0).map(Pid::from_raw)
}

/// The interposer's file in its directory.
pub fn interposer(directory: &Path) -> PathBuf {
    directory.join(REBIND_NAME)
}

/// Where to try, best first: a place of this user alone, the one for temporary files, and the usual ones.
fn places() -> Vec<PathBuf> {
    let named = ["XDG_RUNTIME_DIR", "TMPDIR"].into_iter().filter_map(std::env::var_os);
    named.map(PathBuf::from).chain(PLACES.map(PathBuf::from)).filter(|place| place.is_absolute()).collect()
}

/// Those first where others can get to; one where they cannot is better than none.
fn for_others(places: Vec<PathBuf>) -> Vec<PathBuf> {
    let is_open = |place: &PathBuf| {
        let ways = place.canonicalize().unwrap_or_else(|_| place.clone());
        ways.ancestors()
            .all(|way| fs::metadata(way).is_ok_and(|found| found.permissions().mode() & 0o001 != 0))
    };
    let (mut open, closed): (Vec<_>, Vec<_>) = places.into_iter().partition(is_open);
    open.extend(closed);
    open
}

/// Can a dynamic linker load a file from here? Not from a file system mounted `noexec`, and not by a path with one of the
/// characters that separate the names in LD_PRELOAD.
fn loadable(place: &Path) -> bool {
    !place.as_os_str().as_bytes().iter().any(|byte| matches!(byte, b' ' | b':'))
        && statvfs(place).is_ok_and(|system| !system.flags().contains(FsFlags::ST_NOEXEC))
}

/// Makes a directory at the first place where that works and `fill` does; else says what was tried.
fn make(places: &[PathBuf], fill: impl Fn(&Scratch) -> io::Result<()>) -> Result<Scratch, String> {
    let mut tried = Vec::new();
    for place in places {
        let directory = match make_at(place) {
            Ok(directory) => directory,
            Err(error) => {
                tried.push(format!("{}: {error}", place.display()));
                continue;
            }
        };
        match fill(&directory) {
            Ok(()) => return Ok(directory),
            Err(error) => tried.push(format!("{}: {error}", place.display())),
        }
        directory.remove();
    }
    Err(if tried.is_empty() { "none to be had".into() } else { tried.join(", ") })
}

/// Makes a directory with a name of its own that only this user can enter, and holds it.
fn make_at(place: &Path) -> io::Result<Scratch> {
    make_held(place, Scratch::hold)
}

fn make_held(place: &Path, hold: impl Fn(&Path) -> io::Result<Option<Scratch>>) -> io::Result<Scratch> {
    for _ in 0..NAME_TRIES {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let directory = place.join(format!("websplice-{}-{:x}", std::process::id(), now & 0xffff_ffff));
        match DirBuilder::new().mode(0o700).create(&directory).and_then(|()| hold(&directory)) {
            Ok(Some(made)) => return Ok(made),
            Ok(None) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("somebody else takes each directory that is made there"))
}

#[cfg(test)]
#[path = "scratch_tests.rs"]
mod tests;
