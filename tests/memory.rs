//! Memory that runs out under a whole shard, on both kernels: who is here goes on, who comes waits, and what others gave back is
//! found although nobody comes and nobody goes.
//!
//! The shard runs on the test's own thread, over sockets of the loopback, by a clock that the test moves on; the system is one
//! that gives no more than the test says.

#[path = "support/settings.rs"]
mod settings;

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use websplice::config::{Config, Timing};
use websplice::engine::{Engine, Kernel};
use websplice::limits::{ACCEPT_PAUSE_MS, ACCEPTS_PER_TURN, BUFFER_MEMORY_MIN};
use websplice::observe::log::{Kept, Level, Log};
use websplice::poll::Poll;
use websplice::pool::Pool;
use websplice::shard::balance::Balance;
use websplice::shard::mailbox::{Mailbox, Note};
use websplice::shard::sources::Sources;
use websplice::shard::tap::Taps;
use websplice::shard::{Setup, Shard};
use websplice::sys::socket::Listener;
use websplice::target::Target;
use websplice::timers::Time;

/// How long anything here is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// How far the clock goes on with each turn.
const STEP: Duration = Duration::from_millis(10);
/// How long a turn waits at most.
const TURN: Duration = Duration::from_millis(1);
const SESSIONS: usize = 100;

/// A way to make a kernel over listeners.
type Make<K> = fn(Vec<Arc<Listener>>) -> io::Result<K>;

fn config() -> Config {
    Config {
        timing: Timing { heartbeat: Duration::ZERO, ..Timing::default() },
        sessions_max: Some(SESSIONS),
        ..settings::config(Some(Target::Echo))
    }
}

/// A shard that echoes.
struct Stage<K: Kernel> {
    shard: Shard<K>,
    mailbox: Mailbox,
    /// The most bytes that the system gives at once.
    gives: Rc<Cell<usize>>,
    said: Kept,
    addresses: Vec<SocketAddr>,
    now: Time,
}

/// A client, and what it has heard.
struct Client {
    wire: TcpStream,
    heard: Vec<u8>,
}

impl Client {
    fn say(&mut self, bytes: &[u8]) {
        self.wire.write_all(bytes).expect("the kernel takes it");
    }

    /// What it has heard by now.
    fn heard(&mut self) -> &[u8] {
        let mut bytes = [0; 64 * 1024];
        loop {
            match self.wire.read(&mut bytes) {
                Ok(0) => return &self.heard,
                Ok(count) => self.heard.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return &self.heard,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn is_let_in(&mut self) -> bool {
        self.heard().starts_with(b"HTTP/1.1 101 ")
    }

    /// Whether it was sent away for want of memory.
    fn is_sent_away(&mut self) -> bool {
        self.heard().ends_with(b"\x88\x16\x03\xf5Out of buffer memory")
    }
}

/// A frame of `len` zeros, more than 125, masked with zeros, whose first byte is `first`.
fn frame(first: u8, len: u16) -> Vec<u8> {
    let head = [first, 0x80 | 126].into_iter().chain(len.to_be_bytes()).chain([0; 4]);
    head.chain(std::iter::repeat_n(0, len.into())).collect()
}

/// The beginning of a message, and its end.
const BEGINNING: u8 = 0x02;
const END: u8 = 0x80;

impl<K: Kernel> Stage<K> {
    fn new(make: Make<K>) -> Stage<K> {
        let listeners: Vec<_> = (0..2)
            .map(|_| {
                let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
                listener.set_nonblocking(true).expect("it is ours");
                listener
            })
            .collect();
        let address = |listener: &TcpListener| listener.local_addr().expect("it is bound");
        let addresses = listeners.iter().map(address).collect();
        let own = |listener: TcpListener| Arc::new(Listener::own(listener.into()));
        let kernel = make(listeners.into_iter().map(own).collect()).expect("it stands");
        let gives = Rc::new(Cell::new(usize::MAX));
        let most = gives.clone();
        let system = move |bytes| (bytes <= most.get()).then(|| vec![0; bytes].into_boxed_slice());
        let pool = Pool::over(BUFFER_MEMORY_MIN, system);
        pool.set_aside();
        let mailbox = Mailbox::new(kernel.waker());
        let (log, said) = Log::kept(Level::Warn);
        let setup = Setup {
            number: 0,
            listeners: 2,
            config: Arc::new(config()),
            log,
            balance: Balance::new(1, SESSIONS),
            sources: Sources::default(),
            shelf: None,
            taps: Taps::default(),
            mailbox: mailbox.clone(),
            desk: Box::new(|_, job| panic!("no case needs a helper: {job:?}")),
        };
        let shard = Shard::new(Engine::new(kernel, pool), setup);
        Stage { shard, mailbox, gives, said, addresses, now: Time::default() }
    }

    fn turn(&mut self) {
        self.now = self.now + STEP;
        let now = self.now;
        self.shard.turn(Some(TURN), || (now, 1_700_000_000)).expect("the kernel can be waited for");
    }

    /// Goes on until `done` says so.
    fn until(&mut self, what: &str, mut done: impl FnMut(&mut Stage<K>) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < until, "{what}");
            self.turn();
        }
    }

    /// Lets so much time of the clock pass.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.turn();
        }
    }

    /// Somebody who asks to be let in.
    fn comer(&mut self, listener: usize) -> Client {
        let wire = TcpStream::connect(self.addresses[listener]).expect("it listens");
        wire.set_nonblocking(true).expect("it is ours");
        let mut client = Client { wire, heard: Vec::new() };
        client.say(
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        );
        client
    }

    /// The same who is let in.
    fn client(&mut self) -> Client {
        let mut client = self.comer(0);
        self.until("a client is let in", |_| client.is_let_in());
        client
    }

    fn lacks(&mut self) -> bool {
        self.shard.engine().pool().lacks()
    }

    /// The system gives nothing more, which a client finds out.
    fn runs_out(&mut self) -> Client {
        let mut victim = self.client();
        self.gives.set(0);
        victim.say(&frame(BEGINNING, 5_000));
        self.until("a message finds no memory", |_| victim.is_sent_away());
        assert!(self.lacks());
        victim
    }

    fn leave(mut self, clients: Vec<Client>) {
        drop(clients);
        self.mailbox.put(Note::Stop);
        self.until("all is over", |stage| stage.shard.is_done());
        assert_eq!((self.shard.counters().panics, self.shard.engine().pool().in_use()), (0, 0));
    }
}

/// Accepts that were armed before memory went bring at most one client each, and that one is begun with when it is back.
fn newcomers_wait<K: Kernel>(make: Make<K>) {
    let mut stage = Stage::new(make);
    let mut here = stage.client();
    let victim = stage.runs_out();
    let before = stage.shard.counters().accepted;
    let mut comers: Vec<_> = (0..4 * ACCEPTS_PER_TURN).map(|at| stage.comer(at % 2)).collect();
    stage.pass(Duration::from_secs(2));
    assert!(comers.iter_mut().all(|comer| comer.heard().is_empty()), "nobody is let in");
    assert_eq!(stage.shard.counters().accepted, before);
    assert!(stage.shard.counters().accepts_failed > 1);
    let lines: Vec<_> = std::iter::from_fn(|| stage.said.pop()).map(|(_, line)| line).collect();
    let told = lines.iter().filter(|line| line.starts_with("accept shard=0 failures="));
    assert!((1..=3).contains(&told.clone().count()), "now and then: {lines:?}");
    for part in ["error=\"out of memory\"", "ulimit -v", "ulimit -d", "--max-sessions"] {
        assert!(told.clone().all(|line| line.contains(part)), "{lines:?}");
    }
    assert!(!lines.iter().any(|line| line.contains("places")), "places are free: {lines:?}");
    // Who is here goes on.
    let heard = here.heard().len();
    here.say(&frame(0x82, 300));
    stage.until("who is here goes on", |_| here.heard().len() == heard + 304);
    stage.gives.set(usize::MAX);
    for comer in &mut comers {
        stage.until("everybody is let in", |_| comer.is_let_in());
    }
    assert!(!stage.lacks());
    let clients = comers.into_iter().chain([here, victim]).collect();
    stage.leave(clients);
}

/// What is held here does not move, and all who come in are let in already: nothing tells that others gave memory back.
fn memory_that_others_gave_back_is_found<K: Kernel>(make: Make<K>) {
    let mut stage = Stage::new(make);
    let mut holder = stage.client();
    holder.say(&frame(BEGINNING, 200));
    stage.until("a message is held", |stage| stage.shard.engine().pool().in_use() > 0);
    let victim = stage.runs_out();
    // Who was sent away is waited for no longer, and what came back here has been counted in vain.
    drop(victim);
    stage.until("one is left", |stage| stage.shard.sessions() == 1);
    stage.pass(Duration::from_millis(3 * ACCEPT_PAUSE_MS));
    assert!(stage.lacks());
    stage.gives.set(usize::MAX);
    stage.pass(Duration::from_millis(3 * ACCEPT_PAUSE_MS));
    assert!(!stage.lacks(), "it is sought again");
    let heard = holder.heard().len();
    holder.say(&frame(END, 20_000));
    stage.until("the message comes back whole", |_| holder.heard().len() == heard + 20_200 + 4);
    stage.leave(vec![holder]);
}

/// A shard that has nothing else to do does not sleep for as long as nobody comes.
fn a_shard_looks_again_by_itself<K: Kernel>(make: Make<K>) {
    let mut stage = Stage::new(make);
    let mut holder = stage.client();
    holder.say(&frame(BEGINNING, 200));
    let victim = stage.runs_out();
    drop(victim);
    stage.until("one is left", |stage| stage.shard.sessions() == 1);
    stage.gives.set(usize::MAX);
    let (began, before) = (Instant::now(), stage.now);
    let clock = || (before + began.elapsed(), 1_700_000_000);
    while stage.shard.engine().pool().lacks() {
        assert!(began.elapsed() < PATIENCE, "it sleeps");
        stage.shard.turn(Some(2 * PATIENCE), clock).expect("the kernel can be waited for");
    }
    stage.now = before + began.elapsed();
    stage.leave(vec![holder]);
}

#[test]
fn poll_lets_newcomers_wait() {
    newcomers_wait(Poll::new);
}

#[test]
fn poll_finds_memory_that_others_gave_back() {
    memory_that_others_gave_back_is_found(Poll::new);
    a_shard_looks_again_by_itself(Poll::new);
}

#[cfg(target_os = "linux")]
mod ring {
    use super::*;
    use websplice::ring::{Ring, supported};

    fn is_here() -> bool {
        let refused = supported().err();
        if let Some(error) = &refused {
            eprintln!("not played: io_uring is refused here: {error}");
        }
        refused.is_none()
    }

    #[test]
    fn ring_lets_newcomers_wait() {
        if is_here() {
            newcomers_wait(Ring::new);
        }
    }

    #[test]
    fn ring_finds_memory_that_others_gave_back() {
        if is_here() {
            memory_that_others_gave_back_is_found(Ring::new);
            a_shard_looks_again_by_itself(Ring::new);
        }
    }
}
