//! `--daemon`: what becomes of the daemon when whoever waits for it is ended.

use super::daemon::Daemon;
use super::logs::wait_text;
use crate::support::on_both_engines;
use crate::support::server::program;
use crate::support::temp::TempDir;
use crate::support::wire::{PATIENCE, soon};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::Pid;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

on_both_engines!(a_daemon_does_not_outlive_a_starter_that_was_ended,);

/// Starts a program, and is told of the end of all that it leaves, as the first process of a system is. Says its number, and of
/// each that ends its own and how it ended, a signal below zero.
const REAPER: &str = "\
import ctypes, os, sys
assert ctypes.CDLL(None).prctl(36, 1) == 0
print(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ), flush=True)
while True:
    try:
        process, status = os.wait()
    except ChildProcessError:
        break
    print(process, os.waitstatus_to_exitcode(status), flush=True)
";

/// What the reaper says, line by line, each number by itself.
struct Told {
    reaper: Child,
    lines: Receiver<Vec<i32>>,
}

impl Told {
    /// Has the program started in `directory`, with these words.
    fn start(directory: &TempDir, words: &[&str]) -> Told {
        let mut reaper = Command::new("python3")
            .args(["-c", REAPER])
            .arg(program())
            .args(words)
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("there is Python");
        let said = BufReader::new(reaper.stdout.take().expect("it is piped"));
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in said.lines().map_while(Result::ok) {
                let numbers = line.split(' ').map(|number| number.parse().expect("it says numbers"));
                // A test that has failed hears nothing any more.
                let _ = tell.send(numbers.collect());
            }
        });
        Told { reaper, lines }
    }

    #[track_caller]
    fn line(&self) -> Vec<i32> {
        self.lines.recv_timeout(PATIENCE).expect("it says something in time")
    }

    /// How this process ended, once it has.
    #[track_caller]
    fn end_of(&self, process: i32) -> i32 {
        loop {
            if let [ended, how] = self.line()[..]
                && ended == process
            {
                return how;
            }
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        // It ends by itself with the last of them, unless the test has failed.
        let _ = self.reaper.kill();
        let _ = self.reaper.wait();
    }
}

/// Whoever waits for it goes by how its starter ended: while it starts, and when it has started and nobody has heard so. It ends
/// as a start that failed.
fn a_daemon_does_not_outlive_a_starter_that_was_ended(engine: &str) {
    for starts in [false, true] {
        let directory = TempDir::new();
        let (begun, go) = (directory.join("begun"), directory.join("go"));
        nix::unistd::mkfifo(&go, Mode::S_IRWXU).expect("it is ours");
        // It is ready when somebody says so.
        let plugin =
            "--auth-plugin=exec:read -r hello; : > begun; cat go; echo '{\"ready\":true}'; cat > /dev/null";
        let words = ["--engine", engine, "-D", "--pid-file=own.pid", "--log-file=own.log", "--echo", plugin];
        let told = Told::start(&directory, &[&words[..], &["127.0.0.1:0"]].concat());
        let starter = told.line()[0];
        let until = soon();
        while !begun.exists() {
            assert!(Instant::now() < until, "the plugin was not started");
            sleep(Duration::from_millis(5));
        }
        let number = fs::read_to_string(directory.join("own.pid")).expect("it was opened before");
        let pid: i32 = number.trim().parse().expect("a number");
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let (log, go) = (directory.join("own.log"), || fs::write(&go, "").expect("the plugin reads it"));
        let daemon = Daemon { pid, address, directory };
        let tell = |signal| kill(Pid::from_raw(starter), signal).expect("it is not collected yet");
        if starts {
            tell(Signal::SIGSTOP);
            go();
            wait_text(&log, "proxying from ");
            tell(Signal::SIGTERM);
            tell(Signal::SIGCONT);
        } else {
            tell(Signal::SIGTERM);
        }
        assert_eq!(told.end_of(starter), -(Signal::SIGTERM as i32));
        if !starts {
            go();
        }
        let how = told.end_of(pid);
        let log = fs::read_to_string(&log).expect("it is there");
        assert_eq!(how, 1, "{log}");
        assert!(log.contains(" error --daemon: whoever started it was ended"), "{log}");
        assert!(!daemon.directory.join("own.pid").exists());
    }
}
