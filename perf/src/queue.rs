//! Bytes that wait for a socket to take them.
//!
//! It owns the bytes and never the socket, and never waits.

use std::io::{self, IoSlice, Write};

use nix::sys::epoll::EpollFlags;
use socket2::Socket;

/// Bytes that a socket has yet to take.
#[derive(Debug, Default)]
pub struct Queue {
    bytes: Vec<u8>,
    at: usize,
}

impl Queue {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Sends `bytes` behind what is queued, and queues what the socket does not take.
    pub fn send(&mut self, socket: &Socket, bytes: &[u8]) -> io::Result<()> {
        if !self.is_empty() {
            self.bytes.extend_from_slice(bytes);
            return self.resume(socket);
        }
        let sent = send_some(socket, bytes)?;
        self.bytes.clear();
        self.at = 0;
        self.bytes.extend_from_slice(&bytes[sent..]);
        Ok(())
    }

    /// Sends what the socket takes of what is queued.
    pub fn resume(&mut self, socket: &Socket) -> io::Result<()> {
        self.at += send_some(socket, &self.bytes[self.at..])?;
        if self.is_empty() {
            self.bytes.clear();
            self.at = 0;
        }
        Ok(())
    }

    /// What its socket is to wait for: room too, while there is something queued.
    pub fn interest(&self) -> EpollFlags {
        if self.is_empty() { EpollFlags::EPOLLIN } else { EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT }
    }
}

/// Sends what the socket takes; returns how much that was.
pub fn send_some(socket: &Socket, bytes: &[u8]) -> io::Result<usize> {
    if bytes.is_empty() {
        return Ok(0);
    }
    match (&*socket).write(bytes) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}

/// The same with pieces, which go in one call.
pub fn send_pieces(socket: &Socket, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    if pieces.is_empty() {
        return Ok(0);
    }
    match socket.send_vectored(pieces) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    #[test]
    fn what_a_full_socket_does_not_take_follows_in_order() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("a client");
        let (mut other, _) = listener.accept().expect("a connection");
        client.set_nonblocking(true).expect("non-blocking");
        let socket = Socket::from(client);
        let bytes: Vec<u8> = (0..24 * 1024 * 1024).map(|at: usize| (at % 251) as u8).collect();
        let (mut queue, mut wire) = (Queue::default(), Vec::new());
        for piece in bytes.chunks(6 * 1024 * 1024) {
            queue.send(&socket, piece).expect("a send");
        }
        assert!(!queue.is_empty() && queue.interest().contains(EpollFlags::EPOLLOUT));
        let mut buffer = vec![0; 1024 * 1024];
        while wire.len() < bytes.len() {
            let length = other.read(&mut buffer).expect("bytes");
            wire.extend_from_slice(&buffer[..length]);
            queue.resume(&socket).expect("a send");
        }
        assert!(wire == bytes && queue.is_empty() && queue.interest() == EpollFlags::EPOLLIN);
    }
}
