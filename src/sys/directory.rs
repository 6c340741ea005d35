//! Directories, as far as it matters whether a file can be made in one, and whose it would be.

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};
use std::io;
use std::path::Path;

/// Finds out whether this process may make a file at `path`, or remove one.
///
/// # Errors
/// What the system says of its directory.
pub fn admits(path: &Path) -> io::Result<()> {
    Ok(faccessat(AT_FDCWD, around(path), AccessFlags::W_OK | AccessFlags::X_OK, AtFlags::AT_EACCESS)?)
}

/// Who would own a file that this process made at `path`: on some file systems that is always somebody else. `None` where it
/// cannot be found out without making one that has a name.
#[cfg(target_os = "linux")]
pub fn owner_of_new(path: &Path) -> Option<u32> {
    use nix::fcntl::{OFlag, open};
    use nix::sys::stat::Mode;
    use std::fs::File;
    use std::os::unix::fs::MetadataExt;
    let flags = OFlag::O_TMPFILE | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let file = File::from(open(around(path), flags, Mode::S_IRUSR | Mode::S_IWUSR).ok()?);
    Some(file.metadata().ok()?.uid())
}

/// See above: every file has a name.
#[cfg(not(target_os = "linux"))]
pub fn owner_of_new(_: &Path) -> Option<u32> {
    None
}

fn around(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}
