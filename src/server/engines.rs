//! The one door where systems differ in engines: which there are, which is chosen, and a shard run on it.

use crate::config::EngineChoice;
use crate::engine::{Engine, Kernel};
use crate::poll::Poll;
use crate::pool::Pool;
#[cfg(target_os = "linux")]
use crate::ring::{self, Ring};
use crate::shard::{Setup, Shard};
use crate::sys::socket::{Listener, Stream};
use crate::sys::wake::Waker;
use crate::timers::Time;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The engine that all shards use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// io_uring.
    #[cfg(target_os = "linux")]
    Ring,
    /// mio.
    Poll,
}

impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            #[cfg(target_os = "linux")]
            Chosen::Ring => "ring",
            Chosen::Poll => "poll",
        })
    }
}

/// Decides which engine to use, once for all shards, and why it is not the one that was hoped for.
///
/// # Errors
/// When `--engine ring` cannot be had, or io_uring fails for want of something: falling back would hide that.
#[cfg(target_os = "linux")]
pub fn choose(choice: EngineChoice) -> Result<(Chosen, Option<String>), String> {
    if choice == EngineChoice::Poll {
        return Ok((Chosen::Poll, None));
    }
    let Err(error) = ring::supported() else { return Ok((Chosen::Ring, None)) };
    match ring::refusal_of(error) {
        Ok(refusal) if choice == EngineChoice::Auto => {
            Ok((Chosen::Poll, Some(format!("engine=poll instead of ring: {refusal}"))))
        }
        Ok(refusal) => Err(format!("--engine ring: {refusal}; or use --engine auto")),
        Err(error) => {
            Err(format!("io_uring_setup: {}: {error}; {SHORTAGE} or --engine poll", ring::error_name(&error)))
        }
    }
}

/// Decides which engine to use: there is one.
#[cfg(not(target_os = "linux"))]
pub fn choose(choice: EngineChoice) -> Result<(Chosen, Option<String>), String> {
    match choice {
        EngineChoice::Ring => Err("--engine ring: io_uring is Linux's own; use --engine poll".into()),
        EngineChoice::Auto | EngineChoice::Poll => Ok((Chosen::Poll, None)),
    }
}

/// What to do when an engine cannot be had for want of something.
const SHORTAGE: &str = "raise the limits (ulimit -n, ulimit -l, the cgroup's memory), or use fewer --threads";

/// What a shard's thread has before it has an engine.
pub struct Bench {
    /// Which engine it is to be.
    pub chosen: Chosen,
    /// Where clients come in.
    pub listeners: Vec<Arc<Listener>>,
    /// A client that somebody else accepted; then nobody else is served.
    pub only: Option<(OwnedFd, Option<SocketAddr>)>,
    /// Most bytes of buffers.
    pub buffer_bytes: usize,
    /// When the shards' clock began.
    pub began: Instant,
}

/// Runs one shard on this thread until it is told to stop and its sessions are gone. `setup` is called with the waker
/// once the engine stands, and nobody is let in before it returns; nor behind it, if that is `None`.
///
/// # Errors
/// When the engine cannot be made, with the remedy, or no longer works.
pub fn run(bench: Bench, setup: impl FnOnce(Waker) -> Option<Setup>) -> Result<(), String> {
    let Bench { chosen, listeners, only, buffer_bytes, began } = bench;
    let short = |error| format!("engine {chosen} cannot be set up: {error}; {SHORTAGE}");
    let outcome = match chosen {
        #[cfg(target_os = "linux")]
        Chosen::Ring => run_on(Ring::new(listeners).map_err(short)?, only, buffer_bytes, began, setup),
        Chosen::Poll => run_on(Poll::new(listeners).map_err(short)?, only, buffer_bytes, began, setup),
    };
    outcome.map_err(|error| format!("engine {chosen}: {error}"))
}

fn run_on<K: Kernel<Socket = Stream>>(
    kernel: K,
    only: Option<(OwnedFd, Option<SocketAddr>)>,
    buffer_bytes: usize,
    began: Instant,
    setup: impl FnOnce(Waker) -> Option<Setup>,
) -> io::Result<()> {
    let waker = kernel.waker();
    let pool = Pool::new(buffer_bytes);
    pool.set_aside();
    let engine = Engine::new(kernel, pool);
    let Some(setup) = setup(waker) else { return Ok(()) };
    let mut shard = Shard::new(engine, setup);
    if let Some((socket, client)) = only {
        shard.serve_only(Stream::new(socket, client.is_none()), client);
    }
    let clock = || {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        (Time(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)), seconds)
    };
    while !shard.is_done() {
        shard.turn(None, clock)?;
    }
    Ok(())
}
