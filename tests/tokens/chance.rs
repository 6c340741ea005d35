//! Texts by chance: however a token is written it is not shown, and whatever is read as a table, a target, a source, a key or
//! a token does no harm.

use std::time::Duration;
use websplice::route::form::decode_form;
use websplice::route::jwt::{self, Key};
use websplice::route::leads;
use websplice::route::request::Request;
use websplice::route::source::NAMES;
use websplice::route::source::Source;
use websplice::route::table::Table;
use websplice::route::token::Token;
use websplice::route::token::{Place, find};
use websplice::route::{Options, Tokens};
use websplice::sim::Dice;

const SECRET: &str = "S3-CRET.4711";

/// `text` with some of its letters as escapes, so many layers deep.
fn escaped(text: &str, layers: usize, often: usize, dice: &mut Dice) -> String {
    let mut text = text.to_owned();
    for _ in 0..layers {
        text = text
            .bytes()
            .map(|byte| match byte {
                // What would end the parameter has to be escaped.
                b'&' | b'%' | b'+' | b'#' => format!("%{byte:02X}"),
                _ if dice.chance(often) => format!("%{byte:02x}"),
                _ => char::from(byte).to_string(),
            })
            .collect();
    }
    text
}

fn tokens(places: Vec<Place>) -> Options {
    let tokens = Tokens {
        source: Source::TokenFile { path: "/x".into(), read_only: false },
        option: "--token-source",
        places,
        cache: Duration::ZERO,
        timeout: Duration::from_secs(1),
    };
    Options { tokens: Some(tokens), ..Options::default() }
}

/// Whether the secret is in a text, behind up to so many layers of escapes.
fn shows(text: &str) -> bool {
    let mut text = text.to_owned();
    for _ in 0..8 {
        if text.contains(SECRET) {
            return true;
        }
        text = decode_form(&text).into_owned();
    }
    false
}

/// A request target with the token somewhere in it.
fn target(dice: &mut Dice) -> String {
    let often = *dice.pick(&[0, 200, 1000]);
    let mut pair = format!("token={}", escaped(SECRET, 1, often, dice));
    if dice.chance(300) {
        pair = format!("{}={}", escaped("token", 1, often, dice), escaped(SECRET, 1, often, dice));
    }
    let mut pairs: Vec<String> = (0..dice.below(3)).map(|number| format!("p{number}=v%20w+x")).collect();
    for _ in 0..dice.below(4) {
        let inner = format!("{}?{pair}", dice.pick(&["websockify", "/a/b", "", "ws://host/x"]));
        pair = format!("path={}", escaped(&inner, 1, often, dice));
    }
    pairs.insert(dice.below(pairs.len() + 1), pair);
    let path = dice.pick(&["/", "/websockify", "/vnc.html", "http://a/b"]);
    if dice.chance(200) {
        // A client that writes a query into its path, with or without escapes, has no query.
        let divider = *dice.pick(&["%3F", ";", "&", "%253f"]);
        return format!("{path}{divider}{}", escaped(&pairs.join(";"), dice.below(3), often, dice));
    }
    format!("{path}?{}", pairs.join("&"))
}

#[test]
fn no_spelling_shows_a_token() {
    for (options, least) in [(tokens(vec![Place::Query]), 500), (Options::default(), 500)] {
        let found = veiled(&options);
        assert!(found > least, "{found}");
    }
}

/// Has many targets shown; how many of them had a token as it is looked for.
fn veiled(options: &Options) -> usize {
    let mut found = 0;
    for seed in 0..4_000 {
        let mut dice = Dice::new(seed);
        let target = target(&mut dice);
        let shown = options.veiled(&target);
        assert!(shows(&target), "the test itself: {target}");
        assert!(!shows(&shown), "{target} is shown as {shown}");
        // Where it is the token itself, its hash is there to be looked for.
        let Some((path, rest)) = target.split_once('?').filter(|(path, _)| !path.contains(['%', ';', '&']))
        else {
            continue;
        };
        let request = Request {
            method: "GET".into(),
            path: path.into(),
            query: Some(rest.into()),
            headers: Vec::new(),
            client: None,
            tls: None,
            certified: None,
        };
        if let Ok(Some(token)) = find(&request, &[Place::Query]) {
            assert_eq!(token.secret(), SECRET);
            assert!(shown.contains(&options.veil.mark(SECRET).to_string()), "{shown}");
            found += 1;
        }
    }
    found
}

#[test]
fn a_path_that_is_a_token_is_not_shown() {
    let path = tokens(vec![Place::Path]);
    for seed in 0..5_000 {
        let mut dice = Dice::new(seed);
        let often = *dice.pick(&[0, 200, 1000]);
        let last = escaped(SECRET, 1, often, &mut dice);
        let target = format!(
            "{}/{last}{}",
            dice.pick(&["", "/a", "/a%2Fb/c", "http://h"]),
            dice.pick(&["", "/", "/./", "?a=b", "?"])
        );
        let shown = path.veiled(&target);
        assert!(!shows(&shown), "{target} is shown as {shown}");
        assert!(shown.contains(&path.veil.mark(SECRET).to_string()), "{target} is shown as {shown}");
    }
}

#[test]
fn whatever_is_sent_is_shown_somehow() {
    let any = tokens(vec![Place::Query, Place::Path, Place::Host]);
    for seed in 0..4_000 {
        let mut dice = Dice::new(seed);
        let letters =
            ["token", "=", "%", "3D", "25", "&", "?", "/", "+", "://", "a", "\u{e9}", "%3", "%3D", "%2574"];
        let target: String = (0..dice.below(20)).map(|_| *dice.pick(&letters)).collect();
        let shown = any.veiled(&target);
        assert!(shown.len() <= 10 * (target.len() + 10), "{target} is shown as {shown}");
    }
}

/// How many lines a text has; a CR alone ends one, too.
fn lines(text: &str) -> usize {
    text.lines().map(|line| line.split('\r').count()).sum()
}

#[test]
fn whatever_is_read_does_no_harm() {
    let secret = Key::parse(b"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY").expect("a key of 32 bytes");
    let letters = [
        "a",
        "h:1",
        ":",
        ": ",
        "\n",
        "\r",
        "#",
        " ",
        "\u{e9}",
        "\u{2028}",
        "\0",
        "[",
        "]",
        "::1",
        "unix_socket:",
        "/x",
        "\"",
        "{",
        "}",
        "\"host\"",
        "\"port\"",
        ",",
        "1",
        "65536",
        "-",
        "%s",
        "http://",
        "@",
        ".",
        "eyJhbGciOiJkaXIifQ",
        "eyJhbGciOiJIUzI1NiJ9",
        "-----BEGIN PUBLIC KEY-----",
        "-----END PUBLIC KEY-----",
        "AAAA",
        "=",
    ];
    for seed in 0..10_000 {
        let mut dice = Dice::new(seed);
        let text: String = (0..dice.below(24)).map(|_| *dice.pick(&letters)).collect();
        let mut table = Table::default();
        table.add(&text);
        let lines = lines(&text);
        assert!(table.faults.iter().all(|line| (1..=lines).contains(line)), "{text:?}: {:?}", table.faults);
        table.find(&Token::new(text.as_str()), true);
        for target in
            [leads::word(&text), leads::value(&text), leads::json(text.as_bytes()), leads::pair(&text, &text)]
        {
            // What was read is written so that it can be read again.
            let Some(target) = target else { continue };
            assert!(
                !target.to_string().contains(['\n', '\0']) || text.contains("unix_socket"),
                "{text:?}: {target}"
            );
        }
        for name in NAMES {
            if let Err(why) = Source::parse(name, Some(&text)) {
                assert!(why.starts_with("--token-"), "{why}");
            }
        }
        let _ = Key::parse(text.as_bytes());
        assert!(jwt::target(&text, &secret, 0.0).is_err(), "{text:?}");
    }
}

/// Keys and tokens of standards and peers.
fn vectors() -> Vec<(Key, String, String)> {
    let text = include_str!("../../src/route/jwt/vectors.json");
    let rows: Vec<serde_json::Map<String, serde_json::Value>> =
        serde_json::from_str(text).expect("they are JSON");
    let word = |row: &serde_json::Map<_, _>, name: &str| {
        let value: &serde_json::Value = &row[name];
        value.as_str().expect("a text").to_owned()
    };
    let rows = rows.iter().map(|row| (word(row, "key"), word(row, "token")));
    rows.map(|(key, token)| (Key::parse(key.as_bytes()).expect("a key"), key, token)).collect()
}

#[test]
fn spoiled_tables_and_answers_do_no_harm() {
    let table = "# desks\n\na: h:1\nb c: unix_socket:/run/x\n d: [::1]:vnc \nbad\nc: @x: 1\n";
    let answers: [&[u8]; 6] = [
        b"10.0.0.9:5900\n",
        b"[fe80::1%eth0]:vnc",
        b"unix_socket:/run/x:1",
        br#"{"host": "10.0.0.9", "port": 5900}"#,
        br#"{"host": "unix_socket", "port": "@x\\u0000y", "more": [1.5e300, null, {"a": "\\ud83d\\ude00"}]}"#,
        br#" {"host": "h:5900"} "#,
    ];
    for seed in 0..20_000 {
        let mut dice = Dice::new(seed);
        let bytes = spoiled(table.as_bytes(), &mut dice);
        let text = String::from_utf8_lossy(&bytes);
        let mut table = Table::default();
        table.add(&text);
        assert!(table.faults.len() <= lines(&text), "{text:?}");
        for token in text.split(':').chain(["a", "B C"]) {
            let found = table.find(&Token::new(token.trim()), dice.chance(500));
            assert!(found.is_none_or(|target| target.to_string().len() <= 4 * text.len()), "{text:?}");
        }
        let answer: &[u8] = dice.pick::<&[u8]>(&answers);
        let bytes = spoiled(answer, &mut dice);
        let text = String::from_utf8_lossy(&bytes);
        for target in [leads::json(&bytes), leads::word(&text), leads::value(&text), leads::pair(&text, "1")]
        {
            // What is read is no longer than what it was read from, however it is written.
            assert!(target.is_none_or(|target| target.to_string().len() <= 4 * text.len() + 8), "{text:?}");
        }
    }
}

#[test]
fn spoiled_keys_and_tokens_are_refused() {
    let vectors = vectors();
    for seed in 0..4_000 {
        let mut dice = Dice::new(seed);
        let (key, text, token) = dice.pick(&vectors);
        let bytes = spoiled(text.as_bytes(), &mut dice);
        if let Err(why) = Key::parse(&bytes) {
            assert!((1..200).contains(&why.len()), "{why}");
        }
        let bytes = spoiled(token.as_bytes(), &mut dice);
        let spoiled = String::from_utf8_lossy(&bytes);
        if let Err(why) = jwt::target(&spoiled, key, 0.0) {
            assert!((1..200).contains(&why.len()), "{why}");
        } else {
            // The last letter of a part may have bits that mean nothing.
            assert_eq!(spoiled.len(), token.len(), "{spoiled}");
        }
    }
}

/// `bytes` with a few things done to them that nobody expects.
fn spoiled(bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..dice.between(1, 6) {
        let at = dice.below(bytes.len() + 1);
        let end = at + dice.below(bytes.len() - at + 1);
        match dice.below(6) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => bytes.insert(at, dice.word() as u8),
            3 => bytes.extend_from_within(at..end.min(at + 64)),
            4 => bytes.extend((0..dice.below(16)).map(|_| dice.word() as u8)),
            _ if at < bytes.len() => bytes[at] = *dice.pick(b"\0\n\r\"\\{}[]:,.@%/ -0\x7f\xff"),
            _ => {}
        }
    }
    bytes
}
