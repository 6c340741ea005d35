//! TLS on both sides: what was configured, the record transformer, and the material it works with.
//!
//! [`stream`] is pure: bytes in, bytes out. `material` reads certificates and keys, `renewal` watches them; those two block
//! and stand on a higher floor. Owns every decision about versions, ciphers and verification. It never opens a socket.

pub mod resolver;
pub mod stream;
pub mod suites;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod stream_tests;
