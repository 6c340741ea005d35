//! The machine: what the report says about it, and the few things that a run changes for itself alone.
//!
//! Facts are read from `/proc` and from a few programs that may be missing. It never touches system-wide settings.

use std::fs;
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::cores;
use crate::options::{Congestion, Options};
use crate::peers::{Peer, found_in_path};
use crate::rows::{Knower, Row};
use crate::say::complain;
use crate::services::REDIS;

/// How the scheduler treats this session against others (sched(7), "The autogroup feature").
const AUTOGROUP: &str = "/proc/self/autogroup";
const FIRST_NICE: &str = "-20";
const CONGESTION: &str = "/proc/sys/net/ipv4/tcp_congestion_control";
/// What every process may choose: one list for the whole system, namespaces included.
const CONGESTION_ALLOWED: &str = "/proc/sys/net/ipv4/tcp_allowed_congestion_control";

/// Descriptors that a whole run would like: two for each of 21,000 sessions, and some.
const DESCRIPTORS_WANTED: u64 = 65_536;
/// Descriptors of a process that are not a session's: listeners, pipes, logs, rings.
const DESCRIPTORS_SPARE: u64 = 1000;

/// Lets this process and its children open as many descriptors as the system allows; returns how many sessions that permits
/// a process with two sockets for each.
pub fn raise_descriptor_limit() -> Result<usize, String> {
    let told = |error: nix::Error| format!("descriptor limit: {error}");
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(told)?;
    let wanted = hard.max(DESCRIPTORS_WANTED);
    // Beyond the hard limit only a privileged process gets.
    let limit = if setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted).is_ok() {
        wanted
    } else {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_err(told)?;
        hard
    };
    Ok(usize::try_from(limit.saturating_sub(DESCRIPTORS_SPARE) / 2).unwrap_or(usize::MAX))
}

/// The scheduler's preference for this login session over others, put back when dropped.
#[derive(Debug)]
pub struct First {
    before: String,
}

impl First {
    /// Asks the scheduler to prefer this session, so that other sessions on a busy machine get only what is left over.
    pub fn ask() -> Result<Self, String> {
        let told = |error: std::io::Error| format!("--first: {AUTOGROUP}: {error}");
        let text = fs::read_to_string(AUTOGROUP).map_err(told)?;
        let before = text.rsplit(' ').next().unwrap_or("0").trim().to_owned();
        fs::write(AUTOGROUP, FIRST_NICE).map_err(told)?;
        Ok(Self { before })
    }
}

impl Drop for First {
    fn drop(&mut self) {
        if let Err(error) = fs::write(AUTOGROUP, &self.before) {
            complain!("{AUTOGROUP} could not be put back to {}: {error}", self.before);
        }
    }
}

/// Sees to the congestion control that the run's sockets have by default; says in words which that is and why.
///
/// # Errors
/// What stands in the way of one that was asked for by name, or of a network of the run's own once it was begun.
pub fn choose_congestion(wanted: &Congestion) -> Result<String, String> {
    let system = first_line(CONGESTION);
    match wanted {
        Congestion::System => Ok(format!("{system}, the system's, as asked for")),
        Congestion::Named(name) => {
            enter_own_network()
                .and_then(|()| set_congestion(name))
                .map_err(|why| format!("--congestion: {why}"))?;
            Ok(format!("{name} for all, in a network namespace of the run's own, as asked for"))
        }
        Congestion::Usual if UNPACED.contains(&system.as_str()) => {
            Ok(format!("{system} for all, the system's"))
        }
        Congestion::Usual => match enter_own_network() {
            Err(why) => {
                Ok(format!("{system}, the system's, which some avoid on loopback and others keep: {why}"))
            }
            Ok(()) => {
                let set = UNPACED.iter().find(|name| set_congestion(name).is_ok());
                let name = set.ok_or("no congestion control may be set in a network namespace")?;
                Ok(format!(
                    "{name} for all, in a network namespace of the run's own; the system's is {system}"
                ))
            }
        },
    }
}

/// Congestion controls that do not pace by a timer, which on loopback would measure the timer, in the order in which they are
/// taken. A network namespace may have the first only where the system allows it to everybody.
const UNPACED: [&str; 2] = ["cubic", "reno"];
/// Brings loopback up.
const IP: &str = "ip";

fn set_congestion(name: &str) -> Result<(), String> {
    fs::write(CONGESTION, name).map_err(|error| {
        let allowed = first_line(CONGESTION_ALLOWED);
        format!("{name}: {error}; a network namespace may have what {CONGESTION_ALLOWED} lists: {allowed}")
    })
}

/// Moves this process into a network namespace of its own, with loopback up. It vanishes with the last process of the run.
fn enter_own_network() -> Result<(), String> {
    if !found_in_path(IP).exists() {
        return Err(format!("no {IP} in PATH, which a network namespace needs (apt install iproute2)"));
    }
    unshare(CloneFlags::CLONE_NEWNET).map_err(|error| format!("a network namespace: {error}"))?;
    let up = Command::new(found_in_path(IP)).args(["link", "set", "lo", "up"]).status();
    match up {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("loopback in a network namespace: {IP} ended with {status}")),
        Err(error) => Err(format!("loopback in a network namespace: {IP}: {error}")),
    }
}

/// The command line as it was given.
fn arguments() -> String {
    let quoted = |word: std::ffi::OsString| {
        let word = word.to_string_lossy().into_owned();
        if word.contains(char::is_whitespace) { format!("'{word}'") } else { word }
    };
    let told = std::env::var("PERF_PEERS").ok().filter(|told| !told.trim().is_empty());
    let told = told.map(|told| format!("PERF_PEERS='{told}'"));
    let words = std::iter::once("websplice-perf".to_owned()).chain(std::env::args_os().skip(1).map(quoted));
    told.into_iter().chain(words).collect::<Vec<_>>().join(" ")
}

/// Facts for the head of the report; `congestion` says what was chosen.
pub fn facts(options: &Options, peers: &[Peer], congestion: &str) -> Vec<(String, String)> {
    let cores = cores::chosen();
    let mut facts = vec![
        ("date".to_owned(), output("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
        ("commit".to_owned(), output("git", &["describe", "--always", "--dirty"])),
        ("machine".to_owned(), machine()),
        ("kernel".to_owned(), first_line("/proc/sys/kernel/osrelease")),
        ("command".to_owned(), arguments()),
        (
            "--first".to_owned(),
            if options.first { "yes: the scheduler preferred the run to others" } else { "no" }.to_owned(),
        ),
        ("congestion control".to_owned(), congestion.to_owned()),
        ("load average at start".to_owned(), first_line("/proc/loadavg")),
        (
            "cores".to_owned(),
            format!(
                "peer on {}, clients and targets on {}{}; two shards on {} and {}{}",
                cores.peer,
                cores.load,
                if cores.siblings {
                    ", which are two threads of one core: there was no other choice"
                } else {
                    ""
                },
                cores.peer,
                cores.second,
                if cores.apart() { "" } else { ", which is the load's too" }
            ),
        ),
        ("sessions at most".to_owned(), format!("{} by the limit of descriptors", options.pace.sessions_max)),
        ("rounds".to_owned(), options.pace.told(&options.rows)),
    ];
    for peer in peers {
        if let Some(version) = peer.version(&options.programs) {
            facts.push((peer.name().to_owned(), version));
        }
    }
    let redis = |row: &&Row| matches!(row.tokens, Some(Knower::Redis(_)));
    if options.rows.iter().any(redis) {
        let program = found_in_path(REDIS);
        facts.push((REDIS.to_owned(), output(&program.to_string_lossy(), &["--version"])));
    }
    facts
}

fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models: Vec<&str> = info.lines().filter(|line| line.starts_with("model name")).collect();
    let model = models.first().and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown");
    format!("{} × {model}, {}", models.len().max(1), std::env::consts::ARCH)
}

fn first_line(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().lines().next().unwrap_or("unknown").to_owned()
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text =
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    if text.is_empty() { "unknown".into() } else { text }
}
