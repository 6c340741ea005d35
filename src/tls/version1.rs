//! Certificates of version 1, as `openssl x509 -req` makes them where nobody asks for extensions: webpki reads none.
//!
//! Such a certificate is one of version 3 without extensions, but for the version that is written in it. So webpki is shown
//! that, and judges it as it does all others; only its signature is checked over the bytes that were signed. Owns the two
//! readings. It never takes one for an authority: what is not the last of its path has to be one of version 3. Pure.

use rustls::pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm, TrustAnchor,
    UnixTime,
};
use rustls::{CertificateError, Error, OtherError};
use std::borrow::Cow;
use std::sync::Arc;
use webpki::{EndEntityCert, KeyUsage};
use x509_cert::Certificate;
use x509_cert::der::asn1::{Any, AnyRef};
use x509_cert::der::{Decode, Encode, Reader, SliceReader, Tag, Tagged};

/// The field that only other versions have: `[0] EXPLICIT INTEGER 2`, which is version 3 (RFC 5280 section 4.1).
const VERSION_3: [u8; 5] = [0xa0, 3, 2, 1, 2];

/// A certificate of version 1 in two readings.
pub(super) struct Version1<'a> {
    /// What its issuer has signed.
    signed: &'a [u8],
    /// The same as part of `certificate`.
    shown: Vec<u8>,
    /// What webpki reads. Nobody has signed it.
    certificate: CertificateDer<'static>,
}

impl<'a> Version1<'a> {
    /// `None` for certificates of other versions, and for what is none.
    pub(super) fn read(certificate: &'a CertificateDer<'_>) -> Option<Version1<'a>> {
        let is_plain = Certificate::from_der(certificate).ok()?.tbs_certificate().extensions().is_none();
        let whole = AnyRef::from_der(certificate).ok()?;
        let mut parts = SliceReader::new(whole.value()).ok()?;
        let signed = parts.tlv_bytes().ok()?;
        let signature = &whole.value()[signed.len()..];
        let fields = AnyRef::from_der(signed).ok()?.value();
        // The first field of version 1 is the serial number.
        let is_version_1 = AnyRef::decode(&mut SliceReader::new(fields).ok()?).ok()?.tag() == Tag::Integer;
        if !is_version_1 || !is_plain {
            return None;
        }
        let shown = sequence(&[&VERSION_3, fields])?;
        let certificate = sequence(&[&shown, signature])?.into();
        Some(Version1 { signed, shown, certificate })
    }

    /// Whether `anchors` vouch for a client with this certificate, by themselves or through `intermediates`, as
    /// [`rustls::server::WebPkiClientVerifier`] asks it of all others.
    ///
    /// # Errors
    /// As that one.
    pub(super) fn verify_client(
        &self,
        anchors: &[TrustAnchor<'_>],
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> Result<(), Error> {
        let (signed, shown) = (self.signed, &self.shown[..]);
        let swapping: Vec<_> =
            algorithms.iter().map(|inner| Swapping { inner: *inner, signed, shown }).collect();
        let swapping: Vec<_> =
            swapping.iter().map(|algorithm| algorithm as &dyn SignatureVerificationAlgorithm).collect();
        let end_entity = EndEntityCert::try_from(&self.certificate).map_err(refusal)?;
        let usage = KeyUsage::client_auth();
        end_entity
            .verify_for_usage(&swapping, anchors, intermediates, now, usage, None, None)
            .map_err(refusal)
            .map(|_| ())
    }
}

/// The certificate itself, or what rustls can read of one of version 1: its key and its names, not its signature.
pub(super) fn readable<'a>(certificate: &'a CertificateDer<'a>) -> Cow<'a, CertificateDer<'a>> {
    Version1::read(certificate).map_or(Cow::Borrowed(certificate), |read| Cow::Owned(read.certificate))
}

fn sequence(parts: &[&[u8]]) -> Option<Vec<u8>> {
    Any::new(Tag::Sequence, parts.concat()).ok()?.to_der().ok()
}

/// An algorithm that checks the signature of one certificate over what was signed in place of what webpki was shown.
#[derive(Debug)]
struct Swapping<'a> {
    inner: &'a dyn SignatureVerificationAlgorithm,
    signed: &'a [u8],
    shown: &'a [u8],
}

impl SignatureVerificationAlgorithm for Swapping<'_> {
    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        // An intermediate certificate of the same bytes has no extensions either, and so is no authority to webpki.
        let message = if message == self.shown { self.signed } else { message };
        self.inner.verify_signature(key, message, signature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.inner.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.inner.signature_alg_id()
    }
}

/// As rustls says it, whose own words for these are not to be had; they choose the alert.
fn refusal(error: webpki::Error) -> Error {
    use webpki::Error as Webpki;
    match error {
        Webpki::CertNotValidYet { time, not_before } => {
            CertificateError::NotValidYetContext { time, not_before }.into()
        }
        Webpki::CertExpired { time, not_after } => {
            CertificateError::ExpiredContext { time, not_after }.into()
        }
        Webpki::UnknownIssuer => CertificateError::UnknownIssuer.into(),
        Webpki::InvalidSignatureForPublicKey => CertificateError::BadSignature.into(),
        Webpki::BadDer | Webpki::BadDerTime | Webpki::TrailingData(_) => CertificateError::BadEncoding.into(),
        Webpki::UnsupportedSignatureAlgorithmContext(context) => {
            CertificateError::UnsupportedSignatureAlgorithmContext {
                signature_algorithm_id: context.signature_algorithm_id,
                supported_algorithms: context.supported_algorithms,
            }
            .into()
        }
        Webpki::UnsupportedSignatureAlgorithmForPublicKeyContext(context) => {
            CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
                signature_algorithm_id: context.signature_algorithm_id,
                public_key_algorithm_id: context.public_key_algorithm_id,
            }
            .into()
        }
        other => CertificateError::Other(OtherError(Arc::new(other))).into(),
    }
}
