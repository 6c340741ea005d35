//! The calls on real sockets and pipes, the same for every kernel that tells of readiness in its own way.
//!
//! Owns nothing and decides nothing: each is one call of [`crate::sys`].

use super::Calls;
use crate::sys::pipe::{self, Pipe};
use crate::sys::socket::{self, Stream};
use std::io;

/// A kernel of real sockets.
pub trait Real {}

impl<K: Real> Calls for K {
    type Socket = Stream;
    type Pipe = Pipe;

    fn is_local(&self, socket: &Stream) -> bool {
        socket.is_local()
    }

    fn receive(&mut self, socket: &Stream, into: &mut [u8]) -> io::Result<usize> {
        socket::receive(socket, into)
    }

    fn has_arrived(&mut self, socket: &Stream) -> bool {
        socket::has_arrived(socket)
    }

    fn send(&mut self, socket: &Stream, bytes: &[u8], more: bool) -> io::Result<usize> {
        socket::send(socket, bytes, more)
    }

    fn pipe(&mut self, bytes: usize) -> io::Result<Pipe> {
        Pipe::open(bytes)
    }

    fn splice_in(&mut self, socket: &Stream, pipe: &Pipe, most: usize) -> io::Result<usize> {
        pipe.fill(socket, most)
    }

    fn unblock(&mut self, socket: &Stream) -> io::Result<()> {
        pipe::unblock(socket)
    }

    fn splice_out(&mut self, pipe: &Pipe, socket: &Stream, most: usize) -> io::Result<usize> {
        pipe.drain(socket, most)
    }

    fn keep(&mut self, socket: &Stream) {
        socket::keep(socket);
    }

    fn shut(&mut self, socket: &Stream) {
        socket::shut(socket);
    }
}
