//! The client of web services that are asked about requests: how it is set up, and what its errors are called.
//!
//! Redirects are not followed, a status is an answer, TLS trusts whom the environment or the system trusts, and names are found
//! as all names are. Without anybody to trust nothing is asked. A service that is not there is told from one that thinks. Whom it
//! asks, and what the answers mean, is for others to say.

use super::proxy::Proxy;
use super::trouble::{Rest, Troubles};
use crate::limits::NAME_TIMEOUT_MS;
use crate::names::Names;
use crate::observe::log::Level;
use crate::route::authority::{Authority, Parts};
use crate::route::form;
use crate::tls::material::authorities;
use crate::tls::words::words;
use rustls::crypto::aws_lc_rs;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use ureq::config::{Config, ConfigBuilder};
use ureq::http::Uri;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::typestate::{AgentScope, WithoutBody};
use ureq::unversioned::resolver::{ArrayVec, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Error, RequestBuilder, Timeout};

/// Addresses of one name that are tried, as many as the library has room for.
const ADDRESSES_MAX: usize = 16;

/// How much of the time for a question may be spent on finding the service, and again on connecting to it.
const REACH_SHARE: f32 = 0.75;

/// Finds services by our own look-ups of names. The library's would start a thread for every question, also for one over a
/// connection that is open, and leave it behind where a name server is silent.
#[derive(Debug)]
struct ByName(Names);

/// The client of one service.
pub(super) struct Client {
    /// What an operator should know about the authorities it is judged by is told to these.
    troubles: Troubles,
    names: Names,
    /// The way to it, if it is not asked directly.
    pub proxy: Option<Proxy>,
    /// TLS is spoken on the way to it.
    is_secure: bool,
    /// So many stay open to it.
    connections: usize,
    manners: Manners,
    /// As soon as there is somebody to judge it by.
    agent: OnceLock<Agent>,
    /// One at a time looks for that.
    looking: Mutex<()>,
}

/// What is special about a client.
pub(super) type Manners = fn(ConfigBuilder<AgentScope>) -> ConfigBuilder<AgentScope>;

impl Client {
    /// Of the service at `url`, which has no user in it; up to `connections` stay open to it.
    ///
    /// # Errors
    /// When `url` is none that can be asked.
    pub fn new(
        url: &str,
        proxy: Option<Proxy>,
        connections: usize,
        manners: Manners,
        names: Names,
        troubles: Troubles,
    ) -> Result<Client, String> {
        let parts = Parts::of(url);
        if let Err(error) = url.parse::<Uri>() {
            let place = parts.map_or("", |parts| parts.authority).escape_debug();
            return Err(format!(
                "the URL of the service at {place} cannot be asked for: {error}; percent-encode what is odd in it"
            ));
        }
        let is_secure = parts.is_some_and(|parts| parts.scheme == "https")
            || proxy.as_ref().is_some_and(|proxy| proxy.is_secure);
        let (agent, looking) = (OnceLock::new(), Mutex::new(()));
        Ok(Client { troubles, names, proxy, is_secure, connections, manners, agent, looking })
    }

    /// What asks it. A file of authorities that is not there yet may be there when this is called again.
    ///
    /// # Errors
    /// When TLS is to be spoken and there is nobody to judge the service by: what is wrong, and the remedy.
    pub fn agent(&self) -> Result<&Agent, String> {
        if let Some(agent) = self.agent.get() {
            return Ok(agent);
        }
        let _looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        match self.agent.get() {
            Some(agent) => Ok(agent),
            None => self.make().map(|agent| self.agent.get_or_init(|| agent)),
        }
    }

    fn make(&self) -> Result<Agent, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut tls = TlsConfig::builder().unversioned_rustls_crypto_provider(provider);
        if self.is_secure {
            let (found, faults) = authorities::of_services()?;
            for fault in faults {
                self.troubles.fault(Level::Warn, &fault);
            }
            let roots: Vec<_> = found.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
            tls = tls.root_certs(RootCerts::new_with_certs(&roots));
        }
        let common = Agent::config_builder()
            .proxy(self.proxy.as_ref().map(|proxy| proxy.way.clone()))
            .max_redirects(0)
            .http_status_as_error(false)
            .max_idle_connections(self.connections)
            .max_idle_connections_per_host(self.connections)
            .tls_config(tls.build());
        Ok(agent((self.manners)(common).build(), self.names.clone()))
    }
}

/// An address as it is asked, without the user and password in it, and what says those in the header `Authorization` (RFC 7617).
/// What would end them is percent-encoded in an address, which the library does not undo.
pub(super) fn bare(url: &str) -> (String, Option<String>) {
    let parts = Parts::of(url).and_then(|parts| Some((parts, parts.user()?)));
    let Some((parts, who)) = parts else { return (url.to_owned(), None) };
    let (user, password) = who.split_once(':').unwrap_or((who, ""));
    let pair = format!("{}:{}", form::decode(user), form::decode(password));
    let said = format!("Basic {}", base64_simd::STANDARD.encode_to_string(pair));
    (format!("{}://{}{}", parts.scheme, parts.place(), parts.rest), Some(said))
}

fn agent(config: Config, names: Names) -> Agent {
    Agent::with_parts(config, DefaultConnector::new(), ByName(names))
}

/// The question, to be answered within `left`.
pub(super) fn within(question: RequestBuilder<WithoutBody>, left: Duration) -> RequestBuilder<WithoutBody> {
    let reach = left.mul_f32(REACH_SHARE);
    let config = question.config().timeout_global(Some(left));
    config.timeout_resolve(Some(reach)).timeout_connect(Some(reach)).build()
}

impl Resolver for ByName {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let (host, port) = place(uri)?;
        // Without a limit it is told as an endless time.
        let patience = (*timeout.after).min(Duration::from_millis(NAME_TIMEOUT_MS));
        let found =
            self.0.find(host, port, Instant::now() + patience).map_err(|error| match error.kind() {
                ErrorKind::TimedOut => Error::Timeout(timeout.reason),
                ErrorKind::ResourceBusy => Error::Io(error),
                _ => Error::Io(io::Error::new(ErrorKind::HostUnreachable, error)),
            })?;
        let mut addresses: ArrayVec<SocketAddr, ADDRESSES_MAX> = self.empty();
        for address in config.ip_family().keep_wanted(found.into_iter()).take(ADDRESSES_MAX) {
            addresses.push(address);
        }
        if addresses.is_empty() { Err(Error::HostNotFound) } else { Ok(addresses) }
    }
}

/// Host and port of a URI. The scheme's own port counts only where none is written: the library says of one that makes no
/// sense that there is none.
fn place(uri: &Uri) -> Result<(&str, u16), Error> {
    let authority = uri.authority().ok_or(Error::HostNotFound)?;
    let place = Authority::parse(authority.as_str()).map_err(|why| Error::BadUri(why.into()))?;
    Ok((place.host, place.port.unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 })))
}

/// What an error says of the service that was `asked` then, for whether it is tried again.
pub(super) fn judge(rest: &Rest, asked: Instant, error: &Error) {
    match error {
        Error::HostNotFound
        | Error::ConnectionFailed
        | Error::Timeout(Timeout::Resolve | Timeout::Connect) => rest.begin(),
        Error::Timeout(_) => rest.silence(asked),
        Error::Io(error) => match error.kind() {
            kind if is_absence(kind) => rest.begin(),
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof
            | ErrorKind::InvalidData => rest.end(),
            // It is our own system that could not: nothing is known of the service.
            _ => {}
        },
        _ => rest.end(),
    }
}

/// What went wrong, in words that hold nothing of the request, nor of the address; of the proxy if it is that, or that there is
/// one.
pub(super) fn cause(error: &Error, proxy: Option<&Proxy>) -> String {
    let Some(proxy) = proxy else { return own_cause(error) };
    match error {
        Error::ConnectProxyFailed(why) => format!("{proxy} leads nowhere: {why}"),
        // Nobody else is connected to, or looked for.
        Error::HostNotFound
        | Error::ConnectionFailed
        | Error::Timeout(Timeout::Resolve | Timeout::Connect) => format!("{proxy}: {}", own_cause(error)),
        Error::Io(io) if is_absence(io.kind()) => format!("{proxy}: {}", own_cause(error)),
        _ => format!("{} (through {proxy})", own_cause(error)),
    }
}

/// Whether it means that nobody is there.
fn is_absence(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionRefused | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable)
}

fn own_cause(error: &Error) -> String {
    match error {
        Error::Timeout(_) => "no answer in time".into(),
        Error::HostNotFound => "the name of the service is not known".into(),
        Error::ConnectionFailed => "cannot connect".into(),
        Error::BodyExceedsLimit(most) => format!("the answer is larger than {most} bytes"),
        Error::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(error) => format!("TLS: {}", words(error)),
            None => error.to_string(),
        },
        Error::Rustls(error) => format!("TLS: {}", words(error)),
        Error::Tls(what) => format!("TLS: {what}"),
        Error::BadUri(_) | Error::Http(_) => "the URL is none".into(),
        _ => "what answers does not speak HTTP as it should".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_is_not_there_is_left_alone_at_once() {
        let io = |kind| Error::Io(io::Error::from(kind));
        for (error, rests) in [
            (Error::HostNotFound, true),
            (Error::ConnectionFailed, true),
            (Error::Timeout(Timeout::Resolve), true),
            (Error::Timeout(Timeout::Connect), true),
            (io(ErrorKind::ConnectionRefused), true),
            (io(ErrorKind::HostUnreachable), true),
            (io(ErrorKind::NetworkUnreachable), true),
            (Error::Timeout(Timeout::Global), false),
            (Error::BodyExceedsLimit(1), false),
            (io(ErrorKind::ConnectionReset), false),
        ] {
            let rest = Rest::new(2);
            judge(&rest, Instant::now(), &error);
            assert_eq!(rest.lasts(), rests, "{error:?}");
        }
        let rest = Rest::new(2);
        rest.begin();
        for own in [io(ErrorKind::ResourceBusy), Error::Io(io::Error::from_raw_os_error(libc::EMFILE))] {
            judge(&rest, Instant::now(), &own);
            assert!(rest.lasts(), "nobody was asked, so nothing new is known: {own:?}");
        }
        judge(&rest, Instant::now(), &Error::BodyExceedsLimit(1));
        assert!(!rest.lasts(), "something answered");
    }

    #[test]
    fn who_asks_is_no_part_of_the_address() {
        for (url, place, pair) in [
            ("http://h/x@y:z", "http://h/x@y:z", None),
            ("http://h?x@y", "http://h?x@y", None),
            ("https://u:p@[::1]:8/x", "https://[::1]:8/x", Some("u:p")),
            ("http://us%20er:p%40w%3A%2F@h/%41", "http://h/%41", Some("us er:p@w:/")),
            ("http://u@h", "http://h", Some("u:")),
            ("http://u:p@w@h", "http://h", Some("u:p@w")),
        ] {
            let said = pair.map(|pair| format!("Basic {}", base64_simd::STANDARD.encode_to_string(pair)));
            assert_eq!(bare(url), (place.to_owned(), said), "{url}");
        }
    }

    #[test]
    fn no_service_is_asked_at_a_port_that_is_not_its_own() {
        for (uri, expected) in [
            ("http://h/", Some(("h", 80))),
            ("https://[::1]/", Some(("::1", 443))),
            ("https://u:1@h:8080/", Some(("h", 8080))),
            ("http://h:99999/", None),
            ("http://h:165535/", None),
            ("http://h:/", None),
            ("http://h:0/", None),
        ] {
            let uri: Uri = uri.parse().unwrap();
            assert_eq!(place(&uri).ok(), expected, "{uri}");
        }
    }

    #[test]
    fn a_name_that_leads_nowhere_is_a_service_that_is_not_there() {
        let names = Names::start(Duration::ZERO).unwrap();
        let asked = agent(Agent::config_builder().proxy(None).build(), names);
        let error = within(asked.get("http://service.invalid/"), Duration::from_secs(20)).call().unwrap_err();
        let rest = Rest::new(2);
        judge(&rest, Instant::now(), &error);
        assert!(rest.lasts(), "{error:?}");
    }
}
