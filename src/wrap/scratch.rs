//! A directory of its own for a wrapped program: for its socket, or for the interposer that it loads.
//!
//! Whoever needs it holds it by a lock, server and warden each for itself. One that was killed takes nothing away, so the next
//! start removes what a server that is gone has made and nobody holds.

use crate::limits::WRAP_STALE_LOOKS_MAX;
use crate::sys::directory;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::kill;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{Pid, geteuid};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// How many names are tried for a directory: one that somebody has made on purpose is not used.
const NAME_TRIES: usize = 8;
/// The interposer, as `build.rs` made it.
static REBIND: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/rebind.so"));
/// Its name in the directory.
const REBIND_NAME: &str = "rebind.so";
/// The socket's name in the directory.
const SOCKET_NAME: &str = "socket";
/// Where a directory may be made if the environment names no place.
const PLACES: [&str; 5] = ["/run", "/tmp", "/var/tmp", "/dev/shm", "/var/run"];

/// Makes a directory that only this user can enter; returns it and the path for a socket in it.
///
/// # Errors
/// Why there is no place for one.
pub fn for_socket() -> Result<(PathBuf, PathBuf), String> {
    remove_stale(&places());
    let directory = make(&places(), |_| Ok(())).map_err(|tried| format!("{{unix_socket}}: {tried}"))?;
    let socket = directory.join(SOCKET_NAME);
    Ok((directory, socket))
}

/// Makes a directory with the interposer in it, to be loaded by everybody who knows its name: a program may start others
/// as another user, and each of them would complain of a file that it cannot open.
///
/// # Errors
/// Why there is no place for one.
pub fn for_interposer() -> Result<PathBuf, String> {
    remove_stale(&places());
    let write = |directory: &Path| {
        let file = directory.join(REBIND_NAME);
        fs::write(&file, REBIND)?;
        fs::set_permissions(&file, Permissions::from_mode(0o555))?;
        fs::set_permissions(directory, Permissions::from_mode(0o711))
    };
    make(&for_others(places().into_iter().filter(|place| loadable(place)).collect()), write)
        .map_err(|tried| format!("no place for the LD_PRELOAD interposer, on a file system from which programs may be run: {tried}; set TMPDIR"))
}

/// Finds out whether there is a place for a directory, and makes none.
///
/// # Errors
/// That there is none.
pub fn check() -> Result<(), String> {
    let places = places();
    if places.iter().any(|place| directory::admits(&place.join(REBIND_NAME)).is_ok()) {
        return Ok(());
    }
    let tried: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
    Err(format!("-- COMMAND: no place for files of its own in {}; set TMPDIR", tried.join(", ")))
}

/// Keeps a directory from being taken for one that nobody needs, for as long as the value is there.
pub fn hold(directory: &Path) -> Option<Flock<File>> {
    Flock::lock(open(directory).ok()?, FlockArg::LockSharedNonblock).ok()
}

/// A directory itself, and no link to one.
fn open(directory: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW).open(directory)
}

/// Removes directories of this user whose server is gone and which nobody holds, with what is known to be in them.
fn remove_stale(places: &[PathBuf]) {
    for place in places {
        let Ok(entries) = fs::read_dir(place) else { continue };
        for entry in entries.take(WRAP_STALE_LOOKS_MAX).flatten() {
            let name = entry.file_name();
            let Some(server) = name.to_str().and_then(server_of) else { continue };
            // One that was just made is not held yet; its server is there.
            if kill(server, None) != Err(Errno::ESRCH) {
                continue;
            }
            let Ok(directory) = open(&entry.path()) else { continue };
            let is_own = directory.metadata().is_ok_and(|found| found.uid() == geteuid().as_raw());
            if is_own && let Ok(_held) = Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
                remove(&entry.path());
            }
        }
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

/// Removes the socket that a program has left in its directory; nothing else of that name.
pub fn remove_socket(directory: &Path) {
    let path = directory.join(SOCKET_NAME);
    if fs::symlink_metadata(&path).is_ok_and(|found| found.file_type().is_socket()) {
        let _ = fs::remove_file(path);
    }
}

/// Removes a directory with what is known to be in it. What cannot be removed stays.
pub fn remove(directory: &Path) {
    for name in [REBIND_NAME, SOCKET_NAME] {
        let _ = fs::remove_file(directory.join(name));
    }
    let _ = fs::remove_dir(directory);
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
fn make(places: &[PathBuf], fill: impl Fn(&Path) -> io::Result<()>) -> Result<PathBuf, String> {
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
        remove(&directory);
    }
    Err(if tried.is_empty() { "none to be had".into() } else { tried.join(", ") })
}

/// Makes a directory with a name of its own that only this user can enter.
fn make_at(place: &Path) -> io::Result<PathBuf> {
    let mut tries = NAME_TRIES;
    loop {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let directory = place.join(format!("websplice-{}-{:x}", std::process::id(), now & 0xffff_ffff));
        match DirBuilder::new().mode(0o700).create(&directory) {
            Ok(()) => return Ok(directory),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries > 1 => tries -= 1,
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_has_a_place_of_this_user_alone() {
        let (directory, socket) = for_socket().unwrap();
        assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        remove(&directory);
        assert!(!directory.exists());
    }

    #[test]
    fn the_interposer_is_a_library_that_all_can_read_and_nobody_change() {
        let directory = for_interposer().unwrap();
        let file = interposer(&directory);
        assert!(fs::read(&file).unwrap().starts_with(b"\x7fELF"));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o555);
        assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o711);
        remove(&directory);
        assert!(!directory.exists());
    }

    #[test]
    fn places_that_do_not_serve_are_passed_over_and_told() {
        let (base, _) = for_socket().unwrap();
        let full = make(&[base.join("absent"), base.clone()], |_| Ok(())).unwrap();
        assert_eq!(full.parent(), Some(base.as_path()));
        remove(&full);
        let told = make(&[base.join("absent")], |_| Ok(())).unwrap_err();
        assert!(told.contains("absent: No such file"), "{told}");
        let told = make(std::slice::from_ref(&base), |_| Err(io::ErrorKind::StorageFull.into())).unwrap_err();
        assert!(told.contains("no storage space"), "{told}");
        assert!(!loadable(Path::new("/tmp/a b")) && !loadable(Path::new("/tmp/a:b")));
        fs::remove_dir(&base).unwrap();
    }

    #[test]
    fn the_interposer_goes_where_others_can_get_to() {
        let (closed, _) = for_socket().unwrap();
        let within = closed.join("within");
        DirBuilder::new().mode(0o755).create(&within).unwrap();
        let open = PathBuf::from("/");
        let ordered = for_others(vec![closed.clone(), within.clone(), open.clone()]);
        assert_eq!(ordered, [open, closed.clone(), within.clone()]);
        fs::remove_dir(&within).unwrap();
        remove(&closed);
    }

    #[test]
    fn what_killed_servers_have_left_is_removed_unless_it_is_held() {
        let (base, _) = for_socket().unwrap();
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        let make = |name: String| {
            let directory = base.join(name);
            fs::create_dir(&directory).unwrap();
            fs::write(directory.join(REBIND_NAME), REBIND).unwrap();
            directory
        };
        let stale = make(format!("websplice-{}-a1", ended.id()));
        let used = make(format!("websplice-{}-a2", ended.id()));
        let precious = make(format!("websplice-{}-a3", ended.id()));
        let own = make(format!("websplice-{}-a4", std::process::id()));
        let other = make(format!("websplice-{}-x", ended.id()));
        fs::write(precious.join("precious"), "").unwrap();
        let link = base.join(format!("websplice-{}-a5", ended.id()));
        std::os::unix::fs::symlink(&other, &link).unwrap();
        let held = hold(&used).unwrap();
        remove_stale(std::slice::from_ref(&base));
        assert!(!stale.exists());
        for directory in [&used, &own, &other] {
            assert!(interposer(directory).exists(), "{}", directory.display());
        }
        assert!(precious.join("precious").exists());
        drop(held);
        remove_stale(std::slice::from_ref(&base));
        assert!(!used.exists() && own.exists() && link.is_symlink());
        fs::remove_dir_all(&base).unwrap();
    }

    #[test]
    fn only_a_socket_is_removed_before_a_start() {
        let (directory, socket) = for_socket().unwrap();
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        remove_socket(&directory);
        assert!(!socket.exists());
        fs::write(&socket, "no socket").unwrap();
        remove_socket(&directory);
        assert!(socket.exists());
        remove(&directory);
    }
}
