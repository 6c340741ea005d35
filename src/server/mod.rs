//! The process: opens what it needs, starts one shard per core, and stops in order when it is told to.
//!
//! Owns start, signals and stop. Everything that can fail fails before the banner is said: one line on standard error and
//! a status that says so. It never touches a session.

mod check;
mod daemon;
mod engines;
mod life;
mod means;
mod opened;
mod pid_file;
mod renewals;
mod shards;
mod watch;

use crate::cli::{banner, judge_target};
use crate::config::{Config, Verbosity};
use crate::observe::log::{Level, Log, Places, one_line, say};
use crate::shard::tap::Taps;
use crate::sys::memory;
use crate::sys::signal::Signals;
use crate::tls::material;
use crate::tls::renewal::Shelf;
use crate::wrap::Plan;
use daemon::{Begun, Readiness};
use engines::Chosen;
use means::Means;
use opened::Opened;
use renewals::Watched;
use shards::{Gate, Shards};
use std::sync::Arc;

/// What is said to `--libserver`, in websockify's words as far as they are true.
const LIBSERVER: &str =
    "warning: option libserver ignored: there is one engine, and it ignores no other option";

/// What is said when there is nobody left whom to tell that clients can connect.
const STARTER_GONE: &str = "--daemon: whoever started it was ended before it was ready";

/// Exit status when the server could not start or broke.
const FAILURE: u8 = 1;

/// Runs a server until it is told to stop. Returns the exit status.
pub fn run(config: Config) -> u8 {
    if config.process.check {
        return check::run(&config);
    }
    let program = config.program.clone();
    let fail = |message: String| {
        let message = one_line(&message);
        say(&format!("{program}: {message}"));
        FAILURE
    };
    let mut ready = match daemon::begin(&config) {
        Ok(Begun::Server(ready)) => ready,
        Ok(Begun::Starter(status)) => return status,
        Err(message) => return fail(message),
    };
    let status = serve(config, &mut ready).unwrap_or_else(fail);
    ready.failed(status);
    status
}

fn serve(config: Config, ready: &mut Readiness) -> Result<u8, String> {
    // Sessions are counted in bytes: memory is to follow them, and nothing here walks enough of it to gain by large pages.
    memory::huge_pages(false);
    // Before the first thread, so that all of them leave signals to the one that waits for them.
    let signals = Signals::block().map_err(|error| format!("blocking signals: {error}"))?;
    let files = memory::descriptors().map_err(|error| format!("descriptor limit: {error}"))?;
    let (places, outcome) = opened::places(&config);
    let opened = match outcome.and_then(|()| Opened::all(&config)) {
        Ok(opened) => opened,
        Err(message) => {
            tell(places, &message);
            return Err(message);
        }
    };
    let level = match config.verbosity {
        Verbosity::Quiet => Level::Warn,
        Verbosity::Usual => Level::Info,
        Verbosity::Verbose => Level::Debug,
    };
    let (log, log_thread) = Log::start(level, means::shards(&config), places)
        .map_err(|error| format!("starting the log: {error}"))?;
    let outcome = serve_opened(config, ready, signals, files, opened, &log);
    if let Err(message) = &outcome {
        // Standard error hears it at the very end, when nothing else is said any more.
        log.said(Level::Error, &one_line(message));
    }
    log.stop(log_thread);
    outcome
}

/// Tells places that are open already why there is no more to come. Standard error hears it at the very end.
fn tell(places: Places, message: &str) {
    // What cannot be told there is told here all the same.
    if let Ok((log, thread)) = Log::start(Level::Error, 0, places) {
        log.said(Level::Error, &one_line(message));
        log.stop(thread);
    }
}

/// Tells standard error at once, and the other places too.
fn tell_all(text: &str, log: &Log) {
    say(text);
    log.said(Level::Info, text);
}

/// Serves with what is open, and takes it away again. Whatever goes wrong in here the log hears.
fn serve_opened(
    config: Config,
    ready: &mut Readiness,
    signals: Signals,
    files: u64,
    mut opened: Opened,
    log: &Log,
) -> Result<u8, String> {
    let parts = Parts::find(&config, opened.shelf.take(), log);
    let outcome = match &parts {
        Ok(parts) => parts.run(config, ready, signals, files, &mut opened, log),
        Err(message) => Err(message.clone()),
    };
    let rest = opened.close();
    if let Ok(parts) = parts {
        drop(parts.material);
        parts.taps.finish(log);
    }
    for left in rest.end() {
        log.line(Level::Warn, left.to_string());
    }
    outcome
}

/// What shards are started with.
struct Parts {
    means: Means,
    chosen: Chosen,
    /// What an operator should know about the engine.
    notice: Option<String>,
    shelf: Option<Shelf>,
    material: Option<Watched>,
    taps: Taps,
}

impl Parts {
    /// Finds and starts what shards are started with.
    fn find(config: &Config, shelf: Option<Shelf>, log: &Log) -> Result<Parts, String> {
        // Only now: what root may have is not what counts.
        let means = Means::find(config)?;
        let (chosen, notice) = engines::choose(config.engine)?;
        let material = shelf.as_ref().map(|shelf| Watched::start(shelf, log)).transpose()?;
        let taps = Taps::start(config, log)?;
        Ok(Parts { means, chosen, notice, shelf, material, taps })
    }

    /// Starts shards and wrapped program, and waits for the end.
    fn run(
        &self,
        mut config: Config,
        ready: &mut Readiness,
        signals: Signals,
        files: u64,
        opened: &mut Opened,
        log: &Log,
    ) -> Result<u8, String> {
        let Parts { means, chosen, material, taps, .. } = self;
        let listeners = &mut opened.listeners;
        let target = config.target.as_ref();
        let prepare = |wrap| Plan::prepare(wrap, listeners.port, target, files, log);
        let wrapped = config.wrap.as_ref().map(prepare).transpose()?;
        if let Some(plan) = &wrapped {
            config.target = plan.target().cloned();
            // Only now it is known.
            let target = config.target.as_ref();
            target.map_or(Ok(()), |target| judge_target(&config.route.reach, target))?;
        }
        let config = Arc::new(config);
        let gate = Gate { sockets: std::mem::take(&mut listeners.sockets), only: listeners.only.take() };
        ready.near()?;
        let mut shards = Shards::start(&config, self, gate, signals, log)?;
        log.line(Level::Debug, format!("start engine={chosen} shards={}", shards.count));
        let wrapped = wrapped.filter(|_| !shards.stopped);
        let program = wrapped.map(|plan| shards.start_program(plan, log)).transpose()?;
        if shards.stopped {
            let outcome = shards.watch(material.as_ref(), taps, program, &config, log);
            return outcome.and_then(|status| ready.given_up(status));
        }
        // Only now nothing is left that could fail: a start that does is one line, and has let nobody in.
        shards.admit();
        tell_all(&banner::settings(&config).join("\n"), log);
        let libserver = config.process.libserver.then(|| LIBSERVER.to_owned());
        let notices = [self.notice.clone(), means.notice.clone(), libserver];
        let notices = notices.into_iter().flatten().chain(material::unused(&config.tls));
        let notices = notices.chain(config.process.doubts.iter().cloned());
        for notice in notices.chain(listeners.notices.drain(..)) {
            log.line(Level::Warn, notice);
        }
        tell_all(&banner::proxying(&config, listeners.port), log);
        match ready.reached() {
            true => opened.settle(),
            false => {
                log.line(Level::Error, STARTER_GONE.to_owned());
                shards.give_up();
            }
        }
        shards.watch(material.as_ref(), taps, program, &config, log)
    }
}
