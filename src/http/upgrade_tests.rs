//! Upgrades as tables: headers in, judgement out.

use super::*;

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const BASE: &str = "Host: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";

/// Judges a request: `Ok(None)` is plain, `Ok(Some(..))` an upgrade with this sub-protocol.
fn judged(text: &str, options: &Options) -> Result<Option<Option<String>>, (u16, String)> {
    let head = Head::parse(text.as_bytes()).unwrap();
    match judge(&head, options) {
        Ok(Request::Plain) => Ok(None),
        Ok(Request::Upgrade(upgrade)) => Ok(Some(upgrade.subprotocol.map(str::to_owned))),
        Err(refusal) => Err((refusal.status(), refusal.reason().to_owned())),
    }
}

fn strict(headers: &str) -> Result<Option<Option<String>>, (u16, String)> {
    judged(&format!("GET /x HTTP/1.1\r\n{headers}\r\n"), &Options::default())
}

fn bad(reason: &str) -> Result<Option<Option<String>>, (u16, String)> {
    Err((400, reason.to_owned()))
}

#[test]
fn upgrades_that_are_taken() {
    let upgrade = Ok(Some(None));
    let rest = format!("{KEY}Sec-WebSocket-Version: 13\r\n");
    for front in [
        BASE,
        "Host: a\r\nupgrade: WebSocket\r\nconnection: keep-alive, upgrade\r\n",
        "Host: a\r\nUpgrade: h2c , websocket \r\nConnection: a\r\nConnection: UPGRADE\r\n",
        "Host: a\r\nUpgrade: h2c\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
        "Host: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 0\r\n",
    ] {
        assert_eq!(strict(&format!("{front}{rest}")), upgrade, "{front:?}");
    }
    for version in ["7", "8", "13"] {
        assert_eq!(strict(&format!("{BASE}{KEY}Sec-WebSocket-Version: {version}\r\n")), upgrade);
    }
}

#[test]
fn the_upgrade_carries_key_and_version() {
    let text = format!("GET / HTTP/1.1\r\n{BASE}{KEY}Sec-WebSocket-Version: 8\r\n\r\n");
    let (head, options) = (Head::parse(text.as_bytes()).unwrap(), Options::default());
    let expected = Upgrade { key: b"dGhlIHNhbXBsZSBub25jZQ==", version: 8, subprotocol: None };
    assert_eq!(judge(&head, &options), Ok(Request::Upgrade(expected)));
}

#[test]
fn requests_that_are_plain() {
    let rest = format!("Connection: Upgrade\r\n{KEY}Sec-WebSocket-Version: 13\r\n");
    for front in [
        "Host: a\r\n",
        "Host: a\r\nUpgrade: h2c\r\n",
        "Host: a\r\nUpgrade: websocket2\r\n",
        "Host: a\r\nUpgrade:\r\n",
    ] {
        assert_eq!(strict(&format!("{front}{rest}")), Ok(None), "{front:?}");
    }
    for method in ["HEAD", "POST", "get", "OPTIONS"] {
        let text = format!("{method} / HTTP/1.1\r\n{BASE}{rest}\r\n");
        assert_eq!(judged(&text, &Options::default()), Ok(None), "{method}");
    }
}

#[test]
fn upgrades_that_are_refused() {
    let version = "Sec-WebSocket-Version: 13\r\n";
    for (headers, reason) in [
        (format!("Upgrade: websocket\r\nConnection: Upgrade\r\n{KEY}{version}"), "Missing Host header"),
        (format!("{BASE}{KEY}"), "Missing Sec-WebSocket-Version header"),
        (BASE.to_owned(), "Missing Sec-WebSocket-Version header"),
        (format!("{BASE}{version}"), "Missing Sec-WebSocket-Key header"),
        (format!("Host: a\r\nUpgrade: websocket\r\n{KEY}{version}"), "Missing Connection: Upgrade header"),
        (format!("{BASE}{KEY}{version}Content-Length: 1\r\n"), "Upgrade with a body"),
        (format!("{BASE}{KEY}{version}Transfer-Encoding: chunked\r\n"), "Upgrade with a body"),
    ] {
        assert_eq!(strict(&headers), bad(reason));
    }
    for key in [
        "",
        "x",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZQ===",
        "dGhlIHNhbXBsZSBub25jZTE=",
        "dGhlIHNhbXBsZSBub25j-Q==",
        "\u{e9}hlIHNhbXBsZSBub25jZQ==",
    ] {
        assert_eq!(
            strict(&format!("{BASE}{version}Sec-WebSocket-Key: {key}\r\n")),
            bad("Bad Sec-WebSocket-Key header")
        );
    }
    for version in ["12", "0", "013", "13, 8", "14", ""] {
        let answer = strict(&format!("{BASE}{KEY}Sec-WebSocket-Version: {version}\r\n"));
        assert_eq!(answer.unwrap_err().0, 426, "{version}");
    }
    let old = format!("GET / HTTP/1.0\r\n{BASE}{KEY}{version}\r\n");
    assert_eq!(judged(&old, &Options::default()), bad("Upgrade needs HTTP/1.1"));
}

#[test]
fn lenient_takes_what_sloppy_proxies_send() {
    let lenient = Options { lenient: true, ..Options::default() };
    let version = "Sec-WebSocket-Version: 13\r\n";
    for text in [
        format!("GET / HTTP/1.1\r\nUpgrade: websocket\r\n{KEY}{version}\r\n"),
        format!("GET / HTTP/1.0\r\n{BASE}{KEY}{version}\r\n"),
        format!("GET / HTTP/1.1\r\n{BASE}Sec-WebSocket-Key: odd\r\n{version}\r\n"),
    ] {
        assert_eq!(judged(&text, &lenient), Ok(Some(None)), "{text:?}");
        assert!(judged(&text, &Options::default()).is_err(), "{text:?}");
    }
    for (headers, status) in [
        (format!("{BASE}{KEY}{version}Content-Length: 1\r\n"), 400),
        (format!("{BASE}{KEY}"), 400),
        (format!("{BASE}{version}"), 400),
        (format!("{BASE}{version}Sec-WebSocket-Key: \u{e9}\r\n"), 400),
        (format!("{BASE}{KEY}Sec-WebSocket-Version: 6\r\n"), 426),
    ] {
        let text = format!("GET / HTTP/1.1\r\n{headers}\r\n");
        assert_eq!(judged(&text, &lenient).unwrap_err().0, status, "{text:?}");
    }
}

#[test]
fn sub_protocols_are_chosen() {
    let options = Options {
        subprotocols: vec!["chat".into(), "base64".into(), "bad name".into()],
        ..Options::default()
    };
    for (offers, chosen) in [
        (&[][..], None),
        (&[""], None),
        (&["binary"], Some("binary")),
        (&["binary, base64"], Some("binary")),
        (&["base64, binary"], Some("binary")),
        (&["base64,binary"], Some("binary")),
        (&["foo", "binary"], Some("binary")),
        (&["foo,", " , binary\t"], Some("binary")),
        (&["base64"], Some("base64")),
        (&["base64, chat"], Some("chat")),
        (&["foo"], None),
        (&["foo,"], None),
        (&["Binary"], None),
        (&["bad name"], None),
        (&["b(inary, \"x\", chat"], Some("chat")),
    ] {
        let lines: String =
            offers.iter().map(|offer| format!("Sec-WebSocket-Protocol: {offer}\r\n")).collect();
        let text = format!("GET / HTTP/1.1\r\n{BASE}{KEY}Sec-WebSocket-Version: 13\r\n{lines}\r\n");
        assert_eq!(judged(&text, &options), Ok(Some(chosen.map(str::to_owned))), "{offers:?}");
    }
    let text = format!(
        "GET / HTTP/1.1\r\n{BASE}{KEY}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
    );
    assert_eq!(judged(&text, &Options::default()), Ok(Some(None)), "not configured");
}

#[test]
fn the_answer_has_its_order() {
    let (accept, date) = (b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", b"Fri, 20 Nov 2026 13:46:36 GMT");
    let mut out = Vec::new();
    write_switching(accept, Some("binary"), &[], "websplice", date, &mut out);
    let expected = "HTTP/1.1 101 Switching Protocols\r\nServer: websplice\r\nDate: Fri, 20 Nov 2026 13:46:36 GMT\r\n\
        Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
        Sec-WebSocket-Protocol: binary\r\n\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
    let mut out = Vec::new();
    write_switching(accept, Some("a\r\nX: y"), &[], "", date, &mut out);
    let text = String::from_utf8(out).unwrap();
    assert!(!text.contains("X: y") && !text.contains("Server"));
    assert!(text.ends_with("=\r\n\r\n"));
}
