//! Static files: what is served and how, conditions and ranges, and everything that must not be served.

use crate::support::client::{Handshake, Message, WsClient};
use crate::support::frame::Frame;
use crate::support::http::{Response, request};
use crate::support::on_both_engines;
use crate::support::pattern;
use crate::support::server::{Server, program};
use crate::support::temp::TempDir;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

on_both_engines!(
    media_types,
    directories,
    no_listings_unless_compatible,
    an_index_of_ones_own,
    head_is_get_without_body,
    conditions,
    ranges,
    precompressed_files,
    large_files_arrive_whole,
    traversal_is_refused,
    links_and_special_files_are_not_followed_out,
    files_beside_sessions,
    a_changed_file_is_seen,
);

/// A tree, and a server in front of it.
fn serve(engine: &str, args: &[&str]) -> (Server, TempDir) {
    let outer = TempDir::new();
    outer.write("secret.txt", "secret");
    outer.write("web-evil/secret.txt", "secret");
    outer.write("web/index.html", "<p>home</p>");
    outer.write("web/vnc.html", "<p>vnc</p>");
    outer.write("web/app/core/rfb.js", "export {};");
    outer.write("web/app/index.htm", "<p>app</p>");
    outer.write("web/bare/one.txt", "one");
    outer.write("web/.hidden", "secret");
    outer.write("web/.git/config", "secret");
    outer.write("web/big.bin", pattern(3_000_000, 7));
    outer.write("web/digits.txt", "0123456789");
    outer.write("web/with space+\u{e4}.txt", "blank");
    let root = outer.arg("web");
    let server = Server::start(engine, &[&["--echo", "--web", &root], args].concat());
    (server, outer)
}

/// One request on a connection of its own.
#[track_caller]
fn get(server: &Server, path: &str, more: &str) -> Response {
    server.http().get(path, more)
}

fn media_types(engine: &str) {
    let (server, outer) = serve(engine, &[]);
    for (name, expected) in [
        ("a.html", "text/html"),
        ("a.js", "text/javascript"),
        ("a.mjs", "text/javascript"),
        ("a.css", "text/css"),
        ("a.json", "application/json"),
        ("a.svg", "image/svg+xml"),
        ("a.wasm", "application/wasm"),
        ("a.png", "image/png"),
        ("a.ico", "image/vnd.microsoft.icon"),
        ("a.woff2", "font/woff2"),
        ("a.mp3", "audio/mpeg"),
        ("a.oga", "audio/ogg"),
        ("a.JS", "text/javascript"),
        ("a.gz", "application/gzip"),
        ("a.unknown", "application/octet-stream"),
        ("none", "application/octet-stream"),
    ] {
        outer.write(&format!("web/types/{name}"), "content");
        let response = get(&server, &format!("/types/{name}"), "");
        assert_eq!((response.status, &response.body[..]), (200, &b"content"[..]), "{name}");
        let media = response.header("content-type").unwrap_or("").split(';').next();
        assert_eq!(media, Some(expected), "{name}: {response:?}");
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{name}");
        assert_eq!(response.header("cache-control"), Some("no-cache"), "{name}");
        assert!(response.header("etag").is_some(), "{name}: {response:?}");
        assert!(response.header("last-modified").is_some(), "{name}: {response:?}");
    }
    assert_eq!(get(&server, "/with%20space+%C3%A4.txt", "").body, b"blank", "one decoding; a plus is a plus");
    assert_eq!(get(&server, "/digits.txt?a=b&c=../..", "").body, b"0123456789");
    server.stop();
}

fn directories(engine: &str) {
    let (server, _outer) = serve(engine, &["--file-only"]);
    assert_eq!(get(&server, "/", "").body, b"<p>home</p>");
    assert_eq!(get(&server, "/app/", "").body, b"<p>app</p>", "index.htm is the second choice");
    for (path, location) in
        [("/app", "/app/"), ("/app?a=b", "/app/?a=b"), ("/app/core", "/app/core/"), ("/%61pp", "/app/")]
    {
        let response = get(&server, path, "");
        assert_eq!((response.status, response.header("location")), (301, Some(location)), "{path}");
    }
    for path in
        ["/bare/", "/app/core/", "/absent", "/absent/", "/app/index.htm/", "/index.html/", "/app/absent.js"]
    {
        let response = get(&server, path, "");
        assert_eq!(response.status, 404, "{path}: {response:?}");
        assert!(!response.body.windows(7).any(|window| window == b"one.txt"), "{path}: {response:?}");
    }
    server.stop();
}

fn no_listings_unless_compatible(engine: &str) {
    let (server, outer) = serve(engine, &[]);
    assert_eq!(get(&server, "/bare/", "").status, 404);
    server.stop();
    let name = outer.join("websockify");
    symlink(program(), &name).expect("the directory is writable");
    outer.write("web/bare/<b>&.txt", "markup");
    outer.write("web/bare/.secret", "hidden");
    let root = outer.arg("web");
    let server = Server::launch(&name, &["--engine", engine, "127.0.0.1:0", "--echo", "--web", &root]);
    let response = get(&server, "/bare/", "");
    let page = String::from_utf8_lossy(&response.body).into_owned();
    assert_eq!(response.status, 200, "{response:?}");
    assert!(page.contains("Directory listing for /bare/") && page.contains("one.txt"), "{page}");
    assert!(!page.contains("<b>"), "names are escaped: {page}");
    assert!(!page.contains(".secret"), "dot files are hidden: {page}");
    server.stop();
    let args = ["--engine", engine, "127.0.0.1:0", "--echo", "--web", &root, "--file-only"];
    let server = Server::launch(&name, &args);
    assert_eq!(get(&server, "/bare/", "").status, 404, "--file-only wins over the name");
    server.stop();
}

fn an_index_of_ones_own(engine: &str) {
    let (server, _outer) = serve(engine, &["--web-index", "vnc.html"]);
    assert_eq!(get(&server, "/", "").body, b"<p>vnc</p>");
    assert_eq!(get(&server, "/?autoconnect=1", "").body, b"<p>vnc</p>");
    assert_eq!(get(&server, "/app/", "").body, b"<p>app</p>", "without it the usual names count");
    server.stop();
}

fn head_is_get_without_body(engine: &str) {
    let (server, _outer) = serve(engine, &[]);
    let mut http = server.http();
    for path in ["/", "/digits.txt", "/big.bin", "/app", "/app/"] {
        let (head, full) = (http.head(path, ""), http.get(path, ""));
        assert_eq!(head.status, full.status, "{path}");
        let but_date = |response: &Response| {
            let kept = response.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("date"));
            kept.cloned().collect::<Vec<_>>()
        };
        assert_eq!(but_date(&head), but_date(&full), "{path}");
    }
    assert_eq!(server.http().head("/absent", "").status, 404);
    server.stop();
}

fn conditions(engine: &str) {
    let (server, _outer) = serve(engine, &[]);
    let mut http = server.http();
    let full = http.get("/digits.txt", "");
    let etag = full.header("etag").expect("files have a tag").to_owned();
    let date = full.header("last-modified").expect("files have a date").to_owned();
    for (condition, status) in [
        (format!("If-None-Match: {etag}\r\n"), 304),
        (format!("If-None-Match: W/{etag}\r\n"), 304),
        (format!("If-None-Match: \"other\", {etag}\r\n"), 304),
        ("If-None-Match: *\r\n".to_owned(), 304),
        ("If-None-Match: \"other\"\r\n".to_owned(), 200),
        (format!("If-Modified-Since: {date}\r\n"), 304),
        ("If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n".to_owned(), 200),
        ("If-Modified-Since: yesterday\r\n".to_owned(), 200),
        (format!("If-None-Match: \"other\"\r\nIf-Modified-Since: {date}\r\n"), 200),
    ] {
        let response = http.get("/digits.txt", &condition);
        assert_eq!(response.status, status, "{condition:?}: {response:?}");
        assert_eq!(response.header("etag"), Some(&etag[..]), "{condition:?}: {response:?}");
        assert_eq!(response.body.is_empty(), status == 304, "{condition:?}");
    }
    server.stop();
}

fn ranges(engine: &str) {
    let (server, _outer) = serve(engine, &[]);
    let mut http = server.http();
    for (range, body, place) in [
        ("bytes=0-0", "0", "bytes 0-0/10"),
        ("bytes=0-4", "01234", "bytes 0-4/10"),
        ("bytes=5-", "56789", "bytes 5-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=-100", "0123456789", "bytes 0-9/10"),
        ("bytes=8-100", "89", "bytes 8-9/10"),
        ("bytes=9-18446744073709551615", "9", "bytes 9-9/10"),
    ] {
        let response = http.get("/digits.txt", &format!("Range: {range}\r\n"));
        assert_eq!((response.status, &response.body[..]), (206, body.as_bytes()), "{range}: {response:?}");
        assert_eq!(response.header("content-range"), Some(place), "{range}");
    }
    for range in ["bytes=0-1,3-4", "lines=0-4", "bytes=4-2", "bytes=x-", "bytes", "bytes=--1"] {
        let response = http.get("/digits.txt", &format!("Range: {range}\r\n"));
        assert_eq!((response.status, response.body.len()), (200, 10), "not one range: {range}: {response:?}");
    }
    let stale = http.get("/digits.txt", "Range: bytes=0-4\r\nIf-Range: \"other\"\r\n");
    assert_eq!((stale.status, stale.body.len()), (200, 10), "{stale:?}");
    for range in ["bytes=10-", "bytes=10-20", "bytes=99999999999999999999-", "bytes=-0"] {
        let response = get(&server, "/digits.txt", &format!("Range: {range}\r\n"));
        assert!(matches!(response.status, 416 | 200), "{range}: {response:?}");
        if response.status == 416 {
            assert_eq!(response.header("content-range"), Some("bytes */10"), "{range}");
        }
    }
    let middle = http.get("/big.bin", "Range: bytes=1000000-2499999\r\n");
    assert!(middle.body == pattern(3_000_000, 7)[1_000_000..2_500_000], "{middle:?}");
    server.stop();
}

fn precompressed_files(engine: &str) {
    let (server, outer) = serve(engine, &[]);
    outer.write("web/lib.js", "plain form");
    outer.write("web/lib.js.gz", b"\x1f\x8bnot really gzip");
    for (accept, zipped) in [
        ("", false),
        ("Accept-Encoding: gzip\r\n", true),
        ("Accept-Encoding: br, GZIP;q=0.5\r\n", true),
        ("Accept-Encoding: identity\r\n", false),
        ("Accept-Encoding: gzip;q=0\r\n", false),
    ] {
        let response = get(&server, "/lib.js", accept);
        assert_eq!(response.status, 200, "{accept:?}: {response:?}");
        assert_eq!(response.header("content-encoding").is_some(), zipped, "{accept:?}: {response:?}");
        assert_eq!(response.body.starts_with(b"\x1f\x8b"), zipped, "{accept:?}: {response:?}");
        assert!(response.header("content-type").is_some_and(|media| media.starts_with("text/javascript")));
        let vary = response.header("vary").unwrap_or("").to_ascii_lowercase();
        assert!(vary.contains("accept-encoding"), "{accept:?}: {response:?}");
    }
    server.stop();
}

fn large_files_arrive_whole(engine: &str) {
    let (server, _outer) = serve(engine, &[]);
    let expected = pattern(3_000_000, 7);
    let mut http = server.http();
    for _ in 0..5 {
        http.send(request("GET", "/big.bin", ""));
    }
    for turn in 0..5 {
        assert!(http.response().body == expected, "turn {turn}");
    }
    server.stop();
}

fn traversal_is_refused(engine: &str) {
    let (server, _outer) = serve(engine, &[]);
    for path in [
        "/../secret.txt",
        "/..",
        "/app/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/%2E%2E%2fsecret.txt",
        "/..%2fsecret.txt",
        "/..%5csecret.txt",
        "/..\\secret.txt",
        "/app/..%2f..%2fsecret.txt",
        "/%252e%252e/secret.txt",
        "/..%252fsecret.txt",
        "/%c0%ae%c0%ae/secret.txt",
        "/..%c0%afsecret.txt",
        "/./../secret.txt",
        "/....//secret.txt",
        "/../web-evil/secret.txt",
        "/..;/secret.txt",
        "/%2e%2e%00/secret.txt",
        "/index.html%00.txt",
        "/index.html%0a",
        "//etc/passwd",
        "/%2fetc/passwd",
        "/etc/passwd",
        "/app//core/rfb.js",
        "/.hidden",
        "/%2ehidden",
        "/.git/config",
        "/app/../.hidden",
        "/%",
        "/%2",
        "/%zz",
        "//elsewhere.test/app",
        "/\\elsewhere.test/app",
        "//elsewhere.test/%2f..",
    ] {
        let response = get(&server, path, "");
        assert!(matches!(response.status, 400 | 404), "{path}: {response:?}");
        assert!(response.header("location").is_none(), "{path}: {response:?}");
        assert!(!response.body.windows(6).any(|window| window == b"secret"), "{path}: {response:?}");
    }
    server.stop();
}

fn links_and_special_files_are_not_followed_out(engine: &str) {
    let (server, outer) = serve(engine, &[]);
    symlink(outer.join("secret.txt"), outer.join("web/absolute.txt")).expect("writable");
    symlink("../secret.txt", outer.join("web/relative.txt")).expect("writable");
    symlink("..", outer.join("web/up")).expect("writable");
    symlink("loop", outer.join("web/loop")).expect("writable");
    symlink("/dev/zero", outer.join("web/zero")).expect("writable");
    let _socket = UnixListener::bind(outer.join("web/socket")).expect("writable");
    nix::unistd::mkfifo(&outer.join("web/fifo"), nix::sys::stat::Mode::S_IRWXU).expect("writable");
    for path in
        ["/absolute.txt", "/relative.txt", "/up/secret.txt", "/up/", "/loop", "/zero", "/socket", "/fifo"]
    {
        let response = get(&server, path, "");
        assert_eq!(response.status, 404, "{path}: {response:?}");
    }
    // None of them may have taken a helper away for good.
    for _ in 0..8 {
        assert_eq!(get(&server, "/digits.txt", "").body, b"0123456789");
    }
    symlink("digits.txt", outer.join("web/inside.txt")).expect("writable");
    let inside = get(&server, "/inside.txt", "");
    assert!(matches!(inside.status, 200 | 404), "a link within the root is nobody's danger: {inside:?}");
    server.stop();
}

fn files_beside_sessions(engine: &str) {
    let (server, _outer) = serve(engine, &[]);
    let mut client = WsClient::open(server.wire(), &Handshake::new().start("GET /index.html HTTP/1.1"));
    for turn in 0..20 {
        assert_eq!(get(&server, "/digits.txt", "").status, 200);
        client.send(&Frame::text(format!("turn {turn}")));
        client.expect(&Message::Text(format!("turn {turn}").into_bytes()));
    }
    client.leave();
    server.stop();
}

fn a_changed_file_is_seen(engine: &str) {
    let (server, outer) = serve(engine, &[]);
    let mut http = server.http();
    let before = http.get("/digits.txt", "");
    let tag = before.header("etag").expect("files have a tag").to_owned();
    outer.write("web/digits.txt", "another content, of another length");
    let after = http.get("/digits.txt", &format!("If-None-Match: {tag}\r\n"));
    assert_eq!((after.status, &after.body[..]), (200, &b"another content, of another length"[..]));
    std::fs::remove_file(outer.join("web/digits.txt")).expect("it is there");
    assert_eq!(http.get("/digits.txt", "").status, 404);
    server.stop();
}
