//! Tests of what is read at start: every complaint with its file and remedy, every kind of key file, names and versions.

use super::{Material, load};
use crate::limits::BUFFER_MEMORY_MIN;
use crate::pool::Pool;
use crate::tls::stream::Stream;
use crate::tls::stream_tests::{NAME, give};
use crate::tls::verifier::{Trust, Verifier};
use crate::tls::{Options, Pair, Secret, TargetOptions, Version};
use rcgen::{CertificateParams, DnType, KeyPair, SerialNumber, date_time_ymd};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, SignatureScheme};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use x509_cert::der::Decode;

/// A directory of its own, removed at the end.
pub(in crate::tls) struct Files(PathBuf);

impl Files {
    pub(in crate::tls) fn new() -> Files {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("websplice-tls-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Files(path)
    }

    pub(in crate::tls) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(in crate::tls) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// A certificate with this serial number, and its key, in one file.
    pub(in crate::tls) fn self_signed(&self, name: &str, serial: u64) -> PathBuf {
        let (cert, key) = signed(NAME, serial);
        self.write(name, &format!("{cert}{key}"))
    }

    pub(in crate::tls) fn options(path: &Path) -> Options {
        Options { pairs: vec![Pair { cert: path.into(), ..Pair::default() }], ..Options::default() }
    }

    /// What is said about a certificate file with this text.
    fn complaint(&self, name: &str, text: &str) -> String {
        load(&Files::options(&self.write(name, text))).unwrap_err()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // What is left behind is in the directory for temporary files, where it can stay.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// PEM of a certificate for `name` and of its key.
fn signed(name: &str, serial: u64) -> (String, String) {
    let mut params = CertificateParams::new(vec![name.to_string()]).unwrap();
    params.serial_number = Some(SerialNumber::from(serial));
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// The certificate that a client gets who asks for `name`, as its serial number.
fn served(material: &Material, name: &str) -> Vec<u8> {
    served_to(material, name, rustls::crypto::aws_lc_rs::default_provider())
}

/// The same, for a client with this cryptography.
fn served_to(material: &Material, name: &str, provider: CryptoProvider) -> Vec<u8> {
    let provider = Arc::new(provider);
    let client = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { trust: Trust::Anyone, provider }))
        .with_no_client_auth();
    let client = Arc::new(client);
    let pool = Pool::new(BUFFER_MEMORY_MIN);
    let mut server = Stream::server(material.server.clone().unwrap()).unwrap();
    let mut client = Stream::client(client, ServerName::try_from(name.to_string()).unwrap()).unwrap();
    let mut to_server = client.hello(&pool).unwrap().to_vec();
    while client.is_handshaking() {
        let heard = give(&mut server, &pool, &to_server, 1000);
        let heard = give(&mut client, &pool, &heard.reply, 1000);
        assert_eq!(heard.failed, None);
        to_server = heard.reply;
    }
    let certificate = x509_cert::Certificate::from_der(&client.peer_certificates().unwrap()[0]).unwrap();
    certificate.tbs_certificate().serial_number().as_bytes().to_vec()
}

pub(in crate::tls) fn serial(material: &Arc<Material>) -> Vec<u8> {
    served(material, NAME)
}

fn assert_says(complaint: &str, words: &[&str]) {
    assert!(!complaint.contains('\n'), "one line: {complaint}");
    for word in words {
        assert!(complaint.contains(word), "{word:?} is missing in: {complaint}");
    }
}

#[test]
fn every_broken_file_is_named_with_its_remedy() {
    let files = Files::new();
    let (cert, key) = signed(NAME, 1);
    let (other_cert, other_key) = signed(NAME, 2);
    let missing = load(&Files::options(&files.path("none.pem"))).unwrap_err();
    assert_says(&missing, &["none.pem", "does not exist"]);
    assert_says(&load(&Files::options(&files.0)).unwrap_err(), &["is not a file"]);
    assert_says(&files.complaint("a.pem", "hello"), &["a.pem", "is not PEM"]);
    assert_says(&files.complaint("b.pem", &key), &["b.pem", "holds no certificate"]);
    assert_says(&files.complaint("c.pem", &cert), &["c.pem", "holds no private key", "--key"]);
    assert_says(&files.complaint("d.pem", &format!("{cert}{other_key}")), &["d.pem", "does not belong"]);
    let swapped = files.complaint("e.pem", &format!("{other_cert}{cert}{key}"));
    assert_says(&swapped, &["e.pem", "wrong order", "first"]);
    let damaged = "-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n";
    assert_says(&files.complaint("f.pem", &format!("{damaged}{key}")), &["f.pem", "damaged"]);
    let damaged = "-----BEGIN PRIVATE KEY-----\nMAAA\n-----END PRIVATE KEY-----\n";
    assert_says(&files.complaint("g.pem", &format!("{cert}{damaged}")), &["g.pem", "damaged", "RSA"]);
    assert_says(&files.complaint("h.pem", &"#".repeat(5 << 20)), &["h.pem", "too long"]);

    let mut options = Files::options(&files.write("cert.pem", &cert));
    options.pairs[0].key = Some(files.path("none.key"));
    assert_says(&load(&options).unwrap_err(), &["key", "none.key", "does not exist"]);
    options.pairs[0].key = Some(files.write("other.key", &other_key));
    assert_says(&load(&options).unwrap_err(), &["other.key", "does not belong to", "cert.pem"]);
    options.pairs[0].key = Some(files.write("cert.key", &cert));
    assert_says(&load(&options).unwrap_err(), &["cert.key", "holds no private key"]);
    let key_file = files.write("right.key", &key);
    options.pairs[0].key = Some(key_file.clone());
    assert!(load(&options).unwrap().warnings.is_empty());
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o644)).unwrap();
    assert_says(&load(&options).unwrap().warnings[0], &["right.key", "chmod 600"]);
}

#[test]
fn certificates_out_of_their_time_are_refused() {
    let files = Files::new();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![NAME.to_string()]).unwrap();
    params.not_after = date_time_ymd(2020, 2, 3);
    params.not_before = date_time_ymd(2019, 2, 3);
    let expired = format!("{}{}", params.self_signed(&key).unwrap().pem(), key.serialize_pem());
    assert_says(&files.complaint("old.pem", &expired), &["old.pem", "expired on 2020-02-03", "renew"]);
    params.not_before = date_time_ymd(2999, 2, 3);
    params.not_after = date_time_ymd(3000, 2, 3);
    let early = format!("{}{}", params.self_signed(&key).unwrap().pem(), key.serialize_pem());
    assert_says(&files.complaint("new.pem", &early), &["new.pem", "not valid before 2999-02-03", "clock"]);
}

#[test]
fn keys_as_openssl_encrypts_them() {
    let files = Files::new();
    let plain = files.path("plain.key");
    let openssl = |args: &[&str]| {
        let status =
            Command::new("openssl").args(args).current_dir(&files.0).stderr(Stdio::null()).status().unwrap();
        assert!(status.success(), "openssl {args:?}");
    };
    openssl(&["genrsa", "-out", "plain.key", "2048"]);
    openssl(&[
        "req",
        "-x509",
        "-key",
        "plain.key",
        "-subj",
        "/CN=gateway.example",
        "-days",
        "9",
        "-out",
        "cert.pem",
    ]);
    let out = ["-passout", "pass:secret", "-in", "plain.key", "-out", "key"];
    let rows: &[(&str, &[&str])] = &[
        ("aes-128-cbc", &["rsa", "-traditional", "-aes128"]),
        ("aes-192-cbc", &["rsa", "-traditional", "-aes192"]),
        ("aes-256-cbc", &["rsa", "-traditional", "-aes256"]),
        ("des-ede3-cbc", &["rsa", "-traditional", "-des3"]),
        ("pkcs8", &["pkcs8", "-topk8", "-v2", "aes-256-cbc"]),
        ("pkcs8 of old", &["pkcs8", "-topk8", "-v2", "des3", "-v2prf", "hmacWithSHA1"]),
        ("pkcs8 scrypt", &["pkcs8", "-topk8", "-scrypt", "-scrypt_N", "1024"]),
    ];
    let pair = |password: Option<&str>| {
        let password = password.map(|word| Secret(word.into()));
        let pair = Pair { cert: files.path("cert.pem"), key: Some(files.path("key")), password };
        load(&Options { pairs: vec![pair], ..Options::default() })
    };
    for (name, args) in rows {
        openssl(&[args, &out[..]].concat());
        assert!(pair(Some("secret")).is_ok(), "{name}: {:?}", pair(Some("secret")).err());
        assert_says(&pair(Some("Secret")).unwrap_err(), &["key", "password of the key is wrong"]);
        assert_says(&pair(None).unwrap_err(), &["is encrypted", "give the password"]);
    }
    openssl(&[&["pkcs8", "-topk8", "-v1", "PBE-SHA1-3DES"], &out[..]].concat());
    assert_says(&pair(Some("secret")).unwrap_err(), &["not supported", "openssl pkcs8 -topk8"]);
    fs::copy(plain, files.path("key")).unwrap();
    assert!(pair(Some("of no use")).is_ok());
}

#[test]
fn the_name_asked_for_chooses_the_certificate() {
    let files = Files::new();
    let mut options = Options::default();
    for (serial, name) in
        [(1, "first.example"), (2, "*.wild.example"), (3, "exact.wild.example"), (4, "first.example")]
    {
        let (cert, key) = signed(name, serial);
        let cert = files.write(&format!("{serial}.pem"), &format!("{cert}{key}"));
        options.pairs.push(Pair { cert, ..Pair::default() });
    }
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.serial_number = Some(SerialNumber::from(5));
    params.distinguished_name.push(DnType::CommonName, "old.example");
    let key = KeyPair::generate().unwrap();
    let old = format!("{}{}", params.self_signed(&key).unwrap().pem(), key.serialize_pem());
    options.pairs.push(Pair { cert: files.write("5.pem", &old), ..Pair::default() });
    let material = load(&options).unwrap();
    for (name, serial) in [
        ("first.example", 1),
        ("FIRST.example", 1),
        ("a.wild.example", 2),
        ("exact.wild.example", 3),
        ("a.b.wild.example", 1),
        ("wild.example", 1),
        ("old.example", 5),
        ("unknown.example", 1),
        ("192.0.2.1", 1),
    ] {
        assert_eq!(served(&material, name), [serial], "{name}");
    }
}

#[test]
fn two_kinds_of_keys_for_one_name() {
    let files = Files::new();
    let mut options = Options::default();
    for (serial, algorithm) in [(1_u64, &rcgen::PKCS_ED25519), (2, &rcgen::PKCS_ECDSA_P256_SHA256)] {
        let mut params = CertificateParams::new(vec![NAME.to_string()]).unwrap();
        params.serial_number = Some(SerialNumber::from(serial));
        let key = KeyPair::generate_for(algorithm).unwrap();
        let text = format!("{}{}", params.self_signed(&key).unwrap().pem(), key.serialize_pem());
        options.pairs.push(Pair { cert: files.write(&format!("{serial}.pem"), &text), ..Pair::default() });
    }
    let material = load(&options).unwrap();
    for name in [NAME, "unknown.example"] {
        assert_eq!(served(&material, name), [1]);
    }
    // As a browser, which does not know Ed25519.
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    let all = provider.signature_verification_algorithms.mapping;
    provider.signature_verification_algorithms.mapping = &all[..2];
    assert!(all[..2].iter().any(|(scheme, _)| *scheme == SignatureScheme::ECDSA_NISTP256_SHA256));
    assert_eq!(served_to(&material, NAME, provider), [2]);
}

#[test]
fn tickets_are_opened_for_twice_the_time_that_their_keys_make_them() {
    let files = Files::new();
    let material = load(&Files::options(&files.self_signed("cert.pem", 1))).unwrap();
    let server = material.server.unwrap();
    assert!(server.ticketer.enabled());
    assert_eq!(server.ticketer.lifetime(), 2 * 6 * 3600);
    let ticket = server.ticketer.encrypt(b"session").unwrap();
    assert_eq!(server.ticketer.decrypt(&ticket).unwrap(), b"session");
    // What is read anew has keys of its own.
    let renewed = load(&Files::options(&files.path("cert.pem"))).unwrap().server.unwrap();
    assert_eq!(renewed.ticketer.decrypt(&ticket), None);
}

#[test]
fn words_of_versions_and_ciphers() {
    for word in Version::WORDS {
        assert_eq!(Version::parse(word).unwrap() == Version::Tls13, word == "tlsv1_3");
    }
    assert_says(&Version::parse("tlsv1").unwrap_err(), &["oldest version is tlsv1_2"]);
    assert_says(&Version::parse("x").unwrap_err(), &["unknown", "tlsv1_3"]);
    let files = Files::new();
    let mut options = Files::options(&files.self_signed("cert.pem", 1));
    options.version = Version::Tls13;
    options.ciphers = Some("HIGH:!aNULL".into());
    assert!(load(&options).is_ok());
    options.ciphers = Some("NONE".into());
    assert_says(&load(&options).unwrap_err(), &["--ssl-ciphers", "NONE", "known are"]);
}

#[test]
fn authorities_and_target_options() {
    let files = Files::new();
    let mut options = Files::options(&files.self_signed("cert.pem", 1));
    options.verify_client = true;
    options.cafile = Some(files.path("ca.pem"));
    assert_says(&load(&options).unwrap_err(), &["CA file", "ca.pem", "does not exist"]);
    let (cert, key) = signed(NAME, 1);
    options.cafile = Some(files.write("ca.pem", &key));
    assert_says(&load(&options).unwrap_err(), &["ca.pem", "holds no certificates"]);
    options.cafile = Some(files.write("ca.pem", &cert));
    assert!(load(&options).is_ok());

    let target = TargetOptions {
        ca: options.cafile.clone(),
        pair: Some(Pair { cert: files.path("cert.pem"), ..Pair::default() }),
        name: Some("display.example".into()),
        insecure: false,
    };
    let mut options = Options { target: Some(target), ..Options::default() };
    let material = load(&options).unwrap();
    assert!(material.server.is_none() && material.client.is_some());
    assert_eq!(material.target_name, Some(ServerName::try_from("display.example").unwrap()));
    options.target.as_mut().unwrap().name = Some("not a name".into());
    assert_says(&load(&options).unwrap_err(), &["--ssl-target-name", "not a name"]);
}
