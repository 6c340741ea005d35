//! The calls of a kernel on the simulated network, with the misfortunes that strike calls.
//!
//! Keeps the promises of [`Kernel`] to the letter and no more: whatever that contract leaves open happens here sometimes.
//! A short receive, for one, leaves nothing behind: the rest was "not there yet" and arrives with an edge of its own,
//! unless the end has arrived, when it is the reader's business to read on.

use super::link::{Dial, Way};
use super::network::{Event, Network, Report};
use crate::engine::{Calls, Kernel, Moved, Readable, Ready, Spin, Token};
use crate::sys::address::Address;
use crate::sys::wake::Waker;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// The simulated kernel.
pub struct SimKernel {
    network: Rc<RefCell<Network>>,
    spin: Spin,
}

/// A simulated pipe.
#[derive(Debug, Default)]
pub struct SimPipe(RefCell<VecDeque<u8>>);

/// The near end of a simulated stream.
pub struct SimSocket {
    network: Rc<RefCell<Network>>,
    link: usize,
}

impl SimKernel {
    pub(super) fn new(network: Rc<RefCell<Network>>) -> SimKernel {
        SimKernel { network, spin: Spin::default() }
    }

    /// What would be made of the turns that it was told of. Nobody sleeps here, so it stays as it is unless it is used.
    pub fn spin(&mut self) -> &mut Spin {
        &mut self.spin
    }

    fn socket(&self, link: usize) -> SimSocket {
        SimSocket { network: self.network.clone(), link }
    }
}

impl fmt::Debug for SimSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimSocket({})", self.link)
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        // While a failed test unwinds the network may be borrowed; then nobody asks any more.
        let Ok(mut network) = self.network.try_borrow_mut() else { return };
        let near = &network.links[self.link].near;
        if !near.retired && near.open {
            if near.used {
                network.leaked.push(self.link);
            }
            network.links[self.link].near.retired = true;
            network.close_near(self.link);
        }
    }
}

impl Network {
    /// Asserts that `token` and `link` belong to each other and to nobody else.
    fn claim(&mut self, token: Token, link: usize) {
        let near = &mut self.links[link].near;
        assert!(near.open && !near.retired, "a retired socket is left alone");
        assert!(near.token.is_none_or(|known| known == token), "a socket has one token");
        near.token = Some(token);
        near.used = true;
        let owner = *self.tokens.entry(token.word()).or_insert(link);
        assert_eq!(owner, link, "a token is of one socket until its close is reported");
    }

    fn watch(&mut self, token: Token, link: usize) -> io::Result<()> {
        self.note(format_args!("> watch {token:?} link {link}"));
        if self.dice.chance(self.odds.watch_fails) {
            return Err(io::Error::from_raw_os_error(libc::ENOMEM));
        }
        self.claim(token, link);
        let pipe = &self.links[link].inward;
        let (news, ended) = (pipe.has_news(), pipe.ended || pipe.dead);
        let near = &mut self.links[link].near;
        assert!(!near.watched, "a socket is watched once at a time");
        near.watched = true;
        if news {
            self.edge(link, if ended { Readable::More } else { Readable::Bytes });
        }
        Ok(())
    }

    fn want_write(&mut self, token: Token, link: usize) {
        self.claim(token, link);
        self.links[link].near.wants += 1;
        self.offer_write(link);
    }

    fn receive(&mut self, link: usize, into: &mut [u8]) -> io::Result<usize> {
        if self.dice.chance(self.odds.interrupt) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if self.links[link].near.dial != Dial::Up {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let (again, short) = (self.dice.chance(self.odds.again), self.dice.chance(self.odds.short_receive));
        let there = self.links[link].inward.inbox.len();
        let mut count = there.min(into.len());
        if short && count > 1 {
            count = self.dice.between(1, count - 1);
        }
        let open_ended = {
            let pipe = &self.links[link].inward;
            !pipe.ended && !pipe.dead
        };
        if there > 0 && open_ended {
            let kept = if again { 0 } else { count };
            if kept < into.len() && kept < there {
                self.links[link].inward.unarrive(kept);
                self.set_moving(link, Way::Near);
                count = kept;
            }
        }
        if count == 0 {
            return self.nothing_received(link, into.len());
        }
        let pipe = &mut self.links[link].inward;
        for (to, byte) in into.iter_mut().zip(pipe.inbox.drain(..count)) {
            *to = byte;
        }
        self.set_moving(link, Way::Near);
        Ok(count)
    }

    fn nothing_received(&mut self, link: usize, asked: usize) -> io::Result<usize> {
        assert!(asked > 0, "a receive asks for something, or its 0 would look like an end");
        if let Some(error) = self.links[link].near.error.take() {
            return Err(io::Error::from_raw_os_error(error));
        }
        let pipe = &self.links[link].inward;
        if pipe.ended || pipe.dead { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    /// A pipe has fewer places than bytes: what it does not take stays where it has arrived, without an edge.
    fn splice_in(&mut self, link: usize, pipe: &SimPipe, most: usize) -> io::Result<usize> {
        if self.dice.chance(self.odds.splice_fails) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        assert!(pipe.0.borrow().is_empty(), "a pipe that is filled is empty");
        let there = self.links[link].inward.inbox.len();
        let full = there > 1 && self.dice.chance(self.odds.short_receive);
        let places = if full { self.dice.between(1, there - 1) } else { most.max(1) };
        let mut bytes = vec![0; most.min(places)];
        let count = self.receive(link, &mut bytes)?;
        self.faults.splices += usize::from(count > 0);
        pipe.0.borrow_mut().extend(&bytes[..count]);
        Ok(count)
    }

    fn splice_out(&mut self, pipe: &SimPipe, link: usize, most: usize) -> io::Result<usize> {
        assert!(self.links[link].near.unblocked, "a splice must not block");
        let mut pipe = pipe.0.borrow_mut();
        assert_eq!(pipe.len(), most, "all that is in a pipe is asked for");
        let count = self.send(link, pipe.make_contiguous(), false)?;
        pipe.drain(..count);
        Ok(count)
    }

    fn send(&mut self, link: usize, bytes: &[u8], more: bool) -> io::Result<usize> {
        if self.dice.chance(self.odds.interrupt) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let (again, short) = (self.dice.chance(self.odds.again), self.dice.chance(self.odds.short_send));
        let near = &mut self.links[link].near;
        if near.dial != Dial::Up {
            return Err(io::ErrorKind::NotConnected.into());
        }
        if let Some(error) = near.error.take() {
            return Err(io::Error::from_raw_os_error(error));
        }
        if near.shut || self.links[link].outward.dead {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let pipe = &self.links[link].outward;
        let mut count = bytes.len().min(pipe.wire_max.saturating_sub(pipe.wire.len()));
        if again || (count == 0 && !bytes.is_empty()) {
            // What was held back for more goes when more cannot come.
            self.set_moving(link, Way::Far);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if short && count > 1 {
            count = self.dice.between(1, count - 1);
        }
        self.faults.half_closes[0] += usize::from(self.links[link].inward.ended && count > 0);
        self.links[link].outward.wire.extend(&bytes[..count]);
        // Bytes wait for what was announced behind them, unless earlier ones are on their way.
        if !more || count < bytes.len() {
            self.set_moving(link, Way::Far);
        }
        Ok(count)
    }

    fn connected(&mut self, link: usize) -> io::Result<()> {
        let near = &mut self.links[link].near;
        assert!(near.dial != Dial::Pending, "a connect is asked about when it has been decided");
        match near.error.take() {
            Some(error) => Err(io::Error::from_raw_os_error(error)),
            None => Ok(()),
        }
    }
}

impl Calls for SimKernel {
    type Socket = SimSocket;
    type Pipe = SimPipe;

    /// All that is simulated are sockets of TCP.
    fn is_local(&self, _: &SimSocket) -> bool {
        false
    }

    fn receive(&mut self, socket: &SimSocket, into: &mut [u8]) -> io::Result<usize> {
        let mut network = self.network.borrow_mut();
        let outcome = network.receive(socket.link, into);
        network.note(format_args!("> receive link {} up to {}: {outcome:?}", socket.link, into.len()));
        outcome
    }

    fn has_arrived(&mut self, socket: &SimSocket) -> bool {
        let mut network = self.network.borrow_mut();
        let arrived = !network.links[socket.link].inward.inbox.is_empty();
        network.note(format_args!("> has arrived link {}: {arrived}", socket.link));
        arrived
    }

    fn send(&mut self, socket: &SimSocket, bytes: &[u8], more: bool) -> io::Result<usize> {
        let mut network = self.network.borrow_mut();
        let outcome = network.send(socket.link, bytes, more);
        network.note(format_args!("> send link {} of {}: {outcome:?}", socket.link, bytes.len()));
        outcome
    }

    fn pipe(&mut self, _: usize) -> io::Result<SimPipe> {
        let mut network = self.network.borrow_mut();
        let fails = network.odds.pipe_fails;
        let outcome = match network.dice.chance(fails) {
            true => Err(io::Error::from_raw_os_error(libc::EMFILE)),
            false => Ok(SimPipe::default()),
        };
        network.note(format_args!("> pipe: {}", outcome.is_ok()));
        outcome
    }

    fn splice_in(&mut self, socket: &SimSocket, pipe: &SimPipe, most: usize) -> io::Result<usize> {
        let mut network = self.network.borrow_mut();
        let outcome = network.splice_in(socket.link, pipe, most);
        network.note(format_args!("> splice in link {} up to {most}: {outcome:?}", socket.link));
        outcome
    }

    fn unblock(&mut self, socket: &SimSocket) -> io::Result<()> {
        self.network.borrow_mut().links[socket.link].near.unblocked = true;
        Ok(())
    }

    fn splice_out(&mut self, pipe: &SimPipe, socket: &SimSocket, most: usize) -> io::Result<usize> {
        let mut network = self.network.borrow_mut();
        let outcome = network.splice_out(pipe, socket.link, most);
        network.note(format_args!("> splice out link {} of {most}: {outcome:?}", socket.link));
        outcome
    }

    fn keep(&mut self, socket: &SimSocket) {
        let mut network = self.network.borrow_mut();
        network.note(format_args!("> keep link {}", socket.link));
        let near = &mut network.links[socket.link].near;
        assert!(!std::mem::replace(&mut near.kept, true), "kept twice");
    }

    fn shut(&mut self, socket: &SimSocket) {
        let mut network = self.network.borrow_mut();
        network.note(format_args!("> shut link {}", socket.link));
        network.links[socket.link].near.shut = true;
        network.links[socket.link].outward.ending = true;
        network.set_moving(socket.link, Way::Far);
    }
}

impl Kernel for SimKernel {
    fn watch(&mut self, token: Token, socket: &SimSocket) -> io::Result<()> {
        self.network.borrow_mut().watch(token, socket.link)
    }

    fn want_write(&mut self, token: Token, socket: &SimSocket) -> io::Result<()> {
        let mut network = self.network.borrow_mut();
        network.note(format_args!("> want_write {token:?} link {}", socket.link));
        network.want_write(token, socket.link);
        Ok(())
    }

    fn retire(&mut self, token: Token, socket: SimSocket, wanted: bool) {
        let mut network = self.network.borrow_mut();
        assert!(wanted || network.links[socket.link].near.wants == 0, "a write report that is owed is known");
        network.note(format_args!("> retire {token:?} link {}", socket.link));
        network.claim(token, socket.link);
        network.links[socket.link].near.retired = true;
        network.plan(Event::Close(socket.link));
    }

    fn arm_accept(&mut self, index: usize) {
        let mut network = self.network.borrow_mut();
        network.note(format_args!("> arm_accept {index}"));
        let listener = network.listener(index);
        assert!(!listener.armed, "an accept is armed once at a time");
        listener.armed = !listener.closed;
        network.set_accepting(index);
    }

    fn accept(&mut self, index: usize) -> io::Result<(SimSocket, Option<SocketAddr>)> {
        let mut network = self.network.borrow_mut();
        let outcome = network.accept_one(index);
        network.note(format_args!("> accept {index}: {outcome:?}"));
        match outcome {
            Ok(Some(link)) => Ok((self.socket(link), network.links[link].near.client)),
            Ok(None) => Err(io::ErrorKind::WouldBlock.into()),
            Err(error) => Err(io::Error::from_raw_os_error(error)),
        }
    }

    fn close_listener(&mut self, index: usize) {
        let mut network = self.network.borrow_mut();
        network.note(format_args!("> close_listener {index}"));
        network.listener(index).closed = true;
    }

    fn turn(&mut self, wait: Option<Duration>, ready: &mut Vec<Ready<SimSocket>>) -> io::Result<()> {
        let mut network = self.network.borrow_mut();
        network.turn(wait);
        let reports = std::mem::take(&mut network.reports);
        ready.extend(reports.into_iter().map(|report| match report {
            Report::Readable(token, what) => Ready::Readable(token, what),
            Report::Writable(token) => Ready::Writable(token),
            Report::Unwatched(token) => Ready::Unwatched(token),
            Report::Closed(token) => Ready::Closed(token),
            Report::Accepted(index, link) => {
                Ready::Accepted(index, self.socket(link), network.links[link].near.client)
            }
            Report::AcceptFailed(index, error) => {
                Ready::AcceptFailed(index, io::Error::from_raw_os_error(error))
            }
            Report::Woken => Ready::Woken,
        }));
        Ok(())
    }

    fn moved(&mut self, moved: Moved) {
        self.spin.moved(moved);
    }

    fn waker(&self) -> Waker {
        Waker::silent()
    }

    fn connect(&mut self, token: Token, address: &Address) -> io::Result<SimSocket> {
        let mut network = self.network.borrow_mut();
        network.note(format_args!("> connect {address:?}"));
        let fails = network.odds.connect_fails;
        if network.dice.chance(fails) {
            return Err(io::Error::from_raw_os_error(libc::ENETUNREACH));
        }
        let link = network.dial(address);
        network.want_write(token, link);
        Ok(self.socket(link))
    }

    fn connected(&mut self, token: Token, socket: &SimSocket) -> io::Result<()> {
        let mut network = self.network.borrow_mut();
        let outcome = network.connected(socket.link).and_then(|()| network.watch(token, socket.link));
        network.note(format_args!("> connected link {}: {outcome:?}", socket.link));
        outcome
    }
}
