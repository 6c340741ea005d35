//! Wrap mode where there is none: on systems other than Linux a wrapped command is refused, in one line.

use crate::config::Wrap;
use crate::observe::log::Log;
use crate::target::Target;
use std::time::{Duration, Instant};

/// No process here is a warden.
pub mod warden {
    use std::ffi::OsString;

    /// Does nothing: what it would serve cannot be started.
    pub fn entry(_: &[OsString]) -> Option<u8> {
        None
    }
}

/// A program to wrap: there can be none.
#[derive(Debug)]
pub enum Plan {}

/// A program that runs: there can be none.
#[derive(Debug)]
pub enum Program {}

impl Plan {
    /// Refuses.
    ///
    /// # Errors
    /// Always.
    pub fn prepare(_: &Wrap, _: u16, _: Option<&Target>, _: u64, _: &Log) -> Result<Plan, String> {
        Err("-- COMMAND: wrap mode is Linux's own; start the program by itself and name its port".into())
    }

    /// Refuses.
    ///
    /// # Errors
    /// Always.
    pub fn check(
        wrap: &Wrap,
        port: u16,
        target: Option<&Target>,
        files: u64,
        log: &Log,
    ) -> Result<Option<Target>, String> {
        Plan::prepare(wrap, port, target, files, log).map(|plan| plan.target().cloned())
    }

    /// Where clients are to be carried.
    pub fn target(&self) -> Option<&Target> {
        match *self {}
    }
}

impl Program {
    /// Starts the program.
    ///
    /// # Errors
    /// None.
    pub fn start(
        plan: Plan,
        _: &Log,
        _: impl FnOnce(Result<(), String>) + Send + 'static,
        _: impl Fn(u8) + Send + 'static,
    ) -> Result<Program, String> {
        match plan {}
    }

    /// Ends the program.
    pub fn stop(&self, _: Duration, _: Box<dyn FnOnce() + Send>) {
        match *self {}
    }

    /// Kills it.
    pub fn hurry(&self) {
        match *self {}
    }
}

/// The grace of a program whose server has until `deadline` to stop.
pub fn grace_until(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}
