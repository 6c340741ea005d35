//! Signed tokens, and the file of their key.

use super::files::{refused, works};
use crate::support::client::Handshake;
use crate::support::on_both_engines;
use crate::support::server::Server;
use crate::support::target::TcpTarget;
use crate::support::temp::TempDir;
use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use std::fs;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

on_both_engines!(signed_tokens, encrypted_tokens, a_key_that_changes);

const SECRETS: [&[u8]; 2] = [b"0123456789abcdef0123456789abcdef", b"ABCDEFGHIJKLMNOPABCDEFGHIJKLMNOP"];

fn encoded(bytes: &[u8]) -> String {
    base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes)
}

/// A token that leads to `target`, with one more claim.
fn signed(secret: &[u8], target: SocketAddr, claim: &str) -> String {
    let claims = format!(r#"{{"host":"{}","port":{}{claim}}}"#, target.ip(), target.port());
    let signed = format!("{}.{}", encoded(br#"{"alg":"HS256"}"#), encoded(claims.as_bytes()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
    format!("{signed}.{}", encoded(tag.as_ref()))
}

/// A request with such a token.
fn asking(secret: &[u8], target: SocketAddr, claim: &str) -> Handshake {
    Handshake::new().start(&format!("GET /?token={} HTTP/1.1", signed(secret, target, claim)))
}

/// A request with such a token that is encrypted with the secret itself.
fn asking_veiled(secret: &[u8], algorithm: &'static Algorithm, target: SocketAddr) -> Handshake {
    let header = encoded(format!(r#"{{"alg":"dir","enc":"A{}GCM"}}"#, 8 * secret.len()).as_bytes());
    let key = LessSafeKey::new(UnboundKey::new(algorithm, secret).expect("a secret of that length"));
    let (nonce, mut content) = ([7; 12], signed(secret, target, "").into_bytes());
    let tag = key
        .seal_in_place_separate_tag(Nonce::from(&nonce), Aad::from(header.as_bytes()), &mut content)
        .expect("a short text");
    let token = format!("{header}..{}.{}.{}", encoded(&nonce), encoded(&content), encoded(tag.as_ref()));
    Handshake::new().start(&format!("GET /?token={token} HTTP/1.1"))
}

#[track_caller]
fn started(engine: &str, key: &str) -> Server {
    Server::start(engine, &["-v", "--token-plugin=JWTTokenApi", &format!("--token-source={key}")])
}

fn signed_tokens(engine: &str) {
    let (target, place) = (TcpTarget::echo(), TempDir::new());
    let key = place.write("key", encoded(SECRETS[0]) + "\n");
    let server = started(engine, key.to_str().expect("temporary paths are plain"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970").as_secs();
    let good = |claim: &str| asking(SECRETS[0], target.address(), claim);
    works(&server, &good(""));
    works(&server, &good(&format!(r#","exp":{},"nbf":{now}"#, now + 60)));
    for (claim, why) in [
        (format!(r#","exp":{now}"#), "Token has expired!"),
        (format!(r#","nbf":{}"#, now + 60), "Token can not be used yet!"),
        (r#","exp":"never""#.into(), "exp and nbf must be numbers"),
    ] {
        assert_eq!(refused(&server, &good(&claim)), 404, "{claim}");
        server.wait_line(why);
    }
    assert_eq!(refused(&server, &asking(SECRETS[1], target.address(), "")), 404);
    assert_eq!(refused(&server, &Handshake::new().start("GET /?token=x HTTP/1.1")), 404);
    assert_eq!(refused(&server, &Handshake::new()), 403);
    let log = server.log();
    assert!(!log.contains("eyJ"), "{log}");
    server.stop();
}

/// The signature inside is by the same secret, so one that is too short for it is of no use for the encryption either, and
/// no key at all.
fn encrypted_tokens(engine: &str) {
    let (target, place) = (TcpTarget::echo(), TempDir::new());
    let started = |name: &str, secret: &[u8]| {
        started(engine, place.write(name, encoded(secret)).to_str().expect("temporary paths are plain"))
    };
    let server = started("long", SECRETS[0]);
    works(&server, &asking_veiled(SECRETS[0], &AES_256_GCM, target.address()));
    server.stop();
    let short = &SECRETS[0][..16];
    let server = started("short", short);
    server.wait_line("short: is a secret of 16 bytes");
    assert_eq!(refused(&server, &asking_veiled(short, &AES_128_GCM, target.address())), 503);
    server.stop();
}

fn a_key_that_changes(engine: &str) {
    let (target, place) = (TcpTarget::echo(), TempDir::new());
    let key = place.arg("key");
    let server = started(engine, &key);
    let [old, new] = SECRETS.map(|secret| asking(secret, target.address(), ""));
    assert_eq!(refused(&server, &old), 503, "there is no key yet");
    fs::write(&key, encoded(SECRETS[0])).expect("the directory is writable");
    works(&server, &old);
    fs::write(&key, "!").expect("the directory is writable");
    works(&server, &old);
    server.wait_line("is neither PEM nor base64url; the key before stays");
    fs::write(&key, encoded(&SECRETS[1][..31])).expect("the directory is writable");
    works(&server, &old);
    let line = server.wait_line("is a secret of 31 bytes");
    assert!(line.ends_with("; the key before stays"), "{line}");
    fs::write(&key, encoded(SECRETS[1])).expect("the directory is writable");
    works(&server, &new);
    assert_eq!(refused(&server, &old), 404);
    fs::remove_file(&key).expect("the directory is writable");
    assert_eq!(refused(&server, &new), 503);
    server.stop();
}
