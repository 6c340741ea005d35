//! Encryption of tokens (RFC 7516, 7518 sections 4 and 5).
//!
//! A token is opened in two steps: the key opens or agrees on the key of the content, and that opens the content. Whatever
//! fails, the fault is the same, so that nobody learns from it how far they came.

use super::super::equal;
use super::key::{Curve, Key, Kind};
use super::{Fault, Object, decode, header, word};
use aes_kw::cipher::KeyInit;
use aes_kw::{KwAes128, KwAes192, KwAes256};
use aws_lc_rs::aead::{AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, agree};
use aws_lc_rs::cipher::{self, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey};

const NOT_OPENED: Fault = "the encryption is not for this key, or of a kind that it cannot open";

/// Bytes of the tag of AES-GCM.
const TAG_BYTES: usize = 16;

/// The content of a token that is encrypted for `key`.
pub fn decrypt(token: &str, key: &Key) -> Result<Vec<u8>, Fault> {
    let parts: Vec<&str> = token.split('.').collect();
    let [head, wrapped, iv, content, tag] = parts[..] else { return Err("not an encrypted token") };
    let header = header(head)?;
    if header.contains_key("zip") {
        return Err("the token is compressed");
    }
    let (wrapped, iv, content, tag) = (decode(wrapped)?, decode(iv)?, decode(content)?, decode(tag)?);
    let method = Content::of(word(&header, "enc")).ok_or(NOT_OPENED)?;
    let content_key = unwrap(&header, &wrapped, method, key).filter(|key| key.len() == method.key_bytes());
    method.open(&content_key.ok_or(NOT_OPENED)?, head.as_bytes(), &iv, content, &tag).ok_or(NOT_OPENED)
}

/// The key of the content.
fn unwrap(header: &Object, wrapped: &[u8], method: Content, key: &Key) -> Option<Vec<u8>> {
    let algorithm = word(header, "alg");
    match key.kind() {
        Kind::Secret(secret) => match (algorithm, algorithm.strip_suffix("GCMKW")) {
            ("dir", _) => wrapped.is_empty().then(|| secret.clone()),
            (_, Some(size)) if secret.len() == bytes_of(size)? => {
                let (iv, tag) = (decode(word(header, "iv")).ok()?, decode(word(header, "tag")).ok()?);
                open_gcm(secret, &[], &iv, wrapped.to_vec(), &tag)
            }
            _ => open_wrap(algorithm, secret, wrapped),
        },
        Kind::Rsa { private: Some(private), .. } => open_oaep(algorithm, private, wrapped),
        Kind::Ec { curve, private: Some(private), .. } => {
            let agreed = |name: &str, bytes| agree_on(header, *curve, private, name, bytes);
            match algorithm.strip_prefix("ECDH-ES") {
                Some("") if wrapped.is_empty() => agreed(word(header, "enc"), method.key_bytes()),
                Some(kind) => {
                    let kind = kind.strip_prefix('+')?;
                    let bytes = bytes_of(kind.strip_suffix("KW")?)?;
                    open_wrap(kind, &agreed(algorithm, bytes)?, wrapped)
                }
                None => None,
            }
        }
        Kind::Rsa { .. } | Kind::Ec { .. } | Kind::Ed25519 { .. } => None,
    }
}

/// Bytes of a key of `A128`, `A192` or `A256`.
fn bytes_of(size: &str) -> Option<usize> {
    match size {
        "A128" => Some(16),
        "A192" => Some(24),
        "A256" => Some(32),
        _ => None,
    }
}

/// AES key wrap (RFC 3394).
fn open_wrap(algorithm: &str, key: &[u8], wrapped: &[u8]) -> Option<Vec<u8>> {
    let mut room = vec![0; wrapped.len().checked_sub(8)?];
    let opened = match algorithm {
        "A128KW" => KwAes128::new_from_slice(key).ok()?.unwrap_key(wrapped, &mut room),
        "A192KW" => KwAes192::new_from_slice(key).ok()?.unwrap_key(wrapped, &mut room),
        "A256KW" => KwAes256::new_from_slice(key).ok()?.unwrap_key(wrapped, &mut room),
        _ => return None,
    };
    opened.ok().map(<[u8]>::to_vec)
}

fn open_oaep(algorithm: &str, private: &OaepPrivateDecryptingKey, wrapped: &[u8]) -> Option<Vec<u8>> {
    let padding = match algorithm {
        "RSA-OAEP" => &OAEP_SHA1_MGF1SHA1,
        "RSA-OAEP-256" => &OAEP_SHA256_MGF1SHA256,
        _ => return None,
    };
    let mut room = vec![0; private.min_output_size()];
    private.decrypt(padding, wrapped, &mut room, None).ok().map(|opened| opened.to_vec())
}

/// ECDH-ES (RFC 7518 section 4.6) with the key that the header brings, which is one of use only with ours.
fn agree_on(
    header: &Object,
    curve: Curve,
    private: &PrivateKey,
    name: &str,
    bytes: usize,
) -> Option<Vec<u8>> {
    let theirs = header.get("epk")?.as_object()?;
    if word(theirs, "kty") != "EC" || word(theirs, "crv") != curve.name() {
        return None;
    }
    let (x, y) = (decode(word(theirs, "x")).ok()?, decode(word(theirs, "y")).ok()?);
    if x.len() != y.len() {
        return None;
    }
    // That it lies on the curve is checked when it is read.
    let point = [&[4], &x[..], &y].concat();
    let party = |field| match header.contains_key(field) {
        true => decode(word(header, field)).ok(),
        false => Some(Vec::new()),
    };
    let (apu, apv) = (party("apu")?, party("apv")?);
    let theirs = UnparsedPublicKey::new(curve.agreement()?, point);
    agree(private, theirs, (), |secret| Ok(derive(secret, name, &apu, &apv, bytes))).ok()
}

/// Concat KDF with SHA-256 (RFC 7518 section 4.6.2).
pub(super) fn derive(secret: &[u8], name: &str, apu: &[u8], apv: &[u8], bytes: usize) -> Vec<u8> {
    let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    let mut info = Vec::new();
    for field in [name.as_bytes(), apu, apv] {
        info.extend_from_slice(&number(field.len()));
        info.extend_from_slice(field);
    }
    info.extend_from_slice(&number(bytes * 8));
    let round = |count| digest(&SHA256, &[&number(count), secret, &info].concat());
    let mut key: Vec<u8> =
        (1..=bytes.div_ceil(32)).flat_map(|count| round(count).as_ref().to_vec()).collect();
    key.truncate(bytes);
    key
}

/// How content is encrypted.
#[derive(Clone, Copy)]
enum Content {
    /// AES-GCM, with so many bytes of key.
    Gcm(usize),
    /// AES-CBC with HMAC, each with so many bytes of key.
    Cbc(usize, hmac::Algorithm),
}

impl Content {
    fn of(name: &str) -> Option<Content> {
        match name {
            "A128CBC-HS256" => Some(Content::Cbc(16, hmac::HMAC_SHA256)),
            "A192CBC-HS384" => Some(Content::Cbc(24, hmac::HMAC_SHA384)),
            "A256CBC-HS512" => Some(Content::Cbc(32, hmac::HMAC_SHA512)),
            _ => name.strip_suffix("GCM").and_then(bytes_of).map(Content::Gcm),
        }
    }

    fn key_bytes(self) -> usize {
        match self {
            Content::Gcm(bytes) => bytes,
            Content::Cbc(bytes, _) => 2 * bytes,
        }
    }

    fn open(self, key: &[u8], aad: &[u8], iv: &[u8], mut content: Vec<u8>, tag: &[u8]) -> Option<Vec<u8>> {
        let (bytes, algorithm) = match self {
            Content::Gcm(_) => return open_gcm(key, aad, iv, content, tag),
            Content::Cbc(bytes, algorithm) => (bytes, algorithm),
        };
        let (mac, key) = key.split_at_checked(bytes)?;
        let length = u64::try_from(aad.len() * 8).ok()?.to_be_bytes();
        let signed = [aad, iv, &content, &length].concat();
        let computed = hmac::sign(&hmac::Key::new(algorithm, mac), &signed);
        equal::same(computed.as_ref().get(..bytes)?, tag).then_some(())?;
        let cipher = match bytes {
            16 => &cipher::AES_128,
            24 => &cipher::AES_192,
            _ => &cipher::AES_256,
        };
        let key = PaddedBlockDecryptingKey::cbc_pkcs7(UnboundCipherKey::new(cipher, key).ok()?).ok()?;
        let iv = FixedLength::<16>::try_from(iv).ok()?;
        key.decrypt(&mut content, DecryptionContext::Iv128(iv)).ok().map(|opened| opened.to_vec())
    }
}

fn open_gcm(key: &[u8], aad: &[u8], iv: &[u8], content: Vec<u8>, tag: &[u8]) -> Option<Vec<u8>> {
    let algorithm = match key.len() {
        16 => &AES_128_GCM,
        24 => &AES_192_GCM,
        32 => &AES_256_GCM,
        _ => return None,
    };
    if tag.len() != TAG_BYTES {
        return None;
    }
    let key = LessSafeKey::new(UnboundKey::new(algorithm, key).ok()?);
    let mut sealed = [&content, tag].concat();
    let nonce = Nonce::try_assume_unique_for_key(iv).ok()?;
    key.open_in_place(nonce, Aad::from(aad), &mut sealed).ok().map(|opened| opened.to_vec())
}
