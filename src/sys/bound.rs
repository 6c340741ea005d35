//! The file of a Unix socket that was just bound: given its bits and its user, and taken away at the end; nothing else in its
//! place.
//!
//! Whoever may write in its directory can move it away and put something else there, at any moment. So it is held by a
//! descriptor first, what that descriptor leads to is judged, and then changed through it. It never follows a link.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What is said of anything that was not just bound.
#[cfg(target_os = "linux")]
const SWAPPED: &str = "something else was put in its place; name a directory that nobody else may write to";

/// The file of a socket.
#[derive(Debug)]
pub struct Bound {
    path: PathBuf,
    /// Device and number. As long as it is held that is no other file's.
    place: (u64, u64),
    #[cfg(target_os = "linux")]
    pinned: fs::File,
}

impl Bound {
    /// Whether it is where it was bound: somebody may have put another one there.
    fn is_there(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|there| (there.dev(), there.ino()) == self.place)
    }

    /// Takes the file away, if it is still there.
    ///
    /// # Errors
    /// What the system says.
    pub fn remove(&self) -> io::Result<()> {
        if self.is_there() { fs::remove_file(&self.path) } else { Ok(()) }
    }

    /// Where it was bound.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Takes the file at `path`, which a stream socket of this process that does not listen yet was just bound to with no more than
/// the permission bits of `mode`, and makes sure that it has these: where the directory has a default access list, that has
/// narrowed them. Then it is given to a user and a group, if there is an `owner`.
///
/// # Errors
/// What the system says; that what is there is another file; and that its bits cannot be had.
#[cfg(target_os = "linux")]
pub fn settle(path: &Path, mode: u32, owner: Option<(u32, u32)>) -> io::Result<Bound> {
    use nix::fcntl::{AtFlags, OFlag, open};
    use nix::sys::stat::Mode;
    use nix::unistd::{Gid, Uid, fchownat};
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let pinned = fs::File::from(open(path, flags, Mode::empty())?);
    let found = pinned.metadata()?;
    let bound = Bound { path: path.to_owned(), place: (found.dev(), found.ino()), pinned };
    let is_narrow = found.mode() & 0o7777 != mode;
    if !is_narrow && owner.is_none() {
        return Ok(bound);
    }
    if !is_ours(&bound.pinned, &found, mode) {
        return Err(io::Error::other(SWAPPED));
    }
    let corrected = if is_narrow { correct(&bound.pinned, mode) } else { Ok(()) };
    let given = corrected.and_then(|()| match owner {
        Some((user, group)) => {
            let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
            Ok(fchownat(&bound.pinned, "", Some(user), Some(group), AtFlags::AT_EMPTY_PATH)?)
        }
        None => Ok(()),
    });
    given.inspect_err(|_| drop(bound.remove()))?;
    Ok(bound)
}

/// Whether it is what was just bound, as far as can be told.
#[cfg(target_os = "linux")]
fn is_ours(pinned: &fs::File, found: &fs::Metadata, mode: u32) -> bool {
    use std::os::unix::fs::FileTypeExt;
    found.file_type().is_socket()
        && found.mode() & 0o7777 & !mode == 0
        && found.uid() == nix::unistd::geteuid().as_raw()
        && found.nlink() == 1
        && is_mute(pinned)
}

/// Gives a socket the bits that it was to have.
#[cfg(target_os = "linux")]
fn correct(pinned: &fs::File, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let bits = || Ok::<_, io::Error>(pinned.metadata()?.mode() & 0o7777);
    // The one way to a file by a descriptor that leads to it only.
    let why = match fs::set_permissions(by_descriptor(pinned), fs::Permissions::from_mode(mode)) {
        Ok(()) if bits()? == mode => return Ok(()),
        Ok(()) => "the file system keeps them".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(io::Error::other(format!(
        "its permissions are {:04o} instead of {mode:04o}, by a default access list of its directory, and cannot be changed: \
         {why}; remove the list (setfacl -k), or name another directory",
        bits()?
    )))
}

#[cfg(target_os = "linux")]
fn by_descriptor(pinned: &fs::File) -> PathBuf {
    use std::os::fd::AsRawFd;
    format!("/proc/self/fd/{}", pinned.as_raw_fd()).into()
}

/// Whether nobody listens at a socket file, as nobody does at ours yet. Another service's may have been moved there.
#[cfg(target_os = "linux")]
fn is_mute(pinned: &fs::File) -> bool {
    match super::socket::connect_local(&by_descriptor(pinned)) {
        // Without /proc there is no telling.
        Err(error) => matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound),
        Ok(_) => false,
    }
}

/// Elsewhere a file is known by its path alone; a link is not followed there either, and bits are not corrected.
///
/// # Errors
/// What the system says; and that it has other bits.
#[cfg(not(target_os = "linux"))]
pub fn settle(path: &Path, mode: u32, owner: Option<(u32, u32)>) -> io::Result<Bound> {
    let found = fs::symlink_metadata(path)?;
    let bound = Bound { path: path.to_owned(), place: (found.dev(), found.ino()) };
    if found.mode() & 0o7777 != mode {
        let _ = bound.remove();
        return Err(io::Error::other(format!(
            "its permissions are {:04o} instead of {mode:04o}; remove access lists that its directory hands down, or name \
             another directory",
            found.mode() & 0o7777
        )));
    }
    if let Some((user, group)) = owner {
        std::os::unix::fs::lchown(path, Some(user), Some(group)).inspect_err(|_| drop(bound.remove()))?;
    }
    Ok(bound)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use nix::unistd::{getegid, geteuid};
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::{UnixDatagram, UnixListener};

    fn place(name: &str) -> PathBuf {
        let place = std::env::temp_dir().join(format!("websplice-bound-{name}-{}", std::process::id()));
        fs::create_dir_all(&place).expect("temporary files can be made");
        place
    }

    /// A socket that is bound there, and does not listen.
    fn bind(path: &Path) -> socket2::Socket {
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
        let socket = socket.expect("there are sockets");
        socket.bind(&socket2::SockAddr::unix(path).expect("it is short")).expect("the name is free");
        socket
    }

    /// Each is what somebody may put there between the two calls. To give a file to its own user is nobody's privilege, nor is
    /// to change its bits.
    #[test]
    fn only_the_socket_just_bound_is_given() {
        let place = place("given");
        let at = |name: &str| place.join(name);
        let own = (geteuid().as_raw(), getegid().as_raw());
        let bits = |name: &str, mode| fs::set_permissions(at(name), Permissions::from_mode(mode)).unwrap();
        let mode_of = |name: &str| fs::symlink_metadata(at(name)).unwrap().mode() & 0o7777;

        let _ours = bind(&at("ours"));
        // As a default access list has narrowed it.
        for (before, owner) in [(0o660, Some(own)), (0o640, Some(own)), (0o200, None), (0o660, None)] {
            bits("ours", before);
            settle(&at("ours"), 0o660, owner).unwrap();
            assert_eq!(mode_of("ours"), 0o660, "{before:o}");
        }
        if geteuid().is_root() {
            settle(&at("ours"), 0o660, Some((65_534, 7))).unwrap();
            let found = fs::symlink_metadata(at("ours")).unwrap();
            assert_eq!((found.uid(), found.gid(), found.mode() & 0o777), (65_534, 7, 0o660));
            let refused = settle(&at("ours"), 0o660, Some(own)).unwrap_err();
            assert_eq!(refused.to_string(), SWAPPED, "it is another's");
        }

        fs::write(at("precious"), "precious").unwrap();
        symlink("precious", at("link")).unwrap();
        symlink("ours", at("to-a-socket")).unwrap();
        fs::create_dir(at("directory")).unwrap();
        let _stream = UnixListener::bind(at("stream")).unwrap();
        let _datagram = UnixDatagram::bind(at("datagram")).unwrap();
        let _wider = bind(&at("wider"));
        let swapped = ["precious", "link", "to-a-socket", "directory", "stream", "datagram", "wider"];
        // The first is as it should be, and only to be given away; the other is to be corrected.
        for mode in [0o660, 0o640] {
            for name in ["precious", "directory", "stream", "datagram"] {
                bits(name, mode);
            }
            bits("wider", 0o666);
            let before = swapped.map(mode_of);
            for name in swapped {
                for owner in [Some(own), None].into_iter().filter(|owner| owner.is_some() || mode != 0o660) {
                    let refused = settle(&at(name), 0o660, owner).unwrap_err().to_string();
                    assert_eq!(refused, SWAPPED, "{name} {mode:o} {owner:?}");
                }
            }
            assert_eq!(swapped.map(mode_of), before);
        }
        fs::remove_dir_all(&place).unwrap();
    }

    /// Its number is nobody else's while it is held, however soon the file system would use it again.
    #[test]
    fn only_that_file_is_removed() {
        let place = place("removed");
        let path = place.join("socket");
        drop(bind(&path));
        let bound = settle(&path, fs::symlink_metadata(&path).unwrap().mode() & 0o7777, None).unwrap();
        for _ in 0..10 {
            fs::remove_file(&path).unwrap();
            drop(bind(&path));
            bound.remove().unwrap();
            assert!(path.exists(), "it is another's");
        }
        fs::remove_file(&path).unwrap();
        bound.remove().unwrap();
        drop(bind(&path));
        let bound = settle(&path, fs::symlink_metadata(&path).unwrap().mode() & 0o7777, None).unwrap();
        bound.remove().unwrap();
        assert!(!path.exists());
        fs::remove_dir_all(&place).unwrap();
    }
}
