//! All up to a mark: `newline` and `separator`.
//!
//! Owns how much of the mark has come (the search of Knuth, Morris and Pratt, so that no byte is looked at again whatever the
//! stream holds), and whether the open message is UTF-8 so far.

use super::Cut;
use crate::ws::Kind;
use crate::ws::Utf8;

/// Cuts a stream behind each occurrence of a mark.
#[derive(Debug)]
pub(super) struct Mark {
    mark: Box<[u8]>,
    /// For each beginning of the mark: the length of the longest shorter one that it ends with.
    back: Box<[u16]>,
    /// Bytes of the mark that have come.
    come: usize,
    /// Whether messages that are UTF-8 are text.
    text: bool,
    /// What is known of the open message; `None`: that it is no text.
    check: Option<Utf8>,
}

impl Mark {
    pub fn new(mark: &[u8], text: bool) -> Mark {
        let mut back = vec![0_u16; mark.len()];
        let mut len = 0;
        for at in 1..mark.len() {
            while len > 0 && mark[len] != mark[at] {
                len = usize::from(back[len - 1]);
            }
            len += usize::from(mark[len] == mark[at]);
            back[at] = len as u16;
        }
        let check = text.then_some(Utf8::START);
        Mark { mark: mark.into(), back: back.into(), come: 0, text, check }
    }

    pub fn next(&mut self, fresh: &[u8]) -> Cut {
        let end = self.find(fresh);
        let seen = &fresh[..end.unwrap_or(fresh.len())];
        self.check = self.check.take().and_then(|mut check| check.feed(seen).ok().map(|()| check));
        match end {
            None => Cut::Open,
            Some(len) => {
                let kind = self.kind();
                self.check = self.text.then_some(Utf8::START);
                Cut::Message { len, kind }
            }
        }
    }

    /// What the open message is, if it ends here.
    pub fn kind(&self) -> Kind {
        match &self.check {
            Some(check) if check.is_complete() => Kind::Text,
            _ => Kind::Binary,
        }
    }

    /// The place behind the next mark.
    fn find(&mut self, fresh: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < fresh.len() {
            if self.come == 0 {
                at += memchr::memchr(self.mark[0], &fresh[at..])?;
            }
            while self.come > 0 && self.mark[self.come] != fresh[at] {
                self.come = usize::from(self.back[self.come - 1]);
            }
            self.come += usize::from(self.mark[self.come] == fresh[at]);
            at += 1;
            if self.come == self.mark.len() {
                self.come = 0;
                return Some(at);
            }
        }
        None
    }
}
