//! Pings, pongs and closes: payloads, codes, reasons, and what is answered to a broken rule.

use super::super::{ControlFrame, Violation, close_payload, code};
use super::*;

#[test]
fn pings_and_pongs() {
    let longest = "p".repeat(125);
    check(
        TEXT,
        &[
            row("empty ping", &[frame(PING, "")], "[ping ]"),
            row("empty pong", &[frame(PONG, "")], "[pong ]"),
            row("ping", &[frame(PING, "hi")], "[ping hi]"),
            row("pong unasked", &[frame(PONG, "hi")], "[pong hi]"),
            row("ping of bytes", &[frame(PING, b"\x00\xFF\xFE")], "[ping \\x00\\xff\\xfe]"),
            row("124 bytes", &[frame(PING, "p".repeat(124))], &format!("[ping {}]", "p".repeat(124))),
            row("125 bytes", &[frame(PING, &longest)], &format!("[ping {longest}]")),
            row("pong of 125 bytes", &[frame(PONG, &longest)], &format!("[pong {longest}]")),
            row("126 bytes", &[frame(PING, "p".repeat(126))], "[fail LongControl]"),
            row("200 bytes", &[frame(PONG, "p".repeat(200))], "[fail LongControl]"),
            row("ten pings", &vec![frame(PING, "x"); 10], &"[ping x]".repeat(10)),
            row(
                "between messages",
                &[frame(FIN | BIN, "a"), frame(PING, "x"), frame(FIN | BIN, "b")],
                "bin(a)[ping x]bin(b)",
            ),
        ],
    );
}

#[test]
fn closes() {
    let reason = "r".repeat(123);
    check(
        TEXT,
        &[
            row("empty", &[frame(CLOSE, "")], "[close]"),
            row("code only", &[close(1000, "")], "[close 1000 ]"),
            row("code and reason", &[close(1001, "bye")], "[close 1001 bye]"),
            row("reason of UTF-8", &[close(1000, "é€")], "[close 1000 \\xc3\\xa9\\xe2\\x82\\xac]"),
            row("longest reason", &[close(3000, &reason)], &format!("[close 3000 {reason}]")),
            row("a byte too long", &[close(3000, "r".repeat(124))], "[fail LongControl]"),
            row("one byte", &[frame(CLOSE, "x")], "[fail BadClosePayload]"),
            row("reason not UTF-8", &[close(1000, b"\xC0\xAF")], "[fail BadCloseReason]"),
            row("reason cut in a character", &[close(1000, b"abc\xE2\x82")], "[fail BadCloseReason]"),
            row("reason with a surrogate", &[close(1000, b"\xED\xA0\x80")], "[fail BadCloseReason]"),
            row("bad code before bad reason", &[close(1005, b"\xFF")], "[fail BadCloseCode]"),
            row("message after it", &[close(1000, ""), frame(FIN | BIN, "x")], "[close 1000 ]"),
            row("ping after it", &[frame(CLOSE, ""), frame(PING, "x")], "[close]"),
            row("close after it", &[close(1000, "a"), close(1001, "b")], "[close 1000 a]"),
            row("rubbish after it", &[frame(CLOSE, ""), vec![0xFF; 30]], "[close]"),
            row("message before it", &[frame(FIN | BIN, "x"), close(1000, "")], "bin(x)[close 1000 ]"),
            row("nothing after a bad one", &[close(999, ""), frame(FIN | BIN, "x")], "[fail BadCloseCode]"),
        ],
    );
}

#[test]
fn every_close_code() {
    for number in 0..=u16::MAX {
        let valid = match number {
            1000..=1003 | 1007..=1011 => true,
            // Registered with IANA after the RFC: service restart, try again later, bad gateway.
            1012..=1014 => true,
            // Of libraries and of applications.
            3000..=4999 => true,
            _ => false,
        };
        let told = if valid { format!("[close {number} x]") } else { "[fail BadCloseCode]".to_string() };
        assert_eq!(outcome(TEXT, &close(number, "x"), &[], Way::InPlace), told);
    }
}

#[test]
fn close_codes_at_the_edges() {
    let rows: Vec<Row> = [
        (0, false),
        (999, false),
        (1000, true),
        (1003, true),
        (1004, false),
        (1005, false),
        (1006, false),
        (1007, true),
        (1014, true),
        (1015, false),
        (1016, false),
        (1100, false),
        (2000, false),
        (2999, false),
        (3000, true),
        (3999, true),
        (4000, true),
        (4999, true),
        (5000, false),
        (65_535, false),
    ]
    .map(|(number, valid)| {
        let told = if valid { format!("[close {number} ]") } else { "[fail BadCloseCode]".to_string() };
        ("code at an edge", close(number, ""), told)
    })
    .into();
    check(TEXT, &rows);
}

#[test]
fn answers_to_broken_rules() {
    const TABLE: &[(Violation, u16, &str)] = &[
        (Violation::Unmasked, 1002, "Protocol error: Frame not masked"),
        (Violation::ReservedBits, 1002, "Protocol error: Reserved bits set"),
        (Violation::ReservedOpcode, 1002, "Protocol error: Unknown opcode"),
        (Violation::LongControl, 1002, "Protocol error: Control frame too long"),
        (Violation::FragmentedControl, 1002, "Protocol error: Fragmented control frame"),
        (Violation::NonMinimalLength, 1002, "Protocol error: Length not minimal"),
        (Violation::LengthTopBit, 1002, "Protocol error: Length out of range"),
        (Violation::StrayContinuation, 1002, "Protocol error: Unexpected continuation frame"),
        (Violation::NewInsideMessage, 1002, "Protocol error: Unexpected new frame"),
        (Violation::TextRefused, 1003, "Unsupported: Text frames are not supported"),
        (Violation::BadUtf8, 1007, "Protocol error: Invalid UTF-8 in text"),
        (Violation::BadClosePayload, 1002, "Protocol error: Close payload of one byte"),
        (Violation::BadCloseCode, 1002, "Protocol error: Invalid close code"),
        (Violation::BadCloseReason, 1007, "Protocol error: Invalid UTF-8 in close"),
    ];
    for (violation, number, reason) in TABLE {
        assert_eq!((violation.code(), violation.reason()), (*number, *reason), "{violation:?}");
        assert!(reason.len() <= 123, "{violation:?}");
    }
}

#[test]
fn a_close_can_be_echoed() {
    let mut decoder = Decoder::new(TEXT);
    let mut bytes = close(code::GOING_AWAY, "bye");
    let Event::Close(Some(reason)) = decoder.next(&mut bytes, &mut 0, None) else { panic!("no close") };
    assert_eq!(ControlFrame::close(reason.payload()).as_slice(), b"\x88\x05\x03\xE9bye");
    assert_eq!(reason.payload(), &close_payload(code::GOING_AWAY, "bye"));
}
