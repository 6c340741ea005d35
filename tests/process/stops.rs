//! Signals that come before the first client may: what becomes of the start, and what whoever waits for it learns.

use super::logs::wait_text;
use super::standin::standin;
use crate::support::on_both_engines;
use crate::support::server::program;
use crate::support::temp::TempDir;
use crate::support::wire::soon;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

on_both_engines!(who_is_stopped_while_its_program_starts, who_is_stopped_while_its_plugin_starts);

/// Waits for what raises no event.
#[track_caller]
fn until(what: &str, condition: impl Fn() -> bool) {
    let last = soon();
    while !condition() {
        assert!(Instant::now() < last, "{what}: not in time");
        sleep(Duration::from_millis(5));
    }
}

/// What the process that was started ended with, and what was said at its terminal.
#[track_caller]
fn end_of(mut child: Child) -> (Option<i32>, String) {
    let last = soon();
    while child.try_wait().expect("it is ours").is_none() {
        if Instant::now() >= last {
            let _ = child.kill();
            panic!("it goes on");
        }
        sleep(Duration::from_millis(5));
    }
    let said = child.wait_with_output().expect("it is ours");
    (said.status.code(), String::from_utf8_lossy(&said.stderr).into_owned())
}

/// The process that serves, by its file.
fn server_of(dir: &TempDir) -> Pid {
    let number = fs::read_to_string(dir.join("own.pid")).expect("it was made before");
    Pid::from_raw(number.trim().parse().expect("a number"))
}

/// A server in the foreground did what it was told to. A daemon does not serve, which whoever started it has to learn.
#[track_caller]
fn expect_stopped(dir: &TempDir, child: Child, is_daemon: bool) {
    let (status, said) = end_of(child);
    assert!(!said.contains("proxying from"), "{said}");
    let log = fs::read_to_string(dir.join("own.log")).expect("it is there");
    assert!(log.contains(" info stop signal=SIGTERM") && !log.contains("proxying from"), "{log}");
    let word = "--daemon: a signal stopped it before clients could connect; start it again";
    assert_eq!((status, said.contains(word)), (Some(i32::from(is_daemon)), is_daemon), "{said}");
    until("its file is removed", || !dir.join("own.pid").exists());
}

/// Starts it so that it says nothing but to this test.
fn start(engine: &str, dir: &Path, words: &[&str], args: &[&str]) -> Child {
    Command::new("env")
        .args(words)
        .arg(program())
        .args(["--engine", engine, "--pid-file=own.pid", "--log-file=own.log", "--threads=2"])
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts")
}

/// Makes a pipe at whose other end somebody waits.
fn pipe(dir: &TempDir) -> std::path::PathBuf {
    let pipe = dir.join("go");
    nix::unistd::mkfifo(&pipe, Mode::S_IRWXU).expect("it is ours");
    pipe
}

fn who_is_stopped_while_its_program_starts(engine: &str) {
    let Some(library) = standin() else { return };
    for is_daemon in [false, true] {
        let dir = TempDir::new();
        let (go, begun) = (pipe(&dir), dir.join("begun"));
        let held = dir.write("held", "#!/bin/sh\nexec sleep 600\n");
        fs::set_permissions(&held, fs::Permissions::from_mode(0o755)).expect("it is ours");
        let words = [
            format!("LD_PRELOAD={library}"),
            format!("STANDIN_HOLD={}", go.display()),
            format!("STANDIN_BEGUN={}", begun.display()),
        ];
        let words = words.each_ref().map(String::as_str);
        let background: &[&str] = if is_daemon { &["-D"] } else { &[] };
        let held = dir.arg("held");
        let child = start(engine, dir.path(), &words, &[background, &["127.0.0.1:0", "--", &held]].concat());
        until("the program is started", || begun.exists());
        kill(server_of(&dir), Signal::SIGTERM).expect("it runs");
        wait_text(&dir.join("own.log"), "stop signal=SIGTERM");
        fs::write(&go, "").expect("somebody reads it");
        expect_stopped(&dir, child, is_daemon);
    }
}

fn who_is_stopped_while_its_plugin_starts(engine: &str) {
    for is_daemon in [false, true] {
        let dir = TempDir::new();
        let (go, begun) = (pipe(&dir), dir.join("begun"));
        let plugin =
            "--auth-plugin=exec:read -r hello; : > begun; cat go; echo '{\"ready\":true}'; cat > /dev/null";
        let background: &[&str] = if is_daemon { &["-D"] } else { &[] };
        let child =
            start(engine, dir.path(), &[], &[background, &["--echo", plugin, "127.0.0.1:0"]].concat());
        until("the plugin is started", || begun.exists());
        let server = server_of(&dir);
        kill(server, Signal::SIGTERM).expect("it runs");
        // Somebody has taken it.
        until("the signal is heard", || {
            let status = fs::read_to_string(format!("/proc/{server}/status")).expect("it runs");
            let pending =
                status.lines().find_map(|line| line.strip_prefix("ShdPnd:")).expect("each has some");
            let pending = u64::from_str_radix(pending.trim(), 16).expect("it is hexadecimal");
            pending & 1 << (Signal::SIGTERM as u64 - 1) == 0
        });
        fs::write(&go, "").expect("the plugin reads it");
        expect_stopped(&dir, child, is_daemon);
    }
}
