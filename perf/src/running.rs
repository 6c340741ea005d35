//! A peer that runs: how it is started, waited for and ended.
//!
//! It owns the running process group and ends it on every way out, also when the harness panics; should the harness be
//! killed outright, the kernel ends the peer. It never knows what the peer is told.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::peers::{Peer, Programs};
use crate::procfs;
use crate::rows::Row;
use crate::sys;
use crate::tokens::Source;

/// How long a peer may take until it listens.
const READY_LIMIT: Duration = Duration::from_secs(10);
/// How long a peer may take to end by itself when asked.
const END_LIMIT: Duration = Duration::from_millis(500);
/// How often both are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A peer that runs. Dropping it ends its whole process group.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// The process group, which is also the first process.
    pub group: i32,
    log: PathBuf,
}

impl Running {
    /// Starts `peer` for `row` and waits until it listens on `port`. `None` for nobody.
    pub fn start(
        peer: Peer,
        programs: &Programs,
        row: &Row,
        port: u16,
        target: u16,
        tokens: &Source,
    ) -> Result<Option<Self>, String> {
        let told = |error: io::Error| format!("cannot start {}: {error}", peer.name());
        let Some(command) = peer.command(programs, row, port, target, tokens).map_err(told)? else {
            return Ok(None);
        };
        let mut running = Self::spawn(peer, programs, command)?;
        running.wait_ready(port).map_err(|error| format!("{}: {error}", peer.name()))?;
        Ok(Some(running))
    }

    /// Starts `command`, which is `peer`'s, and does not wait.
    pub fn spawn(peer: Peer, programs: &Programs, mut command: Command) -> Result<Self, String> {
        let told = |error: io::Error| format!("cannot start {}: {error}", peer.name());
        let log = programs.scratch.join(format!("{}.log", peer.name()));
        let file = File::create(&log).map_err(told)?;
        let errors = file.try_clone().map_err(told)?;
        let child = command.stdin(Stdio::null()).stdout(file).stderr(errors).spawn().map_err(told)?;
        let group = i32::try_from(child.id()).expect("process ids fit an i32");
        Ok(Self { child, group, log })
    }

    /// Whether it has ended; if so, how, and what it said last.
    pub fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok()??;
        Some(format!("ended at once ({status}): {}", self.last_words()))
    }

    /// Sends it `signal`.
    pub fn signal(&self, signal: Signal) -> Result<(), String> {
        kill(Pid::from_raw(self.group), signal).map_err(|error| format!("cannot signal the peer: {error}"))
    }

    /// All that it wrote.
    pub fn words(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    fn wait_ready(&mut self, port: u16) -> Result<(), String> {
        let start = Instant::now();
        while !procfs::listening(port) {
            if let Some(words) = self.ended() {
                return Err(words);
            }
            if start.elapsed() > READY_LIMIT {
                return Err(format!("does not listen after {READY_LIMIT:?}: {}", self.last_words()));
            }
            if sys::interrupted() {
                return Err("interrupted".into());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// The last lines that the peer wrote.
    pub fn last_words(&self) -> String {
        last_lines(&self.log, 3)
    }
}

fn last_lines(path: &Path, count: usize) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(2000)..]).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join(" | ")
}

impl Drop for Running {
    fn drop(&mut self) {
        let group = Pid::from_raw(self.group);
        // Errors mean that there is nobody left to be signalled, which is what is wanted.
        let _ = killpg(group, Signal::SIGTERM);
        let start = Instant::now();
        while start.elapsed() < END_LIMIT && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(LOOK_EVERY);
        }
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.child.wait();
    }
}
