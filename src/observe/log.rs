//! The log: lines to standard error, written by a thread of its own.
//!
//! A shard hands a line over without ever waiting: the queue is bounded, and lines that do not fit are counted and
//! reported as one line later. Owns the form of a line and the escaping of everything that came from outside.

use crate::http::date;
use crate::limits::{LOG_FIELD_BYTES_MAX, LOG_QUEUE_MAX, LOG_STOP_MS};
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, channel, sync_channel};
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
    queue: SyncSender<Line>,
    dropped: Arc<AtomicU64>,
    least: Level,
}

/// The log thread, to be ended with [`Log::stop`].
#[derive(Debug)]
pub struct LogThread(JoinHandle<()>);

#[derive(Debug)]
enum Line {
    Text(Level, SystemTime, String),
    Stop,
}

impl Log {
    /// Starts the thread. Lines less important than `least` are not taken.
    pub fn start(least: Level) -> std::io::Result<(Log, LogThread)> {
        let (queue, lines) = sync_channel(LOG_QUEUE_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let counter = dropped.clone();
        let thread = std::thread::Builder::new()
            .name("log".into())
            .spawn(move || write_all(&lines, &counter, &mut std::io::stderr()))?;
        Ok((Log { queue, dropped, least }, LogThread(thread)))
    }

    /// A log whose lines go nowhere, for simulations.
    pub fn silent() -> Log {
        let (queue, _) = sync_channel(1);
        Log { queue, dropped: Arc::default(), least: Level::Error }
    }

    /// Whether lines of `level` are taken: asked before one is put together.
    pub fn takes(&self, level: Level) -> bool {
        level <= self.least
    }

    /// Hands a line over, or counts it when the queue is full.
    pub fn line(&self, level: Level, text: String) {
        if self.takes(level) && self.queue.try_send(Line::Text(level, SystemTime::now(), text)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
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
        let mut told = false;
        while Instant::now() < deadline {
            told = told || !matches!(self.queue.try_send(Line::Stop), Err(TrySendError::Full(_)));
            if told && thread.0.is_finished() {
                return;
            }
            std::thread::sleep(STOP_LOOK);
        }
    }
}

/// Writes `text` and a line end to standard error, as it is, for what is said before and after there is a log. Waits for
/// it as long as [`Log::stop`] does, and takes no harm if nobody reads it.
pub fn say(text: String) {
    let (done, written) = channel();
    let write = move || {
        // In one piece: a wrapped program may write there at the same time.
        let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
        let _ = done.send(());
    };
    if std::thread::Builder::new().name("say".into()).spawn(write).is_ok() {
        let _ = written.recv_timeout(Duration::from_millis(LOG_STOP_MS));
    }
}

/// Writes lines until told to stop. What cannot be written is lost: there is nobody left to tell.
fn write_all(lines: &Receiver<Line>, dropped: &AtomicU64, out: &mut impl std::io::Write) {
    let mut text = Vec::new();
    while let Ok(first) = lines.recv() {
        let mut next = Some(first);
        let mut stop = false;
        while let Some(line) = next {
            match line {
                Line::Text(level, time, line) => put(&mut text, level, time, &line),
                Line::Stop => stop = true,
            }
            next = lines.try_recv().ok();
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            put(&mut text, Level::Warn, SystemTime::now(), &format!("log lines_dropped={lost}"));
        }
        let _ = out.write_all(&text);
        text.clear();
        if stop {
            let _ = out.flush();
            return;
        }
        std::thread::sleep(GATHER);
    }
}

fn put(text: &mut Vec<u8>, level: Level, time: SystemTime, line: &str) {
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
        let long = "x".repeat(LOG_FIELD_BYTES_MAX + 1);
        assert_eq!(Escaped(&long).to_string().len(), LOG_FIELD_BYTES_MAX + 3);
    }

    #[test]
    fn a_full_queue_drops_and_counts_and_never_blocks() {
        let (queue, lines) = sync_channel(2);
        let log = Log { queue, dropped: Arc::default(), least: Level::Info };
        for number in 0..5 {
            log.line(Level::Info, format!("line {number}"));
            log.line(Level::Debug, "not taken".into());
        }
        assert_eq!(log.dropped(), 3);
        let dropped = log.dropped.clone();
        drop(log);
        let mut out = Vec::new();
        write_all(&lines, &dropped, &mut out);
        let out = String::from_utf8(out).unwrap();
        let ends: Vec<&str> = out.lines().map(|line| line.split_once("Z ").unwrap().1).collect();
        assert_eq!(ends, ["info line 0", "info line 1", "warn log lines_dropped=3"]);
    }
}
