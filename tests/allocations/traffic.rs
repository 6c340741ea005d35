//! The traffic of the measurement: a client that sends batches of mixed messages and reads all of them back, and a target
//! that returns every byte.
//!
//! Only counts what comes back; that bytes are right is proven elsewhere.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The request of every client.
pub const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// Messages of one batch.
const BATCH: usize = 500;
/// A shard that hangs fails the test instead of holding it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A target that returns every byte to its one client until that ends.
pub fn target() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        // One of the cases dials it, once.
        let (mut socket, _) = listener.accept().unwrap();
        let mut bytes = vec![0; 256 * 1024];
        loop {
            let count = read_some(&mut socket, &mut bytes);
            if count == 0 {
                return;
            }
            socket.write_all(&bytes[..count]).unwrap();
        }
    });
    (address, thread)
}

/// Reads what is there; 0 at the end of the stream. A read with a time-out may be interrupted for no fault of anyone's.
fn read_some(socket: &mut TcpStream, bytes: &mut [u8]) -> usize {
    loop {
        match socket.read(bytes) {
            Ok(count) => return count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("reading failed: {error}"),
        }
    }
}

/// Length of the message at `place` of a batch: mostly small, some medium, and one of 64 KiB.
fn length(place: usize) -> usize {
    match place {
        0 => 64 * 1024,
        _ if place.is_multiple_of(100) => 16 * 1024,
        _ if place.is_multiple_of(25) => 2_000,
        _ => place % 130 + 1,
    }
}

/// A client's frame with a payload of so many bytes.
pub fn frame(len: usize) -> Vec<u8> {
    let mut bytes = vec![0x82];
    match len {
        0..=125 => bytes.push(0x80 | len as u8),
        126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend((len as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    bytes.extend([0x37, 0xfa, 0x21, 0x3d]);
    bytes.extend((0..len).map(|at| at as u8));
    bytes
}

/// A client's frames for a whole batch, with a mask.
fn batch() -> Vec<u8> {
    (0..BATCH).map(length).flat_map(frame).collect()
}

/// A client whose upgrade was answered.
pub struct Client {
    socket: TcpStream,
    /// What was read and not yet taken apart.
    bytes: Vec<u8>,
    /// Payload bytes that the current frame still owes.
    owed: usize,
}

impl Client {
    pub fn open(mut socket: TcpStream) -> Client {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(UPGRADE).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "));
        Client { socket, bytes: Vec::new(), owed: 0 }
    }

    /// Sends messages in batches while what comes back is read, until it has all come.
    pub fn exchange(&mut self, messages: usize) {
        let batches = messages / BATCH;
        let mut expected = batches * (0..BATCH).map(length).sum::<usize>();
        let mut writer = self.socket.try_clone().unwrap();
        let sender = thread::spawn(move || {
            let batch = batch();
            for _ in 0..batches {
                writer.write_all(&batch).unwrap();
            }
        });
        while expected > 0 {
            expected -= self.read();
        }
        sender.join().unwrap();
    }

    /// Payload bytes that one read brought.
    fn read(&mut self) -> usize {
        let mut buffer = [0; 64 * 1024];
        let count = read_some(&mut self.socket, &mut buffer);
        assert!(count > 0, "the stream ended early");
        self.bytes.extend_from_slice(&buffer[..count]);
        let (mut at, mut payload) = (0, 0);
        loop {
            let here = self.owed.min(self.bytes.len() - at);
            (at, payload, self.owed) = (at + here, payload + here, self.owed - here);
            let Some((len, header)) = header(&self.bytes[at..]).filter(|_| self.owed == 0) else { break };
            (at, self.owed) = (at + header, len);
        }
        self.bytes.drain(..at);
        payload
    }
}

/// Payload length and header length of the frame that begins here, if all of its header is.
fn header(bytes: &[u8]) -> Option<(usize, usize)> {
    match *bytes.get(1)? {
        126 => Some((usize::from(u16::from_be_bytes(*bytes[2..].first_chunk()?)), 4)),
        127 => Some((u64::from_be_bytes(*bytes[2..].first_chunk()?) as usize, 10)),
        len => Some((usize::from(len), 2)),
    }
}
