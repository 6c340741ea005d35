//! The load: one thread that plays all clients and all targets of a measurement.
//!
//! It owns the sockets, the waiting and the counting. Clients and targets share one loop, so that the load core never
//! switches between threads; each readiness event leads to one receive or one send, which is fair and keeps every
//! buffer in the core's own cache. It never measures CPU time and knows no peers: it connects to a port and listens on
//! another, and whether somebody stands between the two is not its business.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use rustls::ClientConfig;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::client::Client;
use crate::rows::Kind;
use crate::schedule::Schedule;
use crate::shared::{Fate, Link, Shared};
use crate::sys;
use crate::target::Target;

/// Queue of the target's listener: as many as the kernel allows.
const BACKLOG: i32 = 4096;
/// Most events taken from the kernel in one wait.
const EVENTS: usize = 256;
/// The same where the clock says what is sent: few, so that it is looked at often.
const EVENTS_BY_THE_CLOCK: usize = 8;
/// Token of the listener; slots count from zero.
const LISTENER: u64 = u64::MAX;
/// Most short sessions in one window. Each leaves its ports in TIME_WAIT, on the client's leg or the target's; beyond about
/// 14,000, half of the usual range, `connect` has to search for a free one and the search is what would be measured.
const SESSIONS_MAX: u64 = 8000;
/// How long one wait may last, in milliseconds, so that deadlines and interrupts are seen.
const WAIT_MS: u16 = 20;
/// Most scheduled sends between two looks at what came, so that a burst does not hold up the receipts.
const BEATS_MAX: usize = 64;
/// Most clients of one source address to one port: well below the usual range of ports, beyond half of which the kernel
/// searches.
const PORTS_EACH: usize = 10_000;

#[derive(Debug)]
enum Side {
    Client(Client),
    Target(Target),
}

/// All sockets of one measurement.
#[derive(Debug)]
pub struct Load {
    /// What clients and targets share.
    pub shared: Shared,
    listener: Socket,
    congestion: Option<&'static [u8]>,
    slots: Vec<Option<(Link, Side)>>,
    free: Vec<usize>,
    clients: usize,
    /// How many clients were ever connected.
    dialled: usize,
    /// Slots of clients and of targets, each in the order of their coming, where sessions last.
    actors: [Vec<usize>; 2],
    /// What was under way when counting began anew.
    under_way: i64,
}

impl Load {
    /// A load with its target listening and no client yet. `websocket` and the port to connect to come with
    /// [`Load::aim`], when the peer is up.
    pub fn new(kind: Kind, message: usize) -> io::Result<Self> {
        let congestion = sys::unpaced_congestion_control();
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        // Accepted sockets inherit both settings, so they are made once, before listening.
        listener.set_tcp_nodelay(true)?;
        if let Some(name) = congestion {
            listener.set_tcp_congestion(name)?;
        }
        listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        listener.listen(BACKLOG)?;
        listener.set_nonblocking(true)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
        let shared = Shared::new(kind, message, epoll);
        Ok(Self {
            shared,
            listener,
            congestion,
            slots: Vec::new(),
            free: Vec::new(),
            clients: 0,
            dialled: 0,
            actors: [Vec::new(), Vec::new()],
            under_way: 0,
        })
    }

    /// The port of the target.
    pub fn target_port(&self) -> u16 {
        let address = self.listener.local_addr().ok().and_then(|address| address.as_socket_ipv4());
        address.expect("the listener is bound to an IPv4 address").port()
    }

    /// Targets are found at the Unix socket `path` from now on, which does not exist yet, and on TCP no more.
    pub fn listen_at(&mut self, path: &Path) -> Result<(), String> {
        let told = |error: io::Error| format!("cannot listen at {}: {error}", path.display());
        let listener = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None).map_err(told)?;
        listener.bind(&SockAddr::unix(path).map_err(told)?).map_err(told)?;
        listener.listen(BACKLOG).map_err(told)?;
        let event = EpollEvent::new(EpollFlags::EPOLLIN, LISTENER);
        self.shared.epoll.add(&listener, event).map_err(|error| format!("epoll: {error}"))?;
        // The old one is closed and so leaves the set.
        self.listener = listener;
        Ok(())
    }

    /// Clients connect to `port` from now on, asking for `path` if they speak WebSocket, with TLS or without.
    pub fn aim(&mut self, port: u16, path: Option<&'static str>, tls: Option<Arc<ClientConfig>>) {
        self.shared.port = port;
        self.shared.websocket = path.is_some();
        self.shared.path = path.unwrap_or_default();
        self.shared.tls = tls;
    }

    /// Starts to connect `count` more clients.
    pub fn connect(&mut self, count: usize) -> Result<(), String> {
        for _ in 0..count {
            let socket = self.dial().map_err(|error| format!("cannot connect: {error}"))?;
            let client = Client::new();
            let slot = self.insert(socket, Side::Client(client), EpollFlags::EPOLLOUT)?;
            self.clients += 1;
            self.dialled += 1;
            if self.shared.kind != Kind::Setup {
                self.actors[0].push(slot);
            }
        }
        Ok(())
    }

    fn dial(&self) -> io::Result<Socket> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking().cloexec(), None)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(name) = self.congestion {
            socket.set_tcp_congestion(name)?;
        }
        // One address has not ports enough for very many sessions.
        let address = self.dialled / PORTS_EACH;
        if address > 0 && self.shared.kind != Kind::Setup {
            sys::bind_without_port(&socket, Ipv4Addr::new(127, 0, 0, 1 + address.min(250) as u8))?;
        }
        match socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, self.shared.port)).into()) {
            Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => Err(error),
            _ => Ok(socket),
        }
    }

    fn insert(&mut self, socket: Socket, side: Side, interest: EpollFlags) -> Result<usize, String> {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let event = EpollEvent::new(interest, slot as u64);
        self.shared.epoll.add(&socket, event).map_err(|error| format!("epoll: {error}"))?;
        self.slots[slot] = Some((Link::new(socket, slot as u64, interest), side));
        Ok(slot)
    }

    /// Clients that have a socket.
    pub fn clients(&self) -> usize {
        self.clients
    }

    /// Lets data flow: targets that send begin to, and so do the first `active` clients.
    pub fn go(&mut self, active: usize) -> Result<(), String> {
        self.shared.flowing = true;
        let Self { slots, actors: [clients, targets], shared, .. } = self;
        for &slot in clients.iter().take(active).chain(targets.iter()) {
            match slots[slot].as_mut() {
                Some((link, Side::Client(client))) => client.go(link, shared)?,
                Some((link, Side::Target(target))) => target.go(link, shared)?,
                None => {}
            }
        }
        Ok(())
    }

    /// Forgets what was counted, but for what is under way.
    pub fn reset(&mut self) {
        self.under_way += self.shared.count.sent as i64 - self.shared.count.received as i64;
        self.shared.reset();
    }

    /// Bytes, or messages, that were sent and have not arrived: what count counts of the row.
    pub fn outstanding(&self) -> i64 {
        self.under_way + self.shared.count.sent as i64 - self.shared.count.received as i64
    }

    /// Runs for `span`, or until so many short sessions have ended that more would run out of ports.
    pub fn run_for(&mut self, span: Duration) -> Result<(), String> {
        let start = Instant::now();
        while start.elapsed() < span && self.shared.count.sessions < SESSIONS_MAX {
            self.turn()?;
        }
        Ok(())
    }

    /// Runs until `done`, or fails naming `what` after `limit`.
    pub fn run_until(
        &mut self,
        what: &str,
        limit: Duration,
        mut done: impl FnMut(&mut Self) -> Result<bool, String>,
    ) -> Result<(), String> {
        let start = Instant::now();
        while !done(self)? {
            if start.elapsed() > limit {
                let Shared { opened, accepted, .. } = self.shared;
                return Err(format!(
                    "{what}: not within {limit:?} ({opened} open, {accepted} at the target)"
                ));
            }
            self.turn()?;
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<(), String> {
        if sys::interrupted() {
            return Err("interrupted".into());
        }
        let mut events = [EpollEvent::empty(); EVENTS];
        // By the clock: what is due must wait neither for a wake-up of ours nor for much else.
        let (patience, most) = if self.beat()? {
            (EpollTimeout::ZERO, EVENTS_BY_THE_CLOCK)
        } else {
            (EpollTimeout::from(WAIT_MS), EVENTS)
        };
        let count = match self.shared.epoll.wait(&mut events[..most], patience) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(error) => return Err(format!("epoll: {error}")),
        };
        // A slot freed in this turn may still have an event further on, so it is given out again only afterwards.
        let mut freed = Vec::new();
        let mut ended = 0;
        for event in &events[..count] {
            if event.data() == LISTENER {
                self.accept()?;
                continue;
            }
            let slot = event.data() as usize;
            let Some((link, side)) = self.slots[slot].as_mut() else { continue };
            let fate = match side {
                Side::Client(client) => client.handle(link, event.events(), &mut self.shared),
                Side::Target(target) => target.handle(link, event.events(), &mut self.shared),
            }?;
            if fate == Fate::Close {
                ended += usize::from(matches!(side, Side::Client(_)));
                self.slots[slot] = None;
                freed.push(slot);
            }
        }
        self.free.append(&mut freed);
        self.clients -= ended;
        if self.shared.kind == Kind::Setup && self.shared.flowing {
            self.connect(ended)?;
        }
        Ok(())
    }

    /// Has the clock end now: only what is due already is still to be sent.
    pub fn end_the_clock(&mut self) {
        let now = Instant::now();
        for schedule in [&mut self.shared.inputs, &mut self.shared.pictures].into_iter().flatten() {
            schedule.end_at(now);
        }
    }

    /// Whether nothing is due any more by the clock, or there is none.
    pub fn is_clock_over(&self) -> bool {
        [&self.shared.inputs, &self.shared.pictures].into_iter().flatten().all(Schedule::is_over)
    }

    /// Sends what is due by the clock; returns whether there is a clock to look at.
    fn beat(&mut self) -> Result<bool, String> {
        let Self { slots, actors: [clients, targets], shared, .. } = self;
        if !shared.flowing || shared.inputs.is_none() && shared.pictures.is_none() {
            return Ok(false);
        }
        let now = Instant::now();
        for _ in 0..BEATS_MAX {
            let Some((number, actor)) = shared.inputs.as_mut().and_then(|schedule| schedule.due(now)) else {
                break;
            };
            if let Some((link, Side::Client(client))) = slots[clients[actor]].as_mut() {
                client.send_number(number, link, shared)?;
            }
        }
        for _ in 0..BEATS_MAX {
            let Some((number, actor)) = shared.pictures.as_mut().and_then(|schedule| schedule.due(now))
            else {
                break;
            };
            if let Some((link, Side::Target(target))) = slots[targets[actor]].as_mut() {
                target.send_picture(number, link, shared)?;
            }
        }
        Ok(true)
    }

    fn accept(&mut self) -> Result<(), String> {
        loop {
            match self.listener.accept() {
                Ok((socket, _)) => {
                    socket.set_nonblocking(true).map_err(|error| format!("accept: {error}"))?;
                    self.shared.accepted += 1;
                    let target = Target::default();
                    let interest = target.interest(&self.shared);
                    let slot = self.insert(socket, Side::Target(target), interest)?;
                    if self.shared.kind != Kind::Setup {
                        self.actors[1].push(slot);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(format!("accept: {error}")),
            }
        }
    }
}
