//! Cases for who could make room: what a session says that it waits for.

use super::answers::page;
use super::play::{Client, Play, config};
use super::read::GET;
use super::secure::{Peer, pair};
use crate::session::Wait;
use crate::web;
use rustls::version::TLS13;

#[test]
fn a_connection_on_which_the_next_request_has_begun_is_not_idle() {
    let (begun, rest) = GET.split_at(5);
    let mut play = Play::web();
    assert_eq!(play.client(begun).wait_for, Some(Wait::Head));
    assert_eq!(play.client(rest).wait_for, None);
    assert_eq!(play.verdict(page("one")).wait_for, Some(Wait::Request));
    assert_eq!(play.client(begun).wait_for, Some(Wait::Head));
    assert_eq!(play.client(rest).wait_for, None);
    assert_eq!(play.verdict(page("two")).wait_for, Some(Wait::Request));
    // It has come with the one before.
    play.client([GET, begun].concat());
    assert_eq!(play.verdict(page("three")).wait_for, Some(Wait::Head));
    play.client(rest).verdict(page("four"));
    assert_eq!(
        (play.wait_for, play.heard()),
        (Some(Wait::Request), "200:one, 200:two, 200:three, 200:four".into())
    );
    assert_eq!((play.fin(Client).end(), play.wait_for), ("answered", None));
}

#[test]
fn nor_is_one_on_which_a_record_has_begun() {
    let pair = pair(&TLS13);
    let mut config = config("127.0.0.1:5900");
    config.web = Some(web::Options { listings: false, index: None });
    let mut play = Play::with_tls(config, Some(pair.server.clone()), None);
    let mut peer = Peer::client(&pair, &mut play);
    peer.say(&mut play, GET.as_bytes());
    assert_eq!(play.verdict(page("one")).wait_for, Some(Wait::Request));
    let record = peer.seal(GET.as_bytes());
    let (begun, rest) = record.split_at(9);
    assert_eq!(play.client(begun).wait_for, Some(Wait::Head));
    assert_eq!(play.client(rest).wait_for, None);
    assert_eq!(play.verdict(page("two")).wait_for, Some(Wait::Request));
}

#[test]
fn who_has_not_taken_the_last_answer_is_not_waited_for_to_go() {
    let mut play = Play::new(config("127.0.0.1:5900"));
    assert_eq!(play.stick(Client).client("BAD\r\n\r\n").wait_for, None);
    assert_eq!(play.nibble(Client).wait_for, None);
    assert_eq!(play.unstick(Client).wait_for, Some(Wait::Farewell));
    assert_eq!((play.fin(Client).end(), play.wait_for), ("refused", None));
    // It has it at once.
    let mut play = Play::new(config("127.0.0.1:5900"));
    assert_eq!(play.client("BAD\r\n\r\n").wait_for, Some(Wait::Farewell));
}
