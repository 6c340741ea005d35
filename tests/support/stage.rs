//! A whole shard on a simulated network, played by hand: turn by turn, in virtual time.
//!
//! Owns the shard, its world, and the way of what helpers say. It waits for nothing and judges nothing but that a shard ends
//! as it should.

use std::sync::Arc;
use std::time::Duration;
use websplice::config::Config;
use websplice::engine::{Engine, Kernel};
use websplice::limits::BUFFER_MEMORY_MIN;
use websplice::observe::log::Log;
use websplice::pool::Pool;
use websplice::session::job::{Job, Verdict};
use websplice::shard::balance::Balance;
use websplice::shard::mailbox::{Mailbox, Note};
use websplice::shard::sources::Sources;
use websplice::shard::tap::Taps;
use websplice::shard::{Setup, Shard};
use websplice::sim::{Odds, SimKernel, World};

/// Turns in which anything on a stage is over.
pub const TURNS_MAX: usize = 1_000;

/// The shard and its world.
pub struct Stage {
    pub world: World,
    pub shard: Shard<SimKernel>,
    mailbox: Mailbox,
}

impl Stage {
    /// A shard with one listener, whose helpers answer each job at once, with `verdict`.
    pub fn new(config: Config, odds: Odds, verdict: fn(Job) -> Verdict) -> Stage {
        let world = World::with_odds(5, odds);
        let mut engine = Engine::new(world.kernel(), Pool::new(4 * BUFFER_MEMORY_MIN));
        let mailbox = Mailbox::new(engine.kernel().waker());
        let (notes, waker) = (mailbox.clone(), world.clone());
        let setup = Setup {
            number: 0,
            listeners: 1,
            log: Log::silent(),
            balance: Balance::new(1, config.sessions_max.expect("a number")),
            sources: Sources::default(),
            config: Arc::new(config),
            shelf: None,
            taps: Taps::default(),
            mailbox: mailbox.clone(),
            desk: Box::new(move |key, job| {
                notes.put(Note::Verdict(key, verdict(job)));
                waker.wake();
            }),
        };
        Stage { shard: Shard::new(engine, setup), world, mailbox }
    }

    /// One turn, of a millisecond at most.
    pub fn turn(&mut self) {
        let world = self.world.clone();
        self.shard.turn(Some(Duration::from_millis(1)), || (world.now(), 1_700_000_000)).expect("a calm day");
    }

    /// Stops the shard, whose clients and targets have gone; it is done in time, and nothing is left.
    pub fn stop(mut self) {
        self.mailbox.put(Note::Stop);
        self.world.wake();
        for _ in 0..TURNS_MAX {
            if self.shard.is_done() && self.world.open_sockets() == 0 {
                assert_eq!(self.shard.counters().panics, 0);
                return;
            }
            self.turn();
        }
        panic!("{} sessions are left", self.shard.sessions());
    }
}
