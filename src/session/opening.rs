//! The opening, in story order: a head comes in, is judged, and becomes a bridge, an answer or a refusal.

use super::answer::{Answer, Page};
use super::bridge::Bridge;
use super::route::{Route, Wish};
use super::{Action, Core, Cx, End, Input, Next, Operation, Phase, Side};
use crate::framing::Framing;
use crate::http::refusal::Header;
use crate::http::secure::{self, Plain};
use crate::http::upgrade::{self, Request, Upgrade};
use crate::http::{self, After, Progress, Refusal, Scan};
use crate::limits::{HEAD_BYTES_MAX, LOG_FIELD_BYTES_MAX, SNIFF_TIMEOUT_MS};
use crate::pool::Lease;
use crate::route;
use crate::web;
use crate::ws;
use std::time::Duration;

/// The first byte of a TLS record with a handshake message (RFC 8446 section 5.1), and that of a hello in the format of
/// SSL 2, which TLS answers with an alert.
const TLS_FIRST_BYTES: [u8; 2] = [0x16, 0x80];

/// What the operator is told of a client that speaks TLS where it cannot be answered in kind.
const NO_CERTIFICATE: &str = "a TLS client, and no certificate; name one with --cert";

/// What the operator is told of a request for another host. Which one is not said: it may be a token.
const MISDIRECTED: &str = "its Host is none of --allow-host";

/// A client that has said nothing yet. Who has something to ask says so at once, so the wait for the first byte is a short
/// one; with that byte the time of the head counts, from accept.
#[derive(Debug)]
pub(super) struct Sniff;

impl Sniff {
    /// Waits for the first byte.
    pub fn begin(core: &mut Core, cx: &mut Cx<'_>) -> Sniff {
        core.receive(Side::Client, HEAD_BYTES_MAX, cx);
        core.arm(core.opened + cx.config.timing.head.min(Duration::from_millis(SNIFF_TIMEOUT_MS)), cx);
        Sniff
    }

    #[inline(never)]
    pub fn handle(&mut self, core: &mut Core, input: Input, cx: &mut Cx<'_>) -> Next {
        match input {
            Input::Received(Side::Client, lease) => match lease.first() {
                Some(first) if TLS_FIRST_BYTES.contains(first) => {
                    if cx.keys.server.is_some() {
                        return Next::Secure(lease);
                    }
                    // It could make nothing of plain text.
                    core.detail = Some(NO_CERTIFICATE.into());
                    Next::Leave(End::NoCertificate)
                }
                _ if cx.config.plain == Plain::Closed => Next::Leave(End::PlainClosed),
                _ => Head::again(0, Some(lease), core, cx),
            },
            Input::Ended(_) => Next::Leave(End::ClientEnded),
            Input::Failed(_, Operation::Receive, _) => Next::Leave(End::ClientReset),
            Input::Expired => Next::Leave(End::HeadTimeout),
            Input::Stop => Next::Leave(End::Stopped),
            // Nothing else is in flight in this phase.
            _ => Next::Stay,
        }
    }
}

/// A request head that is coming in.
#[derive(Debug)]
pub(super) struct Head {
    scan: Scan,
    /// The part that has come, if it is not whole.
    kept: Option<Lease>,
    /// Requests answered on this connection before this one.
    answered: u32,
}

impl Head {
    /// Waits for the first head behind TLS, whose hello has begun already.
    pub fn begin(core: &mut Core, cx: &mut Cx<'_>) -> Head {
        let head = Head { scan: Scan::new(), kept: None, answered: 0 };
        core.receive(Side::Client, HEAD_BYTES_MAX, cx);
        core.arm(core.opened + cx.config.timing.head, cx);
        head
    }

    /// Waits for the next head, whose first bytes may have come already. The time for the first one began at accept.
    pub fn again(answered: u32, rest: Option<Lease>, core: &mut Core, cx: &mut Cx<'_>) -> Next {
        let mut head = Head { scan: Scan::new(), kept: None, answered };
        // What was found out about the request before says nothing about the next.
        (core.told, core.token) = (None, None);
        let from = if answered == 0 { core.opened } else { cx.now };
        let next = match rest {
            Some(rest) => head.received(rest, core, cx),
            None => {
                core.receive(Side::Client, HEAD_BYTES_MAX, cx);
                Next::Stay
            }
        };
        match next {
            // Behind TLS the end can come in one receive with the request that was answered meanwhile.
            Next::Stay if core.ended(Side::Client) => Next::Leave(head.ended()),
            Next::Stay => {
                core.arm(from + cx.config.timing.head, cx);
                Next::Go(Phase::Head(head))
            }
            // Whatever comes behind a head sets a deadline of its own.
            next => next,
        }
    }

    /// Whether no request has been answered on this connection yet.
    pub fn is_first(&self) -> bool {
        self.answered == 0
    }

    /// Whether the first bytes of the head have come.
    pub fn has_begun(&self) -> bool {
        self.kept.is_some()
    }

    /// Why a session ends whose client has said its end here.
    fn ended(&self) -> End {
        if self.answered > 0 { End::Answered } else { End::ClientEnded }
    }

    #[inline(never)]
    pub fn handle(&mut self, core: &mut Core, input: Input, cx: &mut Cx<'_>) -> Next {
        match input {
            Input::Received(Side::Client, lease) => self.received(lease, core, cx),
            Input::Ended(_) => Next::Leave(self.ended()),
            Input::Failed(_, Operation::Receive, _) => Next::Leave(End::ClientReset),
            Input::Expired => Next::Leave(if self.answered > 0 { End::Answered } else { End::HeadTimeout }),
            Input::Stop => Next::Leave(End::Stopped),
            // Nothing else is in flight in this phase.
            Input::Received(Side::Target, _)
            | Input::Sent(_)
            | Input::Moved(_)
            | Input::Connected
            | Input::Failed(..)
            | Input::Cancelled(..)
            | Input::Closed(_)
            | Input::Verdict(_) => Next::Stay,
        }
    }

    fn received(&mut self, lease: Lease, core: &mut Core, cx: &mut Cx<'_>) -> Next {
        let joined = match self.kept.take() {
            Some(kept) => kept.joined(&lease, cx.pool),
            None => Some(lease),
        };
        let Some(mut bytes) = joined else { return refuse(&Refusal::BUSY, false, "-", core, cx) };
        let len = match self.scan.feed(&bytes) {
            Progress::Partial if cx.pool.is_short() => {
                return refuse(&Refusal::BUSY, false, "-", core, cx);
            }
            Progress::Partial => {
                // The scan refuses a head that is too long, so there is always room left for more of it.
                let room = HEAD_BYTES_MAX.saturating_sub(bytes.len()).max(1);
                let Some(kept) = bytes.kept_to_hold() else {
                    return refuse(&Refusal::BUSY, false, "-", core, cx);
                };
                self.kept = Some(kept);
                core.receive(Side::Client, room, cx);
                return Next::Stay;
            }
            Progress::Refused(refusal) => return refuse(&refusal, false, "-", core, cx),
            Progress::Complete { len } => len,
        };
        // The head borrows the bytes, and what follows it is wanted too: decide first, then move on.
        let decision = match http::Head::parse(&bytes[..len]) {
            Ok(head) => decide(&head, core, cx),
            Err(refusal) => Decision::Refuse { refusal, head_only: false, line: "-".into() },
        };
        bytes.advance(len);
        let rest = if bytes.is_empty() { None } else { Some(bytes) };
        match decision {
            Decision::Open(mut opening) => opening.open(rest, core, cx),
            Decision::Fetch { fetch, after, line } => {
                Answer::begin(Page { fetch, headers: Vec::new(), after }, line, self.answered, rest, core, cx)
            }
            Decision::Route { wish, request, line } => {
                Route::begin(wish, *request, line, self.answered, rest, core, cx)
            }
            Decision::Redirect { place, line } => redirect(place, &line, core, cx),
            Decision::Refuse { refusal, head_only, line } => refuse(&refusal, head_only, &line, core, cx),
        }
    }
}

/// What a head asks for, freed from its bytes.
enum Decision {
    Open(Opening),
    Fetch { fetch: Box<web::Fetch>, after: After, line: Box<str> },
    Route { wish: Wish, request: Box<route::request::Request>, line: Box<str> },
    Redirect { place: String, line: Box<str> },
    Refuse { refusal: Refusal, head_only: bool, line: Box<str> },
}

fn decide(head: &http::Head<'_>, core: &mut Core, cx: &mut Cx<'_>) -> Decision {
    let path = cx.config.route.veiled(head.target());
    let line = || format!("{} {}", head.method(), cut(&path)).into_boxed_str();
    let refuse = |refusal| Decision::Refuse { refusal, head_only: head.method() == "HEAD", line: line() };
    let is_secure = core.is_secure(Side::Client);
    let plain = if is_secure { Plain::Served } else { cx.config.plain };
    let judged = upgrade::judge(head, &cx.config.upgrade);
    if judged.is_ok() && !cx.config.hosts.admit(head.first("Host"), is_secure) {
        cx.counters.hosts_refused += 1;
        core.detail = Some(MISDIRECTED.into());
        return refuse(Refusal::MISDIRECTED);
    }
    match judged {
        Ok(Request::Plain) if plain == Plain::Redirected => match secure::place(head) {
            Some(place) => Decision::Redirect { place, line: line() },
            None => refuse(secure::REFUSAL),
        },
        Ok(_) if plain != Plain::Served => refuse(secure::REFUSAL),
        Ok(Request::Upgrade(upgrade)) => {
            let opening = Opening::of(&upgrade, cut(&path));
            match asked(true, head, core, cx) {
                None => Decision::Open(opening),
                Some(request) => Decision::Route { wish: Wish::Bridge(opening), request, line: line() },
            }
        }
        Ok(Request::Plain) if cx.config.web.is_some() => match web::plan(head) {
            Ok(fetch) => {
                let (fetch, after) = (Box::new(fetch), After::of(head));
                match asked(false, head, core, cx) {
                    None => Decision::Fetch { fetch, after, line: line() },
                    Some(request) => {
                        Decision::Route { wish: Wish::File(fetch, after), request, line: line() }
                    }
                }
            }
            Err(refusal) => refuse(refusal),
        },
        Ok(Request::Plain) => refuse(web::plan::without_files(head)),
        Err(refusal) => refuse(refusal),
    }
}

/// The request as it is shown to those who have to be asked about it, if there are any.
fn asked(
    wants_bridge: bool,
    head: &http::Head<'_>,
    core: &Core,
    cx: &Cx<'_>,
) -> Option<Box<route::request::Request>> {
    cx.config.route.steps(wants_bridge).next()?;
    let mut request = Box::new(route::request::Request::of(head, core.client, core.tls));
    request.certified = core.certified();
    Some(request)
}

/// An upgrade that was judged to be one: what its 101 says.
#[derive(Debug)]
pub(super) struct Opening {
    accept: [u8; 28],
    subprotocol: Option<Box<str>>,
    /// What its route adds.
    headers: Vec<Header>,
    /// How its route says that messages are cut.
    framing: Option<Framing>,
    /// The request target, for the log.
    path: Box<str>,
}

impl Opening {
    fn of(upgrade: &Upgrade<'_>, path: &str) -> Opening {
        Opening {
            accept: ws::accept_key(upgrade.key),
            subprotocol: upgrade.subprotocol.map(Into::into),
            headers: Vec::new(),
            framing: None,
            path: path.into(),
        }
    }

    /// Adds what the route says about the 101 and about what follows it.
    pub fn add(&mut self, subprotocol: Option<Box<str>>, headers: Vec<Header>, framing: Option<Framing>) {
        self.subprotocol = subprotocol.or(self.subprotocol.take());
        self.headers = headers;
        self.framing = framing;
    }

    /// Answers with the 101, and becomes a bridge.
    pub fn open(&mut self, rest: Option<Lease>, core: &mut Core, cx: &mut Cx<'_>) -> Next {
        let mut bytes = Vec::with_capacity(256);
        let subprotocol = self.subprotocol.as_deref();
        upgrade::write_switching(
            &self.accept,
            subprotocol,
            &self.headers,
            &cx.config.server_header,
            cx.date,
            &mut bytes,
        );
        core.bridged = true;
        cx.counters.bridged += 1;
        cx.actions.push(Action::Opened(std::mem::take(&mut self.path)));
        Bridge::open(Lease::own(bytes), rest, self.framing.as_ref(), core, cx)
    }
}

/// Sends a client to the same page with TLS; the session ends when that has gone out.
fn redirect(place: String, line: &str, core: &mut Core, cx: &mut Cx<'_>) -> Next {
    let mut bytes = Vec::with_capacity(512);
    secure::write_redirect(place, &cx.config.server_header, cx.date, &mut bytes);
    cx.counters.answered += 1;
    cx.actions.push(Action::Answered(line.into(), 301));
    core.send(Side::Client, Lease::own(bytes), cx);
    Next::Leave(End::Answered)
}

/// Answers with a refusal; the session ends when that has gone out.
pub(super) fn refuse(
    refusal: &Refusal,
    head_only: bool,
    line: &str,
    core: &mut Core,
    cx: &mut Cx<'_>,
) -> Next {
    let mut bytes = Vec::with_capacity(512);
    refusal.write(head_only, core.id, &cx.config.server_header, cx.date, &mut bytes);
    cx.counters.answered += 1;
    // Of a head that could not be read the reason is all there is to trace it by.
    let line = if line == "-" { format!("- ({})", refusal.reason()).into() } else { line.into() };
    cx.actions.push(Action::Answered(line, refusal.status()));
    core.send(Side::Client, Lease::own(bytes), cx);
    Next::Leave(End::Refused(refusal.status()))
}

fn cut(target: &str) -> &str {
    let mut end = target.len().min(LOG_FIELD_BYTES_MAX);
    while !target.is_char_boundary(end) {
        end -= 1;
    }
    &target[..end]
}
