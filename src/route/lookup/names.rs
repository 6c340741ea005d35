//! Directories in which a token is a name: of a file that says the target, or of a socket that is the target.
//!
//! A token is a plain name there, so nothing that lies elsewhere can be meant; and a link that leads out of the directory
//! leads nowhere.

use super::stamp::read_open;
use super::trouble::{Trouble, Troubles, unreadable};
use super::{Found, Seek, Wanted};
use crate::limits::{SOCKET_PATH_BYTES_MAX, TOKEN_SMALL_FILE_BYTES_MAX};
use crate::observe::log::Level;
use crate::route::leads;
use crate::route::token::Token;
use crate::sys::beneath;
use crate::target::{Held, Target};
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// A directory with a file for each token, which holds `host:port`.
pub(super) struct Words {
    path: PathBuf,
    troubles: Troubles,
}

/// A directory with a socket for each token.
pub(super) struct Sockets {
    path: PathBuf,
    troubles: Troubles,
    /// It was said that sockets cannot be held here.
    said: AtomicBool,
}

impl Sockets {
    pub fn new(path: &Path, troubles: Troubles) -> Sockets {
        Sockets { path: path.to_owned(), troubles, said: AtomicBool::new(false) }
    }
}

/// What a file of the directory says.
enum Read {
    Target(Target),
    /// It is there and says something else.
    Nonsense,
    /// There is none, or a directory.
    Nothing,
    /// It is no file, or no way leads to one, for this reason.
    Odd(&'static str),
}

impl Words {
    pub fn new(path: &Path, troubles: Troubles) -> Words {
        Words { path: path.to_owned(), troubles }
    }

    fn read(&self, directory: &File, name: &Path) -> io::Result<Read> {
        let mut file = match beneath::open(directory.as_fd(), name).map(File::from) {
            Ok(file) => file,
            Err(error) if is_shortage(&error) => return Err(error),
            Err(_) if fs::symlink_metadata(self.path.join(name)).is_err() => return Ok(Read::Nothing),
            Err(_) => return Ok(Read::Odd("leads nowhere, or out of the directory")),
        };
        match file.metadata() {
            Ok(found) if found.is_file() => {}
            Ok(found) if found.is_dir() => return Ok(Read::Nothing),
            _ => return Ok(Read::Odd("is no file")),
        }
        let text = read_open(&mut file, TOKEN_SMALL_FILE_BYTES_MAX)?;
        let target = std::str::from_utf8(&text).ok().and_then(leads::word);
        Ok(target.map_or(Read::Nonsense, Read::Target))
    }
}

impl Seek for Words {
    fn seek(&self, wanted: &Wanted) -> Found {
        let Some(name) = wanted.token.as_file_name() else { return Ok(None) };
        let failed = |error: &io::Error| unreadable(&self.path, error);
        let directory = File::open(&self.path).map_err(|error| failed(&error))?;
        match self.read(&directory, Path::new(name)).map_err(|error| failed(&error))? {
            Read::Target(target) => Ok(Some(Arc::new(target))),
            Read::Nothing | Read::Odd(_) => Ok(None),
            // The name of the file is the token, so it is not said which.
            Read::Nonsense => {
                Err(Trouble::Met(format!("{}: a file in it is not host:port", self.path.display())))
            }
        }
    }

    /// Looks at the files too: each one that says nothing is a client who is refused one day.
    fn probe(&self, until: Instant) -> Result<Option<String>, Trouble> {
        let (begun, mut count) = (Instant::now(), 0_u64);
        // Entries that can be no token take time as well.
        let mut seen = false;
        let failed = |error: &io::Error| unreadable(&self.path, error);
        let directory = File::open(&self.path).map_err(|error| failed(&error))?;
        let entries = fs::read_dir(&self.path).map_err(|error| failed(&error))?;
        for entry in entries.flatten() {
            if std::mem::replace(&mut seen, true) && Instant::now() >= until {
                let (path, time) = (self.path.display(), begun.elapsed().as_secs_f64());
                return Ok(Some(match count {
                    0 => format!("{path}: none of its files was come to in {time:.1} s"),
                    _ => format!(
                        "{path}: only the first {count} of its files were looked at, in {time:.1} s; nothing is wrong with those"
                    ),
                }));
            }
            let name = entry.file_name();
            if name.to_str().and_then(|name| Token::new(name).as_file_name().map(drop)).is_none() {
                continue;
            }
            count += 1;
            let fault = match self.read(&directory, Path::new(&name)) {
                Ok(Read::Target(_) | Read::Nothing) => continue,
                Ok(Read::Odd(why)) => format!("{why}; put a file with host:port there, or take it away"),
                Ok(Read::Nonsense) => "is not host:port; write host:port there, or take it away".to_owned(),
                Err(error) => match error.kind() {
                    ErrorKind::FileTooLarge => format!("is {error}; write host:port there, or take it away"),
                    ErrorKind::PermissionDenied => {
                        format!("cannot be read ({error}); let the user read it who serves, or take it away")
                    }
                    _ => format!("cannot be read ({error}); mend that, or take it away"),
                },
            };
            // Its name is a token. Its number is none, and leads to it.
            let (path, number) = (self.path.display(), entry.ino());
            let text = format!("{path}: a file in it (find -inum {number} names it) {fault}");
            self.troubles.fault(Level::Warn, &text);
            break;
        }
        Ok(None)
    }
}

impl Seek for Sockets {
    fn seek(&self, wanted: &Wanted) -> Found {
        let Some(name) = wanted.token.as_file_name() else { return Ok(None) };
        let path = self.path.join(name);
        if path.as_os_str().as_bytes().len() > SOCKET_PATH_BYTES_MAX {
            let most = SOCKET_PATH_BYTES_MAX;
            return Err(Trouble::Met(format!(
                "{}: a socket's path is longer than {most} bytes",
                self.path.display()
            )));
        }
        // No link is followed, and what is found is held: it is dialled later, not what somebody puts in its place by then.
        match beneath::hold_socket(&path) {
            Ok(Some((socket, way))) => Ok(Some(Arc::new(Target::Held(Held::new(path, way, socket))))),
            Ok(None) => {
                if !self.said.swap(true, Ordering::Relaxed) {
                    let why = "there is no /proc/self/fd here, so sockets are dialled by name, whatever the name leads to by then";
                    self.troubles.note(Level::Warn, why);
                }
                Ok(Some(Arc::new(Target::Unix(path))))
            }
            Err(error) if is_shortage(&error) => Err(unreadable(&self.path, &error)),
            Err(_) => Ok(None),
        }
    }

    fn probe(&self, _: Instant) -> Result<Option<String>, Trouble> {
        is_directory(&self.path).map(|()| None)
    }
}

fn is_directory(path: &Path) -> Result<(), Trouble> {
    fs::read_dir(path).map(drop).map_err(|error| unreadable(path, &error))
}

/// Whether this says something about the machine rather than about the name.
fn is_shortage(error: &io::Error) -> bool {
    const SHORT: [i32; 4] = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EIO];
    error.raw_os_error().is_some_and(|code| SHORT.contains(&code))
        || matches!(error.kind(), ErrorKind::PermissionDenied)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::log::Log;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::time::Duration;

    #[test]
    fn what_was_checked_is_what_is_dialled() {
        let place = std::env::temp_dir().join(format!("websplice-names-{}", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        let listener = UnixListener::bind(place.join("desk")).unwrap();
        let sockets = Sockets::new(&place, Troubles::new("Played", "--token-source", &Log::silent()));
        let until = Instant::now() + Duration::from_secs(10);
        let wanted = Wanted { token: Token::new("desk"), is_host: false, until };
        let found = sockets.seek(&wanted).unwrap().unwrap();
        assert_eq!(found.to_string(), place.join("desk").display().to_string(), "it goes by its name");
        let Target::Held(held) = &*found else { panic!("{found:?}") };
        // Somebody puts another one in its place.
        let _other = UnixListener::bind(place.join("other")).unwrap();
        fs::rename(place.join("other"), place.join("desk")).unwrap();
        let _stream = UnixStream::connect(&held.way).unwrap();
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_ok(), "the one that was looked up");
        fs::remove_dir_all(&place).unwrap();
    }
}
