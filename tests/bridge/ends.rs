//! How a session ends, whoever ends it, and that nothing under way is lost by it.

use crate::support::client::{Handshake, Message, WsClient};
use crate::support::frame::{BINARY, CLOSE, Frame};
use crate::support::server::Server;
use crate::support::target::{Refusing, TcpTarget};
use crate::support::wire::PATIENCE;
use crate::support::{brief, on_both_engines, pattern};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

on_both_engines!(
    target_end_comes_behind_its_data,
    target_end_without_data,
    target_end_beside_client_data,
    target_reset,
    target_refuses,
    target_refuses_behind_early_data,
    unknown_host,
    client_close_is_echoed_and_reaches_the_target,
    client_close_is_echoed_at_once_while_the_target_floods,
    client_data_reaches_the_target_before_its_end,
    client_end_without_close,
    client_reset_ends_the_target,
    offences_end_both_sides,
    text_to_a_stream_is_refused,
    data_before_an_offence_arrives,
    a_client_that_never_answers_the_close_is_dropped,
);

fn target_end_comes_behind_its_data(engine: &str) {
    for size in [1, 65_536, 5_000_000] {
        let sent = pattern(size, 1);
        let target = TcpTarget::source(sent.clone());
        let server = Server::to(engine, &target);
        let mut client = server.client();
        let got = client.expect_stream(size);
        assert!(got == sent, "sent {}, got {}", brief(&sent), brief(&got));
        assert_eq!(client.expect_close(1000), "Target closed");
        client.answer_close(1000);
        server.stop();
    }
}

fn target_end_without_data(engine: &str) {
    let target = TcpTarget::new(drop);
    let server = Server::to(engine, &target);
    let mut client = server.client();
    assert_eq!(client.expect_close(1000), "Target closed");
    client.answer_close(1000);
    server.stop();
}

/// The target sends and ends while the client still has much to say: the close frame must not be lost to a reset.
fn target_end_beside_client_data(engine: &str) {
    let target = TcpTarget::new(|mut stream| {
        let mut first = [0; 1];
        let _ = stream.read_exact(&mut first);
        let _ = stream.write_all(&[7; 100_000]);
        let _ = stream.shutdown(Shutdown::Write);
        crate::support::target::drain(&stream);
    });
    let server = Server::to(engine, &target);
    for _ in 0..10 {
        let mut client = server.client();
        let frames: Vec<u8> = (0..100).flat_map(|at| Frame::binary(pattern(20_000, at)).bytes()).collect();
        let writer = client.send_beside(frames);
        assert_eq!(client.expect_stream(100_000), [7; 100_000]);
        assert_eq!(client.expect_close(1000), "Target closed");
        // Whether all of it was still taken is free; that the writer is not left hanging is not.
        let _ = writer.join().expect("the writer does not panic");
        client.answer_close(1000);
    }
    server.stop();
}

fn target_reset(engine: &str) {
    let target = TcpTarget::resetting(5, b"");
    let server = Server::to(engine, &target);
    for _ in 0..5 {
        let mut client = server.client();
        client.send(&Frame::binary("hello"));
        assert_eq!(client.expect_close(1011), "Target reset");
        client.answer_close(1011);
    }
    server.stop();
}

fn target_refuses(engine: &str) {
    let refusing = Refusing::new();
    let server = Server::to(engine, refusing.address());
    let begun = Instant::now();
    let mut client = server.client();
    assert_eq!(client.expect_close(1011), "Failed to connect to downstream server");
    assert!(begun.elapsed() < Duration::from_secs(2), "a refusal needs no {:?}", begun.elapsed());
    client.answer_close(1011);
    server.stop();
}

/// Unread client data must not turn the server's close into a reset.
fn target_refuses_behind_early_data(engine: &str) {
    let refusing = Refusing::new();
    let server = Server::to(engine, refusing.address());
    for _ in 0..10 {
        let early = Frame::binary(pattern(200_000, 2)).bytes();
        let mut client = WsClient::open(server.wire(), &Handshake::new().early(early));
        assert_eq!(client.expect_close(1011), "Failed to connect to downstream server");
        client.answer_close(1011);
    }
    server.stop();
}

fn unknown_host(engine: &str) {
    let server = Server::to(engine, "no-such-host.invalid:5900");
    let mut client = server.client();
    assert_eq!(client.expect_close(1011), "Failed to connect to downstream server");
    client.answer_close(1011);
    server.stop();
}

fn client_close_is_echoed_and_reaches_the_target(engine: &str) {
    let (target, captured) = TcpTarget::capturing(Duration::ZERO);
    let server = Server::to(engine, &target);
    for close in [Frame::close(1000, "bye"), Frame::new(CLOSE, ""), Frame::close(4001, "\u{20ac}")] {
        let mut client = server.client();
        client.send_all(&[Frame::binary("data"), close.clone()]);
        client.expect(&Message::Close(close.payload));
        client.expect_eof(Duration::from_secs(3));
        let seen = captured.recv_timeout(PATIENCE).expect("the target sees the end");
        assert!(seen.orderly && seen.bytes == b"data", "{seen:?}");
    }
    server.stop();
}

fn client_close_is_echoed_at_once_while_the_target_floods(engine: &str) {
    let target = TcpTarget::flood();
    let server = Server::to(engine, &target);
    let mut best = PATIENCE;
    for _ in 0..5 {
        let mut client = server.client();
        client.expect_stream(5_000_000);
        let goodbye = Frame::close(1000, "enough");
        let begun = Instant::now();
        client.send(&goodbye);
        let echoed = loop {
            match client.next() {
                Message::Binary(_) => {}
                Message::Close(payload) => break payload,
                other => panic!("expected data or close, got {other:?}"),
            }
        };
        let waited = begun.elapsed();
        assert_eq!(echoed, goodbye.payload);
        assert!(waited < Duration::from_secs(2), "echoed after {waited:?}");
        best = best.min(waited);
        client.expect_eof(Duration::from_secs(3));
    }
    // What was under way has to be read first, which a busy machine may take long for; but not five times.
    assert!(best < Duration::from_millis(100), "echoed after {best:?} at best");
    server.stop();
}

fn client_data_reaches_the_target_before_its_end(engine: &str) {
    // The target starts to read late, so all of it is still queued when the client closes.
    let (target, captured) = TcpTarget::capturing(Duration::from_millis(500));
    let server = Server::to(engine, &target);
    let sent = pattern(10_000_000, 3);
    let mut client = server.client();
    let mut frames: Vec<u8> = sent.chunks(60_000).flat_map(|part| Frame::binary(part).bytes()).collect();
    frames.extend(Frame::close(1000, "").bytes());
    let writer = client.send_beside(frames);
    client.expect(&Message::Close(vec![0x03, 0xe8]));
    writer.join().expect("the writer does not panic").expect("everything is taken");
    client.expect_eof(PATIENCE);
    let seen = captured.recv_timeout(PATIENCE).expect("the target sees the end");
    assert!(seen.orderly, "a reset would lose data");
    assert!(seen.bytes == sent, "sent {}, the target got {}", brief(&sent), brief(&seen.bytes));
    server.stop();
}

fn client_end_without_close(engine: &str) {
    let (target, captured) = TcpTarget::capturing(Duration::from_millis(200));
    let server = Server::to(engine, &target);
    let sent = pattern(1_000_000, 4);
    let mut client = server.client();
    client.send(&Frame::binary(&sent[..]));
    client.inbox.wire.finish();
    let seen = captured.recv_timeout(PATIENCE).expect("the target sees the end");
    assert!(
        seen.orderly && seen.bytes == sent,
        "sent {}, the target got {}",
        brief(&sent),
        brief(&seen.bytes)
    );
    // In the middle of a frame: what had come is passed on.
    let mut client = server.client();
    client.send_bytes(&Frame::binary(&sent[..]).bytes()[..500_014]);
    client.inbox.wire.finish();
    let seen = captured.recv_timeout(PATIENCE).expect("the target sees the end");
    assert!(sent.starts_with(&seen.bytes), "the target got {}", brief(&seen.bytes));
    drop(client);
    server.stop();
}

fn client_reset_ends_the_target(engine: &str) {
    let (target, captured) = TcpTarget::capturing(Duration::ZERO);
    let server = Server::to(engine, &target);
    for _ in 0..5 {
        let mut client = server.client();
        client.send_all(&[Frame::binary("first"), Frame::ping("sync")]);
        client.expect(&Message::Pong(b"sync".to_vec()));
        client.inbox.wire.abort();
        let seen = captured.recv_timeout(PATIENCE).expect("the target sees the end");
        assert!(b"first".starts_with(&seen.bytes[..]), "{seen:?}");
    }
    server.stop();
}

fn offences_end_both_sides(engine: &str) {
    let (target, captured) = TcpTarget::capturing(Duration::ZERO);
    let server = Server::to(engine, &target);
    for (frame, code) in [
        (Frame::binary("bare").unmasked(), 1002),
        (Frame::new(0x3, "odd"), 1002),
        (Frame::last("stray"), 1002),
        (Frame::ping("rsv").rsv(4), 1002),
        (Frame::new(CLOSE, [0x03]), 1002),
        (Frame::close(1005, ""), 1002),
        (Frame::close(1000, [0xff]), 1007),
        (Frame::ping(vec![0; 126]), 1002),
    ] {
        let mut client = server.client();
        client.send_all(&[frame.clone(), Frame::binary("never")]);
        client.expect_close(code);
        client.answer_close(code);
        let seen = captured.recv_timeout(PATIENCE).expect("the target sees the end");
        assert!(seen.bytes.is_empty(), "{frame:?} let {seen:?} through");
    }
    server.stop();
}

fn text_to_a_stream_is_refused(engine: &str) {
    let (target, captured) = TcpTarget::capturing(Duration::ZERO);
    let server = Server::to(engine, &target);
    for frame in [Frame::text("hello"), Frame::text(""), Frame::text("begun").more()] {
        let mut client = server.client();
        client.send(&frame);
        client.expect_close(1003);
        client.answer_close(1003);
        let seen = captured.recv_timeout(PATIENCE).expect("the target sees the end");
        assert!(seen.bytes.is_empty(), "{frame:?} let {seen:?} through");
    }
    server.stop();
}

fn data_before_an_offence_arrives(engine: &str) {
    let (target, captured) = TcpTarget::capturing(Duration::ZERO);
    let server = Server::to(engine, &target);
    let sent = pattern(300_000, 5);
    let mut client = server.client();
    let fragments =
        [Frame::new(BINARY, &sent[..100_000]).more(), Frame::middle(&sent[100_000..]), Frame::last("")];
    client.send_all(&[&fragments[..], &[Frame::new(0x7, ""), Frame::binary("late")]].concat());
    client.expect_close(1002);
    client.answer_close(1002);
    let seen = captured.recv_timeout(PATIENCE).expect("the target sees the end");
    assert!(seen.bytes == sent, "sent {}, the target got {}", brief(&sent), brief(&seen.bytes));
    server.stop();
}

fn a_client_that_never_answers_the_close_is_dropped(engine: &str) {
    let (done, ended) = channel();
    let target = TcpTarget::new(move |mut stream| {
        let _ = stream.write_all(b"bye");
        let _ = stream.shutdown(Shutdown::Write);
        crate::support::target::drain(&stream);
        let _ = done.send(());
    });
    let server = Server::to(engine, &target);
    let mut client = server.client();
    assert_eq!(client.expect_close(1000), "Target closed");
    // It keeps sending instead; the server must not wait for ever, nor forward it.
    let until = Instant::now() + Duration::from_secs(12);
    let frame = Frame::binary("still here").bytes();
    while Instant::now() < until && client.inbox.wire.write_chopped(&frame, 0).is_ok() {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(Instant::now() < until, "the connection is still open 12 s after the close");
    ended.recv_timeout(PATIENCE).expect("the target's connection ends too");
    server.stop();
}
