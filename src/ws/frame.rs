//! The words of the wire: opcodes, kinds of messages, payloads of control frames (RFC 6455 sections 5.2 and 5.5).
//!
//! Types only; who may send what, and when, is judged by the decoder.

use crate::limits::CONTROL_PAYLOAD_BYTES_MAX;

/// What a frame is: the low four bits of its first byte (RFC 6455 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// More of the message that is open.
    Continuation = 0x0,
    /// The first frame of a message of UTF-8 text.
    Text = 0x1,
    /// The first frame of a message of bytes.
    Binary = 0x2,
    /// The sender says goodbye and sends nothing after it.
    Close = 0x8,
    /// Asks for a pong with the same payload.
    Ping = 0x9,
    /// Answers a ping, or comes unasked.
    Pong = 0xA,
}

impl Opcode {
    /// The opcode of a frame's first byte; `None` for the ten numbers that RFC 6455 reserves.
    #[inline]
    pub fn of(first_byte: u8) -> Option<Opcode> {
        match first_byte & 0x0F {
            0x0 => Some(Opcode::Continuation),
            0x1 => Some(Opcode::Text),
            0x2 => Some(Opcode::Binary),
            0x8 => Some(Opcode::Close),
            0x9 => Some(Opcode::Ping),
            0xA => Some(Opcode::Pong),
            _ => None,
        }
    }

    /// Whether frames of this opcode are control frames, which may stand between the fragments of a message.
    #[inline]
    pub fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// What a message carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8, checked as it arrives.
    Text,
    /// Bytes without meaning to the codec.
    Binary,
}

impl Kind {
    /// The opcode of the first frame of such a message.
    #[inline]
    pub fn opcode(self) -> Opcode {
        match self {
            Kind::Text => Opcode::Text,
            Kind::Binary => Opcode::Binary,
        }
    }
}

/// The payload of a control frame, 0 to 125 bytes, held by value so that it outlives the buffer it came in.
#[derive(Clone, Copy)]
pub struct ControlPayload {
    len: u8,
    bytes: [u8; CONTROL_PAYLOAD_BYTES_MAX],
}

impl ControlPayload {
    /// The payload of no bytes.
    pub const EMPTY: ControlPayload = ControlPayload { len: 0, bytes: [0; CONTROL_PAYLOAD_BYTES_MAX] };

    /// A copy of `payload`; `None` if it is longer than 125 bytes (RFC 6455 section 5.5).
    #[inline]
    pub fn new(payload: &[u8]) -> Option<ControlPayload> {
        let mut whole = ControlPayload::EMPTY;
        whole.bytes.get_mut(..payload.len())?.copy_from_slice(payload);
        whole.len = payload.len() as u8;
        Some(whole)
    }

    /// The bytes, unmasked.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The bytes, to unmask them where they lie.
    #[inline]
    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes[..usize::from(self.len)]
    }

    /// Adds as much of `more` as makes the payload `whole` bytes long, and tells how many bytes that were.
    pub(super) fn extend(&mut self, more: &[u8], whole: usize) -> usize {
        let from = usize::from(self.len);
        let taken = more.len().min(whole - from);
        self.bytes[from..from + taken].copy_from_slice(&more[..taken]);
        self.len += taken as u8;
        taken
    }
}

impl Default for ControlPayload {
    fn default() -> ControlPayload {
        ControlPayload::EMPTY
    }
}

impl PartialEq for ControlPayload {
    fn eq(&self, other: &ControlPayload) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for ControlPayload {}

impl std::fmt::Debug for ControlPayload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ControlPayload(\"{}\")", self.as_slice().escape_ascii())
    }
}
