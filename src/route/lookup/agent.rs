//! The client of web services that are asked about requests: how it is set up, and what its errors are called.
//!
//! Redirects are not followed, a status is an answer, TLS trusts what the system trusts, and names are found as all names are.
//! Whom it asks, and what the answers mean, is for others to say.

use crate::limits::NAME_TIMEOUT_MS;
use crate::names::Names;
use rustls::crypto::aws_lc_rs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use ureq::config::{Config, ConfigBuilder};
use ureq::http::Uri;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::typestate::AgentScope;
use ureq::unversioned::resolver::{ArrayVec, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Error};

/// Addresses of one name that are tried, as many as the library has room for.
const ADDRESSES_MAX: usize = 16;

/// Finds services by our own look-ups of names. The library's would start a thread for every question, also for one over a
/// connection that is open, and leave it behind where a name server is silent.
#[derive(Debug)]
struct ByName(Names);

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

/// The client that is set up like that.
pub(super) fn agent(config: Config, names: Names) -> Agent {
    Agent::with_parts(config, DefaultConnector::new(), ByName(names))
}

impl Resolver for ByName {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let host = uri.host().ok_or(Error::HostNotFound)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        // Without a limit it is told as an endless time.
        let patience = (*timeout.after).min(Duration::from_millis(NAME_TIMEOUT_MS));
        let found =
            self.0.find(bare, port, Instant::now() + patience).map_err(|error| match error.kind() {
                ErrorKind::TimedOut => Error::Timeout(timeout.reason),
                _ => Error::Io(error),
            })?;
        let mut addresses: ArrayVec<SocketAddr, ADDRESSES_MAX> = self.empty();
        for address in config.ip_family().keep_wanted(found.into_iter()).take(ADDRESSES_MAX) {
            addresses.push(address);
        }
        if addresses.is_empty() { Err(Error::HostNotFound) } else { Ok(addresses) }
    }
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
