//! Cases for targets whose bytes are cut into messages: where they end, what waits meanwhile, and how it all ends.

use super::play::{Client, Far, Play};
use super::read::{self, UPGRADE, binary, close, frame, ping};
use super::secure::{self, Peer};
use super::settings::routed;
use super::tap::tapped;
use crate::config::{Config, Timing};
use crate::framing::Framing;
use crate::limits::{
    BUFFER_MEMORY_MIN, CHUNK_CLASSES, FRAMING_MESSAGES_MANY, HOT_BYTES, MESSAGE_BYTES_DEFAULT, TAP_PIECES_MAX,
};
use crate::pool::Reservation;
use crate::route::Pass;
use crate::session::job::Verdict;
use crate::session::tap::Tap;
use crate::target::Target;
use rustls::version::{TLS12, TLS13};
use std::sync::Arc;
use std::time::Duration;

const LARGEST: usize = CHUNK_CLASSES[CHUNK_CLASSES.len() - 1];

/// A route's answer with this framing.
pub(super) fn cut(name: &str, config: &str) -> Verdict {
    let framing = Framing::parse(name, Some(config)).map(Some).unwrap();
    let target = Target::parse("127.0.0.1:1").ok().map(Arc::new);
    Verdict::Routed(Ok(Pass { target, framing, ..Pass::default() }))
}

fn bridge_of(config: Config, name: &str, words: &str) -> Play {
    let mut play = Play::new(Config { route: routed().route, target: None, ..config });
    play.client(UPGRADE.replace("/x", "/?token=t")).verdict(cut(name, words)).connected();
    play
}

/// A bridge whose route named this framing.
pub(super) fn bridge(name: &str, words: &str) -> Play {
    bridge_of(routed(), name, words)
}

#[test]
fn messages_are_whole_however_they_come() {
    for (name, words, stream, frames) in [
        ("newline", "", "a\r\n\u{e9}\r\nrest", "text:a\r\n, text:\u{e9}\r\n, text:rest"),
        ("separator", "ab", "xaabyab", "binary:xaab, binary:yab"),
        ("fixedlength", "3", "abcdefg", "binary:abc, binary:def, binary:g"),
        ("dynamic32", "endian=big", "\0\0\0\u{1}a\0\0\0\0", "binary:\0\0\0\u{1}a, binary:\0\0\0\0"),
        ("json", "trim", "{\"a\":1}\n 12 [\n", "text:{\"a\":1}, text:12, binary:[\n"),
        ("json", "", "1 2", "text:1, text: 2"),
    ] {
        for gulp in 1..=stream.len() {
            for cut in 0..stream.len() {
                let mut play = bridge(name, words);
                play.gulp = gulp;
                play.target(&stream[..floor(stream, cut)]).target(&stream[floor(stream, cut)..]).fin(Far);
                assert_eq!(
                    play.frames(),
                    format!("{frames}, close:1000 Target closed"),
                    "{name} {gulp} {cut}"
                );
                let counted = play.session.as_ref().unwrap().core().messages_out;
                assert_eq!(counted, frames.split(", ").count() as u64);
                assert_eq!(play.fin(Client).end(), "target_closed");
            }
        }
    }
}

fn floor(text: &str, at: usize) -> usize {
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[test]
fn what_waits_takes_as_much_memory_as_it_needs() {
    let mut play = bridge("newline", "lf");
    play.target("login: ");
    assert_eq!(play.frames(), "");
    assert!((7..64).contains(&play.pool.in_use()), "{}", play.pool.in_use());
    assert_eq!(play.target("me\n").frames(), "text:login: me\n");
    assert_eq!(play.pool.in_use(), 0);
    play.target("x".repeat(3 * HOT_BYTES));
    assert!((3 * HOT_BYTES..7 * HOT_BYTES).contains(&play.pool.in_use()), "{}", play.pool.in_use());
    play.target("\nnext\n");
    assert_eq!(play.pool.in_use(), 0);
    assert!(play.frames().ends_with("text:next\n"));
    // All of it goes with its session.
    play.target("half").client(close(1000, "")).fin(Client);
    assert!(!play.frames().contains("half"));
    assert_eq!(play.fin(Far).end(), "client_closed");
}

#[test]
fn many_small_messages_go_by_the_buffer_and_the_target_waits() {
    for line in ["\n", "ab\n", "0123456789012345678901234567890\n"] {
        let count = HOT_BYTES / line.len();
        let mut play = bridge("newline", "lf");
        play.stick(Client).target(line.repeat(count)).target("last\n");
        assert_eq!(play.sockets[1].inbox.len(), 5, "the target waits");
        assert!(play.pool.in_use() <= 2 * LARGEST, "{}", play.pool.in_use());
        let sends = play.sockets[0].sends.len();
        play.unstick(Client);
        let lots = count / FRAMING_MESSAGES_MANY;
        assert!(play.sockets[0].sends.len() - sends <= lots + 5, "many messages make one send");
        let core = play.session.as_ref().unwrap().core();
        assert_eq!((core.messages_out, core.bytes_out), (count as u64 + 1, (count * line.len() + 5) as u64));
        assert_eq!(read::payload(&play.sockets[0].got), (line.repeat(count) + "last\n").as_bytes());
        assert!(play.frames().ends_with("text:last\n"));
        assert_eq!(play.pool.in_use(), 0);
    }
}

#[test]
fn control_frames_go_between_messages() {
    let mut play = bridge("newline", "lf");
    play.stick(Client).target("\n".repeat(HOT_BYTES)).client(ping("1"));
    play.unstick(Client);
    let frames = play.frames();
    let (before, after) = frames.split_once("pong:1, ").expect("it goes before all has gone");
    assert_eq!(before.matches("text:\n, ").count() + after.matches("text:\n").count(), HOT_BYTES);
    // What waits for a control frame waits whole.
    let mut play = bridge("newline", "lf");
    play.stick(Client).client(ping("1")).target("a\nb\nc").client(ping("2"));
    assert_eq!(play.unstick(Client).frames(), "pong:1, pong:2, text:a\n, text:b\n");
    assert_eq!(
        play.fin(Far).frames(),
        "pong:1, pong:2, text:a\n, text:b\n, text:c, close:1000 Target closed"
    );
}

#[test]
fn the_longest_message_passes_and_a_longer_one_ends_the_session() {
    for (name, words) in [("newline", "lf"), ("separator", ";\\n"), ("json", "")] {
        let longest = format!("\"{};\n", "x".repeat(MESSAGE_BYTES_DEFAULT - 3));
        let mut play = bridge(name, words);
        play.target("\"a;\n").target(&longest);
        let last = play.frames();
        assert!(last.contains("\"a;\n"), "{last}");
        assert_eq!(read::payload(&play.sockets[0].got).len(), 4 + MESSAGE_BYTES_DEFAULT, "{name}");
        for gulp in [usize::MAX, 1000] {
            let mut play = bridge(name, words);
            play.gulp = gulp;
            play.target("\"a;\n").target(longest.replace(';', "x;"));
            assert!(
                play.frames().ends_with(":\"a;\n, close:1009 Message too big"),
                "{name}: {}",
                play.frames()
            );
            assert_eq!(why(&play), "a message of the target is longer than --max-message");
            assert_eq!(play.client(close(1009, "")).fin(Client).fin(Far).end(), "message_too_large");
        }
    }
    // It is known before it comes.
    for (name, words, stream) in
        [("dynamic32", "endian=big", &b"\0\0\0\x01a\0\x10\0\0"[..]), ("fixedlength", "1048577", b"a")]
    {
        let mut play = bridge(name, words);
        play.target(stream);
        assert!(play.frames().ends_with("close:1009 Message too big"), "{}", play.frames());
        assert_eq!(why(&play), "a message of the target is longer than --max-message");
    }
    // And --max-message says how long that is.
    let mut play = bridge_of(Config { message_bytes_max: 4, ..routed() }, "newline", "lf");
    assert_eq!(play.target("abc\nabcd\n").frames(), "text:abc\n, close:1009 Message too big");
}

/// What the operator is told of the end.
fn why(play: &Play) -> &str {
    play.session.as_ref().unwrap().core().detail.as_deref().unwrap_or_default()
}

#[test]
fn a_target_that_does_not_keep_to_its_framing_is_told_of() {
    const WHY: &str = "close:1007 Target does not keep to its framing";
    for (name, words, stream, before) in [
        ("text", "", &b"ab\xFFcd"[..], "text:ab, "),
        ("text", "", b"\xE2\x82", ""),
        ("dynamic32", "static=-4", b"\x05\0\0\0a\x03\0\0\0", "binary:\u{5}\0\0\0a, "),
    ] {
        let mut play = bridge(name, words);
        play.target(stream).fin(Far);
        assert_eq!(play.frames(), format!("{before}{WHY}"), "{name}");
        assert!(why(&play).starts_with("the target"));
        assert_eq!(play.fin(Client).end(), "target_unframed");
    }
    // One that broke in the middle of a character did that first.
    let mut play = bridge("text", "");
    play.target(b"ab\xE2").reset(Far);
    assert_eq!(play.frames(), "text:ab, close:1011 Target reset");
    assert_eq!(play.fin(Client).end(), "target_reset");
}

#[test]
fn what_a_target_said_before_it_broke_is_passed_on() {
    let mut play = bridge("newline", "lf");
    play.stick(Client).target("a\nb\nc").reset(Far);
    assert_eq!(play.unstick(Client).frames(), "text:a\n, text:b\n, text:c, close:1011 Target reset");
    assert_eq!(play.fin(Client).end(), "target_reset");
}

#[test]
fn a_slow_client_has_time_for_the_last_messages() {
    let last = "x".repeat(900 * 1024);
    for stream in [last.clone(), format!("{last}\nrest")] {
        let mut play = bridge("newline", "lf");
        play.stick(Client).target(&stream).fin(Far).wait(6_000).unstick(Client);
        assert_eq!(read::payload(&play.sockets[0].got), stream.as_bytes());
        assert!(play.frames().ends_with("close:1000 Target closed"), "{}", stream.len());
        assert_eq!(play.fin(Client).end(), "target_closed");
    }
    // What is wrong behind them is said when they have gone, even if the target has broken meanwhile.
    for (name, words, stream, goodbye, cause) in [
        ("text", "", &b"ab\xFFcd"[..], "1007 Target does not keep to its framing", "the target's text"),
        ("newline", "lf", b"ab\n12345", "1009 Message too big", "a message of the target is longer"),
    ] {
        let mut play = bridge_of(Config { message_bytes_max: 4, ..routed() }, name, words);
        play.stick(Client).target(stream).reset(Far).client(binary("up")).wait(6_000).unstick(Client);
        assert!(play.frames().starts_with("text:ab"), "{}", play.frames());
        assert!(play.frames().contains(&format!("close:{goodbye}")), "{}", play.frames());
        assert!(why(&play).starts_with(cause), "{}", why(&play));
    }
    // Who takes nothing at all has the time of any send.
    let mut play = bridge("newline", "lf");
    play.stick(Client).target(&last).fin(Far).wait(59_000);
    assert!(!play.released);
    assert_eq!(play.wait(12_000).end(), "client_stalled");
    // Nobody waits for one that has gone.
    let mut play = bridge("newline", "lf");
    play.stick(Client).target(&last).fin(Far).reset(Client);
    assert!(play.released);
}

#[test]
fn nothing_is_cut_for_a_client_that_has_gone() {
    for stream in ["a\nb", &"\n".repeat(HOT_BYTES)] {
        let mut play = bridge("newline", "lf");
        play.stick(Client).target(stream).reset(Client);
        assert_eq!(play.fin(Far).end(), "client_reset", "{}", stream.len());
    }
    // It takes nothing more, and its last words are still heard.
    let mut play = bridge("newline", "lf");
    play.stick(Client).target("\n".repeat(HOT_BYTES)).fin(Far);
    play.sockets[0].deaf = true;
    let counted = |play: &Play| play.session.as_ref().unwrap().core().messages_out;
    let before = counted(&play);
    assert!((1..HOT_BYTES as u64).contains(&before), "{before}");
    assert_eq!(play.client(binary("bye")).unstick(Client).got(), "bye");
    assert_eq!(counted(&play), before);
    assert_eq!(play.fin(Client).end(), "target_closed");
}

#[test]
fn text_of_the_client_is_taken_where_messages_are_cut() {
    for (name, words) in [("newline", ""), ("json", ""), ("text", ""), ("auto", ""), ("fixedlength", "2")] {
        let mut play = bridge(name, words);
        play.client(frame(0x81, "\u{e9}")).client(binary([0xFF]));
        assert_eq!(play.sockets[1].got, b"\xC3\xA9\xFF", "{name}");
        play.client(frame(0x81, b"a\xFF"));
        assert!(
            play.frames().ends_with("close:1007 Protocol error: Invalid UTF-8 in text"),
            "{}",
            play.frames()
        );
    }
    for (name, words) in [("binary", ""), ("fixedlength", "0"), ("separator", "")] {
        let mut play = bridge(name, words);
        play.client(frame(0x81, "a"));
        assert!(play.frames().starts_with("close:1003"), "{name}: {}", play.frames());
    }
}

#[test]
fn only_what_is_not_cut_passes_unseen() {
    for (name, piped) in [("binary", true), ("auto", false)] {
        let mut play = bridge(name, "");
        play.pipes.on = true;
        play.stick(Client).target("abc");
        assert_eq!(play.sockets[0].sending.as_ref().unwrap().pipe().is_some(), piped, "{name}");
        play.unstick(Client);
        assert!(play.frames().ends_with(":abc"));
    }
}

#[test]
fn a_message_that_finds_no_memory_ends_its_session() {
    let mut play = bridge("newline", "lf");
    let rest = play.pool.reserve(BUFFER_MEMORY_MIN / 2).expect("nothing is in use");
    play.target("short and ").target("sweet\n");
    assert_eq!(play.frames(), "text:short and sweet\n");
    play.target("x".repeat(8_000));
    assert!(play.frames().ends_with("close:1013 Out of buffer memory"), "{}", play.frames());
    drop(rest);
    assert_eq!(play.client(close(1013, "")).fin(Client).fin(Far).end(), "no_memory");
}

/// Takes all memory but so many of the smallest chunks.
fn take_all_but(places: usize, play: &Play) -> Vec<Reservation> {
    let mut taken: Vec<_> = std::iter::from_fn(|| play.pool.reserve(CHUNK_CLASSES[0])).collect();
    taken.truncate(taken.len() - places);
    taken
}

#[test]
fn what_is_kept_leaves_the_last_place_to_others() {
    let mut play = bridge("newline", "lf");
    let taken = take_all_but(2, &play);
    assert_eq!(play.target("a").target("b\n").frames(), "text:ab\n");
    drop(taken);
    let taken = take_all_but(1, &play);
    assert!(play.target("c").frames().ends_with("text:ab\n, close:1013 Out of buffer memory"));
    drop(taken);
    assert_eq!(play.fin(Client).fin(Far).end(), "no_memory");
}

#[test]
fn a_message_that_never_ends_gives_way_when_others_need_memory() {
    let timing = || Timing { heartbeat: Duration::ZERO, ..Timing::default() };
    let write = timing().write.as_millis() as u64;
    for (len, needed, ends) in [(8_000, true, true), (8_000, false, false), (200, true, false)] {
        let mut play = bridge_of(Config { timing: timing(), ..routed() }, "newline", "lf");
        play.target("x".repeat(len)).wait(write - 1_000);
        let taken = needed.then(|| play.pool.reserve(BUFFER_MEMORY_MIN / 2 - LARGEST).unwrap());
        assert_eq!(play.wait(500).frames(), "", "it has its time");
        play.wait(write);
        assert_eq!(play.frames(), if ends { "close:1013 Out of buffer memory" } else { "" }, "{len}");
        drop(taken);
        if ends {
            assert_eq!(play.fin(Client).fin(Far).end(), "no_memory");
        }
    }
    // What ended in time has begun anew.
    let mut play = bridge_of(Config { timing: timing(), ..routed() }, "newline", "lf");
    play.target("x".repeat(8_000)).wait(write).target("\n").target("y".repeat(8_000));
    let _taken = play.pool.reserve(BUFFER_MEMORY_MIN / 2 - LARGEST).unwrap();
    assert!(!play.wait(write - 1).frames().contains("close"));
}

#[test]
fn many_short_messages_make_the_next_receive_short() {
    let mut play = bridge("newline", "lf");
    let asked = |play: &Play| play.sockets[1].receiving;
    for (stream, next) in [
        ("\n".repeat(HOT_BYTES), FRAMING_MESSAGES_MANY),
        ("\n".repeat(FRAMING_MESSAGES_MANY), FRAMING_MESSAGES_MANY),
        ("0123456789abcde\n".repeat(FRAMING_MESSAGES_MANY / 16), HOT_BYTES),
        ("0123456789abcd\n".repeat(HOT_BYTES / 15), FRAMING_MESSAGES_MANY),
        ("half".into(), HOT_BYTES),
        ("\n\n\n".into(), HOT_BYTES),
        ("0123456789abcde\n".repeat(HOT_BYTES / 16), HOT_BYTES),
    ] {
        play.target(&stream);
        assert_eq!(asked(&play), Some(next), "{}", stream.len());
    }
}

#[test]
fn who_watches_is_shown_no_more_at_once_than_a_receive_brings() {
    let mut play = bridge_of(tapped("", true, false), "newline", "lf");
    play.target("x".repeat(MESSAGE_BYTES_DEFAULT - 1)).target("\n").target("\n".repeat(HOT_BYTES));
    let (mut bytes, mut ends) = (0, 0);
    for tap in &play.shown {
        let Tap::Brought(brought) = tap else { continue };
        assert!(brought.bytes.len() <= HOT_BYTES && brought.bytes.capacity() <= 2 * HOT_BYTES);
        assert!((1..=TAP_PIECES_MAX).contains(&brought.pieces.len()), "{}", brought.pieces.len());
        bytes += brought.bytes.len();
        ends += brought.pieces.iter().filter(|piece| piece.ends).count();
    }
    assert_eq!((bytes, ends), (MESSAGE_BYTES_DEFAULT + HOT_BYTES, 1 + HOT_BYTES));
}

#[test]
fn who_watches_sees_whole_messages() {
    let mut play = bridge_of(tapped("", true, false), "newline", "lf");
    let long = format!("{}\n", "x".repeat(HOT_BYTES + 5));
    play.target("a\nb\nc").target("d\n").target(&long);
    let (mut messages, mut open) = (Vec::new(), 0);
    for tap in &play.shown {
        let Tap::Brought(brought) = tap else { continue };
        assert_eq!(
            (brought.from, brought.bytes.len()),
            (Far, brought.pieces.iter().map(|piece| piece.len).sum())
        );
        for piece in &brought.pieces {
            open += piece.len;
            if piece.ends {
                messages.push(std::mem::take(&mut open));
            }
        }
    }
    assert_eq!(messages, [2, 2, 3, HOT_BYTES + 6]);
}

#[test]
fn messages_are_cut_behind_tls_too() {
    for version in [&TLS12, &TLS13] {
        let pair = secure::pair(version);
        let config = Config { route: routed().route, ..routed() };
        let mut play =
            Play::with_tls(config, Some(pair.server.clone()), Some((pair.client.clone(), secure::name())));
        let mut client = Peer::client(&pair, &mut play);
        client.say(&mut play, UPGRADE.replace("/x", "/?token=t").as_bytes());
        play.verdict(cut("newline", "lf")).connected();
        let mut target = Peer::target(&pair, &mut play);
        let lines = "0123456789\n".repeat(20_000);
        target.say(&mut play, format!("{lines}half").as_bytes());
        client.listen(&mut play);
        target.goodbye(&mut play);
        client.listen(&mut play);
        assert_eq!(read::payload(&client.plain), format!("{lines}half").as_bytes());
        let heard = read::heard(&client.plain, false);
        assert!(heard.ends_with("text:half, close:1000 Target closed"), "{}", heard.len());
        assert_eq!(heard.matches("text:0123456789\n").count(), 20_000);
    }
}

#[test]
fn what_waits_behind_tls_counts_as_memory() {
    let pair = secure::pair(&TLS13);
    let config = Config { route: routed().route, ..routed() };
    let mut play = Play::with_tls(config, Some(pair.server.clone()), None);
    let mut client = Peer::client(&pair, &mut play);
    client.say(&mut play, UPGRADE.replace("/x", "/?token=t").as_bytes());
    play.verdict(cut("newline", "lf")).connected();
    client.listen(&mut play);
    let long = "x".repeat(1_000_000) + "\n";
    play.stick(Client).target(&long);
    let in_use = play.pool.in_use();
    assert!((long.len()..long.len() * 5 / 4).contains(&in_use), "{in_use}");
    play.unstick(Client);
    client.listen(&mut play);
    assert_eq!(play.pool.in_use(), 0);
    // A buffer of short messages is sealed into one of its class.
    let short = "\n".repeat(HOT_BYTES);
    play.stick(Client).target(&short);
    assert!(play.pool.in_use() <= 2 * CHUNK_CLASSES[2], "{}", play.pool.in_use());
    play.unstick(Client);
    client.listen(&mut play);
    assert_eq!(read::payload(&client.plain), (long + &short).as_bytes());
    assert_eq!(play.pool.in_use(), 0);
}
