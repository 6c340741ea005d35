//! The machine: what the report says about it, and the few things that a run changes for itself alone.
//!
//! Facts are read from `/proc` and from a few programs that may be missing. It never touches system-wide settings.

use std::fs;
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::cores;
use crate::options::Options;
use crate::peers::{Peer, found_in_path};
use crate::rows::{Knower, Row};
use crate::services::REDIS;

/// How the scheduler treats this session against others (sched(7), "The autogroup feature").
const AUTOGROUP: &str = "/proc/self/autogroup";
const FIRST_NICE: &str = "-20";
const CONGESTION: &str = "/proc/sys/net/ipv4/tcp_congestion_control";

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
            eprintln!("{AUTOGROUP} could not be put back to {}: {error}", self.before);
        }
    }
}

/// Moves this process into a network namespace of its own, with loopback up and `congestion` as the default of every
/// socket in it. It vanishes with the last process of the run.
pub fn enter_own_network(congestion: &str) -> Result<(), String> {
    let told = |what: &str, error: &dyn std::fmt::Display| format!("--congestion: {what}: {error}");
    unshare(CloneFlags::CLONE_NEWNET).map_err(|error| told("a network namespace", &error))?;
    let up =
        Command::new("ip").args(["link", "set", "lo", "up"]).status().map_err(|error| told("ip", &error))?;
    if !up.success() {
        return Err(told("loopback", &up));
    }
    fs::write(CONGESTION, congestion).map_err(|error| told(congestion, &error))
}

/// Facts for the head of the report.
pub fn facts(options: &Options, peers: &[Peer]) -> Vec<(String, String)> {
    let cores = cores::chosen();
    let mut facts = vec![
        ("date".to_owned(), output("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
        ("commit".to_owned(), output("git", &["describe", "--always", "--dirty"])),
        ("machine".to_owned(), machine()),
        ("kernel".to_owned(), first_line("/proc/sys/kernel/osrelease")),
        ("congestion control".to_owned(), first_line(CONGESTION)),
        ("load average at start".to_owned(), first_line("/proc/loadavg")),
        (
            "cores".to_owned(),
            format!(
                "peer on {}, clients and targets on {}; two shards on {} and {}{}",
                cores.peer,
                cores.load,
                cores.peer,
                cores.second,
                if cores.apart() { "" } else { ", which is the load's too" }
            ),
        ),
        ("sessions at most".to_owned(), format!("{} by the limit of descriptors", options.pace.sessions_max)),
        (
            "rounds".to_owned(),
            format!("{} of {:?} each, after {:?}", options.rounds, options.pace.window, options.pace.warm_up),
        ),
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
