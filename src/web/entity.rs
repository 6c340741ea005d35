//! From the facts of a file to its answer.
//!
//! Owns conditions, ranges and the headers of everything that is served, in one place for files on disk and for the
//! built-in page. Pure: size and time come in as numbers, and which bytes to send goes out.

use super::plan::{Fetch, encode};
use crate::http::{Refusal, Response, date};
use std::borrow::Cow;
use std::fs::File;
use std::sync::Arc;

/// What is known about something that can be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entity {
    /// Its bytes.
    pub size: u64,
    /// Its strong validator, in quotes.
    pub etag: String,
    /// Its last change in seconds since 1970, if it has one.
    pub modified: Option<u64>,
    /// Its media type.
    pub media: &'static str,
    /// It is the gzip form of what was asked for.
    pub gzipped: bool,
    /// There is another form, chosen by Accept-Encoding.
    pub varies: bool,
}

/// What to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The response, and so many bytes of the entity from an offset; none for HEAD and 304.
    Part(Response, u64, u64),
    /// Something else, complete.
    Whole(Page),
}

/// A complete answer in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Status and headers.
    pub response: Response,
    /// What follows; empty for HEAD.
    pub body: Cow<'static, [u8]>,
}

/// An answer and what follows it, in memory or not.
#[derive(Debug)]
pub struct Served {
    /// Status and headers, not yet dated; the length among them.
    pub response: Response,
    /// What to send behind them.
    pub body: Body,
}

/// What follows an answer.
#[derive(Debug)]
pub enum Body {
    /// Nothing.
    None,
    /// Bytes at hand.
    Bytes(Cow<'static, [u8]>),
    /// A piece of a file, to be read as fast as the client takes it.
    File {
        /// The open file.
        file: Arc<File>,
        /// Where the piece begins, in bytes.
        offset: u64,
        /// Its bytes, more than zero.
        len: u64,
    },
}

impl From<Page> for Served {
    fn from(page: Page) -> Served {
        let body = if page.body.is_empty() { Body::None } else { Body::Bytes(page.body) };
        Served { response: page.response, body }
    }
}

impl Page {
    /// The answer of a refusal.
    pub fn refuse(refusal: &Refusal, head_only: bool) -> Page {
        let (response, page) = refusal.answer();
        Page { response, body: body_of(page, head_only) }
    }

    /// A page in HTML.
    pub fn html(text: String, head_only: bool) -> Page {
        let response = common(Response::new(200, "OK"))
            .header("Content-Type", "text/html; charset=utf-8")
            .length(text.len() as u64);
        Page { response, body: body_of(text.into_bytes(), head_only) }
    }

    /// Sends the client from a directory's name to the same with a slash. The place is built from the decoded names, so
    /// it is one slash and a name, never a host.
    pub fn redirect(fetch: &Fetch) -> Page {
        let mut place = String::new();
        for name in &fetch.names {
            place.push('/');
            encode(name, &mut place);
        }
        place.push('/');
        if let Some(query) = &fetch.query {
            place.push('?');
            for byte in query.bytes() {
                // A query is visible ASCII already; what some reader might take for markup or a path goes encoded.
                match byte {
                    b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                        encode(&[byte], &mut place)
                    }
                    other => place.push(char::from(other)),
                }
            }
        }
        let response = common(Response::new(301, "Moved Permanently")).header("Location", place).length(0);
        Page { response, body: Cow::Borrowed(b"") }
    }
}

fn body_of(body: Vec<u8>, head_only: bool) -> Cow<'static, [u8]> {
    if head_only { Cow::Borrowed(b"") } else { Cow::Owned(body) }
}

/// What to answer to `fetch` now that it found `entity`.
pub fn answer(fetch: &Fetch, entity: &Entity) -> Answer {
    if unchanged(fetch, entity) {
        return Answer::Part(described(Response::new(304, "Not Modified"), entity), 0, 0);
    }
    let send = |bytes| if fetch.head_only { 0 } else { bytes };
    let Some(range) = fetch.range.filter(|_| range_counts(fetch, entity)) else {
        let response = typed(Response::new(200, "OK"), entity).length(entity.size);
        return Answer::Part(response, 0, send(entity.size));
    };
    let Some((offset, bytes)) = range.within(entity.size) else {
        let (response, page) = Refusal::RANGE.answer();
        let response = response.header("Content-Range", format!("bytes */{}", entity.size));
        return Answer::Whole(Page { response, body: Cow::Owned(page) });
    };
    let response = typed(Response::new(206, "Partial Content"), entity)
        .header("Content-Range", format!("bytes {offset}-{}/{}", offset + bytes - 1, entity.size))
        .length(bytes);
    Answer::Part(response, offset, send(bytes))
}

/// Whether the client has this very thing already (RFC 9110 section 13.1). Tags are compared weakly.
fn unchanged(fetch: &Fetch, entity: &Entity) -> bool {
    match &fetch.none_match {
        Some(tags) => tags.iter().any(|tag| {
            let strong = tag.strip_prefix(b"W/").unwrap_or(tag);
            strong == b"*" || strong == entity.etag.as_bytes()
        }),
        None => matches!((fetch.since, entity.modified), (Some(since), Some(modified)) if modified <= since),
    }
}

/// Whether a range may be answered in part: without If-Range, or when its tag or its date is exactly ours.
fn range_counts(fetch: &Fetch, entity: &Entity) -> bool {
    match &fetch.if_range {
        None => true,
        Some(tag) if tag.starts_with(b"\"") => tag == entity.etag.as_bytes(),
        Some(text) => entity.modified.is_some() && date::parse(text) == entity.modified,
    }
}

/// Headers of every answer: ask again each time, so that old modules never mix with a new page; and believe our types.
fn common(response: Response) -> Response {
    response.header("Cache-Control", "no-cache").header("X-Content-Type-Options", "nosniff")
}

/// Headers that tell this state of the entity from others, also in a 304.
fn described(response: Response, entity: &Entity) -> Response {
    let mut response = common(response).header("ETag", entity.etag.clone());
    if let Some(modified) = entity.modified {
        response =
            response.header("Last-Modified", String::from_utf8_lossy(&date::imf(modified)).into_owned());
    }
    if entity.varies { response.header("Vary", "Accept-Encoding") } else { response }
}

fn typed(response: Response, entity: &Entity) -> Response {
    let response =
        described(response, entity).header("Content-Type", entity.media).header("Accept-Ranges", "bytes");
    if entity.gzipped { response.header("Content-Encoding", "gzip") } else { response }
}

#[cfg(test)]
#[path = "entity_tests.rs"]
mod tests;
