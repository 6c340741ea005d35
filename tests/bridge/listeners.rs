//! Where clients come in: addresses and ports as written, Unix sockets, and what happens when binding fails.

use crate::support::client::{Handshake, WsClient};
use crate::support::on_both_engines;
use crate::support::server::{Server, run_to_end};
use crate::support::temp::TempDir;
use crate::support::wire::Wire;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;

on_both_engines!(
    port_zero_prints_the_real_port,
    all_interfaces,
    ipv6_listeners,
    bind_failures_are_one_line_and_status_1,
    unix_listener,
    unix_listener_modes,
    unix_listener_replaces_a_stale_socket_only,
    the_banner_comes_when_clients_can_connect,
);

/// A session over this wire works.
#[track_caller]
fn works(wire: Wire) {
    WsClient::open(wire, &Handshake::new()).leave();
}

fn port_zero_prints_the_real_port(engine: &str) {
    let server = Server::start(engine, &["--echo"]);
    assert_eq!(server.banner, format!("127.0.0.1:{}", server.port()));
    works(server.wire());
    let other = Server::start_on(engine, "localhost:0", &["--echo"]);
    assert_ne!(server.port(), other.port());
    works(Wire::tcp(other.address()));
    server.stop();
    other.stop();
}

fn all_interfaces(engine: &str) {
    for word in ["0", ":0"] {
        let server = Server::start_on(engine, word, &["--echo"]);
        assert_eq!(server.banner, format!(":{}", server.port()), "an empty host stays empty");
        works(Wire::tcp(server.address()));
        if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            works(Wire::tcp(server.address_at(Ipv6Addr::LOCALHOST.into())));
        }
        server.stop();
    }
}

fn ipv6_listeners(engine: &str) {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        eprintln!("skipped: no IPv6 here");
        return;
    }
    for word in ["[::1]:0", "::1:0"] {
        let server = Server::start_on(engine, word, &["--echo"]);
        assert_eq!(server.banner, format!("[::1]:{}", server.port()));
        works(Wire::tcp(server.address_at(IpAddr::from(Ipv6Addr::LOCALHOST))));
        server.stop();
    }
}

/// The program must fail with status 1, and the last line of its log must tell why.
#[track_caller]
fn expect_failure(engine: &str, args: &[&str], part: &str) {
    let args = [&["--engine", engine], args].concat();
    let (status, log) = run_to_end(&args);
    assert_eq!(status, Some(1), "{args:?}:\n{log}");
    let told: Vec<_> = log.lines().filter(|line| line.contains(part)).collect();
    assert_eq!(told.len(), 1, "{args:?}: one line with {part:?} is wanted:\n{log}");
    assert!(!log.contains("proxying from"), "{args:?}: launchers would believe that it runs:\n{log}");
    assert!(!log.contains("backtrace"), "{args:?}:\n{log}");
}

fn bind_failures_are_one_line_and_status_1(engine: &str) {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let address = taken.local_addr().expect("a bound socket has a name").to_string();
    expect_failure(engine, &[&address, "--echo"], &address);
    expect_failure(engine, &["no-such-host.invalid:0", "--echo"], "no-such-host.invalid");
    expect_failure(engine, &["192.0.2.1:0", "--echo"], "192.0.2.1");
    let dir = TempDir::new();
    let path = dir.arg("absent/listen.sock");
    expect_failure(engine, &["--unix-listen", &path, "--echo"], "absent/listen.sock:");
}

fn unix_listener(engine: &str) {
    let dir = TempDir::new();
    let path = dir.join("listen.sock");
    let server = Server::start_on(engine, "", &["--unix-listen", &dir.arg("listen.sock"), "--echo"]);
    assert_eq!(server.banner, dir.arg("listen.sock"));
    let kind = fs::symlink_metadata(&path).expect("the socket is there");
    assert!(kind.file_type().is_socket());
    assert_eq!(kind.permissions().mode() & 0o777, 0o600, "only its owner, unless told otherwise");
    let clients: Vec<_> = (0..10).map(|_| WsClient::open(Wire::unix(&path), &Handshake::new())).collect();
    clients.into_iter().for_each(WsClient::leave);
    server.stop();
    assert!(!path.exists(), "the socket is removed at exit");
}

fn unix_listener_modes(engine: &str) {
    let dir = TempDir::new();
    for mode in [0o600, 0o660, 0o666, 0o640] {
        let name = format!("{mode:o}.sock");
        let text = format!("{mode:o}");
        let args = ["--unix-listen", &dir.arg(&name), "--unix-listen-mode", &text, "--echo"];
        let server = Server::start_on(engine, "", &args);
        let permissions = fs::symlink_metadata(dir.join(&name)).expect("the socket is there").permissions();
        assert_eq!(permissions.mode() & 0o777, mode, "whatever the umask");
        works(Wire::unix(&dir.join(&name)));
        server.stop();
    }
}

fn unix_listener_replaces_a_stale_socket_only(engine: &str) {
    let dir = TempDir::new();
    let stale = dir.arg("stale.sock");
    drop(UnixListener::bind(&stale).expect("the directory is writable"));
    let server = Server::start_on(engine, "", &["--unix-listen", &stale, "--echo"]);
    works(Wire::unix(&dir.join("stale.sock")));
    // A second server must not take a living socket away from the first.
    expect_failure(engine, &["--unix-listen", &stale, "--echo"], "stale.sock:");
    works(Wire::unix(&dir.join("stale.sock")));
    server.stop();
    let file = dir.write("precious.txt", "precious");
    expect_failure(engine, &["--unix-listen", &dir.arg("precious.txt"), "--echo"], "precious.txt:");
    assert_eq!(fs::read(&file).expect("it is still there"), b"precious");
    fs::create_dir(dir.join("directory")).expect("the directory is writable");
    expect_failure(engine, &["--unix-listen", &dir.arg("directory"), "--echo"], "directory:");
    std::os::unix::fs::symlink(&file, dir.join("link")).expect("the directory is writable");
    expect_failure(engine, &["--unix-listen", &dir.arg("link"), "--echo"], "link:");
    assert!(file.exists() && dir.join("link").is_symlink(), "links and what they lead to are left alone");
}

fn the_banner_comes_when_clients_can_connect(engine: &str) {
    for _ in 0..5 {
        let server = Server::start_on(engine, ":0", &["localhost:1"]);
        let line = server.wait_line("proxying from");
        assert!(line.contains(&format!("proxying from :{} to localhost:1", server.port())), "{line}");
        WsClient::open(Wire::tcp(server.address()), &Handshake::new());
        server.stop();
    }
}
