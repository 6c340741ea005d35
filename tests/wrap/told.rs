//! Programs that can be told where to listen: `{port}`, `{unix_socket}` and `--unix-target`.

use super::program::{carries, dynamic, number, wrapping};
use crate::support::client::{Handshake, WsClient};
use crate::support::server::{self, Server};
use crate::support::temp::TempDir;
use crate::support::wire::Wire;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

#[test]
fn a_port() {
    let server = wrapping(&[], dynamic(), &["{port}"]);
    server.wait_line(&format!("bound 0.0.0.0 {}", number(&server, "(port ")));
    carries(&server);
    server.stop();
}

#[test]
fn a_unix_socket_in_a_directory_of_this_user_alone() {
    let server = wrapping(&[], dynamic(), &["1", "unix={unix_socket}"]);
    carries(&server);
    let line = server.wait_line("bound /");
    let socket = Path::new(line.split_once(' ').expect("it was waited for").1);
    let directory = socket.parent().expect("it is absolute");
    assert_eq!(directory.metadata().expect("it is there").permissions().mode() & 0o777, 0o700);
    server.wait_line(&format!("to '{} 1 unix={{unix_socket}}' ({})", dynamic(), socket.display()));
    let directory = directory.to_owned();
    server.stop();
    assert!(!directory.exists(), "{} is left", directory.display());
}

#[test]
fn a_unix_target_that_the_program_knows() {
    let place = TempDir::new();
    let socket = place.path().join("s").display().to_string();
    let target = format!("--unix-target={socket}");
    for word in [format!("unix={socket}"), "unix={unix_socket}".to_owned()] {
        let server = wrapping(&[&target], dynamic(), &["1", &word]);
        server.wait_line("told old=- new=-");
        server.wait_line(&format!("bound {socket}"));
        carries(&server);
        server.stop();
        std::fs::remove_file(&socket).expect("the program left it");
    }
}

#[test]
fn behind_inetd() {
    for words in [["{port}", "4"], ["1", "unix={unix_socket}"]] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let all = [&["-v", "--inetd", "--", dynamic()], &words[..]].concat();
        let server = Server::launch_on(OwnedFd::from(listener), server::program(), &all);
        server.wait_line("serving as");
        let mut client = WsClient::open(Wire::tcp(address), &Handshake::new());
        assert_eq!(client.expect_stream(6), b"hello ");
        client.leave();
        server.stop();
    }
}

#[test]
fn behind_a_unix_listener() {
    let place = TempDir::new();
    let front = place.path().join("front");
    let listen = format!("--unix-listen={}", front.display());
    for words in [["{port}", "4"], ["1", "unix={unix_socket}"]] {
        let all = [&["-v", &listen, "--", dynamic()], &words[..]].concat();
        let server = Server::start_on("auto", "", &all);
        server.wait_line("serving as");
        let mut client = WsClient::open(Wire::unix(&front), &Handshake::new());
        assert_eq!(client.expect_stream(6), b"hello ");
        client.leave();
        server.stop();
    }
}

#[test]
fn the_interposer_goes_with_the_server() {
    let server = wrapping(&["--wrap-bind=preload"], "sh", &["-c", r#"echo "at $LD_PRELOAD" >&2; sleep 60"#]);
    let line = server.wait_line("at /");
    let file = Path::new(line.split_once(' ').expect("it was waited for").1).to_owned();
    drop(server);
    super::program::until("it is removed", || !file.parent().is_some_and(Path::exists));
}
