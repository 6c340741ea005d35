//! The decoder: what clients send, taken apart as it arrives (RFC 6455 sections 5 and 8.1).
//!
//! Owns the position in the stream of frames: a header that came in part (at most 14 bytes), how much payload the
//! current frame still owes, its mask, the kind of the open message. Payload is never kept; only a control frame
//! that came in part is, in a box of its own that goes when the frame is whole. Errors are found at the first byte
//! that makes them certain, and after one, or after a close frame, nothing more is read. The decoder never decides
//! what an event means for the session.

use std::ops::Range;

use super::close::{CloseReason, Violation};
use super::frame::{ControlPayload, Kind, Opcode};
use super::mask;
use super::utf8::Utf8;
use crate::limits::{CLIENT_HEADER_BYTES_MAX, CONTROL_PAYLOAD_BYTES_MAX};

const FIN: u8 = 0x80;
const RESERVED_BITS: u8 = 0x70;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7F;

/// What this decoder takes, beyond what RFC 6455 settles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whether text messages are taken; else the first byte of one is [`Violation::TextRefused`].
    pub text: bool,
}

/// Takes apart what one client sends.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    /// The kind of the message that is open: begun, and its last frame not yet done.
    message: Option<Kind>,
    utf8: Utf8,
    rules: Rules,
}

/// What [`Decoder::next`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A run of a message's payload. Every empty frame yields one too, of no bytes, so that starts and ends of
    /// messages are always seen and every frame counts for something.
    Payload(Piece),
    /// The client asks for a pong with this payload.
    Ping(ControlPayload),
    /// The client answers a ping, or sends a pong unasked.
    Pong(ControlPayload),
    /// The client says goodbye; `None` if it gave neither code nor reason. From now on everything it sends is dropped.
    Close(Option<CloseReason>),
    /// All bytes are consumed; bring more.
    Starved,
    /// The client broke a rule. From now on this is the only event, and everything it sends is dropped.
    Fail(Violation),
}

/// A run of payload, unmasked, in the buffer that was given to [`Decoder::next`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The kind of its message. Of a text message, a piece may begin or end inside a character, but all pieces up to
    /// and with this one can still become UTF-8.
    pub kind: Kind,
    /// Where the bytes lie; empty for an empty frame.
    pub range: Range<usize>,
    /// Whether this is the first piece of its message.
    pub starts: bool,
    /// Whether this is the last piece of its message.
    pub ends: bool,
}

#[derive(Debug)]
enum State {
    /// Between two frames, or inside a header whose first `len` bytes are kept.
    Header { kept: [u8; CLIENT_HEADER_BYTES_MAX], len: u8 },
    /// Inside the payload of a data frame.
    Data(Data),
    /// Inside the payload of a control frame of which a part has come.
    Control(Box<Control>),
    /// The client's close frame has come.
    Closed,
    /// The client broke a rule.
    Failed(Violation),
}

impl State {
    const BETWEEN: State = State::Header { kept: [0; CLIENT_HEADER_BYTES_MAX], len: 0 };
}

#[derive(Clone, Copy, Debug)]
struct Data {
    /// Bytes of payload that have not come.
    left: u64,
    key: [u8; 4],
    /// Which byte of the key masks the next byte.
    phase: u8,
    kind: Kind,
    /// Whether the frame is the last of its message.
    fin: bool,
    /// Whether the next piece is the first of its message.
    starts: bool,
}

#[derive(Debug)]
struct Control {
    opcode: Opcode,
    key: [u8; 4],
    /// Bytes the whole payload will have, at most 125.
    whole: u8,
    payload: ControlPayload,
}

/// A whole header, already judged.
struct Head {
    opcode: Opcode,
    fin: bool,
    len: u64,
    key: [u8; 4],
    /// Bytes of the header itself.
    bytes: usize,
}

impl Decoder {
    /// A decoder at the start of the stream of frames, right behind the opening handshake.
    pub fn new(rules: Rules) -> Decoder {
        Decoder { state: State::BETWEEN, message: None, utf8: Utf8::START, rules }
    }

    /// Takes the next event from `bytes[*read..]` and moves `*read` behind what it took. To be called until it answers
    /// [`Event::Starved`] or [`Event::Fail`], which leave nothing unread.
    ///
    /// Payload is unmasked and stays where it lies or, with `into`, slides down to begin there: so the payloads of
    /// many small frames come to lie together and go out in one send. `into` must not be above `*read`.
    #[inline]
    pub fn next(&mut self, bytes: &mut [u8], read: &mut usize, into: Option<usize>) -> Event {
        assert!(into.is_none_or(|into| into <= *read), "payload slides down, never up");
        self.step(bytes, read, into).unwrap_or_else(|violation| {
            self.state = State::Failed(violation);
            *read = bytes.len();
            Event::Fail(violation)
        })
    }

    #[inline]
    fn step(&mut self, bytes: &mut [u8], read: &mut usize, into: Option<usize>) -> Result<Event, Violation> {
        match &mut self.state {
            State::Header { .. } => match self.head(bytes, read)? {
                None => Ok(Event::Starved),
                Some(head) if head.opcode.is_control() => self.control(&head, bytes, read),
                Some(head) => {
                    let data = self.open(&head);
                    self.data(data, bytes, read, into)
                }
            },
            State::Data(data) => {
                let data = *data;
                self.data(data, bytes, read, into)
            }
            State::Control(control) => {
                *read += control.payload.extend(&bytes[*read..], usize::from(control.whole));
                if control.payload.as_slice().len() < usize::from(control.whole) {
                    return Ok(Event::Starved);
                }
                let (opcode, key, payload) = (control.opcode, control.key, control.payload);
                self.finish(opcode, key, payload)
            }
            State::Closed => {
                *read = bytes.len();
                Ok(Event::Starved)
            }
            State::Failed(violation) => Err(*violation),
        }
    }

    /// Takes a header, or keeps the part of it that is there.
    #[inline]
    fn head(&mut self, bytes: &[u8], read: &mut usize) -> Result<Option<Head>, Violation> {
        let State::Header { kept, len } = &mut self.state else {
            unreachable!("only called between frames and inside headers");
        };
        let fresh = &bytes[*read..];
        if *len == 0 {
            let head = judge(fresh, self.message, self.rules)?;
            match &head {
                Some(head) => *read += head.bytes,
                None => {
                    kept[..fresh.len()].copy_from_slice(fresh);
                    *len = fresh.len() as u8;
                    *read = bytes.len();
                }
            }
            return Ok(head);
        }
        for &byte in fresh {
            kept[usize::from(*len)] = byte;
            *len += 1;
            *read += 1;
            let head = judge(&kept[..usize::from(*len)], self.message, self.rules)?;
            if head.is_some() {
                return Ok(head);
            }
        }
        Ok(None)
    }

    /// Begins a data frame, and with it a message if none is open.
    #[inline]
    fn open(&mut self, head: &Head) -> Data {
        let (kind, starts) = match self.message {
            Some(kind) => (kind, false),
            None if head.opcode == Opcode::Text => (Kind::Text, true),
            None => (Kind::Binary, true),
        };
        self.message = Some(kind);
        Data { left: head.len, key: head.key, phase: 0, kind, fin: head.fin, starts }
    }

    /// Takes what is there of a data frame's payload.
    #[inline]
    fn data(
        &mut self,
        mut data: Data,
        bytes: &mut [u8],
        read: &mut usize,
        into: Option<usize>,
    ) -> Result<Event, Violation> {
        let from = *read;
        // The smaller of the two is at most the length of a slice, so it fits.
        let len = data.left.min((bytes.len() - from) as u64) as usize;
        if len == 0 && data.left > 0 {
            self.state = State::Data(data);
            return Ok(Event::Starved);
        }
        let to = into.unwrap_or(from);
        *read += len;
        data.phase = mask::unmask_slide(bytes, from..from + len, to, data.key, usize::from(data.phase)) as u8;
        data.left -= len as u64;
        let last = data.left == 0;
        let piece =
            Piece { kind: data.kind, range: to..to + len, starts: data.starts, ends: last && data.fin };
        data.starts = false;
        self.state = if last { State::BETWEEN } else { State::Data(data) };
        if piece.ends {
            self.message = None;
        }
        match piece.kind {
            Kind::Binary => Ok(Event::Payload(piece)),
            Kind::Text => self.text(bytes, piece),
        }
    }

    /// Checks a piece of text. What lies in front of an error is still passed on, with the error behind it, so that
    /// what arrives does not depend on how the network cut the stream.
    fn text(&mut self, bytes: &[u8], mut piece: Piece) -> Result<Event, Violation> {
        match self.utf8.feed(&bytes[piece.range.clone()]) {
            Ok(()) if !piece.ends || self.utf8.is_complete() => return Ok(Event::Payload(piece)),
            Ok(()) => {}
            Err(at) => piece.range.end = piece.range.start + at,
        }
        if piece.range.is_empty() {
            return Err(Violation::BadUtf8);
        }
        self.state = State::Failed(Violation::BadUtf8);
        piece.ends = false;
        Ok(Event::Payload(piece))
    }

    /// Takes a control frame, or puts what is there of it into a box.
    fn control(&mut self, head: &Head, bytes: &[u8], read: &mut usize) -> Result<Event, Violation> {
        let whole = head.len as usize;
        let mut payload = ControlPayload::EMPTY;
        *read += payload.extend(&bytes[*read..], whole);
        if payload.as_slice().len() == whole {
            return self.finish(head.opcode, head.key, payload);
        }
        let control = Control { opcode: head.opcode, key: head.key, whole: whole as u8, payload };
        self.state = State::Control(Box::new(control));
        Ok(Event::Starved)
    }

    /// Unmasks a whole control frame and says what it is.
    fn finish(
        &mut self,
        opcode: Opcode,
        key: [u8; 4],
        mut payload: ControlPayload,
    ) -> Result<Event, Violation> {
        mask::unmask(payload.as_mut_slice(), key, 0);
        self.state = State::BETWEEN;
        match opcode {
            Opcode::Ping => Ok(Event::Ping(payload)),
            Opcode::Pong => Ok(Event::Pong(payload)),
            Opcode::Close => {
                let reason = CloseReason::parse(payload)?;
                self.state = State::Closed;
                Ok(Event::Close(reason))
            }
            Opcode::Continuation | Opcode::Text | Opcode::Binary => unreachable!("not a control frame"),
        }
    }
}

/// Judges the header at the start of `bytes`, or as much of it as is there: `Ok(None)` if more is needed and nothing
/// is wrong so far.
#[inline]
fn judge(bytes: &[u8], message: Option<Kind>, rules: Rules) -> Result<Option<Head>, Violation> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    let fin = first & FIN != 0;
    let opcode = judge_first(first, message, rules)?;
    let Some(&second) = bytes.get(1) else { return Ok(None) };
    if second & MASKED == 0 {
        return Err(Violation::Unmasked);
    }
    let short = second & LENGTH;
    if opcode.is_control() {
        if usize::from(short) > CONTROL_PAYLOAD_BYTES_MAX {
            return Err(Violation::LongControl);
        }
        if opcode == Opcode::Close && short == 1 {
            return Err(Violation::BadClosePayload);
        }
    }
    let (len, at) = match short {
        126 => match judge_16_bits(&bytes[2..])? {
            Some(len) => (len, 4),
            None => return Ok(None),
        },
        127 => match judge_64_bits(&bytes[2..])? {
            Some(len) => (len, 10),
            None => return Ok(None),
        },
        _ => (u64::from(short), 2),
    };
    let Some(&key) = bytes[at..].first_chunk() else { return Ok(None) };
    Ok(Some(Head { opcode, fin, len, key, bytes: at + key.len() }))
}

/// Judges the first byte of a header (RFC 6455 sections 5.2, 5.4 and 5.5).
#[inline]
fn judge_first(first: u8, message: Option<Kind>, rules: Rules) -> Result<Opcode, Violation> {
    if first & RESERVED_BITS != 0 {
        return Err(Violation::ReservedBits);
    }
    let opcode = Opcode::of(first).ok_or(Violation::ReservedOpcode)?;
    match (opcode, message) {
        (Opcode::Close | Opcode::Ping | Opcode::Pong, _) if first & FIN == 0 => {
            Err(Violation::FragmentedControl)
        }
        (Opcode::Continuation, None) => Err(Violation::StrayContinuation),
        (Opcode::Text | Opcode::Binary, Some(_)) => Err(Violation::NewInsideMessage),
        (Opcode::Text, None) if !rules.text => Err(Violation::TextRefused),
        _ => Ok(opcode),
    }
}

/// The length in two bytes, which must need them (RFC 6455 section 5.2).
#[inline]
fn judge_16_bits(bytes: &[u8]) -> Result<Option<u64>, Violation> {
    match bytes.first_chunk() {
        Some(&len) if u16::from_be_bytes(len) < 126 => Err(Violation::NonMinimalLength),
        Some(&len) => Ok(Some(u64::from(u16::from_be_bytes(len)))),
        None => Ok(None),
    }
}

/// The length in eight bytes, which must need them and must leave the top bit clear (RFC 6455 section 5.2). Six
/// zeros in front settle the matter before the last two bytes have come.
#[inline]
fn judge_64_bits(bytes: &[u8]) -> Result<Option<u64>, Violation> {
    match bytes {
        [first, ..] if first & 0x80 != 0 => Err(Violation::LengthTopBit),
        [0, 0, 0, 0, 0, 0, ..] => Err(Violation::NonMinimalLength),
        _ => Ok(bytes.first_chunk().map(|&len| u64::from_be_bytes(len))),
    }
}
