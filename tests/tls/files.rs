//! The files of TLS: complaints at start, and renewal without losing a client.

use crate::support::client::{Handshake, Message, WsClient};
use crate::support::frame::Frame;
use crate::support::on_both_engines;
use crate::support::server::{Server, run_to_end};
use crate::support::temp::TempDir;
use crate::support::tls::{Authority, Signed, VERSIONS, connection, file};
use crate::support::wire::{Inbox, soon};
use nix::sys::signal::Signal;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

on_both_engines!(
    new_files_are_taken_up_and_broken_ones_are_not,
    a_certificate_may_come_when_the_server_runs,
    broken_files_count_until_they_are_mended,
    a_swapped_directory_link_is_taken_up,
);

/// How soon a changed file must be in use.
const PICK_UP: Duration = Duration::from_secs(2);

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
    let beyond = format!("{both}/cert.pem");
    let rows: [(&[&str], &str); 13] = [
        (&["--cert", "/nowhere/x.pem"], "certificate /nowhere/x.pem does not exist"),
        (&["--cert", &beyond], "cert.pem cannot be read: Not a directory"),
        (&["--ssl-target", "--ssl-target-ca", &beyond], "cert.pem cannot be read: Not a directory"),
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
    assert!(
        said.contains("error: SSL only and self.pem not found: make it, or name another with --cert"),
        "{said}"
    );
}

/// A self.pem beside the sources would be found by every server that is started there.
#[test]
fn servers_under_test_run_in_empty_directories() {
    let (one, two) = (Server::echo("poll"), Server::echo("poll"));
    for server in [&one, &two] {
        let runs_in = std::fs::read_link(format!("/proc/{}/cwd", server.pid())).expect("it runs");
        assert_eq!(runs_in, server.directory().path());
        assert_ne!(runs_in, std::env::current_dir().expect("it is there"));
        assert_eq!(std::fs::read_dir(runs_in).expect("it is there").count(), 0);
        assert!(server.log().contains("No SSL/TLS support"), "{}", server.log());
    }
    assert_ne!(one.directory().path(), two.directory().path());
    one.stop();
    two.stop();
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
        is_served_soon(&authority, address, &second);
        done.store(true, Ordering::Relaxed);
        let sessions: u32 = loads.map(|load| load.join().expect("no session fails")).iter().sum();
        assert!(sessions > 0);
    });
    server.wait_line("tls renewed");
    held.send(&Frame::binary("still here"));
    held.expect(&Message::Binary(b"still here".into()));

    std::fs::write(&cert, "nonsense").expect("it is ours");
    server.signal(Signal::SIGHUP);
    server.wait_line("tls not renewed, what was there stays: error=\"--cert: certificate ");
    assert_eq!(connection(&open()).peer_certificates().map(|chain| &chain[0]), Some(&second.der()));
    held.leave();
    server.stop();
}

/// As with websockify, which looks for it whenever a client speaks TLS.
fn a_certificate_may_come_when_the_server_runs(engine: &str) {
    let authority = Authority::new();
    let own = authority.sign(&["gateway.test"]);
    let server = Server::start(engine, &["--echo"]);
    let mut held = server.client();
    let mut hello = server.wire();
    hello.write_chopped(b"\x16\x03\x01", 0).expect("it is taken");
    Inbox::new(hello).end(soon()).expect("there is no TLS yet");
    server.wait_line("end=no_certificate");
    server.signal(Signal::SIGHUP);
    let new = file(server.directory(), "new.pem", &own.both());
    std::fs::rename(new, server.directory().join("self.pem")).expect("it is ours");
    server.wait_line("tls renewed");
    assert_eq!(server.log().matches(" tls ").count(), 1, "nothing else is told:\n{}", server.log());
    let wire = authority.client(&VERSIONS, None).wire(server.address(), "gateway.test");
    assert_eq!(connection(&wire).peer_certificates().map(|chain| &chain[0]), Some(&own.der()));
    WsClient::open(wire, &Handshake::new()).leave();
    held.send(&Frame::binary("plain clients go on"));
    held.expect(&Message::Binary(b"plain clients go on".into()));
    held.leave();
    server.client().leave();
    server.stop();
}

/// Waits until new clients get `own`, which has just been put in its place.
#[track_caller]
fn is_served_soon(authority: &Authority, address: SocketAddr, own: &Signed) {
    let changed = Instant::now();
    while !serves(authority, address, own) {
        assert!(changed.elapsed() < PICK_UP, "the new certificate is not served after {PICK_UP:?}");
    }
}

fn serves(authority: &Authority, address: SocketAddr, own: &Signed) -> bool {
    let wire = authority.client(&VERSIONS, None).wire(address, "gateway.test");
    connection(&wire).peer_certificates().map(|chain| &chain[0]) == Some(&own.der())
}

/// Asks for the numbers and waits for the `turn`-th answer.
#[track_caller]
fn expect_numbers(server: &Server, turn: usize, numbers: &str) {
    server.signal(Signal::SIGQUIT);
    let told = server.wait_lines("report tls_", turn);
    assert!(told[turn - 1].ends_with(numbers), "{} instead of {numbers}", told[turn - 1]);
}

fn broken_files_count_until_they_are_mended(engine: &str) {
    let (authority, directory) = (Authority::new(), TempDir::new());
    let (first, second) = (authority.sign(&["gateway.test"]), authority.sign(&["gateway.test"]));
    let cert = file(&directory, "own.pem", &first.both());
    let server = Server::start(engine, &["--cert", &cert, "--echo"]);
    let renew = |turn, line| {
        server.signal(Signal::SIGHUP);
        server.wait_lines(line, turn);
    };
    expect_numbers(&server, 1, "tls_renewals=0 tls_renewals_failed=0 tls_stale=0");

    // Found by looking, as after a broken copy; nobody sends a signal.
    std::fs::write(&cert, &second.cert).expect("it is ours");
    let said = server.wait_line("tls not renewed, what was there stays: error=");
    assert!(said.contains(" error tls ") && said.contains("own.pem holds no private key"), "{said}");
    expect_numbers(&server, 2, "tls_renewals=0 tls_renewals_failed=1 tls_stale=1");
    renew(2, "tls not renewed");
    expect_numbers(&server, 3, "tls_renewals=0 tls_renewals_failed=2 tls_stale=1");
    assert!(serves(&authority, server.address(), &first));

    std::fs::write(&cert, second.both()).expect("it is ours");
    is_served_soon(&authority, server.address(), &second);
    server.wait_line("tls renewed");
    expect_numbers(&server, 4, "tls_renewals=1 tls_renewals_failed=2 tls_stale=0");
    server.stop();
}

/// As two commands in a row, or one copy over a slow network, leave them.
#[test]
fn a_key_that_comes_after_its_certificate_is_no_failure() {
    const GAP: Duration = Duration::from_millis(300);
    let (authority, directory) = (Authority::new(), TempDir::new());
    let own = authority.sign(&["gateway.test"]);
    let (cert, key) = (file(&directory, "c.pem", &own.cert), file(&directory, "k.pem", &own.key));
    let server = Server::start("auto", &["--cert", &cert, "--key", &key, "--echo"]);
    // Most looks miss the gap; one of these is likely to be in it.
    for turn in 1..=4 {
        let own = authority.sign(&["gateway.test"]);
        std::fs::write(&cert, &own.cert).expect("it is ours");
        std::thread::sleep(GAP);
        std::fs::write(&key, &own.key).expect("it is ours");
        is_served_soon(&authority, server.address(), &own);
        server.wait_lines("tls renewed", turn);
        let numbers = format!("tls_renewals={turn} tls_renewals_failed=0 tls_stale=0");
        expect_numbers(&server, turn, &numbers);
    }
    assert!(!server.log().contains("tls not renewed"), "{}", server.log());
    server.stop();
}

/// As Kubernetes renews a mounted secret: files are links through a directory that is itself a link, and only that is
/// swapped. Certificate and key thus change in one step.
fn a_swapped_directory_link_is_taken_up(engine: &str) {
    let (authority, directory) = (Authority::new(), TempDir::new());
    let (first, second) = (authority.sign(&["gateway.test"]), authority.sign(&["gateway.test"]));
    for (place, own) in [("..2026_01", &first), ("..2026_02", &second)] {
        std::fs::create_dir(directory.join(place)).expect("it is ours");
        file(&directory, &format!("{place}/tls.crt"), &own.cert);
        file(&directory, &format!("{place}/tls.key"), &own.key);
    }
    let link = |to: &str, name: &str| symlink(to, directory.join(name)).expect("it is ours");
    link("..2026_01", "..data");
    link("..data/tls.crt", "tls.crt");
    link("..data/tls.key", "tls.key");
    let (cert, key) = (directory.arg("tls.crt"), directory.arg("tls.key"));
    let server = Server::start(engine, &["--cert", &cert, "--key", &key, "--echo"]);
    assert!(serves(&authority, server.address(), &first));
    let held = authority.client(&VERSIONS, None).wire(server.address(), "gateway.test");
    let mut held = WsClient::open(held, &Handshake::new());

    link("..2026_02", "..data_tmp");
    std::fs::rename(directory.join("..data_tmp"), directory.join("..data")).expect("it is ours");
    is_served_soon(&authority, server.address(), &second);
    server.wait_line("tls renewed");
    expect_numbers(&server, 1, "tls_renewals=1 tls_renewals_failed=0 tls_stale=0");
    held.send(&Frame::binary("still here"));
    held.expect(&Message::Binary(b"still here".into()));
    held.leave();
    server.stop();
}
