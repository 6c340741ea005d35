//! `--daemon`: what becomes of the daemon when whoever waits for it is ended.

use super::daemon::Daemon;
use super::logs::wait_text;
use crate::support::on_both_engines;
use crate::support::server::program;
use crate::support::temp::TempDir;
use crate::support::wire::soon;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::Pid;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

on_both_engines!(a_daemon_does_not_outlive_a_starter_that_was_ended,);

/// Whoever waits for it goes by how its starter ended: while it starts, and when it has started and nobody has heard so.
fn a_daemon_does_not_outlive_a_starter_that_was_ended(engine: &str) {
    for starts in [false, true] {
        let directory = TempDir::new();
        let (begun, go) = (directory.join("begun"), directory.join("go"));
        nix::unistd::mkfifo(&go, Mode::S_IRWXU).expect("it is ours");
        // It is ready when somebody says so.
        let plugin =
            "--auth-plugin=exec:read -r hello; : > begun; cat go; echo '{\"ready\":true}'; cat > /dev/null";
        let mut starter = Command::new(program())
            .args(["--engine", engine, "-D", "--pid-file=own.pid", "--log-file=own.log", "--echo", plugin])
            .arg("127.0.0.1:0")
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
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
        let tell = |signal| {
            let own = i32::try_from(starter.id()).expect("process numbers fit");
            kill(Pid::from_raw(own), signal).expect("it is ours");
        };
        if starts {
            tell(Signal::SIGSTOP);
            go();
            wait_text(&log, "proxying from ");
            tell(Signal::SIGTERM);
            tell(Signal::SIGCONT);
        } else {
            tell(Signal::SIGTERM);
        }
        let status = starter.wait().expect("it is ours");
        assert_eq!(status.signal(), Some(Signal::SIGTERM as i32), "{status}");
        if !starts {
            go();
        }
        let until = soon();
        while !daemon.has_ended() {
            assert!(Instant::now() < until, "it serves: {}", fs::read_to_string(&log).unwrap_or_default());
            sleep(Duration::from_millis(5));
        }
        let log = fs::read_to_string(&log).expect("it is there");
        assert!(log.contains(" warn --daemon: whoever started it was ended"), "{log}");
        assert!(!daemon.directory.join("own.pid").exists());
    }
}
