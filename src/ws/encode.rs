//! What the server writes: frame headers, control frames, the payload of a close (RFC 6455 section 5).
//!
//! Everything goes into small arrays by value, so that the caller puts it into the headroom in front of its payload
//! and one send takes both. Server frames are never masked, and lengths take the shortest form.

use super::close::code_is_valid;
use super::frame::{ControlPayload, Opcode};
use crate::limits::{CLOSE_REASON_BYTES_MAX, CONTROL_PAYLOAD_BYTES_MAX, SERVER_HEADER_BYTES_MAX};

const FIN: u8 = 0x80;
const LENGTH_IN_16_BITS: u8 = 126;
const LENGTH_IN_64_BITS: u8 = 127;

/// The header of a server's frame: 2, 4 or 10 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    bytes: [u8; SERVER_HEADER_BYTES_MAX],
    len: u8,
}

impl Header {
    /// The bytes that go in front of the payload.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// The header of a frame with `len` bytes of payload (at most 2^63 - 1), in its shortest form (RFC 6455 section 5.2).
/// `fin` says that the frame ends its message; of a control frame it must be true, and `len` at most 125.
#[inline]
pub fn header(opcode: Opcode, fin: bool, len: u64) -> Header {
    debug_assert!(len <= i64::MAX as u64);
    debug_assert!(!opcode.is_control() || (fin && len <= CONTROL_PAYLOAD_BYTES_MAX as u64));
    let mut bytes = [0; SERVER_HEADER_BYTES_MAX];
    bytes[0] = opcode as u8 | if fin { FIN } else { 0 };
    let used = match len {
        0..=125 => {
            bytes[1] = len as u8;
            2
        }
        126..=0xFFFF => {
            bytes[1] = LENGTH_IN_16_BITS;
            bytes[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            4
        }
        _ => {
            bytes[1] = LENGTH_IN_64_BITS;
            bytes[2..].copy_from_slice(&len.to_be_bytes());
            10
        }
    };
    Header { bytes, len: used }
}

/// The payload of a close frame. `code` must be one that may be sent (RFC 6455 section 7.4); `reason` is cut at the
/// end of the last character that fits into 123 bytes.
pub fn close_payload(code: u16, reason: &str) -> ControlPayload {
    debug_assert!(code_is_valid(code), "close code {code} must not be sent");
    let mut end = reason.len().min(CLOSE_REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = ControlPayload::EMPTY;
    payload.extend(&code.to_be_bytes(), 2);
    payload.extend(&reason.as_bytes()[..end], CONTROL_PAYLOAD_BYTES_MAX);
    payload
}

/// A whole control frame, 2 to 127 bytes.
#[derive(Clone, Copy)]
pub struct ControlFrame {
    bytes: [u8; 2 + CONTROL_PAYLOAD_BYTES_MAX],
    len: u8,
}

impl ControlFrame {
    /// A ping (RFC 6455 section 5.5.2).
    pub fn ping(payload: &ControlPayload) -> ControlFrame {
        ControlFrame::new(Opcode::Ping, payload)
    }

    /// The pong that answers a ping with this payload (RFC 6455 section 5.5.3).
    pub fn pong(payload: &ControlPayload) -> ControlFrame {
        ControlFrame::new(Opcode::Pong, payload)
    }

    /// A close frame (RFC 6455 section 5.5.1); its payload comes from [`close_payload`], from
    /// [`super::CloseReason::payload`], or is [`ControlPayload::EMPTY`].
    pub fn close(payload: &ControlPayload) -> ControlFrame {
        ControlFrame::new(Opcode::Close, payload)
    }

    /// The bytes to send.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    fn new(opcode: Opcode, payload: &ControlPayload) -> ControlFrame {
        let payload = payload.as_slice();
        let mut bytes = [0; 2 + CONTROL_PAYLOAD_BYTES_MAX];
        bytes[..2].copy_from_slice(header(opcode, true, payload.len() as u64).as_slice());
        bytes[2..2 + payload.len()].copy_from_slice(payload);
        ControlFrame { bytes, len: 2 + payload.len() as u8 }
    }
}

impl std::fmt::Debug for ControlFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ControlFrame(\"{}\")", self.as_slice().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ControlPayload, Kind, Opcode, code};
    use super::{ControlFrame, close_payload, header};

    #[test]
    fn headers_take_the_shortest_form() {
        const TABLE: &[(Opcode, bool, u64, &[u8])] = &[
            (Opcode::Binary, true, 0, b"\x82\x00"),
            (Opcode::Binary, true, 1, b"\x82\x01"),
            (Opcode::Text, true, 125, b"\x81\x7D"),
            (Opcode::Text, false, 126, b"\x01\x7E\x00\x7E"),
            (Opcode::Continuation, false, 127, b"\x00\x7E\x00\x7F"),
            (Opcode::Continuation, true, 65_535, b"\x80\x7E\xFF\xFF"),
            (Opcode::Binary, true, 65_536, b"\x82\x7F\0\0\0\0\0\x01\0\0"),
            (Opcode::Binary, false, i64::MAX as u64, b"\x02\x7F\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF"),
            (Opcode::Close, true, 0, b"\x88\x00"),
            (Opcode::Ping, true, 4, b"\x89\x04"),
            (Opcode::Pong, true, 125, b"\x8A\x7D"),
        ];
        for (opcode, fin, len, bytes) in TABLE {
            assert_eq!(header(*opcode, *fin, *len).as_slice(), *bytes, "{opcode:?} {fin} {len}");
        }
        assert_eq!(header(Kind::Binary.opcode(), true, 2).as_slice(), b"\x82\x02");
        assert_eq!(header(Kind::Text.opcode(), true, 2).as_slice(), b"\x81\x02");
    }

    #[test]
    fn close_reasons_are_cut_between_characters() {
        let euros = "€".repeat(41);
        assert_eq!(euros.len(), 123);
        for (reason, kept) in [
            ("", ""),
            ("Target closed", "Target closed"),
            (euros.as_str(), euros.as_str()),
            (&format!("{euros}x"), euros.as_str()),
            (&format!("x{euros}"), &format!("x{}", "€".repeat(40))),
            (&format!("xx{euros}"), &format!("xx{}", "€".repeat(40))),
            (&"a".repeat(5000), &"a".repeat(123)),
        ] {
            let payload = close_payload(code::INTERNAL, reason);
            assert_eq!(payload.as_slice(), [b"\x03\xF3", kept.as_bytes()].concat(), "{reason}");
        }
    }

    #[test]
    fn control_frames_are_whole() {
        let longest = ControlPayload::new(&[7; 125]).unwrap();
        assert_eq!(ControlFrame::ping(&ControlPayload::EMPTY).as_slice(), b"\x89\x00");
        assert_eq!(ControlFrame::pong(&ControlPayload::new(b"hi").unwrap()).as_slice(), b"\x8A\x02hi");
        assert_eq!(ControlFrame::close(&close_payload(1000, "bye")).as_slice(), b"\x88\x05\x03\xE8bye");
        assert_eq!(ControlFrame::ping(&longest).as_slice(), [&b"\x89\x7D"[..], &[7; 125]].concat());
        assert_eq!(ControlPayload::new(&[7; 126]), None);
    }
}
