//! Heads as tables: bytes in, decision out; every row also split at every byte and byte by byte.

use super::*;
use crate::http::After;
use crate::limits::{HEAD_BYTES_MAX, METHOD_BYTES_MAX, REQUEST_TARGET_BYTES_MAX};

/// What scanning and parsing say about `bytes`, given in one piece: the length of the head, or status and reason.
fn whole(bytes: &[u8]) -> Result<Option<usize>, (u16, String)> {
    verdict(Scan::new().feed(bytes), bytes)
}

fn verdict(progress: Progress, bytes: &[u8]) -> Result<Option<usize>, (u16, String)> {
    let told = |refusal: Refusal| (refusal.status(), refusal.reason().to_owned());
    match progress {
        Progress::Partial => Ok(None),
        Progress::Refused(refusal) => Err(told(refusal)),
        Progress::Complete { len } => Head::parse(&bytes[..len]).map(|_| Some(len)).map_err(told),
    }
}

/// The same, asserting that no way of cutting `bytes` changes it. Long input is cut less often.
fn every_way(bytes: &[u8]) -> Result<Option<usize>, (u16, String)> {
    let expected = whole(bytes);
    let stride = 1 + bytes.len() / 400;
    for cut in (0..bytes.len()).step_by(stride) {
        let mut scan = Scan::new();
        let progress = match scan.feed(&bytes[..cut]) {
            Progress::Partial => scan.feed(bytes),
            early => early,
        };
        assert_eq!(verdict(progress, bytes), expected, "cut at {cut}");
    }
    let mut scan = Scan::new();
    let mut last = Progress::Partial;
    for end in (1..=bytes.len()).step_by(stride).chain([bytes.len()]) {
        last = scan.feed(&bytes[..end]);
        if last != Progress::Partial {
            break;
        }
    }
    assert_eq!(verdict(last, bytes), expected, "byte by byte");
    expected
}

fn parse(text: &str) -> Head<'_> {
    assert_eq!(every_way(text.as_bytes()), Ok(Some(text.len())), "{text:?}");
    Head::parse(text.as_bytes()).unwrap()
}

fn refused(bytes: &[u8], status: u16) {
    let what = bytes[..bytes.len().min(80)].escape_ascii();
    assert_eq!(every_way(bytes).map_err(|(status, _)| status), Err(status), "{what}");
}

#[test]
fn heads_that_are_taken() {
    for (text, method, path, query) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "/", None),
        ("GET / HTTP/1.0\r\n\r\n", "GET", "/", None),
        ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "/", None),
        ("GET /a/b?c=d?e HTTP/1.1\r\nHost:a\r\n\r\n", "GET", "/a/b", Some("c=d?e")),
        ("GET /? HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "/", Some("")),
        ("GET //x HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "//x", None),
        ("GET /a\"<>|\\^`{} HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "/a\"<>|\\^`{}", None),
        ("M-SEARCH!#$%&'*+.^_`|~9 / HTTP/1.9\r\n\r\n", "M-SEARCH!#$%&'*+.^_`|~9", "/", None),
        ("get / HTTP/1.1\r\nHost: [::1]:6080\r\n\r\n", "get", "/", None),
        ("GET http://a/p?q HTTP/1.1\r\nHost: A\r\n\r\n", "GET", "/p", Some("q")),
        ("GET http://a HTTP/1.1\r\nHost: a:80\r\n\r\n", "GET", "/", None),
        ("GET HTTPS://a:443?q HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "/", Some("q")),
        ("GET ws://[::1]:6080/x HTTP/1.1\r\nHost: [::1]:6080\r\n\r\n", "GET", "/x", None),
        ("GET / HTTP/1.1\r\nHost:\r\nX:\r\nY: \t \r\n\r\n", "GET", "/", None),
    ] {
        let head = parse(text);
        assert_eq!((head.method(), head.path(), head.query()), (method, path, query), "{text:?}");
    }
}

#[test]
fn syntax_that_is_refused() {
    let host = "Host: a\r\n\r\n";
    for start in [
        "\r\n\r\nGET / HTTP/1.1\r\n",
        "\nGET / HTTP/1.1\r\n",
        "\rGET / HTTP/1.1\r\n",
        " GET / HTTP/1.1\r\n",
        "GET  / HTTP/1.1\r\n",
        "GET / HTTP/1.1 \r\n",
        "GET /  HTTP/1.1\r\n",
        "GET /a b HTTP/1.1\r\n",
        "GET /\tHTTP/1.1\r\n",
        "GET / HTTP/1.1\n",
        "GET / HTTP/1.1\r",
        "GET / HTTP/1.x\r\n",
        "GET / http/1.1\r\n",
        "GET / HTTP/\r\n",
        "GET / HTCPCP/1.0\r\n",
        "GET /\r\n",
        "GET\r\n",
        "G@T / HTTP/1.1\r\n",
        "G\u{e9}T / HTTP/1.1\r\n",
        "GET /\u{e9} HTTP/1.1\r\n",
        "GET /\0 HTTP/1.1\r\n",
        "GET /\x7f HTTP/1.1\r\n",
        "GET /a#b HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nX : y\r\n",
        "GET / HTTP/1.1\r\nX\t: y\r\n",
        "GET / HTTP/1.1\r\n: y\r\n",
        "GET / HTTP/1.1\r\n X: y\r\n",
        "GET / HTTP/1.1\r\nX: y\r\n folded\r\n",
        "GET / HTTP/1.1\r\nX: y\r\n\tfolded\r\n",
        "GET / HTTP/1.1\r\nX\r\n",
        "GET / HTTP/1.1\r\nX y: z\r\n",
        "GET / HTTP/1.1\r\nX(): z\r\n",
        "GET / HTTP/1.1\r\nX\u{e9}: z\r\n",
        "GET / HTTP/1.1\r\nX: y\n",
        "GET / HTTP/1.1\r\nX: y\rz\r\n",
        "GET / HTTP/1.1\r\nX: y\r\r\n",
        "GET / HTTP/1.1\r\nX: \0\r\n",
        "GET / HTTP/1.1\r\nX: \x1b[31m\r\n",
        "GET / HTTP/1.1\r\nX: \x7f\r\n",
        "GET / HTTP/1.1\r\nX: y\r\n\n",
        "RFB 003.008\n",
        "\x16\x03\x01\x02",
    ] {
        refused(format!("{start}{host}").as_bytes(), 400);
    }
    for start in [
        "GET / HTTP/2.0\r\n",
        "PRI * HTTP/2.0\r\n",
        "GET / HTTP/0.9\r\n",
        "GET / HTTP/11.1\r\n",
        "GET / HTTP/1.10\r\n",
    ] {
        refused(format!("{start}{host}").as_bytes(), 505);
    }
}

#[test]
fn an_error_is_found_at_its_byte() {
    for (bytes, allowed) in [
        (&b"G\0"[..], 1),
        (b"GET /\x01", 5),
        (b"GET / HTTP/2", 11),
        (b"GET / HTTP/1.1\n", 14),
        (b"GET / HTTP/1.1\r\n ", 16),
        (b"GET / HTTP/1.1\r\nA ", 17),
        (b"GET / HTTP/1.1\r\nA:\0", 18),
        (b"RFB 003.008\n", 11),
    ] {
        assert_eq!(Scan::new().feed(&bytes[..allowed]), Progress::Partial);
        assert!(
            matches!(Scan::new().feed(&bytes[..=allowed]), Progress::Refused(_)),
            "{}",
            bytes.escape_ascii()
        );
    }
}

#[test]
fn bounds_are_met_and_kept() {
    let method = |len| format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "M".repeat(len));
    parse(&method(METHOD_BYTES_MAX));
    refused(method(METHOD_BYTES_MAX + 1).as_bytes(), 501);
    let target = |len| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(len - 1));
    parse(&target(REQUEST_TARGET_BYTES_MAX));
    refused(target(REQUEST_TARGET_BYTES_MAX + 1).as_bytes(), 414);
    let headers = |count| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(count - 1));
    parse(&headers(HEADERS_MAX));
    refused(headers(HEADERS_MAX + 1).as_bytes(), 431);
    let frame = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
    let head = |len| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(len - frame));
    assert_eq!(whole(head(HEAD_BYTES_MAX).as_bytes()), Ok(Some(HEAD_BYTES_MAX)));
    refused(head(HEAD_BYTES_MAX + 1).as_bytes(), 431);
    // At the bound nothing more can help, even before the byte that is too much.
    refused(&head(HEAD_BYTES_MAX + 1).as_bytes()[..HEAD_BYTES_MAX], 431);
}

#[test]
fn what_follows_a_head_is_left_alone() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for tail in [&b"\x82\x85\0\0\0\0hello"[..], b"GET /2 HTTP/1.1\r\n", &[0xff; 2 * HEAD_BYTES_MAX]] {
        assert_eq!(whole(&[head, tail].concat()), Ok(Some(head.len())));
    }
}

#[test]
fn headers_are_found_in_any_case() {
    let head = parse("GET / HTTP/1.1\r\nhOST:  a:1 \t\r\nX-A: 1\r\nx-a:2\r\nX_A: 3\r\nB:\r\n\r\n");
    assert_eq!(head.first("Host"), Some(&b"a:1"[..]));
    assert_eq!(head.first("x-A"), Some(&b"1"[..]));
    assert_eq!(head.single("HOST"), Ok(Some(&b"a:1"[..])));
    assert_eq!(head.single("b"), Ok(Some(&b""[..])));
    assert_eq!(head.single("absent"), Ok(None));
    assert_eq!(head.single("X-A").unwrap_err().status(), 400);
    assert_eq!(head.headers().count(), 5);
    assert_eq!(head.headers().nth(3), Some(("X_A", &b"3"[..])));
}

#[test]
fn lists_are_joined_and_trimmed() {
    let head = parse("GET / HTTP/1.1\r\nHost: a\r\nL: a, b ,,c\r\nM: x\r\nl:\r\nl: \t ,d\r\n\r\n");
    assert_eq!(head.list("L").collect::<Vec<_>>(), [b"a", b"b", b"c", b"d"]);
    assert_eq!(head.list("absent").count(), 0);
}

#[test]
fn single_headers_stand_once() {
    for name in SINGLE {
        for value in ["a", "5"] {
            let value = if name == "Content-Length" { "5" } else { value };
            let host = if name == "Host" { "" } else { "Host: h\r\n" };
            let lower = name.to_ascii_lowercase();
            parse(&format!("GET / HTTP/1.1\r\n{host}{name}: {value}\r\n\r\n"));
            let twice =
                format!("GET / HTTP/1.1\r\n{host}{name}: {value}\r\nX: y\r\n{lower}: {value}\r\n\r\n");
            refused(twice.as_bytes(), 400);
        }
    }
}

#[test]
fn bodies_are_unambiguous() {
    for (headers, body) in [
        ("", false),
        ("Content-Length: 0\r\n", false),
        ("Content-Length: 00\r\n", false),
        ("Content-Length: 18446744073709551615\r\n", true),
        ("Transfer-Encoding: chunked\r\n", true),
    ] {
        assert_eq!(
            parse(&format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n")).has_body(),
            body,
            "{headers}"
        );
    }
    for headers in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\nContent-Length: 0\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length:\r\n",
        "Content-Length: 18446744073709551616\r\n",
    ] {
        refused(format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n").as_bytes(), 400);
    }
    refused(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
}

#[test]
fn targets_that_are_refused() {
    for (line, status) in [
        ("CONNECT a:1 HTTP/1.1", 405),
        ("CONNECT / HTTP/1.1", 405),
        ("OPTIONS * HTTP/1.1", 405),
        ("GET * HTTP/1.1", 400),
        ("GET a HTTP/1.1", 400),
        ("GET a:1 HTTP/1.1", 400),
        ("GET ?q HTTP/1.1", 400),
        ("GET \\a HTTP/1.1", 400),
        ("GET http:///x HTTP/1.1", 400),
        ("GET http://b/x HTTP/1.1", 400),
        ("GET http://a:81/ HTTP/1.1", 400),
        ("GET https://a:80/ HTTP/1.1", 400),
        ("GET http://u@a/ HTTP/1.1", 400),
        ("GET ftp://a/ HTTP/1.1", 400),
        ("GET http:/a HTTP/1.1", 400),
    ] {
        refused(format!("{line}\r\nHost: a\r\n\r\n").as_bytes(), status);
    }
    refused(b"GET http://a/ HTTP/1.1\r\n\r\n", 400);
    for host in ["a b", "a,b", "a/b", "u@a", "\u{e9}", "a\\b", "<a>"] {
        refused(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes(), 400);
    }
}

#[test]
fn connections_are_kept_by_the_right_rule() {
    for (version, headers, after) in [
        ("1.1", "", After::Keep),
        ("1.2", "", After::Keep),
        ("1.1", "Connection: keep-alive\r\n", After::Keep),
        ("1.1", "Connection: Close\r\n", After::Close),
        ("1.1", "Connection: x\r\nConnection: y, close\r\n", After::Close),
        ("1.1", "Content-Length: 1\r\n", After::Close),
        ("1.1", "Transfer-Encoding: chunked\r\n", After::Close),
        ("1.1", "Expect: 100-continue\r\n", After::Close),
        ("1.0", "", After::Close),
        ("1.0", "Connection: Keep-Alive\r\n", After::KeepSaid),
        ("1.0", "Connection: keep-alive, close\r\n", After::Close),
    ] {
        let text = format!("GET / HTTP/{version}\r\nHost: a\r\n{headers}\r\n");
        assert_eq!(After::of(&parse(&text)), after, "{text:?}");
    }
}

#[test]
fn bytes_that_no_scan_saw_are_harmless() {
    for bytes in [
        &b""[..],
        b"\r\n",
        b"\r\n\r\n",
        b"GET",
        b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nX\r\n\r\n",
        b"\xff \xff \xff\r\n\r\n",
        b"GET / HTTP/1.999\r\n\r\n",
    ] {
        assert!(Head::parse(bytes).is_err(), "{}", bytes.escape_ascii());
    }
}
