//! Deadlines from end to end: a target that does not answer, peers that stop reading, a client that never says goodbye,
//! one that does not answer pings, and the end of the process while they do.

use crate::support::client::{Handshake, Message, WsClient};
use crate::support::frame::Frame;
use crate::support::on_both_engines;
use crate::support::server::Server;
use crate::support::target::TcpTarget;
use crate::support::temp::TempDir;
use crate::support::wire::{PATIENCE, soon};
use nix::sys::signal::Signal;
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

on_both_engines!(
    a_silent_target_costs_the_dial_timeout,
    a_full_unix_target_costs_no_more_than_the_dial_timeout,
    a_client_that_takes_nothing_is_ended,
    a_target_that_takes_nothing_is_ended,
    a_slow_reader_is_not_stalled,
    the_close_timeout_is_kept,
    the_drain_timeout_is_kept,
    a_drain_timeout_of_zero_waits_for_nobody,
    stopping_keeps_frames_whole,
    prompt_pongs_keep_a_client_and_silence_ends_it,
    a_target_is_watched_over_when_its_session_lasts,
    prompt_pongs_count_when_pings_are_far_apart,
);

const REFUSED: &str = "Failed to connect to downstream server";

/// A port of 127.0.0.1 that answers no connection: its listen queue is full. With the connections that fill it.
fn full_listener() -> (TcpListener, SocketAddr, Vec<TcpStream>) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a descriptor is free");
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a port is free");
    socket.listen(0).expect("it is bound");
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().expect("a bound socket has a name");
    let mut fillers = Vec::new();
    while let Ok(filler) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        fillers.push(filler);
        assert!(fillers.len() < 100, "the queue never gets full");
    }
    (listener, address, fillers)
}

fn a_silent_target_costs_the_dial_timeout(engine: &str) {
    let (listener, address, fillers) = full_listener();
    let server = Server::start(engine, &["--dial-timeout", "1s", &address.to_string()]);
    let begun = Instant::now();
    let mut client = WsClient::open(server.wire(), &Handshake::new().early(Frame::binary("early").bytes()));
    client.send(&Frame::binary("meanwhile"));
    assert_eq!(client.expect_close(1011), REFUSED);
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(900) && took < Duration::from_secs(5), "told after {took:?}");
    let ended = server.wait_line("end id=");
    assert!(ended.contains(" close=1011 ") && ended.contains(" end=dial_timeout"), "{ended}");
    // The target wakes up. Whoever comes out of its queue, nobody brings what the client was told is lost.
    drop(fillers);
    listener.set_nonblocking(true).expect("a socket takes that");
    let until = Instant::now() + Duration::from_millis(1500);
    while Instant::now() < until {
        match listener.accept() {
            Ok((mut late, _)) => {
                late.set_nonblocking(false).expect("a socket takes that");
                late.set_read_timeout(Some(Duration::from_millis(500))).expect("it is not zero");
                let mut bytes = [0; 64];
                let got = late.read(&mut bytes).unwrap_or(0);
                assert_eq!(got, 0, "the target got {:?} behind the 1011", &bytes[..got]);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(20)),
            Err(error) => panic!("{error}"),
        }
    }
    client.answer_close(1011);
    server.stop();
}

fn a_full_unix_target_costs_no_more_than_the_dial_timeout(engine: &str) {
    let dir = TempDir::new();
    let address = SockAddr::unix(dir.join("full.sock")).expect("the path is short");
    let socket = || Socket::new(Domain::UNIX, Type::STREAM, None).expect("a descriptor is free");
    let listener = socket();
    listener.bind(&address).expect("the name is free");
    listener.listen(0).expect("it is bound");
    let mut fillers = Vec::new();
    loop {
        let filler = socket();
        filler.set_nonblocking(true).expect("a socket takes that");
        match filler.connect(&address) {
            Ok(()) => fillers.push(filler),
            Err(_) => break,
        }
        assert!(fillers.len() < 100, "the queue never gets full");
    }
    let path = dir.arg("full.sock");
    let server = Server::start(engine, &["--dial-timeout", "1s", "--unix-target", &path]);
    let begun = Instant::now();
    let mut client = server.client();
    client.send(&Frame::binary("meanwhile"));
    assert_eq!(client.expect_close(1011), REFUSED);
    assert!(begun.elapsed() < Duration::from_secs(5), "told after {:?}", begun.elapsed());
    client.answer_close(1011);
    server.stop();
}

/// Its first byte says what it does: `e` echoes, `f` floods, `d` is deaf, all until the other side ends.
fn moody_target() -> TcpTarget {
    TcpTarget::new(|mut stream| {
        let mut mood = [0];
        let _ = stream.read_exact(&mut mood);
        match &mood {
            b"e" => {
                let _ = std::io::copy(&mut &stream, &mut &stream);
            }
            b"f" => while stream.write_all(&[0x5a; 65536]).is_ok() {},
            // Written to now and then, to see when the other side is gone.
            _ => {
                while stream.write_all(b".").is_ok() {
                    thread::sleep(Duration::from_millis(100));
                }
            }
        }
    })
}

fn a_client_that_takes_nothing_is_ended(engine: &str) {
    let target = moody_target();
    let server = Server::start(engine, &["--threads", "1", "--write-timeout", "1s", &target.to_string()]);
    let mut bystander = server.client();
    bystander.send(&Frame::binary("e"));
    let mut asleep = server.client();
    let begun = Instant::now();
    asleep.send(&Frame::binary("f"));
    let ended = server.wait_line("end=client_stalled");
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(900) && took < Duration::from_secs(30), "ended after {took:?}");
    assert_eq!(number(&ended, "in_bytes"), 1, "{ended}");
    // What was under way may still be read; then the stream is over.
    let until = soon();
    while asleep.try_next(until).is_ok() {}
    assert!(Instant::now() < until, "the stream goes on");
    bystander.send(&Frame::binary("still here"));
    assert_eq!(bystander.expect_stream(10), b"still here");
    bystander.leave();
    server.stop();
}

fn a_target_that_takes_nothing_is_ended(engine: &str) {
    let target = moody_target();
    let server = Server::start(engine, &["--threads", "1", "--write-timeout", "1s", &target.to_string()]);
    let mut bystander = server.client();
    bystander.send(&Frame::binary("e"));
    let mut eager = server.client();
    let begun = Instant::now();
    let writer = eager.send_beside(
        [Frame::binary("d"), Frame::binary(vec![1; 64 << 20])].map(|frame| frame.bytes()).concat(),
    );
    assert_eq!(eager.expect_close(1011), "Target stalled");
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(900) && took < Duration::from_secs(30), "told after {took:?}");
    eager.inbox.wire.shut(std::net::Shutdown::Both);
    let _ = writer.join().expect("the writer does not panic");
    let ended = server.wait_line("end=target_stalled");
    assert!(ended.contains(" close=1011 "), "{ended}");
    bystander.send(&Frame::binary("still here"));
    assert_eq!(bystander.expect_stream(10), b"still here");
    bystander.leave();
    server.stop();
}

/// The deadline is on progress, not on how long everything takes.
fn a_slow_reader_is_not_stalled(engine: &str) {
    let target = moody_target();
    let server = Server::start(engine, &["--write-timeout", "1s", &target.to_string()]);
    let mut slow = server.client();
    slow.send(&Frame::binary("f"));
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        slow.expect_stream(1_000_000);
        thread::sleep(Duration::from_millis(50));
    }
    assert!(!server.log().contains("end id="), "{}", server.log());
    drop(slow);
    server.stop();
}

/// The number behind `name=` in a line.
fn number(line: &str, name: &str) -> u64 {
    let value = line.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no number {name} in {line:?}"))
}

fn the_close_timeout_is_kept(engine: &str) {
    let target = TcpTarget::new(drop);
    let server = Server::start(engine, &["--close-timeout", "500ms", &target.to_string()]);
    let mut rude = server.client();
    assert_eq!(rude.expect_close(1000), "Target closed");
    let begun = Instant::now();
    let ended = server.wait_line("end=target_closed");
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(300) && took < Duration::from_secs(4), "gone after {took:?}");
    assert!(ended.contains(" close=1000 "), "{ended}");
    rude.expect_eof(Duration::from_secs(3));
    let sent = rude.inbox.wire.write_chopped(b"x", 0).and_then(|()| {
        thread::sleep(Duration::from_millis(100));
        rude.inbox.wire.write_chopped(b"x", 0)
    });
    assert!(sent.is_err(), "the socket still takes bytes");
    server.stop();
}

fn the_drain_timeout_is_kept(engine: &str) {
    let target = TcpTarget::echo();
    let options = ["--drain-timeout", "1s", "--close-timeout", "1m"];
    let mut server = Server::start(engine, &[&options[..], &[&target.to_string()]].concat());
    let mut rude = server.client();
    let begun = Instant::now();
    server.signal(Signal::SIGTERM);
    rude.expect_close(1001);
    assert_eq!(server.wait_exit(Duration::from_secs(6)).code(), Some(0), "{}", server.log());
    assert!(begun.elapsed() > Duration::from_millis(900), "only {:?} to say goodbye", begun.elapsed());
}

fn a_drain_timeout_of_zero_waits_for_nobody(engine: &str) {
    let target = TcpTarget::echo();
    let mut server = Server::start(engine, &["--drain-timeout", "0", &target.to_string()]);
    let _rude = server.client();
    let begun = Instant::now();
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit(PATIENCE).code(), Some(0), "{}", server.log());
    assert!(begun.elapsed() < Duration::from_secs(3), "it took {:?}", begun.elapsed());
}

fn stopping_keeps_frames_whole(engine: &str) {
    // The second one reads nothing, so what the client sends is held up on its way.
    for target in [TcpTarget::flood(), TcpTarget::deaf_flood()] {
        stopping_a_flood(engine, &target);
    }
}

fn stopping_a_flood(engine: &str, target: &TcpTarget) {
    let mut server = Server::to(engine, target);
    let mut slow = server.client();
    let quiet = Arc::new(AtomicBool::new(false));
    let (mut twin, hushed) = (slow.inbox.wire.twin(), Arc::clone(&quiet));
    let writer = thread::spawn(move || {
        let frame = Frame::binary([7; 3000]).bytes();
        while !hushed.load(Ordering::SeqCst) && twin.write_chopped(&frame, 0).is_ok() {
            thread::sleep(Duration::from_millis(1));
        }
    });
    slow.expect_stream(1_000_000);
    server.signal(Signal::SIGTERM);
    let until = Instant::now() + Duration::from_secs(12);
    let close = loop {
        // The reader is strict: whatever is no whole, plain frame ends it with a fault.
        match slow.try_next(until) {
            Ok(Message::Binary(payload)) => assert!(payload.iter().all(|byte| *byte == 0x5a)),
            Ok(Message::Close(payload)) => break payload,
            other => panic!("expected data or the close, got {other:?}"),
        }
        thread::sleep(Duration::from_millis(5));
    };
    assert!(close.starts_with(&1001_u16.to_be_bytes()), "{close:?}");
    quiet.store(true, Ordering::SeqCst);
    writer.join().expect("the writer does not panic");
    slow.answer_close(1001);
    assert_eq!(server.wait_exit(PATIENCE).code(), Some(0), "{}", server.log());
}

/// The timer that the system runs for the connection from `local` to `remote`, as proc(5) numbers them.
fn timer_of(local: SocketAddr, remote: SocketAddr) -> Option<String> {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux has it");
    let [local, remote] = [local, remote].map(|address| format!(":{:04X}", address.port()));
    let mut rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = rows.find(|row| row[1].ends_with(&local) && row[2].ends_with(&remote))?;
    Some(row[5].split(':').next().expect("a first part").to_owned())
}

fn a_target_is_watched_over_when_its_session_lasts(engine: &str) {
    const KEEP_ALIVE: &str = "02";
    let (tell, met) = std::sync::mpsc::channel();
    let target = TcpTarget::new(move |mut stream| {
        let _ = tell.send(stream.peer_addr().expect("it is connected"));
        let _ = std::io::copy(&mut stream.try_clone().expect("a descriptor is free"), &mut stream);
    });
    let server = Server::start(engine, &["--heartbeat=0", &target.address().to_string()]);
    let begun = Instant::now();
    let mut client = WsClient::open(server.wire(), &Handshake::new());
    client.send(&Frame::binary("x"));
    client.expect(&Message::Binary(b"x".to_vec()));
    let near = met.recv_timeout(PATIENCE).expect("the target was dialled");
    // Without traffic no other timer runs for long.
    let until = begun + PATIENCE;
    while timer_of(near, target.address()).as_deref() != Some(KEEP_ALIVE) {
        assert!(Instant::now() < until, "nobody watches over it");
        // The system tells nobody when it starts a timer.
        thread::sleep(Duration::from_millis(50));
    }
    assert!(begun.elapsed() > Duration::from_secs(9), "{:?}", begun.elapsed());
    client.leave();
    server.stop();
}

fn prompt_pongs_keep_a_client_and_silence_ends_it(engine: &str) {
    let target = TcpTarget::echo();
    let quick = ["--heartbeat", "2s", "--pong-timeout", "4s", "--close-timeout", "500ms"];
    let server = Server::start(engine, &[&quick[..], &[&target.to_string()]].concat());
    let mut prompt = server.client();
    let mut silent = server.client();
    let begun = Instant::now();
    let lost = thread::spawn(move || {
        let reason = silent.expect_close(1008);
        (begun.elapsed(), reason)
    });
    // Longer than three intervals, and than a silent client is given.
    let until = begun + Duration::from_secs(9);
    let mut pings = 0;
    while Instant::now() < until {
        match prompt.try_next(until) {
            Ok(Message::Ping(payload)) => {
                prompt.send(&Frame::pong(payload));
                pings += 1;
            }
            Ok(other) => panic!("expected pings, got {other:?} after {:?}", begun.elapsed()),
            Err(crate::support::wire::Fault::Silent(0)) => break,
            Err(fault) => panic!("{fault} after {:?}", begun.elapsed()),
        }
    }
    assert!((2..=6).contains(&pings), "{pings} pings in 9 s");
    prompt.send(&Frame::binary("alive"));
    assert_eq!(prompt.expect_stream(5), b"alive");
    let (after, _) = lost.join().expect("the silent one is told 1008");
    assert!(after > Duration::from_secs(3), "lost after {after:?}");
    let ended = server.wait_lines("end=heartbeat_lost", 1);
    assert!(ended.len() == 1 && ended[0].contains(" close=1008 "), "{ended:?}");
    drop(prompt);
    server.stop();
}

/// As with the default, the judgement comes before the next ping, so nothing but the one pong can speak for the client.
/// It may come in the same tick of the server's clock as its ping; among many clients one does.
fn prompt_pongs_count_when_pings_are_far_apart(engine: &str) {
    let (target, hold) = TcpTarget::never_reading();
    let server = Server::start(engine, &["--heartbeat", "15500ms", &target.to_string()]);
    let mut clients = Vec::new();
    for _ in 0..12 {
        clients.push(server.client());
        // Their pings then come apart too, so that none has to wait for a core to be answered on.
        thread::sleep(Duration::from_millis(20));
    }
    thread::scope(|scope| {
        for mut client in clients {
            scope.spawn(move || {
                let ping = client.try_next(Instant::now() + Duration::from_secs(25));
                let Ok(Message::Ping(payload)) = ping else { panic!("expected a ping, got {ping:?}") };
                client.send(&Frame::pong(payload));
                // The judgement is 15 s away; what comes next may only be another ping.
                let next = client.try_next(Instant::now() + Duration::from_millis(20_000));
                let Ok(Message::Ping(_)) = next else { panic!("expected the next ping, got {next:?}") };
                client.leave();
            });
        }
    });
    assert!(!server.log().contains("heartbeat_lost"), "{}", server.log());
    drop(hold);
    server.stop();
}
