//! Which hosts are answered for: all others are told nothing else, by whatever way they ask.

use crate::counted;
use crate::support::client::{Handshake, WsClient};
use crate::support::frame::Frame;
use crate::support::http::{HttpClient, Response};
use crate::support::on_both_engines;
use crate::support::server::Server;
use crate::support::target::TcpTarget;
use crate::support::temp::TempDir;
use crate::support::tls::{Authority, VERSIONS, file};

on_both_engines!(
    another_host_gets_421_and_nothing_else,
    a_request_behind_another_is_judged_too,
    the_port_of_tls_is_443_where_none_is_said,
);

/// A whole answer with 421, and the end of the connection.
#[track_caller]
fn is_refused(http: &mut HttpClient, request: impl AsRef<[u8]>) {
    let answer = http.send(request).response();
    is_misdirected(&answer);
    http.expect_eof();
}

#[track_caller]
fn is_misdirected(answer: &Response) {
    assert_eq!((answer.status, answer.reason.as_str()), (421, "Misdirected Request"), "{answer:?}");
    assert!(answer.closes() && answer.body.len() < 500, "{answer:?}");
    assert!(answer.header("Location").is_none() && answer.header("WWW-Authenticate").is_none(), "{answer:?}");
}

fn get(host: &str) -> String {
    format!("GET /page HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

fn another_host_gets_421_and_nothing_else(engine: &str) {
    let (target, root) = (TcpTarget::echo(), TempDir::new());
    root.write("page", "page");
    let web = format!("--web={}", root.path().display());
    let address = target.address().to_string();
    let words = ["--threads=2", "--allow-host=gateway.test,*.desk.test", "--allow-host=[::1]:6080"];
    let more = ["--auth-plugin=BasicHTTPAuth", "--auth-source=me:secret", "--web-auth"];
    let server = Server::start(engine, &[&words[..], &more, &[web.as_str(), &address]].concat());
    let mut refused = 0;
    for host in ["evil.test", "desk.test", "gateway.test.evil.test", "127.0.0.1", "[::1]", "[::1]:80", ""] {
        is_refused(&mut server.http(), get(host));
        is_refused(&mut server.http(), Handshake::new().set("Host", host).bytes());
        refused += 2;
    }
    is_refused(&mut server.http(), "GET /page HTTP/1.0\r\n\r\n");
    for host in ["gateway.test", "GATEWAY.test:9", "a.b.desk.test", "[::1]:6080"] {
        assert_eq!(server.http().send(get(host)).response().status, 401, "{host}: the next question");
        let asks = Handshake::new().set("Host", host).set("Authorization", "Basic bWU6c2VjcmV0");
        let mut client = WsClient::open(server.wire(), &asks);
        client.send(&Frame::binary("tick"));
        assert_eq!(client.expect_stream(4), b"tick");
        client.leave();
    }
    let line = server.wait_lines(" status=421 ", refused + 1).remove(0);
    assert!(line.contains("detail=\"its Host is none of --allow-host\""), "{line}");
    assert_eq!(counted(&server, "hosts_refused="), refused as u64 + 1);
    server.stop();
    assert_eq!(target.accepted(), 4);
}

fn a_request_behind_another_is_judged_too(engine: &str) {
    let root = TempDir::new();
    root.write("page", "page");
    let web = format!("--web={}", root.path().display());
    let server = Server::start(engine, &["--echo", "--allow-host=gateway.test", &web]);
    let mut http = server.http();
    // Both in one piece.
    http.send(get("gateway.test") + &get("evil.test"));
    assert_eq!(http.response().status, 200);
    is_misdirected(&http.response());
    http.expect_eof();
    server.stop();
}

fn the_port_of_tls_is_443_where_none_is_said(engine: &str) {
    let (authority, place) = (Authority::new(), TempDir::new());
    let cert = file(&place, "own.pem", &authority.sign(&["gateway.test"]).both());
    let words = ["--echo", "--ssl-only", "--cert", &cert, "--web=builtin:", "--allow-host=gateway.test:443"];
    let server = Server::start(engine, &words);
    // Nobody is sent to another page, whose name would be that of somebody else.
    is_refused(&mut server.http(), get("evil.test"));
    is_refused(&mut server.http(), get("gateway.test"));
    let redirect = server.http().send(get("gateway.test:443")).response();
    assert_eq!((redirect.status, redirect.header("Location")), (301, Some("https://gateway.test:443/page")));
    let tls = authority.client(&VERSIONS, None);
    for (host, status) in [("gateway.test", 101), ("gateway.test:443", 101), ("gateway.test:80", 421)] {
        let asks = Handshake::new().set("Host", host);
        let wire = tls.wire(server.address(), "gateway.test");
        match status {
            101 => WsClient::open(wire, &asks).leave(),
            _ => is_misdirected(&HttpClient::new(wire).send(asks.bytes()).response()),
        }
    }
    server.stop();
}
