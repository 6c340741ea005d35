//! Messages of any size: each carries its number and is pattern behind it, from a place that is the number's own, so that every
//! byte of it can be checked and none of another message looks right.
//!
//! Everything here is pure. It owns no socket and no clock.

use crate::frames::{MASK, NUMBER_BYTES, OPCODE_BINARY, is_pattern, number_bytes, offset};

/// Appends message `number` of `size` bytes to `out`, bare: its number, as much of it as fits, then pattern.
pub fn put_message(out: &mut Vec<u8>, pattern: &[u8], number: u64, size: usize) {
    put(out, number_bytes(number, false), pattern, offset(number), size);
}

/// Appends the same message as one masked binary frame; `masked` is the masked pattern.
pub fn put_frame(out: &mut Vec<u8>, masked: &[u8], number: u64, size: usize) {
    out.push(0x80 | OPCODE_BINARY);
    match size {
        0..126 => out.push(0x80 | size as u8),
        126..65_536 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(size as u16).to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(size as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    put(out, number_bytes(number, true), masked, offset(number), size);
}

/// The first `size` bytes of a number and of what the repeated pattern has behind it.
fn put(out: &mut Vec<u8>, number: [u8; NUMBER_BYTES], pattern: &[u8], offset: usize, size: usize) {
    let mut at = size.min(NUMBER_BYTES);
    out.extend_from_slice(&number[..at]);
    while at < size {
        let from = (offset + at) % pattern.len();
        let length = (size - at).min(pattern.len() - from);
        out.extend_from_slice(&pattern[from..from + length]);
        at += length;
    }
}

/// Whether `piece` is what message `number` has from position `at` on.
pub fn is_message(pattern: &[u8], number: u64, mut at: usize, mut piece: &[u8]) -> bool {
    if at < NUMBER_BYTES {
        let length = piece.len().min(NUMBER_BYTES - at);
        let (head, rest) = piece.split_at(length);
        if head != &number.to_le_bytes()[at..at + length] {
            return false;
        }
        (at, piece) = (at + length, rest);
    }
    is_pattern(pattern, (offset(number) + at) % pattern.len(), piece)
}

/// Takes apart a stream of messages of one size, whose numbers are told by themselves, and checks all of it.
#[derive(Debug, Default)]
pub struct Parcels {
    number: [u8; NUMBER_BYTES],
    at: usize,
}

impl Parcels {
    /// Looks at the next piece of the stream and hands `each` the number of every message that is complete with it.
    pub fn take(
        &mut self,
        pattern: &[u8],
        size: usize,
        mut piece: &[u8],
        mut each: impl FnMut(u64),
    ) -> Result<(), String> {
        while !piece.is_empty() {
            let (part, rest) = piece.split_at(piece.len().min(size - self.at));
            let head = NUMBER_BYTES.saturating_sub(self.at).min(part.len());
            if head > 0 {
                self.number[self.at..self.at + head].copy_from_slice(&part[..head]);
            }
            if !is_message(pattern, u64::from_le_bytes(self.number), self.at + head, &part[head..]) {
                return Err("a message has other bytes than were sent".into());
            }
            self.at += part.len();
            if self.at == size {
                self.at = 0;
                each(u64::from_le_bytes(self.number));
            }
            piece = rest;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames;

    const SIZES: [usize; 7] = [1, 7, 8, 64, 126, 65_536, 300_000];

    #[test]
    fn a_message_is_known_in_any_pieces() {
        let pattern = frames::pattern();
        for size in SIZES {
            let mut message = Vec::new();
            put_message(&mut message, &pattern, 0x0102_0304_0506, size);
            assert_eq!(message.len(), size);
            for cut in [0, 1, size / 2, size - 1, size] {
                assert!(is_message(&pattern, 0x0102_0304_0506, 0, &message[..cut]), "{size} {cut}");
                assert!(is_message(&pattern, 0x0102_0304_0506, cut, &message[cut..]), "{size} {cut}");
            }
            let mut other = Vec::new();
            put_message(&mut other, &pattern, 0x0102_0304_0507, size);
            let behind = NUMBER_BYTES.min(size - 1);
            assert!(
                !is_message(&pattern, 0x0102_0304_0506, behind, &other[behind..]) || size <= NUMBER_BYTES
            );
            for at in [0, size / 3, size - 1] {
                message[at] ^= 1;
                assert!(!is_message(&pattern, 0x0102_0304_0506, 0, &message), "{size} {at}");
                message[at] ^= 1;
            }
        }
    }

    #[test]
    fn a_frame_is_its_message_masked() {
        let pattern = frames::pattern();
        let masked = frames::masked(&pattern);
        for size in SIZES {
            let (mut message, mut frame) = (Vec::new(), Vec::new());
            put_message(&mut message, &pattern, 77, size);
            put_frame(&mut frame, &masked, 77, size);
            let header = frame.len() - size;
            assert_eq!(header, 6 + [0, 2, 8][usize::from(size > 125) + usize::from(size > 65_535)]);
            assert_eq!((frame[0], frame[1] & 0x80, &frame[header - 4..header]), (0x82, 0x80, &MASK[..]));
            let plain: Vec<u8> =
                frame[header..].iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
            assert!(plain == message, "{size}");
        }
    }

    #[test]
    fn parcels_are_found_and_checked_at_every_split() {
        let pattern = frames::pattern();
        let mut stream = Vec::new();
        for number in [5, 6, 900] {
            put_message(&mut stream, &pattern, number, 20);
        }
        for split in 0..=stream.len() {
            let (mut parcels, mut seen) = (Parcels::default(), Vec::new());
            for part in [&stream[..split], &stream[split..]] {
                parcels.take(&pattern, 20, part, |number| seen.push(number)).expect("they are right");
            }
            assert_eq!(seen, [5, 6, 900]);
        }
        stream[59] ^= 1;
        assert!(Parcels::default().take(&pattern, 20, &stream, |_| ()).is_err());
    }
}
