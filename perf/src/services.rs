//! Services that know tokens: a real Redis, a small web service, and a Redis that never answers.
//!
//! It owns what it started and ends it on every way out. All of them run on the load's core, so that what they use is not the
//! peer's. It never knows rows or peers.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::cores;
use crate::peers::found_in_path;
use crate::sys;

/// How long Redis may take to answer for the first time, and each of its later answers.
const READY_LIMIT: Duration = Duration::from_secs(10);
/// How often it is tried until then.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Keys that are set with one write.
const KEYS_AT_ONCE: usize = 500;
/// Most connections that the web service holds; more are closed at once.
const CONNECTIONS_MAX: usize = 512;
/// Longest time between two looks of a slow one.
const REST_MAX: Duration = Duration::from_millis(50);
/// Longest head of a request that the web service reads.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The program that [`Redis`] needs.
pub const REDIS: &str = "redis-server";

/// A Redis of our own. Dropping it ends it.
#[derive(Debug)]
pub struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    /// Starts it on `port` without anything on disk, its log in `scratch`.
    pub fn start(scratch: &Path, port: u16) -> Result<Self, String> {
        let told = |error: std::io::Error| format!("cannot start {REDIS}: {error}");
        let log = std::fs::File::create(scratch.join("redis.log")).map_err(told)?;
        let mut command = Command::new(found_in_path(REDIS));
        command
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"])
            .current_dir(scratch)
            .stdin(Stdio::null())
            .stderr(log.try_clone().map_err(told)?)
            .stdout(log);
        sys::confine(&mut command, cores::chosen().of_load());
        let mut redis = Self { child: command.spawn().map_err(told)?, port };
        let begin = Instant::now();
        while let Err(error) = redis.connect() {
            if let Ok(Some(status)) = redis.child.try_wait() {
                return Err(format!("{REDIS} ended at once ({status}); its words are in redis.log"));
            }
            if begin.elapsed() > READY_LIMIT {
                return Err(format!("{REDIS}: no answer on port {port} after {READY_LIMIT:?}: {error}"));
            }
            if sys::interrupted() {
                return Err("interrupted".into());
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(redis)
    }

    fn connect(&self) -> std::io::Result<TcpStream> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(READY_LIMIT))?;
        stream.set_write_timeout(Some(READY_LIMIT))?;
        Ok(stream)
    }

    /// Sets every one of `keys` to `value`.
    pub fn fill(&self, keys: &[String], value: &str) -> Result<(), String> {
        let told = |error: std::io::Error| format!("{REDIS}: {error}");
        let mut stream = BufReader::new(self.connect().map_err(told)?);
        for some in keys.chunks(KEYS_AT_ONCE) {
            let text: String = some.iter().map(|key| set_command(key, value)).collect();
            stream.get_mut().write_all(text.as_bytes()).map_err(told)?;
            for key in some {
                let mut answer = String::new();
                stream.read_line(&mut answer).map_err(told)?;
                if answer != "+OK\r\n" {
                    return Err(format!("{REDIS}: SET {key}: {}", answer.escape_debug()));
                }
            }
        }
        Ok(())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `SET` as an array of bulk strings (RESP 2).
fn set_command(key: &str, value: &str) -> String {
    format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${}\r\n{value}\r\n", key.len(), value.len())
}

/// A web service that says the same for every token, at once or after a while. Dropping it ends its thread.
///
/// One thread serves all: it runs on the load's core, and one for each connection would keep the load from its clock.
#[derive(Debug)]
pub struct Web {
    /// Where it listens.
    pub port: u16,
    ending: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl Web {
    /// Starts it; the body of each answer is `body`, and comes `delay` after its request.
    pub fn start(body: String, delay: Duration) -> Result<Self, String> {
        let told = |error: std::io::Error| format!("cannot start the web service: {error}");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(told)?;
        let port = listener.local_addr().map_err(told)?.port();
        let ending =
            Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC).map_err(|error| told(error.into()))?);
        let mut service = Service::new(listener, &ending, &body, delay).map_err(told)?;
        let thread = thread::Builder::new().name("web".into());
        // Should it fail, the questions that nobody answers are what tells.
        let thread = thread.spawn(move || drop(service.run())).map_err(told)?;
        Ok(Self { port, ending, thread: Some(thread) })
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        // Should that fail there is no thread to wait for.
        let told = self.ending.write(1);
        if let (Ok(_), Some(thread)) = (told, self.thread.take()) {
            let _ = thread.join();
        }
    }
}

/// What the thread of the web service knows.
struct Service {
    epoll: Epoll,
    listener: TcpListener,
    /// Kept so that epoll can tell of it.
    _ending: Arc<EventFd>,
    answer: String,
    delay: Duration,
    /// Connections by number; numbers are not used again.
    open: HashMap<u64, Asking>,
    next: u64,
    /// Who is answered when: all wait equally long, so these are in order.
    due: VecDeque<(Instant, u64)>,
}

/// One connection.
struct Asking {
    stream: TcpStream,
    /// What has come of the next request.
    head: Vec<u8>,
    /// It waits for an answer; what comes meanwhile waits behind that.
    waits: bool,
}

/// What epoll tells of, besides connections.
const WEB_LISTENER: u64 = u64::MAX;
const WEB_ENDING: u64 = u64::MAX - 1;

impl Service {
    fn new(
        listener: TcpListener,
        ending: &Arc<EventFd>,
        body: &str,
        delay: Duration,
    ) -> std::io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        listener.set_nonblocking(true)?;
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, WEB_LISTENER))?;
        epoll.add(&**ending, EpollEvent::new(EpollFlags::EPOLLIN, WEB_ENDING))?;
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let (open, due) = Default::default();
        Ok(Self { epoll, listener, _ending: Arc::clone(ending), answer, delay, open, next: 0, due })
    }

    /// Serves until it is told to end.
    fn run(&mut self) -> std::io::Result<()> {
        let mut events = [EpollEvent::empty(); 16];
        // Who takes his time need not look at once: each look takes the load's core from it.
        let rest = (self.delay / 100).min(REST_MAX);
        loop {
            thread::sleep(rest);
            let wait = match self.due.front() {
                None => EpollTimeout::NONE,
                Some((at, _)) => {
                    let left = at.saturating_duration_since(Instant::now());
                    // Rounded up: to wake up a little early would be to look again and again.
                    EpollTimeout::try_from(left + Duration::from_micros(999)).unwrap_or(EpollTimeout::MAX)
                }
            };
            let count = match self.epoll.wait(&mut events, wait) {
                Err(Errno::EINTR) => 0,
                other => other?,
            };
            for event in &events[..count] {
                match event.data() {
                    WEB_ENDING => return Ok(()),
                    WEB_LISTENER => self.accept()?,
                    number => self.hear(number),
                }
            }
            while let Some((_, number)) = self.due.front().filter(|(at, _)| *at <= Instant::now()).copied() {
                self.due.pop_front();
                self.say(number);
            }
        }
    }

    fn accept(&mut self) -> std::io::Result<()> {
        // Whatever else is wrong with one that came is told again, or is its own business.
        while let Ok((stream, _)) = self.listener.accept() {
            if self.open.len() >= CONNECTIONS_MAX {
                continue;
            }
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let number = self.next;
            self.next += 1;
            self.epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, number))?;
            self.open.insert(number, Asking { stream, head: Vec::new(), waits: false });
        }
        Ok(())
    }

    /// Takes what a client sends, until that is a request. A client that goes away is none of the service's business.
    fn hear(&mut self, number: u64) {
        let Some(asking) = self.open.get_mut(&number) else { return };
        let mut piece = [0; 2048];
        let over = match asking.stream.read(&mut piece) {
            Ok(0) => true,
            Ok(length) => {
                asking.head.extend_from_slice(&piece[..length]);
                asking.head.len() > HEAD_BYTES_MAX
            }
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        };
        if over {
            // Closing it takes it out of epoll as well; what was due is then nobody's.
            self.open.remove(&number);
        } else {
            self.consider(number);
        }
    }

    /// Answers, or will answer, if a whole request is there.
    fn consider(&mut self, number: u64) {
        let Some(asking) = self.open.get_mut(&number).filter(|asking| !asking.waits) else { return };
        let Some(end) = asking.head.windows(4).position(|four| four == b"\r\n\r\n") else { return };
        asking.head.drain(..end + 4);
        asking.waits = true;
        if self.delay.is_zero() {
            self.say(number);
        } else {
            self.due.push_back((Instant::now() + self.delay, number));
        }
    }

    fn say(&mut self, number: u64) {
        let Some(asking) = self.open.get_mut(&number) else { return };
        asking.waits = false;
        // An answer always finds room in a socket whose client waits for it.
        if asking.stream.write_all(self.answer.as_bytes()).is_err() {
            self.open.remove(&number);
        } else {
            self.consider(number);
        }
    }
}

/// A port whose connections are taken, by the kernel, and never answered.
pub fn deaf() -> Result<TcpListener, String> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| format!("no free port: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(port: u16) -> (TcpStream, Instant) {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connect");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
        stream.write_all(b"GET /desk-1 HTTP/1.1\r\nHost: a\r\n\r\n").expect("ask");
        (stream, Instant::now())
    }

    fn said(stream: &mut TcpStream) -> String {
        let mut text = Vec::new();
        let mut byte = [0];
        while !text.ends_with(b"127.0.0.1:5900") {
            match stream.read(&mut byte) {
                Ok(0) => break,
                Ok(_) => text.push(byte[0]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(error) => panic!("no answer and no end: {error}"),
            }
        }
        String::from_utf8(text).expect("text")
    }

    #[test]
    fn the_web_service_answers_again_and_again() {
        let web = Web::start("127.0.0.1:5900".into(), Duration::ZERO).expect("start");
        let (mut stream, _) = asked(web.port);
        assert!(said(&mut stream).starts_with("HTTP/1.1 200 OK\r\n"));
        stream.write_all(b"GET /desk-2 HTTP/1.1\r\n\r\n").expect("ask");
        assert!(said(&mut stream).ends_with("\r\nContent-Length: 14\r\n\r\n127.0.0.1:5900"));
    }

    #[test]
    fn a_slow_one_takes_its_time_and_still_ends_at_once() {
        let delay = Duration::from_millis(50);
        let web = Web::start("127.0.0.1:5900".into(), delay).expect("start");
        let (mut stream, begin) = asked(web.port);
        assert!(!said(&mut stream).is_empty() && begin.elapsed() >= delay);
        let web = Web::start("127.0.0.1:5900".into(), Duration::from_secs(60)).expect("start");
        let (mut stream, begin) = asked(web.port);
        drop(web);
        assert_eq!(said(&mut stream), "");
        assert!(begin.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn keys_are_set_in_the_words_of_redis() {
        assert_eq!(set_command("desk-1", "h:1"), "*3\r\n$3\r\nSET\r\n$6\r\ndesk-1\r\n$3\r\nh:1\r\n");
    }
}
