//! TLS at the level of records: cut, empty, over-long, in the wrong place, in single bytes; and the groups of the key
//! exchange. After each of them the next client is served, and nothing is left of the one before.

use super::forger::Forger;
use crate::support::client::{Handshake, Message, WsClient};
use crate::support::frame::Frame;
use crate::support::on_both_engines;
use crate::support::process::resident_bytes;
use crate::support::server::{Server, program};
use crate::support::temp::TempDir;
use crate::support::tls::{Authority, Client, VERSIONS, connection, file};
use crate::support::wire::{Inbox, Wire, soon};
use nix::sys::signal::Signal;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::{ContentType, Error};
use std::net::Shutdown;
use std::thread;
use std::time::Instant;

on_both_engines!(
    every_group_is_spoken,
    a_hello_in_records_of_one_byte_passes,
    what_follows_a_hello_must_be_right,
    a_cut_handshake_or_record_is_released,
    records_without_content_are_bounded,
    over_long_records_are_refused,
    alerts_end_a_session_whatever_they_say,
    renegotiation_is_refused_in_an_open_session,
    a_limit_of_addresses_ends_sessions_and_not_the_process,
);

const NAME: &str = "gateway.test";
/// Numbers of alerts (RFC 8446 section 6).
const UNEXPECTED_MESSAGE: u8 = 10;
const RECORD_OVERFLOW: u8 = 22;
const NO_RENEGOTIATION: u8 = 100;
/// Clients that together want more than a limit of addresses leaves.
const CROWD: usize = 200;
/// How much the server may grow in a case that would make a leak or a queue show.
const GROWTH: usize = 8 * 1024 * 1024;

/// A server with one shard, and who can talk to it.
struct Place {
    server: Server,
    authority: Authority,
    _directory: TempDir,
}

impl Place {
    fn new(engine: &str) -> Place {
        let (authority, directory) = (Authority::new(), TempDir::new());
        let cert = file(&directory, "own.pem", &authority.sign(&[NAME]).both());
        let server = Server::start(engine, &["--cert", &cert, "--echo", "--threads", "1"]);
        Place { server, authority, _directory: directory }
    }

    fn client(&self, version: usize) -> Client {
        self.authority.client(&VERSIONS[version..=version], None)
    }

    /// An open WebSocket below which records can be forged.
    #[track_caller]
    fn forger(&self, version: usize) -> Forger {
        let mut forger = Forger::new(self.client(version).wire(self.server.address(), NAME));
        forger.send(&Handshake::new().bytes());
        let (answer, _) = forger.hear(1);
        assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", answer.escape_ascii());
        forger
    }

    /// The next client is served, and when it has gone there is no session left and nothing buffered.
    #[track_caller]
    fn is_well(&self) {
        let wire = self.authority.client(&VERSIONS, None).wire(self.server.address(), NAME);
        let mut client = WsClient::open(wire, &Handshake::new());
        client.send(&Frame::binary("next"));
        client.expect(&Message::Binary(b"next".into()));
        client.leave();
        let until = soon();
        for turn in self.server.log().matches("report shard=0").count() + 1.. {
            self.server.signal(Signal::SIGQUIT);
            let told = self.server.wait_lines("report shard=0 ", turn);
            if told[turn - 1].contains(" sessions=0 buffers_bytes=0 ") {
                return;
            }
            assert!(Instant::now() < until, "something is left: {}", told[turn - 1]);
        }
    }
}

/// The payload of an echo as it comes out of a forger: one short frame.
fn echoed(payload: &[u8]) -> Vec<u8> {
    [&[0x82, payload.len() as u8], payload].concat()
}

/// Whose message finds no memory is sent away, as without TLS. It is nobody's TLS that failed, and others go on.
fn a_limit_of_addresses_ends_sessions_and_not_the_process(engine: &str) {
    let (authority, directory) = (Authority::new(), TempDir::new());
    let cert = file(&directory, "own.pem", &authority.sign(&[NAME]).both());
    let path = program().into_string().expect("a readable path");
    let words = ["--as=500000000", &path, "--engine", engine, "--cert", &cert, "--buffer-memory=4GiB"];
    let words = [&words[..], &["--threads=2", "--echo", "127.0.0.1:0"]].concat();
    let server = Server::launch("prlimit", &words);
    let client = authority.client(&VERSIONS, None);
    let open = || WsClient::open(client.wire(server.address(), NAME), &Handshake::new());
    let mut quiet = open();
    let crowd: Vec<_> = (0..CROWD).map(|_| open()).collect();
    let beginning = Frame::binary(vec![0x5a; 1023 * 1024]).more().bytes();
    let write = |mut client: WsClient| {
        let beginning = beginning.clone();
        // It may be sent away before it has said all.
        thread::spawn(move || (client.inbox.wire.write_chopped(&beginning, 0).is_ok(), client))
    };
    let writers: Vec<_> = crowd.into_iter().map(write).collect();
    let line = server.wait_line("end=no_memory");
    assert!(line.contains(" tls=TLSv1.3,"), "{line}");
    quiet.send(&Frame::binary("still here"));
    quiet.expect(&Message::Binary(b"still here".to_vec()));
    let crowd: Vec<_> = writers.into_iter().map(|writer| writer.join().expect("it only writes")).collect();
    assert!(!server.log().contains("tls_failed"), "{}", server.log());
    drop(crowd);
    open().leave();
    quiet.leave();
    server.stop();
}

fn every_group_is_spoken(engine: &str) {
    let place = Place::new(engine);
    let groups = [kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];
    for group in groups {
        for (number, version) in VERSIONS.into_iter().enumerate() {
            // The hybrid exchange exists in 1.3 only.
            if number == 1 && group.name() == kx_group::X25519MLKEM768.name() {
                continue;
            }
            let provider = rustls::crypto::CryptoProvider { kx_groups: vec![group], ..default_provider() };
            let wire =
                place.authority.client_of(provider, &[version], None).wire(place.server.address(), NAME);
            let spoken = connection(&wire).negotiated_key_exchange_group().map(|group| group.name());
            assert_eq!(spoken, Some(group.name()));
            WsClient::open(wire, &Handshake::new()).leave();
        }
    }
    // Browsers offer the hybrid first: then it is taken, though every other would do.
    let provider = rustls::crypto::CryptoProvider { kx_groups: groups.to_vec(), ..default_provider() };
    let wire = place.authority.client_of(provider, &VERSIONS, None).wire(place.server.address(), NAME);
    let spoken = connection(&wire).negotiated_key_exchange_group().map(|group| group.name());
    assert_eq!(spoken, Some(kx_group::X25519MLKEM768.name()));
    drop(wire);
    place.is_well();
    place.server.stop();
}

/// The bytes of a hello, as one record.
fn hello(connection: &mut rustls::ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut bytes).expect("a vector takes all");
    }
    bytes
}

/// What the server says to `bytes`, as the connection that made the hello in them understands it.
#[track_caller]
fn answer(place: &Place, connection: &mut rustls::ClientConnection, bytes: &[u8]) -> Result<(), Error> {
    let mut wire = place.server.wire();
    wire.write_chopped(bytes, 0).expect("it is taken");
    let said = Inbox::new(wire).take_rest(soon()).expect("an orderly end");
    let mut said = &said[..];
    while !said.is_empty() {
        connection.read_tls(&mut said).expect("a slice can be read");
        connection.process_new_packets()?;
    }
    Ok(())
}

/// Every byte of the hello in a record of its own, and each of those bytes in a write of its own.
fn a_hello_in_records_of_one_byte_passes(engine: &str) {
    let place = Place::new(engine);
    for version in [0, 1] {
        let mut connection = place.client(version).begin(NAME);
        let hello = hello(&mut connection);
        let dripped: Vec<u8> = hello[5..].iter().flat_map(|&byte| [22, 3, 1, 0, 1, byte]).collect();
        let mut wire = place.server.wire();
        wire.write_chopped(&dripped, 1).expect("it is taken");
        let Wire::Tcp(mut socket) = wire else { unreachable!("it is TCP") };
        socket.set_read_timeout(Some(crate::support::wire::PATIENCE)).expect("the time-out is not zero");
        connection.complete_io(&mut socket).expect("the handshake goes on as ever");
        let wire = Wire::Tls(Box::new(rustls::StreamOwned::new(connection, socket)));
        let mut client = WsClient::open(wire, &Handshake::new());
        client.send(&Frame::binary("in order"));
        client.expect(&Message::Binary(b"in order".into()));
        client.leave();
    }
    place.is_well();
    place.server.stop();
}

fn what_follows_a_hello_must_be_right(engine: &str) {
    let place = Place::new(engine);
    let sealed = [&[23, 3, 3, 0, 32][..], &[0xaa; 32]].concat();
    let rows: [&[u8]; 4] = [
        &sealed,
        b"\x16\x03\x03\x00\x04\x63\x00\x00\x00",
        b"\x16\x03\x03\x00\x00",
        b"GET / HTTP/1.1\r\nHost: gateway.test\r\n\r\n",
    ];
    for garbage in rows {
        for version in [0, 1] {
            let mut connection = place.client(version).begin(NAME);
            let bytes = [hello(&mut connection), garbage.to_vec()].concat();
            let said = answer(&place, &mut connection, &bytes);
            assert!(matches!(said, Err(Error::AlertReceived(_))), "{}: {said:?}", garbage.escape_ascii());
        }
    }
    // Who gives up by an alert is not answered by one.
    let mut connection = place.client(0).begin(NAME);
    let bytes = [&hello(&mut connection)[..], b"\x15\x03\x03\x00\x02\x02\x28"].concat();
    assert_eq!(answer(&place, &mut connection, &bytes), Ok(()));
    place.is_well();
    place.server.stop();
}

/// Wherever the client goes away, with FIN or with a reset.
fn a_cut_handshake_or_record_is_released(engine: &str) {
    let place = Place::new(engine);
    for version in [0, 1] {
        let hello = hello(&mut place.client(version).begin(NAME));
        for cut in [1, 4, 5, 6, 100, hello.len() - 1, hello.len()] {
            for reset in [false, true] {
                let mut wire = place.server.wire();
                wire.write_chopped(&hello[..cut], 0).expect("it is taken");
                if reset {
                    wire.abort();
                } else {
                    wire.shut(Shutdown::Write);
                    Inbox::new(wire).take_rest(soon()).expect("an orderly end");
                }
            }
        }
        let record_len = place.forger(version).record(ContentType::ApplicationData, &[0; 1000]).len();
        for cut in [1, 4, 5, 6, 500, record_len - 1] {
            for reset in [false, true] {
                let mut forger = place.forger(version);
                // What was whole before the cut comes back.
                let whole = Frame::binary("whole").bytes();
                let cut_off = forger.record(ContentType::ApplicationData, &whole);
                forger.send_raw(&cut_off);
                assert_eq!(forger.hear(7).0, echoed(b"whole"));
                let record = forger.record(ContentType::ApplicationData, &Frame::binary([0; 992]).bytes());
                forger.send_raw(&record[..cut]);
                if reset {
                    Wire::Tcp(forger.socket).abort();
                } else {
                    forger.socket.shutdown(Shutdown::Write).expect("it is connected");
                    let (data, alert) = forger.hear(usize::MAX);
                    assert!(data.is_empty() || data[0] == 0x88, "nothing of what was cut: {data:?}");
                    assert_eq!(alert, Some(0), "close_notify");
                }
            }
        }
    }
    place.is_well();
    place.server.stop();
}

/// Legal, of no use, and no way to keep a server busy: a few in a row pass, thousands end the session (RFC 8446 section 5.1).
fn records_without_content_are_bounded(engine: &str) {
    let place = Place::new(engine);
    for version in [0, 1] {
        let mut forger = place.forger(version);
        // One byte of a frame at a time, with empty records before each.
        for byte in Frame::binary("slowly").bytes() {
            let mut bytes = Vec::new();
            for _ in 0..10 {
                bytes.extend(forger.record(ContentType::ApplicationData, b""));
            }
            bytes.extend(forger.record(ContentType::ApplicationData, &[byte]));
            forger.send_raw(&bytes);
        }
        assert_eq!(forger.hear(8).0, echoed(b"slowly"));
        let before = resident_bytes(place.server.pid());
        let record = |_| forger.record(ContentType::ApplicationData, b"");
        let bytes: Vec<u8> = (0..20_000).flat_map(record).collect();
        forger.send_raw(&bytes);
        let (data, alert) = forger.hear(usize::MAX);
        // rustls has no alert for this; that no close_notify came says enough.
        assert!(data.is_empty() && alert != Some(0), "{alert:?}");
        let grown = resident_bytes(place.server.pid()).saturating_sub(before);
        assert!(grown < GROWTH, "{grown} bytes for nothing");
    }
    // Of other kinds they are not legal, and no better in numbers.
    for kind in [ContentType::Handshake, ContentType::Alert] {
        let mut forger = place.forger(0);
        let bytes: Vec<u8> = (0..100).flat_map(|_| forger.record(kind, b"")).collect();
        forger.send_raw(&bytes);
        assert_ne!(forger.hear(usize::MAX).1, Some(0), "{kind:?}");
    }
    place.is_well();
    place.server.stop();
}

fn over_long_records_are_refused(engine: &str) {
    const PLAIN_MAX: usize = 16 * 1024;
    let place = Place::new(engine);
    for version in [0, 1] {
        // The longest there may be, and one byte more.
        let mut forger = place.forger(version);
        let ping = Frame::binary(vec![7; PLAIN_MAX - 8]).bytes();
        assert_eq!(ping.len(), PLAIN_MAX);
        forger.send(&ping);
        forger.hear(PLAIN_MAX - 4);
        forger.send(&vec![0; PLAIN_MAX + 1]);
        assert_eq!(forger.hear(usize::MAX).1, Some(RECORD_OVERFLOW));

        // Lengths that no record may have: nobody waits for their bytes (RFC 8446 section 5.2, RFC 5246 section 6.2.3).
        for length in [PLAIN_MAX + 2048 + 1, 0xffff] {
            let mut forger = place.forger(version);
            let length = (length as u16).to_be_bytes();
            forger.send_raw(&[23, 3, 3, length[0], length[1]]);
            let (_, alert) = forger.hear(usize::MAX);
            assert!(alert.is_some_and(|alert| alert != 0), "{length:?}: {alert:?}");
        }
    }
    // Version 1.3 allows 256 bytes less than its forerunner.
    let mut forger = place.forger(0);
    let length = (PLAIN_MAX as u16 + 257).to_be_bytes();
    forger.send_raw(&[&[23, 3, 3, length[0], length[1]][..], &[0xaa; PLAIN_MAX + 257]].concat());
    assert!(forger.hear(usize::MAX).1.is_some_and(|alert| alert != 0));
    drop(forger);
    place.is_well();
    place.server.stop();
}

/// A fatal alert ends the session; so do warnings without end.
fn alerts_end_a_session_whatever_they_say(engine: &str) {
    let place = Place::new(engine);
    for version in [0, 1] {
        for (level, number, count) in [(2, 40, 1), (2, 255, 1), (1, 90, 1000)] {
            let mut forger = place.forger(version);
            for _ in 0..count {
                let record = forger.record(ContentType::Alert, &[level, number]);
                forger.send_raw(&record);
            }
            // A server that is told so often may be gone before all is said; the end counts, not its manner.
            while let Ok(Some(_)) = forger.read() {}
        }
    }
    place.is_well();
    place.server.stop();
}

/// A second hello below an open session of TLS 1.2 is told no, and the session goes on; the next one is one too many. In
/// 1.3 there is no such thing at all.
fn renegotiation_is_refused_in_an_open_session(engine: &str) {
    let place = Place::new(engine);
    let again = hello(&mut place.client(1).begin(NAME))[5..].to_vec();
    let mut forger = place.forger(1);
    let record = forger.record(ContentType::Handshake, &again);
    forger.send_raw(&record);
    assert_eq!(forger.hear(1), (Vec::new(), Some(NO_RENEGOTIATION)));
    forger.send(&Frame::binary("as ever").bytes());
    assert_eq!(forger.hear(9).0, echoed(b"as ever"));
    let record = forger.record(ContentType::Handshake, &again);
    forger.send_raw(&record);
    // No close_notify, so that it is no orderly end; rustls has no alert for this.
    assert_eq!(forger.hear(usize::MAX), (Vec::new(), None));
    drop(forger);

    let mut forger = place.forger(0);
    let record = forger.record(ContentType::Handshake, &again);
    forger.send_raw(&record);
    assert_eq!(forger.hear(usize::MAX).1, Some(UNEXPECTED_MESSAGE));
    drop(forger);
    place.is_well();
    place.server.stop();
}
