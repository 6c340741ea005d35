//! Answers as tables: a plan and the facts of a file in, status and bytes out.

use super::*;
use crate::web::plan::Range;

fn entity() -> Entity {
    Entity {
        size: 10,
        etag: "\"tag\"".into(),
        modified: Some(784_111_777),
        media: "text/css; charset=utf-8",
        gzipped: false,
        varies: false,
    }
}

/// Status, offset and length of the answer.
fn answered(fetch: Fetch) -> (u16, u64, u64) {
    match answer(&fetch, &entity()) {
        Answer::Part(response, offset, bytes) => (response.status(), offset, bytes),
        Answer::Whole(page) => (page.response.status(), 0, 0),
    }
}

fn tags(tags: &[&str]) -> Fetch {
    Fetch { none_match: Some(tags.iter().map(|tag| tag.as_bytes().to_vec()).collect()), ..Fetch::default() }
}

#[test]
fn conditions_save_the_bytes() {
    assert_eq!(answered(Fetch::default()), (200, 0, 10));
    for fetch in [
        tags(&["\"tag\""]),
        tags(&["W/\"tag\""]),
        tags(&["\"x\"", "\"tag\""]),
        tags(&["*"]),
        Fetch { since: Some(784_111_777), ..Fetch::default() },
        Fetch { since: Some(784_111_778), ..Fetch::default() },
        Fetch { range: Some(Range::Last(1)), ..tags(&["\"tag\""]) },
    ] {
        assert_eq!(answered(fetch.clone()).0, 304, "{fetch:?}");
    }
    for fetch in [
        tags(&[]),
        tags(&["\"x\""]),
        tags(&["tag"]),
        Fetch { since: Some(784_111_776), ..Fetch::default() },
        Fetch { since: Some(784_111_777), ..tags(&["\"x\""]) },
    ] {
        assert_eq!(answered(fetch.clone()).0, 200, "{fetch:?}");
    }
}

#[test]
fn ranges_send_a_part() {
    let range = |range, if_range: Option<&str>| Fetch {
        range: Some(range),
        if_range: if_range.map(|text| text.as_bytes().to_vec()),
        ..Fetch::default()
    };
    for (fetch, expected) in [
        (range(Range::From(2, Some(4)), None), (206, 2, 3)),
        (range(Range::Last(4), Some("\"tag\"")), (206, 6, 4)),
        (range(Range::Last(4), Some("Sun, 06 Nov 1994 08:49:37 GMT")), (206, 6, 4)),
        (range(Range::Last(4), Some("\"x\"")), (200, 0, 10)),
        (range(Range::Last(4), Some("W/\"tag\"")), (200, 0, 10)),
        (range(Range::Last(4), Some("Sun, 06 Nov 1994 08:49:38 GMT")), (200, 0, 10)),
        (range(Range::From(10, None), None), (416, 0, 0)),
        (range(Range::From(10, None), Some("\"x\"")), (200, 0, 10)),
    ] {
        assert_eq!(answered(fetch.clone()), expected, "{fetch:?}");
    }
    let Answer::Part(response, ..) = answer(&range(Range::From(2, Some(4)), None), &entity()) else {
        panic!()
    };
    assert_eq!((response.value("Content-Range"), response.announced()), (Some("bytes 2-4/10"), Some(3)));
    let Answer::Whole(page) = answer(&range(Range::From(10, None), None), &entity()) else { panic!() };
    assert_eq!(page.response.value("Content-Range"), Some("bytes */10"));
}

#[test]
fn the_headers_are_there() {
    let packed = Entity { gzipped: true, varies: true, ..entity() };
    let Answer::Part(response, _, bytes) = answer(&Fetch { head_only: true, ..Fetch::default() }, &packed)
    else {
        panic!()
    };
    assert_eq!((bytes, response.announced()), (0, Some(10)));
    for (name, value) in [
        ("ETag", "\"tag\""),
        ("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("Cache-Control", "no-cache"),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Type", "text/css; charset=utf-8"),
        ("Accept-Ranges", "bytes"),
        ("Content-Encoding", "gzip"),
        ("Vary", "Accept-Encoding"),
    ] {
        assert_eq!(response.value(name), Some(value), "{name}");
    }
    let Answer::Part(response, ..) = answer(&tags(&["*"]), &packed) else { panic!() };
    assert_eq!((response.announced(), response.value("Content-Type")), (None, None));
    assert_eq!((response.value("ETag"), response.value("Vary")), (Some("\"tag\""), Some("Accept-Encoding")));
}

#[test]
fn redirects_stay_here() {
    for (names, query, place) in [
        (&["app"][..], None, "/app/"),
        (&["a b", "c?d"], Some("x=1&y=%2F"), "/a%20b/c%3Fd/?x=1&y=%2F"),
        (&["evil.example"], Some("\"<>\\"), "/evil.example/?%22%3C%3E%5C"),
        (&["a:b"], Some(""), "/a%3Ab/?"),
    ] {
        let fetch = Fetch {
            names: names.iter().map(|name| name.as_bytes().to_vec()).collect(),
            query: query.map(str::to_owned),
            ..Fetch::default()
        };
        let page = Page::redirect(&fetch);
        assert_eq!((page.response.status(), page.response.value("Location")), (301, Some(place)));
        assert_eq!(page.response.announced(), Some(0));
    }
}
