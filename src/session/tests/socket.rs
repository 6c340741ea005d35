//! What a played session is played with: its sockets, and pipes past it.

use crate::pool::{Lease, Pool};
use std::collections::{BTreeMap, VecDeque};

/// A played socket, seen from the session.
#[derive(Default)]
pub struct Socket {
    pub open: bool,
    pub closing: bool,
    /// The most bytes that the receive in flight may bring.
    pub receiving: Option<usize>,
    /// It may bring them in a pipe.
    pub unseen: bool,
    pub sending: Option<Lease>,
    pub connecting: bool,
    /// Bytes that can be received, and how many have been.
    pub inbox: VecDeque<u8>,
    pub taken: usize,
    /// What comes behind the inbox: nothing yet, the end, or a reset.
    pub tail: Tail,
    /// It takes nothing: sends stay in flight.
    pub stuck: bool,
    /// Sends fail.
    pub deaf: bool,
    /// Bytes it has taken.
    pub got: Vec<u8>,
    pub shut: bool,
    /// The system finds out when the other end is gone.
    pub kept: bool,
    /// What was sent, in order: whether the end of the stream was to follow at once.
    pub sends: Vec<bool>,
    /// The end of the stream follows the send in flight.
    pub last: bool,
}

/// What comes behind the bytes that can be received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tail {
    #[default]
    Open,
    Fin,
    Reset,
}

impl Socket {
    /// Whether anything is in flight.
    pub fn busy(&self) -> bool {
        self.receiving.is_some() || self.sending.is_some() || self.connecting
    }

    /// It is closed, and what it has taken is kept for the case to see.
    pub fn reopen(&mut self) {
        let (got, sends) = (std::mem::take(&mut self.got), std::mem::take(&mut self.sends));
        *self = Socket { got, sends, taken: self.taken, ..Socket::default() };
    }
}

/// What lies in the pipes of a played engine.
#[derive(Default)]
pub struct Pipes {
    /// Receives whose bytes nobody has to see bring them in pipes.
    pub on: bool,
    bytes: BTreeMap<usize, VecDeque<u8>>,
}

impl Pipes {
    /// A lease with `bytes` in its pipe, if there is one to be had.
    pub fn fill(&mut self, pool: &Pool, bytes: &[u8]) -> Option<Lease> {
        while let Some(number) = pool.spoiled_pipe() {
            self.bytes.remove(&number);
        }
        let mut lease = pool.pipe()?;
        let pipe = self.bytes.entry(lease.pipe()?).or_default();
        assert!(pipe.is_empty(), "a pipe that is filled is empty");
        pipe.extend(bytes);
        lease.pipe_filled(bytes.len());
        Some(lease)
    }

    /// Takes the first `count` bytes off `lease`: of its run, then of its pipe.
    pub fn take(&mut self, lease: &mut Lease, count: usize) -> Vec<u8> {
        let run = count.min(lease.len());
        let mut taken = lease[..run].to_vec();
        lease.advance(run);
        if count > run {
            let pipe = lease.pipe().and_then(|number| self.bytes.get_mut(&number)).expect("it has a pipe");
            taken.extend(pipe.drain(..count - run));
            lease.pipe_drained(count - run);
        }
        taken
    }
}
