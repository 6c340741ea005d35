//! Services that know tokens: a real Redis, a small web service, and a Redis that never answers.
//!
//! It owns what it started and ends it on every way out. All of them run on the load's core, so that what they use is not the
//! peer's. It never knows rows or peers.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

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
/// Longest head of a request that the web service reads.
const HEAD_BYTES_MAX: u64 = 16 * 1024;

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

/// What the threads of the web service share.
#[derive(Debug, Default)]
struct Doors {
    /// Whether it is to end, and the connections that are then cut.
    state: Mutex<(bool, Vec<TcpStream>)>,
    ending: Condvar,
}

/// A web service that says the same target for every token, at once or after a while. Dropping it ends its threads.
#[derive(Debug)]
pub struct Web {
    /// Where it listens.
    pub port: u16,
    doors: Arc<Doors>,
    taker: Option<JoinHandle<()>>,
}

impl Web {
    /// Starts it; each answer is `target`, and comes `delay` after its request.
    pub fn start(target: String, delay: Duration) -> Result<Self, String> {
        let told = |error: std::io::Error| format!("cannot start the web service: {error}");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(told)?;
        let port = listener.local_addr().map_err(told)?.port();
        let doors = Arc::new(Doors::default());
        let shared = Arc::clone(&doors);
        let taker = thread::Builder::new().name("web".into());
        let taker = taker.spawn(move || take(&listener, &shared, &target, delay)).map_err(told)?;
        Ok(Self { port, doors, taker: Some(taker) })
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.doors.state.lock().unwrap_or_else(PoisonError::into_inner).0 = true;
        self.doors.ending.notify_all();
        // Wakes the taker. Should that fail it has ended.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(taker) = self.taker.take() {
            let _ = taker.join();
        }
    }
}

/// Takes connections until the end, and then waits for all who serve them.
fn take(listener: &TcpListener, doors: &Arc<Doors>, target: &str, delay: Duration) {
    let mut servers: Vec<JoinHandle<()>> = Vec::new();
    for stream in listener.incoming() {
        servers.retain(|server| !server.is_finished());
        let mut state = doors.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.0 {
            break;
        }
        let Ok(stream) = stream else { continue };
        if servers.len() >= CONNECTIONS_MAX {
            continue;
        }
        // Only those that are still served are kept; the others' descriptors would pile up.
        state.1.retain(|kept| kept.peer_addr().is_ok());
        let Ok(kept) = stream.try_clone() else { continue };
        state.1.push(kept);
        drop(state);
        let (shared, target) = (Arc::clone(doors), target.to_owned());
        let server = thread::Builder::new().name("web".into()).spawn(move || {
            // A client that goes away is none of the service's business.
            let _ = serve(&stream, &shared, &target, delay);
            let _ = stream.shutdown(Shutdown::Both);
        });
        servers.extend(server);
    }
    for stream in &doors.state.lock().unwrap_or_else(PoisonError::into_inner).1 {
        let _ = stream.shutdown(Shutdown::Both);
    }
    for server in servers {
        let _ = server.join();
    }
}

/// Answers requests of one connection until its end.
fn serve(stream: &TcpStream, doors: &Doors, target: &str, delay: Duration) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{target}",
        target.len()
    );
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = (&mut reader).take(HEAD_BYTES_MAX);
        let mut line = String::new();
        while head.read_line(&mut line)? > 0 && line.trim_end() != "" {
            line.clear();
        }
        if !line.ends_with('\n') {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if !delay.is_zero() {
            let state = doors.state.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = doors.ending.wait_timeout_while(state, delay, |state| !state.0);
            if waited.unwrap_or_else(PoisonError::into_inner).0.0 {
                return Ok(());
            }
        }
        (&mut &*stream).write_all(answer.as_bytes())?;
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
