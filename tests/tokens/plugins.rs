//! Commands that say where tokens lead: asked about each request, or about each token, as they say themselves.

use super::files::{asking, refused, works};
use crate::support::client::Handshake;
use crate::support::on_both_engines;
use crate::support::server::Server;
use crate::support::target::TcpTarget;
use crate::support::temp::TempDir;
use nix::sys::signal::Signal;
use std::fs;

on_both_engines!(a_command_may_answer_by_the_token_alone, a_new_process_may_answer_by_something_else);

/// A command that knows the token `desk-1`, writes down what it is asked, and is ready with these words.
fn command(place: &TempDir, target: &TcpTarget, ready: &str) -> String {
    let script = format!(
        "read -r hello; echo '{{{ready}}}'; while read -r line; do id=${{line#*:}}; id=${{id%%,*}}\n\
         echo \"$line\" >> {}; case $line in *'\"token\":\"desk-1\"'*)\n\
         echo \"{{\\\"id\\\":$id,\\\"allow\\\":{{\\\"target\\\":\\\"{}\\\",\\\"labels\\\":{{\\\"desk\\\":\\\"a\\\"}}}}}}\";;\n\
         *) echo \"{{\\\"id\\\":$id,\\\"deny\\\":{{\\\"status\\\":404,\\\"reason\\\":\\\"Gone\\\"}}}}\";; esac; done\n",
        place.arg("asked"),
        target.address()
    );
    // The one before may still be read.
    place.write("next.sh", script);
    fs::rename(place.join("next.sh"), place.join("plugin.sh")).expect("the directory is writable");
    format!("--token-plugin=exec:exec sh {}", place.arg("plugin.sh"))
}

/// What it was asked since this was called last.
fn asked(place: &TempDir) -> Vec<String> {
    let text = fs::read_to_string(place.join("asked")).unwrap_or_default();
    let _ = fs::remove_file(place.join("asked"));
    text.lines().map(str::to_owned).collect()
}

const BY_TOKEN: &str = r#""ready":true,"by":"token""#;
const BY_REQUEST: &str = r#""ready":true"#;

fn a_command_may_answer_by_the_token_alone(engine: &str) {
    let (place, target) = (TempDir::new(), TcpTarget::echo());
    for (cache, times) in [("--token-cache=60", 1), ("--token-cache=0", 3)] {
        let plugin = command(&place, &target, BY_TOKEN);
        let server = Server::start(engine, &[&plugin, cache]);
        for _ in 0..3 {
            works(&server, &asking("desk-1").set("Cookie", "a=1"));
        }
        for line in server.wait_lines("open id=", 3) {
            assert!(line.contains("label.desk=\"a\""), "kept with all that was said: {line}");
        }
        let lines = asked(&place);
        assert_eq!(lines.len(), times, "{cache}: {lines:?}");
        assert!(lines.iter().all(|line| line.ends_with(r#","kind":"token","token":"desk-1"}"#)), "{lines:?}");
        assert_eq!(refused(&server, &asking("two")), 404);
        server.stop();
        asked(&place);
    }
}

fn a_new_process_may_answer_by_something_else(engine: &str) {
    let (place, target) = (TempDir::new(), TcpTarget::echo());
    let plugin = command(&place, &target, BY_TOKEN);
    let server = Server::start(engine, &[&plugin, "--token-cache=60"]);
    let twice = |times: usize| {
        asked(&place);
        (0..2).for_each(|_| works(&server, &asking("desk-1")));
        assert_eq!(asked(&place).len(), times);
    };
    twice(1);
    command(&place, &target, BY_REQUEST);
    server.signal(Signal::SIGHUP);
    server.wait_line("changed=\"it answers by the whole request now");
    twice(2);
    let shake = Handshake::new().start("GET /?token=desk-1 HTTP/1.1").set("Cookie", "a=1");
    works(&server, &shake);
    assert!(asked(&place)[0].contains(r#""cookies":{"a":"1"}"#), "it is told all of it");
    command(&place, &target, BY_TOKEN);
    server.signal(Signal::SIGHUP);
    server.wait_line("changed=\"it answers by the token alone now");
    twice(1);
    server.stop();
}
