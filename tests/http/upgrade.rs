//! The opening handshake: what is an upgrade, what its answer holds, sub-protocols, and the lenient mode.

use crate::support::client::{ACCEPT, Handshake, Message, WsClient};
use crate::support::frame::Frame;
use crate::support::http::{HttpClient, Response};
use crate::support::on_both_engines;
use crate::support::server::Server;
use crate::support::wire::Wire;

on_both_engines!(
    the_answer_is_complete,
    upgrades_in_all_spellings,
    upgrades_that_are_none,
    upgrades_that_are_wrong,
    versions,
    keys,
    subprotocols,
    a_named_subprotocol,
    extensions_are_declined,
    lenient_takes_what_sloppy_proxies_send,
    headers_of_an_answer_cannot_be_split,
    early_bytes_count_from_the_end_of_the_head,
);

/// The answer to a handshake that must not become a WebSocket.
#[track_caller]
fn refused(server: &Server, handshake: &Handshake) -> Response {
    let mut http = HttpClient::new(server.wire());
    let response = http.send(handshake.bytes()).response();
    assert_ne!(response.status, 101, "{handshake:?}");
    response
}

/// The answer to a handshake that must become a WebSocket, which is then shown to work.
#[track_caller]
fn accepted(server: &Server, handshake: &Handshake) -> Response {
    let mut client = WsClient::open(server.wire(), handshake);
    client.send(&Frame::text("works"));
    client.expect(&Message::Text(b"works".to_vec()));
    let response = client.response.clone();
    client.leave();
    response
}

fn the_answer_is_complete(engine: &str) {
    let server = Server::echo(engine);
    let response = accepted(&server, &Handshake::new());
    assert_eq!(response.reason, "Switching Protocols");
    assert_eq!(response.header("sec-websocket-accept"), Some(ACCEPT));
    assert!(response.header("sec-websocket-protocol").is_none(), "none was offered: {response:?}");
    assert!(response.header("date").is_some(), "{response:?}");
    assert!(response.header("content-length").is_none(), "a 101 has no body: {response:?}");
    let other = Handshake::new().set("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==");
    let expected = Some("ICX+Yqv66kxgM0FcWaLWlFLwTAI=");
    assert_eq!(accepted(&server, &other).header("sec-websocket-accept"), expected);
    server.stop();
}

fn upgrades_in_all_spellings(engine: &str) {
    let server = Server::echo(engine);
    for handshake in [
        Handshake::new().set("Upgrade", "WebSocket"),
        Handshake::new().set("Upgrade", "WEBSOCKET"),
        Handshake::new().set("Upgrade", "h2c, websocket"),
        Handshake::new().set("Upgrade", "websocket \t"),
        Handshake::new().set("Upgrade", "h2c").add("Upgrade", "websocket"),
        Handshake::new().set("Connection", "keep-alive, Upgrade"),
        Handshake::new().set("Connection", "keep-alive").add("Connection", "upgrade"),
        Handshake::new().set("CONNECTION", "UPGRADE"),
        Handshake::new().start("GET /websockify?token=abc HTTP/1.1"),
        Handshake::new().start("GET /any/path/at/all HTTP/1.1"),
        Handshake::new().set("Host", "[::1]:6080"),
        Handshake::new().add("Origin", "null").add("Cookie", "a=b").add("User-Agent", "test/1.0"),
    ] {
        accepted(&server, &handshake);
    }
    server.stop();
}

fn upgrades_that_are_none(engine: &str) {
    let server = Server::echo(engine);
    for handshake in [
        Handshake::new().without("Upgrade"),
        Handshake::new().set("Upgrade", "h2c"),
        Handshake::new().set("Upgrade", "websockets"),
        Handshake::new().start("POST / HTTP/1.1"),
    ] {
        let response = refused(&server, &handshake);
        assert_eq!(response.status, 405, "{handshake:?}: {response:?}");
    }
    server.stop();
}

fn upgrades_that_are_wrong(engine: &str) {
    let server = Server::echo(engine);
    for (handshake, reason) in [
        (Handshake::new().without("Connection"), ""),
        (Handshake::new().set("Connection", "close"), ""),
        (Handshake::new().set("Connection", "keep-alive, upgrades"), ""),
        (Handshake::new().start("GET / HTTP/1.0"), ""),
        (Handshake::new().without("Host"), ""),
        (Handshake::new().add("Host", "other.test"), ""),
        (Handshake::new().without("Sec-WebSocket-Version"), "Missing Sec-WebSocket-Version header"),
        (Handshake::new().without("Sec-WebSocket-Key"), "Missing Sec-WebSocket-Key header"),
        (Handshake::new().add("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="), ""),
        (Handshake::new().add("Sec-WebSocket-Version", "13"), ""),
        (Handshake::new().add("Content-Length", "5"), ""),
    ] {
        let response = refused(&server, &handshake);
        assert_eq!(response.status, 400, "{handshake:?}: {response:?}");
        assert!(reason.is_empty() || response.reason == reason, "{handshake:?}: {response:?}");
        assert!(response.closes(), "{handshake:?}: {response:?}");
    }
    server.stop();
}

fn versions(engine: &str) {
    let server = Server::echo(engine);
    for version in ["7", "8", "13"] {
        accepted(&server, &Handshake::new().set("Sec-WebSocket-Version", version));
    }
    for version in ["0", "6", "9", "12", "14", "130", "013", "-1", "13, 8", "thirteen", ""] {
        let handshake = Handshake::new().set("Sec-WebSocket-Version", version);
        let response = refused(&server, &handshake);
        assert_eq!(response.status, 426, "version {version:?}: {response:?}");
        let offered = response.header("sec-websocket-version").unwrap_or("");
        assert!(offered.split(',').any(|one| one.trim() == "13"), "version {version:?}: {response:?}");
    }
    server.stop();
}

fn keys(engine: &str) {
    let server = Server::echo(engine);
    for key in [
        "",
        "abc",
        "AAAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAAA=",
        "AAAAAAAAAAAAAAAAAAAAAA==AAAA",
        "AAAAAAAAAAA AAAAAAAAAA==",
        "AAAAAAAAAAA-_AAAAAAAAA==",
    ] {
        let response = refused(&server, &Handshake::new().set("Sec-WebSocket-Key", key));
        assert_eq!(response.status, 400, "key {key:?}: {response:?}");
    }
    let long = "A".repeat(4000);
    assert_eq!(refused(&server, &Handshake::new().set("Sec-WebSocket-Key", &long)).status, 400);
    server.stop();
}

/// Offers, one header each, and the answer.
const OFFERS: [(&[&str], Option<&str>); 16] = [
    (&[], None),
    (&[""], None),
    (&["binary"], Some("binary")),
    (&["binary, base64"], Some("binary")),
    (&["base64,binary"], Some("binary")),
    (&["base64, binary"], Some("binary")),
    (&["base64 ,\tbinary "], Some("binary")),
    (&["foo", "binary"], Some("binary")),
    (&["foo", "bar, binary, baz"], Some("binary")),
    (&["foo,"], None),
    (&[",,binary,,"], Some("binary")),
    (&["foo"], None),
    (&["base64"], None),
    (&["Binary"], None),
    (&["binary2", "xbinary"], None),
    (&["\"binary\""], None),
];

fn subprotocols(engine: &str) {
    let server = Server::echo(engine);
    for (offers, expected) in OFFERS {
        let offering = |handshake: Handshake, offer: &&str| handshake.add("Sec-WebSocket-Protocol", offer);
        let handshake = offers.iter().fold(Handshake::new(), offering);
        let response = accepted(&server, &handshake);
        assert_eq!(response.header("sec-websocket-protocol"), expected, "offers {offers:?}");
    }
    let spaces = format!("foo{}bar", " ".repeat(10_000));
    let response = accepted(&server, &Handshake::new().add("Sec-WebSocket-Protocol", &spaces));
    assert!(response.header("sec-websocket-protocol").is_none(), "{response:?}");
    server.stop();
}

fn a_named_subprotocol(engine: &str) {
    let server = Server::start(engine, &["--echo", "--subprotocol", "mqtt", "--subprotocol=v2.stomp"]);
    for (offer, expected) in [
        ("mqtt", Some("mqtt")),
        ("foo, mqtt", Some("mqtt")),
        ("mqtt, binary", Some("binary")),
        ("v2.stomp, mqtt", Some("mqtt")),
        ("v2.stomp", Some("v2.stomp")),
        ("MQTT", None),
        ("foo", None),
    ] {
        let response = accepted(&server, &Handshake::new().add("Sec-WebSocket-Protocol", offer));
        assert_eq!(response.header("sec-websocket-protocol"), expected, "offer {offer:?}");
    }
    server.stop();
}

fn extensions_are_declined(engine: &str) {
    let server = Server::echo(engine);
    for offer in [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; server_max_window_bits=99, foo; bar=\"baz\"",
        ";;;===,,,",
    ] {
        accepted(&server, &Handshake::new().add("Sec-WebSocket-Extensions", offer));
    }
    server.stop();
}

fn lenient_takes_what_sloppy_proxies_send(engine: &str) {
    let strict = Server::echo(engine);
    let lenient = Server::start(engine, &["--echo", "--lenient-handshake"]);
    for handshake in [
        Handshake::new().without("Connection"),
        Handshake::new().set("Connection", "close"),
        Handshake::new().start("GET / HTTP/1.0"),
        Handshake::new().start("GET / HTTP/1.0").without("Host").without("Connection"),
        Handshake::new().set("Sec-WebSocket-Key", "an odd key"),
        Handshake::new().set("Sec-WebSocket-Key", "x"),
    ] {
        refused(&strict, &handshake);
        accepted(&lenient, &handshake);
    }
    for handshake in [
        Handshake::new().without("Sec-WebSocket-Key"),
        Handshake::new().without("Sec-WebSocket-Version"),
        Handshake::new().set("Sec-WebSocket-Version", "12"),
        Handshake::new().add("Content-Length", "5"),
        Handshake::new().without("Upgrade"),
    ] {
        refused(&lenient, &handshake);
    }
    strict.stop();
    lenient.stop();
}

fn headers_of_an_answer_cannot_be_split(engine: &str) {
    let server = Server::start(engine, &["--echo", "--subprotocol", "chat"]);
    for value in ["chat\rX-Evil: 1", "chat\0", "chat\nX-Evil: 1"] {
        let response = refused(&server, &Handshake::new().add("Sec-WebSocket-Protocol", value));
        assert_eq!(response.status, 400, "{value:?}: {response:?}");
        assert!(response.header("x-evil").is_none(), "{value:?}: {response:?}");
    }
    server.stop();
}

fn early_bytes_count_from_the_end_of_the_head(engine: &str) {
    let server = Server::echo(engine);
    // A head near its bound and frames beyond it, so that a bound on head and frames together would show.
    let padding = "p".repeat(15_000);
    let early: Vec<u8> = (0..40).flat_map(|at| Frame::text(format!("{at} {padding}")).bytes()).collect();
    let handshake = Handshake::new().add("X-Padding", &padding).early(early);
    let mut client = WsClient::open(Wire::tcp(server.address()), &handshake);
    for at in 0..40 {
        client.expect(&Message::Text(format!("{at} {padding}").into_bytes()));
    }
    client.leave();
    server.stop();
}
