//! One measurement: one row, one peer, one round.
//!
//! It starts the peer, opens the sessions, lets the load warm up, reads the meters before and after the window, drains
//! and checks the totals, and ends everything. It never compares peers and never prints.

use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::cores;
use crate::load::Load;
use crate::peers::{Peer, Programs, Running};
use crate::procfs;
use crate::rows::{Kind, Row, Secure};
use crate::tls;

/// How long opening all sessions may take.
const OPEN_LIMIT: Duration = Duration::from_secs(60);
/// How long the bytes under way may take to arrive when the senders have stopped.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);
/// Longest warm-up of short sessions: they use up ports as well.
const SHORT_WARM_UP: Duration = Duration::from_millis(200);
/// Sessions of the idle row that are being opened at once.
const OPENING_MAX: usize = 32;
/// How long an idle peer may take to come to rest before its memory is read.
const REST: Duration = Duration::from_millis(1000);
/// Least share of a window's handshakes that must be of the row's kind. A resumption needs a ticket, and at times there is
/// none left.
const KIND_SHARE_MIN: f64 = 0.98;

/// How long things run.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Before the window, with data flowing.
    pub warm_up: Duration,
    /// The window.
    pub window: Duration,
    /// Sessions of the idle row.
    pub idle_sessions: usize,
}

/// What one measurement found. Times in seconds, of the window alone.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Sample {
    /// Length of the window.
    pub seconds: f64,
    /// Bytes, messages or sessions in the window; of the idle row, the sessions held.
    pub work: f64,
    /// CPU time of the peer's process tree.
    pub peer_cpu: f64,
    /// CPU time of the peers' core's softirq thread.
    pub softirq_cpu: f64,
    /// Time in which the peers' core was busy for anybody.
    pub peer_core: f64,
    /// CPU time of the load.
    pub load_cpu: f64,
    /// Round trip, or set-up to echo, in microseconds: median and 99th percentile. Closed loop, so under load only.
    pub latency_p50: f64,
    /// See `latency_p50`.
    pub latency_p99: f64,
    /// Short sessions that ended by a reset.
    pub resets: u64,
    /// Memory per idle session in bytes, shared pages divided among those who share them.
    pub pss_each: f64,
    /// Memory per idle session in bytes, shared pages counted for everybody.
    pub rss_each: f64,
}

/// What the meters show at one moment.
struct Meters {
    at: Instant,
    peer: f64,
    softirq: f64,
    core: f64,
    load: f64,
}

impl Meters {
    fn read(peer: Option<&Running>) -> Self {
        let core = cores::chosen().peer;
        Self {
            at: Instant::now(),
            peer: peer.map_or(0.0, |peer| procfs::cpu_seconds(peer.group)),
            softirq: procfs::softirq_thread(core).map_or(0.0, procfs::thread_seconds),
            core: procfs::core_seconds(core),
            load: procfs::own_cpu_seconds(),
        }
    }

    fn since(&self, before: &Self) -> Sample {
        Sample {
            seconds: (self.at - before.at).as_secs_f64(),
            peer_cpu: self.peer - before.peer,
            softirq_cpu: self.softirq - before.softirq,
            peer_core: self.core - before.core,
            load_cpu: self.load - before.load,
            ..Sample::default()
        }
    }
}

/// Runs one measurement from start to end.
pub fn measure(row: &Row, peer: Peer, programs: &Programs, pace: &Pace) -> Result<Sample, String> {
    let mut load = Load::new(row.kind).map_err(|error| format!("cannot set up the load: {error}"))?;
    let target = load.target_port();
    let port = if peer == Peer::None { target } else { free_port()? };
    let running = Running::start(peer, programs, row.secure.map(|secure| secure.key), port, target)?;
    let tls = row.secure.map(|secure| tls::client(&programs.scratch, secure)).transpose()?;
    load.aim(port, peer.websocket(), tls);
    let result = match row.kind {
        Kind::Idle => hold(&mut load, running.as_ref(), peer.idle_sessions(pace.idle_sessions)),
        Kind::Setup => come_and_go(&mut load, running.as_ref(), row, pace),
        Kind::Down | Kind::Up | Kind::Echo => stream(&mut load, running.as_ref(), row, pace),
    };
    result.map_err(|error| match &running {
        Some(running) if error != "interrupted" => format!("{error}; it last said: {}", running.last_words()),
        _ => error,
    })
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    listener.map(|address| address.port()).map_err(|error| format!("no free port: {error}"))
}

/// Rows whose sessions are opened once and then carry data.
fn stream(load: &mut Load, peer: Option<&Running>, row: &Row, pace: &Pace) -> Result<Sample, String> {
    load.connect(row.sessions)?;
    let wanted = row.sessions;
    let open = |load: &mut Load| Ok(load.shared.opened == wanted && load.shared.accepted == wanted);
    load.run_until("opening the sessions", OPEN_LIMIT, open)?;
    load.go()?;
    load.run_for(pace.warm_up)?;
    // What is in flight at the window's two edges is about the same; the totals of the whole run are compared below.
    let (sent, received) = (load.shared.count.sent, load.shared.count.received);
    let mut sample = window(load, peer, pace.window)?;
    let count = load.shared.count;
    sample.work = if row.kind == Kind::Echo { count.messages as f64 } else { count.received as f64 };
    load.shared.flowing = false;
    if row.kind != Kind::Echo {
        let missing = |load: &Load| sent + load.shared.count.sent - received - load.shared.count.received;
        load.run_until("draining", DRAIN_LIMIT, |load| Ok(missing(load) == 0))
            .map_err(|error| format!("{error}; {} bytes that were sent did not arrive", missing(load)))?;
    }
    Ok(sample)
}

/// The row whose sessions are short.
fn come_and_go(load: &mut Load, peer: Option<&Running>, row: &Row, pace: &Pace) -> Result<Sample, String> {
    load.shared.flowing = true;
    load.connect(row.sessions)?;
    load.run_for(pace.warm_up.min(SHORT_WARM_UP))?;
    if row.secure.is_some_and(|secure| secure.resumed) {
        // Those who came first had no ticket; they are to be gone.
        let first = 2 * row.sessions as u64;
        load.run_until("the first tickets", OPEN_LIMIT, |load| Ok(load.shared.count.sessions >= first))?;
    }
    let mut sample = window(load, peer, pace.window)?;
    sample.work = load.shared.count.sessions as f64;
    sample.resets = load.shared.count.resets;
    if let Some(Secure { resumed, .. }) = row.secure {
        let count = load.shared.count;
        let so = if resumed { count.resumed } else { count.secured - count.resumed };
        if (so as f64) < KIND_SHARE_MIN * count.secured as f64 {
            let word = if resumed { "resumed" } else { "full" };
            return Err(format!("only {so} of {} handshakes were {word}", count.secured));
        }
    }
    load.shared.flowing = false;
    load.run_until("ending the last sessions", DRAIN_LIMIT, |load| Ok(load.clients() == 0))?;
    Ok(sample)
}

fn window(load: &mut Load, peer: Option<&Running>, length: Duration) -> Result<Sample, String> {
    load.reset();
    let before = Meters::read(peer);
    load.run_for(length)?;
    let after = Meters::read(peer);
    let mut sample = after.since(&before);
    if peer.is_some() && sample.peer_cpu == 0.0 {
        return Err("the peer did not run at all in the window".into());
    }
    let micros = |quantile| load.shared.latency.value_at_quantile(quantile) as f64 / 1e3;
    (sample.latency_p50, sample.latency_p99) = (micros(0.5), micros(0.99));
    Ok(sample)
}

/// The row whose sessions rest.
fn hold(load: &mut Load, peer: Option<&Running>, wanted: usize) -> Result<Sample, String> {
    let memory = || peer.map_or_else(procfs::Memory::default, |peer| procfs::memory(peer.group));
    load.run_for(REST / 2)?;
    let (before, start) = (memory(), Meters::read(peer));
    load.run_until("opening the idle sessions", OPEN_LIMIT, |load| {
        let done = usize::try_from(load.shared.count.messages).unwrap_or(usize::MAX);
        let begun = load.clients();
        load.connect(OPENING_MAX.saturating_sub(begun - done).min(wanted - begun))?;
        Ok(done == wanted)
    })?;
    load.run_for(REST)?;
    let mut sample = Meters::read(peer).since(&start);
    let after = memory();
    let each = |after: u64, before: u64| (after as f64 - before as f64) / wanted as f64;
    sample.work = wanted as f64;
    sample.pss_each = each(after.pss, before.pss);
    sample.rss_each = each(after.rss, before.rss);
    Ok(sample)
}
