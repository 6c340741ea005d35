//! Cases for what a turn is charged: what was done with a receive that cost more than passing it on.

use super::framed::bridge;
use super::play::{Client, Far, Play};
use super::read::{binary, frame, ping};
use crate::limits::{
    CHARGE_BYTES_MIN, FRAMING_MESSAGE_COST, FRAMING_MESSAGES_MANY, HOT_BYTES, STUDIED_BYTE_COST, TURN_BYTES,
};

/// Payload that is not charged, however it comes.
const MUCH: usize = 100_000;

#[test]
fn messages_are_cut_so_many_at_once_and_each_such_lot_is_charged_a_turn() {
    let lot = FRAMING_MESSAGES_MANY * FRAMING_MESSAGE_COST;
    assert!(lot >= TURN_BYTES);
    let mut play = bridge("newline", "lf");
    play.slow = true;
    play.target("\n".repeat(HOT_BYTES));
    // Each lot begins when the one before has gone, and no other receive is asked for meanwhile.
    for lots in 1..=10 {
        assert!(play.step(Client, Far) && play.sockets[1].receiving.is_none());
        assert_eq!(play.charges, vec![lot; lots]);
        assert_eq!(play.session.as_ref().unwrap().core().messages_out as usize, lots * FRAMING_MESSAGES_MANY);
    }
    play.slow = false;
    assert_eq!(play.run().fin(Far).frames().matches("text:\n").count(), HOT_BYTES);
    assert!(play.charges.iter().all(|charge| *charge <= lot));
    assert_eq!(play.charges.iter().sum::<usize>(), HOT_BYTES * FRAMING_MESSAGE_COST);
}

#[test]
fn cutting_is_charged_by_messages_and_where_each_byte_is_studied_by_bytes_too() {
    let few = CHARGE_BYTES_MIN / FRAMING_MESSAGE_COST;
    for (name, words, stream, charges) in [
        ("newline", "lf", "\n".repeat(few - 1), vec![]),
        ("newline", "lf", "\n".repeat(few), vec![few * FRAMING_MESSAGE_COST]),
        ("newline", "lf", "x".repeat(MUCH), vec![]),
        ("fixedlength", "1", "x".repeat(1_000), vec![1_000 * FRAMING_MESSAGE_COST]),
        ("auto", "", "x".repeat(MUCH), vec![]),
        ("json", "", format!("[{}", " ".repeat(MUCH - 1)), vec![MUCH * STUDIED_BYTE_COST]),
        ("json", "", "{}".repeat(1_000), vec![1_000 * (FRAMING_MESSAGE_COST + 2 * STUDIED_BYTE_COST)]),
    ] {
        let mut play = bridge(name, words);
        assert_eq!(play.target(&stream).charges, charges, "{name} {}", stream.len());
    }
}

#[test]
fn what_clients_send_is_charged_by_what_is_no_payload() {
    let many = |frame: Vec<u8>| frame.repeat(1_000);
    let header = 6;
    for (what, frames, dear) in [
        ("a long message", binary(vec![b'x'; MUCH]), 0),
        ("a long part of one", frame(0x02, vec![b'x'; MUCH]), 0),
        ("some messages", binary("x").repeat(10), 0),
        ("small messages", many(binary("x")), header),
        ("empty ones", many(binary("")), header),
        ("pings", many(ping("p")), header + 1),
        ("pongs", many(frame(0x8a, "p")), header + 1),
        ("empty parts", [frame(0x02, "x"), many(frame(0, "")), frame(0x80, "")].concat(), header),
    ] {
        for mut play in [Play::bridge(), Play::open("127.0.0.1:5900"), Play::open("echo://")] {
            play.client(&frames);
            let charged: usize = play.charges.iter().sum();
            let exact = 1_000 * dear * STUDIED_BYTE_COST;
            // The first and the last part of a message have a header too.
            assert!((exact..=exact + 2 * header * STUDIED_BYTE_COST).contains(&charged), "{what}: {charged}");
        }
    }
}

#[test]
fn a_message_that_an_echo_keeps_is_payload_when_it_comes_and_when_it_goes() {
    let mut play = Play::open("echo://");
    for part in [frame(0x02, vec![b'x'; MUCH]), frame(0, vec![b'y'; MUCH]), frame(0x80, vec![b'z'; MUCH])] {
        play.client(part);
    }
    assert!(play.charges.is_empty(), "{:?}", play.charges);
    play.client(frame(0x02, vec![b'x'; MUCH]));
    play.client([frame(0x80, ""), binary("").repeat(1_000)].concat());
    assert_eq!(play.charges, [1_001 * 6 * STUDIED_BYTE_COST]);
}
