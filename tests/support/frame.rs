//! WebSocket frames as a client writes them, right or wrong, and as it reads them (RFC 6455 section 5.2).
//!
//! The writer can be told to do everything a client must not do. The reader is strict: a frame that a server must not
//! send is [`Fault::Nonsense`].

use super::wire::{Fault, Inbox};
use std::fmt;
use std::time::Instant;

/// Continuation of a fragmented message.
pub const CONTINUATION: u8 = 0x0;
/// Text.
pub const TEXT: u8 = 0x1;
/// Binary.
pub const BINARY: u8 = 0x2;
/// Close.
pub const CLOSE: u8 = 0x8;
/// Ping.
pub const PING: u8 = 0x9;
/// Pong.
pub const PONG: u8 = 0xa;

/// How the length of a frame is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// As short as possible, the only legal way.
    Minimal,
    /// In the two-byte form, whatever it is.
    Two,
    /// In the eight-byte form, whatever it is.
    Eight,
    /// In the shortest form, but this number and not the true one.
    Claimed(u64),
    /// In the eight-byte form, and this number.
    ClaimedEight(u64),
}

/// One frame.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// Last of its message.
    pub fin: bool,
    /// The three reserved bits, 0 to 7.
    pub rsv: u8,
    /// Low four bits of the first byte.
    pub opcode: u8,
    /// Masking key; `None`: not masked.
    pub key: Option<[u8; 4]>,
    /// How the length is written.
    pub length: Length,
    /// Payload, not masked.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A final, masked, legal frame.
    pub fn new(opcode: u8, payload: impl Into<Vec<u8>>) -> Frame {
        let payload = payload.into();
        // A key that changes with the frame shows a server that keeps the key or its phase from the last one.
        let key =
            (super::checksum(&payload[..payload.len().min(64)]) ^ payload.len() as u32 | 1).to_be_bytes();
        Frame { fin: true, rsv: 0, opcode, key: Some(key), length: Length::Minimal, payload }
    }

    /// A whole text message.
    pub fn text(payload: impl Into<Vec<u8>>) -> Frame {
        Frame::new(TEXT, payload)
    }

    /// A whole binary message.
    pub fn binary(payload: impl Into<Vec<u8>>) -> Frame {
        Frame::new(BINARY, payload)
    }

    /// The last continuation.
    pub fn last(payload: impl Into<Vec<u8>>) -> Frame {
        Frame::new(CONTINUATION, payload)
    }

    /// A continuation with more to come.
    pub fn middle(payload: impl Into<Vec<u8>>) -> Frame {
        Frame::last(payload).more()
    }

    /// A ping.
    pub fn ping(payload: impl Into<Vec<u8>>) -> Frame {
        Frame::new(PING, payload)
    }

    /// A pong.
    pub fn pong(payload: impl Into<Vec<u8>>) -> Frame {
        Frame::new(PONG, payload)
    }

    /// A close with code and reason.
    pub fn close(code: u16, reason: impl AsRef<[u8]>) -> Frame {
        Frame::new(CLOSE, close_payload(code, reason))
    }

    /// The same, not final.
    pub fn more(mut self) -> Frame {
        self.fin = false;
        self
    }

    /// The same with reserved bits.
    pub fn rsv(mut self, bits: u8) -> Frame {
        self.rsv = bits;
        self
    }

    /// The same with this masking key.
    pub fn key(mut self, key: [u8; 4]) -> Frame {
        self.key = Some(key);
        self
    }

    /// The same without a mask.
    pub fn unmasked(mut self) -> Frame {
        self.key = None;
        self
    }

    /// The same with its length written so.
    pub fn length(mut self, form: Length) -> Frame {
        self.length = form;
        self
    }

    /// The frame's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.payload.len() + 14);
        out.push(u8::from(self.fin) << 7 | (self.rsv & 7) << 4 | self.opcode & 15);
        let mask = u8::from(self.key.is_some()) << 7;
        let (len, wide) = match self.length {
            Length::Minimal | Length::Two => (self.payload.len() as u64, false),
            Length::Eight => (self.payload.len() as u64, true),
            Length::Claimed(len) => (len, false),
            Length::ClaimedEight(len) => (len, true),
        };
        let two = self.length == Length::Two || (126..=0xffff).contains(&len);
        if wide || len > 0xffff {
            out.push(mask | 127);
            out.extend_from_slice(&len.to_be_bytes());
        } else if two {
            out.push(mask | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        } else {
            out.push(mask | len as u8);
        }
        match self.key {
            None => out.extend_from_slice(&self.payload),
            Some(key) => {
                out.extend_from_slice(&key);
                out.extend(self.payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
            }
        }
        out
    }

    /// Reads one frame of a server and judges it.
    pub fn read(inbox: &mut Inbox, until: Instant) -> Result<Frame, Fault> {
        let head = inbox.take(2, until)?;
        let (fin, rsv, opcode) = (head[0] & 0x80 != 0, head[0] >> 4 & 7, head[0] & 15);
        let masked = head[1] & 0x80 != 0;
        let (len, least) = match head[1] & 0x7f {
            126 => (big_endian(&inbox.take(2, until)?), 126),
            127 => (big_endian(&inbox.take(8, until)?), 0x1_0000),
            short => (u64::from(short), 0),
        };
        let wrong =
            |what: &str| Err(Fault::Nonsense(format!("{what}: frame head {head:02x?}, length {len}")));
        if masked {
            return wrong("a masked frame from the server");
        } else if rsv != 0 {
            return wrong("reserved bits from the server");
        } else if len < least {
            return wrong("a length that is not minimal from the server");
        } else if opcode >= CLOSE && (!fin || len > 125) {
            return wrong("a control frame that is long or fragmented from the server");
        } else if !matches!(opcode, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG) {
            return wrong("a reserved opcode from the server");
        } else if len > 1 << 30 {
            return wrong("an absurd length from the server");
        }
        let payload = inbox.take(len as usize, until)?;
        Ok(Frame { fin, rsv, opcode, key: None, length: Length::Minimal, payload })
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = if self.fin { "" } else { "..." };
        write!(f, "frame 0x{:x}{more} rsv {} {}", self.opcode, self.rsv, super::brief(&self.payload))
    }
}

/// The payload of a close frame.
pub fn close_payload(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason.as_ref()].concat()
}

/// The frames' bytes, one behind the other.
pub fn bytes_of(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(Frame::bytes).collect()
}

fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
