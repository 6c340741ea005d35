//! The vocabulary of the end-to-end tests: the built binary as a [`server::Server`], clients that can misbehave on
//! purpose, targets that can misbehave on purpose, and temporary directories.
//!
//! Plain threads and blocking sockets, and every wait has a deadline, so that a broken server makes a test fail and
//! never hang. It owns no test of its own and never looks inside the library: what is tested here is the program.
#![allow(dead_code, reason = "each test program speaks only a part of this vocabulary")]

pub mod client;
pub mod frame;
pub mod http;
pub mod process;
pub mod server;
pub mod target;
pub mod temp;
pub mod tls;
pub mod wire;

use std::fmt::Write as _;

/// Makes two tests of each named function `fn name(engine: &str)`: `ring::name` and `poll::name`.
macro_rules! on_both_engines {
    ($($name:ident),* $(,)?) => {
        mod ring {
            $(#[test] fn $name() { super::$name("ring"); })*
        }
        mod poll {
            $(#[test] fn $name() { super::$name("poll"); })*
        }
    };
}
pub(crate) use on_both_engines;

/// A run of bytes as a person can compare it: its length, its first bytes, its last bytes and a checksum.
pub fn brief(bytes: &[u8]) -> String {
    const ENDS: usize = 24;
    let mut text = format!("{} bytes", bytes.len());
    if bytes.is_empty() {
        return text;
    }
    let head = &bytes[..bytes.len().min(ENDS)];
    write!(text, " \"{}\"", head.escape_ascii()).expect("writing to a string");
    if bytes.len() > ENDS {
        let tail = &bytes[bytes.len() - ENDS.min(bytes.len() - ENDS)..];
        write!(text, " .. \"{}\" #{:08x}", tail.escape_ascii(), checksum(bytes))
            .expect("writing to a string");
    }
    text
}

/// FNV-1a over 32 bits: enough to see that two long payloads differ.
pub fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// Bytes without a short period, the same for the same `seed`, so that a lost or doubled run shows.
pub fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Valid UTF-8 of exactly `len` bytes with sequences of every length in it.
pub fn prose(len: usize) -> Vec<u8> {
    let phrase = "The quick brown fox: \u{fc}ber \u{20ac}5 \u{1f98a} ";
    let mut bytes = Vec::with_capacity(len + phrase.len());
    while bytes.len() + phrase.len() <= len {
        bytes.extend_from_slice(phrase.as_bytes());
    }
    bytes.resize(len, b'.');
    bytes
}
