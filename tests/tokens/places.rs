//! Where requests carry their tokens, and that no token is ever shown.

use super::files::{refused, works};
use crate::support::client::Handshake;
use crate::support::on_both_engines;
use crate::support::server::Server;
use crate::support::target::TcpTarget;
use crate::support::temp::TempDir;

on_both_engines!(
    every_place,
    what_is_said_twice,
    the_host,
    nothing_shows_a_token,
    secrets_are_not_shown_without_tokens_either
);

/// A token that stands nowhere by chance.
const SECRET: &str = "s3cr-t0ken.42";

fn file_of(target: &TcpTarget, place: &TempDir, token: &str) -> String {
    place
        .write("tokens", format!("{token}: {}\n", target.address()))
        .to_str()
        .expect("temporary paths are plain")
        .to_owned()
}

fn start(line: &str) -> Handshake {
    Handshake::new().start(&format!("GET {line} HTTP/1.1"))
}

fn every_place(engine: &str) {
    let (target, place) = (TcpTarget::echo(), TempDir::new());
    let file = file_of(&target, &place, SECRET);
    let handshake = Handshake::new();
    let offers = format!("binary, token.{SECRET}");
    let with = |name: &str, value: &str| handshake.clone().set(name, value);
    let rows = [
        ("query", start(&format!("/?a=b&token={SECRET}"))),
        ("cookie", with("Cookie", &format!("a=b; token={SECRET}"))),
        ("cookie:desk", with("Cookie", &format!("token=x; desk=\"{SECRET}\""))),
        ("header:X-Desk", with("x-desk", SECRET)),
        ("header:Authorization", with("Authorization", &format!("Bearer {SECRET}"))),
        ("path", start(&format!("/websockify/{SECRET}"))),
        ("subprotocol", with("Sec-WebSocket-Protocol", &offers)),
    ];
    for (word, right) in &rows {
        let server = Server::start(engine, &["--token-from", word, "--target-config", &file]);
        works(&server, right);
        for (other, wrong) in rows.iter().filter(|(other, _)| other != word) {
            let status = refused(&server, wrong);
            assert!(matches!(status, 403 | 404), "{status}: {word} and {other}");
        }
        server.stop();
    }
    let server =
        Server::start(engine, &["--token-from=cookie,query", "--token-from=path", "--target-config", &file]);
    works(&server, &rows[0].1);
    works(&server, &rows[1].1);
    works(&server, &rows[5].1);
    // The first place that has one counts, good or not.
    assert_eq!(refused(&server, &rows[0].1.clone().set("Cookie", "token=wrong")), 404);
    server.stop();
}

/// As behind a proxy that adds its own to what the client has sent.
fn what_is_said_twice(engine: &str) {
    let (target, place) = (TcpTarget::echo(), TempDir::new());
    let file = file_of(&target, &place, SECRET);
    for (word, name) in [("header:X-Desk", "X-Desk"), ("cookie", "Cookie")] {
        let server =
            Server::start(engine, &["--token-from", &format!("{word},query"), "--target-config", &file]);
        let value = |token: &str| if name == "Cookie" { format!("token={token}") } else { token.to_owned() };
        let (ours, theirs) = (value(SECRET), value("theirs"));
        works(&server, &Handshake::new().add(name, &ours));
        for (first, second) in [(&ours, &theirs), (&theirs, &ours), (&ours, &ours)] {
            let twice = start(&format!("/?token={SECRET}")).add(name, first).add(name, second);
            assert_eq!(refused(&server, &twice), 400, "{word}");
        }
        assert!(!server.log().contains(SECRET), "{}", server.log());
        server.stop();
    }
}

fn the_host(engine: &str) {
    let (target, place) = (TcpTarget::echo(), TempDir::new());
    let address = target.address();
    place.write("tokens", format!("Good.example: {address}\n::1: {address}\n"));
    let source = place.arg("tokens");
    let server = Server::start(
        engine,
        &["--host-token", "--token-plugin=TokenFile", &format!("--token-source={source}")],
    );
    let host = |name| Handshake::new().set("Host", name);
    for name in ["good.example", "GOOD.example:6080", "[::1]", "[::1]:80"] {
        works(&server, &host(name));
    }
    assert_eq!(refused(&server, &host("bad.example")), 404);
    assert_eq!(refused(&server, &host("")), 403);
    assert_eq!(refused(&server, &host("bad").start("GET /?token=good.example HTTP/1.1")), 404);
    server.stop();
}

fn nothing_shows_a_token(engine: &str) {
    let (target, place) = (TcpTarget::echo(), TempDir::new());
    let file = file_of(&target, &place, SECRET);
    let places = "--token-from=query,cookie,header:X-Desk,path,subprotocol";
    let web = place.arg("");
    let server = Server::start(engine, &["-v", places, "--target-config", &file, "--web", &web]);
    let escaped: String = SECRET.bytes().map(|byte| format!("%{byte:02x}")).collect();
    works(&server, &start(&format!("/?token={SECRET}")));
    works(&server, &start(&format!("/?%74oken={escaped}")));
    works(&server, &start(&format!("/x/{SECRET}")));
    works(&server, &start(&format!("/x/{escaped}")));
    works(&server, &Handshake::new().set("Cookie", &format!("token={SECRET}")));
    // What is refused or is no upgrade at all is shown too.
    assert_eq!(refused(&server, &start(&format!("/?token={SECRET}x"))), 404);
    assert_eq!(refused(&server, &start(&format!("/?token={SECRET}")).set("Sec-WebSocket-Version", "1")), 426);
    let page = format!("/absent.html?path=websockify%3Ftoken%3D{SECRET}");
    let twice = format!("/absent?path=websockify%253Ftoken%253D{escaped}").replace("%7", "%257");
    for line in [page, twice, format!("/absent/{SECRET}"), format!("/absent?token={SECRET}")] {
        assert_eq!(server.http().get(&line, "").status, 404);
    }
    // Written to the wrong place, and another parameter than the one that counts.
    let odd = [
        format!("/absent%3Ftoken%3D{SECRET}/x"),
        format!("/absent&token={SECRET}/x"),
        format!("/absent;token={SECRET}/x"),
        format!("/{SECRET}/"),
        format!("/absent?key={SECRET}"),
    ];
    for line in &odd {
        assert_eq!(server.http().get(line, "").status, 404, "{line}");
    }
    let opened = server.wait_lines("open id=", 5);
    let marks: Vec<_> =
        opened.iter().map(|line| line.rsplit_once(" token=~").expect("each had a token").1).collect();
    assert!(marks.iter().all(|mark| *mark == marks[0] && mark.len() == 8), "{marks:?}");
    server.wait_lines("end id=", 5);
    server.wait_lines("status=404", 10);
    let log = server.log();
    assert!(log.contains(&format!("path=\"/?token=~{}\"", marks[0])), "{log}");
    for secret in [SECRET, &SECRET[..6], &escaped, &escaped[3..]] {
        assert!(!log.contains(secret), "{secret} in\n{log}");
    }
    server.stop();
}

fn secrets_are_not_shown_without_tokens_either(engine: &str) {
    let target = TcpTarget::echo();
    let address = target.address().to_string();
    let line = start(&format!("/?token={SECRET}&user=me"));
    let server = Server::start(engine, &["-v", &address]);
    works(&server, &line);
    let opened = server.wait_line("open id=");
    assert!(opened.contains("path=\"/?token=~") && opened.contains("&user=me\""), "{opened}");
    assert!(!server.log().contains(SECRET), "{}", server.log());
    server.stop();
    // Who asks for a key may mean any parameter.
    let guarded = ["-v", "--auth-plugin=BasicHTTPAuth", "--auth-source=me:pass", &address];
    let server = Server::start(engine, &guarded);
    assert_eq!(refused(&server, &start(&format!("/x?key={SECRET}&{SECRET}"))), 401);
    let answered = server.wait_line("status=401");
    assert!(answered.contains("/x?key=~"), "{answered}");
    assert!(!server.log().contains(SECRET), "{}", server.log());
    server.stop();
}
