//! Plain HTTP: a helper finds the file, the answer goes out piece by piece, then the next head is waited for.

use super::job::{Job, Verdict};
use super::opening::{Head, refuse};
use super::{Action, Core, Cx, End, Input, Next, Phase, Side};
use crate::http::refusal::Header;
use crate::http::{After, Refusal};
use crate::limits::{CHUNK_CLASSES, RETRY_MS};
use crate::pool::{Lease, Reservation};
use crate::web::{Body, Fetch, Served};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Up to so many bytes a page is small change, as a head is.
const LITTLE: usize = CHUNK_CLASSES[0];

/// An answer on its way.
#[derive(Debug)]
pub(super) struct Answer {
    after: After,
    head_only: bool,
    /// What its route adds to the answer.
    headers: Vec<Header>,
    /// Method and request target, for the log.
    line: Box<str>,
    /// Requests answered before this one.
    answered: u32,
    /// Bytes behind the request: the next one.
    rest: Option<Lease>,
    file: Option<Pieces>,
}

/// What is to be answered.
pub(super) struct Page {
    pub fetch: Box<Fetch>,
    /// What its route adds.
    pub headers: Vec<Header>,
    pub after: After,
}

/// What is still to be read of a file.
#[derive(Debug)]
struct Pieces {
    file: Arc<File>,
    offset: u64,
    left: u64,
    /// Memory for the piece that a helper is reading; `None` while none is.
    room: Option<Reservation>,
}

impl Answer {
    /// Has the file looked for.
    pub fn begin(
        page: Page,
        line: Box<str>,
        answered: u32,
        rest: Option<Lease>,
        core: &mut Core,
        cx: &mut Cx<'_>,
    ) -> Next {
        let Page { fetch, headers, after } = page;
        let head_only = fetch.head_only;
        // Where one client is served at a time, the next is not kept waiting by one that has its page.
        let after = if cx.config.process.once { After::Close } else { after };
        let Some(rest) = rest.map_or(Some(None), |rest| rest.kept_to_hold().map(Some)) else {
            return refuse(&Refusal::BUSY, head_only, &line, core, cx);
        };
        core.ask(Job::Fetch(fetch), cx);
        core.arm(cx.now + cx.config.timing.write, cx);
        Next::Go(Phase::Answer(Box::new(Answer {
            after,
            head_only,
            headers,
            line,
            answered,
            rest,
            file: None,
        })))
    }

    #[inline(never)]
    pub fn handle(&mut self, core: &mut Core, input: Input, cx: &mut Cx<'_>) -> Next {
        match input {
            Input::Verdict(Verdict::Fetched(fetched)) => self.fetched(fetched, core, cx),
            Input::Verdict(Verdict::Busy) if self.file.is_none() => self.refuse(&Refusal::BUSY, core, cx),
            Input::Verdict(Verdict::Piece(Ok(piece))) if !piece.is_empty() => self.piece(piece, core, cx),
            Input::Verdict(Verdict::Piece(Err(error))) if error.kind() == io::ErrorKind::OutOfMemory => {
                self.read_later(core, cx);
                Next::Stay
            }
            // The head has promised a length that can no longer be kept: only an abrupt end tells the client.
            Input::Verdict(Verdict::Piece(_)) => self.broken(core),
            Input::Verdict(Verdict::Busy) => {
                self.read_later(core, cx);
                Next::Stay
            }
            Input::Sent(Side::Client) => self.sent(core, cx),
            Input::Failed(..) => Next::Leave(End::ClientReset),
            Input::Expired => self.expired(core, cx),
            Input::Stop => {
                self.after = After::Close;
                Next::Stay
            }
            // A client that is not received from ends only behind TLS, in one receive with its request: the next head looks at
            // that. And no target is there.
            Input::Received(..)
            | Input::Ended(_)
            | Input::Sent(Side::Target)
            | Input::Moved(_)
            | Input::Connected
            | Input::Cancelled(..)
            | Input::Closed(_)
            | Input::Verdict(Verdict::Addresses(_) | Verdict::Held(_) | Verdict::Routed(_)) => Next::Stay,
        }
    }

    fn fetched(&mut self, fetched: Served, core: &mut Core, cx: &mut Cx<'_>) -> Next {
        let Served { mut response, body } = fetched;
        let mut added = std::mem::take(&mut self.headers);
        // What the answer has of its own is about the file, and true.
        added.retain(|(name, _)| response.value(name).is_none());
        response = added.into_iter().fold(response, |response, (name, value)| response.header(name, value));
        response = response.come_again(core.id);
        self.after = response.after(self.after);
        let mut bytes = Vec::with_capacity(512);
        response.write(self.after, &cx.config.server_header, cx.date, &mut bytes);
        let mut room = None;
        match body {
            Body::None => {}
            Body::Bytes(body) => {
                // A list of names can be long, and who asks for it slow to take it.
                room = cx.pool.reserve(body.len()).filter(|_| bytes.try_reserve_exact(body.len()).is_ok());
                if room.is_none() && body.len() > LITTLE {
                    return self.refuse(&Refusal::BUSY, core, cx);
                }
                bytes.extend_from_slice(&body);
            }
            Body::File { file, offset, len } => {
                self.file =
                    Some(Pieces { file, offset, left: len, room: None }).filter(|pieces| pieces.left > 0);
            }
        }
        cx.counters.answered += 1;
        cx.actions.push(Action::Answered(std::mem::take(&mut self.line), response.status()));
        let answer = match room {
            Some(room) => Lease::reserved(bytes, room),
            None => Lease::own(bytes),
        };
        core.send(Side::Client, answer, cx);
        Next::Stay
    }

    fn refuse(&mut self, refusal: &Refusal, core: &mut Core, cx: &mut Cx<'_>) -> Next {
        let mut bytes = Vec::new();
        refusal.write(self.head_only, core.id, &cx.config.server_header, cx.date, &mut bytes);
        cx.counters.answered += 1;
        cx.actions.push(Action::Answered(std::mem::take(&mut self.line), refusal.status()));
        core.send(Side::Client, Lease::own(bytes), cx);
        Next::Leave(End::Refused(refusal.status()))
    }

    fn piece(&mut self, piece: Vec<u8>, core: &mut Core, cx: &mut Cx<'_>) -> Next {
        let Some(file) = &mut self.file else { return Next::Stay };
        let Some(room) = file.room.take() else { return Next::Stay };
        let len = piece.len() as u64;
        file.offset += len;
        file.left = file.left.saturating_sub(len);
        if file.left == 0 {
            self.file = None;
        }
        core.send(Side::Client, Lease::reserved(piece, room), cx);
        Next::Stay
    }

    fn sent(&mut self, core: &mut Core, cx: &mut Cx<'_>) -> Next {
        if self.file.is_some() {
            self.read(core, cx);
            return Next::Stay;
        }
        match self.after {
            After::Close => Next::Leave(End::Answered),
            After::Keep | After::KeepSaid => Head::again(self.answered + 1, self.rest.take(), core, cx),
        }
    }

    /// Has the next piece read, as much as there is memory for.
    fn read(&mut self, core: &mut Core, cx: &mut Cx<'_>) {
        let Some(pieces) = &mut self.file else { return };
        let len = pieces.left.min(cx.pool.allowance() as u64);
        pieces.room = cx.pool.reserve(len as usize).filter(|_| len > 0);
        if pieces.room.is_none() {
            return self.read_later(core, cx);
        }
        core.ask(Job::Read { file: pieces.file.clone(), offset: pieces.offset, len }, cx);
        core.arm(cx.now + cx.config.timing.write, cx);
    }

    /// There was no room, in memory or in the helpers' queue: tries again soon. The client only sees it wait.
    fn read_later(&mut self, core: &mut Core, cx: &mut Cx<'_>) {
        if let Some(pieces) = &mut self.file {
            pieces.room = None;
        }
        core.arm(cx.now + Duration::from_millis(RETRY_MS), cx);
    }

    fn expired(&mut self, core: &mut Core, cx: &mut Cx<'_>) -> Next {
        if self.file.as_ref().is_some_and(|pieces| pieces.room.is_none()) && !core.sending(Side::Client) {
            self.read(core, cx);
            return Next::Stay;
        }
        let due = core.moved(Side::Client) + cx.config.timing.write;
        if core.sending(Side::Client) && cx.now < due {
            core.arm(due, cx);
            return Next::Stay;
        }
        self.broken(core)
    }

    fn broken(&self, core: &Core) -> Next {
        Next::Leave(if core.sending(Side::Client) { End::ClientStalled } else { End::Internal })
    }
}
