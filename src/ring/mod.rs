//! The io_uring kernel: readiness through one ring per shard (Linux 6.1 and later).
//!
//! The ring delivers polls; bytes move, clients are accepted and sockets closed by plain non-blocking calls, which measured
//! cheaper than requests for everything but the smallest messages. Nothing that the kernel could write to is ever lent to
//! it, so dropping the ring is always sound. Must be created, used and dropped on one thread (`SINGLE_ISSUER`).

#![expect(unsafe_code, reason = "requests are handed to the kernel as raw entries")]

mod setup;

pub use setup::{Refusal, error_name, refusal_of, supported};

use crate::engine::{Kernel, Moved, Readable, Ready, Real, Spin, Token};
use crate::sys::address::Address;
use crate::sys::socket::{self, Stream};
use crate::sys::wake::{WakeSource, Waker};
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

/// Kinds of requests, in the low bits of their user data, beside a token or the number of a listener.
mod kind {
    pub const WATCH: u64 = 0;
    pub const WRITE: u64 = 1;
    pub const IGNORE: u64 = 2;
    pub const ACCEPT: u64 = 3;
    pub const WAKE: u64 = 4;
    pub const MASK: u64 = 0x7f;
}
const _: () = assert!(kind::MASK == (1 << Token::SPARE_BITS) - 1);

const READ_EVENTS: u32 = (libc::POLLIN | libc::POLLRDHUP) as u32;
const WRITE_EVENTS: u32 = libc::POLLOUT as u32;
/// Of several shards that wait at one listener only one is woken for a client.
const ACCEPT_EVENTS: u32 = libc::POLLIN as u32 | libc::EPOLLEXCLUSIVE as u32;
/// Completions for which a wait that gathers ends before its time.
const GATHERED: usize = 64;
const END_EVENTS: i32 = (libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) as i32;

/// One shard's ring and its listeners.
pub struct Ring {
    ring: IoUring,
    listeners: Vec<Option<Arc<socket::Listener>>>,
    wake: WakeSource,
    /// Closed since the last turn, to be reported in the next: nothing completes inside a submission.
    closed: Vec<Token>,
    /// Whose write reports of this turn told of an error too: a connect that was decided without one went well.
    failing: Vec<Token>,
    spin: Spin,
}

impl Ring {
    /// A ring on this thread, accepting from `listeners` when asked to.
    pub fn new(listeners: Vec<Arc<socket::Listener>>) -> io::Result<Ring> {
        let mut ring = Ring {
            ring: setup::build()?,
            listeners: listeners.into_iter().map(Some).collect(),
            wake: WakeSource::new()?,
            closed: Vec::new(),
            failing: Vec::new(),
            spin: Spin::default(),
        };
        ring.watch_wake();
        Ok(ring)
    }

    fn watch_wake(&mut self) {
        let poll = opcode::PollAdd::new(Fd(self.wake.descriptor()), libc::POLLIN as u32).multi(true);
        self.push(&[poll.build().user_data(kind::WAKE)]);
    }

    /// Queues `entries`, all of them in the same submission.
    fn push(&mut self, entries: &[squeue::Entry]) {
        {
            let queue = self.ring.submission();
            if queue.capacity() - queue.len() < entries.len() {
                drop(queue);
                // The kernel takes all that is queued; what it cannot do shows as a failed completion, so the only
                // error left is a full completion queue, and that is emptied at every turn.
                let _ = self.ring.submit();
            }
        }
        // SAFETY: the requests are polls and cancels, which refer to descriptors by number and to no memory at all. Nothing
        // has to outlive the call.
        unsafe { self.ring.submission().push_multiple(entries) }.expect("a submitted queue has room");
    }

    /// Submits and waits; errors that only mean "look at the completions" are none.
    fn enter(&mut self, wait: Option<Duration>) -> io::Result<()> {
        let outcome = match wait {
            Some(Duration::ZERO) => {
                let queue = self.ring.submission();
                if queue.is_empty() && !queue.taskrun() && !queue.cq_overflow() {
                    return Ok(());
                }
                drop(queue);
                self.ring.submit()
            }
            _ if !self.ring.completion().is_empty() || self.look() => self.ring.submit(),
            wait => {
                // Linux 6.12 and later.
                let gather = self.spin.gather(wait).filter(|_| self.ring.params().is_feature_min_timeout());
                let ring = &mut self.ring;
                self.spin.sleep(|| match wait {
                    Some(wait) => sleep(ring, SubmitArgs::new().timespec(&Timespec::from(wait)), gather),
                    None => sleep(ring, SubmitArgs::new(), gather),
                })
            }
        };
        match outcome {
            Ok(_) => Ok(()),
            Err(error) => match error.raw_os_error() {
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
                _ => Err(error),
            },
        }
    }

    /// Looks for completions for a moment, if that pays just now.
    fn look(&mut self) -> bool {
        let ring = &mut self.ring;
        if !ring.submission().is_empty() {
            return false;
        }
        self.spin.look(|| ring.submission().taskrun() || !ring.completion().is_empty())
    }

    fn report(&mut self, entry: &cqueue::Entry, ready: &mut Vec<Ready<Stream>>) {
        let (word, result) = (entry.user_data(), entry.result());
        let token = Token::from_word(word);
        let more = cqueue::more(entry.flags());
        match word & kind::MASK {
            kind::WATCH if result >= 0 => {
                if result & !WRITE_EVENTS.cast_signed() != 0 {
                    let what = if result & END_EVENTS != 0 { Readable::More } else { Readable::Bytes };
                    ready.push(Ready::Readable(token, what));
                }
                if result & WRITE_EVENTS.cast_signed() != 0 {
                    self.writable(token, result, ready);
                }
                if !more {
                    ready.push(Ready::Unwatched(token));
                }
            }
            kind::WATCH if result != -libc::ECANCELED => ready.push(Ready::Unwatched(token)),
            kind::WRITE if result != -libc::ECANCELED => self.writable(token, result, ready),
            kind::ACCEPT if result >= 0 => {
                let index = listener_of(word);
                match self.accept(index) {
                    Ok((socket, client)) => ready.push(Ready::Accepted(index, socket, client)),
                    // Another shard was quicker.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.arm_accept(index),
                    Err(error) => ready.push(Ready::AcceptFailed(index, error)),
                }
            }
            kind::ACCEPT if result != -libc::ECANCELED => {
                ready.push(Ready::AcceptFailed(listener_of(word), io::Error::from_raw_os_error(-result)));
            }
            kind::WAKE => {
                self.wake.clear();
                if !more {
                    self.watch_wake();
                }
                ready.push(Ready::Woken);
            }
            _ => {}
        }
    }

    /// Reports that output is possible again, or that a connect has been decided, by a poll that ended with `result`.
    fn writable(&mut self, token: Token, result: i32, ready: &mut Vec<Ready<Stream>>) {
        if result < 0 || result & END_EVENTS != 0 {
            self.failing.push(token);
        }
        ready.push(Ready::Writable(token));
    }
}

/// Submits, and waits for one completion, or for what comes within `gather` if that is more.
fn sleep(ring: &IoUring, args: SubmitArgs<'_, '_>, gather: Option<Duration>) -> io::Result<usize> {
    match gather {
        None => ring.submitter().submit_with_args(1, &args),
        Some(gather) => {
            ring.submitter().submit_with_args(GATHERED, &args.min_wait_usec(gather.subsec_micros()))
        }
    }
}

/// Submits a request that does nothing and takes its completion.
fn round_trip(ring: &mut IoUring) -> io::Result<()> {
    let nop = opcode::Nop::new().build();
    // SAFETY: a NOP refers to no memory and no descriptor.
    unsafe { ring.submission().push(&nop) }.expect("a new ring has room");
    ring.submit_and_wait(1)?;
    match ring.completion().next() {
        Some(entry) if entry.result() >= 0 => Ok(()),
        Some(entry) => Err(io::Error::from_raw_os_error(-entry.result())),
        None => Err(io::Error::from(io::ErrorKind::InvalidInput)),
    }
}

fn accept_word(index: usize) -> u64 {
    (index as u64) << Token::SPARE_BITS | kind::ACCEPT
}

fn listener_of(accept_word: u64) -> usize {
    (accept_word >> Token::SPARE_BITS) as usize
}

impl Real for Ring {}

impl Kernel for Ring {
    fn watch(&mut self, token: Token, socket: &Stream) -> io::Result<()> {
        let events = if socket.is_quiet() { READ_EVENTS | WRITE_EVENTS } else { READ_EVENTS };
        let poll = opcode::PollAdd::new(Fd(socket.as_raw_fd()), events).multi(true);
        self.push(&[poll.build().user_data(token.word() | kind::WATCH)]);
        Ok(())
    }

    fn want_write(&mut self, token: Token, socket: &Stream) -> io::Result<()> {
        if socket.is_quiet() {
            return Ok(());
        }
        let poll = opcode::PollAdd::new(Fd(socket.as_raw_fd()), WRITE_EVENTS);
        self.push(&[poll.build().user_data(token.word() | kind::WRITE)]);
        Ok(())
    }

    fn retire(&mut self, token: Token, socket: Stream, wanted: bool) {
        // A poll that is still armed holds the socket open and keeps its end of stream from going out. Each is found by its
        // own word: to look for whatever is armed on a descriptor, the kernel walks all there is. To remove a poll would be
        // cheaper still, but one that was woken a moment ago refuses that and stays, while a cancel marks it.
        let cancel = |kind| {
            let cancel = opcode::AsyncCancel::new(token.word() | kind).build().user_data(kind::IGNORE);
            cancel.flags(squeue::Flags::SKIP_SUCCESS)
        };
        match wanted && !socket.is_quiet() {
            false => self.push(&[cancel(kind::WATCH)]),
            true => self.push(&[cancel(kind::WATCH), cancel(kind::WRITE)]),
        }
        // The number may be another socket's before the polls are gone: they are held by their word, and hold the old one.
        drop(socket);
        self.closed.push(token);
    }

    fn arm_accept(&mut self, index: usize) {
        let Some(listener) = &self.listeners[index] else { return };
        let poll = opcode::PollAdd::new(Fd(listener.as_raw_fd()), ACCEPT_EVENTS);
        self.push(&[poll.build().user_data(accept_word(index))]);
    }

    fn accept(&mut self, index: usize) -> io::Result<(Stream, Option<SocketAddr>)> {
        self.listeners[index].as_ref().map_or_else(|| Err(io::ErrorKind::WouldBlock.into()), socket::accept)
    }

    fn close_listener(&mut self, index: usize) {
        if let Some(listener) = self.listeners[index].take() {
            listener.stop();
            let cancel = opcode::AsyncCancel::new(accept_word(index)).build();
            self.push(&[cancel.user_data(kind::IGNORE)]);
        }
    }

    fn turn(&mut self, wait: Option<Duration>, ready: &mut Vec<Ready<Stream>>) -> io::Result<()> {
        ready.extend(self.closed.drain(..).map(Ready::Closed));
        self.failing.clear();
        let wait = if ready.is_empty() { wait } else { Some(Duration::ZERO) };
        self.enter(wait)?;
        loop {
            let Some(entry) = self.ring.completion().next() else { return Ok(()) };
            self.report(&entry, ready);
        }
    }

    fn moved(&mut self, moved: Moved) {
        self.spin.moved(moved);
    }

    fn waker(&self) -> Waker {
        self.wake.waker()
    }

    fn connect(&mut self, token: Token, address: &Address) -> io::Result<Stream> {
        let socket = socket::connect(address)?;
        self.want_write(token, &socket)?;
        self.watch(token, &socket)?;
        Ok(socket)
    }

    fn connected(&mut self, token: Token, socket: &Stream) -> io::Result<()> {
        if self.failing.contains(&token) { socket::connected(socket) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Calls, Lane};
    use crate::slab::Key;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::time::Instant;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn pair() -> (TcpStream, Stream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let far = listener.accept().unwrap().0;
        far.set_write_timeout(Some(PATIENCE)).unwrap();
        (far, Stream::new(near.into(), false))
    }

    /// A socket that is watched is closed, in one submission with whatever `before` does to it: the far end must see that.
    fn closes(before: impl Fn(&mut Ring, &Stream, &mut TcpStream), turn_first: bool) {
        let mut ring = Ring::new(Vec::new()).unwrap();
        let token = Token::new(Key { index: 0, generation: 0 }, Lane::First);
        let (mut far, near) = pair();
        let mut ready = Vec::new();
        ring.watch(token, &near).unwrap();
        if turn_first {
            ring.turn(Some(Duration::ZERO), &mut ready).unwrap();
        }
        before(&mut ring, &near, &mut far);
        ring.retire(token, near, false);
        while !ready.iter().any(|it| matches!(it, Ready::Closed(_))) {
            ring.turn(Some(PATIENCE), &mut ready).unwrap();
        }
        // What is still queued for the poll is worked off in the turns that follow.
        ring.turn(Some(Duration::from_millis(1)), &mut ready).unwrap();
        // A socket that something holds says neither its end nor a reset. And one whose end has been said before it was
        // closed answers what comes now with a reset only when it is really gone.
        let until = Instant::now() + PATIENCE;
        let gone = loop {
            match far.write_all(b"x") {
                Ok(()) => assert!(Instant::now() < until, "the socket is still held"),
                Err(error) => break error.kind(),
            }
        };
        assert!(matches!(gone, io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset), "{gone}");
    }

    #[test]
    fn a_socket_that_was_woken_a_moment_ago_is_closed_all_the_same() {
        let wake = |_: &mut Ring, _: &Stream, far: &mut TcpStream| {
            far.write_all(b"wake").unwrap();
        };
        for turn_first in [true, false] {
            closes(wake, turn_first);
            closes(|_, _, _| {}, turn_first);
        }
    }

    #[test]
    fn a_socket_that_is_shut_and_closed_in_one_turn_is_gone() {
        for turn_first in [true, false] {
            closes(|ring, near, _| ring.shut(near), turn_first);
            let both = |ring: &mut Ring, near: &Stream, far: &mut TcpStream| {
                far.write_all(b"wake").unwrap();
                let mut bytes = [0; 16];
                ring.receive(near, &mut bytes).unwrap();
                ring.shut(near);
            };
            closes(both, turn_first);
        }
    }
}
