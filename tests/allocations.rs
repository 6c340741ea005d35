//! The steady state asks for no memory: a million messages through the real parts of the server, on both kernels. Over TLS
//! the library asks, a known number of times for each record, and nobody else does. And where there is no memory for what is to
//! be recorded, that is lost and nothing else.
//!
//! A shard runs on a thread of its own, and an allocator that counts by thread tells what it asked for; what this test's
//! client and target ask for does not count. Owns its listener, its threads and its target, all on loopback, and ends
//! them.

#![allow(clippy::unwrap_used, reason = "whatever fails here fails the test, and its line says what it was")]

#[path = "allocations/counter.rs"]
mod counter;
#[path = "allocations/secure.rs"]
mod secure;
#[path = "support/settings.rs"]
mod settings;
#[path = "allocations/traffic.rs"]
mod traffic;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use websplice::config::Config;
use websplice::engine::{Engine, Kernel};
use websplice::limits::{CHUNK_CLASSES, RECORD_BUFFER_BYTES_DEFAULT};
use websplice::observe::log::Log;
use websplice::poll::Poll;
use websplice::pool::Pool;
use websplice::shard::balance::Balance;
use websplice::shard::mailbox::{Mailbox, Note};
use websplice::shard::sources::Sources;
use websplice::shard::tap::Taps;
use websplice::shard::{Setup, Shard};
use websplice::sys::socket::Listener;
use websplice::tape::{self, name::Pattern};
use websplice::target::Target;
use websplice::timers::Time;
use websplice::tls::{self, renewal::Shelf};

#[global_allocator]
static ALLOCATOR: counter::Counter = counter::Counter;

/// Messages that the client of one case sends; four cases make the million.
const MESSAGES: usize = 250_000;
/// Messages that a client of a case over TLS sends, one behind the other.
const SECURE_MESSAGES: usize = 20_000;
/// What rustls asks for when it opens a record, and when it seals one. None of it can be avoided from outside.
const OPENED: u64 = 1;
/// See `OPENED`.
const SEALED: u64 = 1;
/// Where memory is scarce, the most that a shard gets at once: less than many a receive brings.
const SCARCE_BYTES: usize = 16 * 1024;
/// How long anything is tried that chance has a part in.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a shard's turn waits at most, so that it ends soon after the last byte.
const TURN: Duration = Duration::from_millis(5);

/// What a shard's thread tells.
#[derive(Default)]
struct Told {
    allocations: AtomicU64,
    turns: AtomicU64,
    /// It is told: from now on memory is scarce.
    scarce: AtomicBool,
}

impl Told {
    /// What has been allocated when everything that was sent before this call is done with.
    fn settled(&self) -> u64 {
        let turns = self.turns.load(Ordering::Acquire);
        while self.turns.load(Ordering::Acquire) < turns + 3 {
            thread::sleep(TURN);
        }
        self.allocations.load(Ordering::Acquire)
    }
}

fn config(target: Target, tls: tls::Options) -> Config {
    Config { tls, ..settings::config(Some(target)) }
}

/// Runs a shard until its mailbox says stop.
fn run<K: Kernel>(kernel: K, config: Config, taps: Taps, mailbox: Mailbox, told: &Told) {
    let shelf = Shelf::load(config.tls.clone()).unwrap();
    let setup = Setup {
        number: 0,
        listeners: 1,
        config: Arc::new(config),
        log: Log::silent(),
        balance: Balance::new(1, 16),
        sources: Sources::default(),
        shelf: Some(shelf),
        taps,
        mailbox,
        desk: Box::new(|_, job| panic!("no case needs a helper: {job:?}")),
    };
    let engine = Engine::new(kernel, Pool::new(64 * 1024 * 1024));
    // Which chunks are needed is up to the network, so the shelves are filled before.
    let chunks = CHUNK_CLASSES.map(|size| [(); 4].map(|()| engine.pool().chunk(size)));
    drop(chunks);
    let mut shard = Shard::new(engine, setup);
    let began = Instant::now();
    while !shard.is_done() {
        let clock = || (Time(u64::try_from(began.elapsed().as_millis()).expect("a test is short")), 0);
        shard.turn(Some(TURN), clock).expect("the kernel can be waited for");
        if told.scarce.load(Ordering::Acquire) {
            counter::refuse_above(SCARCE_BYTES);
        }
        told.allocations.store(counter::count(), Ordering::Release);
        told.turns.fetch_add(1, Ordering::Release);
    }
}

/// Starts a shard on the kernel that `make` makes; tells where it listens.
fn shard<K: Kernel + 'static>(
    make: fn(Vec<Arc<Listener>>) -> std::io::Result<K>,
    config: Config,
    taps: Taps,
) -> (SocketAddr, Running) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let told = Arc::new(Told::default());
    let (send, mailboxes) = std::sync::mpsc::channel();
    let thread = thread::spawn({
        let told = told.clone();
        move || {
            let kernel = make(vec![Arc::new(Listener::own(listener.into()))]).unwrap();
            let mailbox = Mailbox::new(kernel.waker());
            send.send(mailbox.clone()).unwrap();
            run(kernel, config, taps, mailbox, &told);
        }
    });
    (address, Running { told, mailbox: mailboxes.recv().unwrap(), thread })
}

/// A shard on its thread.
struct Running {
    told: Arc<Told>,
    mailbox: Mailbox,
    thread: JoinHandle<()>,
}

impl Running {
    fn stop(self) {
        self.mailbox.put(Note::Stop);
        self.thread.join().unwrap();
    }
}

fn tcp(target: SocketAddr) -> Target {
    Target::Tcp { host: "127.0.0.1".into(), port: websplice::target::Port::Number(target.port()) }
}

/// Plays all cases on the kernel that `make` makes.
fn measure<K: Kernel + 'static>(make: fn(Vec<Arc<Listener>>) -> std::io::Result<K>, engine: &str) {
    let (target, _echo) = traffic::target();
    for target in [Target::Echo, tcp(target)] {
        let name = target.to_string();
        let (address, shard) = shard(make, config(target, tls::Options::default()), Taps::default());
        let mut client = traffic::Client::open(TcpStream::connect(address).unwrap());
        client.exchange(MESSAGES / 20);
        let before = shard.told.settled();
        client.exchange(MESSAGES);
        assert_eq!(shard.told.settled() - before, 0, "allocations in {MESSAGES} messages to {name}");
        drop(client);
        shard.stop();
    }
    let identity = secure::Identity::new(engine);
    let (target, _echo) = identity.target();
    // There and back: a record is opened and one sealed; with TLS to the target, two of each.
    for (target, to_target, legs) in [(Target::Echo, false, 1), (tcp(target), true, 2)] {
        let name = target.to_string();
        let (address, shard) = shard(make, config(target, identity.options(to_target)), Taps::default());
        let mut client = identity.client(TcpStream::connect(address).unwrap());
        client.exchange(SECURE_MESSAGES / 20);
        let before = shard.told.settled();
        client.exchange(SECURE_MESSAGES);
        let expected = legs * (OPENED + SEALED) * SECURE_MESSAGES as u64;
        assert_eq!(
            shard.told.settled() - before,
            expected,
            "for {SECURE_MESSAGES} messages over TLS to {name}"
        );
        drop(client);
        shard.stop();
    }
}

/// Bytes of sessions that were not recorded.
fn lost(taps: &Taps) -> u64 {
    let told = taps.recorder().unwrap().to_string();
    told.rsplit_once(" record_bytes_lost=").unwrap().1.parse().unwrap()
}

/// Records a session whose shard gets no large block any more: whatever a receive brings passes.
fn record<K: Kernel + 'static>(make: fn(Vec<Arc<Listener>>) -> std::io::Result<K>, engine: &str) {
    let directory = std::env::temp_dir().join(format!("websplice-scarce-{engine}-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let record = tape::Options {
        directory: directory.clone(),
        base: "r".into(),
        pattern: Pattern::default(),
        unique: false,
        file_bytes_max: None,
        buffer_bytes: RECORD_BUFFER_BYTES_DEFAULT,
    };
    let (target, echo) = traffic::target();
    let config = Config { record: Some(record), ..config(tcp(target), tls::Options::default()) };
    let taps = Taps::start(&config, &Log::silent()).unwrap();
    let (address, shard) = shard(make, config, taps.clone());
    let mut client = traffic::Client::open(TcpStream::connect(address).unwrap());
    client.exchange(MESSAGES / 500);
    let until = Instant::now() + PATIENCE;
    let before = lost(&taps);
    shard.told.scarce.store(true, Ordering::Release);
    shard.told.settled();
    while lost(&taps) == before {
        assert!(Instant::now() < until, "no receive brought as much");
        client.exchange(MESSAGES / 100);
    }
    drop(client);
    shard.stop();
    echo.join().unwrap();
    taps.finish(&Log::silent());
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn poll_loses_what_it_cannot_keep_for_a_recording() {
    record(Poll::new, "poll");
}

#[test]
fn poll_allocates_nothing_for_a_message() {
    measure(Poll::new, "poll");
}

#[cfg(target_os = "linux")]
#[test]
fn ring_allocates_nothing_for_a_message() {
    match websplice::ring::supported() {
        Ok(()) => measure(websplice::ring::Ring::new, "ring"),
        Err(error) => eprintln!("not measured: io_uring is refused here: {error}"),
    }
}

#[cfg(target_os = "linux")]
#[test]
fn ring_loses_what_it_cannot_keep_for_a_recording() {
    match websplice::ring::supported() {
        Ok(()) => record(websplice::ring::Ring::new, "ring"),
        Err(error) => eprintln!("not tried: io_uring is refused here: {error}"),
    }
}
