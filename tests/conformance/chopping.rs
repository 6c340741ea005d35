//! Chapter: however the bytes arrive: in pieces of any size, right behind the request, under each protocol version.

use super::case::Case;
use super::fragments::split;
use crate::support::frame::{BINARY, Frame, TEXT};
use crate::support::{pattern, prose};

/// Sizes of the pieces.
const PIECES: [usize; 8] = [1, 2, 3, 7, 64, 997, 4096, 65_536];

/// All cases of this chapter.
pub fn cases() -> Vec<Case> {
    [pieces(), early(), versions()].concat()
}

fn pieces() -> Vec<Case> {
    let mut cases = Vec::new();
    for piece in PIECES {
        let name = |what: &str| Case::new(format!("{what}, in pieces of {piece}")).chopped(piece);
        // A piece of one byte is a system call; the sizes keep each case well under a second.
        let large = (piece * 20_000).clamp(66_000, 1 << 20);
        cases.push(name("text of 10 bytes").frame(Frame::text(prose(10))));
        cases.push(name("text of 200 bytes").frame(Frame::text(prose(200))));
        cases.push(name("large text").frame(Frame::text(prose(large))));
        cases.push(name("large binary").frame(Frame::binary(pattern(large, 41))));
        cases.push(name("large binary in 100 fragments").frames(split(BINARY, &pattern(large, 42), 100)));
        cases.push(name("everything").frames(everything()));
        cases.push(name("everything, early").frames(everything()).early());
        cases.push(name("close").frame(Frame::text("last")).closes(Frame::close(3210, "chopped")));
        cases.push(name("reserved opcode").frame(Frame::text("last")).offends(Frame::new(0x5, "x"), 1002));
    }
    cases
}

/// One of each legal thing.
fn everything() -> Vec<Frame> {
    let mut frames = vec![
        Frame::text("hello"),
        Frame::binary(""),
        Frame::pong("unasked"),
        Frame::binary(pattern(130, 43)),
    ];
    frames.extend(split(TEXT, &prose(1000), 3));
    frames.insert(5, Frame::ping("between"));
    frames.push(Frame::binary(pattern(66_000, 44)));
    frames.push(Frame::ping(pattern(125, 45)));
    frames.push(Frame::text(""));
    frames
}

fn early() -> Vec<Case> {
    let name = |what: &str| Case::new(format!("right behind the request: {what}")).early();
    let half = Frame::binary(pattern(1000, 46));
    let (first, rest) = half.payload.split_at(400);
    vec![
        name("one text").frame(Frame::text("early")),
        name("one empty binary").frame(Frame::binary("")),
        name("ten messages").frames((0..10).map(|at| Frame::text(format!("early {at}")))),
        name("a ping").frame(Frame::ping("early")),
        name("a message, then more in a turn").frame(Frame::text("early")).then().frame(Frame::text("later")),
        name("a fragment, its end in the next turn")
            .frames([Frame::binary(first).more(), Frame::ping("sync")])
            .then()
            .frame(Frame::last(rest)),
        name("70 KB, more than a head may have").frame(Frame::binary(pattern(70_000, 47))),
        name("1 MiB").frame(Frame::binary(pattern(1 << 20, 48))),
        name("1000 messages of 1 KB").frames((0..1000).map(|at| Frame::binary(pattern(1024, at)))),
        name("a close").closes(Frame::close(1000, "early")),
        name("a message and a close").frame(Frame::text("early")).closes(Frame::close(1000, "early")),
        name("an unmasked frame").offends(Frame::text("bare").unmasked(), 1002),
        name("a reserved opcode behind a message")
            .frame(Frame::text("good"))
            .offends(Frame::new(0x7, ""), 1002),
        name("text that is not UTF-8").offends(Frame::text([0xff]), 1007),
        name("noise")
            .offends_bytes(pattern(2000, 49).iter().map(|byte| byte | 0x70).collect::<Vec<_>>(), 1002),
        name("one text, byte by byte").frame(Frame::text("early")).chopped(1),
    ]
}

fn versions() -> Vec<Case> {
    let mut cases = Vec::new();
    for version in ["7", "8", "13"] {
        let name = |what: &str| Case::new(format!("version {version}: {what}")).version(version);
        cases.push(name("everything").frames(everything()));
        cases.push(name("early").frames(everything()).early());
        cases.push(name("close").closes(Frame::close(1000, "bye")));
        cases.push(name("offence").offends(Frame::new(0x3, ""), 1002));
    }
    cases
}
