//! What the end of the program means: `--wrap-mode`.

use super::program::{WAYS, carries, dynamic, lives, number, possible, state, until, wrapping};
use crate::support::server::{Server, run_to_end};
use crate::support::target::unix_echo_at;
use crate::support::temp::TempDir;
use crate::support::wire::PATIENCE;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

#[test]
fn exit_passes_the_status_on() {
    for (script, status) in
        [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -KILL $$", 137), ("kill -TERM $$", 143)]
    {
        let (code, said) = run_to_end(&["127.0.0.1:0", "--", "sh", "-c", script]);
        assert_eq!(code, Some(status), "{script}: {said}");
        let returned = if script.starts_with("kill") { 128 - status } else { status };
        assert!(said.contains(&format!("Wrapped command exited (or daemon). Returned {returned}")), "{said}");
        assert!(said.contains("proxying from 127.0.0.1:"), "it was ready before: {said}");
    }
}

#[test]
fn exit_says_goodbye_to_sessions_first() {
    let place = TempDir::new();
    let (socket, fifo) = (place.path().join("echo"), place.path().join("fifo"));
    unix_echo_at(&socket);
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("the directory is ours");
    let target = format!("--unix-target={}", socket.display());
    let script = r#"read line < "$0"; exit 3"#;
    let words = [&target, "--", "sh", "-c", script, fifo.to_str().expect("a plain name")];
    let mut server = Server::start_on("auto", "127.0.0.1:0", &words);
    let mut client = server.client();
    client.send(&crate::support::frame::Frame::ping("sync"));
    client.next();
    File::options().write(true).open(&fifo).and_then(|mut fifo| fifo.write_all(b"\n")).expect("it reads");
    client.expect_close(1001);
    client.answer_close(1001);
    assert_eq!(server.wait_exit(PATIENCE).code(), Some(3), "{}", server.log());
}

#[test]
fn ignore_serves_what_a_daemon_leaves() {
    for way in WAYS.into_iter().filter(|way| possible(way)) {
        let how = format!("--wrap-bind={way}");
        let mut server = wrapping(&[&how, "--wrap-mode=ignore"], dynamic(), &["old", "daemon"]);
        server.wait_line("Wrapped command exited (or daemon). Returned 0");
        server.wait_line(&format!("bound 127.0.0.1 {}", number(&server, "(port ")));
        carries(&server);
        let daemon = number(&server, "serving as");
        server.signal(Signal::SIGTERM);
        until("the server ends", || !lives(server.pid()));
        assert!(lives(daemon), "it outlives the server");
        kill(Pid::from_raw(daemon as i32), Signal::SIGKILL).expect("it lives");
        assert_eq!(server.wait_exit(PATIENCE).code(), Some(0), "{}", server.log());
        until("it is collected", || state(daemon).is_none());
    }
}

/// A filter outlives the server, and a bind that nobody answers fails: somebody has to stay for it.
#[test]
fn a_daemon_can_bind_when_the_server_has_gone() {
    for (way, signal) in
        [("seccomp", Signal::SIGTERM), ("seccomp", Signal::SIGKILL), ("preload", Signal::SIGKILL)]
    {
        if !possible(way) {
            continue;
        }
        let (how, place) = (format!("--wrap-bind={way}"), TempDir::new());
        let fifo = place.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("the directory is ours");
        let late = format!("late={}", fifo.display());
        let mut server =
            wrapping(&[&how, "--wrap-mode=ignore"], dynamic(), &["old", "daemon", "other", &late]);
        server.wait_line("errors are as they should be");
        let daemon = number(&server, "waiting as");
        let new = number(&server, "(port ");
        server.signal(signal);
        until("the server ends", || !lives(server.pid()));
        File::options().write(true).open(&fifo).and_then(|mut fifo| fifo.write_all(b"\n")).expect("it reads");
        server.wait_line(&format!("bound 127.0.0.1 {new}"));
        kill(Pid::from_raw(daemon as i32), Signal::SIGKILL).expect("it lives");
        server.wait_exit(PATIENCE);
        until("it is collected", || state(daemon).is_none());
    }
}

#[test]
fn respawn_starts_it_again_and_then_waits() {
    let begun = Instant::now();
    let server = wrapping(&["--wrap-mode=respawn"], "sh", &["-c", "o=one; echo $o more >&2"]);
    server.wait_lines("one more", 3);
    let third = begun.elapsed();
    assert!(third >= Duration::from_secs(2), "the third start comes after two seconds, not {third:?}");
    server.wait_line("Command respawning too fast");
    assert_eq!(server.wait_lines("Starting 'sh -c ", 3).len(), 3, "{}", server.log());
    server.stop();
}

#[test]
fn respawn_moves_each_start_to_the_same_port() {
    for way in WAYS.into_iter().filter(|way| possible(way)) {
        let how = format!("--wrap-bind={way}");
        let server = wrapping(&[&how, "--wrap-mode=respawn"], dynamic(), &["old"]);
        let bound = format!("bound 127.0.0.1 {}", number(&server, "(port "));
        carries(&server);
        let first = number(&server, "serving as");
        kill(Pid::from_raw(first as i32), Signal::SIGKILL).expect("it lives");
        server.wait_line("Returned -9");
        server.wait_lines(&bound, 2);
        server.wait_lines("serving as", 2);
        carries(&server);
        server.stop();
    }
}

/// A program that was killed leaves its socket behind, and a bind to that name fails.
#[test]
fn respawn_recovers_a_unix_socket() {
    let server = wrapping(&["--wrap-mode=respawn"], dynamic(), &["1", "unix={unix_socket}"]);
    carries(&server);
    let first = number(&server, "serving as");
    kill(Pid::from_raw(first as i32), Signal::SIGKILL).expect("it lives");
    server.wait_lines("serving as", 2);
    carries(&server);
    server.stop();
}

/// What an earlier start has left behind ends: that is not the end of the port's use.
#[test]
fn a_later_start_keeps_its_port() {
    if !possible("preload") {
        return;
    }
    let place = TempDir::new();
    let fifo = place.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("the directory is ours");
    let script = r#"w=behind; if mkdir "$0/first"; then sleep 600 & echo "left $w $!" >&2; exit 1; fi
                    w=start; echo "second $w" >&2; read line < "$0/fifo"; exec "$1" old"#;
    let directory = place.path().to_str().expect("a plain name");
    let words = ["-c", script, directory, dynamic()];
    let server = wrapping(&["--wrap-bind=preload", "--wrap-mode=respawn"], "sh", &words);
    server.wait_line("Returned 1");
    server.wait_line("second start");
    let left = number(&server, "left behind");
    let status = std::fs::read_to_string(format!("/proc/{left}/stat")).expect("it lives");
    let warden = status.split(' ').nth(3).and_then(|word| word.parse().ok()).expect("it has a parent");
    kill(Pid::from_raw(left as i32), Signal::SIGKILL).expect("it lives");
    until("the first warden has ended", || !lives(warden));
    File::options().write(true).open(&fifo).and_then(|mut fifo| fifo.write_all(b"\n")).expect("it reads");
    server.wait_line(&format!("bound 127.0.0.1 {}", number(&server, "(port ")));
    carries(&server);
    server.stop();
}

/// A port that the program was told is nobody else's while the program does not run.
#[test]
fn a_told_port_is_held_between_two_starts() {
    // The third start comes a while after the second.
    let server = wrapping(&["--wrap-mode=respawn"], "sh", &["-c", ": {port}; exit 1"]);
    server.wait_lines("Returned 1", 2);
    let port = u16::try_from(number(&server, "(port ")).expect("a port");
    until("it is held", || std::net::TcpListener::bind(("127.0.0.1", port)).is_err());
    server.stop();
}
