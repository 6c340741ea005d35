//! The simulated kernel: a network that exists in memory, with a clock of its own and misfortune by the seed.
//!
//! [`SimKernel`] is the third [`crate::engine::Kernel`]; [`World`] is the same network seen by a test, which plays
//! clients and targets through [`Hand`]s. Owns all streams, what is on its way in them, and the order in which things
//! happen; the same seed gives the same day, event for event ([`World::trace_hash`]). It asserts the rules that a user
//! of a kernel has to keep. It never opens a socket, reads a clock or draws real randomness.

mod dice;
mod faults;
mod hand;
mod kernel;
mod link;
mod network;
mod script;

pub use dice::{Dice, Odds};
pub use faults::Faults;
pub use hand::Hand;
pub use kernel::{SimKernel, SimPipe, SimSocket};
pub use script::Behaviour;

use crate::sys::address::Address;
use crate::timers::Time;
use network::Network;
use std::cell::RefCell;
use std::rc::Rc;

/// A simulated network, shared by the kernel that a shard uses and the hands of a test.
#[derive(Clone)]
pub struct World(Rc<RefCell<Network>>);

impl World {
    /// A world whose misfortunes and their frequencies are drawn from `seed`.
    pub fn new(seed: u64) -> World {
        let mut dice = Dice::new(seed);
        let odds = Odds::drawn(&mut dice);
        World(Rc::new(RefCell::new(Network::new(dice, odds))))
    }

    /// A world with these odds; what happens when is still drawn from `seed`.
    pub fn with_odds(seed: u64, odds: Odds) -> World {
        World(Rc::new(RefCell::new(Network::new(Dice::new(seed), odds))))
    }

    /// The kernel of this world; one is enough for a shard.
    pub fn kernel(&self) -> SimKernel {
        SimKernel::new(self.0.clone())
    }

    /// The virtual clock: how far turns have advanced it.
    pub fn now(&self) -> Time {
        self.0.borrow().now
    }

    /// The kind of day it is.
    pub fn odds(&self) -> Odds {
        self.0.borrow().odds.clone()
    }

    /// What has struck so far.
    pub fn faults(&self) -> Faults {
        self.0.borrow().faults
    }

    /// Dice for the test's own decisions, drawn from this world's.
    pub fn dice(&self) -> Dice {
        Dice::new(self.0.borrow_mut().dice.word())
    }

    /// A client connects to listener `index`. It may write at once and is accepted when an accept is armed.
    pub fn client_connects(&self, index: usize) -> Hand {
        let link = self.0.borrow_mut().client_connects(index);
        Hand::new(self.0.clone(), link)
    }

    /// From now on a dial of `address` meets the behaviours of `script`, one after the other; the last one stays. An
    /// address without a script refuses.
    ///
    /// # Panics
    /// If the script is empty.
    pub fn target(&self, address: Address, script: &[Behaviour]) {
        self.0.borrow_mut().set_target(address, script);
    }

    /// The far ends of all dials so far, in order.
    pub fn dialled(&self) -> Vec<Hand> {
        let dialled = self.0.borrow().dialled();
        dialled.into_iter().map(|link| Hand::new(self.0.clone(), link)).collect()
    }

    /// Uses the waker: `Woken` is reported at the next turn.
    pub fn wake(&self) {
        self.0.borrow_mut().wake();
    }

    /// Whether nothing will happen any more unless somebody does something.
    pub fn is_quiet(&self) -> bool {
        self.0.borrow().is_quiet()
    }

    /// Sockets that were accepted or opened and are not closed yet.
    pub fn open_sockets(&self) -> usize {
        self.0.borrow().open_sockets()
    }

    /// A number made of everything that was asked of the kernel and reported by it, in order.
    pub fn trace_hash(&self) -> u64 {
        self.0.borrow().trace.hash
    }

    /// Writes everything that happens from now on to standard error, for reading one seed's day.
    pub fn trace_aloud(&self) {
        self.0.borrow_mut().trace.aloud = true;
    }

    /// # Panics
    /// If a socket that was in use has been dropped without being retired.
    pub fn check(&self) {
        let network = self.0.borrow();
        assert!(network.leaked.is_empty(), "dropped without retire: {:?}", network.leaked);
    }
}

#[cfg(test)]
mod tests;
