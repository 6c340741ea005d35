//! Why a WebSocket is closed: codes, the payload of close frames, and the rules a client can break.
//!
//! Owns the table from broken rule to close code and reason (RFC 6455 sections 5.5.1 and 7.4). The reasons are those
//! of Python's websockify where it has one, because people search their logs for them. Sends nothing itself.

use super::frame::ControlPayload;

/// Close codes by name (RFC 6455 section 7.4.1 and the IANA registry it opened).
pub mod code {
    /// The purpose of the WebSocket is fulfilled.
    pub const NORMAL: u16 = 1000;
    /// The server stops, or the page was left.
    pub const GOING_AWAY: u16 = 1001;
    /// The other side broke a rule of framing.
    pub const PROTOCOL_ERROR: u16 = 1002;
    /// A kind of message that the receiver does not take.
    pub const UNSUPPORTED: u16 = 1003;
    /// Payload that contradicts its kind: text that is not UTF-8.
    pub const INVALID_DATA: u16 = 1007;
    /// A rule of the house that no other code names.
    pub const POLICY: u16 = 1008;
    /// A message longer than the receiver takes.
    pub const TOO_BIG: u16 = 1009;
    /// Something broke on the server's side, or on the far side of it.
    pub const INTERNAL: u16 = 1011;
    /// The service restarts; come back later.
    pub const RESTART: u16 = 1012;
    /// The server is overloaded; come back later.
    pub const TRY_AGAIN: u16 = 1013;
}

/// Whether `code` may stand in a close frame (RFC 6455 section 7.4). 1004 is reserved, 1005, 1006 and 1015 are for use
/// inside a program only, everything from 1016 to 2999 is unassigned, and below 1000 and above 4999 there is nothing.
pub(super) fn code_is_valid(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// What the client said when it closed: a code that may be sent, and a reason that is UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseReason {
    payload: ControlPayload,
}

impl CloseReason {
    /// Judges the payload of a close frame; `Ok(None)` if it is empty, which is legal and says nothing.
    pub(super) fn parse(payload: ControlPayload) -> Result<Option<CloseReason>, Violation> {
        match payload.as_slice() {
            [] => Ok(None),
            [_] => Err(Violation::BadClosePayload),
            [a, b, reason @ ..] => {
                if !code_is_valid(u16::from_be_bytes([*a, *b])) {
                    return Err(Violation::BadCloseCode);
                }
                std::str::from_utf8(reason).map_err(|_| Violation::BadCloseReason)?;
                Ok(Some(CloseReason { payload }))
            }
        }
    }

    /// The code, one that may be sent back.
    pub fn code(&self) -> u16 {
        let bytes = self.payload.as_slice();
        u16::from_be_bytes([bytes[0], bytes[1]])
    }

    /// The reason, at most 123 bytes; often empty.
    pub fn reason(&self) -> &str {
        std::str::from_utf8(&self.payload.as_slice()[2..]).expect("the reason was checked when it was parsed")
    }

    /// Code and reason as they came, ready to be echoed (RFC 6455 section 5.5.1).
    pub fn payload(&self) -> &ControlPayload {
        &self.payload
    }
}

/// The rule a client broke. Everything a decoder can object to is one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A frame without a mask (RFC 6455 section 5.1).
    Unmasked,
    /// A reserved bit is set though no extension gave it a meaning (section 5.2).
    ReservedBits,
    /// An opcode without a meaning (section 5.2).
    ReservedOpcode,
    /// A control frame of more than 125 bytes (section 5.5).
    LongControl,
    /// A control frame that is not final (section 5.5).
    FragmentedControl,
    /// A length written in a longer form than it needs (section 5.2).
    NonMinimalLength,
    /// A 64-bit length with its top bit set (section 5.2).
    LengthTopBit,
    /// A continuation while no message is open (section 5.4).
    StrayContinuation,
    /// A new message while one is open (section 5.4).
    NewInsideMessage,
    /// A text message where [`super::Rules::text`] refuses it (section 7.4.1).
    TextRefused,
    /// A text message that is not UTF-8 (section 8.1).
    BadUtf8,
    /// A close frame of one byte: too much for nothing, too little for a code (section 5.5.1).
    BadClosePayload,
    /// A close code that must not be sent (section 7.4).
    BadCloseCode,
    /// A close reason that is not UTF-8 (section 5.5.1).
    BadCloseReason,
}

impl Violation {
    /// The code of the close frame that answers it.
    pub fn code(self) -> u16 {
        match self {
            Violation::Unmasked
            | Violation::ReservedBits
            | Violation::ReservedOpcode
            | Violation::LongControl
            | Violation::FragmentedControl
            | Violation::NonMinimalLength
            | Violation::LengthTopBit
            | Violation::StrayContinuation
            | Violation::NewInsideMessage
            | Violation::BadClosePayload
            | Violation::BadCloseCode => code::PROTOCOL_ERROR,
            Violation::TextRefused => code::UNSUPPORTED,
            Violation::BadUtf8 | Violation::BadCloseReason => code::INVALID_DATA,
        }
    }

    /// The reason in the close frame that answers it, which is also the operator's line in the log.
    pub fn reason(self) -> &'static str {
        match self {
            Violation::Unmasked => "Protocol error: Frame not masked",
            Violation::ReservedBits => "Protocol error: Reserved bits set",
            Violation::ReservedOpcode => "Protocol error: Unknown opcode",
            Violation::LongControl => "Protocol error: Control frame too long",
            Violation::FragmentedControl => "Protocol error: Fragmented control frame",
            Violation::NonMinimalLength => "Protocol error: Length not minimal",
            Violation::LengthTopBit => "Protocol error: Length out of range",
            Violation::StrayContinuation => "Protocol error: Unexpected continuation frame",
            Violation::NewInsideMessage => "Protocol error: Unexpected new frame",
            Violation::TextRefused => "Unsupported: Text frames are not supported",
            Violation::BadUtf8 => "Protocol error: Invalid UTF-8 in text",
            Violation::BadClosePayload => "Protocol error: Close payload of one byte",
            Violation::BadCloseCode => "Protocol error: Invalid close code",
            Violation::BadCloseReason => "Protocol error: Invalid UTF-8 in close",
        }
    }
}
