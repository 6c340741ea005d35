//! Reading what a file or a pipe gives, and waiting for nobody who does not write.
//!
//! Owns the one way to read a name that an operator gave for something small: it opens without waiting, looks at what it
//! has got, and bounds both bytes and time. It never reads a device, a terminal or a socket.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// Up to `most` bytes of the file at `path`, from its beginning; or of the pipe there, up to the end of its first line. Whoever
/// writes into a pipe has `patience` for that.
///
/// # Errors
/// What the system says; what else is there instead; [`ErrorKind::TimedOut`] for a pipe that gives no line.
pub fn first_bytes(path: &Path, most: u64, patience: Duration) -> io::Result<Vec<u8>> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let mut file = File::options().read(true).custom_flags(flags).open(path)?;
    let kind = file.metadata()?.file_type();
    let mut bytes = Vec::new();
    if kind.is_file() {
        file.take(most).read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    if !kind.is_fifo() {
        let what = if kind.is_dir() { "is a directory" } else { "is no regular file" };
        return Err(io::Error::other(what));
    }
    let until = Instant::now() + patience;
    let mut room = [0; 4096];
    while (bytes.len() as u64) < most && !bytes.contains(&b'\n') {
        // A pipe that nobody has opened yet says that it has ended, so it is waited for first: then it says nothing.
        await_bytes(&file, until)?;
        let space = room.len().min(usize::try_from(most).unwrap_or(usize::MAX) - bytes.len());
        match file.read(&mut room[..space]) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&room[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

/// Waits until there is something to read from `pipe`, if only that it has ended.
fn await_bytes(pipe: &File, until: Instant) -> io::Result<()> {
    let mut ready = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match poll(&mut ready, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Ok(0) => {
                return Err(io::Error::new(ErrorKind::TimedOut, "is a pipe into which nobody writes a line"));
            }
            Ok(_) => return Ok(()),
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use std::io::Write;
    use std::os::fd::AsRawFd;

    const LONG: Duration = Duration::from_secs(10);

    fn named(file: &impl AsRawFd) -> String {
        format!("/dev/fd/{}", file.as_raw_fd())
    }

    #[test]
    fn a_pipe_gives_its_first_line_and_is_not_waited_for_without_end() {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"one\ntwo").unwrap();
        let first = first_bytes(Path::new(&named(&reader)), 100, LONG).unwrap();
        assert!(first.starts_with(b"one\n"), "its writer is there still: {first:?}");

        let (reader, mut writer) = io::pipe().unwrap();
        let name = named(&reader);
        let late = std::thread::spawn(move || first_bytes(Path::new(&name), 100, LONG));
        writer.write_all(b"par").unwrap();
        writer.write_all(b"ts").unwrap();
        drop(writer);
        assert_eq!(late.join().unwrap().unwrap(), b"parts", "and not half of it");

        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(&[b'x'; 5000]).unwrap();
        assert_eq!(first_bytes(Path::new(&named(&reader)), 4500, LONG).unwrap().len(), 4500);

        let fifo = std::env::temp_dir().join(format!("websplice-given-{}", std::process::id()));
        nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        let silent = first_bytes(&fifo, 100, Duration::from_millis(20)).unwrap_err();
        assert_eq!(silent.kind(), ErrorKind::TimedOut, "{silent}");
        std::fs::remove_file(&fifo).unwrap();
    }

    #[test]
    fn only_files_and_pipes_are_read() {
        for (path, part) in [("/dev/zero", "no regular file"), ("/", "directory"), ("/no/such", "No such")] {
            let error = first_bytes(Path::new(path), 100, LONG).unwrap_err().to_string();
            assert!(error.contains(part), "{path}: {error}");
        }
    }
}
