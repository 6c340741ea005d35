//! Where log lines go besides standard error: a file that may be moved away, and syslog servers of every kind.

use crate::support::on_both_engines;
use crate::support::server::{Server, program, run_to_end};
use crate::support::temp::TempDir;
use crate::support::wire::{PATIENCE, soon};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::Signal;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

on_both_engines!(
    a_file_has_every_line_of_standard_error,
    a_file_is_appended_to,
    a_file_that_was_moved_away_is_opened_anew,
    a_file_that_cannot_be_opened_anew_is_kept,
    a_file_that_cannot_be_opened_is_one_line_and_status_1,
    a_full_disk_is_told_once,
    a_descriptor_is_taken_as_it_is,
    a_link_to_standard_output_is_standard_output,
    a_program_that_is_started_has_no_descriptor_of_the_log,
    standard_error_has_no_line_twice,
    a_reader_that_sleeps_or_goes_holds_nobody_up,
    a_descriptor_that_does_not_block_has_every_line,
    a_start_that_fails_is_in_the_file,
    syslog_by_udp,
    syslog_by_datagrams,
    syslog_by_a_stream,
    syslog_that_comes_and_goes,
    legacy_syslog,
);

/// Waits until a file has a line with `part` in it: nothing else tells.
#[track_caller]
pub(super) fn wait_text(path: &Path, part: &str) -> String {
    let until = soon();
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        if text.contains(part) {
            return text;
        }
        assert!(Instant::now() < until, "no {part:?} in {}:\n{text}", path.display());
        sleep(Duration::from_millis(5));
    }
}

fn a_file_has_every_line_of_standard_error(engine: &str) {
    let dir = TempDir::new();
    let path = dir.join("own.log");
    let mut server = Server::start(engine, &["-v", "--echo", "--log-file", &dir.arg("own.log")]);
    server.client().leave();
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit(PATIENCE).code(), Some(0));
    let text = fs::read_to_string(&path).expect("it is there");
    // What is said before there is a log comes first there; the file may have the two parts in one another.
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&text), sorted(&server.log()));
    for part in [
        "WebSocket server settings:\n",
        "  - proxying from 127.0.0.1:",
        " info open id=",
        " info stop signal=",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    let mode = fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "its owner only");
}

fn a_file_is_appended_to(engine: &str) {
    let dir = TempDir::new();
    let path = dir.write("old.log", "what was there\n");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("it is ours");
    let server = Server::start(engine, &["--echo", "--log-file", &dir.arg("old.log")]);
    server.stop();
    let text = fs::read_to_string(&path).expect("it is there");
    assert!(text.starts_with("what was there\nWebSocket server settings:\n"), "{text}");
    let mode = fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o644, "whoever made it decides");
}

fn a_file_that_was_moved_away_is_opened_anew(engine: &str) {
    let dir = TempDir::new();
    let path = dir.join("own.log");
    let server = Server::start(engine, &["--echo", "--log-file", &dir.arg("own.log")]);
    for (number, signal) in [Signal::SIGHUP, Signal::SIGUSR1].into_iter().enumerate() {
        let moved = dir.join(&format!("moved-{number}"));
        fs::rename(&path, &moved).expect("it is there");
        // Until it is told, it goes on where it was.
        server.client().leave();
        wait_text(&moved, "end=client_closed");
        assert!(!path.exists());
        server.signal(signal);
        let until = soon();
        while !path.exists() {
            assert!(Instant::now() < until, "not opened anew after {signal}");
            sleep(Duration::from_millis(5));
        }
        let before = fs::read(&moved).expect("it is there");
        server.client().leave();
        wait_text(&path, "end=client_closed");
        assert_eq!(fs::read(&moved).expect("it is there"), before, "nothing more goes there after {signal}");
    }
    server.stop();
}

fn a_file_that_cannot_be_opened_anew_is_kept(engine: &str) {
    let dir = TempDir::new();
    fs::create_dir(dir.join("sub")).expect("the directory is writable");
    let server = Server::start(engine, &["--echo", "--log-file", &dir.arg("sub/own.log")]);
    fs::rename(dir.join("sub"), dir.join("gone")).expect("it is there");
    server.signal(Signal::SIGUSR1);
    let line = server.wait_line("log file not reopened: ");
    assert!(line.contains(" error ") && line.contains("sub/own.log"), "{line}");
    server.client().leave();
    let text = wait_text(&dir.join("gone/own.log"), "end=client_closed");
    assert!(text.contains("log file not reopened: "), "{text}");
    server.stop();
}

fn a_file_that_cannot_be_opened_is_one_line_and_status_1(engine: &str) {
    let dir = TempDir::new();
    dir.write("file", "");
    for (name, part) in [
        ("absent/own.log", "absent/own.log: no such directory"),
        ("file/own.log", "file/own.log: not in a directory"),
        ("", ": is a directory; name a file in it"),
    ] {
        let path = dir.arg(name);
        let (status, log) = run_to_end(&["--engine", engine, "--echo", "--log-file", &path, "127.0.0.1:0"]);
        assert_eq!(status, Some(1), "{log}");
        assert!(log.lines().count() == 1 && log.contains("--log-file: ") && log.contains(part), "{log}");
    }
}

fn a_start_that_fails_is_in_the_file(engine: &str) {
    let dir = TempDir::new();
    let own = |name: &str| format!("--log-file={}", dir.arg(name));
    let broken = dir.write("broken", "#!/no/such/interpreter\n");
    fs::set_permissions(&broken, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let (broken, wrapped) = (dir.arg("broken"), format!("-- COMMAND: {}: ", broken.display()));
    let few = ["--echo", "--threads=2", "--buffer-memory=4MiB", "127.0.0.1:0"];
    for (name, words, part) in [
        ("means.log", &few[..], "--buffer-memory: 2 threads"),
        ("wrap.log", &["127.0.0.1:0", "--", &broken], &wrapped),
    ] {
        let (status, log) = run_to_end(&[&["--engine", engine, &own(name)][..], words].concat());
        assert_eq!(status, Some(1), "{log}");
        assert!(log.contains(part), "{log}");
        let text = fs::read_to_string(dir.join(name)).expect("it is there");
        assert!(text.contains(part), "{text}");
    }
}

fn a_full_disk_is_told_once(engine: &str) {
    let server = Server::start(engine, &["--echo", "--log-file=/dev/full"]);
    let line = server.wait_line("log file not written: ");
    assert!(line.contains(" error ") && line.contains("file=\"/dev/full\""), "{line}");
    for _ in 0..3 {
        server.client().leave();
    }
    server.wait_lines("end=client_closed", 3);
    assert_eq!(server.log().matches("log file not written: ").count(), 1, "{}", server.log());
    server.stop();
}

/// The server with a file as standard output, which is also descriptor 3; and what is in that file.
#[track_caller]
fn with_output(engine: &str, log: &str) -> (Server, PathBuf, TempDir) {
    let dir = TempDir::new();
    let path = dir.write("out", "");
    let script = r#"exec "$0" "$@" >"$OUT" 3>&1"#.replace("$OUT", &path.display().to_string());
    let program = program();
    let program = program.to_str().expect("its path is plain");
    let words = ["-c", &script, program, "--engine", engine, "--echo", "--log-file", log, "127.0.0.1:0"];
    (Server::launch("sh", &words), path, dir)
}

fn a_descriptor_is_taken_as_it_is(engine: &str) {
    for log in ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "/dev/fd/3"] {
        let (mut server, path, _dir) = with_output(engine, log);
        server.client().leave();
        wait_text(&path, "end=client_closed");
        for signal in [Signal::SIGHUP, Signal::SIGUSR1] {
            // Opened anew by its name it would be another file, and begin at its start.
            let before = fs::read_to_string(&path).expect("it is there");
            server.signal(signal);
            server.client().leave();
            let until = soon();
            while fs::read_to_string(&path).expect("it is there").matches("end=client_closed").count()
                == before.matches("end=client_closed").count()
            {
                assert!(Instant::now() < until, "nothing comes after {signal} at {log}");
                sleep(Duration::from_millis(5));
            }
            let text = fs::read_to_string(&path).expect("it is there");
            assert!(text.starts_with(&before), "{log}: {text}");
        }
        server.signal(Signal::SIGTERM);
        assert_eq!(server.wait_exit(PATIENCE).code(), Some(0));
        let text = fs::read_to_string(&path).expect("it is there");
        let mut lines = [text.lines().collect::<Vec<_>>(), Vec::new()];
        let log_of = server.log();
        lines[1] = log_of.lines().collect();
        lines.iter_mut().for_each(|lines| lines.sort_unstable());
        assert_eq!(lines[0], lines[1], "{log}");
    }
}

/// As images of containers do it.
fn a_link_to_standard_output_is_standard_output(engine: &str) {
    let links = TempDir::new();
    fs::set_permissions(links.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    std::os::unix::fs::symlink("/dev/stdout", links.join("own.log")).expect("it is ours");
    let (server, path, _dir) = with_output(engine, &links.arg("own.log"));
    server.client().leave();
    wait_text(&path, "end=client_closed");
    server.stop();
    assert!(links.join("own.log").is_symlink());
}

/// It could forge lines, and the reader of a pipe would wait for its end too.
fn a_program_that_is_started_has_no_descriptor_of_the_log(engine: &str) {
    let dir = TempDir::new();
    let own = program();
    let own = own.to_str().expect("its path is plain");
    let script = r#"exec 7>>"$1"; shift; exec "$0" "$@""#;
    let (log, plugin) = (dir.arg("log"), dir.write("plugin", PLUGIN));
    let plugin = format!("--auth-plugin=exec:exec sh {}", plugin.display());
    let words = ["-c", script, own, &log, "--engine", engine, "--log-file=/dev/fd/7", &plugin];
    let server = Server::launch("sh", &[&words[..], &["--echo", "127.0.0.1:0"]].concat());
    // The list itself is among them.
    let opened = wait_text(&dir.join("plugin.fds"), "plugin.new\n");
    assert!(!opened.lines().any(|path| path.ends_with("/log")), "{opened}");
    wait_text(&dir.join("log"), "proxying from ");
    server.stop();
}

/// A plugin that writes down what it was given, whole or not at all.
const PLUGIN: &str = r#"exec 5>"$0.new"; readlink /proc/$$/fd/* >&5; mv "$0.new" "$0.fds"
read -r hello; echo '{"ready":true}'; exec cat >/dev/null"#;

fn standard_error_has_no_line_twice(engine: &str) {
    for log in ["/dev/stderr", "/dev/fd/2"] {
        let mut server = Server::start(engine, &["--echo", "--log-file", log]);
        server.client().leave();
        server.signal(Signal::SIGTERM);
        assert_eq!(server.wait_exit(PATIENCE).code(), Some(0));
        let text = server.log();
        for part in ["WebSocket server settings:", " info open id=", "end=client_closed"] {
            assert_eq!(text.matches(part).count(), 1, "{log}: {text}");
        }
    }
}

/// A named pipe that a shell has opened: with a reader that takes nothing, and without any.
fn a_reader_that_sleeps_or_goes_holds_nobody_up(engine: &str) {
    let dir = TempDir::new();
    nix::unistd::mkfifo(&dir.join("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("the directory is ours");
    let reader = fs::OpenOptions::new().read(true).write(true).open(dir.join("pipe")).expect("it is ours");
    let script = r#"exec 3>"$1"; shift; exec "$0" "$@""#;
    let program = program();
    let program = program.to_str().expect("its path is plain");
    let pipe = dir.arg("pipe");
    let words = ["-c", script, program, &pipe, "-v", "--engine", engine, "--echo", "--log-file=/dev/fd/3"];
    let mut server = Server::launch("sh", &[&words[..], &["127.0.0.1:0"]].concat());
    // A pipe holds 64 KiB; sessions go on, and so do their lines on standard error.
    while server.log().len() < 200 << 10 {
        let client = server.client();
        client.leave();
    }
    // Its last writer's pipe breaks, which is told once, with the first line that comes after that.
    drop(reader);
    let until = soon();
    while !server.log().contains("log file not written: ") {
        assert!(Instant::now() < until, "nothing is told of the pipe:\n{}", server.log());
        server.client().leave();
    }
    let line = server.wait_line("log file not written: ");
    assert!(line.contains("Broken pipe") && line.contains("/dev/fd/3"), "{line}");
    server.client().leave();
    server.client().leave();
    assert_eq!(server.log().matches("log file not written: ").count(), 1);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit(PATIENCE).code(), Some(0), "{}", server.log());
}

/// A full one says that it is, which is no reason to lose the rest of a line.
fn a_descriptor_that_does_not_block_has_every_line(engine: &str) {
    let (mut reader, writer) = std::io::pipe().expect("there is room");
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("it is ours");
    let words = ["-v", "--engine", engine, "--echo", "--log-file=/dev/fd/0", "127.0.0.1:0"];
    let mut server = Server::launch_on(writer, program(), &words);
    // A pipe holds 64 KiB.
    while server.log().len() < 200 << 10 {
        server.client().leave();
    }
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).map(|_| text)
    });
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit(PATIENCE).code(), Some(0));
    let text = reading.join().expect("it ends with the server").expect("lines are UTF-8");
    let [mut file, mut error] =
        [text, server.log()].map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>());
    file.sort_unstable();
    error.sort_unstable();
    assert!(file == error, "{} lines of {}", file.len(), error.len());
}

/// The text of a message in the form of RFC 5424, whose header must be right.
#[track_caller]
fn text_of<'a>(message: &'a str, server: &Server, priority: &str) -> &'a str {
    let fields: Vec<_> = message.splitn(8, ' ').collect();
    let [version, time, host, ident, pid, "-", "-", text] = fields[..] else { panic!("{message:?}") };
    assert_eq!(version, format!("<{priority}>1"), "{message:?}");
    assert!(time.len() == 20 && time.starts_with("20") && time.ends_with('Z'), "{message:?}");
    assert!(!host.is_empty() && ident == "websplice", "{message:?}");
    assert_eq!(pid, server.pid().to_string(), "{message:?}");
    text
}

/// Lines of a short life, from `next`.
#[track_caller]
fn hear(server: &Server, mut next: impl FnMut() -> String) {
    let mut expect = |priority, expected: &str| {
        let message = next();
        let text = text_of(&message, server, priority);
        assert!(text.starts_with(expected), "expected {expected:?}, got {text:?}");
        text.to_owned()
    };
    expect("14", "WebSocket server settings:");
    expect("14", "  - Listen on 127.0.0.1:0");
    expect("14", "  - No SSL/TLS support (no cert file)");
    expect("14", "  - proxying from 127.0.0.1:");
    server.client().leave();
    expect("14", "open id=");
    let end = expect("14", "end id=");
    assert!(end.ends_with("end=client_closed"), "{end:?}");
}

fn syslog_by_udp(engine: &str) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    socket.set_read_timeout(Some(PATIENCE)).expect("it is not zero");
    let address = socket.local_addr().expect("it is bound").to_string();
    let server = Server::start(engine, &["--echo", "--syslog", &address]);
    let mut buffer = [0; 9000];
    hear(&server, || {
        let count = socket.recv(&mut buffer).expect("a line comes");
        String::from_utf8(buffer[..count].to_vec()).expect("a line is UTF-8")
    });
    server.stop();
}

/// The next datagram.
#[track_caller]
fn datagram(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 9000];
    let count = socket.recv(&mut buffer).expect("a line comes");
    String::from_utf8(buffer[..count].to_vec()).expect("a line is UTF-8")
}

fn datagrams_at(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).expect("the directory is writable");
    socket.set_read_timeout(Some(PATIENCE)).expect("it is not zero");
    socket
}

fn syslog_by_datagrams(engine: &str) {
    let dir = TempDir::new();
    let socket = datagrams_at(&dir.join("log"));
    let server = Server::start(engine, &["--echo", "--syslog", &dir.arg("log")]);
    hear(&server, || datagram(&socket));
    server.stop();
}

fn lines_of(stream: UnixStream) -> impl FnMut() -> String {
    stream.set_read_timeout(Some(PATIENCE)).expect("it is not zero");
    let mut lines = BufReader::new(stream).lines();
    move || lines.next().expect("the stream goes on").expect("a line comes")
}

fn syslog_by_a_stream(engine: &str) {
    let dir = TempDir::new();
    let listener = UnixListener::bind(dir.join("log")).expect("the directory is writable");
    let server = Server::start(engine, &["--echo", "--syslog", &dir.arg("log")]);
    let (stream, _) = listener.accept().expect("it comes");
    hear(&server, lines_of(stream));
    // A server that has ended is connected anew.
    drop(listener);
    fs::remove_file(dir.join("log")).expect("it is there");
    let listener = UnixListener::bind(dir.join("log")).expect("the directory is writable");
    let again = accept_while(&listener, &server);
    let mut next = lines_of(again);
    assert!(text_of(&next(), &server, "14").contains(" id="));
    server.stop();
}

/// Has sessions come and go, each with its lines, until the server connects.
#[track_caller]
fn accept_while(listener: &UnixListener, server: &Server) -> UnixStream {
    listener.set_nonblocking(true).expect("a listener takes that");
    let until = soon();
    loop {
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(false).expect("a stream takes that");
            return stream;
        }
        assert!(Instant::now() < until, "not connected again:\n{}", server.log());
        server.client().leave();
        sleep(Duration::from_millis(20));
    }
}

fn syslog_that_comes_and_goes(engine: &str) {
    let dir = TempDir::new();
    let server = Server::start(engine, &["--echo", "--syslog", &dir.arg("log")]);
    // It starts all the same, and says so once.
    let line = server.wait_line("syslog not reached");
    assert!(line.contains(" warn ") && line.contains(&dir.arg("log")), "{line}");
    let socket = datagrams_at(&dir.join("log"));
    socket.set_read_timeout(Some(Duration::from_millis(50))).expect("it is not zero");
    let until = soon();
    let mut buffer = [0; 9000];
    while socket.recv(&mut buffer).is_err() {
        assert!(Instant::now() < until, "not tried again:\n{}", server.log());
        server.client().leave();
    }
    server.wait_line("warn syslog lines_dropped=");
    assert_eq!(server.log().matches("syslog not reached").count(), 1, "{}", server.log());
    server.stop();
}

fn legacy_syslog(engine: &str) {
    let dir = TempDir::new();
    let socket = datagrams_at(&dir.join("log"));
    let link = dir.join("websockify");
    std::os::unix::fs::symlink(program(), &link).expect("the directory is writable");
    let args = ["--engine", engine, "--echo", "--legacy-syslog", "--syslog", &dir.arg("log"), "127.0.0.1:0"];
    let server = Server::launch(&link, &args);
    let head = format!("<14>websockify[{}]: ", server.pid());
    for expected in ["WebSocket server settings:", "  - Listen on 127.0.0.1:0", "  - No SSL/TLS"] {
        let message = datagram(&socket);
        let text = message.strip_prefix(&head).unwrap_or_else(|| panic!("{message:?}"));
        assert!(text.starts_with(expected), "{message:?}");
    }
    server.stop();
}
