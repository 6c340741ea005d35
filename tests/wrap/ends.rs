//! How the program ends with the server, and what is left of it: nothing.

use super::program::{carries, dynamic, lives, number, possible, state, until, wrapping};
use crate::support::server::{Server, program, run_to_end};
use crate::support::temp::TempDir;
use crate::support::wire::PATIENCE;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Says its number and that of a child, both of which end on SIGTERM only if they are told to. The banner has the script in
/// it, so what is waited for does not stand there.
const PAIR: &str = r#"is=is; trap "$0" TERM
    sh -c 'is=is; trap "$0" TERM; echo "child $is $$" >&2; while :; do sleep 1; done' "$0" &
    echo "parent $is $$" >&2; while :; do sleep 1; done"#;

#[test]
fn it_ends_with_the_server() {
    for mode in ["exit", "respawn"] {
        let mode = format!("--wrap-mode={mode}");
        let server = wrapping(&[&mode], dynamic(), &["old"]);
        carries(&server);
        let pid = number(&server, "serving as");
        let begun = Instant::now();
        server.stop();
        assert!(!lives(pid));
        assert!(begun.elapsed() < Duration::from_secs(3), "it took {:?}", begun.elapsed());
    }
}

#[test]
fn so_does_all_that_it_started() {
    let server = wrapping(&[], "sh", &["-c", PAIR, "exit 0"]);
    let both = [number(&server, "parent is"), number(&server, "child is")];
    server.stop();
    assert!(both.iter().all(|&pid| state(pid).is_none()), "{both:?}");
}

#[test]
fn a_daemon_does_not_get_away() {
    let server = wrapping(&["--wrap-mode=respawn"], dynamic(), &["old", "daemon"]);
    let daemon = number(&server, "serving as");
    server.stop();
    assert_eq!(state(daemon), None);
}

#[test]
fn what_does_not_listen_is_killed_at_the_deadline() {
    let mut server = wrapping(&["--drain-timeout=2s"], "sh", &["-c", PAIR, ""]);
    let both = [number(&server, "parent is"), number(&server, "child is")];
    let begun = Instant::now();
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit(PATIENCE).code(), Some(0), "{}", server.log());
    let took = begun.elapsed();
    assert!((Duration::from_millis(1500)..Duration::from_secs(6)).contains(&took), "it took {took:?}");
    assert!(both.iter().all(|&pid| state(pid).is_none()), "{both:?}");
}

#[test]
fn a_second_signal_kills_it_at_once() {
    let mut server = wrapping(&["--drain-timeout=1h"], "sh", &["-c", PAIR, ""]);
    let both = [number(&server, "parent is"), number(&server, "child is")];
    let begun = Instant::now();
    server.signal(Signal::SIGTERM);
    server.wait_line("stop signal=SIGTERM");
    server.signal(Signal::SIGINT);
    assert_eq!(server.wait_exit(PATIENCE).code(), Some(0), "{}", server.log());
    assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
    assert!(both.iter().all(|&pid| state(pid).is_none()), "{both:?}");
}

#[test]
fn it_ends_when_the_server_is_killed() {
    let mut server = wrapping(&[], dynamic(), &["old"]);
    let pid = number(&server, "serving as");
    server.signal(Signal::SIGKILL);
    server.wait_exit(PATIENCE);
    until("the program ends", || state(pid).is_none());
}

/// The children of a process, of whichever thread.
fn children(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of_task = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("children")).ok();
    let all: String = tasks.filter_map(of_task).collect();
    all.split_whitespace().map(|child| child.parse().expect("a number")).collect()
}

#[test]
fn nobody_goes_on_when_the_process_between_is_killed() {
    let mut server = wrapping(&[], dynamic(), &["old"]);
    carries(&server);
    let pid = number(&server, "serving as");
    let wardens = children(server.pid());
    kill(Pid::from_raw(wardens[0] as i32), Signal::SIGKILL).expect("it lives");
    server.wait_line("wrap error: its warden is gone");
    assert_eq!(server.wait_exit(PATIENCE).code(), Some(1), "{}", server.log());
    until("the program ends", || !lives(pid));
}

#[test]
fn nothing_is_left_to_be_collected() {
    let server = wrapping(&[], dynamic(), &["old", "orphans"]);
    carries(&server);
    let wardens = children(server.pid());
    assert_eq!(wardens.len(), 1, "one warden: {wardens:?}");
    // The grandchildren end by themselves, and somebody has to take note of it.
    until("all are collected", || children(wardens[0]) == [number(&server, "serving as")]);
    server.stop();
}

#[test]
fn what_cannot_be_started_is_told_in_one_line() {
    let place = TempDir::new();
    let (plain, strange) = (place.path().join("plain"), place.path().join("strange"));
    std::fs::write(&plain, "").expect("the directory is ours");
    std::fs::write(&strange, "#!/no/such/interpreter\n").expect("the directory is ours");
    std::fs::set_permissions(&strange, std::fs::Permissions::from_mode(0o755)).expect("the file is ours");
    let (plain, strange) = (plain.to_str().expect("plain"), strange.to_str().expect("plain"));
    for (program, why) in [
        ("no-such-program", "-- COMMAND: no-such-program: no such program in the directories of PATH"),
        ("/no/such/program", "-- COMMAND: /no/such/program: no such program"),
        (plain, "plain: may not be executed"),
        ("/dev", "-- COMMAND: /dev: a directory; name a program in it"),
        (strange, "strange: No such file or directory"),
    ] {
        let (status, said) = run_to_end(&["127.0.0.1:0", "--", program]);
        assert_eq!(status, Some(1), "{said}");
        assert!(said.lines().last().is_some_and(|line| line.contains(why)), "{program}: {said}");
        assert!(!said.contains("proxying from"), "{said}");
    }
}

/// A desktop's worth of programs would otherwise find themselves with a server's descriptors, signals and terminal.
#[test]
fn it_starts_with_nothing_but_its_streams() {
    let script = r#"fds=$(ls /proc/self/fd | tr '\n' ' '); echo "fds $fds." >&2; grep -E 'Sig(Blk|Ign)' /proc/self/status >&2; echo done >&2"#;
    for way in ["seccomp", "preload", "none"].into_iter().filter(|way| possible(way)) {
        let how = format!("--wrap-bind={way}");
        let (status, said) = run_to_end(&[&how, "127.0.0.1:0", "--", "sh", "-c", script]);
        assert_eq!(status, Some(0), "{said}");
        // The fourth is the one with which ls reads the directory.
        assert!(said.contains("fds 0 1 2 3 ."), "{said}");
        assert!(said.contains("SigBlk:\t0000000000000000"), "{said}");
        let ignored = said.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let ignored = ignored.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
        assert!(ignored.is_some_and(|bits| bits & 1 << (Signal::SIGPIPE as u64 - 1) == 0), "{said}");
    }
}

/// The server raises its own, and some programs close all descriptors that they could have.
#[test]
fn its_limit_of_descriptors_is_the_one_before() {
    let program = program();
    let program = program.to_str().expect("its path can be written");
    let script = r#"ulimit -Sn 321; exec "$0" "$@""#;
    let words =
        ["-c", script, program, "127.0.0.1:0", "--", "sh", "-c", "i=is; echo has $i $(ulimit -Sn) >&2; cat"];
    let mut server = Server::launch("sh", &words);
    assert_eq!(number(&server, "has is"), 321);
    assert_eq!(server.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn its_standard_input_is_the_servers() {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let mut child = Command::new(program())
        .args(["127.0.0.1:0", "--", "sh", "-c", "read word; exit $word"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(b"23\n").expect("it reads");
    assert_eq!(child.wait().expect("it is ours").code(), Some(23));
}

#[test]
fn two_servers_do_not_mind_each_other() {
    let servers: Vec<Server> = (0..3).map(|_| wrapping(&[], dynamic(), &["old"])).collect();
    servers.iter().for_each(carries);
    servers.into_iter().for_each(Server::stop);
}

/// A program's start can take long: reading it from a server of files, say. A lease holds it up here.
#[test]
fn a_signal_is_heard_while_the_program_starts() {
    let place = TempDir::new();
    let file = place.write("program", "#!/bin/sh\nexec sleep 600\n");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    let lease = "import fcntl, signal, sys\n\
                 signal.signal(signal.SIGIO, signal.SIG_IGN)\n\
                 f = open(sys.argv[1], 'r+')\n\
                 fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_WRLCK)\n\
                 print('held', flush=True)\n\
                 sys.stdin.read()\n";
    let mut holder = Command::new("python3")
        .args(["-c", lease])
        .arg(&file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("there is Python");
    let mut word = String::new();
    let output = holder.stdout.take().expect("it is piped");
    BufReader::new(output).read_line(&mut word).expect("it is text");
    if word != "held\n" {
        holder.wait().expect("it is ours");
        eprintln!("skipped: no leases on this file system");
        return;
    }
    let mut server = Command::new(program())
        .args(["-v", "--drain-timeout=0", "127.0.0.1:0", "--"])
        .arg(&file)
        .arg("{port}")
        .current_dir(place.path())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(server.stderr.take().expect("it is piped")).lines();
    let begun = lines.by_ref().map_while(Result::ok).any(|line| line.contains("start engine="));
    kill(Pid::from_raw(server.id() as i32), Signal::SIGTERM).expect("it runs");
    until("the server ends", || !lives(server.id()));
    let status = server.wait().expect("it is ours");
    // Whoever holds the lease lets go at the end of its input; the program then starts, and ends for want of a server.
    drop(holder.stdin.take());
    holder.wait().expect("it is ours");
    let rest: Vec<_> = lines.map_while(Result::ok).collect();
    assert!(begun && status.code() == Some(0), "{status}: {rest:?}");
    assert!(rest.iter().any(|line| line.contains("stop signal=SIGTERM")), "{rest:?}");
}
