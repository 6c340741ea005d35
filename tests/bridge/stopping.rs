//! How the process stops: goodbyes to all, in time, status 0; and at once when told twice.

use crate::support::client::{Message, WsClient};
use crate::support::frame::Frame;
use crate::support::on_both_engines;
use crate::support::server::{Server, program};
use crate::support::target::TcpTarget;
use crate::support::temp::TempDir;
use crate::support::wire::PATIENCE;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

on_both_engines!(
    every_client_gets_1001,
    an_idle_server_stops_at_once,
    interrupt_is_like_terminate,
    stuck_clients_are_not_waited_for_without_end,
    a_second_signal_ends_it_at_once,
    sessions_that_are_cut_have_their_end_lines,
    nobody_new_gets_in,
    targets_see_an_orderly_end,
    heads_under_way_do_not_hold_it,
    a_full_log_pipe_does_not_hold_it,
);

fn every_client_gets_1001(engine: &str) {
    let target = TcpTarget::echo();
    for server in [Server::echo(engine), Server::to(engine, &target)] {
        let mut clients: Vec<_> = (0..50).map(|_| server.client()).collect();
        for client in &mut clients {
            client.send_all(&[Frame::binary("x"), Frame::ping("sync")]);
            expect_echo_and_pong(client);
        }
        server.signal(Signal::SIGTERM);
        let begun = Instant::now();
        for client in &mut clients {
            client.expect_close(1001);
        }
        for client in clients {
            client.answer_close(1001);
        }
        server.stop();
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "everybody answered; it took {:?}",
            begun.elapsed()
        );
    }
}

/// Takes the echo and the pong, in whichever order they come.
#[track_caller]
fn expect_echo_and_pong(client: &mut WsClient) {
    let both = [client.next(), client.next()];
    assert!(both.contains(&Message::Binary(b"x".to_vec())), "{both:?}");
    assert!(both.contains(&Message::Pong(b"sync".to_vec())), "{both:?}");
}

fn an_idle_server_stops_at_once(engine: &str) {
    let server = Server::echo(engine);
    server.client().leave();
    let begun = Instant::now();
    server.stop();
    assert!(begun.elapsed() < Duration::from_secs(2), "it took {:?}", begun.elapsed());
}

fn interrupt_is_like_terminate(engine: &str) {
    let mut server = Server::echo(engine);
    let mut client = server.client();
    server.signal(Signal::SIGINT);
    client.expect_close(1001);
    client.answer_close(1001);
    assert_eq!(server.wait_exit(PATIENCE).code(), Some(0), "{}", server.log());
}

fn stuck_clients_are_not_waited_for_without_end(engine: &str) {
    let flood = TcpTarget::flood();
    let mut server = Server::to(engine, &flood);
    // One never answers its close, one does not even read what is under way.
    let mut rude = server.client();
    rude.expect_stream(100_000);
    let _asleep = server.client();
    server.signal(Signal::SIGTERM);
    rude.expect_close(1001);
    let begun = Instant::now();
    assert_eq!(server.wait_exit(Duration::from_secs(14)).code(), Some(0), "{}", server.log());
    assert!(begun.elapsed() < Duration::from_secs(14));
}

fn a_second_signal_ends_it_at_once(engine: &str) {
    let mut server = Server::echo(engine);
    let mut client = server.client();
    server.signal(Signal::SIGTERM);
    client.expect_close(1001);
    let begun = Instant::now();
    server.signal(Signal::SIGTERM);
    server.wait_exit(PATIENCE);
    assert!(begun.elapsed() < Duration::from_secs(2), "it took {:?}", begun.elapsed());
}

/// At the deadline, where there is none, and by a second signal.
fn sessions_that_are_cut_have_their_end_lines(engine: &str) {
    for (option, signals) in
        [("--drain-timeout=200ms", 1), ("--drain-timeout=0", 1), ("--drain-timeout=1m", 2)]
    {
        for count in [1, 3] {
            let mut server = Server::start(engine, &["--echo", "--threads=2", "--close-timeout=1m", option]);
            let mut rude: Vec<_> = (0..count).map(|_| server.client()).collect();
            server.signal(Signal::SIGTERM);
            if signals > 1 {
                // Two signals that come at once may be one.
                rude.iter_mut().for_each(|client| drop(client.expect_close(1001)));
                server.signal(Signal::SIGTERM);
            }
            assert_eq!(server.wait_exit(PATIENCE).code(), Some(0), "{}", server.log());
            let log = server.log();
            let lines = |part: &str| log.lines().filter(|line| line.contains(part)).count();
            assert_eq!((lines(" open id="), lines(" end id=")), (count, count), "{option}: {log}");
            assert_eq!(lines(" end=stopped"), count, "{option}: {log}");
            let cut = format!(" warn stop: sessions cut at the deadline: {count}");
            assert_eq!(lines(&cut), usize::from(signals == 1), "{option}: {log}");
            assert_eq!(lines(" warn "), usize::from(signals == 1), "{option}: {log}");
        }
    }
    let mut server = Server::start(engine, &["--echo", "--drain-timeout=0"]);
    server.client().leave();
    server.wait_line(" end id=");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit(PATIENCE).code(), Some(0), "{}", server.log());
    assert!(!server.log().contains(" warn "), "nobody was there: {}", server.log());
}

fn nobody_new_gets_in(engine: &str) {
    let mut server = Server::echo(engine);
    let address = server.address();
    let mut client = server.client();
    server.signal(Signal::SIGTERM);
    client.expect_close(1001);
    // The goodbye was said after the listener was closed, and the session still holds the process.
    let late = TcpStream::connect_timeout(&address, Duration::from_secs(1));
    assert!(late.is_err(), "a connection was taken while stopping");
    client.answer_close(1001);
    assert_eq!(server.wait_exit(PATIENCE).code(), Some(0), "{}", server.log());
}

fn targets_see_an_orderly_end(engine: &str) {
    let (target, captured) = TcpTarget::capturing(Duration::ZERO);
    let server = Server::to(engine, &target);
    let mut client = server.client();
    client.send_all(&[Frame::binary("last words"), Frame::ping("sync")]);
    client.expect(&Message::Pong(b"sync".to_vec()));
    server.signal(Signal::SIGTERM);
    client.expect_close(1001);
    client.answer_close(1001);
    let seen = captured.recv_timeout(PATIENCE).expect("the target sees the end");
    assert!(seen.orderly && seen.bytes == b"last words", "{seen:?}");
    server.stop();
}

fn heads_under_way_do_not_hold_it(engine: &str) {
    let server = Server::echo(engine);
    let silent = server.wire();
    let mut half = server.http();
    half.send("GET / HTTP/1.1\r\n");
    let client = server.client();
    client.leave();
    let begun = Instant::now();
    server.stop();
    assert!(begun.elapsed() < Duration::from_secs(3), "it took {:?}", begun.elapsed());
    drop((silent, half));
}

fn a_full_log_pipe_does_not_hold_it(engine: &str) {
    for signals in 1..=2 {
        let directory = TempDir::new();
        let mut child = Command::new(program())
            .current_dir(directory.path())
            .args(["--engine", engine, "--echo", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("process numbers fit"));
        // Read up to the banner, and never again.
        let mut lines = BufReader::new(child.stderr.take().expect("it was asked to be piped")).lines();
        let banner = lines.find_map(|line| Some(line.ok()?.split_once("proxying from ")?.1.to_owned()));
        let address = banner.as_deref().and_then(|rest| rest.split_once(" to ")).map(|(address, _)| address);
        // Each refusal is a line of half a kilobyte; a pipe holds 64 KiB.
        let head = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(500));
        for _ in 0..400 {
            let mut wire = TcpStream::connect(address.expect("a banner")).expect("it listens");
            wire.write_all(head.as_bytes()).expect("it reads");
            let _ = wire.read(&mut [0; 64]);
        }
        let begun = Instant::now();
        for _ in 0..signals {
            kill(pid, Signal::SIGTERM).expect("it runs");
        }
        let mut status = None;
        while status.is_none() && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(20));
            status = child.try_wait().expect("it is ours");
        }
        let took = begun.elapsed();
        let _ = child.kill();
        let _ = child.wait();
        assert_eq!(status.and_then(|status| status.code()), Some(0), "after {took:?}");
        assert!(took < Duration::from_secs(4), "it took {took:?}");
        drop(lines);
    }
}
