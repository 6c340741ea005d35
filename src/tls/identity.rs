//! The name in a certificate, as somebody is let in by it.
//!
//! Owns what counts as that name. It never verifies: what it is given has been. Pure.

use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::asn1::{Ia5StringRef, PrintableStringRef, TeletexStringRef, Utf8StringRef};
use x509_cert::der::oid::db::rfc4519::CN;
use x509_cert::der::{Any, Decode, Tag, Tagged};

/// The common name in the subject of a certificate. `None` where there is none, where there are several, so that nobody
/// can take it for one and others for another, and where it is empty or has control characters in it.
pub fn common_name(certificate: &CertificateDer<'_>) -> Option<Box<str>> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let subject = certificate.tbs_certificate().subject();
    let mut names = subject.iter().filter(|attribute| attribute.oid == CN);
    let name = text(&names.next()?.value)?;
    let sound = !name.is_empty() && !name.chars().any(char::is_control);
    (names.next().is_none() && sound).then_some(name)
}

fn text(value: &Any) -> Option<Box<str>> {
    let name = match value.tag() {
        Tag::Utf8String => Utf8StringRef::try_from(value).ok()?.as_str().into(),
        Tag::PrintableString => PrintableStringRef::try_from(value).ok()?.as_str().into(),
        Tag::Ia5String => Ia5StringRef::try_from(value).ok()?.as_str().into(),
        Tag::TeletexString => TeletexStringRef::try_from(value).ok()?.as_str().into(),
        _ => return None,
    };
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair};

    /// A certificate with these names, and the one that counts.
    type Row<'a> = (&'a [(DnType, DnValue)], Option<&'a str>);

    fn certificate(names: &[(DnType, DnValue)]) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["alt.test".into()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in names {
            params.distinguished_name.push(kind.clone(), value.clone());
        }
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn only_the_one_common_name_counts() {
        let utf8 = |text: &str| DnValue::Utf8String(text.into());
        let printable = DnValue::PrintableString("desk".try_into().unwrap());
        let rows: [Row<'_>; 7] = [
            (&[(DnType::CommonName, utf8("desk"))], Some("desk")),
            (&[(DnType::CommonName, printable)], Some("desk")),
            (
                &[(DnType::OrganizationName, utf8("o")), (DnType::CommonName, utf8("J\u{fc}rgen"))],
                Some("J\u{fc}rgen"),
            ),
            // In another place of the subject, or in the alternative names only.
            (&[(DnType::OrganizationName, utf8("desk"))], None),
            (&[], None),
            (&[(DnType::CommonName, utf8(""))], None),
            (&[(DnType::CommonName, utf8("desk\0.evil"))], None),
        ];
        for (names, expected) in rows {
            assert_eq!(common_name(&certificate(names)).as_deref(), expected, "{names:?}");
        }
        assert_eq!(common_name(&CertificateDer::from(&b"none"[..])), None);
    }
}
