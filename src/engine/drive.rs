//! The engine itself: tries, parks and resumes, over whatever kernel it is given.
//!
//! # Contract
//! 1. One completion for every submission, also after a cancel; that of [`Engine::send_now`] may be its answer.
//! 2. At most one receive and one send in flight per socket: nothing is reordered.
//! 3. `receive` takes no buffer. When bytes are there, `Received` brings a lease on the hot buffer, never empty, with
//!    headroom in front. An idle socket owns no memory. `receive_unseen` may bring a lease on a pipe instead (`splice`).
//! 4. `send` takes the lease. The kernel is tried at once; what it does not take is kept in a chunk of its size, or in its
//!    pipe, and `Sent` comes when all has gone; where there is no memory for it, `Failed`.
//! 5. Completions are taken one at a time with [`Engine::take`]; nothing completes inside a submission but what
//!    [`Engine::send_now`] says.
//! 6. When the pool is at its ceiling, or the system gives no memory, receives wait, in order, until memory comes back.
//! 7. Closing with something in flight is a bug and asserts: cancel, join, then close.
//!
//! Fairness: a socket that may have more to read goes to the back of the run queue after each receive, and a turn ends
//! after a bounded number of completions, and of bytes, so that new readiness and deadlines are seen. Who does more with what
//! came than pass it on charges that ([`Engine::charge`]). Behind a turn that was used up so the next begins with a round: one try
//! of each receive that is ready by then. The one behind a round begins with what is done, so neither shuts the other out.

use super::entry::Entry;
use super::splice::{Measure, Pipes};
use super::{Completion, Kernel, Moved, Operation, Readable, Ready, Token};
use crate::limits::{COMPLETIONS_PER_TURN, EVENTS_PER_TURN, HOT_BYTES, TURN_BYTES};
use crate::pool::{Lease, Pool};
use crate::slab::Pages;
use crate::sys::address::Address;
use crate::sys::prefetch::prefetch;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

/// Work submitted to a kernel and what came of it, for one shard.
pub struct Engine<K: Kernel> {
    pub(super) kernel: K,
    pub(super) pool: Pool,
    pub(super) pipes: Pipes<K::Pipe>,
    pub(super) measure: Measure,
    /// Two entries a slot, see [`Token::place`].
    pub(super) sockets: Pages<Entry<K::Socket>>,
    /// Completions not yet taken.
    pub(super) done: VecDeque<Completion<K::Socket>>,
    /// Places whose receive is to be tried, each at most once (`Entry::queued`). Places, not tokens: what stands there
    /// when its turn comes is what counts.
    run: VecDeque<usize>,
    /// Places whose receive waits for memory, in order, each at most once (`Entry::queued` too).
    starved: VecDeque<usize>,
    /// Filled by the kernel, emptied at once; kept for its capacity.
    ready: Vec<Ready<K::Socket>>,
    /// Completions and received bytes that may still be taken in this turn.
    budget: usize,
    pub(super) bytes_budget: usize,
    /// A charge has ended this turn; and it began with a round.
    spent: bool,
    round: bool,
    /// Receives of the round that are still to be tried.
    first: usize,
    /// What was moved since the kernel was last asked.
    moved: Moved,
    starved_count: u64,
}

impl<K: Kernel> Engine<K> {
    /// An engine over `kernel` that receives into leases of `pool`.
    pub fn new(kernel: K, pool: Pool) -> Engine<K> {
        Engine {
            kernel,
            pool,
            pipes: Pipes::default(),
            measure: Measure::default(),
            sockets: Pages::default(),
            done: VecDeque::new(),
            run: VecDeque::new(),
            starved: VecDeque::new(),
            ready: Vec::with_capacity(EVENTS_PER_TURN),
            budget: COMPLETIONS_PER_TURN,
            bytes_budget: TURN_BYTES,
            spent: false,
            round: false,
            first: 0,
            moved: Moved::default(),
            starved_count: 0,
        }
    }

    /// The buffers it receives into.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The kernel below, for what is not a submission (wakers, a simulator's world).
    pub fn kernel(&mut self) -> &mut K {
        &mut self.kernel
    }

    /// The slot whose receive is likely to be tried next.
    pub fn next_slot(&self) -> Option<u32> {
        self.run.front().map(|&place| (place / 2) as u32)
    }

    /// Whether a receive waits for memory.
    pub fn is_starving(&self) -> bool {
        !self.starved.is_empty()
    }

    /// How often a receive had to wait for memory.
    pub fn starved(&self) -> u64 {
        self.starved_count
    }

    /// Accepts one client on listener `index`; completes with `Accepted` or `AcceptFailed`.
    pub fn arm_accept(&mut self, index: usize) {
        self.kernel.arm_accept(index);
    }

    /// Takes one more client of listener `index`, if one waits: where one came others often did, and an accept that is
    /// armed brings one a turn.
    pub fn accept(&mut self, index: usize) -> io::Result<Option<(K::Socket, Option<SocketAddr>)>> {
        match self.kernel.accept(index) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            outcome => outcome.map(Some),
        }
    }

    /// Stops accepting on listener `index`, for good.
    pub fn close_listener(&mut self, index: usize) {
        self.kernel.close_listener(index);
    }

    /// Takes an accepted socket in under `token`.
    pub fn adopt(&mut self, token: Token, socket: K::Socket) -> io::Result<()> {
        self.kernel.watch(token, &socket)?;
        let local = self.kernel.is_local(&socket);
        let entry = self.vacant(token);
        (entry.socket, entry.unsure) = (Some(socket), local);
        Ok(())
    }

    /// Opens a socket under `token` and connects it. Completes with `Connected` or `Failed`.
    #[inline(never)]
    pub fn connect(&mut self, token: Token, address: &Address) {
        let opened = self.kernel.connect(token, address);
        let local = opened.as_ref().is_ok_and(|socket| self.kernel.is_local(socket));
        let entry = self.vacant(token);
        match opened {
            Ok(socket) => {
                (entry.socket, entry.connecting, entry.wanted) = (Some(socket), true, true);
                entry.unsure = local;
            }
            Err(error) => self.done.push_back(Completion::Failed(token, Operation::Connect, error)),
        }
    }

    /// Receives up to `most` bytes, at least one and at most a hot buffer. Completes with `Received`, `Ended` or `Failed`.
    pub fn receive(&mut self, token: Token, most: usize) {
        let entry = self.entry(token);
        assert!(entry.receiving.is_none(), "one receive in flight per socket");
        debug_assert!(most > 0, "a receive takes something");
        (entry.receiving, entry.unseen) = (NonZeroU32::new(most.min(HOT_BYTES) as u32), false);
        if entry.readable {
            self.enqueue(token);
        }
    }

    /// Has the system find out when the other end of `token`, which is connected, is gone: five calls that a short session need
    /// not have.
    #[inline(never)]
    pub fn keep(&mut self, token: Token) {
        let entry = &self.sockets[token.place()];
        if let Some(socket) = &entry.socket {
            self.kernel.keep(socket);
        }
    }

    /// Says end of stream to the other end of `token`.
    #[inline(never)]
    pub fn shut(&mut self, token: Token) {
        let entry = &self.sockets[token.place()];
        if let Some(socket) = &entry.socket {
            self.kernel.shut(socket);
        }
    }

    /// Gives up what is in flight on `token`; each part completes with `Cancelled`.
    #[inline(never)]
    pub fn cancel(&mut self, token: Token) {
        let entry = &mut self.sockets[token.place()];
        debug_assert_eq!(entry.token, Some(token));
        let in_flight = [
            (entry.receiving.take().is_some(), Operation::Receive),
            (std::mem::take(&mut entry.sending), Operation::Send),
            (std::mem::take(&mut entry.connecting), Operation::Connect),
        ];
        entry.parked = None;
        for (_, operation) in in_flight.into_iter().filter(|(flying, _)| *flying) {
            self.done.push_back(Completion::Cancelled(token, operation));
        }
    }

    /// Closes `token`. Completes with `Closed`; then the token may be used again.
    ///
    /// # Panics
    /// If something is in flight.
    #[inline(never)]
    pub fn close(&mut self, token: Token) {
        let entry = self.entry(token);
        assert!(
            entry.receiving.is_none() && !entry.sending && !entry.connecting,
            "close with work in flight"
        );
        assert!(!entry.closing, "closed twice");
        entry.closing = true;
        let wanted = entry.wanted;
        match entry.socket.take() {
            Some(socket) => self.kernel.retire(token, socket, wanted),
            None => self.closed(token),
        }
    }

    /// Ends a turn and begins the next: waits up to `wait` for the kernel, unless something can be done already.
    pub fn wait(&mut self, wait: Option<Duration>) -> io::Result<()> {
        self.kernel.moved(std::mem::take(&mut self.moved));
        (self.budget, self.bytes_budget) = (COMPLETIONS_PER_TURN, TURN_BYTES);
        self.pipes.see_to(&self.pool);
        let fed = self.is_starving() && self.pool.allowance() > 0;
        let busy = fed || !self.done.is_empty() || !self.run.is_empty();
        let wait = if busy { Some(Duration::ZERO) } else { wait };
        let mut ready = std::mem::take(&mut self.ready);
        let outcome = self.kernel.turn(wait, &mut ready);
        for report in ready.drain(..) {
            self.take_report(report);
        }
        self.ready = ready;
        self.round = std::mem::take(&mut self.spent) && !self.round;
        self.first = if self.round { self.run.len() } else { 0 };
        outcome
    }

    /// What was just done with what came cost as much as receiving so many `bytes` more; a turn that has no more is over.
    pub fn charge(&mut self, bytes: usize) {
        self.bytes_budget = self.bytes_budget.saturating_sub(bytes);
        if self.bytes_budget == 0 {
            (self.budget, self.spent) = (0, true);
        }
    }

    /// The next completion of this turn; `None` when the turn is over.
    pub fn take(&mut self) -> Option<Completion<K::Socket>> {
        self.budget = self.budget.checked_sub(1)?;
        loop {
            if self.first > 0 {
                self.first -= 1;
            } else if let Some(completion) = self.done.pop_front() {
                return Some(completion);
            }
            if self.bytes_budget == 0 {
                return None;
            }
            let place = self.next_place()?;
            if let Some(next) = self.run.front().and_then(|&next| self.sockets.get(next)) {
                prefetch(next);
            }
            if let Some(completion) = self.try_receive(place) {
                return Some(completion);
            }
        }
    }

    fn take_report(&mut self, report: Ready<K::Socket>) {
        match report {
            Ready::Readable(token, what) => {
                let Some(entry) = self.known(token) else { return };
                entry.readable = true;
                entry.unsure |= what == Readable::More;
                if entry.receiving.is_some() {
                    self.enqueue(token);
                }
            }
            Ready::Writable(token) => {
                let Some(entry) = self.known(token) else { return };
                entry.wanted = false;
                match entry {
                    Entry { connecting: true, .. } => self.decide_connect(token),
                    Entry { sending: true, .. } => {
                        let went = self.resume(token);
                        self.moved.sent(went);
                    }
                    _ => {}
                }
            }
            Ready::Accepted(index, socket, client) => {
                self.done.push_back(Completion::Accepted(index, socket, client));
            }
            Ready::AcceptFailed(index, error) => self.done.push_back(Completion::AcceptFailed(index, error)),
            Ready::Unwatched(token) => self.watch_again(token),
            Ready::Closed(token) => self.closed(token),
            Ready::Woken => self.done.push_back(Completion::Woken),
        }
    }

    /// Watching ended by itself (an overflowing queue does that): edges may have been missed, so read and write once in any
    /// case.
    #[inline(never)]
    fn watch_again(&mut self, token: Token) {
        let Some(entry) = self.known(token) else { return };
        entry.readable = true;
        let (armed, stuck) = (entry.receiving.is_some(), entry.parked.is_some());
        if let Some(socket) = &self.sockets[token.place()].socket
            && let Err(error) = self.kernel.watch(token, socket)
        {
            // What has arrived can still be read; after that nobody would tell about more.
            let entry = &mut self.sockets[token.place()];
            (entry.unsure, entry.blind) = (true, Some(error));
        }
        if armed {
            self.enqueue(token);
        }
        if stuck {
            self.resume(token);
        }
    }

    #[inline(never)]
    fn decide_connect(&mut self, token: Token) {
        let entry = &mut self.sockets[token.place()];
        let socket = entry.socket.as_ref().expect("a connecting socket is open");
        entry.connecting = false;
        self.done.push_back(match self.kernel.connected(token, socket) {
            Ok(()) => Completion::Connected(token),
            Err(error) => Completion::Failed(token, Operation::Connect, error),
        });
    }

    /// Tries the receive that is armed at `place`; `None` when there is none, no bytes, or no memory.
    fn try_receive(&mut self, place: usize) -> Option<Completion<K::Socket>> {
        let entry = &mut self.sockets[place];
        entry.queued = false;
        let (token, most) = (entry.token?, entry.receiving?);
        if !entry.readable {
            return None;
        }
        let most = (most.get() as usize).min(self.pool.allowance());
        if most == 0 {
            self.starve(place);
            return None;
        }
        let outcome = self.splice_in(place, most).unwrap_or_else(|| self.copy_in(place, most));
        let completion = match outcome {
            Ok(lease) if lease.size() == 0 => Completion::Ended(token),
            Ok(lease) => {
                self.bytes_budget = self.bytes_budget.saturating_sub(lease.size());
                self.moved.received(lease.size(), lease.piped() > 0);
                Completion::Received(token, lease)
            }
            Err(error) => Completion::Failed(token, Operation::Receive, self.refused(token, error)?),
        };
        let entry = &mut self.sockets[place];
        entry.receiving = None;
        Some(completion)
    }

    /// What of `error`, with which a receive ended, ends the stream.
    #[inline(never)]
    fn refused(&mut self, token: Token, error: io::Error) -> Option<io::Error> {
        let entry = &mut self.sockets[token.place()];
        match error.kind() {
            io::ErrorKind::WouldBlock => {
                let blind = entry.blind.take();
                entry.readable &= blind.is_some();
                blind
            }
            io::ErrorKind::Interrupted => {
                self.enqueue(token);
                None
            }
            _ => Some(error),
        }
    }

    #[inline(never)]
    fn starve(&mut self, place: usize) {
        self.sockets[place].queued = true;
        self.starved.push_back(place);
        self.starved_count += 1;
    }

    /// Receives into the hot buffer.
    fn copy_in(&mut self, place: usize, most: usize) -> io::Result<Lease> {
        let entry = &mut self.sockets[place];
        let socket = entry.socket.as_ref().expect("a receiving socket is open");
        let mut lease = self.pool.hot();
        let count = self.kernel.receive(socket, &mut lease.spare_mut()[..most])?;
        entry.readable = count == most || entry.unsure;
        entry.bulk.copied(count, self.measure);
        lease.extend_filled(count);
        Ok(lease)
    }

    #[inline(never)]
    fn closed(&mut self, token: Token) {
        let entry = &mut self.sockets[token.place()];
        if entry.token == Some(token) {
            // The place may still stand in a queue; the mark keeps it from standing there twice.
            *entry = Entry { queued: entry.queued, ..Entry::default() };
            self.done.push_back(Completion::Closed(token));
        }
    }

    /// Whose receive is tried next: as soon as there is memory again, those who waited for it go before all others.
    fn next_place(&mut self) -> Option<usize> {
        let fed = if self.pool.allowance() > 0 { self.starved.pop_front() } else { None };
        fed.or_else(|| self.run.pop_front())
    }

    fn enqueue(&mut self, token: Token) {
        let place = token.place();
        if !std::mem::replace(&mut self.sockets[place].queued, true) {
            self.run.push_back(place);
        }
    }

    /// The entry of `token`, which must be the one that is open there.
    pub(super) fn entry(&mut self, token: Token) -> &mut Entry<K::Socket> {
        let entry = &mut self.sockets[token.place()];
        assert_eq!(entry.token, Some(token), "a token is used while its socket is open");
        entry
    }

    /// The entry of `token`, unless the report is about a socket that is gone.
    fn known(&mut self, token: Token) -> Option<&mut Entry<K::Socket>> {
        self.sockets.get_mut(token.place()).filter(|entry| entry.token == Some(token) && !entry.closing)
    }

    fn vacant(&mut self, token: Token) -> &mut Entry<K::Socket> {
        let place = token.place();
        self.sockets.reach(place);
        let entry = &mut self.sockets[place];
        assert!(entry.token.is_none(), "a token is used for one socket at a time");
        entry.token = Some(token);
        entry
    }
}
