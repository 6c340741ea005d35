//! The program under test as a child process: started, listened to, stopped, and never left behind.
//!
//! `WEBSPLICE_BIN` names another program to test instead of the one just built. Each process runs in an empty directory of
//! its own: the program looks for files where it is started, and what lies about in a checkout is not part of a test.

use super::client::{Handshake, WsClient};
use super::http::HttpClient;
use super::temp::TempDir;
use super::wire::{PATIENCE, Wire};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Longest wait for the end of a process that was told to end: the drain deadline and some air.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// What the program wrote to standard error so far.
#[derive(Default)]
struct Log {
    state: Mutex<LogState>,
    news: Condvar,
}

#[derive(Default)]
struct LogState {
    lines: Vec<String>,
    ended: bool,
}

impl Log {
    /// Reads to the end of the stream; the end of the stream is how the end of the process is noticed.
    fn follow(self: Arc<Log>, source: impl Read + Send + 'static) {
        thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            while source.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                self.state.lock().expect("no holder panics").lines.push(text);
                self.news.notify_all();
                line.clear();
            }
            self.state.lock().expect("no holder panics").ended = true;
            self.news.notify_all();
        });
    }

    /// The first thing that `look` finds, or `None` at the end of the log or of the time.
    fn wait<T>(&self, time: Duration, look: impl Fn(&LogState) -> Option<T>) -> Option<T> {
        let until = Instant::now() + time;
        let mut state = self.state.lock().expect("no holder panics");
        loop {
            let found = look(&state);
            let left = until.saturating_duration_since(Instant::now());
            if found.is_some() || state.ended || left.is_zero() {
                return found;
            }
            state = self.news.wait_timeout(state, left).expect("no holder panics").0;
        }
    }

    fn text(&self) -> String {
        self.state.lock().expect("no holder panics").lines.join("\n")
    }
}

/// A running server. Killed on drop; a panic in its log fails the test that dropped it.
pub struct Server {
    child: Child,
    log: Arc<Log>,
    /// The address as its banner gives it, such as `127.0.0.1:41234` or `:6080`.
    pub banner: String,
    /// Where it runs.
    directory: TempDir,
}

impl Server {
    /// Starts it with `args` behind the listen word `127.0.0.1:0`, and waits until it listens.
    #[track_caller]
    pub fn start(engine: &str, args: &[&str]) -> Server {
        Server::start_on(engine, "127.0.0.1:0", args)
    }

    /// The same with another listen word; an empty one is left out.
    #[track_caller]
    pub fn start_on(engine: &str, listen: &str, args: &[&str]) -> Server {
        let mut all = vec!["--engine", engine];
        all.extend(Some(listen).filter(|word| !word.is_empty()));
        all.extend(args);
        Server::launch(program(), &all)
    }

    /// Starts `program` with exactly these words.
    #[track_caller]
    pub fn launch(program: impl AsRef<OsStr>, args: &[&str]) -> Server {
        Server::launch_on(Stdio::null(), program, args)
    }

    /// The same with this as its standard input.
    #[track_caller]
    pub fn launch_on(input: impl Into<Stdio>, program: impl AsRef<OsStr>, args: &[&str]) -> Server {
        let mut server = spawn(program.as_ref(), input.into(), args);
        let banner = server.log.wait(PATIENCE, |state| {
            state.lines.iter().find_map(|line| {
                let (_, rest) = line.split_once("proxying from ")?;
                Some(rest.split_once(" to ")?.0.to_owned())
            })
        });
        match banner {
            Some(banner) => server.banner = banner,
            None => panic!("no line `proxying from .. to` from {args:?}:\n{}", server.log.text()),
        }
        server
    }

    /// An echo server.
    #[track_caller]
    pub fn echo(engine: &str) -> Server {
        Server::start(engine, &["--echo"])
    }

    /// A server in front of one target.
    #[track_caller]
    pub fn to(engine: &str, target: impl ToString) -> Server {
        Server::start(engine, &[&target.to_string()])
    }

    /// The port it listens on, from the banner.
    #[track_caller]
    pub fn port(&self) -> u16 {
        let port = self.banner.rsplit(':').next().and_then(|port| port.parse().ok());
        port.filter(|port| *port != 0).unwrap_or_else(|| panic!("no port in the banner {:?}", self.banner))
    }

    /// Where it listens, if that is 127.0.0.1.
    #[track_caller]
    pub fn address(&self) -> SocketAddr {
        self.address_at(Ipv4Addr::LOCALHOST.into())
    }

    /// Its port at another local address.
    #[track_caller]
    pub fn address_at(&self, ip: IpAddr) -> SocketAddr {
        SocketAddr::new(ip, self.port())
    }

    /// A bare connection.
    #[track_caller]
    pub fn wire(&self) -> Wire {
        Wire::tcp(self.address())
    }

    /// A connection that speaks HTTP.
    #[track_caller]
    pub fn http(&self) -> HttpClient {
        HttpClient::new(self.wire())
    }

    /// An open WebSocket.
    #[track_caller]
    pub fn client(&self) -> WsClient {
        WsClient::open(self.wire(), &Handshake::new())
    }

    /// Waits for a line of the log with `part` in it.
    #[track_caller]
    pub fn wait_line(&self, part: &str) -> String {
        let look = |state: &LogState| state.lines.iter().find(|line| line.contains(part)).cloned();
        let found = self.log.wait(PATIENCE, look);
        found.unwrap_or_else(|| panic!("no line with {part:?} in the log:\n{}", self.log.text()))
    }

    /// Waits for so many lines of the log with `part` in them.
    #[track_caller]
    pub fn wait_lines(&self, part: &str, count: usize) -> Vec<String> {
        let found = self.log.wait(PATIENCE, |state| {
            let lines: Vec<_> = state.lines.iter().filter(|line| line.contains(part)).cloned().collect();
            (lines.len() >= count).then_some(lines)
        });
        found.unwrap_or_else(|| panic!("no {count} lines with {part:?} in the log:\n{}", self.log.text()))
    }

    /// The directory it runs in, which was empty when it was started.
    pub fn directory(&self) -> &TempDir {
        &self.directory
    }

    /// The log so far.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("process numbers fit");
        kill(Pid::from_raw(pid), signal).expect("the child is not collected yet, so its number is its own");
    }

    /// Whether it ends within `time`.
    pub fn has_ended(&self, time: Duration) -> bool {
        self.log.wait(time, |state| state.ended.then_some(())).is_some()
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub fn wait_exit(&mut self, time: Duration) -> ExitStatus {
        let ended = self.log.wait(time, |state| state.ended.then_some(()));
        assert!(ended.is_some(), "still running after {time:?}:\n{}", self.log.text());
        self.child.wait().expect("the child is ours")
    }

    /// Stops it with SIGTERM: it must end with status 0, in time, and without a panic.
    #[track_caller]
    pub fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        let status = self.wait_exit(STOP_PATIENCE);
        assert_eq!(status.code(), Some(0), "status {status} after SIGTERM:\n{}", self.log.text());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; both calls are harmless then.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.log.wait(PATIENCE, |state| state.ended.then_some(()));
        let log = self.log.text();
        if thread::panicking() {
            eprintln!("log of the server:\n{log}");
        } else {
            assert!(!log.contains("panicked"), "the server panicked:\n{log}");
        }
    }
}

/// Runs the program to its end: status and standard error.
#[track_caller]
pub fn run_to_end(args: &[&str]) -> (Option<i32>, String) {
    let mut server = spawn(&program(), Stdio::null(), args);
    let status = server.wait_exit(PATIENCE);
    (status.code(), server.log.text())
}

/// The program under test: an absolute path, or a bare name that the system looks up.
pub fn program() -> OsString {
    match std::env::var_os("WEBSPLICE_BIN") {
        None => env!("CARGO_BIN_EXE_websplice").into(),
        Some(name) if !name.as_encoded_bytes().contains(&b'/') => name,
        Some(path) => std::path::absolute(Path::new(&path)).expect("the directory is there").into(),
    }
}

fn spawn(program: &OsStr, input: Stdio, args: &[&str]) -> Server {
    let directory = TempDir::new();
    let mut child = Command::new(program)
        .args(args)
        .current_dir(directory.path())
        .stdin(input)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
    let log = Arc::new(Log::default());
    Arc::clone(&log).follow(child.stderr.take().expect("it was asked to be piped"));
    Server { child, log, banner: String::new(), directory }
}
