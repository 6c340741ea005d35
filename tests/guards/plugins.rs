//! Plugins that guard: what they may say, and that they are started again, and end with the server.

use super::{opens, refused};
use crate::support::client::{Handshake, Message, WsClient};
use crate::support::on_both_engines;
use crate::support::server::{Server, run_to_end};
use crate::support::target::TcpTarget;
use crate::support::temp::TempDir;
use crate::support::wire::PATIENCE;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::time::{Duration, Instant};
use websplice::limits::MESSAGE_BYTES_DEFAULT;

on_both_engines!(
    a_plugin_decides_everything,
    a_plugin_says_where_messages_end,
    a_plugin_says_something_with_files_too,
    a_plugin_is_told_the_target_with_files_too,
    a_plugin_that_is_killed_is_started_again,
    a_plugin_ends_with_the_server,
    a_plugin_that_heeds_nothing_ends_with_a_server_that_is_killed,
);

/// A plugin in shell: its answer to a question is by what `$line` has in it. It notes its process in the file `pid`.
pub fn shell(directory: &TempDir, answers: &str) -> String {
    let script = format!(
        "read -r hello\necho $$ >> {}\necho '{{\"ready\":true}}'\nwhile read -r line; do id=${{line#*:}}; id=${{id%%,*}}\n\
         say() {{ printf '{{\"id\":%s,%s}}\\n' \"$id\" \"$1\"; }}\ncase $line in\n{answers}\nesac; done\n",
        directory.arg("pid")
    );
    directory.write("plugin.sh", script);
    format!("--auth-plugin=exec:exec sh {}", directory.arg("plugin.sh"))
}

pub fn pids(directory: &TempDir) -> Vec<i32> {
    let text = std::fs::read_to_string(directory.join("pid")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn a_plugin_decides_everything(engine: &str) {
    let (directory, target) = (TempDir::new(), TcpTarget::echo());
    let plugin = shell(
        &directory,
        &format!(
            r#"*'"path":"/open"'*) say '"allow":{{"target":"{}","subprotocol":"chat","headers":[["X-Desk","7"]],"labels":{{"user":"m\"e\n"}}}}' ;;
*'"path":"/login"'*) say '"deny":{{"status":401,"reason":"Who","headers":{{"WWW-Authenticate":"Bearer"}}}}' ;;
*'"path":"/usual"'*) say '"deny":{{"status":401,"headers":{{"WWW-Authenticate":"Bearer","Content-Length":"7","Server":"me"}}}}' ;;
*'"path":"/text"'*) say '"allow":{{"framing":"base64"}}' ;;
*root*) say '"allow":{{}}' ;;
*'"path":"/no"'*) say '"deny":{{}}' ;;
*) echo garbage; say '"allow":7' ;;"#,
            target.address()
        ),
    );
    let server = Server::start(engine, &["127.0.0.1:1", &plugin]);
    let open = Handshake::new().start("GET /open HTTP/1.1").set("Sec-WebSocket-Protocol", "binary, chat");
    let mut http = server.http();
    http.send(open.bytes());
    let answer = crate::support::http::read_response(&mut http.inbox, true, crate::support::wire::soon())
        .expect("an answer");
    assert_eq!(
        (answer.status, answer.header("Sec-WebSocket-Protocol"), answer.header("X-Desk")),
        (101, Some("chat"), Some("7"))
    );
    let line = server.wait_line("open id=");
    assert!(
        line.contains(&target.address().to_string()) && line.contains("label.user=\"m\\\"e\\u{a}\""),
        "{line}"
    );
    let login = refused(&server, &Handshake::new().start("GET /login HTTP/1.1"));
    assert_eq!(
        (login.status, login.reason.as_str(), login.header("WWW-Authenticate")),
        (401, "Who", Some("Bearer"))
    );
    let usual = refused(&server, &Handshake::new().start("GET /usual HTTP/1.1"));
    assert_eq!((usual.status, usual.header("WWW-Authenticate")), (401, Some("Bearer")));
    assert_ne!(usual.header("Server"), Some("me"));
    assert_eq!(refused(&server, &Handshake::new().start("GET /no HTTP/1.1")).status, 403);
    assert_eq!(refused(&server, &Handshake::new().start("GET /text HTTP/1.1")).status, 503);
    server.wait_line("framing \\\"base64\\\" is not known; there are binary, auto, text,");
    assert_eq!(refused(&server, &Handshake::new().start("GET /odd HTTP/1.1")).status, 503);
    server.wait_line("garbage");
    // What would let it in is not told: it is a lie about who the client is.
    let liar =
        Handshake::new().start("GET /no HTTP/1.1").set("Remote_User", "root").set("x-forwarded-USER", "root");
    assert_eq!(refused(&server, &liar).status, 403);
    drop(http);
    server.stop();
}

fn a_plugin_says_where_messages_end(engine: &str) {
    let directory = TempDir::new();
    let plugin = shell(
        &directory,
        r#"*'"path":"/lines"'*) say '"allow":{"framing":"newline","framing_config":"lf"}' ;;
*'"path":"/json"'*) say '"allow":{"framing":"json"}' ;;
*) say '"allow":{}' ;;"#,
    );
    let long = [&b"one\n[2,\n3] \xC3"[..], &vec![b'x'; MESSAGE_BYTES_DEFAULT + 1]].concat();
    let target = TcpTarget::source(long.clone());
    let server = Server::start(engine, &[&target.address().to_string(), &plugin]);
    let open = |path: &str| {
        let shake = Handshake::new().start(&format!("GET {path} HTTP/1.1"));
        WsClient::open(server.wire(), &shake)
    };
    let mut lines = open("/lines");
    for line in ["one\n", "[2,\n"] {
        lines.expect(&Message::Text(line.as_bytes().to_vec()));
    }
    assert_eq!(lines.expect_close(1009), "Message too big");
    let mut values = open("/json");
    values.expect(&Message::Binary(b"one\n".to_vec()));
    values.expect(&Message::Text(b"[2,\n3]".to_vec()));
    assert_eq!(values.expect_close(1009), "Message too big");
    assert_eq!(open("/").expect_stream(long.len()), long);
    server.wait_lines("end=message_too_large", 2);
    drop((lines, values));
    server.stop();
}

fn a_plugin_says_something_with_files_too(engine: &str) {
    let directory = TempDir::new();
    directory.write("page.html", "hello");
    directory.write("other.html", "hello");
    let plugin = shell(
        &directory,
        r#"*'"path":"/page.html"'*|*absent*) say '"allow":{"headers":[["Set-Cookie","a=1"],["Set-Cookie","b=2"],["Etag","theirs"]],"labels":{"user":"me"}}' ;;
*) say '"allow":{}' ;;"#,
    );
    let web = format!("--web={}", directory.arg(""));
    let server = Server::start(engine, &["-v", &web, "--web-auth", "--echo", &plugin]);
    let mut http = server.http();
    for _ in 0..2 {
        let page = http.get("/page.html", "");
        let cookies: Vec<_> =
            page.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("Set-Cookie")).collect();
        assert_eq!((page.status, &page.body[..], cookies.len()), (200, &b"hello"[..], 2), "{page:?}");
        let tags = page.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("ETag")).count();
        assert!(tags == 1 && page.header("ETag") != Some("theirs"), "what is about the file stays: {page:?}");
        // The next request on the same connection is another one.
        assert_eq!(http.get("/other.html", "").header("Set-Cookie"), None);
    }
    let absent = http.get("/absent", "");
    assert!(absent.status == 404 && absent.headers.iter().any(|(_, value)| value == "b=2"), "{absent:?}");
    for line in server.wait_lines("request=\"GET /page.html\"", 2) {
        assert!(line.contains("status=200 label.user=\"me\""), "{line}");
    }
    for line in server.wait_lines("request=\"GET /other.html\"", 2) {
        assert!(line.contains("status=200") && !line.contains("label"), "{line}");
    }
    server.stop();
}

fn a_plugin_is_told_the_target_with_files_too(engine: &str) {
    let (directory, target) = (TempDir::new(), TcpTarget::echo());
    directory.write("page.html", "hello");
    let address = target.address();
    let wanted = format!(r#""target":{{"host":"{}","port":{}}}"#, address.ip(), address.port());
    let answers = format!("*'{wanted}'*) say '\"allow\":{{}}' ;;\n*) say '\"deny\":{{}}' ;;");
    let plugin = shell(&directory, &answers);
    let web = format!("--web={}", directory.arg(""));
    let server = Server::start(engine, &[&address.to_string(), &web, "--web-auth", &plugin]);
    assert_eq!(server.http().get("/page.html", "").status, 200);
    opens(&server, &Handshake::new()).expect("it goes there");
    server.stop();
    // Where tokens lead to targets, a file has none.
    directory.write("tokens", format!("one: {address}\n"));
    let tokens = format!("--token-source={}", directory.arg("tokens"));
    let server = Server::start(engine, &["--token-plugin=TokenFile", &tokens, &web, "--web-auth", &plugin]);
    assert_eq!(server.http().get("/page.html?token=one", "").status, 403);
    opens(&server, &Handshake::new().start("GET /?token=one HTTP/1.1")).expect("the token leads there");
    server.stop();
}

fn a_plugin_that_is_killed_is_started_again(engine: &str) {
    let directory = TempDir::new();
    let plugin = shell(&directory, r#"*) say '"allow":{}' ;;"#);
    let server = Server::start(engine, &["--echo", &plugin]);
    opens(&server, &Handshake::new()).expect("the plugin agrees");
    for round in 2..4 {
        kill(Pid::from_raw(*pids(&directory).last().expect("it runs")), Signal::SIGKILL).expect("it is ours");
        server.wait_lines("ended=", round - 1);
        until("it is there again", || pids(&directory).len() == round);
        opens(&server, &Handshake::new()).expect("the next one agrees too");
    }
    server.signal(Signal::SIGHUP);
    until("there is a new one", || pids(&directory).len() == 4);
    opens(&server, &Handshake::new()).expect("the new one agrees too");
    server.stop();
}

fn a_plugin_ends_with_the_server(engine: &str) {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let directory = TempDir::new();
        let plugin = shell(&directory, r#"*) say '"allow":{}' ;;"#);
        let mut server = Server::start(engine, &["--echo", &plugin]);
        let pid = pids(&directory)[0];
        server.signal(signal);
        server.wait_exit(PATIENCE);
        until("it is gone", || kill(Pid::from_raw(pid), None).is_err());
    }
    let stubborn = TempDir::new();
    stubborn.write(
        "plugin.sh",
        format!(
            "trap '' TERM; echo $$ > {}; echo '{{\"ready\":true}}'; while :; do sleep 1; done",
            stubborn.arg("pid")
        ),
    );
    let plugin = format!("--auth-plugin=exec:exec sh {}", stubborn.arg("plugin.sh"));
    let server = Server::start(engine, &["--echo", &plugin]);
    server.stop();
    assert!(kill(Pid::from_raw(pids(&stubborn)[0]), None).is_err(), "it was made to go");
}

/// What a plugin says of itself when it is of no use goes to a terminal and to a log.
#[test]
fn why_a_plugin_is_of_no_use_is_one_line() {
    for script in [
        r#"read -r hello; printf '{"error":"no\\nsuch \\u001b[31mtable"}\n'; read -r end"#,
        r#"printf 'no\rsuch \033[31mtable\n' >&2; exit 3"#,
    ] {
        let plugin = format!("--auth-plugin=exec:{script}");
        let (status, said) = run_to_end(&["--quiet", "127.0.0.1:0", "127.0.0.1:1", &plugin]);
        assert_eq!(status, Some(1), "{said}");
        let last = said.lines().last().unwrap_or_default();
        assert!(last.contains("option --auth-plugin: ") && last.contains(r"such \u{1b}[31mtable"), "{said}");
        assert!(!said.contains('\u{1b}') && !said.contains('\r'), "{said:?}");
    }
}

fn a_plugin_that_heeds_nothing_ends_with_a_server_that_is_killed(engine: &str) {
    let stubborn = TempDir::new();
    stubborn.write(
        "plugin.sh",
        format!(
            "trap '' TERM HUP INT PIPE; echo $$ > {}; echo '{{\"ready\":true}}'; while :; do sleep 1; done",
            stubborn.arg("pid")
        ),
    );
    let plugin = format!("--auth-plugin=exec:exec sh {}", stubborn.arg("plugin.sh"));
    let mut server = Server::start(engine, &["--echo", &plugin]);
    let pid = Pid::from_raw(pids(&stubborn)[0]);
    assert_eq!(kill(pid, None), Ok(()), "whoever started it is there still");
    server.signal(Signal::SIGKILL);
    server.wait_exit(PATIENCE);
    let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Whoever collects it may take its time.
    until("it is gone", || kill(pid, None).is_err() || stat().contains(") Z "));
}
