//! The file of a Unix socket that was just bound: given to another user, and nothing else in its place.
//!
//! Whoever may write in its directory can move it away and put something else there, at any moment. So it is held by a
//! descriptor first, what that descriptor leads to is judged, and then given away through it. It never follows a link.

use std::io;
use std::path::Path;

/// What is said of anything that was not just bound.
#[cfg(target_os = "linux")]
const SWAPPED: &str = "something else was put in its place; name a directory that nobody else may write to";

/// Gives the file at `path`, which a stream socket of this process that does not listen yet was just bound to with no more
/// than these permission bits, to a user and a group.
///
/// # Errors
/// What the system says; and that what is there is another file.
#[cfg(target_os = "linux")]
pub fn give(path: &Path, mode: u32, (user, group): (u32, u32)) -> io::Result<()> {
    use nix::fcntl::{AtFlags, OFlag, open};
    use nix::sys::stat::{Mode, SFlag, fstat};
    use nix::unistd::{Gid, Uid, fchownat, geteuid};
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let pinned = open(path, flags, Mode::empty())?;
    let found = fstat(&pinned)?;
    let has = |bits: SFlag| found.st_mode & SFlag::S_IFMT.bits() == bits.bits();
    // A directory with access lists of its own may have narrowed the bits.
    let is_ours = has(SFlag::S_IFSOCK)
        && found.st_mode & 0o7777 & !mode == 0
        && found.st_uid == geteuid().as_raw()
        && found.st_nlink == 1
        && is_mute(&pinned);
    if !is_ours {
        return Err(io::Error::other(SWAPPED));
    }
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
    Ok(fchownat(&pinned, "", Some(user), Some(group), AtFlags::AT_EMPTY_PATH)?)
}

/// Whether nobody listens at a socket file, as nobody does at ours yet. Another service's may have been moved there.
#[cfg(target_os = "linux")]
fn is_mute(pinned: &std::os::fd::OwnedFd) -> bool {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}", pinned.as_raw_fd());
    match super::socket::connect_local(Path::new(&path)) {
        // Without /proc there is no telling.
        Err(error) => matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound),
        Ok(_) => false,
    }
}

/// Elsewhere a file is known by its path alone; a link is not followed there either.
///
/// # Errors
/// What the system says.
#[cfg(not(target_os = "linux"))]
pub fn give(path: &Path, _: u32, (user, group): (u32, u32)) -> io::Result<()> {
    std::os::unix::fs::lchown(path, Some(user), Some(group))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use nix::unistd::{getegid, geteuid};
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::os::unix::net::{UnixDatagram, UnixListener};

    /// Each is what somebody may put there between the two calls. To give a file to its own user is nobody's privilege.
    #[test]
    fn only_the_socket_just_bound_is_given() {
        let place = std::env::temp_dir().join(format!("websplice-bound-{}", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        let at = |name: &str| place.join(name);
        let own = (geteuid().as_raw(), getegid().as_raw());
        let bits = |name: &str, mode| fs::set_permissions(at(name), Permissions::from_mode(mode)).unwrap();

        let ours = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        ours.bind(&socket2::SockAddr::unix(at("ours")).unwrap()).unwrap();
        bits("ours", 0o660);
        give(&at("ours"), 0o660, own).unwrap();
        if geteuid().is_root() {
            give(&at("ours"), 0o660, (65_534, 7)).unwrap();
            let found = fs::symlink_metadata(at("ours")).unwrap();
            assert_eq!((found.uid(), found.gid(), found.mode() & 0o777), (65_534, 7, 0o660));
            assert_eq!(give(&at("ours"), 0o660, own).unwrap_err().to_string(), SWAPPED, "it is another's");
        }

        fs::write(at("precious"), "precious").unwrap();
        symlink("precious", at("link")).unwrap();
        symlink("ours", at("to-a-socket")).unwrap();
        fs::create_dir(at("directory")).unwrap();
        let _stream = UnixListener::bind(at("stream")).unwrap();
        let _datagram = UnixDatagram::bind(at("datagram")).unwrap();
        let wider = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        wider.bind(&socket2::SockAddr::unix(at("wider")).unwrap()).unwrap();
        for name in ["precious", "directory", "stream", "datagram"] {
            bits(name, 0o660);
        }
        bits("wider", 0o666);
        for name in ["precious", "link", "to-a-socket", "directory", "stream", "datagram", "wider"] {
            let refused = give(&at(name), 0o660, own).unwrap_err().to_string();
            assert_eq!(refused, SWAPPED, "{name}");
        }
        fs::remove_dir_all(&place).unwrap();
    }
}
