//! Disks that are full, slow or not there, and processes that are killed: files stay whole, and sessions go on.

use super::reader::{Recording, read};
use crate::support::client::Message;
use crate::support::frame::Frame;
use crate::support::server::{Server, program, run_to_end};
use crate::support::target::TcpTarget;
use crate::support::temp::TempDir;
use crate::support::wire::{PATIENCE, soon};
use crate::support::{on_both_engines, pattern};
use nix::sys::signal::Signal;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often a file is looked at that nothing tells about.
const LOOK: Duration = Duration::from_millis(20);

on_both_engines!(
    a_kill_leaves_a_whole_file,
    a_full_disk_ends_the_recording_only,
    a_limit_of_file_sizes_ends_the_recording_only,
    a_slow_disk_loses_bytes_of_the_recording_only,
    a_directory_that_is_of_no_use_is_told_at_the_start,
    what_is_in_the_way_is_left_alone,
);

fn a_kill_leaves_a_whole_file(engine: &str) {
    // Messages of all sizes, so that the kill comes in the middle of something.
    for (round, size) in (0..).zip([3, 50, 700, 5_000, 30_000, 100_000]) {
        let sent = pattern((size * 20_000).min(8_000_000), round);
        let frames: Vec<u8> = sent.chunks(size).flat_map(|part| Frame::binary(part).bytes()).collect();
        let (directory, target) = (TempDir::new(), TcpTarget::echo());
        let path = directory.join("r.1");
        let record = format!("--record={}", directory.arg("r"));
        let mut server = Server::start(engine, &[&record, &target.to_string()]);
        let mut client = server.client();
        let sending = client.send_beside(frames);
        let (until, mut back) = (soon(), 0);
        while std::fs::metadata(&path).map_or(0, |file| file.len()) < 30_000 * (round + 1) {
            assert!(Instant::now() < until, "nothing is being recorded");
            if back < sent.len() {
                let Message::Binary(part) = client.next() else { panic!("it echoes what it is sent") };
                back += part.len();
            } else {
                // All has come back before a slow disk has so much of it.
                sleep(LOOK);
            }
        }
        server.signal(Signal::SIGKILL);
        server.wait_exit(PATIENCE);
        let _ = sending.join();
        let recording = Recording::of(&path);
        let up = recording.up().concat();
        assert!(up.len() > 1000 && sent.starts_with(&up), "round {round}: {} bytes", up.len());
        assert!(sent.starts_with(&recording.down()), "round {round}");
    }
}

/// Starts a server in a mount namespace of its own, with a small file system at `place`; `None` where that is not allowed.
/// Also gives where the place is seen from outside.
fn on_small_disk(engine: &str, place: &Path, mount: &str, target: &TcpTarget) -> Option<(Server, PathBuf)> {
    if !Command::new("unshare").args(["-m", "true"]).status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: no mount of one's own is allowed here");
        return None;
    }
    let script = format!("mount -t tmpfs -o {mount} none '{}' && exec \"$0\" \"$@\"", place.display());
    let (record, target) = (format!("--record={}/r", place.display()), target.to_string());
    let binary = program().into_string().expect("a plain path");
    let args = ["-m", "sh", "-c", &script, &binary, "--engine", engine, &record, "127.0.0.1:0", &target];
    let server = Server::launch("unshare", &args);
    let inside = place.strip_prefix("/").expect("it is absolute");
    let outside = Path::new(&format!("/proc/{}/root", server.pid())).join(inside);
    Some((server, outside))
}

fn a_full_disk_ends_the_recording_only(engine: &str) {
    let (directory, target) = (TempDir::new(), TcpTarget::echo());
    let Some((server, place)) = on_small_disk(engine, directory.path(), "size=256k", &target) else { return };
    let mut client = server.client();
    let sent = pattern(600_000, 4);
    let exchange = |client: &mut crate::support::client::WsClient, part: &[u8]| {
        client.send(&Frame::binary(part));
        assert!(client.expect_stream(part.len()) == part);
    };
    for part in sent.chunks(3_000) {
        exchange(&mut client, part);
    }
    let line = server.wait_line("record stopped");
    assert!(line.contains("r.1\" error=\"No space left on device"), "{line}");
    exchange(&mut client, b"the session goes on");
    let recording = Recording::of(&place.join("r.1"));
    let up = recording.up().concat();
    assert!(up.len() > 10_000 && sent.starts_with(&up), "{} bytes", up.len());
    assert!(sent.starts_with(&recording.down()));
    client.leave();
    let lacks = server.wait_line("record lacks");
    // Everything is either in the file or told to be lost.
    let expected = sent.len() + b"the session goes on".len() - up.len();
    assert!(lacks.contains(&format!("client_bytes={expected} ")), "{lacks}: {expected}");
    // One that finds no room at all is told, too, and its session is served.
    let mut next = server.client();
    exchange(&mut next, b"and so does the next");
    assert_eq!(server.log().matches("record stopped").count(), 1, "one line");
    next.leave();
    server.stop();
}

/// The kernel tells of that limit with a signal that ends whoever does not expect it.
fn a_limit_of_file_sizes_ends_the_recording_only(engine: &str) {
    let (directory, target) = (TempDir::new(), TcpTarget::echo());
    let (record, target) = (format!("--record={}", directory.arg("r")), target.to_string());
    let binary = program().into_string().expect("a plain path");
    let script = "ulimit -f 64 && exec \"$0\" \"$@\"";
    let args = ["-c", script, &binary, "--engine", engine, &record, "127.0.0.1:0", &target];
    let server = Server::launch("sh", &args);
    let mut client = server.client();
    let sent = pattern(300_000, 1);
    let sending =
        client.send_beside(sent.chunks(9_000).flat_map(|part| Frame::binary(part).bytes()).collect());
    let mut back = Vec::new();
    while back.len() < sent.len() {
        let Message::Binary(part) = client.next() else { panic!("it echoes what it is sent") };
        back.extend(part);
    }
    sending.join().expect("it does not panic").expect("all was sent");
    assert!(back == sent, "the session is none the worse for it");
    server.wait_line("record stopped");
    let up = Recording::of(&directory.path().join("r.1")).up().concat();
    assert!(!up.is_empty() && sent.starts_with(&up), "{} bytes", up.len());
    server.stop();
}

fn a_slow_disk_loses_bytes_of_the_recording_only(engine: &str) {
    let directory = TempDir::new();
    let sent = pattern(48_000_000, 5);
    let target = TcpTarget::source(sent.clone());
    let record = format!("--record={}", directory.arg("r"));
    let server = Server::start(engine, &[&record, "--record-buffer=1MiB", &target.to_string()]);
    let mut client = server.client();
    assert!(client.expect_stream(sent.len()) == sent, "the session has all of it");
    client.expect_close(1000);
    client.answer_close(1000);
    server.stop();
    let recording = Recording::of(&directory.join("r.1"));
    let told = |comment: &String| {
        let words: Vec<&str> = comment.split(' ').collect();
        let at = words.iter().position(|word| *word == "bytes").expect("it says how many");
        words[at - 1].parse::<usize>().expect("a number")
    };
    let lost: usize = recording.comments.iter().map(told).sum();
    assert_eq!(recording.down().len() + lost, sent.len(), "what is not there is marked");
    // An optimized build may keep up; this one cannot.
    assert!(lost > 0 || !cfg!(debug_assertions));
}

fn a_directory_that_is_of_no_use_is_told_at_the_start(engine: &str) {
    let directory = TempDir::new();
    directory.write("file", "");
    for (record, why) in [
        ("absent/r", "absent: no such directory; make it or name another"),
        ("file/r", "file: not a directory; name another"),
        ("..", "there is no name of a file in it; write one behind the directory"),
    ] {
        let record = format!("--record={}", directory.arg(record));
        let (status, said) = run_to_end(&["--engine", engine, &record, "--echo", "127.0.0.1:0"]);
        assert_eq!(status, Some(1), "{said}");
        assert!(said.lines().count() == 1 && said.contains("--record") && said.ends_with(why), "{said}");
    }
    let long = format!("--record={}", directory.arg(&"x".repeat(250)));
    let (status, said) = run_to_end(&["--engine", engine, &long, "--echo", "127.0.0.1:0"]);
    assert!(status == Some(1) && said.contains("too long for the names of recordings"), "{said}");
    if Command::new("unshare").args(["-m", "true"]).status().is_ok_and(|status| status.success()) {
        let script =
            format!("mount -t tmpfs -o ro none '{}' && exec \"$0\" \"$@\"", directory.path().display());
        let output = Command::new("unshare")
            .args(["-m", "sh", "-c", &script])
            .arg(program())
            .args(["--engine", engine, &format!("--record={}", directory.arg("r")), "--echo", "127.0.0.1:0"])
            .output()
            .expect("it could be started a moment ago");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("not writable (Read-only file system)"), "{said}");
    } else {
        eprintln!("skipped in part: no mount of one's own is allowed here");
    }
}

fn what_is_in_the_way_is_left_alone(engine: &str) {
    let (directory, target) = (TempDir::new(), TcpTarget::echo());
    let precious = directory.write("precious", "precious");
    std::os::unix::fs::symlink(&precious, directory.join("r.1")).expect("it was made for this test");
    let record = format!("--record={}", directory.arg("r"));
    let server = Server::start(engine, &[&record, &target.to_string()]);
    let mut client = server.client();
    server.wait_line("record not begun");
    client.send(&Frame::binary("the session goes on"));
    assert_eq!(client.expect_stream(19), b"the session goes on");
    client.leave();
    server.stop();
    assert_eq!(std::fs::read(precious).expect("it was made for this test"), b"precious");
    // A reader that is as strict as an engine; else nothing here would mean much.
    for broken in [
        "'{1{a',\n'EOF'];\n'",
        "'{1{a'\n'{1{b',\n'EOF'];\n",
        "'{1{a',\n'EO",
        "'{1{a',\n",
        "'{1{\\xg0',\n'EOF'];",
    ] {
        assert!(read(format!("var VNC_frame_data = [\n{broken}").as_bytes()).is_err(), "{broken}");
    }
}
