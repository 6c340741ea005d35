//! Pipes that carry bytes from one socket to another without bringing them into this process (`splice`, Linux).
//!
//! Elsewhere opening one is unsupported, which is an answer callers know: there bytes are copied.

#[cfg(target_os = "linux")]
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// A pipe with both its ends, which never blocks.
#[derive(Debug)]
pub struct Pipe {
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "there is none to read from"))]
    read: OwnedFd,
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "there is none to write to"))]
    write: OwnedFd,
}

#[cfg(target_os = "linux")]
impl Pipe {
    /// Opens one with room for `bytes`, in whole pages.
    ///
    /// # Errors
    /// No descriptor is left, or (`EPERM`) this user's pipes have as many pages as `fs.pipe-user-pages-soft` allows.
    pub fn open(bytes: usize) -> io::Result<Pipe> {
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        let bytes = i32::try_from(bytes).map_err(io::Error::other)?;
        fcntl(&write, FcntlArg::F_SETPIPE_SZ(bytes))?;
        Ok(Pipe { read, write })
    }

    /// Moves up to `most` bytes from `socket`, which must not block, into the pipe. 0 is the end of the stream. An empty
    /// pipe takes at least one byte, so `WouldBlock` means that the socket has none. Both may also mean that TCP's urgent
    /// mark is next, which no splice passes (Linux, `tcp_read_sock`): a receive does.
    pub fn fill(&self, socket: impl AsFd, most: usize) -> io::Result<usize> {
        Ok(splice(socket, None, &self.write, None, most, SpliceFFlags::SPLICE_F_NONBLOCK)?)
    }

    /// Moves up to `most` bytes from the pipe to `socket`, which must not block ([`unblock`]) and must be open for more
    /// than reading: the kernel has no way here to ask for an error instead of SIGPIPE, which this process ignores.
    pub fn drain(&self, socket: impl AsFd, most: usize) -> io::Result<usize> {
        Ok(splice(&self.read, None, socket, None, most, SpliceFFlags::SPLICE_F_NONBLOCK)?)
    }
}

#[cfg(not(target_os = "linux"))]
impl Pipe {
    /// There are none.
    pub fn open(_: usize) -> io::Result<Pipe> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// There are none.
    pub fn fill(&self, _: impl AsFd, _: usize) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// There are none.
    pub fn drain(&self, _: impl AsFd, _: usize) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Sees to it that no call on `socket` blocks: a splice goes by the descriptor's own mark, not by its call.
pub fn unblock(socket: impl AsFd) -> io::Result<()> {
    socket2::SockRef::from(&socket).set_nonblocking(true)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    const BYTES: usize = 64 * 1024;
    const PATIENCE: Duration = Duration::from_secs(10);

    fn tcp() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (near, listener.accept().unwrap().0)
    }

    /// Carries bytes from one socket to another, in pieces as they come.
    fn carries(mut source: impl Write, from: impl AsFd, to: impl AsFd, mut sink: impl Read) {
        let bytes: Vec<u8> = (0..2 * BYTES).map(|at| (at % 251) as u8).collect();
        let pipe = Pipe::open(BYTES).unwrap();
        unblock(&from).unwrap();
        unblock(&to).unwrap();
        assert_eq!(pipe.fill(&from, BYTES).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let (mut sent, mut got) = (0, Vec::new());
        while got.len() < bytes.len() {
            let piece = &bytes[sent..bytes.len().min(sent + 5000)];
            source.write_all(piece).unwrap();
            sent += piece.len();
            let mut held = pipe.fill(&from, BYTES).unwrap();
            while held > 0 {
                let count = pipe.drain(&to, held).unwrap();
                let mut piece = vec![0; count];
                sink.read_exact(&mut piece).unwrap();
                got.extend(piece);
                held -= count;
            }
        }
        assert!(got == bytes);
        drop(source);
        assert_eq!(pipe.fill(&from, BYTES).unwrap(), 0, "the end of the stream");
        drop(sink);
    }

    #[test]
    fn bytes_pass_between_sockets_of_all_kinds_and_then_the_end() {
        for (first, second) in [(true, true), (true, false), (false, true), (false, false)] {
            let (a, b) = tcp();
            let (c, d) = UnixStream::pair().unwrap();
            let (e, f) = tcp();
            let (g, h) = UnixStream::pair().unwrap();
            f.set_read_timeout(Some(PATIENCE)).unwrap();
            h.set_read_timeout(Some(PATIENCE)).unwrap();
            match (first, second) {
                (true, true) => carries(a, b, e, f),
                (true, false) => carries(a, b, g, h),
                (false, true) => carries(c, d, e, f),
                (false, false) => carries(c, d, g, h),
            }
        }
    }

    #[test]
    fn a_full_socket_takes_what_it_can_and_then_says_so() {
        let (mut source, from) = tcp();
        let (to, _sink) = tcp();
        unblock(&from).unwrap();
        unblock(&to).unwrap();
        let pipe = Pipe::open(BYTES).unwrap();
        let full = loop {
            source.write_all(&[7; BYTES]).unwrap();
            let mut held = pipe.fill(&from, BYTES).unwrap();
            let outcome = loop {
                match pipe.drain(&to, held) {
                    Ok(count) => held -= count,
                    Err(error) => break Err(error),
                }
                if held == 0 {
                    break Ok(());
                }
            };
            if let Err(error) = outcome {
                break error;
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_socket_that_is_gone_is_an_error_and_no_signal() {
        let (mut source, from) = tcp();
        let (to, sink) = tcp();
        unblock(&from).unwrap();
        unblock(&to).unwrap();
        drop(sink);
        let pipe = Pipe::open(BYTES).unwrap();
        let error = loop {
            source.write_all(&[7; 100]).unwrap();
            let held = pipe.fill(&from, BYTES).unwrap();
            if let Err(error) = pipe.drain(&to, held) {
                break error;
            }
        };
        assert!(
            matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset),
            "{error}"
        );
    }

    #[test]
    fn a_size_that_nobody_may_have_is_refused() {
        assert!(Pipe::open(usize::MAX).is_err() && Pipe::open(i32::MAX as usize).is_err());
    }
}
