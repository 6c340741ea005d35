//! Framing: how the bytes of a target, a stream without ends, become messages.
//!
//! Owns the names and words by which a framing is chosen ([`Framing::parse`]), and the cutters that find where messages end.
//! A cutter is shown each byte once, in runs of any length, and what it finds does not depend on where one run ends and the
//! next begins; but for `binary`, `auto` and `text`, whose messages are what came at once. It keeps no payload: who asks it
//! keeps the beginning of a message until its end comes. It never changes a byte, and knows of no session. Pure.
//!
//! | name | file | a message is |
//! |---|---|---|
//! | `binary` | none | what came at once |
//! | `auto`, `text` | `flow` | what came at once, as far as characters are whole |
//! | `newline`, `separator` | `mark` | all up to a mark, and the mark |
//! | `fixedlength`, `dynamic32` | `count` | as long as it is said to be |
//! | `json` | `json` | one JSON value |

mod count;
mod flow;
mod json;
mod mark;
mod words;

use crate::limits::STUDIED_BYTE_COST;
use crate::ws::Kind;
use count::{Fixed, Prefixed};
use flow::Flow;
use json::Scanner;
use mark::Mark;

/// A framing, as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Framing {
    /// What came at once is a binary message.
    Binary,
    /// The same, and it is text if it is UTF-8.
    Auto {
        /// Whether the beginning of a character waits for the rest of it.
        holds: bool,
    },
    /// All of it is text; the beginning of a character waits for the rest of it.
    Text,
    /// All up to one of these, which is part of the message.
    Marked {
        /// The bytes that end a message; at least one.
        mark: Box<[u8]>,
        /// Whether messages that are UTF-8 are text.
        text: bool,
    },
    /// So many bytes; not zero.
    Fixed(u32),
    /// As many bytes as 32 bits in it say.
    Prefixed {
        /// Bytes in front of the length.
        offset: u32,
        /// What is added to what the length says.
        extra: i64,
        /// Whether its first byte weighs most.
        big: bool,
    },
    /// One JSON value.
    Json {
        /// Whether white space in front of it is left out.
        trims: bool,
    },
}

/// What a cutter found in what it was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The open message, all that was shown of it before included, ends behind the first `len` bytes. There may be none of
    /// these: only the next byte tells where a number ends.
    Message {
        /// How many bytes.
        len: usize,
        /// What it is.
        kind: Kind,
    },
    /// The first so many bytes belong to no message.
    Skip(usize),
    /// No message ends here: all of it belongs to the open one.
    Open,
    /// The open message is longer than one may be. Nothing more can be cut.
    TooLong,
    /// The target does not keep to its framing, in this way. Nothing more can be cut.
    Broken(&'static str),
}

/// What becomes of an open message when nothing more comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// It is sent as it is.
    Message(Kind),
    /// It says nothing.
    Nothing,
    /// It cannot be sent, for this reason.
    Broken(&'static str),
}

/// Cuts the bytes of one target into messages.
#[derive(Debug)]
pub struct Cutter {
    way: Way,
    /// Bytes of the open message that were shown.
    open: usize,
    /// Most bytes of a message that has to be kept until its end comes.
    most: usize,
}

#[derive(Debug)]
enum Way {
    Flow(Flow),
    Mark(Mark),
    Fixed(Fixed),
    Prefixed(Prefixed),
    Json(Scanner),
}

impl Framing {
    /// The framing of this name with this configuration.
    ///
    /// # Errors
    /// One line that names both, and says what can be written instead.
    pub fn parse(name: &str, config: Option<&str>) -> Result<Framing, String> {
        words::parse(name, config)
    }
}

impl Cutter {
    /// A cutter at the beginning of a stream, for messages of up to `most` bytes; `None` where nothing is to be cut.
    pub fn new(framing: &Framing, most: usize) -> Option<Cutter> {
        let way = match framing {
            Framing::Binary => return None,
            Framing::Auto { holds } => Way::Flow(Flow::auto(*holds)),
            Framing::Text => Way::Flow(Flow::text()),
            Framing::Marked { mark, text } => Way::Mark(Mark::new(mark, *text)),
            Framing::Fixed(bytes) => Way::Fixed(Fixed::new(*bytes)),
            Framing::Prefixed { offset, extra, big } => Way::Prefixed(Prefixed::new(*offset, *extra, *big)),
            Framing::Json { trims } => Way::Json(Scanner::new(*trims)),
        };
        Some(Cutter { way, open: 0, most })
    }

    /// What it costs to show it a byte, beside what messages cost, in received bytes; 0 where that is next to nothing.
    pub fn byte_cost(&self) -> usize {
        match self.way {
            Way::Json(_) => STUDIED_BYTE_COST,
            Way::Flow(_) | Way::Mark(_) | Way::Fixed(_) | Way::Prefixed(_) => 0,
        }
    }

    /// Takes what came next, of which nothing was shown before: the bytes behind the last message, or behind what was open.
    /// To be called again with the bytes behind what it cut, until there are none.
    pub fn next(&mut self, fresh: &[u8]) -> Cut {
        let cut = match &mut self.way {
            // Never kept but for parts of a character.
            Way::Flow(flow) => return flow.next(fresh),
            Way::Mark(mark) => mark.next(fresh),
            Way::Fixed(fixed) => fixed.next(fresh, self.most),
            Way::Prefixed(prefixed) => prefixed.next(fresh, self.most),
            Way::Json(scanner) => scanner.next(fresh),
        };
        match cut {
            Cut::Message { len, .. } if self.open + len > self.most => Cut::TooLong,
            Cut::Open if self.open + fresh.len() > self.most => Cut::TooLong,
            Cut::Open => {
                self.open += fresh.len();
                cut
            }
            Cut::Message { .. } | Cut::Skip(_) => {
                self.open = 0;
                cut
            }
            Cut::TooLong | Cut::Broken(_) => cut,
        }
    }

    /// Says what becomes of an open message when the stream has ended.
    pub fn finish(&self) -> Rest {
        match &self.way {
            Way::Flow(flow) => flow.finish(),
            Way::Mark(mark) => Rest::Message(mark.kind()),
            Way::Fixed(_) | Way::Prefixed(_) => Rest::Message(Kind::Binary),
            Way::Json(scanner) => scanner.finish(),
        }
    }
}

#[cfg(test)]
mod tests;
