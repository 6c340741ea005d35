//! What bridges show to those who watch: the same payload and the same messages, however what a client sends is cut.

use super::play::{Client, Far, Play};
use super::read;
use super::settings::{config, every_cut_of};
use crate::config::Config;
use crate::session::tap::Tap;
use crate::tape;
use crate::tape::name::Pattern;

/// A configuration that records, and one with letters.
pub(super) fn tapped(target: &str, record: bool, traffic: bool) -> Config {
    let record = record.then(|| tape::Options {
        directory: "/r".into(),
        base: "r".into(),
        pattern: Pattern::default(),
        unique: false,
        file_bytes_max: None,
        buffer_bytes: 1,
    });
    Config { record, traffic, ..config(target) }
}

/// What was shown, without what depends on cuts: whole messages of each side, and a letter for each of the rest.
fn shown(play: &Play) -> (Vec<Vec<u8>>, Vec<u8>, String) {
    let (mut up, mut open, mut down, mut letters) = (Vec::new(), Vec::new(), Vec::new(), String::new());
    for tap in &play.shown {
        match tap {
            Tap::Brought(brought) => {
                let mut bytes = &*brought.bytes;
                for piece in &brought.pieces {
                    let (payload, rest) = bytes.split_at(piece.len.min(bytes.len()));
                    bytes = rest;
                    match brought.from {
                        Far => down.extend_from_slice(payload),
                        Client => open.extend_from_slice(payload),
                    }
                    if piece.ends && brought.from == Client {
                        up.push(std::mem::take(&mut open));
                    }
                }
                assert!(bytes.is_empty(), "pieces are all of it");
            }
            Tap::Connected => letters.push('c'),
            Tap::Sent(Far) => letters.push('>'),
            Tap::Sent(Client) => letters.push('<'),
            Tap::Moved(_) => letters.push('.'),
        }
    }
    (up, down, letters)
}

fn traffic(play: &mut Play) {
    play.client(read::UPGRADE);
    play.connected();
    play.client(read::frame(0x82, b"one"));
    play.client([read::frame(0x02, b"tw"), read::frame(0x89, b"?"), read::frame(0x80, b"o")].concat());
    play.client(read::frame(0x82, b""));
    play.target(b"answer");
}

#[test]
fn messages_are_shown_whole_at_every_cut() {
    every_cut_of(
        || tapped("127.0.0.1:5900", true, false),
        |play| {
            traffic(play);
            let (up, down, letters) = shown(play);
            assert_eq!(up, [&b"one"[..], b"two", b""]);
            assert_eq!((&*down, &*letters), (&b"answer"[..], ""), "sends are of no interest to a recording");
            assert!(play.session.as_ref().is_some_and(|session| session.core().is_tapped()));
        },
    );
}

#[test]
fn letters_need_no_bytes() {
    let mut play = Play::new(tapped("127.0.0.1:5900", false, true));
    traffic(&mut play);
    let (_, down, letters) = shown(&play);
    assert_eq!((&*down, &*letters), (&b""[..], "c>><"));
}

#[test]
fn who_has_no_use_for_bytes_is_told_how_many_they_are() {
    let mut play = Play::new(tapped("127.0.0.1:5900", true, false));
    play.client(read::UPGRADE);
    play.connected();
    play.session.as_mut().expect("it is open").show_no_bytes();
    play.target(b"answer");
    let Some(Tap::Brought(brought)) = play.shown.last() else { panic!("{:?}", play.shown) };
    assert_eq!((brought.bytes.len(), brought.pieces[0].len), (0, 6));
}

#[test]
fn an_echo_is_shown_twice() {
    every_cut_of(
        || tapped("echo://", true, false),
        |play| {
            play.client(read::UPGRADE);
            play.client([read::frame(0x82, b"one"), read::frame(0x81, b"two")].concat());
            let (up, down, _) = shown(play);
            assert_eq!((up, &*down), (vec![b"one".to_vec(), b"two".to_vec()], &b"onetwo"[..]));
        },
    );
}

#[test]
fn nobody_who_does_not_watch_is_shown_anything() {
    let mut play = Play::new(config("127.0.0.1:5900"));
    traffic(&mut play);
    assert!(play.shown.is_empty());
    assert!(play.session.is_some_and(|session| !session.core().is_tapped()));
}
