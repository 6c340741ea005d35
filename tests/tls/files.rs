//! The files of TLS: complaints at start, and renewal without losing a client.

use crate::support::client::{Handshake, Message, WsClient};
use crate::support::frame::Frame;
use crate::support::on_both_engines;
use crate::support::server::{Server, run_to_end};
use crate::support::temp::TempDir;
use crate::support::tls::{Authority, VERSIONS, connection, file};
use crate::support::wire::soon;
use nix::sys::signal::Signal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

on_both_engines!(new_files_are_taken_up_and_broken_ones_are_not);

#[test]
fn wrong_files_are_one_line_and_status_1() {
    let (authority, directory) = (Authority::new(), TempDir::new());
    let (own, other) = (authority.sign(&["gateway.test"]), authority.sign(&["gateway.test"]));
    let cert = file(&directory, "cert.pem", &own.cert);
    let key = file(&directory, "key.pem", &own.key);
    let wrong = file(&directory, "wrong.pem", &other.key);
    let old = file(&directory, "old.pem", &authority.sign_until(&["gateway.test"], 2001).both());
    let text = file(&directory, "text.pem", "hello");
    let both = file(&directory, "both.pem", &own.both());
    let rows: [(&[&str], &str); 11] = [
        (&["--cert", "/nowhere/x.pem"], "certificate /nowhere/x.pem does not exist"),
        (&["--cert", &cert], "holds no private key"),
        (&["--cert", &cert, "--key", &wrong], "does not belong to certificate"),
        (&["--cert", &old], "expired on 2001"),
        (&["--cert", &text], "text.pem is not PEM"),
        (&["--cert", &key], "holds no certificate"),
        (&["--cert", &both, "--ssl-ciphers", "NULL-MD5"], "--ssl-ciphers: "),
        (&["--cert", &both, "--verify-client", "--cafile", &text], "CA file "),
        (&["--verify-client"], "--verify-client: self.pem not found"),
        (&["--ssl-target", "--ssl-target-ca", &text], "CA file "),
        (&["--ssl-target", "--ssl-target-name", "a b"], "--ssl-target-name: "),
    ];
    for (row, complaint) in rows {
        let args: Vec<&str> = row.iter().copied().chain(["127.0.0.1:0", "localhost:1"]).collect();
        let (status, said) = run_to_end(&args);
        assert_eq!(status, Some(1), "{row:?}: {said}");
        assert!(said.contains(complaint) && said.lines().count() == 1, "{row:?}: {said}");
    }
    let (status, said) = run_to_end(&["--ssl-only", "127.0.0.1:0", "localhost:1"]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.ends_with("error: SSL only and self.pem not found"), "{said}");
}

fn new_files_are_taken_up_and_broken_ones_are_not(engine: &str) {
    let (authority, directory) = (Authority::new(), TempDir::new());
    let (first, second) = (authority.sign(&["gateway.test"]), authority.sign(&["gateway.test"]));
    let cert = file(&directory, "own.pem", &first.both());
    let server = Server::start(engine, &["--cert", &cert, "--echo"]);
    let address = server.address();
    let open = || authority.client(&VERSIONS, None).wire(address, "gateway.test");
    let mut held = WsClient::open(open(), &Handshake::new());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = || {
            let mut sessions = 0;
            while !done.load(Ordering::Relaxed) {
                let mut client = WsClient::open(open(), &Handshake::new());
                client.send(&Frame::binary("x"));
                client.expect(&Message::Binary(b"x".into()));
                client.leave();
                sessions += 1;
            }
            sessions
        };
        let loads = [scope.spawn(load), scope.spawn(load)];
        std::fs::rename(file(&directory, "new.pem", &second.both()), &cert).expect("it is ours");
        let until = soon();
        let serves = |der| connection(&open()).peer_certificates().is_some_and(|chain| chain[0] == der);
        while !serves(second.der()) {
            assert!(Instant::now() < until, "the new certificate is not served");
        }
        done.store(true, Ordering::Relaxed);
        let sessions: u32 = loads.map(|load| load.join().expect("no session fails")).iter().sum();
        assert!(sessions > 0);
    });
    server.wait_line("tls renewed");
    held.send(&Frame::binary("still here"));
    held.expect(&Message::Binary(b"still here".into()));

    std::fs::write(&cert, "nonsense").expect("it is ours");
    server.signal(Signal::SIGHUP);
    server.wait_line("tls not renewed, what was there stays: error=\"certificate ");
    assert_eq!(connection(&open()).peer_certificates().map(|chain| &chain[0]), Some(&second.der()));
    held.leave();
    server.stop();
}
