//! Certificates made for a test, and TLS clients and targets that use them.

use super::target::TcpTarget;
use super::temp::TempDir;
use super::wire::{PATIENCE, Wire};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use rustls::{SupportedProtocolVersion, version};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Variables of the environment that say whom to trust, and then how to get to a service.
pub const TRUST_VARIABLES: [&str; 8] = [
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "ALL_PROXY",
];

/// Both versions there are.
pub const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];

/// An authority that signs for a test.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate in PEM.
    pub pem: String,
}

/// A certificate and its key in PEM.
#[derive(Clone)]
pub struct Signed {
    /// The certificate.
    pub cert: String,
    /// The key.
    pub key: String,
}

impl Signed {
    /// Both, as `--cert` takes them.
    pub fn both(&self) -> String {
        format!("{}{}", self.cert, self.key)
    }

    /// The certificate in DER.
    pub fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.cert.as_bytes()).expect("it was just made")
    }

    fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("it was just made")
    }
}

impl Authority {
    /// A new one.
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are fine");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "authority of a test");
        let key = KeyPair::generate().expect("keys can be made");
        let pem = params.self_signed(&key).expect("it can sign").pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for `names`.
    pub fn sign(&self, names: &[&str]) -> Signed {
        self.sign_until(names, 2099)
    }

    /// The same, valid up to a year.
    pub fn sign_until(&self, names: &[&str], year: i32) -> Signed {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("the names are names");
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().expect("keys can be made");
        let cert = params.signed_by(&key, &self.issuer).expect("it can sign").pem();
        Signed { cert, key: key.serialize_pem() }
    }

    /// A certificate whose subject is called `name`, for a client.
    pub fn sign_person(&self, name: &str) -> Signed {
        self.sign_person_until(name, SystemTime::now() + Duration::from_secs(3600))
    }

    /// The same, valid up to this second.
    pub fn sign_person_until(&self, name: &str, until: SystemTime) -> Signed {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are fine");
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let until = until.duration_since(UNIX_EPOCH).expect("it is later than 1970");
        params.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(until.as_secs());
        let key = KeyPair::generate().expect("keys can be made");
        let cert = params.signed_by(&key, &self.issuer).expect("it can sign").pem();
        Signed { cert, key: key.serialize_pem() }
    }

    /// The same of version 1, as `openssl x509 -req` makes it where nobody asks for extensions.
    pub fn sign_version1(&self, name: &str) -> Signed {
        let directory = TempDir::new();
        file(&directory, "ca.pem", &format!("{}{}", self.pem, self.issuer.key().serialize_pem()));
        let key = KeyPair::generate().expect("keys can be made").serialize_pem();
        let key_file = file(&directory, "own.key", &key);
        let (subject, request, ca) = (format!("/CN={name}"), directory.arg("csr"), directory.arg("ca.pem"));
        openssl(&["req", "-new", "-key", &key_file, "-subj", &subject, "-out", &request]);
        let common = ["x509", "-req", "-days", "2", "-set_serial", "7", "-in", &request];
        let cert = openssl(&[&common[..], &["-CA", &ca, "-CAkey", &ca]].concat());
        let shown = openssl(&["x509", "-noout", "-text", "-in", &file(&directory, "crt", &cert)]);
        assert!(shown.contains("Version: 1 "), "{shown}");
        Signed { cert, key }
    }

    /// A certificate as `openssl req -x509` makes it: signed by itself, and an authority by its own word.
    pub fn self_signed(names: &[&str], year: i32) -> Signed {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("the names are names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().expect("keys can be made");
        let cert = params.self_signed(&key).expect("it can sign").pem();
        Signed { cert, key: key.serialize_pem() }
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let own = CertificateDer::from_pem_slice(self.pem.as_bytes()).expect("it was just made");
        roots.add(own).expect("it is an authority");
        roots
    }

    /// A client that trusts this authority and shows `own`.
    pub fn client(&self, versions: &[&'static SupportedProtocolVersion], own: Option<&Signed>) -> Client {
        self.client_of(aws_lc_rs::default_provider(), versions, own)
    }

    /// The same with what `provider` has to offer.
    pub fn client_of(
        &self,
        provider: CryptoProvider,
        versions: &[&'static SupportedProtocolVersion],
        own: Option<&Signed>,
    ) -> Client {
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .expect("the versions have suites")
            .with_root_certificates(self.roots());
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                // Without a look at whether they fit: rustls reads no certificate of version 1.
                let key = aws_lc_rs::default_provider().key_provider.load_private_key(own.key_der());
                let pair = CertifiedKey::new(vec![own.der()], key.expect("it was just made"));
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair)))
            }
        };
        config.resumption = Resumption::in_memory_sessions(8);
        // For tests that forge records.
        config.enable_secret_extraction = true;
        Client(Arc::new(config))
    }

    /// A TLS target that sends back what comes, `buffered` bytes at a time; each end is reported: orderly or not.
    pub fn echo_target(
        &self,
        own: &Signed,
        versions: &[&'static SupportedProtocolVersion],
        verify: bool,
    ) -> (TcpTarget, Receiver<Result<(), String>>) {
        let config = self.target_config(own, versions, verify);
        let (tell, ends) = channel();
        let target = TcpTarget::new(move |stream| {
            let connection = ServerConnection::new(config.clone()).expect("the configuration is good");
            let mut stream = StreamOwned::new(connection, stream);
            let mut buffer = vec![0; 64 * 1024];
            let end = loop {
                match stream.read(&mut buffer) {
                    Ok(0) => break Ok(()),
                    Ok(count) => {
                        if let Err(error) = stream.write_all(&buffer[..count]) {
                            break Err(error.to_string());
                        }
                    }
                    Err(error) => break Err(error.to_string()),
                }
            };
            // Whoever asked may have seen enough.
            let _ = tell.send(end);
        });
        (target, ends)
    }

    /// A TLS target that only listens; of each connection the name that it asked for is reported.
    pub fn naming_target(&self, own: &Signed) -> (TcpTarget, Receiver<Option<String>>) {
        let config = self.target_config(own, &VERSIONS, false);
        let (tell, names) = channel();
        let target = TcpTarget::new(move |mut stream| {
            let mut connection = ServerConnection::new(config.clone()).expect("the configuration is good");
            if connection.complete_io(&mut stream).is_ok() {
                // Whoever asked may have seen enough.
                let _ = tell.send(connection.server_name().map(str::to_owned));
                let _ = std::io::copy(&mut StreamOwned::new(connection, stream), &mut std::io::sink());
            }
        });
        (target, names)
    }

    /// A web service over TLS: `answer` makes all of an answer out of a path.
    pub fn web_service(
        &self,
        own: &Signed,
        answer: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> TcpTarget {
        let config = self.target_config(own, &VERSIONS, false);
        TcpTarget::new(move |stream| {
            let connection = ServerConnection::new(config.clone()).expect("the configuration is good");
            let mut stream = StreamOwned::new(connection, stream);
            let (mut head, mut byte) = (Vec::new(), [0]);
            while stream.read(&mut byte).is_ok_and(|count| count == 1) {
                head.push(byte[0]);
                if head.ends_with(b"\r\n\r\n") {
                    let text = String::from_utf8(std::mem::take(&mut head)).expect("heads are text");
                    let said = answer(text.split(' ').nth(1).unwrap_or_default());
                    if stream.write_all(said.as_bytes()).and_then(|()| stream.flush()).is_err() {
                        return;
                    }
                }
            }
        })
    }

    fn target_config(
        &self,
        own: &Signed,
        versions: &[&'static SupportedProtocolVersion],
        verify: bool,
    ) -> Arc<ServerConfig> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .expect("the versions have suites");
        let builder = match verify {
            false => builder.with_no_client_auth(),
            true => builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()), provider)
                    .build()
                    .expect("there is an authority"),
            ),
        };
        Arc::new(builder.with_single_cert(vec![own.der()], own.key_der()).expect("the pair fits"))
    }
}

/// What TLS clients of a test share.
#[derive(Clone)]
pub struct Client(Arc<ClientConfig>);

impl Client {
    /// A connection without a socket, which has said nothing yet.
    pub fn begin(&self, name: &str) -> ClientConnection {
        let name = ServerName::try_from(name.to_owned()).expect("the name is one");
        ClientConnection::new(self.0.clone(), name).expect("the configuration is good")
    }

    /// Connects and shakes hands, asking for `name`, in pieces of `piece` bytes; zero: as TLS has them.
    pub fn connect(&self, address: SocketAddr, name: &str, piece: usize) -> Result<Wire, String> {
        let Wire::Tcp(mut socket) = Wire::tcp(address) else { unreachable!("it is TCP") };
        socket.set_read_timeout(Some(PATIENCE)).expect("the time-out is not zero");
        let mut connection = self.begin(name);
        while connection.is_handshaking() || connection.wants_write() {
            let mut out = Vec::new();
            while connection.wants_write() {
                connection.write_tls(&mut out).expect("a vector takes all");
            }
            for part in out.chunks(if piece == 0 { usize::MAX } else { piece }) {
                socket.write_all(part).map_err(|error| error.to_string())?;
            }
            if connection.is_handshaking() {
                let count = connection.read_tls(&mut socket).map_err(|error| error.to_string())?;
                let state = connection.process_new_packets().map_err(|error| error.to_string())?;
                if count == 0 && state.tls_bytes_to_write() == 0 {
                    return Err("ended in the handshake".into());
                }
            }
        }
        Ok(Wire::Tls(Box::new(StreamOwned::new(connection, socket))))
    }

    /// The same, which must work.
    #[track_caller]
    pub fn wire(&self, address: SocketAddr, name: &str) -> Wire {
        self.connect(address, name, 0).unwrap_or_else(|error| panic!("no TLS with {address}: {error}"))
    }
}

/// The TLS below a wire.
#[track_caller]
pub fn connection(wire: &Wire) -> &ClientConnection {
    match wire {
        Wire::Tls(stream) => &stream.conn,
        Wire::Tcp(_) | Wire::Unix(_) => panic!("a wire without TLS"),
    }
}

/// Writes a key or certificate file that only its owner can read, and gives its path as an argument.
pub fn file(directory: &TempDir, name: &str, text: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = directory.write(name, text);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
    directory.arg(name)
}

/// What openssl says when it does what it is told.
fn openssl(args: &[&str]) -> String {
    let output = Command::new("openssl").args(args).output().expect("openssl is installed");
    assert!(output.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it says it in PEM or English")
}
