//! The poll kernel: readiness through mio (epoll, kqueue), for systems without io_uring.
//!
//! The same road as the ring kernel with another way to learn that a socket is ready. Owns the registry and which
//! listeners are worth an accept. It never holds a payload byte.

use crate::engine::{Kernel, Readable, Ready, Token};
use crate::limits::EVENTS_PER_TURN;
use crate::sys::address::Address;
use crate::sys::socket;
use crate::sys::wake::{WakeSource, Waker};
use mio::unix::SourceFd;
use mio::{Events, Interest};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// Kinds of sources, in the low bits of mio's token.
mod kind {
    pub const SOCKET: usize = 0;
    pub const LISTENER: usize = 1;
    pub const WAKE: usize = 2;
    pub const MASK: usize = 0x7f;
}

/// One shard's poller and its listeners.
pub struct Poll {
    poll: mio::Poll,
    events: Events,
    listeners: Vec<Listener>,
    wake: WakeSource,
    /// Closed since the last turn, to be reported in the next: nothing completes inside a submission.
    closed: Vec<Token>,
}

struct Listener {
    socket: Option<Arc<OwnedFd>>,
    /// An accept is wanted.
    armed: bool,
    /// Clients may be waiting: edges are reported once, so this holds until an accept finds nothing.
    waiting: bool,
}

impl Poll {
    /// A poller that accepts from `listeners` when asked to.
    pub fn new(listeners: Vec<Arc<OwnedFd>>) -> io::Result<Poll> {
        let poll = mio::Poll::new()?;
        let wake = WakeSource::new()?;
        let registry = poll.registry();
        registry.register(&mut SourceFd(&wake.descriptor()), mio::Token(kind::WAKE), Interest::READABLE)?;
        for (index, listener) in listeners.iter().enumerate() {
            let token = mio::Token(index << Token::SPARE_BITS | kind::LISTENER);
            registry.register(&mut SourceFd(&listener.as_raw_fd()), token, Interest::READABLE)?;
        }
        let listeners = listeners
            .into_iter()
            .map(|socket| Listener { socket: Some(socket), armed: false, waiting: true })
            .collect();
        Ok(Poll { poll, events: Events::with_capacity(EVENTS_PER_TURN), listeners, wake, closed: Vec::new() })
    }

    fn has_accept_to_try(&self) -> bool {
        self.listeners.iter().any(|listener| listener.armed && listener.waiting)
    }

    /// One accept for each listener that wants one and may have one.
    fn accept(&mut self, ready: &mut Vec<Ready<OwnedFd>>) {
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            let Some(socket) = listener.socket.as_ref().filter(|_| listener.armed && listener.waiting) else {
                continue;
            };
            match socket::accept(socket) {
                Ok(accepted) => {
                    let client = socket::remote(&accepted);
                    ready.push(Ready::Accepted(index, accepted, client));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    listener.waiting = false;
                    continue;
                }
                Err(error) => ready.push(Ready::AcceptFailed(index, error)),
            }
            listener.armed = false;
        }
    }
}

fn token_of(token: Token) -> mio::Token {
    mio::Token(token.word() as usize | kind::SOCKET)
}

impl Kernel for Poll {
    type Socket = OwnedFd;

    fn watch(&mut self, token: Token, socket: &OwnedFd) -> io::Result<()> {
        let fd = socket.as_raw_fd();
        let registry = self.poll.registry();
        match registry.register(&mut SourceFd(&fd), token_of(token), Interest::READABLE) {
            // A dialled socket is registered since its connect; being told again what is there is the wish.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                registry.reregister(&mut SourceFd(&fd), token_of(token), Interest::READABLE)
            }
            outcome => outcome,
        }
    }

    fn want_write(&mut self, token: Token, socket: &OwnedFd) -> io::Result<()> {
        let fd = socket.as_raw_fd();
        let both = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        match registry.reregister(&mut SourceFd(&fd), token_of(token), both) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                registry.register(&mut SourceFd(&fd), token_of(token), both)
            }
            outcome => outcome,
        }
    }

    fn retire(&mut self, token: Token, socket: OwnedFd) {
        // Closing the only descriptor of a socket takes it out of the poller; reports that are already waiting are
        // recognised as stale by their token.
        drop(socket);
        self.closed.push(token);
    }

    fn arm_accept(&mut self, index: usize) {
        self.listeners[index].armed = true;
    }

    fn close_listener(&mut self, index: usize) {
        if let Some(listener) = self.listeners[index].socket.take() {
            socket::stop_listening(&*listener);
            // The descriptor is shared by all shards, so it has to be taken out by hand; one that is out is out.
            let _ = self.poll.registry().deregister(&mut SourceFd(&listener.as_raw_fd()));
        }
    }

    fn turn(&mut self, wait: Option<Duration>, ready: &mut Vec<Ready<OwnedFd>>) -> io::Result<()> {
        ready.extend(self.closed.drain(..).map(Ready::Closed));
        let wait = if self.has_accept_to_try() || !ready.is_empty() { Some(Duration::ZERO) } else { wait };
        match self.poll.poll(&mut self.events, wait) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &self.events {
            let word = event.token().0;
            match word & kind::MASK {
                kind::LISTENER => self.listeners[word >> Token::SPARE_BITS].waiting = true,
                kind::WAKE => {
                    self.wake.clear();
                    ready.push(Ready::Woken);
                }
                _ => {
                    let token = Token::from_word(word as u64);
                    let ended = event.is_read_closed() || event.is_error();
                    if event.is_readable() || ended {
                        let what = if ended { Readable::End } else { Readable::Bytes };
                        ready.push(Ready::Readable(token, what));
                    }
                    if event.is_writable() || event.is_error() {
                        ready.push(Ready::Writable(token));
                    }
                }
            }
        }
        self.accept(ready);
        Ok(())
    }

    fn waker(&self) -> Waker {
        self.wake.waker()
    }

    fn receive(&mut self, socket: &OwnedFd, into: &mut [u8]) -> io::Result<usize> {
        socket::receive(socket, into)
    }

    fn send(&mut self, socket: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
        socket::send(socket, bytes)
    }

    fn connect(&mut self, address: &Address) -> io::Result<OwnedFd> {
        socket::connect(address)
    }

    fn connected(&mut self, socket: &OwnedFd) -> io::Result<()> {
        socket::connected(socket)
    }

    fn shut(&mut self, socket: &OwnedFd) {
        socket::shut(socket);
    }
}
