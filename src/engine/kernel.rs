//! The layer below the engine: readiness and socket calls, the part that differs from kernel to kernel.
//!
//! An implementation reports that sockets may be read or written and makes single non-blocking calls. It never holds a
//! payload byte, never retries, and never decides an order: all that is the engine's.

use super::{Moved, Token};
use crate::sys::address::Address;
use crate::sys::wake::Waker;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// A kernel as the engine needs it. Implemented by io_uring, mio and the simulator.
pub trait Kernel: Calls {
    /// Reports from now on, until [`Kernel::retire`], whenever bytes or the end of the stream *arrive* (edges). It may report
    /// besides whenever output *becomes* possible.
    fn watch(&mut self, token: Token, socket: &Self::Socket) -> io::Result<()>;

    /// Sees to a report when a watched socket can be written to, after a call on it found that it could not.
    fn want_write(&mut self, token: Token, socket: &Self::Socket) -> io::Result<()>;

    /// Stops watching, then closes. Behind [`Ready::Closed`] reports about the token are stale. `wanted` says that a write report is
    /// still owed, to [`Kernel::want_write`] or to a connect.
    fn retire(&mut self, token: Token, socket: Self::Socket, wanted: bool);

    /// Accepts one client on listener `index`; answered by one `Accepted` or `AcceptFailed`.
    fn arm_accept(&mut self, index: usize);

    /// Takes one more client of listener `index` at once; `WouldBlock` means that none waits.
    fn accept(&mut self, index: usize) -> io::Result<(Self::Socket, Option<SocketAddr>)>;

    /// Gives listener `index` up: no accept will be armed again, those armed are cancelled, and newcomers are refused when
    /// this returns, although other shards hold the listener too.
    fn close_listener(&mut self, index: usize);

    /// Submits what is queued, waits up to `wait` (`None`: without end) for something to report, and adds reports to
    /// `ready`. Returns early, with nothing, whenever it likes.
    fn turn(&mut self, wait: Option<Duration>, ready: &mut Vec<Ready<Self::Socket>>) -> io::Result<()>;

    /// Says what the turn that is over has moved, before the next: whether it pays to look for something before falling asleep,
    /// and how long to sleep, depends on it.
    fn moved(&mut self, moved: Moved);

    /// A handle for other threads to end a wait with.
    fn waker(&self) -> Waker;

    /// Opens a socket and starts to connect it. A write report tells that this has been decided.
    fn connect(&mut self, token: Token, address: &Address) -> io::Result<Self::Socket>;

    /// How a connect ended. If well, the socket is watched, from now on at the latest.
    fn connected(&mut self, token: Token, socket: &Self::Socket) -> io::Result<()>;
}

/// The calls on sockets and pipes that move bytes. Those of a system are in `real`; the simulator has its own.
pub trait Calls {
    /// An open socket. Dropping it closes it.
    type Socket;
    /// A pipe that carries bytes from one socket to another out of sight.
    type Pipe;

    /// Whether this is a Unix socket: one of those hands over what it has in the pieces that a sender passed descriptors with,
    /// and gives no edge for the next piece.
    fn is_local(&self, socket: &Self::Socket) -> bool;

    /// Receives into `into`: 0 is the end of the stream, `WouldBlock` means nothing is there.
    fn receive(&mut self, socket: &Self::Socket, into: &mut [u8]) -> io::Result<usize>;

    /// Whether bytes that no receive has brought yet have arrived. The end of the stream, and an error, are none.
    fn has_arrived(&mut self, socket: &Self::Socket) -> bool;

    /// Sends from `bytes`: how many were taken; `WouldBlock` means none. With `more` something follows at once, the end of
    /// the stream or bytes from a pipe, so the kernel may hold these back until then, to let all go in one segment.
    fn send(&mut self, socket: &Self::Socket, bytes: &[u8], more: bool) -> io::Result<usize>;

    /// Opens a pipe for up to `bytes` at a time. An error means that there is none to be had, now or ever.
    fn pipe(&mut self, bytes: usize) -> io::Result<Self::Pipe>;

    /// Receives up to `most` bytes into `pipe`, which is empty: 0 is the end of the stream, `WouldBlock` means nothing is
    /// there or that an urgent mark is next, `InvalidInput` that such a socket cannot do this. In front of such a mark a 0, too,
    /// says nothing. Fewer than asked for may mean that the pipe is full.
    fn splice_in(&mut self, socket: &Self::Socket, pipe: &Self::Pipe, most: usize) -> io::Result<usize>;

    /// Sees to it that [`Calls::splice_out`] on `socket` does not block. Asked for once, before the first.
    fn unblock(&mut self, socket: &Self::Socket) -> io::Result<()>;

    /// Sends up to `most` bytes, all that are in `pipe`: how many were taken; `WouldBlock` means none.
    fn splice_out(&mut self, pipe: &Self::Pipe, socket: &Self::Socket, most: usize) -> io::Result<usize>;

    /// Has the system find out by itself when the other end of a connected socket is gone. Accepted ones have that of their
    /// listener.
    fn keep(&mut self, socket: &Self::Socket);

    /// Says end of stream to the other end; receiving goes on.
    fn shut(&mut self, socket: &Self::Socket);
}

/// What a kernel reports.
#[derive(Debug)]
pub enum Ready<S> {
    /// Bytes or an end arrived.
    Readable(Token, Readable),
    /// Output is possible again, or a connect has been decided.
    Writable(Token),
    /// A client came in on this listener.
    Accepted(usize, S, Option<SocketAddr>),
    /// An accept failed, on this listener.
    AcceptFailed(usize, io::Error),
    /// Watching ended without being asked to: it must be begun again, and an edge may have been missed.
    Unwatched(Token),
    /// A retired socket is closed.
    Closed(Token),
    /// The waker was used.
    Woken,
}

/// What is known about what arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readable {
    /// Bytes; a receive that brings less than it asked for has taken them all.
    Bytes,
    /// Behind them is what a receive may stop in front of and no further edge will come for: the end of the stream, an error,
    /// or an urgent mark. Read until nothing is there.
    More,
}
