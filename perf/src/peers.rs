//! The peers: how each is started, how it says its version, and how it is ended.
//!
//! It owns the running process group and ends it on every way out, also when the harness panics; should the harness be
//! killed outright, the kernel ends the peer. It never installs anything: `scripts/perf-peers.sh` does.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{self, Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::configurations;
use crate::cores;
use crate::procfs;
use crate::rows::{Key, Kind, Row};
use crate::sys;
use crate::tls::certificate_file;

/// How long a peer may take until it listens.
const READY_LIMIT: Duration = Duration::from_secs(10);
/// How long a peer may take to end by itself when asked.
const END_LIMIT: Duration = Duration::from_millis(500);
/// How often both are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
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
    /// nginx with its stream module.
    Nginx,
    /// websockify from PyPI, with numpy.
    Python,
    /// websocat.
    Websocat,
}

/// All peers, in the order in which they take their turns.
pub const PEERS: [Peer; 8] = [
    Peer::None,
    Peer::Floor,
    Peer::WebspliceRing,
    Peer::WebsplicePoll,
    Peer::Haproxy,
    Peer::Nginx,
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
            Self::Nginx => "nginx",
            Self::Python => "python",
            Self::Websocat => "websocat",
        }
    }

    /// Whether its clients speak WebSocket; otherwise they send the same payload over bare TCP.
    pub fn websocket(self) -> bool {
        !matches!(self, Self::None | Self::Floor | Self::Haproxy | Self::Nginx)
    }

    /// Sessions of the idle row: fewer where each is a process.
    pub fn idle_sessions(self, wanted: usize) -> usize {
        if self == Self::Python { wanted.min(PROCESSES_MAX) } else { wanted }
    }

    /// Whether `row` says anything about this peer: nobody has no memory, and not everybody speaks TLS.
    pub fn fits(self, row: &Row) -> bool {
        match self {
            Self::None => row.kind != Kind::Idle && row.secure.is_none(),
            Self::Floor | Self::Websocat => row.secure.is_none(),
            _ => true,
        }
    }

    /// Whether a short run takes it.
    pub fn quick(self) -> bool {
        matches!(self, Self::Floor | Self::WebspliceRing | Self::Haproxy | Self::Nginx | Self::Python)
    }

    /// The program; `None` for nobody.
    pub fn program(self, programs: &Programs) -> Option<PathBuf> {
        match self {
            Self::None => None,
            Self::Floor => std::env::current_exe().ok(),
            Self::WebspliceRing | Self::WebsplicePoll => Some(programs.websplice.clone()),
            Self::Haproxy => Some(found_in_path("haproxy")),
            Self::Nginx => Some(found_in_path("nginx")),
            Self::Python => Some(programs.peers.join("python/bin/websockify")),
            Self::Websocat => {
                let ours = programs.peers.join("bin/websocat");
                Some(if ours.exists() { ours } else { found_in_path("websocat") })
            }
        }
    }

    /// What the program says it is, in one line, and which TLS library it runs on where it says that too.
    pub fn version(self, programs: &Programs) -> Option<String> {
        let program = self.program(programs)?;
        if self == Self::Floor {
            return Some(concat!("websplice-perf ", env!("CARGO_PKG_VERSION")).into());
        }
        let output = if self == Self::Python {
            let script = "import importlib.metadata as m, ssl, sys; print('websockify', m.version('websockify'), \
                          'numpy', m.version('numpy'), 'Python', sys.version.split()[0], ssl.OPENSSL_VERSION)";
            Command::new(program.with_file_name("python")).args(["-c", script]).output()
        } else {
            let flag = match self {
                Self::Haproxy => "-vv",
                Self::Nginx => "-V",
                _ => "--version",
            };
            Command::new(program).arg(flag).output()
        };
        let output = output.ok()?;
        // nginx says it where errors go.
        let said = if output.stdout.is_empty() { output.stderr } else { output.stdout };
        let text = String::from_utf8_lossy(&said);
        let tls = text.lines().skip(1).find(|line| {
            ["Running on OpenSSL", "built with OpenSSL"].iter().any(|words| line.starts_with(words))
        });
        let words = [text.lines().next()?, tls.unwrap_or_default()].map(str::trim);
        Some(words.join(" ").trim_end().to_owned())
    }

    fn command(
        self,
        programs: &Programs,
        key: Option<Key>,
        port: u16,
        target: u16,
    ) -> io::Result<Option<Command>> {
        let Some(program) = self.program(programs) else { return Ok(None) };
        let certificate =
            key.map(|key| path::absolute(certificate_file(&programs.scratch, key))).transpose()?;
        let certificate = certificate.as_ref().map(|file| file.to_string_lossy());
        let (from, to) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{target}"));
        let mut arguments: Vec<String> = match self {
            Self::None => Vec::new(),
            Self::Floor => ["floor", "--listen", &from, "--target", &to].map(String::from).to_vec(),
            Self::WebspliceRing | Self::WebsplicePoll => {
                let engine = if self == Self::WebspliceRing { "ring" } else { "poll" };
                ["--engine", engine, "--threads", "1", &from, &to].map(String::from).to_vec()
            }
            Self::Haproxy => {
                let file = programs.scratch.join("haproxy.cfg");
                fs::write(&file, configurations::haproxy(&from, &to, certificate.as_deref()))?;
                vec!["-db".into(), "-f".into(), file.to_string_lossy().into_owned()]
            }
            Self::Nginx => {
                // Relative paths would be taken from where nginx was installed.
                let folder = path::absolute(&programs.scratch)?;
                let file = folder.join("nginx.conf");
                fs::write(&file, configurations::nginx(&from, &to, certificate.as_deref(), &folder))?;
                vec!["-c".into(), file.to_string_lossy().into_owned(), "-e".into(), "stderr".into()]
            }
            Self::Python => vec![from, to],
            Self::Websocat => {
                vec!["-b".into(), "--exit-on-eof".into(), format!("ws-l:{from}"), format!("tcp:{to}")]
            }
        };
        if let (Self::WebspliceRing | Self::WebsplicePoll | Self::Python, Some(file)) = (self, &certificate) {
            arguments.extend(["--cert".into(), file.clone().into_owned(), "--ssl-only".into()]);
        }
        // Both wrappers replace themselves by the program, so the process that is started is the peer itself.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "taskset", "-c", &cores::chosen().peer.to_string()]);
        command.arg(program).args(arguments);
        Ok(Some(command))
    }
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
    /// Starts `peer` on the peers' core, with the certificate of `key` if TLS is wanted, and waits until it listens on
    /// `port`. `None` for nobody.
    pub fn start(
        peer: Peer,
        programs: &Programs,
        key: Option<Key>,
        port: u16,
        target: u16,
    ) -> Result<Option<Self>, String> {
        let told = |error: io::Error| format!("cannot start {}: {error}", peer.name());
        let Some(mut command) = peer.command(programs, key, port, target).map_err(told)? else {
            return Ok(None);
        };
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
