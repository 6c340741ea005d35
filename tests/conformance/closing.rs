//! Chapter: the closing handshake (RFC 6455 sections 5.5.1, 7.1 and 7.4).

use super::case::Case;
use crate::support::frame::{CLOSE, Frame, close_payload};
use crate::support::{pattern, prose};

/// Codes that an end point may send: those of RFC 6455, those registered since, and the free ranges.
const VALID: [u16; 17] =
    [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4500, 4999];
/// Codes that nobody may send.
const INVALID: [u16; 16] =
    [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 9999, 32_768, 65_535];

/// All cases of this chapter.
pub fn cases() -> Vec<Case> {
    [codes(), payloads(), reasons(), afterwards(), inside()].concat()
}

fn codes() -> Vec<Case> {
    let mut cases = Vec::new();
    for code in VALID {
        cases.push(Case::new(format!("close {code}")).closes(Frame::close(code, "")));
        cases.push(Case::new(format!("close {code} with a reason")).closes(Frame::close(code, "because")));
    }
    for code in INVALID {
        cases
            .push(Case::new(format!("close {code}, which is invalid")).offends(Frame::close(code, ""), 1002));
        let reason = Frame::close(code, "because");
        cases.push(Case::new(format!("close {code} with a reason, which is invalid")).offends(reason, 1002));
    }
    cases
}

fn payloads() -> Vec<Case> {
    let full = || Frame::close(1000, "r".repeat(123));
    vec![
        Case::new("close without payload").closes(Frame::new(CLOSE, "")),
        Case::new("close without payload, byte by byte").closes(Frame::new(CLOSE, "")).chopped(1),
        Case::new("close of one byte").offends(Frame::new(CLOSE, [0x03]), 1002),
        Case::new("close of one byte, byte by byte").offends(Frame::new(CLOSE, [0x03]), 1002).chopped(1),
        Case::new("close with a reason of 1 byte").closes(Frame::close(1000, "r")),
        Case::new("close with a reason of 122 bytes").closes(Frame::close(1000, "r".repeat(122))),
        Case::new("close with a reason of 123 bytes").closes(full()),
        Case::new("close with a reason of 123 bytes, byte by byte").closes(full()).chopped(1),
        Case::new("close with a reason of 124 bytes").offends(Frame::close(1000, "r".repeat(124)), 1002),
        Case::new("close with a zero mask").closes(Frame::close(1000, "bare").key([0; 4])),
        Case::new("close as the very first frame, early").closes(Frame::close(1001, "early")).early(),
    ]
}

fn reasons() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, reason) in [
        ("U+0000", "\0"),
        ("two bytes a character", "\u{fc}ber"),
        ("three bytes a character", "\u{20ac}"),
        ("four bytes a character", "\u{1f98a}"),
        ("the last character", "\u{10ffff}"),
    ] {
        cases.push(Case::new(format!("close reason of {name}")).closes(Frame::close(1000, reason)));
        cases.push(
            Case::new(format!("close reason of {name}, by 1")).closes(Frame::close(1000, reason)).chopped(1),
        );
    }
    let long = format!("{}\u{20ac}", "r".repeat(120));
    cases.push(Case::new("close reason of 123 bytes that ends in three").closes(Frame::close(1000, long)));
    for (name, reason) in [
        ("ff", &b"\xff"[..]),
        ("a continuation alone", b"ok \x80"),
        ("a cut character", b"cut \xe2\x82"),
        ("a surrogate", b"\xed\xa0\x80"),
        ("too long a form", b"\xc0\xaf"),
        ("above U+10FFFF", b"\xf4\x90\x80\x80"),
        ("five bytes", b"\xf8\x88\x80\x80\x80"),
    ] {
        let close = || Frame::close(1000, reason);
        cases.push(Case::new(format!("close reason of {name}, invalid")).offends(close(), 1007));
        cases.push(
            Case::new(format!("close reason of {name}, invalid, by 1")).offends(close(), 1007).chopped(1),
        );
    }
    cases
}

fn afterwards() -> Vec<Case> {
    let close = || Frame::close(1000, "over");
    let after =
        |what: &str, bytes: Vec<u8>| Case::new(format!("after close: {what}")).closes(close()).ignored(bytes);
    let mut cases = vec![
        after("text", Frame::text("late").bytes()),
        after("binary of 100 KB", Frame::binary(pattern(100_000, 31)).bytes()),
        after("binary of 3 MB", Frame::binary(pattern(3_000_000, 32)).bytes()),
        after("ping", Frame::ping("late").bytes()),
        after("pong", Frame::pong("late").bytes()),
        after("another close", Frame::close(1001, "again").bytes()),
        after("the same close", close().bytes()),
        after("an invalid close", Frame::close(1005, "").bytes()),
        after("a reserved opcode", Frame::new(0x3, "").bytes()),
        after("an unmasked frame", Frame::text("bare").unmasked().bytes()),
        after("noise", pattern(5_000, 33)),
        after("half a frame", Frame::text(prose(300)).bytes()[..77].to_vec()),
        after("text, by 1", Frame::text("late").bytes()).chopped(1),
    ];
    let offence = || Case::new("after an offence: text and close").offends(Frame::new(0x3, ""), 1002);
    cases.push(offence().ignored([Frame::text("late").bytes(), close().bytes()].concat()));
    let unmasked = Case::new("after an offence: 3 MB").offends(Frame::text("bare").unmasked(), 1002);
    cases.push(unmasked.ignored(pattern(3_000_000, 34)));
    let bad_close = Case::new("after an invalid close: a valid one").offends(Frame::close(1006, ""), 1002);
    cases.push(bad_close.ignored(close().bytes()));
    cases
}

fn inside() -> Vec<Case> {
    let close = || Frame::close(1000, "now");
    vec![
        Case::new("close inside a fragmented message").frame(Frame::text("begun").more()).closes(close()),
        Case::new("close inside a fragmented message, then its end")
            .frame(Frame::text("begun").more())
            .closes(close())
            .ignored(Frame::last("end").bytes()),
        Case::new("close inside a cut character").frame(Frame::text([0xe2]).more()).closes(close()),
        Case::new("close behind a message").frame(Frame::text("first")).closes(close()),
        Case::new("close behind a message of 300 KB")
            .frame(Frame::binary(pattern(300_000, 35)))
            .closes(close()),
        Case::new("close behind 1000 messages")
            .frames((0..1000).map(|at| Frame::text(format!("message {at}"))))
            .closes(close()),
        Case::new("close behind a ping").frame(Frame::ping("p")).closes(close()),
        Case::new("close behind a pong").frame(Frame::pong("p")).closes(close()),
        Case::new("close in a turn of its own").frame(Frame::text("first")).then().closes(close()),
        Case::new("empty close in a turn of its own")
            .frame(Frame::text("first"))
            .then()
            .closes(Frame::new(CLOSE, "")),
        Case::new("close of the largest legal payload inside a message")
            .frame(Frame::binary("begun").more())
            .closes(Frame::new(CLOSE, close_payload(4999, prose(123)))),
    ]
}
