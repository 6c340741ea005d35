//! Cases for plain HTTP: files in pieces, HEAD, files that shrink, helpers that are busy or slow, requests in a row.

use super::play::{Client, Far, Play};
use super::read::{GET, UPGRADE, binary};
use crate::http::Response;
use crate::session::job::{Job, Verdict};
use crate::web::{Body, Served};
use std::fs::File;
use std::io;
use std::sync::Arc;

const LAST: &str = "GET /f HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

pub fn page(text: &'static str) -> Verdict {
    let response = Response::new(200, "OK").length(text.len() as u64);
    Verdict::Fetched(Served { response, body: Body::Bytes(text.as_bytes().into()) })
}

pub fn file(offset: u64, len: u64) -> Verdict {
    let file = Arc::new(File::open("/dev/null").unwrap());
    Verdict::Fetched(Served {
        response: Response::new(200, "OK").length(len),
        body: Body::File { file, offset, len },
    })
}

pub fn piece(bytes: &str) -> Verdict {
    Verdict::Piece(Ok(bytes.into()))
}

/// What the oldest read asks for.
fn wanted(play: &Play) -> (u64, u64) {
    match play.jobs.front() {
        Some(Job::Read { offset, len, .. }) => (*offset, *len),
        job => panic!("{job:?}"),
    }
}

#[test]
fn page_is_answered_and_logged() {
    let mut play = Play::web();
    assert_eq!(play.client(GET).verdict(page("hello")).heard(), "200:hello");
    assert_eq!((&*play.lines, play.counters.answered), (&["GET /f 200".to_owned()][..], 1));
    assert_eq!(play.fin(Client).end(), "answered");
}

#[test]
fn file_goes_out_piece_by_piece() {
    let mut play = Play::web();
    play.client(LAST).verdict(file(10, 6));
    assert_eq!(wanted(&play), (10, 6));
    assert_eq!(wanted(play.verdict(piece("abcd"))), (14, 2));
    assert_eq!(play.verdict(piece("ef")).heard(), "200:abcdef");
    assert!(play.sockets[0].shut);
    assert_eq!(play.fin(Client).end(), "answered");
}

#[test]
fn next_piece_is_read_when_the_one_before_is_gone() {
    let mut play = Play::web();
    play.client(GET).verdict(file(0, 4)).stick(Client).verdict(piece("ab"));
    assert!(play.jobs.is_empty());
    assert_eq!(wanted(play.unstick(Client)), (2, 2));
}

#[test]
fn file_that_shrank_or_broke_ends_abruptly() {
    for last in [piece(""), Verdict::Piece(Err(io::ErrorKind::Other.into()))] {
        let mut play = Play::web();
        play.client(GET).verdict(file(0, 4)).verdict(piece("ab")).verdict(last);
        assert_eq!((play.heard(), play.end()), ("...".into(), "internal_error"));
    }
}

#[test]
fn empty_file_and_head_have_no_body() {
    let mut play = Play::web();
    assert_eq!(play.client(GET).verdict(file(0, 0)).client(GET).verdict(page("x")).heard(), "200:, 200:x");
    let mut play = Play::web();
    play.head_only = true;
    let response = Response::new(200, "OK").length(5);
    play.client(GET.replace("GET", "HEAD")).verdict(Verdict::Fetched(Served { response, body: Body::None }));
    assert_eq!(play.heard(), "200:");
}

#[test]
fn requests_in_a_row_are_answered_in_order() {
    for gulp in [usize::MAX, 1, 30] {
        let mut play = Play::web();
        play.gulp = gulp;
        play.client([GET, GET, LAST, GET].concat())
            .verdict(page("one"))
            .verdict(page("two"))
            .verdict(page("three"));
        assert_eq!((play.heard(), play.jobs.len()), ("200:one, 200:two, 200:three".into(), 0));
        assert_eq!(play.fin(Client).end(), "answered");
    }
}

#[test]
fn upgrade_behind_an_answer_takes_its_early_frames_along() {
    let mut play = Play::web();
    play.client([GET.as_bytes(), UPGRADE.as_bytes(), &binary("ab")].concat()).verdict(page("one"));
    assert_eq!((play.heard(), play.connected().got()), ("200:one, 101".into(), "ab".into()));
    play.fin(Far).fin(Client);
    assert_eq!(play.end(), "target_closed");
}

#[test]
fn refusal_behind_an_answer() {
    let mut play = Play::web();
    play.client([GET, "BREW / HTTP/1.1\r\nHost: h\r\n\r\n"].concat()).verdict(page("one"));
    assert_eq!((play.heard(), play.fin(Client).end()), ("200:one, 501".into(), "refused"));
}

#[test]
fn busy_helpers_are_503() {
    let mut play = Play::web();
    assert_eq!(play.client(GET).verdict(Verdict::Busy).heard(), "503");
    assert_eq!((play.counters.answered, play.fin(Client).end()), (1, "refused"));
    let mut play = Play::web();
    play.client(GET).verdict(file(0, 4)).verdict(Verdict::Busy);
    assert_eq!((play.heard(), play.jobs.len()), ("...".into(), 0), "a file once begun is not broken off");
    assert_eq!(play.wait(100).jobs.len(), 1);
}

#[test]
fn deadlines_of_an_answer() {
    let mut play = Play::web();
    assert_eq!(play.client(GET).wait(60_000).end(), "internal_error");
    let mut play = Play::web();
    play.stick(Client).client(GET).wait(30_000).verdict(page("x")).wait(59_000);
    assert!(!play.released);
    assert_eq!(play.wait(1_000).end(), "client_stalled");
    let mut play = Play::web();
    play.client(GET).verdict(page("x")).wait(9_999);
    assert!(!play.released);
    assert_eq!(play.wait(1).fin(Client).end(), "answered");
}

#[test]
fn stop_lets_the_answer_out_and_no_other() {
    let mut play = Play::web();
    play.client([GET, GET].concat()).stop().verdict(page("one"));
    assert_eq!((play.heard(), play.jobs.len(), play.fin(Client).end()), ("200:one".into(), 0, "answered"));
}

#[test]
fn client_that_goes_meanwhile() {
    let mut play = Play::web();
    play.client(GET).reset(Client).verdict(page("x"));
    assert_eq!(play.end(), "client_reset");
    let mut play = Play::web();
    assert_eq!(play.client(GET).fin(Client).verdict(page("x")).end(), "answered");
    let mut play = Play::web();
    assert_eq!(play.client(GET).abort(crate::session::End::Internal).end(), "internal_error");
}
