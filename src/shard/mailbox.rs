//! Notes to a shard from other threads: verdicts of helpers and the word to stop.

use crate::session::job::Verdict;
use crate::slab::Key;
use crate::sys::wake::Waker;
use std::sync::{Arc, Mutex, PoisonError};

/// Something another thread tells a shard.
#[derive(Debug)]
pub enum Note {
    /// A helper's answer to the session of this key, if that is still there.
    Verdict(Key, Verdict),
    /// Let nobody in any more, and end when the last session has.
    Finish,
    /// Say goodbye to every client and end when they are gone.
    Stop,
    /// End every session that is left, now and without a word.
    Cut,
    /// Log what there is and go on.
    Report,
}

/// Where notes are put; the shard is woken for each.
#[derive(Clone, Debug)]
pub struct Mailbox {
    notes: Arc<Mutex<Vec<Note>>>,
    waker: Waker,
}

impl Mailbox {
    /// A mailbox whose shard is woken with `waker`.
    pub fn new(waker: Waker) -> Mailbox {
        Mailbox { notes: Arc::default(), waker }
    }

    /// What wakes its shard, note or none.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Puts a note in. Its length is bounded by what a shard has asked for and the few words of the process.
    pub fn put(&self, note: Note) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(note);
        self.waker.wake();
    }

    /// Moves all notes to `into`, which must be empty.
    pub fn take(&self, into: &mut Vec<Note>) {
        debug_assert!(into.is_empty());
        std::mem::swap(&mut *self.notes.lock().unwrap_or_else(PoisonError::into_inner), into);
    }
}
