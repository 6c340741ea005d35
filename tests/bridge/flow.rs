//! Bytes under way: whole and in order, in both directions, under back pressure, and beside each other.

use crate::support::client::{Handshake, Message, WsClient};
use crate::support::frame::{BINARY, Frame, Length};
use crate::support::server::Server;
use crate::support::target::TcpTarget;
use crate::support::temp::TempDir;
use crate::support::wire::{PATIENCE, soon};
use crate::support::{brief, on_both_engines, pattern};
use nix::sys::signal::Signal;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use socket2::SockRef;
use std::io::{IoSlice, Write};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

on_both_engines!(
    bytes_come_back,
    early_bytes_reach_the_target,
    a_frame_is_passed_on_before_it_is_complete,
    fragments_and_pings_make_one_stream,
    small_messages_are_not_delayed,
    both_directions_full_and_no_deadlock,
    a_target_that_never_reads_stops_only_its_client,
    a_client_that_never_reads_stops_only_itself,
    many_sessions_at_once,
    heartbeat_pings,
    heartbeat_drops_the_silent,
    heartbeat_is_patient_however_often_it_beats,
    no_heartbeat_no_pings,
    bytes_behind_passed_descriptors_are_not_waited_for,
);

fn bytes_come_back(engine: &str) {
    let target = TcpTarget::echo();
    let server = Server::to(engine, &target);
    let mut client = server.client();
    for size in [1, 125, 126, 65_535, 65_536, 1_000_000] {
        let sent = pattern(size, size as u64);
        client.send(&Frame::binary(&sent[..]));
        assert!(client.expect_stream(size) == sent, "{size} bytes");
    }
    client.send_all(&[Frame::binary(""), Frame::binary("x")]);
    assert_eq!(client.expect_stream(1), b"x", "an empty message does nothing");
    client.leave();
    server.stop();
}

fn early_bytes_reach_the_target(engine: &str) {
    let target = TcpTarget::echo();
    let server = Server::to(engine, &target);
    let sent = pattern(300_000, 1);
    for piece in [0, 997] {
        let early: Vec<u8> = sent.chunks(10_000).flat_map(|part| Frame::binary(part).bytes()).collect();
        let mut client = WsClient::open(server.wire(), &Handshake::new().early(early).chopped(piece));
        assert!(client.expect_stream(sent.len()) == sent, "pieces of {piece}");
        client.leave();
    }
    server.stop();
}

/// A stream target needs no whole frame, and so no memory for one.
fn a_frame_is_passed_on_before_it_is_complete(engine: &str) {
    let target = TcpTarget::echo();
    let server = Server::to(engine, &target);
    let mut client = server.client();
    // The frame claims 2^40 bytes and never ends; its mask goes on over all writes.
    let key = [0x12, 0x34, 0x56, 0x78];
    let head = Frame::binary("").key(key).length(Length::Claimed(1 << 40));
    client.send_bytes(&head.bytes());
    let sent = pattern(100_003, 2);
    let mut at = 0;
    for size in [1, 2, 3, 5, 7, 1000, 1001, 65_537].into_iter().cycle() {
        let part = &sent[at..sent.len().min(at + size)];
        let masked: Vec<u8> = part.iter().zip(at..).map(|(byte, at)| byte ^ key[at % 4]).collect();
        client.send_bytes(&masked);
        assert!(client.expect_stream(part.len()) == part, "bytes from {at}");
        at += part.len();
        if at == sent.len() {
            break;
        }
    }
    drop(client);
    server.stop();
}

fn fragments_and_pings_make_one_stream(engine: &str) {
    let (target, captured) = TcpTarget::capturing(Duration::ZERO);
    let server = Server::to(engine, &target);
    let sent = pattern(50_000, 3);
    let mut frames = vec![Frame::new(BINARY, "").more()];
    for (at, part) in sent.chunks(77).enumerate() {
        frames.extend([Frame::ping(format!("{at}")), Frame::middle(part), Frame::pong("")]);
    }
    frames.extend([Frame::last(""), Frame::ping("last")]);
    let mut client = server.client();
    let writer = client.send_beside(crate::support::frame::bytes_of(&frames));
    while client.next() != Message::Pong(b"last".to_vec()) {}
    writer.join().expect("the writer does not panic").expect("everything is taken");
    client.leave();
    let seen = captured.recv_timeout(PATIENCE).expect("the target sees the end");
    assert!(seen.bytes == sent, "sent {}, the target got {}", brief(&sent), brief(&seen.bytes));
    server.stop();
}

/// Nagle's delay on either leg would cost 40 ms a turn.
fn small_messages_are_not_delayed(engine: &str) {
    let target = TcpTarget::echo();
    let server = Server::to(engine, &target);
    let mut client = server.client();
    let begun = Instant::now();
    for turn in 0..200_u32 {
        let halves = turn.to_be_bytes();
        client.send(&Frame::binary(&halves[..2]));
        client.send(&Frame::binary(&halves[2..]));
        assert_eq!(client.expect_stream(4), halves);
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(4), "200 round trips took {took:?}");
    client.leave();
    server.stop();
}

fn both_directions_full_and_no_deadlock(engine: &str) {
    let target = TcpTarget::echo();
    let server = Server::to(engine, &target);
    let sent = pattern(40_000_000, 4);
    let mut client = server.client();
    // One huge frame, written whole before anything is read back, as far as the buffers let it.
    let writer = client.send_beside(Frame::binary(&sent[..]).bytes());
    std::thread::sleep(Duration::from_millis(300));
    let got = client.expect_stream(sent.len());
    assert!(got == sent, "sent {}, got {}", brief(&sent), brief(&got));
    writer.join().expect("the writer does not panic").expect("everything is taken");
    client.leave();
    server.stop();
}

fn a_target_that_never_reads_stops_only_its_client(engine: &str) {
    let (deaf, hold) = TcpTarget::never_reading();
    let stuck = Server::start(engine, &["--threads", "1", &deaf.to_string()]);
    let blocked = stuck.client();
    let big = blocked.send_beside(Frame::binary(vec![1; 64 << 20]).bytes());
    // Once the target's buffers are full, the client must feel it: the write does not end.
    std::thread::sleep(Duration::from_millis(500));
    assert!(!big.is_finished(), "64 MiB went somewhere, and not to the target");
    let resident = resident_bytes(stuck.pid());
    assert!(resident < 100 << 20, "{resident} bytes resident with one stuck session");
    // Another one of the same shard is served, and the stuck one may still leave.
    let mut other = stuck.client();
    other.send_all(&[Frame::binary("x"), Frame::ping("alive")]);
    other.expect(&Message::Pong(b"alive".to_vec()));
    drop(hold);
    blocked.inbox.wire.shut(std::net::Shutdown::Both);
    let _ = big.join().expect("the writer does not panic");
    drop((blocked, other));
    stuck.stop();
}

fn a_client_that_never_reads_stops_only_itself(engine: &str) {
    let flood = TcpTarget::flood();
    let server = Server::start(engine, &["--threads", "1", &flood.to_string()]);
    let asleep: Vec<_> = (0..20).map(|_| server.client()).collect();
    let mut awake = server.client();
    for _ in 0..20 {
        assert!(awake.expect_stream(1_000_000).iter().all(|byte| *byte == 0x5a));
    }
    let resident = resident_bytes(server.pid());
    assert!(resident < 100 << 20, "{resident} bytes resident with 20 clients asleep");
    // They wake up, and nothing is missing.
    for mut client in asleep {
        assert!(client.expect_stream(1_000_000).iter().all(|byte| *byte == 0x5a));
    }
    drop(awake);
    server.stop();
}

/// Memory of a process in use; zero where the system does not tell.
fn resident_bytes(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<usize>().ok());
    kilobytes.unwrap_or(0) * 1024
}

fn many_sessions_at_once(engine: &str) {
    let target = TcpTarget::echo();
    let server = Server::to(engine, &target);
    let mut clients: Vec<_> = (0..200).map(|_| server.client()).collect();
    for round in 0..3 {
        for (at, client) in clients.iter_mut().enumerate() {
            client.send(&Frame::binary(pattern(100 + at * 37, at as u64 + round)));
        }
        for (at, client) in clients.iter_mut().enumerate() {
            let expected = pattern(100 + at * 37, at as u64 + round);
            assert!(client.expect_stream(expected.len()) == expected, "session {at}, round {round}");
        }
    }
    clients.into_iter().for_each(WsClient::leave);
    server.stop();
}

fn heartbeat_pings(engine: &str) {
    let server = Server::start(engine, &["--echo", "--heartbeat", "1"]);
    let mut client = server.client();
    for _ in 0..3 {
        let begun = Instant::now();
        let Message::Ping(payload) = client.next() else { panic!("expected a ping") };
        assert!(begun.elapsed() < Duration::from_secs(4), "a ping after {:?}", begun.elapsed());
        client.send(&Frame::pong(payload));
    }
    client.send(&Frame::text("alive"));
    let answer = loop {
        match client.next() {
            Message::Ping(_) => {}
            other => break other,
        }
    };
    assert_eq!(answer, Message::Text(b"alive".to_vec()));
    drop(client);
    server.stop();
}

fn heartbeat_drops_the_silent(engine: &str) {
    let (target, captured) = TcpTarget::capturing(Duration::ZERO);
    let server = Server::start(engine, &["--heartbeat", "1", "--pong-timeout", "2", &target.to_string()]);
    let mut silent = server.client();
    // Ping after a second, two for the pong, 5 s for the close; and air for coarse timers.
    let until = Instant::now() + Duration::from_secs(30);
    let mut pings = 0;
    loop {
        match silent.try_next(until) {
            Ok(Message::Ping(_)) => pings += 1,
            Ok(Message::Close(_)) => {}
            Ok(other) => panic!("expected pings, got {other:?}"),
            Err(crate::support::wire::Fault::Silent(_)) => panic!("still open 30 s after it fell silent"),
            Err(_) => break,
        }
    }
    assert!(pings > 0, "dropped without a ping");
    captured.recv_timeout(PATIENCE + PATIENCE).expect("the target sees the end");
    server.stop();
}

/// As to a slow client of websockify: many pings, no judgement for as long as the default is, or for ever.
fn heartbeat_is_patient_however_often_it_beats(engine: &str) {
    for patience in ["15s", "0"] {
        let server = Server::start(engine, &["--echo", "--heartbeat", "500ms", "--pong-timeout", patience]);
        let mut silent = server.client();
        for number in 0..10 {
            let got = silent.next();
            assert!(matches!(got, Message::Ping(_)), "ping {number}: {got:?}");
        }
        silent.send(&Frame::text("alive"));
        while matches!(silent.next(), Message::Ping(_)) {}
        assert!(!server.log().contains("heartbeat_lost"), "{}", server.log());
        drop(silent);
        server.stop();
    }
}

fn no_heartbeat_no_pings(engine: &str) {
    let server = Server::start(engine, &["--echo", "--heartbeat", "0"]);
    let mut client = server.client();
    let until = Instant::now() + Duration::from_secs(2);
    let got = client.try_next(until);
    assert!(matches!(got, Err(crate::support::wire::Fault::Silent(0))), "{got:?}");
    client.leave();
    let mut later = server.client();
    later.send(&Frame::text("x"));
    assert!(later.try_next(soon()).is_ok());
    drop(later);
    server.stop();
}

/// Has the server find all at once what `send` sends.
fn at_once(server: &Server, send: impl FnOnce()) {
    server.signal(Signal::SIGSTOP);
    send();
    server.signal(Signal::SIGCONT);
}

/// A receive stops in front of it, and nothing tells of what is behind it; the byte itself is one of the stream's. Behind
/// io_uring, which cannot be asked for the mark, these bytes come with the next ones or with the end.
#[test]
fn bytes_behind_an_urgent_mark_are_not_waited_for_on_poll() {
    let engine = "poll";
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let server = Server::to(engine, listener.local_addr().expect("it is bound"));
    let mut client = server.client();
    let (mut target, _) = listener.accept().expect("the server dials");
    target.set_nodelay(true).expect("a connected socket takes it");
    for turn in 0..200_u8 {
        let mut send = || {
            target.write_all(&[turn; 3]).expect("there is room");
            SockRef::from(&target).send_out_of_band(&[0xf2]).expect("there is room");
            target.write_all(&[turn; 2]).expect("there is room");
        };
        if turn < 10 {
            at_once(&server, send)
        } else {
            send()
        }
        assert_eq!(client.expect_stream(6), [turn, turn, turn, 0xf2, turn, turn]);
    }
    drop(target);
    client.expect_close(1000);
    server.stop();
}

/// A receive from a Unix socket stops behind bytes that descriptors came with.
fn bytes_behind_passed_descriptors_are_not_waited_for(engine: &str) {
    let directory = TempDir::new();
    let path = directory.join("target");
    let listener = UnixListener::bind(&path).expect("a new path");
    let server = Server::start(engine, &["--unix-target", &path.display().to_string()]);
    let mut client = server.client();
    let (mut target, _) = listener.accept().expect("the server dials");
    for _ in 0..10 {
        at_once(&server, || {
            let descriptors = [listener.as_raw_fd()];
            let rights = [ControlMessage::ScmRights(&descriptors)];
            let first = [IoSlice::new(b"with one")];
            sendmsg::<()>(target.as_raw_fd(), &first, &rights, MsgFlags::empty(), None)
                .expect("there is room");
            target.write_all(b"without").expect("there is room");
        });
        assert_eq!(client.expect_stream(15), b"with onewithout");
    }
    drop(target);
    client.expect_close(1000);
    server.stop();
}
