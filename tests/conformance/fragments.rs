//! Chapter: fragmentation (RFC 6455 section 5.4).

use super::case::Case;
use crate::support::frame::{BINARY, Frame, TEXT};
use crate::support::{pattern, prose};

/// All cases of this chapter.
pub fn cases() -> Vec<Case> {
    [counts(), empties(), strays(), nested(), long()].concat()
}

/// A message in `count` fragments of about the same size.
pub fn split(opcode: u8, payload: &[u8], count: usize) -> Vec<Frame> {
    let size = payload.len().div_ceil(count).max(1);
    let mut frames: Vec<_> = payload.chunks(size).map(Frame::middle).collect();
    frames[0].opcode = opcode;
    frames.last_mut().expect("the payload is not empty").fin = true;
    frames
}

fn counts() -> Vec<Case> {
    let mut cases = Vec::new();
    for count in [2, 3, 10, 1000] {
        let name = |kind: &str| Case::new(format!("{kind} in {count} fragments"));
        cases.push(name("text").frames(split(TEXT, &prose(10_000), count)));
        cases.push(name("binary").frames(split(BINARY, &pattern(10_000, 21), count)));
        cases.push(name("text, by 7,").frames(split(TEXT, &prose(10_000), count)).chopped(7));
        cases.push(
            name("twice binary")
                .frames([21, 22].iter().flat_map(|seed| split(BINARY, &pattern(3000, *seed), count))),
        );
    }
    let each = [0, 1, 125, 126, 65_535, 65_536, 65_537];
    let fragments = each.iter().map(|size| Frame::middle(pattern(*size, 23)));
    let all = Case::new("fragments of all length forms").frame(Frame::binary("first").more());
    cases.push(all.frames(fragments).frame(Frame::last("last")));
    let slow = (0..20)
        .fold(Case::new("fragments with a ping round between").frame(Frame::text("0").more()), |case, at| {
            case.frame(Frame::ping(format!("{at}"))).then().frame(Frame::middle(format!(" {at}")))
        });
    cases.push(slow.frame(Frame::last(" end")));
    cases.push(Case::new("fragmented, then whole, then fragmented").frames([
        Frame::text("a").more(),
        Frame::last("b"),
        Frame::binary("c"),
        Frame::binary("d").more(),
        Frame::last("e"),
    ]));
    cases
}

fn empties() -> Vec<Case> {
    let mut cases = Vec::new();
    for (opcode, kind) in [(TEXT, "text"), (BINARY, "binary")] {
        let first = |payload: &str| Frame::new(opcode, payload).more();
        let name = |what: &str| Case::new(format!("{kind} with {what}"));
        cases.push(name("an empty first fragment").frames([first(""), Frame::last("rest")]));
        cases.push(name("an empty middle fragment").frames([
            first("a"),
            Frame::middle(""),
            Frame::last("b"),
        ]));
        cases.push(name("an empty last fragment").frames([first("all"), Frame::last("")]));
        cases.push(name("three empty fragments").frames([first(""), Frame::middle(""), Frame::last("")]));
        cases.push(name("only the middle not empty").frames([
            first(""),
            Frame::middle("mid"),
            Frame::last(""),
        ]));
        let empties = (0..10_000).map(|_| Frame::middle(""));
        cases.push(name("10,000 empty fragments").frame(first("a")).frames(empties).frame(Frame::last("b")));
    }
    cases
}

fn strays() -> Vec<Case> {
    let good = || Frame::text("good");
    vec![
        Case::new("stray last continuation").offends(Frame::last("stray"), 1002),
        Case::new("stray middle continuation").offends(Frame::middle("stray"), 1002),
        Case::new("stray empty continuation").offends(Frame::last(""), 1002),
        Case::new("stray continuation behind a message").frame(good()).offends(Frame::last("stray"), 1002),
        Case::new("stray continuation before a message")
            .offends(Frame::middle("stray"), 1002)
            .ignored(Frame::text("late").bytes()),
        Case::new("stray continuation behind a fragmented message")
            .frames([Frame::text("a").more(), Frame::last("b")])
            .offends(Frame::last("stray"), 1002),
        Case::new("stray continuation behind an empty fragmented message")
            .frames([Frame::binary("").more(), Frame::last("")])
            .offends(Frame::last(""), 1002),
        Case::new("stray continuation behind a ping")
            .frame(Frame::ping("p"))
            .then()
            .offends(Frame::last("stray"), 1002),
        Case::new("stray continuation, byte by byte").offends(Frame::last("stray"), 1002).chopped(1),
        Case::new("stray continuation, later on").frame(good()).then().offends(Frame::last("stray"), 1002),
    ]
}

fn nested() -> Vec<Case> {
    let mut cases = Vec::new();
    for outer in [TEXT, BINARY] {
        for inner in [TEXT, BINARY] {
            let begun = |how: &str| {
                let name = format!("new message 0x{inner:x} inside 0x{outer:x}, {how}");
                Case::new(name).frame(Frame::new(outer, "begun").more())
            };
            cases.push(begun("whole").offends(Frame::new(inner, "new"), 1002));
            cases.push(begun("fragmented").offends(Frame::new(inner, "new").more(), 1002));
            cases.push(begun("empty").offends(Frame::new(inner, ""), 1002));
            let middle = begun("behind a continuation").frame(Frame::middle("more"));
            cases.push(middle.offends(Frame::new(inner, "new"), 1002));
        }
    }
    let empty = Case::new("new message behind an empty first fragment").frame(Frame::text("").more());
    cases.push(empty.offends(Frame::text("new"), 1002));
    cases
}

fn long() -> Vec<Case> {
    let of = |opcode: u8, payload: Vec<u8>| split(opcode, &payload, payload.len());
    vec![
        Case::new("binary in 65,536 fragments of one byte").frames(of(BINARY, pattern(65_536, 24))),
        Case::new("text in 65,536 fragments of one byte").frames(of(TEXT, prose(65_536))),
        Case::new("binary in 65,536 fragments of 16 bytes").frames(split(
            BINARY,
            &pattern(1 << 20, 25),
            65_536,
        )),
        Case::new("binary of 16 MiB in 256 fragments")
            .frames(split(BINARY, &pattern(16 << 20, 26), 256))
            .roomy(),
        Case::new("text of 16 MiB in 4096 fragments").frames(split(TEXT, &prose(16 << 20), 4096)).roomy(),
    ]
}
