//! The peers: how each is started, how it says its version, and how it is ended.
//!
//! It owns the running process group and ends it on every way out, also when the harness panics; should the harness be
//! killed outright, the kernel ends the peer. It never installs anything: `scripts/perf-peers.sh` does.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::cores;
use crate::procfs;
use crate::rows::Kind;
use crate::sys;

/// How long a peer may take until it listens.
const READY_LIMIT: Duration = Duration::from_secs(10);
/// How long a peer may take to end by itself when asked.
const END_LIMIT: Duration = Duration::from_millis(500);
/// How often both are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Most sessions a peer is told to expect.
const SESSIONS_MAX: usize = 6000;
/// Most idle sessions of a peer that starts a process for each.
const PROCESSES_MAX: usize = 200;

/// One peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Nobody: clients connect to the target.
    None,
    /// The needed system calls alone: [`crate::floor`].
    Floor,
    /// websplice on io_uring.
    WebspliceRing,
    /// websplice on mio.
    WebsplicePoll,
    /// HAProxy in TCP mode, without splice.
    Haproxy,
    /// websockify from PyPI, with numpy.
    Python,
    /// websocat.
    Websocat,
}

/// All peers, in the order in which they take their turns.
pub const PEERS: [Peer; 7] = [
    Peer::None,
    Peer::Floor,
    Peer::WebspliceRing,
    Peer::WebsplicePoll,
    Peer::Haproxy,
    Peer::Python,
    Peer::Websocat,
];

/// Where the peers' programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The websplice binary.
    pub websplice: PathBuf,
    /// What `scripts/perf-peers.sh` installed.
    pub peers: PathBuf,
    /// Where logs and written configurations go.
    pub scratch: PathBuf,
}

impl Peer {
    /// How the peer is picked on the command line and headed in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Floor => "floor-epoll",
            Self::WebspliceRing => "websplice-ring",
            Self::WebsplicePoll => "websplice-poll",
            Self::Haproxy => "haproxy",
            Self::Python => "python",
            Self::Websocat => "websocat",
        }
    }

    /// Whether its clients speak WebSocket; otherwise they send the same payload over bare TCP.
    pub fn websocket(self) -> bool {
        !matches!(self, Self::None | Self::Floor | Self::Haproxy)
    }

    /// Sessions of the idle row: fewer where each is a process.
    pub fn idle_sessions(self, wanted: usize) -> usize {
        if self == Self::Python { wanted.min(PROCESSES_MAX) } else { wanted }
    }

    /// Whether a row of `kind` says anything about this peer: nobody has no memory.
    pub fn fits(self, kind: Kind) -> bool {
        self != Self::None || kind != Kind::Idle
    }

    /// The program; `None` for nobody.
    pub fn program(self, programs: &Programs) -> Option<PathBuf> {
        match self {
            Self::None => None,
            Self::Floor => std::env::current_exe().ok(),
            Self::WebspliceRing | Self::WebsplicePoll => Some(programs.websplice.clone()),
            Self::Haproxy => Some(found_in_path("haproxy")),
            Self::Python => Some(programs.peers.join("python/bin/websockify")),
            Self::Websocat => {
                let ours = programs.peers.join("bin/websocat");
                Some(if ours.exists() { ours } else { found_in_path("websocat") })
            }
        }
    }

    /// What the program says it is, in one line.
    pub fn version(self, programs: &Programs) -> Option<String> {
        let program = self.program(programs)?;
        let output = if self == Self::Python {
            let script = "import importlib.metadata as m, sys; print('websockify', m.version('websockify'), \
                          'numpy', m.version('numpy'), 'Python', sys.version.split()[0])";
            Command::new(program.with_file_name("python")).args(["-c", script]).output()
        } else {
            Command::new(program).arg(if self == Self::Haproxy { "-v" } else { "--version" }).output()
        };
        let text = String::from_utf8_lossy(&output.ok()?.stdout).into_owned();
        text.lines().next().map(|line| line.trim().to_owned())
    }

    fn command(self, programs: &Programs, port: u16, target: u16) -> io::Result<Option<Command>> {
        let Some(program) = self.program(programs) else { return Ok(None) };
        let (from, to) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{target}"));
        let arguments: Vec<String> = match self {
            Self::None => Vec::new(),
            Self::Floor => ["floor", "--listen", &from, "--target", &to].map(String::from).to_vec(),
            Self::WebspliceRing | Self::WebsplicePoll => {
                let engine = if self == Self::WebspliceRing { "ring" } else { "poll" };
                ["--engine", engine, "--threads", "1", &from, &to].map(String::from).to_vec()
            }
            Self::Haproxy => {
                let file = programs.scratch.join("haproxy.cfg");
                fs::write(&file, haproxy_configuration(&from, &to))?;
                vec!["-db".into(), "-f".into(), file.to_string_lossy().into_owned()]
            }
            Self::Python => vec![from, to],
            Self::Websocat => {
                vec!["-b".into(), "--exit-on-eof".into(), format!("ws-l:{from}"), format!("tcp:{to}")]
            }
        };
        // Both wrappers replace themselves by the program, so the process that is started is the peer itself.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "taskset", "-c", &cores::chosen().peer.to_string()]);
        command.arg(program).args(arguments);
        Ok(Some(command))
    }
}

fn haproxy_configuration(from: &str, to: &str) -> String {
    format!(
        "global\n    nbthread 1\n    maxconn {SESSIONS_MAX}\n\ndefaults\n    mode tcp\n    timeout connect 10s\n    \
         timeout client 300s\n    timeout server 300s\n\nlisten perf\n    bind {from}\n    server target {to}\n"
    )
}

/// The first file of that name in PATH; the bare name when there is none, so that the error names it.
fn found_in_path(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.push("/usr/sbin".into());
    folders.iter().map(|folder| folder.join(name)).find(|file| file.exists()).unwrap_or_else(|| name.into())
}

/// A peer that runs. Dropping it ends its whole process group.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// The process group, which is also the first process.
    pub group: i32,
    log: PathBuf,
}

impl Running {
    /// Starts `peer` on the peers' core and waits until it listens on `port`. `None` for nobody.
    pub fn start(peer: Peer, programs: &Programs, port: u16, target: u16) -> Result<Option<Self>, String> {
        let told = |error: io::Error| format!("cannot start {}: {error}", peer.name());
        let Some(mut command) = peer.command(programs, port, target).map_err(told)? else { return Ok(None) };
        let log = programs.scratch.join(format!("{}.log", peer.name()));
        let file = File::create(&log).map_err(told)?;
        let errors = file.try_clone().map_err(told)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(told)?;
        let group = i32::try_from(child.id()).expect("process ids fit an i32");
        let mut running = Self { child, group, log };
        running.wait_ready(port).map_err(|error| format!("{}: {error}", peer.name()))?;
        Ok(Some(running))
    }

    fn wait_ready(&mut self, port: u16) -> Result<(), String> {
        let start = Instant::now();
        while !procfs::listening(port) {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("ended at once ({status}): {}", self.last_words()));
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
