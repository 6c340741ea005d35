//! The program that is wrapped, compiled once, and servers around it.

use crate::support::client::{Handshake, Message, WsClient};
use crate::support::frame::Frame;
use crate::support::server::{Server, run_to_end};
use crate::support::wire::PATIENCE;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Instant;

/// Both ways to move a bind; the first only where the system allows it.
pub const WAYS: [&str; 2] = ["seccomp", "preload"];

/// Compiles the program with these words for the compiler; `None` if that does not work.
fn compile(name: &str, flags: &[&str]) -> Option<PathBuf> {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (made, file) =
        (place.join(format!("{name}-{}", std::process::id())), place.join(format!("wrapped-{name}")));
    let status = Command::new("cc")
        .args(["-O1", "-pthread", "-o"])
        .arg(&made)
        .args(flags)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wrap/program.c"))
        .status()
        .expect("the compiler that links Rust is there");
    // Another run of these tests may be using the file, so it is not written to but replaced.
    status.success().then(|| std::fs::rename(&made, &file).expect("the build directory is writable"))?;
    Some(file)
}

/// The program, dynamically linked.
pub fn dynamic() -> &'static str {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    path(FILE.get_or_init(|| compile("dynamic", &[]).expect("it compiles")))
}

/// The program, statically linked, where there is a static libc.
pub fn fixed() -> Option<&'static str> {
    static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
    FILE.get_or_init(|| compile("static", &["-static"])).as_deref().map(path)
}

fn path(file: &Path) -> &str {
    file.to_str().expect("the build directory has a name that can be written")
}

/// Whether this way works here: whether the system, or the container, allows it. Says so where it does not.
pub fn possible(way: &str) -> bool {
    static SECCOMP: OnceLock<bool> = OnceLock::new();
    way != "seccomp"
        || *SECCOMP.get_or_init(|| {
            let (_, said) = run_to_end(&["--wrap-bind=seccomp", "127.0.0.1:0", "--", "true"]);
            let refused = said.contains("option --wrap-bind: seccomp: ");
            if refused {
                eprintln!("skipped: {said}");
            }
            !refused
        })
}

/// A server, talkative, around the program.
#[track_caller]
pub fn wrapping(options: &[&str], program: &str, words: &[&str]) -> Server {
    wrapping_on("auto", options, program, words)
}

/// The same on an engine of one's choice.
#[track_caller]
pub fn wrapping_on(engine: &str, options: &[&str], program: &str, words: &[&str]) -> Server {
    let mut all = vec!["-v"];
    all.extend(options);
    all.extend(["--", program]);
    all.extend(words);
    Server::start_on(engine, "127.0.0.1:0", &all)
}

/// A client gets through to the program and back.
#[track_caller]
pub fn carries(server: &Server) {
    let mut client = greeted(server);
    client.send(&Frame::binary("through and through"));
    client.expect(&Message::Binary(b"through and through".to_vec()));
    client.leave();
}

/// A client that has heard the program's greeting.
#[track_caller]
pub fn greeted(server: &Server) -> WsClient {
    server.wait_line("serving as");
    let mut client = WsClient::open(server.wire(), &Handshake::new());
    assert_eq!(client.expect_stream(6), b"hello ");
    client
}

/// The number behind `name` in a line of the log.
#[track_caller]
pub fn number(server: &Server, name: &str) -> u32 {
    let line = server.wait_line(name);
    let (_, rest) = line.split_once(name).expect("it was waited for");
    let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("no number behind {name:?} in {line:?}"))
}

/// Whether a process is there and not just waiting to be collected.
pub fn lives(pid: u32) -> bool {
    state(pid).is_some_and(|state| state != 'Z')
}

/// The state of a process (proc(5)), if it is there.
pub fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Waits for what raises no event.
#[track_caller]
pub fn until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not in time");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}
