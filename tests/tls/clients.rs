//! Clients over TLS: versions, cuts, garbage, certificates, names, resumption, and clients without it.

use crate::support::client::{Handshake, Message, WsClient};
use crate::support::frame::Frame;
use crate::support::http::HttpClient;
use crate::support::server::Server;
use crate::support::temp::TempDir;
use crate::support::tls::{Authority, Client, VERSIONS, connection, file};
use crate::support::wire::{Fault, Inbox, PATIENCE, Wire, soon};
use crate::support::{on_both_engines, pattern};
use rustls::{HandshakeKind, ProtocolVersion, StreamOwned};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

on_both_engines!(
    messages_come_back_in_both_versions,
    a_handshake_in_single_bytes_is_the_same,
    garbage_is_answered_with_an_alert,
    pages_and_silence,
    plain_clients_meet_ssl_only,
    silence_is_closed_whatever_is_wanted,
    handshake_and_head_have_one_deadline,
    clients_show_certificates,
    the_name_chooses_the_certificate,
    a_ticket_resumes,
    who_has_to_prove_themselves_does_so_each_time,
    a_hello_without_a_certificate_is_closed_and_told,
    openssl_is_content,
);

const NAME: &str = "gateway.test";

/// An echo server with a certificate for [`NAME`].
fn server(engine: &str, authority: &Authority, directory: &TempDir, more: &[&str]) -> Server {
    let cert = file(directory, "own.pem", &authority.sign(&[NAME]).both());
    let args: Vec<&str> = ["--cert", &cert, "--echo"].into_iter().chain(more.iter().copied()).collect();
    Server::start(engine, &args)
}

fn messages_come_back_in_both_versions(engine: &str) {
    let (authority, directory) = (Authority::new(), TempDir::new());
    let server = server(engine, &authority, &directory, &[]);
    for version in VERSIONS {
        let client = authority.client(&[version], None);
        let wire = client.wire(server.address(), NAME);
        assert_eq!(connection(&wire).protocol_version(), Some(version.version));
        assert_eq!(connection(&wire).alpn_protocol(), None);
        let mut client = WsClient::open(wire, &Handshake::new());
        for len in [0, 1, 125, 65_536, 300_000, 1024 * 1024] {
            let payload = pattern(len, len as u64);
            client.send(&Frame::binary(payload.clone()));
            client.expect(&Message::Binary(payload));
        }
        client.leave();
        let word = if version.version == ProtocolVersion::TLSv1_3 { "tls=TLSv1.3," } else { "tls=TLSv1.2," };
        server.wait_line(word);
    }
    server.stop();
}

fn a_handshake_in_single_bytes_is_the_same(engine: &str) {
    let (authority, directory) = (Authority::new(), TempDir::new());
    let server = server(engine, &authority, &directory, &[]);
    for version in VERSIONS {
        let client = authority.client(&[version], None);
        let wire = client.connect(server.address(), NAME, 1).expect("pieces do not matter");
        let mut client = WsClient::open(wire, &Handshake::new().chopped(3));
        client.send(&Frame::binary(pattern(5_000, 1)));
        client.expect(&Message::Binary(pattern(5_000, 1)));
        client.leave();
    }
    server.stop();
}

fn garbage_is_answered_with_an_alert(engine: &str) {
    let (authority, directory) = (Authority::new(), TempDir::new());
    let server = server(engine, &authority, &directory, &[]);
    let rows: [&[u8]; 4] = [
        b"\x16\x03\x01\x00\x05hello, this is no hello",
        b"\x16\x03\x01\xff\xff over-long",
        b"\x80\x2e\x01\x03\x01 SSL 2",
        b"\x16GET / HTTP/1.1\r\n\r\n",
    ];
    for garbage in rows {
        let mut wire = server.wire();
        wire.write_chopped(garbage, 0).expect("it is taken");
        wire.finish();
        let answer = Inbox::new(wire).take_rest(soon()).expect("an orderly end");
        assert!(answer.first().is_none_or(|&kind| kind == 21), "{garbage:?}: {answer:?}");
    }
    server.stop();
}

fn pages_and_silence(engine: &str) {
    let (authority, directory) = (Authority::new(), TempDir::new());
    let server = server(engine, &authority, &directory, &["--web=builtin:"]);
    let began = Instant::now();
    let mut silent = Inbox::new(server.wire());
    let mut http = HttpClient::new(authority.client(&VERSIONS, None).wire(server.address(), NAME));
    assert_eq!(http.get("/", "").status, 200);
    assert_eq!(http.get("/nothing", "").status, 404);
    assert_eq!(server.http().get("/", "").status, 200, "plain clients are served too");
    silent.end(soon()).expect("silence is closed");
    assert!((2..6).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    server.stop();
}

fn plain_clients_meet_ssl_only(engine: &str) {
    let (authority, directory) = (Authority::new(), TempDir::new());
    let redirecting = server(engine, &authority, &directory, &["--ssl-only", "--web=builtin:"]);
    assert!(redirecting.log().contains("Deny non-SSL/TLS connections"));
    let answer = redirecting.http().get("/a%20b?c=d", "");
    assert_eq!(answer.status, 301);
    let place = answer.header("location").expect("it says where to go").to_owned();
    assert!(place.starts_with("https://") && place.ends_with("/a%20b?c=d"), "{place}");
    let refused = WsClient::try_open(redirecting.wire(), &Handshake::new()).expect_err("it is plain");
    assert!(refused.contains("403"), "{refused}");
    let client = authority.client(&VERSIONS, None);
    WsClient::open(client.wire(redirecting.address(), NAME), &Handshake::new()).leave();
    redirecting.stop();

    let strict = server(engine, &authority, &directory, &["--ssl-only=strict"]);
    let mut wire = strict.wire();
    wire.write_chopped(b"G", 0).expect("it is taken");
    Inbox::new(wire).end(soon()).expect("closed without an answer");
    WsClient::open(client.wire(strict.address(), NAME), &Handshake::new()).leave();
    strict.stop();
}

fn silence_is_closed_whatever_is_wanted(engine: &str) {
    let (authority, directory) = (Authority::new(), TempDir::new());
    let ca = file(&directory, "ca.pem", &authority.pem);
    let wishes: [&[&str]; 4] =
        [&[], &["--ssl-only"], &["--ssl-only=strict"], &["--verify-client", "--cafile", &ca]];
    let servers = wishes.map(|more| server(engine, &authority, &directory, more));
    let silent = servers.each_ref().map(|server| (Instant::now(), Inbox::new(server.wire())));
    for (began, mut inbox) in silent {
        inbox.end(soon()).expect("closed without an answer");
        assert!((2_500..6_000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    }
    servers.into_iter().for_each(Server::stop);
}

/// A client that takes its time with the hello and again with the head has no more of it than one that is slow once.
fn handshake_and_head_have_one_deadline(engine: &str) {
    let (authority, directory) = (Authority::new(), TempDir::new());
    let server = server(engine, &authority, &directory, &["--head-timeout", "3s"]);
    std::thread::scope(|scope| {
        for version in VERSIONS {
            let client = authority.client(&[version], None);
            let address = server.address();
            scope.spawn(move || be_slow(&client, address, Duration::from_secs(3)));
        }
    });
    server.stop();
}

/// Takes two of three seconds for the hello, and would take far more for the head; beside it, half a hello never ends.
fn be_slow(client: &Client, address: SocketAddr, deadline: Duration) {
    const PAUSE: Duration = Duration::from_millis(100);
    let mut connection = client.begin(NAME);
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).expect("a vector takes all");
    let mut stalled = Wire::tcp(address);
    let began = Instant::now();
    let mut slow = Wire::tcp(address);
    stalled.write_chopped(&hello[..hello.len() / 2], 0).expect("it is taken");
    let mut stalled = Inbox::new(stalled);
    let (most, rest) = hello.split_at(20);
    for byte in most {
        slow.write_chopped(&[*byte], 0).expect("it is taken");
        let heard = stalled.end(Instant::now() + PAUSE);
        assert!(matches!(heard, Err(Fault::Silent(0))), "{heard:?} after {:?}", began.elapsed());
    }
    slow.write_chopped(rest, 0).expect("it is taken");
    let Wire::Tcp(mut socket) = slow else { unreachable!("it is TCP") };
    connection.complete_io(&mut socket).expect("the handshake is in time");
    let mut slow = Inbox::new(Wire::Tls(Box::new(StreamOwned::new(connection, socket))));
    for byte in Handshake::new().bytes() {
        // It may be closed by now; what it reads says so.
        let _ = slow.wire.write_chopped(&[byte], 0);
        match slow.end(Instant::now() + PAUSE) {
            // A close_notify, as an end without one is broken.
            Ok(()) => break,
            heard => assert!(matches!(heard, Err(Fault::Silent(0))), "{heard:?}"),
        }
    }
    let took = began.elapsed();
    assert!(deadline - PAUSE < took && took < deadline + deadline / 2, "{took:?}");
    stalled.end(soon()).expect("half a hello is closed by then too");
}

fn clients_show_certificates(engine: &str) {
    let (authority, other, directory) = (Authority::new(), Authority::new(), TempDir::new());
    let ca = file(&directory, "ca.pem", &authority.pem);
    let server = server(engine, &authority, &directory, &["--verify-client", "--cafile", &ca]);
    let good = authority.sign(&["staff.test"]);
    let expired = authority.sign_until(&["staff.test"], 2001);
    let foreign = other.sign(&["staff.test"]);
    for version in VERSIONS {
        let open = |own| {
            let wire = authority.client(&[version], own).connect(server.address(), NAME, 0)?;
            WsClient::try_open(wire, &Handshake::new())
        };
        open(Some(&good)).expect("its certificate is good").leave();
        for (own, what) in [(Some(&expired), "expired"), (Some(&foreign), "foreign"), (None, "none")] {
            let refused = open(own).expect_err(what);
            // In version 1.3 the alert comes when the client believes that the handshake is done.
            assert!(refused.contains("alert"), "{what}: {refused}");
        }
    }
    let refused = WsClient::try_open(server.wire(), &Handshake::new()).expect_err("it is plain");
    assert!(refused.contains("403"), "{refused}");
    assert_eq!(server.http().get("/", "").status, 403, "nor are pages for plain clients");
    server.stop();
}

fn the_name_chooses_the_certificate(engine: &str) {
    let (authority, directory) = (Authority::new(), TempDir::new());
    let (first, second) = (authority.sign(&["a.test", NAME]), authority.sign(&["*.b.test"]));
    let (a, b) = (file(&directory, "a.pem", &first.cert), file(&directory, "b.pem", &second.cert));
    let (a_key, b_key) = (file(&directory, "a.key", &first.key), file(&directory, "b.key", &second.key));
    let args = ["--cert", &a, "--key", &a_key, "--cert", &b, "--key", &b_key, "--echo"];
    let server = Server::start(engine, &args);
    for (name, own) in [("a.test", &first), ("x.b.test", &second), (NAME, &first)] {
        let wire = authority.client(&VERSIONS, None).wire(server.address(), name);
        assert_eq!(connection(&wire).peer_certificates().map(|chain| &chain[0]), Some(&own.der()), "{name}");
        WsClient::open(wire, &Handshake::new()).leave();
    }
    server.stop();
}

fn a_ticket_resumes(engine: &str) {
    let (authority, directory) = (Authority::new(), TempDir::new());
    let server = server(engine, &authority, &directory, &[]);
    for version in VERSIONS {
        let client = authority.client(&[version], None);
        for turn in 0..6 {
            let wire = client.wire(server.address(), NAME);
            let kind = connection(&wire).handshake_kind();
            assert_eq!(kind == Some(HandshakeKind::Resumed), turn > 0, "{version:?}: {kind:?}");
            WsClient::open(wire, &Handshake::new()).leave();
        }
    }
    server.stop();
}

/// A ticket would let a certificate in for ever, for nobody looks at its dates again.
fn who_has_to_prove_themselves_does_so_each_time(engine: &str) {
    let (authority, directory) = (Authority::new(), TempDir::new());
    let ca = file(&directory, "ca.pem", &authority.pem);
    let server = server(engine, &authority, &directory, &["--verify-client", "--cafile", &ca]);
    for version in VERSIONS {
        let until = SystemTime::now() + Duration::from_secs(4);
        let client = authority.client(&[version], Some(&authority.sign_person_until("alice", until)));
        let deadline = Instant::now() + PATIENCE;
        for turn in 0.. {
            let wire = client.connect(server.address(), NAME, 0);
            match wire.and_then(|wire| {
                let kind = connection(&wire).handshake_kind();
                assert_ne!(kind, Some(HandshakeKind::Resumed), "{version:?}");
                WsClient::try_open(wire, &Handshake::new())
            }) {
                Ok(client) => client.leave(),
                Err(why) => {
                    assert!(turn > 1 && why.contains("alert"), "{version:?}, time {turn}: {why}");
                    break;
                }
            }
            assert!(Instant::now() < deadline, "{version:?}: it has expired, and is still let in");
        }
    }
    server.stop();
}

fn a_hello_without_a_certificate_is_closed_and_told(engine: &str) {
    let authority = Authority::new();
    let server = Server::echo(engine);
    for turn in 1..=2 {
        let refused = authority.client(&VERSIONS, None).connect(server.address(), NAME, 0);
        assert_eq!(refused.expect_err("there is nobody to answer it"), "ended in the handshake");
        let lines = server.wait_lines("end=no_certificate", turn);
        assert_eq!(lines.len(), turn);
        assert!(lines.iter().all(|line| line.contains("name one with --cert")), "{lines:?}");
    }
    server.client().leave();
    assert!(!server.log().contains("status=400"), "{}", server.log());
    server.stop();
}

/// A client that is none of ours.
fn openssl_is_content(engine: &str) {
    let (authority, directory) = (Authority::new(), TempDir::new());
    let ca = file(&directory, "ca.pem", &authority.pem);
    let server = server(engine, &authority, &directory, &["--web=builtin:"]);
    for (version, suite) in
        [("-tls1_3", "TLS_AES_128_GCM_SHA256"), ("-tls1_2", "ECDHE-ECDSA-AES128-GCM-SHA256")]
    {
        let output = std::process::Command::new("openssl")
            .args(["s_client", "-connect", &server.address().to_string(), "-servername", NAME, version])
            .args(["-CAfile", &ca, "-verify_return_error", "-alpn", "http/1.1"])
            .stdin(std::process::Stdio::null())
            .output()
            .expect("openssl is installed");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains(suite) && said.contains("ALPN protocol: http/1.1"), "{version}: {said}");
        assert!(said.contains("Verify return code: 0 (ok)"), "{version}: {said}");
    }
    server.stop();
}
