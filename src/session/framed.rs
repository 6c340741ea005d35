//! What stands between a target and a client whose messages are to be cut in a certain way.
//!
//! Owns what has come and cannot be sent yet: the beginning of a message whose end has not come, and what is left of a receive
//! when the frames that were made of it filled a buffer. Frames are made of one receive as many as one buffer takes; the rest
//! waits until they have gone, and the target is not received from meanwhile. Nor are there more of them than are made in a
//! bounded time, which the turn is charged for. Where messages end is `framing`'s to say.

use super::{Core, Cx, End, Side};
use crate::framing::{Cut, Cutter, Framing, Rest};
use crate::limits::{
    CHUNK_CLASSES, FRAMING_MESSAGE_COST, FRAMING_MESSAGES_MANY, HEADROOM_BYTES, HOT_BYTES,
    SERVER_HEADER_BYTES_MAX, TLS_RECORD_OVERHEAD_MAX,
};
use crate::pool::{Lease, Pool};
use crate::timers::Time;
use crate::ws::{self, Kind};

/// The largest chunk that is kept for reuse.
const LARGEST: usize = CHUNK_CLASSES[CHUNK_CLASSES.len() - 1];
/// Up to so many bytes are kept in memory of just their size; more takes a chunk.
const LITTLE: usize = CHUNK_CLASSES[0] / 2;
/// What frames for a client with TLS leave free of their buffer, so that they fit one of the same class when they are sealed:
/// the overhead of as many records as one receive fills, and some words of TLS itself.
const SEAL: usize = 6 * TLS_RECORD_OVERHEAD_MAX + 64;
/// Why a session ended whose target's message is too long.
const TOO_LONG: &str = "a message of the target is longer than --max-message";

const _: () = assert!(SERVER_HEADER_BYTES_MAX <= HEADROOM_BYTES);

/// Makes messages of what a target sends.
#[derive(Debug)]
pub(super) struct Framer {
    cutter: Cutter,
    /// The beginning of a message, with room for a header in front of it.
    open: Option<Lease>,
    /// When that began to be kept.
    begun: Time,
    /// What was received behind it and has not been cut, or not been sent.
    rest: Option<Lease>,
    /// A message, and what it is, that ends behind so many bytes of `rest`.
    found: Option<(usize, Kind)>,
    /// Bytes of the newest receive, and messages that have been made of it.
    came: usize,
    made: usize,
    /// Nothing more is cut: why the session ends when all that was cut has gone.
    over: Option<End>,
    /// What the operator is told of that.
    why: Option<&'static str>,
}

/// Messages that were cut.
#[derive(Debug, Default)]
pub(super) struct Framed {
    /// Whole frames for the client.
    pub out: Option<Lease>,
    /// The messages and payload bytes in them.
    pub messages: u64,
    /// See `messages`.
    pub bytes: u64,
    /// Why the session ends behind them, if it does.
    pub end: Option<End>,
}

impl Framer {
    /// A framer at the beginning of what a target sends; `None` where nothing has to be cut.
    pub fn new(framing: &Framing, cx: &Cx<'_>) -> Option<Box<Framer>> {
        let cutter = Cutter::new(framing, cx.config.message_bytes_max)?;
        Some(Box::new(Framer {
            cutter,
            open: None,
            begun: cx.now,
            rest: None,
            found: None,
            came: 0,
            made: 0,
            over: None,
            why: None,
        }))
    }

    /// Takes what a receive brought. All that came before has been sent.
    pub fn take(&mut self, lease: Lease) {
        debug_assert!(self.rest.is_none(), "nobody receives while something waits");
        (self.came, self.made) = (lease.len(), 0);
        self.rest = Some(lease);
    }

    /// How much to receive next: where a whole receive would make more messages than are made at once, the next one brings so
    /// few bytes that it cannot, and nothing of it has to be kept.
    pub fn receive_bytes(&self) -> usize {
        let is_dense = self.made * (HOT_BYTES / FRAMING_MESSAGES_MANY) > self.came.max(FRAMING_MESSAGES_MANY);
        if is_dense { FRAMING_MESSAGES_MANY } else { HOT_BYTES }
    }

    /// Whether a message that was begun long ago takes memory that others need now: its end may never come.
    pub fn hoards(&self, cx: &Cx<'_>) -> bool {
        let held = self.open.as_ref().map_or(0, |open| open.headroom() + open.len() + open.tailroom());
        held > LITTLE && cx.pool.is_short() && cx.now >= self.begun + cx.config.timing.write
    }

    /// The target brings nothing more. The first reason counts.
    pub fn end(&mut self, end: End) {
        self.over.get_or_insert(end);
    }

    /// Makes the next frames of what has come; `None` when it takes more of it to make any.
    pub fn next(&mut self, core: &mut Core, cx: &mut Cx<'_>) -> Option<Framed> {
        let framed = self.step(core, cx)?;
        if framed.end.is_some()
            && let Some(why) = self.why
        {
            core.detail = Some(why.into());
        }
        Some(framed)
    }

    fn step(&mut self, core: &mut Core, cx: &mut Cx<'_>) -> Option<Framed> {
        if core.broken(Side::Client) {
            // Nobody takes what has come.
            self.drop_all();
            return self.over.map(|end| Framed { end: Some(end), ..Framed::default() });
        }
        let came = self.uncut();
        let framed = match self.rest.take() {
            Some(rest) => self.cut(rest, core, cx),
            None => self.finish(core, cx),
        };
        let messages = framed.as_ref().map_or(0, |framed| framed.messages as usize);
        let studied = (came - self.uncut()) * self.cutter.byte_cost();
        core.charge(messages * FRAMING_MESSAGE_COST + studied, cx);
        let mut framed = framed?;
        if framed.messages > 0 {
            self.made += framed.messages as usize;
            core.count_out(framed.bytes, framed.messages, cx);
            core.show_brought(Side::Target, cx);
        }
        if framed.out.is_some() && framed.end.is_some() {
            // The last frames have the time of all others, which is more than that of a goodbye.
            self.drop_all();
            self.over = framed.end.take();
        }
        Some(framed)
    }

    fn uncut(&self) -> usize {
        self.rest.as_ref().map_or(0, |rest| rest.len())
    }

    fn drop_all(&mut self) {
        (self.open, self.rest, self.found) = (None, None, None);
    }

    /// Cuts as much of `lease` as makes one buffer full of frames, or as many as are made at once.
    fn cut(&mut self, mut lease: Lease, core: &mut Core, cx: &mut Cx<'_>) -> Option<Framed> {
        let mut framed = Framed::default();
        let spare = SERVER_HEADER_BYTES_MAX + if core.is_secure(Side::Client) { SEAL } else { 0 };
        let mut at = 0;
        while at < lease.len() {
            let cut = match self.found.take() {
                Some((len, kind)) => Cut::Message { len, kind },
                None => self.cutter.next(&lease[at..]),
            };
            match cut {
                Cut::Message { len, kind } => {
                    let is_full = framed.out.as_ref().is_some_and(|out| out.tailroom() < spare + len);
                    if is_full || framed.messages == FRAMING_MESSAGES_MANY as u64 {
                        self.found = Some((len, kind));
                        lease.advance(at);
                        self.rest = lease.kept();
                        if self.rest.is_none() {
                            framed.end = Some(End::NoMemory);
                        }
                        return Some(framed);
                    }
                    let is_all = len == lease.len() && lease.headroom() >= SERVER_HEADER_BYTES_MAX;
                    if is_all && self.open.is_none() {
                        framed.note(&lease, core, cx);
                        lease.prepend(ws::header(kind.opcode(), true, len as u64).as_slice());
                        framed.out = Some(lease);
                        return Some(framed);
                    }
                    if let Err(end) = self.put(&lease[at..], len, kind, &mut framed, core, cx) {
                        framed.end = Some(end);
                        return Some(framed);
                    }
                    at += len;
                }
                Cut::Skip(len) => at += len,
                Cut::Open => {
                    framed.end = self.hold(&lease[at..], cx).err();
                    break;
                }
                Cut::TooLong => {
                    (framed.end, self.why) = (Some(End::TooLarge), Some(TOO_LONG));
                    break;
                }
                Cut::Broken(why) => {
                    (framed.end, self.why) = (Some(End::Unframed), Some(why));
                    break;
                }
            }
        }
        (framed.out.is_some() || framed.end.is_some() || self.over.is_some()).then_some(framed)
    }

    /// Puts a message out that ends with the first `len` bytes of `fresh`.
    fn put(
        &mut self,
        fresh: &[u8],
        len: usize,
        kind: Kind,
        framed: &mut Framed,
        core: &mut Core,
        cx: &mut Cx<'_>,
    ) -> Result<(), End> {
        let pool = cx.pool;
        let tail = &fresh[..len];
        if let Some(open) = self.open.take() {
            // It is the first message of the receive, for no other can have begun before.
            let size = open.len() + len;
            // What follows goes into the same send, if a chunk takes it all.
            let all = fresh.len() + HEADROOM_BYTES;
            let fits = fresh.len() > len && SERVER_HEADER_BYTES_MAX + open.len() + all <= LARGEST;
            let more = if fits && !pool.is_short() { all } else { len };
            let mut out = with_room(Some(open), more, size, pool)?;
            append(&mut out, tail);
            framed.note(&out, core, cx);
            out.prepend(ws::header(kind.opcode(), true, size as u64).as_slice());
            framed.out = Some(out);
            return Ok(());
        }
        framed.note(tail, core, cx);
        if framed.out.is_none() {
            framed.out = Some(pool.chunk(fresh.len() + HEADROOM_BYTES).ok_or(End::NoMemory)?);
        }
        let out = framed.out.as_mut().expect("it was just put there");
        append(out, ws::header(kind.opcode(), true, len as u64).as_slice());
        append(out, tail);
        Ok(())
    }

    /// Keeps the beginning of a message.
    fn hold(&mut self, more: &[u8], cx: &Cx<'_>) -> Result<(), End> {
        let grows = self.open.as_ref().is_none_or(|open| open.tailroom() < more.len());
        if self.open.is_none() {
            self.begun = cx.now;
        }
        let mut open = with_room(self.open.take(), more.len(), cx.config.message_bytes_max, cx.pool)?;
        // The last place is for those whose bytes only pass: what waits for its end may wait for ever.
        if grows && cx.pool.allowance() == 0 {
            return Err(End::NoMemory);
        }
        append(&mut open, more);
        self.open = Some(open);
        Ok(())
    }

    /// What is left when the target has ended; `None` if it has not.
    fn finish(&mut self, core: &mut Core, cx: &mut Cx<'_>) -> Option<Framed> {
        let end = self.over?;
        let mut framed = Framed { end: Some(end), ..Framed::default() };
        if let Some(mut open) = self.open.take() {
            match self.cutter.finish() {
                Rest::Message(kind) => {
                    framed.note(&open, core, cx);
                    let header = ws::header(kind.opcode(), true, open.len() as u64);
                    open.prepend(header.as_slice());
                    framed.out = Some(open);
                }
                Rest::Nothing => {}
                // A target that was cut off owes nobody the rest.
                Rest::Broken(why) if end == End::TargetClosed => {
                    (framed.end, self.why) = (Some(End::Unframed), Some(why));
                }
                Rest::Broken(_) => {}
            }
        }
        Some(framed)
    }
}

impl Framed {
    /// Counts a whole message, and shows it to those who watch.
    fn note(&mut self, message: &[u8], core: &mut Core, cx: &mut Cx<'_>) {
        self.messages += 1;
        self.bytes += message.len() as u64;
        if core.is_tapped() {
            core.note_down(message, cx);
        }
    }
}

/// `held`, or nothing yet, with room for `more` bytes behind it and for a header in front. Little takes no more memory than it
/// needs, for it may be kept for long; what grows doubles its room, up to `most` bytes.
fn with_room(held: Option<Lease>, more: usize, most: usize, pool: &Pool) -> Result<Lease, End> {
    let before = match held {
        Some(held) if held.tailroom() >= more => return Ok(held),
        held => held,
    };
    let had = before.as_ref().map_or(0, |before| before.len());
    let room = SERVER_HEADER_BYTES_MAX + (had + more).max((2 * had).min(most));
    let larger = match room <= LITTLE {
        true => pool.little(room),
        false => pool.chunk_within(room),
    };
    let mut larger = larger.ok_or(End::NoMemory)?;
    append(&mut larger, &[0; SERVER_HEADER_BYTES_MAX]);
    larger.advance(SERVER_HEADER_BYTES_MAX);
    append(&mut larger, before.as_deref().unwrap_or_default());
    Ok(larger)
}

fn append(lease: &mut Lease, bytes: &[u8]) {
    let taken = lease.append(bytes);
    assert_eq!(taken, bytes.len(), "room was made for all of it");
}
