//! Tables for guards: every way to be let in, and every way to be refused.

use super::*;
use crate::route::authority::tests::BAD;

fn request(headers: &[(&str, &[u8])]) -> Request {
    Request::bare(headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
}

fn guard(name: &str, source: &str) -> Guard {
    Guard::built_in(name, Some(source)).unwrap().unwrap()
}

/// The status that a guard answers with; 0 if it lets pass, 1 if it leaves that to others.
fn judged(guard: &Guard, request: &Request) -> u16 {
    match guard.judge(request) {
        Some(Ok(())) => 0,
        Some(Err(refusal)) => refusal.status(),
        None => 1,
    }
}

fn basic(pair: &[u8]) -> Vec<u8> {
    [b"Basic ", base64_simd::STANDARD.encode_to_string(pair).as_bytes()].concat()
}

#[test]
fn one_user_with_one_password() {
    let guard = guard("BasicHTTPAuth", "m\u{fc}ller:a:b");
    let rows: [(Vec<u8>, u16); 14] = [
        (basic("m\u{fc}ller:a:b".as_bytes()), 0),
        (basic(b"m\xfcller:a:b"), 0),
        ([b"bAsIc  ", &basic(b"m\xfcller:a:b")[6..]].concat(), 0),
        (basic(b"m\xfcller:a:bc"), 401),
        (basic(b"m\xfcller:a:"), 401),
        (basic(b"M\xfcller:a:b"), 401),
        (basic(b":"), 401),
        (basic(b""), 403),
        (basic(b"no colon"), 403),
        (b"Basic".to_vec(), 403),
        (b"Basic !!!".to_vec(), 401),
        (b"Basic bTph".to_vec(), 401),
        (b"Bearer x".to_vec(), 403),
        (basic(&[b"m:", [b'x'; 8192].as_slice()].concat()), 401),
    ];
    for (value, expected) in rows {
        assert_eq!(
            judged(&guard, &request(&[("authorization", &value)])),
            expected,
            "{}",
            value.escape_ascii()
        );
    }
    assert_eq!(judged(&guard, &request(&[])), 401);
    let mut answer = Vec::new();
    let date = b"Fri, 20 Nov 2026 13:46:36 GMT";
    guard.judge(&request(&[])).unwrap().unwrap_err().write(false, 1, "", date, &mut answer);
    let text = String::from_utf8(answer).unwrap();
    let (head, page) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{head}");
    assert!(head.contains("\r\nWWW-Authenticate: Basic realm=\"Websockify\"\r\n"), "{head}");
    assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
    assert!(head.ends_with(&format!("\r\nContent-Length: {}", page.len())), "{head}");
}

#[test]
fn secrets_are_compared_as_digests_of_one_length() {
    let secret = Secret::of("user:password");
    assert!(secret.is(b"user:password"));
    for other in [&b""[..], b"u", b"user:passwor", b"user:password ", &[0; 100_000]] {
        assert!(!secret.is(other));
    }
    assert_eq!(format!("{secret:?}"), "(secret)");
    // No Latin-1 form: only the UTF-8 one.
    assert!(Secret::of("u:\u{20ac}").is("u:\u{20ac}".as_bytes()));
    assert!(!Secret::of("u:\u{20ac}").is(b"u:\x80"));
}

#[test]
fn pages_from_listed_origins() {
    let guard =
        guard("ExpectOrigin", " https://Desk.example  http://desk.example:8080 \t https://[::1]:8443 ");
    for (origin, expected) in [
        ("https://desk.example", 0),
        ("https://DESK.example:443", 0),
        ("http://desk.example:8080", 0),
        ("https://[::1]:8443", 0),
        ("http://desk.example", 403),
        ("https://desk.example:8443", 403),
        ("https://desk.example.evil.example", 403),
        ("https://evil.example/https://desk.example", 403),
        ("https://desk.example/", 403),
        ("https://desk.example@evil.example", 403),
        ("https://desk.example, https://evil.example", 403),
        ("desk.example", 403),
        ("null", 403),
        ("", 403),
    ] {
        assert_eq!(judged(&guard, &request(&[("Origin", origin.as_bytes())])), expected, "{origin}");
    }
    assert_eq!(judged(&guard, &request(&[])), 403);
    assert_eq!(judged(&guard, &request(&[("Origin", b"https://desk.example\xff")])), 403);
    let refusal = guard.judge(&request(&[])).unwrap().unwrap_err();
    assert_eq!(refusal.reason(), "Invalid Origin");
    let listed =
        Guard::built_in("ExpectOrigin", Some("null capacitor://localhost file://")).unwrap().unwrap();
    for origin in ["null", "capacitor://localhost", "file://"] {
        assert_eq!(judged(&listed, &request(&[("Origin", origin.as_bytes())])), 0, "{origin}");
    }
}

#[test]
fn pages_from_the_host_that_is_asked() {
    let guard = Guard::built_in("SameOrigin", None).unwrap().unwrap();
    let secure = Some(("TLSv1.3", "x"));
    for (origin, host, tls, expected) in [
        ("http://desk:6080", "desk:6080", None, 0),
        ("http://DESK:6080", "Desk:6080", None, 0),
        ("http://desk", "desk:80", None, 0),
        ("https://desk", "desk", None, 0),
        ("https://desk", "desk:443", secure, 0),
        ("http://[::1]:6080", "[::1]:6080", None, 0),
        ("http://desk", "desk", secure, 403),
        ("https://desk", "desk:80", None, 403),
        ("http://desk:6080", "desk:6081", None, 403),
        ("http://evil", "desk", None, 403),
        ("ftp://desk", "desk", None, 403),
        ("null", "desk", None, 403),
        ("http://", "", None, 403),
    ] {
        let headers: [(&str, &[u8]); 2] = [("Origin", origin.as_bytes()), ("Host", host.as_bytes())];
        let request = Request { tls, ..request(&headers) };
        assert_eq!(judged(&guard, &request), expected, "{origin} {host}");
    }
    assert_eq!(judged(&guard, &request(&[("Host", b"desk")])), 403);
    assert_eq!(judged(&guard, &request(&[("Origin", b"http://desk")])), 403);
}

#[test]
fn names_come_from_the_certificate_and_from_nowhere_else() {
    let guard = guard("ClientCertCNAuth", "alice bob");
    for (certified, expected) in
        [(Some("alice"), 0), (Some("bob"), 0), (Some("Alice"), 403), (Some(""), 403), (None, 403)]
    {
        let request = Request { certified: certified.map(Into::into), ..request(&[]) };
        assert_eq!(judged(&guard, &request), expected, "{certified:?}");
    }
    for name in
        ["SSL_CLIENT_S_DN_CN", "ssl_client_s_dn_cn", "SSL-Client-S-DN-CN", "X-SSL-Client-CN", "Remote-User"]
    {
        assert_eq!(judged(&guard, &request(&[(name, b"alice")])), 403, "{name}");
    }
}

#[test]
fn what_needs_others_is_left_to_them_where_there_is_something_to_ask() {
    let file = guard("HtpasswdAuth", "/etc/desk.htpasswd");
    assert_eq!(judged(&file, &request(&[])), 401);
    assert_eq!(judged(&file, &request(&[("Authorization", b"Digest x")])), 403);
    assert_eq!(judged(&file, &request(&[("Authorization", &basic(b"u:p"))])), 1);
    assert_eq!(judged(&guard("ForwardAuth", "http://auth:9091/verify"), &request(&[])), 1);
}

#[test]
fn sources_that_are_of_no_use_are_told() {
    for (name, source, part) in [
        ("BasicHTTPAuth", None, "needs --auth-source=USER:PASSWORD"),
        ("BasicHTTPAuth", Some("secret"), "has no colon"),
        ("ExpectOrigin", Some(""), "needs --auth-source"),
        ("ExpectOrigin", Some("https://a https://b/c"), "'https://b/c' is no origin"),
        ("ClientCertCNAuth", Some("  "), "needs --auth-source"),
        ("HtpasswdAuth", None, "needs --auth-source=FILE"),
        ("ForwardAuth", None, "needs --auth-source=URL"),
        ("ForwardAuth", Some("auth.example"), "is no URL"),
        ("ForwardAuth", Some("http:///x"), "is no URL"),
        ("ForwardAuth", Some("http://a b"), "is no URL"),
        ("ForwardAuth", Some("http://me:hunter2@/x"), "@/x' is no URL"),
        ("SameOrigin", Some("x"), "takes no --auth-source"),
    ] {
        let told = Guard::built_in(name, source).unwrap().unwrap_err();
        assert!(told.starts_with(name) && told.contains(part), "{told}");
        assert!(!told.replace("(secret)", "").contains("secret") && !told.contains("hunter2"), "{told}");
    }
    assert!(Guard::built_in("Basic", None).is_none());
}

#[test]
fn a_service_is_asked_at_the_port_that_is_written_or_not_at_all() {
    for (authority, part) in BAD {
        for url in [format!("http://{authority}/verify"), format!("https://me:hunter2@{authority}?x")] {
            let told = Guard::built_in("ForwardAuth", Some(&url)).unwrap().unwrap_err();
            assert!(told.starts_with("ForwardAuth: 'http") && told.contains(part), "{url}: {told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
    // A password with a slash in it ends the authority, and what is left of it is no port.
    let told = Guard::built_in("ForwardAuth", Some("http://me:hunt/er2@auth/")).unwrap().unwrap_err();
    assert!(told.contains("no number") && !told.contains("hunt"), "{told}");
    for url in ["http://auth", "https://auth:8443?x", "http://[::1]:9091/verify", "http://me:99999@auth/"] {
        assert!(Guard::built_in("ForwardAuth", Some(url)).unwrap().is_ok(), "{url}");
    }
}

#[test]
fn a_password_is_compared_as_it_is() {
    let guard = guard("BasicHTTPAuth", " me:pass ");
    for (pair, status) in [(" me:pass ", 0), ("me:pass", 401), (" me:pass", 401), ("me:pass ", 401)] {
        let said = basic(pair.as_bytes());
        assert_eq!(judged(&guard, &request(&[("Authorization", &said)])), status, "{pair:?}");
    }
}

#[test]
fn secrets_of_urls_are_not_shown() {
    let good = guard("ForwardAuth", "http://me:s3cr@t@auth:9091/verify?key=s3cret");
    assert_eq!(format!("{good:?}"), "Forward(http://(secret)@auth:9091/verify?(secret))");
    for url in ["http://me:s3cret@auth /", "me:s3cret@auth", "ftp://me:s3cret@auth", "http:///?key=s3cret"] {
        let why = Guard::built_in("ForwardAuth", Some(url)).unwrap().unwrap_err();
        assert!(why.contains("is no URL") && !why.contains("s3cret"), "{why}");
    }
}
