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
//! websocket := upgrade [waits for the 101] (message | ping | pong | pause | new keys)* leaving
//! message := frame{1..4}, each masked, of any size up to what the day's buffers make worth while
//! leaving := close with a code, or without | shut | close the socket | reset | a broken rule | nothing at all
//! plain   := (GET | HEAD | POST | a head with a fault | half a head)*     pipelined, or one after the other
//! ```
//! A client reads all that comes, or little by little, or nothing. On three days of ten a token leads to the target, on half of those
//! with a framing that cuts messages: who knows tokens lets a request pass, knows nothing of it, is busy, or answers when nobody waits any more.
//!
//! # TLS
//! Three days of four have TLS: towards clients, towards the target, or both. Clients and targets are then real rustls
//! connections whose bytes travel through the network like any others, in both versions, with and without client
//! certificates, with tickets, with and without a retried hello, with records from 32 bytes up.
//! ```text
//! client  := without TLS, on the same port (served, redirected, refused or closed, as the day will have it)
//!          | in order | cut somewhere in its hello, or something that is no hello | one that cannot agree
//! cut     := silence | shut | reset | noise | an alert | a record longer than any
//! leaving := as above, with or without close_notify, or with a record that nobody encrypted
//! target  := in order | without close_notify | without end of stream behind it | with a certificate that is not to be
//!            accepted | cut somewhere in its handshake | one that speaks no TLS
//! ```
//!
//! # Misfortunes
//! Those of [`websplice::sim::Odds`]: splits, delays, short receives and sends, `EAGAIN` and `EINTR` at any time, edges
//! for nothing, watches that end or fail, streams that break, accepts that fail, connects that are late or impossible;
//! helpers that take their time, are busy, know no name or no token; and memory so short that receives have to wait, or that
//! the system refuses now and then.
//!
//! # What must be true
//! After every turn:
//! - the bytes a client got are well-formed: whole answers, or a 101 and then frames as a server may send them (unmasked,
//!   no reserved bits, shortest length, control frames short and whole, nothing behind the close frame);
//! - pongs answer pings, in order; a close code is one that something on this day can have caused;
//! - buffers in use stay within the ceiling and the small change of control frames;
//! - no more sessions are there than there are places.
//!
//! Every now and then, and at the end: the bytes a target got are a beginning of the payload its client sent, and the
//! payload a client got is a beginning of what its target wrote (of its own messages, with the echo target).
//!
//! With TLS, on any day: whoever did nothing wrong meets no error of TLS, whatever the network does; nothing that comes out
//! of the shard on such a stream is anything but records, and nothing follows its close_notify; nobody is served with whom
//! nothing was agreed, and no target whose certificate is not to be accepted gets a byte of payload; a client that stalls in
//! its handshake is gone when its time is up, and so is a target. On a day that leaves no excuse also: each handshake that
//! can be done is done, garbage gets its alert, and every end that is not a break is announced by close_notify, on both
//! sides.
//!
//! At the end of a session: a client that closed in order and read on got its close frame back, and by then its target
//! all of the payload; a client whose target ended in order got all the target wrote. A client that never completes a
//! head is gone when its time is up; who has to make room for others is no bridge and has had its time, and nobody has to while
//! there is room. At the end of the day, which comes within its deadlines: no session, no socket and
//! no byte of buffer is left, nothing panicked, and nothing was dropped without being closed.
//!
//! # How to replay
//! `SIM_SEED=17 cargo test --test sim -- --nocapture` plays one day aloud, every call and report with its moment;
//! `SIM_SEEDS=100000` plays that many days instead of the usual 256, beginning with that of `SIM_FROM`. Failures name
//! their seeds.
//!
//! What is the same every time, in any process: who does what, every call of the shard and every report to it, with its
//! moment and its length. What is not: the bytes of TLS themselves, because rustls draws its randomness from the system. So
//! nothing here may depend on them: all decisions fall by the day's dice, all keys are Ed25519, whose signatures have one
//! length, and noise is never laid over bytes of a handshake but put in their place. Certificates are made once a run and
//! have one length too. Tickets are remembered for one day. rustls looks at the wall clock for the dates in certificates
//! and tickets, which are far enough away.

/// Those who make a day.
mod sim {
    pub mod client;
    pub mod day;
    pub mod desk;
    pub mod ends;
    pub mod frame;
    pub mod keys;
    pub mod memory;
    pub mod reader;
    pub mod secure;
    pub mod tally;
    pub mod target;
    pub mod weather;
    pub mod wire;
}
#[path = "support/settings.rs"]
mod settings;
#[expect(dead_code, reason = "each test uses its own part of it")]
#[path = "support/temp.rs"]
mod temp;

use sim::day::Day;
use sim::keys::Keys;
use sim::tally::Tally;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Days that are played when nobody asks for another number.
const SEEDS: u64 = 256;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn every_day_ends_well() {
    let keys = Keys::new();
    if let Some(seed) = number("SIM_SEED") {
        let (_, tally) = Day::new(seed, &keys, true).play();
        eprintln!("{tally:#?}");
        return;
    }
    let seeds = number("SIM_SEEDS").unwrap_or(SEEDS);
    let from = number("SIM_FROM").unwrap_or(0);
    let (mut all, mut failed) = (Tally::default(), Vec::new());
    for seed in from..from + seeds {
        let played = catch_unwind(AssertUnwindSafe(|| Day::new(seed, &keys, false).play()));
        match played {
            Ok((_, tally)) => all += tally,
            Err(_) => {
                eprintln!("seed {seed} failed");
                failed.push(seed);
            }
        }
    }
    assert!(failed.is_empty(), "{failed:?} failed; replay one: SIM_SEED={} cargo test --test sim", failed[0]);
    // Days of which there are enough meet everything.
    if seeds >= SEEDS {
        all.check();
    }
}

#[test]
fn a_day_is_the_same_every_time() {
    // Keys are made anew in between, as they are between two runs.
    for seed in 0..32 {
        let [first, second] = [Keys::new(), Keys::new()].map(|keys| Day::new(seed, &keys, false).play());
        assert_eq!(first, second, "seed {seed}");
    }
}
