//! Cases for the dial: literals, names, addresses in turn, every deadline, payload that waits, and leaving meanwhile.

use super::play::{Client, Event, Far, Play};
use super::read::{binary, close, ping};
use crate::session::job::{Job, Verdict};
use std::io;

const NAME: &str = "h:5900";
const ONE: &str = "127.0.0.1:1";
const TWO: &str = "127.0.0.1:2";
const THREE: &str = "127.0.0.1:3";
const FAILED: &str = "close:1011 Failed to connect to downstream server";

#[test]
fn literals_and_unix_names_are_dialled_at_once() {
    for target in [ONE, "[::1]:5900", "unix:/run/x", "unix:@x"] {
        let play = Play::open(target);
        assert_eq!((&*play.dialled, play.jobs.len()), (&[target.to_owned()][..], 0));
    }
}

#[test]
fn names_go_to_a_helper() {
    let mut play = Play::open(NAME);
    assert!(matches!(&play.jobs[0], Job::Resolve { host, .. } if host == "h"));
    assert_eq!(play.resolved(&[ONE]).connected().client(binary("x")).got(), "x");
}

#[test]
fn addresses_are_tried_in_turn() {
    let mut play = Play::open(NAME);
    play.resolved(&[ONE, TWO, THREE]).refused().refused().connected();
    assert_eq!(play.dialled, [ONE, TWO, THREE]);
    assert_eq!(play.client(binary("x")).got(), "x");
}

#[test]
fn silent_address_is_given_up_for_the_next() {
    let mut play = Play::open(NAME);
    play.resolved(&[ONE, TWO, THREE]).wait(2_999);
    assert_eq!(play.dialled, [ONE]);
    assert_eq!(play.wait(1).dialled, [ONE, TWO]);
    assert_eq!(play.wait(3_000).dialled, [ONE, TWO, THREE]);
    assert_eq!(play.wait(3_999).frames(), "");
    assert_eq!(play.wait(1).frames(), FAILED);
    assert_eq!(play.fin(Client).end(), "dial_timeout");
}

#[test]
fn failed_dials_end_with_1011() {
    let rows: [(Event, _); 5] = [
        (|play| play.resolved(&[ONE]).refused(), "target_refused"),
        (|play| play.resolved(&[]), "target_refused"),
        (|play| play.verdict(Verdict::Busy), "target_refused"),
        (|play| play.verdict(Verdict::Addresses(Err(io::ErrorKind::NotFound.into()))), "target_refused"),
        (|play| play.wait(10_000), "dial_timeout"),
    ];
    for (fails, end) in rows {
        for early in [Vec::new(), binary("held")] {
            let mut play = Play::open(NAME);
            fails(play.client(early));
            assert_eq!(play.frames(), FAILED);
            assert_eq!(play.client(close(1011, "")).fin(Client).end(), end);
        }
    }
}

#[test]
fn target_that_connects_while_it_is_given_up_is_taken_and_let_go() {
    let mut play = Play::open(NAME);
    play.resolved(&[ONE, TWO]);
    // The connect was done before the cancel, so it comes back as done.
    play.sockets[1].connecting = false;
    play.wait(3_000).done.push_back(crate::session::Input::Connected);
    assert_eq!(play.run().client(binary("x")).got(), "x");
    assert_eq!(play.abort(crate::session::End::Internal).end(), "internal_error");
}

#[test]
fn late_answers_of_helpers_change_nothing() {
    let mut play = Play::open(NAME);
    play.client(close(1000, "bye")).resolved(&[ONE]);
    assert_eq!((play.frames(), play.dialled.len()), ("close:1000 bye".into(), 0));
    assert_eq!(play.fin(Client).end(), "client_closed");
}

#[test]
fn payload_waits_and_more_of_it_is_not_received() {
    let mut play = Play::open(ONE);
    play.client(binary("a")).client(binary("b"));
    assert_eq!((play.got(), play.sockets[0].inbox.len()), (String::new(), binary("b").len()));
    assert_eq!(play.connected().got(), "ab");
}

#[test]
fn pings_are_answered_while_dialling() {
    assert_eq!(Play::open(ONE).client(ping("x")).frames(), "pong:x");
}

#[test]
fn the_time_until_a_target_is_kept_begins_with_its_session() {
    let mut play = Play::open(ONE);
    play.wait(3_000);
    assert!(!play.sockets[1].kept);
    play.connected().wait(6_900);
    assert!(!play.sockets[1].kept);
    play.wait(200);
    assert!(play.sockets[1].kept);
}

#[test]
fn heartbeat_goes_on_while_dialling() {
    let mut play = Play::open(NAME);
    play.config.timing.heartbeat = std::time::Duration::from_secs(1);
    let mut play = Play::new(play.config);
    play.client(super::read::UPGRADE).resolved(&[ONE, TWO]).wait(1_000);
    assert_eq!(play.frames(), "ping:");
}

#[test]
fn held_payload_reaches_the_target_after_the_client_has_gone() {
    let rows: [(Event, _); 4] = [
        (|play| play.client([binary("ab"), close(1000, "")].concat()).fin(Client), "client_closed"),
        (|play| play.client([binary("ab"), vec![0xff]].concat()).fin(Client), "protocol_error"),
        (|play| play.client(binary("ab")).stop().fin(Client), "stopped"),
        (|play| play.client([binary("ab"), close(1000, "")].concat()).reset(Client), "client_closed"),
    ];
    for (goes, end) in rows {
        let mut play = Play::open(NAME);
        goes(&mut play);
        assert!(!play.released);
        // A silent address is still given up in its own time, and the dial has all of its own.
        play.resolved(&[ONE, TWO]).wait(3_000);
        assert_eq!(play.dialled, [ONE, TWO]);
        play.wait(4_000).connected();
        assert_eq!((play.got(), play.sockets[1].shut), ("ab".into(), true));
        assert_eq!(play.fin(Far).end(), end);
    }
}

#[test]
fn held_payload_does_not_hold_the_session_for_ever() {
    let mut play = Play::open(ONE);
    play.client([binary("ab"), close(1000, "")].concat()).fin(Client).wait(10_000);
    assert_eq!((play.end(), play.got()), ("client_closed", String::new()));
}

#[test]
fn leaving_while_a_dial_is_given_up_waits_for_nobody() {
    let mut play = Play::open(NAME);
    play.resolved(&[ONE, TWO]);
    // The second deadline comes while the close of the first socket is still under way.
    play.now = play.due.unwrap();
    play.hand_over(crate::session::Input::Expired);
    let cancelled = play.done.pop_front().unwrap();
    play.hand_over(cancelled);
    play.hand_over(crate::session::Input::Stop);
    assert_eq!(play.fin(Client).end(), "stopped");
}
