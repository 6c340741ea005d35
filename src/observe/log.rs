//! The log: lines to standard error, and to a file and a syslog server if there are such, written by threads of its own: one
//! that puts lines together, and one for standard error alone, which may stand still.
//!
//! A shard hands a line over without ever waiting: the queue is bounded, and lines that do not fit are counted and
//! reported as one line later. Owns the form of a line and the escaping of everything that came from outside.

mod file;
mod outlet;
mod queue;
mod spot;
mod syslog;

pub use file::LogFile;
pub use spot::{Spot, descriptor, find};
pub use syslog::Syslog;

use crate::http::date;
use crate::limits::{LOG_FIELD_BYTES_MAX, LOG_QUEUE_MAX, LOG_QUEUE_PER_SHARD, LOG_STOP_MS, LOG_WRITE_BYTES};
use crate::sys::stdio;
use outlet::Outlet;
use queue::{Taker, Way, queue};
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// While lines come, the thread sleeps this long between two writes, so that a shard seldom has to wake it.
const GATHER: Duration = Duration::from_millis(5);

/// How often the end of the thread is looked for.
const STOP_LOOK: Duration = Duration::from_millis(1);

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something is wrong that needs an operator.
    Error,
    /// Something is not as it should be, and the server copes.
    Warn,
    /// What a server does: sessions that open and end.
    Info,
    /// Only useful when looking for something.
    Debug,
}

/// Takes lines from any thread.
#[derive(Clone, Debug)]
pub struct Log {
    queue: Way<Line>,
    dropped: Arc<AtomicU64>,
    /// The file is to be opened anew.
    reopen: Arc<AtomicBool>,
    least: Level,
}

/// The log thread, to be ended with [`Log::stop`].
#[derive(Debug)]
pub struct LogThread(JoinHandle<()>);

/// Where lines go besides standard error.
#[derive(Debug, Default)]
pub struct Places {
    /// A file.
    pub file: Option<LogFile>,
    /// A syslog server.
    pub syslog: Option<Syslog>,
}

/// The lines of a log that nobody has read yet.
#[derive(Debug)]
pub struct Kept(Taker<Line>);

impl Kept {
    /// Takes out the first line that was said, without its time.
    pub fn pop(&self) -> Option<(Level, String)> {
        std::iter::from_fn(|| self.0.try_take()).find_map(|line| match line {
            Line::Text(level, _, text) => Some((level, text)),
            Line::Said(..) | Line::Reopen | Line::Stop => None,
        })
    }
}

#[derive(Debug)]
enum Line {
    Text(Level, SystemTime, String),
    /// What standard error has been told already.
    Said(Level, SystemTime, String),
    /// Open the file anew.
    Reopen,
    Stop,
}

impl Log {
    /// Starts the thread, for a process with so many shards. Lines less important than `least` are not taken.
    pub fn start(least: Level, shards: usize, mut places: Places) -> std::io::Result<(Log, LogThread)> {
        places.file.as_mut().map(|file| file.start(shards)).transpose()?;
        let (log, lines) = Log::for_shards(least, shards);
        let (counter, wanted) = (log.dropped.clone(), log.reopen.clone());
        let error = stdio::Blocking(std::io::stderr());
        let work = move |out: &Outlet| {
            out.widen(shards);
            write_all(&lines, &counter, &wanted, places, out);
        };
        Ok((log, spawn(work, error)?))
    }

    /// A log whose lines go nowhere, for simulations.
    pub fn silent() -> Log {
        Log::with_room(Level::Error, 1).0
    }

    /// A log whose lines are kept, for whoever wants to know what would be said.
    pub fn kept(least: Level) -> (Log, Kept) {
        Log::kept_of(least, 0)
    }

    /// The same with the room that lines of so many shards have.
    pub fn kept_of(least: Level, shards: usize) -> (Log, Kept) {
        let (log, lines) = Log::for_shards(least, shards);
        (log, Kept(lines))
    }

    fn for_shards(least: Level, shards: usize) -> (Log, Taker<Line>) {
        Log::with_room(least, LOG_QUEUE_MAX + shards * LOG_QUEUE_PER_SHARD)
    }

    /// A log in which `most` lines may wait.
    fn with_room(least: Level, most: usize) -> (Log, Taker<Line>) {
        let (queue, lines) = queue(most);
        (Log { queue, dropped: Arc::default(), reopen: Arc::default(), least }, lines)
    }

    /// Whether lines of `level` are taken: asked before one is put together.
    pub fn takes(&self, level: Level) -> bool {
        level <= self.least
    }

    /// Hands a line over, or counts it when the queue is full.
    pub fn line(&self, level: Level, text: String) {
        if self.takes(level) {
            self.hand_over(Line::Text(level, SystemTime::now(), text));
        }
    }

    /// Hands a line over that somebody has asked for, however little is logged.
    pub fn answer(&self, text: String) {
        self.hand_over(Line::Text(Level::Info, SystemTime::now(), text));
    }

    /// Tells the other places, line by line, what standard error has been told with [`say`].
    pub fn said(&self, level: Level, text: &str) {
        for line in text.lines() {
            self.hand_over(Line::Said(level, SystemTime::now(), line.to_owned()));
        }
    }

    fn hand_over(&self, line: Line) {
        if !self.queue.put(line) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Has the log file opened anew, behind the lines that are queued.
    pub fn reopen(&self) {
        // With a full queue the thread has lines to write, and looks after them.
        if !self.queue.put(Line::Reopen) {
            self.reopen.store(true, Ordering::Release);
        }
    }

    /// Lines that did not fit and have not been reported yet.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Lets the thread end behind the lines that are queued. A reader of standard error that has fallen asleep does not
    /// hold the process: after [`LOG_STOP_MS`] what is left is given up.
    pub fn stop(&self, thread: LogThread) {
        let deadline = Instant::now() + Duration::from_millis(LOG_STOP_MS);
        self.queue.put_last(Line::Stop);
        while Instant::now() < deadline && !thread.0.is_finished() {
            std::thread::sleep(STOP_LOOK);
        }
    }
}

/// Writes `text` and a line end to standard error, as it is, for what is said before and after there is a log. Waits for
/// it as long as [`Log::stop`] does, and takes no harm if nobody reads it.
pub fn say(text: &str) {
    stdio::complain(format!("{text}\n").as_bytes(), Duration::from_millis(LOG_STOP_MS));
}

/// Starts the thread that writes lines with `work`, and one that writes to `out` what that one passes on.
fn spawn(
    work: impl FnOnce(&Outlet) + Send + 'static,
    mut out: impl std::io::Write + Send + 'static,
) -> std::io::Result<LogThread> {
    let outlet = Arc::<Outlet>::default();
    let way = outlet.clone();
    let named = |name: &str| std::thread::Builder::new().name(name.into());
    let writer = named("log-stderr").spawn(move || way.write_to("stderr", &mut out))?;
    let thread = named("log").spawn(move || {
        work(&outlet);
        outlet.close();
        // The end of this thread is the end of both. It is not waited for without a deadline.
        let _ = writer.join();
    })?;
    Ok(LogThread(thread))
}

/// Writes lines until told to stop.
fn write_all(
    lines: &Taker<Line>,
    dropped: &AtomicU64,
    reopen: &AtomicBool,
    mut places: Places,
    out: &Outlet,
) {
    let mut text = Vec::new();
    while let Some(first) = lines.take() {
        let mut next = Some(first);
        let mut stop = false;
        while let Some(line) = next {
            match line {
                Line::Text(level, time, line) => places.put(&mut text, level, time, &line),
                Line::Said(level, time, line) => places.put_said(level, time, &line),
                Line::Reopen => places.reopen(&mut text),
                Line::Stop => stop = true,
            }
            next = if text.len() < LOG_WRITE_BYTES { lines.try_take() } else { None };
        }
        // A queue that was full took no word of it.
        if reopen.swap(false, Ordering::Acquire) {
            places.reopen(&mut text);
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            places.put(&mut text, Level::Warn, SystemTime::now(), &format!("log lines_dropped={lost}"));
        }
        places.flush(&mut text);
        out.take(&text);
        text.clear();
        if stop {
            return;
        }
        std::thread::sleep(GATHER);
    }
}

impl Places {
    /// Puts a line everywhere; `text` is what goes to standard error.
    fn put(&mut self, text: &mut Vec<u8>, level: Level, time: SystemTime, line: &str) {
        let from = text.len();
        put(text, level, time, line);
        if let Some(file) = &mut self.file {
            file.hold(&text[from..]);
        }
        if let Some(syslog) = &mut self.syslog {
            syslog.send(level, time, line);
        }
    }

    fn put_said(&mut self, level: Level, time: SystemTime, line: &str) {
        if let Some(file) = &mut self.file {
            file.hold(line.as_bytes());
            file.hold(b"\n");
        }
        if let Some(syslog) = &mut self.syslog {
            syslog.send(level, time, line);
        }
    }

    fn reopen(&mut self, text: &mut Vec<u8>) {
        if let Some(Err(word)) = self.file.as_mut().map(LogFile::reopen) {
            self.put(text, Level::Error, SystemTime::now(), &word);
        }
    }

    /// Writes the file, and tells what became of lines.
    fn flush(&mut self, text: &mut Vec<u8>) {
        if let Some(word) = self.syslog.as_mut().and_then(Syslog::news) {
            self.put(text, Level::Warn, SystemTime::now(), &word);
        }
        if let Some(Err(word)) = self.file.as_mut().map(LogFile::flush) {
            self.put(text, Level::Error, SystemTime::now(), &word);
        }
        if let Some(syslog) = &mut self.syslog {
            syslog.again();
        }
    }
}

fn put(text: &mut Vec<u8>, level: Level, time: SystemTime, line: &str) {
    use std::io::Write as _;
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let word = match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
    };
    let seconds = date::rfc3339(since.as_secs());
    let _ = writeln!(text, "{seconds}.{:03}Z {word} {line}", since.subsec_millis());
}

/// Text from outside, fit for a line: control characters, quotes and backslashes escaped, cut at
/// [`LOG_FIELD_BYTES_MAX`] bytes.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = LOG_FIELD_BYTES_MAX;
        for character in self.0.chars() {
            let Some(rest) = left.checked_sub(character.len_utf8()) else { return f.write_str("...") };
            left = rest;
            match character {
                '"' | '\\' => write!(f, "\\{character}")?,
                _ if character.is_control() || is_invisible(character) => {
                    write!(f, "{}", character.escape_unicode())?;
                }
                _ => f.write_char(character)?,
            }
        }
        Ok(())
    }
}

/// A message for an operator as one line: what may come from a path or a program is shown without what would break the line or
/// reach a terminal as a command. Quotes stay as they are.
pub fn one_line(message: &str) -> String {
    let mut line = String::with_capacity(message.len());
    for character in message.chars() {
        match character.is_control() || is_invisible(character) {
            true => line.extend(character.escape_unicode()),
            false => line.push(character),
        }
    }
    line
}

/// Characters that print as nothing or turn the direction of what follows.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_can_forge_a_line() {
        let rows = [
            ("plain", "plain"),
            ("a\nb\r\x1b[2J", "a\\u{a}b\\u{d}\\u{1b}[2J"),
            ("say \"x\\\"", "say \\\"x\\\\\\\""),
            ("\u{202e}gnp", "\\u{202e}gnp"),
        ];
        for (from, to) in rows {
            assert_eq!(Escaped(from).to_string(), to);
        }
        assert_eq!(one_line("no \"x\"\n\x1b[31m"), "no \"x\"\\u{a}\\u{1b}[31m");
        let long = "x".repeat(LOG_FIELD_BYTES_MAX + 1);
        assert_eq!(Escaped(&long).to_string().len(), LOG_FIELD_BYTES_MAX + 3);
    }

    #[test]
    fn a_full_queue_drops_and_counts_and_never_blocks() {
        let (log, lines) = Log::with_room(Level::Info, 2);
        for number in 0..5 {
            log.line(Level::Info, format!("line {number}"));
            log.line(Level::Debug, "not taken".into());
        }
        assert_eq!(log.dropped(), 3);
        let dropped = log.dropped.clone();
        drop(log);
        let (outlet, mut out) = (Outlet::default(), Vec::new());
        write_all(&lines, &dropped, &AtomicBool::new(false), Places::default(), &outlet);
        outlet.close();
        outlet.write_to("stderr", &mut out);
        let out = String::from_utf8(out).unwrap();
        let ends: Vec<&str> = out.lines().map(|line| line.split_once("Z ").unwrap().1).collect();
        assert_eq!(ends, ["info line 0", "info line 1", "warn log lines_dropped=3"]);
    }

    /// A reader of standard error that takes nothing until it is let.
    struct Asleep(std::sync::mpsc::Receiver<()>);

    impl std::io::Write for Asleep {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            // The other end is gone: it wakes, and stays awake.
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn file_and_syslog_go_on_while_standard_error_stands_still() {
        let directory = std::env::temp_dir().join(format!("websplice-asleep-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let (path, moved, device) =
            (directory.join("log"), directory.join("moved"), directory.join("device"));
        let heard = std::os::unix::net::UnixDatagram::bind(&device).unwrap();
        heard.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let options = crate::config::Syslog {
            server: crate::config::SyslogServer::Local(device),
            legacy: false,
            daemon: false,
            ident: "test".into(),
        };
        let file = Some(LogFile::open(&path, None, None).unwrap());
        let places = Places { file, syslog: Some(Syslog::find(&options).unwrap()) };
        let (log, lines) = Log::with_room(Level::Info, LOG_QUEUE_MAX);
        let (dropped, wanted) = (log.dropped.clone(), log.reopen.clone());
        let (wake, asleep) = std::sync::mpsc::sync_channel(0);
        let thread =
            spawn(move |out| write_all(&lines, &dropped, &wanted, places, out), Asleep(asleep)).unwrap();
        let mut message = [0; 512];
        let mut say = |text: &str| {
            log.line(Level::Info, text.into());
            let count = heard.recv(&mut message).unwrap();
            assert!(message[..count].ends_with(text.as_bytes()));
        };
        say("one");
        say("two");
        std::fs::rename(&path, &moved).unwrap();
        log.reopen();
        say("three");
        say("four");
        drop(wake);
        log.stop(thread);
        let read = |path| std::fs::read_to_string(path).unwrap();
        assert!(read(&moved).contains("one") && read(&path).contains("four"), "{}", read(&path));
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
