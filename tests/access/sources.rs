//! How many connections one address may have: one too many is closed at once, others are not concerned, and who leaves makes room.

use crate::counted;
use crate::support::client::{Handshake, WsClient};
use crate::support::frame::Frame;
use crate::support::on_both_engines;
use crate::support::server::Server;
use crate::support::temp::TempDir;
use crate::support::tls::{Authority, VERSIONS, file};
use crate::support::wire::{Inbox, PATIENCE, Wire, soon};
use socket2::{Domain, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use websplice::limits::SHED_GRACE_MS;

on_both_engines!(
    one_too_many_is_closed_at_once,
    nobody_makes_room_for_one_too_many,
    who_leaves_makes_room,
    the_bound_holds_over_all_shards,
    a_handshake_of_tls_is_not_begun,
    clients_without_an_address_are_not_counted,
);

/// A connection from another address of this machine.
#[track_caller]
fn from(server: &Server, last: u8) -> Wire {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a descriptor is free");
    let own = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0));
    socket.bind(&own.into()).expect("all of 127.0.0.0/8 is ours");
    socket.connect_timeout(&server.address().into(), PATIENCE).expect("it listens");
    Wire::Tcp(TcpStream::from(socket))
}

#[track_caller]
fn round_trip(client: &mut WsClient) {
    client.send(&Frame::binary("tick"));
    assert_eq!(client.expect_stream(4), b"tick");
}

/// That nothing is answered and the connection is over.
#[track_caller]
fn is_closed(wire: Wire) {
    let mut inbox = Inbox::new(wire);
    let begun = Instant::now();
    // What it sent was not read, so that the end may well be a reset.
    assert!(inbox.take(1, soon()).is_err(), "not a byte");
    assert!(begun.elapsed() < PATIENCE, "it was not left open");
}

/// Every place is taken, one of them by somebody who would have to go for a newcomer.
fn nobody_makes_room_for_one_too_many(engine: &str) {
    const LONG: Duration = Duration::from_millis(3 * SHED_GRACE_MS);
    let server = Server::start(engine, &["--echo", "--max-per-source=1", "--max-sessions=2", "--threads=1"]);
    let mute = from(&server, 7);
    let mut client = server.client();
    let begun = Instant::now();
    while begun.elapsed() < LONG {
        is_closed(server.wire());
    }
    let mut other = WsClient::open(mute, &Handshake::new());
    [&mut client, &mut other].into_iter().for_each(round_trip);
}

fn one_too_many_is_closed_at_once(engine: &str) {
    let server = Server::start(engine, &["--echo", "--max-per-source=3", "--threads=2"]);
    let mut clients: Vec<_> = (0..2).map(|_| server.client()).collect();
    // One that says nothing counts as well.
    let mute = server.wire();
    for _ in 0..5 {
        is_closed(server.wire());
    }
    // Of another address all goes on.
    let mut other = WsClient::open(from(&server, 7), &Handshake::new());
    clients.iter_mut().chain([&mut other]).for_each(round_trip);
    let lines = server.wait_lines("its address has 3 connections (--max-per-source)", 5);
    assert!(lines.iter().all(|line| line.contains(" closed client=127.0.0.1:")), "{lines:?}");
    assert_eq!((counted(&server, "sources_refused="), counted(&server, "accepted=")), (5, 4));
    drop(mute);
    server.stop();
}

/// Opens sessions until one is let in: who has left is counted until the server has seen it.
#[track_caller]
fn opened_in_the_end(server: &Server) -> WsClient {
    let until = soon();
    loop {
        match WsClient::try_open(server.wire(), &Handshake::new()) {
            Ok(client) => return client,
            Err(why) => assert!(Instant::now() < until, "{why}"),
        }
    }
}

fn who_leaves_makes_room(engine: &str) {
    let server = Server::start(engine, &["--echo", "--max-per-source=1"]);
    let mut client = server.client();
    for round in 0..6 {
        is_closed(server.wire());
        round_trip(&mut client);
        match round % 3 {
            0 => client.leave(),
            1 => drop(client),
            _ => client.inbox.wire.abort(),
        }
        client = opened_in_the_end(&server);
    }
    // An answer and a refusal are no longer there either when they are over.
    client.leave();
    let until = soon();
    while server.http().send("GET / HTTP/1.1\r\n\r\n").inbox.take(1, soon()).is_err() {
        assert!(Instant::now() < until, "its place is lost");
    }
    opened_in_the_end(&server).leave();
    server.stop();
}

fn the_bound_holds_over_all_shards(engine: &str) {
    let server =
        Server::start(engine, &["--echo", "--max-per-source=10", "--threads=2", "--head-timeout=5m"]);
    let wires: Vec<_> = (0..60).map(|_| server.wire()).collect();
    server.wait_lines("its address has 10 connections (--max-per-source)", 50);
    assert_eq!((counted(&server, "sources_refused="), counted(&server, "accepted=")), (50, 10));
    drop(wires);
    opened_in_the_end(&server).leave();
    server.stop();
}

fn a_handshake_of_tls_is_not_begun(engine: &str) {
    let place = TempDir::new();
    let authority = Authority::new();
    let cert = file(&place, "own.pem", &authority.sign(&["gateway.test"]).both());
    let server = Server::start(engine, &["--echo", "--max-per-source=1", "--cert", &cert]);
    let tls = authority.client(&VERSIONS, None);
    let mut client = WsClient::open(tls.wire(server.address(), "gateway.test"), &Handshake::new());
    is_closed(server.wire());
    round_trip(&mut client);
    client.leave();
    server.stop();
}

fn clients_without_an_address_are_not_counted(engine: &str) {
    let place = TempDir::new();
    let listen = format!("--unix-listen={}", place.arg("l"));
    let server = Server::start_on(engine, "", &[&listen, "--echo", "--max-per-source=1"]);
    let open = || WsClient::open(Wire::unix(&place.join("l")), &Handshake::new());
    let mut clients = [(); 3].map(|()| open());
    clients.iter_mut().for_each(round_trip);
    server.stop();
}
