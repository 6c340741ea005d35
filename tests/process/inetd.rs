//! `--inetd`: standard input is a listening socket, or one client; TCP over IPv4 and IPv6, and Unix.

use crate::support::client::{Handshake, WsClient};
use crate::support::frame::Frame;
use crate::support::on_both_engines;
use crate::support::server::{Server, program};
use crate::support::temp::TempDir;
use crate::support::wire::{PATIENCE, Wire};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};

on_both_engines!(
    a_listening_tcp_socket,
    a_listening_unix_socket,
    one_client_over_tcp,
    one_client_over_a_unix_socket,
    one_client_that_asks_for_pages,
    a_client_is_never_sent_a_log_line,
    a_lent_listener_serves_again,
    signals_reach_the_one_client,
    sockets_of_a_service_manager,
    sockets_of_a_service_manager_go_no_further,
);

#[track_caller]
fn start(engine: &str, input: impl Into<OwnedFd>) -> Server {
    let server = Server::launch_on(
        input.into(),
        program(),
        &["--engine", engine, "--inetd", "--echo", "--threads", "2"],
    );
    assert_eq!(server.banner, "inetd");
    server.wait_line("  - Listen for inetd connections");
    server
}

#[track_caller]
fn there_and_back(wire: Wire) -> WsClient {
    let mut client = WsClient::open(wire, &Handshake::new());
    client.send(&Frame::binary("there and back"));
    assert_eq!(client.expect_stream(14), b"there and back");
    client
}

/// Listeners of every family of TCP that there is here.
fn listeners() -> Vec<TcpListener> {
    let ipv6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0));
    if ipv6.is_err() {
        eprintln!("skipped: no IPv6 here");
    }
    let ipv4 = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    std::iter::once(ipv4).chain(ipv6).collect()
}

fn a_listening_tcp_socket(engine: &str) {
    for listener in listeners() {
        let address = listener.local_addr().expect("it is bound");
        let server = start(engine, listener);
        let clients: Vec<_> = (0..10).map(|_| there_and_back(Wire::tcp(address))).collect();
        clients.into_iter().for_each(WsClient::leave);
        let shown = SocketAddr::new(address.ip(), 0).to_string();
        server.wait_line(&format!(" client={}", shown.trim_end_matches('0')));
        server.stop();
    }
}

fn a_listening_unix_socket(engine: &str) {
    let dir = TempDir::new();
    let path = dir.join("lent.sock");
    let server = start(engine, UnixListener::bind(&path).expect("the directory is writable"));
    let clients: Vec<_> = (0..10).map(|_| there_and_back(Wire::unix(&path))).collect();
    clients.into_iter().for_each(WsClient::leave);
    server.stop();
    assert!(path.exists(), "it belongs to whoever lent it");
}

/// The server must end by itself, well, as soon as its one client has gone.
#[track_caller]
fn ends(mut server: Server) {
    let status = server.wait_exit(PATIENCE);
    assert_eq!(status.code(), Some(0), "{}", server.log());
}

/// Both ends of a connection.
fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let near = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
    (near, listener.accept().expect("it was connected").0)
}

fn one_client_over_tcp(engine: &str) {
    for listener in listeners() {
        let (near, far) = pair(&listener);
        let address = near.local_addr().expect("it is connected");
        let server = start(engine, far);
        there_and_back(Wire::Tcp(near)).leave();
        let line = server.wait_line("end=client_closed");
        assert!(line.contains(&format!("client={address} ")), "{line}");
        ends(server);
    }
}

fn one_client_over_a_unix_socket(engine: &str) {
    let (near, far) = UnixStream::pair().expect("a pair is to be had");
    let server = start(engine, far);
    there_and_back(Wire::Unix(near)).leave();
    ends(server);
}

fn one_client_that_asks_for_pages(engine: &str) {
    let (near, far) = UnixStream::pair().expect("a pair is to be had");
    let server = start(engine, far);
    let mut http = crate::support::http::HttpClient::new(Wire::Unix(near));
    assert_eq!(http.get("/", "").status, 405);
    drop(http);
    ends(server);
}

/// inetd makes the client standard output and error too.
fn a_client_is_never_sent_a_log_line(engine: &str) {
    let (near, far) = UnixStream::pair().expect("a pair is to be had");
    let twin = || Stdio::from(OwnedFd::from(far.try_clone().expect("a descriptor is free")));
    let dir = TempDir::new();
    let mut child = Command::new(program())
        .args(["--engine", engine, "-v", "--inetd", "--echo"])
        .current_dir(dir.path())
        .stdin(twin())
        .stdout(twin())
        .stderr(twin())
        .spawn()
        .expect("it starts");
    drop(far);
    let client = there_and_back(Wire::Unix(near));
    // Its end, and nothing before it.
    client.leave();
    assert_eq!(child.wait().expect("it is ours").code(), Some(0));
}

fn a_lent_listener_serves_again(engine: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    for _ in 0..3 {
        let server = start(engine, listener.try_clone().expect("a descriptor is free"));
        there_and_back(Wire::tcp(address)).leave();
        server.stop();
    }
    // Who comes while nobody serves is served by the next.
    let waiting = Wire::tcp(address);
    let server = start(engine, listener);
    there_and_back(waiting).leave();
    server.stop();
}

fn signals_reach_the_one_client(engine: &str) {
    let (near, far) = UnixStream::pair().expect("a pair is to be had");
    let server = start(engine, far);
    let mut client = there_and_back(Wire::Unix(near));
    server.signal(nix::sys::signal::Signal::SIGTERM);
    client.expect_close(1001);
    client.answer_close(1001);
    ends(server);
}

/// A shell's words that put standard input where systemd puts its sockets, and say for whom that is.
fn hand_over(pid: &str) -> String {
    format!("LISTEN_PID={pid} LISTEN_FDS=1 exec \"$0\" \"$@\" 3<&0 </dev/null")
}

fn sockets_of_a_service_manager(engine: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let program = program();
    let program = program.to_str().expect("its path is plain");
    for _ in 0..2 {
        let lent = OwnedFd::from(listener.try_clone().expect("a descriptor is free"));
        let words = ["-c", &hand_over("$$"), program, "--engine", engine, "--inetd", "--echo"];
        let server = Server::launch_on(lent, "sh", &words);
        assert_eq!(server.banner, "inetd");
        there_and_back(Wire::tcp(address)).leave();
        server.stop();
    }
    // What is meant for somebody else is left alone.
    let said = Command::new("sh")
        .args(["-c", &hand_over("1"), program, "--engine", engine, "--inetd", "--echo"])
        .current_dir(TempDir::new().path())
        .stdin(OwnedFd::from(listener))
        .output()
        .expect("there is a shell");
    let log = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.code() == Some(1) && log.contains("standard input: no socket; "), "{log}");
}

fn sockets_of_a_service_manager_go_no_further(engine: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let program = program();
    let program = program.to_str().expect("its path is plain");
    let script = r#"echo "has $(ls -l /proc/$$/fd | grep -c socket:) sockets, ${LISTEN_FDS-no} ${LISTEN_PID-word}" >&2
                    read line < "$0""#;
    let dir = TempDir::new();
    nix::unistd::mkfifo(&dir.join("fifo"), nix::sys::stat::Mode::S_IRWXU).expect("the directory is ours");
    let target = format!("--unix-target={}", dir.arg("absent"));
    let words = ["-c", &hand_over("$$"), program, "--engine", engine, "--inetd", &target];
    let fifo = dir.arg("fifo");
    let words = [&words[..], &["--", "sh", "-c", script, &fifo]].concat();
    let server = Server::launch_on(OwnedFd::from(listener), "sh", &words);
    server.wait_line("has 0 sockets, no word");
    server.stop();
}

/// Beside the engines: none is needed to see that nothing is there.
#[test]
fn what_is_no_socket_is_refused_in_one_line() {
    for (input, word) in [
        (Stdio::null(), "Opening socket failed: --inetd: standard input: no socket; "),
        (
            Stdio::from(OwnedFd::from(std::net::UdpSocket::bind("127.0.0.1:0").expect("a port is free"))),
            "Opening socket failed: --inetd: standard input: not a stream socket",
        ),
    ] {
        let said = Command::new(program())
            .args(["--inetd", "--echo"])
            .current_dir(TempDir::new().path())
            .stdin(input)
            .output()
            .expect("it starts");
        let log = String::from_utf8_lossy(&said.stderr);
        assert_eq!(said.status.code(), Some(1), "{log}");
        assert!(log.lines().count() == 1 && log.contains(word), "{log}");
    }
}
