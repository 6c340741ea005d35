//! What is wrong with a peer's TLS, in words.
//!
//! Owns the words where the library has none but the names and numbers of its code. How long a line may be is for whoever
//! writes it. Pure.

use rustls::{CertificateError, Error};
use x509_cert::der::oid::ObjectIdentifier;

/// The tag of an object identifier in DER.
const OID_TAG: u8 = 6;

/// An error, in words.
pub fn words(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(fault) => format!("invalid peer certificate: {}", certificate(fault)),
        other => other.to_string(),
    }
}

fn certificate(fault: &CertificateError) -> String {
    use CertificateError as Fault;
    let plain = match fault {
        Fault::BadEncoding => "it is damaged",
        Fault::Expired => "it has expired",
        Fault::NotValidYet => "it is not valid yet",
        Fault::Revoked => "it was revoked",
        Fault::UnhandledCriticalExtension => "it has a critical extension that is not known here",
        Fault::UnknownIssuer => "no authority that is trusted here has signed it (unknown issuer)",
        Fault::UnknownRevocationStatus => "whether it was revoked is not known",
        Fault::ExpiredRevocationList => "the list of revoked ones has expired",
        Fault::BadSignature => "its signature is wrong",
        Fault::NotValidForName => "it is not valid for the name",
        Fault::InvalidPurpose => "it is for another purpose",
        Fault::InvalidOcspResponse => "what proves that it was not revoked is wrong",
        Fault::ApplicationVerificationFailure => "it was refused",
        Fault::UnsupportedSignatureAlgorithmContext { signature_algorithm_id, .. } => {
            return format!(
                "it, or one above it, is signed by an algorithm that is not trusted ({})",
                name(signature_algorithm_id)
            );
        }
        Fault::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id,
            public_key_algorithm_id,
        } => {
            return format!(
                "it, or one above it, is signed by an algorithm ({}) that does not go with its issuer's key ({})",
                name(signature_algorithm_id),
                name(public_key_algorithm_id)
            );
        }
        // Those that the library has words for, and reasons of a system's own verifier.
        other => return other.to_string(),
    };
    plain.to_owned()
}

/// An algorithm by the identifier that its DER begins with.
fn name(der: &[u8]) -> String {
    let identifier = match der {
        [OID_TAG, len, rest @ ..] => rest.get(..usize::from(*len)),
        _ => None,
    };
    let identifier = identifier.and_then(|bytes| ObjectIdentifier::from_bytes(bytes).ok());
    identifier.map_or_else(|| "unnamed".to_owned(), |identifier| identifier.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_shows_bytes_or_names_of_code() {
        let ecdsa = vec![6, 8, 42, 134, 72, 206, 61, 4, 3, 2];
        let rsa = vec![6, 9, 42, 134, 72, 134, 247, 13, 1, 1, 1, 5, 0];
        for (fault, part) in [
            (
                CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
                    signature_algorithm_id: ecdsa.clone(),
                    public_key_algorithm_id: rsa,
                },
                "an algorithm (1.2.840.10045.4.3.2) that does not go with its issuer's key (1.2.840.113549.1.1.1)",
            ),
            (
                CertificateError::UnsupportedSignatureAlgorithmContext {
                    signature_algorithm_id: ecdsa,
                    supported_algorithms: Vec::new(),
                },
                "not trusted (1.2.840.10045.4.3.2)",
            ),
            (
                CertificateError::UnsupportedSignatureAlgorithmContext {
                    signature_algorithm_id: vec![6, 200, 1],
                    supported_algorithms: Vec::new(),
                },
                "not trusted (unnamed)",
            ),
            (CertificateError::UnknownIssuer, "unknown issuer"),
            (CertificateError::BadEncoding, "damaged"),
        ] {
            let debug = format!("{fault:?}");
            let said = words(&Error::InvalidCertificate(fault));
            assert!(said.starts_with("invalid peer certificate: ") && said.contains(part), "{said}");
            assert!(!said.contains(&debug) && !said.contains(['[', '{']), "{said}");
        }
        assert_eq!(words(&Error::DecryptError), Error::DecryptError.to_string());
    }
}
