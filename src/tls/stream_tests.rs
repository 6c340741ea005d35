//! Tests of the record transformer: both roles against each other and against rustls' own buffered client, cut everywhere.

use super::resolver::Resolver;
use super::stream::{Failure, Opened, Stream};
use super::suites;
use crate::limits::{BUFFER_MEMORY_MIN, TLS_BUFFERED_MAX};
use crate::pool::{Lease, Pool};
use rcgen::{CertificateParams, Issuer, KeyPair, SignatureAlgorithm};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, SupportedProtocolVersion};
use std::io::{Read, Write};
use std::sync::Arc;

pub(super) const NAME: &str = "gateway.example";

pub(super) struct World {
    pub(super) server: Arc<ServerConfig>,
    pub(super) client: Arc<ClientConfig>,
    pub(super) pool: Pool,
}

/// A certificate authority of its own, and what it signs.
pub(super) struct Authority {
    pub(super) issuer: Issuer<'static, KeyPair>,
    pub(super) roots: Arc<RootCertStore>,
}

pub(super) fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    Authority { issuer: Issuer::new(params, key), roots: Arc::new(roots) }
}

impl Authority {
    pub(super) fn sign(
        &self,
        algorithm: &'static SignatureAlgorithm,
    ) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate =
            CertificateParams::new(vec![NAME.to_string()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        (vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
    }
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider { cipher_suites: suites::all(), ..aws_lc_rs::default_provider() })
}

pub(super) fn world(
    algorithm: &'static SignatureAlgorithm,
    version: &'static SupportedProtocolVersion,
    mutual: bool,
) -> World {
    let authority = authority();
    let (chain, key) = authority.sign(algorithm);
    let certified = CertifiedKey::from_der(chain, key, &provider()).unwrap();
    let server = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).unwrap();
    let server = if mutual {
        server.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(authority.roots.clone(), provider()).build().unwrap(),
        )
    } else {
        server.with_no_client_auth()
    };
    let mut server = server.with_cert_resolver(Arc::new(Resolver::new(&Arc::new(certified), &[])));
    server.ticketer = aws_lc_rs::Ticketer::new().unwrap();
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    let client = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).unwrap();
    let client = client.with_root_certificates(authority.roots.clone());
    let mut client = if mutual {
        let (chain, key) = authority.sign(&rcgen::PKCS_ECDSA_P256_SHA256);
        client.with_client_auth_cert(chain, key).unwrap()
    } else {
        client.with_no_client_auth()
    };
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    World { server: Arc::new(server), client: Arc::new(client), pool: Pool::new(BUFFER_MEMORY_MIN) }
}

/// Two streams with the wire between them.
pub(super) struct Pair {
    pub(super) pool: Pool,
    pub(super) server: Stream,
    pub(super) client: Stream,
    /// Most bytes that one receive brings.
    pub(super) cut: usize,
}

impl World {
    pub(super) fn pair(&self, cut: usize) -> Pair {
        Pair {
            pool: self.pool.clone(),
            server: Stream::server(self.server.clone()).unwrap(),
            client: Stream::client(self.client.clone(), ServerName::try_from(NAME).unwrap()).unwrap(),
            cut,
        }
    }
}

/// What one end has been given, all together.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) plain: Vec<u8>,
    pub(super) reply: Vec<u8>,
    pub(super) established: bool,
    pub(super) closed: bool,
    pub(super) failed: Option<Failure>,
}

/// Gives `bytes` to `stream`, at most `cut` at a time, through the hot buffer as the engine does.
pub(super) fn give(stream: &mut Stream, pool: &Pool, bytes: &[u8], cut: usize) -> Heard {
    let mut heard = Heard::default();
    for piece in bytes.chunks(cut) {
        let mut lease = pool.hot();
        assert_eq!(lease.append(piece), piece.len());
        let Opened { plain, reply, established, closed, failed } = stream.received(lease, pool);
        if let Some(plain) = plain {
            assert!(!plain.is_empty() && plain.headroom() >= 256);
            heard.plain.extend_from_slice(&plain);
        }
        heard.reply.extend(reply.iter().flat_map(|reply| reply.iter()));
        assert!(!(established && heard.established), "the handshake is finished once");
        heard.established |= established;
        heard.closed |= closed;
        heard.failed = heard.failed.or(failed);
        assert!(stream.carried() <= TLS_BUFFERED_MAX);
    }
    heard
}

impl Pair {
    pub(super) fn handshake(&mut self) {
        let mut to_server = self.client.hello(&self.pool).unwrap().to_vec();
        let (mut server_done, mut client_done) = (false, false);
        while !to_server.is_empty() {
            let heard = give(&mut self.server, &self.pool, &to_server, self.cut);
            assert_eq!(heard.failed, None);
            server_done |= heard.established;
            let heard = give(&mut self.client, &self.pool, &heard.reply, self.cut);
            assert_eq!(heard.failed, None);
            client_done |= heard.established;
            to_server = heard.reply;
        }
        assert!(server_done && client_done);
        assert!(!self.server.is_handshaking() && !self.client.is_handshaking());
    }

    pub(super) fn send_to_server(&mut self, plain: &[u8]) -> Heard {
        let sealed = self.client.seal(Lease::own(plain.to_vec()), &self.pool).unwrap();
        give(&mut self.server, &self.pool, &sealed, self.cut)
    }

    pub(super) fn send_to_client(&mut self, plain: &[u8]) -> Heard {
        let sealed = self.server.seal(Lease::own(plain.to_vec()), &self.pool).unwrap();
        give(&mut self.client, &self.pool, &sealed, self.cut)
    }

    fn goodbyes(&mut self) {
        let bye = self.client.close_notify(&self.pool).unwrap();
        assert!(self.client.close_notify(&self.pool).is_none());
        let heard = give(&mut self.server, &self.pool, &bye, self.cut);
        assert!(heard.closed && heard.failed.is_none());
        // A half-closed stream still carries data the other way.
        assert_eq!(self.send_to_client(b"last words").plain, b"last words");
        let bye = self.server.close_notify(&self.pool).unwrap();
        assert!(give(&mut self.client, &self.pool, &bye, self.cut).closed);
        assert_eq!(self.server.seal(Lease::own(vec![1]), &self.pool).unwrap_err(), Failure::NotOpen);
    }
}

/// Bytes that show when some are lost, doubled or swapped.
pub(super) fn pattern(length: usize) -> Vec<u8> {
    (0..length as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

pub(super) const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

#[test]
fn whole_life_cut_everywhere() {
    for version in VERSIONS {
        let world = world(&rcgen::PKCS_ECDSA_P256_SHA256, version, false);
        for cut in [1, 2, 5, 6, 7, 100, 1000, 16_405, 16_406, 16_407, 64 * 1024, 256 * 1024] {
            let mut pair = world.pair(cut);
            pair.handshake();
            for length in [0, 1, 125, 16_383, 16_384, 16_385, 40_000, 100_000] {
                let plain = pattern(length);
                assert_eq!(pair.send_to_server(&plain).plain, plain);
                assert_eq!(pair.send_to_client(&plain).plain, plain);
                assert_eq!((pair.server.carried(), pair.client.carried()), (0, 0));
            }
            pair.goodbyes();
        }
        assert_eq!(world.pool.in_use(), 0);
    }
}

#[test]
fn keys_of_every_kind_and_client_certificates() {
    let kinds = [
        &rcgen::PKCS_RSA_SHA256,
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
    ];
    for kind in kinds {
        for (version, name) in [(&TLS13, "TLSv1.3"), (&TLS12, "TLSv1.2")] {
            let mut pair = world(kind, version, true).pair(3);
            pair.handshake();
            assert_eq!(pair.send_to_server(b"hello").plain, b"hello");
            assert_eq!((pair.server.version(), pair.client.version()), (Some(name), Some(name)));
            assert!(pair.server.cipher().unwrap().contains("AES"));
            assert_eq!(pair.server.alpn(), Some(&b"http/1.1"[..]));
            assert_eq!(pair.server.peer_certificates().unwrap().len(), 1);
            assert_eq!(pair.client.peer_certificates().unwrap().len(), 1);
        }
    }
}

#[test]
fn tickets_resume() {
    for version in VERSIONS {
        let world = world(&rcgen::PKCS_ECDSA_P256_SHA256, version, false);
        for resumed in [false, true, true] {
            let mut pair = world.pair(50);
            pair.handshake();
            assert_eq!((pair.server.resumed(), pair.client.resumed()), (resumed, resumed));
            assert_eq!(pair.send_to_client(b"hello").plain, b"hello");
            pair.goodbyes();
        }
    }
}

/// Runs a buffered rustls client against `server` until nothing moves, and returns what the server heard.
pub(super) fn exchange(client: &mut ClientConnection, server: &mut Stream, pool: &Pool, cut: usize) -> Heard {
    let mut all = Heard::default();
    loop {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        if wire.is_empty() {
            return all;
        }
        let heard = give(server, pool, &wire, cut);
        all.plain.extend(heard.plain);
        all.closed |= heard.closed;
        all.failed = all.failed.or(heard.failed);
        let mut reply = &heard.reply[..];
        while !reply.is_empty() {
            client.read_tls(&mut reply).unwrap();
            client.process_new_packets().unwrap();
        }
    }
}

#[test]
fn key_updates_of_a_plain_client_are_answered() {
    let world = world(&rcgen::PKCS_ED25519, &TLS13, false);
    for cut in [1, 1000] {
        let mut client =
            ClientConnection::new(world.client.clone(), ServerName::try_from(NAME).unwrap()).unwrap();
        let mut server = Stream::server(world.server.clone()).unwrap();
        exchange(&mut client, &mut server, &world.pool, cut);
        for round in 0..40 {
            client.refresh_traffic_keys().unwrap();
            let plain = pattern(round * 1000);
            client.writer().write_all(&plain).unwrap();
            assert_eq!(exchange(&mut client, &mut server, &world.pool, cut).plain, plain);
            let sealed = server.seal(Lease::own(plain.clone()), &world.pool).unwrap();
            let mut wire = &sealed[..];
            let mut back = Vec::new();
            while !wire.is_empty() {
                client.read_tls(&mut wire).unwrap();
                client.process_new_packets().unwrap();
                let mut piece = [0; 65_536];
                while let Ok(count @ 1..) = client.reader().read(&mut piece) {
                    back.extend_from_slice(&piece[..count]);
                }
            }
            assert_eq!(back, plain);
        }
        client.send_close_notify();
        assert!(exchange(&mut client, &mut server, &world.pool, cut).closed);
    }
}
