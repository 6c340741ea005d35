//! The grammar of a request head, byte by byte: is it whole yet, and is it allowed so far.
//!
//! Owns the only strict reading of the syntax (RFC 9112 sections 2 to 5), so that later code can cut a head apart without
//! doubts. A [`Scan`] looks at every byte once however the head arrives, and finds an error at the byte that makes it
//! one. It never keeps bytes and never interprets a header.

use super::Refusal;
use crate::limits::{HEAD_BYTES_MAX, HEADERS_MAX, METHOD_BYTES_MAX, REQUEST_TARGET_BYTES_MAX};

/// What is known about a head after some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Allowed so far, not whole.
    Partial,
    /// The head is the first `len` bytes; what follows belongs to the next protocol or request.
    Complete {
        /// Length of the head in bytes, its empty line included.
        len: usize,
    },
    /// It can never become a head that we take: answer this and close.
    Refused(Refusal),
}

/// Where the reading of one head stands. Small, so that a session that waits for its head stays small.
#[derive(Clone, Debug)]
pub struct Scan {
    /// Bytes looked at.
    at: usize,
    /// Where the method or the target began; only meaningful while in it.
    start: usize,
    headers: usize,
    state: State,
}

/// The place in the grammar where the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the request line.
    Start,
    /// Behind the CR of the one empty line that may come first (RFC 9112 section 2.2).
    EmptyLine,
    /// Behind that empty line.
    Restart,
    Method,
    Target,
    /// In `HTTP/1.`, this many bytes of it seen.
    Version(u8),
    Minor,
    RequestLineEnd,
    LineFeed,
    HeaderStart,
    Name,
    Value,
    LastLineFeed,
}

impl Default for Scan {
    fn default() -> Scan {
        Scan::new()
    }
}

impl Scan {
    /// A scan before the first byte.
    pub const fn new() -> Scan {
        Scan { at: 0, start: 0, headers: 0, state: State::Start }
    }

    /// Continues with `bytes`: **everything** received since the head began, of which the part given before is unchanged
    /// and is not looked at again. After `Complete` or `Refused` the scan is spent.
    pub fn feed(&mut self, bytes: &[u8]) -> Progress {
        let seen = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
        while self.at < seen.len() {
            match self.step(seen) {
                Ok(false) => {}
                Ok(true) => return Progress::Complete { len: self.at },
                Err(refusal) => return Progress::Refused(refusal),
            }
        }
        if bytes.len() >= HEAD_BYTES_MAX {
            return Progress::Refused(Refusal::HEAD_TOO_LARGE);
        }
        Progress::Partial
    }

    /// Takes one byte, or a run of bytes of one kind and what ends it; `true` when the head is whole.
    fn step(&mut self, seen: &[u8]) -> Result<bool, Refusal> {
        let byte = seen[self.at];
        self.state = match self.state {
            State::Start | State::Restart => match byte {
                _ if is(byte, TOKEN) => {
                    self.start = self.at;
                    State::Method
                }
                b'\r' if self.state == State::Start => State::EmptyLine,
                _ => return Err(Refusal::BAD_SYNTAX),
            },
            State::EmptyLine => expect(byte, b'\n', State::Restart)?,
            State::Method => return self.method(seen),
            State::Target => return self.target(seen),
            State::Version(done) => version(done, byte)?,
            State::Minor if byte.is_ascii_digit() => State::RequestLineEnd,
            State::Minor => return Err(Refusal::BAD_SYNTAX),
            State::RequestLineEnd if byte.is_ascii_digit() => return Err(Refusal::VERSION),
            State::RequestLineEnd => expect(byte, b'\r', State::LineFeed)?,
            State::LineFeed => expect(byte, b'\n', State::HeaderStart)?,
            State::HeaderStart => self.header_start(byte)?,
            State::Name => return self.name(seen),
            State::Value => return self.value(seen),
            State::LastLineFeed if byte == b'\n' => {
                self.at += 1;
                return Ok(true);
            }
            State::LastLineFeed => return Err(Refusal::BAD_SYNTAX),
        };
        self.at += 1;
        Ok(false)
    }

    fn method(&mut self, seen: &[u8]) -> Result<bool, Refusal> {
        self.skip(seen, TOKEN);
        if self.at - self.start > METHOD_BYTES_MAX {
            return Err(Refusal::METHOD_UNKNOWN);
        }
        if self.end_of_run(seen, b' ', State::Target)? {
            self.start = self.at;
        }
        Ok(false)
    }

    fn target(&mut self, seen: &[u8]) -> Result<bool, Refusal> {
        self.skip(seen, TARGET);
        if self.at - self.start > REQUEST_TARGET_BYTES_MAX {
            return Err(Refusal::TARGET_TOO_LONG);
        }
        if self.end_of_run(seen, b' ', State::Version(0))? && self.at - 1 == self.start {
            return Err(Refusal::BAD_SYNTAX);
        }
        Ok(false)
    }

    fn header_start(&mut self, byte: u8) -> Result<State, Refusal> {
        if byte == b'\r' {
            return Ok(State::LastLineFeed);
        }
        // A blank here would continue the line before (RFC 9112 section 5.2), a colon would be a header without a name.
        if !is(byte, TOKEN) {
            return Err(Refusal::BAD_SYNTAX);
        }
        self.headers += 1;
        if self.headers > HEADERS_MAX {
            return Err(Refusal::TOO_MANY_HEADERS);
        }
        Ok(State::Name)
    }

    fn name(&mut self, seen: &[u8]) -> Result<bool, Refusal> {
        self.skip(seen, TOKEN);
        // Also refuses a blank before the colon, and a line without one (RFC 9112 section 5.1).
        self.end_of_run(seen, b':', State::Value)?;
        Ok(false)
    }

    fn value(&mut self, seen: &[u8]) -> Result<bool, Refusal> {
        // Values are most of a head. Two passes, for the CR and then over all before it, take many bytes at a time.
        let rest = &seen[self.at..];
        let run = memchr::memchr(b'\r', rest).unwrap_or(rest.len());
        if !rest[..run].iter().fold(true, |allowed, &byte| allowed & is_in_value(byte)) {
            return Err(Refusal::BAD_SYNTAX);
        }
        self.at += run;
        self.end_of_run(seen, b'\r', State::LineFeed)?;
        Ok(false)
    }

    /// Moves over bytes of `kind`.
    fn skip(&mut self, seen: &[u8], kind: u8) {
        let rest = &seen[self.at..];
        self.at += rest.iter().position(|&byte| !is(byte, kind)).unwrap_or(rest.len());
    }

    /// Takes the byte that ends a run, if it is there: it must be `end`. `true` when it was taken.
    fn end_of_run(&mut self, seen: &[u8], end: u8, next: State) -> Result<bool, Refusal> {
        let Some(&byte) = seen.get(self.at) else { return Ok(false) };
        self.state = expect(byte, end, next)?;
        self.at += 1;
        Ok(true)
    }
}

fn expect(byte: u8, wanted: u8, next: State) -> Result<State, Refusal> {
    if byte == wanted { Ok(next) } else { Err(Refusal::BAD_SYNTAX) }
}

/// One byte of the protocol version, `done` bytes of `HTTP/1.` being behind us.
fn version(done: u8, byte: u8) -> Result<State, Refusal> {
    const PREFIX: &[u8; 7] = b"HTTP/1.";
    const MAJOR: usize = 5;
    let at = usize::from(done);
    if byte == PREFIX[at] {
        return Ok(if at + 1 == PREFIX.len() { State::Minor } else { State::Version(done + 1) });
    }
    // Another number is a version that we do not speak; anything else is not a version.
    if at >= MAJOR && byte.is_ascii_digit() { Err(Refusal::VERSION) } else { Err(Refusal::BAD_SYNTAX) }
}

/// Bytes of a token.
pub(super) const TOKEN: u8 = 1;
/// Bytes of a request target: visible ASCII. No `#`: a fragment never belongs on the wire.
pub(super) const TARGET: u8 = 2;

/// Whether `byte` is of `kind`.
pub(super) fn is(byte: u8, kind: u8) -> bool {
    KINDS[usize::from(byte)] & kind != 0
}

/// Whether `byte` may stand in a header value: everything but control characters; tab is allowed.
pub(super) fn is_in_value(byte: u8) -> bool {
    // Without branches, so that the compiler can do many bytes at once.
    ((byte >= 0x20) & (byte != 0x7f)) | (byte == b'\t')
}

static KINDS: [u8; 256] = kinds();

const fn kinds() -> [u8; 256] {
    let mut kinds = [0; 256];
    let mut byte: u8 = 0;
    loop {
        let visible = byte > 0x20 && byte < 0x7f;
        let mark = matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        );
        let at = byte as usize;
        if mark || byte.is_ascii_alphanumeric() {
            kinds[at] |= TOKEN;
        }
        if visible && byte != b'#' {
            kinds[at] |= TARGET;
        }
        if byte == u8::MAX {
            return kinds;
        }
        byte += 1;
    }
}
