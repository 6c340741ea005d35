//! Frames as clients send them, and their way through the decoder.

use websplice::ws::{Decoder, Event, Opcode, Rules, header};

/// The mask of all frames.
pub const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// Frames of `size` bytes of ASCII, each beginning with `first`.
pub fn frames(first: u8, size: usize, count: usize) -> Vec<u8> {
    let mut one = header(Opcode::Binary, true, size as u64).as_slice().to_vec();
    one[0] = first;
    one[1] |= 0x80;
    one.extend(KEY);
    one.extend((0..size).map(|at| b'a' ^ KEY[at % 4]));
    one.repeat(count)
}

/// Decodes all of `bytes`, payload slid together if wanted, and says how much came out. One function for all cases, so that it does
/// not depend on them how the decoder is compiled.
#[inline(never)]
pub fn decode(bytes: &mut [u8], slide: bool) -> usize {
    let mut decoder = Decoder::new(Rules { text: true });
    let (mut read, mut write, mut total) = (0, 0, 0);
    loop {
        match decoder.next(bytes, &mut read, slide.then_some(write)) {
            Event::Payload(piece) => {
                total += piece.range.len();
                write = piece.range.end;
            }
            Event::Ping(_) | Event::Pong(_) => total += 1,
            Event::Starved => return total,
            Event::Close(_) | Event::Fail(_) => panic!("the frames are right"),
        }
    }
}
