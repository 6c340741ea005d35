//! Recordings: what sessions carry, written to files by a thread of its own.
//!
//! A shard hands over what a receive brought and never waits: what may wait to be written is bounded in bytes, and what
//! does not fit is counted, marked in the file and told in the log. Owns the files from their making to the end of their
//! session. A file that can no longer be written ends; its session goes on.

mod file;
mod writer;

use crate::limits::{RECORD_OVERHEAD_BYTES, RECORD_STOP_MS};
use crate::observe::log::{Level, Log};
use crate::route::token::Mark;
use crate::session::Side;
use crate::session::tap::Brought;
use crate::tape::Options;
use crate::tape::name::Facts;
use crate::timers::Time;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use writer::Writer;

/// The way to the thread that writes recordings; cheap to clone. The thread ends when the last clone is gone.
#[derive(Clone, Debug)]
pub struct Recorder {
    works: Sender<Work>,
    shared: Arc<Shared>,
}

/// What the thread and those who ask it share.
#[derive(Debug)]
struct Shared {
    /// Bytes that wait to be written, with what they cost besides.
    waiting: AtomicUsize,
    /// Most of those.
    waiting_max: usize,
    /// Recordings that were begun, for the thread.
    begun: AtomicU64,
    /// Connections of the process.
    connections: AtomicU64,
    /// Recordings that are being written.
    open: AtomicUsize,
    /// Sessions that ended before there was room to begin their recordings, and that no line has told of yet.
    missed: AtomicU64,
    /// Bytes that were written.
    bytes: AtomicU64,
    /// Bytes of sessions that were not.
    bytes_lost: AtomicU64,
}

/// What the thread is asked.
#[derive(Debug)]
enum Work {
    Open(u64, Box<Facts>, Arc<Fate>),
    /// Time in milliseconds, what came, and what was lost before it, by side.
    Keep(u64, u64, Box<Brought>, [u64; 2]),
    /// What was lost at the end.
    Close(u64, [u64; 2]),
    Stop(Sender<()>),
}

/// The recording of one session, in the hands of its shard. It ends when this is dropped.
#[derive(Debug)]
pub struct Tape {
    recorder: Recorder,
    id: u64,
    opened: Time,
    /// What the thread has to know to begin, while it has not been asked to.
    unasked: Option<Box<Facts>>,
    fate: Arc<Fate>,
}

/// What a recording's session and the thread tell each other.
#[derive(Debug, Default)]
struct Fate {
    /// The thread has given it up.
    stopped: AtomicBool,
    /// Bytes from each side that were lost since something was last kept.
    lost: [AtomicU64; 2],
}

impl Fate {
    fn take_lost(&self) -> [u64; 2] {
        self.lost.each_ref().map(|lost| lost.swap(0, Ordering::Relaxed))
    }
}

impl Recorder {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the directory is of no use, for an operator; or when a thread cannot be started.
    pub fn start(options: Options, log: Log) -> Result<Recorder, String> {
        check(&options)?;
        let shared = Arc::new(Shared::new(&options));
        let (works, asked) = channel();
        let mut writer = Writer::new(options, log, shared.clone());
        let work = move || {
            while let Ok(work) = asked.recv() {
                writer.work(work);
            }
        };
        let thread = std::thread::Builder::new().name("record".into());
        thread.spawn(work).map_err(|error| format!("starting the recorder: {error}"))?;
        Ok(Recorder { works, shared })
    }

    /// Counts a connection, and says the how many-th it is.
    pub fn count(&self) -> u64 {
        self.shared.connections.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Begins the recording of a session at `now`. While too much waits to be written the thread is not asked yet, and what
    /// comes until then is lost.
    pub fn open(
        &self,
        now: Time,
        number: u64,
        token: Option<Mark>,
        client: Option<IpAddr>,
        target: String,
    ) -> Tape {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let token = token.map(Mark::number);
        let facts = Facts { number, seconds, token, client, target };
        let (id, fate) = (self.shared.begun.fetch_add(1, Ordering::Relaxed), Arc::<Fate>::default());
        let mut tape = Tape { recorder: self.clone(), id, opened: now, fate, unasked: Some(Box::new(facts)) };
        tape.ask();
        tape
    }

    /// Waits until all that was handed over is written; after [`RECORD_STOP_MS`] what is left is given up, and told.
    pub fn finish(&self, log: &Log) {
        let (done, finished) = channel();
        let asked = self.works.send(Work::Stop(done)).is_ok();
        if asked && finished.recv_timeout(Duration::from_millis(RECORD_STOP_MS)).is_err() {
            let waiting = self.shared.waiting.load(Ordering::Relaxed);
            log.line(
                Level::Warn,
                format!("record lacks its end: {waiting} bytes were still waiting at the stop"),
            );
        }
    }
}

impl fmt::Display for Recorder {
    /// Its numbers, for a report.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = &*self.shared;
        let (bytes, lost) = (shared.bytes.load(Ordering::Relaxed), shared.bytes_lost.load(Ordering::Relaxed));
        let open = shared.open.load(Ordering::Relaxed);
        write!(f, "records_open={open} record_bytes={bytes} record_bytes_lost={lost}")
    }
}

impl Tape {
    /// Asks the thread to begin, if it was not and there is room now; tells whether it was.
    fn ask(&mut self) -> bool {
        // Its end is paid for as well, so that it can always be told.
        if let Some(facts) = self.unasked.take_if(|_| self.recorder.shared.claim(2 * RECORD_OVERHEAD_BYTES)) {
            let _ = self.recorder.works.send(Work::Open(self.id, facts, self.fate.clone()));
        }
        self.unasked.is_none()
    }

    /// Hands over what a receive brought at `now`, or counts it. False: it has ended, and from now on only counts; bytes are of
    /// no use to it any more, and the length of what came is.
    pub fn keep(&mut self, now: Time, brought: Box<Brought>) -> bool {
        let goes_on = !self.fate.stopped.load(Ordering::Relaxed);
        if brought.pieces.is_empty() {
            return goes_on;
        }
        let from = brought.from;
        let bytes: u64 = brought.pieces.iter().map(|piece| piece.len as u64).sum();
        let begun = self.ask();
        let shared = &self.recorder.shared;
        let is_whole = brought.bytes.len() as u64 == bytes;
        if begun && goes_on && is_whole && shared.claim(cost(&brought)) {
            let millis = now.since(self.opened).as_millis() as u64;
            let lost = self.fate.take_lost();
            let _ = self.recorder.works.send(Work::Keep(self.id, millis, brought, lost));
        } else {
            self.fate.lost[place(from)].fetch_add(bytes, Ordering::Relaxed);
            shared.bytes_lost.fetch_add(bytes, Ordering::Relaxed);
        }
        goes_on
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        if !self.ask() {
            self.recorder.shared.missed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let _ = self.recorder.works.send(Work::Close(self.id, self.fate.take_lost()));
    }
}

impl Shared {
    fn new(options: &Options) -> Shared {
        Shared {
            waiting: AtomicUsize::new(0),
            waiting_max: options.buffer_bytes,
            begun: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            open: AtomicUsize::new(0),
            missed: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            bytes_lost: AtomicU64::new(0),
        }
    }

    /// Takes `bytes` of what may wait; false when there is no room.
    fn claim(&self, bytes: usize) -> bool {
        let more = |waiting: usize| waiting.checked_add(bytes).filter(|sum| *sum <= self.waiting_max);
        self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether more than half of what may wait does.
    fn is_short(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > self.waiting_max / 2
    }
}

/// What `brought` counts for while it waits.
fn cost(brought: &Brought) -> usize {
    brought.bytes.capacity() + size_of_val(&*brought.pieces) + RECORD_OVERHEAD_BYTES
}

/// The place of a side in a pair.
const fn place(side: Side) -> usize {
    side as usize
}

/// Whether recordings can be made where they should be.
///
/// # Errors
/// What is wrong and what to do, for an operator.
pub fn check(options: &Options) -> Result<(), String> {
    let directory = &options.directory;
    let wrong = |what: &str| Err(format!("option --record: {}: {what}", directory.display()));
    match std::fs::metadata(directory) {
        Ok(metadata) if !metadata.is_dir() => return wrong("not a directory; name another"),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return wrong("no such directory; make it or name another");
        }
        Err(error) => return wrong(&format!("{error}; name another")),
    }
    let wanted = AccessFlags::W_OK | AccessFlags::X_OK;
    match faccessat(AT_FDCWD, directory.as_path(), wanted, AtFlags::AT_EACCESS) {
        Ok(()) => Ok(()),
        Err(error) => {
            wrong(&format!("not writable ({}); change its permissions or name another", error.desc()))
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
