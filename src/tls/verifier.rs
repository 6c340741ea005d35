//! How targets and clients are verified: by rustls' own verifiers, with an exception for a certificate that the file of
//! `--ssl-target-ca` or `--cafile` itself holds, and one for clients with a certificate of version 1; targets with
//! `--ssl-target-insecure` not at all. The owner must hold the key in any case.
//!
//! Owns those exceptions, and which certificates of `--cafile` may have signed others. It never takes for an authority what
//! says that it is none.

use super::version1::{Version1, readable};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};
use std::sync::Arc;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::oid::db::rfc5280::{ANY_EXTENDED_KEY_USAGE, ID_KP_CLIENT_AUTH, ID_KP_SERVER_AUTH};
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage};

/// Verifies targets, as far as they are trusted.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) trust: Trust,
    /// Checks signatures.
    pub(super) provider: Arc<CryptoProvider>,
}

/// Whose certificates are accepted.
#[derive(Debug)]
pub(super) enum Trust {
    /// Those of every target.
    Anyone,
    /// Those that `paths` accepts, and those `given`.
    ///
    /// A self-signed certificate as `openssl req -x509` makes it says of itself that it is an authority, and webpki takes no
    /// authority for a server. But where the operator has handed over the very certificate there is no path to validate:
    /// its name, its dates, and what it may be used for decide.
    Known { paths: Arc<WebPkiServerVerifier>, given: Vec<CertificateDer<'static>> },
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Trust::Known { paths, given } = &self.trust {
            let judged = paths.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
            if judged.is_ok() || !given.contains(end_entity) {
                return judged;
            }
            may_be_used(end_entity, ID_KP_SERVER_AUTH, now)?;
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, &readable(cert), signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, &readable(cert), signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Verifies clients: those that rustls' verifier accepts, those whose certificate of version 1 it would accept if it were
/// one of version 3, and those `given`. As for targets, openssl's self-signed certificates say that they are authorities,
/// and OpenSSL takes the very ones that it was handed.
#[derive(Debug)]
pub(super) struct Clients {
    /// Who may have signed the certificates of clients.
    authorities: Arc<RootCertStore>,
    /// rustls' verifier; `None` without authorities, which it does not take.
    paths: Option<Arc<dyn ClientCertVerifier>>,
    /// The names that clients choose their certificate by: of authorities, and of those given.
    hints: Vec<DistinguishedName>,
    given: Vec<CertificateDer<'static>>,
    /// Check signatures.
    algorithms: WebPkiSupportedAlgorithms,
}

impl Clients {
    /// Trusts `roots`, or, where they are `given` as the certificates of a file, those of them that may sign.
    ///
    /// # Errors
    /// When `roots` is empty.
    pub(super) fn new(
        roots: RootCertStore,
        given: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Clients, VerifierBuilderError> {
        let hints = roots.subjects();
        let mut authorities = RootCertStore::empty();
        authorities.add_parsable_certificates(given.iter().filter(|given| may_issue(given)).cloned());
        let authorities = Arc::new(if given.is_empty() { roots } else { authorities });
        let algorithms = provider.signature_verification_algorithms;
        let builder = WebPkiClientVerifier::builder_with_provider(authorities.clone(), provider);
        let paths = match authorities.is_empty() && !given.is_empty() {
            true => None,
            false => Some(builder.build()?),
        };
        Ok(Clients { authorities, paths, hints, given, algorithms })
    }

    fn verify_path(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let Some(paths) = &self.paths else { return Err(CertificateError::UnknownIssuer.into()) };
        let Some(old) = Version1::read(end_entity) else {
            return paths.verify_client_cert(end_entity, intermediates, now);
        };
        old.verify_client(&self.authorities.roots, intermediates, now, self.algorithms.all)?;
        Ok(ClientCertVerified::assertion())
    }
}

impl ClientCertVerifier for Clients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let judged = self.verify_path(end_entity, intermediates, now);
        if judged.is_ok() || !self.given.contains(end_entity) {
            return judged;
        }
        may_prove(end_entity)?;
        may_be_used(end_entity, ID_KP_CLIENT_AUTH, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, &readable(cert), signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, &readable(cert), signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Whether a certificate of a file may have signed others, or was handed over for itself alone. As to OpenSSL, an authority
/// says that it is one, or at least that its key signs certificates; one of version 1 can say nothing, and is an authority
/// only if nobody is above it. webpki would let everybody sign who is in the file.
fn may_issue(certificate: &CertificateDer<'_>) -> bool {
    let Ok(parsed) = Certificate::from_der(certificate) else { return false };
    let body = parsed.tbs_certificate();
    if Version1::read(certificate).is_some() {
        return body.issuer() == body.subject();
    }
    let (Ok(bounds), Ok(uses)) = (body.get_extension::<BasicConstraints>(), body.get_extension::<KeyUsage>())
    else {
        return false;
    };
    let signs = uses.map(|(_, uses)| uses.key_cert_sign());
    bounds.map_or(signs == Some(true), |(_, bounds)| bounds.ca && signs != Some(false))
}

/// Whether the key of a client may prove who that is, if its certificate says what it may do (RFC 5280 section 4.2.1.3): one
/// that may sign nothing but certificates is an authority's, and handed over for those it has signed.
fn may_prove(certificate: &CertificateDer<'_>) -> Result<(), Error> {
    let parsed = Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let uses = parsed.tbs_certificate().get_extension::<KeyUsage>();
    match uses.map_err(|_| CertificateError::BadEncoding)? {
        Some((_, uses)) if !uses.digital_signature() && !uses.key_agreement() => {
            Err(CertificateError::InvalidPurpose.into())
        }
        _ => Ok(()),
    }
}

/// Whether a certificate is in its time, both ends of which are part of it (RFC 5280 section 4.1.2.5), and for this purpose
/// if it says what it is for (section 4.2.1.12).
fn may_be_used(
    certificate: &CertificateDer<'_>,
    purpose: ObjectIdentifier,
    now: UnixTime,
) -> Result<(), Error> {
    let parsed = Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let body = parsed.tbs_certificate();
    let uses = body.get_extension::<ExtendedKeyUsage>().map_err(|_| CertificateError::BadEncoding)?;
    let fitting = [purpose, ANY_EXTENDED_KEY_USAGE];
    if uses.is_some_and(|(_, uses)| !uses.0.iter().any(|oid| fitting.contains(oid))) {
        return Err(CertificateError::InvalidPurpose.into());
    }
    let validity = body.validity();
    let not_before = UnixTime::since_unix_epoch(validity.not_before.to_unix_duration());
    let not_after = UnixTime::since_unix_epoch(validity.not_after.to_unix_duration());
    if now < not_before {
        return Err(CertificateError::NotValidYetContext { time: now, not_before }.into());
    }
    if now > not_after {
        return Err(CertificateError::ExpiredContext { time: now, not_after }.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
        date_time_ymd,
    };
    use rustls::crypto::aws_lc_rs;
    use std::time::Duration;

    const DAY_S: u64 = 24 * 3600;
    /// 2020-01-01 and 2030-01-01, the ends of the certificates here.
    const BEGIN_S: u64 = 18_262 * DAY_S;
    const END_S: u64 = 21_915 * DAY_S;

    /// As `openssl req -x509` makes it.
    fn self_signed(names: &[&str], is_ca: IsCa) -> CertificateDer<'static> {
        self_signed_for(names, is_ca, Vec::new())
    }

    fn self_signed_for(
        names: &[&str],
        is_ca: IsCa,
        uses: Vec<ExtendedKeyUsagePurpose>,
    ) -> CertificateDer<'static> {
        self_signed_with(names, |params| {
            params.is_ca = is_ca;
            params.extended_key_usages = uses;
        })
    }

    fn self_signed_with(
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> CertificateDer<'static> {
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2030, 1, 1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn knowing(given: &CertificateDer<'static>) -> Verifier {
        let mut roots = RootCertStore::empty();
        roots.add(given.clone()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let paths = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
        Verifier { trust: Trust::Known { paths: paths.unwrap(), given: vec![given.clone()] }, provider }
    }

    fn clients_knowing(given: &CertificateDer<'static>) -> Clients {
        let mut roots = RootCertStore::empty();
        roots.add(given.clone()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        Clients::new(roots, vec![given.clone()], provider).unwrap()
    }

    fn at(known: &Verifier, shown: &CertificateDer<'_>, name: &str, seconds: u64) -> Result<(), Error> {
        let name = ServerName::try_from(name).unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        known.verify_server_cert(shown, &[], &name, &[], now).map(|_| ())
    }

    #[test]
    fn a_given_certificate_is_its_own_authority_for_its_names_and_in_its_time() {
        let ca = || IsCa::Ca(BasicConstraints::Unconstrained);
        for is_ca in [ca(), IsCa::NoCa, IsCa::ExplicitNoCa] {
            let given = self_signed(&["desk.test", "192.0.2.1"], is_ca);
            let known = knowing(&given);
            for seconds in [BEGIN_S, BEGIN_S + DAY_S, END_S] {
                assert_eq!(at(&known, &given, "desk.test", seconds), Ok(()));
                assert_eq!(at(&known, &given, "192.0.2.1", seconds), Ok(()));
            }
            for name in ["other.test", "a.desk.test", "192.0.2.2"] {
                let error = at(&known, &given, name, BEGIN_S).unwrap_err();
                assert!(error.to_string().contains("not valid for name"), "{name}: {error}");
            }
            let early = at(&known, &given, "desk.test", BEGIN_S - 1).unwrap_err();
            assert!(early.to_string().contains("not valid yet"), "{early}");
            let late = at(&known, &given, "desk.test", END_S + 1).unwrap_err();
            assert!(late.to_string().contains("expired"), "{late}");
        }
    }

    #[test]
    fn a_given_certificate_for_clients_is_no_server() {
        use ExtendedKeyUsagePurpose::{Any, ClientAuth, ServerAuth};
        let ca = || IsCa::Ca(BasicConstraints::Unconstrained);
        for is_ca in [ca, || IsCa::NoCa, || IsCa::ExplicitNoCa] {
            for (uses, serves) in [
                (vec![ClientAuth], false),
                (vec![ServerAuth], true),
                (vec![ClientAuth, ServerAuth], true),
                (vec![Any], true),
            ] {
                let given = self_signed_for(&["desk.test"], is_ca(), uses.clone());
                let judged = at(&knowing(&given), &given, "desk.test", BEGIN_S);
                assert_eq!(judged.is_ok(), serves, "{uses:?}: {judged:?}");
            }
        }
    }

    #[test]
    fn a_client_whose_very_certificate_was_given_is_known_for_its_purpose_and_in_its_time() {
        use ExtendedKeyUsagePurpose::{Any, ClientAuth, ServerAuth};
        let ca = || IsCa::Ca(BasicConstraints::Unconstrained);
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        for (uses, fits) in
            [(vec![], true), (vec![ClientAuth], true), (vec![Any], true), (vec![ServerAuth], false)]
        {
            let given = self_signed_for(&["client.test"], ca(), uses.clone());
            let known = clients_knowing(&given);
            for (seconds, in_time) in
                [(BEGIN_S - 1, false), (BEGIN_S, true), (END_S, true), (END_S + 1, false)]
            {
                let judged = known.verify_client_cert(&given, &[], at(seconds));
                assert_eq!(judged.is_ok(), fits && in_time, "{uses:?} at {seconds}: {judged:?}");
            }
            // Same name, same dates, another key.
            let other = self_signed_for(&["client.test"], ca(), uses);
            assert!(known.verify_client_cert(&other, &[], at(BEGIN_S)).is_err());
            // It would be refused without the exception.
            assert!(known.verify_path(&given, &[], at(BEGIN_S)).is_err());
        }
    }

    #[test]
    fn a_given_authority_is_a_client_only_if_its_key_may_be_ones() {
        use KeyUsagePurpose::{CrlSign, DigitalSignature, KeyAgreement, KeyCertSign, KeyEncipherment};
        for (uses, fits) in [
            (vec![], true),
            (vec![KeyCertSign, CrlSign], false),
            (vec![KeyEncipherment], false),
            (vec![KeyCertSign, CrlSign, DigitalSignature], true),
            (vec![KeyCertSign, KeyAgreement], true),
        ] {
            let given = self_signed_with(&["client.test"], |params| {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                params.key_usages = uses.clone();
            });
            let now = UnixTime::since_unix_epoch(Duration::from_secs(BEGIN_S));
            let judged = clients_knowing(&given).verify_client_cert(&given, &[], now);
            assert_eq!(judged.is_ok(), fits, "{uses:?}: {judged:?}");
        }
    }

    #[test]
    fn a_certificate_that_was_not_given_is_left_to_path_validation() {
        let ca = || IsCa::Ca(BasicConstraints::Unconstrained);
        let given = self_signed(&["desk.test"], ca());
        let known = knowing(&given);
        // Same names, same dates, another key: known by nothing but its bytes.
        for is_ca in [ca(), IsCa::NoCa] {
            let other = self_signed(&["desk.test"], is_ca);
            let error = at(&known, &other, "desk.test", BEGIN_S).unwrap_err();
            assert!(matches!(error, Error::InvalidCertificate(_)), "{error}");
        }
        let mut changed = given.to_vec();
        *changed.last_mut().unwrap() ^= 1;
        assert!(at(&known, &changed.into(), "desk.test", BEGIN_S).is_err());
        // It would be refused without the exception.
        let name = ServerName::try_from("desk.test").unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(BEGIN_S));
        let Trust::Known { paths, .. } = &known.trust else { panic!("it knows one") };
        let refused = paths.verify_server_cert(&given, &[], &name, &[], now).unwrap_err();
        assert!(refused.to_string().contains("CaUsedAsEndEntity"), "{refused}");
    }
}
