//! Directories, as far as it matters whether a file can be made in one.

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};
use std::io;
use std::path::Path;

/// Finds out whether this process may make a file at `path`, or remove one.
///
/// # Errors
/// What the system says of its directory.
pub fn admits(path: &Path) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    Ok(faccessat(AT_FDCWD, directory, AccessFlags::W_OK | AccessFlags::X_OK, AtFlags::AT_EACCESS)?)
}
