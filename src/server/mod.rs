//! The process: opens what it needs, starts one shard per core, and stops in order when it is told to.
//!
//! Owns start, signals and stop. Everything that can fail fails before the first client: one line on standard error and
//! a status that says so. It never touches a session.

mod engines;
mod means;

use crate::cli::banner;
use crate::config::Config;
use crate::helpers::Helpers;
use crate::listen;
use crate::observe::counters::Renewals;
use crate::observe::log::{Escaped, Level, Log, say};
use crate::shard::Setup;
use crate::shard::balance::Balance;
use crate::shard::mailbox::{Mailbox, Note};
use crate::sys::signal::Signals;
use crate::sys::{cpu, memory};
use crate::tls::renewal::{Report, Shelf, Watcher};
use engines::Chosen;
use means::Means;
use nix::sys::signal::Signal;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// Exit status when the server could not start or broke.
const FAILURE: u8 = 1;

/// What the main thread waits for.
enum News {
    /// A shard can take clients; its mailbox.
    Ready(Mailbox),
    /// A shard has ended, well or with this message.
    Ended(Result<(), String>),
    /// A signal came.
    Signal(Signal),
}

/// Runs a server until it is told to stop. Returns the exit status.
pub fn run(config: Config) -> u8 {
    let program = config.program.clone();
    match serve(config) {
        Ok(()) => 0,
        Err(message) => {
            say(format!("{program}: {message}"));
            FAILURE
        }
    }
}

fn serve(config: Config) -> Result<(), String> {
    // Sessions are counted in bytes: memory is to follow them, and nothing here walks enough of it to gain by large pages.
    memory::huge_pages(false);
    // Before the first thread, so that all of them leave signals to the one that waits for them.
    let signals = Signals::block().map_err(|error| format!("blocking signals: {error}"))?;
    let means = Means::find(&config)?;
    let (chosen, notice) = engines::choose(config.engine)?;
    let uses_tls = !config.tls.pairs.is_empty() || config.tls.target.is_some();
    let shelf = if uses_tls { Some(Shelf::load(config.tls.clone())?) } else { None };
    let mut listeners =
        listen::open(&config.listen).map_err(|error| format!("Opening socket failed: {error}"))?;
    say(banner::settings(&config).join("\n"));
    let level = if config.verbose { Level::Debug } else { Level::Info };
    let (log, log_thread) = Log::start(level).map_err(|error| format!("starting the log: {error}"))?;
    let material = shelf.as_ref().map(|shelf| Watched::start(shelf, &log)).transpose()?;
    let config = Arc::new(config);
    let sockets = std::mem::take(&mut listeners.sockets);
    let outcome = Crew::start(&config, &means, chosen, sockets, shelf.as_ref(), &log).and_then(|crew| {
        for notice in [notice, means.notice].into_iter().flatten() {
            log.line(Level::Warn, notice);
        }
        log.line(Level::Debug, format!("start engine={chosen} shards={}", crew.shards));
        say(banner::proxying(&config, listeners.port));
        crew.watch(signals, material.as_ref(), &config, &log)
    });
    listeners.close();
    drop(material);
    log.stop(log_thread);
    outcome
}

/// The files of TLS, watched, and what has become of changes.
struct Watched {
    watcher: Watcher,
    renewals: Arc<Renewals>,
}

impl Watched {
    /// Begins to watch, and to report what comes of a change.
    fn start(shelf: &Shelf, log: &Log) -> Result<Watched, String> {
        let warn = |log: &Log, warnings: &[String]| {
            for warning in warnings {
                log.line(Level::Warn, format!("tls warning=\"{}\"", Escaped(warning)));
            }
        };
        warn(log, &shelf.current().warnings);
        let renewals = Arc::<Renewals>::default();
        let (noted, log) = (renewals.clone(), log.clone());
        let report = move |report| match report {
            Report::Renewed(warnings) => {
                noted.note_taken();
                log.line(Level::Info, "tls renewed: new sessions use the new files".into());
                warn(&log, &warnings);
            }
            Report::Kept(reason) => {
                noted.note_failed();
                let reason = Escaped(&reason);
                log.line(Level::Error, format!("tls not renewed, what was there stays: error=\"{reason}\""));
            }
        };
        let watcher = Watcher::start(shelf.clone(), report)
            .map_err(|error| format!("starting the watch of certificates: {error}"))?;
        Ok(Watched { watcher, renewals })
    }
}

/// The shards that run.
struct Crew {
    shards: usize,
    mailboxes: Vec<Mailbox>,
    news: Receiver<News>,
    tell: Sender<News>,
}

impl Crew {
    /// Starts the helpers and all shards, and waits until every one of them can take clients. From here on the shards
    /// alone hold the listeners: when the last one lets go, they close.
    fn start(
        config: &Arc<Config>,
        means: &Means,
        chosen: Chosen,
        sockets: Vec<Arc<OwnedFd>>,
        shelf: Option<&Shelf>,
        log: &Log,
    ) -> Result<Crew, String> {
        let helpers = Helpers::start(config).map_err(|error| format!("starting helpers: {error}"))?;
        let shards = means.cores.len();
        let balance = Balance::new(shards, means.sessions_max);
        let (tell, news) = channel();
        for (number, &core) in means.cores.iter().enumerate() {
            let start = Start {
                number,
                core,
                chosen,
                sockets: sockets.clone(),
                buffer_bytes: means.buffer_bytes,
                config: config.clone(),
                log: log.clone(),
                balance: balance.clone(),
                helpers: helpers.clone(),
                shelf: shelf.cloned(),
                tell: tell.clone(),
            };
            let thread = std::thread::Builder::new().name(format!("shard-{number}"));
            thread.spawn(move || start.run()).map_err(|error| format!("starting a shard: {error}"))?;
        }
        let mut mailboxes = Vec::new();
        while mailboxes.len() < shards {
            match news.recv() {
                Ok(News::Ready(mailbox)) => mailboxes.push(mailbox),
                Ok(News::Ended(Err(message))) => return Err(message),
                Ok(News::Ended(Ok(())) | News::Signal(_)) | Err(_) => {
                    return Err("a shard did not start".into());
                }
            }
        }
        Ok(Crew { shards, mailboxes, news, tell })
    }

    /// Waits until the last shard has ended: by itself never, after a signal soon, after a second signal at once.
    fn watch(
        self,
        signals: Signals,
        material: Option<&Watched>,
        config: &Config,
        log: &Log,
    ) -> Result<(), String> {
        let tell = self.tell.clone();
        let waiting = move || {
            while let Ok(signal) = signals.wait() {
                if tell.send(News::Signal(signal)).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("signals".into());
        thread.spawn(waiting).map_err(|error| format!("starting the signal thread: {error}"))?;
        let mut left = self.shards;
        let mut deadline: Option<Instant> = None;
        while left > 0 {
            let wait = deadline.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()));
            match self.news.recv_timeout(wait) {
                Ok(News::Ended(Ok(()))) => left -= 1,
                Ok(News::Ended(Err(message))) => return Err(message),
                Ok(News::Ready(_)) => {}
                Ok(News::Signal(Signal::SIGTERM | Signal::SIGINT)) if deadline.is_some() => return Ok(()),
                Ok(News::Signal(signal @ (Signal::SIGTERM | Signal::SIGINT))) => {
                    log.line(Level::Info, format!("stop signal={signal}"));
                    deadline = Some(Instant::now() + config.timing.drain);
                    self.mailboxes.iter().for_each(|mailbox| mailbox.put(Note::Stop));
                }
                Ok(News::Signal(Signal::SIGQUIT)) => {
                    self.mailboxes.iter().for_each(|mailbox| mailbox.put(Note::Report));
                    if let Some(material) = material {
                        log.line(Level::Info, format!("report {}", material.renewals));
                    }
                }
                Ok(News::Signal(Signal::SIGHUP)) => {
                    if let Some(material) = material {
                        material.watcher.renew();
                    }
                }
                // Nothing can be reopened yet; dying of these would surprise whoever sends them.
                Ok(News::Signal(_)) => {}
                Err(RecvTimeoutError::Timeout) => {
                    log.line(Level::Warn, format!("stop: {left} shards still had sessions at the deadline"));
                    return Ok(());
                }
                Err(RecvTimeoutError::Disconnected) => return Err("all shards are gone".into()),
            }
        }
        Ok(())
    }
}

/// What a shard's thread is started with.
struct Start {
    number: usize,
    core: Option<usize>,
    chosen: Chosen,
    sockets: Vec<Arc<OwnedFd>>,
    buffer_bytes: usize,
    config: Arc<Config>,
    log: Log,
    balance: Balance,
    helpers: Helpers,
    shelf: Option<Shelf>,
    tell: Sender<News>,
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
        let Start {
            number, chosen, sockets, buffer_bytes, config, log, balance, helpers, shelf, tell, ..
        } = self;
        let listeners = sockets.len();
        let setup = |waker| {
            let mailbox = Mailbox::new(waker);
            let _ = tell.send(News::Ready(mailbox.clone()));
            let replies = mailbox.clone();
            let desk = Box::new(move |key, job| {
                let replies = replies.clone();
                helpers.ask(job, Box::new(move |verdict| replies.put(Note::Verdict(key, verdict))));
            });
            Setup { number, listeners, config, log, balance, shelf, mailbox, desk }
        };
        engines::run(chosen, sockets, buffer_bytes, setup)
    }
}
