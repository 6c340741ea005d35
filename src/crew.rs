//! A crew: threads that do blocking work of one kind, and the bounded queue in front of them.
//!
//! Work of different kinds has crews of its own, so that what is slow holds nothing else up. Owns the threads and the
//! queue, and whether they give way to shards on the same core; what the work is, and what becomes of it when there is no room, is
//! for others to say. Work that panics costs its own piece, which is dropped, and no thread.

use crate::sys::turns;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// How a crew stands beside shards on the same core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It gives way: for work that mostly waits.
    GivesWay,
    /// It is as good as they are: for work that keeps a core for long and has a time by which it must be done.
    Level,
}

/// The way to the threads of one kind of work; cheap to clone. They end when the last clone is gone.
pub struct Crew<T>(SyncSender<T>);

impl<T> fmt::Debug for Crew<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Crew")
    }
}

impl<T> Clone for Crew<T> {
    fn clone(&self) -> Crew<T> {
        Crew(self.0.clone())
    }
}

impl<T: Send + 'static> Crew<T> {
    /// Starts `threads` threads, called after `kind`, that do `work`; up to `queue` pieces of it may wait.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        kind: &str,
        threads: usize,
        queue: usize,
        standing: Standing,
        work: impl Fn(T) + Send + Sync + 'static,
    ) -> io::Result<Crew<T>> {
        let (sender, waiting) = sync_channel(queue);
        let (waiting, work) = (Arc::new(Mutex::new(waiting)), Arc::new(work));
        for number in 0..threads {
            let (waiting, work) = (waiting.clone(), work.clone());
            let thread = std::thread::Builder::new().name(format!("{kind}-{number}"));
            thread.spawn(move || {
                if standing == Standing::GivesWay {
                    // Where that cannot be had, helpers and shards share a core as all do.
                    let _ = turns::give_way();
                }
                serve(&waiting, &*work);
            })?;
        }
        Ok(Crew(sender))
    }

    /// Has a piece of work done; gives it back when there is no room for it.
    pub fn ask(&self, piece: T) -> Result<(), T> {
        self.0.try_send(piece).map_err(|refused| {
            let (TrySendError::Full(piece) | TrySendError::Disconnected(piece)) = refused;
            piece
        })
    }
}

fn serve<T>(waiting: &Mutex<Receiver<T>>, work: &dyn Fn(T)) {
    loop {
        // A thread that panicked held nothing but the lock, so what it guarded is as good as before.
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(piece) = next else { return };
        // The panic has been told by its hook. What the work shares it shares between threads anyway, behind locks that are
        // used on after a panic.
        let _ = catch_unwind(AssertUnwindSafe(|| work(piece)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    #[test]
    fn work_that_panics_costs_no_thread() {
        let (tell, told) = channel();
        let crew = Crew::start(
            "panics",
            1,
            4,
            Standing::GivesWay,
            |(number, tell): (u8, std::sync::mpsc::Sender<u8>)| {
                assert!(number != 0, "a bug");
                let _ = tell.send(number);
            },
        )
        .unwrap();
        for number in [0, 1, 0, 2] {
            assert!(crew.ask((number, tell.clone())).is_ok());
        }
        drop(tell);
        for number in [1, 2] {
            assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok(number));
        }
        assert!(told.recv_timeout(Duration::from_secs(10)).is_err(), "the pieces that panicked are gone");
    }
}
