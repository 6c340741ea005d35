//! The bytes that travel: a known pattern, prebuilt client frames, and a reader of server frames.
//!
//! Everything here is pure. It owns no socket, and it checks only what a measurement needs: that the bytes which arrive
//! are the bytes which were sent, in order. It is not a conformance test.

use std::io::IoSlice;

/// Period of the payload pattern: four times a prime, so that no number of buffers below that prime is a whole number of
/// periods, whatever power of two a buffer has: a swapped, doubled or lost buffer cannot look right. Small enough to stay in a
/// core's own cache beside a receive buffer of about the same size.
pub const PATTERN_BYTES: usize = 4 * PRIME;
const PRIME: usize = 65_521;
/// How far the patterns of two streams, or of two messages, with neighbouring numbers are apart; four times a number without a
/// factor in common with the prime, so that as many of them as the prime says begin at places of their own.
const STRIDE: usize = 4 * 7919;
/// Bytes at the begin of a stream or a message that hold its number.
pub const NUMBER_BYTES: usize = 8;
/// Payload of one masked frame of the bulk rows.
pub const FRAME_PAYLOAD_BYTES: usize = 16 * 1024;
/// Header of such a frame: two bytes, two of length, four of mask (RFC 6455 section 5.2).
const FRAME_HEADER_BYTES: usize = 8;
/// One such frame on the wire.
pub const FRAME_BYTES: usize = FRAME_HEADER_BYTES + FRAME_PAYLOAD_BYTES;
/// Longest answer to the upgrade request that is accepted.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;

/// The mask of every frame: fixed, so that frames can be built beforehand, and not zero, so that unmasking is real work.
pub const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
/// The example key and answer of RFC 6455 section 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// The answer that a server gives to [`request`] at least (RFC 6455 section 4.2.2).
pub const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Opcode of a binary frame (RFC 6455 section 11.8).
pub const OPCODE_BINARY: u8 = 2;
const OPCODE_CLOSE: u8 = 8;

// Masked pattern is a pattern of its own only if the mask fits it.
const _: () = assert!(PATTERN_BYTES.is_multiple_of(4));
// So do frames and numbers only if they begin where the mask does.
const _: () = assert!(FRAME_PAYLOAD_BYTES.is_multiple_of(4) && NUMBER_BYTES.is_multiple_of(4));

/// One period of payload: pseudo-random, so that a shifted or repeated piece cannot look right.
pub fn pattern() -> Vec<u8> {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut bytes = Vec::with_capacity(PATTERN_BYTES);
    while bytes.len() < PATTERN_BYTES {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(PATTERN_BYTES);
    bytes
}

/// One masked client frame (RFC 6455 section 5.2) around `payload` of at most 65,535 bytes.
pub fn client_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + FRAME_HEADER_BYTES);
    frame.push(0x80 | opcode);
    if payload.len() < 126 {
        frame.push(0x80 | payload.len() as u8);
    } else {
        let length = u16::try_from(payload.len()).expect("prebuilt frames are shorter than 64 KiB");
        frame.push(0x80 | 126);
        frame.extend_from_slice(&length.to_be_bytes());
    }
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Where in the pattern position zero of stream or message `number` is.
pub fn offset(number: u64) -> usize {
    (number % PRIME as u64) as usize * STRIDE % PATTERN_BYTES
}

/// `number` as it travels, with the mask on it or without.
pub fn number_bytes(number: u64, is_masked: bool) -> [u8; NUMBER_BYTES] {
    let mut bytes = number.to_le_bytes();
    if is_masked {
        bytes.iter_mut().zip(MASK.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    }
    bytes
}

/// Header of every frame of the bulk rows (RFC 6455 section 5.2).
const FRAME_HEADER: [u8; FRAME_HEADER_BYTES] = {
    let length = (FRAME_PAYLOAD_BYTES as u16).to_be_bytes();
    [0x80 | OPCODE_BINARY, 0x80 | 126, length[0], length[1], MASK[0], MASK[1], MASK[2], MASK[3]]
};

/// A stream of bulk: its number, then pattern from the number's own place on, without end; bare, or as masked frames.
#[derive(Debug, Default)]
pub struct Stream {
    number: u64,
    head: [u8; NUMBER_BYTES],
    framed: bool,
    /// Bytes of it that were taken, on the wire.
    wire: u64,
}

impl Stream {
    /// Stream `number`, bare.
    pub fn bare(number: u64) -> Self {
        Self { number, head: number_bytes(number, false), framed: false, wire: 0 }
    }

    /// Stream `number` in frames.
    pub fn framed(number: u64) -> Self {
        Self { number, head: number_bytes(number, true), framed: true, wire: 0 }
    }

    /// Whether nothing of it was taken.
    pub fn is_fresh(&self) -> bool {
        self.wire == 0
    }

    /// Its next pieces, at most so many and of at most `most` bytes in all; those of the pattern are of `pattern`, which has the
    /// mask on it if the stream is framed.
    pub fn next<'a>(&'a self, pattern: &'a [u8], most: usize, pieces: &mut Vec<IoSlice<'a>>, count: usize) {
        let (mut wire, end) = (self.wire, self.wire.saturating_add(most as u64));
        while wire < end && pieces.len() < count {
            let within = wire % FRAME_BYTES as u64;
            let piece = if self.framed && within < FRAME_HEADER_BYTES as u64 {
                &FRAME_HEADER[within as usize..]
            } else {
                let (at, left) = if self.framed {
                    (frame_stream_payload(wire), FRAME_BYTES - within as usize)
                } else {
                    (wire, usize::MAX)
                };
                let rest = if at < NUMBER_BYTES as u64 {
                    &self.head[at as usize..]
                } else {
                    &pattern[place(offset(self.number), at)..]
                };
                &rest[..rest.len().min(left)]
            };
            let piece = &piece[..piece.len().min((end - wire) as usize)];
            wire += piece.len() as u64;
            pieces.push(IoSlice::new(piece));
        }
    }

    /// That `count` bytes of it were taken; returns how many of them were payload.
    pub fn took(&mut self, count: usize) -> u64 {
        let payload = |wire| if self.framed { frame_stream_payload(wire) } else { wire };
        let before = payload(self.wire);
        self.wire += count as u64;
        payload(self.wire) - before
    }

    /// Bytes until the end of the frame that was begun, or of what would be one: zero between two.
    pub fn rest_of_frame(&self) -> usize {
        let step = if self.framed { FRAME_BYTES } else { FRAME_PAYLOAD_BYTES } as u64;
        (self.wire.next_multiple_of(step) - self.wire) as usize
    }
}

/// Where position `at` of what begins at `offset` is in the pattern.
fn place(offset: usize, at: u64) -> usize {
    ((offset as u64 + at) % PATTERN_BYTES as u64) as usize
}

/// Payload bytes among the first `wire` bytes of a framed stream.
pub fn frame_stream_payload(wire: u64) -> u64 {
    let (frames, rest) = (wire / FRAME_BYTES as u64, wire % FRAME_BYTES as u64);
    frames * FRAME_PAYLOAD_BYTES as u64 + rest.saturating_sub(FRAME_HEADER_BYTES as u64)
}

/// One period of the pattern with the mask on it.
pub fn masked(pattern: &[u8]) -> Vec<u8> {
    pattern.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()
}

/// A close frame with code 1000 (RFC 6455 section 7.4.1).
pub fn close_frame() -> Vec<u8> {
    client_frame(OPCODE_CLOSE, &1000u16.to_be_bytes())
}

/// The upgrade request for `path` (RFC 6455 section 4.1).
pub fn request(port: u16, path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    .into_bytes()
}

/// Looks for the end of an answer to [`request`]: where frames begin, `None` when more is needed.
pub fn answer_end(bytes: &[u8]) -> Result<Option<usize>, String> {
    let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        if bytes.len() > HEAD_BYTES_MAX {
            return Err("the answer to the upgrade has no end".into());
        }
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&bytes[..at]);
    if !head.starts_with("HTTP/1.1 101") || !head.contains(ACCEPT) {
        return Err(format!("the upgrade was refused: {}", head.lines().next().unwrap_or("").escape_debug()));
    }
    Ok(Some(at + 4))
}

/// What the reader of server frames found.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Payload of a data frame.
    Payload(&'a [u8]),
    /// A close frame began.
    Close,
}

/// Reads server frames by skipping their headers. Pings are passed over: no measurement lasts as long as a heartbeat.
#[derive(Debug, Default)]
pub struct Reader {
    header: [u8; 10],
    have: usize,
    left: u64,
    control: bool,
}

impl Reader {
    /// The next piece of `input`, which is moved forward; `None` when it is used up.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Piece<'a>>, String> {
        loop {
            if self.left > 0 {
                if input.is_empty() {
                    return Ok(None);
                }
                let (piece, rest) =
                    input.split_at(input.len().min(usize::try_from(self.left).unwrap_or(usize::MAX)));
                *input = rest;
                self.left -= piece.len() as u64;
                if !self.control {
                    return Ok(Some(Piece::Payload(piece)));
                }
                continue;
            }
            let Some((byte, rest)) = input.split_first() else { return Ok(None) };
            *input = rest;
            self.header[self.have] = *byte;
            self.have += 1;
            if self.have >= 2 && self.have == self.header_bytes()? {
                self.have = 0;
                self.begin();
                if self.header[0] & 0x0f == OPCODE_CLOSE {
                    return Ok(Some(Piece::Close));
                }
            }
        }
    }

    fn header_bytes(&self) -> Result<usize, String> {
        if self.header[0] & 0x70 != 0 || self.header[1] & 0x80 != 0 {
            return Err(format!("not a server's frame header: {:02x?}", &self.header[..2]));
        }
        Ok(match self.header[1] {
            126 => 4,
            127 => 10,
            _ => 2,
        })
    }

    fn begin(&mut self) {
        self.control = self.header[0] & 0x08 != 0;
        let wide = |bytes: &[u8]| bytes.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        self.left = match self.header[1] {
            126 => wide(&self.header[2..4]),
            127 => wide(&self.header[2..10]),
            short => u64::from(short),
        };
    }
}

/// Bytes of one probe of a piece, and how far two are apart.
const PROBE_BYTES: usize = 64;
const PROBE_EVERY: usize = 4096;

/// Follows one [`Stream`] and checks it: whole where that is asked for, and otherwise by probes and every sixteenth piece whole.
///
/// Whatever is lost, doubled, reordered or of another stream is from another place of the pattern, and shows at the next probe as
/// soon as it is longer than the way to it; a single wrong byte between two probes shows by sampling. Totals are compared by
/// the caller when the stream has been drained.
#[derive(Debug, Default)]
pub struct Follower {
    head: [u8; NUMBER_BYTES],
    at: u64,
    pieces: u64,
}

impl Follower {
    /// Whether `piece` is what must come next; moves forward by its length.
    pub fn follow(&mut self, pattern: &[u8], mut piece: &[u8], whole: bool) -> bool {
        if self.at < NUMBER_BYTES as u64 {
            let at = self.at as usize;
            let (head, rest) = piece.split_at(piece.len().min(NUMBER_BYTES - at));
            self.head[at..at + head.len()].copy_from_slice(head);
            self.at += head.len() as u64;
            piece = rest;
        }
        if piece.is_empty() {
            return true;
        }
        let start = place(offset(u64::from_le_bytes(self.head)), self.at);
        self.at += piece.len() as u64;
        self.pieces += 1;
        if whole || self.pieces % 16 == 1 || piece.len() <= 2 * PROBE_BYTES {
            return is_pattern(pattern, start, piece);
        }
        let last = piece.len() - PROBE_BYTES;
        let probe =
            |at: usize| is_pattern(pattern, (start + at) % pattern.len(), &piece[at..at + PROBE_BYTES]);
        (0..last).step_by(PROBE_EVERY).all(probe) && probe(last)
    }

    /// The number of the stream, once it has come.
    pub fn number(&self) -> Option<u64> {
        (self.at >= NUMBER_BYTES as u64).then(|| u64::from_le_bytes(self.head))
    }
}

/// Whether `piece` is what the repeated pattern has from `start` on.
pub fn is_pattern(pattern: &[u8], mut start: usize, mut piece: &[u8]) -> bool {
    while !piece.is_empty() {
        let length = piece.len().min(pattern.len() - start);
        if piece[..length] != pattern[start..start + length] {
            return false;
        }
        piece = &piece[length..];
        start = 0;
    }
    true
}

#[cfg(test)]
#[path = "frames_tests.rs"]
mod tests;
