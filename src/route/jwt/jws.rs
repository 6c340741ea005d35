//! Signatures of tokens (RFC 7515, 7518 section 3, 8037, 8812).

use super::key::{Curve, Key, Kind};
use super::{Fault, decode, header, word};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{self as sig, UnparsedPublicKey, VerificationAlgorithm};

/// The payload of a token that is signed with `key`.
pub fn verify(token: &str, key: &Key) -> Result<Vec<u8>, Fault> {
    let (signed, signature) = token.rsplit_once('.').ok_or("not a signed token")?;
    let (head, payload) =
        signed.split_once('.').filter(|(_, payload)| !payload.contains('.')).ok_or("not a signed token")?;
    let header = header(head)?;
    let signature = decode(signature)?;
    match key.kind() {
        Kind::Secret(secret) => verify_hmac(word(&header, "alg"), secret, signed.as_bytes(), &signature)?,
        kind => {
            let (algorithm, public) = algorithm(word(&header, "alg"), kind).ok_or(WRONG_ALGORITHM)?;
            let public = UnparsedPublicKey::new(algorithm, public);
            public.verify(signed.as_bytes(), &signature).map_err(|_| WRONG_SIGNATURE)?;
        }
    }
    decode(payload)
}

const WRONG_ALGORITHM: Fault = "the signature is of a kind that this key does not make";
const WRONG_SIGNATURE: Fault = "the signature is not by this key";

/// Fewest bytes of a secret for any signature: a secret is at least as long as its hash (RFC 7518 section 3.2).
pub const SECRET_BYTES_MIN: usize = 32;

fn verify_hmac(name: &str, secret: &[u8], signed: &[u8], signature: &[u8]) -> Result<(), Fault> {
    let (algorithm, least) = match name {
        "HS256" => (hmac::HMAC_SHA256, SECRET_BYTES_MIN),
        "HS384" => (hmac::HMAC_SHA384, 48),
        "HS512" => (hmac::HMAC_SHA512, 64),
        _ => return Err(WRONG_ALGORITHM),
    };
    if secret.len() < least {
        return Err("the key is shorter than its hash");
    }
    hmac::verify(&hmac::Key::new(algorithm, secret), signed, signature).map_err(|_| WRONG_SIGNATURE)
}

fn algorithm<'k>(name: &str, kind: &'k Kind) -> Option<(&'static dyn VerificationAlgorithm, &'k [u8])> {
    let algorithm: &'static dyn VerificationAlgorithm = match (kind, name) {
        (Kind::Rsa { .. }, "RS256") => &sig::RSA_PKCS1_2048_8192_SHA256,
        (Kind::Rsa { .. }, "RS384") => &sig::RSA_PKCS1_2048_8192_SHA384,
        (Kind::Rsa { .. }, "RS512") => &sig::RSA_PKCS1_2048_8192_SHA512,
        (Kind::Rsa { .. }, "PS256") => &sig::RSA_PSS_2048_8192_SHA256,
        (Kind::Rsa { .. }, "PS384") => &sig::RSA_PSS_2048_8192_SHA384,
        (Kind::Rsa { .. }, "PS512") => &sig::RSA_PSS_2048_8192_SHA512,
        (Kind::Ec { curve: Curve::P256, .. }, "ES256") => &sig::ECDSA_P256_SHA256_FIXED,
        (Kind::Ec { curve: Curve::P384, .. }, "ES384") => &sig::ECDSA_P384_SHA384_FIXED,
        (Kind::Ec { curve: Curve::P521, .. }, "ES512") => &sig::ECDSA_P521_SHA512_FIXED,
        (Kind::Ec { curve: Curve::K256, .. }, "ES256K") => &sig::ECDSA_P256K1_SHA256_FIXED,
        (Kind::Ed25519 { .. }, "EdDSA" | "Ed25519") => &sig::ED25519,
        _ => return None,
    };
    match kind {
        Kind::Rsa { public, .. } | Kind::Ec { public, .. } | Kind::Ed25519 { public } => {
            Some((algorithm, public))
        }
        Kind::Secret(_) => None,
    }
}
