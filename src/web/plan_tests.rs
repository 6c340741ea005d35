//! Plans as tables: a request in, what to fetch out.

use super::*;

fn planned(text: &str) -> Result<Fetch, u16> {
    plan(&Head::parse(text.as_bytes()).unwrap()).map_err(|refusal| refusal.status())
}

fn get(target: &str, headers: &str) -> Result<Fetch, u16> {
    planned(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n{headers}\r\n"))
}

fn with(headers: &str) -> Fetch {
    get("/x", headers).unwrap()
}

#[test]
fn methods_have_their_answers() {
    for (method, files, none) in [
        ("GET", None, 405),
        ("HEAD", None, 405),
        ("POST", Some(405), 405),
        ("PUT", Some(405), 405),
        ("PATCH", Some(405), 405),
        ("DELETE", Some(405), 405),
        ("OPTIONS", Some(405), 405),
        ("TRACE", Some(501), 501),
        ("get", Some(501), 501),
        ("BREW", Some(501), 501),
    ] {
        let text = format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(planned(&text).err(), files, "{method}");
        assert_eq!(without_files(&Head::parse(text.as_bytes()).unwrap()).status(), none, "{method}");
    }
    assert!(planned("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().head_only);
}

#[test]
fn paths_that_are_taken() {
    for (target, names, directory) in [
        ("/", &[][..], true),
        ("/a", &[&b"a"[..]], false),
        ("/a/", &[b"a"], true),
        ("/a/b.js?v=1", &[b"a", b"b.js"], false),
        ("/a%20b%2Fc", &[b"a b", b"c"], false),
        ("/%41%e4%C3%a4", &[b"A\xe4\xc3\xa4"], false),
        ("/%252e%252e/x", &[b"%2e%2e", b"x"], false),
        ("/a..b/c...", &[b"a..b", b"c..."], false),
        ("/a%3Fb%23c", &[b"a?b#c"], false),
        ("http://a/b", &[b"b"], false),
    ] {
        let fetch = get(target, "").unwrap();
        assert_eq!(
            (fetch.names.iter().map(Vec::as_slice).collect::<Vec<_>>(), fetch.directory),
            (names.to_vec(), directory),
            "{target}"
        );
    }
    assert_eq!(get("/a?b=%2F&c", "").unwrap().query.as_deref(), Some("b=%2F&c"));
}

#[test]
fn paths_that_are_refused() {
    for target in [
        "//",
        "//host",
        "//host/%2f..",
        "/%2fhost",
        "/a//b",
        "/a//",
        "/a%2f/b",
        "/\\host",
        "/a\\b",
        "/a%5cb",
        "/%",
        "/%4",
        "/%zz",
        "/%+1",
        "/%00",
        "/a%00.html",
        "/%0a",
        "/%1b",
        "/%7f",
        "/%0d%0aX:y",
    ] {
        assert_eq!(get(target, "").err(), Some(400), "{target}");
    }
    for target in [
        "/.",
        "/..",
        "/../x",
        "/a/../b",
        "/a/./b",
        "/%2e%2e/x",
        "/%2e%2e%2fx",
        "/..%2fx",
        "/.git/config",
        "/a/.b",
        "/.well-known/",
    ] {
        assert_eq!(get(target, "").err(), Some(404), "{target}");
    }
}

#[test]
fn gzip_is_taken_when_said() {
    for (header, gzip) in [
        ("", false),
        ("Accept-Encoding: gzip\r\n", true),
        ("Accept-Encoding: deflate, GZip;q=0.5, br\r\n", true),
        ("Accept-Encoding: x-gzip\r\n", true),
        ("Accept-Encoding: br\r\nAccept-Encoding: gzip\r\n", true),
        ("Accept-Encoding: *\r\n", true),
        ("Accept-Encoding: gzip;q=0\r\n", false),
        ("Accept-Encoding: gzip; q=0.000, *\r\n", false),
        ("Accept-Encoding: *;q=0\r\n", false),
        ("Accept-Encoding: *, gzip; Q=0\r\n", false),
        ("Accept-Encoding: identity, gzipped\r\n", false),
        ("Accept-Encoding:\r\n", false),
    ] {
        assert_eq!(with(header).gzip, gzip, "{header}");
    }
}

#[test]
fn one_range_is_read() {
    for (value, expected) in [
        ("bytes=0-0", Some(Range::From(0, Some(0)))),
        ("Bytes=5-9", Some(Range::From(5, Some(9)))),
        ("bytes=5-", Some(Range::From(5, None))),
        ("bytes=-5", Some(Range::Last(5))),
        ("bytes= 5-9 ", Some(Range::From(5, Some(9)))),
        ("bytes=9-5", None),
        ("bytes=0-1,3-4", None),
        ("bytes=0-0,", None),
        ("bytes=-", None),
        ("bytes=", None),
        ("bytes", None),
        ("bytes=+1-2", None),
        ("bytes=a-b", None),
        ("bytes=--5", None),
        ("bytes=0x1-", None),
        ("bytes=0-99999999999999999999", Some(Range::From(0, Some(u64::MAX)))),
        ("bytes=99999999999999999999-", Some(Range::From(u64::MAX, None))),
        ("bytes=-99999999999999999999", Some(Range::Last(u64::MAX))),
        ("lines=0-1", None),
    ] {
        assert_eq!(with(&format!("Range: {value}\r\n")).range, expected, "{value}");
    }
    assert_eq!(with("Range: bytes=0-1\r\nRange: bytes=2-3\r\n").range, None);
    assert_eq!(planned("HEAD / HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\n\r\n").unwrap().range, None);
}

#[test]
fn ranges_are_cut_to_size() {
    for (range, size, part) in [
        (Range::From(0, None), 10, Some((0, 10))),
        (Range::From(3, Some(5)), 10, Some((3, 3))),
        (Range::From(3, Some(u64::MAX)), 10, Some((3, 7))),
        (Range::From(9, Some(9)), 10, Some((9, 1))),
        (Range::From(10, None), 10, None),
        (Range::From(u64::MAX, Some(u64::MAX)), 10, None),
        (Range::Last(3), 10, Some((7, 3))),
        (Range::Last(30), 10, Some((0, 10))),
        (Range::Last(0), 10, None),
        (Range::Last(1), 0, None),
        (Range::From(0, None), 0, None),
    ] {
        assert_eq!(range.within(size), part, "{range:?} of {size}");
    }
}

#[test]
fn conditions_are_read() {
    let fetch = with(
        "If-None-Match: \"a\", W/\"b\"\r\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\nIf-Range: \"c\"\r\n",
    );
    assert_eq!(fetch.none_match, Some(vec![b"\"a\"".to_vec(), b"W/\"b\"".to_vec()]));
    assert_eq!((fetch.since, fetch.if_range), (Some(784_111_777), Some(b"\"c\"".to_vec())));
    assert_eq!(with("If-None-Match:\r\n").none_match, Some(vec![]));
    for date in
        ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
    {
        assert_eq!(with(&format!("If-Modified-Since: {date}\r\n")).since, Some(784_111_777), "{date}");
    }
    assert_eq!(with("If-Modified-Since: yesterday\r\n").since, None);
}

#[test]
fn names_are_encoded() {
    let mut text = String::new();
    encode(b"a b/<\">:%?#\xe4&~", &mut text);
    assert_eq!(text, "a%20b%2F%3C%22%3E%3A%25%3F%23%E4%26~");
}
