//! Cases for the open bridge: both directions, back pressure, control frames between data, heartbeat, stalls.

use super::play::{Client, Event, Far, Play};
use super::read::{UPGRADE, binary, close, frame, ping, row};
use crate::limits::HOT_BYTES;
use std::time::Duration;

#[test]
fn bytes_go_both_ways() {
    let mut play = Play::bridge();
    play.client(binary("up")).target("down");
    assert_eq!((play.got(), play.frames()), ("up".into(), "binary:down".into()));
}

#[test]
fn messages_in_every_cut_are_one_stream() {
    let frames = row(&[
        binary("ab"),
        frame(0x02, "c"),
        ping("p"),
        frame(0x80, "d"),
        binary(""),
        binary("e".repeat(200)),
    ]);
    super::settings::every_cut("127.0.0.1:1", |play| {
        play.client(UPGRADE).connected().client(&frames);
        assert_eq!(play.got(), format!("abcd{}", "e".repeat(200)));
        assert_eq!(play.frames(), "pong:p");
    });
}

#[test]
fn frames_that_came_together_leave_together() {
    let mut play = Play::bridge();
    play.stick(Far).client(row(&[binary("ab"), ping("p"), binary("cd"), binary("ef")]));
    assert_eq!(play.sockets[1].sending.as_deref(), Some(&b"abcdef"[..]));
}

#[test]
fn big_frame_streams_in_pieces() {
    let mut play = Play::bridge();
    let big = binary(vec![b'x'; 3 * HOT_BYTES]);
    let (first, rest) = big.split_at(HOT_BYTES);
    let before = play.client(first).got().len();
    assert_eq!(before, HOT_BYTES - 14);
    assert_eq!(play.client(rest).got().len(), 3 * HOT_BYTES);
}

#[test]
fn target_bytes_become_one_frame_with_the_shortest_header() {
    for len in [1, 125, 126, 0xffff, 0x10000, HOT_BYTES] {
        let mut play = Play::bridge();
        play.target(vec![7; len]);
        let header = if len < 126 {
            2
        } else if len < 0x10000 {
            4
        } else {
            10
        };
        assert_eq!(play.sockets[0].got.len() - Play::bridge().sockets[0].got.len(), header + len);
        assert!(!play.frames().contains(','), "{len}");
    }
}

/// A bridge whose engine carries what the target sends past it, in pipes.
fn piped() -> Play {
    let mut play = Play::bridge();
    play.pipes.on = true;
    play
}

#[test]
fn bytes_in_a_pipe_become_one_frame_and_are_counted_like_others() {
    for len in [1, 125, 126, 0xffff, 0x10000, HOT_BYTES] {
        let bytes: Vec<u8> = (0..len).map(super::walk::number).collect();
        let [seen, unseen] = [Play::bridge(), piped()].map(|mut play| {
            play.stick(Client).target(&bytes);
            let sending = play.sockets[0].sending.as_ref().expect("a frame is on its way");
            assert_eq!(sending.pipe().is_some(), play.pipes.on);
            play.unstick(Client);
            let core = play.session.as_ref().expect("it is there").core();
            (play.sockets[0].got.clone(), core.bytes_out, core.messages_out, play.counters.bytes_out)
        });
        assert!(seen == unseen && seen.1 == len as u64, "{len}");
    }
}

#[test]
fn nothing_comes_between_a_header_and_its_bytes_in_a_pipe() {
    let mut play = piped();
    play.stick(Client).target("abc").nibble(Client).nibble(Client).client(ping("1")).client(ping("2"));
    play.nibble(Client).nibble(Client);
    assert_eq!(play.unstick(Client).frames(), "binary:abc, pong:2");
    // A frame that waits for a control frame keeps its bytes in its pipe.
    play.stick(Client).client(ping("3")).target("def").client(ping("4"));
    assert_eq!(play.unstick(Client).frames(), "binary:abc, pong:2, pong:3, pong:4, binary:def");
    // And so does one that is on its way when the session ends.
    play.stick(Client).target("ghi").nibble(Client).client(close(1000, ""));
    assert!(
        play.unstick(Client).frames().ends_with("binary:def, binary:ghi, close:1000"),
        "{}",
        play.frames()
    );
    assert_eq!(play.fin(Client).fin(Far).end(), "client_closed");
}

#[test]
fn bytes_in_a_pipe_are_given_up_with_their_session() {
    let events: [Event; 3] = [
        |play| play.reset(Client).fin(Far),
        |play| play.abort(crate::session::End::Internal),
        |play| play.wait(60_000).fin(Far),
    ];
    for event in events {
        let mut play = piped();
        play.stick(Client).target("abc").nibble(Client);
        assert_eq!(play.pool.in_use(), 3);
        event(&mut play);
        assert_ne!(play.end(), "none");
        assert!(play.pool.spoiled_pipe().is_some(), "what is left in it is nobody's");
    }
}

#[test]
fn a_side_that_takes_nothing_stops_the_other() {
    let mut play = Play::bridge();
    play.stick(Far).client(binary("a")).client(binary("b")).client(binary("c"));
    assert_eq!(play.sockets[0].inbox.len(), row(&[binary("b"), binary("c")]).len());
    assert_eq!(play.unstick(Far).got(), "abc");
    play.stick(Client).target("a").target("b").target("c");
    assert_eq!(play.sockets[1].inbox.len(), 2);
    assert_eq!(play.unstick(Client).frames(), "binary:a, binary:bc");
}

#[test]
fn pong_goes_between_frames_and_only_the_newest() {
    let mut play = Play::bridge();
    play.stick(Client).target("a").client(ping("1")).client(row(&[ping("2"), ping("3")]));
    assert_eq!(play.unstick(Client).frames(), "binary:a, pong:3");
    play.stick(Client).client(ping("4")).target("b").client(ping("5"));
    assert_eq!(play.unstick(Client).frames(), "binary:a, pong:3, pong:4, pong:5, binary:b");
}

#[test]
fn pong_rides_with_the_next_frame() {
    let mut play = Play::bridge();
    play.stick(Client).client(ping("1")).client(ping("2")).target("a").target("b");
    assert_eq!(play.unstick(Client).frames(), "pong:1, pong:2, binary:a, binary:b");
}

fn with_heartbeat(seconds: u64) -> Play {
    let mut config = super::play::config("127.0.0.1:1");
    config.timing.heartbeat = Duration::from_secs(seconds);
    let mut play = Play::new(config);
    play.client(UPGRADE).connected();
    play
}

#[test]
fn silent_client_is_pinged_and_then_let_go() {
    let mut play = with_heartbeat(30);
    assert_eq!(play.wait(29_900).frames(), "");
    assert_eq!(play.wait(200).frames(), "ping:");
    assert_eq!(play.wait(14_800).frames(), "ping:");
    assert_eq!(play.wait(200).frames(), "ping:, close:1008 Ping not answered");
    assert_eq!(play.fin(Far).wait(5_000).end(), "heartbeat_lost");
}

#[test]
fn any_byte_of_the_client_is_life() {
    for alive in [frame(0x8a, ""), binary("x"), vec![0x82]] {
        // An answer may come in the very millisecond of its ping: the clock is read once a turn.
        for answered in [30_000, 30_100] {
            let mut play = with_heartbeat(30);
            play.wait(answered).client(alive.clone()).wait(59_900 - answered);
            assert_eq!(play.frames(), "ping:");
            assert_eq!(play.wait(200).frames(), "ping:, ping:");
        }
    }
}

#[test]
fn time_to_answer_begins_when_the_ping_goes_out() {
    let mut play = with_heartbeat(30);
    play.stick(Client).target("a").wait(31_000).nibble(Client).wait(20_000).unstick(Client);
    assert_eq!(play.frames(), "binary:a, ping:");
    assert_eq!(play.wait(8_000).frames(), "binary:a, ping:");
    assert!(!play.wait(6_900).frames().contains("close"));
    assert!(play.wait(200).frames().ends_with("close:1008 Ping not answered"));
}

#[test]
fn client_that_is_not_received_from_is_not_judged() {
    let mut play = with_heartbeat(30);
    play.stick(Far).client(binary("a")).client(frame(0x8a, "")).wait(59_900);
    assert!(!play.frames().contains("close"), "{}", play.frames());
    assert!(play.wait(200).frames().ends_with("close:1011 Target stalled"));
    assert_eq!(play.fin(Client).end(), "target_stalled");
}

#[test]
fn no_heartbeat_means_none() {
    let mut play = with_heartbeat(0);
    assert_eq!(play.wait(10_000_000).frames(), "");
}

#[test]
fn a_target_is_kept_once_its_session_has_lasted() {
    let mut play = with_heartbeat(0);
    play.client(binary("a")).target("b").wait(9_900);
    assert!(!play.sockets[1].kept);
    play.wait(200);
    assert!(play.sockets[1].kept);
    play.wait(1_000_000);
}

#[test]
fn client_that_takes_nothing_is_let_go_without_a_word() {
    let mut play = with_heartbeat(0);
    play.wait(30_000).stick(Client).target("a").wait(59_900);
    assert!(!play.sockets[1].shut);
    assert_eq!(play.wait(200).fin(Far).end(), "client_stalled");
}

#[test]
fn progress_is_all_that_is_asked_of_a_send() {
    let mut play = with_heartbeat(0);
    play.stick(Client).target("abcdefgh");
    for _ in 0..5 {
        play.wait(59_000).nibble(Client);
    }
    assert_eq!(play.unstick(Client).frames(), "binary:abcdefgh");
}

#[test]
fn stalled_target_is_told_to_the_client() {
    let mut play = with_heartbeat(0);
    play.stick(Far).client(binary("a")).wait(60_000);
    assert_eq!(play.frames(), "close:1011 Target stalled");
    assert_eq!(play.client(close(1011, "")).fin(Client).end(), "target_stalled");
}
