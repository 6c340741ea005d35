//! Cases for the end of a bridge: who goes first and how, what still reaches whom, how long it may take.

use super::play::{Client, Far, Play};
use super::read::{UPGRADE, binary, close, ping, row};
use super::settings::every_cut;
use crate::limits::LINGER_BYTES_MAX;
use crate::session::{End, Input, Operation};

#[test]
fn client_close_is_echoed_and_ends_both_sides() {
    every_cut("127.0.0.1:1", |play| {
        play.client(UPGRADE).connected().client([binary("last"), close(4001, "why")].concat());
        assert_eq!((play.frames(), play.got()), ("close:4001 why".into(), "last".into()));
        assert!(play.sockets[0].shut && play.sockets[1].shut);
        assert_eq!(play.fin(Client).fin(Far).end(), "client_closed");
    });
}

#[test]
fn empty_close_is_echoed_empty() {
    let mut play = Play::bridge();
    assert_eq!(play.client(super::read::frame(0x88, "")).frames(), "close");
}

#[test]
fn client_close_is_echoed_behind_what_is_stuck() {
    let mut play = Play::bridge();
    play.stick(Client).target("a").client(ping("p")).target("b").client(close(1000, ""));
    assert_eq!(play.unstick(Client).frames(), "binary:a, close:1000");
    assert_eq!(play.fin(Far).fin(Client).end(), "client_closed");
}

#[test]
fn frame_that_waits_behind_a_pong_goes_out_before_the_close() {
    let mut play = Play::bridge();
    play.stick(Client).client(ping("p")).target("a").client(close(1000, ""));
    assert_eq!(play.unstick(Client).frames(), "pong:p, binary:a, close:1000");
}

#[test]
fn stop_lets_the_target_take_everything_first() {
    let mut play = Play::bridge();
    play.stick(Far).client(binary("ab")).stop().wait(50_000).nibble(Far).wait(50_000).unstick(Far);
    assert_eq!((play.got(), play.fin(Far).end()), ("ab".into(), "stopped"));
}

#[test]
fn a_target_that_is_still_owed_something_is_kept() {
    let mut play = Play::bridge();
    play.stick(Far).client(binary("ab")).stop();
    assert!(play.sockets[1].kept);
    let mut play = Play::new(super::play::config("127.0.0.1:1"));
    play.stick(Far).client([UPGRADE.into(), binary("ab"), close(1000, "")].concat()).connected();
    assert!(play.sockets[1].kept && !play.sockets[1].shut);
    let mut play = Play::bridge();
    play.client(binary("ab")).stop();
    assert!(!play.sockets[1].kept && play.sockets[1].shut, "it has all");
}

#[test]
fn target_that_ends_says_1000_behind_its_last_bytes() {
    let mut play = Play::bridge();
    play.target("last").fin(Far);
    assert_eq!(play.frames(), "binary:last, close:1000 Target closed");
    assert_eq!(play.client(close(1000, "")).fin(Client).end(), "target_closed");
}

#[test]
fn last_bytes_of_a_target_reach_a_client_that_is_slow() {
    let mut play = Play::bridge();
    play.stick(Client).target("abc").fin(Far).wait(29_000).nibble(Client).wait(20_000).unstick(Client);
    assert_eq!(play.frames(), "binary:abc, ping:, close:1000 Target closed");
    assert!(!play.wait(4_900).released);
    assert_eq!(play.wait(200).end(), "target_closed");
}

#[test]
fn client_that_does_not_take_its_goodbye_is_let_go() {
    let mut play = Play::bridge();
    play.stick(Client).target("abc").stop().wait(4_900);
    assert!(!play.released);
    assert_eq!(play.wait(200).end(), "stopped");
}

#[test]
fn resets() {
    let mut play = Play::bridge();
    assert_eq!(play.target("last").reset(Far).frames(), "binary:last, close:1011 Target reset");
    assert_eq!(play.fin(Client).end(), "target_reset");
    let mut play = Play::bridge();
    assert_eq!(play.client(binary("last")).reset(Client).got(), "last");
    assert_eq!(play.fin(Far).end(), "client_reset");
}

#[test]
fn client_that_ends_without_close_still_gets_its_bytes_out() {
    let mut play = Play::bridge();
    play.stick(Far).client(binary("ab")).fin(Client).unstick(Far);
    assert_eq!((play.got(), play.frames()), ("ab".into(), String::new()));
    assert_eq!(play.fin(Far).end(), "client_ended");
}

#[test]
fn last_words_of_a_target_that_takes_nothing_more_are_passed_on() {
    let mut play = Play::bridge();
    play.sockets[1].deaf = true;
    play.client(binary("x")).target("last words").fin(Far);
    assert_eq!(play.frames(), "binary:last words, close:1000 Target closed");
}

#[test]
fn last_words_are_not_overtaken_by_more_of_them() {
    let mut play = Play::bridge();
    play.sockets[1].deaf = true;
    play.stick(Client).target("a").target("b").client(row(&[ping("p"), binary("x")])).target("c");
    assert_eq!(play.sockets[1].inbox.len(), 2);
    assert_eq!(play.unstick(Client).frames(), "binary:a, pong:p, binary:bc");
}

#[test]
fn goodbye_is_heard_though_the_target_takes_nothing_more() {
    let mut play = Play::bridge();
    play.sockets[1].deaf = true;
    play.client(binary("x")).client(row(&[binary("y"), close(1000, "bye")]));
    assert_eq!(play.frames(), "close:1000 bye");
    assert_eq!(play.fin(Client).end(), "client_closed");
}

#[test]
fn client_that_takes_nothing_more_is_read_without_loss() {
    for connected in [true, false] {
        let mut play = Play::open("127.0.0.1:1");
        if connected {
            play.connected();
        }
        play.sockets[0].deaf = true;
        // The pong fails while the payload waits for its target.
        play.stick(Far).client(row(&[binary("a"), ping("p")])).client(binary("b")).fin(Client);
        if !connected {
            play.connected();
        }
        assert_eq!(play.unstick(Far).got(), "ab", "connected: {connected}");
        assert_eq!(play.fin(Far).end(), "client_ended");
    }
}

#[test]
fn broken_rule_ends_behind_what_was_good() {
    every_cut("127.0.0.1:1", |play| {
        play.client(UPGRADE).connected().client([binary("good"), ping("p"), vec![0x83, 0x80]].concat());
        assert_eq!(play.got(), "good");
        assert!(play.frames().ends_with("close:1002 Protocol error: Unknown opcode"), "{}", play.frames());
        assert_eq!(play.fin(Client).fin(Far).end(), "protocol_error");
    });
}

#[test]
fn stop_and_abort_in_every_phase() {
    let phases = [
        ("dialling", (|| Play::open("h:1")) as fn() -> Play),
        ("connecting", || Play::open("127.0.0.1:1")),
        ("open", Play::bridge),
        ("echo", || Play::open("echo://")),
        ("busy", || {
            let mut play = Play::bridge();
            play.stick(Client).stick(Far).client(binary("a")).target("b");
            play
        }),
    ];
    for (phase, make) in phases {
        let mut play = make();
        play.stop();
        assert!(phase == "busy" || play.frames() == "close:1001 Server is stopping", "{phase}");
        play.stop().unstick(Client).unstick(Far);
        assert!(play.frames().ends_with("close:1001 Server is stopping"), "{phase}");
        assert_eq!(play.wait(5_000).end(), "stopped", "{phase}");
        let mut play = make();
        assert_eq!(play.abort(End::Internal).end(), "internal_error", "{phase}");
        let mut play = make();
        assert_eq!(play.stop().abort(End::Internal).end(), "stopped", "{phase}");
    }
}

#[test]
fn silent_sides_are_let_go_in_time() {
    let mut play = Play::bridge();
    play.client(close(1000, "")).wait(4_900);
    assert!(!play.released);
    assert_eq!(play.wait(200).end(), "client_closed");
}

#[test]
fn chatter_does_not_prolong_a_goodbye() {
    let mut play = Play::bridge();
    play.client(close(1000, ""));
    for _ in 0..49 {
        play.wait(100).client("x").target("y");
    }
    assert!(!play.released);
    assert_eq!(play.wait(200).end(), "client_closed");
}

#[test]
fn flood_of_one_side_does_not_cut_off_the_other() {
    let mut play = Play::bridge();
    play.stick(Far).client(binary("abc")).stop().target(vec![0; LINGER_BYTES_MAX / 2]);
    play.client(vec![0; LINGER_BYTES_MAX / 2]).target(vec![0; LINGER_BYTES_MAX / 2]).client("x").unstick(Far);
    assert_eq!((play.got(), play.fin(Client).fin(Far).end()), ("abc".into(), "stopped"));
}

#[test]
fn flood_during_a_goodbye_is_bounded() {
    let mut play = Play::bridge();
    play.stop().fin(Far).client(vec![0; LINGER_BYTES_MAX]);
    assert!(!play.released);
    assert_eq!(play.client("x").end(), "stopped");
}

#[test]
fn send_that_is_done_when_it_is_cancelled_is_joined() {
    let mut play = Play::bridge();
    play.stick(Client).target("a");
    // The engine has sent it and not said so yet; then the session is ended.
    play.sockets[0].sending = None;
    play.done.push_back(Input::Sent(Client));
    assert_eq!(play.abort(End::Internal).end(), "internal_error");
}

#[test]
fn failure_of_what_is_cancelled_is_joined() {
    let mut play = Play::bridge();
    play.stick(Client).target("a");
    play.sockets[0].sending = None;
    play.done.push_back(Input::Failed(Client, Operation::Send, std::io::ErrorKind::BrokenPipe.into()));
    assert_eq!(play.abort(End::Internal).end(), "internal_error");
}

#[test]
fn what_could_not_be_kept_for_a_target_ends_the_session() {
    let mut play = Play::bridge();
    play.stick(Far).client(binary("lost"));
    play.sockets[1].sending = None;
    play.done.push_back(Input::Failed(Far, Operation::Send, std::io::ErrorKind::OutOfMemory.into()));
    assert_eq!(play.run().frames(), "close:1013 Out of buffer memory");
    assert_eq!(play.client(close(1013, "")).fin(Client).fin(Far).end(), "no_memory");
}
