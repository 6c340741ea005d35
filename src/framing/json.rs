//! One JSON value (RFC 8259), with the white space in front of it: `json`.
//!
//! Owns the grammar, as a machine that is shown each byte once; nothing recurses, and how deep values nest is bounded. What
//! is no JSON is not lost: from the wrong byte on all is taken up to the end of the line, and the whole goes as a binary
//! message. So a stream with a line for each value finds its way again, wherever it was cut.

use super::{Cut, Rest};
use crate::limits::FRAMING_JSON_DEPTH_MAX;
use crate::ws::Kind;
use crate::ws::Utf8;

/// Finds where values end.
#[derive(Debug)]
pub(super) struct Scanner {
    at: At,
    /// How many objects and arrays are open.
    depth: usize,
    /// Which of them are objects, a bit each.
    objects: [u64; FRAMING_JSON_DEPTH_MAX / 64],
    /// Where the open character of a string stands.
    check: Utf8,
    /// Whether the open string names a member.
    key: bool,
    /// Whether white space in front of a value is left out.
    trims: bool,
}

/// What can come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// A value, in no other one.
    Top,
    /// A value.
    Value,
    /// A value, or the end of an array.
    Item,
    /// A name, or the end of an object.
    FirstName,
    Name,
    Colon,
    /// What follows a value that is in another one.
    Behind,
    String,
    Escape,
    /// So many hexadecimal digits.
    Digits(u8),
    /// The rest of a literal.
    Literal(&'static [u8]),
    Number(Number),
    /// Nothing that means anything, up to the end of the line.
    Nonsense,
}

/// How far a number has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Minus,
    Zero,
    Whole,
    Point,
    Fraction,
    E,
    Sign,
    Exponent,
}

/// What a byte means.
enum Step {
    Goes(At),
    /// The value ends with it.
    Ends,
    /// The number ended in front of it.
    Ended,
    /// It cannot stand there.
    Wrong,
}

impl Scanner {
    pub fn new(trims: bool) -> Scanner {
        Scanner { at: At::Top, depth: 0, objects: Default::default(), check: Utf8::START, key: false, trims }
    }

    pub fn next(&mut self, fresh: &[u8]) -> Cut {
        let mut at = 0;
        if self.trims && self.at == At::Top {
            let blank = fresh.iter().take_while(|byte| is_blank(**byte)).count();
            if blank > 0 {
                return Cut::Skip(blank);
            }
        }
        while at < fresh.len() {
            if self.at == At::String {
                match self.string(&fresh[at..]) {
                    Ok(0) => {}
                    Ok(taken) => {
                        at += taken;
                        continue;
                    }
                    Err(wrong) => {
                        at += wrong;
                        self.at = At::Nonsense;
                    }
                }
            }
            if self.at == At::Nonsense {
                return match memchr::memchr(b'\n', &fresh[at..]) {
                    Some(end) => self.message(at + end + 1, Kind::Binary),
                    None => Cut::Open,
                };
            }
            match self.step(fresh[at]) {
                Step::Goes(to) => {
                    self.at = to;
                    at += 1;
                }
                Step::Ends if self.depth == 0 => return self.message(at + 1, Kind::Text),
                Step::Ends => {
                    self.at = At::Behind;
                    at += 1;
                }
                Step::Ended if self.depth == 0 => return self.message(at, Kind::Text),
                Step::Ended => self.at = At::Behind,
                Step::Wrong => self.at = At::Nonsense,
            }
        }
        Cut::Open
    }

    /// Only the end tells that a number is whole. White space alone is no value.
    pub fn finish(&self) -> Rest {
        match self.at {
            At::Top => Rest::Nothing,
            At::Number(number) if number.is_whole() && self.depth == 0 => Rest::Message(Kind::Text),
            _ => Rest::Message(Kind::Binary),
        }
    }

    fn message(&mut self, len: usize, kind: Kind) -> Cut {
        *self = Scanner::new(self.trims);
        Cut::Message { len, kind }
    }

    /// Takes what is plain at the beginning of the rest of a string, and says how much; or where it is wrong.
    fn string(&mut self, bytes: &[u8]) -> Result<usize, usize> {
        let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
        let plain = bytes.iter().position(special).unwrap_or(bytes.len());
        self.check.feed(&bytes[..plain])?;
        // No character goes on behind what has a meaning of its own.
        if plain < bytes.len() && !self.check.is_complete() {
            return Err(plain);
        }
        Ok(plain)
    }

    fn step(&mut self, byte: u8) -> Step {
        match (self.at, byte) {
            (At::Top | At::Value | At::Item | At::FirstName | At::Name | At::Colon | At::Behind, _)
                if is_blank(byte) =>
            {
                Step::Goes(self.at)
            }
            (At::Item, b']') | (At::FirstName, b'}') => self.close(),
            (At::Top | At::Value | At::Item, _) => self.begin(byte),
            (At::FirstName | At::Name, b'"') => self.open_string(true),
            (At::Colon, b':') => Step::Goes(At::Value),
            (At::Behind, b',') => Step::Goes(if self.in_object() { At::Name } else { At::Value }),
            (At::Behind, b'}') if self.in_object() => self.close(),
            (At::Behind, b']') if !self.in_object() => self.close(),
            (At::String, b'"') if self.key => Step::Goes(At::Colon),
            (At::String, b'"') => Step::Ends,
            (At::String, b'\\') => Step::Goes(At::Escape),
            (At::Escape, b'u') => Step::Goes(At::Digits(4)),
            (At::Escape, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Step::Goes(At::String),
            (At::Digits(1), _) if byte.is_ascii_hexdigit() => Step::Goes(At::String),
            (At::Digits(due), _) if byte.is_ascii_hexdigit() => Step::Goes(At::Digits(due - 1)),
            (At::Literal([due]), _) if byte == *due => Step::Ends,
            (At::Literal([due, rest @ ..]), _) if byte == *due => Step::Goes(At::Literal(rest)),
            (At::Number(number), _) => number.step(byte),
            _ => Step::Wrong,
        }
    }

    /// The first byte of a value.
    fn begin(&mut self, byte: u8) -> Step {
        match byte {
            b'"' => self.open_string(false),
            b'{' => self.open(true),
            b'[' => self.open(false),
            b't' => Step::Goes(At::Literal(b"rue")),
            b'f' => Step::Goes(At::Literal(b"alse")),
            b'n' => Step::Goes(At::Literal(b"ull")),
            b'-' => Step::Goes(At::Number(Number::Minus)),
            b'0' => Step::Goes(At::Number(Number::Zero)),
            b'1'..=b'9' => Step::Goes(At::Number(Number::Whole)),
            _ => Step::Wrong,
        }
    }

    fn open_string(&mut self, key: bool) -> Step {
        (self.key, self.check) = (key, Utf8::START);
        Step::Goes(At::String)
    }

    fn open(&mut self, object: bool) -> Step {
        if self.depth == FRAMING_JSON_DEPTH_MAX {
            return Step::Wrong;
        }
        let (word, bit) = (self.depth / 64, 1 << (self.depth % 64));
        self.objects[word] = if object { self.objects[word] | bit } else { self.objects[word] & !bit };
        self.depth += 1;
        Step::Goes(if object { At::FirstName } else { At::Item })
    }

    fn close(&mut self) -> Step {
        self.depth -= 1;
        Step::Ends
    }

    /// Whether the innermost of what is open, of which there is something, is an object.
    fn in_object(&self) -> bool {
        let inner = self.depth - 1;
        self.objects[inner / 64] >> (inner % 64) & 1 == 1
    }
}

impl Number {
    fn step(self, byte: u8) -> Step {
        let next = match (self, byte) {
            (Number::Minus, b'0') => Number::Zero,
            (Number::Minus | Number::Whole, b'0'..=b'9') => Number::Whole,
            (Number::Zero | Number::Whole, b'.') => Number::Point,
            (Number::Point | Number::Fraction, b'0'..=b'9') => Number::Fraction,
            (Number::Zero | Number::Whole | Number::Fraction, b'e' | b'E') => Number::E,
            (Number::E, b'+' | b'-') => Number::Sign,
            (Number::E | Number::Sign | Number::Exponent, b'0'..=b'9') => Number::Exponent,
            _ if self.is_whole() => return Step::Ended,
            _ => return Step::Wrong,
        };
        Step::Goes(At::Number(next))
    }

    fn is_whole(self) -> bool {
        matches!(self, Number::Zero | Number::Whole | Number::Fraction | Number::Exponent)
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}
