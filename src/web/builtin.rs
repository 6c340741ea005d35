//! The page that is built in: try the server, and see its round-trip times and throughput, without any files.
//!
//! Owns a few embedded files and their validators. They are served like files from disk, with one header more: the page
//! may load nothing but itself. Pure.

use super::entity::{Answer, Entity, Page, answer};
use super::{Fetch, media};
use crate::http::Refusal;
use std::borrow::Cow;

/// What the page may do: its own files and sockets, nothing else.
const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'";

struct Asset {
    name: &'static str,
    bytes: &'static [u8],
    /// Hash of the bytes, made by the compiler.
    tag: u64,
}

const fn asset(name: &'static str, bytes: &'static [u8]) -> Asset {
    Asset { name, bytes, tag: hash(bytes) }
}

static ASSETS: [Asset; 4] = [
    asset("index.html", include_bytes!("page/index.html")),
    asset("app.js", include_bytes!("page/app.js")),
    asset("style.css", include_bytes!("page/style.css")),
    asset("icon.svg", include_bytes!("page/icon.svg")),
];

/// The answer to `fetch` from the embedded files; the root is `index.html`.
pub fn serve(fetch: &Fetch) -> Page {
    let name: &[u8] = match &fetch.names[..] {
        [] => b"index.html",
        [name] if !fetch.directory => name,
        _ => b"",
    };
    let Some(asset) = ASSETS.iter().find(|asset| asset.name.as_bytes() == name) else {
        return Page::refuse(&Refusal::NOT_FOUND, fetch.head_only);
    };
    let entity = Entity {
        size: asset.bytes.len() as u64,
        etag: format!("\"{:016x}\"", asset.tag),
        modified: None,
        media: media::of(name),
        gzipped: false,
        varies: false,
    };
    match answer(fetch, &entity) {
        Answer::Whole(page) => page,
        Answer::Part(response, offset, bytes) => {
            let (offset, bytes) = (offset as usize, bytes as usize);
            let response = response.header("Content-Security-Policy", POLICY);
            Page { response, body: Cow::Borrowed(&asset.bytes[offset..offset + bytes]) }
        }
    }
}

/// FNV-1a with 64 bits: tells versions of our own files apart; nobody gains by a collision.
const fn hash(bytes: &[u8]) -> u64 {
    let mut sum = 0xcbf2_9ce4_8422_2325;
    let mut at = 0;
    while at < bytes.len() {
        sum = (sum ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetch(names: &[&str]) -> Fetch {
        Fetch { names: names.iter().map(|name| name.as_bytes().to_vec()).collect(), ..Fetch::default() }
    }

    #[test]
    fn the_page_and_its_parts_are_there() {
        let root = Fetch { directory: true, ..Fetch::default() };
        assert_eq!(serve(&root).body, serve(&fetch(&["index.html"])).body);
        for (name, media) in [
            ("index.html", "text/html; charset=utf-8"),
            ("app.js", "text/javascript; charset=utf-8"),
            ("style.css", "text/css; charset=utf-8"),
            ("icon.svg", "image/svg+xml"),
        ] {
            let page = serve(&fetch(&[name]));
            assert_eq!((page.response.status(), page.response.value("Content-Type")), (200, Some(media)));
            assert_eq!(page.response.announced(), Some(page.body.len() as u64));
            assert_eq!(page.response.value("Content-Security-Policy"), Some(POLICY));
            let tag = page.response.value("ETag").unwrap().as_bytes().to_vec();
            let again = serve(&Fetch { none_match: Some(vec![tag]), ..fetch(&[name]) });
            assert_eq!((again.response.status(), again.body.len()), (304, 0));
        }
    }

    #[test]
    fn nothing_else_is() {
        let slash = Fetch { directory: true, ..fetch(&["app.js"]) };
        for fetch in [fetch(&["absent"]), fetch(&["a", "app.js"]), slash] {
            assert_eq!(serve(&fetch).response.status(), 404);
        }
    }

    #[test]
    fn the_page_asks_nobody_else() {
        for asset in &ASSETS {
            let text = std::str::from_utf8(asset.bytes).unwrap();
            // The name of the SVG language is no request.
            let text = text.replace("http://www.w3.org/2000/svg", "");
            // The example address is for the reader to open.
            let text = text.replace("<code>http://localhost:6080/vnc.html</code>", "");
            assert!(
                !text.contains("http://") && !text.contains("https://") && !text.contains("//cdn"),
                "{}",
                asset.name
            );
            assert!(
                !text.contains("style=\"") && !text.contains("onclick="),
                "{}: refused by the policy",
                asset.name
            );
        }
    }
}
