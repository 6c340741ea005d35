//! A crew: threads that do blocking work of one kind, and the bounded queue in front of them.
//!
//! Work of different kinds has crews of its own, so that what is slow holds nothing else up. Owns the threads and the
//! queue; what the work is, and what becomes of it when there is no room, is for others to say.

use std::fmt;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

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
        work: impl Fn(T) + Send + Sync + 'static,
    ) -> io::Result<Crew<T>> {
        let (sender, waiting) = sync_channel(queue);
        let (waiting, work) = (Arc::new(Mutex::new(waiting)), Arc::new(work));
        for number in 0..threads {
            let (waiting, work) = (waiting.clone(), work.clone());
            let thread = std::thread::Builder::new().name(format!("{kind}-{number}"));
            thread.spawn(move || serve(&waiting, &*work))?;
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
        work(piece);
    }
}
