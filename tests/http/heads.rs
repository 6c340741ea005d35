//! Request heads: how they may arrive, what is refused and how, and when the connection stays open.

use crate::support::client::{Handshake, Message, WsClient};
use crate::support::frame::Frame;
use crate::support::http::{HttpClient, request};
use crate::support::on_both_engines;
use crate::support::server::Server;
use crate::support::temp::TempDir;
use std::time::{Duration, Instant};

on_both_engines!(
    a_kept_connection_serves_many_requests,
    connection_close_and_http_1_0_end_it,
    requests_in_one_segment_are_answered_in_order,
    an_upgrade_follows_requests_in_the_same_segment,
    a_head_may_come_byte_by_byte,
    bounds_of_a_head,
    bad_syntax,
    methods,
    versions_of_http,
    bodies_are_never_requests,
    who_waits_for_100_continue_is_answered_at_once,
    a_refused_upgrade_is_not_followed_by_frames,
    slow_heads_are_dropped,
    without_files_plain_requests_are_refused,
    what_the_server_calls_itself_is_for_the_operator_to_say,
);

/// A server with one file, `/index.html`.
fn with_files(engine: &str, args: &[&str]) -> (Server, TempDir) {
    let web = TempDir::new();
    web.write("index.html", "<p>home</p>");
    let root = web.arg("");
    let args = [&["--echo", "--web", &root], args].concat();
    (Server::start(engine, &args), web)
}

fn a_kept_connection_serves_many_requests(engine: &str) {
    let (server, _web) = with_files(engine, &[]);
    let mut http = server.http();
    for turn in 0..20 {
        let response = http.get("/", "");
        assert_eq!((response.status, &response.body[..]), (200, &b"<p>home</p>"[..]), "turn {turn}");
        assert!(!response.closes(), "turn {turn}: {response:?}");
        assert!(response.header("date").is_some_and(|date| date.ends_with(" GMT")), "{response:?}");
    }
    server.stop();
}

fn connection_close_and_http_1_0_end_it(engine: &str) {
    let (server, _web) = with_files(engine, &[]);
    for head in [
        request("GET", "/", "Connection: close\r\n"),
        request("GET", "/", "Connection: foo, Close\r\n"),
        "GET / HTTP/1.0\r\nHost: a\r\n\r\n".to_owned(),
        "GET / HTTP/1.0\r\n\r\n".to_owned(),
    ] {
        let mut http = server.http();
        assert_eq!(http.send(&head).response().status, 200, "{head:?}");
        http.expect_eof();
    }
    server.stop();
}

fn requests_in_one_segment_are_answered_in_order(engine: &str) {
    let (server, web) = with_files(engine, &[]);
    let mut pipeline = String::new();
    for at in 0..50 {
        web.write(&format!("{at}.txt"), format!("file {at}"));
        pipeline.push_str(&request("GET", &format!("/{at}.txt"), ""));
        pipeline.push_str(&request("HEAD", &format!("/{at}.txt"), ""));
        pipeline.push_str(&request("GET", "/0.txt?query", ""));
    }
    // A refusal closes, so it comes last.
    pipeline.push_str(&request("GET", "/absent", ""));
    let mut http = server.http();
    http.send(&pipeline);
    for at in 0..50 {
        assert_eq!(http.response().body, format!("file {at}").as_bytes(), "request {at}");
        assert_eq!(http.response_to_head().status, 200, "HEAD {at}");
        assert_eq!(http.response().body, b"file 0", "query {at}");
    }
    assert_eq!(http.response().status, 404);
    server.stop();
}

fn an_upgrade_follows_requests_in_the_same_segment(engine: &str) {
    let (server, _web) = with_files(engine, &[]);
    let early = Frame::text("early").bytes();
    let upgrade = Handshake::new().early(early).bytes();
    let both = [request("GET", "/", "").into_bytes(), request("GET", "/", "").into_bytes(), upgrade].concat();
    for piece in [0, 1, 7] {
        let mut http = server.http();
        http.inbox.wire.write_chopped(&both, piece).expect("the server reads on");
        assert_eq!(http.response().status, 200);
        assert_eq!(http.response().status, 200);
        let mut client = WsClient::answered(http.inbox).expect("the third request is an upgrade");
        client.expect(&Message::Text(b"early".to_vec()));
        client.leave();
    }
    server.stop();
}

fn a_head_may_come_byte_by_byte(engine: &str) {
    let (server, _web) = with_files(engine, &[]);
    for piece in [1, 2, 3, 5] {
        let mut http = server.http();
        let head = request("GET", "/", "X-Padding: some more bytes\r\n");
        http.inbox.wire.write_chopped(head.as_bytes(), piece).expect("the server reads on");
        assert_eq!(http.response().status, 200, "pieces of {piece}");
        let client = WsClient::open(server.wire(), &Handshake::new().chopped(piece));
        client.leave();
    }
    server.stop();
}

/// Sends one head and expects a refusal: status, an orderly end, and nothing of what follows is answered.
#[track_caller]
fn expect_refusal(server: &Server, head: &[u8], statuses: &[u16]) {
    let what = crate::support::brief(head);
    let mut http = server.http();
    http.send([head, request("GET", "/", "").as_bytes()].concat());
    let response = http.response();
    assert!(statuses.contains(&response.status), "{what}: expected {statuses:?}, got {response:?}");
    assert!(response.closes(), "{what}: a refusal says that it closes: {response:?}");
    assert_eq!(response.header("x-content-type-options").unwrap_or("nosniff"), "nosniff");
    http.expect_eof();
}

fn bounds_of_a_head(engine: &str) {
    let (server, _web) = with_files(engine, &[]);
    let headers = |count: usize| "X-A: b\r\n".repeat(count);
    let mut http = server.http();
    assert_eq!(http.get("/", &headers(90)).status, 200, "90 headers are fine");
    assert_eq!(
        http.get(&format!("/?{}", "q".repeat(8000)), "").status,
        200,
        "a target of 8,000 bytes is fine"
    );
    assert_eq!(
        http.get("/", &format!("X-A: {}\r\n", "v".repeat(15_000))).status,
        200,
        "15,000 bytes are fine"
    );
    expect_refusal(&server, request("GET", "/", &headers(101)).as_bytes(), &[431]);
    expect_refusal(&server, request("GET", "/", &headers(1000)).as_bytes(), &[431]);
    expect_refusal(&server, request("GET", &format!("/{}", "a".repeat(9000)), "").as_bytes(), &[414]);
    expect_refusal(&server, request("GET", &format!("/{}", "a".repeat(200_000)), "").as_bytes(), &[414]);
    expect_refusal(
        &server,
        request("GET", "/", &format!("X-A: {}\r\n", "v".repeat(20_000))).as_bytes(),
        &[431],
    );
    expect_refusal(
        &server,
        request("GET", "/", &format!("X-A: {}\r\n", "v".repeat(2 << 20))).as_bytes(),
        &[431],
    );
    expect_refusal(&server, &[b'A'; 100_000], &[400, 414, 431, 501]);
    server.stop();
}

fn bad_syntax(engine: &str) {
    let (server, _web) = with_files(engine, &[]);
    for head in [
        &b"\r\nGET / HTTP/1.1 extra\r\nHost: a\r\n\r\n"[..],
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\n\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n: empty\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\0c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\rc\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-\xff: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"G{}T / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / http/1.1\r\nHost: a\r\n\r\n",
        b"GET http://elsewhere.test/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET //elsewhere.test/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"RFB 003.008\n\n\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    ] {
        expect_refusal(&server, head, &[400]);
    }
    let mut http = server.http();
    let same = http.send("GET http://gateway.test/ HTTP/1.1\r\nHost: gateway.test\r\n\r\n").response();
    assert_eq!(same.status, 200, "the absolute form of our own host is its path");
    server.stop();
}

fn methods(engine: &str) {
    let (server, _web) = with_files(engine, &[]);
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let mut http = server.http();
        let response = http.send(request(method, "/", "")).response();
        assert_eq!(response.status, 405, "{method}: {response:?}");
        assert!(
            response.header("allow").is_some_and(|allow| allow.contains("GET")),
            "{method}: {response:?}"
        );
    }
    for method in ["TRACE", "BREW", "get", "VERSION-CONTROL"] {
        expect_refusal(&server, request(method, "/", "").as_bytes(), &[501]);
    }
    expect_refusal(&server, b"CONNECT elsewhere.test:80 HTTP/1.1\r\nHost: elsewhere.test:80\r\n\r\n", &[405]);
    for method in ["POST", "OPTIONS", "TRACE"] {
        let upgrade = Handshake::new().start(&format!("{method} / HTTP/1.1")).bytes();
        expect_refusal(&server, &upgrade, &[405, 501]);
    }
    let mut http = server.http();
    http.send(Handshake::new().start("HEAD / HTTP/1.1").bytes());
    assert_eq!(http.response_to_head().status, 200, "HEAD with upgrade headers is a HEAD");
    server.stop();
}

fn versions_of_http(engine: &str) {
    let (server, _web) = with_files(engine, &[]);
    for version in ["HTTP/2.0", "HTTP/3.0", "HTTP/0.9"] {
        expect_refusal(&server, format!("GET / {version}\r\nHost: a\r\n\r\n").as_bytes(), &[505]);
    }
    expect_refusal(&server, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[400, 501, 505]);
    for version in ["HTTP/1", "HTTP/1.", "HTTP/11", "HTTP/1.1x", "HTTPS/1.1", "HTTP/one"] {
        expect_refusal(&server, format!("GET / {version}\r\nHost: a\r\n\r\n").as_bytes(), &[400, 505]);
    }
    server.stop();
}

fn bodies_are_never_requests(engine: &str) {
    let (server, _web) = with_files(engine, &[]);
    let hidden = request("GET", "/", "");
    for (framing, statuses) in [
        (format!("Content-Length: {}\r\n", hidden.len()), &[200, 400][..]),
        ("Transfer-Encoding: chunked\r\n".to_owned(), &[200, 400][..]),
        (format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", hidden.len()), &[400]),
        ("Content-Length: 5\r\nContent-Length: 6\r\n".to_owned(), &[400]),
        ("Content-Length: +5\r\n".to_owned(), &[400]),
        ("Content-Length: 0x5\r\n".to_owned(), &[400]),
        ("Content-Length: -1\r\n".to_owned(), &[400]),
        ("Content-Length: 99999999999999999999999\r\n".to_owned(), &[400]),
    ] {
        expect_refusal(&server, request("GET", "/", &framing).as_bytes(), statuses);
    }
    let mut post = server.http();
    post.send(request("POST", "/", &format!("Content-Length: {}\r\n", hidden.len()))).send(&hidden);
    assert_eq!(post.response().status, 405);
    post.expect_eof();
    for framing in ["Content-Length: 10\r\n", "Transfer-Encoding: chunked\r\n"] {
        let (name, value) = framing.trim_end().split_once(": ").expect("these are headers");
        let upgrade = Handshake::new().add(name, value).early("0123456789").bytes();
        expect_refusal(&server, &upgrade, &[400]);
    }
    server.stop();
}

/// No body is ever read, so nobody is asked for one: the final answer comes at once, and it is the last, because what follows
/// may be the body that was not asked for (RFC 9110 section 10.1.1). websockify says `100 Continue` first.
fn who_waits_for_100_continue_is_answered_at_once(engine: &str) {
    let (server, _web) = with_files(engine, &[]);
    let hidden = request("GET", "/", "");
    let announced = format!("Content-Length: {}\r\n", hidden.len());
    for (method, more, status) in [
        ("GET", "", 200),
        ("HEAD", "", 200),
        ("GET", announced.as_str(), 200),
        ("POST", announced.as_str(), 405),
        ("PUT", "Transfer-Encoding: chunked\r\n", 405),
    ] {
        for word in ["100-continue", "100-Continue"] {
            let head = request(method, "/", &format!("Expect: {word}\r\n{more}"));
            let mut http = server.http();
            http.send(&head);
            let response = if method == "HEAD" { http.response_to_head() } else { http.response() };
            assert_eq!(response.status, status, "{head:?}: {response:?}");
            assert!(response.closes(), "{head:?}: {response:?}");
            http.expect_eof();
            // A client that does not wait: its body is no request.
            let mut http = server.http();
            http.send(format!("{head}{hidden}"));
            let response = if method == "HEAD" { http.response_to_head() } else { http.response() };
            assert_eq!(response.status, status, "{head:?}: {response:?}");
            http.expect_eof();
        }
    }
    let client = WsClient::open(server.wire(), &Handshake::new().add("Expect", "100-continue"));
    client.leave();
    server.stop();
}

fn a_refused_upgrade_is_not_followed_by_frames(engine: &str) {
    let server = Server::echo(engine);
    let refused = Handshake::new().without("Sec-WebSocket-Key").early(Frame::text("smuggled").bytes());
    expect_refusal(&server, &refused.bytes(), &[400]);
    server.stop();
}

fn slow_heads_are_dropped(engine: &str) {
    let (server, _web) = with_files(engine, &["--head-timeout", "300ms"]);
    let silent = server.wire();
    let begun = Instant::now();
    let mut half = server.http();
    half.send("GET / HTTP/1.1\r\nHost:");
    half.inbox
        .end(begun + Duration::from_secs(3))
        .expect("half a head is dropped in time, without an answer");
    assert!(begun.elapsed() >= Duration::from_millis(250), "dropped too early: {:?}", begun.elapsed());
    HttpClient::new(silent).expect_eof_within(Duration::from_secs(3));
    let mut dribble = server.http();
    let begun = Instant::now();
    // The deadline is one for the head, not one for each byte.
    let dropped = loop {
        dribble.send("X");
        match dribble.inbox.take(1, Instant::now() + Duration::from_millis(20)) {
            Err(crate::support::wire::Fault::Silent(_)) if begun.elapsed() < Duration::from_secs(5) => {}
            Err(crate::support::wire::Fault::Silent(_)) => break false,
            _ => break true,
        }
    };
    assert!(dropped, "a byte every 20 ms keeps the connection for ever");
    // One that finished its head in time lives on.
    let open = WsClient::open(server.wire(), &Handshake::new());
    let mut kept = server.http();
    assert_eq!(kept.get("/", "").status, 200);
    let mut waiting = server.http();
    waiting.expect_eof_within(Duration::from_secs(3));
    open.leave();
    server.stop();
}

fn without_files_plain_requests_are_refused(engine: &str) {
    let server = Server::echo(engine);
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"] {
        let mut http = server.http();
        http.send(request(method, "/", ""));
        let response = if method == "HEAD" { http.response_to_head() } else { http.response() };
        assert_eq!((response.status, &response.reason[..]), (405, "Method Not Allowed"), "{method}");
        assert!(response.header("allow").is_some(), "{method}: {response:?}");
    }
    expect_refusal(&server, request("TRACE", "/", "").as_bytes(), &[501]);
    server.stop();
}

/// In every kind of answer. Without a word it says no version: what a stranger need not know.
fn what_the_server_calls_itself_is_for_the_operator_to_say(engine: &str) {
    for (option, expected) in [
        (None, Some("websplice")),
        (Some("--server-header=nginx (desk)"), Some("nginx (desk)")),
        (Some("--server-header="), None),
    ] {
        let (server, _web) = with_files(engine, &Vec::from_iter(option));
        let said = |request: &[u8]| {
            let mut http = server.http();
            let response = http.send(request).response();
            assert!(response.header("date").is_some(), "{response:?}");
            (response.status, response.header("server").map(str::to_owned))
        };
        let expected = expected.map(str::to_owned);
        for (request, status) in [
            (request("GET", "/", ""), 200),
            (request("GET", "/absent", ""), 404),
            (request("DELETE", "/", ""), 405),
            ("nonsense\r\n\r\n".to_owned(), 400),
        ] {
            assert_eq!(said(request.as_bytes()), (status, expected.clone()), "{option:?}: {request:?}");
        }
        assert_eq!(said(&Handshake::new().bytes()), (101, expected.clone()), "{option:?}");
        server.stop();
    }
}
