//! Services that know tokens: what they are asked, what their answers come to, and that nobody waits for them in vain.

use super::files::{refused, works};
use super::service::Service;
use crate::support::client::{Handshake, WsClient};
use crate::support::http::{HttpClient, request};
use crate::support::on_both_engines;
use crate::support::server::{Server, program};
use crate::support::target::{Refusing, TcpTarget};
use crate::support::temp::TempDir;
use std::time::{Duration, Instant};

on_both_engines!(
    a_web_service_in_text,
    a_web_service_in_json,
    answers_are_kept_for_a_while,
    equal_tokens_share_one_question,
    a_service_that_is_slow_holds_nobody_else_up,
    a_service_that_never_answers_is_given_up,
    a_service_that_answers_nothing_at_all_is_left_alone,
    the_queue_has_an_end,
    a_service_that_is_gone_is_told_at_once,
    a_proxy_that_is_gone_is_not_the_fault_of_the_service,
    redis,
    redis_that_comes_and_goes,
);

/// What nobody has to wait for whose request needs no look-up: far less than any time-out here.
const SOON: Duration = Duration::from_secs(2);

/// An upgrade with this token, percent-encoded as it stands.
fn asking(token: &str) -> Handshake {
    Handshake::new().start(&format!("GET /?token={token} HTTP/1.1"))
}

#[track_caller]
fn started(engine: &str, plugin: &str, source: &str, more: &[&str]) -> Server {
    Server::start(engine, &[&["--token-plugin", plugin, "--token-source", source], more].concat())
}

fn a_web_service_in_text(engine: &str) {
    let target = TcpTarget::echo();
    let address = target.address();
    let service = Service::http(move |path| match path {
        "/t/one?k=v" | "/t/a%2Fb%3Fc%23%C3%A9%20..?k=v" => (200, format!(" {address}\n")),
        "/t/v6?k=v" => (203, format!("::ffff:127.0.0.1:{}", address.port())),
        "/t/moved?k=v" => (302, address.to_string()),
        "/t/trouble?k=v" => (500, address.to_string()),
        "/t/strange?k=v" => (200, "<html>".into()),
        "/t/large?k=v" => (200, "x".repeat(65537)),
        "/elsewhere" => panic!("a redirect was followed"),
        _ if !path.starts_with("/t/") || path.contains("/.") => (200, address.to_string()),
        _ => (404, address.to_string()),
    });
    let source = format!("http://{}/t/%s?k=v", service.address());
    let server = started(engine, "BaseTokenAPI", &source, &[]);
    for token in ["one", "a/b%3Fc%23%C3%A9+..", "v6"] {
        works(&server, &asking(token));
    }
    for (token, status) in [("two", 404), ("moved", 503), ("trouble", 503), ("strange", 503), ("large", 503)]
    {
        assert_eq!(refused(&server, &asking(token)), status, "{token}");
    }
    for dots in [".", "..", "%2e", "%2E."] {
        assert_eq!(refused(&server, &asking(dots)), 404, "{dots} leads out of the address");
    }
    let line = server.wait_line("tokens source=BaseTokenAPI failures=1 error=");
    assert!(line.contains("redirects are not followed") && !line.contains("moved"), "{line}");
    assert_eq!(refused(&server, &Handshake::new()), 403);
    server.stop();
}

fn a_web_service_in_json(engine: &str) {
    let target = TcpTarget::echo();
    let port = target.address().port();
    let service = Service::http(move |path| match path {
        "/one" => (200, format!(r#"{{"host": "127.0.0.1", "port": {port}, "more": null}}"#)),
        "/two" => (200, format!(r#"{{"host": "localhost", "port": "{port}"}}"#)),
        "/three" => (200, r#"{"host": "localhost"}"#.into()),
        _ => (403, String::new()),
    });
    let server = started(engine, "JSONTokenApi", &format!("http://{}/%s", service.address()), &[]);
    works(&server, &asking("one"));
    works(&server, &asking("two"));
    assert_eq!(refused(&server, &asking("three")), 503);
    assert_eq!(refused(&server, &asking("four")), 404);
    server.stop();
}

fn answers_are_kept_for_a_while(engine: &str) {
    let target = TcpTarget::echo();
    let address = target.address();
    let service = Service::http(move |path| match path {
        "/one" => (200, address.to_string()),
        "/trouble" => (500, String::new()),
        _ => (404, String::new()),
    });
    let source = format!("http://{}/%s", service.address());
    // That a token is unknown is kept for a second only, which a slow machine may take.
    for (cache, asked) in [("1h", 4..=5), ("0", 6..=6)] {
        let before = service.asked().len();
        let server = started(engine, "BaseTokenAPI", &source, &["--token-cache", cache]);
        for _ in 0..2 {
            works(&server, &asking("one"));
            assert_eq!(refused(&server, &asking("none")), 404);
            // That it could not say anything is not kept.
            assert_eq!(refused(&server, &asking("trouble")), 503);
        }
        let asked_for = service.asked().len() - before;
        assert!(asked.contains(&asked_for), "{cache}: {asked_for}");
        server.stop();
    }
}

fn a_proxy_that_is_gone_is_not_the_fault_of_the_service(engine: &str) {
    let service = Service::http(|_| (200, "127.0.0.1:1".into()));
    let gone = Refusing::new();
    let proxy = format!("http_proxy=http://me:hunter2@{}", gone.address());
    let source = format!("http://{}/%s", service.address());
    let program = program();
    let program = program.to_str().expect("the path is plain");
    let start = ["-u", "no_proxy", "-u", "NO_PROXY", &proxy, program, "--engine", engine, "127.0.0.1:0"];
    let tokens = ["--token-plugin=BaseTokenAPI", "--token-source", &source];
    let server = Server::launch("env", &[&start[..], &tokens].concat());
    assert_eq!(refused(&server, &asking("one")), 503);
    let line = server.wait_line("tokens source=BaseTokenAPI failures=1 error=");
    let named = format!("{}: the proxy {} of http_proxy: ", service.address(), gone.address());
    assert!(line.contains(&named) && !line.contains("hunter2"), "{line}");
    assert!(service.asked().is_empty(), "and never asked without it");
    server.stop();
}

/// Sends an upgrade and does not wait for its answer.
fn sent(server: &Server, token: &str) -> HttpClient {
    let mut http = server.http();
    http.send(asking(token).bytes());
    http
}

fn equal_tokens_share_one_question(engine: &str) {
    let target = TcpTarget::echo();
    let address = target.address();
    let service = Service::http(move |_| (200, address.to_string()));
    let server =
        started(engine, "BaseTokenAPI", &format!("http://{}/%s", service.address()), &["--token-cache=0"]);
    service.shut(true);
    let first = sent(&server, "one");
    service.wait_asked(1);
    let mut all: Vec<_> = (0..20).map(|_| sent(&server, "one")).collect();
    all.push(first);
    // Whoever asks for another token is asked for, behind those.
    let other = sent(&server, "two");
    service.wait_asked(2);
    service.shut(false);
    all.push(other);
    for http in all {
        WsClient::answered(http.inbox).expect("a token that is known");
    }
    let asked = service.asked();
    assert!(asked.len() <= 8, "late ones may have come behind the first answer: {asked:?}");
    server.stop();
}

/// Many handshakes that need no look-up, one after the other; the slowest of them.
#[track_caller]
fn slowest(server: &Server) -> Duration {
    let times = (0..100).map(|round| {
        let begun = Instant::now();
        if round % 2 == 0 {
            assert_eq!(refused(server, &Handshake::new()), 403);
        } else {
            assert_eq!(server.http().get("/index.html", "").status, 200);
        }
        begun.elapsed()
    });
    times.max().expect("there were some")
}

fn a_service_that_is_slow_holds_nobody_else_up(engine: &str) {
    let (target, place) = (TcpTarget::echo(), TempDir::new());
    place.write("index.html", "here");
    let address = target.address();
    let service = Service::http(move |_| (200, address.to_string()));
    let source = format!("http://{}/%s", service.address());
    let more = ["--token-timeout=1m", "--token-cache=1h", "--web", &place.arg("")];
    let server = started(engine, "BaseTokenAPI", &source, &more);
    works(&server, &asking("known"));
    service.shut(true);
    let waiting: Vec<_> = (0..40).map(|number| sent(&server, &format!("slow{number}"))).collect();
    service.wait_asked(17);
    assert!(slowest(&server) < SOON);
    works(&server, &asking("known"));
    service.shut(false);
    for http in waiting {
        WsClient::answered(http.inbox).expect("a token that is known");
    }
    server.stop();
}

fn a_service_that_never_answers_is_given_up(engine: &str) {
    let service = Service::http(|_| (404, String::new()));
    service.shut(true);
    let server = started(
        engine,
        "BaseTokenAPI",
        &format!("http://{}/%s", service.address()),
        &["--token-timeout=300ms"],
    );
    // More than can be asked at once: those behind do not wait for each other.
    let begun = Instant::now();
    let waiting: Vec<_> = (0..60).map(|number| sent(&server, &format!("t{number}"))).collect();
    for mut http in waiting {
        assert_eq!(http.response().status, 503);
    }
    let took = begun.elapsed();
    assert!((Duration::from_millis(250)..Duration::from_secs(4)).contains(&took), "{took:?}");
    assert!(server.wait_line("tokens source=").contains("no answer in time"));
    service.shut(false);
    server.stop();
}

fn a_service_that_answers_nothing_at_all_is_left_alone(engine: &str) {
    /// As many questions without an answer as it takes, and how long it is left alone then.
    const SILENCES: usize = 16;
    const REST: Duration = Duration::from_secs(1);
    let target = TcpTarget::echo();
    let address = target.address();
    let service = Service::http(move |_| (200, address.to_string()));
    service.shut(true);
    let source = format!("http://{}/%s", service.address());
    let server = started(engine, "BaseTokenAPI", &source, &["--token-timeout=2s"]);
    let waiting: Vec<_> = (0..SILENCES).map(|number| sent(&server, &format!("t{number}"))).collect();
    service.wait_asked(SILENCES);
    for mut http in waiting {
        assert_eq!(http.response().status, 503);
    }
    let begun = Instant::now();
    for number in 0..200 {
        assert_eq!(refused(&server, &asking(&format!("more{number}"))), 503);
    }
    // One question tries whether it is back, for two seconds, at the end of each rest.
    let tries = service.asked().len() - SILENCES;
    assert!(tries <= 10 && begun.elapsed() < 10 * REST, "{tries} in {:?}", begun.elapsed());
    service.shut(false);
    let until = Instant::now() + Duration::from_secs(20);
    while refused_or_open(&server) != 101 {
        assert!(Instant::now() < until, "never asked again: {}", server.log());
    }
    server.stop();
}

fn the_queue_has_an_end(engine: &str) {
    const THREADS: usize = 16;
    const QUEUE: usize = 256;
    const MORE: usize = 20;
    let target = TcpTarget::echo();
    let address = target.address();
    let service = Service::http(move |_| (200, address.to_string()));
    service.shut(true);
    let server =
        started(engine, "BaseTokenAPI", &format!("http://{}/%s", service.address()), &["--token-timeout=1m"]);
    let mut waiting: Vec<_> = (0..THREADS).map(|number| sent(&server, &format!("t{number}"))).collect();
    service.wait_asked(THREADS);
    waiting.extend((0..QUEUE + MORE).map(|number| sent(&server, &format!("q{number}"))));
    // Those too many are refused at once, while the service is still shut.
    let busy = server.wait_lines("status=503", MORE);
    assert!(busy.iter().all(|line| line.contains(" token=~")), "{busy:?}");
    service.shut(false);
    let (mut open, mut refused) = (0, 0);
    for http in waiting {
        match WsClient::answered(http.inbox) {
            Ok(_) => open += 1,
            Err(why) => {
                assert!(why.contains("503"), "{why}");
                refused += 1;
            }
        }
    }
    assert_eq!((open, refused), (THREADS + QUEUE, MORE));
    server.stop();
}

fn a_service_that_is_gone_is_told_at_once(engine: &str) {
    let place = TempDir::new();
    place.write("index.html", "here");
    let gone = Refusing::new();
    for (plugin, source) in [
        ("BaseTokenAPI", format!("http://{}/%s", gone.address())),
        ("TokenRedis", gone.address().to_string()),
    ] {
        let server = started(engine, plugin, &source, &["--web", &place.arg("")]);
        let begun = Instant::now();
        for number in 0..50 {
            let token = format!("s3cret{number}");
            assert_eq!(refused(&server, &asking(&token)), 503);
        }
        // Far less than the time-outs of all of them.
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        assert!(slowest(&server) < SOON);
        let line = server.wait_line(&format!("tokens source={plugin} failures="));
        assert!(line.contains(&gone.address().to_string()), "{line}");
        let log = server.log();
        let most = 1 + begun.elapsed().as_secs() / 5;
        assert!(log.matches("tokens source=").count() as u64 <= most, "one line in a while: {log}");
        assert!(!log.contains("s3cret"), "{log}");
        assert_eq!(server.http().send(request("GET", "/index.html", "")).response().status, 200);
        server.stop();
    }
}

fn redis(engine: &str) {
    let target = TcpTarget::echo();
    let address = target.address();
    let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
    let service = Service::redis(move |words| match words.join(" ").as_str() {
        "AUTH p:w" | "SELECT 3" => "+OK\r\n".into(),
        "GET ns:one" => bulk(&format!("{address}\n")),
        "GET ns:two" => bulk(&format!(r#"{{"host": "{address}"}}"#)),
        "GET ns:three" => bulk(&format!("[::ffff:127.0.0.1]:{}", address.port())),
        "GET ns:strange" => bulk("{"),
        "GET ns:large" => bulk(&"x".repeat(65537)),
        "GET ns:list" => "-WRONGTYPE Operation against a key\r\n".into(),
        _ => "$-1\r\n".into(),
    });
    let source = format!("127.0.0.1:{}:3:\"p:w\":ns", service.address().port());
    let server = started(engine, "TokenRedis", &source, &["--token-cache=0"]);
    for token in ["one", "two", "three", "one"] {
        works(&server, &asking(token));
    }
    for (token, status) in [("strange", 503), ("list", 503), ("large", 503), ("none", 404), ("a%0d%0ab", 404)]
    {
        assert_eq!(refused(&server, &asking(token)), status, "{token}");
        // What stands behind one token is no reason to leave the service alone.
        works(&server, &asking("one"));
    }
    let asked = service.asked();
    let logins = asked.iter().filter(|question| question.starts_with("AUTH")).count();
    assert!(asked.starts_with(&["AUTH p:w".into(), "SELECT 3".into(), "GET ns:one".into()]), "{asked:?}");
    assert!((1..=5).contains(&logins), "connections stay: {asked:?}");
    assert!(!server.log().contains("p:w"));
    server.stop();
}

fn redis_that_comes_and_goes(engine: &str) {
    let target = TcpTarget::echo();
    let address = target.address();
    // It closes each connection behind its first answer.
    let service = TcpTarget::new(move |mut stream| {
        use std::io::{Read, Write};
        let mut buffer = [0; 1024];
        if stream.read(&mut buffer).is_ok_and(|count| count > 0) {
            let value = address.to_string();
            let _ = stream.write_all(format!("${}\r\n{value}\r\n", value.len()).as_bytes());
        }
    });
    let source = service.address().to_string();
    let server = started(engine, "TokenRedis", &source, &["--token-cache=0"]);
    for number in 0..5 {
        works(&server, &asking(&format!("t{number}")));
    }
    assert!(!server.log().contains("tokens source="), "{}", server.log());
    let listening = service.address();
    drop(service);
    while refused_or_open(&server) != 503 {}
    server.wait_line("tokens source=TokenRedis failures=1 error=");
    // Back again, and found again by itself.
    let bulk = format!("${}\r\n{address}\r\n", address.to_string().len());
    let back = TcpTarget::on(&listening.to_string(), move |mut stream| {
        use std::io::{Read, Write};
        let mut buffer = [0; 1024];
        while stream.read(&mut buffer).is_ok_and(|count| count > 0)
            && stream.write_all(bulk.as_bytes()).is_ok()
        {}
    });
    let until = Instant::now() + Duration::from_secs(10);
    while refused_or_open(&server) != 101 {
        assert!(Instant::now() < until, "never found again: {}", server.log());
    }
    drop(back);
    server.stop();
}

/// The status of a request with some token.
#[track_caller]
fn refused_or_open(server: &Server) -> u16 {
    let mut http = server.http();
    http.send(asking("t").bytes());
    match WsClient::answered(http.inbox) {
        Ok(client) => {
            let status = client.response.status;
            client.leave();
            status
        }
        Err(why) if why.contains("503") => 503,
        Err(why) => panic!("{why}"),
    }
}
