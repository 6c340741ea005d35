//! Cases for memory that the system does not give: what would wait in it is refused or not received, what passes goes on, and
//! nobody else is blamed.

use super::answers::file;
use super::play::{Client, Far, Play, config};
use super::read::{GET, UPGRADE, binary, close};
use super::routing::{leads_to, upgrade};
use super::settings::routed;
use crate::http::Response;
use crate::limits::{CHUNK_CLASSES, HOT_BYTES, RETRY_MS};
use crate::pool::Lease;
use crate::session::job::{Job, Verdict};
use crate::session::{Input, Operation};
use crate::web::{Body, Served};
use std::io;

/// Most bytes of small change.
pub(super) const SMALL: usize = CHUNK_CLASSES[0];

/// All that is set aside, in use by others.
pub(super) fn last_places(play: &Play) -> Vec<Lease> {
    assert!(play.pool.lacks());
    let taken: Vec<_> = std::iter::from_fn(|| play.pool.chunk(2 * SMALL)).collect();
    assert!(!taken.is_empty() && play.pool.allowance() == 0);
    taken
}

#[test]
fn what_waits_for_a_target_takes_nothing_that_is_set_aside() {
    let mut play = Play::open("127.0.0.1:5900");
    play.gives(0).client(binary("early"));
    assert_eq!(play.frames(), "close:1013 Out of buffer memory");
    assert!(play.pool.allowance() > 0, "others go on");
    assert_eq!(play.client(close(1013, "")).fin(Client).end(), "no_memory");

    let mut play = Play::open("127.0.0.1:5900");
    play.gives(SMALL).client(binary("early"));
    assert_eq!(play.pool.in_use(), SMALL, "small change will do");
    assert_eq!(play.connected().got(), "early");
}

#[test]
fn what_came_right_behind_a_request_takes_nothing_that_is_set_aside_either() {
    let mut play = Play::new(config("127.0.0.1:5900"));
    play.gives(0).client([UPGRADE.as_bytes(), &binary("early")].concat());
    assert_eq!(play.heard(), "101, close:1013 Out of buffer memory");
    assert_eq!(play.client(close(1013, "")).fin(Client).end(), "no_memory");
}

#[test]
fn who_waits_for_a_target_while_memory_is_short_is_not_received_from() {
    for is_gone in [true, false] {
        let mut play = Play::new(config("127.0.0.1:5900"));
        let half = play.pool.reserve(2 * 1024 * 1024 - HOT_BYTES).expect("nothing is in use");
        if is_gone {
            play.gives(0);
        }
        play.client(UPGRADE).client(binary("early"));
        assert_eq!(play.heard(), "101");
        assert_eq!(play.sockets[0].inbox.len(), binary("early").len(), "it stays with the client");
        assert_eq!(play.connected().got(), "early");
        drop(half);
        assert_eq!(play.client(close(1000, "")).fin(Client).fin(Far).end(), "client_closed");
    }
}

#[test]
fn what_waits_for_a_route_is_refused() {
    let mut play = Play::new(routed());
    play.gives(0).client([upgrade("t").into_bytes(), binary("early")].concat());
    assert_eq!((play.heard().as_str(), play.jobs.len()), ("503", 0));
    assert!(play.pool.allowance() > 0, "others go on");
    assert_eq!(play.fin(Client).end(), "refused");

    let mut play = Play::new(routed());
    play.gives(0).client(upgrade("t")).verdict(leads_to("10.0.0.9:1"));
    assert_eq!(play.connected().heard(), "101", "who needs no memory is served");
}

#[test]
fn a_request_that_waits_for_the_answer_before_is_refused_with_that() {
    let mut play = Play::web();
    play.gives(0).client([GET, GET].concat());
    assert_eq!((play.heard().as_str(), play.jobs.len()), ("503", 0));
    assert!(play.pool.allowance() > 0, "others go on");
    assert_eq!(play.fin(Client).end(), "refused");
}

#[test]
fn half_a_head_takes_nothing_that_is_set_aside() {
    let mut play = Play::new(config("127.0.0.1:5900"));
    play.pool.set_aside();
    // Nobody has found out yet that there is nothing more.
    play.gives.set(0);
    assert_eq!(play.client(&GET[..5]).heard(), "503");
    assert!(play.pool.lacks() && play.pool.allowance() > 0, "others go on");
    assert_eq!(play.fin(Client).end(), "refused");
}

#[test]
fn a_piece_that_finds_no_memory_is_read_again() {
    let mut play = Play::web();
    play.client(GET).verdict(file(0, 4));
    for _ in 0..3 {
        play.verdict(Verdict::Piece(Err(io::ErrorKind::OutOfMemory.into())));
        assert!(play.jobs.is_empty() && !play.released, "not at once");
        assert!(matches!(play.wait(RETRY_MS).jobs.front(), Some(Job::Read { offset: 0, len: 4, .. })));
    }
    assert_eq!(play.verdict(Verdict::Piece(Ok(b"abcd".to_vec()))).heard(), "200:abcd");
}

/// A page of so many bytes, as a list of names can be.
fn long_page(len: usize) -> Verdict {
    let response = Response::new(200, "OK").length(len as u64);
    Verdict::Fetched(Served { response, body: Body::Bytes(vec![b'x'; len].into()) })
}

#[test]
fn a_long_page_counts_while_it_is_sent_and_is_refused_where_memory_is_short() {
    let mut play = Play::web();
    play.client(GET).stick(Client).verdict(long_page(60_000));
    assert_eq!(play.pool.in_use(), 60_000);
    assert_eq!(play.unstick(Client).heard(), "200:*60000");
    assert_eq!(play.pool.in_use(), 0);
    for (len, word) in [(60_000, "503"), (5, "200:xxxxx")] {
        let mut play = Play::web();
        play.client(GET).gives(0).verdict(long_page(len));
        assert_eq!(play.heard(), word);
    }
}

#[test]
fn an_answer_that_finds_no_memory_is_not_blamed_on_the_client() {
    let mut play = Play::web();
    play.client(GET).verdict(file(0, 4)).stick(Client).verdict(Verdict::Piece(Ok(b"abcd".to_vec())));
    play.sockets[0].sending = None;
    play.done.push_back(Input::Failed(Client, Operation::Send, io::ErrorKind::OutOfMemory.into()));
    assert_eq!(play.run().end(), "no_memory");
}

#[test]
fn what_passes_goes_on_while_anything_is_set_aside() {
    let mut play = Play::bridge();
    play.gives(0).stick(Far).stick(Client).client(binary("up"));
    play.target("down");
    assert_eq!(play.pool.allowance(), 0, "both wait in what was set aside");
    play.unstick(Far).unstick(Client);
    assert_eq!((play.got().as_str(), play.frames().as_str()), ("up", "binary:down"));
    assert!(play.pool.allowance() > 0);
    let taken = last_places(&play);
    play.stick(Client).target("more");
    drop(taken);
    assert_eq!(play.client(close(1013, "")).fin(Client).fin(Far).end(), "no_memory");
}
