//! Names: the threads that turn hosts into addresses, and what they were told a moment ago.
//!
//! The system's resolver blocks, knows no time-out of its own, and cannot be called off. So one question serves all who want
//! the same name, its answer is kept for a moment, and who asked is told in time that there is none, while the thread may
//! still sit on it. Threads come as names need them, so that a name that is stuck delays no other; when there are as many as
//! there may be, names that this machine knows by itself still have threads of their own. Everything is bounded. Whom the
//! addresses are for, and what they are used for, is for others to say.

use crate::limits::{
    HELPER_QUEUE_MAX, NAME_CACHE_MAX, NAME_IDLE_MS, NAME_LOCAL_THREADS_MAX, NAME_THREADS_MAX,
    NAME_TIMEOUT_MS, NAME_WAITERS_MAX, NAMES_FILE_BYTES_MAX,
};
use crate::sys::{resolve, turns};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A host, and a port or the name of a service.
pub type Name = (String, String);

/// What is said of a name.
#[derive(Debug)]
pub enum Said {
    /// Its addresses, or why there are none; also that there was no answer in time.
    Answer(io::Result<Vec<SocketAddr>>),
    /// Too many wait.
    Busy,
}

/// Takes what is said to where it is waited for. Dropped without a word where a look-up broke off.
pub type Reply = Box<dyn FnOnce(Said) + Send>;

/// Looks a name up, however long that takes.
type Look = dyn Fn(&Name) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// The way to the threads; cheap to clone. They end when the last clone is gone and they have nothing to do.
#[derive(Clone)]
pub struct Names(Arc<Gate>);

struct Gate(Arc<Board>);

/// What threads share.
struct Board {
    look: Box<Look>,
    pace: Pace,
    state: Mutex<State>,
    /// There is a name to look up.
    work: Condvar,
    /// There is something for the one that watches the time.
    news: Condvar,
}

/// How long things may take, and how many of them there may be.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// From a question to its answer.
    patience: Duration,
    /// How long an answer is kept.
    keep: Duration,
    threads: usize,
}

#[derive(Default)]
struct State {
    /// Names that are looked up or are to be.
    flights: HashMap<Name, Flight>,
    /// Those that no thread has taken: any, those that came when all threads were taken, and of these the local ones.
    queue: VecDeque<Name>,
    fresh: VecDeque<Name>,
    local: VecDeque<Name>,
    /// How many of `fresh` are being told apart.
    sorting: usize,
    /// Questions in all of `flights`.
    waiters: usize,
    known: HashMap<Name, (Instant, Result<Vec<SocketAddr>, Fault>)>,
    threads: usize,
    idle: usize,
    /// Threads that are counted and still to be started. Who asks does not start them: they would be kept on its core.
    starting: usize,
    /// Threads for local names alone.
    local_threads: usize,
    /// The one that watches the time has nothing to wait for.
    dozes: bool,
    /// The last clone of the way here is gone.
    closed: bool,
}

/// A name on its way.
#[derive(Default)]
struct Flight {
    /// A thread sits on it.
    taken: bool,
    /// Somebody was told that there is no answer in time, while the thread sits on it.
    late: bool,
    /// Who waits for it, and until when; the first of them for the shortest time.
    waiting: VecDeque<(Instant, Reply)>,
}

/// An error, as it is kept.
type Fault = (io::ErrorKind, Box<str>);

impl Names {
    /// Starts the thread that watches the time; answers are kept for `keep`. The others come as they are needed.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(keep: Duration) -> io::Result<Names> {
        let (patience, threads) = (Duration::from_millis(NAME_TIMEOUT_MS), NAME_THREADS_MAX);
        Names::with(Pace { patience, keep, threads }, |(host, port)| resolve::stream(host, port))
    }

    fn with(
        pace: Pace,
        look: impl Fn(&Name) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> io::Result<Names> {
        let (state, work, news) = Default::default();
        let board = Arc::new(Board { look: Box::new(look), pace, state, work, news });
        let watched = board.clone();
        thread::Builder::new().name("names-time".into()).spawn(move || watched.watch())?;
        Ok(Names(Arc::new(Gate(board))))
    }

    /// The addresses of `host`, for a thread that may wait for them until `until`. An address has itself.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] when there was no answer in time; [`io::ErrorKind::ResourceBusy`] when too many wait; or
    /// what the resolver said.
    pub fn find(&self, host: &str, port: u16, until: Instant) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let (tell, told) = channel();
        self.ask((host.to_owned(), port.to_string()), Box::new(move |said| drop(tell.send(said))));
        match told.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Said::Answer(addresses)) => addresses,
            Ok(Said::Busy) => {
                Err(io::Error::new(io::ErrorKind::ResourceBusy, "too many name look-ups are waiting"))
            }
            Err(RecvTimeoutError::Timeout) => Err(late()),
            Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("the look-up of the name broke off")),
        }
    }

    /// Has a name looked up, unless that is known or under way. Never waits.
    pub fn ask(&self, name: Name, reply: Reply) {
        let board = &self.0.0;
        let now = Instant::now();
        let until = now + board.pace.patience;
        let mut state = board.lock();
        if let Some(answer) = state.kept(&name, now) {
            drop(state);
            return reply(Said::Answer(answer));
        }
        if state.waiters >= NAME_WAITERS_MAX {
            drop(state);
            return reply(Said::Busy);
        }
        if let Some(flight) = state.flights.get_mut(&name) {
            // A thread that has sat on it for so long will hardly come back soon.
            if flight.late {
                drop(state);
                return reply(Said::Answer(Err(late())));
            }
            flight.waiting.push_back((until, reply));
            state.waiters += 1;
            return;
        }
        if state.queued() >= HELPER_QUEUE_MAX {
            drop(state);
            return reply(Said::Busy);
        }
        state
            .flights
            .insert(name.clone(), Flight { taken: false, late: false, waiting: [(until, reply)].into() });
        state.waiters += 1;
        // Whether it is a local one takes a look at a file, and so is not for who asks to find out.
        let has_room = state.idle > state.queue.len() || state.threads < board.pace.threads;
        let line = if has_room { &mut state.queue } else { &mut state.fresh };
        line.push_back(name);
        let starts = state.queue.len() > state.idle && state.threads < board.pace.threads;
        state.threads += usize::from(starts);
        state.starting += usize::from(starts);
        // Those who came before have less time left, so that otherwise it wakes up early enough by itself.
        let wakes = std::mem::take(&mut state.dozes) || starts || !state.fresh.is_empty();
        drop(state);
        board.work.notify_one();
        if wakes {
            board.news.notify_one();
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.work.notify_all();
        self.0.news.notify_all();
    }
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic is done while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a thread that is counted already. Where there are none to be had, the name waits for those that are there.
    fn begin(self: &Arc<Board>) {
        let board = self.clone();
        let started = thread::Builder::new().name("names".into()).spawn(move || board.serve());
        if started.is_err() {
            self.lock().threads -= 1;
        }
    }

    /// Looks names up, until there have been none for a while.
    fn serve(&self) {
        // As all helpers do.
        let _ = turns::give_way();
        let mut state = self.lock();
        loop {
            if let Some(name) = state.next() {
                drop(state);
                self.look_up(name);
                state = self.lock();
                continue;
            }
            if state.closed {
                break;
            }
            state.idle += 1;
            let rest = Duration::from_millis(NAME_IDLE_MS);
            let (held, waited) = self.work.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner);
            state = held;
            state.idle -= 1;
            if waited.timed_out() && state.queue.is_empty() {
                break;
            }
        }
        state.threads -= 1;
    }

    /// Looks local names up, until there are none.
    fn serve_local(&self) {
        // As all helpers do.
        let _ = turns::give_way();
        let mut state = self.lock();
        while let Some(name) = state.next_local() {
            drop(state);
            self.look_up(name);
            state = self.lock();
        }
        state.local_threads -= 1;
    }

    /// Has a name looked up, keeps what is said of it, and tells all who wait for that.
    fn look_up(&self, name: Name) {
        let answer = catch_unwind(AssertUnwindSafe(|| (self.look)(&name)));
        let mut state = self.lock();
        let waiting = state.flights.remove(&name).unwrap_or_default().waiting;
        state.waiters -= waiting.len();
        // The panic has been told by its hook; who waits is told by the reply that is dropped.
        let Ok(answer) = answer else { return };
        // What this system was short of says nothing about the name.
        let is_known = answer.as_ref().err().is_none_or(|error| error.raw_os_error().is_none());
        let answer = answer.map_err(|error| (error.kind(), error.to_string().into()));
        if is_known {
            state.keep(name, &answer, self.pace.keep);
        }
        drop(state);
        for (_, reply) in waiting {
            reply(Said::Answer(told(&answer)));
        }
    }

    /// Tells those whose time is over, and finds local names among those that came when all threads were taken.
    fn watch(self: &Arc<Board>) {
        let mut state = self.lock();
        while !state.closed {
            let now = Instant::now();
            let late_ones = state.overdue(now);
            let fresh = std::mem::take(&mut state.fresh);
            let starting = std::mem::take(&mut state.starting);
            state.sorting = fresh.len();
            if late_ones.is_empty() && fresh.is_empty() && starting == 0 {
                let next =
                    state.flights.values().filter_map(|flight| flight.waiting.front()).map(|(at, _)| *at);
                state = match next.min() {
                    Some(until) => {
                        let left = until.saturating_duration_since(now);
                        self.news.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                    }
                    None => {
                        state.dozes = true;
                        self.news.wait(state).unwrap_or_else(PoisonError::into_inner)
                    }
                };
                continue;
            }
            drop(state);
            (0..starting).for_each(|_| self.begin());
            late_ones.into_iter().for_each(|reply| reply(Said::Answer(Err(late()))));
            self.sort(fresh);
            state = self.lock();
        }
    }

    /// Puts names into the line in which they wait.
    fn sort(self: &Arc<Board>, fresh: VecDeque<Name>) {
        if fresh.is_empty() {
            return;
        }
        let hosts = hosts();
        let (local, other) = fresh.into_iter().partition(|(host, _)| is_local(host, &hosts));
        let (mut local, mut other): (VecDeque<Name>, VecDeque<Name>) = (local, other);
        let mut state = self.lock();
        state.sorting = 0;
        state.local.append(&mut local);
        state.queue.append(&mut other);
        let wanted = state.local.len().min(NAME_LOCAL_THREADS_MAX.saturating_sub(state.local_threads));
        state.local_threads += wanted;
        drop(state);
        // A thread may have become free meanwhile, and have seen nothing to do.
        self.work.notify_all();
        for _ in 0..wanted {
            let board = self.clone();
            let started =
                thread::Builder::new().name("names-local".into()).spawn(move || board.serve_local());
            if started.is_err() {
                self.lock().local_threads -= 1;
            }
        }
    }
}

impl State {
    fn queued(&self) -> usize {
        self.queue.len() + self.fresh.len() + self.sorting + self.local.len()
    }

    /// What was said of a name a moment ago.
    fn kept(&self, name: &Name, now: Instant) -> Option<io::Result<Vec<SocketAddr>>> {
        let (until, answer) = self.known.get(name)?;
        (now < *until).then(|| told(answer))
    }

    fn keep(&mut self, name: Name, answer: &Result<Vec<SocketAddr>, Fault>, keep: Duration) {
        if keep.is_zero() {
            return;
        }
        let now = Instant::now();
        if self.known.len() >= NAME_CACHE_MAX {
            self.known.retain(|_, (until, _)| now < *until);
            if self.known.len() >= NAME_CACHE_MAX {
                self.known.clear();
            }
        }
        self.known.insert(name, (now + keep, answer.clone()));
    }

    /// The next name to be looked up.
    fn next(&mut self) -> Option<Name> {
        while let Some(name) = self.queue.pop_front().or_else(|| self.fresh.pop_front()) {
            if self.take(&name) {
                return Some(name);
            }
        }
        self.next_local()
    }

    fn next_local(&mut self) -> Option<Name> {
        while let Some(name) = self.local.pop_front() {
            if self.take(&name) {
                return Some(name);
            }
        }
        None
    }

    /// Whether a name from a line is still to be looked up: who wanted it may have been told that it is too late, and it may
    /// have been wanted again since.
    fn take(&mut self, name: &Name) -> bool {
        let flight = self.flights.get_mut(name).filter(|flight| !flight.taken);
        flight.map(|flight| flight.taken = true).is_some()
    }

    /// Takes out those whose time is over. What no thread sits on is then wanted by nobody.
    fn overdue(&mut self, now: Instant) -> Vec<Reply> {
        let mut overdue = Vec::new();
        self.flights.retain(|_, flight| {
            while flight.waiting.front().is_some_and(|(until, _)| *until <= now) {
                overdue.extend(flight.waiting.pop_front().map(|(_, reply)| reply));
                flight.late = flight.taken;
            }
            flight.taken || !flight.waiting.is_empty()
        });
        self.waiters -= overdue.len();
        overdue
    }
}

fn told(answer: &Result<Vec<SocketAddr>, Fault>) -> io::Result<Vec<SocketAddr>> {
    answer.clone().map_err(|(kind, text)| io::Error::new(kind, text.to_string()))
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the name was not resolved in time")
}

/// The text of the system's own list of hosts, as much of it as is looked at.
fn hosts() -> String {
    let mut bytes = Vec::new();
    let _ = File::open("/etc/hosts").map(|file| file.take(NAMES_FILE_BYTES_MAX).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether this machine knows a host by itself.
fn is_local(host: &str, hosts: &str) -> bool {
    let bare = host.strip_suffix('.').unwrap_or(host);
    let mut lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
    bare.is_empty()
        || bare.eq_ignore_ascii_case("localhost")
        || lines.any(|line| line.split_whitespace().any(|word| word.eq_ignore_ascii_case(bare)))
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names")
    }
}

#[cfg(test)]
mod tests;
