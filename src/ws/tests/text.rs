//! Text messages: UTF-8 checked as it arrives, across pieces, fragments and controls.

use super::*;

/// Fragments of one text message.
fn fragments(parts: &[&[u8]]) -> Vec<u8> {
    let last = parts.len() - 1;
    let first = |at: usize| if at == 0 { TXT } else { CONT } | if at == last { FIN } else { 0 };
    parts.iter().enumerate().flat_map(|(at, part)| frame(first(at), part)).collect()
}

fn good(name: &'static str, parts: &[&[u8]]) -> Row {
    (name, fragments(parts), format!("text({})", parts.concat().escape_ascii()))
}

/// A message that fails; `passed` is what of it can still become text.
fn bad(name: &'static str, parts: &[&[u8]], passed: &[u8]) -> Row {
    let begun = if passed.is_empty() { String::new() } else { format!("text({}", passed.escape_ascii()) };
    (name, fragments(parts), format!("{begun}[fail BadUtf8]"))
}

#[test]
fn text_that_is_utf8() {
    check(
        TEXT,
        &[
            good("ascii", &[b"hello"]),
            good("two, three and four bytes", &["é€𐍈".as_bytes()]),
            good("NUL", &[b"a\0b"]),
            good("last of all", &[b"\xF4\x8F\xBF\xBF"]),
            good("non-characters", &[b"\xEF\xBF\xBE\xEF\xBF\xBF"]),
            good("around the surrogates", &[b"\xED\x9F\xBF\xEE\x80\x80"]),
            good("cut in two bytes", &[b"\xC3", b"\xA9"]),
            good("cut in three bytes", &[b"\xE2", b"\x82", b"\xAC"]),
            good("cut in four bytes", &[b"\xF0", b"\x90", b"\x8D", b"\x88"]),
            good("cut by an empty fragment", &[b"\xE2\x82", b"", b"\xAC"]),
            good("empty first", &[b"", "é".as_bytes()]),
            good("empty last", &["é".as_bytes(), b""]),
            good("long with a cut", &[&b"x".repeat(150), b"\xC3", b"\xA9yz"]),
            row(
                "two messages",
                &[frame(FIN | TXT, "é"), frame(FIN | TXT, "€")],
                "text(\\xc3\\xa9)text(\\xe2\\x82\\xac)",
            ),
            row(
                "cut in binary means nothing",
                &[frame(FIN | BIN, b"\xE2"), frame(FIN | TXT, "a")],
                "bin(\\xe2)text(a)",
            ),
        ],
    );
}

#[test]
fn text_that_is_not() {
    check(
        TEXT,
        &[
            bad("FF", &[b"\xFF"], b""),
            bad("FE in the middle", &[b"ab\xFEcd"], b"ab"),
            bad("continuation byte first", &[b"\x80"], b""),
            bad("overlong slash", &[b"\xC0\xAF"], b""),
            bad("overlong in three", &[b"\xE0\x80\xAF"], b"\xE0"),
            bad("overlong in four", &[b"\xF0\x80\x80\xAF"], b"\xF0"),
            bad("surrogate", &[b"\xED\xA0\x80"], b"\xED"),
            bad("above the last", &[b"\xF4\x90\x80\x80"], b"\xF4"),
            bad("F5", &[b"\xF5\x80\x80\x80"], b""),
            bad("good turning bad", &[b"\xCE\xBA\xED\xA0\x80edited"], b"\xCE\xBA\xED"),
            bad("character broken off", &[b"\xE2\x82A"], b"\xE2\x82"),
            bad("broken off by the end", &[b"abc\xE2\x82"], b"abc\xE2\x82"),
            bad("lead byte alone", &[b"\xC3"], b"\xC3"),
            bad("broken off by an empty end", &[b"\xC3", b""], b"\xC3"),
            bad("bad in the second fragment", &[b"ok", b"\xFF"], b"ok"),
            bad("cut and continued wrongly", &[b"\xE2", b"A"], b"\xE2"),
            bad("cut surrogate", &[b"\xED", b"\xA0\x80"], b"\xED"),
            bad("far behind", &[&b"x".repeat(300), b"\xC3\x28"], &[&b"x".repeat(300)[..], b"\xC3"].concat()),
        ],
    );
}

#[test]
fn bad_text_is_refused_before_it_ends() {
    check(
        TEXT,
        &[
            row(
                "in a frame of gigabytes",
                &[head(FIN | TXT, 1 << 40), vec![0; 4], b"ok\xFF".to_vec()],
                "text(ok[fail BadUtf8]",
            ),
            row("in a first fragment", &[frame(TXT, b"\xC0")], "[fail BadUtf8]"),
            row("nothing after it", &[frame(FIN | TXT, b"\xFF"), frame(FIN | BIN, "x")], "[fail BadUtf8]"),
            row(
                "nothing after a broken end",
                &[frame(FIN | TXT, b"a\xC3"), frame(FIN | BIN, "x")],
                "text(a\\xc3[fail BadUtf8]",
            ),
        ],
    );
}
