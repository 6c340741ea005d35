//! Services over HTTPS: which authorities of the environment judge them, and that nobody passes where there are none.

use super::files::{refused, works};
use crate::support::client::{Handshake, WsClient};
use crate::support::on_both_engines;
use crate::support::server::{Server, program};
use crate::support::target::TcpTarget;
use crate::support::temp::TempDir;
use crate::support::tls::{Authority, TRUST_VARIABLES, file};
use crate::support::wire::PATIENCE;
use std::time::Instant;

on_both_engines!(
    the_environment_says_who_judges_services,
    services_that_nobody_can_judge_yet_hold_no_start_up,
    what_nobody_asks_for_is_not_looked_at,
);

/// A server with these variables in its environment, and no others of that kind.
#[track_caller]
fn started(engine: &str, variables: &[(&str, &str)], args: &[&str]) -> Server {
    let mut words: Vec<String> =
        TRUST_VARIABLES.iter().flat_map(|name| ["-u".into(), (*name).into()]).collect();
    words.extend(variables.iter().map(|(name, value)| format!("{name}={value}")));
    words.push(program().to_str().expect("the path is plain").into());
    words.extend(["--engine", engine, "127.0.0.1:0"].map(str::to_owned));
    words.extend(args.iter().map(|&word| word.to_owned()));
    Server::launch("env", &words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// What is asked about tokens and about requests, over TLS with a certificate of `authority`.
struct Services {
    _echo: TcpTarget,
    _tokens: TcpTarget,
    _guard: TcpTarget,
    /// How a server is told to ask either; clients of both say a token.
    asking: [Vec<String>; 2],
}

fn services(authority: &Authority) -> Services {
    let echo = TcpTarget::echo();
    let answer = format!(r#"{{"host": "127.0.0.1", "port": {}}}"#, echo.address().port());
    let length = answer.len();
    let own = authority.sign(&["127.0.0.1"]);
    let tokens = authority.web_service(&own, move |path| match path {
        "/one" => format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{answer}"),
        _ => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".into(),
    });
    let guard = authority.web_service(&own, |_| "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".into());
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    let source = format!("--token-source=https://{}/%s", tokens.address());
    let about_requests = format!("--auth-source=https://{}/", guard.address());
    let asking = [
        words(&["--token-plugin=JSONTokenApi", &source]),
        words(&["--auth-plugin=ForwardAuth", &about_requests, "--echo"]),
    ];
    Services { _echo: echo, _tokens: tokens, _guard: guard, asking }
}

fn one() -> Handshake {
    Handshake::new().start("GET /?token=one HTTP/1.1")
}

fn the_environment_says_who_judges_services(engine: &str) {
    let (authority, other, directory) = (Authority::new(), Authority::new(), TempDir::new());
    let services = services(&authority);
    let (own, foreign) = (file(&directory, "own.pem", &authority.pem), file(&directory, "o.pem", &other.pem));
    std::fs::create_dir(directory.path().join("owns")).expect("it is ours");
    let owns = directory.arg("owns");
    // As `openssl rehash` names them.
    file(&directory, "owns/0a1b2c3d.0", &authority.pem);
    for (variables, is_trusted) in [
        (&[("REQUESTS_CA_BUNDLE", &*own)][..], true),
        (&[("REQUESTS_CA_BUNDLE", &owns), ("CURL_CA_BUNDLE", &foreign)], true),
        (&[("REQUESTS_CA_BUNDLE", &foreign), ("CURL_CA_BUNDLE", &own), ("SSL_CERT_FILE", &own)], false),
        (&[("REQUESTS_CA_BUNDLE", ""), ("CURL_CA_BUNDLE", &own)], true),
        (&[("CURL_CA_BUNDLE", &own), ("SSL_CERT_FILE", "/nonexistent")], true),
        (&[("CURL_CA_BUNDLE", &foreign), ("SSL_CERT_FILE", &own)], false),
        (&[("SSL_CERT_FILE", &own)], true),
        (&[("SSL_CERT_DIR", &owns)], true),
    ] {
        for asking in &services.asking {
            let args: Vec<_> = asking.iter().map(String::as_str).collect();
            let server = started(engine, variables, &args);
            if is_trusted {
                works(&server, &one());
                assert!(!server.log().contains("in the environment"), "{}", server.log());
            } else {
                assert_eq!(refused(&server, &one()), 503, "{variables:?}");
                let line = server.wait_line("failures=1 error=\"");
                assert!(line.contains("invalid peer certificate"), "{line}");
            }
            server.stop();
        }
    }
}

fn services_that_nobody_can_judge_yet_hold_no_start_up(engine: &str) {
    let authority = Authority::new();
    let services = services(&authority);
    for name in ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"] {
        for (asking, option) in services.asking.iter().zip(["--token-source", "--auth-source"]) {
            let (directory, args) = (TempDir::new(), asking.iter().map(String::as_str).collect::<Vec<_>>());
            let path = directory.arg("later.pem");
            let server = started(engine, &[(name, &path)], &args);
            let line = server.wait_line(&format!(" warn {option}: "));
            let said = format!("{name}='{path}' in the environment: No such file or directory");
            for part in
                [&*said, "; name authorities in PEM there, or unset it; until then", "refused with 503"]
            {
                assert!(line.contains(part), "{line}");
            }
            // Nobody passes meanwhile, and each is told so at once.
            for _ in 0..3 {
                assert_eq!(refused(&server, &one()), 503);
            }
            assert!(server.wait_line(" failures=1 error=\"").contains(&said), "{}", server.log());
            std::fs::write(&path, &authority.pem).expect("it is ours");
            let until = Instant::now() + PATIENCE;
            while !is_let_in(&server) {
                assert!(Instant::now() < until, "never looked at again: {}", server.log());
            }
            works(&server, &one());
            server.stop();
        }
    }
}

fn is_let_in(server: &Server) -> bool {
    match WsClient::try_open(server.wire(), &one()) {
        Ok(client) => {
            client.leave();
            true
        }
        Err(why) => {
            assert!(why.contains("503"), "{why}");
            false
        }
    }
}

fn what_nobody_asks_for_is_not_looked_at(engine: &str) {
    let gone: Vec<_> = TRUST_VARIABLES[..4].iter().map(|name| (*name, "/nonexistent")).collect();
    let plain = ["--auth-plugin=ForwardAuth", "--auth-source=http://127.0.0.1:1/", "--echo"];
    let tokens = ["--token-plugin=BaseTokenAPI", "--token-source=http://127.0.0.1:1/%s"];
    for (args, status) in [(&plain[..], 503), (&tokens[..], 503), (&["--echo"][..], 101)] {
        let server = started(engine, &gone, args);
        match status {
            101 => works(&server, &one()),
            _ => assert_eq!(refused(&server, &one()), status),
        }
        assert!(!server.log().contains("in the environment"), "{}", server.log());
        server.stop();
    }
}
