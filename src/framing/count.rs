//! As long as it is said to be: `fixedlength` and `dynamic32`.
//!
//! Owns how much of the open message has come, and the length that it names itself, in 64 bits, so that no sum is wrong.

use super::Cut;
use crate::ws::Kind;

/// Bytes of a length.
const FIELD: usize = 4;

/// Cuts a stream into pieces of one length.
#[derive(Debug)]
pub(super) struct Fixed {
    bytes: usize,
    come: usize,
}

impl Fixed {
    pub fn new(bytes: u32) -> Fixed {
        Fixed { bytes: bytes as usize, come: 0 }
    }

    pub fn next(&mut self, fresh: &[u8], most: usize) -> Cut {
        if self.bytes > most {
            return Cut::TooLong;
        }
        let due = self.bytes - self.come;
        if due > fresh.len() {
            self.come += fresh.len();
            return Cut::Open;
        }
        self.come = 0;
        Cut::Message { len: due, kind: Kind::Binary }
    }
}

/// Cuts a stream into pieces that say how long they are.
#[derive(Debug)]
pub(super) struct Prefixed {
    /// Bytes in front of the length.
    offset: u64,
    extra: i64,
    big: bool,
    /// Bytes of the open piece that have come.
    come: u64,
    /// The length, as far as it has come.
    field: [u8; FIELD],
}

impl Prefixed {
    pub fn new(offset: u32, extra: i64, big: bool) -> Prefixed {
        Prefixed { offset: u64::from(offset), extra, big, come: 0, field: [0; FIELD] }
    }

    pub fn next(&mut self, fresh: &[u8], most: usize) -> Cut {
        let head = self.offset + FIELD as u64;
        let begun = self.come;
        if begun < head {
            let front = (self.offset.saturating_sub(begun)).min(fresh.len() as u64);
            self.come += front;
            for &byte in fresh[front as usize..].iter().take((head - self.come) as usize) {
                self.field[(self.come - self.offset) as usize] = byte;
                self.come += 1;
            }
            if self.come < head {
                return Cut::Open;
            }
        }
        let said = match self.big {
            true => u32::from_be_bytes(self.field),
            false => u32::from_le_bytes(self.field),
        };
        let whole = head as i64 + self.extra + i64::from(said);
        // Less would end before its length does, and then there is no telling what comes next.
        if whole < head as i64 {
            return Cut::Broken("the target names a length shorter than what names it");
        }
        let whole = whole as u64;
        if whole > most as u64 {
            return Cut::TooLong;
        }
        let due = whole - begun;
        if due > fresh.len() as u64 {
            self.come = begun + fresh.len() as u64;
            return Cut::Open;
        }
        self.come = 0;
        Cut::Message { len: due as usize, kind: Kind::Binary }
    }
}
