//! Cases for the opening: heads in every cut, requests behind each other, frames behind the upgrade, refusals, time.

use super::answers::page;
use super::play::{Client, Event, Play, config};
use super::read::{GET, UPGRADE, binary, row};
use super::settings::every_cut;
use crate::config::{Config, Timing};
use crate::limits::HEAD_BYTES_MAX;
use std::time::Duration;

const TARGET: &str = "127.0.0.1:5900";

#[test]
fn head_in_every_cut_is_answered_once() {
    every_cut(TARGET, |play| {
        assert_eq!(play.client(UPGRADE).heard(), "101");
        assert_eq!(play.lines, ["open /x"]);
        assert_eq!(play.dialled, [TARGET]);
    });
}

#[test]
fn frames_right_behind_the_upgrade_are_kept_for_the_target() {
    every_cut(TARGET, |play| {
        play.client([UPGRADE.as_bytes(), &row(&[binary("ab"), binary(""), binary("cd")])].concat());
        assert_eq!(play.connected().got(), "abcd");
    });
}

#[test]
fn frames_right_behind_the_upgrade_come_back_from_echo() {
    every_cut("echo://", |play| {
        play.client([UPGRADE.as_bytes(), &row(&[binary("ab"), binary("cd")])].concat());
        assert_eq!(play.frames(), "binary:ab, binary:cd");
    });
}

#[test]
fn tls_where_there_is_no_certificate_is_closed_without_plain_text() {
    // As since SSL 3, and as SSL 2 began.
    for hello in [b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", b"\x80\x08\x01\x03\x01\x00\x00\x00\x00\x00"] {
        every_cut(TARGET, |play| {
            play.client(hello);
            assert_eq!((play.heard().as_str(), play.end()), ("", "no_certificate"));
            let detail = play.session.as_ref().unwrap().core().detail.clone();
            assert!(detail.unwrap().contains("--cert"));
            assert_eq!(play.lines, [""; 0]);
        });
    }
    // In the middle of a head, or behind one that was answered, it is no hello.
    let mut play = Play::new(config(TARGET));
    assert_eq!(play.client("G").client(b"\x16").heard(), "400");
}

#[test]
fn refusals_go_out_whole_and_are_logged() {
    let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(9000));
    let much = format!("GET / HTTP/1.1\r\nHost: {}\r\n", "a".repeat(2 * HEAD_BYTES_MAX));
    let rows = [
        (GET, "405", "GET /f 405"),
        ("POST / HTTP/1.1\r\nHost: h\r\n\r\n", "405", "POST / 405"),
        ("BREW / HTTP/1.1\r\nHost: h\r\n\r\n", "501", "BREW / 501"),
        ("GET / HTTP/1.1\n\n", "400", "- (Bad request syntax) 400"),
        (&long, "414", "- (Request-URI Too Long) 414"),
        (&much, "431", "- (Request Header Fields Too Large) 431"),
    ];
    for (head, status, line) in rows {
        let mut play = Play::new(config(TARGET));
        play.client(head);
        assert_eq!(play.heard(), status, "{line}");
        assert_eq!(play.lines, [line]);
        assert!(play.sockets[0].shut, "{line}");
        assert_eq!(play.fin(Client).end(), "refused");
    }
}

#[test]
fn refusal_is_the_same_in_every_cut() {
    every_cut(TARGET, |play| assert_eq!(play.client(GET).fin(Client).heard(), "405"));
}

#[test]
fn refused_client_that_stays_is_let_go() {
    let mut play = Play::new(config(TARGET));
    play.client(GET).wait(4_900);
    assert!(!play.released);
    assert_eq!(play.wait(200).end(), "refused");
}

#[test]
fn refused_client_that_takes_nothing_is_let_go() {
    let mut play = Play::new(config(TARGET));
    play.stick(Client).client(GET).wait(4_900);
    assert!(!play.released);
    assert_eq!(play.wait(200).end(), "refused");
}

#[test]
fn head_has_one_deadline_however_it_dribbles() {
    let mut play = Play::new(config(TARGET));
    for byte in UPGRADE.bytes().take(99) {
        play.client([byte]).wait(100);
    }
    assert!(!play.released);
    assert_eq!(play.wait(101).end(), "head_timeout");
    assert_eq!(play.heard(), "");
}

#[test]
fn silence_is_short_and_with_the_first_byte_the_time_of_a_head_counts() {
    // From accept, in milliseconds: --head-timeout, when the first byte comes if it does, and the end.
    let rows = [
        (10_000, None, 3_000),
        (300_000, None, 3_000),
        (3_000, None, 3_000),
        (2_000, None, 2_000),
        (10_000, Some(0), 10_000),
        (10_000, Some(2_999), 10_000),
        (300_000, Some(2_999), 300_000),
        (2_000, Some(1_999), 2_000),
    ];
    for (head, first, end) in rows {
        let timing = Timing { head: Duration::from_millis(head), ..Timing::default() };
        let mut play = Play::new(Config { timing, ..config(TARGET) });
        if let Some(first) = first {
            play.wait(first).client("G");
        }
        assert!(!play.wait(end - 1 - first.unwrap_or(0)).released, "{head} {first:?}");
        assert_eq!(play.wait(1).end(), "head_timeout", "{head} {first:?}");
        assert_eq!(play.heard(), "", "{head} {first:?}");
    }
    // A whole head has nothing to do with either time any more.
    let mut play = Play::new(config("echo://"));
    play.wait(2_999).client(UPGRADE).wait(10_001);
    assert!(!play.released);
    // Nor has a page: who was given one has the whole time of a head again, though it says nothing.
    let mut play = Play::web();
    play.wait(2_999).client(GET).verdict(page("x")).wait(9_999);
    assert!(!play.sockets[0].shut);
    assert!(play.wait(1).sockets[0].shut);
    assert_eq!(play.fin(Client).end(), "answered");
}

#[test]
fn client_that_goes_before_its_head() {
    let rows: [(Event, _); 4] = [
        (|play| play.fin(Client), "client_ended"),
        (|play| play.reset(Client), "client_reset"),
        (|play| play.stop(), "stopped"),
        (|play| play.abort(crate::session::End::Shed), "shed"),
    ];
    for (goes, end) in rows {
        for head in ["", "GET /"] {
            let mut play = Play::new(config(TARGET));
            goes(play.client(head));
            assert_eq!((play.end(), play.heard()), (end, String::new()));
        }
    }
}
