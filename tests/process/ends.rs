//! Ends that nobody has to ask for: `--run-once`, `--timeout`, `--idle-timeout`, all with status 0.

use crate::support::client::{Handshake, WsClient};
use crate::support::frame::Frame;
use crate::support::on_both_engines;
use crate::support::server::{Server, program, run_to_end};
use crate::support::temp::TempDir;
use crate::support::wire::{Fault, Inbox, PATIENCE, Wire, soon};
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

on_both_engines!(
    once_counts_only_what_became_a_websocket,
    once_counts_a_target_that_refused,
    once_turns_away_who_still_waits,
    once_on_a_unix_socket,
    once_is_not_held_up_by_silence,
    a_timeout_lets_nobody_in_and_sessions_go_on,
    a_timeout_loses_nobody_at_a_lent_listener,
    a_timeout_ends_an_idle_server,
    a_negative_timeout_ends_it_at_once,
    an_idle_timeout_waits_for_sessions,
    an_idle_timeout_ends_an_unused_server,
);

/// How long one look at a client or at the server takes.
const LOOK: Duration = Duration::from_millis(1);

/// It must end by itself with status 0, and say so.
#[track_caller]
fn expect_end(mut server: Server, word: &str) {
    let status = server.wait_exit(PATIENCE);
    assert_eq!(status.code(), Some(0), "{}", server.log());
    let log = server.log();
    let told: Vec<_> = log.lines().filter(|line| line.contains("exit")).collect();
    assert!(told.len() == 1 && told[0].ends_with(word), "one line with {word:?} is wanted:\n{log}");
}

fn once_counts_only_what_became_a_websocket(engine: &str) {
    let dir = TempDir::new();
    dir.write("page.html", "hello");
    let server = Server::start(engine, &["--run-once", "--echo", "--web", &dir.arg("")]);
    let page = server.http().get("/page.html", "");
    assert!(page.status == 200 && page.closes(), "the next client is not kept waiting: {page:?}");
    assert_eq!(server.http().get("/missing.html", "").status, 404);
    let failed = WsClient::try_open(server.wire(), &Handshake::new().set("Sec-WebSocket-Version", "9"));
    assert!(failed.is_err());
    let mut client = server.client();
    client.send(&Frame::binary("served"));
    assert_eq!(client.expect_stream(6), b"served");
    client.leave();
    expect_end(server, " 127.0.0.1: exiting due to --run-once");
}

fn once_counts_a_target_that_refused(engine: &str) {
    let server = Server::start(engine, &["--run-once", "127.0.0.1:1"]);
    let mut client = server.client();
    client.expect_close(1011);
    client.answer_close(1011);
    expect_end(server, " 127.0.0.1: exiting due to --run-once");
}

fn once_turns_away_who_still_waits(engine: &str) {
    let server = Server::start(engine, &["--run-once", "--threads", "2", "--echo"]);
    let first = server.client();
    let mut others: Vec<_> = (0..5).map(|_| server.http()).collect();
    for other in &mut others {
        other.send(Handshake::new().bytes());
    }
    first.leave();
    for other in &mut others {
        match other.inbox.take(1, soon()) {
            Err(Fault::Broken(_) | Fault::Ended(0)) => {}
            answer => panic!("nobody else is served: {answer:?}"),
        }
    }
    expect_end(server, " 127.0.0.1: exiting due to --run-once");
}

fn once_on_a_unix_socket(engine: &str) {
    let dir = TempDir::new();
    let path = dir.arg("once.sock");
    let server = Server::start_on(engine, "", &["--unix-listen", &path, "--run-once", "--echo"]);
    WsClient::open(Wire::unix(&dir.join("once.sock")), &Handshake::new()).leave();
    expect_end(server, " unix: exiting due to --run-once");
    assert!(!dir.join("once.sock").exists());
}

/// Waits until nobody is let in: nothing else tells when.
#[track_caller]
fn refused(address: SocketAddr) {
    let until = soon();
    loop {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return,
            Err(error) => panic!("{error}"),
            Ok(_) => assert!(Instant::now() < until, "{address} still takes clients"),
        }
        sleep(Duration::from_millis(5));
    }
}

/// Who connects and says nothing is gone after three seconds, on TCP as on a Unix socket, however much time a head has.
fn once_is_not_held_up_by_silence(engine: &str) {
    let dir = TempDir::new();
    let path = dir.arg("silence.sock");
    let words = ["--run-once", "--echo", "--head-timeout=5m"];
    let unix = Server::start_on(engine, "", &[&["--unix-listen", &path], &words[..]].concat());
    let tcp = Server::start(engine, &words);
    let wires: [&dyn Fn() -> Wire; 2] = [&|| tcp.wire(), &|| Wire::unix(&dir.join("silence.sock"))];
    for wire in wires {
        let (began, silent) = (Instant::now(), wire());
        WsClient::open(wire(), &Handshake::new()).leave();
        assert!(began.elapsed() >= Duration::from_millis(2_500), "{:?}", began.elapsed());
        Inbox::new(silent).end(soon()).expect("it is closed without a word");
    }
    expect_end(tcp, " 127.0.0.1: exiting due to --run-once");
    expect_end(unix, " unix: exiting due to --run-once");
}

fn a_timeout_lets_nobody_in_and_sessions_go_on(engine: &str) {
    let server = Server::start(engine, &["--timeout=1", "--threads", "2", "--echo"]);
    let mut clients: Vec<_> = (0..8).map(|_| server.client()).collect();
    server.wait_line("listener exit due to --timeout 1");
    refused(server.address());
    for client in &mut clients {
        client.send(&Frame::binary("still here"));
        assert_eq!(client.expect_stream(10), b"still here");
    }
    clients.into_iter().for_each(WsClient::leave);
    expect_end(server, " info listener exit due to --timeout 1");
}

/// Clients come all the time. Each is served, or left to whoever listens next; none is accepted and dropped.
fn a_timeout_loses_nobody_at_a_lent_listener(engine: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let input: OwnedFd = listener.try_clone().expect("a descriptor is free").into();
    let args = ["--engine", engine, "--inetd", "--echo", "--timeout=1", "--threads=2"];
    let server = Server::launch_on(input, program(), &args);
    let mut clients = Vec::new();
    while !server.log().contains("listener exit due to --timeout 1") {
        let mut wire = Wire::tcp(address);
        wire.write_all(&Handshake::new().bytes()).expect("the listener takes everybody");
        clients.push(Inbox::new(wire));
        sleep(Duration::from_micros(200));
    }
    let part = |clients: &mut Vec<Inbox>| {
        clients.retain_mut(|client| match client.take_through(b"\r\n\r\n", Instant::now() + LOOK) {
            Ok(_) => false,
            Err(Fault::Silent(_)) => true,
            Err(fault) => panic!("accepted and dropped: {fault}"),
        });
    };
    // It ends when those it took have gone.
    let until = soon();
    while !server.has_ended(LOOK) {
        assert!(Instant::now() < until, "{} clients are left", clients.len());
        part(&mut clients);
    }
    part(&mut clients);
    listener.set_nonblocking(true).expect("it is open");
    assert_eq!(std::iter::from_fn(|| listener.accept().ok()).count(), clients.len());
}

fn a_timeout_ends_an_idle_server(engine: &str) {
    let begun = Instant::now();
    let server = Server::start(engine, &["--timeout", "1", "--echo"]);
    server.client().leave();
    expect_end(server, "listener exit due to --timeout 1");
    assert!(begun.elapsed() >= Duration::from_secs(1), "it took {:?}", begun.elapsed());
}

fn a_negative_timeout_ends_it_at_once(engine: &str) {
    let args = ["--engine", engine, "--timeout", "-3", "--echo", "127.0.0.1:0"];
    let (status, log) = run_to_end(&args);
    assert_eq!(status, Some(0), "{log}");
    assert!(log.ends_with("listener exit due to --timeout -3"), "{log}");
}

fn an_idle_timeout_waits_for_sessions(engine: &str) {
    let server = Server::start(engine, &["--idle-timeout=1", "--echo"]);
    let mut client = server.client();
    // Quiet for longer than the server itself may be, but here.
    let silence = client.inbox.take(1, Instant::now() + Duration::from_millis(1300));
    assert!(matches!(silence, Err(Fault::Silent(0))), "{silence:?}");
    client.send(&Frame::binary("here"));
    assert_eq!(client.expect_stream(4), b"here");
    client.leave();
    let left = Instant::now();
    expect_end(server, " info listener exit due to --idle-timeout 1");
    let took = left.elapsed();
    assert!((Duration::from_millis(900)..Duration::from_secs(4)).contains(&took), "it took {took:?}");
}

fn an_idle_timeout_ends_an_unused_server(engine: &str) {
    let begun = Instant::now();
    let server = Server::start(engine, &["--idle-timeout", "1", "--threads", "3", "--echo"]);
    expect_end(server, "listener exit due to --idle-timeout 1");
    assert!(begun.elapsed() >= Duration::from_secs(1), "it took {:?}", begun.elapsed());
}
