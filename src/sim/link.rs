//! One stream: two pipes of bytes, the near end that a kernel's user holds and the far end that a hand plays.
//!
//! Owns bytes and flags; what happens when is the network's.

use super::script::Behaviour;
use crate::engine::{Readable, Token};
use crate::sys::address::Address;
use crate::timers::Time;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// Which way a pipe leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// From the far end to the near one.
    Near,
    /// From the near end to the far one.
    Far,
}

/// A stream between a near and a far end.
pub(super) struct Link {
    /// Bytes towards the near end.
    pub inward: Pipe,
    /// Bytes towards the far end.
    pub outward: Pipe,
    pub near: Near,
    pub far: Far,
}

/// One direction: bytes on their way and bytes that have arrived.
pub(super) struct Pipe {
    pub wire: VecDeque<u8>,
    /// Most bytes on the wire before a send has to wait; a far end may exceed it.
    pub wire_max: usize,
    pub inbox: VecDeque<u8>,
    pub inbox_max: usize,
    /// The sender has said that it is done.
    pub ending: bool,
    /// The end has arrived, behind all bytes.
    pub ended: bool,
    /// A move is on the agenda.
    pub moving: bool,
    /// The stream is broken: nothing arrives any more.
    pub dead: bool,
}

/// How far the connecting of a link has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dial {
    /// A client is in the listen queue.
    Queued,
    /// A target has not answered.
    Pending,
    /// A target refused; the error waits to be taken.
    Refused,
    /// Bytes can flow.
    Up,
}

/// The end that a kernel's user holds.
pub(super) struct Near {
    pub dial: Dial,
    /// The socket is with the user, or was retired and is not closed yet.
    pub open: bool,
    pub retired: bool,
    /// It was given to the kernel, so dropping it without retiring is a leak.
    pub used: bool,
    pub token: Option<Token>,
    pub watched: bool,
    /// An edge that waits to be reported; more edges can still join it.
    pub edge: Option<Readable>,
    /// Write reports that were asked for and not given.
    pub wants: usize,
    pub shut: bool,
    /// The system finds out when the other end is gone.
    pub kept: bool,
    /// A splice to it does not block.
    pub unblocked: bool,
    /// Taken by whoever asks first, as `SO_ERROR` is.
    pub error: Option<i32>,
    pub client: Option<SocketAddr>,
}

/// The end that a hand or a script plays.
pub(super) struct Far {
    /// Of a target: where it was dialled.
    pub address: Option<Address>,
    /// When the stream came up.
    pub met: Option<Time>,
    pub behaviour: Behaviour,
    /// Closed for good: bytes that come break the stream.
    pub gone: bool,
    pub broken: bool,
    /// All that was ever written and read here.
    pub written: Vec<u8>,
    pub read: Vec<u8>,
}

impl Pipe {
    fn new(wire_max: usize, inbox_max: usize) -> Pipe {
        Pipe {
            wire: VecDeque::new(),
            wire_max,
            inbox: VecDeque::new(),
            inbox_max,
            ending: false,
            ended: false,
            moving: false,
            dead: false,
        }
    }

    /// How many bytes could arrive now.
    pub fn movable(&self) -> usize {
        self.wire.len().min(self.inbox_max.saturating_sub(self.inbox.len()))
    }

    /// Whether the end is the next thing to arrive.
    pub fn at_end(&self) -> bool {
        self.wire.is_empty() && self.ending && !self.ended
    }

    /// Whether a reader would find something: bytes, an end or a break.
    pub fn has_news(&self) -> bool {
        !self.inbox.is_empty() || self.ended || self.dead
    }

    /// Lets `count` bytes arrive.
    pub fn carry(&mut self, count: usize) {
        self.inbox.extend(self.wire.drain(..count));
    }

    /// Takes back what arrived behind the first `kept` bytes, as if it was still on its way.
    pub fn unarrive(&mut self, kept: usize) {
        for byte in self.inbox.drain(kept..).rev() {
            self.wire.push_front(byte);
        }
    }

    /// Ends all movement; what has arrived stays.
    pub fn kill(&mut self) {
        self.dead = true;
        self.wire.clear();
    }
}

impl Link {
    /// A link whose four buffers hold as much as `sizes` says: inward wire and inbox, outward wire and inbox.
    pub fn new(sizes: [usize; 4], dial: Dial, behaviour: Behaviour) -> Link {
        Link {
            inward: Pipe::new(sizes[0], sizes[1]),
            outward: Pipe::new(sizes[2], sizes[3]),
            near: Near {
                dial,
                open: false,
                retired: false,
                used: false,
                token: None,
                watched: false,
                edge: None,
                wants: 0,
                shut: false,
                kept: false,
                unblocked: false,
                error: None,
                client: None,
            },
            far: Far {
                address: None,
                met: None,
                behaviour,
                gone: false,
                broken: false,
                written: Vec::new(),
                read: Vec::new(),
            },
        }
    }

    pub fn pipe(&mut self, way: Way) -> &mut Pipe {
        match way {
            Way::Near => &mut self.inward,
            Way::Far => &mut self.outward,
        }
    }

    /// Whether a send at the near end would not have to wait: it takes bytes or it fails.
    pub fn is_writable(&self) -> bool {
        match self.near.dial {
            Dial::Queued | Dial::Pending => false,
            Dial::Refused => true,
            Dial::Up => self.outward.dead || self.outward.wire.len() < self.outward.wire_max,
        }
    }
}
