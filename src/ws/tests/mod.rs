//! Tables for the decoder: bytes in, events out, and the vocabulary they are written in.
//!
//! A row says what a client sends and what comes of it, as a line: `bin(ab)` is a binary message, `text(ab)` one of
//! text, `bin(ab` one that did not end, `bin(a[ping x]b)` one with a ping inside; `[pong x]`, `[close]`, `[close
//! 1000 bye]` and `[fail Unmasked]` are the rest. [`check`] runs every row whole, split at every byte, byte by byte,
//! in place and slid.

mod controls;
mod frames;
mod messages;
mod random;
mod text;

use super::{CloseReason, Decoder, Event, Kind, Piece, Rules};

/// One row: a name, what the client sends, what comes of it.
type Row = (&'static str, Vec<u8>, String);

/// The rules of most rows: text is taken.
const TEXT: Rules = Rules { text: true };
/// The rules of a bridge that carries binary messages only.
const NO_TEXT: Rules = Rules { text: false };

const FIN: u8 = 0x80;
const CONT: u8 = 0x0;
const TXT: u8 = 0x1;
const BIN: u8 = 0x2;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8A;

/// A row whose outcome is written down as it stands.
fn row(name: &'static str, frames: &[Vec<u8>], outcome: &str) -> Row {
    (name, frames.concat(), outcome.to_string())
}

/// A client's frame, masked, its length in the shortest form; `first` is the first byte.
fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    masked(first, payload.as_ref(), [0x37, 0xFA, 0x21, 0x3D])
}

/// As [`frame`], with a mask of the caller's.
fn masked(first: u8, payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let mut bytes = head(first, payload.len() as u64);
    bytes.extend(key);
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// The header of a client's frame without its mask.
fn head(first: u8, len: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match len {
        0..=125 => bytes.push(0x80 | len as u8),
        126..=0xFFFF => {
            bytes.push(0x80 | 126);
            bytes.extend((len as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend(len.to_be_bytes());
        }
    }
    bytes
}

/// A frame of which only the first bytes are sent.
fn cut(mut frame: Vec<u8>, len: usize) -> Vec<u8> {
    frame.truncate(len);
    frame
}

/// A close frame with a code and a reason.
fn close(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    frame(CLOSE, [&code.to_be_bytes()[..], reason.as_ref()].concat())
}

/// Where payload goes.
#[derive(Clone, Copy, Debug)]
enum Way {
    InPlace,
    Slid,
}

/// What one decoder makes of `bytes` when they come in the runs that end at `cuts`.
fn outcome(rules: Rules, bytes: &[u8], cuts: &[usize], way: Way) -> String {
    let mut decoder = Decoder::new(rules);
    let mut line = String::new();
    let mut from = 0;
    for &to in cuts.iter().chain([&bytes.len()]) {
        feed(&mut decoder, &mut bytes[from..to].to_vec(), way, &mut line);
        from = to;
    }
    line
}

/// Gives one run to a decoder, as a caller would, and writes down what comes of it.
fn feed(decoder: &mut Decoder, run: &mut [u8], way: Way, line: &mut String) {
    let mut read = 0;
    let mut write = 0;
    loop {
        let before = read;
        let into = matches!(way, Way::Slid).then_some(write);
        let event = decoder.next(run, &mut read, into);
        assert!(before <= read && read <= run.len());
        match event {
            Event::Payload(piece) => {
                assert!(piece.range.end <= read);
                match way {
                    Way::InPlace => assert!(before <= piece.range.start),
                    Way::Slid => assert_eq!(piece.range.start, write, "slid payload lies together"),
                }
                write = piece.range.end;
                tell_piece(&piece, &run[piece.range.clone()], line);
            }
            Event::Ping(payload) => *line += &format!("[ping {}]", payload.as_slice().escape_ascii()),
            Event::Pong(payload) => *line += &format!("[pong {}]", payload.as_slice().escape_ascii()),
            Event::Close(None) => *line += "[close]",
            Event::Close(Some(reason)) => tell_close(&reason, line),
            Event::Starved => break assert_eq!(read, run.len()),
            Event::Fail(violation) => {
                assert_eq!(read, run.len());
                let told = format!("[fail {violation:?}]");
                if !line.ends_with(&told) {
                    *line += &told;
                }
                break;
            }
        }
    }
}

fn tell_piece(piece: &Piece, payload: &[u8], line: &mut String) {
    if piece.starts {
        *line += match piece.kind {
            Kind::Text => "text(",
            Kind::Binary => "bin(",
        };
    }
    *line += &payload.escape_ascii().to_string();
    if piece.ends {
        *line += ")";
    }
}

fn tell_close(reason: &CloseReason, line: &mut String) {
    *line += &format!("[close {} {}]", reason.code(), reason.reason().as_bytes().escape_ascii());
    assert_eq!(
        reason.payload().as_slice(),
        [&reason.code().to_be_bytes(), reason.reason().as_bytes()].concat()
    );
}

/// Runs every row whole, split once at every byte (in long rows, near their ends and at some places between), and
/// byte by byte, in place and slid.
fn check(rules: Rules, rows: &[Row]) {
    for (name, bytes, expected) in rows {
        let len = bytes.len();
        for way in [Way::InPlace, Way::Slid] {
            assert_eq!(&outcome(rules, bytes, &[], way), expected, "{name}: whole, {way:?}");
            let each: Vec<usize> = (1..len).collect();
            assert_eq!(&outcome(rules, bytes, &each, way), expected, "{name}: byte by byte, {way:?}");
            let stride = 1 + len / 1024;
            for at in (0..=len).filter(|at| *at < 40 || len - *at < 40 || *at % stride == 0) {
                assert_eq!(&outcome(rules, bytes, &[at], way), expected, "{name}: split at {at}, {way:?}");
            }
        }
    }
}

#[test]
fn a_decoder_is_small() {
    // Every idle session carries one.
    assert!(size_of::<Decoder>() <= 32, "{} bytes", size_of::<Decoder>());
}
