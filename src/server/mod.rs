//! The process: opens what it needs, starts one shard per core, and stops in order when it is told to.
//!
//! Owns start, signals and stop. Everything that can fail fails before the first client: one line on standard error and
//! a status that says so. It never touches a session.

mod check;
mod crew;
mod daemon;
mod engines;
mod life;
mod means;
mod opened;
mod pid_file;

use crate::cli::banner;
use crate::config::Config;
use crate::observe::counters::Renewals;
use crate::observe::log::{Escaped, Level, Log, say};
use crate::shard::tap::Taps;
use crate::sys::memory;
use crate::sys::signal::Signals;
use crate::tls::renewal::{Report, Shelf, Watcher};
use crate::wrap::Plan;
use crew::{Crew, Gate};
use daemon::{Begun, Readiness};
use means::Means;
use opened::Opened;
use std::sync::Arc;

/// What is said to `--libserver`, in websockify's words as far as they are true.
const LIBSERVER: &str =
    "warning: option libserver ignored: there is one engine, and it ignores no other option";

/// Exit status when the server could not start or broke.
const FAILURE: u8 = 1;

/// Runs a server until it is told to stop. Returns the exit status.
pub fn run(config: Config) -> u8 {
    if config.process.check {
        return check::run(&config);
    }
    let program = config.program.clone();
    let fail = |message| {
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

fn serve(mut config: Config, ready: &mut Readiness) -> Result<u8, String> {
    // Sessions are counted in bytes: memory is to follow them, and nothing here walks enough of it to gain by large pages.
    memory::huge_pages(false);
    // Before the first thread, so that all of them leave signals to the one that waits for them.
    let signals = Signals::block().map_err(|error| format!("blocking signals: {error}"))?;
    let files = memory::descriptors().map_err(|error| format!("descriptor limit: {error}"))?;
    let Opened { shelf, mut listeners, places, pid_file } = Opened::all(&config)?;
    // Only now: what root may have is not what counts.
    let means = Means::find(&config)?;
    let (chosen, notice) = engines::choose(config.engine)?;
    let settings = banner::settings(&config).join("\n");
    say(&settings);
    let level = if config.verbose { Level::Debug } else { Level::Info };
    let (log, log_thread) =
        Log::start(level, places).map_err(|error| format!("starting the log: {error}"))?;
    log.said(Level::Info, &settings);
    let material = shelf.as_ref().map(|shelf| Watched::start(shelf, &log)).transpose()?;
    let taps = Taps::start(&config, &log)?;
    let target = config.target.as_ref();
    let wrapped = config.wrap.as_ref().map(|wrap| Plan::prepare(wrap, listeners.port, target, files, &log));
    let wrapped = wrapped.transpose()?;
    if let Some(plan) = &wrapped {
        config.target = plan.target().cloned();
    }
    let config = Arc::new(config);
    let gate = Gate { sockets: std::mem::take(&mut listeners.sockets), only: listeners.only.take() };
    let crew =
        ready.near().and_then(|()| Crew::start(&config, &means, chosen, gate, shelf.as_ref(), &taps, &log));
    let outcome = crew.and_then(|crew| {
        let libserver = config.process.libserver.then(|| LIBSERVER.to_owned());
        for notice in [notice, means.notice, libserver].into_iter().flatten() {
            log.line(Level::Warn, notice);
        }
        log.line(Level::Debug, format!("start engine={chosen} shards={}", crew.shards));
        let program = wrapped.map(|plan| crew.start_program(plan, &log)).transpose()?;
        let proxying = banner::proxying(&config, listeners.port);
        say(&proxying);
        log.said(Level::Info, &proxying);
        ready.reached();
        crew.watch(signals, material.as_ref(), &taps, program, &config, &log)
    });
    listeners.close();
    drop(material);
    taps.finish(&log);
    drop(pid_file);
    if let Err(message) = &outcome {
        // Standard error hears it at the very end, when nothing else is said any more.
        log.said(Level::Error, message);
    }
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
