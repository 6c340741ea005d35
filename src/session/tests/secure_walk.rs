//! A walk through sessions with TLS on both sides by chance, as `walk` is without: whatever the world does within the
//! contract, no invariant of the play breaks, what passed is right, and every session ends.

use super::play::{Client, Far, Play, Tail, config};
use super::read::{UPGRADE, binary, payload};
use super::secure::{Pair, Peer, name, pair};
use super::walk::{Chance, number};
use crate::session::Side;
use crate::tls::stream::Stream;
use rustls::version::{TLS12, TLS13};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

const SEEDS: u64 = 150;
const STEPS: usize = 300;

struct Walk {
    play: Play,
    chance: Chance,
    peers: [Peer; 2],
    sent: [usize; 2],
    upgraded: bool,
}

#[test]
fn no_walk_breaks_a_session_with_tls() {
    let pairs = [pair(&TLS12), pair(&TLS13)];
    for seed in 1..=SEEDS {
        let outcome = catch_unwind(AssertUnwindSafe(|| Walk::begin(seed, &pairs).go()));
        if let Err(panic) = outcome {
            eprintln!("it was seed {seed}");
            resume_unwind(panic);
        }
    }
}

impl Walk {
    fn begin(seed: u64, pairs: &[Pair; 2]) -> Walk {
        let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let pair = &pairs[chance.below(2)];
        let keys = (Some(pair.server.clone()), Some((pair.client.clone(), name())));
        let mut play = Play::with_tls(config("127.0.0.1:1"), keys.0, keys.1);
        play.slow = true;
        if chance.once_in(3) {
            play.gulp = chance.below(400) + 1;
        }
        let target = Peer::new(Stream::server(pair.server.clone()).unwrap(), Far);
        let client = Peer::client(pair, &mut play);
        Walk { play, chance, peers: [client, target], sent: [0; 2], upgraded: false }
    }

    fn go(mut self) {
        for _ in 0..STEPS {
            if self.play.released {
                break;
            }
            let side = if self.chance.once_in(2) { Client } else { Far };
            match self.chance.below(14) {
                0..=5 => drop(self.play.step(side, side.other())),
                6..=8 => self.listen(side),
                9 => self.speak(side),
                10 if self.play.sockets[1].connecting => drop(self.play.connected().released),
                11 if self.chance.once_in(2) => drop(self.play.stick(side).released),
                11 => drop(self.play.unstick(side).released),
                12 if self.chance.once_in(8) => self.fate(side),
                _ => drop(self.play.wait(self.chance.below(100) as u64).released),
            }
        }
        self.finish();
    }

    /// Whether `side` can still send.
    fn speaks(&self, side: Side) -> bool {
        let socket = &self.play.sockets[side as usize];
        socket.open && !socket.closing && !socket.connecting && socket.tail == Tail::Open
    }

    fn listen(&mut self, side: Side) {
        if self.speaks(side) {
            self.peers[side as usize].listen(&mut self.play);
        }
    }

    fn speak(&mut self, side: Side) {
        let peer = &mut self.peers[side as usize];
        if peer.stream.is_handshaking() || peer.failed || peer.ended || !self.speaks(side) {
            return;
        }
        if side == Client && !std::mem::replace(&mut self.upgraded, true) {
            return self.peers[0].say(&mut self.play, UPGRADE.as_bytes());
        }
        let len = [self.chance.below(100), self.chance.below(40_000)][self.chance.below(2)] + 1;
        let from = self.sent[side as usize];
        self.sent[side as usize] += len;
        let bytes: Vec<u8> = (from..from + len).map(number).collect();
        let bytes = if side == Client { binary(bytes) } else { bytes };
        self.peers[side as usize].say(&mut self.play, &bytes);
    }

    /// A side goes, in order or not, or the server stops.
    fn fate(&mut self, side: Side) {
        let speaks = self.speaks(side);
        let peer = &mut self.peers[side as usize];
        match self.chance.below(5) {
            0 if speaks && !peer.stream.is_handshaking() && !peer.failed && !peer.ended => {
                peer.goodbye(&mut self.play);
            }
            1 if speaks => drop(self.play.fin(side).released),
            2 if speaks => drop(self.play.reset(side).released),
            3 => drop(self.play.stop().released),
            _ => drop(self.play.wait(self.chance.below(20_000) as u64).released),
        }
    }

    fn finish(mut self) {
        (self.play.slow, self.play.gulp) = (false, usize::MAX);
        self.play.run();
        for side in [Client, Far] {
            if self.play.sockets[side as usize].open && !self.play.released {
                self.play.unstick(side).fin(side);
            }
        }
        self.play.wait(300_000);
        assert_ne!(self.play.end(), "none");
        // What came last is still to be heard, and nobody answers any more.
        for peer in &mut self.peers {
            let news = self.play.sockets[peer.side as usize].got[peer.seen..].to_vec();
            peer.hear(&news);
        }
        let up = &self.peers[1].plain;
        assert!(up.iter().enumerate().all(|(at, &byte)| byte == number(at)), "bytes to the target");
        if self.peers[0].plain.starts_with(b"HTTP/1.1 101") {
            let down = payload(&self.peers[0].plain);
            assert!(down.iter().enumerate().all(|(at, &byte)| byte == number(at)), "bytes to the client");
            assert!(down.len() <= self.sent[1]);
        }
    }
}
