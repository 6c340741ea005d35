//! Command lines about tokens: what is complained about, and how.

use super::files::works;
use crate::support::client::Handshake;
use crate::support::server::{Server, run_to_end};
use crate::support::target::TcpTarget;
use crate::support::temp::TempDir;
use std::fs;

#[test]
fn what_makes_no_sense_is_said_in_one_line() {
    let rows: &[(&[&str], &[&str])] = &[
        (&["--token-plugin=Nope"], &["--token-plugin", "\"Nope\"", "no such plugin", "TokenFile, "]),
        (&["--token-plugin=TokenFile"], &["--token-plugin", "TokenFile", "--token-source"]),
        (
            &["--token-plugin=TokenFileName", "--token-source=absent"],
            &["--token-source", "absent", "directory"],
        ),
        (&["--token-plugin=TokenRedis", "--token-source=h:x"], &["--token-source", "field 2", "0 to 65535"]),
        (
            &["--token-plugin=TokenRedis", "--token-source=a:1:2:hunter2:n:x"],
            &["--token-source", "five fields"],
        ),
        (&["--token-plugin=TokenRedis", "--token-source=h:hunter2"], &["--token-source", "field 2", "port"]),
        (
            &["--token-plugin=BaseTokenAPI", "--token-source=http://me:hunter2@h/x"],
            &["--token-source", "http://h/...", "%s once"],
        ),
        (&["--token-plugin=TokenRedis", "--token-source="], &["--token-plugin", "needs a source"]),
        (&["--token-plugin=BaseTokenAPI", "--token-source=http://h/"], &["--token-source", "%s once"]),
        (&["--token-plugin=JSONTokenApi", "--token-source=h/%s"], &["--token-source", "http:// or https://"]),
        (
            &["--token-plugin=TokenFile", "--token-source=@absent"],
            &["--token-source", "'absent'", "No such file"],
        ),
    ];
    for (words, parts) in rows {
        let (status, said) = run_to_end(&[&["127.0.0.1:0"], *words].concat());
        assert_eq!(status, Some(1), "{words:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{words:?}: {said}");
        for part in *parts {
            assert!(said.contains(part), "{words:?}: {said}");
        }
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn a_source_may_stand_in_a_file() {
    let (target, place) = (TcpTarget::echo(), TempDir::new());
    let tokens = place.write("tokens", format!("one: {}\n", target.address()));
    place.write("source", format!("{}\nthe first line counts\n", tokens.display()));
    let source = format!("--token-source=@{}", place.arg("source"));
    let server = Server::start("poll", &["--token-plugin=TokenFile", &source]);
    works(&server, &Handshake::new().start("GET /?token=one HTTP/1.1"));
    server.stop();
}

#[test]
fn a_check_finds_what_is_wrong_with_a_source() {
    let place = TempDir::new();
    place.write("good", "one: h:1\n");
    place.write("faulty", "one: h:1\nnonsense\n");
    place.write("key", "!");
    // A directory whose last file, as it is listed, is of no use.
    let many = place.join("many");
    fs::create_dir(&many).expect("the directory is writable");
    (0..10_100).for_each(|desk| fs::write(many.join(desk.to_string()), "h:1").expect("it is writable"));
    let listed = fs::read_dir(&many).expect("it is there");
    let last = listed.last().expect("there are some").expect("it can be listed");
    fs::write(last.path(), "nonsense").expect("it is writable");
    for (plugin, name, said) in [
        ("TokenFile", "good", None),
        ("TokenFile", "faulty", Some("on line 2")),
        ("TokenFile", "absent", Some("--token-source: ")),
        ("JWTTokenApi", "key", Some("neither PEM nor base64url")),
        ("UnixDomainSocketDirectory", "absent", Some("--token-source: ")),
        ("TokenFileName", "absent", Some("TokenFileName needs a directory")),
        ("TokenFileName", "many", Some("is not host:port; write")),
        ("Nope", "good", Some("there is no such plugin")),
    ] {
        let source = format!("--token-source={}", place.arg(name));
        let (status, log) =
            run_to_end(&["--check", &format!("--token-plugin={plugin}"), &source, "127.0.0.1:0"]);
        match said {
            None => assert_eq!(status, Some(0), "{plugin} {name}: {log}"),
            Some(said) => {
                assert_eq!((status, log.lines().count()), (Some(78), 1), "{plugin} {name}: {log}");
                assert!(log.contains(said), "{plugin} {name}: {log}");
            }
        }
    }
}
