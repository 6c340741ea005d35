//! The network: all links, the agenda of what will happen, the clock, and the rules.
//!
//! Everything that happens is an [`Event`] with its moment; misfortune is decided when it is planned or when it happens,
//! by the same dice. Calls on sockets are in `kernel`, what far ends do by themselves in `script`.

use super::dice::{Dice, Odds};
use super::faults::Faults;
use super::link::{Dial, Link, Way};
use super::script::Behaviour;
use crate::engine::{Readable, Token};
use crate::sys::address::Address;
use crate::timers::Time;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Arguments;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Something that will happen to a link, a listener or the shard.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    Move(usize, Way),
    /// The edge that collected on a link is reported.
    Edge(usize),
    /// An edge is reported that did not join another.
    LoneEdge(usize, Readable),
    Writable(usize),
    Decide(usize, bool),
    Accept(usize),
    Break(usize),
    Close(usize),
    Woken,
}

/// What a turn reports; the kernel makes sockets of it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Report {
    Readable(Token, Readable),
    Writable(Token),
    Unwatched(Token),
    Closed(Token),
    Accepted(usize, usize),
    AcceptFailed(usize, i32),
    Woken,
}

/// A listener with the clients that wait in it.
#[derive(Default)]
pub(super) struct Listener {
    pub armed: bool,
    pub closed: bool,
    planned: bool,
    queue: VecDeque<usize>,
}

/// All calls and reports, as one number, and as text when asked for.
pub(super) struct Trace {
    pub hash: u64,
    pub aloud: bool,
}

pub(super) struct Network {
    pub dice: Dice,
    pub odds: Odds,
    pub now: Time,
    /// By moment, then in the order they were planned.
    agenda: BTreeMap<(Time, u64), Event>,
    planned: u64,
    pub links: Vec<Link>,
    pub listeners: Vec<Listener>,
    targets: Vec<(Address, VecDeque<Behaviour>)>,
    pub reports: Vec<Report>,
    /// Tokens in use and their links, until the close is reported.
    pub tokens: BTreeMap<u64, usize>,
    pub leaked: Vec<usize>,
    pub faults: Faults,
    pub trace: Trace,
}

impl Network {
    pub fn new(dice: Dice, odds: Odds) -> Network {
        Network {
            dice,
            odds,
            now: Time(0),
            agenda: BTreeMap::new(),
            planned: 0,
            links: Vec::new(),
            listeners: Vec::new(),
            targets: Vec::new(),
            reports: Vec::new(),
            tokens: BTreeMap::new(),
            leaked: Vec::new(),
            faults: Faults::default(),
            trace: Trace { hash: 0xcbf2_9ce4_8422_2325, aloud: false },
        }
    }

    pub fn note(&mut self, what: Arguments<'_>) {
        let line = format!("{:>7} {what}", self.now.0);
        if self.trace.aloud {
            eprintln!("{line}");
        }
        for byte in line.bytes() {
            self.trace.hash = (self.trace.hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    /// Puts `event` on the agenda for the next turn.
    pub fn plan(&mut self, event: Event) {
        self.plan_within(0, event);
    }

    /// Puts `event` on the agenda, up to `most_ms` from now.
    pub fn plan_within(&mut self, most_ms: usize, event: Event) {
        let at = Time(self.now.0 + self.dice.below(most_ms + 1) as u64);
        self.planned += 1;
        self.faults.delays += usize::from(at > self.now && matches!(event, Event::Move(..)));
        self.agenda.insert((at, self.planned), event);
    }

    pub fn is_quiet(&self) -> bool {
        self.agenda.is_empty()
    }

    pub fn open_sockets(&self) -> usize {
        self.links.iter().filter(|link| link.near.open).count()
    }

    /// Lets happen what is due; if nothing is, time moves on to the next event, at most by `wait`.
    pub fn turn(&mut self, wait: Option<Duration>) {
        let lost = self.dice.below(self.odds.turn_ms + 1) as u64;
        self.now = Time(self.now.0 + lost);
        let due = self.agenda.first_key_value().map(|((at, _), _)| *at);
        let most = wait.map(|wait| Time(self.now.0 + wait.as_micros().div_ceil(1000) as u64));
        self.now = match (due, most) {
            (Some(due), Some(most)) => self.now.max(due.min(most)),
            (Some(moment), None) | (None, Some(moment)) => self.now.max(moment),
            (None, None) => self.now,
        };
        if self.dice.chance(self.odds.wake) {
            self.plan(Event::Woken);
        }
        // What these events bring about is for the next turn, so that a turn always ends.
        let later = self.agenda.split_off(&(Time(self.now.0 + 1), 0));
        let now = std::mem::replace(&mut self.agenda, later);
        for event in now.into_values() {
            self.happen(event);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Move(link, way) => self.arrive(link, way),
            Event::Edge(link) => {
                if let Some(what) = self.links[link].near.edge.take() {
                    self.report_edge(link, what);
                }
            }
            Event::LoneEdge(link, what) => self.report_edge(link, what),
            Event::Writable(link) => {
                if let Some(token) = self.links[link].near.token {
                    self.report(Report::Writable(token));
                }
            }
            Event::Decide(link, accepted) => self.decide(link, accepted),
            Event::Accept(index) => self.accept(index),
            Event::Break(link) => self.break_link(link),
            Event::Close(link) => self.close_near(link),
            Event::Woken => self.report(Report::Woken),
        }
    }

    pub fn report(&mut self, report: Report) {
        self.note(format_args!("< {report:?}"));
        self.reports.push(report);
    }

    /// Lets bytes or the end move if there is something to move; called whenever that may have become so.
    pub fn set_moving(&mut self, link: usize, way: Way) {
        let up = match self.links[link].near.dial {
            Dial::Up => true,
            Dial::Queued => way == Way::Near,
            Dial::Pending | Dial::Refused => false,
        };
        let pipe = self.links[link].pipe(way);
        if up && !pipe.moving && !pipe.dead && (pipe.movable() > 0 || pipe.at_end()) {
            pipe.moving = true;
            self.plan_within(self.odds.delay_ms, Event::Move(link, way));
        }
    }

    fn arrive(&mut self, link: usize, way: Way) {
        let pipe = self.links[link].pipe(way);
        pipe.moving = false;
        if pipe.dead {
            return;
        }
        if self.dice.chance(self.odds.reset) {
            self.note(format_args!("! link {link} breaks"));
            self.faults.resets += 1;
            return self.break_link(link);
        }
        let pipe = self.links[link].pipe(way);
        let mut count = pipe.movable();
        if count > 1 && self.dice.chance(self.odds.split) {
            count = self.dice.between(1, count - 1);
            self.faults.splits += 1;
        }
        let joined = self.dice.chance(self.odds.end_with_bytes);
        let pipe = self.links[link].pipe(way);
        pipe.carry(count);
        if pipe.at_end() && (count == 0 || joined) {
            pipe.ended = true;
        }
        let what = if pipe.ended { Readable::More } else { Readable::Bytes };
        let gone = match way {
            Way::Near => !self.links[link].near.open && self.links[link].near.retired,
            Way::Far => self.links[link].far.gone,
        };
        if gone && count > 0 {
            return self.break_link(link);
        }
        let told = way == Way::Near && self.links[link].near.shut;
        self.faults.half_closes[1] += usize::from(told && count > 0);
        match way {
            Way::Near => self.edge(link, what),
            Way::Far => {
                self.far_acts(link);
                self.offer_write(link);
            }
        }
        self.set_moving(link, way);
    }

    /// Something arrived at the near end: it will be reported, perhaps together with what arrives until then.
    pub fn edge(&mut self, link: usize, what: Readable) {
        if !self.links[link].near.watched {
            return;
        }
        if self.dice.chance(self.odds.unwatch) {
            // The edge is lost with the watch; watching again reports what is there.
            self.links[link].near.watched = false;
            let token = self.links[link].near.token.expect("a watched socket has a token");
            return self.report(Report::Unwatched(token));
        }
        let near = &self.links[link].near;
        if near.dial == Dial::Up && near.wants == 0 && self.dice.chance(self.odds.spurious) {
            // Some kernels tell without being asked that a socket can be written to.
            self.plan_within(self.odds.report_ms, Event::Writable(link));
        }
        if self.dice.chance(self.odds.spurious) {
            self.plan_within(20 * (self.odds.report_ms + 1), Event::LoneEdge(link, Readable::Bytes));
        }
        if self.dice.chance(self.odds.unmerged) {
            return self.plan_within(self.odds.report_ms, Event::LoneEdge(link, what));
        }
        let waiting = &mut self.links[link].near.edge;
        let planned = waiting.is_some();
        if *waiting != Some(Readable::More) {
            *waiting = Some(what);
        }
        if !planned {
            self.plan_within(self.odds.report_ms, Event::Edge(link));
        }
    }

    fn report_edge(&mut self, link: usize, what: Readable) {
        // A socket that is retired may still be reported about until its close is: users must cope.
        if let Some(token) = self.links[link].near.token {
            self.report(Report::Readable(token, what));
        }
    }

    /// Gives the write reports that were asked for, if the near end can be written to.
    pub fn offer_write(&mut self, link: usize) {
        if !self.links[link].is_writable() {
            return;
        }
        let merged = !self.dice.chance(self.odds.unmerged);
        let wants = std::mem::take(&mut self.links[link].near.wants);
        for _ in 0..if merged { wants.min(1) } else { wants } {
            self.plan_within(self.odds.report_ms, Event::Writable(link));
        }
    }

    /// Both ends see a reset. What had arrived at the near end may be lost, as some systems do it.
    pub fn break_link(&mut self, link: usize) {
        let lossy = self.dice.chance(500);
        let Link { inward, outward, near, far } = &mut self.links[link];
        if far.broken {
            return;
        }
        far.broken = true;
        far.gone = true;
        inward.kill();
        outward.kill();
        if lossy {
            inward.inbox.clear();
        }
        if near.dial == Dial::Up || near.dial == Dial::Queued {
            near.error = Some(libc::ECONNRESET);
        }
        self.edge(link, Readable::More);
        self.offer_write(link);
    }

    pub fn client_connects(&mut self, index: usize) -> usize {
        let link = self.add_link(Dial::Queued, Behaviour::Hand);
        let port = 20_000 + link as u16;
        self.links[link].near.client = Some(SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), port)));
        self.listener(index).queue.push_back(link);
        self.set_accepting(index);
        link
    }

    fn add_link(&mut self, dial: Dial, behaviour: Behaviour) -> usize {
        let most = self.odds.buffer_bytes;
        let sizes = std::array::from_fn(|_| if most == usize::MAX { most } else { self.dice.size(most) });
        self.links.push(Link::new(sizes, dial, behaviour));
        self.links.len() - 1
    }

    pub fn listener(&mut self, index: usize) -> &mut Listener {
        if self.listeners.len() <= index {
            self.listeners.resize_with(index + 1, Listener::default);
        }
        &mut self.listeners[index]
    }

    pub fn set_accepting(&mut self, index: usize) {
        let listener = self.listener(index);
        if listener.armed && !listener.planned && !listener.queue.is_empty() {
            listener.planned = true;
            self.plan_within(self.odds.delay_ms, Event::Accept(index));
        }
    }

    fn accept(&mut self, index: usize) {
        // An accept that was under way when its listener closed may have been made; it is reported then.
        let late = self.dice.chance(500);
        let listener = &mut self.listeners[index];
        listener.planned = false;
        if listener.closed && !late || !listener.armed {
            return;
        }
        match self.accept_one(index) {
            Ok(None) => return,
            Ok(Some(link)) => self.report(Report::Accepted(index, link)),
            Err(error) if !self.listeners[index].closed => self.report(Report::AcceptFailed(index, error)),
            Err(_) => return,
        }
        self.listeners[index].armed = false;
    }

    /// The link of a client that waits at listener `index`, if one does and it is to be had.
    pub fn accept_one(&mut self, index: usize) -> Result<Option<usize>, i32> {
        if self.dice.chance(self.odds.accept_fails) {
            return Err(libc::EMFILE);
        }
        let Some(link) = self.listeners[index].queue.pop_front() else { return Ok(None) };
        self.links[link].near.dial = Dial::Up;
        self.links[link].near.open = true;
        self.links[link].far.met = Some(self.now);
        Ok(Some(link))
    }

    pub fn set_target(&mut self, address: Address, script: &[Behaviour]) {
        assert!(!script.is_empty(), "a target does something");
        self.targets.retain(|(known, _)| *known != address);
        self.targets.push((address, script.iter().copied().collect()));
    }

    /// Opens a link to `address`; whether and when it connects is on the agenda.
    pub fn dial(&mut self, address: &Address) -> usize {
        let behaviour = match self.targets.iter_mut().find(|(known, _)| known == address) {
            Some((_, script)) if script.len() > 1 => script.pop_front(),
            Some((_, script)) => script.front().copied(),
            None => None,
        };
        let behaviour = behaviour.unwrap_or(Behaviour::Refuse);
        let link = self.add_link(Dial::Pending, behaviour);
        self.links[link].far.address = Some(address.clone());
        self.links[link].near.open = true;
        if behaviour != Behaviour::Silent {
            self.plan_within(self.odds.dial_ms, Event::Decide(link, behaviour != Behaviour::Refuse));
        }
        link
    }

    fn decide(&mut self, link: usize, accepted: bool) {
        let Link { near, far, .. } = &mut self.links[link];
        if near.dial != Dial::Pending || near.retired {
            return;
        }
        near.dial = if accepted && !far.broken { Dial::Up } else { Dial::Refused };
        if near.dial == Dial::Up {
            far.met = Some(self.now);
            self.far_begins(link);
            self.set_moving(link, Way::Near);
        } else {
            near.error = Some(libc::ECONNREFUSED);
            self.faults.refusals += 1;
            far.broken = true;
            far.gone = true;
        }
        self.offer_write(link);
    }

    pub fn dialled(&self) -> Vec<usize> {
        let dialled = |&link: &usize| self.links[link].far.address.is_some();
        (0..self.links.len()).filter(dialled).collect()
    }

    pub fn wake(&mut self) {
        self.plan(Event::Woken);
    }

    pub fn far_write(&mut self, link: usize, bytes: &[u8]) {
        let Link { inward, far, .. } = &mut self.links[link];
        if !inward.ending && !inward.dead {
            inward.wire.extend(bytes);
            far.written.extend(bytes);
            self.set_moving(link, Way::Near);
        }
    }

    pub fn far_read(&mut self, link: usize, most: usize) -> Vec<u8> {
        let Link { outward, far, .. } = &mut self.links[link];
        let count = outward.inbox.len().min(most);
        let bytes: Vec<u8> = outward.inbox.drain(..count).collect();
        far.read.extend(&bytes);
        self.set_moving(link, Way::Far);
        bytes
    }

    pub fn far_shut(&mut self, link: usize) {
        self.links[link].inward.ending = true;
        self.set_moving(link, Way::Near);
    }

    pub fn far_close(&mut self, link: usize) {
        let unread = !self.links[link].outward.inbox.is_empty();
        self.links[link].far.gone = true;
        self.far_shut(link);
        if unread {
            self.plan(Event::Break(link));
        }
    }

    /// The near socket is closed: the far end sees the end behind all bytes, or a break if bytes were left unread.
    pub fn close_near(&mut self, link: usize) {
        let Link { inward, outward, near, .. } = &mut self.links[link];
        near.open = false;
        near.watched = false;
        near.edge = None;
        near.wants = 0;
        outward.ending = true;
        let unread = !inward.inbox.is_empty();
        let token = near.token.take();
        if let Some(token) = token {
            self.tokens.remove(&token.word());
            self.report(Report::Closed(token));
        }
        if unread || self.links[link].near.dial == Dial::Pending {
            self.break_link(link);
        }
        self.set_moving(link, Way::Far);
    }
}
