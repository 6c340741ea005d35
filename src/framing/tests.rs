//! Tables for framings: bytes in, messages out, the same wherever the stream is cut into runs; and what words mean.

use super::{Cut, Cutter, Framing, Rest};
use crate::limits::{FRAMING_JSON_DEPTH_MAX, FRAMING_SEPARATOR_BYTES_MAX};
use crate::ws::Kind;

/// Most bytes of a message in these tables.
const MOST: usize = 64;

/// What a stream that comes in these runs is cut into: each message as `t:` or `b:` and its bytes, and how it ended if not well.
fn cut_up(framing: &Framing, most: usize, runs: &[&[u8]]) -> Vec<String> {
    let mut cutter = Cutter::new(framing, most).expect("there is something to cut");
    let (mut words, mut open) = (Vec::new(), Vec::new());
    let word = |kind: Kind, bytes: &[u8]| {
        let letter = if kind == Kind::Text { 't' } else { 'b' };
        assert!(kind == Kind::Binary || std::str::from_utf8(bytes).is_ok(), "text is UTF-8");
        format!("{letter}:{}", escaped(bytes))
    };
    for run in runs {
        let mut run = *run;
        while !run.is_empty() {
            match cutter.next(run) {
                Cut::Message { len, kind } => {
                    open.extend_from_slice(&run[..len]);
                    assert!(!open.is_empty(), "messages are something");
                    words.push(word(kind, &open));
                    open.clear();
                    run = &run[len..];
                }
                Cut::Skip(len) => {
                    assert!(open.is_empty() && len > 0);
                    run = &run[len..];
                }
                Cut::Open => {
                    open.extend_from_slice(run);
                    break;
                }
                Cut::TooLong => return [words, vec!["too long".into()]].concat(),
                Cut::Broken(_) => return [words, vec!["broken".into()]].concat(),
            }
        }
    }
    if !open.is_empty() {
        match cutter.finish() {
            Rest::Message(kind) => words.push(word(kind, &open)),
            Rest::Nothing => {}
            Rest::Broken(_) => words.push("broken".into()),
        }
    }
    words
}

/// Bytes as they are written here: quotes stay as they are.
fn escaped(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string().replace("\\\"", "\"")
}

/// The stream, cut into runs at these places.
fn runs<'a>(stream: &'a [u8], places: &[usize]) -> Vec<&'a [u8]> {
    let mut from = 0;
    let ends = places.iter().copied().chain([stream.len()]);
    ends.map(|to| &stream[std::mem::replace(&mut from, to)..to]).collect()
}

/// Hands over every way to cut a stream at one place and at two, one that cuts it at all, and many by chance.
fn every_way(stream: &[u8], mut way: impl FnMut(&[&[u8]])) {
    way(&[stream]);
    for first in 0..=stream.len() {
        for second in first..=stream.len() {
            way(&runs(stream, &[first, second]));
        }
    }
    way(&runs(stream, &(1..stream.len()).collect::<Vec<_>>()));
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    for _ in 0..200 {
        let one_in = 1 + dice.below(8);
        let places: Vec<usize> = (0..stream.len()).filter(|_| dice.below(one_in) == 0).collect();
        way(&runs(stream, &places));
    }
}

/// Numbers by chance, the same ones each time (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

/// Name, configuration, stream, and what it is cut into.
type Row = (&'static str, &'static str, &'static [u8], &'static [&'static str]);

const MARKED: &[Row] = &[
    ("newline", "", b"a\r\nb\r\n", &[r"t:a\r\n", r"t:b\r\n"]),
    ("newline", "crlf", b"a\r\nrest", &[r"t:a\r\n", "t:rest"]),
    ("newline", "crlf", b"\r\r\n\n\r\n\r", &[r"t:\r\r\n", r"t:\n\r\n", r"t:\r"]),
    ("newline", "crlf", b"a\rb\nc\r\n", &[r"t:a\rb\nc\r\n"]),
    ("newline", "lfcr", b"a\n\r\r\n\n\r", &[r"t:a\n\r", r"t:\r\n\n\r"]),
    ("newline", "cr", b"a\r\nb\r", &[r"t:a\r", r"t:\nb\r"]),
    ("newline", "lf", b"\n\nx\n", &[r"t:\n", r"t:\n", r"t:x\n"]),
    // Each message is judged by itself, the last one too.
    (
        "newline",
        "lf",
        b"\xC3\xA9\n\xFF\na\n\xC3\nb\n\xE2\x82",
        &[r"t:\xc3\xa9\n", r"b:\xff\n", r"t:a\n", r"b:\xc3\n", r"t:b\n", r"b:\xe2\x82"],
    ),
    // Surrogates and overlong forms are no text.
    ("newline", "lf", b"\xED\xA0\x80\n\xC0\xAF\n", &[r"b:\xed\xa0\x80\n", r"b:\xc0\xaf\n"]),
    ("separator", "ab", b"xabyabab", &["b:xab", "b:yab", "b:ab"]),
    ("separator", "aab", b"aaabaaaab", &["b:aaab", "b:aaaab"]),
    ("separator", "abac", b"ababacabaabac", &["b:ababac", "b:abaabac"]),
    ("separator", "abcabd", b"abcabcabdab", &["b:abcabcabd", "b:ab"]),
    ("separator", "aa", b"aaaaa", &["b:aa", "b:aa", "b:a"]),
    ("separator", r"\r\n.\r\n", b"a\r\n.\r\n.\r\n\r\n.\r\n", &[r"b:a\r\n.\r\n", r"b:.\r\n\r\n.\r\n"]),
    ("separator", r"\x41", b"xAy", &["b:xA", "b:y"]),
    ("separator", r"\x0a0", b"a\n0b\n1", &[r"b:a\n0", r"b:b\n1"]),
    ("separator", r"\0\xff\\\t\f", b"a\0\xFF\\\t\x0Cb", &[r"b:a\x00\xff\\\t\x0c", "b:b"]),
    ("separator", "\u{e9}", b"a\xC3\xA9b", &[r"b:a\xc3\xa9", "b:b"]),
    ("separator", ";", b"", &[]),
];

const COUNTED: &[Row] = &[
    ("fixedlength", "3", b"abcdefgh", &["b:abc", "b:def", "b:gh"]),
    ("fixedlength", "1", b"ab", &["b:a", "b:b"]),
    ("fixedlength", "0x4", b"abcdabcd", &["b:abcd", "b:abcd"]),
    ("fixedlength", "010", b"12345678x", &["b:12345678", "b:x"]),
    ("fixedlength", "65", b"a", &["too long"]),
    (
        "dynamic32",
        "",
        b"\x01\0\0\0a\0\0\0\0\x02\0",
        &[r"b:\x01\x00\x00\x00a", r"b:\x00\x00\x00\x00", r"b:\x02\x00"],
    ),
    ("dynamic32", "endian=big", b"\0\0\0\x02ab\0", &[r"b:\x00\x00\x00\x02ab", r"b:\x00"]),
    (
        "dynamic32",
        "offset=2,static=-4,endian=big",
        b"hi\0\0\0\x07abchi\0\0\0\x04",
        &[r"b:hi\x00\x00\x00\x07abc", r"b:hi\x00\x00\x00\x04"],
    ),
    ("dynamic32", "endian=little, static=0x2", b"\x01\0\0\0abc", &[r"b:\x01\x00\x00\x00abc"]),
    ("dynamic32", "static=-4", b"\x05\0\0\0a\x03\0\0\0", &[r"b:\x05\x00\x00\x00a", "broken"]),
    // No sum is taken in 32 bits.
    ("dynamic32", "", b"\xFF\xFF\xFF\xFFabc", &["too long"]),
    ("dynamic32", "static=4294967295", b"\0\0\0\0abc", &["too long"]),
    ("dynamic32", "", b"\x3D\0\0\0", &["too long"]),
];

const JSON: &[Row] = &[
    ("json", "", b"{}[]\"\"", &["t:{}", "t:[]", "t:\"\""]),
    ("json", "", b"{\"a\":1}\n{\"b\":2}\n", &["t:{\"a\":1}", "t:\\n{\"b\":2}"]),
    ("json", "trim", b" {\"a\":1}\n{\"b\":2} \r\n\t", &["t:{\"a\":1}", "t:{\"b\":2}"]),
    ("json", "trim", b"[ 1 , 2 ]  12  ", &["t:[ 1 , 2 ]", "t:12"]),
    ("json", "", b"1 -0.5e+10\r\n2E5\t0 -0", &["t:1", "t: -0.5e+10", r"t:\r\n2E5", r"t:\t0", "t: -0"]),
    ("json", "", b"true false null", &["t:true", "t: false", "t: null"]),
    ("json", "", b"truefalse[]12{}", &["t:true", "t:false", "t:[]", "t:12", "t:{}"]),
    ("json", "", b"01 1.", &["t:0", "t:1", "b: 1."]),
    (
        "json",
        "",
        br#""a\\""b\"]}""\u00e9\/""#,
        &[r#"t:\"a\\\\\""#, r#"t:\"b\\\"]}\""#, r#"t:\"\\u00e9\\/\""#],
    ),
    ("json", "", "[\"é\u{1F600}\"]".as_bytes(), &[r#"t:[\"\xc3\xa9\xf0\x9f\x98\x80\"]"#]),
    // Pretty printed, ending in a number.
    (
        "json",
        "trim",
        b"{\n \"a\": [\n  1,\n  2\n ],\n \"b\": {}, \"c\": 1\n}\n[]",
        &[r#"t:{\n \"a\": [\n  1,\n  2\n ],\n \"b\": {}, \"c\": 1\n}"#, "t:[]"],
    ),
    // What is no JSON goes up to the end of its line.
    ("json", "", b"hello {}\n{}", &[r"b:hello {}\n", "t:{}"]),
    ("json", "", b"[1,]x\n[1]", &[r"b:[1,]x\n", "t:[1]"]),
    (
        "json",
        "",
        b"{\"a\" 1}\n{a:1}\n{\"a\":1,}\n[}\n{]\n2",
        &[r#"b:{\"a\" 1}\n"#, r"b:{a:1}\n", r#"b:{\"a\":1,}\n"#, r"b:[}\n", r"b:{]\n", "t:2"],
    ),
    (
        "json",
        "",
        b"\"a\xFF\"\n\"\xC3\"\n\"\xED\xA0\x80\"\n\"\"",
        &[r#"b:\"a\xff\"\n"#, r#"b:\"\xc3\"\n"#, r#"b:\"\xed\xa0\x80\"\n"#, r#"t:\"\""#],
    ),
    ("json", "", b"\"a\nb\"\n", &[r#"b:\"a\n"#, r#"b:b\"\n"#]),
    (
        "json",
        "",
        b"\"\\x\"\n\"\\u00g0\"\n-\ntrux\n1.e5\n",
        &[r#"b:\"\\x\"\n"#, r#"b:\"\\u00g0\"\n"#, r"b:-\n", r"b:trux\n", r"b:1.e5\n"],
    ),
    // And what is cut off is no JSON.
    ("json", "", b"{\"a\":", &[r#"b:{\"a\":"#]),
    ("json", "", b"\"\xE2\x82", &[r#"b:\"\xe2\x82"#]),
    ("json", "", b"[1", &["b:[1"]),
    ("json", "", b"-", &["b:-"]),
    ("json", "", b"1e", &["b:1e"]),
    ("json", "", b" \r\n", &[]),
    ("json", "", b"]", &["b:]"]),
];

#[test]
fn messages_are_the_same_wherever_their_stream_is_cut() {
    for (name, config, stream, expected) in [MARKED, COUNTED, JSON].concat() {
        let framing = Framing::parse(name, Some(config)).expect("the row is sound");
        let plain = |words: &[&str]| words.iter().map(|word| word.replace("\\\"", "\"")).collect::<Vec<_>>();
        let expected = plain(expected);
        every_way(stream, |runs| {
            assert_eq!(cut_up(&framing, MOST, runs), expected, "{name} {config} {runs:?}")
        });
    }
}

#[test]
fn what_is_too_long_is_so_wherever_it_is_cut() {
    for (name, config) in [("newline", "lf"), ("separator", ";\\n"), ("json", ""), ("fixedlength", "8")] {
        let framing = Framing::parse(name, Some(config)).unwrap();
        for most in [7, 8] {
            let stream = b"\"12345\" \"1234;\n";
            every_way(stream, |runs| {
                let words = cut_up(&framing, most, runs);
                assert_eq!(words, cut_up(&framing, most, &[stream]), "{name} {most} {runs:?}");
                assert!(most == 8 || words.last().unwrap() == "too long", "{name} {words:?}");
            });
        }
    }
    // A message of just the most bytes is one.
    let lines = Framing::parse("newline", Some("lf")).unwrap();
    every_way(b"1234567\n12345678\n", |runs| {
        assert_eq!(cut_up(&lines, 8, runs), [r"t:1234567\n", "too long"], "{runs:?}");
    });
    every_way(b"12345678", |runs| assert_eq!(cut_up(&lines, 8, runs), ["t:12345678"], "{runs:?}"));
}

#[test]
fn text_is_whole_characters_wherever_it_is_cut() {
    let text = Framing::parse("text", None).unwrap();
    for (stream, good, ends) in [
        ("aé€\u{1F600}z".as_bytes(), "aé€\u{1F600}z", ""),
        (b"", "", ""),
        (b"ab\xFFcd", "ab", "broken"),
        (b"a\xC3\xA9\xE2\x82xyz", "aé", "broken"),
        (b"\x80", "", "broken"),
        (b"a\xED\xA0\x80", "a", "broken"),
        (b"a\xF4\x90\x80\x80", "a", "broken"),
        // The rest of the character never comes.
        (b"ab\xF0\x9F\x98", "ab", "broken"),
    ] {
        every_way(stream, |runs| {
            let mut words = cut_up(&text, MOST, runs);
            let broken = words.pop_if(|word| word == "broken").unwrap_or_default();
            let all: String =
                words.iter().map(|word| word.strip_prefix("t:").expect("all is text")).collect();
            assert_eq!((all, &*broken), (good.as_bytes().escape_ascii().to_string(), ends), "{runs:?}");
        });
    }
    assert_eq!(
        cut_up(&text, MOST, &[b"a\xC3", b"\xA9\xE2\x82", b"\xACb"]),
        ["t:a", r"t:\xc3\xa9", r"t:\xe2\x82\xacb"]
    );
    // What is never kept has no bound.
    assert_eq!(cut_up(&text, 2, &[b"abcdef"]), ["t:abcdef"]);
}

#[test]
fn what_came_at_once_is_text_if_it_can_be() {
    let auto = Framing::parse("auto", None).unwrap();
    assert_eq!(
        cut_up(&auto, MOST, &[b"a\xC3", b"\xA9", "é".as_bytes(), b"\xED\xA0\x80", b"\xF5\x80\x80\x80", b"b"]),
        [r"b:a\xc3", r"b:\xa9", r"t:\xc3\xa9", r"b:\xed\xa0\x80", r"b:\xf5\x80\x80\x80", "t:b"]
    );
    let hold = Framing::parse("auto", Some("hold")).unwrap();
    assert_eq!(
        cut_up(&hold, MOST, &[b"a\xE2", b"\x82", b"\xAC", b"b\xC3", b"zz", b"\xFF", b"c\xF0\x9F"]),
        ["t:a", r"t:\xe2\x82\xac", "t:b", r"b:\xc3zz", r"b:\xff", "t:c", r"b:\xf0\x9f"]
    );
    // Whatever it is, nothing is lost.
    let mut dice = Dice(7);
    for _ in 0..2_000 {
        let stream: Vec<u8> =
            (0..dice.below(12)).map(|_| [0x61, 0xC3, 0xA9, 0xE2, 0x82, 0xFF][dice.below(6)]).collect();
        let at = dice.below(stream.len() + 1);
        for framing in [&auto, &hold] {
            let words = cut_up(framing, MOST, &runs(&stream, &[at]));
            let all: String = words.iter().map(|word| &word[2..]).collect();
            assert_eq!(all, stream.escape_ascii().to_string());
        }
    }
}

#[test]
fn json_is_what_a_parser_takes() {
    let json = Framing::parse("json", Some("trim")).unwrap();
    let words: [&[u8]; 22] = [
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b",",
        b"\"",
        b"\\",
        b"\"a\"",
        b"\"a\":",
        b"1",
        b"0",
        b"-",
        b".",
        b"e",
        b"true",
        b"null",
        b" ",
        b"u0041",
        "é".as_bytes(),
        b"\xC3",
        b"x",
    ];
    let mut dice = Dice(11);
    let (mut values, mut others) = (0, 0);
    for _ in 0..100_000 {
        let mut stream = Vec::new();
        (0..1 + dice.below(9)).for_each(|_| stream.extend_from_slice(words[dice.below(words.len())]));
        let found = cut_up(&json, MOST * 4, &[&stream]);
        let at = dice.below(stream.len() + 1);
        assert_eq!(found, cut_up(&json, MOST * 4, &runs(&stream, &[at])), "{}", stream.escape_ascii());
        let trimmed = stream.trim_ascii();
        let is_one = match serde_json::from_slice::<serde_json::Value>(trimmed) {
            Ok(_) => true,
            // How large a number is, is for its reader to say.
            Err(error) => error.to_string().starts_with("number out of range"),
        };
        let as_one = format!("t:{}", escaped(trimmed));
        let is_found = found.len() == 1 && found[0] == as_one;
        assert_eq!(is_one, is_found, "{}: {found:?}", stream.escape_ascii());
        if is_one { values += 1 } else { others += 1 }
    }
    assert!(values > 2_000 && others > 2_000, "{values} {others}");
}

#[test]
fn json_nests_as_deep_as_it_may() {
    let json = Framing::parse("json", None).unwrap();
    for (depth, kind) in [(FRAMING_JSON_DEPTH_MAX, "t:"), (FRAMING_JSON_DEPTH_MAX + 1, "b:")] {
        let inner = "{\"a\":[".repeat(depth / 2) + if depth % 2 == 1 { "[]" } else { "" };
        let value = inner + &"]}".repeat(depth / 2) + "\n";
        let words = cut_up(&json, 1 << 20, &[value.as_bytes()]);
        assert!(words[0].starts_with(kind) && words.len() == 1, "{depth}: {words:?}");
    }
    let hostile = vec![b'['; 1 << 20];
    assert_eq!(cut_up(&json, 1 << 20, &[&hostile]).len(), 1);
    assert_eq!(cut_up(&json, (1 << 20) - 1, &[&hostile]), ["too long"]);
}

#[test]
fn words_that_choose_nothing_special() {
    for (name, config) in [
        ("binary", None),
        ("binary", Some("")),
        ("separator", Some("")),
        ("fixedlength", Some("0")),
        ("fixedlength", Some("0x0")),
    ] {
        let framing = Framing::parse(name, config).unwrap();
        assert_eq!(framing, Framing::Binary);
        assert!(Cutter::new(&framing, MOST).is_none());
    }
    assert_eq!(Framing::parse("newline", None), Framing::parse("newline", Some("crlf")));
    assert_eq!(
        Framing::parse("dynamic32", None),
        Framing::parse("dynamic32", Some("endian=little,offset=0,static=0"))
    );
    assert_eq!(Framing::parse("fixedlength", Some("4294967295")), Ok(Framing::Fixed(u32::MAX)));
}

#[test]
fn words_that_make_no_sense_are_told_with_a_remedy() {
    let long = "x".repeat(FRAMING_SEPARATOR_BYTES_MAX + 1);
    for (name, config, parts) in [
        ("base64", None, ["\"base64\"", "there are binary, auto, text, newline, separator"]),
        ("Text", None, ["\"Text\"", "is not known"]),
        // As it was written, so that a secret in it is found.
        ("a\"\\\u{7f}", None, ["framing \"a\"\\\u{7f}\"", "is not known"]),
        ("json", Some("a\"\\\u{7f}"), ["as \"a\"\\\u{7f}\"", "\"trim\""]),
        ("", None, ["framing \"\"", "is not known"]),
        ("text", Some("utf8"), ["\"text\" cannot be configured as \"utf8\"", "leave it out"]),
        ("binary", Some("x"), ["\"binary\"", "leave it out"]),
        ("auto", Some("x"), ["\"x\"", "\"hold\""]),
        ("json", Some("x"), ["\"x\"", "\"trim\""]),
        ("newline", Some("CRLF"), ["\"CRLF\"", "write crlf, lfcr, lf or cr"]),
        ("separator", None, ["\"separator\" needs a \"framing_config\"", "\\xHH"]),
        ("separator", Some("\\"), ["\"\\\"", "\\xHH"]),
        ("separator", Some("\\q"), ["\"\\q\"", "\\xHH"]),
        ("separator", Some("\\x4"), ["\"\\x4\"", "\\xHH"]),
        ("separator", Some("\\xg0"), ["\"\\xg0\"", "\\xHH"]),
        ("separator", Some(&long), ["cannot be configured", "up to 256"]),
        ("fixedlength", None, ["needs a \"framing_config\"", "number of bytes"]),
        ("fixedlength", Some(""), ["\"\"", "number of bytes"]),
        ("fixedlength", Some("-1"), ["\"-1\"", "number of bytes"]),
        ("fixedlength", Some("+1"), ["\"+1\"", "number of bytes"]),
        ("fixedlength", Some("0x+1"), ["\"0x+1\"", "number of bytes"]),
        ("fixedlength", Some("09"), ["\"09\"", "number of bytes"]),
        ("fixedlength", Some("4294967296"), ["\"4294967296\"", "number of bytes"]),
        ("dynamic32", Some("offset"), ["\"offset\"", "offset=BYTES"]),
        ("dynamic32", Some("offset=-1"), ["\"offset=-1\"", "offset=BYTES"]),
        ("dynamic32", Some("static=--1"), ["\"static=--1\"", "static=BYTES"]),
        ("dynamic32", Some("endian=middle"), ["\"endian=middle\"", "little or big"]),
        ("dynamic32", Some("endian=big,,"), ["\"endian=big,,\"", "commas"]),
    ] {
        let why = Framing::parse(name, config).unwrap_err();
        assert!(
            parts.iter().all(|part| why.contains(part)) && !why.contains('\n'),
            "{name} {config:?}: {why}"
        );
    }
}
