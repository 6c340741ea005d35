//! Single frames: lengths in all forms, masks, and headers that are refused, as early as can be.

use super::*;

/// `len` bytes of payload that are not all alike, and print as they are.
fn letters(len: usize) -> Vec<u8> {
    (b'a'..=b'z').cycle().take(len).collect()
}

fn printed(len: usize) -> String {
    format!("bin({})", letters(len).escape_ascii())
}

#[test]
fn lengths() {
    let whole = |name, len| (name, frame(FIN | BIN, letters(len)), printed(len));
    check(
        TEXT,
        &[
            row("nothing at all", &[], ""),
            whole("0", 0),
            whole("1", 1),
            whole("2", 2),
            whole("3", 3),
            whole("4", 4),
            whole("5", 5),
            whole("7", 7),
            whole("8", 8),
            whole("9", 9),
            whole("16", 16),
            whole("17", 17),
            whole("63", 63),
            whole("64", 64),
            whole("125, the last of seven bits", 125),
            whole("126, the first of sixteen bits", 126),
            whole("127", 127),
            whole("255", 255),
            whole("256", 256),
            whole("1000", 1000),
        ],
    );
}

#[test]
fn lengths_that_fill_their_form() {
    for len in [65_535, 65_536] {
        let bytes = frame(FIN | BIN, letters(len));
        for way in [Way::InPlace, Way::Slid] {
            for cuts in [&[][..], &[1, 2, 3, 4, 5, 9, 10, 11, 12, 13, 14, 15, 40_000], &[7, 30_001], &[13]] {
                assert_eq!(outcome(TEXT, &bytes, cuts, way), printed(len), "{len} {cuts:?} {way:?}");
            }
        }
    }
}

#[test]
fn masks() {
    let with = |name, key| row(name, &[masked(FIN | BIN, b"hello, mask", key)], "bin(hello, mask)");
    check(
        TEXT,
        &[
            with("all zero", [0; 4]),
            with("all ones", [0xFF; 4]),
            with("first byte only", [0x80, 0, 0, 0]),
            with("last byte only", [0, 0, 0, 1]),
            with("all different", [1, 2, 3, 4]),
            row(
                "the RFC's hello",
                &[b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58".to_vec()],
                "text(Hello)",
            ),
            row(
                "a new mask each frame",
                &[
                    masked(BIN, b"abc", [9; 4]),
                    masked(CONT, b"def", [1, 9, 9, 5]),
                    masked(FIN | CONT, b"g", [7; 4]),
                ],
                "bin(abcdefg)",
            ),
        ],
    );
}

#[test]
fn parts_of_frames() {
    let long = frame(FIN | BIN, letters(70_000));
    check(
        TEXT,
        &[
            row("one byte of header", &[vec![FIN | BIN]], ""),
            row("header without mask", &[head(FIN | BIN, 5)], ""),
            row("three bytes of mask", &[cut(frame(FIN | BIN, "abc"), 5)], ""),
            row("header alone", &[cut(frame(FIN | BIN, "abc"), 6)], ""),
            row("one of three", &[cut(frame(FIN | BIN, "abc"), 7)], "bin(a"),
            row("two of three", &[cut(frame(FIN | BIN, "abc"), 8)], "bin(ab"),
            row("sixteen bits begun", &[cut(frame(FIN | BIN, letters(500)), 3)], ""),
            row("sixty-four bits begun", &[cut(long.clone(), 9)], ""),
            row("sixty-four bits without mask", &[cut(long.clone(), 13)], ""),
            row("sixty-four bits, five bytes", &[cut(long, 19)], "bin(abcde"),
            row(
                "largest length there is",
                &[head(BIN, i64::MAX as u64), vec![0; 4], b"xyz".to_vec()],
                "bin(xyz",
            ),
            row("ping without payload", &[cut(frame(PING, "abc"), 6)], ""),
            row("ping in part", &[cut(frame(PING, "abc"), 8)], ""),
            row("close in part", &[cut(close(1000, "bye"), 10)], ""),
        ],
    );
}

#[test]
fn refused_at_the_first_byte() {
    let first = |name, byte, why: &str| row(name, &[vec![byte]], &format!("[fail {why}]"));
    check(
        TEXT,
        &[
            first("rsv1", FIN | BIN | 0x40, "ReservedBits"),
            first("rsv2", FIN | BIN | 0x20, "ReservedBits"),
            first("rsv3", FIN | BIN | 0x10, "ReservedBits"),
            first("all rsv", FIN | BIN | 0x70, "ReservedBits"),
            first("rsv1 on text", FIN | TXT | 0x40, "ReservedBits"),
            first("rsv1 on a continuation", FIN | CONT | 0x40, "ReservedBits"),
            first("rsv1 on a ping", PING | 0x40, "ReservedBits"),
            first("rsv2 on a pong", PONG | 0x20, "ReservedBits"),
            first("rsv3 on a close", CLOSE | 0x10, "ReservedBits"),
            first("rsv1 on a reserved opcode", FIN | 0x43, "ReservedBits"),
            first("opcode 3", FIN | 0x3, "ReservedOpcode"),
            first("opcode 4", FIN | 0x4, "ReservedOpcode"),
            first("opcode 5", FIN | 0x5, "ReservedOpcode"),
            first("opcode 6", FIN | 0x6, "ReservedOpcode"),
            first("opcode 7", FIN | 0x7, "ReservedOpcode"),
            first("opcode B", FIN | 0xB, "ReservedOpcode"),
            first("opcode C", FIN | 0xC, "ReservedOpcode"),
            first("opcode D", FIN | 0xD, "ReservedOpcode"),
            first("opcode E", FIN | 0xE, "ReservedOpcode"),
            first("opcode F", FIN | 0xF, "ReservedOpcode"),
            first("opcode 3, not final", 0x3, "ReservedOpcode"),
            first("opcode B, not final", 0xB, "ReservedOpcode"),
            first("fragmented close", 0x8, "FragmentedControl"),
            first("fragmented ping", 0x9, "FragmentedControl"),
            first("fragmented pong", 0xA, "FragmentedControl"),
            first("final continuation of nothing", FIN | CONT, "StrayContinuation"),
            first("continuation of nothing", CONT, "StrayContinuation"),
            first("plain HTTP", b'G', "ReservedBits"),
        ],
    );
}

#[test]
fn refused_at_the_second_byte() {
    let two = |name, bytes: [u8; 2], why: &str| row(name, &[bytes.to_vec()], &format!("[fail {why}]"));
    check(
        TEXT,
        &[
            two("unmasked binary", [FIN | BIN, 5], "Unmasked"),
            two("unmasked text", [FIN | TXT, 5], "Unmasked"),
            two("unmasked and empty", [FIN | BIN, 0], "Unmasked"),
            two("unmasked, sixteen bits", [FIN | BIN, 126], "Unmasked"),
            two("unmasked, sixty-four bits", [FIN | BIN, 127], "Unmasked"),
            two("unmasked ping", [PING, 0], "Unmasked"),
            two("unmasked long ping", [PING, 126], "Unmasked"),
            two("unmasked close", [CLOSE, 2], "Unmasked"),
            two("unmasked close of one", [CLOSE, 1], "Unmasked"),
            two("ping of sixteen bits", [PING, 0x80 | 126], "LongControl"),
            two("ping of sixty-four bits", [PING, 0x80 | 127], "LongControl"),
            two("pong of sixteen bits", [PONG, 0x80 | 126], "LongControl"),
            two("pong of sixty-four bits", [PONG, 0x80 | 127], "LongControl"),
            two("close of sixteen bits", [CLOSE, 0x80 | 126], "LongControl"),
            two("close of sixty-four bits", [CLOSE, 0x80 | 127], "LongControl"),
            two("close of one byte", [CLOSE, 0x80 | 1], "BadClosePayload"),
        ],
    );
}

#[test]
fn refused_for_their_length() {
    let sixteen = |name, len: u16, out: &str| {
        row(name, &[vec![FIN | BIN, 0x80 | 126], len.to_be_bytes().to_vec()], out)
    };
    let sixty_four =
        |name, bytes: &[u8], out: &str| row(name, &[vec![FIN | BIN, 0x80 | 127], bytes.to_vec()], out);
    const LONG: &str = "[fail NonMinimalLength]";
    const TOP: &str = "[fail LengthTopBit]";
    check(
        TEXT,
        &[
            sixteen("0 in sixteen bits", 0, LONG),
            sixteen("1 in sixteen bits", 1, LONG),
            sixteen("125 in sixteen bits", 125, LONG),
            sixteen("126 in sixteen bits", 126, ""),
            sixty_four("0 in sixty-four bits", &[0; 8], LONG),
            sixty_four("125 in sixty-four bits", &[0, 0, 0, 0, 0, 0, 0, 125], LONG),
            sixty_four("126 in sixty-four bits", &[0, 0, 0, 0, 0, 0, 0, 126], LONG),
            sixty_four("65535 in sixty-four bits", &[0, 0, 0, 0, 0, 0, 0xFF, 0xFF], LONG),
            sixty_four("six zeros settle it", &[0; 6], LONG),
            sixty_four("five zeros do not", &[0; 5], ""),
            sixty_four("65536 in sixty-four bits", &[0, 0, 0, 0, 0, 1, 0, 0], ""),
            sixty_four("top bit, nothing else", &[0x80], TOP),
            sixty_four("top bit, all ones", &[0xFF; 8], TOP),
            sixty_four("top bit and a short length", &[0x80, 0, 0, 0, 0, 0, 0, 1], TOP),
            sixty_four("all but the top bit", &[0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], ""),
        ],
    );
}

#[test]
fn good_turning_bad() {
    let ok = || frame(FIN | BIN, "ok");
    check(
        TEXT,
        &[
            row("then unmasked", &[ok(), vec![FIN | BIN, 2, 1, 2]], "bin(ok)[fail Unmasked]"),
            row("then reserved bits", &[ok(), vec![0xC2]], "bin(ok)[fail ReservedBits]"),
            row("then a reserved opcode", &[ok(), frame(0x83, "x")], "bin(ok)[fail ReservedOpcode]"),
            row("nothing good after bad", &[vec![0xC2], ok(), ok()], "[fail ReservedBits]"),
            row("no ping after bad", &[frame(FIN | CONT, "x"), frame(PING, "y")], "[fail StrayContinuation]"),
            row("no close after bad", &[vec![0x83], close(1000, "")], "[fail ReservedOpcode]"),
            row("only the first of two", &[vec![0x83], vec![0xC2]], "[fail ReservedOpcode]"),
        ],
    );
}
