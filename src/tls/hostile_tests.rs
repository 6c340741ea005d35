//! Tests of the record transformer against peers that lie: garbage, cuts, flips, lengths that are no lengths. Nothing may
//! panic, grow or spin, and nothing that was not sent may come out.

use super::stream::{Failure, Stream};
use super::stream_tests::{Pair, VERSIONS, World, give, pattern, world};
use crate::limits::TLS_BUFFERED_MAX;
use crate::pool::Lease;
use rustls::version::{TLS12, TLS13};
use std::sync::Arc;

fn plain_world(version: &'static rustls::SupportedProtocolVersion) -> World {
    world(&rcgen::PKCS_ECDSA_P256_SHA256, version, false)
}

fn opened(world: &World) -> Pair {
    let mut pair = world.pair(100_000);
    pair.handshake();
    pair
}

/// A stream of numbers that looks random and is the same every time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

fn assert_dead(stream: &mut Stream, world: &World) {
    assert!(!stream.is_handshaking());
    assert_eq!(stream.carried(), 0);
    let again = give(stream, &world.pool, &pattern(1000), 1000);
    assert_eq!(again.failed, Some(Failure::NotOpen));
    assert!(again.plain.is_empty() && again.reply.is_empty());
    assert_eq!(stream.seal(Lease::own(vec![1]), &world.pool).unwrap_err(), Failure::NotOpen);
    assert!(stream.close_notify(&world.pool).is_none());
}

#[test]
fn garbage_instead_of_a_hello() {
    let world = plain_world(&TLS13);
    let mut chance = Chance(1);
    for round in 0..400 {
        let mut stream = Stream::server(world.server.clone()).unwrap();
        let mut bytes: Vec<u8> = (0..chance.below(5000) + 1).map(|_| chance.below(256) as u8).collect();
        if round % 2 == 0 {
            let head =
                [0x16, 3, chance.below(5) as u8, chance.below(80) as u8, chance.below(256) as u8, 1, 0];
            let count = head.len().min(bytes.len());
            bytes[..count].copy_from_slice(&head[..count]);
        }
        let heard = give(&mut stream, &world.pool, &bytes, chance.below(300) + 1);
        assert!(heard.plain.is_empty() && !heard.established);
        if heard.failed.is_some() {
            assert_dead(&mut stream, &world);
        }
    }
    assert_eq!(world.pool.in_use(), 0);
}

#[test]
fn a_request_in_plain_text_gets_an_alert() {
    let world = plain_world(&TLS13);
    let mut stream = Stream::server(world.server.clone()).unwrap();
    let heard = give(&mut stream, &world.pool, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1000);
    assert!(matches!(heard.failed, Some(Failure::Tls(_))));
    assert_eq!(heard.reply.first(), Some(&21), "an alert record");
    assert_dead(&mut stream, &world);
}

#[test]
fn any_flipped_bit_ends_the_stream_and_no_wrong_byte_comes_out() {
    for version in VERSIONS {
        let world = plain_world(version);
        let mut chance = Chance(7);
        for _ in 0..100 {
            let mut pair = opened(&world);
            let plain = pattern(40_000);
            let mut sealed = pair.client.seal(Lease::own(plain.clone()), &world.pool).unwrap().to_vec();
            let at = chance.below(sealed.len());
            sealed[at] ^= 1 << chance.below(8);
            let heard = give(&mut pair.server, &world.pool, &sealed, chance.below(20_000) + 1);
            assert!(plain.starts_with(&heard.plain) && heard.plain.len() < plain.len());
            // A length that became larger leaves the stream waiting for the rest.
            assert!(heard.failed.is_some() || pair.server.carried() > 0);
            if heard.failed.is_some() {
                assert_dead(&mut pair.server, &world);
            }
        }
    }
}

#[test]
fn flipped_handshakes_never_panic() {
    for version in VERSIONS {
        let world = plain_world(version);
        let mut chance = Chance(3);
        for _ in 0..150 {
            let mut pair = world.pair(chance.below(700) + 1);
            let mut wire = pair.client.hello(&world.pool).unwrap().to_vec();
            let mut to_server = true;
            let flip_in = chance.below(3);
            for flight in 0..6 {
                if flight == flip_in && !wire.is_empty() {
                    let at = chance.below(wire.len());
                    wire[at] ^= 1 << chance.below(8);
                }
                let stream = if to_server { &mut pair.server } else { &mut pair.client };
                let heard = give(stream, &world.pool, &wire, pair.cut);
                assert!(heard.plain.is_empty());
                wire = heard.reply;
                to_server = !to_server;
            }
        }
        assert_eq!(world.pool.in_use(), 0);
    }
}

#[test]
fn a_cut_record_gives_what_was_whole_before_it() {
    let world = plain_world(&TLS13);
    let mut pair = opened(&world);
    let sealed = pair.client.seal(Lease::own(pattern(40_000)), &world.pool).unwrap().to_vec();
    let heard = give(&mut pair.server, &world.pool, &sealed[..sealed.len() - 1], 100_000);
    assert_eq!(heard.plain, pattern(40_000)[..2 * 16_384]);
    assert!(heard.failed.is_none() && !heard.closed);
    assert_eq!(pair.server.carried(), 40_000 - 2 * 16_384 + 22 - 1);
}

#[test]
fn over_long_records_are_refused_and_nothing_waits_for_them() {
    for version in VERSIONS {
        let world = plain_world(version);
        for (length, established) in [(0xffff_u16, false), (18_433, false), (0xffff, true), (18_433, true)] {
            let mut pair = world.pair(1000);
            if established {
                pair.handshake();
            }
            let mut bytes = vec![if established { 23 } else { 22 }, 3, 3];
            bytes.extend(length.to_be_bytes());
            bytes.extend(pattern(70_000));
            let heard = give(&mut pair.server, &world.pool, &bytes, 1000);
            assert!(heard.failed.is_some() && !heard.reply.is_empty());
            assert_dead(&mut pair.server, &world);
        }
    }
}

#[test]
fn records_without_content_are_no_data_and_no_trouble() {
    let world = plain_world(&TLS13);
    let mut stream = Stream::server(world.server.clone()).unwrap();
    // Empty handshake records are refused (RFC 8446 section 5.1).
    let heard = give(&mut stream, &world.pool, &[22, 3, 3, 0, 0].repeat(100), 7);
    assert!(heard.failed.is_some());
    let mut pair = opened(&world);
    assert!(pair.client.seal(Lease::own(Vec::new()), &world.pool).unwrap().is_empty());
    let heard = give(&mut pair.server, &world.pool, &[23, 3, 3, 0, 0].repeat(100), 7);
    assert!(heard.plain.is_empty() && heard.failed.is_some());
}

#[test]
fn a_hello_in_records_of_one_byte_passes_and_an_endless_one_is_cut_off() {
    let world = plain_world(&TLS12);
    let mut pair = world.pair(1);
    let hello = pair.client.hello(&world.pool).unwrap().to_vec();
    let dripped: Vec<u8> = hello[5..].iter().flat_map(|&byte| [22, 3, 1, 0, 1, byte]).collect();
    let heard = give(&mut pair.server, &world.pool, &dripped, 4);
    assert!(heard.failed.is_none() && !heard.reply.is_empty());

    let mut stream = Stream::server(world.server.clone()).unwrap();
    let mut endless: Vec<u8> = [1, 0, 0xff, 0xff].iter().flat_map(|&byte| [22, 3, 1, 0, 1, byte]).collect();
    endless.extend([22, 3, 1, 0, 1, 0].repeat(TLS_BUFFERED_MAX / 6 + 1));
    let heard = give(&mut stream, &world.pool, &endless, 1000);
    assert_eq!(heard.failed, Some(Failure::TooLong));
    assert_eq!(stream.carried(), 0);
}

#[test]
fn bytes_behind_close_notify_are_dropped() {
    for version in VERSIONS {
        let world = plain_world(version);
        let mut pair = opened(&world);
        let mut wire = pair.client.close_notify(&world.pool).unwrap().to_vec();
        wire.extend(pattern(5000));
        let heard = give(&mut pair.server, &world.pool, &wire, 300);
        assert!(heard.closed && heard.failed.is_none() && heard.plain.is_empty());
        assert_eq!(pair.server.carried(), 0);
        assert_eq!(pair.send_to_client(b"still").plain, b"still");
    }
}

#[test]
fn close_in_the_handshake_and_data_before_it_are_no_spin() {
    let world = plain_world(&TLS13);
    let mut pair = world.pair(10);
    assert!(pair.server.close_notify(&world.pool).is_none());
    assert_eq!(pair.server.seal(Lease::own(vec![1]), &world.pool).unwrap_err(), Failure::NotOpen);
    let hello = pair.client.hello(&world.pool).unwrap().to_vec();
    give(&mut pair.server, &world.pool, &hello, 10);
    let heard = give(&mut pair.server, &world.pool, &[21, 3, 3, 0, 2, 1, 0], 10);
    assert!(heard.closed || heard.failed.is_some());
    let mut stream = Stream::server(Arc::clone(&world.server)).unwrap();
    let heard = give(&mut stream, &world.pool, &[21, 3, 3, 0, 2, 1, 0].repeat(50), 10);
    assert!(heard.closed || heard.failed.is_some());
    assert_eq!(world.pool.in_use(), 0);
}

#[test]
fn renegotiation_is_refused_and_not_for_ever() {
    // A hello inside a TLS 1.2 stream cannot be made with rustls; bare handshake bytes stand for it, and break the record.
    let world = plain_world(&TLS12);
    let mut pair = opened(&world);
    let heard = give(&mut pair.server, &world.pool, &[22, 3, 3, 0, 4, 1, 0, 0, 0], 9);
    assert!(heard.failed.is_some() && !heard.established);
    assert_dead(&mut pair.server, &world);
}
