//! What the main thread does while shards run: it waits, and sees to what comes.
//!
//! Owns what follows from signals, time that has passed, the start and the end of a wrapped program, and shards that have
//! ended. It never touches a session.

use super::FAILURE;
use super::life::Life;
use super::renewals::Watched;
use super::shards::Shards;
use crate::config::Config;
use crate::limits::{STOP_CUT_MS, WRAP_KILL_MS, WRAP_START_MS};
use crate::observe::log::{Level, Log};
use crate::shard::mailbox::{Mailbox, Note};
use crate::shard::tap::Taps;
use crate::sys::signal::Signals;
use crate::wrap::{self, Plan, Program};
use nix::sys::signal::Signal;
use std::sync::mpsc::{RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

/// What the main thread waits for.
pub(super) enum News {
    /// A shard can take clients; its mailbox.
    Ready(Mailbox),
    /// A shard has ended, well or with this message.
    Ended(Result<(), String>),
    /// A signal came.
    Signal(Signal),
    /// Whoever it was started for has gone.
    GivenUp,
    /// The wrapped program runs, or cannot be started.
    Begun(Result<(), String>),
    /// The wrapped program has ended, and the server with it: the status to pass on.
    Program(u8),
    /// The wrapped program has been ended, with all it had started.
    ProgramGone,
}

impl News {
    /// Whether it is a signal to stop.
    pub(super) fn is_stop(&self) -> bool {
        matches!(self, News::Signal(Signal::SIGTERM | Signal::SIGINT))
    }
}

/// Has signals heard from here on.
pub(super) fn hear(signals: Signals, tell: Sender<News>) -> Result<(), String> {
    let waiting = move || {
        while let Ok(signal) = signals.wait() {
            if tell.send(News::Signal(signal)).is_err() {
                return;
            }
        }
    };
    let thread = std::thread::Builder::new().name("signals".into());
    thread.spawn(waiting).map(drop).map_err(|error| format!("starting the signal thread: {error}"))
}

impl Shards {
    /// Has it stop as soon as it is watched, as a start that failed.
    pub(super) fn give_up(&self) {
        // There is a receiver as long as this is.
        let _ = self.tell.send(News::GivenUp);
    }

    /// Starts the wrapped program and waits until it runs, or until the server is told to stop.
    pub(super) fn start_program(&mut self, plan: Plan, log: &Log) -> Result<Program, String> {
        let failed = |why| format!("-- COMMAND: {why}; see that it runs by itself");
        let (begun, ended) = (self.tell.clone(), self.tell.clone());
        let begun = move |outcome| drop(begun.send(News::Begun(outcome)));
        let ended = move |status| drop(ended.send(News::Program(status)));
        let program = Program::start(plan, log, begun, ended).map_err(failed)?;
        let last = Instant::now() + Duration::from_millis(WRAP_START_MS);
        // What is for later, in its order.
        let mut kept = Vec::new();
        loop {
            match self.news.recv_timeout(last.saturating_duration_since(Instant::now())) {
                Ok(News::Begun(outcome)) => {
                    outcome.map_err(failed)?;
                    break;
                }
                Ok(stop) if stop.is_stop() => {
                    self.stopped = true;
                    kept.push(stop);
                    break;
                }
                Ok(other) => kept.push(other),
                Err(_) => return Err(failed(format!("no word of it within {} s", WRAP_START_MS / 1000))),
            }
        }
        // Whoever watches takes them; there is a receiver as long as this is.
        kept.into_iter().for_each(|news| drop(self.tell.send(news)));
        Ok(program)
    }

    /// Waits until all is over, and ends the wrapped program last: nobody is left then who talks with it. Returns the exit
    /// status.
    pub(super) fn watch(
        mut self,
        material: Option<&Watched>,
        taps: &Taps,
        program: Option<Program>,
        config: &Config,
        log: &Log,
    ) -> Result<u8, String> {
        let mut stop = Stop { status: 0, deadline: None, told: false, hurry: false };
        if self.stopped {
            self.shut();
        }
        let outcome = self.wait(&mut stop, material, taps, config, log);
        if let Some(program) = program {
            self.end_program(&program, &mut stop, config);
        }
        outcome.map(|()| stop.status)
    }

    /// Waits until the last shard has ended: by itself when its time has come, after a signal or the end of the wrapped
    /// program soon, after a second signal at once.
    fn wait(
        &self,
        stop: &mut Stop,
        material: Option<&Watched>,
        taps: &Taps,
        config: &Config,
        log: &Log,
    ) -> Result<(), String> {
        let mut left = self.count;
        let mut life = Life::new(&config.process);
        let goodbye = || {
            self.mailboxes.iter().for_each(|mailbox| mailbox.put(Note::Stop));
            Some(Instant::now() + config.timing.drain)
        };
        while left > 0 {
            match self.news.recv_timeout(self.patience(stop, &life)) {
                Ok(News::Ended(Ok(()))) => left -= 1,
                Ok(News::Ended(Err(message))) => return Err(message),
                Ok(News::Ready(_) | News::Begun(_) | News::ProgramGone) => {}
                Ok(News::Signal(Signal::SIGTERM | Signal::SIGINT)) if stop.told => {
                    stop.hurry = true;
                    return self.cut(left, stop, log);
                }
                Ok(News::Signal(signal @ (Signal::SIGTERM | Signal::SIGINT))) => {
                    log.line(Level::Info, format!("stop signal={signal}"));
                    stop.tell();
                    stop.deadline = stop.deadline.or_else(goodbye);
                }
                Ok(News::GivenUp) => {
                    stop.status = FAILURE;
                    stop.deadline = stop.deadline.or_else(goodbye);
                }
                Ok(News::Program(status)) if stop.deadline.is_none() => {
                    log.line(Level::Info, format!("stop wrapped_command={status}"));
                    stop.status = status;
                    stop.deadline = goodbye();
                }
                Ok(News::Signal(Signal::SIGQUIT)) => {
                    self.mailboxes.iter().for_each(|mailbox| mailbox.put(Note::Report));
                    report(material, taps, log);
                }
                Ok(News::Signal(Signal::SIGHUP)) => {
                    self.helpers.renew();
                    log.reopen();
                    if let Some(material) = material {
                        material.watcher.renew();
                    }
                }
                Ok(News::Signal(Signal::SIGUSR1)) => log.reopen(),
                // It means nothing yet; dying of it would surprise whoever sends it.
                Ok(News::Signal(_) | News::Program(_)) => {}
                Err(RecvTimeoutError::Timeout) if stop.deadline.is_none_or(|at| Instant::now() < at) => {
                    let (sessions, ended) = (self.balance.sessions(), self.balance.last_end());
                    if let Some(word) = life.look(self.began.elapsed(), sessions, ended) {
                        log.line(Level::Info, word);
                        self.mailboxes.iter().for_each(|mailbox| mailbox.put(Note::Finish));
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    if let sessions @ 1.. = self.balance.sessions() {
                        log.line(Level::Warn, format!("stop: sessions cut at the deadline: {sessions}"));
                    }
                    return self.cut(left, stop, log);
                }
                Err(RecvTimeoutError::Disconnected) => return Err("all shards are gone".into()),
            }
        }
        Ok(())
    }

    /// Has the `left` shards that still run end what sessions they have, each with its line, in no more time than that takes.
    fn cut(&self, mut left: usize, stop: &mut Stop, log: &Log) -> Result<(), String> {
        self.mailboxes.iter().for_each(|mailbox| mailbox.put(Note::Cut));
        let last = Instant::now() + Duration::from_millis(STOP_CUT_MS);
        while left > 0 {
            match self.news.recv_timeout(last.saturating_duration_since(Instant::now())) {
                Ok(News::Ended(outcome)) => {
                    outcome?;
                    left -= 1;
                }
                Ok(News::Signal(Signal::SIGTERM | Signal::SIGINT)) if stop.told => stop.hurry = true,
                Ok(News::Signal(Signal::SIGTERM | Signal::SIGINT)) => stop.tell(),
                Ok(_) => {}
                Err(_) => {
                    let sessions = self.balance.sessions();
                    log.line(Level::Warn, format!("stop: sessions left without an end line: {sessions}"));
                    break;
                }
            }
        }
        Ok(())
    }

    /// How long there is nothing to do if nothing comes.
    fn patience(&self, stop: &Stop, life: &Life) -> Duration {
        let next = [stop.deadline.map(|at| at.saturating_duration_since(self.began)), life.next()];
        let next = next.into_iter().flatten().min();
        next.map_or(Duration::MAX, |at| at.saturating_sub(self.began.elapsed()))
    }

    /// Ends the wrapped program: it has what is left until the deadline, but not nothing, and no time at all after a second
    /// signal.
    fn end_program(&self, program: &Program, stop: &mut Stop, config: &Config) {
        let deadline = stop.deadline.unwrap_or_else(|| Instant::now() + config.timing.drain);
        let grace = if stop.hurry { Duration::ZERO } else { wrap::grace_until(deadline) };
        let tell = self.tell.clone();
        program.stop(grace, Box::new(move || drop(tell.send(News::ProgramGone))));
        let last = Instant::now() + grace + Duration::from_millis(WRAP_KILL_MS);
        loop {
            match self.news.recv_timeout(last.saturating_duration_since(Instant::now())) {
                Ok(News::ProgramGone) | Err(_) => return,
                Ok(News::Signal(Signal::SIGTERM | Signal::SIGINT)) if stop.told => program.hurry(),
                Ok(News::Signal(Signal::SIGTERM | Signal::SIGINT)) => stop.tell(),
                Ok(_) => {}
            }
        }
    }
}

/// Says what belongs to no shard.
fn report(material: Option<&Watched>, taps: &Taps, log: &Log) {
    if let Some(material) = material {
        log.answer(format!("report {}", material.renewals));
    }
    if let Some(recorder) = taps.recorder() {
        log.answer(format!("report {recorder}"));
    }
}

/// How the server stops.
struct Stop {
    /// The exit status.
    status: u8,
    /// When sessions must be gone, once it stops.
    deadline: Option<Instant>,
    /// It was told to by a signal.
    told: bool,
    /// It was told twice.
    hurry: bool,
}

impl Stop {
    /// A signal came. A wrapped program that a signal has ended just before was ended together with the server, by a terminal
    /// or a service manager that tells all processes: that is no failure.
    fn tell(&mut self) {
        self.told = true;
        if self.status > 128 {
            self.status = 0;
        }
    }
}
