//! Handshakes without a token, by the clock, on a server whose source of tokens is of no use: with requests beside them that
//! wait for it, and without.
//!
//! It owns these clients, their one loop and the order of its slices: without, with, without. Each request is due at a time that
//! was fixed before and its latency counts from then, connecting included. It never starts a peer or a service.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::{Domain, Socket, Type};

use crate::frames;
use crate::measure::{Meters, Sample, at, curve_of};
use crate::pace::Pace;
use crate::queue::send_some;
use crate::running::Running;
use crate::schedule::Schedule;
use crate::sys;
use crate::tokens::PATIENCE;

/// Handshakes without a token in a second, and requests with one.
const PLAIN_RATE: f64 = 1000.0;
const TOKEN_RATE: f64 = 50.0;
/// What scatters them.
const PLAIN_SEED: u64 = 1;
const TOKEN_SEED: u64 = 1 << 32;
/// What the former ask for.
const PLAIN_PATH: &str = "/websockify";
/// What each is answered: nothing is looked up for the first, and the second waited in vain.
const PLAIN_STATUS: u16 = 403;
const TOKEN_STATUS: u16 = 503;
/// How long the last of them may take to be answered.
const END_LIMIT: Duration = Duration::from_secs(10);
/// Most connections at once. A server that has let so many wait does not keep up.
const OPEN_MAX: usize = 4000;
/// Connections from one source address, so that the kernel need not search for free ports.
const PORTS_EACH: usize = 5000;
/// Most events taken in one wait, and most requests sent between two waits.
const EVENTS: usize = 16;
const BEATS_MAX: usize = 16;
/// Longest answer to a request that is refused.
const ANSWER_BYTES_MAX: usize = 8 * 1024;
/// Longest latency that is told apart, in nanoseconds.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// Which slice a request belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slice {
    /// None: it is not counted.
    Between,
    First,
    With,
    Last,
}

/// One request that is under way.
#[derive(Debug)]
struct Asker {
    socket: Socket,
    meant: Instant,
    slice: Slice,
    /// The number of its token, if it has one.
    token: Option<u64>,
    asked: bool,
    answer: Vec<u8>,
}

/// All of them.
struct Askers<'a> {
    epoll: Epoll,
    all: Vec<Option<Asker>>,
    free: Vec<usize>,
    port: u16,
    paths: &'a [String],
    plain: Schedule,
    tokens: Option<Schedule>,
    /// When each slice began, in order.
    slices: Vec<(Instant, Slice)>,
    dialled: usize,
    /// Requests with a token that were sent, and of these answered.
    sent: usize,
    answered: usize,
    /// Latencies of those without, in nanoseconds: before, beside and after the others.
    first: Histogram<u64>,
    with: Histogram<u64>,
    last: Histogram<u64>,
    /// How late those beside the others were sent, in nanoseconds: the load's own doing, or that of whoever kept it from its core.
    unsent: Histogram<u64>,
}

/// How long one measurement takes, in seconds; `window` is the pace's.
pub fn seconds(window: f64) -> f64 {
    slices(Duration::from_secs_f64(window)).iter().sum::<Duration>().as_secs_f64() + PATIENCE.as_secs_f64()
}

/// The three slices: as long without as with, and with in the middle, so that a machine that gets slower or faster in the
/// course of them does so to both. The middle one begins with the first request that waits.
fn slices(window: Duration) -> [Duration; 3] {
    [2 * window, 4 * window, 2 * window]
}

/// Measures it on `port`; requests with tokens ask for `paths` in turn.
pub fn run(port: u16, paths: &[String], running: Option<&Running>, pace: &Pace) -> Result<Sample, String> {
    let mut askers = Askers::new(port, paths)?;
    let [first, middle, last] = slices(pace.window);
    askers.run_for(pace.warm_up)?;
    askers.slice_of(Slice::First, first)?;
    askers.tokens = Some(Schedule::new(Instant::now(), TOKEN_RATE, 1).scattered(TOKEN_SEED));
    let before = Meters::read(running);
    askers.slice_of(Slice::With, middle)?;
    let mut sample = Meters::read(running).since(&before);
    askers.tokens = None;
    askers.run_until_answered("requests with tokens", |askers| askers.answered == askers.sent)?;
    askers.slice_of(Slice::Last, last)?;
    askers.plain = Schedule::new(Instant::now() + END_LIMIT * 2, PLAIN_RATE, 1);
    askers.run_until_answered("the last requests", |askers| askers.open() == 0)?;
    let meant = TOKEN_RATE * middle.as_secs_f64();
    if (askers.sent as f64) < 0.9 * meant {
        return Err(format!("only {} of {meant:.0} requests with tokens were sent", askers.sent));
    }
    sample.work = askers.with.len() as f64;
    (sample.rate, sample.sessions) = (PLAIN_RATE, askers.sent as f64);
    let (first, last) = (curve_of(&askers.first), curve_of(&askers.last));
    sample.drift = at(&last, 0.99) / at(&first, 0.99);
    sample.sent_late = at(&curve_of(&askers.unsent), 0.99);
    askers.first.add(&askers.last).map_err(|error| format!("latencies: {error:?}"))?;
    (sample.curve, sample.direct) = (curve_of(&askers.with), curve_of(&askers.first));
    (sample.latency_p50, sample.latency_p99) = (at(&sample.curve, 0.5), at(&sample.curve, 0.99));
    Ok(sample)
}

impl<'a> Askers<'a> {
    fn new(port: u16, paths: &'a [String]) -> Result<Self, String> {
        let latency = || Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("the bounds are legal");
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(|error| format!("epoll: {error}"))?,
            all: Vec::new(),
            free: Vec::new(),
            port,
            paths,
            plain: Schedule::new(Instant::now(), PLAIN_RATE, 1).scattered(PLAIN_SEED),
            tokens: None,
            slices: Vec::new(),
            dialled: 0,
            sent: 0,
            answered: 0,
            first: latency(),
            with: latency(),
            last: latency(),
            unsent: latency(),
        })
    }

    fn open(&self) -> usize {
        self.all.len() - self.free.len()
    }

    fn slice_of(&mut self, slice: Slice, length: Duration) -> Result<(), String> {
        let begin = Instant::now();
        self.slices.extend([(begin, slice), (begin + length, Slice::Between)]);
        self.run_for(length)
    }

    fn run_for(&mut self, length: Duration) -> Result<(), String> {
        let end = Instant::now() + length;
        while Instant::now() < end {
            self.turn()?;
        }
        Ok(())
    }

    fn run_until_answered(&mut self, what: &str, done: impl Fn(&Self) -> bool) -> Result<(), String> {
        let begin = Instant::now();
        while !done(self) {
            if begin.elapsed() > END_LIMIT {
                return Err(format!("{what}: {} not answered within {END_LIMIT:?}", self.open()));
            }
            self.turn()?;
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<(), String> {
        if sys::interrupted() {
            return Err("interrupted".into());
        }
        let now = Instant::now();
        for _ in 0..BEATS_MAX {
            let Some((number, _)) = self.plain.due(now) else { break };
            self.dial(self.plain.meant(number), None)?;
        }
        for _ in 0..BEATS_MAX {
            let Some((number, _)) = self.tokens.as_mut().and_then(|schedule| schedule.due(now)) else {
                break;
            };
            self.dial(now, Some(number))?;
        }
        // The clock must not wait for a wake-up of ours.
        let mut events = [EpollEvent::empty(); EVENTS];
        let count = match self.epoll.wait(&mut events, EpollTimeout::ZERO) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(error) => return Err(format!("epoll: {error}")),
        };
        for event in &events[..count] {
            self.handle(event.data() as usize)?;
        }
        Ok(())
    }

    /// Begins a request that was meant to be at `meant`; with a token if it has a number.
    fn dial(&mut self, meant: Instant, number: Option<u64>) -> Result<(), String> {
        let told = |error: std::io::Error| format!("cannot connect: {error}");
        if self.open() >= OPEN_MAX {
            return Err(format!("{OPEN_MAX} requests wait for an answer"));
        }
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking().cloexec(), None).map_err(told)?;
        socket.set_tcp_nodelay(true).map_err(told)?;
        let address = 2 + (self.dialled / PORTS_EACH).min(250) as u8;
        sys::bind_without_port(&socket, Ipv4Addr::new(127, 0, 0, address)).map_err(told)?;
        match socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)).into()) {
            Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => return Err(told(error)),
            _ => {}
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.all.push(None);
            self.all.len() - 1
        });
        let event = EpollEvent::new(EpollFlags::EPOLLOUT, slot as u64);
        self.epoll.add(&socket, event).map_err(|error| format!("epoll: {error}"))?;
        self.dialled += 1;
        self.sent += usize::from(number.is_some());
        let (slice, token) = (slice_at(&self.slices, meant), number);
        if number.is_none() && slice == Slice::With {
            let late = Instant::now().saturating_duration_since(meant);
            self.unsent.saturating_record(late.as_nanos() as u64);
        }
        self.all[slot] = Some(Asker { socket, meant, slice, token, asked: false, answer: Vec::new() });
        Ok(())
    }

    fn handle(&mut self, slot: usize) -> Result<(), String> {
        let Some(asker) = self.all[slot].as_mut() else { return Ok(()) };
        if !asker.asked {
            if let Some(error) = asker.socket.take_error().map_err(|error| error.to_string())? {
                return Err(format!("cannot connect: {error}"));
            }
            let path = asker.token.map_or(PLAIN_PATH, |number| token_path(self.paths, number));
            let request = frames::request(self.port, path);
            let sent =
                send_some(&asker.socket, &request).map_err(|error| format!("client's send: {error}"))?;
            if sent < request.len() {
                return Err(format!("client's send took {sent} of {} bytes", request.len()));
            }
            asker.asked = true;
            let mut event = EpollEvent::new(EpollFlags::EPOLLIN, slot as u64);
            return self.epoll.modify(&asker.socket, &mut event).map_err(|error| format!("epoll: {error}"));
        }
        let mut piece = [0; 2048];
        let length = match (&asker.socket).read(&mut piece) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(format!("client's receive: {error}")),
        };
        asker.answer.extend_from_slice(&piece[..length]);
        let Some(status) = status(&asker.answer)? else {
            return if length == 0 { Err("a request had no answer".into()) } else { Ok(()) };
        };
        let expected = if asker.token.is_some() { TOKEN_STATUS } else { PLAIN_STATUS };
        if status != expected {
            return Err(format!("a request was answered with {status} and not {expected}"));
        }
        let late = Instant::now().saturating_duration_since(asker.meant).as_nanos() as u64;
        match (asker.token, asker.slice) {
            (Some(_), _) => self.answered += 1,
            (None, Slice::First) => self.first.saturating_record(late),
            (None, Slice::With) => self.with.saturating_record(late),
            (None, Slice::Last) => self.last.saturating_record(late),
            (None, Slice::Between) => {}
        }
        self.all[slot] = None;
        self.free.push(slot);
        Ok(())
    }
}

/// The slice to which a request belongs that was meant to be at `meant`, however late it was sent.
fn slice_at(slices: &[(Instant, Slice)], meant: Instant) -> Slice {
    slices.iter().rev().find(|(begin, _)| *begin <= meant).map_or(Slice::Between, |(_, slice)| *slice)
}

/// What the request with token `number` asks for: one after the other, so that no two that wait share a question.
fn token_path(paths: &[String], number: u64) -> &str {
    &paths[number as usize % paths.len()]
}

/// The status of an answer that is complete, body and all.
fn status(answer: &[u8]) -> Result<Option<u16>, String> {
    if answer.len() > ANSWER_BYTES_MAX {
        return Err("the answer has no end".into());
    }
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&answer[..end]);
    let mut lines = head.lines();
    let first = lines.next().unwrap_or_default();
    let wrong = || format!("not an answer: {}", first.escape_debug());
    let word = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.split(' ').next());
    let status: u16 = word.and_then(|word| word.parse().ok()).ok_or_else(wrong)?;
    let mut fields = lines.filter_map(|line| line.split_once(':'));
    let length = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length: usize = match length {
        Some((_, value)) => value.trim().parse().map_err(|_| wrong())?,
        None => 0,
    };
    Ok((answer.len() >= end + 4 + length).then_some(status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;
    use std::thread;

    #[test]
    fn an_answer_is_complete_with_its_body() {
        let whole = b"HTTP/1.1 403 Token not present\r\ncontent-length: 3\r\n\r\nno\n";
        for length in 0..whole.len() {
            assert_eq!(status(&whole[..length]), Ok(None), "{length}");
        }
        assert_eq!(status(whole), Ok(Some(403)));
        assert_eq!(status(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"), Ok(Some(101)));
        assert!(status(b"SSH-2.0\r\n\r\n").is_err() && status(&[b'a'; ANSWER_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn a_request_belongs_to_the_slice_that_it_was_meant_for() {
        let begin = Instant::now();
        let after = |millis| begin + Duration::from_millis(millis);
        let slices = [(after(10), Slice::First), (after(20), Slice::Between), (after(30), Slice::With)];
        let found = [9, 10, 19, 20, 30, 99].map(|millis| slice_at(&slices, after(millis)));
        let (none, first, with) = (Slice::Between, Slice::First, Slice::With);
        assert_eq!(found, [none, first, first, none, with, with]);
    }

    #[test]
    fn each_request_comes_with_another_token() {
        let paths = ["/a".to_owned(), "/b".to_owned()];
        assert_eq!([0, 1, 2].map(|number| token_path(&paths, number)), ["/a", "/b", "/a"]);
    }

    #[test]
    fn slices_with_and_without_are_alike() {
        let [first, middle, last] = slices(Duration::from_millis(700));
        assert_eq!((first + last, first), (middle, last));
        assert!((seconds(0.7) - 6.6).abs() < 1e-9);
    }

    /// Refuses one request.
    fn refuse(listener: &TcpListener, status: &str) {
        let (mut stream, _) = listener.accept().expect("accept");
        let mut head = Vec::new();
        let mut piece = [0; 512];
        while !head.ends_with(b"\r\n\r\n") {
            let length = stream.read(&mut piece).expect("read");
            head.extend_from_slice(&piece[..length]);
        }
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno").expect("write");
    }

    #[test]
    fn what_is_held_up_is_counted_from_when_it_was_meant() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
        let port = listener.local_addr().expect("an address").port();
        let server = thread::spawn(move || {
            refuse(&listener, "403 Token not present");
            refuse(&listener, "404 Not Found");
        });
        let mut askers = Askers::new(port, &[]).expect("askers");
        askers.plain = Schedule::new(Instant::now() + Duration::from_secs(60), PLAIN_RATE, 1);
        let meant = Instant::now().checked_sub(Duration::from_millis(50)).expect("not the first moment");
        askers.slices = vec![(meant, Slice::With)];
        askers.dial(meant, None).expect("dial");
        askers.run_until_answered("it", |askers| askers.open() == 0).expect("answered");
        assert!(askers.with.len() == 1 && askers.first.is_empty() && askers.last.is_empty());
        assert!(askers.with.max() >= 50_000_000, "{}", askers.with.max());
        askers.dial(meant, None).expect("dial");
        let said = askers.run_until_answered("it", |askers| askers.open() == 0);
        assert_eq!(said, Err("a request was answered with 404 and not 403".into()));
        server.join().expect("the server");
    }
}
