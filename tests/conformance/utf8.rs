//! Chapter: text is UTF-8 (RFC 6455 sections 5.6 and 8.1), judged as it arrives.
//!
//! Every sequence runs whole, in fragments of one byte, and written byte by byte. What can no longer become valid must
//! be refused at once, before the rest of the frame or of the message has come.

use super::case::Case;
use super::fragments::split;
use crate::support::frame::{Frame, Length, TEXT};

/// All cases of this chapter.
pub fn cases() -> Vec<Case> {
    [valid(), invalid(), splits(), early(), elsewhere()].concat()
}

/// Name and bytes of valid texts: the edges of every sequence length.
const VALID: [(&str, &str); 20] = [
    ("U+0000", "\0"),
    ("U+007F", "\x7f"),
    ("U+0080", "\u{80}"),
    ("U+07FF", "\u{7ff}"),
    ("U+0800", "\u{800}"),
    ("U+0FFF", "\u{fff}"),
    ("U+1000", "\u{1000}"),
    ("U+CFFF", "\u{cfff}"),
    ("U+D7FF", "\u{d7ff}"),
    ("U+E000", "\u{e000}"),
    ("U+FFFD", "\u{fffd}"),
    ("U+FFFE", "\u{fffe}"),
    ("U+FFFF", "\u{ffff}"),
    ("U+10000", "\u{10000}"),
    ("U+3FFFF", "\u{3ffff}"),
    ("U+40000", "\u{40000}"),
    ("U+10FFFF", "\u{10ffff}"),
    ("a byte order mark", "\u{feff}text"),
    ("Greek with accents", "\u{3ba}\u{1f79}\u{3c3}\u{3bc}\u{3b5}"),
    ("all lengths", "Hello-\u{b5}@\u{df}\u{f6}\u{e4}\u{fc}\u{e0}\u{e1}-\u{20ac}-\u{1d11e}-UTF-8!!"),
];

/// Name, valid start, offence. The first byte of the offence may still be fine; its last byte is not, unless the text
/// ends there.
const INVALID: [(&str, &[u8], &[u8]); 32] = [
    ("continuation byte 80 alone", b"", b"\x80"),
    ("continuation byte bf alone", b"abc", b"\xbf"),
    ("two continuation bytes", "\u{e4}".as_bytes(), b"\x80\xbf"),
    ("c0 80: NUL in two bytes", b"", b"\xc0\x80"),
    ("c1 bf: too long", b"a", b"\xc1\xbf"),
    ("c0 af: slash in two bytes", b"/", b"\xc0\xaf"),
    ("e0 80 80: too long", b"", b"\xe0\x80\x80"),
    ("e0 9f bf: too long", b"a", b"\xe0\x9f\xbf"),
    ("f0 80 80 80: too long", b"", b"\xf0\x80\x80\x80"),
    ("f0 8f bf bf: too long", b"a", b"\xf0\x8f\xbf\xbf"),
    ("ed a0 80: first surrogate", b"", b"\xed\xa0\x80"),
    ("ed ad bf: last high surrogate", b"a", b"\xed\xad\xbf"),
    ("ed b0 80: first low surrogate", b"a", b"\xed\xb0\x80"),
    ("ed bf bf: last surrogate", b"", b"\xed\xbf\xbf"),
    ("ed a0 80 ed b0 80: a pair of surrogates", b"", b"\xed\xa0\x80\xed\xb0\x80"),
    ("f4 90 80 80: above U+10FFFF", b"", b"\xf4\x90\x80\x80"),
    ("f5 80 80 80: above all", b"a", b"\xf5\x80\x80\x80"),
    ("f7 bf bf bf: above all", b"", b"\xf7\xbf\xbf\xbf"),
    ("f8 88 80 80 80: five bytes", b"", b"\xf8\x88\x80\x80\x80"),
    ("fc 84 80 80 80 80: six bytes", b"", b"\xfc\x84\x80\x80\x80\x80"),
    ("fe", b"fine ", b"\xfe"),
    ("ff", b"fine ", b"\xff"),
    ("fe fe ff ff", b"", b"\xfe\xfe\xff\xff"),
    ("c2 and then ASCII", b"a", b"\xc2A"),
    ("e2 82 and then ASCII", b"a", b"\xe2\x82A"),
    ("f0 9f 98 and then ASCII", b"a", b"\xf0\x9f\x98A"),
    ("e2 and then another start", b"a", b"\xe2\xc3"),
    ("f0 9f and then another start", b"a", b"\xf0\x9f\xf0"),
    ("c3 at the end", b"cut ", b"\xc3"),
    ("e2 82 at the end", b"cut ", b"\xe2\x82"),
    ("f0 9f 98 at the end", b"cut ", b"\xf0\x9f\x98"),
    ("f4 8f bf at the end", b"", b"\xf4\x8f\xbf"),
];

fn valid() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, text) in VALID {
        let name = |how: &str| Case::new(format!("valid UTF-8: {name}, {how}"));
        let bytes = text.as_bytes();
        cases.push(name("whole").frame(Frame::text(bytes)));
        cases.push(name("byte by byte").frame(Frame::text(bytes)).chopped(1));
        cases.push(name("fragments of one byte").frames(split(TEXT, bytes, bytes.len())));
    }
    cases
}

fn invalid() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, start, offence) in INVALID {
        let name = |how: &str| Case::new(format!("invalid UTF-8: {name}, {how}"));
        let text = [start, offence].concat();
        cases.push(name("whole").offends(Frame::text(&text[..]), 1007));
        cases.push(name("byte by byte").offends(Frame::text(&text[..]), 1007).chopped(1));
        let fragments: Vec<u8> = split(TEXT, &text, text.len()).iter().flat_map(Frame::bytes).collect();
        cases.push(name("fragments of one byte").offends_bytes(fragments, 1007));
    }
    for (name, start, offence) in INVALID {
        let after =
            Case::new(format!("invalid UTF-8: {name}, behind a good message")).frame(Frame::text("good"));
        cases.push(after.offends(Frame::text([start, offence].concat()), 1007));
    }
    cases
}

/// The same text in two fragments, cut at every byte.
fn splits() -> Vec<Case> {
    let good = "a\u{b5}\u{20ac}\u{1d11e}z\u{10ffff}".as_bytes();
    let bad = b"a\xc2\xb5\xe2\x82\xacz\xf0\x9f\x98\x80\xed\xa0\x80!";
    let mut cases = Vec::new();
    for at in 0..=good.len() {
        let (first, rest) = good.split_at(at);
        let cut = [Frame::text(first).more(), Frame::last(rest)];
        cases.push(Case::new(format!("valid text cut at byte {at}")).frames(cut.clone()));
        cases.push(Case::new(format!("valid text cut at byte {at}, a ping between")).frames([
            cut[0].clone(),
            Frame::ping("cut"),
            cut[1].clone(),
        ]));
    }
    for at in 0..=bad.len() {
        let (first, rest) = bad.split_at(at);
        let cut = [Frame::text(first).more().bytes(), Frame::last(rest).bytes()].concat();
        cases.push(Case::new(format!("invalid text cut at byte {at}")).offends_bytes(cut, 1007));
    }
    cases
}

/// Offences that must be seen although frame or message go on.
fn early() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, start, offence) in INVALID {
        if name.ends_with("at the end") {
            continue;
        }
        let text = [start, offence].concat();
        let name = |what: &str| Case::new(format!("at once: {name}, {what}"));
        cases.push(name("message unfinished").offends(Frame::text(&text[..]).more(), 1007));
        let unfinished = Frame::text(&text[..]).length(Length::Claimed(1000));
        cases.push(name("frame unfinished").offends(unfinished, 1007));
    }
    let large = [vec![b'x'; 100_000], b"\xff".to_vec()].concat();
    cases.push(
        Case::new("at once: behind 100,000 bytes of an unfinished frame")
            .offends(Frame::text(large).length(Length::Claimed(200_000)), 1007),
    );
    cases.push(
        Case::new("cut character, then a new fragment that cannot finish it")
            .frame(Frame::text(b"\xe2\x82".as_slice()).more())
            .offends(Frame::middle("x"), 1007),
    );
    cases.push(
        Case::new("cut character, then the empty end")
            .frame(Frame::text(b"\xe2\x82".as_slice()).more())
            .offends(Frame::last(""), 1007),
    );
    cases
}

/// Where UTF-8 does not matter, and that one message leaves nothing to the next.
fn elsewhere() -> Vec<Case> {
    let noise = b"\xff\xfe\x80\xc0\xed\xa0\x80";
    vec![
        Case::new("binary that is not UTF-8").frame(Frame::binary(&noise[..])),
        Case::new("binary that is not UTF-8, fragmented")
            .frames([Frame::binary(&noise[..3]).more(), Frame::last(&noise[3..])]),
        Case::new("ping and pong that are not UTF-8")
            .frames([Frame::ping(&noise[..]), Frame::pong(&noise[..])]),
        Case::new("binary that ends in a cut character, then text")
            .frames([Frame::binary(b"\xe2\x82".as_slice()), Frame::text("fresh")]),
        Case::new("cut character at the end of one text is not finished by the next")
            .offends_bytes([Frame::text([0xc3]).bytes(), Frame::text([0xa4]).bytes()].concat(), 1007),
    ]
}
