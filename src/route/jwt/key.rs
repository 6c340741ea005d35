//! Keys of tokens, as they lie in files: PEM, or a symmetric key in base64url or base64.
//!
//! A key knows what kind it is, and that decides what it may be used for: a public key is never taken for a secret.

use super::jws::SECRET_BYTES_MIN;
use aws_lc_rs::agreement::{self, PrivateKey};
use aws_lc_rs::encoding::AsBigEndian as _;
use aws_lc_rs::rsa::{OaepPrivateDecryptingKey, PrivateDecryptingKey, PublicEncryptingKey};
use aws_lc_rs::signature::{self as sig, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use pkcs8::der::asn1::{AnyRef, BitStringRef, OctetStringRef};
use pkcs8::der::{Decode, Encode};
use pkcs8::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use pkcs8::{Document, ObjectIdentifier, PrivateKeyInfoRef};
use rustls::pki_types::pem::{PemObject, SectionKind};
use std::fmt;
use x509_cert::Certificate;

/// What is wrong with a key of another kind.
const UNFIT: &str =
    "is not a key that tokens can have: RSA of 2048 bits or more, P-256, P-384, P-521, secp256k1, Ed25519";

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// A key. Never shown.
pub struct Key(Kind);

/// What kind of key it is, with the parts in the forms in which they are used.
pub(super) enum Kind {
    Secret(Vec<u8>),
    /// `public` in PKCS #1.
    Rsa {
        public: Vec<u8>,
        private: Option<OaepPrivateDecryptingKey>,
    },
    /// `public` as a point, not compressed.
    Ec {
        curve: Curve,
        public: Vec<u8>,
        private: Option<PrivateKey>,
    },
    Ed25519 {
        public: Vec<u8>,
    },
}

/// A curve for signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
    /// secp256k1; not for encryption.
    K256,
}

impl Curve {
    const ALL: [Curve; 4] = [Curve::P256, Curve::P384, Curve::P521, Curve::K256];

    fn identifier(self) -> ObjectIdentifier {
        ObjectIdentifier::new_unwrap(match self {
            Curve::P256 => "1.2.840.10045.3.1.7",
            Curve::P384 => "1.3.132.0.34",
            Curve::P521 => "1.3.132.0.35",
            Curve::K256 => "1.3.132.0.10",
        })
    }

    /// Its name in tokens.
    pub fn name(self) -> &'static str {
        match self {
            Curve::P256 => "P-256",
            Curve::P384 => "P-384",
            Curve::P521 => "P-521",
            Curve::K256 => "secp256k1",
        }
    }

    fn signing(self) -> &'static sig::EcdsaSigningAlgorithm {
        match self {
            Curve::P256 => &sig::ECDSA_P256_SHA256_FIXED_SIGNING,
            Curve::P384 => &sig::ECDSA_P384_SHA384_FIXED_SIGNING,
            Curve::P521 => &sig::ECDSA_P521_SHA512_FIXED_SIGNING,
            Curve::K256 => &sig::ECDSA_P256K1_SHA256_FIXED_SIGNING,
        }
    }

    /// How two keys agree on a third, where that is done with this curve.
    pub fn agreement(self) -> Option<&'static agreement::Algorithm> {
        match self {
            Curve::P256 => Some(&agreement::ECDH_P256),
            Curve::P384 => Some(&agreement::ECDH_P384),
            Curve::P521 => Some(&agreement::ECDH_P521),
            Curve::K256 => None,
        }
    }
}

impl Key {
    /// Reads the file of a key: a PEM private or public key (RSA, elliptic curve or Ed25519) or certificate; or else a
    /// symmetric key in base64url or base64, with line ends left out, and blanks at its ends. One with blanks in it is
    /// somebody's words, which would be a key by chance.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub fn parse(file: &[u8]) -> Result<Key, String> {
        let text = std::str::from_utf8(file).map_err(|_| "is neither PEM nor base64url")?.trim();
        if !text.contains("-----BEGIN ") {
            let plain = text.trim_end_matches('=').bytes().filter(|byte| !matches!(byte, b'\r' | b'\n'));
            let plain = plain.map(|byte| match byte {
                b'+' => b'-',
                b'/' => b'_',
                _ => byte,
            });
            let secret = base64_simd::URL_SAFE_NO_PAD
                .decode_to_vec(plain.collect::<Vec<_>>())
                .map_err(|_| "is neither PEM nor base64url")?;
            return if secret.is_empty() { Err("is empty".into()) } else { Ok(Key(Kind::Secret(secret))) };
        }
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(file) {
            let (kind, der) = section.map_err(|_| "is damaged PEM")?;
            let key = match kind {
                SectionKind::PublicKey => public(&der),
                SectionKind::Certificate => {
                    let certificate = Certificate::from_der(&der).ok();
                    let info = certificate
                        .map(|certificate| certificate.tbs_certificate().subject_public_key_info().to_der());
                    info.and_then(Result::ok).and_then(|info| public(&info))
                }
                SectionKind::RsaPrivateKey => rsa(&wrapped(&der).ok_or("is damaged PEM")?),
                SectionKind::EcPrivateKey => elliptic(&der),
                SectionKind::PrivateKey => private(&der),
                _ => continue,
            };
            return key.map(Key).ok_or_else(|| UNFIT.into());
        }
        // A label that the reader above does not know.
        let traditional = Document::from_pem(text).ok().filter(|(label, _)| *label == "RSA PUBLIC KEY");
        match traditional.map(|(_, der)| traditional_public(der.as_bytes())) {
            Some(Some(key)) => Ok(Key(key)),
            Some(None) => Err(UNFIT.into()),
            None => Err("has no PEM section with a key that is not encrypted".into()),
        }
    }

    /// It, if any token can be good by it: each has a signature, whatever else its key may be able to do.
    ///
    /// # Errors
    /// What it lacks, in one line.
    pub fn able(self) -> Result<Key, String> {
        match &self.0 {
            Kind::Secret(secret) if secret.len() < SECRET_BYTES_MIN => Err(format!(
                "is a secret of {} bytes, read as base64url, and no signature is made with it: HS256 takes \
                 {SECRET_BYTES_MIN} or more, HS384 48, HS512 64 (openssl rand 32 | basenc --base64url makes one)",
                secret.len()
            )),
            Kind::Secret(_) | Kind::Rsa { .. } | Kind::Ec { .. } | Kind::Ed25519 { .. } => Ok(self),
        }
    }

    pub(super) fn kind(&self) -> &Kind {
        &self.0
    }
}

/// A public RSA key of the traditional form.
fn traditional_public(pkcs1: &[u8]) -> Option<Kind> {
    let algorithm = AlgorithmIdentifierRef { oid: RSA, parameters: Some(AnyRef::NULL) };
    let subject_public_key = BitStringRef::from_bytes(pkcs1).ok()?;
    public(&SubjectPublicKeyInfoRef { algorithm, subject_public_key }.to_der().ok()?)
}

/// A key in a SubjectPublicKeyInfo.
fn public(der: &[u8]) -> Option<Kind> {
    let info = SubjectPublicKeyInfoRef::from_der(der).ok()?;
    let public = info.subject_public_key.as_bytes()?.to_vec();
    match info.algorithm.oid {
        // Whoever can encrypt with it says that it is long enough.
        RSA => PublicEncryptingKey::from_der(der).ok().map(|_| Kind::Rsa { public, private: None }),
        EC => {
            let named = info.algorithm.parameters_oid().ok()?;
            let curve = Curve::ALL.into_iter().find(|curve| curve.identifier() == named)?;
            Some(Kind::Ec { curve, public, private: None })
        }
        ED25519 => Some(Kind::Ed25519 { public }),
        _ => None,
    }
}

/// A key in PKCS #8.
fn private(der: &[u8]) -> Option<Kind> {
    match PrivateKeyInfoRef::from_der(der).ok()?.algorithm.oid {
        RSA => rsa(der),
        EC => elliptic(der),
        ED25519 => {
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok()?;
            Some(Kind::Ed25519 { public: pair.public_key().as_ref().to_vec() })
        }
        _ => None,
    }
}

fn rsa(pkcs8: &[u8]) -> Option<Kind> {
    let pair = RsaKeyPair::from_pkcs8(pkcs8).ok()?;
    let private = OaepPrivateDecryptingKey::new(PrivateDecryptingKey::from_pkcs8(pkcs8).ok()?).ok()?;
    Some(Kind::Rsa { public: pair.public_key().as_ref().to_vec(), private: Some(private) })
}

/// An RSA key of the traditional form, in PKCS #8.
fn wrapped(pkcs1: &[u8]) -> Option<Vec<u8>> {
    let algorithm = AlgorithmIdentifierRef { oid: RSA, parameters: Some(AnyRef::NULL) };
    PrivateKeyInfoRef::new(algorithm, OctetStringRef::new(pkcs1).ok()?).to_der().ok()
}

/// A key in PKCS #8 or in the form of SEC 1.
fn elliptic(der: &[u8]) -> Option<Kind> {
    Curve::ALL.into_iter().find_map(|curve| {
        let pair = EcdsaKeyPair::from_private_key_der(curve.signing(), der).ok()?;
        let private = curve.agreement().and_then(|agreement| {
            let number = pair.private_key().as_be_bytes().ok()?;
            PrivateKey::from_private_key(agreement, number.as_ref()).ok()
        });
        Some(Kind::Ec { curve, public: pair.public_key().as_ref().to_vec(), private })
    })
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(key)")
    }
}
