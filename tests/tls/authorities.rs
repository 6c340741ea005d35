//! Who is trusted, and as whom a target is addressed: the system's authorities, files that change, and names.

use crate::support::client::{Handshake, Message, WsClient};
use crate::support::frame::Frame;
use crate::support::on_both_engines;
use crate::support::server::{Server, program};
use crate::support::temp::TempDir;
use crate::support::tls::{Authority, Signed, VERSIONS, file};
use crate::support::wire::PATIENCE;
use std::sync::mpsc::TryRecvError;
use std::time::Instant;

on_both_engines!(
    the_systems_authorities_are_trusted_where_none_are_named,
    changed_authorities_of_clients_are_taken_up,
    changed_authorities_and_certificates_for_a_target_are_taken_up,
    a_target_is_asked_for_by_name,
);

const NAME: &str = "gateway.test";

/// A server for which the file `roots` has the system's authorities.
fn server_with_system(engine: &str, roots: &str, args: &[&str]) -> Server {
    let roots = format!("SSL_CERT_FILE={roots}");
    let program = program();
    let program = program.to_str().expect("the path is plain");
    let start = ["-u", "SSL_CERT_DIR", &roots, program, "--engine", engine, "127.0.0.1:0"];
    Server::launch("env", &[&start[..], args].concat())
}

/// Whether a client that shows `own` is let in by a server whose certificate is from `authority`.
fn is_let_in(authority: &Authority, server: &Server, own: &Signed) -> bool {
    let wire = authority.client(&VERSIONS, Some(own)).connect(server.address(), NAME, 0);
    match wire.and_then(|wire| WsClient::try_open(wire, &Handshake::new())) {
        Ok(client) => {
            client.leave();
            true
        }
        Err(why) => {
            assert!(why.contains("alert"), "{why}");
            false
        }
    }
}

/// Whether bytes come back from the target; if not, it was refused for its TLS.
fn is_reached(server: &Server) -> bool {
    let mut client = server.client();
    client.send(&Frame::binary("hello"));
    let reached = client.try_next(Instant::now() + PATIENCE);
    match reached.expect("one or the other") {
        Message::Binary(bytes) => {
            assert_eq!(bytes, b"hello");
            client.leave();
            true
        }
        other => {
            assert!(format!("{other:?}").starts_with("close 1011"), "{other:?}");
            client.answer_close(1011);
            false
        }
    }
}

fn the_systems_authorities_are_trusted_where_none_are_named(engine: &str) {
    let (authority, other, directory) = (Authority::new(), Authority::new(), TempDir::new());
    let cert = file(&directory, "own.pem", &authority.sign(&[NAME]).both());
    let (target, _ends) = authority.echo_target(&authority.sign(&["127.0.0.1"]), &VERSIONS, false);
    let address = target.address().to_string();
    let (ours, theirs) = (authority.sign(&["staff.test"]), other.sign(&["staff.test"]));
    for (system, trusts_ours) in [(&authority, true), (&other, false)] {
        let roots = file(&directory, "system.pem", &system.pem);
        let verifying = server_with_system(engine, &roots, &["--echo", "--cert", &cert, "--verify-client"]);
        assert_eq!(is_let_in(&authority, &verifying, &ours), trusts_ours);
        assert_eq!(is_let_in(&authority, &verifying, &theirs), !trusts_ours);
        verifying.stop();
        let to_target = server_with_system(engine, &roots, &["--ssl-target", &address]);
        assert_eq!(is_reached(&to_target), trusts_ours);
        to_target.stop();
    }
}

fn changed_authorities_of_clients_are_taken_up(engine: &str) {
    let (authority, other, directory) = (Authority::new(), Authority::new(), TempDir::new());
    let cert = file(&directory, "own.pem", &authority.sign(&[NAME]).both());
    let ca = file(&directory, "ca.pem", &authority.pem);
    let (ours, theirs) = (authority.sign(&["staff.test"]), other.sign(&["staff.test"]));
    let args = ["--echo", "--cert", &cert, "--verify-client", "--cafile", &ca];
    let server = Server::start(engine, &args);
    assert!(is_let_in(&authority, &server, &ours) && !is_let_in(&authority, &server, &theirs));
    std::fs::rename(file(&directory, "new.pem", &other.pem), &ca).expect("it is ours");
    server.wait_line("tls renewed");
    assert!(!is_let_in(&authority, &server, &ours) && is_let_in(&authority, &server, &theirs));
    server.stop();
}

fn changed_authorities_and_certificates_for_a_target_are_taken_up(engine: &str) {
    let (authority, other, directory) = (Authority::new(), Authority::new(), TempDir::new());
    let (target, _ends) = authority.echo_target(&authority.sign(&["127.0.0.1"]), &VERSIONS, true);
    let address = target.address().to_string();
    let (foreign, own) = (other.sign(&["bridge.test"]), authority.sign(&["bridge.test"]));
    let ca = file(&directory, "ca.pem", &other.pem);
    let (cert, key) = (file(&directory, "c.pem", &foreign.cert), file(&directory, "k.pem", &foreign.key));
    let args = ["--ssl-target", "--ssl-target-ca", &ca, "--ssl-target-cert", &cert];
    let server = Server::start(engine, &[&args[..], &["--ssl-target-key", &key, &address]].concat());
    assert!(!is_reached(&server));
    server.wait_line("end=target_refused detail=\"TLS: invalid peer certificate");

    std::fs::rename(file(&directory, "new.pem", &authority.pem), &ca).expect("it is ours");
    server.wait_line("tls renewed");
    assert!(!is_reached(&server), "now it is the target that trusts nobody of ours");
    server.wait_line("received fatal alert: ");

    std::fs::rename(file(&directory, "new.pem", &own.key), &key).expect("it is ours");
    std::fs::rename(file(&directory, "new.pem", &own.cert), &cert).expect("it is ours");
    server.wait_lines("tls renewed", 2);
    assert!(is_reached(&server));
    assert!(!server.log().contains("tls not renewed"), "{}", server.log());
    server.stop();
}

/// The name in the hello (RFC 6066 section 3), which has no place for addresses.
fn a_target_is_asked_for_by_name(engine: &str) {
    let (authority, directory) = (Authority::new(), TempDir::new());
    let ca = file(&directory, "ca.pem", &authority.pem);
    let own = authority.sign(&["localhost", "127.0.0.1", "desk.test"]);
    let (target, names) = authority.naming_target(&own);
    let port = target.address().port();
    let rows = [
        ("localhost", "", Some("localhost")),
        ("localhost", "desk.test", Some("desk.test")),
        ("127.0.0.1", "desk.test", Some("desk.test")),
        ("127.0.0.1", "", None),
        ("localhost", "127.0.0.1", None),
    ];
    for (host, name, asked) in rows {
        let target = format!("{host}:{port}");
        let args = ["--ssl-target", "--ssl-target-ca", &ca, "--ssl-target-name", name, &target];
        let server = Server::start(engine, &args);
        let client = server.client();
        assert_eq!(names.recv_timeout(PATIENCE), Ok(asked.map(str::to_owned)), "{host} {name}");
        client.leave();
        server.stop();
    }
    assert_eq!(names.try_recv(), Err(TryRecvError::Empty), "one connection each");
}
