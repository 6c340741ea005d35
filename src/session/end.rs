//! Why a session ended: one reason, which is the word in the log line and decides what the client is told.

use crate::ws::{Violation, code};

/// The one reason why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The client closed with this code; `None` if it gave none.
    ClientClosed(Option<u16>),
    /// The client's stream ended without a close frame.
    ClientEnded,
    /// The client's connection broke.
    ClientReset,
    /// The client's TLS was wrong, or no agreement was found.
    ClientTls,
    /// The target ended its stream.
    TargetClosed,
    /// The target's connection broke.
    TargetReset,
    /// The target's TLS was wrong after it had been agreed.
    TargetTls,
    /// No address of the target could be connected, or its name is unknown.
    TargetRefused,
    /// The target did not answer in time.
    DialTimeout,
    /// The client broke a rule of the protocol.
    Protocol(Violation),
    /// A message was larger than may be held.
    TooLarge,
    /// The target did not keep to the framing that its route named.
    Unframed,
    /// Buffer memory was short when a message had to be held, or when one had been held for long.
    NoMemory,
    /// The request head did not come in time.
    HeadTimeout,
    /// The session was before its head or between two requests, and others needed its place.
    Shed,
    /// A ping was not answered in time.
    HeartbeatLost,
    /// The client took no bytes for too long.
    ClientStalled,
    /// The target took no bytes for too long.
    TargetStalled,
    /// A plain request was answered and the connection is done.
    Answered,
    /// A request was refused with this status.
    Refused(u16),
    /// The client came without TLS where that is closed without a word.
    PlainClosed,
    /// The client speaks TLS where no certificate is configured.
    NoCertificate,
    /// The server stops.
    Stopped,
    /// Handling the session panicked: a bug of ours.
    Internal,
}

impl End {
    /// The word for logs and metrics; a fixed set.
    pub fn name(self) -> &'static str {
        match self {
            End::ClientClosed(_) => "client_closed",
            End::ClientEnded => "client_ended",
            End::ClientReset => "client_reset",
            End::ClientTls => "client_tls_failed",
            End::TargetClosed => "target_closed",
            End::TargetReset => "target_reset",
            End::TargetTls => "target_tls_failed",
            End::TargetRefused => "target_refused",
            End::DialTimeout => "dial_timeout",
            End::Protocol(_) => "protocol_error",
            End::TooLarge => "message_too_large",
            End::Unframed => "target_unframed",
            End::NoMemory => "no_memory",
            End::HeadTimeout => "head_timeout",
            End::Shed => "shed",
            End::HeartbeatLost => "heartbeat_lost",
            End::ClientStalled => "client_stalled",
            End::TargetStalled => "target_stalled",
            End::Answered => "answered",
            End::Refused(_) => "refused",
            End::PlainClosed => "plain_closed",
            End::NoCertificate => "no_certificate",
            End::Stopped => "stopped",
            End::Internal => "internal_error",
        }
    }

    /// Code and reason of the close frame that an open client is sent; `None` where it cannot or must not be told: it is
    /// gone, it is answered with its own close, or it was never a WebSocket.
    pub fn goodbye(self) -> Option<(u16, &'static str)> {
        Some(match self {
            End::TargetClosed => (code::NORMAL, "Target closed"),
            End::TargetReset | End::TargetTls => (code::INTERNAL, "Target reset"),
            End::TargetRefused | End::DialTimeout => {
                (code::INTERNAL, "Failed to connect to downstream server")
            }
            End::TargetStalled => (code::INTERNAL, "Target stalled"),
            End::Protocol(violation) => (violation.code(), violation.reason()),
            End::TooLarge => (code::TOO_BIG, "Message too big"),
            End::Unframed => (code::INVALID_DATA, "Target does not keep to its framing"),
            End::NoMemory => (code::TRY_AGAIN, "Out of buffer memory"),
            End::HeartbeatLost => (code::POLICY, "Ping not answered"),
            End::Stopped => (code::GOING_AWAY, "Server is stopping"),
            End::Internal => (code::INTERNAL, "Internal error"),
            End::ClientClosed(_)
            | End::ClientEnded
            | End::ClientReset
            | End::ClientTls
            | End::ClientStalled
            | End::HeadTimeout
            | End::Shed
            | End::Answered
            | End::PlainClosed
            | End::NoCertificate
            | End::Refused(_) => return None,
        })
    }
}
