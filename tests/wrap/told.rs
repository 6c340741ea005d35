//! Programs that can be told where to listen: `{port}`, `{unix_socket}` and `--unix-target`.

use super::program::{carries, dynamic, number, wrapping};
use crate::support::client::{Handshake, WsClient};
use crate::support::server::{Server, program};
use crate::support::temp::TempDir;
use crate::support::wire::{PATIENCE, Wire};
use nix::sys::signal::Signal;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

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
        let server = Server::launch_on(OwnedFd::from(listener), program(), &all);
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

/// A server that is killed between two starts of its program has nobody who tidies up: the next server does.
#[test]
fn what_a_killed_server_has_left_is_removed_by_the_next() {
    let words = ["-c", r#"echo "at $LD_PRELOAD" >&2; exit 1"#];
    let mut server = wrapping(&["--wrap-bind=preload", "--wrap-mode=respawn"], "sh", &words);
    // The third start comes a while after the second.
    server.wait_lines("Returned 1", 2);
    let line = server.wait_line("at /");
    let library = Path::new(line.strip_prefix("at ").expect("the line").split(':').next().expect("a first"));
    let directory = library.parent().expect("it lies in a directory").to_owned();
    assert!(
        directory.file_name().is_some_and(|name| name.to_string_lossy().starts_with("websplice-")),
        "{line}"
    );
    server.signal(Signal::SIGKILL);
    server.wait_exit(PATIENCE);
    let next = wrapping(&["--wrap-bind=preload"], "sh", &["-c", "sleep 60"]);
    assert!(!directory.exists(), "{}", directory.display());
    next.stop();
}

/// The program is not to blame for what its server lacks.
#[test]
fn a_missing_proc_is_named() {
    let script = r#"mount --make-rprivate / && umount -l /proc && exec "$0" "$@""#;
    for (check, status) in [(&[][..], 1), (&["--check"], 78)] {
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", script]).arg(program()).args(check);
        let said = command.args(["127.0.0.1:0", "--", "sleep", "60"]).output().expect("unshare is installed");
        let said = (said.status.code(), String::from_utf8_lossy(&said.stderr).into_owned());
        if said.1.contains("unshare: ") || said.1.contains("mount: ") {
            eprintln!("skipped: {}", said.1);
            return;
        }
        let part = "-- COMMAND: /proc/self/exe: No such file or directory (os error 2); mount /proc";
        assert!(said.0 == Some(status) && said.1.contains(part) && said.1.lines().count() == 1, "{said:?}");
    }
}
