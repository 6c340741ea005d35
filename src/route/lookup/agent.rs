//! The client of web services that are asked about requests: how it is set up, and what its errors are called.
//!
//! Redirects are not followed, a status is an answer, and TLS trusts what the system trusts. Whom it asks, and what the
//! answers mean, is for others to say.

use rustls::crypto::aws_lc_rs;
use std::sync::Arc;
use ureq::config::ConfigBuilder;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::typestate::AgentScope;
use ureq::{Agent, Error};

/// What all have in common; up to `connections` stay open. `option` names the service in errors.
///
/// # Errors
/// When `url` is one of TLS and the system knows no authority to judge it by.
pub(super) fn builder(
    option: &str,
    url: &str,
    connections: usize,
) -> Result<ConfigBuilder<AgentScope>, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut tls = TlsConfig::builder().unversioned_rustls_crypto_provider(provider);
    if url.starts_with("https://") {
        let found = rustls_native_certs::load_native_certs();
        if found.certs.is_empty() {
            let why = "this system has no certificates of authorities (ca-certificates), so no https:// service can be \
                       trusted; name a file of them with SSL_CERT_FILE";
            return Err(format!("{option}: {why}"));
        }
        let roots: Vec<_> = found.certs.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
        tls = tls.root_certs(RootCerts::new_with_certs(&roots));
    }
    Ok(Agent::config_builder()
        .max_redirects(0)
        .http_status_as_error(false)
        .max_idle_connections(connections)
        .max_idle_connections_per_host(connections)
        .tls_config(tls.build()))
}

/// What went wrong, in words that hold nothing of the request, nor of the address.
pub(super) fn cause(error: &Error) -> String {
    match error {
        Error::Timeout(_) => "no answer in time".into(),
        Error::HostNotFound => "the name of the service is not known".into(),
        Error::ConnectionFailed => "cannot connect".into(),
        Error::BodyExceedsLimit(most) => format!("the answer is larger than {most} bytes"),
        Error::Io(error) => error.to_string(),
        Error::Rustls(error) => format!("TLS: {error}"),
        Error::Tls(what) => format!("TLS: {what}"),
        Error::BadUri(_) | Error::Http(_) => "the URL is none".into(),
        _ => "what answers does not speak HTTP as it should".into(),
    }
}
