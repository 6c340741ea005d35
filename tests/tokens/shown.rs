//! What is shown of targets that have their token in them: never that, whoever said where it leads.

use super::files::works;
use super::service::Service;
use crate::support::client::{Handshake, WsClient};
use crate::support::on_both_engines;
use crate::support::server::Server;
use crate::support::target::unix_echo_at;
use crate::support::temp::TempDir;
use std::fs;
use std::path::PathBuf;

on_both_engines!(
    targets_of_files,
    targets_of_services,
    targets_of_plugins,
    names_of_hosts,
    a_recording_is_called_after_no_target_with_a_token,
);

/// In large and small letters, since hosts are written in small ones.
const SECRET: &str = "desk-17Secret";

fn asking(token: &str) -> Handshake {
    Handshake::new().start(&format!("GET /?token={token} HTTP/1.1"))
}

/// A target that works and has the secret in it, and the directory in which it is.
fn desk() -> (PathBuf, TempDir) {
    let place = TempDir::new();
    let socket = place.join(&format!("{SECRET}.sock"));
    unix_echo_at(&socket);
    (socket, place)
}

/// Opens sessions with the secret to a target that is there, one after the other, and one that is not; nothing may show it.
#[track_caller]
fn shows_nothing(engine: &str, words: &[&str]) {
    let server = Server::start(engine, &[&["-v"], words].concat());
    works(&server, &asking(SECRET));
    // The second may have an answer that was kept.
    works(&server, &asking(SECRET));
    let mut client = WsClient::open(server.wire(), &asking(&format!("{SECRET}-host")));
    client.expect_close(1011);
    drop(client);
    server.wait_lines("end id=", 3);
    let log = server.log();
    assert!(!log.to_lowercase().contains(&SECRET.to_lowercase()), "{log}");
    let opened = server.wait_lines("open id=", 3);
    for line in opened.iter().chain(&server.wait_lines("end id=", 3)) {
        let target = line.split("target=\"").nth(1).and_then(|rest| rest.split('"').next());
        let target = target.unwrap_or_else(|| panic!("{line}"));
        assert!(target.ends_with(".sock") || target.ends_with(".invalid:5900"), "{line}");
        assert!(target.contains('~'), "the hash stands in its place: {line}");
    }
    server.stop();
}

/// What a source says of a token.
fn leads(socket: &str, token: &str) -> Option<(String, String)> {
    match token.strip_prefix(SECRET)? {
        "" => Some(("unix_socket".into(), socket.into())),
        _ => Some((format!("{token}.invalid").to_lowercase(), "5900".into())),
    }
}

fn targets_of_files(engine: &str) {
    let (socket, place) = desk();
    let socket = socket.display();
    let host = format!("{SECRET}-host");
    let small = host.to_lowercase();
    place.write("tokens", format!("{SECRET}: unix_socket:{socket}\n{host}: {small}.invalid:5900\n"));
    fs::create_dir_all(place.join("names")).expect("the directory is writable");
    place.write(&format!("names/{SECRET}"), format!("unix_socket:{socket}"));
    place.write(&format!("names/{host}"), format!("{host}.invalid:5900"));
    for (plugin, source) in
        [("TokenFile", "tokens"), ("ReadOnlyTokenFile", "tokens"), ("TokenFileName", "names")]
    {
        shows_nothing(engine, &["--token-plugin", plugin, "--token-source", &place.arg(source)]);
    }
    // A socket is its token's name, however short that is.
    unix_echo_at(&place.join("names/d7"));
    let source = place.arg("names");
    let words = ["--token-plugin=UnixDomainSocketDirectory", "--token-source", &source];
    let server = Server::start(engine, &words);
    works(&server, &asking("d7"));
    let line = server.wait_line("end id=");
    assert!(line.contains("/names/~") && !line.contains("d7\""), "{line}");
    server.stop();
}

fn targets_of_services(engine: &str) {
    let (socket, _place) = desk();
    let socket = socket.display().to_string();
    let (text, json) = (socket.clone(), socket.clone());
    let found = move |path: &str| leads(&text, path.rsplit('/').next().unwrap_or_default());
    let plain = Service::http(move |path| match found(path) {
        Some((host, port)) => (200, format!("{host}:{port}")),
        None => (404, String::new()),
    });
    let found = move |path: &str| leads(&json, path.rsplit('/').next().unwrap_or_default());
    let object = Service::http(move |path| match found(path) {
        Some((host, port)) => (200, format!(r#"{{"host": "{host}", "port": "{port}"}}"#)),
        None => (404, String::new()),
    });
    let redis = Service::redis(move |words| match words.get(1).and_then(|key| leads(&socket, key)) {
        Some((host, port)) => format!("${}\r\n{host}:{port}\r\n", host.len() + 1 + port.len()),
        None => "$-1\r\n".into(),
    });
    for (plugin, source) in [
        ("BaseTokenAPI", format!("http://{}/%s", plain.address())),
        ("JSONTokenApi", format!("http://{}/%s", object.address())),
        ("TokenRedis", format!("127.0.0.1:{}", redis.address().port())),
    ] {
        for cache in ["--token-cache=0", "--token-cache=60"] {
            shows_nothing(engine, &["--token-plugin", plugin, "--token-source", &source, cache]);
        }
    }
}

fn targets_of_plugins(engine: &str) {
    let (socket, place) = desk();
    let socket = socket.display();
    let host = format!("{SECRET}-host");
    let small = host.to_lowercase();
    // What it writes down, and what it has logged, is the target too.
    let script = format!(
        "read -r hello; echo '{{\"ready\":true}}'; while read -r line; do id=${{line#*:}}; id=${{id%%,*}}\n\
         case $line in *'\"token\":\"{host}\"'*) to={small}.invalid:5900;; *) to=unix:{socket};; esac\n\
         echo \"I say $to\" >&2\n\
         echo \"{{\\\"id\\\":$id,\\\"allow\\\":{{\\\"target\\\":\\\"$to\\\",\\\"labels\\\":{{\\\"to\\\":\\\"$to\\\"}}}}}}\"\n\
         done\n"
    );
    place.write("plugin.sh", script);
    let plugin = format!("exec:exec sh {}", place.arg("plugin.sh"));
    shows_nothing(engine, &["--token-plugin", &plugin]);
    // One that is asked behind the token says it again.
    place.write("tokens", format!("{SECRET}: h:1\n{host}: h:1\n"));
    let words =
        ["--token-plugin=TokenFile", "--token-source", &place.arg("tokens"), "--auth-plugin", &plugin];
    shows_nothing(engine, &words);
}

fn names_of_hosts(engine: &str) {
    let place = TempDir::new();
    let small = SECRET.to_lowercase();
    place.write("tokens", format!("{SECRET}.test: {SECRET}.test.invalid:5900\n"));
    let source = place.arg("tokens");
    let server =
        Server::start(engine, &["-v", "--host-token", "--token-plugin=TokenFile", "--token-source", &source]);
    let mut client = WsClient::open(server.wire(), &Handshake::new().set("Host", &format!("{small}.test:1")));
    client.expect_close(1011);
    drop(client);
    let line = server.wait_line("end id=");
    assert!(line.contains("target=\"~") && line.contains(".invalid:5900\""), "{line}");
    let log = server.log();
    assert!(!log.to_lowercase().contains(&small), "{log}");
    server.stop();
}

fn a_recording_is_called_after_no_target_with_a_token(engine: &str) {
    let (socket, place) = desk();
    place.write("tokens", format!("{SECRET}: unix_socket:{}\n", socket.display()));
    fs::create_dir_all(place.join("kept")).expect("the directory is writable");
    let (source, kept) = (place.arg("tokens"), place.arg("kept"));
    let words = ["--token-plugin=TokenFile", "--token-source", &source, "--record-name={target}-{token}"];
    let server = Server::start(engine, &[&words[..], &["--record", &kept]].concat());
    works(&server, &asking(SECRET));
    server.wait_line("end id=");
    server.stop();
    let names: Vec<_> = fs::read_dir(place.join("kept")).expect("it is there").flatten().collect();
    let name = names[0].file_name().to_string_lossy().into_owned();
    assert!(names.len() == 1 && name.contains(".sock-") && !name.contains(SECRET), "{name}");
}
