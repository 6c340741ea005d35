//! Bulk from the target, which the server carries past itself in pipes: whole, in order, in whole frames, and let go of.

use crate::support::client::{Handshake, Message, WsClient};
use crate::support::frame::Frame;
use crate::support::server::Server;
use crate::support::target::TcpTarget;
use crate::support::temp::TempDir;
use crate::support::wire::{PATIENCE, Wire, soon};
use crate::support::{brief, on_both_engines, pattern};
use socket2::SockRef;
use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

on_both_engines!(
    bulk_is_whole_whoever_reads_it,
    bulk_passes_between_unix_sockets,
    pings_are_answered_between_whole_frames,
    a_close_is_answered_behind_the_frame_that_is_half_out,
    the_end_of_the_target_follows_all_its_bytes,
    a_reset_of_the_target_cuts_no_frame,
    clients_that_vanish_leave_no_pipe_in_use,
    more_stuck_clients_than_pipes,
    small_messages_open_no_pipe,
    bulk_passes_an_urgent_mark,
);

/// Enough to fill every buffer on the way several times over.
const BULK: usize = 24 << 20;
/// Most pipes of a shard, as the server's limits have it.
const PIPES: usize = 16;

/// How many pipes the server has open that are its own: not its standard error, and none that it has from us.
fn pipes(server: &Server) -> usize {
    let of = |process: &str| -> BTreeSet<PathBuf> {
        let files = std::fs::read_dir(format!("/proc/{process}/fd")).expect("it runs");
        let links = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        links.filter(|link| link.to_string_lossy().starts_with("pipe:")).collect()
    };
    of(&server.pid().to_string()).difference(&of("self")).count()
}

/// Waits until so many pipes are open.
#[track_caller]
fn wait_for_pipes(server: &Server, count: usize) {
    let until = soon();
    while pipes(server) < count {
        assert!(std::time::Instant::now() < until, "{} pipes of {count}", pipes(server));
        thread::sleep(Duration::from_millis(5));
    }
}

fn one_shard(engine: &str, target: &impl ToString) -> Server {
    Server::start(engine, &["--threads", "1", &target.to_string()])
}

/// Reads to the server's close: all bytes, and how it closed.
fn read_to_close(client: &mut WsClient, pause: impl Fn(usize)) -> (Vec<u8>, Vec<u8>) {
    let mut bytes = Vec::new();
    loop {
        match client.try_next(soon()) {
            Ok(Message::Binary(payload)) => bytes.extend(payload),
            Ok(Message::Ping(_)) => {}
            Ok(Message::Close(payload)) => return (bytes, payload),
            other => panic!("expected binary or close after {} bytes, got {other:?}", bytes.len()),
        }
        pause(bytes.len());
    }
}

fn bulk_is_whole_whoever_reads_it(engine: &str) {
    let sent = pattern(BULK, 11);
    let target = TcpTarget::source(sent.clone());
    let server = one_shard(engine, &target);
    let readers: Vec<_> = (0..4_u64)
        .map(|reader| {
            let mut client = server.client();
            thread::spawn(move || {
                // From one that reads at once to one that rests behind every message.
                let (bytes, close) = read_to_close(&mut client, |_| {
                    thread::sleep(Duration::from_millis(3 * reader));
                });
                client.answer_close(1000);
                (bytes, close)
            })
        })
        .collect();
    wait_for_pipes(&server, 1);
    for reader in readers {
        let (bytes, close) = reader.join().expect("a reader does not panic");
        assert!(bytes == sent, "sent {}, got {}", brief(&sent), brief(&bytes));
        assert!(close.starts_with(&1000_u16.to_be_bytes()), "{close:?}");
    }
    let said = format!("out_bytes={BULK} ");
    assert!(server.wait_lines(" end id=", 4).iter().all(|line| line.contains(&said)), "{}", server.log());
    server.stop();
}

fn bulk_passes_between_unix_sockets(engine: &str) {
    let directory = TempDir::new();
    let [front, back] = ["front", "back"].map(|name| directory.path().join(name));
    let listener = UnixListener::bind(&back).expect("a new path");
    let sent = pattern(BULK, 12);
    let source = sent.clone();
    let writer = thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(&source)
    });
    let [listen, target] =
        [format!("--unix-listen={}", front.display()), format!("--unix-target={}", back.display())];
    let server = Server::start_on(engine, "", &["--threads", "1", &listen, &target]);
    let mut client = WsClient::open(Wire::unix(&front), &Handshake::new());
    // Their buffers are small: only behind a client that rests does so much gather that it counts as bulk.
    let (bytes, _) = read_to_close(&mut client, |_| {
        if pipes(&server) == 0 {
            thread::sleep(Duration::from_millis(5));
        }
    });
    assert!(pipes(&server) > 0, "all of it was copied");
    assert!(bytes == sent, "sent {}, got {}", brief(&sent), brief(&bytes));
    writer.join().expect("the writer does not panic").expect("everything is taken");
    client.answer_close(1000);
    server.stop();
}

fn pings_are_answered_between_whole_frames(engine: &str) {
    let flood = TcpTarget::flood();
    let server = one_shard(engine, &flood);
    let mut client = server.client();
    wait_for_pipes(&server, 1);
    for turn in 0..50 {
        client.send(&Frame::ping(format!("{turn}")));
        let mut taken = 0;
        loop {
            match client.next() {
                Message::Pong(payload) => {
                    assert_eq!(payload, format!("{turn}").into_bytes());
                    break;
                }
                Message::Binary(payload) => {
                    assert!(payload.iter().all(|byte| *byte == 0x5a), "in turn {turn}");
                    taken += payload.len();
                    assert!(taken < 1 << 30, "a pong does not wait for ever");
                }
                other => panic!("expected bulk or a pong, got {other:?}"),
            }
        }
    }
    drop(client);
    server.stop();
}

fn a_close_is_answered_behind_the_frame_that_is_half_out(engine: &str) {
    let flood = TcpTarget::flood();
    let server = one_shard(engine, &flood);
    for _ in 0..5 {
        let mut client = server.client();
        wait_for_pipes(&server, 1);
        client.send_all(&[Frame::ping("last"), Frame::close(1000, "enough")]);
        let close = loop {
            // The pong may be said or, the client being on its way out, not.
            match client.next() {
                Message::Close(payload) => break payload,
                Message::Binary(payload) => assert!(payload.iter().all(|byte| *byte == 0x5a)),
                Message::Pong(payload) => assert_eq!(payload, b"last"),
                other => panic!("expected bulk or a close, got {other:?}"),
            }
        };
        assert_eq!(close, Frame::close(1000, "enough").payload);
        client.expect_eof(PATIENCE);
    }
    server.stop();
}

fn the_end_of_the_target_follows_all_its_bytes(engine: &str) {
    let sent = pattern(BULK / 4, 13);
    let target = TcpTarget::source(sent.clone());
    let server = one_shard(engine, &target);
    for _ in 0..5 {
        let mut client = server.client();
        // Nothing is read before bytes have been in a pipe.
        wait_for_pipes(&server, 1);
        let (bytes, close) = read_to_close(&mut client, |_| {});
        assert!(bytes == sent, "sent {}, got {}", brief(&sent), brief(&bytes));
        assert!(close.starts_with(&1000_u16.to_be_bytes()), "{close:?}");
        client.answer_close(1000);
    }
    server.stop();
}

fn a_reset_of_the_target_cuts_no_frame(engine: &str) {
    let sent = pattern(BULK / 4, 14);
    let source = sent.clone();
    let (told, gone) = channel();
    let target = TcpTarget::new(move |mut stream| {
        // As much as is taken while the client sleeps, and then no more.
        stream.set_write_timeout(Some(Duration::from_millis(300))).expect("the time-out is not zero");
        while stream.write_all(&source).is_ok() {}
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a socket takes SO_LINGER");
        drop(stream);
        told.send(()).expect("the test is there");
    });
    let server = one_shard(engine, &target);
    let mut client = server.client();
    wait_for_pipes(&server, 1);
    gone.recv_timeout(PATIENCE).expect("the target gets stuck");
    // What the server had taken by then is whole; and the client hears why there is no more.
    let (bytes, close) = read_to_close(&mut client, |_| {});
    let whole = bytes.chunks(sent.len()).all(|round| sent.starts_with(round));
    assert!(whole && !bytes.is_empty(), "{}", brief(&bytes));
    assert!(close.starts_with(&1011_u16.to_be_bytes()), "{close:?}");
    client.answer_close(1011);
    server.stop();
}

fn clients_that_vanish_leave_no_pipe_in_use(engine: &str) {
    let flood = TcpTarget::flood();
    let server = one_shard(engine, &flood);
    // More of them than pipes, one behind the other: what each leaves in its pipe is nobody's.
    for _ in 0..3 * PIPES {
        let client = server.client();
        wait_for_pipes(&server, 1);
        client.inbox.wire.abort();
    }
    server.wait_lines(" end id=", 3 * PIPES);
    let mut client = server.client();
    assert!(client.expect_stream(BULK).iter().all(|byte| *byte == 0x5a), "bytes of somebody else");
    assert!(pipes(&server) <= PIPES, "{} pipes", pipes(&server));
    drop(client);
    server.stop();
}

fn more_stuck_clients_than_pipes(engine: &str) {
    let sent = pattern(BULK / 4, 15);
    let target = TcpTarget::source(sent.clone());
    let server = one_shard(engine, &target);
    let mut asleep: Vec<_> = (0..2 * PIPES).map(|_| server.client()).collect();
    wait_for_pipes(&server, PIPES);
    // They wake up one behind the other, and nothing is missing, whether it went by a pipe or not.
    for client in &mut asleep {
        let (bytes, _) = read_to_close(client, |_| {});
        assert!(bytes == sent, "sent {}, got {}", brief(&sent), brief(&bytes));
    }
    assert_eq!(pipes(&server), PIPES);
    asleep.into_iter().for_each(|client| client.answer_close(1000));
    server.stop();
}

fn small_messages_open_no_pipe(engine: &str) {
    let target = TcpTarget::echo();
    let server = one_shard(engine, &target);
    let mut client = server.client();
    for turn in 0..1000_u32 {
        client.send(&Frame::binary(turn.to_be_bytes()));
        assert_eq!(client.expect_stream(4), turn.to_be_bytes());
    }
    assert_eq!(pipes(&server), 0);
    client.leave();
    server.stop();
}

/// The urgent byte is a byte of the stream like others; a splice would never come behind it.
fn bulk_passes_an_urgent_mark(engine: &str) {
    let sent = pattern(BULK / 4, 16);
    let expected = [&sent[..], &[1; 100], &[2], &[3; 50], &[4; 10]].concat();
    let target = TcpTarget::new(move |mut stream| {
        stream.write_all(&sent).expect("the client reads");
        stream.write_all(&[1; 100]).expect("there is room");
        SockRef::from(&stream).send_out_of_band(&[2]).expect("there is room");
        stream.write_all(&[3; 50]).expect("there is room");
        stream.write_all(&[4; 10]).expect("there is room");
    });
    let server = one_shard(engine, &target);
    let mut client = server.client();
    wait_for_pipes(&server, 1);
    let (bytes, close) = read_to_close(&mut client, |_| {});
    assert!(bytes == expected, "sent {}, got {}", brief(&expected), brief(&bytes));
    assert!(close.starts_with(&1000_u16.to_be_bytes()), "{close:?}");
    client.answer_close(1000);
    server.stop();
}
