//! Cases for the end of TLS: what is said last and in how many sends, what is a cut, and how long a place is held.

use super::answers::{file, piece};
use super::play::{Client, Far, Play, config};
use super::read::{self, UPGRADE, binary};
use super::secure::{Peer, bridge, name, pair, secure, to_target};
use crate::tls::stream::Stream;
use crate::web;
use rustls::version::{TLS12, TLS13};

#[test]
fn who_never_asks_for_anything_is_told_the_end_all_the_same() {
    type Happens = fn(&mut Play, &mut Peer);
    let rows: [(Happens, &str); 3] = [
        (|play, _| _ = play.wait(10_000), "head_timeout"),
        (|play, peer| peer.goodbye(play), "client_ended"),
        (|play, _| _ = play.stop(), "stopped"),
    ];
    for version in [&TLS12, &TLS13] {
        let pair = pair(version);
        for ((happens, end), stuck) in rows.into_iter().zip([false; 3]).chain(rows.into_iter().zip([true; 3]))
        {
            let mut play = secure("echo://", pair.server.clone());
            let mut peer = Peer::client(&pair, &mut play);
            if stuck {
                play.stick(Client);
            }
            let before = play.sockets[0].sends.len();
            happens(&mut play, &mut peer);
            assert_eq!(play.released, !stuck, "{end}: its place is held until that has gone, and no longer");
            play.unstick(Client);
            assert_eq!(play.end(), end);
            assert_eq!(
                play.sockets[0].sends[before..],
                [true],
                "{end}: one send, with the end of the stream"
            );
            peer.listen(&mut play);
            assert!(peer.closed, "{end}: close_notify is said");
        }
    }
    // It takes nothing: then it has the time of any goodbye, and no more.
    let pair = pair(&TLS13);
    let mut play = secure("echo://", pair.server.clone());
    Peer::client(&pair, &mut play);
    assert!(!play.stick(Client).stop().wait(4_900).released);
    assert_eq!(play.wait(200).end(), "stopped");
}

#[test]
fn a_client_that_takes_nothing_more_is_not_waited_for_though_its_stream_broke_too() {
    let pair = pair(&TLS13);
    let (mut play, _) = bridge(&pair);
    play.stick(Client).target("one");
    play.stop();
    play.client(b"\x17\x03\x03\x00\x20this is not what was agreed on!!");
    play.fin(Far);
    assert!(!play.released);
    play.sockets[0].deaf = true;
    assert_eq!(play.unstick(Client).end(), "stopped");
    assert!(!play.sockets[0].shut);
    assert_eq!(play.session.as_ref().unwrap().core().close_code, None, "no close was said");
}

#[test]
fn an_answer_that_is_broken_off_ends_in_a_cut() {
    let pair = pair(&TLS13);
    for breaks in [false, true] {
        let mut config = config("127.0.0.1:5900");
        config.web = Some(web::Options { listings: false, index: None });
        let mut play = Play::with_tls(config, Some(pair.server.clone()), None);
        let mut peer = Peer::client(&pair, &mut play);
        peer.say(&mut play, b"GET /f HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        play.verdict(file(0, 6)).verdict(piece("abc"));
        play.verdict(piece(if breaks { "" } else { "def" }));
        peer.listen(&mut play);
        assert!(peer.plain.ends_with(if breaks { b"\r\n\r\nabc" } else { b"\r\n\r\nabcdef" }));
        assert_eq!(peer.closed, !breaks, "close_notify says that all of it came");
        if !breaks {
            play.fin(Client);
        }
        assert_eq!(play.end(), if breaks { "internal_error" } else { "answered" });
    }
}

#[test]
fn what_is_said_at_once_is_one_send() {
    let pair = pair(&TLS13);
    let mut play = secure("127.0.0.1:5900", pair.server.clone());
    let mut peer = Peer::new(Stream::client(pair.client.clone(), name()).unwrap(), Client);
    let hello = peer.stream.hello(&peer.pool).unwrap();
    play.client(&*hello);
    assert_eq!(play.sockets[0].sends, [false], "the server's flight");
    // The end of the handshake and the request come in one receive, as from a client in a hurry.
    let flight = play.sockets[0].got.clone();
    let mut last = peer.hear(&flight).unwrap().to_vec();
    last.extend_from_slice(&peer.seal(UPGRADE.as_bytes()));
    play.client(last);
    assert_eq!(play.sockets[0].sends, [false; 2], "the ticket and the 101");
    peer.listen(&mut play);
    assert_eq!(read::heard(&peer.plain, false), "101");
    play.connected();
    peer.say(&mut play, &read::close(1000, "done"));
    assert_eq!(play.sockets[0].sends, [false, false, true], "close frame, close_notify and end of stream");
    assert!(play.sockets[0].shut && peer.closed);
    assert_eq!(read::heard(&peer.plain, false), "101, close:1000 done");
    peer.goodbye(&mut play);
    assert_eq!(play.fin(Client).fin(Far).end(), "client_closed");
}

#[test]
fn what_is_in_flight_and_in_line_is_joined_when_it_is_given_up() {
    let pair = pair(&TLS13);
    let mut play = secure("127.0.0.1:5900", pair.server.clone());
    let mut peer = Peer::new(Stream::client(pair.client.clone(), name()).unwrap(), Client);
    let hello = peer.stream.hello(&peer.pool).unwrap();
    play.client(&*hello);
    let flight = play.sockets[0].got.clone();
    let finished = peer.hear(&flight).unwrap();
    play.stick(Client).client(&*finished);
    assert_eq!(play.sockets[0].sends, [false; 2], "a ticket is in flight");
    let request = peer.seal(UPGRADE.as_bytes());
    play.client(&*request).connected();
    assert_eq!(play.sockets[0].sends, [false; 2], "and the 101 is in line");
    assert!(!play.stop().fin(Far).wait(4_900).released);
    assert_eq!(play.wait(200).end(), "stopped");
    assert_eq!(play.sockets[0].sends, [false; 2], "what was in line is dropped");
}

#[test]
fn a_stream_that_breaks_while_goodbye_is_said_still_hears_what_was_on_its_way() {
    let pair = pair(&TLS13);
    let (mut play, mut peer) = bridge(&pair);
    play.stick(Client).target("one");
    play.stop();
    play.client(b"\x17\x03\x03\x00\x20this is not what was agreed on!!");
    assert!(!play.released && !play.sockets[0].shut, "what is stuck is waited for");
    play.unstick(Client);
    peer.ended = true;
    peer.listen(&mut play);
    assert_eq!(read::heard(&peer.plain, false), "101, binary:one");
    assert!(peer.failed && play.sockets[0].shut, "the alert goes out, then the end");
    assert_eq!(play.fin(Client).fin(Far).end(), "stopped");
    assert_eq!(play.session.as_ref().unwrap().core().close_code, None, "no close was said");
}

#[test]
fn the_first_cause_is_the_one_that_is_told() {
    let pair = pair(&TLS13);
    let detail = |play: &Play| play.session.as_ref().unwrap().core().detail.clone().unwrap_or_default();
    let mut play = to_target(&pair);
    Peer::target(&pair, &mut play);
    play.sockets[1].deaf = true;
    play.client(binary("x")).fin(Far).client(read::close(1000, "")).fin(Client);
    assert_eq!(play.end(), "target_closed");
    assert_eq!(
        &*detail(&play),
        "broken pipe",
        "and not that it ended without close_notify, which it did too"
    );

    // What an address before had to complain of is none of this one's.
    let mut play = Play::with_tls(config("desk.test:5900"), None, Some((pair.client.clone(), name())));
    play.client(UPGRADE).resolved(&["10.0.0.1:5900", "10.0.0.2:5900"]);
    play.refused().connected();
    Peer::target(&pair, &mut play);
    play.fin(Far).client(read::close(1000, "")).fin(Client);
    assert_eq!((play.end(), &*detail(&play)), ("target_closed", "TLS: ended without close_notify"));
}

#[test]
fn a_client_that_asks_and_ends_in_one_breath_is_let_go_when_it_is_answered() {
    let pair = pair(&TLS13);
    let mut config = config("127.0.0.1:5900");
    config.web = Some(web::Options { listings: false, index: None });
    let mut play = Play::with_tls(config, Some(pair.server.clone()), None);
    let mut peer = Peer::client(&pair, &mut play);
    let mut both = peer.seal(b"GET /f HTTP/1.1\r\nHost: h\r\n\r\n").to_vec();
    both.extend_from_slice(&peer.stream.close_notify(&peer.pool).unwrap());
    play.client(both).verdict(file(0, 3)).verdict(piece("abc"));
    peer.listen(&mut play);
    assert!(peer.plain.ends_with(b"\r\n\r\nabc") && peer.closed, "answered, and told the end");
    assert_eq!(play.fin(Client).end(), "answered", "without waiting for a next head");
}

#[test]
fn a_target_that_is_cut_within_a_record_was_cut() {
    let pair = pair(&TLS13);
    for cut in [false, true] {
        let mut play = to_target(&pair);
        let mut peer = Peer::target(&pair, &mut play);
        let record = peer.seal(b"hello").to_vec();
        play.target(&record[..if cut { record.len() - 1 } else { record.len() }]).fin(Far);
        let heard = play.frames();
        assert!(
            heard.ends_with(if cut { "close:1011 Target reset" } else { "close:1000 Target closed" }),
            "{heard}"
        );
        play.client(read::close(1000, "")).fin(Client);
        assert_eq!(play.end(), if cut { "target_tls_failed" } else { "target_closed" });
    }
}
