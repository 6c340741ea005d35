//! The log file: appended to, and opened anew under its name when it has been moved away; or a descriptor that whoever
//! started the process has left open.
//!
//! A name that others may have led elsewhere is not followed, and a pipe is not opened by its name: whoever may put a link or
//! a pipe there would decide what is overwritten, or that nothing is written ever. A descriptor may be a pipe whose reader
//! sleeps, so it has a thread of its own, as standard error has.

use super::outlet::Outlet;
use super::spot::{self, Spot};
use crate::sys::{directory, process, stdio};
use nix::unistd::geteuid;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

/// Who may read a log file that did not exist: its owner only, since paths of requests are in it.
const MODE: u32 = 0o600;

/// An open log file.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    way: Way,
    /// Lines that are not written yet.
    held: Vec<u8>,
    /// The last write failed, and that has been told.
    failing: bool,
}

#[derive(Debug)]
enum Way {
    File(File),
    Descriptor(Descriptor),
    /// To standard error, where all lines go anyway: none is to come twice.
    StandardError,
}

/// A copy of a descriptor, and the thread that writes to it.
#[derive(Debug)]
struct Descriptor {
    outlet: Arc<Outlet>,
    /// The copy, until the thread has it.
    copy: Option<File>,
    thread: Option<JoinHandle<()>>,
}

impl LogFile {
    /// Opens the file at `path`, an absolute one, or makes one that belongs to `owner`, if that is somebody else. The name of
    /// a descriptor (`/dev/stdout`, `/dev/stderr`, `/dev/fd/N`, `/proc/self/fd/N`, or our number for `self`) stands for a copy of it, unless
    /// descriptors are `barred`, for that reason. To be called before the process has opened anything else.
    ///
    /// # Errors
    /// When it cannot be opened for appending, or is a link or a file that others may have put there, or neither a file nor a
    /// device such as `/dev/null`.
    pub fn open(path: &Path, owner: Option<(u32, u32)>, barred: Option<&str>) -> io::Result<LogFile> {
        let way = match spot::find(path)? {
            Spot::Descriptor(number) => Way::to(number, barred)?,
            Spot::File(path) => Way::File(match options().create_new(true).open(&path) {
                Ok(file) => {
                    if let Some((user, group)) = owner {
                        fchown(&file, Some(user), Some(group))?;
                    }
                    file
                }
                Err(_) => open(&path, options().create(true), owner)?,
            }),
        };
        Ok(LogFile { path: path.to_owned(), way, held: Vec::new(), failing: false })
    }

    /// Finds out whether the file at `path` could be opened, and makes none.
    ///
    /// # Errors
    /// As of [`LogFile::open`].
    pub fn check(path: &Path, owner: Option<(u32, u32)>, barred: Option<&str>) -> io::Result<()> {
        match spot::find(path)? {
            Spot::Descriptor(number) => Way::to(number, barred).map(drop),
            Spot::File(path) => match open(&path, &options(), owner) {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    directory::admits(&path).map_err(|error| explained(&path, error))
                }
                outcome => outcome.map(drop),
            },
        }
    }

    /// Starts the thread that a descriptor needs, for lines of so many shards. Before that nothing is written to one.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn start(&mut self, shards: usize) -> io::Result<()> {
        if let Way::Descriptor(Descriptor { outlet, copy, thread }) = &mut self.way
            && let Some(copy) = copy.take()
        {
            let (outlet, mut copy) = (outlet.clone(), stdio::Blocking(copy));
            outlet.widen(shards);
            let write = move || outlet.write_to("file", &mut copy);
            *thread = Some(Builder::new().name("log-descriptor".into()).spawn(write)?);
        }
        Ok(())
    }

    /// Opens what has that name now. If that fails, lines still go where they went; so they do where that is a descriptor.
    pub fn reopen(&mut self) -> Result<(), String> {
        let Way::File(file) = &mut self.way else { return Ok(()) };
        // A failure to write belongs to the file before.
        let _ = file.write_all(&std::mem::take(&mut self.held));
        let opened = spot::find(&self.path).and_then(|spot| match spot {
            // The process is who the file was made for by now.
            Spot::File(path) => open(&path, options().create(true), None),
            Spot::Descriptor(_) => Err(io::Error::other("it leads to a descriptor now; start anew for that")),
        });
        *file =
            opened.map_err(|error| format!("log file not reopened: {}", complaint(&self.path, &error)))?;
        self.failing = false;
        Ok(())
    }

    /// Takes bytes of lines.
    pub fn hold(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// Writes what is held. `Err` is a word for the other places, once for all failures in a row.
    pub fn flush(&mut self) -> Result<(), String> {
        let outcome = match &mut self.way {
            Way::File(file) => Some(file.write_all(&self.held)),
            Way::Descriptor(Descriptor { outlet, .. }) => {
                outlet.take(&self.held);
                // Of what was written meanwhile.
                outlet.outcome()
            }
            Way::StandardError => None,
        };
        self.held.clear();
        match outcome {
            Some(Ok(())) => {
                self.failing = false;
                Ok(())
            }
            Some(Err(error)) if !self.failing => {
                self.failing = true;
                Err(format!("log file not written: {}", complaint(&self.path, &error)))
            }
            Some(Err(_)) | None => Ok(()),
        }
    }
}

impl Way {
    fn to(number: i32, barred: Option<&str>) -> io::Result<Way> {
        if let Some(why) = barred {
            return Err(io::Error::other(why));
        }
        let copy = process::copy_to_write(number).map_err(|error| {
            io::Error::other(match error.raw_os_error() {
                Some(libc::EBADF) => {
                    format!("descriptor {number} is not open; open it ({number}>>FILE), or name a file")
                }
                _ => format!("descriptor {number} {error}; open it for that, or name a file"),
            })
        })?;
        if stdio::is_error(&copy) {
            return Ok(Way::StandardError);
        }
        let copy = Some(copy.into());
        Ok(Way::Descriptor(Descriptor { outlet: Arc::default(), copy, thread: None }))
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        self.outlet.close();
        if let Some(thread) = self.thread.take() {
            // The end of the log has a deadline, so it may wait here. A panic was shown when it happened.
            let _ = thread.join();
        }
    }
}

fn complaint(path: &Path, error: &io::Error) -> String {
    format!("file=\"{}\" error=\"{error}\"", super::Escaped(&path.to_string_lossy()))
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.append(true).mode(MODE).custom_flags(libc::O_NOCTTY | libc::O_NOFOLLOW | libc::O_NONBLOCK);
    options
}

fn open(path: &Path, options: &OpenOptions, owner: Option<(u32, u32)>) -> io::Result<File> {
    let file = options.open(path).map_err(|error| explained(path, error))?;
    let found = file.metadata()?;
    let kind = found.file_type();
    if kind.is_file() {
        judge(path, &found, owner)?;
    } else if !kind.is_char_device() {
        return Err(of_another_kind(path));
    }
    Ok(file)
}

/// Refuses a file that somebody else may have put there, to read our lines or to have them added to another: in a directory that
/// everybody may write to (a group is trusted, as directories of logs commonly have one), one that belongs to nobody who serves, or has a second name. What the kernel's
/// `fs.protected_regular` and `fs.protected_hardlinks` are for, where they are on.
fn judge(path: &Path, found: &Metadata, owner: Option<(u32, u32)>) -> io::Result<()> {
    let around = fs::metadata(path.parent().unwrap_or(Path::new("/")))?;
    if around.mode() & 0o002 == 0 {
        return Ok(());
    }
    let serving = [Some(0), Some(geteuid().as_raw()), owner.map(|(user, _)| user)];
    let what = match (serving.contains(&Some(found.uid())), found.nlink()) {
        (true, 0 | 1) => return Ok(()),
        (true, _) => "it has a second name (a hard link)".to_owned(),
        (false, _) => format!("it belongs to user {}", found.uid()),
    };
    Err(io::Error::other(format!(
        "{what}, and others may write to its directory; move it, or name a file where not everybody may write"
    )))
}

/// What the system says, and what to do about it.
fn explained(path: &Path, error: io::Error) -> io::Error {
    match error.raw_os_error() {
        // It was none a moment ago.
        Some(libc::ELOOP) => io::Error::other("a symbolic link is not followed; name the file it leads to"),
        // A pipe that nobody reads, or a socket.
        Some(libc::ENXIO) => of_another_kind(path),
        _ => io::Error::new(
            error.kind(),
            format!("{error}; check the file, its directory and their permissions, or name another"),
        ),
    }
}

fn of_another_kind(path: &Path) -> io::Error {
    let is_pipe = path.symlink_metadata().is_ok_and(|found| found.file_type().is_fifo());
    io::Error::other(match is_pipe {
        true => {
            "a named pipe is not opened, since lines would wait for its reader; name a file, or a descriptor that has the \
             pipe open (3<>PIPE and --log-file=/dev/fd/3)"
        }
        false => "neither a file nor a device; name one, or a name that is free",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, lchown, symlink};
    use std::os::unix::net::UnixListener;

    #[test]
    fn neither_links_of_others_nor_pipes_nor_sockets_are_log_files() {
        let directory = std::env::temp_dir().join(format!("websplice-log-file-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let at = |name: &str| directory.join(name);
        fs::write(at("theirs"), "precious").unwrap();
        fs::create_dir_all(at("open")).unwrap();
        fs::set_permissions(at("open"), fs::Permissions::from_mode(0o777)).unwrap();
        symlink(at("theirs"), at("open/link")).unwrap();
        symlink(at("absent"), at("open/dangling")).unwrap();
        let nobody = nix::sys::stat::Mode::S_IRWXU;
        nix::unistd::mkfifo(&at("pipe"), nobody).unwrap();
        nix::unistd::mkfifo(&at("read"), nobody).unwrap();
        let _reader = OpenOptions::new().read(true).write(true).open(at("read")).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        for (name, word) in [
            ("open/link", "symbolic link"),
            ("open/dangling", "symbolic link"),
            ("pipe", "a named pipe"),
            ("read", "a named pipe"),
            ("socket", "neither a file"),
        ] {
            let error = LogFile::open(&at(name), None, None).unwrap_err().to_string();
            assert!(error.contains(word), "{name}: {error}");
            assert_eq!(LogFile::check(&at(name), None, None).unwrap_err().to_string(), error, "{name}");
        }
        assert_eq!(fs::read_to_string(at("theirs")).unwrap(), "precious");
        assert!(!at("absent").exists());

        LogFile::check(&at("own"), None, None).unwrap();
        assert!(!at("own").exists(), "a check makes no file");
        drop(LogFile::open(Path::new("/dev/null"), None, None).unwrap());
        // What is looked at again when it is opened anew.
        let own = at("open/own");
        let mut log = LogFile::open(&own, None, None).unwrap();
        fs::remove_file(&own).unwrap();
        symlink(at("theirs"), &own).unwrap();
        let refused = log.reopen().unwrap_err();
        assert!(refused.contains("symbolic link"), "{refused}");
        assert_eq!(fs::read_to_string(at("theirs")).unwrap(), "precious");
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn files_that_others_may_have_put_there_are_not_written_to() {
        let directory = std::env::temp_dir().join(format!("websplice-log-theirs-{}", std::process::id()));
        fs::create_dir_all(directory.join("open")).unwrap();
        let at = |name: &str| directory.join(name);
        let bits = |mode| fs::set_permissions(at("open"), fs::Permissions::from_mode(mode)).unwrap();
        fs::write(at("precious"), "precious").unwrap();
        fs::hard_link(at("precious"), at("open/second")).unwrap();
        fs::write(at("open/own"), "").unwrap();
        fs::write(at("open/theirs"), "").unwrap();
        let refused = |name: &str, owner, part: &str| {
            let error = LogFile::open(&at(name), owner, None).unwrap_err().to_string();
            assert!(
                error.contains(part) && error.contains("may write to its directory; "),
                "{name}: {error}"
            );
            assert_eq!(LogFile::check(&at(name), owner, None).unwrap_err().to_string(), error, "{name}");
        };
        for mode in [0o1777, 0o777, 0o757] {
            bits(mode);
            refused("open/second", None, "a second name");
            LogFile::open(&at("open/own"), None, None).unwrap();
        }
        let mut log = LogFile::open(&at("open/own"), None, None).unwrap();
        fs::rename(at("open/own"), at("open/old")).unwrap();
        fs::rename(at("open/second"), at("open/own")).unwrap();
        assert!(log.reopen().unwrap_err().contains("a second name"));
        assert_eq!(fs::read_to_string(at("precious")).unwrap(), "precious");
        fs::rename(at("open/own"), at("open/second")).unwrap();
        // Only root can give a file away.
        if geteuid().is_root() {
            lchown(at("open/theirs"), Some(65_534), None).unwrap();
            for owner in [None, Some((65_533, 0))] {
                refused("open/theirs", owner, "belongs to user 65534");
            }
            LogFile::open(&at("open/theirs"), Some((65_534, 0)), None).unwrap();
        }
        // Where only its owner may write, and his group, it is for these to say.
        for mode in [0o755, 0o775] {
            bits(mode);
            for name in ["open/second", "open/theirs"] {
                LogFile::open(&at(name), None, None).unwrap();
            }
        }
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_link_of_our_own_leads_to_the_file() {
        let directory = std::env::temp_dir().join(format!("websplice-log-link-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        let at = |name: &str| directory.join(name);
        symlink("one", at("link")).unwrap();
        LogFile::check(&at("link"), None, None).unwrap();
        assert!(!at("one").exists(), "a check makes no file");
        let mut log = LogFile::open(&at("link"), None, None).unwrap();
        log.hold(b"first\n");
        log.flush().unwrap();
        fs::remove_file(at("link")).unwrap();
        symlink("two", at("link")).unwrap();
        log.hold(b"second\n");
        log.reopen().unwrap();
        log.hold(b"third\n");
        log.flush().unwrap();
        let read = |name| fs::read_to_string(at(name)).unwrap();
        assert_eq!((read("one").as_str(), read("two").as_str()), ("first\nsecond\n", "third\n"));
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_descriptor_that_is_barred_or_not_open_is_told() {
        for (name, barred, words) in [
            ("/dev/stdout", Some("there is none here; name a file"), "there is none here; name a file"),
            ("/dev/fd/99999", None, "descriptor 99999 is not open; "),
        ] {
            let error = LogFile::open(Path::new(name), None, barred).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
            assert_eq!(LogFile::check(Path::new(name), None, barred).unwrap_err().to_string(), error);
        }
    }
}
