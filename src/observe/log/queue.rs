//! The queue between those who say lines and the one who writes them: bounded by how many wait, and it takes memory for
//! those alone.
//!
//! A channel of the standard library that has a bound holds room for all that may ever wait; here that grows with the
//! number of shards, and is hardly ever used. So the channel has none, and the count of those that wait is the bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

/// A queue in which up to `most` may wait.
pub(super) fn queue<T>(most: usize) -> (Way<T>, Taker<T>) {
    let (queue, taken) = channel();
    let waiting = Arc::<AtomicUsize>::default();
    (Way { queue, waiting: waiting.clone(), most }, Taker { queue: taken, waiting })
}

/// Where things are put in, from any thread.
#[derive(Debug)]
pub(super) struct Way<T> {
    queue: Sender<T>,
    waiting: Arc<AtomicUsize>,
    most: usize,
}

impl<T> Clone for Way<T> {
    fn clone(&self) -> Way<T> {
        Way { queue: self.queue.clone(), waiting: self.waiting.clone(), most: self.most }
    }
}

impl<T> Way<T> {
    /// Puts one in without waiting; false if there is no room, or nobody takes any more.
    pub fn put(&self, thing: T) -> bool {
        // What is taken out meanwhile may be counted late; then there is less room for a moment, never more.
        if self.waiting.fetch_add(1, Ordering::Relaxed) < self.most && self.queue.send(thing).is_ok() {
            return true;
        }
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        false
    }

    /// Puts in what is the last, whether there is room or not.
    pub fn put_last(&self, thing: T) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // Nobody takes it: then there is nobody to be told.
        let _ = self.queue.send(thing);
    }
}

/// Where they are taken out, in order.
#[derive(Debug)]
pub(super) struct Taker<T> {
    queue: Receiver<T>,
    waiting: Arc<AtomicUsize>,
}

impl<T> Taker<T> {
    /// The next one, which is waited for; `None` when nobody is left who could put one in.
    pub fn take(&self) -> Option<T> {
        self.queue.recv().ok().inspect(|_| self.taken())
    }

    /// The next one, if there is one.
    pub fn try_take(&self) -> Option<T> {
        self.queue.try_recv().ok().inspect(|_| self.taken())
    }

    fn taken(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_may_wait_and_no_more_however_many_put_in() {
        const MOST: usize = 1_000;
        let (way, taker) = queue(MOST);
        let put_all = |way: &Way<usize>| (0..MOST).filter(|&number| way.put(number)).count();
        for _ in 0..3 {
            let put: usize = std::thread::scope(|scope| {
                let others: Vec<_> = (0..3).map(|_| scope.spawn(|| put_all(&way))).collect();
                others.into_iter().map(|other| other.join().unwrap()).sum()
            });
            // Whoever finds no room takes its mark back, and may meanwhile have left none for another.
            let rest = put_all(&way);
            assert_eq!(put + rest, MOST);
            assert!(!way.put(0) && !way.clone().put(0));
            assert_eq!(std::iter::from_fn(|| taker.try_take()).count(), MOST);
        }
        way.put_last(1);
        assert_eq!(taker.take(), Some(1));
        drop(way);
        assert_eq!(taker.take(), None);
    }

    #[test]
    fn what_nobody_takes_is_not_put() {
        let (way, taker) = queue(2);
        drop(taker);
        assert!(!way.put(1) && !way.put(1) && !way.put(1));
    }
}
