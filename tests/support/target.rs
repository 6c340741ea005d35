//! Targets: little servers behind the server under test, well behaved or not.
//!
//! Each connection is served on a thread of its own. Dropping a target ends its listener; its connections end by
//! themselves when the server under test ends them, or at their deadline.

use super::wire::PATIENCE;
use socket2::{Domain, SockRef, Socket, Type};
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

/// What a capturing target saw of one connection.
#[derive(Debug)]
pub struct Captured {
    /// All its bytes.
    pub bytes: Vec<u8>,
    /// It ended with FIN; otherwise it was reset, or the deadline came.
    pub orderly: bool,
}

/// A TCP target.
#[derive(Debug)]
pub struct TcpTarget {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicUsize>,
}

impl TcpTarget {
    /// Serves each connection with `serve`.
    pub fn new(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> TcpTarget {
        TcpTarget::on("127.0.0.1:0", serve)
    }

    /// The same at another local address.
    pub fn on(address: &str, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> TcpTarget {
        let listener =
            TcpListener::bind(address).unwrap_or_else(|error| panic!("cannot bind {address}: {error}"));
        let address = listener.local_addr().expect("a bound socket has a name");
        let stop = Arc::new(AtomicBool::new(false));
        let accepted = Arc::new(AtomicUsize::new(0));
        let serve = Arc::new(serve);
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&accepted));
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                count.fetch_add(1, Ordering::SeqCst);
                let serve = Arc::clone(&serve);
                stream.set_read_timeout(Some(PATIENCE)).expect("the time-out is not zero");
                thread::spawn(move || serve(stream));
            }
        });
        TcpTarget { address, stop, accepted }
    }

    /// Sends back what comes, to the end.
    pub fn echo() -> TcpTarget {
        TcpTarget::new(|stream| echo(&stream, &stream))
    }

    /// Sends `bytes`, then FIN, and reads what comes until the other side ends.
    pub fn source(bytes: Vec<u8>) -> TcpTarget {
        TcpTarget::new(move |mut stream| {
            if stream.write_all(&bytes).is_ok() {
                let _ = stream.shutdown(Shutdown::Write);
            }
            drain(&stream);
        })
    }

    /// Sends without end and reads what comes, beside each other.
    pub fn flood() -> TcpTarget {
        TcpTarget::new(|stream| {
            let mut twin = stream.try_clone().expect("a descriptor is free");
            thread::spawn(move || while twin.write_all(&[0x5a; 65536]).is_ok() {});
            drain(&stream);
            let _ = stream.shutdown(Shutdown::Both);
        })
    }

    /// Sends without end and never reads.
    pub fn deaf_flood() -> TcpTarget {
        TcpTarget::new(|mut stream| while stream.write_all(&[0x5a; 65536]).is_ok() {})
    }

    /// Keeps each connection and never reads, until the returned sender is dropped.
    pub fn never_reading() -> (TcpTarget, Sender<()>) {
        let (hold, held) = channel::<()>();
        let held = Arc::new(std::sync::Mutex::new(held));
        let target = TcpTarget::new(move |stream| {
            let _ = held.lock().map(|held| held.recv_timeout(4 * PATIENCE));
            drop(stream);
        });
        (target, hold)
    }

    /// Reads `count` bytes, writes `answer`, then resets the connection.
    pub fn resetting(count: usize, answer: &'static [u8]) -> TcpTarget {
        TcpTarget::new(move |mut stream| {
            let mut bytes = vec![0; count];
            if stream.read_exact(&mut bytes).is_ok() && stream.write_all(answer).is_ok() {
                SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a socket takes SO_LINGER");
            }
        })
    }

    /// Reads each connection to its end, waiting `pause` before the first read, and hands over what it saw.
    pub fn capturing(pause: Duration) -> (TcpTarget, Receiver<Captured>) {
        let (seen, captured) = channel();
        let target = TcpTarget::new(move |stream| {
            thread::sleep(pause);
            // Nobody may want to know.
            let _ = seen.send(capture(&stream));
        });
        (target, captured)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it has accepted.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl fmt::Display for TcpTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

impl Drop for TcpTarget {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // A last connection wakes the accepting thread, which then sees the flag.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

/// A port of 127.0.0.1 that refuses connections as long as the value lives: bound, so nobody else gets it, and not
/// listening.
#[derive(Debug)]
pub struct Refusing(Socket);

impl Refusing {
    /// Takes one.
    pub fn new() -> Refusing {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a descriptor is free");
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a port is free");
        Refusing(socket)
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().ok().and_then(|name| name.as_socket()).expect("a bound socket has a name")
    }
}

/// Serves a Unix listener with an echo, for as many connections as come.
pub fn unix_echo(listener: UnixListener) {
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            stream.set_read_timeout(Some(PATIENCE)).expect("the time-out is not zero");
            thread::spawn(move || echo_unix(&stream));
        }
    });
}

/// A Unix echo target at a path.
pub fn unix_echo_at(path: &Path) {
    unix_echo(
        UnixListener::bind(path).unwrap_or_else(|error| panic!("cannot bind {}: {error}", path.display())),
    );
}

fn echo_unix(stream: &UnixStream) {
    echo(stream, stream);
    let _ = stream.shutdown(Shutdown::Both);
}

fn echo(mut from: impl Read, mut to: impl Write) {
    let mut buffer = [0; 65536];
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
}

/// Reads to the end and forgets.
pub fn drain(mut stream: &TcpStream) {
    let mut buffer = [0; 65536];
    while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
}

/// Reads to the end and keeps.
pub fn capture(mut stream: &TcpStream) -> Captured {
    let mut bytes = Vec::new();
    let mut buffer = [0; 65536];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Captured { bytes, orderly: true },
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Captured { bytes, orderly: false },
        }
    }
}
