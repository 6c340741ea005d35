//! The engine: submits work to the kernel and brings completions back, one at a time.
//!
//! [`Engine`] is the contract a shard lives by and the code that keeps it; it is written once. What differs between
//! io_uring, mio and the simulator is a small layer of readiness and socket calls, the [`Kernel`] trait, implemented by
//! `ring`, `poll` and `sim`. The engine owns descriptors, what is in flight on them, and bytes the kernel has not taken
//! yet. It never knows what a session is and never looks at payload.

mod drive;
mod entry;
mod kernel;
mod real;
mod sends;
mod spin;
mod splice;

pub use drive::Engine;
pub use kernel::{Calls, Kernel, Readable, Ready};
pub use real::Real;
pub use spin::{Moved, Spin};

use crate::pool::Lease;
use crate::slab::{GENERATION_BITS, Key};
use std::io;
use std::net::SocketAddr;

/// Names one of the two sockets of a slot: slot, generation and lane in one word.
///
/// The low [`Token::SPARE_BITS`] bits are zero, so that an engine can carry the kind of a request next to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(u64);

/// Which of the two sockets of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// The accepted one.
    First = 0,
    /// The dialled one.
    Second = 1,
}

impl Token {
    /// Low bits that are always zero.
    pub const SPARE_BITS: u32 = 32 - GENERATION_BITS - 1;

    /// The token of `lane` in the slot of `key`.
    pub fn new(key: Key, lane: Lane) -> Token {
        debug_assert!(key.generation < 1 << GENERATION_BITS);
        let low = (key.generation << 1 | lane as u32) << Token::SPARE_BITS;
        Token(u64::from(key.index) << 32 | u64::from(low))
    }

    /// The token in a word, whatever its spare bits say.
    pub fn from_word(word: u64) -> Token {
        Token(word & !((1 << Token::SPARE_BITS) - 1))
    }

    /// As one word.
    pub fn word(self) -> u64 {
        self.0
    }

    /// The slot it belongs to.
    pub fn key(self) -> Key {
        Key { index: (self.0 >> 32) as u32, generation: (self.0 as u32) >> (Token::SPARE_BITS + 1) }
    }

    /// Which of the slot's sockets.
    pub fn lane(self) -> Lane {
        if self.0 >> Token::SPARE_BITS & 1 == 0 { Lane::First } else { Lane::Second }
    }

    /// Place in a table that has two entries a slot.
    fn place(self) -> usize {
        (self.key().index as usize) * 2 + self.lane() as usize
    }
}

/// What can be in flight on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// [`Engine::receive`]
    Receive,
    /// [`Engine::send`]
    Send,
    /// [`Engine::connect`]
    Connect,
}

/// What came back. Every submission is answered by exactly one completion that names it, but for sends of which
/// [`Engine::send_now`] says that they are done.
#[derive(Debug)]
pub enum Completion<S> {
    /// A client came in on this listener; its address is `None` on a Unix socket. The accept is spent and must be armed
    /// again.
    Accepted(usize, S, Option<SocketAddr>),
    /// The accept of this listener failed and is spent.
    AcceptFailed(usize, io::Error),
    /// A receive brought bytes, at least one. The lease is usually on the hot buffer: it must be sent, kept or dropped
    /// before the next completion is asked for. To [`Engine::receive_unseen`] it may be on a pipe.
    Received(Token, Lease),
    /// A receive found the end of the stream.
    Ended(Token),
    /// All of a send has been taken by the kernel.
    Sent(Token),
    /// Not an answer: a send that is stuck has made progress.
    Moved(Token),
    /// A connect succeeded.
    Connected(Token),
    /// The operation failed. After a failed connect the socket still has to be closed.
    Failed(Token, Operation, io::Error),
    /// The operation was cancelled; bytes of a send that were not taken are gone.
    Cancelled(Token, Operation),
    /// A close is done: the token may be used for a new socket.
    Closed(Token),
    /// Somebody used the [`crate::sys::wake::Waker`].
    Woken,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_keeps_key_and_lane_and_leaves_its_low_bits_free() {
        for index in [0, 1, 77, u32::MAX] {
            for generation in [0, 1, (1 << GENERATION_BITS) - 1] {
                for lane in [Lane::First, Lane::Second] {
                    let key = Key { index, generation };
                    let token = Token::new(key, lane);
                    assert_eq!((token.key(), token.lane()), (key, lane));
                    assert_eq!(token.word() & ((1 << Token::SPARE_BITS) - 1), 0);
                    assert_eq!(Token::from_word(token.word() | 0b101), token);
                }
            }
        }
    }
}
