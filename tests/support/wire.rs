//! A client's byte stream, TCP, Unix or TLS, and the inbox that reads from it with a deadline.
//!
//! It knows nothing of HTTP or WebSocket; it tells an orderly end from a reset and from silence.

use rustls::{ClientConnection, StreamOwned};
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a client waits for anything unless told otherwise: generous, because machines under test are busy.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// The moment [`PATIENCE`] from now.
pub fn soon() -> Instant {
    Instant::now() + PATIENCE
}

/// One connection to the server.
#[derive(Debug)]
pub enum Wire {
    /// Over TCP, without Nagle's delay.
    Tcp(TcpStream),
    /// Over a Unix stream socket.
    Unix(UnixStream),
    /// TLS over TCP. Its end counts as orderly only behind a close_notify.
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Wire {
    /// Connects over TCP.
    #[track_caller]
    pub fn tcp(address: SocketAddr) -> Wire {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        stream.set_nodelay(true).expect("a connected socket takes TCP_NODELAY");
        stream.set_write_timeout(Some(PATIENCE)).expect("the time-out is not zero");
        Wire::Tcp(stream)
    }

    /// Connects to a socket file.
    #[track_caller]
    pub fn unix(path: &Path) -> Wire {
        let stream = UnixStream::connect(path)
            .unwrap_or_else(|error| panic!("cannot connect to {}: {error}", path.display()));
        stream.set_write_timeout(Some(PATIENCE)).expect("the time-out is not zero");
        Wire::Unix(stream)
    }

    /// A second handle on the same connection, for writing from another thread.
    pub fn twin(&self) -> Wire {
        match self {
            Wire::Tcp(stream) => Wire::Tcp(stream.try_clone().expect("a descriptor is free")),
            Wire::Unix(stream) => Wire::Unix(stream.try_clone().expect("a descriptor is free")),
            Wire::Tls(_) => panic!("a TLS stream has no twin"),
        }
    }

    /// Writes `bytes` in pieces of `piece` bytes, one system call each; zero means all at once.
    pub fn write_chopped(&mut self, bytes: &[u8], piece: usize) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let piece = if piece == 0 { bytes.len() } else { piece };
        bytes.chunks(piece).try_for_each(|part| self.write_all(part).and_then(|()| self.flush()))
    }

    /// Ends our direction only.
    pub fn finish(&mut self) {
        if let Wire::Tls(stream) = self {
            stream.conn.send_close_notify();
            // As below: the server may be gone.
            let _ = stream.flush();
        }
        self.shut(Shutdown::Write);
    }

    /// Ends both directions, which also frees a thread that is blocked on a twin.
    pub fn shut(&self, how: Shutdown) {
        // The server may have ended the connection first; that is no fault here.
        let _ = match self {
            Wire::Tcp(stream) => stream.shutdown(how),
            Wire::Unix(stream) => stream.shutdown(how),
            Wire::Tls(stream) => stream.sock.shutdown(how),
        };
    }

    /// Ends the connection with a reset instead of an orderly end.
    pub fn abort(self) {
        if let Wire::Tcp(stream) = &self {
            socket2::SockRef::from(stream)
                .set_linger(Some(Duration::ZERO))
                .expect("a socket takes SO_LINGER");
        }
    }

    fn wait_at_most(&self, time: Duration) -> io::Result<()> {
        match self {
            Wire::Tcp(stream) => stream.set_read_timeout(Some(time)),
            Wire::Unix(stream) => stream.set_read_timeout(Some(time)),
            Wire::Tls(stream) => stream.sock.set_read_timeout(Some(time)),
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Tcp(stream) => stream.read(buffer),
            Wire::Unix(stream) => stream.read(buffer),
            Wire::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Tcp(stream) => stream.write(bytes),
            Wire::Unix(stream) => stream.write(bytes),
            Wire::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Wire::Tls(stream) => stream.flush(),
            Wire::Tcp(_) | Wire::Unix(_) => Ok(()),
        }
    }
}

/// Why the awaited bytes did not come.
#[derive(Debug)]
pub enum Fault {
    /// The stream ended in order, with so many bytes of something unfinished.
    Ended(usize),
    /// The stream broke: a reset, most likely.
    Broken(io::Error),
    /// Nothing, or not enough, came in time; so many bytes had come.
    Silent(usize),
    /// Bytes came that no server may send.
    Nonsense(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Ended(held) => write!(f, "end of stream ({held} bytes unfinished)"),
            Fault::Broken(error) => write!(f, "broken stream: {error}"),
            Fault::Silent(held) => write!(f, "nothing in time ({held} bytes unfinished)"),
            Fault::Nonsense(what) => write!(f, "nonsense: {what}"),
        }
    }
}

/// Reads from a wire and keeps what is not used yet.
#[derive(Debug)]
pub struct Inbox {
    /// The connection.
    pub wire: Wire,
    held: Vec<u8>,
    used: usize,
}

impl Inbox {
    /// An empty inbox on a connection.
    pub fn new(wire: Wire) -> Inbox {
        Inbox { wire, held: Vec::new(), used: 0 }
    }

    /// What has come and is not used.
    pub fn waiting(&self) -> &[u8] {
        &self.held[self.used..]
    }

    /// Takes exactly `count` bytes.
    pub fn take(&mut self, count: usize, until: Instant) -> Result<Vec<u8>, Fault> {
        while self.waiting().len() < count {
            self.fill(until)?;
        }
        let taken = self.waiting()[..count].to_vec();
        self.used += count;
        Ok(taken)
    }

    /// Takes everything up to and including `mark`.
    pub fn take_through(&mut self, mark: &[u8], until: Instant) -> Result<Vec<u8>, Fault> {
        loop {
            if let Some(at) = memchr::memmem::find(self.waiting(), mark) {
                return self.take(at + mark.len(), until);
            }
            self.fill(until)?;
        }
    }

    /// Takes what is left up to the orderly end of the stream.
    pub fn take_rest(&mut self, until: Instant) -> Result<Vec<u8>, Fault> {
        loop {
            match self.fill(until) {
                Ok(()) => {}
                Err(Fault::Ended(_)) => return Ok(std::mem::take(&mut self.held).split_off(self.used)),
                Err(fault) => return Err(fault),
            }
        }
    }

    /// The orderly end of the stream, and nothing before it.
    pub fn end(&mut self, until: Instant) -> Result<(), Fault> {
        if self.waiting().is_empty() {
            match self.fill(until) {
                Err(Fault::Ended(_)) => return Ok(()),
                Err(fault) => return Err(fault),
                Ok(()) => {}
            }
        }
        Err(Fault::Nonsense(format!("instead of the end of the stream: {}", super::brief(self.waiting()))))
    }

    /// One read from the wire: returns when there is more than before.
    fn fill(&mut self, until: Instant) -> Result<(), Fault> {
        if self.used > 0 && self.used == self.held.len() {
            self.held.clear();
            self.used = 0;
        } else if self.used > 1 << 20 {
            self.held.drain(..self.used);
            self.used = 0;
        }
        let unfinished = self.waiting().len();
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Fault::Silent(unfinished));
            }
            self.wire.wait_at_most(left).map_err(Fault::Broken)?;
            match self.wire.read(&mut buffer) {
                Ok(0) => return Err(Fault::Ended(unfinished)),
                Ok(count) => {
                    self.held.extend_from_slice(&buffer[..count]);
                    return Ok(());
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                    _ => return Err(Fault::Broken(error)),
                },
            }
        }
    }
}
