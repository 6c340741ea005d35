//! Reads certificates, keys and authorities, checks everything, and makes of them what sessions use.
//!
//! Blocking: it reads files, at start and on renewal. Each complaint is one line that names the file and the remedy. It
//! never keeps anything; the same [`Options`] can be loaded again at any time.

pub mod authorities;

use super::resolver::Resolver;
use super::verifier::{Clients, Trust, Verifier};
use super::version1::readable;
use super::{Options, Pair, TargetOptions, Version, pem, suites};
use crate::limits::PEM_FILE_BYTES_MAX;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, Error, InconsistentKeys, RootCertStore, ServerConfig, SupportedProtocolVersion};
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// What sessions use. Cheap to clone; a session that has begun keeps what it began with.
#[derive(Clone, Debug)]
pub struct Material {
    /// For clients; `None` without certificates, or as long as the one that is awaited has not come.
    pub server: Option<Arc<ServerConfig>>,
    /// For targets; `None` without `--ssl-target`.
    pub client: Option<Arc<ClientConfig>>,
    /// The name of `--ssl-target-name`.
    pub target_name: Option<ServerName<'static>>,
    /// What the operator should look at: one line each.
    pub warnings: Vec<String>,
}

/// Reads and checks everything that `options` names.
///
/// # Errors
/// One line with the file and the remedy.
pub fn load(options: &Options) -> Result<Material, String> {
    let mut warnings = Vec::new();
    let awaited = options.awaited.iter().filter(|pair| pair.cert.exists());
    let pairs: Vec<&Pair> = options.pairs.iter().chain(awaited).collect();
    let server = match pairs.is_empty() {
        true => None,
        false => Some(Arc::new(server(options, &pairs, &mut warnings)?)),
    };
    let client = match &options.target {
        None => None,
        Some(target) => Some(Arc::new(client(target, &mut warnings)?)),
    };
    let target_name = match options.target.as_ref().and_then(|target| target.name.as_ref()) {
        None => None,
        Some(name) => Some(ServerName::try_from(name.clone()).map_err(|_| {
            format!("--ssl-target-name: \"{name}\" is neither a host name nor an address; write one")
        })?),
    };
    Ok(Material { server, client, target_name, warnings })
}

/// What is wrong with files and values that nothing uses: one line each, for nobody would hear of it before they are used.
pub fn unused(options: &Options) -> Vec<String> {
    let mut faults = Vec::new();
    if options.pairs.is_empty() {
        faults.extend(provider(options.ciphers.as_deref()).err());
    }
    if !options.verify_client && options.cafile.is_some() {
        faults.extend(roots("--cafile", options.cafile.as_deref(), &mut Vec::new()).err());
    }
    faults
}

/// The shared ground: suites in our order, and the hybrid exchange first, so that whoever can is safe from later quantum
/// computers; it costs a fifth of a handshake more.
fn provider(ciphers: Option<&str>) -> Result<Arc<CryptoProvider>, String> {
    use aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768};
    let cipher_suites = match ciphers {
        None => suites::all(),
        Some(list) => suites::parse(list).map_err(|error| format!("--ssl-ciphers: {error}"))?,
    };
    let kx_groups = vec![X25519MLKEM768, X25519, SECP256R1, SECP384R1];
    Ok(Arc::new(CryptoProvider { cipher_suites, kx_groups, ..aws_lc_rs::default_provider() }))
}

/// What names the files of a pair, in complaints.
struct Words {
    cert: &'static str,
    key: &'static str,
}

const SERVER: Words = Words { cert: "--cert", key: "--key" };
const TARGET: Words = Words { cert: "--ssl-target-cert", key: "--ssl-target-key" };

fn versions(oldest: Version) -> &'static [&'static SupportedProtocolVersion] {
    static ALL: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    match oldest {
        Version::Tls12 => &ALL,
        Version::Tls13 => &ALL[..1],
    }
}

fn server(options: &Options, pairs: &[&Pair], warnings: &mut Vec<String>) -> Result<ServerConfig, String> {
    let provider = provider(options.ciphers.as_deref())?;
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions(options.version))
        .map_err(
            |_| "--ssl-ciphers: no cipher is left for the versions of --ssl-version; leave one of them out",
        )?;
    let builder = if options.verify_client {
        let (roots, given) = roots("--cafile", options.cafile.as_deref(), warnings)?;
        let clients = Clients::new(roots, given, provider.clone()).map_err(|error| {
            format!("--verify-client: {error}; name the file of the authority with --cafile")
        })?;
        builder.with_client_cert_verifier(Arc::new(clients))
    } else {
        builder.with_no_client_auth()
    };
    let mut config = builder.with_cert_resolver(Arc::new(resolver(pairs, &provider, warnings)?));
    // What remembers sessions is tickets only: they need no memory here, and all shards share their keys.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    if options.verify_client {
        // A ticket holds the client's certificate as it was verified once, and rustls takes it from there without a look at
        // its dates or its authority; each resumption brings the next ticket. Who has to prove who they are does so each
        // time, at the price of a whole handshake.
        config.send_tls13_tickets = 0;
    } else {
        // The keys change every six hours, and the ones before open tickets for six more: `Ticketer::new` makes a
        // `rustls::ticketer::TicketRotator` of that lifetime. New material brings new keys.
        config.ticketer =
            aws_lc_rs::Ticketer::new().map_err(|error| format!("no keys for session tickets: {error}"))?;
        config.send_tls13_tickets = 1;
    }
    config.ignore_client_order = true;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn client(options: &TargetOptions, warnings: &mut Vec<String>) -> Result<ClientConfig, String> {
    let provider = provider(None)?;
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions(Version::default()))
        .map_err(|error| format!("--ssl-target: {error}"))?;
    let trust = if options.insecure {
        Trust::Anyone
    } else {
        let (roots, given) = roots("--ssl-target-ca", options.ca.as_deref(), warnings)?;
        let paths =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().map_err(
                |error| format!("--ssl-target: {error}; name the file of the authority with --ssl-target-ca"),
            )?;
        Trust::Known { paths, given }
    };
    let verifier = Verifier { trust, provider: provider.clone() };
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    match &options.pair {
        None => Ok(builder.with_no_client_auth()),
        Some(pair) => {
            let (certified, _) = certified(pair, TARGET, &provider, warnings)?;
            Ok(builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified))))
        }
    }
}

fn resolver(
    pairs: &[&Pair],
    provider: &CryptoProvider,
    warnings: &mut Vec<String>,
) -> Result<Resolver, String> {
    let mut resolver: Option<Resolver> = None;
    for pair in pairs {
        let (key, names) = certified(pair, SERVER, provider, warnings)?;
        let key = Arc::new(key);
        match &mut resolver {
            None => resolver = Some(Resolver::new(&key, &names)),
            Some(resolver) => resolver.add(&key, &names),
        }
    }
    resolver.ok_or_else(|| "no certificate".into())
}

/// A pair, checked, with the names in its certificate.
fn certified(
    pair: &Pair,
    words: Words,
    provider: &CryptoProvider,
    warnings: &mut Vec<String>,
) -> Result<(CertifiedKey, Vec<String>), String> {
    let cert = format!("{}: certificate {}", words.cert, pair.cert.display());
    let (text, cert_status) = read(&cert, &pair.cert)?;
    let cert_sections = pem::sections(&text).map_err(|error| format!("{cert} {error}"))?;
    let chain = pem::certificates(&cert_sections);
    let Some(leaf) = chain.first() else {
        return Err(format!("{cert} holds no certificate; put it in front of the key"));
    };
    let names = checked(leaf, &cert)?;

    let key_path = pair.key.as_deref().unwrap_or(&pair.cert);
    let key_option = if pair.key.is_some() { words.key } else { words.cert };
    let key_file = key_path.display();
    let key_named = format!("{key_option}: key {key_file}");
    let (key_text, key_status) = match &pair.key {
        Some(path) => read(&key_named, path)?,
        None => (text.clone(), cert_status),
    };
    let key_sections = pem::sections(&key_text).map_err(|error| format!("{key_named} {error}"))?;
    let password = pair.password.as_ref().map(|secret| secret.0.as_str());
    let key = pem::private_key(&key_sections, password)
        .map_err(|error| format!("{key_named} {error}"))?
        .ok_or_else(|| match pair.key {
            Some(_) => format!("{key_named} holds no private key; name the file that does"),
            None => {
                format!("{cert} holds no private key; add it, or name the key's own file with {}", words.key)
            }
        })?;
    let key = provider.key_provider.load_private_key(key).map_err(|_| {
        format!(
            "{key_named} is damaged or of no supported kind; use RSA, ECDSA (P-256, P-384, P-521) or Ed25519"
        )
    })?;
    if key_status.mode() & 0o077 != 0 {
        warnings.push(format!("{key_named} can be read by others; chmod 600 {key_file}"));
    }

    let belongs = belongs(leaf, &key);
    let certified = CertifiedKey::new(chain, key);
    match belongs {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok((certified, names)),
        Err(Error::InconsistentKeys(_)) => Err(mismatch(certified, pair, &cert, &key_named)),
        Err(error) => Err(format!("{cert} cannot be used: {error}; get it anew")),
    }
}

/// Whether a key belongs to a certificate.
fn belongs(certificate: &CertificateDer<'_>, key: &Arc<dyn SigningKey>) -> Result<(), Error> {
    let certificate = readable(certificate).into_owned().into_owned();
    CertifiedKey::new(vec![certificate], key.clone()).keys_match()
}

/// Why a key does not belong to the first certificate of its file.
fn mismatch(certified: CertifiedKey, pair: &Pair, cert_named: &str, key_named: &str) -> String {
    if certified.cert.iter().any(|cert| belongs(cert, &certified.key).is_ok()) {
        return format!("{cert_named} has its certificates in the wrong order; put the server's own first");
    }
    match &pair.key {
        Some(_) => format!(
            "{key_named} does not belong to certificate {}; give the key it was made with",
            pair.cert.display()
        ),
        None => {
            format!("{cert_named} holds a key that does not belong to it; give the key it was made with")
        }
    }
}

/// The names in a certificate, when now is within its time.
fn checked(leaf: &CertificateDer<'_>, named: &str) -> Result<Vec<String>, String> {
    let certificate =
        Certificate::from_der(leaf).map_err(|error| format!("{named} is damaged ({error}); get it anew"))?;
    let body = certificate.tbs_certificate();
    let (begin, end) = (body.validity().not_before, body.validity().not_after);
    let now = SystemTime::now();
    if end.to_system_time() < now {
        return Err(format!("{named} expired on {}; renew it", end.to_date_time()));
    }
    if begin.to_system_time() > now {
        return Err(format!("{named} is not valid before {}; check the clock", begin.to_date_time()));
    }
    let alternative = body.get_extension::<SubjectAltName>().ok().flatten();
    let mut names: Vec<String> = Vec::new();
    for name in alternative.iter().flat_map(|(_, names)| &names.0) {
        if let GeneralName::DnsName(name) = name {
            names.push(name.as_str().to_string());
        }
    }
    // Certificates from before RFC 2818 have their name in the subject only; clients may still ask for it.
    if alternative.is_none()
        && let Ok(Some(name)) = body.subject().common_name()
    {
        names.push(name.value().into_owned());
    }
    Ok(names)
}

/// The authorities in `file`, and the certificates it holds, or the system's authorities and no certificates.
fn roots(
    option: &str,
    file: Option<&Path>,
    warnings: &mut Vec<String>,
) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), String> {
    let mut roots = RootCertStore::empty();
    let Some(path) = file else {
        let (found, faults) = authorities::of_peers().map_err(|why| format!("{option}: {why}"))?;
        warnings.extend(faults.into_iter().map(|fault| format!("{option}: {fault}")));
        // Some of a system's many files may be odd; only nothing at all is an error.
        roots.add_parsable_certificates(found);
        if roots.is_empty() {
            let found = "none of the certificate authorities that were found can be used";
            return Err(format!("{option}: {found}; name others with SSL_CERT_FILE"));
        }
        return Ok((roots, Vec::new()));
    };
    let named = format!("{option}: CA file {}", path.display());
    let (text, _) = read(&named, path)?;
    let sections = pem::sections(&text).map_err(|error| format!("{named} {error}"))?;
    let certificates = pem::certificates(&sections);
    if certificates.is_empty() {
        return Err(format!("{named} holds no certificates; give the PEM file of the authority"));
    }
    for certificate in &certificates {
        roots
            .add(certificate.clone())
            .map_err(|error| format!("{named} cannot be used: {error}; get it anew"))?;
    }
    Ok((roots, certificates))
}

/// A whole file, which must be an ordinary one of ordinary size.
fn read(named: &str, path: &Path) -> Result<(Vec<u8>, Metadata), String> {
    let unreadable =
        |error| format!("{named} cannot be read: {error}; check who owns it and its permissions");
    let status = fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("{named} does not exist; make it, or name another"),
        _ => unreadable(error),
    })?;
    if !status.is_file() {
        return Err(format!("{named} is not a file; name one"));
    }
    let mut text = Vec::new();
    let most = PEM_FILE_BYTES_MAX as u64 + 1;
    fs::File::open(path).and_then(|file| file.take(most).read_to_end(&mut text)).map_err(unreadable)?;
    if text.len() > PEM_FILE_BYTES_MAX {
        return Err(format!(
            "{named} is too long for one; name a file of at most {PEM_FILE_BYTES_MAX} bytes"
        ));
    }
    Ok((text, status))
}

#[cfg(test)]
#[path = "material_tests.rs"]
pub(super) mod tests;
#[cfg(test)]
mod version1_tests;
