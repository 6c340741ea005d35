//! The log file: appended to, and opened anew under its name when it has been moved away.
//!
//! A name that leads elsewhere is not followed, and what could make a writer wait is not opened: whoever may put a link or a
//! pipe there would decide what is overwritten, or that nothing is written ever.

use crate::sys::directory;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

/// Who may read a log file that did not exist: its owner only, since paths of requests are in it.
const MODE: u32 = 0o600;

/// An open log file.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
    /// Lines that are not written yet.
    held: Vec<u8>,
    /// The last write failed, and that has been told.
    failing: bool,
}

impl LogFile {
    /// Opens the file at `path`, or makes one that belongs to `owner`, if that is somebody else.
    ///
    /// # Errors
    /// When it cannot be opened for appending, or is a link, or neither a file nor a device such as `/dev/null`.
    pub fn open(path: &Path, owner: Option<(u32, u32)>) -> io::Result<LogFile> {
        let file = match options().create_new(true).open(path) {
            Ok(file) => {
                if let Some((user, group)) = owner {
                    fchown(&file, Some(user), Some(group))?;
                }
                file
            }
            Err(_) => open(path, options().create(true))?,
        };
        Ok(LogFile { path: path.to_owned(), file, held: Vec::new(), failing: false })
    }

    /// Finds out whether the file at `path` could be opened, and makes none.
    ///
    /// # Errors
    /// As of [`LogFile::open`].
    pub fn check(path: &Path) -> io::Result<()> {
        match open(path, &options()) {
            Err(error) if error.kind() == ErrorKind::NotFound => directory::admits(path).map_err(explained),
            outcome => outcome.map(drop),
        }
    }

    /// Opens what has that name now. If that fails, lines still go where they went.
    pub fn reopen(&mut self) -> Result<(), String> {
        // A failure to write belongs to the file before.
        let _ = self.file.write_all(&std::mem::take(&mut self.held));
        self.file = open(&self.path, options().create(true))
            .map_err(|error| format!("log file not reopened: {}", self.complaint(&error)))?;
        self.failing = false;
        Ok(())
    }

    /// Takes bytes of lines.
    pub fn hold(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// Writes what is held. `Err` is a word for the other places, once for all failures in a row.
    pub fn flush(&mut self) -> Result<(), String> {
        let outcome = self.file.write_all(&self.held);
        self.held.clear();
        match outcome {
            Ok(()) => {
                self.failing = false;
                Ok(())
            }
            Err(_) if self.failing => Ok(()),
            Err(error) => {
                self.failing = true;
                Err(format!("log file not written: {}", self.complaint(&error)))
            }
        }
    }

    fn complaint(&self, error: &io::Error) -> String {
        format!("file=\"{}\" error=\"{error}\"", super::Escaped(&self.path.to_string_lossy()))
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.append(true).mode(MODE).custom_flags(libc::O_NOCTTY | libc::O_NOFOLLOW | libc::O_NONBLOCK);
    options
}

fn open(path: &Path, options: &OpenOptions) -> io::Result<File> {
    let file = options.open(path).map_err(explained)?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() || kind.is_char_device() { Ok(file) } else { Err(of_another_kind()) }
}

/// What the system says, and what to do about it.
fn explained(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ELOOP) => io::Error::other("a symbolic link is not followed; name the file it leads to"),
        // A pipe that nobody reads, or a socket.
        Some(libc::ENXIO) => of_another_kind(),
        _ => io::Error::new(
            error.kind(),
            format!("{error}; check the file, its directory and their permissions, or name another"),
        ),
    }
}

fn of_another_kind() -> io::Error {
    io::Error::other("neither a file nor a device; name one, or a name that is free")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    #[test]
    fn neither_links_nor_pipes_nor_sockets_are_log_files() {
        let directory = std::env::temp_dir().join(format!("websplice-log-file-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let at = |name: &str| directory.join(name);
        fs::write(at("theirs"), "precious").unwrap();
        symlink(at("theirs"), at("link")).unwrap();
        symlink(at("absent"), at("dangling")).unwrap();
        let nobody = nix::sys::stat::Mode::S_IRWXU;
        nix::unistd::mkfifo(&at("pipe"), nobody).unwrap();
        nix::unistd::mkfifo(&at("read"), nobody).unwrap();
        let _reader = OpenOptions::new().read(true).write(true).open(at("read")).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        for (name, word) in [
            ("link", "symbolic link"),
            ("dangling", "symbolic link"),
            ("pipe", "neither a file"),
            ("read", "neither a file"),
            ("socket", "neither a file"),
        ] {
            let error = LogFile::open(&at(name), None).unwrap_err().to_string();
            assert!(error.contains(word), "{name}: {error}");
            assert_eq!(LogFile::check(&at(name)).unwrap_err().to_string(), error, "{name}");
        }
        assert_eq!(fs::read_to_string(at("theirs")).unwrap(), "precious");
        assert!(!at("absent").exists());

        LogFile::check(&at("own")).unwrap();
        assert!(!at("own").exists(), "a check makes no file");
        let mut log = LogFile::open(&at("own"), None).unwrap();
        fs::remove_file(at("own")).unwrap();
        symlink(at("theirs"), at("own")).unwrap();
        let refused = log.reopen().unwrap_err();
        assert!(refused.contains("symbolic link"), "{refused}");
        assert_eq!(fs::read_to_string(at("theirs")).unwrap(), "precious");
        drop(LogFile::open(Path::new("/dev/null"), None).unwrap());
        fs::remove_dir_all(&directory).unwrap();
    }
}
