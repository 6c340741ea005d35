//! The whole shard on the simulated network: many kinds of bad days, and what must be true on each of them.
//!
//! A day is made from one seed: the odds of its misfortunes, what its target does, how much buffer memory there is, who
//! its clients are, what each of them does and when. Everything is played in virtual time by `sim::World`; nothing here
//! waits, and the same seed is the same day.
//!
//! # Who acts, and how
//! ```text
//! day     := target client{1..12} stop          the word to stop comes in the middle, or when all have acted
//! target  := echo | one address | a name with up to 3 addresses, or none, or a helper that is busy
//! address := one behaviour per dial: echoes, sinks, stalls, writes and ends, closes or resets after some bytes,
//!            refuses, never answers
//! client  := websocket | plain | nobody
//! websocket := upgrade [waits for the 101] (message | ping | pong | pause)* leaving
//! message := frame{1..4}, each masked, of any size up to what the day's buffers make worth while
//! leaving := close with a code, or without | shut | close the socket | reset | a broken rule | nothing at all
//! plain   := (GET | HEAD | POST | a head with a fault | half a head)*     pipelined, or one after the other
//! ```
//! A client reads all that comes, or little by little, or nothing.
//!
//! # Misfortunes
//! Those of [`websplice::sim::Odds`]: splits, delays, short receives and sends, `EAGAIN` and `EINTR` at any time, edges
//! for nothing, watches that end or fail, streams that break, accepts that fail, connects that are late or impossible;
//! helpers that take their time, are busy or know no name; and memory so short that receives have to wait.
//!
//! # What must be true
//! After every turn:
//! - the bytes a client got are well-formed: whole answers, or a 101 and then frames as a server may send them (unmasked,
//!   no reserved bits, shortest length, control frames short and whole, nothing behind the close frame);
//! - pongs answer pings, in order; a close code is one that something on this day can have caused;
//! - buffers in use stay within the ceiling and the small change of control frames.
//!
//! Every now and then, and at the end: the bytes a target got are a beginning of the payload its client sent, and the
//! payload a client got is a beginning of what its target wrote (of its own messages, with the echo target).
//!
//! At the end of a session: a client that closed in order and read on got its close frame back, and by then its target
//! all of the payload; a client whose target ended in order got all the target wrote. A client that never completes a
//! head is gone when its time is up. At the end of the day, which comes within its deadlines: no session, no socket and
//! no byte of buffer is left, nothing panicked, and nothing was dropped without being closed.
//!
//! # How to replay
//! `SIM_SEED=17 cargo test --test sim` plays one day aloud, every call and report with its moment; `SIM_SEEDS=100000`
//! plays that many days instead of the usual 256. A failure names its seed.

/// Those who make a day.
mod sim {
    pub mod client;
    pub mod day;
    pub mod desk;
    pub mod frame;
    pub mod reader;
}

use sim::day::Day;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Days that are played when nobody asks for another number.
const SEEDS: u64 = 256;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn every_day_ends_well() {
    if let Some(seed) = number("SIM_SEED") {
        Day::new(seed, true).play();
        return;
    }
    for seed in 0..number("SIM_SEEDS").unwrap_or(SEEDS) {
        let played = catch_unwind(AssertUnwindSafe(|| Day::new(seed, false).play()));
        assert!(played.is_ok(), "seed {seed} failed; replay: SIM_SEED={seed} cargo test --test sim");
    }
}

#[test]
fn a_day_is_the_same_every_time() {
    for seed in 0..16 {
        assert_eq!(Day::new(seed, false).play(), Day::new(seed, false).play(), "seed {seed}");
    }
}
