//! One measurement: one row, one peer, one round.
//!
//! It starts the peer, lets the row's course run ([`crate::courses`]), reads the meters before and after a window, and ends
//! everything. It never compares peers and never prints.

use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::begin;
use crate::beside;
use crate::cores;
use crate::courses;
use crate::load::Load;
use crate::pace::Pace;
use crate::peers::{Peer, Programs};
use crate::procfs;
use crate::rows::{Kind, Row};
use crate::running::Running;
use crate::tls;

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
    /// Round trip, or set-up to echo, in microseconds: median and 99th percentile. Of a closed loop, so under load only, but where
    /// the clock says what is sent.
    pub latency_p50: f64,
    /// See `latency_p50`.
    pub latency_p99: f64,
    /// Short sessions that ended by a reset.
    pub resets: u64,
    /// Memory per idle session in bytes, shared pages divided among those who share them.
    pub pss_each: f64,
    /// Memory per idle session in bytes, shared pages counted for everybody.
    pub rss_each: f64,
    /// Sessions that were open.
    #[serde(default)]
    pub sessions: f64,
    /// Quantiles and latencies in microseconds; counted from the time that was meant where the clock says what is sent.
    #[serde(default)]
    pub curve: Vec<(f64, f64)>,
    /// The same with nobody between client and target.
    #[serde(default)]
    pub direct: Vec<(f64, f64)>,
    /// Of the same at the 99th percentile, the last that was taken as a multiple of the first: what the machine alone did.
    #[serde(default)]
    pub drift: f64,
    /// How late they were sent at the 99th percentile, in microseconds, where the load notes it.
    #[serde(default)]
    pub sent_late: f64,
    /// Messages a second that were sent by the clock.
    #[serde(default)]
    pub rate: f64,
    /// Milliseconds from exec until the first session was there.
    #[serde(default)]
    pub start_ms: f64,
    /// Sessions of each shard.
    #[serde(default)]
    pub shards: Vec<f64>,
    /// CPU time of the busiest threads, one for each shard, from the busiest down.
    #[serde(default)]
    pub threads: Vec<f64>,
    /// What of a core each of these threads could have at most; 0 where they were not held to any share.
    #[serde(default)]
    pub ration: f64,
}

/// The quantiles that are kept.
pub const QUANTILES: [f64; 9] = [0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999, 1.0];

/// The latency at quantile `wanted` of a curve; not a number where it is not in it.
pub fn at(curve: &[(f64, f64)], wanted: f64) -> f64 {
    curve.iter().find(|(quantile, _)| *quantile == wanted).map_or(f64::NAN, |(_, latency)| *latency)
}

/// What the meters show at one moment.
pub struct Meters {
    at: Instant,
    peer: f64,
    softirq: f64,
    core: f64,
    load: f64,
}

impl Meters {
    /// Reads them now.
    pub fn read(peer: Option<&Running>) -> Self {
        let core = cores::chosen().peer;
        Self {
            at: Instant::now(),
            peer: peer.map_or(0.0, |peer| procfs::cpu_seconds(peer.group)),
            softirq: procfs::softirq_thread(core).map_or(0.0, procfs::thread_seconds),
            core: procfs::core_seconds(core),
            load: procfs::own_cpu_seconds(),
        }
    }

    /// What was used since `before`.
    pub fn since(&self, before: &Self) -> Sample {
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
    if row.kind == Kind::Start {
        return begin::start(row, peer, programs);
    }
    let mut load =
        Load::new(row.kind, row.message).map_err(|error| format!("cannot set up the load: {error}"))?;
    let target = load.target_port();
    let port = if peer == Peer::None { target } else { free_port()? };
    let mut source =
        row.tokens.map(|knower| knower.prepare(&programs.scratch, target)).transpose()?.unwrap_or_default();
    if let Some(path) = &source.socket {
        load.listen_at(path)?;
        source.name_sockets()?;
    }
    let running = Running::start(peer, programs, row, port, target, &source)?;
    if row.kind == Kind::Beside {
        let result = beside::run(port, &source.paths, running.as_ref(), pace);
        return told(result, running.as_ref());
    }
    let tls = row.secure.map(|secure| tls::client(&programs.scratch, secure)).transpose()?;
    load.aim(port, peer.path(), tls);
    load.shared.paths = std::mem::take(&mut source.paths);
    let result = courses::run(&mut load, running.as_ref(), peer, row, pace);
    // Sessions end before their peer does, which then has nobody to say goodbye to.
    drop(load);
    told(result, running.as_ref())
}

/// With the peer's last words, where it failed.
fn told(result: Result<Sample, String>, running: Option<&Running>) -> Result<Sample, String> {
    result.map_err(|error| match running {
        Some(running) if error != "interrupted" => format!("{error}; it last said: {}", running.last_words()),
        _ => error,
    })
}

/// A port of loopback that nobody listens on.
pub fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    listener.map(|address| address.port()).map_err(|error| format!("no free port: {error}"))
}

/// Runs the load for `length` and reads the meters before and after.
pub fn window(load: &mut Load, peer: Option<&Running>, length: Duration) -> Result<Sample, String> {
    load.reset();
    // What is compared whole before and after the window is sampled in it, or comparing would be what limits the load.
    load.shared.whole = false;
    let before = Meters::read(peer);
    load.run_for(length)?;
    let after = Meters::read(peer);
    load.shared.whole = true;
    let mut sample = after.since(&before);
    if peer.is_some() && sample.peer_cpu == 0.0 {
        return Err("the peer did not run at all in the window".into());
    }
    if load.shared.kind != Kind::Idle && load.shared.count.is_empty() {
        return Err("nothing arrived in the window".into());
    }
    note_latency(&mut sample, load);
    Ok(sample)
}

/// Notes what the load found of latency, if anything.
pub fn note_latency(sample: &mut Sample, load: &Load) {
    if !load.shared.latency.is_empty() {
        sample.curve = curve_of(&load.shared.latency);
        (sample.latency_p50, sample.latency_p99) = (at(&sample.curve, 0.5), at(&sample.curve, 0.99));
    }
}

/// The latencies that are kept, in microseconds, of those in `latency`, in nanoseconds.
pub fn curve_of(latency: &Histogram<u64>) -> Vec<(f64, f64)> {
    let micros = |quantile| latency.value_at_quantile(quantile) as f64 / 1e3;
    QUANTILES.iter().map(|&quantile| (quantile, micros(quantile))).collect()
}
