//! Targets that may not be connected to: nothing is, whoever says where to and however it is written.

use crate::counted;
use crate::support::client::{Handshake, WsClient};
use crate::support::frame::Frame;
use crate::support::on_both_engines;
use crate::support::server::{Server, run_to_end};
use crate::support::target::{TcpTarget, unix_echo_at};
use crate::support::temp::TempDir;
use crate::support::tls::{Authority, VERSIONS, file};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

on_both_engines!(
    a_denied_target_is_never_connected_to,
    only_what_is_allowed_is_connected_to,
    a_socket_counts_where_it_really_is,
    sockets_of_a_directory_are_judged_too,
    a_configured_name_is_judged_for_each_client,
    whom_a_host_stands_for_is_judged,
    whom_a_plugin_names_is_judged,
    a_target_is_verified_by_its_name_all_the_same,
);

fn asking(token: &str) -> Handshake {
    Handshake::new().start(&format!("GET /?token={token} HTTP/1.1"))
}

#[track_caller]
fn works(server: &Server, handshake: &Handshake) {
    let mut client = WsClient::open(server.wire(), handshake);
    client.send(&Frame::binary("there and back"));
    assert_eq!(client.expect_stream(14), b"there and back");
    client.leave();
}

/// The status of a refusal, which is a whole answer and the end of the connection.
#[track_caller]
fn refused(server: &Server, handshake: &Handshake) -> u16 {
    let mut http = server.http();
    let answer = http.send(handshake.bytes()).response();
    assert!(answer.closes() && answer.body.len() < 500, "{answer:?}");
    http.expect_eof();
    answer.status
}

/// A server of a file of tokens, with more words.
#[track_caller]
fn with_tokens(engine: &str, place: &TempDir, tokens: String, more: &[&str]) -> Server {
    place.write("tokens", tokens);
    let source = format!("--token-source={}", place.arg("tokens"));
    Server::start(engine, &[&["--threads=2", "--token-plugin=TokenFile", &source], more].concat())
}

fn a_denied_target_is_never_connected_to(engine: &str) {
    let (target, place) = (TcpTarget::echo(), TempDir::new());
    let port = target.address().port();
    // Each leads to the target in its own way, the last three by what only a resolver makes of them.
    let ways = ["127.0.0.1", "[::ffff:127.0.0.1]", "0.0.0.0", "localhost", "127.1", "2130706433"];
    let tokens: String =
        ways.iter().enumerate().map(|(at, way)| format!("seat{at}: {way}:{port}\n")).collect();
    let open = with_tokens(engine, &place, tokens.clone(), &[]);
    (0..ways.len()).for_each(|at| works(&open, &asking(&format!("seat{at}"))));
    open.stop();
    assert_eq!(target.accepted(), ways.len(), "without a list all of them lead there");

    let server = with_tokens(engine, &place, tokens, &["--deny-target=link-local,loopback,metadata"]);
    for (at, way) in ways.iter().enumerate() {
        assert_eq!(refused(&server, &asking(&format!("seat{at}"))), 403, "{way}");
    }
    // Who has no token that leads anywhere hears the same as ever.
    assert_eq!((refused(&server, &asking("none")), refused(&server, &Handshake::new())), (404, 403));
    let lines = server.wait_lines(" status=403 token=~", ways.len());
    for line in lines {
        assert!(
            line.contains("detail=\"--deny-target refuses ") && line.contains(&format!(":{port}")),
            "{line}"
        );
    }
    assert_eq!(counted(&server, "targets_refused="), ways.len() as u64);
    server.stop();
    assert_eq!(target.accepted(), ways.len(), "nobody was connected to");
}

fn only_what_is_allowed_is_connected_to(engine: &str) {
    let (target, other, place) = (TcpTarget::echo(), TcpTarget::echo(), TempDir::new());
    let port = target.address().port();
    let socket = place.arg("s.sock");
    unix_echo_at(socket.as_ref());
    let tokens = format!(
        "one: 127.0.0.1:{port}\nname: localhost:{port}\nother: {other}\nsocket: unix_socket:{socket}\nechoes: echo://\n\
         nowhere: no-such-host.invalid:1\n"
    );
    // Of the addresses of localhost the one that is allowed is taken.
    let allow = format!("--allow-target=127.0.0.1:{port}");
    let server = with_tokens(engine, &place, tokens, &[&allow]);
    for token in ["one", "name"] {
        works(&server, &asking(token));
    }
    for (token, status) in [("other", 403), ("socket", 403), ("nowhere", 502)] {
        assert_eq!(refused(&server, &asking(token)), status, "{token}");
    }
    assert!(server.wait_line(" status=502 ").contains(" detail=\""));
    server.stop();
    assert_eq!((target.accepted(), other.accepted()), (2, 0));
}

fn a_socket_counts_where_it_really_is(engine: &str) {
    let place = TempDir::new();
    for directory in ["desks", "desks-evil", "other"] {
        fs::create_dir(place.join(directory)).expect("the directory is writable");
        unix_echo_at(&place.join(directory).join("s"));
    }
    let link = |to: &str, from: &str| symlink(place.join(to), place.join(from)).expect("it is ours");
    link("other/s", "desks/out");
    link("desks/s", "other/in");
    link("desks", "way");
    let root = place.path().display();
    let names = [
        "desks/s",
        "desks-evil/s",
        "other/s",
        "desks/out",
        "other/in",
        "way/s",
        "desks/../other/s",
        "desks/none",
    ];
    let tokens: String =
        names.iter().enumerate().map(|(at, name)| format!("seat{at}: unix_socket:{root}/{name}\n")).collect();
    let statuses = |server: &Server| -> Vec<u16> {
        let status = |at: usize| {
            let asks = asking(&format!("seat{at}"));
            match WsClient::try_open(server.wire(), &asks) {
                Ok(client) => {
                    client.leave();
                    works(server, &asks);
                    101
                }
                Err(_) => refused(server, &asks),
            }
        };
        (0..names.len()).map(status).collect()
    };
    // By a link, which is followed when the server starts.
    let allow = format!("--allow-target={root}/way");
    let server = with_tokens(engine, &place, tokens.clone(), &[&allow]);
    assert_eq!(statuses(&server), [101, 403, 403, 403, 101, 101, 403, 502]);
    server.stop();
    let deny = format!("--deny-target={root}/desks/");
    let server = with_tokens(engine, &place, tokens, &[&deny]);
    assert_eq!(statuses(&server), [403, 101, 101, 101, 403, 403, 101, 502]);
    let line = server.wait_line("/other/in leads");
    assert!(line.contains(&format!("refuses {root}/desks/s, where ")), "{line}");
    server.stop();
}

fn sockets_of_a_directory_are_judged_too(engine: &str) {
    let place = TempDir::new();
    fs::create_dir(place.join("desks")).expect("the directory is writable");
    unix_echo_at(&place.join("desks/one"));
    let source = format!("--token-source={}", place.arg("desks"));
    let start =
        |list: &str| Server::start(engine, &["--token-plugin=UnixDomainSocketDirectory", &source, list]);
    let server = start(&format!("--allow-target={}", place.path().display()));
    works(&server, &asking("one"));
    server.stop();
    let server = start(&format!("--deny-target={}", place.arg("desks")));
    assert_eq!(refused(&server, &asking("one")), 403);
    server.stop();
}

fn a_configured_name_is_judged_for_each_client(engine: &str) {
    let target = TcpTarget::echo();
    let name = format!("localhost:{}", target.address().port());
    let server = Server::start(engine, &[&name, "--deny-target=loopback"]);
    assert_eq!(refused(&server, &Handshake::new()), 403);
    server.stop();
    assert_eq!(target.accepted(), 0);
    let server = Server::start(engine, &[&name, "--allow-target=loopback"]);
    works(&server, &Handshake::new());
    server.stop();
}

fn whom_a_host_stands_for_is_judged(engine: &str) {
    let (target, place) = (TcpTarget::echo(), TempDir::new());
    let tokens = format!("desk.test: {target}\n");
    let server = with_tokens(engine, &place, tokens, &["--host-token", "--deny-target=127.0.0.0/8"]);
    assert_eq!(refused(&server, &Handshake::new().set("Host", "desk.test")), 403);
    server.stop();
    assert_eq!(target.accepted(), 0);
}

fn whom_a_plugin_names_is_judged(engine: &str) {
    let (target, place) = (TcpTarget::echo(), TempDir::new());
    let (port, script) = (target.address().port(), place.join("plugin"));
    // Answers each question with the same target, as a plugin of tokens and as a guard.
    let text = format!(
        "read -r hello\necho '{{\"ready\":true}}'\nwhile read -r line; do id=${{line#*:}}; id=${{id%%,*}}\n\
         printf '{{\"id\":%s,\"allow\":{{\"target\":\"127.0.0.1:{port}\"}}}}\\n' \"$id\"; done\n"
    );
    fs::write(&script, text).expect("the directory is writable");
    let plugin = format!("exec:sh {}", script.display());
    let token = format!("--token-plugin={plugin}");
    let guard = format!("--auth-plugin={plugin}");
    for (list, status) in [("--allow-target=127.0.0.1,127.0.0.2", 101), ("--deny-target=127.0.0.1", 403)] {
        for words in [&[token.as_str()][..], &["127.0.0.2:1", guard.as_str()]] {
            let server = Server::start(engine, &[words, &[list]].concat());
            match status {
                101 => works(&server, &asking("t")),
                status => assert_eq!(refused(&server, &asking("t")), status, "{words:?}"),
            }
            server.stop();
        }
    }
    assert_eq!(target.accepted(), 2);
}

fn a_target_is_verified_by_its_name_all_the_same(engine: &str) {
    let (authority, place) = (Authority::new(), TempDir::new());
    let ca = file(&place, "ca.pem", &authority.pem);
    let (target, _ends) = authority.echo_target(&authority.sign(&["localhost"]), &VERSIONS, false);
    let port = target.address().port();
    let tokens = format!("name: localhost:{port}\naddress: 127.0.0.1:{port}\nother: 127.1:{port}\n");
    let more = ["--ssl-target", "--ssl-target-ca", &ca, "--allow-target=127.0.0.0/8"];
    let server = with_tokens(engine, &place, tokens, &more);
    works(&server, &asking("name"));
    for token in ["address", "other"] {
        let mut client = WsClient::open(server.wire(), &asking(token));
        client.expect_close(1011);
        client.answer_close(1011);
    }
    server.stop();
}

/// Whether a command line is refused at its start, and by a check of it, with one line that has these parts.
#[track_caller]
fn is_told(words: &[&str], parts: &[&str]) {
    for (more, status) in [(None, 1), (Some("--check"), 78)] {
        let words: Vec<&str> = more.into_iter().chain(words.iter().copied()).collect();
        let (code, said) = run_to_end(&words);
        assert_eq!((code, said.lines().count()), (Some(status), 1), "{words:?}: {said}");
        assert!(parts.iter().all(|part| said.contains(part)), "{words:?}: {said}");
    }
}

#[test]
fn a_configured_target_that_is_refused_is_a_mistake() {
    let place = TempDir::new();
    let root = place.path().canonicalize().expect("it is there");
    let (inside, allow) = (root.join("s"), format!("--allow-target={}", root.display()));
    let parts =
        |option: &'static str| [option, ": refuses the target ", "; change the list, or name another target"];
    let unix = |path: &Path| format!("--unix-target={}", path.display());
    is_told(&["0", "127.0.0.1:5901", "--deny-target=loopback"], &parts("--deny-target"));
    is_told(&["0", "[::1]:5901", "--allow-target=127.0.0.1"], &parts("--allow-target"));
    is_told(&["0", ":5901", "--deny-target=loopback"], &parts("--deny-target"));
    is_told(
        &["0", &unix(&inside), &allow, &format!("--deny-target={}", root.display())],
        &parts("--deny-target"),
    );
    is_told(&["0", "--unix-target=@x", "--deny-target=@x"], &parts("--deny-target"));
    is_told(
        &["0", "a.example:1", "--deny-target=/no/such/directory"],
        &["--deny-target: /no/such/directory: no such directory; "],
    );
    let file = place.write("file", "");
    let deny = format!("--deny-target={}", file.display());
    is_told(&["0", "a.example:1", &deny], &["not a directory"]);
}
