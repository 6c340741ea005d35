//! What is counted: one round of each pure piece, the same every time.
//!
//! Buffers are made before the first round and reused, so that no allocator is counted; where a round changes its bytes, it first
//! copies them anew.

use super::frames::{KEY, decode, frames};
use super::request::UPGRADE;
use std::hint::black_box;

use websplice::http::upgrade::{Options, judge};
use websplice::http::{Head, Progress, Scan};
use websplice::slab::Slab;
use websplice::timers::{TICK_MS, Time, Wheel};
use websplice::ws::{ControlFrame, ControlPayload, Opcode, accept_key, header, unmask, unmask_slide};

/// One case.
pub struct Case {
    /// Its name in the table.
    pub name: &'static str,
    /// Runs so many rounds.
    pub run: fn(u64),
}

/// All cases.
pub const CASES: [Case; 16] = [
    Case { name: "ws/unmask 125", run: |rounds| unmasking(rounds, 125) },
    Case { name: "ws/unmask 16384", run: |rounds| unmasking(rounds, 16_384) },
    Case { name: "ws/slide 125", run: |rounds| sliding(rounds, 125) },
    Case { name: "ws/slide 16384", run: |rounds| sliding(rounds, 16_384) },
    Case { name: "ws/decode 16 x 6", run: |rounds| decoding(rounds, 0x82, 6, 16) },
    Case { name: "ws/decode 16 x 64", run: |rounds| decoding(rounds, 0x82, 64, 16) },
    Case { name: "ws/decode in place 1 x 16384", run: decoding_in_place },
    Case { name: "ws/decode text 1 x 1024", run: |rounds| decoding(rounds, 0x81, 1024, 1) },
    Case { name: "ws/decode ping 16 x 8", run: |rounds| decoding(rounds, 0x89, 8, 16) },
    Case { name: "ws/header", run: headers },
    Case { name: "ws/pong", run: pongs },
    Case { name: "ws/accept key", run: keys },
    Case { name: "http/scan", run: scans },
    Case { name: "http/scan, parse, judge", run: upgrades },
    Case { name: "timers/arm, expire", run: deadlines },
    Case { name: "slab/insert, get, remove", run: slots },
];

fn unmasking(rounds: u64, size: usize) {
    let mut bytes = vec![1_u8; size + 64];
    let at = bytes.as_ptr().align_offset(64) + 6;
    for _ in 0..rounds {
        unmask(&mut black_box(&mut bytes)[at..at + size], KEY, 1);
    }
}

fn sliding(rounds: u64, size: usize) {
    let mut bytes = vec![1_u8; size + 128];
    let at = bytes.as_ptr().align_offset(64);
    for _ in 0..rounds {
        unmask_slide(&mut black_box(&mut bytes)[at..], 6..6 + size, 0, KEY, 1);
    }
}

fn decoding(rounds: u64, first: u8, size: usize, count: usize) {
    let fresh = frames(first, size, count);
    let mut bytes = fresh.clone();
    for _ in 0..rounds {
        bytes.copy_from_slice(&fresh);
        black_box(decode(black_box(&mut bytes), true));
    }
}

/// Payload that stays where it is leaves its header, so nothing is copied: to count a large copy is to count nothing else.
fn decoding_in_place(rounds: u64) {
    let mut bytes = frames(0x82, 16_384, 1);
    for _ in 0..rounds {
        black_box(decode(black_box(&mut bytes), false));
    }
}

fn headers(rounds: u64) {
    for _ in 0..rounds {
        for size in [6_u64, 1024, 256 * 1024] {
            black_box(header(Opcode::Binary, true, black_box(size)));
        }
    }
}

fn pongs(rounds: u64) {
    let payload = ControlPayload::new(&[7; 8]).expect("eight bytes fit");
    for _ in 0..rounds {
        black_box(ControlFrame::pong(black_box(&payload)));
    }
}

fn keys(rounds: u64) {
    for _ in 0..rounds {
        black_box(accept_key(black_box(b"dGhlIHNhbXBsZSBub25jZQ==")));
    }
}

fn scan(bytes: &[u8]) -> usize {
    match Scan::new().feed(bytes) {
        Progress::Complete { len } => len,
        other => panic!("the request is complete, not {other:?}"),
    }
}

fn scans(rounds: u64) {
    for _ in 0..rounds {
        black_box(scan(black_box(UPGRADE)));
    }
}

fn upgrades(rounds: u64) {
    let options = Options::default();
    for _ in 0..rounds {
        let bytes = black_box(UPGRADE);
        let head = Head::parse(&bytes[..scan(bytes)]).expect("the request is right");
        assert!(judge(&head, &options).is_ok());
    }
}

/// Sixteen deadlines, one of them taken back, the others met.
fn deadlines(rounds: u64) {
    let (mut wheel, mut due) = (Wheel::default(), Vec::with_capacity(64));
    let mut now = 0;
    for _ in 0..rounds {
        for slot in 0..16 {
            wheel.arm(slot, Time(now + TICK_MS * u64::from(slot % 4 + 1)));
        }
        wheel.disarm(black_box(3));
        now += 8 * TICK_MS;
        due.clear();
        wheel.expire(Time(now), &mut due);
        assert_eq!(due.len(), 15);
    }
}

/// Sixteen values put in, found and taken out.
fn slots(rounds: u64) {
    let mut slab = Slab::default();
    for _ in 0..rounds {
        let keys: [_; 16] = std::array::from_fn(|value| slab.insert_with(|_| value));
        for key in keys {
            if let Some(value) = slab.get_mut(key) {
                *value += 1;
            }
            black_box(slab.remove(key));
        }
    }
}
