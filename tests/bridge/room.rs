//! Who makes room when every place is taken: strangers who never come to a request, connections between two requests and
//! those that stay behind their last answer. Never a bridge, nor anybody who is being answered.

use crate::support::client::{Handshake, WsClient};
use crate::support::frame::Frame;
use crate::support::http::{HttpClient, request};
use crate::support::on_both_engines;
use crate::support::pattern;
use crate::support::process::descriptors;
use crate::support::server::Server;
use crate::support::temp::TempDir;
use crate::support::wire::{Fault, Inbox, PATIENCE};
use nix::sys::signal::Signal;
use std::io::Write;
use std::time::{Duration, Instant};
use websplice::limits::SHARDS_MAX;

on_both_engines!(
    strangers_make_room,
    connections_between_requests_make_room,
    the_answered_who_stay_make_room,
    who_is_being_answered_keeps_the_place,
    strangers_never_take_all_places,
    who_finds_the_last_place_taken_is_next,
    places_go_from_hand_to_hand,
);

/// Nothing ends by itself while a test lasts.
const PATIENT: [&str; 3] = ["--head-timeout=5m", "--write-timeout=5m", "--close-timeout=5m"];

fn start(engine: &str, places: usize, more: &[&str]) -> Server {
    let places = format!("--max-sessions={places}");
    Server::start(engine, &[&PATIENT[..], &["--echo", &places], more].concat())
}

/// A connection that has sent this.
fn saying(server: &Server, words: &str) -> Inbox {
    let mut wire = server.wire();
    wire.write_all(words.as_bytes()).expect("the kernel takes it");
    Inbox::new(wire)
}

#[track_caller]
fn round_trip(client: &mut WsClient) {
    client.send(&Frame::binary("tick"));
    assert_eq!(client.expect_stream(4), b"tick");
}

/// The sum of a counter over all shards.
#[track_caller]
fn counted(server: &Server, shards: usize, name: &str) -> u64 {
    server.signal(Signal::SIGQUIT);
    let reports = server.wait_lines(" report shard=", shards);
    let value =
        |line: &String| line.split(' ').find_map(|field| field.strip_prefix(name)?.parse::<u64>().ok());
    reports.iter().map(|line| value(line).unwrap_or_else(|| panic!("no {name} in {line}"))).sum()
}

fn strangers_make_room(engine: &str) {
    let server = start(engine, 20, &["--threads=2", "-v"]);
    let begun = Instant::now();
    let mut live = server.client();
    // Each has said something, so that nothing but its head is waited for.
    let strangers: Vec<_> = (0..60).map(|_| saying(&server, "GET")).collect();
    let mut client = server.client();
    round_trip(&mut client);
    round_trip(&mut live);
    let line = server.wait_line("all 20 places taken");
    assert!(line.contains(" warn ") && line.contains("--max-sessions"), "{line}");
    let lines = server.log().matches("places taken").count() as u64;
    assert!(lines <= 1 + begun.elapsed().as_secs() / 10, "{}", server.log());
    server.wait_line(" end=shed");
    assert!(counted(&server, 2, "heads_shed=") >= 40);
    drop(strangers);
    client.leave();
    live.leave();
    server.stop();
}

fn connections_between_requests_make_room(engine: &str) {
    let root = TempDir::new();
    root.write("page", "page");
    let web = format!("--web={}", root.path().display());
    let server = start(engine, 10, &["--threads=2", &web]);
    let mut live = server.client();
    let mut holders: Vec<HttpClient> = (0..9).map(|_| server.http()).collect();
    for holder in &mut holders {
        assert_eq!(holder.get("/page", "").status, 200);
    }
    let mut clients: Vec<_> = (0..9).map(|_| server.client()).collect();
    clients.iter_mut().for_each(round_trip);
    round_trip(&mut live);
    holders.iter_mut().for_each(HttpClient::expect_eof);
    assert_eq!(counted(&server, 2, "idle_shed="), 9);
    // Nobody is left who could make room, and bridges do not.
    let mut waiting = Inbox::new(server.wire());
    waiting.wire.write_all(&Handshake::new().bytes()).expect("the kernel takes it");
    assert!(waiting.take(1, Instant::now() + Duration::from_millis(700)).is_err());
    clients.iter_mut().for_each(round_trip);
    live.leave();
    round_trip(&mut WsClient::answered(waiting).expect("a place is free"));
    drop(clients);
    server.stop();
}

fn the_answered_who_stay_make_room(engine: &str) {
    let root = TempDir::new();
    root.write("page", "page");
    let web = format!("--web={}", root.path().display());
    let server = start(engine, 4, &["--threads=1", &web]);
    let mut live = server.client();
    let last = request("GET", "/page", "Connection: close\r\n");
    let rows = [("BAD\r\n\r\n", "HTTP/1.1 400"), (&*last, "HTTP/1.1 200")];
    let mut answered: Vec<_> = (0..6).map(|number| saying(&server, rows[number % 2].0)).collect();
    let mut client = server.client();
    round_trip(&mut client);
    round_trip(&mut live);
    // Nobody was cut short.
    for (number, inbox) in answered.iter_mut().enumerate() {
        let said = inbox.take(12, Instant::now() + PATIENCE).expect("it is answered");
        assert_eq!(String::from_utf8_lossy(&said), rows[number % 2].1);
    }
    client.leave();
    live.leave();
    server.stop();
}

fn who_is_being_answered_keeps_the_place(engine: &str) {
    let root = TempDir::new();
    // More than the kernel keeps for a reader that does not read.
    let file = pattern(40_000_000, 3);
    root.write("file", &file);
    let web = format!("--web={}", root.path().display());
    let server = start(engine, 2, &["--threads=1", "-v", &web]);
    let mut reader = server.http();
    reader.send(request("GET", "/file", ""));
    server.wait_line("request=\"GET /file\"");
    let mut live = server.client();
    let mut waiting = Inbox::new(server.wire());
    waiting.wire.write_all(&Handshake::new().bytes()).expect("the kernel takes it");
    assert!(waiting.take(1, Instant::now() + Duration::from_millis(700)).is_err());
    round_trip(&mut live);
    // When it has all of it, it is between two requests.
    assert!(reader.response().body == file, "the file has changed on its way");
    round_trip(&mut WsClient::answered(waiting).expect("a place is free"));
    reader.expect_eof();
    live.leave();
    server.stop();
}

fn strangers_never_take_all_places(engine: &str) {
    let server = start(engine, 64, &["--threads=1"]);
    let strangers = |count| (0..count).map(|_| saying(&server, "GET")).collect::<Vec<Inbox>>();
    let mut first = strangers(40);
    // A quarter may stay who have had their time, and each newcomer sees to that. The kernel hands them over in order.
    let until = Instant::now() + PATIENCE;
    loop {
        round_trip(&mut server.client());
        match first[24].end(Instant::now() + Duration::from_millis(50)) {
            Ok(()) => break,
            Err(Fault::Silent(_)) if Instant::now() < until => {}
            Err(fault) => panic!("25 of 40 should be gone, but: {fault}"),
        }
    }
    for inbox in &mut first[..24] {
        inbox.end(Instant::now() + PATIENCE).expect("the oldest have gone");
    }
    for stranger in first.drain(25..) {
        let mut rest = stranger.wire;
        rest.write_all(&Handshake::new().bytes()[3..]).expect("the kernel takes it");
        round_trip(&mut WsClient::answered(Inbox::new(rest)).expect("it is one of the last"));
    }
    assert!(!server.log().contains("places taken"), "{}", server.log());
    assert_eq!(counted(&server, 1, "heads_shed="), 25);
    server.stop();
}

/// Both shards have accepts in flight when the last place is taken: the other one accepts whoever comes next, and finds no
/// place for it.
fn who_finds_the_last_place_taken_is_next(engine: &str) {
    // It may be the same shard again where the machine is so busy that the first client looks like a stranger, or that a
    // shard begins late.
    assert!((0..8).any(|_| is_handed_over(engine)), "no place went from one shard to the other");
}

/// Whether one shard accepts a client while another has the only place, and then has the place.
fn is_handed_over(engine: &str) -> bool {
    let server = start(engine, 1, &["--threads=2"]);
    let mut live = server.client();
    round_trip(&mut live);
    let inside = descriptors(server.pid());
    let mut waiting = Inbox::new(server.wire());
    waiting.wire.write_all(&Handshake::new().bytes()).expect("the kernel takes it");
    let until = Instant::now() + Duration::from_secs(2);
    while descriptors(server.pid()) == inside {
        if Instant::now() > until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    // It has been accepted, and waits.
    assert!(waiting.take(1, Instant::now() + Duration::from_millis(200)).is_err());
    round_trip(&mut live);
    live.leave();
    let mut next = WsClient::answered(waiting).expect("it is next");
    round_trip(&mut next);
    let opened = server.wait_lines(" open id=", 2);
    let number = |line: &String| line.split(' ').find_map(|field| field.strip_prefix("id=")?.parse().ok());
    let shards: Vec<usize> = opened
        .iter()
        .map(|line| number(line).expect("it has a number"))
        .map(|id: usize| id % SHARDS_MAX)
        .collect();
    next.leave();
    server.stop();
    shards[0] != shards[1]
}

/// A few places for many, at two shards: everybody has one in the end, and nobody is told to go who is not idle.
fn places_go_from_hand_to_hand(engine: &str) {
    let root = TempDir::new();
    root.write("page", "page");
    let web = format!("--web={}", root.path().display());
    let server = start(engine, 3, &["--threads=2", &web]);
    let visitor = |number: usize| {
        for _ in 0..20 {
            if number.is_multiple_of(2) {
                let mut client = server.client();
                round_trip(&mut client);
                client.leave();
            } else {
                assert_eq!(server.http().get("/page", "Connection: close\r\n").status, 200);
            }
        }
    };
    std::thread::scope(|scope| {
        for number in 0..8 {
            scope.spawn(move || visitor(number));
        }
    });
    // All places are free again: so many clients have one at the same time, and none more.
    let mut clients: Vec<_> = (0..3).map(|_| server.client()).collect();
    clients.iter_mut().for_each(round_trip);
    let mut waiting = Inbox::new(server.wire());
    waiting.wire.write_all(&Handshake::new().bytes()).expect("the kernel takes it");
    assert!(waiting.take(1, Instant::now() + Duration::from_millis(300)).is_err());
    clients.pop().expect("there are three").leave();
    let mut next = WsClient::answered(waiting).expect("a place is free");
    round_trip(&mut next);
    clients.into_iter().chain([next]).for_each(WsClient::leave);
    server.stop();
}
