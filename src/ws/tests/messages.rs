//! Messages of one and of many frames: boundaries, empty fragments, controls between them, order broken.

use super::*;

#[test]
fn one_frame_a_message() {
    check(
        TEXT,
        &[
            row("binary", &[frame(FIN | BIN, "abc")], "bin(abc)"),
            row("text", &[frame(FIN | TXT, "abc")], "text(abc)"),
            row("empty binary", &[frame(FIN | BIN, "")], "bin()"),
            row("empty text", &[frame(FIN | TXT, "")], "text()"),
            row("two", &[frame(FIN | BIN, "a"), frame(FIN | BIN, "b")], "bin(a)bin(b)"),
            row("both kinds", &[frame(FIN | BIN, "a"), frame(FIN | TXT, "b")], "bin(a)text(b)"),
            row(
                "empty between",
                &[frame(FIN | BIN, "a"), frame(FIN | BIN, ""), frame(FIN | BIN, "b")],
                "bin(a)bin()bin(b)",
            ),
            row("many small", &vec![frame(FIN | BIN, "x"); 40], &"bin(x)".repeat(40)),
            row("many empty", &vec![frame(FIN | BIN, ""); 40], &"bin()".repeat(40)),
            row(
                "two and a half",
                &[frame(FIN | BIN, "a"), frame(FIN | BIN, "b"), cut(frame(FIN | BIN, "cd"), 7)],
                "bin(a)bin(b)bin(c",
            ),
        ],
    );
}

#[test]
fn fragments() {
    check(
        TEXT,
        &[
            row("two", &[frame(BIN, "ab"), frame(FIN | CONT, "cd")], "bin(abcd)"),
            row("three", &[frame(BIN, "a"), frame(CONT, "b"), frame(FIN | CONT, "c")], "bin(abc)"),
            row("of text", &[frame(TXT, "a"), frame(CONT, "b"), frame(FIN | CONT, "c")], "text(abc)"),
            row("first only", &[frame(BIN, "ab")], "bin(ab"),
            row("first only, empty", &[frame(BIN, "")], "bin("),
            row("first empty", &[frame(BIN, ""), frame(FIN | CONT, "cd")], "bin(cd)"),
            row("middle empty", &[frame(BIN, "a"), frame(CONT, ""), frame(FIN | CONT, "b")], "bin(ab)"),
            row("last empty", &[frame(BIN, "ab"), frame(FIN | CONT, "")], "bin(ab)"),
            row("both empty", &[frame(BIN, ""), frame(FIN | CONT, "")], "bin()"),
            row(
                "all empty",
                &[frame(TXT, ""), frame(CONT, ""), frame(CONT, ""), frame(FIN | CONT, "")],
                "text()",
            ),
            row(
                "two messages",
                &[frame(BIN, "a"), frame(FIN | CONT, "b"), frame(TXT, "c"), frame(FIN | CONT, "d")],
                "bin(ab)text(cd)",
            ),
            row(
                "whole after fragmented",
                &[frame(BIN, "a"), frame(FIN | CONT, "b"), frame(FIN | TXT, "c")],
                "bin(ab)text(c)",
            ),
            row(
                "many",
                &[vec![frame(BIN, "x")], vec![frame(CONT, "x"); 50], vec![frame(FIN | CONT, "x")]].concat(),
                &format!("bin({})", "x".repeat(52)),
            ),
            row(
                "sixteen-bit lengths",
                &[frame(BIN, "y".repeat(200)), frame(FIN | CONT, "y".repeat(300))],
                &format!("bin({})", "y".repeat(500)),
            ),
        ],
    );
}

#[test]
fn sixty_five_thousand_fragments() {
    let middle = frame(CONT, "z").repeat(65_534);
    let bytes = [frame(BIN, "z"), middle, frame(FIN | CONT, "z")].concat();
    for way in [Way::InPlace, Way::Slid] {
        assert_eq!(outcome(TEXT, &bytes, &[100_000], way), format!("bin({})", "z".repeat(65_536)));
    }
}

#[test]
fn controls_between_fragments() {
    let begun = || frame(BIN, "a");
    let ended = || frame(FIN | CONT, "b");
    check(
        TEXT,
        &[
            row("ping", &[begun(), frame(PING, "x"), ended()], "bin(a[ping x]b)"),
            row("pong", &[begun(), frame(PONG, "x"), ended()], "bin(a[pong x]b)"),
            row("empty ping", &[begun(), frame(PING, ""), ended()], "bin(a[ping ]b)"),
            row(
                "several",
                &[begun(), frame(PING, "x"), frame(PONG, "y"), frame(PING, "z"), ended()],
                "bin(a[ping x][pong y][ping z]b)",
            ),
            row("after an empty first", &[frame(BIN, ""), frame(PING, "x"), ended()], "bin([ping x]b)"),
            row(
                "longest ping",
                &[begun(), frame(PING, "p".repeat(125)), ended()],
                &format!("bin(a[ping {}]b)", "p".repeat(125)),
            ),
            row("close", &[begun(), close(1001, ""), ended()], "bin(a[close 1001 ]"),
            row("bad control", &[begun(), vec![0x09]], "bin(a[fail FragmentedControl]"),
            row(
                "inside a character",
                &[frame(TXT, b"\xE2\x82"), frame(PING, "x"), frame(FIN | CONT, b"\xAC")],
                "text(\\xe2\\x82[ping x]\\xac)",
            ),
        ],
    );
}

#[test]
fn order_broken() {
    let begun = || frame(BIN, "a");
    let done = || [begun(), frame(FIN | CONT, "b")].concat();
    check(
        TEXT,
        &[
            row("binary inside binary", &[begun(), frame(FIN | BIN, "b")], "bin(a[fail NewInsideMessage]"),
            row("text inside binary", &[begun(), frame(FIN | TXT, "b")], "bin(a[fail NewInsideMessage]"),
            row("binary inside text", &[frame(TXT, "a"), frame(BIN, "b")], "text(a[fail NewInsideMessage]"),
            row(
                "new after an empty first",
                &[frame(BIN, ""), frame(BIN, "b")],
                "bin([fail NewInsideMessage]",
            ),
            row(
                "new after a ping",
                &[begun(), frame(PING, ""), frame(BIN, "b")],
                "bin(a[ping ][fail NewInsideMessage]",
            ),
            row(
                "new after a continuation",
                &[begun(), frame(CONT, "b"), frame(BIN, "c")],
                "bin(ab[fail NewInsideMessage]",
            ),
            row(
                "continuation after the last",
                &[done(), frame(FIN | CONT, "c")],
                "bin(ab)[fail StrayContinuation]",
            ),
            row(
                "continuation after a whole",
                &[frame(FIN | BIN, "a"), frame(CONT, "b")],
                "bin(a)[fail StrayContinuation]",
            ),
            row(
                "continuation after a ping",
                &[frame(PING, ""), frame(FIN | CONT, "b")],
                "[ping ][fail StrayContinuation]",
            ),
            row("empty continuation of nothing", &[frame(FIN | CONT, "")], "[fail StrayContinuation]"),
        ],
    );
}

#[test]
fn text_refused() {
    check(
        NO_TEXT,
        &[
            row("text", &[frame(FIN | TXT, "a")], "[fail TextRefused]"),
            row("its first byte", &[vec![FIN | TXT]], "[fail TextRefused]"),
            row("first fragment", &[frame(TXT, "a")], "[fail TextRefused]"),
            row("empty text", &[frame(FIN | TXT, "")], "[fail TextRefused]"),
            row("bytes that are no text", &[frame(FIN | TXT, b"\xFF")], "[fail TextRefused]"),
            row("after binary", &[frame(FIN | BIN, "a"), frame(FIN | TXT, "b")], "bin(a)[fail TextRefused]"),
            row(
                "inside binary it is out of order",
                &[frame(BIN, "a"), frame(FIN | TXT, "b")],
                "bin(a[fail NewInsideMessage]",
            ),
            row("binary is not checked", &[frame(FIN | BIN, b"\xFF\xC0")], "bin(\\xff\\xc0)"),
            row("fragmented binary passes", &[frame(BIN, "a"), frame(FIN | CONT, "b")], "bin(ab)"),
            row("controls pass", &[frame(PING, "a"), close(1000, "")], "[ping a][close 1000 ]"),
            row("close reasons are still text", &[close(1000, b"\xFF")], "[fail BadCloseReason]"),
        ],
    );
}
