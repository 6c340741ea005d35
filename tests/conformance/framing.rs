//! Chapter: base framing (RFC 6455 section 5.2): sizes, length forms, masks, reserved bits, opcodes, message limit.

use super::case::Case;
use crate::support::frame::{BINARY, CLOSE, CONTINUATION, Frame, Length, PING, PONG, TEXT};
use crate::support::{pattern, prose};

const MIB: usize = 1024 * 1024;
/// The opcodes that RFC 6455 leaves undefined.
const RESERVED: [u8; 10] = [3, 4, 5, 6, 7, 11, 12, 13, 14, 15];

/// All cases of this chapter.
pub fn cases() -> Vec<Case> {
    [
        sizes(),
        several_in_one_segment(),
        masks(),
        length_forms(),
        impossible_lengths(),
        reserved_bits(),
        reserved_opcodes(),
        limits(),
    ]
    .concat()
}

/// A frame that would be legal as the next one outside of a fragmented message.
fn sample(opcode: u8) -> Frame {
    if opcode == CLOSE { Frame::close(1000, "") } else { Frame::new(opcode, "sample") }
}

fn sizes() -> Vec<Case> {
    let sizes =
        [0, 1, 2, 124, 125, 126, 127, 128, 4095, 4096, 65535, 65536, 65537, 262_144, MIB, 4 * MIB, 16 * MIB];
    let of_size = |size: usize| {
        let text = Case::new(format!("text of {size} bytes")).frame(Frame::text(prose(size)));
        let binary = Case::new(format!("binary of {size} bytes")).frame(Frame::binary(pattern(size, 1)));
        [text, binary].map(|case| if size > MIB { case.roomy() } else { case })
    };
    sizes.into_iter().flat_map(of_size).collect()
}

fn several_in_one_segment() -> Vec<Case> {
    let mut cases = Vec::new();
    for count in [2, 10, 1000] {
        let frames = (0..count).map(|at| Frame::text(format!("message {at}")));
        cases.push(Case::new(format!("{count} text messages in one segment")).frames(frames));
        let frames = (0..count).map(|at| Frame::binary(pattern(at % 150, at as u64)));
        cases.push(Case::new(format!("{count} binary messages in one segment")).frames(frames));
        let frames = (0..count).map(|_| Frame::binary(""));
        cases.push(Case::new(format!("{count} empty messages in one segment")).frames(frames));
    }
    let mixed =
        [Frame::text("one"), Frame::binary(pattern(70_000, 2)), Frame::text(""), Frame::binary([0xff])];
    cases.push(Case::new("text and binary of all length forms in one segment").frames(mixed));
    cases.push((0..50).fold(Case::new("50 messages, each sent when the last came back"), |case, at| {
        case.frame(Frame::text(format!("turn {at}"))).then()
    }));
    cases.push(
        Case::new("500 messages of 4 KiB in one write")
            .frames((0..500).map(|at| Frame::binary(pattern(4096, at)))),
    );
    cases.push(Case::new("20,000 small messages").frames((0..20_000).map(|at| Frame::text(at.to_string()))));
    cases
}

fn masks() -> Vec<Case> {
    let mut cases = Vec::new();
    for opcode in [TEXT, BINARY, PING, PONG, CLOSE, CONTINUATION] {
        let frame = if opcode == CONTINUATION { Frame::last("") } else { sample(opcode) };
        cases.push(Case::new(format!("no mask on opcode 0x{opcode:x}")).offends(frame.unmasked(), 1002));
    }
    cases.push(Case::new("no mask on an empty message").offends(Frame::binary("").unmasked(), 1002));
    let second = Frame::text("second").unmasked();
    cases.push(Case::new("no mask on the second message").frame(Frame::text("first")).offends(second, 1002));
    let bare = Frame::last("b").unmasked();
    cases.push(Case::new("no mask on a continuation").frame(Frame::text("a").more()).offends(bare, 1002));
    for key in [[0; 4], [0xff; 4], [1, 0, 0, 0], [0, 0, 0, 1], [0x12, 0x34, 0x56, 0x78]] {
        let frames = [0, 1, 7, 126, 70_001].map(|size| Frame::binary(pattern(size, 3)).key(key));
        cases.push(Case::new(format!("mask {key:02x?}")).frames(frames));
    }
    for size in 1..=17 {
        let frame = Frame::binary(pattern(size, 4)).key([0x11, 0x22, 0x33, 0x44]);
        cases.push(Case::new(format!("mask phase: {size} bytes by 1")).frame(frame.clone()).chopped(1));
        cases.push(Case::new(format!("mask phase: {size} bytes by 3")).frame(frame).chopped(3));
    }
    let keys =
        (0..64_u32).map(|at| Frame::binary(pattern(at as usize, 5)).key((at * 0x0101_0307).to_be_bytes()));
    cases.push(Case::new("mask that changes with every frame, odd sizes").frames(keys));
    cases
}

fn length_forms() -> Vec<Case> {
    let mut cases = Vec::new();
    for opcode in [TEXT, BINARY] {
        for (form, name, sizes) in
            [(Length::Two, "two", &[0, 1, 125][..]), (Length::Eight, "eight", &[0, 1, 125, 126, 65535][..])]
        {
            for size in sizes {
                let frame = Frame::new(opcode, vec![b'x'; *size]).length(form);
                let name = format!("length {size} in {name} bytes on opcode 0x{opcode:x}");
                cases.push(Case::new(name).offends(frame, 1002));
            }
        }
    }
    for opcode in [PING, PONG, CLOSE] {
        for (form, name) in [(Length::Two, "two"), (Length::Eight, "eight")] {
            let frame = sample(opcode).length(form);
            cases.push(
                Case::new(format!("length in {name} bytes on opcode 0x{opcode:x}")).offends(frame, 1002),
            );
        }
    }
    let padded = Frame::last("b").length(Length::Two);
    cases.push(
        Case::new("length 1 in two bytes on a continuation")
            .frame(Frame::text("a").more())
            .offends(padded, 1002),
    );
    cases
}

fn impossible_lengths() -> Vec<Case> {
    let mut cases = Vec::new();
    for opcode in [TEXT, BINARY] {
        for length in [1 << 63, u64::MAX, (1 << 63) | 5] {
            let frame = Frame::new(opcode, "hello").length(Length::ClaimedEight(length));
            cases.push(
                Case::new(format!("top bit: length {length:#x} on opcode 0x{opcode:x}")).offends(frame, 1002),
            );
        }
    }
    let frame = Frame::last("x").length(Length::ClaimedEight(u64::MAX));
    cases.push(Case::new("top bit on a continuation").frame(Frame::binary("a").more()).offends(frame, 1002));
    // Nothing may be reserved for these; the limit ends them when it is claimed or when it is reached.
    for length in [1 << 40, (1 << 63) - 1] {
        let frame = Frame::binary(pattern(MIB + 1, 6)).length(Length::ClaimedEight(length));
        cases.push(Case::new(format!("absurd length {length:#x}")).offends(frame, 1009));
    }
    cases
}

fn reserved_bits() -> Vec<Case> {
    let mut cases = Vec::new();
    for bits in 1..=7 {
        for opcode in [TEXT, BINARY, CLOSE, PING, PONG] {
            let frame = sample(opcode).rsv(bits);
            cases.push(Case::new(format!("rsv {bits} on opcode 0x{opcode:x}")).offends(frame, 1002));
        }
        let begun = Case::new(format!("rsv {bits} on a continuation")).frame(Frame::text("a").more());
        cases.push(begun.offends(Frame::last("b").rsv(bits), 1002));
        let after = Case::new(format!("rsv {bits} behind a good message")).frame(Frame::text("good"));
        cases.push(after.offends(Frame::text("bad").rsv(bits), 1002));
    }
    cases
}

fn reserved_opcodes() -> Vec<Case> {
    let mut cases = Vec::new();
    for opcode in RESERVED {
        let name = |when: &str| Case::new(format!("opcode 0x{opcode:x} {when}"));
        cases.push(name("empty").offends(Frame::new(opcode, ""), 1002));
        cases.push(name("with payload").offends(Frame::new(opcode, "payload"), 1002));
        let good = name("behind a good message, before another").frame(Frame::text("good"));
        cases.push(good.offends(Frame::new(opcode, ""), 1002).ignored(Frame::text("late").bytes()));
        let begun = name("inside a fragmented message").frame(Frame::text("begun").more());
        cases.push(begun.offends(Frame::new(opcode, ""), 1002));
    }
    cases
}

fn limits() -> Vec<Case> {
    let mut cases = Vec::new();
    for opcode in [TEXT, BINARY] {
        let name = |what: &str| Case::new(format!("over the limit: {what}, opcode 0x{opcode:x}"));
        let frame = |size| Frame::new(opcode, vec![b'm'; size]);
        cases.push(name("one frame").offends(frame(MIB + 1), 1009));
        cases.push(name("one frame, far").offends(frame(3 * MIB), 1009));
        cases.push(name("one frame of 16 MiB and one byte").offends(frame(16 * MIB + 1), 1009).roomy());
        let halves = [frame(MIB / 2).more().bytes(), Frame::last(vec![b'm'; MIB / 2 + 1]).bytes()].concat();
        cases.push(name("two fragments").offends_bytes(halves, 1009));
        let begun = name("the last byte in a fragment of its own").frames([frame(MIB).more()]);
        cases.push(begun.offends(Frame::last("m"), 1009));
        let many = (0..1025).flat_map(|_| Frame::middle(vec![b'm'; 1024]).bytes());
        let endless: Vec<u8> = frame(0).more().bytes().into_iter().chain(many).collect();
        cases.push(name("many fragments without end").offends_bytes(endless, 1009));
        let after = name("behind a good message").frame(Frame::new(opcode, "good"));
        cases.push(after.offends(frame(MIB + 1), 1009));
    }
    let parts = (0..1023).map(|_| Frame::middle(vec![b'm'; 1024]));
    let exact = Case::new("at the limit, in 1024 fragments").frame(Frame::binary(vec![b'm'; 1024]).more());
    cases.push(exact.frames(parts).frame(Frame::last("")));
    let twice = [Frame::binary(pattern(MIB, 7)), Frame::text(prose(MIB))];
    cases.push(Case::new("at the limit, twice in a row").frames(twice));
    cases
}
