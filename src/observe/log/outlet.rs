//! What waits for standard error, or for another descriptor: written by a thread of its own, since whoever reads it may be
//! asleep.
//!
//! Owns lines as far as it has room, and the count of those that found none. It never makes the thread wait that
//! hands lines over, so a reader that sleeps holds neither the log file nor syslog up.

use super::{Level, put};
use crate::limits::{LOG_OUTLET_BYTES, LOG_OUTLET_PER_SHARD};
use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// The way of lines to a descriptor.
#[derive(Debug, Default)]
pub struct Outlet {
    held: Mutex<Held>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct Held {
    text: Vec<u8>,
    /// Whose lines they are, besides the server's own.
    shards: usize,
    /// Lines that found no room since the text was taken last.
    dropped: u64,
    closed: bool,
    /// What became of the last write, or the first failure, until somebody asks.
    outcome: Option<io::Result<()>>,
}

impl Outlet {
    /// Makes room for what so many shards may say at once.
    pub fn widen(&self, shards: usize) {
        self.held().shards = shards;
    }

    /// Takes whole lines as far as there is room for them, and counts the others.
    pub fn take(&self, lines: &[u8]) {
        let mut held = self.held();
        let room = LOG_OUTLET_BYTES + held.shards * LOG_OUTLET_PER_SHARD;
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            // Once one is missing, so are all up to the line that says so.
            if held.dropped > 0 || held.text.len() + line.len() > room {
                held.dropped += 1;
            } else {
                held.text.extend_from_slice(line);
            }
        }
        self.news.notify_one();
    }

    /// Nothing more will come.
    pub fn close(&self) {
        self.held().closed = true;
        self.news.notify_one();
    }

    /// What became of the writes since this was asked last: the first failure, or the last success.
    pub fn outcome(&self) -> Option<io::Result<()>> {
        self.held().outcome.take()
    }

    /// Writes what comes, until there is nothing left and nothing more will come; `name` is what lines are said to have been
    /// dropped of. What cannot be written is lost.
    pub fn write_to(&self, name: &str, out: &mut impl Write) {
        let mut text = Vec::new();
        loop {
            text.clear();
            let mut held = self.held();
            while held.text.is_empty() && held.dropped == 0 {
                if held.closed {
                    let _ = out.flush();
                    return;
                }
                held = self.news.wait(held).unwrap_or_else(PoisonError::into_inner);
            }
            std::mem::swap(&mut held.text, &mut text);
            let dropped = std::mem::take(&mut held.dropped);
            drop(held);
            if dropped > 0 {
                put(
                    &mut text,
                    Level::Warn,
                    SystemTime::now(),
                    &format!("log {name}_lines_dropped={dropped}"),
                );
            }
            let outcome = out.write_all(&text);
            let mut held = self.held();
            // A success after it does not undo a failure that nobody has heard of.
            if !matches!(held.outcome, Some(Err(_))) {
                held.outcome = Some(outcome);
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Whoever panicked here left whole lines.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use std::sync::mpsc::{Sender, channel};
    use std::time::Duration;

    #[test]
    fn what_finds_no_room_is_counted_and_told_in_its_place() {
        for shards in [0, 3] {
            let outlet = Outlet::default();
            outlet.widen(shards);
            let room = LOG_OUTLET_BYTES + shards * LOG_OUTLET_PER_SHARD;
            let long = [vec![b'x'; room - 3], b"\n".to_vec()].concat();
            outlet.take(&long);
            outlet.take(b"too long\n\nbehind it\n");
            outlet.close();
            let mut out = Vec::new();
            outlet.write_to("stderr", &mut out);
            assert!(out.starts_with(&long));
            let rest = String::from_utf8_lossy(&out[long.len()..]);
            assert!(rest.ends_with("Z warn log stderr_lines_dropped=3\n"), "{rest}");
            assert_eq!(rest.lines().count(), 1);
        }
    }

    /// Fails once, then says what it has taken.
    struct Once(Option<ErrorKind>, Sender<()>);

    impl Write for Once {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let outcome = self.0.take().map_or(Ok(bytes.len()), |kind| Err(kind.into()));
            self.1.send(()).unwrap();
            outcome
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_failure_is_kept_until_somebody_asks() {
        let outlet = Outlet::default();
        let (tell, written) = channel();
        std::thread::scope(|scope| {
            scope.spawn(|| outlet.write_to("file", &mut Once(Some(ErrorKind::StorageFull), tell)));
            for line in [b"lost\n", b"here\n"] {
                outlet.take(line);
                written.recv_timeout(Duration::from_secs(10)).unwrap();
            }
            outlet.close();
        });
        assert_eq!(outlet.outcome().unwrap().unwrap_err().kind(), ErrorKind::StorageFull);
        assert!(outlet.outcome().is_none());
    }
}
