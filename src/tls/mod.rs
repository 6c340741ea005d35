//! TLS on both sides: what was configured, the record transformer, and the material it works with.
//!
//! [`stream`] is pure: bytes in, bytes out. [`material`] reads certificates and keys, [`renewal`] watches them; those two
//! block and stand on a higher floor. Owns every decision about versions, ciphers and verification. It never opens a
//! socket.

pub mod identity;
pub mod material;
mod pem;
mod records;
pub mod renewal;
pub mod resolver;
pub mod stream;
pub mod suites;
mod verifier;
mod version1;
pub mod words;

use std::fmt;
use std::path::PathBuf;

/// What the operator asked for: plain data, nothing read yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// Certificates towards clients; a client that asks for no known name gets the first. None: no TLS towards clients.
    pub pairs: Vec<Pair>,
    /// The certificate that would do if it were there, where `pairs` has none: TLS towards clients begins when it comes.
    pub awaited: Option<Pair>,
    /// Oldest version that clients may speak. Targets may speak any that exists here.
    pub version: Version,
    /// What clients may choose from, checked by [`suites::parse`]; all suites if `None`.
    pub ciphers: Option<String>,
    /// Clients must show a certificate.
    pub verify_client: bool,
    /// Who may have signed the certificates of clients; the system's authorities if `None`.
    pub cafile: Option<PathBuf>,
    /// TLS to the target; `None`: plain.
    pub target: Option<TargetOptions>,
}

/// A certificate and its key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pair {
    /// PEM file with the certificate, then those of its issuers.
    pub cert: PathBuf,
    /// PEM file with the key; `None`: it is in `cert`.
    pub key: Option<PathBuf>,
    /// What the key is encrypted with.
    pub password: Option<Secret>,
}

/// TLS to the target.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TargetOptions {
    /// Who may have signed the target's certificate; the system's authorities if `None`.
    pub ca: Option<PathBuf>,
    /// What is shown to a target that asks for a certificate.
    pub pair: Option<Pair>,
    /// The name to ask for and to verify, in place of the target's host. A Unix target needs one, unless `insecure`.
    pub name: Option<String>,
    /// Accept any certificate.
    pub insecure: bool,
}

/// A password: never shown.
#[derive(Clone, Default, PartialEq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Oldest version of TLS that is spoken. Older ones than these do not exist here (RFC 8996).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// 1.2 and 1.3.
    #[default]
    Tls12,
    /// 1.3 only.
    Tls13,
}

impl Version {
    /// The words of `--ssl-version`.
    pub const WORDS: [&str; 4] = ["default", "tlsv1_1", "tlsv1_2", "tlsv1_3"];

    /// The version that a word of `--ssl-version` means.
    ///
    /// # Errors
    /// An explanation, for other words.
    pub fn parse(word: &str) -> Result<Version, String> {
        match word {
            "default" | "tlsv1_1" | "tlsv1_2" => Ok(Version::Tls12),
            "tlsv1_3" => Ok(Version::Tls13),
            "sslv2" | "sslv3" | "sslv23" | "tlsv1" | "tlsv1_0" => {
                Err(format!("{word} is broken and not spoken any more; the oldest version is tlsv1_2"))
            }
            _ => Err(format!("unknown version \"{word}\"; known are {}", Version::WORDS.join(", "))),
        }
    }
}

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod stream_tests;
