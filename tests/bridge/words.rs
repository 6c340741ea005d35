//! What the program says and hears besides WebSocket: its log lines, its signals, its version, and names of targets.

use crate::support::client::{Handshake, WsClient};
use crate::support::frame::{BINARY, Frame};
use crate::support::on_both_engines;
use crate::support::server::{Server, program};
use crate::support::target::TcpTarget;
use crate::support::temp::TempDir;
use crate::support::wire::{PATIENCE, soon};
use nix::sys::signal::Signal;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;

on_both_engines!(
    lines_tell_of_a_session,
    lines_tell_who_ended_it,
    nothing_in_a_request_forges_a_line,
    verbose_shows_requests,
    quiet_shows_no_sessions,
    signals_report_and_do_not_end,
    a_service_name_is_dialled,
    a_name_with_a_refusing_address_is_dialled,
);

/// The text behind `name=` up to the next blank; the first field of that name counts.
#[track_caller]
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let value = line.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("no {name}= in {line:?}"))
}

/// The address of a client as the server sees it.
fn own_address(client: &WsClient) -> String {
    use crate::support::wire::Wire;
    let named = |stream: &std::net::TcpStream| stream.local_addr().expect("a connected socket has a name");
    match &client.inbox.wire {
        Wire::Tcp(stream) => named(stream).to_string(),
        Wire::Tls(stream) => named(&stream.sock).to_string(),
        Wire::Unix(_) => "unix".to_owned(),
    }
}

fn lines_tell_of_a_session(engine: &str) {
    let target = TcpTarget::echo();
    let server = Server::to(engine, &target);
    let mut client = WsClient::open(server.wire(), &Handshake::new().start("GET /desk?room=7 HTTP/1.1"));
    let (address, target) = (own_address(&client), target.to_string());
    client.send(&Frame::binary("hello"));
    client.expect_stream(5);
    // A message in fragments is one message, and a ping is none.
    client.send_all(&[Frame::new(BINARY, "ab").more(), Frame::last("c"), Frame::binary("defg")]);
    client.expect_stream(7);
    client.leave();
    let ended = server.wait_line("end id=");
    let log = server.log();
    let opened: Vec<_> = log.lines().filter(|line| line.contains(" open id=")).collect();
    assert_eq!(opened.len(), 1, "{log}");
    assert_eq!(log.lines().filter(|line| line.contains(" end id=")).count(), 1, "{log}");
    assert_eq!(field(opened[0], "id"), field(&ended, "id"), "{log}");
    for line in [opened[0], &ended] {
        assert_eq!(field(line, "client"), address, "{line}");
        assert_eq!(field(line, "target"), format!("\"{target}\""), "{line}");
    }
    assert_eq!(field(opened[0], "path"), "\"/desk?room=7\"", "{}", opened[0]);
    for (name, expected) in [
        ("in_bytes", "12"),
        ("out_bytes", "12"),
        ("in_msgs", "3"),
        ("close", "1000"),
        ("end", "client_closed"),
    ] {
        assert_eq!(field(&ended, name), expected, "{name} in {ended}");
    }
    // A stream has no boundaries, so the second answer may come as one message or two.
    assert!(["2", "3"].contains(&field(&ended, "out_msgs")), "{ended}");
    let seconds = field(&ended, "duration").strip_suffix('s').and_then(|number| number.parse::<f64>().ok());
    assert!(seconds.is_some_and(|seconds| (0.0..15.0).contains(&seconds)), "{ended}");
    server.stop();
}

fn lines_tell_who_ended_it(engine: &str) {
    let source = TcpTarget::source(vec![1; 100_000]);
    let server = Server::to(engine, &source);
    let mut client = server.client();
    client.expect_stream(100_000);
    client.expect_close(1000);
    client.answer_close(1000);
    let ended = server.wait_line("end=target_closed");
    assert_eq!([field(&ended, "in_bytes"), field(&ended, "out_bytes")], ["0", "100000"], "{ended}");
    assert_eq!([field(&ended, "in_msgs"), field(&ended, "close")], ["0", "1000"], "{ended}");
    server.stop();

    let target = TcpTarget::echo();
    let mut server = Server::to(engine, &target);
    let mut offender = server.client();
    offender.send(&Frame::binary("bare").unmasked());
    offender.expect_close(1002);
    offender.answer_close(1002);
    assert_eq!(field(&server.wait_line("end=protocol_error"), "close"), "1002");
    server.client().inbox.wire.finish();
    server.wait_line("end=client_ended");
    let mut last = server.client();
    server.signal(Signal::SIGTERM);
    last.expect_close(1001);
    last.answer_close(1001);
    assert_eq!(server.wait_exit(PATIENCE).code(), Some(0));
    assert_eq!(field(&server.wait_line("end=stopped"), "close"), "1001");
}

fn nothing_in_a_request_forges_a_line(engine: &str) {
    let server = Server::start(engine, &["-v", "--echo"]);
    let paths = [
        "/a\" end=forged path=\"",
        "/a\\\" open id=forged",
        "/a\nend id=forged",
        "/a\rend id=forged",
        "/a\x1b[2Kforged",
        "/a\u{202e}forged",
        "/a\u{85}forged\u{2028}forged",
        "/a\tforged\x7f",
        "/a%0aend%20id=forged",
        "/a\0forged",
    ];
    for path in paths {
        for method in ["GET", "HEAD"] {
            let mut http = server.http();
            let handshake = Handshake::new().start(&format!("{method} {path} HTTP/1.1"));
            http.send(handshake.bytes());
            http.inbox.wire.finish();
            // Accepted or refused: the server answers and goes on.
            let answered = http.inbox.take(12, soon());
            assert!(answered.is_ok_and(|answer| answer.starts_with(b"HTTP/1.1 ")), "{path:?}");
        }
    }
    server.client().leave();
    server.wait_lines("end=client_closed", 1);
    let log = server.log();
    for line in log.lines().filter(|line| line.contains("forged")) {
        assert!(line.starts_with("20"), "a line of its own: {line:?}");
        assert!(!line.chars().any(|letter| letter.is_control() || letter == '\u{202e}'), "{line:?}");
        let (before, quoted) = line
            .split_once(" path=\"")
            .or(line.split_once(" request=\""))
            .unwrap_or_else(|| panic!("{line:?}"));
        assert!(!before.contains("forged"), "{line:?}");
        let end = closing_quote(quoted).unwrap_or_else(|| panic!("no closing quote: {line:?}"));
        assert!(!quoted[end..].contains("forged"), "{line:?}");
    }
    server.stop();
}

/// Where the first quote without a backslash stands.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, letter)| {
        let closes = letter == '"' && !escaped;
        escaped = letter == '\\' && !escaped;
        closes.then_some(at)
    })
}

fn verbose_shows_requests(engine: &str) {
    let dir = TempDir::new();
    dir.write("page.html", "hello");
    let root = dir.path().to_str().expect("temporary paths are plain");
    for verbose in [true, false] {
        let mut args = vec!["--echo", "--web", root];
        args.extend(verbose.then_some("-v"));
        let server = Server::start(engine, &args);
        assert_eq!(server.http().get("/page.html", "").status, 200);
        assert_eq!(server.http().get("/missing.html", "").status, 404);
        let missing = server.wait_line("GET /missing.html");
        assert!(missing.contains(" http id=") && missing.contains(" status=404"), "{missing}");
        if verbose {
            let found = server.wait_line("GET /page.html");
            assert!(found.contains(" http id=") && found.contains(" status=200"), "{found}");
        } else {
            assert!(!server.log().contains("/page.html"), "{}", server.log());
        }
        server.stop();
    }
}

fn quiet_shows_no_sessions(engine: &str) {
    let mut server = Server::start(engine, &["--echo", "--quiet", "--threads", "1"]);
    server.client().leave();
    let mut refused = server.http();
    assert_eq!(refused.get("/no-such-page", "").status, 405);
    server.signal(Signal::SIGQUIT);
    let report = server.wait_line("report shard=0");
    assert_eq!(field(&report, "accepted"), "2", "{report}");
    server.signal(Signal::SIGTERM);
    server.wait_exit(PATIENCE);
    let log = server.log();
    assert!(!["open id=", "end id=", "http id=", "stop "].iter().any(|word| log.contains(word)), "{log}");
}

fn signals_report_and_do_not_end(engine: &str) {
    let server = Server::start(engine, &["--echo", "--threads", "2"]);
    let mut clients: Vec<_> = (0..400).map(|_| server.client()).collect();
    server.signal(Signal::SIGHUP);
    server.signal(Signal::SIGUSR1);
    server.signal(Signal::SIGQUIT);
    let reports = server.wait_lines("report shard=", 2);
    let mut shards: Vec<_> = reports.iter().map(|line| field(line, "shard")).collect();
    shards.sort_unstable();
    assert_eq!(shards, ["0", "1"], "{reports:?}");
    let count = |line: &String| field(line, "sessions").parse::<usize>().expect("a number");
    let sessions: Vec<_> = reports.iter().map(count).collect();
    assert_eq!(sessions.iter().sum::<usize>(), 400, "{reports:?}");
    assert!(sessions.iter().all(|count| (160..=240).contains(count)), "not within 40 to 60 %: {reports:?}");
    for client in &mut clients {
        client.send(&Frame::text("still here"));
    }
    for client in &mut clients {
        client.expect(&crate::support::client::Message::Text(b"still here".to_vec()));
    }
    clients.into_iter().for_each(WsClient::leave);
    server.client().leave();
    server.stop();
}

/// Services that are commonly known and whose ports are seldom taken.
const SERVICES: [(&str, u16); 7] = [
    ("isisd", 2608),
    ("bgpd", 2605),
    ("nut", 3493),
    ("x11-7", 6007),
    ("x11-6", 6006),
    ("ircd", 6667),
    ("zabbix-agent", 10050),
];

fn a_service_name_is_dialled(engine: &str) {
    let known = std::fs::read_to_string("/etc/services").unwrap_or_default();
    let free = SERVICES.iter().find_map(|&(name, port)| {
        let entry = format!("{port}/tcp");
        let listed = known.lines().any(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some(name) && words.next() == Some(&entry)
        });
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        // Probing takes the port for a moment; the target takes it again at once.
        (listed && std::net::TcpListener::bind(address).is_ok()).then_some((name, address))
    });
    let Some((name, address)) = free else {
        eprintln!("skipped: no known service has a free port here");
        return;
    };
    let target = TcpTarget::on(&address.to_string(), |stream| {
        let _ = std::io::copy(&mut &stream, &mut &stream);
    });
    for word in [format!("127.0.0.1:{name}"), format!("localhost:{name}")] {
        let server = Server::to(engine, &word);
        there_and_back(&server);
        server.stop();
    }
    drop(target);
}

#[track_caller]
fn there_and_back(server: &Server) {
    let mut client = server.client();
    client.send(&Frame::binary("there and back"));
    assert_eq!(client.expect_stream(14), b"there and back");
    client.leave();
}

/// `localhost` may have addresses of both families; whichever one the target does not listen on is passed over.
fn a_name_with_a_refusing_address_is_dialled(engine: &str) {
    let echo = |stream: std::net::TcpStream| {
        let _ = std::io::copy(&mut &stream, &mut &stream);
    };
    let names: Vec<IpAddr> = std::net::ToSocketAddrs::to_socket_addrs("localhost:0")
        .expect("localhost is known")
        .map(|address| address.ip())
        .collect();
    for ip in names {
        let target = TcpTarget::on(&SocketAddr::new(ip, 0).to_string(), echo);
        let server = Server::to(engine, format!("localhost:{}", target.address().port()));
        there_and_back(&server);
        server.stop();
    }
}

/// Beside the engines: what is asked here is answered without one.
#[test]
fn the_version_names_the_commit() {
    let said = Command::new(program()).arg("--version").output().expect("the program starts");
    assert_eq!(said.status.code(), Some(0));
    let said = String::from_utf8(said.stdout).expect("a version is plain");
    assert!(said.starts_with(concat!("websplice ", env!("CARGO_PKG_VERSION"))), "{said:?}");
    let git = |words: &[&str]| {
        let output = Command::new("git").args(words).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let ours = git(&["rev-parse", "--show-prefix"]).is_some_and(|prefix| prefix.is_empty());
    if !ours || std::env::var_os("WEBSPLICE_BIN").is_some() {
        return;
    }
    // The branch may have moved on since the build, so HEAD itself would be too strict.
    let Some(commit) = option_env!("WEBSPLICE_COMMIT") else {
        panic!("a build in a repository knows its commit")
    };
    assert!(said.contains(&format!("({commit})")), "{said:?} does not name {commit}");
    assert!(
        git(&["merge-base", "--is-ancestor", commit, "HEAD"]).is_some(),
        "{commit} is not of this branch"
    );
}
