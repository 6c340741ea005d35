//! Tests of certificates of version 1, made by openssl, which also says what it would take: who is let in, in which version
//! of TLS, and who is not.

use super::load;
use super::tests::Files;
use crate::tls::identity::common_name;
use crate::tls::verifier::{Clients, Trust, Verifier};
use crate::tls::version1::{Version1, readable};
use crate::tls::{Options, Pair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, Error, RootCertStore, ServerConnection, SupportedProtocolVersion,
};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Extensions of certificates of version 3, by their section.
const EXTENSIONS: &str = "[none]\n\
    [leaf]\nbasicConstraints=CA:FALSE\n\
    [leaf_unknown]\n1.2.3.4=critical,DER:0500\n\
    [ca]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n\
    [ca_signs_nothing]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=digitalSignature\n\
    [ca_servers]\nbasicConstraints=critical,CA:TRUE\nextendedKeyUsage=serverAuth\n\
    [ca_names]\nbasicConstraints=critical,CA:TRUE\nnameConstraints=critical,excluded;dirName:out\n\
    [out]\nCN=alice\n\
    [bare]\nsubjectKeyIdentifier=hash\n\
    [key]\nkeyUsage=keyCertSign\n";

/// A directory in which openssl makes certificates: `NAME.crt` and `NAME.key`.
struct Office(Files);

impl Office {
    fn new() -> Office {
        let files = Files::new();
        files.write("extensions", EXTENSIONS);
        Office(files)
    }

    fn openssl(&self, args: &[&str]) -> Output {
        let output = Command::new("openssl").args(args).current_dir(self.0.path("")).output();
        output.expect("openssl is installed")
    }

    fn must(&self, args: &[&str]) {
        let output = self.openssl(args);
        assert!(output.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A certificate of `subject`, in a file `name`, signed by `by`, or by itself when that is its name. In version 1, or in
    /// version 3 with the extensions of a section.
    fn sign(&self, name: &str, subject: &str, by: &str, section: Option<&str>) {
        self.sign_with(name, subject, by, section, "ec -pkeyopt ec_paramgen_curve:P-256", "-sha256");
    }

    fn sign_with(
        &self,
        name: &str,
        subject: &str,
        by: &str,
        section: Option<&str>,
        kind: &str,
        digest: &str,
    ) {
        let (key, csr, crt) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.crt"));
        let subject = format!("/CN={subject}");
        let request = ["req", "-nodes", "-keyout", &key, "-out", &csr, "-subj", &subject, "-newkey"];
        self.must(&[&request[..], &kind.split(' ').collect::<Vec<_>>()].concat());
        let (by_key, by_crt) = (format!("{by}.key"), format!("{by}.crt"));
        let mut words = vec!["x509", "-req", "-in", &csr, "-out", &crt, "-days", "9", digest];
        match by == name {
            true => words.extend(["-signkey", &key]),
            false => words.extend(["-CA", &by_crt, "-CAkey", &by_key, "-CAcreateserial"]),
        }
        if let Some(section) = section {
            words.extend(["-extfile", "extensions", "-extensions", section]);
        }
        self.must(&words);
        let is_old = Version1::read(&self.certificate(name)).is_some();
        assert_eq!(is_old, section.is_none(), "{name}");
    }

    fn certificate(&self, name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.0.path(&format!("{name}.crt"))).unwrap()
    }

    fn certificates(&self, names: &[&str]) -> Vec<CertificateDer<'static>> {
        names.iter().map(|name| self.certificate(name)).collect()
    }

    /// Several certificates in one file of that name.
    fn join(&self, name: &str, parts: &[&str]) {
        let read = |part: &&str| std::fs::read_to_string(self.0.path(&format!("{part}.crt"))).unwrap();
        self.0.write(&format!("{name}.crt"), &parts.iter().map(read).collect::<String>());
    }

    fn clients(&self, given: &[&str]) -> Clients {
        let given = self.certificates(given);
        let mut roots = RootCertStore::empty();
        given.iter().for_each(|given| roots.add(given.clone()).unwrap());
        Clients::new(roots, given, Arc::new(aws_lc_rs::default_provider())).unwrap()
    }

    /// What is said of a client that shows these certificates, its own first, where these are given.
    fn judged(&self, given: &[&str], shown: &[&str]) -> Result<(), Error> {
        let shown = self.certificates(shown);
        self.clients(given).verify_client_cert(&shown[0], &shown[1..], UnixTime::now()).map(|_| ())
    }

    /// The same as openssl sees it; like Python's, it takes the very certificate that it was given.
    fn openssl_takes(&self, given: &[&str], shown: &[&str]) -> bool {
        self.join("openssl-given", given);
        self.join("openssl-between", &shown[1..]);
        let between = if shown.len() > 1 { &["-untrusted", "openssl-between.crt"][..] } else { &[] };
        let own = format!("{}.crt", shown[0]);
        let common = ["verify", "-purpose", "sslclient", "-partial_chain", "-CAfile", "openssl-given.crt"];
        self.openssl(&[&common[..], between, &[&own]].concat()).status.success()
    }

    /// A pair for the handshake, whether or not they belong together.
    fn pair(&self, certificate: &str, key: &str) -> CertifiedKey {
        let key = PrivateKeyDer::from_pem_file(self.0.path(&format!("{key}.key"))).unwrap();
        let key = aws_lc_rs::default_provider().key_provider.load_private_key(key).unwrap();
        CertifiedKey::new(vec![self.certificate(certificate)], key)
    }

    fn options(&self, cert: &str, cafile: &str) -> Options {
        let file = |end| self.0.path(&format!("{cert}{end}"));
        let pair = Pair { cert: file(".crt"), key: Some(file(".key")), password: None };
        let cafile = Some(self.0.path(&format!("{cafile}.crt")));
        Options { pairs: vec![pair], verify_client: true, cafile, ..Options::default() }
    }
}

/// The name of a client with this pair as the server of `options` sees it, or the server's complaint; and what the server
/// has shown. The client looks at that as `--ssl-target-insecure` does.
fn shake(
    options: &Options,
    pair: CertifiedKey,
    version: &'static SupportedProtocolVersion,
) -> Result<(Option<Box<str>>, CertificateDer<'static>), Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let insecure = Verifier { trust: Trust::Anyone, provider: provider.clone() };
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(insecure))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
    let mut client = ClientConnection::new(Arc::new(config), "desk.test".try_into().unwrap()).unwrap();
    let mut server = ServerConnection::new(load(options).unwrap().server.unwrap()).unwrap();
    while client.wants_write() || server.wants_write() {
        let (mut up, mut down) = (Vec::new(), Vec::new());
        while client.wants_write() {
            client.write_tls(&mut up).unwrap();
        }
        let mut up = &up[..];
        while !up.is_empty() {
            server.read_tls(&mut up).unwrap();
            server.process_new_packets()?;
        }
        while server.wants_write() {
            server.write_tls(&mut down).unwrap();
        }
        let mut down = &down[..];
        while !down.is_empty() {
            client.read_tls(&mut down).unwrap();
            client.process_new_packets()?;
        }
    }
    assert!(!server.is_handshaking() && !client.is_handshaking());
    let name = common_name(&server.peer_certificates().unwrap()[0]);
    Ok((name, client.peer_certificates().unwrap()[0].clone().into_owned()))
}

/// A certificate's file, its subject, who has signed it, and its section of [`EXTENSIONS`] unless it is of version 1.
type Made = (&'static str, &'static str, &'static str, Option<&'static str>);

const CERTIFICATES: &[Made] = &[
    ("ca", "ca", "ca", Some("ca")),
    ("twin", "ca", "twin", Some("ca")),
    ("other", "other", "other", Some("ca")),
    ("root", "root", "root", None),
    ("alice", "alice", "ca", None),
    ("self", "self", "self", None),
    ("of_root", "of root", "root", None),
    ("new_of_root", "new of root", "root", Some("leaf")),
    ("mallory", "mallory", "alice", None),
    ("new_mallory", "mallory", "alice", Some("leaf")),
    ("carol", "carol", "ca", Some("leaf")),
    ("of_carol", "of carol", "carol", None),
    ("between", "between", "ca", Some("ca")),
    ("far", "far", "between", None),
    ("mute", "mute", "ca", Some("ca_signs_nothing")),
    ("servers", "servers", "ca", Some("ca_servers")),
    ("of_servers", "of servers", "servers", None),
    ("names", "names", "ca", Some("ca_names")),
    ("no_alice", "alice", "names", None),
    ("plain", "plain", "plain", Some("leaf")),
    ("of_plain", "of plain", "plain", None),
    ("new_of_plain", "of plain", "plain", Some("leaf")),
    ("bare", "bare", "bare", Some("bare")),
    ("of_bare", "of bare", "bare", None),
    ("key", "key", "key", Some("key")),
    ("of_key", "of key", "key", None),
    ("silent", "silent", "silent", Some("ca_signs_nothing")),
    ("of_silent", "of silent", "silent", None),
    ("unknown", "unknown", "ca", Some("leaf_unknown")),
];

/// What the server is given, what a client shows, its own first, and whether it is let in.
type Row = (&'static [&'static str], &'static [&'static str], bool);

const ROWS: &[Row] = &[
    (&["ca"], &["alice"], true),
    (&["other", "ca"], &["alice"], true),
    (&["ca"], &["carol"], true),
    (&["root"], &["of_root"], true),
    (&["root"], &["new_of_root"], true),
    // Through an authority in between, which the client shows or the file holds.
    (&["ca"], &["far", "between"], true),
    (&["between"], &["far"], true),
    (&["ca"], &["far"], false),
    // Another authority, and another one of the same name.
    (&["other"], &["alice"], false),
    (&["twin"], &["alice"], false),
    (&["root"], &["alice"], false),
    // One of version 1 signs nothing, neither as shown by the client nor as given beside its authority or alone.
    (&["ca"], &["mallory", "alice"], false),
    (&["ca"], &["new_mallory", "alice"], false),
    (&["ca", "alice"], &["mallory"], false),
    (&["ca", "alice"], &["new_mallory"], false),
    (&["alice"], &["mallory"], false),
    (&["alice"], &["new_mallory"], false),
    (&["ca"], &["of_root", "root"], false),
    // Nor does one of version 3 that is no authority.
    (&["ca"], &["of_carol", "carol"], false),
    (&["ca", "carol"], &["of_carol"], false),
    (&["plain"], &["of_plain"], false),
    (&["plain"], &["new_of_plain"], false),
    (&["bare"], &["of_bare"], false),
    (&["silent"], &["of_silent"], false),
    (&["key"], &["of_key"], true),
    // Nor one that is for other purposes or names.
    (&["ca"], &["of_servers", "servers"], false),
    (&["ca"], &["no_alice", "names"], false),
    (&["names"], &["no_alice"], false),
    // The very ones that were given.
    (&["alice"], &["alice"], true),
    (&["self"], &["self"], true),
    (&["plain"], &["plain"], true),
    (&["ca"], &["self"], false),
    // As ever.
    (&["ca"], &["unknown"], false),
];

#[test]
fn who_is_let_in_is_who_openssl_lets_in() {
    let office = Office::new();
    for (name, subject, by, section) in CERTIFICATES {
        office.sign(name, subject, by, *section);
    }
    for (given, shown, is_in) in ROWS {
        let judged = office.judged(given, shown);
        assert_eq!(judged.is_ok(), *is_in, "{given:?} {shown:?}: {judged:?}");
        assert_eq!(office.openssl_takes(given, shown), *is_in, "{given:?} {shown:?}, as to openssl");
    }
    // openssl asks only the first of two authorities of one name.
    assert_eq!(office.judged(&["twin", "ca"], &["alice"]), Ok(()));
}

#[test]
fn times_forgeries_and_broken_signatures() {
    let office = Office::new();
    office.sign("ca", "ca", "ca", Some("ca"));
    office.sign("alice", "alice", "ca", None);
    let clients = office.clients(&["ca"]);
    let now = Duration::from_secs(UnixTime::now().as_secs());
    let at = |own: &CertificateDer<'_>, time| {
        let judged = clients.verify_client_cert(own, &[], UnixTime::since_unix_epoch(time));
        judged.map(|_| String::new()).unwrap_or_else(|error| error.to_string())
    };
    let alice = office.certificate("alice");
    assert_eq!(at(&alice, now), "");
    assert_eq!(at(&alice, now + 8 * DAY), "");
    assert!(at(&alice, now + 10 * DAY).contains("expired"), "{}", at(&alice, now + 10 * DAY));
    assert!(at(&alice, now - DAY).contains("not valid yet"), "{}", at(&alice, now - DAY));
    // Each bit of it counts; what cannot be read at all is left to webpki, which refuses it as well.
    let mut forged_signatures = 0;
    for index in 0..alice.len() {
        for bit in [0, 3, 7] {
            let mut changed = alice.to_vec();
            changed[index] ^= 1 << bit;
            let said = at(&changed.into(), now);
            assert_ne!(said, "", "byte {index}, bit {bit}");
            forged_signatures += u32::from(said.contains("BadSignature"));
        }
    }
    assert!(forged_signatures > 300, "{forged_signatures}");
    for len in 0..alice.len() {
        assert_ne!(at(&alice[..len].into(), now), "", "{len} bytes of it");
    }
    let longer = [&alice[..], &[0]].concat();
    assert_ne!(at(&longer.into(), now), "");
    // webpki's reading of it is signed by nobody.
    assert!(at(&readable(&alice), now).contains("BadSignature"));
}

#[test]
fn what_openssl_calls_too_weak_is_refused() {
    let office = Office::new();
    let (short, long) = ("rsa:1024", "rsa:2048");
    office.sign_with("ca", "ca", "ca", Some("ca"), long, "-sha256");
    office.sign_with("short", "short", "short", Some("ca"), short, "-sha256");
    for (name, by, digest, word) in [
        ("good", "ca", "-sha256", ""),
        ("sha1", "ca", "-sha1", "UnsupportedSignatureAlgorithm"),
        ("md5", "ca", "-md5", "UnsupportedSignatureAlgorithm"),
        ("of_short", "short", "-sha256", "BadSignature"),
    ] {
        office.sign_with(name, name, by, None, long, digest);
        let judged = office.judged(&["ca", "short"], &[name]);
        let said = judged.map(|()| String::new()).unwrap_or_else(|error| error.to_string());
        assert!(said.contains(word) && said.is_empty() == word.is_empty(), "{name}: {said}");
    }
}

#[test]
fn what_is_not_quite_of_version_1_is_left_alone() {
    let office = Office::new();
    office.sign("ca", &"c".repeat(60), "ca", Some("ca"));
    office.sign("alice", "alice", "ca", None);
    let plain = |der: &CertificateDer<'_>| Version1::read(der).is_some();
    let (ca, alice) = (office.certificate("ca"), office.certificate("alice"));
    assert!(plain(&alice) && !plain(&ca));
    let shown = readable(&alice).into_owned();
    assert!(!plain(&shown) && readable(&shown) == readable(&alice));
    // Version 1 with extensions, and with the default spelt out.
    let at = ca.windows(5).position(|window| window == [0xa0, 3, 2, 1, 2]).expect("it is of version 3");
    let without = [&ca[..at], &ca[at + 5..]].concat();
    let relong = |mut der: Vec<u8>, by: i16| {
        for length in [2, 6] {
            let bytes: [u8; 2] = der[length..length + 2].try_into().unwrap();
            der[length..length + 2]
                .copy_from_slice(&i16::from_be_bytes(bytes).checked_add(by).unwrap().to_be_bytes());
        }
        CertificateDer::from(der)
    };
    assert_eq!((ca[1], ca[5], at), (0x82, 0x82, 8), "lengths of two bytes");
    let without = relong(without, -5);
    let parsed: Result<x509_cert::Certificate, _> = x509_cert::der::Decode::from_der(&without);
    assert_eq!(parsed.map(|_| ()), Ok(()));
    assert!(!plain(&without));
    let mut spelt = ca.to_vec();
    spelt[at + 4] = 0;
    assert!(!plain(&spelt.into()));
    for junk in [&b""[..], b"\x30\x00", b"\x30\x02\x30\x00", b"\x30\x80", b"\x02\x01\x00"] {
        assert!(!plain(&junk.into()), "{junk:?}");
    }
}

#[test]
fn handshakes_of_both_versions_and_all_kinds_of_keys() {
    let office = Office::new();
    office.sign("ca", "ca", "ca", Some("ca"));
    office.sign("root", "root", "root", None);
    office.sign("self", "self", "self", None);
    let kinds = ["ec -pkeyopt ec_paramgen_curve:P-256", "ec -pkeyopt ec_paramgen_curve:P-384", "rsa:2048"];
    for (number, kind) in kinds.iter().chain(&["ed25519"]).enumerate() {
        let name = format!("client{number}");
        office.sign_with(&name, &name, ["ca", "root"][number % 2], None, kind, "-sha256");
    }
    office.join("given", &["ca", "root", "self"]);
    // The server's own is of version 1 as well.
    let options = office.options("root", "given");
    for version in [&TLS12, &TLS13] {
        for name in ["client0", "client1", "client2", "client3", "self"] {
            let (seen, shown) = shake(&options, office.pair(name, name), version).expect(name);
            assert_eq!(seen.as_deref(), Some(name), "{version:?}");
            assert_eq!(shown, office.certificate("root"));
        }
        // Who has the certificate and not its key is nobody.
        for (name, other) in [("client0", "self"), ("self", "client0")] {
            let refused = shake(&options, office.pair(name, other), version).unwrap_err();
            assert!(refused.to_string().contains("BadSignature"), "{version:?} {name}: {refused}");
        }
    }
}

#[test]
fn a_server_of_version_1_needs_its_key_too() {
    let office = Office::new();
    office.sign("first", "first", "first", None);
    office.sign("second", "second", "second", None);
    assert!(load(&office.options("first", "first")).unwrap().warnings.is_empty());
    let mut options = office.options("first", "first");
    options.pairs[0].key = Some(office.0.path("second.key"));
    let complaint = load(&options).unwrap_err();
    assert!(complaint.contains("second.key does not belong to") && !complaint.contains('\n'), "{complaint}");
    office.join("wrong", &["second", "first"]);
    options.pairs[0] =
        Pair { cert: office.0.path("wrong.crt"), key: Some(office.0.path("first.key")), password: None };
    let complaint = load(&options).unwrap_err();
    assert!(complaint.contains("wrong order"), "{complaint}");
}
