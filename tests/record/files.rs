//! What is in the files, and what they are called.

use super::reader::{Recording, named};
use crate::support::client::{Handshake, Message, WsClient};
use crate::support::frame::{BINARY, Frame};
use crate::support::on_both_engines;
use crate::support::pattern;
use crate::support::server::{Server, program};
use crate::support::target::{Refusing, TcpTarget};
use crate::support::temp::TempDir;
use crate::support::tls::{Authority, file};
use nix::sys::signal::Signal;
use std::os::unix::fs::PermissionsExt;

on_both_engines!(
    a_file_is_equal_to_the_traffic,
    messages_are_one_entry_however_they_come,
    a_huge_message_is_several_entries,
    tls_is_recorded_in_plain,
    echoes_are_recorded,
    numbers_count_all_connections,
    only_the_owner_may_read,
    names_are_made_as_told_and_never_taken_twice,
    a_token_is_shown_as_in_the_log,
    a_session_goes_on_in_parts,
    a_refused_target_leaves_an_empty_recording,
    the_process_says_what_it_records,
);

/// A server that records to `r` in its directory, in front of `target`.
fn server(engine: &str, directory: &TempDir, target: impl ToString, more: &[&str]) -> Server {
    let (record, target) = (format!("--record={}", directory.arg("r")), target.to_string());
    let args: Vec<&str> = [&*record, &*target].into_iter().chain(more.iter().copied()).collect();
    Server::start(engine, &args)
}

fn a_file_is_equal_to_the_traffic(engine: &str) {
    let (directory, target) = (TempDir::new(), TcpTarget::echo());
    let server = server(engine, &directory, &target, &[]);
    let mut client = server.client();
    let all: Vec<u8> = (0..=255).collect();
    let mut sent = Vec::new();
    for size in [0, 1, 5, 125, 126, 256, 4000, 4096, 70_000] {
        let mut payload = pattern(size, size as u64);
        if size == 256 {
            payload.clone_from(&all);
        }
        client.send(&Frame::binary(payload.clone()));
        assert!(client.expect_stream(size) == payload, "{size} bytes");
        sent.push(payload);
    }
    client.send(&Frame::ping("no data"));
    client.expect(&Message::Pong(b"no data".to_vec()));
    client.leave();
    server.stop();
    let text = std::fs::read(directory.join("r.1")).expect("it was made for this test");
    assert!(text.is_ascii() && text.ends_with(b"',\n'EOF'];\n"));
    let recording = Recording::of(&directory.join("r.1"));
    assert!(recording.up() == sent, "an entry for each message, the empty one too");
    assert!(recording.down() == sent.concat());
    assert!(recording.entries.is_sorted_by_key(|entry| entry.millis));
    assert!(recording.comments.is_empty());
}

fn messages_are_one_entry_however_they_come(engine: &str) {
    let (directory, target) = (TempDir::new(), TcpTarget::echo());
    let server = server(engine, &directory, &target, &[]);
    let early = [Frame::binary("early").bytes(), Frame::binary("and").bytes()].concat();
    let mut client = WsClient::open(server.wire(), &Handshake::new().early(early));
    client.send_all(&[
        Frame::new(BINARY, "frag").more(),
        Frame::ping("between"),
        Frame::middle("men"),
        Frame::last("ts"),
        Frame::new(BINARY, "").more(),
        Frame::last(""),
    ]);
    // Cut in two receives: the target has its first half before the second is sent.
    let half = Frame::binary("two halves").bytes();
    client.send_bytes(&half[..10]);
    let expected = b"earlyandfragmentstwo ";
    let mut came = Vec::new();
    while came.len() < expected.len() {
        match client.next() {
            Message::Binary(payload) => came.extend(payload),
            Message::Pong(payload) => assert_eq!(payload, b"between"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(came, expected);
    client.send_bytes(&half[10..]);
    assert_eq!(client.expect_stream(6), b"halves");
    client.leave();
    server.stop();
    let recording = Recording::of(&directory.join("r.1"));
    let expected: [&[u8]; 5] = [b"early", b"and", b"fragments", b"", b"two halves"];
    assert_eq!(recording.up(), expected);
}

/// Its first megabytes are kept while it is still coming.
fn a_huge_message_is_several_entries(engine: &str) {
    let (directory, target) = (TempDir::new(), TcpTarget::echo());
    let server = server(engine, &directory, &target, &[]);
    let mut client = server.client();
    let sent = pattern(2_500_000, 9);
    let sending = client.send_beside(Frame::binary(sent.clone()).bytes());
    assert!(client.expect_stream(sent.len()) == sent);
    sending.join().expect("it does not panic").expect("the server reads all of it");
    client.send(&Frame::binary("small"));
    client.expect_stream(5);
    client.leave();
    server.stop();
    let recording = Recording::of(&directory.join("r.1"));
    let up = recording.up();
    let sizes: Vec<usize> = up.iter().map(|payload| payload.len()).collect();
    assert_eq!(sizes, [1 << 20, 1 << 20, sent.len() - (2 << 20), 5]);
    assert!(up[..3].concat() == sent);
}

fn tls_is_recorded_in_plain(engine: &str) {
    let (authority, directory) = (Authority::new(), TempDir::new());
    let target = TcpTarget::echo();
    let cert = file(&directory, "own.pem", &authority.sign(&["gateway.test"]).both());
    let server = server(engine, &directory, &target, &["--cert", &cert]);
    let client = authority.client(&[crate::support::tls::VERSIONS[0]], None);
    let mut client = WsClient::open(client.wire(server.address(), "gateway.test"), &Handshake::new());
    client.send(&Frame::binary("over TLS"));
    assert_eq!(client.expect_stream(8), b"over TLS");
    client.leave();
    server.stop();
    let recording = Recording::of(&directory.join("r.1"));
    assert_eq!((recording.up(), recording.down()), (vec![&b"over TLS"[..]], b"over TLS".to_vec()));
}

fn echoes_are_recorded(engine: &str) {
    let directory = TempDir::new();
    let server = server(engine, &directory, "echo://", &[]);
    let mut client = server.client();
    for payload in ["one", "", "three"] {
        client.send(&Frame::binary(payload));
        client.expect(&Message::Binary(payload.into()));
    }
    client.send(&Frame::new(BINARY, "never ended").more());
    client.leave();
    server.stop();
    let recording = Recording::of(&directory.join("r.1"));
    assert_eq!(recording.up(), [&b"one"[..], b"", b"three", b"never ended"]);
    assert_eq!(recording.down(), b"onethree");
}

fn numbers_count_all_connections(engine: &str) {
    let (directory, target) = (TempDir::new(), TcpTarget::echo());
    let old = directory.write("r.2", "var VNC_frame_data = [\n'{1{of another run',\n'EOF'];\n");
    let server = server(engine, &directory, &target, &["--threads=2"]);
    assert_eq!(server.http().get("/", "").status, 405);
    server.wait_line("status=405");
    for word in ["second", "third"] {
        let mut client = server.client();
        client.send(&Frame::binary(word));
        client.expect_stream(word.len());
        client.leave();
    }
    server.stop();
    assert!(!directory.join("r.1").exists(), "plain HTTP takes a number and makes no file");
    assert_eq!(Recording::of(&old).up(), [b"second"], "a restart overwrites, as it always did");
    assert_eq!(Recording::of(&directory.join("r.3")).up(), [b"third"]);
}

fn only_the_owner_may_read(engine: &str) {
    for mask in ["000", "777"] {
        let (directory, target) = (TempDir::new(), TcpTarget::echo());
        directory.write("r.1", "open to all");
        std::fs::set_permissions(directory.join("r.1"), PermissionsExt::from_mode(0o666))
            .expect("it was made for this test");
        let script = format!("umask {mask}; exec \"$0\" \"$@\"");
        let (record, target) = (format!("--record={}", directory.arg("r")), target.to_string());
        let binary = program().into_string().expect("it was made for this test");
        let server = Server::launch(
            "sh",
            &["-c", &script, &binary, "--engine", engine, &record, "127.0.0.1:0", &target],
        );
        for _ in 0..2 {
            server.client().leave();
        }
        server.stop();
        for name in ["r.1", "r.2"] {
            let mode = std::fs::metadata(directory.join(name))
                .expect("it was made for this test")
                .permissions()
                .mode();
            assert_eq!(mode & 0o7777, 0o600, "{name} under umask {mask}");
        }
    }
}

fn names_are_made_as_told_and_never_taken_twice(engine: &str) {
    let (directory, target) = (TempDir::new(), TcpTarget::echo());
    let into = format!("--record={}", directory.path().display());
    for _ in 0..2 {
        let name = "--record-name={number}_{client}_{target}_{token}.js";
        let server = Server::start(engine, &[&into, name, &target.to_string()]);
        server.client().leave();
        server.stop();
    }
    let port = target.address().port();
    for tail in [".js", "-2.js"] {
        let path = directory.join(&format!("1_127.0.0.1_127.0.0.1_{port}_none{tail}"));
        assert!(Recording::of(&path).entries.is_empty(), "{}", path.display());
    }
    let server = server(engine, &directory, &target, &["--record-name={name}-{time}.js"]);
    server.client().leave();
    server.stop();
    let [path] = &named(directory.path(), "r-")[..] else { panic!("one file") };
    let name = path.file_name().expect("it was made for this test").to_str().expect("names are ASCII");
    assert!(name.starts_with("r-20") && name.ends_with("Z.js") && name.len() == 21, "{name}");
}

fn a_token_is_shown_as_in_the_log(engine: &str) {
    let (directory, target) = (TempDir::new(), TcpTarget::echo());
    let tokens = directory.write("tokens", format!("s3cret: {target}\n"));
    let source = format!("--token-source={}", tokens.display());
    let record = format!("--record={}", directory.arg("r"));
    let name = "--record-name={name}-{token}-{target}.js";
    let server = Server::start(engine, &["--token-plugin=TokenFile", &source, &record, name]);
    let line = "GET /?token=s3cret HTTP/1.1";
    WsClient::open(server.wire(), &Handshake::new().start(line)).leave();
    let told = server.wait_line("end id=");
    let mark: String =
        told.split_once('~').expect(&told).1.chars().take_while(char::is_ascii_hexdigit).collect();
    assert!(!server.log().contains("s3cret"), "{}", server.log());
    server.stop();
    let name = format!("r-{mark}-127.0.0.1_{}.js", target.address().port());
    assert_eq!(named(directory.path(), "r-"), [directory.join(&name)]);
}

fn a_session_goes_on_in_parts(engine: &str) {
    let (directory, target) = (TempDir::new(), TcpTarget::echo());
    let server = server(engine, &directory, &target, &["--record-size=64KiB"]);
    let mut client = server.client();
    let mut sent = Vec::new();
    for seed in 0..20 {
        let payload = pattern(5000, seed);
        client.send(&Frame::binary(payload.clone()));
        assert!(client.expect_stream(5000) == payload);
        sent.push(payload);
    }
    client.leave();
    server.stop();
    let paths = named(directory.path(), "r.1");
    assert!(paths.len() > 5, "{paths:?}");
    let (mut up, mut down) = (Vec::new(), Vec::new());
    for part in 1..=paths.len() {
        let name = |part| if part == 1 { "r.1".to_owned() } else { format!("r.1.part{part}") };
        let path = directory.join(&name(part));
        assert!(
            std::fs::metadata(&path).expect("it was made for this test").len() <= 64 * 1024 + 200,
            "and a comment at its end"
        );
        let recording = Recording::of(&path);
        up.extend(recording.up().into_iter().map(<[u8]>::to_vec));
        down.extend(recording.down());
        let mut comments = Vec::new();
        comments.extend((part > 1).then(|| format!("goes on from {}", name(part - 1))));
        comments.extend((part < paths.len()).then(|| format!("goes on in {}", name(part + 1))));
        assert_eq!(recording.comments, comments);
    }
    assert!(up == sent && down == sent.concat());
}

fn a_refused_target_leaves_an_empty_recording(engine: &str) {
    let (directory, target) = (TempDir::new(), Refusing::new());
    let server = server(engine, &directory, target.address(), &[]);
    let mut client = server.client();
    client.expect_close(1011);
    client.answer_close(1011);
    server.stop();
    let text = std::fs::read_to_string(directory.join("r.1")).expect("it was made for this test");
    assert_eq!(text, "var VNC_frame_data = [\n'EOF'];\n");
}

fn the_process_says_what_it_records(engine: &str) {
    let (directory, target) = (TempDir::new(), TcpTarget::echo());
    let server = server(engine, &directory, &target, &[]);
    server.wait_line(&format!("  - Recording to '{}.*'", directory.arg("r")));
    let mut client = server.client();
    server.wait_line(&format!("opening record file: {}.1", directory.arg("r")));
    client.send(&Frame::binary("x"));
    client.expect_stream(1);
    server.signal(Signal::SIGQUIT);
    let report = server.wait_line("records_open=");
    assert!(report.contains("report records_open=1 record_bytes="), "{report}");
    assert!(report.ends_with("record_bytes_lost=0"), "{report}");
    client.leave();
    server.stop();
}
