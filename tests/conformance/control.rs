//! Chapter: ping and pong (RFC 6455 sections 5.5.2 and 5.5.3), and the limits of all control frames.

use super::case::Case;
use crate::support::frame::{CLOSE, Frame, PING, PONG};
use crate::support::{pattern, prose};

/// All cases of this chapter.
pub fn cases() -> Vec<Case> {
    [pings(), pongs(), beside_data(), floods(), too_long(), fragmented()].concat()
}

fn pings() -> Vec<Case> {
    let sizes = [0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 124, 125];
    let mut cases: Vec<_> = sizes
        .into_iter()
        .map(|size| Case::new(format!("ping of {size} bytes")).frame(Frame::ping(pattern(size, 11))))
        .collect();
    cases.push((0..=125).fold(Case::new("pings of every size in turn"), |case, size| {
        case.frame(Frame::ping(pattern(size, 12))).then()
    }));
    cases.push(
        Case::new("ping of bytes that are not UTF-8")
            .frame(Frame::ping([0x00, 0xff, 0xfe, 0xfd, 0xc0, 0x80])),
    );
    cases.push(Case::new("ping with a zero mask").frame(Frame::ping("zero").key([0; 4])));
    cases.push(Case::new("ping of 125 bytes, byte by byte").frame(Frame::ping(pattern(125, 13))).chopped(1));
    cases.push(
        Case::new("10 pings in one segment").frames((0..10).map(|at| Frame::ping(format!("ping {at}")))),
    );
    cases.push(
        Case::new("10 pings byte by byte")
            .frames((0..10).map(|at| Frame::ping(format!("ping {at}"))))
            .chopped(1),
    );
    cases
}

fn pongs() -> Vec<Case> {
    let mut cases: Vec<_> = [0, 1, 125]
        .into_iter()
        .map(|size| {
            Case::new(format!("pong of {size} bytes that nobody asked for"))
                .frame(Frame::pong(pattern(size, 14)))
        })
        .collect();
    cases.push(Case::new("pong, then ping").frames([Frame::pong("unasked"), Frame::ping("asked")]));
    cases.push(Case::new("pong, then text").frames([Frame::pong("unasked"), Frame::text("hello")]));
    cases.push(Case::new("pong between two fragments").frames([
        Frame::text("one ").more(),
        Frame::pong("unasked"),
        Frame::last("two"),
    ]));
    cases
}

fn beside_data() -> Vec<Case> {
    let ping = || Frame::ping("now");
    vec![
        Case::new("ping before text").frames([ping(), Frame::text("hello")]),
        Case::new("ping behind text").frames([Frame::text("hello"), ping()]),
        Case::new("ping between two fragments").frames([
            Frame::text("one ").more(),
            ping(),
            Frame::last("two"),
        ]),
        Case::new("ping between two fragments, each sent alone")
            .frame(Frame::binary("one ").more())
            .then()
            .frame(ping())
            .then()
            .frame(Frame::last("two")),
        Case::new("ping inside a character that is split over fragments").frames([
            Frame::text([0xe2]).more(),
            ping(),
            Frame::middle([0x82]),
            Frame::ping("then"),
            Frame::last([0xac]),
        ]),
        Case::new("ping in front of every fragment of 100").frames(interleaved(100, 10)),
        Case::new("ping in front of every fragment of 100, by 7").frames(interleaved(100, 10)).chopped(7),
        Case::new("ping in front of every empty fragment of 100").frames(interleaved(100, 0)),
        Case::new("ping between two large messages").frames([
            Frame::binary(pattern(300_000, 15)),
            ping(),
            Frame::text(prose(300_000)),
        ]),
        Case::new("ping before a reserved opcode").frame(ping()).then().offends(Frame::new(0xb, ""), 1002),
    ]
}

/// A fragmented message with a ping in front of every fragment but the first.
fn interleaved(fragments: usize, size: usize) -> Vec<Frame> {
    let mut frames = vec![Frame::binary(pattern(size, 16)).more()];
    for at in 1..fragments {
        frames.push(Frame::ping(format!("{at}")));
        frames.push(Frame::middle(pattern(size, at as u64)));
    }
    frames.push(Frame::last("end"));
    frames
}

fn floods() -> Vec<Case> {
    vec![
        Case::new("flood of 20,000 pings").frames((0..20_000).map(|at| Frame::ping(format!("{at:0125}")))),
        Case::new("flood of 20,000 empty pings").frames((0..20_000).map(|_| Frame::ping(""))),
        Case::new("flood of 20,000 pongs").frames((0..20_000).map(|at| Frame::pong(format!("{at:0125}")))),
        Case::new("flood of pings inside a message").frames(interleaved(10_000, 1)),
        Case::new("flood of pings between messages").frames(
            (0..5_000).flat_map(|at| [Frame::ping(format!("{at}")), Frame::text(format!("message {at}"))]),
        ),
    ]
}

fn too_long() -> Vec<Case> {
    let mut cases = Vec::new();
    for (opcode, name) in [(PING, "ping"), (PONG, "pong"), (CLOSE, "close")] {
        for size in [126, 127, 65_535, 65_536] {
            // A close starts with a valid code, so that only its length is wrong.
            let payload = [&[0x03, 0xe8][..], &vec![b'x'; size - 2]].concat();
            cases.push(
                Case::new(format!("{name} of {size} bytes")).offends(Frame::new(opcode, payload), 1002),
            );
        }
        let inside =
            Case::new(format!("{name} of 126 bytes inside a message")).frame(Frame::text("begun").more());
        cases.push(inside.offends(Frame::new(opcode, vec![3; 126]), 1002));
    }
    cases
}

fn fragmented() -> Vec<Case> {
    let mut cases = Vec::new();
    for (opcode, name) in [(PING, "ping"), (PONG, "pong"), (CLOSE, "close")] {
        let first = || Frame::new(opcode, b"\x03\xe8".as_slice()).more();
        cases.push(Case::new(format!("fragmented {name}")).offends(first(), 1002));
        cases
            .push(Case::new(format!("fragmented empty {name}")).offends(Frame::new(opcode, "").more(), 1002));
        let rest = Frame::last("rest").bytes();
        cases
            .push(Case::new(format!("fragmented {name} with its rest")).offends(first(), 1002).ignored(rest));
        let inside =
            Case::new(format!("fragmented {name} inside a message")).frame(Frame::text("begun").more());
        cases.push(inside.offends(first(), 1002));
    }
    cases
}
