//! The simulated network keeps its own promises.

use super::*;
use crate::engine::{Calls, Kernel, Lane, Readable, Ready, Token};
use crate::slab::Key;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

fn token(index: u32) -> Token {
    Token::new(Key { index, generation: 0 }, Lane::First)
}

fn turn(kernel: &mut SimKernel, wait_ms: u64) -> Vec<Ready<SimSocket>> {
    let mut ready = Vec::new();
    kernel.turn(Some(Duration::from_millis(wait_ms)), &mut ready).unwrap();
    ready
}

fn accepted(world: &World, kernel: &mut SimKernel) -> (Hand, SimSocket) {
    let hand = world.client_connects(0);
    kernel.arm_accept(0);
    for _ in 0..100 {
        for report in turn(kernel, 1000) {
            match report {
                Ready::Accepted(_, socket, _) => return (hand, socket),
                Ready::AcceptFailed(index, _) => kernel.arm_accept(index),
                _ => {}
            }
        }
    }
    panic!("nobody was accepted");
}

/// Reads what edges announce, as an engine would, and gives back what came.
fn read_by_edges(seed: u64) -> (Vec<u8>, Vec<u8>, u64) {
    let world = World::new(seed);
    let mut kernel = world.kernel();
    let (hand, socket) = accepted(&world, &mut kernel);
    let mut watched = kernel.watch(token(0), &socket).is_ok();
    let (mut dice, mut got, mut end_seen, mut over) = (world.dice(), Vec::new(), false, false);
    for round in 0..4000 {
        if round < 20 {
            let bytes: Vec<u8> = (0..dice.size(50)).map(|_| dice.word() as u8).collect();
            hand.write(&bytes);
        } else if round == 20 {
            hand.shut();
        }
        let mut edge = false;
        for report in turn(&mut kernel, 1000) {
            match report {
                Ready::Readable(_, what) => (edge, end_seen) = (true, end_seen | (what == Readable::More)),
                Ready::Unwatched(_) => watched = false,
                _ => {}
            }
        }
        if !watched {
            watched = kernel.watch(token(0), &socket).is_ok();
        }
        while edge && !over {
            let mut into = [0; 7];
            match kernel.receive(&socket, &mut into) {
                Ok(0) => over = true,
                Ok(count) => {
                    got.extend(&into[..count]);
                    edge = count == into.len() || end_seen;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => over = true,
            }
        }
        if over {
            break;
        }
    }
    assert!(over, "seed {seed}: the edges did not lead to the end");
    kernel.retire(token(0), socket, false);
    while !turn(&mut kernel, 1000).iter().any(|report| matches!(report, Ready::Closed(_))) {}
    assert_eq!(world.open_sockets(), 0);
    world.check();
    let written = if hand.is_broken() { hand.written()[..got.len()].to_vec() } else { hand.written() };
    (written, got, world.trace_hash())
}

#[test]
fn edges_lead_to_every_byte_and_the_end() {
    for seed in 0..300 {
        let (written, got, _) = read_by_edges(seed);
        assert_eq!(written, got, "seed {seed}");
    }
}

#[test]
fn a_seed_is_the_same_day_every_time() {
    for seed in 0..50 {
        assert_eq!(read_by_edges(seed).2, read_by_edges(seed).2, "seed {seed}");
        assert_ne!(read_by_edges(seed).2, read_by_edges(seed + 1).2, "seed {seed}");
    }
}

#[test]
fn an_edge_is_reported_once_however_long_its_bytes_lie() {
    let world = World::with_odds(1, Odds::calm());
    let mut kernel = world.kernel();
    let (hand, socket) = accepted(&world, &mut kernel);
    kernel.watch(token(0), &socket).unwrap();
    hand.write(b"hello");
    let mut edges = 0;
    for _ in 0..20 {
        edges += turn(&mut kernel, 10).len();
    }
    assert_eq!(edges, 1);
    hand.write(b" again");
    let reports: Vec<_> = (0..20).flat_map(|_| turn(&mut kernel, 10)).collect();
    assert!(matches!(reports[..], [Ready::Readable(_, Readable::Bytes)]));
    kernel.retire(token(0), socket, false);
}

#[test]
fn connects_succeed_late_are_refused_or_stay_silent() {
    let place = Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 5900)));
    let world = World::with_odds(3, Odds { dial_ms: 500, ..Odds::calm() });
    world.target(place.clone(), &[Behaviour::Sink, Behaviour::Refuse, Behaviour::Silent]);
    let mut kernel = world.kernel();
    let mut outcomes = Vec::new();
    for index in 0..3 {
        let socket = kernel.connect(token(index), &place).unwrap();
        let decided = (0..10).flat_map(|_| turn(&mut kernel, 200)).any(|it| matches!(it, Ready::Writable(_)));
        outcomes.push(decided.then(|| kernel.connected(token(index), &socket).is_ok()));
        kernel.retire(token(index), socket, !decided);
    }
    assert_eq!(outcomes, [Some(true), Some(false), None]);
    let unknown = kernel.connect(token(3), &Address::Unix(PathBuf::from("/nobody"))).unwrap();
    kernel.retire(token(3), unknown, true);
    world.check();
}

#[test]
fn a_full_stream_takes_no_more_until_the_far_end_reads() {
    let world = World::with_odds(5, Odds { buffer_bytes: 64, ..Odds::calm() });
    let mut kernel = world.kernel();
    let (hand, socket) = accepted(&world, &mut kernel);
    let mut sent = 0;
    for _ in 0..20 {
        while let Ok(count) = kernel.send(&socket, b"abc", false) {
            sent += count;
        }
        turn(&mut kernel, 1);
    }
    assert!(sent <= 128, "{sent}");
    kernel.want_write(token(0), &socket).unwrap();
    assert!(turn(&mut kernel, 1).is_empty());
    let read = hand.read().len();
    assert!(read > 0 && read < sent);
    let reports: Vec<_> = (0..5).flat_map(|_| turn(&mut kernel, 1)).collect();
    assert!(matches!(reports[..], [Ready::Writable(_)]));
    kernel.retire(token(0), socket, false);
}

#[test]
fn a_socket_that_is_lost_is_found() {
    let world = World::with_odds(7, Odds::calm());
    let mut kernel = world.kernel();
    let (_hand, socket) = accepted(&world, &mut kernel);
    kernel.watch(token(0), &socket).unwrap();
    drop(socket);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.check())).is_err());
}

#[test]
#[should_panic(expected = "watched once")]
fn a_second_watch_is_a_bug() {
    let world = World::with_odds(7, Odds::calm());
    let mut kernel = world.kernel();
    let (_hand, socket) = accepted(&world, &mut kernel);
    kernel.watch(token(0), &socket).unwrap();
    let _ = kernel.watch(token(0), &socket);
}

#[test]
#[should_panic(expected = "a token is of one socket")]
fn a_token_for_two_sockets_is_a_bug() {
    let world = World::with_odds(7, Odds::calm());
    let mut kernel = world.kernel();
    let (_one, first) = accepted(&world, &mut kernel);
    let (_two, second) = accepted(&world, &mut kernel);
    kernel.watch(token(0), &first).unwrap();
    let _ = kernel.watch(token(0), &second);
}

#[test]
fn a_far_end_is_left_when_the_near_one_is_closed() {
    let world = World::with_odds(1, Odds::calm());
    let mut kernel = world.kernel();
    let (hand, socket) = accepted(&world, &mut kernel);
    let waiting = world.client_connects(0);
    kernel.watch(token(0), &socket).unwrap();
    assert!(!hand.is_left());
    kernel.retire(token(0), socket, false);
    while !hand.is_left() {
        assert!(!world.is_quiet(), "a close comes");
        turn(&mut kernel, 10);
    }
    assert!(!waiting.is_left(), "nobody has taken it up yet");
}
