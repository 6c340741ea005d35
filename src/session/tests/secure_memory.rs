//! Cases for memory that the system does not give, behind TLS: it is nobody's TLS that failed. What was received has no place, or
//! what is to be sent cannot be sealed; as far as anything can still be said, it is.

use super::memory::{SMALL, last_places};
use super::play::{Client, Far, Play, config};
use super::read::{self, GET, UPGRADE, binary, close};
use super::secure::{Peer, bridge, name, pair, secure, to_target};
use rustls::version::{TLS12, TLS13};

const SHORT: &str = "TLS: out of buffer memory";

fn detail(play: &Play) -> Option<&str> {
    play.session.as_ref().and_then(|session| session.core().detail.as_deref())
}

/// What the client has heard, over TLS.
fn heard(peer: &Peer) -> String {
    read::heard(&peer.plain, false)
}

#[test]
fn a_record_of_the_client_that_has_no_place_ends_its_session_in_order() {
    for version in [&TLS12, &TLS13] {
        for gulp in [usize::MAX, 1] {
            let pair = pair(version);
            let (mut play, mut peer) = bridge(&pair);
            peer.say(&mut play, &binary("whole"));
            play.gives(0).gulp = gulp;
            let sealed = peer.seal(&binary("cut"));
            peer.put(&mut play, &sealed[..sealed.len() - 1]);
            peer.listen(&mut play);
            assert_eq!(heard(&peer), "101, close:1013 Out of buffer memory");
            assert!(peer.closed && play.sockets[0].shut, "close_notify is said");
            play.gulp = usize::MAX;
            // What comes behind it is dropped as it is.
            peer.put(&mut play, &sealed[sealed.len() - 1..]);
            assert_eq!(play.got(), "whole");
            assert_eq!(play.fin(Client).fin(Far).end(), "no_memory");
            assert_eq!(detail(&play), Some(SHORT));
        }
    }
}

#[test]
fn a_record_of_the_target_that_has_no_place_ends_its_session_in_order() {
    let pair = pair(&TLS13);
    let mut play = to_target(&pair);
    let mut peer = Peer::target(&pair, &mut play);
    play.gives(0);
    let sealed = peer.seal(b"cut");
    peer.put(&mut play, &sealed[..sealed.len() - 1]);
    assert_eq!(play.frames(), "close:1013 Out of buffer memory");
    peer.listen(&mut play);
    assert_eq!((peer.plain.as_slice(), peer.closed), (&b"early"[..], true), "it has had all");
    assert_eq!(play.client(close(1013, "")).fin(Client).fin(Far).end(), "no_memory");
    assert_eq!(detail(&play), Some(SHORT));
}

#[test]
fn plaintext_that_has_no_place_ends_its_session() {
    let pair = pair(&TLS13);
    let (mut play, mut peer) = bridge(&pair);
    play.gives(0);
    let taken = last_places(&play);
    let sealed = peer.seal(&binary("whole"));
    peer.put(&mut play, &sealed);
    assert!(play.sockets[0].shut, "for a word there is nothing left");
    drop(taken);
    assert_eq!(play.fin(Client).fin(Far).end(), "no_memory");
    assert_eq!((play.got().as_str(), detail(&play)), ("", Some(SHORT)));
}

#[test]
fn what_cannot_be_sealed_for_the_client_ends_its_session_and_it_hears_why() {
    let pair = pair(&TLS13);
    for small in [true, false] {
        let (mut play, mut peer) = bridge(&pair);
        play.gives(if small { SMALL } else { 0 });
        let taken = last_places(&play);
        play.target(vec![7; 60_000]);
        assert!(play.sockets[0].shut);
        peer.listen(&mut play);
        let word = if small { "101, close:1013 Out of buffer memory" } else { "101" };
        assert_eq!((heard(&peer).as_str(), peer.closed), (word, small));
        drop(taken);
        assert_eq!(play.fin(Client).fin(Far).end(), "no_memory");
        assert_eq!(detail(&play), Some(SHORT));
    }
}

#[test]
fn what_cannot_be_sealed_for_the_target_ends_its_session_and_the_target_does_not_take_that_for_all() {
    let pair = pair(&TLS13);
    let mut play = to_target(&pair);
    let mut peer = Peer::target(&pair, &mut play);
    play.gives(SMALL);
    let taken = last_places(&play);
    play.client(binary(vec![7; 60_000]));
    assert_eq!(play.frames(), "close:1013 Out of buffer memory");
    peer.listen(&mut play);
    assert_eq!((peer.plain.as_slice(), peer.closed, play.sockets[1].shut), (&b"early"[..], false, true));
    drop(taken);
    assert_eq!(play.client(close(1013, "")).fin(Client).fin(Far).end(), "no_memory");
    assert_eq!(detail(&play), Some(SHORT));
}

#[test]
fn a_handshake_that_finds_no_memory_is_not_the_clients_fault() {
    let pair = pair(&TLS13);
    for cut in [usize::MAX, 50] {
        let mut play = secure("echo://", pair.server.clone());
        play.gives(0);
        let taken = last_places(&play);
        play.gulp = cut;
        Peer::client(&pair, &mut play);
        assert!(play.released, "there is nothing to wait for");
        drop(taken);
        assert_eq!((play.end(), detail(&play)), ("no_memory", Some(SHORT)));
    }
}

#[test]
fn half_a_head_behind_tls_is_refused() {
    let pair = pair(&TLS13);
    let mut play = secure("127.0.0.1:5900", pair.server.clone());
    let mut peer = Peer::client(&pair, &mut play);
    play.gives(0);
    let sealed = peer.seal(GET.as_bytes());
    peer.put(&mut play, &sealed[..20]);
    peer.listen(&mut play);
    assert_eq!((heard(&peer).as_str(), peer.closed), ("503", true));
    assert_eq!(play.fin(Client).end(), "refused");
}

#[test]
fn a_target_that_cannot_be_said_hello_to_is_not_blamed_and_no_other_is_tried() {
    let pair = pair(&TLS13);
    let mut play = Play::with_tls(config("desk.test:5900"), None, Some((pair.client.clone(), name())));
    play.client(UPGRADE).resolved(&["10.0.0.1:5900", "10.0.0.2:5900"]);
    play.gives(0);
    let taken = last_places(&play);
    play.connected();
    assert_eq!((play.dialled.len(), play.sockets[1].open), (1, false));
    drop(taken);
    assert_eq!((play.fin(Client).end(), detail(&play)), ("no_memory", Some(SHORT)));
}

#[test]
fn what_waits_for_a_target_behind_tls_takes_nothing_that_is_set_aside() {
    let pair = pair(&TLS13);
    let mut play = secure("127.0.0.1:5900", pair.server.clone());
    let mut peer = Peer::client(&pair, &mut play);
    peer.say(&mut play, UPGRADE.as_bytes());
    // What was opened lies in a chunk that was set aside, and must not stay there.
    play.gives(0);
    peer.say(&mut play, &binary("early"));
    assert_eq!(heard(&peer), "101, close:1013 Out of buffer memory");
    assert!(play.pool.allowance() > 0, "others go on");
    assert_eq!(play.fin(Client).end(), "no_memory");
}

#[test]
fn who_does_not_take_what_tls_says_can_make_room() {
    let pair = pair(&TLS13);
    let mut play = secure("echo://", pair.server.clone());
    play.wait(100).stick(Client);
    assert_eq!(play.session.as_ref().unwrap().core().stuck(), None);
    let begun = play.now;
    Peer::client(&pair, &mut play);
    play.wait(100);
    assert_eq!(play.session.as_ref().unwrap().core().stuck(), Some((begun, Client)));
    play.unstick(Client);
    assert_eq!(play.session.as_ref().unwrap().core().stuck(), None);
}
