//! The bytes that travel: a known pattern, prebuilt client frames, and a reader of server frames.
//!
//! Everything here is pure. It owns no socket, and it checks only what a measurement needs: that the bytes which arrive
//! are the bytes which were sent, in order. It is not a conformance test.

/// Period of the payload pattern. Small enough to stay in a core's own cache beside a receive buffer of the same size.
pub const PATTERN_BYTES: usize = 256 * 1024;
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
// The stream of prebuilt frames repeats exactly when the pattern does.
const _: () = assert!(PATTERN_BYTES.is_multiple_of(FRAME_PAYLOAD_BYTES));

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

/// One period of the pattern as masked 16 KiB frames, ready to be sent over and over.
pub fn frame_stream(pattern: &[u8]) -> Vec<u8> {
    pattern.chunks(FRAME_PAYLOAD_BYTES).flat_map(|payload| client_frame(OPCODE_BINARY, payload)).collect()
}

/// Payload bytes among the first `wire` bytes of the frame stream.
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

/// Follows one stream of pattern bytes and checks it: both ends of every piece, and every sixteenth piece whole.
///
/// A lost, doubled or reordered piece shifts everything behind it and so shows at the next end; a wrong byte inside
/// shows by sampling. Totals are compared by the caller when the stream has been drained.
#[derive(Debug, Default)]
pub struct Follower {
    at: u64,
    pieces: u64,
}

impl Follower {
    /// Whether `piece` is what must come next; moves forward by its length.
    pub fn follow(&mut self, pattern: &[u8], piece: &[u8]) -> bool {
        const EDGE: usize = 64;
        let start = (self.at % pattern.len() as u64) as usize;
        self.at += piece.len() as u64;
        self.pieces += 1;
        if self.pieces % 16 == 1 || piece.len() <= 2 * EDGE {
            return same(pattern, start, piece);
        }
        let tail = piece.len() - EDGE;
        same(pattern, start, &piece[..EDGE]) && same(pattern, (start + tail) % pattern.len(), &piece[tail..])
    }
}

fn same(pattern: &[u8], mut start: usize, mut piece: &[u8]) -> bool {
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
mod tests {
    use super::*;

    #[test]
    fn reader_skips_headers_at_every_split() {
        let mut wire = vec![0x82, 5];
        wire.extend(b"hello");
        wire.extend([0x89, 2, b'h', b'b', 0x82, 126, 0, 200]);
        wire.extend([7; 200]);
        wire.extend([0x82, 127, 0, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3, 0x88, 0]);
        for split in 0..=wire.len() {
            let (mut reader, mut got, mut closes) = (Reader::default(), Vec::new(), 0);
            for mut part in [&wire[..split], &wire[split..]] {
                while let Some(piece) = reader.next(&mut part).expect("legal frames") {
                    match piece {
                        Piece::Payload(bytes) => got.extend_from_slice(bytes),
                        Piece::Close => closes += 1,
                    }
                }
            }
            assert_eq!((got.len(), &got[..5], &got[205..], closes), (208, &b"hello"[..], &[1, 2, 3][..], 1));
        }
    }

    #[test]
    fn reader_refuses_masked_frames() {
        assert!(Reader::default().next(&mut &[0x82u8, 0x85][..]).is_err());
    }

    #[test]
    fn follower_sees_shift_loss_and_damage() {
        let pattern = pattern();
        let mut good = Follower::default();
        for piece in pattern.chunks(1000).chain(pattern.chunks(777)) {
            assert!(good.follow(&pattern, piece));
        }
        let mut shifted = Follower::default();
        assert!(shifted.follow(&pattern, &pattern[..1000]));
        assert!(!shifted.follow(&pattern, &pattern[1001..2001]));
        let mut damaged = pattern[..1000].to_vec();
        damaged[500] ^= 1;
        assert!(!Follower::default().follow(&pattern, &damaged));
    }

    #[test]
    fn frame_stream_counts_its_payload() {
        let stream = frame_stream(&pattern());
        assert_eq!(stream.len() % FRAME_BYTES, 0);
        assert_eq!(frame_stream_payload(stream.len() as u64), PATTERN_BYTES as u64);
        assert_eq!(frame_stream_payload(8), 0);
        assert_eq!(frame_stream_payload(FRAME_BYTES as u64 + 9), FRAME_PAYLOAD_BYTES as u64 + 1);
    }

    #[test]
    fn answers_are_told_apart() {
        let good = format!("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n\x02");
        assert_eq!(answer_end(good.as_bytes()), Ok(Some(good.len() - 1)));
        assert_eq!(answer_end(b"HTTP/1.1 101 Swi"), Ok(None));
        assert!(answer_end(b"HTTP/1.1 403 Forbidden\r\n\r\n").is_err());
    }
}
