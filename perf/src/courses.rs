//! How a row goes once its peer is up: sessions are opened, the load warms up, the window is measured, and all that was sent is
//! waited for.
//!
//! It owns the order of things within one measurement. It never starts or ends a peer and never prints.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::cores;
use crate::load::Load;
use crate::measure::{Meters, Sample, note_latency, window};
use crate::pace::Pace;
use crate::peers::Peer;
use crate::procfs;
use crate::rows::{Kind, Row, Secure};
use crate::running::Running;
use crate::schedule::Schedule;
use crate::sys;

/// How long opening all sessions may take, and for each of them beside that.
const OPEN_LIMIT: Duration = Duration::from_secs(15);
const OPEN_EACH: Duration = Duration::from_millis(5);
/// How long what is under way may take to arrive when the senders have stopped.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);
/// How long a peer may take to say how its shards are.
const REPORT_LIMIT: Duration = Duration::from_secs(3);
/// Longest warm-up of short sessions: they use up ports as well.
const SHORT_WARM_UP: Duration = Duration::from_millis(200);
/// Sessions that are being opened at once where there are many: short queues of listeners are not to be overrun.
const OPENING_MAX: usize = 32;
/// How long an idle peer may take to come to rest before its memory is read.
const REST: Duration = Duration::from_millis(800);
/// Least share of a window's handshakes that must be of the row's kind. A resumption needs a ticket, and at times there is
/// none left.
const KIND_SHARE_MIN: f64 = 0.98;
/// Pictures and inputs of a desktop in a second.
const PICTURES: f64 = 30.0;
const INPUTS: f64 = 60.0;
/// Least share of the scheduled pictures that must arrive within the window.
const PICTURES_SHARE_MIN: f64 = 0.95;
/// What of a core a shard may have, and how soon it has that again, where one and two are held against each other.
const RATION: f64 = 0.1;
const RATION_PERIOD: Duration = Duration::from_millis(10);
/// The share of it that each has to use for the figure to be about shards.
const RATION_USED_MIN: f64 = 0.8;
/// The share of its capacity at which a peer's latency is taken.
const LOAD_SHARE: f64 = 0.7;

/// Runs the course of `row`.
pub fn run(
    load: &mut Load,
    running: Option<&Running>,
    peer: Peer,
    row: &Row,
    pace: &Pace,
) -> Result<Sample, String> {
    match row.kind {
        Kind::Idle => hold(load, running, peer.idle_sessions(pace.idle_sessions).min(pace.sessions_max)),
        Kind::Setup => come_and_go(load, running, row, pace),
        Kind::Down | Kind::Up | Kind::Both | Kind::Echo => stream(load, running, peer, row, pace),
        Kind::Desktop => desktops(load, running, row, pace).and_then(in_time),
        Kind::Latency => latency(load, running, row, pace),
        Kind::Shards => {
            open(load, row.sessions)?;
            let shards = shares(running.ok_or("nobody has no shards")?, load, row.shards)?;
            Ok(Sample {
                work: row.sessions as f64,
                sessions: row.sessions as f64,
                shards,
                ..Sample::default()
            })
        }
        Kind::Start | Kind::Beside => Err(format!("{} has no course", row.name)),
    }
}

/// Opens sessions until `wanted` are there, a few at a time; where they begin with an echo, until all of them came back.
fn open(load: &mut Load, wanted: usize) -> Result<(), String> {
    let limit = OPEN_LIMIT + OPEN_EACH * u32::try_from(wanted).unwrap_or(u32::MAX);
    load.run_until("opening the sessions", limit, |load| {
        let shared = &load.shared;
        let greeted = usize::try_from(shared.count.messages).unwrap_or(usize::MAX);
        let done = shared.opened.min(shared.accepted).min(if shared.greet { greeted } else { usize::MAX });
        let begun = load.clients();
        load.connect(OPENING_MAX.saturating_sub(begun - done).min(wanted - begun))?;
        Ok(done == wanted)
    })
}

/// Sends what is due already, stops the senders and waits until all that was sent has arrived.
fn drain(load: &mut Load) -> Result<(), String> {
    load.end_the_clock();
    load.run_until("sending what was due", DRAIN_LIMIT, |load| Ok(load.is_clock_over()))?;
    load.shared.flowing = false;
    load.run_until("draining", DRAIN_LIMIT, |load| Ok(load.outstanding() == 0))
        .map_err(|error| format!("{error}; {} of what was sent did not arrive", load.outstanding()))
}

/// Rows whose sessions are opened once and then carry data.
fn stream(
    load: &mut Load,
    running: Option<&Running>,
    peer: Peer,
    row: &Row,
    pace: &Pace,
) -> Result<Sample, String> {
    let wanted = row.open().min(pace.sessions_max);
    let mut memory = Sample::default();
    if row.held {
        memory = hold(load, running, wanted)?;
    } else {
        open(load, wanted)?;
    }
    load.go(row.sessions)?;
    load.run_for(pace.warm_up)?;
    let threads = || running.map(|running| procfs::threads(running.group)).unwrap_or_default();
    let (mut before, mut ration) = (HashMap::default(), 0.0);
    if row.all_cores() {
        before = threads();
        load.run_for(pace.warm_up)?;
        ration = put_on_ration(&busiest(&before, &threads(), row.shards))?;
        load.run_for(pace.warm_up)?;
        before = threads();
    }
    // What is in flight at the window's two edges is about the same; the totals of the whole run are compared below.
    let mut sample = window(load, running, pace.window)?;
    if row.all_cores() {
        sample.threads = busiest(&before, &threads(), row.shards).iter().map(|(_, used)| *used).collect();
        sample.ration = ration;
        used_up(&sample)?;
    }
    let count = load.shared.count;
    sample.work = if row.kind == Kind::Echo { count.messages as f64 } else { count.received as f64 };
    sample.sessions = wanted as f64;
    (sample.pss_each, sample.rss_each) = (memory.pss_each, memory.rss_each);
    drain(load)?;
    if let (Some(running), true, true) = (running, peer.ours(), row.shards > 1) {
        sample.shards = shares(running, load, row.shards)?;
    }
    Ok(sample)
}

/// The `count` busiest threads and what they used between two looks, from the busiest down.
fn busiest(before: &HashMap<i32, f64>, after: &HashMap<i32, f64>, count: usize) -> Vec<(i32, f64)> {
    let used = |(thread, seconds): (&i32, &f64)| {
        (*thread, seconds - before.get(thread).copied().unwrap_or_default())
    };
    let mut all: Vec<(i32, f64)> = after.iter().map(used).collect();
    all.sort_by(|(_, one), (_, two)| two.total_cmp(one));
    all.truncate(count);
    all
}

/// Lets each of `threads` have no more of a core than [`RATION`], so that they are what is full and not the load or the cores.
/// Returns the share; 0 where this process may not do that, or shards and load have a core each anyway.
fn put_on_ration(threads: &[(i32, f64)]) -> Result<f64, String> {
    for (at, (thread, _)) in threads.iter().enumerate() {
        let cores = cores::chosen().of_peer(true);
        match sys::ration(*thread, cores, RATION_PERIOD.mul_f64(RATION), RATION_PERIOD) {
            Ok(()) => {}
            Err(error) if at == 0 && error.kind() == io::ErrorKind::PermissionDenied => return Ok(0.0),
            Err(error) => return Err(format!("cannot put thread {thread} on ration: {error}")),
        }
    }
    Ok(if threads.is_empty() { 0.0 } else { RATION })
}

/// Whether shards on ration used it up: otherwise something else was what held them up.
fn used_up(sample: &Sample) -> Result<(), String> {
    let least = RATION_USED_MIN * sample.ration * sample.seconds;
    match sample.threads.last() {
        Some(used) if *used < least => {
            Err(format!("a shard used {used:.3} s of its ration, and less than {least:.3} was its limit"))
        }
        _ => Ok(()),
    }
}

/// Desktops: both ends send by the clock.
fn desktops(load: &mut Load, running: Option<&Running>, row: &Row, pace: &Pace) -> Result<Sample, String> {
    open(load, row.sessions)?;
    let (start, desktops) = (Instant::now(), row.sessions as f64);
    load.shared.pictures = Some(Schedule::new(start, PICTURES * desktops, row.sessions));
    load.shared.inputs = Some(Schedule::new(start, INPUTS * desktops, row.sessions));
    load.shared.flowing = true;
    load.run_for(pace.warm_up)?;
    let mut sample = window(load, running, pace.window)?;
    sample.work = load.shared.count.messages as f64;
    (sample.sessions, sample.rate) = (desktops, PICTURES * desktops);
    drain(load)?;
    // What was due in the window belongs to it, whenever it came: the latest would be missing otherwise.
    note_latency(&mut sample, load);
    Ok(sample)
}

/// A peer that cannot keep up has no price for a picture: what it owes at the end is not paid.
fn in_time(sample: Sample) -> Result<Sample, String> {
    let scheduled = sample.rate * sample.seconds;
    if sample.work < PICTURES_SHARE_MIN * scheduled {
        return Err(format!("only {} of {scheduled:.0} pictures arrived in time", sample.work));
    }
    Ok(sample)
}

/// Latency at a share of capacity: first what the peer can do, then by the clock through it, and by the same clock without it.
fn latency(load: &mut Load, running: Option<&Running>, row: &Row, pace: &Pace) -> Result<Sample, String> {
    open(load, row.sessions)?;
    load.shared.kind = Kind::Echo;
    load.go(row.sessions)?;
    load.run_for(pace.warm_up)?;
    let most = window(load, running, pace.window / 2)?;
    let rate = LOAD_SHARE * load.shared.count.messages as f64 / most.seconds;
    drain(load)?;
    let mut sample = by_the_clock(load, running, row, pace, rate)?;
    (sample.sessions, sample.rate) = (row.sessions as f64, rate);
    let mut direct =
        Load::new(Kind::Latency, row.message).map_err(|error| format!("cannot set up the load: {error}"))?;
    direct.aim(direct.target_port(), None, None);
    open(&mut direct, row.sessions)?;
    sample.direct = by_the_clock(&mut direct, None, row, pace, rate)?.curve;
    Ok(sample)
}

fn by_the_clock(
    load: &mut Load,
    running: Option<&Running>,
    row: &Row,
    pace: &Pace,
    rate: f64,
) -> Result<Sample, String> {
    load.shared.kind = Kind::Latency;
    load.shared.inputs = Some(Schedule::new(Instant::now(), rate, row.sessions));
    load.shared.flowing = true;
    load.run_for(pace.warm_up)?;
    let mut sample = window(load, running, pace.window)?;
    sample.work = load.shared.count.messages as f64;
    drain(load)?;
    // As above: what was due in the window and was not even sent by its end is the latest of all.
    note_latency(&mut sample, load);
    Ok(sample)
}

/// The row whose sessions are short.
fn come_and_go(load: &mut Load, running: Option<&Running>, row: &Row, pace: &Pace) -> Result<Sample, String> {
    load.shared.flowing = true;
    load.connect(row.sessions)?;
    load.run_for(pace.warm_up.min(SHORT_WARM_UP))?;
    if row.secure.is_some_and(|secure| secure.resumed) {
        // Those who came first had no ticket; they are to be gone.
        let first = 2 * row.sessions as u64;
        load.run_until("the first tickets", OPEN_LIMIT, |load| Ok(load.shared.count.sessions >= first))?;
    }
    let mut sample = window(load, running, pace.window)?;
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

/// Sessions that are opened, used once, and then rest while memory is looked at.
fn hold(load: &mut Load, running: Option<&Running>, wanted: usize) -> Result<Sample, String> {
    let memory = || running.map_or_else(procfs::Memory::default, |running| procfs::memory(running.group));
    load.shared.greet = true;
    load.run_for(REST / 4)?;
    let (before, start) = (memory(), Meters::read(running));
    open(load, wanted)?;
    load.run_for(REST)?;
    let mut sample = Meters::read(running).since(&start);
    let after = memory();
    let each = |after: u64, before: u64| (after as f64 - before as f64) / wanted as f64;
    (sample.work, sample.sessions) = (wanted as f64, wanted as f64);
    sample.pss_each = each(after.pss, before.pss);
    sample.rss_each = each(after.rss, before.rss);
    Ok(sample)
}

/// How many sessions each of the peer's shards has, by its own word.
fn shares(running: &Running, load: &mut Load, shards: usize) -> Result<Vec<f64>, String> {
    running.signal(Signal::SIGQUIT)?;
    let mut shares = Vec::new();
    load.run_until("the shards' report", REPORT_LIMIT, |_| {
        shares = reported(&running.words());
        Ok(shares.len() == shards)
    })?;
    Ok(shares)
}

/// The sessions of every shard that reports itself in a log.
fn reported(log: &str) -> Vec<f64> {
    let lines = log.lines().filter(|line| line.contains(" report shard="));
    lines
        .filter_map(|line| line.split(" sessions=").nth(1)?.split_ascii_whitespace().next()?.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_read_from_a_log() {
        let log = "x info report shard=0 sessions=7 buffers_bytes=0\nother line sessions=9\n\
                   x info report shard=1 sessions=5 buffers_bytes=0\n";
        assert_eq!(reported(log), [7.0, 5.0]);
        assert!(reported("").is_empty());
    }

    #[test]
    fn the_clock_finds_what_was_sent_and_checks_it() {
        cores::settle_loosely();
        let mut load = Load::new(Kind::Latency, 64).expect("a load");
        load.aim(load.target_port(), None, None);
        let row = crate::rows::row("latency");
        let pace = Pace {
            warm_up: Duration::from_millis(20),
            window: Duration::from_millis(100),
            rounds: 1,
            quick: true,
            idle_sessions: 1,
            sessions_max: 100,
        };
        open(&mut load, row.sessions).expect("open");
        let sample = by_the_clock(&mut load, None, row, &pace, 2000.0).expect("all came back");
        assert!(sample.work > 100.0 && sample.curve.len() == crate::measure::QUANTILES.len());
        assert_eq!(load.outstanding(), 0);
    }

    #[test]
    fn every_course_works_without_a_peer() {
        cores::settle_loosely();
        let pace = Pace {
            warm_up: Duration::from_millis(20),
            window: Duration::from_millis(300),
            rounds: 1,
            quick: true,
            idle_sessions: 20,
            sessions_max: 100,
        };
        for name in
            ["desktops", "down-16", "up-1", "both-1", "size-1", "size-1048576", "held-100", "setup", "idle"]
        {
            let row = crate::rows::row(name);
            let mut load = Load::new(row.kind, row.message).expect("a load");
            load.aim(load.target_port(), None, None);
            let sample = match row.kind {
                Kind::Desktop => desktops(&mut load, None, row, &pace),
                _ => run(&mut load, None, Peer::None, row, &pace),
            };
            assert!(sample.expect(name).work > 0.0, "{name}");
        }
    }

    #[test]
    fn the_busiest_threads_are_found() {
        let before = HashMap::from([(1, 1.0), (2, 1.0), (3, 9.0)]);
        let after = HashMap::from([(1, 1.25), (2, 2.0), (3, 9.0), (4, 0.5)]);
        assert_eq!(busiest(&before, &after, 2), [(2, 1.0), (4, 0.5)]);
    }

    #[test]
    fn a_ration_that_is_left_over_is_no_limit() {
        let of = |threads: &[f64]| {
            used_up(&Sample { threads: threads.to_vec(), ration: 0.1, seconds: 2.0, ..Sample::default() })
        };
        assert!(of(&[0.2, 0.17]).is_ok() && of(&[0.2, 0.15]).is_err());
        assert!(
            used_up(&Sample { threads: vec![0.0], seconds: 2.0, ..Sample::default() }).is_ok(),
            "not on ration"
        );
    }

    #[test]
    fn pictures_that_come_late_are_no_price() {
        let of = |work: f64| in_time(Sample { work, rate: 1500.0, seconds: 2.0, ..Sample::default() });
        assert!(of(2900.0).is_ok() && of(2800.0).is_err());
    }
}
