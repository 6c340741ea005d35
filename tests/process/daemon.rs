//! `--daemon`, `--pid-file` and `--user`: what becomes of the process, and what whoever started it learns.

use super::logs::wait_text;
use crate::support::client::{Handshake, WsClient};
use crate::support::on_both_engines;
use crate::support::server::{Server, program, run_to_end};
use crate::support::temp::TempDir;
use crate::support::wire::{PATIENCE, Wire, soon};
use nix::fcntl::{FcntlArg, FdFlag, Flock, FlockArg, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

on_both_engines!(
    it_leaves_and_serves,
    it_inherits_nothing,
    secrets_are_not_in_the_list_of_processes,
    relative_paths_mean_what_they_meant,
    a_failed_start_is_seen_where_it_was_started,
    a_log_goes_on_behind_the_fork,
    a_wrapped_program_holds_no_terminal,
    one_process_for_each_pid_file,
    a_pid_file_without_a_daemon,
    plugins_run_where_it_was_started,
    another_user_serves,
    its_files_are_open_to_nobody_else,
);

/// A daemon, found by its file and ended by its number.
pub(super) struct Daemon {
    pub(super) pid: i32,
    pub(super) address: SocketAddr,
    pub(super) directory: TempDir,
}

impl Daemon {
    /// Starts one with these words in a directory of its own, where it writes `own.pid`.
    #[track_caller]
    fn start(engine: &str, args: &[&str]) -> Daemon {
        Daemon::start_by(&mut Command::new(program()), engine, args)
    }

    /// The same by a command that the words are for.
    #[track_caller]
    pub(super) fn start_by(starter: &mut Command, engine: &str, args: &[&str]) -> Daemon {
        let directory = TempDir::new();
        let said = starter
            .args(["-v", "--engine", engine, "-D", "--pid-file=own.pid", "--echo", "127.0.0.1:0"])
            .args(args)
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .output()
            .expect("it starts");
        let log = String::from_utf8_lossy(&said.stderr).into_owned();
        assert_eq!(said.status.code(), Some(0), "{log}");
        assert!(log.contains("  - Backgrounding (daemon)\n"), "{log}");
        let address = log.split_once("proxying from ").and_then(|(_, rest)| rest.split_once(" to "));
        let address = address.unwrap_or_else(|| panic!("{log}")).0.parse().expect("a banner has an address");
        let number =
            fs::read_to_string(directory.join("own.pid")).expect("it is there when the starter has ended");
        let pid =
            number.strip_suffix('\n').and_then(|number| number.parse().ok()).expect("a line with a number");
        Daemon { pid, address, directory }
    }

    /// A file of its own under `/proc`.
    fn proc(&self, name: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{name}", self.pid)).expect("it runs")
    }

    /// What a link under `/proc` leads to.
    fn link(&self, name: &str) -> String {
        let link = fs::read_link(format!("/proc/{}/{name}", self.pid)).expect("it runs");
        link.to_string_lossy().into_owned()
    }

    /// A line of its status.
    #[track_caller]
    fn status(&self, name: &str) -> String {
        status_of(self.pid, name)
    }

    #[track_caller]
    pub(super) fn serves(&self) {
        WsClient::open(Wire::tcp(self.address), &Handshake::new()).leave();
    }

    fn signal(&self, signal: Signal) {
        // It may have ended by itself, which is for the test to see.
        let _ = kill(Pid::from_raw(self.pid), signal);
    }

    /// It is no child of ours, so nothing tells when it ends.
    pub(super) fn has_ended(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
    }

    #[track_caller]
    pub(super) fn stop(self) {
        self.signal(Signal::SIGTERM);
        let until = soon();
        while !self.has_ended() {
            assert!(Instant::now() < until, "still there after SIGTERM");
            sleep(Duration::from_millis(5));
        }
        assert!(!self.directory.join("own.pid").exists(), "the file is removed at the end");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if !self.has_ended() {
            self.signal(Signal::SIGKILL);
        }
    }
}

#[track_caller]
fn status_of(pid: i32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {status}")).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn it_leaves_and_serves(engine: &str) {
    let daemon = Daemon::start(engine, &[]);
    daemon.serves();
    let stat = daemon.proc("stat");
    let fields: Vec<_> = stat.rsplit_once(") ").expect("a name stands in parentheses").1.split(' ').collect();
    let [_, parent, _, session, terminal] = fields[..5] else { panic!("{stat}") };
    assert_ne!(parent, std::process::id().to_string(), "it is nobody's child");
    assert_ne!(session, daemon.pid.to_string(), "it leads no session, so it gets no terminal");
    let own = nix::unistd::getsid(None).expect("we have a session").to_string();
    assert_ne!(session, own, "it is in a session of its own");
    assert_eq!(terminal, "0");
    assert_eq!(daemon.link("cwd"), "/");
    for stream in ["fd/0", "fd/1", "fd/2"] {
        assert_eq!(daemon.link(stream), "/dev/null", "{stream}");
    }
    daemon.stop();
}

/// Also where it was started with a mask that forbids nothing. What it starts has that mask.
fn its_files_are_open_to_nobody_else(engine: &str) {
    let unmasked = || {
        let mut command = Command::new("sh");
        command.args(["-c", "umask 0; exec \"$@\"", "sh"]).arg(program());
        command
    };
    let mode = |path: &Path| fs::metadata(path).expect("it is there").mode() & 0o7777;
    let daemon = Daemon::start_by(&mut unmasked(), engine, &["--log-file=own.log", "--record=own.rec"]);
    daemon.serves();
    let recordings = || {
        let entries = fs::read_dir(daemon.directory.path()).expect("it is there").flatten();
        entries.map(|entry| entry.path()).find(|path| path.to_string_lossy().contains("own.rec."))
    };
    let until = soon();
    let recording = loop {
        if let Some(recording) = recordings() {
            break recording;
        }
        assert!(Instant::now() < until, "no recording");
        sleep(Duration::from_millis(5));
    };
    assert_eq!(mode(&recording), 0o600);
    assert_eq!(daemon.status("Umask"), "0000");
    assert_eq!(mode(&daemon.directory.join("own.log")), 0o600);
    assert_eq!(mode(&daemon.directory.join("own.pid")), 0o644);
    daemon.stop();

    let plugin = "--auth-plugin=exec:read -r hello; : > made; echo '{\"ready\":true}'; cat > /dev/null";
    let daemon = Daemon::start_by(&mut unmasked(), engine, &[plugin]);
    assert_eq!(
        mode(&daemon.directory.join("made")),
        0o666,
        "a program has the mask of who started the server"
    );
    daemon.stop();
}

fn it_inherits_nothing(engine: &str) {
    let directory = TempDir::new();
    let path = directory.write("handed.down", "");
    let handed_down = File::open(&path).expect("it was just written");
    fcntl(&handed_down, FcntlArg::F_SETFD(FdFlag::empty())).expect("a descriptor has flags");
    // It does get as far as the program: one that is no daemon has it.
    let plain = Server::echo(engine);
    let holds = |pid: i32| {
        let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
        entries.flatten().any(|entry| fs::read_link(entry.path()).is_ok_and(|link| link == path))
    };
    assert!(holds(i32::try_from(plain.pid()).expect("process numbers fit")));
    let daemon = Daemon::start(engine, &[]);
    assert!(!holds(daemon.pid));
    daemon.stop();
    plain.stop();
}

/// Neither of a process that stays nor of one that leaves; and what was secret is known all the same.
fn secrets_are_not_in_the_list_of_processes(engine: &str) {
    let guard = ["--auth-plugin=BasicHTTPAuth", "--auth-source=me:secret"];
    let words = [&guard[..], &["--key-password", "secret", "--echo"]].concat();
    let server = Server::start(engine, &words);
    let title = fs::read_to_string(format!("/proc/{}/cmdline", server.pid())).expect("it runs");
    let shown: Vec<&str> = title.split_terminator('\0').map(str::trim_end).collect();
    let expected = ["--auth-plugin=BasicHTTPAuth", "--auth-source=x", "--key-password", "x", "--echo"];
    assert!(shown.ends_with(&expected) && !title.contains("secret"), "{shown:?}");
    assert!(WsClient::try_open(server.wire(), &Handshake::new()).is_err());
    // Of me:secret.
    let me = Handshake::new().set("Authorization", "Basic bWU6c2VjcmV0");
    WsClient::open(server.wire(), &me).leave();
    server.stop();

    let daemon = Daemon::start(engine, &guard);
    let title = daemon.proc("cmdline");
    assert!(title.contains("--auth-source=x") && !title.contains("secret"), "{title:?}");
    WsClient::open(Wire::tcp(daemon.address), &me).leave();
    daemon.stop();

    let open = ["--auth-plugin=ExpectOrigin", "--auth-source=https://secret.test", "--echo"];
    let server = Server::start(engine, &open);
    let title = fs::read_to_string(format!("/proc/{}/cmdline", server.pid())).expect("it runs");
    assert!(title.ends_with("--auth-source=https://secret.test\0--echo\0"), "an origin is none: {title:?}");
    server.stop();
}

fn relative_paths_mean_what_they_meant(engine: &str) {
    let daemon = Daemon::start(engine, &["--log-file=own.log", "--web=."]);
    fs::write(daemon.directory.join("page.html"), "hello").expect("the directory is writable");
    let page = crate::support::http::HttpClient::new(Wire::tcp(daemon.address)).get("/page.html", "");
    assert_eq!((page.status, page.body.as_slice()), (200, &b"hello"[..]));
    let log = wait_text(&daemon.directory.join("own.log"), "  - proxying from 127.0.0.1:");
    assert!(log.contains("  - Backgrounding (daemon)\n"), "{log}");
    daemon.stop();
}

fn a_failed_start_is_seen_where_it_was_started(engine: &str) {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let taken = taken.local_addr().map(|address| (taken, address.to_string())).expect("it is bound");
    let dir = TempDir::new();
    let pid_file = dir.arg("own.pid");
    let rows: [(&[&str], &str); 4] = [
        (&[&taken.1], "Opening socket failed: "),
        (&["127.0.0.1:0", "--buffer-memory=4MiB", "--threads=2"], "option --buffer-memory: "),
        (&["127.0.0.1:0", "--cert", "/dev/null"], "/dev/null"),
        (&["127.0.0.1:0", "--syslog", "no-such-host.invalid:514"], "--syslog: no-such-host.invalid:514: "),
    ];
    for (args, part) in rows {
        let args = [&["--engine", engine, "--echo", "-D", "--pid-file", &pid_file], args].concat();
        let (status, log) = run_to_end(&args);
        assert_eq!(status, Some(1), "{args:?}:\n{log}");
        assert_eq!(log.lines().filter(|line| line.contains(part)).count(), 1, "{args:?}:\n{log}");
        assert!(!log.contains("proxying from"), "{args:?}:\n{log}");
        assert!(!Path::new(&pid_file).exists(), "{args:?}");
    }
}

fn a_log_goes_on_behind_the_fork(engine: &str) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    socket.set_read_timeout(Some(PATIENCE)).expect("it is not zero");
    let server = socket.local_addr().expect("it is bound").to_string();
    let daemon = Daemon::start(engine, &["--syslog", &server, "--log-file=own.log"]);
    daemon.serves();
    let mut buffer = [0; 9000];
    loop {
        let count = socket.recv(&mut buffer).expect("a line comes");
        let line = String::from_utf8_lossy(&buffer[..count]).into_owned();
        let fields: Vec<_> = line.split(' ').collect();
        assert!(["<30>1", "<31>1"].contains(&fields[0]), "the facility of daemons: {line}");
        assert_eq!(fields[4], daemon.pid.to_string(), "{line}");
        if line.contains("end=client_closed") {
            break;
        }
    }
    let moved = daemon.directory.join("moved.log");
    fs::rename(daemon.directory.join("own.log"), &moved).expect("it is there");
    daemon.signal(Signal::SIGUSR1);
    let until = soon();
    while !daemon.directory.join("own.log").exists() {
        assert!(Instant::now() < until, "not opened anew");
        sleep(Duration::from_millis(5));
    }
    daemon.stop();
}

fn a_wrapped_program_holds_no_terminal(engine: &str) {
    let dir = TempDir::new();
    let pid_file = dir.arg("own.pid");
    let args = ["--engine", engine, "-D", "--pid-file", &pid_file, "127.0.0.1:0", "--", "sleep", "600"];
    // This waits for the end of standard error, which a program would hold that had been given it.
    let (status, log) = run_to_end(&args);
    assert_eq!(status, Some(0), "{log}");
    assert!(log.contains("  - proxying from 127.0.0.1:"), "{log}");
    let number = fs::read_to_string(&pid_file).expect("it is there when the starter has ended");
    let pid = number.trim().parse().expect("a number");
    let daemon = Daemon { pid, address: SocketAddr::from(([127, 0, 0, 1], 0)), directory: dir };
    assert_eq!(daemon.link("fd/2"), "/dev/null");
    daemon.stop();
}

fn one_process_for_each_pid_file(engine: &str) {
    let daemon = Daemon::start(engine, &[]);
    let path = daemon.directory.arg("own.pid");
    for background in [&["-D"][..], &[]] {
        let args = [&["--engine", engine, "--echo", "--pid-file", &path, "127.0.0.1:0"], background].concat();
        let (status, log) = run_to_end(&args);
        assert_eq!(status, Some(1), "{log}");
        let word = format!("--pid-file: {path}: process {} has it; end that first", daemon.pid);
        assert!(log.lines().count() == 1 && log.ends_with(&word), "{log}");
    }
    daemon.serves();
    // One that was killed leaves its file, and the next takes it over.
    daemon.signal(Signal::SIGKILL);
    let until = soon();
    // Its threads end one after the other; with the last one the lock goes.
    let free =
        || Flock::lock(File::open(&path).expect("it is there"), FlockArg::LockExclusiveNonblock).is_ok();
    while !free() {
        assert!(Instant::now() < until, "still there after SIGKILL");
        sleep(Duration::from_millis(5));
    }
    let next = Server::start(engine, &["--echo", "--pid-file", &path]);
    assert_eq!(fs::read_to_string(&path).expect("it is there"), format!("{}\n", next.pid()));
    next.stop();
    assert!(!Path::new(&path).exists());
}

fn a_pid_file_without_a_daemon(engine: &str) {
    let dir = TempDir::new();
    let path = dir.arg("own.pid");
    let server = Server::start(engine, &["--echo", "--pid-file", &path, "--run-once"]);
    assert_eq!(fs::read_to_string(&path).expect("it is there"), format!("{}\n", server.pid()));
    server.client().leave();
    let mut server = server;
    assert_eq!(server.wait_exit(PATIENCE).code(), Some(0));
    assert!(!Path::new(&path).exists());
    let precious = dir.write("precious.txt", "precious\n");
    let args = ["--engine", engine, "--echo", "--pid-file", &dir.arg("precious.txt"), "127.0.0.1:0"];
    let (status, log) = run_to_end(&args);
    assert!(
        status == Some(1) && log.contains("precious.txt: what is there is no such file; move it"),
        "{log}"
    );
    assert_eq!(fs::read(precious).expect("it is there"), b"precious\n");
}

fn another_user_serves(engine: &str) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can become somebody else");
        return;
    }
    let daemon = Daemon::start(engine, &["--user=nobody:7", "--log-file=own.log", "--threads=2"]);
    daemon.serves();
    let nobody =
        nix::unistd::User::from_name("nobody").ok().flatten().expect("there is nobody everywhere").uid;
    for task in fs::read_dir(format!("/proc/{}/task", daemon.pid)).expect("it runs").flatten() {
        let task = format!("{}/task/{}", daemon.pid, task.file_name().to_string_lossy());
        let status = fs::read_to_string(format!("/proc/{task}/status")).expect("it runs");
        let line = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
            line.unwrap_or_else(|| panic!("no {name} in {status}")).trim().to_owned()
        };
        assert_eq!(line("Uid"), [nobody.to_string().as_str(); 4].join("\t"));
        assert_eq!(line("Gid"), ["7"; 4].join("\t"));
        for set in ["CapPrm", "CapEff", "CapAmb"] {
            assert!(line(set).bytes().all(|digit| digit == b'0'), "{set}: {}", line(set));
        }
        assert_eq!(line("NoNewPrivs"), "1");
        assert!(!line("Groups").split(' ').any(|group| group == "0"), "{}", line("Groups"));
    }
    let log = fs::metadata(daemon.directory.join("own.log")).expect("it is there");
    assert_eq!((log.uid(), log.gid()), (nobody.as_raw(), 7), "it can be opened anew");
    let path = daemon.directory.join("own.pid");
    let mut held = 0;
    for entry in fs::read_dir(format!("/proc/{}/fd", daemon.pid)).expect("it runs").flatten() {
        if fs::read_link(entry.path()).is_ok_and(|link| link == path) {
            let info = daemon.proc(&format!("fdinfo/{}", entry.file_name().to_string_lossy()));
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).expect("each has flags");
            let flags = i32::from_str_radix(flags.trim(), 8).expect("flags are octal");
            assert_eq!(flags & libc::O_ACCMODE, libc::O_RDONLY, "it is root's");
            held += 1;
        }
    }
    assert_eq!(held, 1);
    daemon.signal(Signal::SIGTERM);
    let until = soon();
    while !daemon.has_ended() {
        assert!(Instant::now() < until, "still there after SIGTERM");
        sleep(Duration::from_millis(5));
    }
    // The directory is root's, so the file cannot be removed any more, but nobody has it then.
    assert_eq!(fs::read_to_string(&path).expect("it is there"), format!("{}\n", daemon.pid));
    let log = fs::read_to_string(daemon.directory.join("own.log")).expect("it is there");
    assert!(log.contains(" warn --pid-file: ") && log.contains("own.pid could not be removed"), "{log}");
    let next = Server::start(engine, &["--echo", "--pid-file", &daemon.directory.arg("own.pid")]);
    assert_eq!(fs::read_to_string(&path).expect("it is there"), format!("{}\n", next.pid()));
    next.stop();

    let dir = TempDir::new();
    let args = ["--unix-listen", &dir.arg("own.sock"), "--echo", "--user=nobody"];
    let server = Server::start_on(engine, "", &args);
    let socket = fs::symlink_metadata(dir.join("own.sock")).expect("it is there");
    assert_eq!((socket.uid(), socket.mode() & 0o777), (nobody.as_raw(), 0o600));
    WsClient::open(Wire::unix(&dir.join("own.sock")), &Handshake::new()).leave();
    server.signal(Signal::SIGTERM);
    server.wait_line(" warn --unix-listen: ");
    let log = server.log();
    assert!(log.contains("own.sock: ") && log.contains("; give the user of --user its directory"), "{log}");
    server.stop();
}

/// Beside the engines: nothing is served.
#[test]
fn users_that_are_not_there_are_refused_in_one_line() {
    for (word, part) in [
        ("no-such-user", "--user: no such user: no-such-user; make it, or name another"),
        ("root:no-such-group", "--user: no such group: no-such-group; make it, or name another"),
    ] {
        let (status, log) = run_to_end(&["--user", word, "--echo", "127.0.0.1:0"]);
        assert_eq!((status, log.as_str()), (Some(1), format!("websplice: {part}").as_str()));
    }
}

/// How large a core may be: soft limit, hard limit and unit.
#[track_caller]
fn core_limit(pid: u32) -> String {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("it runs");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).expect("each has one");
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Beside the engines: the process is the same. What it may leave behind is seen by who owns its files in `/proc`.
#[test]
fn only_who_looks_for_something_gets_a_core() {
    let own = nix::unistd::geteuid();
    let user = if own.is_root() { 65_534 } else { own.as_raw() };
    // By its descriptor: another user may not reach it by its path.
    let file = File::open(program()).expect("it is built");
    for (words, owner) in [(&["--echo", "127.0.0.1:0"][..], 0), (&["-v", "--echo", "127.0.0.1:0"], user)] {
        let mut server = Command::new(format!("/proc/self/fd/{}", file.as_raw_fd()))
            .args(words)
            .uid(user)
            .current_dir("/")
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let lines = BufReader::new(server.stderr.take().expect("it is piped")).lines();
        let said = lines.map_while(Result::ok).any(|line| line.contains("proxying from "));
        let found = fs::metadata(format!("/proc/{}/environ", server.id())).map(|found| found.uid());
        let limit = core_limit(server.id());
        server.kill().and_then(|()| server.wait()).expect("it can be ended");
        assert!(said, "{words:?}");
        assert_eq!(found.expect("it ran"), owner, "{words:?}");
        let expected = if owner == 0 { "0 0 bytes".to_owned() } else { core_limit(std::process::id()) };
        assert_eq!(limit, expected, "{words:?}");
    }
}

fn plugins_run_where_it_was_started(engine: &str) {
    let plugin =
        "--auth-plugin=exec:read -r hello; pwd -P > own.cwd; echo '{\"ready\":true}'; cat > /dev/null";
    let daemon = Daemon::start(engine, &[plugin]);
    let cwd = fs::read_to_string(daemon.directory.join("own.cwd")).expect("it was ready");
    assert_eq!(Path::new(cwd.trim_end()), fs::canonicalize(daemon.directory.join(".")).expect("it is there"));
    assert_eq!(daemon.link("cwd"), "/");
    daemon.stop();
}
