//! Guards of the program, on both engines: what is asked of clients, what they get who may not pass, and (in
//! `plugins`) processes that are started, killed and misbehave.

#[path = "guards/plugins.rs"]
mod plugins;
mod support;

use nix::sys::signal::kill;
use nix::unistd::Pid;
use plugins::{pids, shell};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use support::client::{Handshake, Message, WsClient};
use support::frame::Frame;
use support::on_both_engines;
use support::server::{Server, run_to_end};
use support::target::TcpTarget;
use support::temp::TempDir;
use support::tls::{Authority, VERSIONS, file};
use support::wire::PATIENCE;

on_both_engines!(
    a_password_is_asked_for,
    pages_come_from_listed_origins,
    several_guards_must_all_agree,
    files_are_guarded_when_that_is_wanted,
    names_come_from_the_certificate_of_this_connection,
    users_of_a_file_and_changes_of_it,
    a_service_is_asked,
    a_service_that_is_silent_holds_nobody_else_up,
);

/// `me:secret`.
const ME: &str = "Basic bWU6c2VjcmV0";

/// Whether a handshake is answered with 101; the session then works and ends.
fn opens(server: &Server, handshake: &Handshake) -> Result<(), String> {
    let mut client = WsClient::try_open(server.wire(), handshake)?;
    client.send(&Frame::binary("there"));
    client.expect(&Message::Binary(b"there".to_vec()));
    client.leave();
    Ok(())
}

/// The status and headers with which a handshake is refused. The answer is complete, and the connection ends behind it.
#[track_caller]
fn refused(server: &Server, handshake: &Handshake) -> support::http::Response {
    let mut http = server.http();
    let answer = http.send(handshake.bytes()).response();
    assert!(answer.status >= 400 && answer.closes(), "{answer:?}");
    http.expect_eof();
    answer
}

fn a_password_is_asked_for(engine: &str) {
    let server =
        Server::start(engine, &["--echo", "--auth-plugin=BasicHTTPAuth", "--auth-source", "me:secret"]);
    let answer = refused(&server, &Handshake::new());
    assert_eq!((answer.status, answer.header("WWW-Authenticate")), (401, Some("Basic realm=\"Websockify\"")));
    for (said, status) in [
        ("Basic bWU6d3Jvbmc=", 401),
        ("Basic", 403),
        ("Basic bWU=", 403),
        ("Digest x", 403),
        ("Basic ?", 401),
    ] {
        assert_eq!(refused(&server, &Handshake::new().set("Authorization", said)).status, status, "{said}");
    }
    let twice = Handshake::new().set("Authorization", ME).add("Authorization", ME);
    assert_eq!(refused(&server, &twice).status, 400);
    opens(&server, &Handshake::new().set("Authorization", ME).chopped(5)).expect("it is the password");
    assert!(!server.log().contains("secret") && !server.log().contains("bWU6"), "{}", server.log());
    server.stop();
}

fn pages_come_from_listed_origins(engine: &str) {
    let args =
        ["--echo", "--auth-plugin=ExpectOrigin", "--auth-source", "https://a.test https://b.test:8443"];
    let server = Server::start(engine, &args);
    for origin in ["https://a.test", "https://A.test:443", "https://b.test:8443"] {
        opens(&server, &Handshake::new().set("Origin", origin)).expect(origin);
    }
    for origin in ["http://a.test", "https://b.test", "https://a.test.evil.test", "null", ""] {
        let answer = refused(&server, &Handshake::new().set("Origin", origin));
        assert_eq!((answer.status, answer.reason.as_str()), (403, "Invalid Origin"), "{origin}");
    }
    assert_eq!(refused(&server, &Handshake::new()).status, 403);
    server.stop();
}

fn several_guards_must_all_agree(engine: &str) {
    let plugins =
        ["--auth-plugin=SameOrigin", "--auth-plugin=BasicHTTPAuth", "--auth-source=me:secret", "--echo"];
    let server = Server::start(engine, &plugins);
    let page = Handshake::new().set("Origin", "https://gateway.test");
    assert_eq!(refused(&server, &Handshake::new().set("Authorization", ME)).status, 403);
    assert_eq!(refused(&server, &page).status, 401);
    assert_eq!(
        refused(&server, &page.clone().set("Authorization", ME).set("Origin", "https://evil.test")).status,
        403
    );
    opens(&server, &page.set("Authorization", ME)).expect("both agree");
    server.stop();
}

fn files_are_guarded_when_that_is_wanted(engine: &str) {
    let web = TempDir::new();
    web.write("page.html", "hello");
    let dir = format!("--web={}", web.arg(""));
    let basic = ["--auth-plugin=BasicHTTPAuth", "--auth-source=me:secret", &dir, "--echo"];
    let open = Server::start(engine, &basic);
    assert_eq!(open.http().get("/page.html", "").status, 200);
    open.stop();
    let server = Server::start(engine, &[&basic[..], &["--web-auth"]].concat());
    assert_eq!(server.http().get("/page.html", "").status, 401);
    assert_eq!(server.http().get("/missing", "").status, 401, "nor is told what there is");
    let head = server.http().head("/page.html", "");
    assert_eq!((head.status, head.closes()), (401, true));
    let post = server.http().send(support::http::request("POST", "/page.html", "")).response();
    assert_eq!(post.status, 405, "there is nothing to guard");
    let more = format!("Authorization: {ME}\r\n");
    let mut http = server.http();
    for _ in 0..2 {
        assert_eq!(http.get("/page.html", &more).body, b"hello", "the connection is kept");
    }
    server.stop();
}

fn names_come_from_the_certificate_of_this_connection(engine: &str) {
    let (authority, directory) = (Authority::new(), TempDir::new());
    let ca = file(&directory, "ca.pem", &authority.pem);
    let cert = file(&directory, "own.pem", &authority.sign(&["gateway.test"]).both());
    let tls = ["--cert", &cert, "--verify-client", "--cafile", &ca, "--ssl-only", "--echo"];
    let guard = ["--auth-plugin=ClientCertCNAuth", "--auth-source=alice carol"];
    let server = Server::start(engine, &[&tls[..], &guard[..]].concat());
    let (alice, bob) = (authority.sign_person("alice"), authority.sign_person("bob"));
    let forged =
        ["SSL_CLIENT_S_DN_CN", "ssl_client_s_dn_cn", "SSL-CLIENT-S-DN-CN", "X-Forwarded-User", "Remote-User"];
    let (old_alice, old_bob) = (authority.sign_version1("alice"), authority.sign_version1("bob"));
    let rows = [(&alice, &bob), (&old_alice, &old_bob)];
    for (version, (alice, bob)) in VERSIONS.into_iter().flat_map(|version| rows.map(|row| (version, row))) {
        let client = authority.client(&[version], Some(alice));
        // Nothing is left of the first time for the second.
        for _ in 0..2 {
            let wire = client.wire(server.address(), "gateway.test");
            let lying = forged.iter().fold(Handshake::new(), |shake, name| shake.add(name, "bob"));
            let mut client = WsClient::open(wire, &lying);
            client.send(&Frame::binary("x"));
            client.expect(&Message::Binary(b"x".to_vec()));
            client.leave();
        }
        let client = authority.client(&[version], Some(bob));
        for name in forged {
            let wire = client.wire(server.address(), "gateway.test");
            let refused = WsClient::try_open(wire, &Handshake::new().add(name, "alice")).expect_err(name);
            assert!(refused.contains("403"), "{name}: {refused}");
        }
    }
    server.stop();
    let (status, told) = run_to_end(&[&["0", "--cert", &cert, "--echo"], &guard[..]].concat());
    assert_eq!(status, Some(1));
    assert!(told.contains("ClientCertCNAuth needs --verify-client"), "{told}");
}

fn users_of_a_file_and_changes_of_it(engine: &str) {
    // Made by `openssl passwd -6` of `secret`.
    let directory = TempDir::new();
    directory.write("users", "me:$6$saltstring$AIsRs/Ee56G/tC8MEHhvReZTfx8u3rXXMl6eYrjCG9ibix19DxoMBLogdTET5Ukw9Sf7eZTITsuk0Ry5qulYz.\n");
    let users = directory.arg("users");
    let server = Server::start(engine, &["--echo", "--auth-plugin=HtpasswdAuth", "--auth-source", &users]);
    let me = Handshake::new().set("Authorization", ME);
    assert_eq!(refused(&server, &Handshake::new()).status, 401);
    assert_eq!(refused(&server, &Handshake::new().set("Authorization", "Basic bWU6d3Jvbmc=")).status, 401);
    opens(&server, &me).expect("it is the password");
    let line = server.wait_line("open id=");
    assert!(line.contains("label.user=\"me\""), "{line}");
    directory.write("users", "you:$apr1$x$y\n");
    assert_eq!(refused(&server, &me).status, 401, "a change acts at once");
    server.stop();
    let (status, told) =
        run_to_end(&["0", "--echo", "--auth-plugin=HtpasswdAuth", "--auth-source=/nonexistent"]);
    assert_eq!(status, Some(1));
    assert!(told.contains("password file /nonexistent"), "{told}");
}

/// A web service that answers every request as `answer` says of its head; heads are reported.
fn service(answer: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> (TcpTarget, Receiver<String>) {
    let (tell, heads) = channel();
    let target = TcpTarget::new(move |mut stream: TcpStream| {
        let mut bytes = Vec::new();
        let mut byte = [0];
        while stream.read(&mut byte).is_ok_and(|count| count == 1) {
            bytes.push(byte[0]);
            if bytes.ends_with(b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&std::mem::take(&mut bytes)).into_owned();
                let said = answer(&head);
                let _ = tell.send(head);
                let Some(said) = said else { continue };
                if stream.write_all(said.as_bytes()).is_err() {
                    return;
                }
            }
        }
    });
    (target, heads)
}

fn a_service_is_asked(engine: &str) {
    let (target, heads) = service(|head| {
        let status = match head.to_ascii_lowercase() {
            head if head.contains("cookie: good") => "204 No Content\r\nRemote-User: me",
            head if head.contains("cookie: login") => {
                "302 Found\r\nLocation: https://login.test/\r\nSet-Cookie: a=1\r\nContent-Length: 0"
            }
            head if head.contains("cookie: broken") => "500 Internal Server Error\r\nContent-Length: 0",
            head if head.contains("cookie: away") => "302 Found\r\nContent-Length: 0",
            _ => "401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nX-Own: 1\r\nContent-Length: 4\r\n\r\nbody",
        };
        Some(if status.ends_with("body") {
            format!("HTTP/1.1 {status}")
        } else {
            format!("HTTP/1.1 {status}\r\n\r\n")
        })
    });
    let url = format!("http://{}/verify", target.address());
    let server = Server::start(engine, &["--echo", "--auth-plugin=ForwardAuth", "--auth-source", &url]);
    let lies = Handshake::new()
        .start("GET /desk?token=t HTTP/1.1")
        .set("Remote-User", "root")
        .set("X-Forwarded-Uri", "/");
    opens(&server, &lies.clone().set("Cookie", "good")).expect("the service agrees");
    let head = heads.recv_timeout(PATIENCE).expect("it was asked").to_ascii_lowercase();
    assert!(head.starts_with("get /verify http/1.1\r\n"), "{head}");
    for part in [
        "x-forwarded-uri: /desk?token=t\r\n",
        "x-forwarded-host: gateway.test",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-method: get",
    ] {
        let (name, _) = part.split_once(':').expect("it is a header");
        assert_eq!(head.matches(name).count(), 1, "{head}");
        assert!(head.contains(part), "{head}");
    }
    assert!(!head.contains("root"), "{head}");
    assert!(server.wait_line("open id=").contains("label.user=\"me\""));
    let answer = refused(&server, &lies);
    assert_eq!(
        (answer.status, answer.header("WWW-Authenticate"), answer.header("X-Own")),
        (401, Some("Bearer"), None)
    );
    let mut http = server.http();
    let login = http.send(lies.clone().set("Cookie", "login").bytes()).response();
    assert_eq!((login.status, login.header("Location")), (302, Some("https://login.test/")));
    assert_eq!(login.header("Set-Cookie"), Some("a=1"));
    http.expect_eof();
    for cookie in ["broken", "away"] {
        assert_eq!(refused(&server, &lies.clone().set("Cookie", cookie)).status, 503);
    }
    drop(target);
    server.wait_line("ForwardAuth failures=");
    server.stop();
}

fn a_service_that_is_silent_holds_nobody_else_up(engine: &str) {
    let web = TempDir::new();
    web.write("page.html", "hello");
    let (target, heads) = service(|_| None);
    let url = format!("http://{}/", target.address());
    let dir = format!("--web={}", web.arg(""));
    let server = Server::start(engine, &["--echo", &dir, "--auth-plugin=ForwardAuth", "--auth-source", &url]);
    let mut waiting: Vec<_> = (0..20).map(|_| server.http()).collect();
    for http in &mut waiting {
        http.send(Handshake::new().bytes());
    }
    heads.recv_timeout(PATIENCE).expect("it is asked");
    let begun = Instant::now();
    for _ in 0..50 {
        assert_eq!(server.http().get("/page.html", "").status, 200);
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    for http in &mut waiting {
        assert_eq!(http.response().status, 503);
    }
    server.stop();
}

#[test]
fn what_makes_no_sense_is_told_in_one_line() {
    for (args, status, part) in [
        (&["--auth-source=x"][..], 2, "You must use --auth-plugin to use --auth-source"),
        (&["--web-auth"], 2, "You must use --auth-plugin to use --web-auth"),
        (&["--web-auth", "--auth-plugin=SameOrigin"], 2, "You must use --web to use --web-auth"),
        (&["--auth-plugin=SameOrigin", "--auth-source=x"], 2, "takes a source for each --auth-source"),
        (
            &["--auth-plugin=Nothing"],
            1,
            "option --auth-plugin: 'Nothing': no such plugin; use one of BasicHTTPAuth",
        ),
        (&["--auth-plugin=BasicHTTPAuth"], 1, "BasicHTTPAuth needs --auth-source=USER:PASSWORD"),
        (
            &["--auth-plugin=BasicHTTPAuth", "--auth-source=@/nonexistent"],
            1,
            "option --auth-source: '/nonexistent': No such file",
        ),
        (
            &["--auth-plugin=ForwardAuth", "--auth-source=me:hushhush@auth"],
            1,
            "'(secret)@auth' is no URL: it must begin with http:// or https://; the form is http://host:port/path",
        ),
        (&["--auth-plugin=a.b-c"], 1, "'a.b-c' is no Python class"),
        (&["--auth-plugin=exec:"], 1, "exec: names no command"),
        (
            &["--auth-plugin=exec:echo opening it >&2; echo no such table >&2; exit 3"],
            1,
            ": exit status: 3: no such table; see that the command runs by itself",
        ),
        (&["--auth-plugin=exec:/nonexistent"], 1, "option --auth-plugin: /nonexistent: exit status: 127"),
        (
            &["--auth-plugin=a.B", "--python=/nonexistent"],
            1,
            "a.B: cannot run /nonexistent (name another with --python)",
        ),
    ] {
        let words: Vec<&str> = [&["0", "--echo"], args].concat();
        let (code, told) = run_to_end(&words);
        assert_eq!(code, Some(status), "{args:?}: {told}");
        let line = told.lines().last().unwrap_or_default();
        assert!(status == 2 || told.lines().count() == 1, "{args:?}: {told}");
        assert!(line.contains(part) && !told.contains("hushhush"), "{args:?}: {told}");
    }
}

#[test]
fn a_secret_can_come_from_a_file() {
    let directory = TempDir::new();
    directory.write("pair", "me:secret\nmore\n");
    let source = format!("--auth-source=@{}", directory.arg("pair"));
    let server = Server::start("poll", &["--echo", "--auth-plugin=BasicHTTPAuth", &source]);
    assert_eq!(refused(&server, &Handshake::new()).status, 401);
    opens(&server, &Handshake::new().set("Authorization", ME)).expect("it is the password");
    server.stop();
    // So can that of a key.
    let (status, said) = run_to_end(&["--echo", "--key-password=@/absent/password", "127.0.0.1:0"]);
    assert_eq!((status, said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains("option --key-password: '/absent/password': No such file"), "{said}");
}

#[test]
fn sources_keep_their_places_and_their_blanks() {
    let directory = TempDir::new();
    directory.write("pair", "@me:secret \r\n");
    let file = format!("--auth-source=@{}", directory.arg("pair"));
    let said = Handshake::new().set("Authorization", "Basic QG1lOnNlY3JldCA=");
    let plugin = shell(&directory, r#"*) say '"allow":{}' ;;"#);
    for source in [file.as_str(), "--auth-source=@@me:secret "] {
        let args = ["--echo", &plugin, "--auth-source=", "--auth-plugin=BasicHTTPAuth", source];
        let server = Server::start("poll", &args);
        opens(&server, &said).expect(source);
        for other in ["Basic QG1lOnNlY3JldA==", "Basic bWU6c2VjcmV0IA=="] {
            assert_eq!(refused(&server, &Handshake::new().set("Authorization", other)).status, 401);
        }
        server.stop();
    }
    let (status, told) = run_to_end(&["0", "--echo", &plugin, "--auth-source=", "--auth-source=late"]);
    assert_eq!(status, Some(2), "{told}");
}

#[test]
fn a_check_starts_and_ends_what_it_checks() {
    let directory = TempDir::new();
    directory.write("users", "me:plain\n");
    let plugin = shell(&directory, "");
    let users = format!("--auth-source={}", directory.arg("users"));
    let check = |args: &[&str]| run_to_end(&[&["--check", "0", "--echo"], args].concat());
    assert_eq!(check(&[&plugin]).0, Some(0));
    let pid = *pids(&directory).last().expect("it was started");
    assert!(kill(Pid::from_raw(pid), None).is_err(), "it is gone");
    for (args, part) in [
        (&["--auth-plugin=exec:exit 3"][..], "option --auth-plugin: exit 3: exit status: 3"),
        (&["--auth-plugin=HtpasswdAuth", "--auth-source=/nonexistent"], "password file /nonexistent: "),
        (&["--auth-plugin=HtpasswdAuth", &users], "line=1 ignored"),
        (&["--auth-plugin=Nothing"], "no such plugin"),
    ] {
        let (status, told) = check(args);
        assert!(status == Some(78) && told.contains(part), "{args:?}: {status:?} {told}");
    }
}
