//! Directories in which a token is a name: of a file that says the target, or of a socket that is the target.
//!
//! A token is a plain name there, so nothing that lies elsewhere can be meant; and a link that leads out of the directory
//! leads nowhere.

use super::stamp::read_open;
use super::trouble::Trouble;
use super::{Found, Seek, Wanted};
use crate::limits::{SOCKET_PATH_BYTES_MAX, TOKEN_SMALL_FILE_BYTES_MAX};
use crate::route::leads;
use crate::sys::beneath;
use crate::target::Target;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A directory with a file for each token, which holds `host:port`.
pub(super) struct Words(pub PathBuf);

/// A directory with a socket for each token.
pub(super) struct Sockets(pub PathBuf);

impl Seek for Words {
    fn seek(&self, wanted: &Wanted) -> Found {
        let Some(name) = wanted.token.as_file_name() else { return Ok(None) };
        let directory = File::open(&self.0).map_err(|error| trouble(&self.0, &error))?;
        let opened = beneath::open(directory.as_fd(), Path::new(name));
        let mut file = match opened.map(File::from) {
            Ok(file) => file,
            Err(error) if is_shortage(&error) => return Err(trouble(&self.0, &error)),
            // Absent, or leading out of the directory: nothing is known of it.
            Err(_) => return Ok(None),
        };
        if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            return Ok(None);
        }
        let text =
            read_open(&mut file, TOKEN_SMALL_FILE_BYTES_MAX).map_err(|error| trouble(&self.0, &error))?;
        let target = std::str::from_utf8(&text).ok().and_then(leads::word);
        // The name of the file is the token, so it is not said which.
        let nonsense = || Trouble::Met(format!("{}: a file in it is not host:port", self.0.display()));
        target.map(|target| Some(Arc::new(target))).ok_or_else(nonsense)
    }

    fn probe(&self) -> Result<(), Trouble> {
        is_directory(&self.0)
    }
}

impl Seek for Sockets {
    fn seek(&self, wanted: &Wanted) -> Found {
        let Some(name) = wanted.token.as_file_name() else { return Ok(None) };
        let path = self.0.join(name);
        // No link is followed: what is dialled later is what lies here, not where somebody's link leads by then.
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.file_type().is_socket() => {}
            Ok(_) => return Ok(None),
            Err(error) if is_shortage(&error) => return Err(trouble(&self.0, &error)),
            Err(_) => return Ok(None),
        }
        if path.as_os_str().as_bytes().len() > SOCKET_PATH_BYTES_MAX {
            let most = SOCKET_PATH_BYTES_MAX;
            return Err(Trouble::Met(format!(
                "{}: a socket's path is longer than {most} bytes",
                self.0.display()
            )));
        }
        Ok(Some(Arc::new(Target::Unix(path))))
    }

    fn probe(&self) -> Result<(), Trouble> {
        is_directory(&self.0)
    }
}

fn is_directory(path: &Path) -> Result<(), Trouble> {
    fs::read_dir(path).map(drop).map_err(|error| trouble(path, &error))
}

fn trouble(path: &Path, error: &io::Error) -> Trouble {
    Trouble::Met(format!("{}: {error}", path.display()))
}

/// Whether this says something about the machine rather than about the name.
fn is_shortage(error: &io::Error) -> bool {
    const SHORT: [i32; 4] = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EIO];
    error.raw_os_error().is_some_and(|code| SHORT.contains(&code))
        || matches!(error.kind(), ErrorKind::PermissionDenied)
}
