//! PEM: the sections of a file, and the private key in them, also an encrypted one.
//!
//! Pure: the text of a file in, DER or one line of complaint out; the caller puts the file's name in front. It never looks
//! into certificates and never reads anything.

use aes::{Aes128, Aes192, Aes256};
use cbc::Decryptor;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockCipherDecrypt, BlockModeDecrypt, KeyInit, KeyIvInit};
use des::TdesEde3;
use md5::{Digest, Md5};
use pkcs8::EncryptedPrivateKeyInfoRef;
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";

/// One `-----BEGIN` to `-----END` (RFC 7468).
#[derive(Debug)]
pub(super) struct Section<'a> {
    label: &'a str,
    /// `DEK-Info` of traditional encryption (RFC 1421 section 4.6.1.3): algorithm and initial vector in hex.
    encryption: Option<(&'a str, &'a str)>,
    der: Vec<u8>,
}

/// All sections of a file.
///
/// # Errors
/// When it is no PEM at all, or a section is damaged.
pub(super) fn sections(file: &[u8]) -> Result<Vec<Section<'_>>, String> {
    let not_pem = |why: &str| Err(format!("is not PEM{why}; name a PEM file"));
    let Ok(text) = std::str::from_utf8(file) else {
        return match file.first() {
            Some(0x30) => Err("is not PEM but probably DER; convert it with openssl".into()),
            _ => not_pem(""),
        };
    };
    let mut sections = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(BEGIN) {
        let after = &rest[at + BEGIN.len()..];
        let Some((label, body)) = after.split_once(DASHES) else { return not_pem(": a BEGIN line is cut") };
        let Some((body, tail)) = body.split_once(&format!("-----END {label}{DASHES}")[..]) else {
            return not_pem(&format!(": the section {label} has no end"));
        };
        sections.push(section(label, body)?);
        rest = tail;
    }
    if sections.is_empty() {
        return not_pem(if file.is_empty() { ": it is empty" } else { "" });
    }
    Ok(sections)
}

fn section<'a>(label: &'a str, body: &'a str) -> Result<Section<'a>, String> {
    let mut encryption = None;
    let mut encoded = Vec::with_capacity(body.len());
    for line in body.lines().map(str::trim) {
        match line.split_once(':') {
            Some(("DEK-Info", value)) => encryption = value.trim().split_once(','),
            Some(_) => {}
            None => encoded.extend_from_slice(line.as_bytes()),
        }
    }
    let der = base64_simd::STANDARD
        .decode_to_vec(&encoded)
        .map_err(|_| format!("is damaged: the section {label} is not base64; get it anew"))?;
    Ok(Section { label, encryption, der })
}

/// The certificates among `sections`, in their order.
pub(super) fn certificates(sections: &[Section<'_>]) -> Vec<CertificateDer<'static>> {
    let is_certificate = |section: &&Section<'_>| matches!(section.label, "CERTIFICATE" | "X509 CERTIFICATE");
    sections.iter().filter(is_certificate).map(|section| section.der.clone().into()).collect()
}

/// The first private key among `sections`; `None` when there is none.
///
/// # Errors
/// When it is encrypted and `password` is missing, wrong or of no use.
pub(super) fn private_key(
    sections: &[Section<'_>],
    password: Option<&str>,
) -> Result<Option<PrivateKeyDer<'static>>, String> {
    let Some(section) = sections.iter().find(|section| section.label.ends_with("PRIVATE KEY")) else {
        return Ok(None);
    };
    let encrypted = section.label == "ENCRYPTED PRIVATE KEY" || section.encryption.is_some();
    let der = match password {
        _ if !encrypted => section.der.clone(),
        None => return Err("is encrypted; give the password of the key".into()),
        Some(password) => match section.encryption {
            Some((algorithm, vector)) => traditional(algorithm, vector, &section.der, password)?,
            None => modern(&section.der, password)?,
        },
    };
    // What a wrong password makes of a key can look padded by chance, but not like a key as well.
    if encrypted && der.first() != Some(&0x30) {
        return Err(WRONG_PASSWORD.into());
    }
    Ok(Some(match section.label {
        "PRIVATE KEY" | "ENCRYPTED PRIVATE KEY" => PrivatePkcs8KeyDer::from(der).into(),
        "RSA PRIVATE KEY" => PrivatePkcs1KeyDer::from(der).into(),
        "EC PRIVATE KEY" => PrivateSec1KeyDer::from(der).into(),
        other => {
            return Err(format!(
                "holds a key of a kind that is not supported ({other}); use RSA, ECDSA or Ed25519"
            ));
        }
    }))
}

const WRONG_PASSWORD: &str = "cannot be decrypted; the password of the key is wrong";
const CONVERT: &str = "re-encrypt the key with openssl pkcs8 -topk8 -v2 aes-256-cbc";

/// Encrypted PKCS #8 (RFC 5958 section 3) with PBES2 (RFC 8018 section 6.2).
fn modern(der: &[u8], password: &str) -> Result<Vec<u8>, String> {
    let info = EncryptedPrivateKeyInfoRef::try_from(der)
        .map_err(|_| format!("is damaged, or encrypted in a way that is not supported; {CONVERT}"))?;
    if info.encryption_algorithm.pbes2().is_none() {
        return Err(format!("is encrypted in a way that is not supported; {CONVERT}"));
    }
    let key = info.decrypt(password).map_err(|_| WRONG_PASSWORD)?;
    Ok(key.as_bytes().to_vec())
}

/// Traditional encryption, as OpenSSL wrote before PKCS #8: CBC, with a key made of MD5 of password and salt.
fn traditional(algorithm: &str, vector: &str, der: &[u8], password: &str) -> Result<Vec<u8>, String> {
    let vector = unhex(vector.trim())
        .filter(|vector| vector.len() >= 8)
        .ok_or("is damaged: its DEK-Info is not hex; get it anew")?;
    let plain = match algorithm.trim() {
        "AES-128-CBC" => decrypt::<Aes128>(16, &vector, der, password),
        "AES-192-CBC" => decrypt::<Aes192>(24, &vector, der, password),
        "AES-256-CBC" => decrypt::<Aes256>(32, &vector, der, password),
        "DES-EDE3-CBC" => decrypt::<TdesEde3>(24, &vector, der, password),
        other => return Err(format!("is encrypted with {other}, which is not supported; {CONVERT}")),
    };
    plain.ok_or_else(|| WRONG_PASSWORD.into())
}

fn decrypt<C>(key_bytes: usize, vector: &[u8], der: &[u8], password: &str) -> Option<Vec<u8>>
where
    C: BlockCipherDecrypt + KeyInit,
{
    let mut key = Vec::with_capacity(key_bytes + 16);
    let mut block: Vec<u8> = Vec::new();
    while key.len() < key_bytes {
        let digest =
            Md5::new().chain_update(&block).chain_update(password).chain_update(&vector[..8]).finalize();
        block = digest.to_vec();
        key.extend_from_slice(&block);
    }
    let cipher = Decryptor::<C>::new_from_slices(&key[..key_bytes], vector).ok()?;
    let mut data = der.to_vec();
    let length = cipher.decrypt_padded::<Pkcs7>(&mut data).ok()?.len();
    data.truncate(length);
    Some(data)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some((digit(*pair.first()?)? * 16 + digit(*pair.get(1)?)?) as u8)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_pem_says_so() {
        for (file, word) in [
            (&b""[..], "empty"),
            (b"hello", "is not PEM"),
            (b"\x30\x82\xff\xfe", "DER"),
            (b"-----BEGIN CERTIFICATE", "cut"),
            (b"-----BEGIN CERTIFICATE-----\nAAAA\n", "has no end"),
            (b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----", "not base64"),
        ] {
            let error = sections(file).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn sections_are_told_apart() {
        let file =
            b"Bag Attributes: x\n-----BEGIN CERTIFICATE-----\r\nAQID\r\nBA==\r\n-----END CERTIFICATE-----\n\
            -----BEGIN EC PARAMETERS-----\nAQ==\n-----END EC PARAMETERS-----\n\
            -----BEGIN EC PRIVATE KEY-----\nMAA=\n-----END EC PRIVATE KEY-----\n";
        let sections = sections(file).unwrap();
        assert_eq!(certificates(&sections)[0].as_ref(), [1, 2, 3, 4]);
        assert!(matches!(private_key(&sections, None), Ok(Some(PrivateKeyDer::Sec1(_)))));
        assert!(private_key(&sections[..2], None).unwrap().is_none());
    }

    #[test]
    fn damaged_encryption_is_refused_without_panic() {
        for (info, word) in [
            ("AES-128-CBC,zz", "not hex"),
            ("AES-128-CBC,00", "not hex"),
            ("AES-128-CBC,0011223344556677", "wrong"),
            ("RC4,0011223344556677", "not supported"),
        ] {
            let file = format!(
                "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: {info}\n\nMAA=\n-----END RSA PRIVATE KEY-----"
            );
            let sections = sections(file.as_bytes()).unwrap();
            assert!(private_key(&sections, None).unwrap_err().contains("give the password"));
            let error = private_key(&sections, Some("x")).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}
