//! Cases for tokens that say where they lead: vectors of the standards, tokens made by another program, and attacks.

use super::*;
use aws_lc_rs::hmac;
use serde_json::json;

/// Each has a key, a token, and the payload behind it, or none if it has to be refused. Those not from a standard were
/// made with jwcrypto 1.5.7.
fn vectors() -> Vec<(String, String, String, Option<String>)> {
    let rows: Vec<Object> = serde_json::from_str(include_str!("vectors.json")).unwrap();
    let text = |row: &Object, name: &str| row[name].as_str().map(str::to_owned);
    let rows = rows.iter();
    rows.map(|row| {
        let must = |name| text(row, name).unwrap();
        (must("what"), must("key"), must("token"), text(row, "payload"))
    })
    .collect()
}

/// What is behind the outer layer of a token.
fn opened(token: &str, key: &Key) -> Result<Vec<u8>, Fault> {
    if token.split('.').count() == 3 { jws::verify(token, key) } else { jwe::decrypt(token, key) }
}

#[test]
fn vectors_of_standards_and_peers() {
    let vectors = vectors();
    assert!(vectors.len() > 50);
    for (what, key, token, payload) in vectors {
        let key = Key::parse(key.as_bytes()).unwrap_or_else(|why| panic!("{what}: the key {why}"));
        let got = opened(&token, &key);
        match payload {
            Some(payload) => {
                let mut got = got.unwrap_or_else(|why| panic!("{what}: {why}"));
                if what.starts_with("jwcrypto") && got.starts_with(b"ey") {
                    got = jws::verify(std::str::from_utf8(&got).unwrap(), &key).unwrap();
                }
                assert_eq!(String::from_utf8_lossy(&got), payload, "{what}");
            }
            None => assert!(got.is_err(), "{what} must be refused"),
        }
    }
}

#[test]
fn a_token_that_was_changed_anywhere_is_refused() {
    for (what, key, token, payload) in vectors().into_iter().filter(|(.., payload)| payload.is_some()) {
        let key = Key::parse(key.as_bytes()).unwrap();
        let mut at = 0;
        for part in token.split('.') {
            // The first letter of each part: the last one may have bits that mean nothing.
            let end = at + part.len();
            if !part.is_empty() {
                let other = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
                let changed = format!("{}{other}{}", &token[..at], &token[at + 1..]);
                let got = opened(&changed, &key).ok().map(|got| String::from_utf8_lossy(&got).into_owned());
                assert_ne!(got, payload, "{what}: changed at {at}");
                assert!(got.is_none(), "{what}: changed at {at}");
                let cut = format!("{}{}", &token[..end - 1], &token[end..]);
                assert!(opened(&cut, &key).is_err(), "{what}: cut at {end}");
            }
            at = end + 1;
        }
    }
}

#[test]
fn a_key_is_only_taken_for_what_it_is() {
    let vectors = vectors();
    let keys: Vec<_> = vectors.iter().map(|(.., key, _, _)| Key::parse(key.as_bytes()).unwrap()).collect();
    for (own, (what, text, token, payload)) in vectors.iter().enumerate() {
        for (other, key) in keys.iter().enumerate() {
            if payload.is_some() && other != own && vectors[other].1 != *text {
                // A private key and its public one are one key.
                let pair = opened(token, key).is_ok();
                let both = what.trim_end_matches(" by its public key");
                let (first, second) = (family(both), family(&vectors[other].0));
                assert!(!pair || first == second, "{what} with the key of {}", vectors[other].0);
            }
        }
    }
}

/// Vectors of one family share a key.
fn family(what: &str) -> &str {
    let name = what.trim_end_matches(" by its public key");
    match name.strip_prefix("jwcrypto ") {
        Some(kind) if kind.starts_with("RS") || kind.starts_with("PS") => "rsa",
        Some(kind) if kind.ends_with("P-256") || kind == "ES256" => "P-256",
        Some(kind) if kind.ends_with("P-384") || kind == "ES384" => "P-384",
        Some(kind) if kind.ends_with("P-521") || kind == "ES512" => "P-521",
        _ if name.starts_with("RFC 7520 4.1") || name.starts_with("RFC 7520 4.2") => "RFC 7520 3.3",
        _ => name,
    }
}

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn key_of(secret: &[u8]) -> Key {
    Key::parse(base64_simd::URL_SAFE_NO_PAD.encode_to_string(secret).as_bytes()).unwrap()
}

/// A token of these parts, signed with the secret.
fn token(header: &Value, claims: &Value) -> String {
    let part = |text: String| base64_simd::URL_SAFE_NO_PAD.encode_to_string(text);
    let signed = format!("{}.{}", part(header.to_string()), part(claims.to_string()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), signed.as_bytes());
    format!("{signed}.{}", base64_simd::URL_SAFE_NO_PAD.encode_to_string(tag.as_ref()))
}

fn lead(header: &Value, claims: &Value) -> Result<String, Fault> {
    target(&token(header, claims), &key_of(SECRET), 1000.0).map(|target| target.to_string())
}

#[test]
fn claims() {
    let good = json!({"alg": "HS256"});
    for (claims, expected) in [
        (json!({"host": "h", "port": 1}), Ok("h:1")),
        (json!({"host": "::1", "port": "1", "iss": "x"}), Ok("[::1]:1")),
        (json!({"host": "unix_socket", "port": "/run/x"}), Ok("/run/x")),
        (json!({"host": "h", "port": 1, "exp": 1001, "nbf": 1000}), Ok("h:1")),
        (json!({"host": "h", "port": 1, "exp": 1000.5, "nbf": 999.5}), Ok("h:1")),
        (json!({"host": "h", "port": 1, "exp": 1000}), Err("Token has expired!")),
        (json!({"host": "h", "port": 1, "exp": -1}), Err("Token has expired!")),
        (json!({"host": "h", "port": 1, "nbf": 1000.1}), Err("Token can not be used yet!")),
        (json!({"host": "h", "port": 1, "exp": "2000"}), Err("exp and nbf must be numbers")),
        (json!({"host": "h", "port": 1, "exp": null}), Err("exp and nbf must be numbers")),
        (json!({"host": "h", "port": 1, "nbf": true}), Err("exp and nbf must be numbers")),
        (json!({"host": "h"}), Err("the claims have no host and port, or bad ones")),
        (json!({"host": "h", "port": 99999}), Err("the claims have no host and port, or bad ones")),
        (json!(["h", 1]), Err("the claims are no JSON object")),
    ] {
        assert_eq!(lead(&good, &claims), expected.map(str::to_owned), "{claims}");
    }
}

#[test]
fn tricks_with_headers() {
    let claims = json!({"host": "h", "port": 1});
    assert!(lead(&json!({"alg": "HS256", "typ": "JWT", "kid": "x", "jku": "http://evil/"}), &claims).is_ok());
    for header in [
        json!({"alg": "none"}),
        json!({"alg": "None"}),
        json!({"alg": ""}),
        json!({}),
        json!({"alg": 1}),
        json!({"alg": "HS512"}),
        json!({"alg": "hs256"}),
        json!({"alg": "RS256"}),
        json!({"alg": "HS256", "crit": ["exp"]}),
        json!({"alg": "HS256", "b64": false, "crit": ["b64"]}),
        json!(["HS256"]),
    ] {
        assert!(lead(&header, &claims).is_err(), "{header}");
    }
    let whole = token(&json!({"alg": "HS256"}), &claims);
    let (signed, _) = whole.rsplit_once('.').unwrap();
    let unsigned = format!("{}.{}.", "eyJhbGciOiJub25lIn0", whole.split('.').nth(1).unwrap());
    for bad in [
        signed.to_owned(),
        format!("{signed}."),
        unsigned,
        format!("{whole}."),
        format!("{whole}=="),
        format!("{whole}.."),
        String::new(),
        "....".into(),
        "..".into(),
        "a".repeat(TOKEN_BYTES_MAX + 1),
    ] {
        assert!(target(&bad, &key_of(SECRET), 1000.0).is_err(), "{bad:?}");
    }
    // The public key of somebody's pair is no secret to sign with.
    let public = vectors().into_iter().find(|(what, ..)| what == "jwcrypto RS256").unwrap().1;
    let forged = {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, public.as_bytes()), signed.as_bytes());
        format!("{signed}.{}", base64_simd::URL_SAFE_NO_PAD.encode_to_string(tag.as_ref()))
    };
    assert!(target(&forged, &Key::parse(public.as_bytes()).unwrap(), 1000.0).is_err());
    // A secret shorter than the hash.
    assert!(jws::verify(&whole, &key_of(&SECRET[..31])).is_err());
}

#[test]
fn a_secret_that_makes_no_signature_is_told() {
    for length in 1..=64 {
        let able = key_of(&[7; 64][..length]).able();
        assert_eq!(able.is_ok(), length >= 32, "{length}");
        let Err(why) = able else { continue };
        assert!(
            why.starts_with(&format!("is a secret of {length} bytes, ")) && why.contains("HS256"),
            "{why}"
        );
    }
    for (what, key, ..) in vectors().into_iter().filter(|(_, key, ..)| key.contains("BEGIN")) {
        assert!(Key::parse(key.as_bytes()).and_then(Key::able).is_ok(), "{what}");
    }
    // Each hash has a floor of its own.
    let part = |text: &str| base64_simd::URL_SAFE_NO_PAD.encode_to_string(text);
    let signed = format!("{}.{}", part(r#"{"alg":"HS384"}"#), part(r#"{"host":"h","port":1}"#));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA384, SECRET), signed.as_bytes());
    let whole = format!("{signed}.{}", base64_simd::URL_SAFE_NO_PAD.encode_to_string(tag.as_ref()));
    assert_eq!(target(&whole, &key_of(SECRET), 1000.0), Err("the key is shorter than its hash"));
}

#[test]
fn only_one_signature_in_one_encryption() {
    let vectors = vectors();
    let (_, key, deep, _) = vectors.iter().find(|(what, ..)| what == "jwcrypto dir").unwrap();
    let key = Key::parse(key.as_bytes()).unwrap();
    assert_eq!(target(deep, &key, 1000.0).unwrap().to_string(), "10.0.0.9:5901");
    // Encrypted, but signed by nobody.
    let (_, key, bare, _) = vectors.iter().find(|(what, ..)| what == "jwcrypto A128KW").unwrap();
    let key = Key::parse(key.as_bytes()).unwrap();
    assert!(jwe::decrypt(bare, &key).is_ok());
    assert!(target(bare, &key, 1000.0).is_err());
}

#[test]
fn agreed_keys_are_those_of_the_standard() {
    // RFC 7518 appendix C.
    let secret = [
        158, 86, 217, 29, 129, 113, 53, 211, 114, 131, 66, 131, 191, 132, 38, 156, 251, 49, 110, 163, 218,
        128, 106, 72, 246, 218, 167, 121, 140, 254, 144, 196,
    ];
    let key = jwe::derive(&secret, "A128GCM", b"Alice", b"Bob", 16);
    assert_eq!(base64_simd::URL_SAFE_NO_PAD.encode_to_string(key), "VqqN6vgjbSBcIijNcacQGg");
}

#[test]
fn files_of_keys() {
    assert!(Key::parse(b"  MDEyMzQ1Njc4OWFiY2RlZg==\r\n").is_ok(), "blanks and padding are nothing");
    let secret = |file: &[u8]| match Key::parse(file).unwrap().kind() {
        key::Kind::Secret(secret) => secret.clone(),
        _ => panic!("{} is a secret", file.escape_ascii()),
    };
    let (url, plain) = (secret(b"-_8tX_4w"), secret(b" +/8t\r\nX/4w\n"));
    assert_eq!(url, plain, "openssl rand -base64 writes + and /, and breaks lines");
    for bad in [
        &b""[..],
        b"\n",
        b"not base64!",
        b"correct horse battery staple for all my desks",
        b"-_8t\tX_4w",
        b"\xff",
        b"a",
        b"-----BEGIN PUBLIC KEY-----",
        b"-----BEGIN PUBLIC KEY-----\n!!\n-----END PUBLIC KEY-----\n",
        b"-----BEGIN PUBLIC KEY-----\nMAAA\n-----END PUBLIC KEY-----\n",
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    ] {
        assert!(Key::parse(bad).is_err(), "{}", bad.escape_ascii());
    }
    let shown = format!("{:?}", key_of(SECRET));
    assert_eq!(shown, "(key)");
    let certified = rcgen::generate_simple_self_signed(["x".to_owned()]).unwrap();
    assert!(Key::parse(certified.cert.pem().as_bytes()).is_ok(), "the key in a certificate");
}
