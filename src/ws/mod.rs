//! The WebSocket codec: RFC 6455, server role. Pure: slices in, events out.
//!
//! [`Decoder`] reads what clients send. It streams: payload is unmasked in place and passed on as it arrives, whatever
//! length its frame announces, so that no buffer ever grows with a number a client wrote. [`header`] and
//! [`ControlFrame`] write what clients receive. [`accept_key`] answers the opening handshake.
//!
//! This room owns the rules of the wire and nothing else. It holds no payload but a control frame that arrived in
//! part, never reads a clock or a socket, never decides what a session does with an event, and knows no HTTP.

mod close;
mod decode;
mod encode;
mod frame;
mod handshake;
mod mask;
#[cfg(test)]
mod tests;
mod utf8;

pub use close::{CloseReason, Violation, code};
pub use decode::{Decoder, Event, Piece, Rules};
pub use encode::{ControlFrame, Header, close_payload, header};
pub use frame::{ControlPayload, Kind, Opcode};
pub use handshake::{ACCEPT_BYTES, accept_key, key_is_valid};
pub use mask::{unmask, unmask_slide};
pub use utf8::Utf8;
