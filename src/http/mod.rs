//! HTTP/1.1, server role, as far as a bridge needs it: heads in, answers out. Pure.
//!
//! Owns the strict grammar of a request head ([`head`]), the rules of an upgrade ([`upgrade`]), the way an answer is
//! written ([`response`]), the refusals that know their own answer ([`refusal`]), the hosts that are answered for ([`host`]) and
//! what a client gets that came without TLS ([`secure`]). Bytes, the date and the server's name come in as arguments. It never
//! reads a body: whoever sends one is answered and the connection ends.

pub mod date;
pub mod head;
pub mod host;
pub mod refusal;
pub mod response;
mod scan;
pub mod secure;
pub mod upgrade;

pub use head::{Head, Progress, Scan};
pub use refusal::Refusal;
pub use response::{After, Response};

/// Whether `text` is a token (RFC 9110 section 5.6.2): what a method, a header name and a sub-protocol must be.
pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| scan::is(byte, scan::TOKEN))
}

/// `text` without the blanks and tabs at its ends (OWS, RFC 9110 section 5.6.3).
pub fn trim(text: &[u8]) -> &[u8] {
    let blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
    let start = text.iter().position(|byte| !blank(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    &text[start..end]
}
