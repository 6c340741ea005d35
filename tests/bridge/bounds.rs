//! Bounds from end to end: sessions, buffer memory, descriptors and silent connections run out, and the server goes on.

use crate::support::client::{Handshake, Message, WsClient};
use crate::support::frame::Frame;
use crate::support::on_both_engines;
use crate::support::process::{cpu_time, descriptors, limit_descriptors, resident_bytes};
use crate::support::server::{Server, program};
use crate::support::target::TcpTarget;
use crate::support::temp::TempDir;
use crate::support::wire::{Fault, Inbox, PATIENCE};
use nix::sys::signal::Signal;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

on_both_engines!(
    the_sixth_of_five_sessions_waits,
    a_crowd_is_served_a_few_at_a_time,
    full_buffers_stop_only_whom_they_belong_to,
    too_few_descriptors_to_start_are_told,
    few_descriptors_are_shared_out,
    running_out_of_descriptors_is_survived,
    the_oldest_silent_connections_make_room,
);

/// Sends something to an echo and has it back in time.
#[track_caller]
fn round_trip(client: &mut WsClient, time: Duration) {
    let begun = Instant::now();
    client.send(&Frame::binary("tick"));
    assert_eq!(client.expect_stream(4), b"tick");
    assert!(begun.elapsed() < time, "a round trip of {:?}", begun.elapsed());
}

/// Nothing comes for a while.
#[track_caller]
fn expect_silence(inbox: &mut Inbox, time: Duration) {
    let got = inbox.take(1, Instant::now() + time);
    assert!(matches!(got, Err(Fault::Silent(0))), "expected nothing, got {got:?}");
}

fn the_sixth_of_five_sessions_waits(engine: &str) {
    let server = Server::start(engine, &["--echo", "--max-sessions", "5", "--threads", "1"]);
    let mut clients: Vec<_> = (0..5).map(|_| server.client()).collect();
    let mut waiting = Inbox::new(server.wire());
    waiting.wire.write_all(&Handshake::new().bytes()).expect("the kernel takes it");
    expect_silence(&mut waiting, Duration::from_millis(500));
    for client in &mut clients {
        round_trip(client, PATIENCE);
    }
    clients.pop().expect("there are five").leave();
    let mut sixth = WsClient::answered(waiting).expect("the sixth is served");
    round_trip(&mut sixth, PATIENCE);
    sixth.leave();
    clients.into_iter().for_each(WsClient::leave);
    server.client().leave();
    server.stop();
}

/// All at once: no more are served than may be, and in the end everybody was.
fn a_crowd_is_served_a_few_at_a_time(engine: &str) {
    // An accept that a shard has begun still takes one client when the other shard's made it full.
    for (threads, most) in [("1", 5), ("2", 5)] {
        let server = Server::start(engine, &["--echo", "--max-sessions", "5", "--threads", threads]);
        let mut crowd: Vec<_> = (0..30).map(|_| Inbox::new(server.wire())).collect();
        for inbox in &mut crowd {
            inbox.wire.write_all(&Handshake::new().bytes()).expect("the kernel takes it");
        }
        server.wait_lines(" open id=", 5);
        // Whoever comes last in the queue of the kernel is not served while the first ones stay.
        expect_silence(crowd.last_mut().expect("there are many"), Duration::from_millis(500));
        let opened = server.log().matches(" open id=").count();
        assert!(opened <= most, "{opened} at once\n{}", server.log());
        for inbox in crowd {
            WsClient::answered(inbox).expect("everybody has a turn").leave();
        }
        server.stop();
    }
}

/// Its first byte says what it does: `f` floods, anything else echoes, until the other side ends.
fn moody_target() -> TcpTarget {
    TcpTarget::new(|mut stream| {
        let mut mood = [0];
        let _ = stream.read_exact(&mut mood);
        if mood == *b"f" {
            while stream.write_all(&[0x5a; 65536]).is_ok() {}
        } else {
            let _ = std::io::copy(&mut &stream, &mut &stream);
        }
    })
}

fn full_buffers_stop_only_whom_they_belong_to(engine: &str) {
    let target = moody_target();
    let options = ["--buffer-memory", "4MiB", "--threads", "1"];
    let server = Server::start(engine, &[&options[..], &[&target.to_string()]].concat());
    let mut busy = server.client();
    busy.send(&Frame::binary("e"));
    round_trip(&mut busy, PATIENCE);
    let mut asleep: Vec<_> = (0..20).map(|_| server.client()).collect();
    for client in &mut asleep {
        client.send(&Frame::binary("f"));
    }
    let until = Instant::now() + Duration::from_secs(3);
    let mut trips = 0;
    while Instant::now() < until {
        round_trip(&mut busy, Duration::from_secs(1));
        trips += 1;
        // New ones come, are served and leave.
        if trips % 50 == 1 {
            let begun = Instant::now();
            server.client().leave();
            assert!(begun.elapsed() < Duration::from_secs(1), "a short visit took {:?}", begun.elapsed());
        }
    }
    assert!(trips >= 50, "only {trips} round trips in three seconds");
    let resident = resident_bytes(server.pid());
    assert!(resident < 64 << 20, "{resident} bytes resident with 4 MiB for buffers");
    // They wake up, and nothing is missing.
    thread::scope(|scope| {
        for client in &mut asleep {
            scope.spawn(|| assert!(client.expect_stream(1_000_000).iter().all(|byte| *byte == 0x5a)));
        }
    });
    drop((asleep, busy));
    server.stop();
}

fn too_few_descriptors_to_start_are_told(engine: &str) {
    let directory = TempDir::new();
    let script = "ulimit -n 5; exec \"$0\" \"$@\"";
    let begun = Instant::now();
    let said = Command::new("sh")
        .args(["-c", script])
        .arg(program())
        .current_dir(directory.path())
        .args(["--engine", engine, "--echo", "127.0.0.1:0"])
        .stdin(Stdio::null())
        .output()
        .expect("there is a shell");
    assert!(begun.elapsed() < PATIENCE, "it took {:?}", begun.elapsed());
    let text = String::from_utf8_lossy(&said.stderr);
    assert_eq!(said.status.code(), Some(1), "{text}");
    assert_eq!(text.matches("Too many open files").count(), 1, "{text}");
    assert!(!text.contains("panicked") && !text.contains("proxying from"), "{text}");
}

/// Started with so few descriptors that only a handful of sessions fit.
fn few_descriptors_are_shared_out(engine: &str) {
    let program = program();
    let program = program.to_str().expect("the path is plain");
    let script = "ulimit -n 64; exec \"$0\" \"$@\"";
    let server = Server::launch("sh", &["-c", script, program, "--engine", engine, "--echo", "127.0.0.1:0"]);
    let mut client = server.client();
    round_trip(&mut client, PATIENCE);
    // Far more come than fit. They wait, at no cost, and the one that is served goes on.
    let waiting: Vec<_> = (0..100).map(|_| server.wire()).collect();
    let before = cpu_time(server.pid());
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        round_trip(&mut client, PATIENCE);
        thread::sleep(Duration::from_millis(20));
    }
    let spent = cpu_time(server.pid()) - before;
    assert!(spent < begun.elapsed() / 2, "{spent:?} on a core in {:?}", begun.elapsed());
    drop(waiting);
    client.leave();
    let mut next = server.client();
    round_trip(&mut next, PATIENCE);
    next.leave();
    server.stop();
}

/// The limit is lowered while the server runs, so that an accept really fails.
fn running_out_of_descriptors_is_survived(engine: &str) {
    let server = Server::start(engine, &["--echo", "--threads", "1"]);
    let mut live: Vec<_> = (0..10).map(|_| server.client()).collect();
    let room = descriptors(server.pid()) + 3;
    if !limit_descriptors(server.pid(), room, 4096) {
        eprintln!("skipped: no prlimit here");
        return;
    }
    let mut waiting: Vec<_> = (0..30).map(|_| Inbox::new(server.wire())).collect();
    for inbox in &mut waiting {
        inbox.wire.write_all(&Handshake::new().bytes()).expect("the kernel takes it");
    }
    let said = server.wait_line("accept shard=0 failures=");
    assert!(said.contains("ulimit -n"), "{said}");
    let before = cpu_time(server.pid());
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        live.iter_mut().for_each(|client| round_trip(client, PATIENCE));
        thread::sleep(Duration::from_millis(100));
    }
    let spent = cpu_time(server.pid()) - before;
    assert!(spent < begun.elapsed() / 2, "{spent:?} on a core in {:?}", begun.elapsed());
    let lines = server.log().matches("accept shard=0 failures=").count();
    assert!(lines <= 1 + begun.elapsed().as_secs() as usize, "{lines} lines about one shortage");
    // As sessions end, those who wait are served, one behind the other.
    live.into_iter().for_each(WsClient::leave);
    for inbox in waiting {
        let mut client = WsClient::answered(inbox).expect("it waited long enough");
        round_trip(&mut client, PATIENCE);
        client.leave();
    }
    server.stop();
}

/// However fast they come and however many files may be open: a quarter of the places is for strangers, and eight in any case.
fn the_oldest_silent_connections_make_room(engine: &str) {
    let words = ["--echo", "--threads", "1", "--max-sessions", "20", "--head-timeout", "5m"];
    let server = Server::start(engine, &words);
    let mut live = server.client();
    round_trip(&mut live, PATIENCE);
    // Who says nothing at all would be gone by itself in a moment: these have begun a head, and say no more.
    let begun = || {
        let mut wire = server.wire();
        wire.write_chopped(b"G", 0).expect("it is taken");
        Inbox::new(wire)
    };
    let mut silent: Vec<_> = (0..12).map(|_| begun()).collect();
    // Each who comes finds fewer of them that have had their time, until seven are left.
    let until = Instant::now() + PATIENCE;
    loop {
        let mut comer = server.client();
        round_trip(&mut comer, PATIENCE);
        comer.leave();
        match silent[4].end(Instant::now() + Duration::from_millis(50)) {
            Ok(()) => break,
            Err(Fault::Silent(_)) if Instant::now() < until => {}
            Err(fault) => panic!("the fifth of twelve should be gone, but: {fault}"),
        }
    }
    for (number, inbox) in silent[..4].iter_mut().enumerate() {
        let ended = inbox.end(Instant::now() + PATIENCE);
        ended.unwrap_or_else(|fault| panic!("number {number} should be gone, but: {fault}"));
    }
    // The others are still welcome.
    for mut inbox in silent.drain(5..) {
        inbox.wire.write_chopped(&Handshake::new().bytes()[1..], 0).expect("it is taken");
        let mut client = WsClient::answered(inbox).expect("it waited long enough");
        client.send(&Frame::text("patient"));
        client.expect(&Message::Text(b"patient".to_vec()));
        client.leave();
    }
    round_trip(&mut live, PATIENCE);
    server.signal(Signal::SIGQUIT);
    let report = server.wait_line("report shard=0");
    let shed = report.split(' ').find_map(|field| field.strip_prefix("heads_shed=")?.parse::<usize>().ok());
    assert_eq!(shed, Some(5), "{report}");
    live.leave();
    server.stop();
}
