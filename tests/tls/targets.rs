//! Targets that speak TLS: both versions, verification, names, certificates shown, and the end.

use crate::support::client::{Handshake, WsClient};
use crate::support::frame::Frame;
use crate::support::server::Server;
use crate::support::target::TcpTarget;
use crate::support::temp::TempDir;
use crate::support::tls::{Authority, VERSIONS, file};
use crate::support::wire::PATIENCE;
use crate::support::{on_both_engines, pattern};

on_both_engines!(
    bytes_go_both_ways_and_the_end_is_said,
    tls_on_both_legs,
    the_oldest_version_binds_clients_only,
    a_target_that_cannot_be_secured_is_refused,
    a_self_signed_target_is_known_by_its_certificate,
    a_certificate_is_shown_to_the_target,
    a_unix_target_is_verified_by_name,
);

/// The client speaks first and the target says nothing before, as many protocols do.
fn bytes_go_both_ways_and_the_end_is_said(engine: &str) {
    let (authority, directory) = (Authority::new(), TempDir::new());
    let ca = file(&directory, "ca.pem", &authority.pem);
    for version in VERSIONS {
        let (target, ends) = authority.echo_target(&authority.sign(&["127.0.0.1"]), &[version], false);
        let address = target.address().to_string();
        let server = Server::start(engine, &["--ssl-target", "--ssl-target-ca", &ca, &address]);
        assert!(server.log().contains("(using SSL)"), "{}", server.log());
        // The first message comes with the request, so it waits while the target is being secured.
        let early = Frame::binary(pattern(10_000, 1)).bytes();
        let mut client = WsClient::open(server.wire(), &Handshake::new().early(early));
        assert!(client.expect_stream(10_000) == pattern(10_000, 1));
        for len in [1, 100_000, 1_000_000] {
            let sender = client.send_beside(Frame::binary(pattern(len, 2)).bytes());
            assert!(client.expect_stream(len) == pattern(len, 2));
            sender.join().expect("it does not panic").expect("all of it is taken");
        }
        client.leave();
        assert_eq!(ends.recv_timeout(PATIENCE), Ok(Ok(())), "an orderly end: close_notify");
        server.stop();
    }
}

fn tls_on_both_legs(engine: &str) {
    const LEN: usize = 700_000;
    let (authority, directory) = (Authority::new(), TempDir::new());
    let ca = file(&directory, "ca.pem", &authority.pem);
    let cert = file(&directory, "own.pem", &authority.sign(&["gateway.test"]).both());
    let (target, ends) = authority.echo_target(&authority.sign(&["127.0.0.1"]), &VERSIONS, false);
    let address = target.address().to_string();
    let args = ["--cert", &cert, "--ssl-target", "--ssl-target-ca", &ca, &address];
    let server = Server::start(engine, &args);
    for version in VERSIONS {
        let wire = authority.client(&[version], None).wire(server.address(), "gateway.test");
        let mut client = WsClient::open(wire, &Handshake::new());
        for seed in 0..4 {
            client.send(&Frame::binary(pattern(LEN, seed)));
            assert!(client.expect_stream(LEN) == pattern(LEN, seed));
        }
        client.leave();
        assert_eq!(ends.recv_timeout(PATIENCE), Ok(Ok(())));
    }
    server.stop();
}

/// As with websockify, whose targets may speak what its TLS library speaks.
fn the_oldest_version_binds_clients_only(engine: &str) {
    let (authority, directory) = (Authority::new(), TempDir::new());
    let ca = file(&directory, "ca.pem", &authority.pem);
    let cert = file(&directory, "own.pem", &authority.sign(&["gateway.test"]).both());
    let (target, _ends) = authority.echo_target(&authority.sign(&["127.0.0.1"]), &VERSIONS[1..], false);
    let address = target.address().to_string();
    let args = ["--ssl-version=tlsv1_3", "--cert", &cert, "--ssl-target", "--ssl-target-ca", &ca, &address];
    let server = Server::start(engine, &args);
    let with = |version| authority.client(&[version], None).connect(server.address(), "gateway.test", 0);
    let mut client = WsClient::open(with(VERSIONS[0]).expect("1.3 is spoken"), &Handshake::new());
    client.send(&Frame::binary("the target speaks 1.2"));
    client.expect_stream(21);
    client.leave();
    let refused = with(VERSIONS[1]).expect_err("1.2 is too old for a client");
    assert!(refused.contains("ProtocolVersion"), "{refused}");
    server.stop();
}

fn a_target_that_cannot_be_secured_is_refused(engine: &str) {
    let (authority, other, directory) = (Authority::new(), Authority::new(), TempDir::new());
    let (ca, wrong) = (file(&directory, "ca.pem", &authority.pem), file(&directory, "wrong.pem", &other.pem));
    let (target, _ends) = authority.echo_target(&authority.sign(&["127.0.0.1"]), &VERSIONS, false);
    let plain = TcpTarget::source(b"RFB 003.008\n".to_vec());
    let (address, plain) = (target.address().to_string(), plain.address().to_string());
    let rows: [&[&str]; 4] = [
        &["--ssl-target-ca", &wrong, &address],
        &["--ssl-target-ca", &ca, "--ssl-target-name", "other.test", &address],
        &[&address],
        &["--ssl-target-insecure", &plain],
    ];
    for row in rows {
        let args: Vec<&str> = ["--ssl-target"].into_iter().chain(row.iter().copied()).collect();
        let server = Server::start(engine, &args);
        let mut client = server.client();
        client.expect_close(1011);
        client.answer_close(1011);
        server.wait_line("end=target_refused detail=\"TLS: ");
        server.stop();
    }
    let server = Server::start(engine, &["--ssl-target", "--ssl-target-insecure", &address]);
    let mut client = server.client();
    client.send(&Frame::binary("any certificate will do"));
    client.expect_stream(23);
    client.leave();
    server.stop();
}

fn a_self_signed_target_is_known_by_its_certificate(engine: &str) {
    let (authority, directory) = (Authority::new(), TempDir::new());
    let own = Authority::self_signed(&["127.0.0.1", "desk.test"], 2099);
    let expired = Authority::self_signed(&["127.0.0.1"], 2001);
    let twin = Authority::self_signed(&["127.0.0.1", "desk.test"], 2099);
    let own_ca = file(&directory, "own.pem", &own.cert);
    let expired_ca = file(&directory, "expired.pem", &expired.cert);
    let twin_ca = file(&directory, "twin.pem", &twin.cert);
    for version in VERSIONS {
        let (target, ends) = authority.echo_target(&own, &[version], false);
        let (old, _) = authority.echo_target(&expired, &[version], false);
        let (address, old) = (target.address().to_string(), old.address().to_string());
        for name in ["", "desk.test"] {
            let args = ["--ssl-target", "--ssl-target-ca", &own_ca, "--ssl-target-name", name, &address];
            let server = Server::start(engine, &args);
            let mut client = server.client();
            client.send(&Frame::binary("I know you"));
            assert_eq!(client.expect_stream(10), b"I know you");
            client.leave();
            assert_eq!(ends.recv_timeout(PATIENCE), Ok(Ok(())));
            server.stop();
        }
        for (ca, name, address, why) in [
            (&own_ca, "other.test", &address, "not valid for name"),
            (&expired_ca, "", &old, "expired"),
            (&twin_ca, "", &address, "invalid peer certificate"),
        ] {
            let args = ["--ssl-target", "--ssl-target-ca", ca, "--ssl-target-name", name, address];
            let server = Server::start(engine, &args);
            server.client().expect_close(1011);
            let line = server.wait_line("end=target_refused detail=\"TLS: ");
            assert!(line.contains(why), "{line}");
            server.stop();
        }
    }
}

fn a_certificate_is_shown_to_the_target(engine: &str) {
    let (authority, directory) = (Authority::new(), TempDir::new());
    let ca = file(&directory, "ca.pem", &authority.pem);
    let own = authority.sign(&["bridge.test"]);
    let (cert, key) = (file(&directory, "c.pem", &own.cert), file(&directory, "k.pem", &own.key));
    for version in VERSIONS {
        let (target, ends) = authority.echo_target(&authority.sign(&["127.0.0.1"]), &[version], true);
        let address = target.address().to_string();
        let with = ["--ssl-target", "--ssl-target-ca", &ca, "--ssl-target-cert", &cert];
        let args: Vec<&str> = with.into_iter().chain(["--ssl-target-key", &key, &address]).collect();
        let server = Server::start(engine, &args);
        let mut client = server.client();
        client.send(&Frame::binary("who am I"));
        client.expect_stream(8);
        client.leave();
        assert_eq!(ends.recv_timeout(PATIENCE), Ok(Ok(())));
        server.stop();
        let server = Server::start(engine, &["--ssl-target", "--ssl-target-ca", &ca, &address]);
        server.client().expect_close(1011);
        server.stop();
    }
}

fn a_unix_target_is_verified_by_name(engine: &str) {
    let (authority, directory) = (Authority::new(), TempDir::new());
    let ca = file(&directory, "ca.pem", &authority.pem);
    let path = directory.arg("socket");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("the directory is new");
    let (target, _ends) = authority.echo_target(&authority.sign(&["desk.test"]), &VERSIONS, false);
    let address = target.address();
    // The TLS target listens on TCP; this carries bytes there.
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(client) = client else { return };
            let far = std::net::TcpStream::connect(address).expect("it listens");
            let (mut from, mut to) = (client.try_clone().expect("free"), far.try_clone().expect("free"));
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            std::thread::spawn(move || std::io::copy(&mut { far }, &mut { client }));
        }
    });
    let unix = format!("--unix-target={path}");
    for (name, code) in [("desk.test", None), ("other.test", Some(1011))] {
        let args = ["--ssl-target", "--ssl-target-ca", &ca, "--ssl-target-name", name, &unix];
        let server = Server::start(engine, &args);
        let mut client = server.client();
        match code {
            None => {
                client.send(&Frame::binary("hello"));
                assert_eq!(client.expect_stream(5), b"hello");
                client.leave();
            }
            Some(code) => drop(client.expect_close(code)),
        }
        server.stop();
    }
}
