//! A test's hand: the far end of one stream, a client or a target.

use super::link::Link;
use super::network::Network;
use crate::sys::address::Address;
use crate::timers::Time;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

/// The far end of a stream, as a test plays it. Nothing here waits: bytes written travel when turns are made, and a read
/// brings what has arrived.
#[derive(Clone)]
pub struct Hand {
    network: Rc<RefCell<Network>>,
    link: usize,
}

impl Hand {
    pub(super) fn new(network: Rc<RefCell<Network>>, link: usize) -> Hand {
        Hand { network, link }
    }

    /// Sends `bytes`, any amount; after [`Hand::shut`] or on a broken stream they are lost.
    pub fn write(&self, bytes: &[u8]) {
        self.network.borrow_mut().far_write(self.link, bytes);
    }

    /// Takes all that has arrived.
    pub fn read(&self) -> Vec<u8> {
        self.read_up_to(usize::MAX)
    }

    /// Takes up to `most` bytes of what has arrived.
    pub fn read_up_to(&self, most: usize) -> Vec<u8> {
        self.network.borrow_mut().far_read(self.link, most)
    }

    /// Says end of stream; reading goes on.
    pub fn shut(&self) {
        self.network.borrow_mut().far_shut(self.link);
    }

    /// Closes: says end of stream, and whatever comes from now on breaks the stream.
    pub fn close(&self) {
        self.network.borrow_mut().far_close(self.link);
    }

    /// Breaks the stream, for both ends.
    pub fn reset(&self) {
        self.network.borrow_mut().break_link(self.link);
    }

    /// Whether the other end has said its end and everything before it has been read.
    pub fn ended(&self) -> bool {
        let network = self.network.borrow();
        let pipe = &network.links[self.link].outward;
        pipe.ended && pipe.inbox.is_empty()
    }

    /// Whether the other end has closed its socket, whether or not that has been heard of here.
    pub fn is_left(&self) -> bool {
        let network = self.network.borrow();
        let Link { near, far, .. } = &network.links[self.link];
        far.met.is_some() && !near.open
    }

    /// Whether the stream broke: reset by either end, by mishap, or refused.
    pub fn is_broken(&self) -> bool {
        self.network.borrow().links[self.link].far.broken
    }

    /// Whether nothing will ever come here again, in one way or the other.
    pub fn is_over(&self) -> bool {
        self.is_broken() || self.ended()
    }

    /// Everything written here so far.
    pub fn written(&self) -> Vec<u8> {
        self.network.borrow().links[self.link].far.written.clone()
    }

    /// Everything read here so far.
    pub fn received(&self) -> Vec<u8> {
        self.network.borrow().links[self.link].far.read.clone()
    }

    /// When the other end took this stream up: a client's accept, a target's connect.
    pub fn met_at(&self) -> Option<Time> {
        self.network.borrow().links[self.link].far.met
    }

    /// Of a client: its address, as whoever accepts it sees it.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.network.borrow().links[self.link].near.client
    }

    /// Of a target: the address that was dialled.
    pub fn address(&self) -> Option<Address> {
        self.network.borrow().links[self.link].far.address.clone()
    }
}
