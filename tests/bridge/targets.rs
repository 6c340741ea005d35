//! The kinds of targets: how they are named, dialled and reached.

use crate::support::client::{Handshake, Message, WsClient};
use crate::support::frame::Frame;
use crate::support::on_both_engines;
use crate::support::server::{Server, program};
use crate::support::target::{TcpTarget, unix_echo, unix_echo_at};
use crate::support::temp::TempDir;
use crate::support::wire::Wire;
use socket2::{Domain, SockAddr, Socket, Type};
use std::net::{Ipv6Addr, TcpListener};
use std::path::Path;

on_both_engines!(
    tcp_names_and_addresses,
    ipv6_literals,
    every_address_of_a_name_is_tried,
    unix_files,
    unix_files_that_are_missing,
    percent_signs_in_names_are_letters_like_others,
    abstract_sockets,
    echo_by_name,
    one_connection_for_each_session,
    nothing_is_dialled_for_a_refused_request,
);

/// Opens a session, sends something and sees it come back.
#[track_caller]
fn works(server: &Server) {
    let mut client = server.client();
    client.send(&Frame::binary("there and back"));
    assert_eq!(client.expect_stream(14), b"there and back");
    client.leave();
}

fn tcp_names_and_addresses(engine: &str) {
    let target = TcpTarget::echo();
    let port = target.address().port();
    for name in [format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!(":{port}")] {
        let server = Server::to(engine, &name);
        server.wait_line(&format!("to {name}"));
        works(&server);
        server.stop();
    }
}

fn has_ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

fn ipv6_literals(engine: &str) {
    if !has_ipv6() {
        eprintln!("skipped: no IPv6 here");
        return;
    }
    let target = TcpTarget::on("[::1]:0", |stream| {
        let mut from = &stream;
        let _ = std::io::copy(&mut from, &mut &stream);
    });
    let port = target.address().port();
    for name in [format!("[::1]:{port}"), format!("::1:{port}")] {
        let server = Server::to(engine, &name);
        works(&server);
        server.stop();
    }
}

/// `localhost` is usually both ::1 and 127.0.0.1; the target listens on the second only.
fn every_address_of_a_name_is_tried(engine: &str) {
    let target = TcpTarget::echo();
    let server = Server::start(engine, &["-6", &format!("localhost:{}", target.address().port())]);
    works(&server);
    server.stop();
}

fn unix_files(engine: &str) {
    let dir = TempDir::new();
    unix_echo_at(&dir.join("target.sock"));
    let path = dir.arg("target.sock");
    for option in [vec!["--unix-target", &path], vec![&format!("--unix-target={path}")]] {
        let server = Server::start(engine, &option);
        server.wait_line(&format!("to {path}"));
        works(&server);
        server.stop();
    }
}

/// A path and a command go through the banner and the log of every session; no part of them is a form for values.
fn percent_signs_in_names_are_letters_like_others(engine: &str) {
    let dir = TempDir::new();
    let (here, there) = (dir.arg("here-%s-%n-{}-%%.sock"), dir.arg("there-%d-%(x)s-{0}.sock"));
    unix_echo_at(Path::new(&there));
    std::fs::create_dir(dir.join("web-%x")).expect("it is ours");
    let web = dir.arg("web-%x");
    let words = ["-v", "--unix-listen", &here, "--unix-target", &there, "--web", &web];
    let server = Server::start_on(engine, "", &words);
    server.wait_line(&format!("  - Listen on unix socket {here}"));
    server.wait_line(&format!("  - Web server (no directory listings). Web root: {web}"));
    server.wait_line(&format!("  - proxying from {here} to {there}"));
    let mut client = WsClient::open(Wire::unix(Path::new(&here)), &Handshake::new());
    client.send(&Frame::binary("there and back"));
    assert_eq!(client.expect_stream(14), b"there and back");
    client.leave();
    server.wait_line(&format!("target=\"{there}\""));
    server.stop();
    let script = "exec sleep 60 # %s %n %(pid)d {0}";
    let words = ["--wrap-bind=none", "127.0.0.1:0", "--", "sh", "-c", script];
    let server = Server::launch(program(), &[&["--engine", engine], &words[..]].concat());
    server.wait_line(&format!("to 'sh -c {script}' (port "));
    server.wait_line(&format!("Starting 'sh -c {script}'"));
    server.stop();
}

fn unix_files_that_are_missing(engine: &str) {
    let dir = TempDir::new();
    dir.write("plain", "a regular file");
    for name in ["absent.sock", "plain"] {
        let server = Server::start(engine, &["--unix-target", &dir.arg(name)]);
        let mut client = server.client();
        assert_eq!(client.expect_close(1011), "Failed to connect to downstream server", "{name}");
        client.answer_close(1011);
        server.stop();
    }
    // It appears while the server runs, and then it works.
    let server = Server::start(engine, &["--unix-target", &dir.arg("late.sock")]);
    server.client().expect_close(1011);
    unix_echo_at(&dir.join("late.sock"));
    works(&server);
    server.stop();
}

fn abstract_sockets(engine: &str) {
    let name = format!("websplice-{engine}-{}", std::process::id());
    let address = SockAddr::unix(format!("\0{name}")).expect("the name is short");
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a descriptor is free");
    socket.bind(&address).expect("the name is free");
    socket.listen(16).expect("it is bound");
    unix_echo(socket.into());
    let server = Server::start(engine, &["--unix-target", &format!("@{name}")]);
    works(&server);
    server.stop();
}

fn echo_by_name(engine: &str) {
    let server = Server::to(engine, "echo://");
    let mut client = WsClient::open(server.wire(), &Handshake::new());
    client.send_all(&[Frame::text("text"), Frame::binary("binary"), Frame::text("")]);
    client.expect(&Message::Text(b"text".to_vec()));
    client.expect(&Message::Binary(b"binary".to_vec()));
    client.expect(&Message::Text(Vec::new()));
    client.leave();
    server.stop();
}

fn one_connection_for_each_session(engine: &str) {
    let target = TcpTarget::echo();
    let server = Server::to(engine, &target);
    for _ in 0..20 {
        works(&server);
    }
    assert_eq!(target.accepted(), 20);
    server.stop();
}

fn nothing_is_dialled_for_a_refused_request(engine: &str) {
    let target = TcpTarget::echo();
    let server = Server::to(engine, &target);
    for handshake in [
        Handshake::new().without("Sec-WebSocket-Key"),
        Handshake::new().set("Sec-WebSocket-Version", "12"),
        Handshake::new().without("Upgrade"),
        Handshake::new().start("POST / HTTP/1.1"),
    ] {
        let mut http = server.http();
        let response = http.send(handshake.bytes()).response();
        assert!(response.status >= 400, "{handshake:?}: {response:?}");
    }
    works(&server);
    assert_eq!(target.accepted(), 1, "only the last request may reach the target");
    server.stop();
}
