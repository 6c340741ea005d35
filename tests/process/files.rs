//! The files that a start makes: none of them twice, and none left by a start that fails. Beside the engines: nothing is
//! served.

use crate::support::server::{program, run_to_end};
use crate::support::temp::TempDir;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

/// Words with `$` for a directory, what a start and a check say of them, and how the check ends.
#[test]
fn two_options_never_have_the_same_file() {
    let dir = TempDir::new();
    fs::create_dir(dir.join("folder")).expect("it is ours");
    symlink("far", dir.join("near")).expect("it is ours");
    let rows = [
        ("--pid-file=$/p|--log-file=$/.p.new|0|a:1", "--pid-file: ", "/.p.new: --log-file has it already"),
        (
            "--pid-file=$/p|--unix-listen=$/.p.new|a:1",
            "--unix-listen: ",
            "/.p.new: --pid-file has it already",
        ),
        ("--pid-file=$/s|--unix-listen=$/s|a:1", "--unix-listen: ", "/s: --pid-file has it already; name"),
        ("--log-file=$/s|--unix-listen=$/folder/../s|a:1", "--unix-listen: ", "--log-file has it already"),
        ("--log-file=$/s|--pid-file=$/s|0|a:1", "--pid-file: ", "--log-file has it already; name another"),
        ("--log-file=$/near|--pid-file=$/far|0|a:1", "--pid-file: ", "--log-file has it already"),
        ("--record=$/s|--log-file=$/s.1|0|a:1", "--log-file: ", "s.1: --record calls recordings so; name"),
        ("--record=$/s|--record-size=64KiB|--pid-file=$/s.7.part2|0|a:1", "--pid-file: ", "--record calls"),
    ];
    let path = dir.arg("");
    for (words, option, part) in rows {
        let words = words.replace("$/", &path);
        let words: Vec<_> = words.split('|').collect();
        for (args, status) in [(words.clone(), 1), ([&["--check"], &words[..]].concat(), 78)] {
            let (said, log) = run_to_end(&args);
            assert_eq!(said, Some(status), "{args:?}: {log}");
            assert!(log.lines().count() == 1 && log.contains(option) && log.contains(part), "{log}");
            assert_eq!(fs::read_dir(dir.path()).expect("it is there").count(), 2, "{args:?}");
        }
    }
    let apart = ["--check", "--record", &dir.arg("s"), "--log-file", &dir.arg("s.log"), "0", "a:1"];
    assert_eq!(run_to_end(&apart), (Some(0), String::new()));
}

#[test]
fn a_socket_beside_inetd_is_told() {
    let (status, log) = run_to_end(&["--check", "--inetd", "--unix-listen=/no/where/x", "a:1"]);
    assert_eq!(status, Some(78), "{log}");
    assert!(log.contains("--unix-listen: /no/where/x: ignored, since with --inetd"), "{log}");
}

/// Nobody is left who could take them away once root is given up, so what its user may not do is found out before.
#[test]
fn a_failed_start_leaves_nothing_behind() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can become somebody else");
        return;
    }
    let dir = TempDir::new();
    let place = dir.path().to_str().expect("temporary paths are plain");
    let program = dir.write("own", "#!/bin/sh\n");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).expect("it is ours");
    let own = ["--user=nobody", "--pid-file", &dir.arg("own.pid")].map(str::to_owned);
    let unix = format!("--unix-listen={}", dir.arg("own.sock"));
    let rows: [(&[&str], &str); 2] = [
        (&[&unix, "--echo", &format!("--record={place}/desk")], "option --record: "),
        (&["127.0.0.1:0", "--", &format!("{place}/own")], "own: user 65534 may not execute it; change"),
    ];
    for (args, part) in rows {
        let args: Vec<_> = own.iter().map(String::as_str).chain(args.iter().copied()).collect();
        for (args, status) in [(args.clone(), 1), ([&["--check"], &args[..]].concat(), 78)] {
            let (said, log) = run_to_end(&args);
            assert_eq!(said, Some(status), "{args:?}: {log}");
            assert!(log.lines().count() == 1 && log.contains(part), "{args:?}: {log}");
            let left: Vec<_> = fs::read_dir(dir.path()).expect("it is there").flatten().collect();
            assert!(left.len() == 1, "{args:?}: {left:?}");
        }
    }
}

/// A limit stands for the full disk.
#[test]
fn a_pid_file_that_cannot_be_written_is_no_leftover() {
    let dir = TempDir::new();
    let words = "trap '' XFSZ; ulimit -f 0; exec \"$0\" --pid-file=own.pid --echo 127.0.0.1:0";
    let said = Command::new("/bin/sh").args(["-c", words]).arg(program()).current_dir(dir.path()).output();
    let said = said.expect("it starts");
    let log = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.code() == Some(1) && log.contains("--pid-file: "), "{log}");
    assert!(log.contains("own.pid.new: ") && log.contains("; check the file"), "{log}");
    assert_eq!(fs::read_dir(dir.path()).expect("it is there").count(), 0, "no draft is left either");
}

/// Every option that names a file says how it can be told where it is.
#[test]
fn without_a_working_directory_absolute_paths_are_asked_for() {
    let dir = TempDir::new();
    for word in ["--record=x", "--log-file=x", "--pid-file=x", "--unix-target=x"] {
        let words = "mkdir gone; cd gone; rmdir ../gone; exec \"$0\" \"$1\" --check 0 a:1";
        let words = if word.starts_with("--unix") { words.replace(" a:1", "") } else { words.to_owned() };
        let mut shell = Command::new("/bin/sh");
        let said = shell.args(["-c", &words]).arg(program()).arg(word).current_dir(dir.path()).output();
        let log = String::from_utf8_lossy(&said.expect("it starts").stderr).into_owned();
        assert!(log.contains("x: No such file") && log.contains("; name an absolute path"), "{word}: {log}");
    }
}
