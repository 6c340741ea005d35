//! Cases for the echo target: messages come back whole, whatever they were cut into, within memory.

use super::play::{Client, Play, config};
use super::read::{UPGRADE, binary, close, frame, ping, row};
use super::settings::every_cut;
use crate::limits::{CHUNK_CLASSES, HOT_BYTES};

/// Plays frames against an echo in every cut; pongs may come early or late, so they are told apart.
fn echoes(frames: &[Vec<u8>], expected: &str) {
    every_cut("echo://", |play| {
        play.client(UPGRADE).client(row(frames));
        assert_eq!(play.frames(), expected);
    });
}

#[test]
fn messages_come_back_with_kind_and_boundaries() {
    echoes(&[binary("ab"), frame(0x81, "text"), binary("")], "binary:ab, text:text, binary:");
}

#[test]
fn fragments_come_back_whole() {
    echoes(&[frame(0x01, "a"), frame(0x00, ""), frame(0x80, "b"), binary("c")], "text:ab, binary:c");
    echoes(&[binary("x"), frame(0x02, "a"), frame(0x80, "b")], "binary:x, binary:ab");
}

#[test]
fn control_frames_pass_between_fragments() {
    echoes(&[frame(0x02, "a"), ping("p"), frame(0x8a, ""), frame(0x80, "b")], "pong:p, binary:ab");
    echoes(&[binary("x"), ping("p"), binary("y")], "binary:x, pong:p, binary:y");
}

#[test]
fn close_goes_behind_what_was_echoed() {
    echoes(&[binary("x"), close(1000, "bye")], "binary:x, close:1000 bye");
    echoes(&[binary("x"), vec![0x83]], "binary:x, close:1002 Protocol error: Unknown opcode");
    echoes(&[frame(0x02, "lost"), close(1000, "")], "close:1000");
}

#[test]
fn lengths_at_every_edge() {
    for len in [125, 126, 127, 0xffff, 0x10000, HOT_BYTES - 14, HOT_BYTES, 3 * HOT_BYTES] {
        let mut play = Play::open("echo://");
        play.client(row(&[binary(vec![b'x'; len]), binary("y")]));
        assert_eq!(play.frames(), format!("binary:*{len}, binary:y"));
    }
}

#[test]
fn client_that_takes_nothing_is_not_received_from() {
    let mut play = Play::open("echo://");
    play.stick(Client).client(binary("a")).client(binary("b"));
    assert_eq!(play.sockets[0].inbox.len(), binary("b").len());
    assert_eq!(play.unstick(Client).frames(), "binary:a, binary:b");
}

#[test]
fn echo_waits_behind_a_ping() {
    let mut play = Play::open("echo://");
    play.stick(Client).wait(30_000).client(binary("a")).client(binary("b"));
    assert_eq!(play.unstick(Client).frames(), "ping:, binary:a, binary:b");
}

#[test]
fn too_large_is_1009() {
    for frames in [vec![binary("abcde")], vec![frame(0x02, "abc"), frame(0x80, "de")]] {
        let mut config = config("echo://");
        config.message_bytes_max = 4;
        let mut play = Play::new(config);
        play.client(UPGRADE).client(binary("abcd")).client(row(&frames));
        assert_eq!(play.frames(), "binary:abcd, close:1009 Message too big");
        assert_eq!(play.fin(Client).end(), "message_too_large");
    }
}

#[test]
fn no_memory_is_1013() {
    let mut play = Play::open("echo://");
    let taken = play.pool.reserve(2 * 1024 * 1024 - 100 * 1024).unwrap();
    play.client(binary("whole")).client(frame(0x02, vec![0; 200 * 1024]));
    assert_eq!(play.frames(), "binary:whole, close:1013 Out of buffer memory");
    drop(taken);
    assert_eq!(play.fin(Client).end(), "no_memory");
}

#[test]
fn what_is_held_leaves_the_last_place_to_others() {
    let mut play = Play::open("echo://");
    let mut taken: Vec<_> = std::iter::from_fn(|| play.pool.reserve(CHUNK_CLASSES[0])).collect();
    taken.truncate(taken.len() - 1);
    play.client(binary("whole")).client(frame(0x02, "a"));
    assert_eq!(play.frames(), "binary:whole, close:1013 Out of buffer memory");
    drop(taken);
    assert_eq!(play.fin(Client).end(), "no_memory");
}

#[test]
fn client_that_breaks_is_still_heard_to_its_end() {
    let mut play = Play::open("echo://");
    play.stick(Client).client(binary("a")).client(binary("b")).reset(Client);
    assert_eq!(play.end(), "client_reset");
}
