//! What came at once, with characters kept whole: `auto` and `text`.
//!
//! Owns which bytes at the end of a run are the beginning of a character. Where messages end here is for the network to say.

use super::{Cut, Rest};
use crate::ws::Kind;
use crate::ws::Utf8;

/// Why a stream of text cannot go on.
const NOT_TEXT: &str = "the target's text is not UTF-8";

/// Cuts a stream where it happened to be received.
#[derive(Debug)]
pub(super) struct Flow {
    /// Where the open character stands, if there is one.
    check: Utf8,
    /// Whether the beginning of a character is kept until the rest of it comes.
    holds: bool,
    /// Whether there is nothing but text.
    strict: bool,
}

impl Flow {
    pub fn auto(holds: bool) -> Flow {
        Flow { check: Utf8::START, holds, strict: false }
    }

    pub fn text() -> Flow {
        Flow { check: Utf8::START, holds: true, strict: true }
    }

    pub fn next(&mut self, fresh: &[u8]) -> Cut {
        let mut check = self.check;
        let (good, all) = match check.feed(fresh) {
            Ok(()) if check.is_complete() => (fresh.len(), true),
            Ok(()) => (fresh.len() - tail(fresh), self.holds),
            Err(at) => {
                // What lies in front of the wrong byte could still have become text.
                let mut check = self.check;
                let whole = check.feed(&fresh[..at]).is_ok() && check.is_complete();
                (if whole { at } else { at - tail(&fresh[..at]) }, self.strict)
            }
        };
        match (all, good) {
            (false, _) => self.message(fresh.len(), Kind::Binary),
            (true, 1..) => self.message(good, Kind::Text),
            (true, 0) if fresh.is_empty() || tail_only(self.check, fresh) => {
                self.check = check;
                Cut::Open
            }
            (true, 0) => Cut::Broken(NOT_TEXT),
        }
    }

    pub fn finish(&self) -> Rest {
        if self.strict { Rest::Broken(NOT_TEXT) } else { Rest::Message(Kind::Binary) }
    }

    fn message(&mut self, len: usize, kind: Kind) -> Cut {
        self.check = Utf8::START;
        Cut::Message { len, kind }
    }
}

/// Whether a run, from where `check` stands, is the beginning of a character and no more.
fn tail_only(mut check: Utf8, run: &[u8]) -> bool {
    check.feed(run).is_ok() && !check.is_complete()
}

/// How many bytes at the end of a run that ends inside a character belong to that one: from its first byte on, or all of the
/// run where it began before.
fn tail(run: &[u8]) -> usize {
    let first = run.iter().rposition(|byte| *byte >= 0xC0);
    first.map_or(run.len(), |first| run.len() - first)
}
