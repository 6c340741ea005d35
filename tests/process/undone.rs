//! Files that a start makes and what becomes of them: those of one that fails behind `--user`, and the bits of a socket in a
//! directory that has its own rules.

use crate::support::client::{Handshake, WsClient};
use crate::support::on_both_engines;
use crate::support::server::{Server, program, run_to_end};
use crate::support::temp::TempDir;
use crate::support::wire::{PATIENCE, Wire, soon};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

on_both_engines!(
    a_start_that_fails_behind_its_user_leaves_nothing,
    a_start_that_is_killed_behind_its_user_leaves_nothing,
    nobody_stays_beside_a_server,
    a_default_access_list_narrows_no_socket,
);

/// What lies in a directory.
fn names(dir: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(dir.path()).expect("it is there").flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Whether another user can be had. Says so where it cannot.
fn is_root() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        eprintln!("skipped: only root can become somebody else");
    }
    is_root
}

/// The directory is root's, and what fails is found out only when root has been given up.
fn a_start_that_fails_behind_its_user_leaves_nothing(engine: &str) {
    if !is_root() {
        return;
    }
    let dir = TempDir::new();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let strange = dir.write("strange", "#!/no/such/interpreter\n");
    fs::set_permissions(&strange, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let (strange, log) = (dir.arg("strange"), dir.arg("own.log"));
    let unix = format!("--unix-listen={}", dir.arg("own.sock"));
    let rows: [(&[&str], &str); 5] = [
        (&[&unix, "--echo", "--buffer-memory=4MiB", "--threads=2"], "option --buffer-memory: "),
        (&["127.0.0.1:0", "--echo", "--buffer-memory=4MiB", "--threads=2"], "option --buffer-memory: "),
        (&[&unix, "--echo", "--auth-plugin=exec:false"], "--auth-plugin"),
        (&["127.0.0.1:0", "--", &strange], "-- COMMAND: "),
        (&[&unix, "--unix-target", &dir.arg("target.sock"), "--", &strange], "-- COMMAND: "),
    ];
    let own = ["--engine", engine, "--user=nobody", "--pid-file", &dir.arg("own.pid"), "--log-file", &log];
    for background in [&[][..], &["-D"]] {
        for (args, part) in &rows {
            let args = [background, &own[..], *args].concat();
            let (status, said) = run_to_end(&args);
            // What a plugin writes itself is told where it was told, and a daemon says that it is one.
            let lines = said.lines().filter(|line| !line.contains(" info ") && !line.starts_with("  - "));
            let lines: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
            assert!(status == Some(1) && lines.len() == 1 && lines[0].contains(part), "{args:?}: {said}");
            // The log says why there is nothing else.
            assert_eq!(names(&dir), ["own.log", "strange"], "{args:?}");
            let logged = fs::read_to_string(&log).expect("it is there");
            let logged: Vec<_> = logged.lines().filter(|line| !line.contains(" info ")).collect();
            assert!(logged.len() == 1 && logged[0].contains(part), "{args:?}: {logged:?}");
            fs::remove_file(&log).expect("it is there");
        }
    }
}

fn a_start_that_is_killed_behind_its_user_leaves_nothing(engine: &str) {
    if !is_root() {
        return;
    }
    let dir = TempDir::new();
    let begun = format!("{}/begun", dir.path().display());
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).expect("it is ours");
    let plugin = format!("--auth-plugin=exec:read -r hello; : > '{begun}'; cat > /dev/null");
    let mut server = Command::new(program())
        .args(["--engine", engine, "--echo", "--user=nobody", "--pid-file", &dir.arg("own.pid"), &plugin])
        .args(["--unix-listen", &dir.arg("own.sock")])
        .current_dir("/")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let until = soon();
    while !dir.join("begun").exists() {
        assert!(Instant::now() < until, "the plugin was not started");
        sleep(Duration::from_millis(5));
    }
    // From here on its user may remove nothing.
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    assert_eq!(names(&dir), ["begun", "own.pid", "own.sock"]);
    server.kill().and_then(|()| server.wait()).expect("it can be ended");
    while names(&dir) != ["begun"] {
        assert!(Instant::now() < until, "{:?}", names(&dir));
        sleep(Duration::from_millis(5));
    }
}

fn nobody_stays_beside_a_server(engine: &str) {
    if !is_root() {
        return;
    }
    let dir = TempDir::new();
    let args = ["--echo", "--user=nobody", "--pid-file", &dir.arg("own.pid")];
    let server = Server::start(engine, &args);
    let children = || -> String {
        let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("it runs").flatten();
        tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok()).collect()
    };
    let until = soon();
    while !children().is_empty() {
        assert!(Instant::now() < until, "{}", children());
        sleep(Duration::from_millis(5));
    }
    assert!(dir.join("own.pid").exists());
    server.stop();
}

/// Gives a directory a list by which what is made in it is its owner's, its group's to read, and nobody else's.
const NARROW: &str = "\
import os, struct, sys
entries = [(1, 7), (4, 4), (32, 0)]
blob = struct.pack('<I', 2) + b''.join(struct.pack('<HHI', tag, bits, 0xffffffff) for tag, bits in entries)
os.setxattr(sys.argv[1], 'system.posix_acl_default', blob)
";

/// A directory with such a list; `None`, and a word about it, where the file system has none.
fn narrow() -> Option<TempDir> {
    let dir = TempDir::new();
    let said =
        Command::new("python3").args(["-c", NARROW]).arg(dir.path()).output().expect("there is Python");
    let text = String::from_utf8_lossy(&said.stderr);
    if text.contains("Operation not supported") {
        eprintln!("skipped: {} is on a file system without access lists", dir.path().display());
        return None;
    }
    assert!(said.status.success(), "{text}");
    Some(dir)
}

fn a_default_access_list_narrows_no_socket(engine: &str) {
    let Some(dir) = narrow() else { return };
    let path = dir.join("own.sock");
    let args = ["--unix-listen", &dir.arg("own.sock"), "--unix-listen-mode=666", "--echo"];
    // The list does narrow what is made there.
    dir.write("plain", "");
    assert_eq!(fs::metadata(dir.join("plain")).expect("it is there").mode() & 0o777, 0o640);
    let users: &[&[&str]] = if is_root() { &[&[], &["--user=nobody"]] } else { &[&[]] };
    for user in users {
        let server = Server::start_on(engine, "", &[&args[..], *user].concat());
        let found = fs::symlink_metadata(&path).expect("it is there");
        assert_eq!(found.mode() & 0o7777, 0o666, "{user:?}");
        assert_eq!(found.uid() == 65_534, !user.is_empty());
        WsClient::open(Wire::unix(&path), &Handshake::new()).leave();
        server.stop();
        let _ = fs::remove_file(&path);
    }
    // What it cannot have it does not do without.
    let script = r#"mount --make-rprivate / && umount -l /proc && exec "$0" "$@""#;
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script]).arg(program()).args(["--engine", engine]).args(args);
    let said = command.output().expect("unshare is installed");
    let text = String::from_utf8_lossy(&said.stderr);
    if text.contains("unshare: ") || text.contains("mount: ") {
        eprintln!("skipped in part: {text}");
        return;
    }
    let why = "its permissions are 0640 instead of 0666, by a default access list of its directory, and cannot be changed: ";
    assert!(said.status.code() == Some(1) && text.lines().count() == 1, "{text}");
    assert!(text.contains(&format!("--unix-listen: {}: {why}", path.display())), "{text}");
    assert!(text.ends_with("; remove the list (setfacl -k), or name another directory\n"), "{text}");
    assert!(!path.exists(), "nothing is left of it");
}

/// A server that drains takes nobody in any more, and the next one takes its place. Beside the engines: it is one file.
#[test]
fn who_ends_leaves_the_socket_of_who_came_next() {
    let dir = TempDir::new();
    let (path, args) = (dir.join("own.sock"), ["--unix-listen", &dir.arg("own.sock"), "--echo"]);
    let mut first = Server::start_on("poll", "", &args);
    let client = WsClient::open(Wire::unix(&path), &Handshake::new());
    kill(Pid::from_raw(first.pid() as i32), Signal::SIGTERM).expect("it runs");
    let until = soon();
    while std::os::unix::net::UnixStream::connect(&path).is_ok() {
        assert!(Instant::now() < until, "it still listens");
        sleep(Duration::from_millis(5));
    }
    let next = Server::start_on("poll", "", &args);
    drop(client);
    assert_eq!(first.wait_exit(PATIENCE).code(), Some(0), "{}", first.log());
    assert!(path.exists(), "it is not its own");
    WsClient::open(Wire::unix(&path), &Handshake::new()).leave();
    next.stop();
    assert!(!path.exists());
}
