//! Certificates, keys and TLS configurations of a run and of a day.
//!
//! All keys are Ed25519 and all serial numbers have one length, so that whatever is made of them has the same length in
//! every run: that is what a day's order rests on. What remembers (tickets, and the keys they are sealed with) belongs to
//! one day, so that no day hears of another.

use crate::temp::TempDir;
use rcgen::{
    BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_ED25519, SerialNumber, date_time_ymd,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use std::path::PathBuf;
use std::sync::Arc;
use websplice::sim::Dice;
use websplice::tls::{Options, Pair, TargetOptions, Version};

/// The name in every certificate that is in order.
const NAME: &str = "a.example";

/// What clients and targets verify.
pub fn name() -> ServerName<'static> {
    ServerName::try_from(NAME).expect("a name")
}

/// A certificate and its key in PEM.
struct Signed(String);

/// Who signs.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    count: u64,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are fine");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from(1000));
        let key = KeyPair::generate_for(&PKCS_ED25519).expect("keys can be made");
        let pem = params.self_signed(&key).expect("it can sign").pem();
        Authority { issuer: Issuer::new(params, key), pem, count: 1000 }
    }

    fn sign(&mut self, name: &str) -> Signed {
        self.count += 1;
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2099, 1, 1);
        params.serial_number = Some(SerialNumber::from(self.count));
        let key = KeyPair::generate_for(&PKCS_ED25519).expect("keys can be made");
        let cert = params.signed_by(&key, &self.issuer).expect("it can sign").pem();
        Signed(cert + &key.serialize_pem())
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let own = CertificateDer::from_pem_slice(self.pem.as_bytes()).expect("it was just made");
        roots.add(own).expect("it is an authority");
        roots
    }
}

impl Signed {
    fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![CertificateDer::from_pem_slice(self.0.as_bytes()).expect("it was just made")]
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.0.as_bytes()).expect("it was just made")
    }
}

/// The certificates of a run, and the files among them that the shard reads.
pub struct Keys {
    _files: TempDir,
    authority: Authority,
    /// An authority that nobody trusts who should not.
    stranger: Authority,
    good: Signed,
    /// Signed by the stranger.
    foreign: Signed,
    /// Signed by the authority, for another name.
    misnamed: Signed,
    server_file: PathBuf,
    authority_file: PathBuf,
}

/// Clients and targets of one day, and what the shard is told.
pub struct DayKeys {
    /// What the shard loads.
    pub options: Options,
    /// For clients that do everything right; some of them share their tickets.
    pub clients: Vec<Arc<ClientConfig>>,
    /// For clients that no server of the day satisfies, or that do not satisfy it.
    pub bad_clients: Vec<Arc<ClientConfig>>,
    /// For targets that do everything right.
    pub targets: Vec<Arc<ServerConfig>>,
    /// For targets whose certificate is not to be accepted.
    pub bad_targets: Vec<Arc<ServerConfig>>,
}

fn provider(dice: &mut Dice) -> Arc<CryptoProvider> {
    use aws_lc_rs::kx_group::{SECP384R1, X25519, X25519MLKEM768};
    let kx_groups = dice.pick(&[vec![X25519], vec![X25519MLKEM768, X25519], vec![SECP384R1]]).clone();
    Arc::new(CryptoProvider { kx_groups, ..aws_lc_rs::default_provider() })
}

fn version(dice: &mut Dice) -> &'static SupportedProtocolVersion {
    if dice.chance(300) { &TLS12 } else { &TLS13 }
}

impl Keys {
    /// Makes them.
    pub fn new() -> Keys {
        let files = TempDir::new();
        let (mut authority, mut stranger) = (Authority::new("authority"), Authority::new("stranger"));
        let (good, misnamed) = (authority.sign(NAME), authority.sign("b.example"));
        let foreign = stranger.sign(NAME);
        Keys {
            server_file: files.write("server.pem", &good.0),
            authority_file: files.write("authority.pem", &authority.pem),
            _files: files,
            authority,
            stranger,
            good,
            foreign,
            misnamed,
        }
    }

    /// Those of one day, with TLS towards clients, the target, or both.
    pub fn day(&self, to_clients: bool, to_target: bool, dice: &mut Dice) -> DayKeys {
        let newest = dice.chance(200);
        let verify_client = dice.chance(250);
        let target = TargetOptions {
            ca: Some(self.authority_file.clone()),
            name: Some(NAME.into()),
            ..TargetOptions::default()
        };
        let options = Options {
            pairs: if to_clients { vec![self.pair()] } else { Vec::new() },
            awaited: None,
            version: if newest { Version::Tls13 } else { Version::Tls12 },
            ciphers: None,
            verify_client,
            cafile: verify_client.then(|| self.authority_file.clone()),
            target: to_target.then_some(target),
        };
        let versions = [version(dice), version(dice)].map(|picked| if newest { &TLS13 } else { picked });
        let own = verify_client.then_some(&self.good);
        let clients = versions.map(|version| self.client(version, &self.authority, own, dice)).to_vec();
        let mut bad_clients = vec![self.client(&TLS13, &self.stranger, own, dice)];
        if verify_client {
            bad_clients.push(self.client(versions[0], &self.authority, None, dice));
            bad_clients.push(self.client(versions[0], &self.authority, Some(&self.foreign), dice));
        }
        if newest {
            bad_clients.push(self.client(&TLS12, &self.authority, own, dice));
        }
        let targets = versions.map(|version| self.target(version, &self.good, dice)).to_vec();
        let bad_targets =
            [&self.foreign, &self.misnamed].map(|signed| self.target(versions[0], signed, dice)).to_vec();
        DayKeys { options, clients, bad_clients, targets, bad_targets }
    }

    fn pair(&self) -> Pair {
        Pair { cert: self.server_file.clone(), ..Pair::default() }
    }

    fn client(
        &self,
        version: &'static SupportedProtocolVersion,
        trusts: &Authority,
        own: Option<&Signed>,
        dice: &mut Dice,
    ) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(provider(dice)).with_protocol_versions(&[version]);
        let builder = builder.expect("a version there is").with_root_certificates(trusts.roots());
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => builder.with_client_auth_cert(own.chain(), own.key()).expect("they fit together"),
        };
        config.max_fragment_size = fragment(dice);
        if dice.chance(500) {
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
        }
        Arc::new(config)
    }

    fn target(
        &self,
        version: &'static SupportedProtocolVersion,
        own: &Signed,
        dice: &mut Dice,
    ) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(provider(dice)).with_protocol_versions(&[version]);
        let builder = builder.expect("a version there is");
        let builder = match dice.chance(200) {
            // Nothing is shown to a target that asks without insisting.
            true => {
                let roots = Arc::new(self.authority.roots());
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider(dice));
                builder.with_client_cert_verifier(
                    verifier.allow_unauthenticated().build().expect("there are authorities"),
                )
            }
            false => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(own.chain(), own.key()).expect("they fit together");
        if dice.chance(500) {
            config.ticketer = aws_lc_rs::Ticketer::new().expect("keys for tickets");
        }
        config.send_tls13_tickets = dice.below(4);
        config.max_fragment_size = fragment(dice);
        Arc::new(config)
    }
}

/// Most bytes of a record: handshake messages and payload are cut to that.
fn fragment(dice: &mut Dice) -> Option<usize> {
    *dice.pick(&[None, None, Some(32), Some(100), Some(1000)])
}
