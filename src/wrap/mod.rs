//! Wrap mode: a program whose port the server has taken, run beside it and moved to another port.
//!
//! [`Plan`] chooses, once, where the program listens and how it is brought there; [`Program`] keeps it running as
//! `--wrap-mode` says, on a thread of its own that sleeps until there is something to do. Each start has a warden
//! ([`warden`]): a small process that is the program's parent, moves its binds, collects what it leaves behind and ends it
//! together with the server. This room never touches a session: what the program's end means for them the server decides.
//!
//! A program gets to its port in one of three ways. Told: `{port}` or `{unix_socket}` in its words is filled in. Seen from
//! outside: a seccomp filter has each `bind()` of its tree wait until the warden has looked at it (`binds`); that reaches
//! static programs, and is tried before it is relied on. From inside: an interposer is loaded by LD_PRELOAD (`rebind.c`),
//! where the first is refused, as containers often do.

mod binds;
mod elf;
mod plan;
mod port;
mod said;
mod schedule;
mod scratch;
mod task;
mod tree;
pub mod warden;
mod words;

pub use plan::Plan;

use crate::config::WrapMode;
use crate::limits::{WRAP_GRACE_MS_MIN, WRAP_WORDS_MAX};
use crate::observe::log::{Escaped, Level, Log};
use said::{Exit, Said};
use schedule::Schedule;
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// Called when the first start has led to something.
type Begun = Box<dyn FnOnce(Result<(), String>) + Send>;

/// A program that is kept as its mode says.
#[derive(Debug)]
pub struct Program {
    words: SyncSender<Word>,
}

/// What the thread of a program waits for.
enum Word {
    /// A warden says something.
    Said(usize, Said),
    /// A warden has ended, and with it the tree of its program.
    Gone(usize),
    /// The server ends: so shall the program within this time, and then this is to be called.
    Stop(Duration, Option<Gone>),
}

/// Called when nothing is left of a program.
type Gone = Box<dyn FnOnce() + Send>;

impl Program {
    /// Starts the program, and calls `begun` when it runs or with one line that says why it does not. When the server is to
    /// end because the program has, `ended` is called with the status to pass on.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(
        plan: Plan,
        log: &Log,
        begun: impl FnOnce(Result<(), String>) + Send + 'static,
        ended: impl Fn(u8) + Send + 'static,
    ) -> Result<Program, String> {
        let (words, heard) = sync_channel(WRAP_WORDS_MAX);
        let keeper = Keeper {
            plan,
            log: log.clone(),
            ended: Box::new(ended),
            first: Some(Box::new(begun)),
            words: words.clone(),
            wardens: Vec::new(),
            starts: 0,
            running: false,
            schedule: Schedule::default(),
            began: Instant::now(),
            due: None,
            stopped: None,
        };
        let thread = std::thread::Builder::new().name("wrap".into());
        thread.spawn(move || keeper.keep(&heard)).map_err(|error| format!("starting a thread: {error}"))?;
        Ok(Program { words })
    }

    /// Ends the program and all it has started, unless it may stay: asks first, and kills after `grace`. Calls `gone` when
    /// nothing is left of it.
    pub fn stop(&self, grace: Duration, gone: Gone) {
        let _ = self.words.send(Word::Stop(grace, Some(gone)));
    }

    /// Kills what [`Program::stop`] still waits for.
    pub fn hurry(&self) {
        let _ = self.words.send(Word::Stop(Duration::ZERO, None));
    }
}

/// The grace of a program whose server has until `deadline` to stop.
pub fn grace_until(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(WRAP_GRACE_MS_MIN))
}

/// Keeps a program running: lives on the thread `wrap`.
struct Keeper {
    plan: Plan,
    log: Log,
    ended: Box<dyn Fn(u8) + Send>,
    /// Who waits to hear whether the first start went well.
    first: Option<Begun>,
    words: SyncSender<Word>,
    /// Wardens that live, by the number of their start: the last one's, and those of earlier starts whose programs have
    /// left something behind.
    wardens: Vec<(usize, UnixStream)>,
    starts: usize,
    /// Of the last start: the program has not ended, as far as is known.
    running: bool,
    schedule: Schedule,
    began: Instant,
    /// When to start it again.
    due: Option<Instant>,
    /// To be called when all wardens have ended.
    stopped: Option<Gone>,
}

impl Keeper {
    fn keep(mut self, heard: &Receiver<Word>) {
        self.start();
        loop {
            let wait = self.due.map_or(Duration::MAX, |due| due.saturating_duration_since(Instant::now()));
            match heard.recv_timeout(wait) {
                Ok(Word::Said(number, said)) => self.hear(number, said),
                Ok(Word::Gone(number)) => {
                    self.wardens.retain(|(own, _)| *own != number);
                    if self.wardens.is_empty() {
                        // Not the warden's to do: the port may be that of a later start by then.
                        self.plan.gone();
                    }
                    if number == self.starts && self.running {
                        self.failed("its warden is gone");
                    }
                }
                Ok(Word::Stop(grace, tell)) => {
                    self.stopped = tell.or(self.stopped.take());
                    self.stop(grace);
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.due = None;
                    self.line(Level::Info, format_args!("Starting '{}'", self.plan.shown()));
                    self.start();
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let gone = self.wardens.is_empty();
            if let Some(tell) = self.stopped.take_if(|_| gone || self.plan.mode == WrapMode::Ignore) {
                self.plan.close(!gone);
                tell();
                return;
            }
        }
    }

    fn start(&mut self) {
        self.starts += 1;
        self.running = true;
        self.schedule.started(self.began.elapsed());
        if let Err(why) = self.launch() {
            self.failed(&why);
        }
    }

    /// Starts a warden, and a thread that hears it.
    fn launch(&mut self) -> Result<(), String> {
        let number = self.starts;
        let (child, stream) = self.plan.launch().map_err(|error| format!("starting its warden: {error}"))?;
        let ear = stream.try_clone().map_err(|error| format!("listening to its warden: {error}"))?;
        self.wardens.push((number, stream));
        let words = self.words.clone();
        let thread = std::thread::Builder::new().name(format!("wrap-{number}"));
        let spawned = thread.spawn(move || hear_out(number, child, ear, &words));
        spawned.map(drop).map_err(|error| format!("starting a thread: {error}"))
    }

    fn hear(&mut self, number: usize, said: Said) {
        match said {
            Said::Started(process) => {
                self.line(Level::Debug, format_args!("wrap started pid={process}"));
                if let Some(first) = self.first.take() {
                    first(Ok(()));
                }
            }
            Said::Failed(why) if number == self.starts => self.failed(&why),
            Said::Ended(exit) => {
                self.line(Level::Info, format_args!("Wrapped command exited (or daemon). Returned {exit}"));
                if number == self.starts && self.running {
                    self.over(exit);
                }
            }
            Said::Note(text) => self.line(Level::Debug, format_args!("wrap {}", Escaped(&text))),
            Said::Warning(text) => self.line(Level::Warn, format_args!("wrap {}", Escaped(&text))),
            // A warden that runs a program has no other words.
            Said::Failed(_) | Said::Able { .. } | Said::Unable(_) => {}
        }
    }

    /// The last start did not lead to a program, or to one that nobody hears of any more.
    fn failed(&mut self, why: &str) {
        if let Some(first) = self.first.take() {
            self.running = false;
            self.plan.close(false);
            first(Err(why.to_owned()));
            return;
        }
        self.line(Level::Error, format_args!("wrap error: {}", Escaped(why)));
        self.over(Exit::Code(1));
    }

    /// The last program has ended: what its mode makes of that.
    fn over(&mut self, exit: Exit) {
        self.running = false;
        if self.stopped.is_some() {
            return;
        }
        match self.plan.mode {
            WrapMode::Ignore => {}
            WrapMode::Exit => (self.ended)(exit.status()),
            WrapMode::Respawn => {
                let next = self.schedule.next(self.began.elapsed());
                if next.warn {
                    self.line(Level::Warn, format_args!("Command respawning too fast"));
                }
                self.due = Some(self.began + next.at);
            }
        }
    }

    fn stop(&mut self, grace: Duration) {
        self.due = None;
        if self.plan.mode == WrapMode::Ignore {
            return;
        }
        let line = said::stop_line(u64::try_from(grace.as_millis()).unwrap_or(u64::MAX / 2));
        for (_, stream) in &mut self.wardens {
            // One that cannot be told has gone, or hears the end of the stream when this process does.
            let _ = stream.write_all(line.as_bytes());
        }
    }

    fn line(&self, level: Level, text: fmt::Arguments<'_>) {
        if self.log.takes(level) {
            self.log.line(level, text.to_string());
        }
    }
}

/// Passes on what a warden says, until it has ended.
fn hear_out(number: usize, mut child: Child, stream: UnixStream, words: &SyncSender<Word>) {
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { break };
        let Some(said) = Said::parse(&line) else { continue };
        if words.send(Word::Said(number, said)).is_err() {
            break;
        }
    }
    let _ = child.wait();
    let _ = words.send(Word::Gone(number));
}
