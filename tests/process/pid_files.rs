//! `--pid-file` where it is shared: with file systems that lock otherwise or know no owners, and with other containers.

use super::standin::standin;
use crate::support::on_both_engines;
use crate::support::server::{Server, program, run_to_end};
use crate::support::temp::TempDir;
use crate::support::wire::{PATIENCE, soon};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

on_both_engines!(
    a_file_system_that_locks_only_what_is_written_to_will_do,
    a_file_system_that_knows_no_owners_will_do,
    who_cannot_be_seen_is_believed,
);

/// The words that start the program as on another system: `env` with these words, and those of the program.
fn elsewhere(words: &[&str], args: &[&str]) -> Option<Vec<String>> {
    let library = format!("LD_PRELOAD={}", standin()?);
    let words = words.iter().map(|word| (*word).to_owned());
    let program = program().into_string().expect("a plain path");
    let all = std::iter::once(library).chain(words).chain([program]);
    Some(all.chain(args.iter().map(|word| (*word).to_owned())).collect())
}

/// A server on another system.
#[track_caller]
fn launch(words: &[&str], args: &[&str]) -> Option<Server> {
    let all = elsewhere(words, args)?;
    Some(Server::launch("env", &all.iter().map(String::as_str).collect::<Vec<_>>()))
}

/// Status and standard error of the program on another system.
#[track_caller]
fn run(words: &[&str], args: &[&str]) -> Option<(Option<i32>, String)> {
    let said = Command::new("env").args(elsewhere(words, args)?).output().expect("it starts");
    Some((said.status.code(), String::from_utf8_lossy(&said.stderr).trim_end().to_owned()))
}

/// What lies in a directory.
fn names(dir: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(dir.path()).expect("it is there").flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// How a process has a file open, in the flags of open(2).
fn flags_of(pid: u32, path: &Path) -> Vec<i32> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").flatten();
    let there = entries.filter(|entry| fs::read_link(entry.path()).is_ok_and(|link| link == path));
    let flags = there.map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{name}")).expect("it runs");
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).expect("each has flags");
        i32::from_str_radix(flags.trim(), 8).expect("flags are octal")
    });
    flags.collect()
}

fn a_file_system_that_locks_only_what_is_written_to_will_do(engine: &str) {
    const NFS: &[&str] = &["STANDIN_NFS=1"];
    let dir = TempDir::new();
    let (path, file) = (dir.arg("own.pid"), dir.join("own.pid"));
    let args = ["--engine", engine, "--echo", "--pid-file", &path, "127.0.0.1:0"];
    let Some(mut server) = launch(NFS, &args) else { return };
    server.client().leave();
    let number = format!("{}\n", server.pid());
    assert_eq!(fs::read_to_string(&file).expect("it is there"), number);
    let held = flags_of(server.pid(), &file);
    assert!(held.len() == 1 && held[0] & libc::O_ACCMODE == libc::O_RDONLY, "{held:?}");
    let (status, said) = run(NFS, &args).expect("it loads what it loaded before");
    assert_eq!(status, Some(1), "{said}");
    let word = format!("--pid-file: {path}: process {} has it; end that first", server.pid());
    assert!(said.lines().count() == 1 && said.ends_with(&word), "{said}");
    // It may be the one to be replaced.
    let checked = run(NFS, &[&["--check"], &args[..]].concat()).expect("it loads what it loaded before");
    assert_eq!(checked, (Some(0), String::new()));
    assert_eq!(fs::read_to_string(&file).expect("it is there"), number);
    assert_eq!(names(&dir), ["own.pid"], "no draft is left");
    server.signal(Signal::SIGKILL);
    server.wait_exit(PATIENCE);
    assert_eq!(fs::read_to_string(&file).expect("a kill leaves it"), number);
    // A draft that was left is taken over as well.
    dir.write(".own.pid.new", "12");
    let next = launch(NFS, &args).expect("it loads what it loaded before");
    assert_eq!(fs::read_to_string(&file).expect("it is there"), format!("{}\n", next.pid()));
    next.stop();
    assert_eq!(names(&dir), [""; 0]);

    let none = run(&["STANDIN_NO_LOCKS=1"], &args).expect("it loads what it loaded before");
    let word =
        format!("--pid-file: {path}: {}: it cannot be locked: No locks available", dir.arg(".own.pid.new"));
    assert!(none.0 == Some(1) && none.1.lines().count() == 1 && none.1.contains(&word), "{none:?}");
    assert!(
        none.1
            .ends_with("; its file system has no locks for it; name a file on another, such as one in /run")
    );
    assert_eq!(names(&dir), [""; 0], "no draft is left");
}

fn a_file_system_that_knows_no_owners_will_do(engine: &str) {
    let dir = TempDir::new();
    let (path, file) = (dir.arg("own.pid"), dir.join("own.pid"));
    let owned = format!("STANDIN_OWNED=12345:{}", dir.path().display());
    let args = ["--engine", engine, "--echo", "--pid-file", &path, "127.0.0.1:0"];
    let Some(mut server) = launch(&[&owned], &args) else { return };
    server.signal(Signal::SIGKILL);
    server.wait_exit(PATIENCE);
    dir.write(".own.pid.new", "12");
    let checked =
        run(&[&owned], &[&["--check"], &args[..]].concat()).expect("it loads what it loaded before");
    assert_eq!(checked, (Some(0), String::new()));
    let next = launch(&[&owned], &args).expect("it loads what it loaded before");
    assert_eq!(fs::read_to_string(&file).expect("it is there"), format!("{}\n", next.pid()));
    next.stop();
    assert_eq!(names(&dir), [""; 0]);
}

/// The one child of a process.
#[track_caller]
fn child_of(pid: u32) -> i32 {
    let until = soon();
    loop {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        if let Some(child) = children.split_whitespace().next() {
            return child.parse().expect("a number");
        }
        assert!(Instant::now() < until, "it has no child");
        sleep(Duration::from_millis(5));
    }
}

/// Numbers of another container are those of other processes here, or of nobody.
fn who_cannot_be_seen_is_believed(engine: &str) {
    let binary = program().into_string().expect("a plain path");
    let contained = |args: &[&str]| -> Vec<String> {
        let all = ["--pid", "--kill-child", "--mount-proc", &*binary].into_iter().chain(args.iter().copied());
        all.map(str::to_owned).collect()
    };
    if !Command::new("unshare")
        .args(["--pid", "--kill-child", "--mount-proc", "true"])
        .status()
        .is_ok_and(|it| it.success())
    {
        eprintln!("skipped: no processes of one's own are allowed here");
        return;
    }
    let dir = TempDir::new();
    let (path, file) = (dir.arg("own.pid"), dir.join("own.pid"));
    let args = ["--engine", engine, "--echo", "--pid-file", &path, "127.0.0.1:0"];
    let refused = |(status, said): (Option<i32>, String), parts: [&str; 2]| {
        assert_eq!(status, Some(1), "{said}");
        assert!(said.lines().count() == 1 && parts.iter().all(|part| said.contains(part)), "{said}");
    };
    let output = |args: &[&str]| {
        let said = Command::new("unshare").args(contained(args)).output().expect("it did a moment ago");
        (said.status.code(), String::from_utf8_lossy(&said.stderr).trim_end().to_owned())
    };
    let checked = [&["--check"], &args[..]].concat();
    let good = (Some(0), String::new());
    let unseen = "a process that cannot be seen from here has it, of another container or machine";

    // In a container, where all are number 1.
    let all = contained(&args);
    let mut server = Server::launch("unshare", &all.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(fs::read_to_string(&file).expect("it is there"), "1\n");
    let outer = child_of(server.pid());
    let seen = format!("process {outer} has it; end that first");
    refused(run_to_end(&args), [&path, &seen]);
    refused(output(&args), [unseen, "where its number is 1; end that first, or name another file"]);
    // It may be the one to be replaced.
    assert_eq!([run_to_end(&checked), output(&checked)], [good.clone(), good.clone()]);
    kill(Pid::from_raw(outer), Signal::SIGTERM).expect("it runs");
    assert_eq!(server.wait_exit(PATIENCE).code(), Some(0), "{}", server.log());
    assert_eq!(names(&dir), [""; 0]);

    // Outside, where a container has no such number.
    let server = Server::launch(&binary, &args);
    let number = format!("where its number is {};", server.pid());
    refused(output(&args), [unseen, &number]);
    assert_eq!([run_to_end(&checked), output(&checked)], [good.clone(), good]);
    assert_eq!(fs::read_to_string(&file).expect("it is there"), format!("{}\n", server.pid()));
    server.stop();
}

/// Beside the engines: nothing is served.
#[test]
fn a_draft_that_is_none_is_told_by_a_check_too() {
    let dir = TempDir::new();
    symlink("nowhere", dir.join(".own.pid.new")).expect("it is ours");
    let path = dir.arg("own.pid");
    for (first, expected) in [("--echo", 1), ("--check", 78)] {
        let (status, said) = run_to_end(&[first, "--pid-file", &path, "--echo", "127.0.0.1:0"]);
        assert_eq!(status, Some(expected), "{said}");
        let word = format!(
            "--pid-file: {path}: {}: a symbolic link is in the way; move it",
            dir.arg(".own.pid.new")
        );
        assert!(said.lines().count() == 1 && said.ends_with(&word), "{said}");
    }
}
