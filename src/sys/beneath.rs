//! Opening files beneath a directory, and nowhere else.
//!
//! Owns the one call that resolves a name from outside: the kernel itself refuses every way out of the directory, so no
//! comparison of path strings is ever the check. It never opens for writing and never blocks in an open.

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// How often a name that is being moved about is tried again, in calls. At the limit: an error, as if it were absent.
const TRIES: usize = 8;

/// `O_NONBLOCK` lets a FIFO or a device open without waiting; the caller looks at what it got.
const FLAGS: OFlag = OFlag::O_RDONLY.union(OFlag::O_NONBLOCK).union(OFlag::O_CLOEXEC).union(OFlag::O_NOCTTY);

/// Opens `path`, file or directory, for reading beneath `root`; the empty path is `root` itself. Symbolic links are
/// followed as long as they stay beneath it. Where the kernel has no `openat2`, none is followed.
///
/// # Errors
///
/// Those of openat2(2): `EXDEV` for a way out, `ENOENT`, `ENOTDIR`, `ELOOP`, `EACCES`, `ENAMETOOLONG` for names that
/// lead nowhere; `EINVAL` for a NUL in the path; `EMFILE` and its kind when the process is at a limit.
pub fn open(root: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    #[cfg(target_os = "linux")]
    if let Some(answer) = resolve_in_kernel(root, path) {
        return answer;
    }
    walk(root, path)
}

/// Holds the Unix socket at `path`, and no link to one: the descriptor, and a path that leads to that very socket for as long
/// as the descriptor is open. `None` where the system has no such path (no `/proc`).
///
/// # Errors
///
/// Those of open(2), and `ENOTSOCK` for what is no socket.
#[cfg(target_os = "linux")]
pub fn hold_socket(path: &Path) -> io::Result<Option<(OwnedFd, PathBuf)>> {
    // Nothing can be read or written through it, and to open it takes no permission on the socket itself.
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let held = std::fs::File::from(nix::fcntl::open(path, flags, Mode::empty())?);
    check_socket(&held.metadata()?)?;
    let way = PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd()));
    let leads = std::fs::metadata(&way).is_ok_and(|found| check_socket(&found).is_ok());
    Ok(leads.then(|| (held.into(), way)))
}

#[cfg(not(target_os = "linux"))]
pub fn hold_socket(path: &Path) -> io::Result<Option<(OwnedFd, PathBuf)>> {
    check_socket(&std::fs::symlink_metadata(path)?).map(|()| None)
}

/// Holds the Unix socket that `path` leads to, by whatever links: its path without any, and the socket as [`hold_socket`] does.
///
/// # Errors
///
/// Those of realpath(3) and of [`hold_socket`].
pub fn find_socket(path: &Path) -> io::Result<(PathBuf, Option<(OwnedFd, PathBuf)>)> {
    let real = std::fs::canonicalize(path)?;
    Ok(match hold_socket(&real)? {
        // Directories may have been moved meanwhile: where it is counts, not where it was looked for.
        Some((socket, way)) => (std::fs::read_link(&way)?, Some((socket, way))),
        None => (real, None),
    })
}

fn check_socket(found: &std::fs::Metadata) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    let is_socket = found.file_type().is_socket();
    is_socket.then_some(()).ok_or_else(|| nix::errno::Errno::ENOTSOCK.into())
}

/// `None` where the call does not exist, or a container's filter forbids it.
#[cfg(target_os = "linux")]
fn resolve_in_kernel(root: BorrowedFd<'_>, path: &Path) -> Option<io::Result<OwnedFd>> {
    use nix::errno::Errno;
    use nix::fcntl::{OpenHow, ResolveFlag, openat2};
    let how = OpenHow::new()
        .flags(FLAGS)
        .resolve(ResolveFlag::RESOLVE_BENEATH.union(ResolveFlag::RESOLVE_NO_MAGICLINKS));
    let mut answer = Err(Errno::EAGAIN);
    for _ in 0..TRIES {
        answer = openat2(root, path, how);
        match answer {
            // Something was renamed while `..` in a link was resolved: the kernel asks for another try.
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(Errno::ENOSYS | Errno::EPERM) => return None,
            _ => break,
        }
    }
    Some(answer.map_err(io::Error::from))
}

/// The same without help: one component after the other, following no link at all.
fn walk(root: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    let mut here = openat(root, ".", FLAGS | OFlag::O_DIRECTORY, Mode::empty())?;
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(name) => here = openat(&here, name, FLAGS | OFlag::O_NOFOLLOW, Mode::empty())?,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(io::Error::from(nix::errno::Errno::EXDEV));
            }
        }
    }
    Ok(here)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;

    type Opener = fn(BorrowedFd<'_>, &Path) -> io::Result<OwnedFd>;

    fn text(opener: Opener, root: &File, path: &str) -> Option<String> {
        let mut text = String::new();
        File::from(opener(root.as_fd(), Path::new(path)).ok()?).read_to_string(&mut text).ok()?;
        Some(text)
    }

    #[test]
    fn only_what_lies_beneath_opens() {
        let base = std::env::temp_dir().join(format!("websplice-beneath-{}", std::process::id()));
        fs::create_dir_all(base.join("root/dir")).unwrap();
        fs::write(base.join("secret"), "secret").unwrap();
        fs::write(base.join("root/dir/file"), "file").unwrap();
        for (target, link) in
            [("dir/file", "inside"), ("../secret", "outside"), ("/etc/passwd", "absolute"), ("loop", "loop")]
        {
            symlink(target, base.join("root").join(link)).unwrap();
        }
        let root = File::open(base.join("root")).unwrap();
        for opener in [open as Opener, walk] {
            assert_eq!(text(opener, &root, "dir/file").as_deref(), Some("file"));
            for path in [
                "../secret",
                "dir/../../secret",
                "/etc/passwd",
                "outside",
                "absolute",
                "loop",
                "absent",
                "dir/file/x",
                "a\0b",
            ] {
                assert_eq!(text(opener, &root, path), None, "{path:?}");
            }
            assert!(
                opener(root.as_fd(), Path::new("")).is_ok() || opener(root.as_fd(), Path::new(".")).is_ok()
            );
        }
        assert_eq!(text(walk, &root, "inside"), None, "the walk follows no link");
        #[cfg(target_os = "linux")]
        if resolve_in_kernel(root.as_fd(), Path::new(".")).is_some() {
            assert_eq!(text(open, &root, "inside").as_deref(), Some("file"));
        }
        fs::remove_dir_all(base).unwrap();
    }
}
