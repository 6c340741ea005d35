//! The key of the opening handshake and its answer (RFC 6455 section 4.2.2).
//!
//! Proves to a client that it talks to a WebSocket server; it is no secret and protects nothing. Reads no HTTP.

use base64_simd::AsOut;
use sha1::{Digest, Sha1};

/// Length of a `Sec-WebSocket-Accept` value, in bytes: base64 of the twenty bytes of a SHA-1.
pub const ACCEPT_BYTES: usize = 28;

/// What every server appends to the key (RFC 6455 section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The `Sec-WebSocket-Accept` value that answers `key`, the value of `Sec-WebSocket-Key` without blanks around it.
/// Any bytes will do: whether the key is well formed is asked of [`key_is_valid`].
pub fn accept_key(key: &[u8]) -> [u8; ACCEPT_BYTES] {
    let mut sha = Sha1::new();
    sha.update(key);
    sha.update(GUID);
    let mut answer = [0; ACCEPT_BYTES];
    let written = base64_simd::STANDARD.encode(&sha.finalize(), answer.as_mut_slice().as_out());
    debug_assert_eq!(written.len(), ACCEPT_BYTES);
    answer
}

/// Whether `key` is base64 of sixteen bytes: 22 letters and two signs of padding (RFC 6455 section 4.1). The four
/// bits that the last letter has too many are not looked at, because the RFC's own example leaves them set.
pub fn key_is_valid(key: &[u8]) -> bool {
    let Some((letters, b"==")) = key.split_at_checked(22) else { return false };
    letters.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

#[cfg(test)]
mod tests {
    use super::{accept_key, key_is_valid};

    #[test]
    fn answers() {
        for (key, answer) in [
            ("dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            ("x3JJHMbDL1EzLkh9GBhXDw==", "HSmrc0sMlYUkAGmm5OPpG2HaGWk="),
            ("", "Kfh9QIsMVZcl6xEPYxPHzW8SZ8w="),
        ] {
            assert_eq!(accept_key(key.as_bytes()), answer.as_bytes(), "{key}");
        }
    }

    #[test]
    fn keys() {
        for (key, valid) in [
            ("dGhlIHNhbXBsZSBub25jZQ==", true),
            ("AQIDBAUGBwgJCgsMDQ4PEC==", true),
            ("++++++++++++++++++////==", true),
            ("", false),
            ("==", false),
            ("dGhlIHNhbXBsZSBub25jZQ=", false),
            ("dGhlIHNhbXBsZSBub25jZQ", false),
            ("dGhlIHNhbXBsZSBub25jZQ===", false),
            ("dGhlIHNhbXBsZSBub25jZQAA", false),
            ("dGhlIHNhbXBsZSBub25jZ===", false),
            ("dGhlIHNhbXBsZSBub25jZ*==", false),
            ("dGhlIHNhbXBsZSBub25j_-==", false),
            (" GhlIHNhbXBsZSBub25jZQ==", false),
            ("dGhlIHNhbXBsZSBub25jZQ==dGhlIHNhbXBsZSBub25jZQ==", false),
            ("dGhlIHNhbXBsZSBub25jZé==", false),
        ] {
            assert_eq!(key_is_valid(key.as_bytes()), valid, "{key}");
        }
    }
}
