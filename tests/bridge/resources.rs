//! What the process takes and what it says about limits: cores, memory, descriptors, sessions, standard error.

use crate::support::client::Message;
use crate::support::frame::Frame;
use crate::support::on_both_engines;
use crate::support::server::{Server, program, run_to_end};
use crate::support::temp::TempDir;
use crate::support::wire::PATIENCE;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

on_both_engines!(
    one_thread_is_left_to_the_scheduler,
    a_quota_of_the_group_bounds_the_shards,
    a_thread_for_every_core_is_pinned,
    a_mask_of_one_core_is_one_shard_on_it,
    a_low_limit_of_descriptors_is_told,
    a_limit_of_addresses_is_told_to_who_asked_for_more,
    too_few_descriptors_for_an_engine_are_an_error,
    little_buffer_memory_is_refused,
    a_limit_of_addresses_ends_sessions_and_not_the_process,
    places_are_never_exceeded,
    standard_error_may_be_full,
);

/// The cores that each shard of `server` may run on.
fn cores_of_shards(server: &Server) -> Vec<String> {
    let mut cores = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{}/task", server.pid())).expect("it runs") {
        let path = task.expect("readable").path().join("status");
        // Threads that end meanwhile are none of ours.
        let Ok(status) = std::fs::read_to_string(path) else { continue };
        let field = |name| status.lines().find_map(|line: &str| line.strip_prefix(name)).map(str::trim);
        if field("Name:").is_some_and(|name| name.starts_with("shard-")) {
            cores.push(field("Cpus_allowed_list:").expect("it is always there").to_owned());
        }
    }
    cores.sort();
    cores
}

fn allowed() -> usize {
    thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// A shortage is no reason to fall back: what is short for one engine is short for all that comes later.
fn too_few_descriptors_for_an_engine_are_an_error(engine: &str) {
    let directory = TempDir::new();
    for choice in [engine, "auto"] {
        let output = Command::new("prlimit")
            .arg("--nofile=5:5")
            .arg(program())
            .current_dir(directory.path())
            .args(["--engine", choice, "--threads", "1", "--echo", "127.0.0.1:0"])
            .output()
            .expect("prlimit comes with every Linux");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let last = said.lines().last().unwrap_or_default();
        assert!(
            last.contains("cannot be set up: Too many open files") && last.contains("ulimit -n"),
            "{said}"
        );
        assert!(!said.contains("instead of ring"), "{said}");
    }
}

fn one_thread_is_left_to_the_scheduler(engine: &str) {
    let server = Server::start(engine, &["--echo", "--threads=1"]);
    let cores = cores_of_shards(&server);
    assert_eq!(cores.len(), 1);
    let is_one = cores[0].parse::<usize>().is_ok();
    assert_eq!(is_one, allowed() == 1, "{cores:?}");
    server.stop();
}

/// A control group of a test's own, removed with it. `None` where groups cannot be made.
struct Group(PathBuf);

impl Group {
    fn with_one_core(name: &str) -> Option<Group> {
        let root = Path::new("/sys/fs/cgroup");
        let (top, quota) = match root.join("cgroup.controllers").exists() {
            true => (root.to_owned(), [("cpu.max", "100000 100000")].as_slice()),
            false => (
                root.join("cpu"),
                [("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "100000")].as_slice(),
            ),
        };
        let group = Group(top.join(format!("websplice-{name}-{}", std::process::id())));
        std::fs::create_dir(&group.0).ok()?;
        let written = quota.iter().all(|(file, text)| std::fs::write(group.0.join(file), text).is_ok());
        written.then_some(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Its last process may have been waited for a moment before the kernel has it out of the group.
        let until = Instant::now() + PATIENCE;
        while self.0.exists() && std::fs::remove_dir(&self.0).is_err() && Instant::now() < until {
            thread::yield_now();
        }
    }
}

fn a_quota_of_the_group_bounds_the_shards(engine: &str) {
    let Some(group) = Group::with_one_core(engine).filter(|_| allowed() > 1) else {
        eprintln!("skipped: no control group can be made here, or there is one core");
        return;
    };
    let enter = format!("echo $$ > {}/cgroup.procs && exec \"$0\" \"$@\"", group.0.display());
    let (program, listen) = (program(), "127.0.0.1:0");
    let program = program.to_str().expect("the build's own path is text");
    let server = Server::launch("sh", &["-c", &enter, program, "--engine", engine, "--echo", listen]);
    assert_eq!(cores_of_shards(&server).len(), 1);
    server.stop();
}

fn a_thread_for_every_core_is_pinned(engine: &str) {
    let server = Server::echo(engine);
    let mut cores = cores_of_shards(&server);
    assert!(cores.iter().all(|core| core.parse::<usize>().is_ok()), "{cores:?}");
    cores.dedup();
    assert_eq!(cores.len(), allowed());
    server.stop();
}

/// The numbers of the cores that this test may use.
fn numbers_allowed() -> Vec<usize> {
    let status = std::fs::read_to_string("/proc/self/status").expect("it is always there");
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("always there");
    let number = |word: &str| word.trim().parse::<usize>().expect("a number of a core");
    let span = |word: &str| match word.split_once('-') {
        Some((first, last)) => number(first)..=number(last),
        None => number(word)..=number(word),
    };
    list.split(',').flat_map(span).collect()
}

/// As a service manager or `taskset` restricts it. More threads than the mask has cores are left to the scheduler, inside it.
fn a_mask_of_one_core_is_one_shard_on_it(engine: &str) {
    let cores = numbers_allowed();
    assert_eq!(cores.len(), allowed());
    // The first and the last: a shard that only counts cores would be on the first of them.
    for core in [cores.first(), cores.last()] {
        let core = core.expect("this test runs on one").to_string();
        let program = program().into_string().expect("a readable path");
        let words = ["-c", &core, &program, "--engine", engine, "--echo", "127.0.0.1:0"];
        for (more, expected) in [(&[][..], 1), (&["--threads=2"], 2)] {
            let server = Server::launch("taskset", &[&words[..], more].concat());
            assert_eq!(cores_of_shards(&server), vec![core.clone(); expected], "{more:?}");
            server.client().leave();
            server.stop();
        }
    }
}

fn a_low_limit_of_descriptors_is_told(engine: &str) {
    let words = ["-c", "ulimit -n 200; exec \"$0\" \"$@\""];
    let path = program().into_string().expect("a readable path");
    let rest =
        [path.as_str(), "--engine", engine, "--threads=1", "--max-sessions=51", "--echo", "127.0.0.1:0"];
    let server = Server::launch("sh", &[&words[..], &rest].concat());
    let line = server.wait_line("max_sessions=50 instead of 51");
    assert!(line.contains("ulimit -Hn") && line.contains(" warn "), "{line}");
    server.stop();
}

/// Of a number that was asked for any less is told, however much is left; by a check too.
fn a_limit_of_addresses_is_told_to_who_asked_for_more(engine: &str) {
    let path = program().into_string().expect("a readable path");
    for limit in ["--as=900000000", "--data=800000000"] {
        let words =
            [limit, &path, "--engine", engine, "--threads=1", "--max-sessions=9500", "--echo", "127.0.0.1:0"];
        let server = Server::launch("prlimit", &words);
        let line = server.wait_line(" instead of 9500: limits of memory leave this process ");
        let most = line.split("max_sessions=").nth(1).and_then(|rest| rest.split(' ').next());
        let most: usize = most.and_then(|number| number.parse().ok()).expect("a number");
        assert!(most >= 4096 && line.contains(" warn "), "{line}");
        assert!(line.contains("ulimit -v") && line.ends_with(" or lower --max-sessions"), "{line}");
        server.stop();
        let check =
            Command::new("prlimit").args(words).arg("--check").output().expect("it comes with every Linux");
        let said = String::from_utf8_lossy(&check.stderr);
        assert!(
            said.contains("warning: max_sessions=") && said.contains(" instead of 9500: limits"),
            "{said}"
        );
        assert_eq!(check.status.code(), Some(0), "{said}");
    }
}

fn little_buffer_memory_is_refused(engine: &str) {
    let words = ["--engine", engine, "--threads=2", "--buffer-memory=7MiB", "--echo", "127.0.0.1:0"];
    let (status, said) = run_to_end(&words);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("--buffer-memory: 2 threads need at least 8MiB"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

/// Unfinished messages have to be kept. Whose message finds no memory any more is sent away; the others go on, whether it was
/// the ceiling of buffers that was met or the system that gave nothing.
fn a_limit_of_addresses_ends_sessions_and_not_the_process(engine: &str) {
    let path = program().into_string().expect("a readable path");
    let beginning = Frame::binary(vec![0x5a; 1023 * 1024]).more().bytes();
    let rows = [
        ("--as=500000000", None, 100),
        ("--data=400000000", None, 100),
        ("--as=500000000", Some("--buffer-memory=4GiB"), 200),
    ];
    for (limit, more, clients) in rows {
        let mut words = vec![limit, &path, "--engine", engine, "--threads=2", "--echo", "127.0.0.1:0"];
        words.extend(more);
        let server = Server::launch("prlimit", &words);
        let mut quiet = server.client();
        let crowd: Vec<_> = (0..clients).map(|_| server.client()).collect();
        let writers: Vec<_> = crowd.iter().map(|client| client.send_beside(beginning.clone())).collect();
        server.wait_line("end=no_memory");
        quiet.send(&Frame::binary("still here"));
        quiet.expect(&Message::Binary(b"still here".to_vec()));
        for (client, writer) in crowd.into_iter().zip(writers) {
            client.inbox.wire.shut(Shutdown::Both);
            // It may have been sent away before it had said all.
            let _ = writer.join().expect("it only writes");
        }
        server.client().leave();
        quiet.leave();
        server.stop();
    }
}

fn places_are_never_exceeded(engine: &str) {
    let server = Server::start(engine, &["--echo", "--threads=2", "--max-sessions=2"]);
    let mut inside: Vec<_> = (0..2).map(|_| server.client()).collect();
    let mut outside: Vec<TcpStream> = (0..4)
        .map(|_| {
            let mut wire = TcpStream::connect(server.address()).expect("the kernel takes it");
            wire.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("the kernel takes it");
            wire.set_read_timeout(Some(Duration::from_millis(100))).expect("not zero");
            wire
        })
        .collect();
    for wire in &mut outside {
        assert!(wire.read(&mut [0; 1]).is_err(), "answered beyond the places there are");
    }
    inside.pop().expect("there are two").leave();
    for wire in &mut outside {
        wire.set_read_timeout(Some(PATIENCE)).expect("not zero");
        assert_eq!(wire.read(&mut [0; 1]).expect("its turn has come"), 1);
        // An answered client has to go before the next has a place.
        let _ = wire.shutdown(Shutdown::Both);
    }
    inside[0].send(&Frame::binary("still here"));
    server.stop();
}

fn standard_error_may_be_full(engine: &str) {
    // The port must be known beforehand, as nothing can be read of what is said.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("it is bound");
    drop(free);
    let full = File::options().write(true).open("/dev/full").expect("every Linux has it");
    let directory = TempDir::new();
    let mut child = Command::new(program())
        .current_dir(directory.path())
        .args(["--engine", engine, "--echo", &address.to_string()])
        .stderr(full)
        .stdin(Stdio::null())
        .spawn()
        .expect("it starts");
    let until = Instant::now() + PATIENCE;
    let wire = loop {
        match TcpStream::connect(address) {
            Ok(wire) => break Some(wire),
            Err(_) if Instant::now() < until => thread::sleep(Duration::from_millis(20)),
            Err(_) => break None,
        }
    };
    let mut line = String::new();
    if let Some(mut wire) = wire {
        let _ = wire.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let _ = BufReader::new(wire).read_line(&mut line);
    }
    let ended = child.try_wait().expect("it is ours");
    let _ = child.kill();
    let _ = child.wait();
    assert!(ended.is_none() && line.starts_with("HTTP/1.1 405"), "{ended:?} {line:?}");
}
