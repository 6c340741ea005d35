//! The shards of a process: started together, each on a thread of its own.
//!
//! Owns their threads, and what the main thread needs to speak with them. What it does while they run is `watch`'s.

use super::Parts;
use super::engines::{self, Bench};
use super::watch::{News, hear};
use crate::config::Config;
use crate::helpers::Helpers;
use crate::observe::log::{Level, Log};
use crate::shard::Setup;
use crate::shard::balance::Balance;
use crate::shard::mailbox::{Mailbox, Note};
use crate::shard::sources::Sources;
use crate::shard::tap::Taps;
use crate::sys::signal::Signals;
use crate::sys::socket::Listener;
use crate::sys::{cpu, turns};
use crate::tls::renewal::Shelf;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// A shard's turns on its core, the shortest that Linux knows: a helper that works there may take ten times as long for its own.
const SHARD_TURN: Duration = Duration::from_micros(100);

/// Where clients come in.
pub(super) struct Gate {
    pub(super) sockets: Vec<Arc<Listener>>,
    /// One that somebody else accepted, and then nobody besides.
    pub(super) only: Option<(OwnedFd, Option<SocketAddr>)>,
}

/// The shards that run.
pub(super) struct Shards {
    /// How many there are.
    pub(super) count: usize,
    /// When their clock began.
    pub(super) began: Instant,
    pub(super) balance: Balance,
    pub(super) mailboxes: Vec<Mailbox>,
    pub(super) news: Receiver<News>,
    pub(super) tell: Sender<News>,
    pub(super) helpers: Helpers,
    /// Behind each of these a shard waits for the word that clients may be let in.
    doors: Vec<Sender<()>>,
    /// A signal has told it to stop before anybody was let in.
    pub(super) stopped: bool,
}

impl Shards {
    /// Starts the helpers, the thread that hears `signals`, and all shards, and waits until every one of them stands. From here
    /// on the shards alone hold the listeners: when the last one lets go, they close. They take clients from
    /// [`Shards::admit`] on, so that a start that fails before has let nobody in.
    pub(super) fn start(
        config: &Arc<Config>,
        parts: &Parts,
        mut gate: Gate,
        signals: Signals,
        log: &Log,
    ) -> Result<Shards, String> {
        let Parts { means, chosen, shelf, taps, .. } = parts;
        let (tell, news) = channel();
        // A plugin may take its time: who is told to stop meanwhile lets nobody in.
        hear(signals, tell.clone())?;
        let helpers = Helpers::start(config, log).map_err(|error| error.to_string())?;
        let began = Instant::now();
        // One client needs no more than one shard.
        let shards = if gate.only.is_some() { 1 } else { means.cores.len() };
        let balance = Balance::new(shards, means.sessions_max);
        let sources = Sources::new(config.source_sessions_max);
        let mut doors = Vec::new();
        for (number, &core) in means.cores.iter().take(shards).enumerate() {
            let (open, door) = channel();
            doors.push(open);
            let start = Start {
                number,
                core,
                bench: Bench {
                    chosen: *chosen,
                    listeners: gate.sockets.clone(),
                    only: gate.only.take(),
                    buffer_bytes: means.buffer_bytes,
                    began,
                },
                config: config.clone(),
                log: log.clone(),
                balance: balance.clone(),
                sources: sources.clone(),
                helpers: helpers.clone(),
                shelf: shelf.clone(),
                taps: taps.clone(),
                tell: tell.clone(),
                door,
            };
            let thread = std::thread::Builder::new().name(format!("shard-{number}"));
            thread.spawn(move || start.run()).map_err(|error| format!("starting a shard: {error}"))?;
        }
        // Signals are for whoever watches, once everything runs.
        let (mut mailboxes, mut kept) = (Vec::new(), Vec::new());
        while mailboxes.len() < shards {
            match news.recv() {
                Ok(News::Ready(mailbox)) => mailboxes.push(mailbox),
                Ok(signal @ News::Signal(_)) => kept.push(signal),
                Ok(News::Ended(Err(message))) => return Err(message),
                Ok(_) | Err(_) => return Err("a shard did not start".into()),
            }
        }
        let stopped = kept.iter().any(News::is_stop);
        kept.into_iter().for_each(|signal| drop(tell.send(signal)));
        Ok(Shards { count: shards, began, balance, mailboxes, news, tell, helpers, doors, stopped })
    }

    /// Has shards that have let nobody in end.
    pub(super) fn shut(&mut self) {
        self.doors.clear();
    }

    /// Has clients taken from here on.
    pub(super) fn admit(&self) {
        // One that has ended meanwhile has said so.
        self.doors.iter().for_each(|door| door.send(()).unwrap_or_default());
    }
}

impl Drop for Shards {
    /// Shards may hold on to their sessions; what was started for them ends all the same.
    fn drop(&mut self) {
        self.helpers.stop();
    }
}

/// What a shard's thread is started with.
struct Start {
    number: usize,
    core: Option<usize>,
    bench: Bench,
    config: Arc<Config>,
    log: Log,
    balance: Balance,
    sources: Sources,
    helpers: Helpers,
    shelf: Option<Shelf>,
    taps: Taps,
    tell: Sender<News>,
    /// A word comes when clients may be let in; none, and its end, when the start has failed.
    door: Receiver<()>,
}

impl Start {
    fn run(self) {
        let (number, tell) = (self.number, self.tell.clone());
        let outcome = catch_unwind(AssertUnwindSafe(|| self.serve()));
        // A shard that panicked outside of a session takes the process down: half a server is worse than none.
        let outcome = outcome.unwrap_or_else(|_| Err("panicked".into()));
        let _ = tell.send(News::Ended(outcome.map_err(|message| format!("shard {number}: {message}"))));
    }

    fn serve(self) -> Result<(), String> {
        if let Some(core) = self.core
            && let Err(error) = cpu::pin(core)
        {
            self.log.line(
                Level::Warn,
                format!("shard={} could not be pinned to core {core}: {error}", self.number),
            );
        }
        if let Err(error) = turns::shorten(SHARD_TURN) {
            self.log
                .line(Level::Debug, format!("shard={} has turns of the usual length: {error}", self.number));
        }
        let Start { number, bench, config, log, balance, sources, helpers, shelf, taps, tell, door, .. } =
            self;
        let listeners = bench.listeners.len();
        let setup = |waker| {
            let mailbox = Mailbox::new(waker);
            let _ = tell.send(News::Ready(mailbox.clone()));
            door.recv().ok()?;
            let replies = mailbox.clone();
            let desk = Box::new(move |key, job| {
                let replies = replies.clone();
                helpers.ask(job, Box::new(move |verdict| replies.put(Note::Verdict(key, verdict))));
            });
            Some(Setup { number, listeners, config, log, balance, sources, shelf, taps, mailbox, desk })
        };
        engines::run(bench, setup)
    }
}
