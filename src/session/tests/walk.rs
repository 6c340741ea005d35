//! A walk through sessions by chance: whatever the world does within the contract, no invariant of the play breaks.
//!
//! Both ends send numbered bytes, so that one that is lost, doubled or out of order shows. Every session is driven to its
//! end: once both ends are gone it must be released, whatever state it was caught in.

use super::framed;
use super::play::{Client, Far, Play, Tail, config};
use super::read::{GET, close, frame, payload, ping};
use super::routing;
use super::settings::routed;
use crate::http::Refusal;
use crate::pool::Lease;
use crate::route::reach::Rule;
use crate::session::job::{Job, Verdict};
use crate::session::{End, Side};
use crate::target::Target;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

const SEEDS: u64 = 64;
const STEPS: usize = 10_000;
/// Most steps before a session is brought to its end.
const SESSION_STEPS: usize = 400;
/// Longer than every deadline of a session together, in milliseconds.
const PATIENCE_MS: u64 = 300_000;

/// Numbers that only look like chance, from a seed (xorshift64*).
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }

    pub(super) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// Mostly small, seldom larger than any buffer.
    fn length(&mut self) -> usize {
        match self.below(800) {
            0 => self.below(600_000),
            1..=10 => self.below(70_000),
            11..=100 => self.below(1_000),
            _ => self.below(50),
        }
    }
}

/// One session on the walk.
struct Walk {
    play: Play,
    chance: Chance,
    echo: bool,
    /// How many numbered bytes each side has sent.
    sent: [usize; 2],
    /// The client is inside a message.
    fragment: bool,
    upgraded: bool,
}

#[test]
fn no_walk_breaks_a_session() {
    for seed in 1..=SEEDS {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let mut steps = 0;
            while steps < STEPS {
                let mut walk = Walk::begin(chance);
                steps += walk.go();
                walk.finish();
                chance = walk.chance;
            }
        }));
        if let Err(panic) = outcome {
            eprintln!("it was seed {seed}");
            resume_unwind(panic);
        }
    }
}

impl Walk {
    fn begin(mut chance: Chance) -> Walk {
        let target = ["127.0.0.1:1", "h:1", "echo://", "unix:/x"][chance.below(4)];
        let mut config = config(target);
        if target != "echo://" && chance.once_in(4) {
            (config.target, config.route) = (None, routed().route);
        }
        if chance.once_in(4) {
            Rule::read("127.0.0.1:2", &mut config.route.reach.deny).unwrap();
        }
        if chance.once_in(4) {
            config.web = Some(crate::web::Options { listings: false, index: None });
        }
        let mut play = Play::new(config);
        play.slow = true;
        play.pipes.on = chance.once_in(2);
        if chance.once_in(3) {
            play.gulp = chance.below(50) + 1;
        }
        Walk { play, chance, echo: target == "echo://", sent: [0; 2], fragment: false, upgraded: false }
    }

    fn go(&mut self) -> usize {
        for step in 0..SESSION_STEPS {
            if self.play.released {
                return step + 1;
            }
            match self.chance.below(12) {
                0..=5 => {
                    let sides = if self.chance.once_in(2) { (Client, Far) } else { (Far, Client) };
                    self.play.step(sides.0, sides.1);
                }
                6 | 7 => self.client(),
                8 => self.target(),
                9 => self.helper(),
                10 => self.mood(),
                _ => self.fate(),
            }
        }
        SESSION_STEPS
    }

    fn numbered(&mut self, side: Side, len: usize) -> Vec<u8> {
        let from = self.sent[side as usize];
        self.sent[side as usize] += len;
        (from..from + len).map(number).collect()
    }

    /// The client sends something.
    fn client(&mut self) {
        let socket = &self.play.sockets[0];
        if socket.tail != Tail::Open || socket.inbox.len() > 1 << 20 {
            return;
        }
        let bytes = match self.chance.below(40) {
            _ if !self.upgraded && self.play.config.web.is_some() && self.chance.once_in(2) => GET.into(),
            _ if !self.upgraded => {
                self.upgraded = true;
                routing::upgrade("t").into()
            }
            0 => close(1000, "bye"),
            1 if self.chance.once_in(4) => vec![0x83],
            2..=6 => ping("p"),
            _ => {
                let len = self.chance.length();
                let payload = self.numbered(Client, len);
                let first = if self.fragment { 0 } else { 2 };
                self.fragment = self.chance.once_in(3);
                frame(first | if self.fragment { 0 } else { 0x80 }, payload)
            }
        };
        self.play.client(bytes);
    }

    /// The target sends something.
    fn target(&mut self) {
        let socket = &self.play.sockets[1];
        if socket.open && !socket.connecting && socket.tail == Tail::Open && socket.inbox.len() < 1 << 20 {
            let len = self.chance.length();
            let bytes = self.numbered(Far, len);
            self.play.target(bytes);
        }
    }

    /// A dial or a job comes to something.
    fn helper(&mut self) {
        if self.play.sockets[1].connecting {
            match self.chance.below(3) {
                0 => self.play.refused(),
                _ => self.play.connected(),
            };
        }
        let busy = self.chance.once_in(8);
        match self.play.jobs.front() {
            None => {}
            Some(_) if busy => drop_play(self.play.verdict(Verdict::Busy)),
            Some(Job::Resolve { .. }) => {
                let addresses = ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"];
                drop_play(self.play.resolved(&addresses[..self.chance.below(4)]));
            }
            Some(Job::Route(_)) => {
                let length = self.chance.below(3_000).to_string();
                let verdict = match self.chance.below(8) {
                    0 | 1 => Verdict::Routed(Err(Refusal::UNKNOWN_TOKEN)),
                    2 => framed::cut("fixedlength", &length),
                    3 => framed::cut("newline", "lf"),
                    4 => framed::cut("auto", "hold"),
                    _ => routing::leads_to("127.0.0.1:1"),
                };
                drop_play(self.play.verdict(verdict));
            }
            Some(Job::Hold(_)) => {
                let found = (Target::Unix("/x".into()), "/x".into());
                let found = if self.chance.once_in(4) { Err(ErrorKind::NotFound.into()) } else { Ok(found) };
                drop_play(self.play.verdict(Verdict::Held(found)));
            }
            Some(Job::Fetch(_)) => drop_play(self.play.verdict(super::answers::file(0, 100))),
            Some(Job::Read { len, .. }) => {
                let some = *len as usize / (self.chance.below(3) + 1);
                drop_play(self.play.verdict(super::answers::piece(&"x".repeat(some))));
            }
        }
    }

    /// A socket takes nothing for a while, or a little, or everything again.
    fn mood(&mut self) {
        let side = if self.chance.once_in(2) { Client } else { Far };
        let rest = self.play.sockets[side as usize].sending.as_ref().map_or(0, Lease::size);
        match self.chance.below(4) {
            0 => drop_play(self.play.stick(side)),
            1 if rest > 1 => drop_play(self.play.nibble(side)),
            _ => drop_play(self.play.unstick(side)),
        }
    }

    /// Time passes, somebody goes, or the server stops.
    fn fate(&mut self) {
        let side = if self.chance.once_in(2) { Client } else { Far };
        let socket = &self.play.sockets[side as usize];
        let there = socket.open && !socket.closing && !socket.connecting && socket.tail == Tail::Open;
        match self.chance.below(60) {
            0 | 1 if there => drop_play(self.play.fin(side)),
            2 if there => drop_play(self.play.reset(side)),
            3 => drop_play(self.play.stop()),
            4 if self.chance.once_in(3) => drop_play(self.play.abort(End::Internal)),
            5..=8 => drop_play(self.play.wait(self.chance.below(20_000) as u64)),
            _ => drop_play(self.play.wait(self.chance.below(300) as u64)),
        }
    }

    /// Both ends go; what has passed by then was right, and the session ends.
    fn finish(&mut self) {
        let play = &mut self.play;
        (play.slow, play.gulp) = (false, usize::MAX);
        play.run();
        for side in [Client, Far] {
            if play.sockets[side as usize].open && !play.released {
                play.fin(side);
            }
        }
        play.wait(PATIENCE_MS);
        assert_ne!(play.end(), "none");
        let up = &play.sockets[1].got;
        assert!(up.iter().enumerate().all(|(at, &byte)| byte == number(at)), "bytes to the target");
        if play.heard().starts_with("101") {
            let down = payload(&play.sockets[0].got);
            assert!(down.iter().enumerate().all(|(at, &byte)| byte == number(at)), "bytes to the client");
            assert!(down.len() <= self.sent[if self.echo { 0 } else { 1 }]);
        }
    }
}

/// The byte at a place of a stream: a period that is no multiple of any buffer's size.
pub(super) fn number(at: usize) -> u8 {
    (at % 251) as u8
}

/// A row of a match that is only about what it does to the play.
fn drop_play(_: &mut Play) {}
