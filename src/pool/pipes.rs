//! Leases whose payload lies in a pipe of the kernel: which pipe, and how many bytes of it are still in there.
//!
//! Owns the numbers of a shard's pipes, the few bytes of each for what goes in front of the payload, and the part of the
//! ceiling that the payload takes. The pipes themselves are the engine's.

use super::{Home, Lease, Pool};
use crate::limits::{HEADROOM_BYTES, PIPE_BYTES, PIPES_PER_SHARD};
use std::cell::{Cell, RefCell};

/// The pipes of one shard, as numbers.
#[derive(Default)]
pub(super) struct Pipes {
    /// Numbers given out so far.
    count: Cell<usize>,
    /// Empty pipes that nobody holds, last in first out.
    free: RefCell<Vec<Front>>,
    /// Pipes whose lease was dropped before they were empty.
    spoiled: RefCell<Vec<Front>>,
}

/// A pipe's number, and the memory for what goes in front of its payload.
pub(super) struct Front {
    number: u16,
    bytes: Box<[u8]>,
}

/// What of a lease lies in a pipe. Small, for every lease has room for it and a session has room for leases.
pub(super) struct Piped {
    number: u16,
    left: u32,
}

const _: () = assert!(PIPES_PER_SHARD <= u16::MAX as usize && PIPE_BYTES <= u32::MAX as usize);

impl Pool {
    /// An empty lease on an empty pipe, with [`HEADROOM_BYTES`] in front; `None` when all pipes are held.
    pub fn pipe(&self) -> Option<Lease> {
        let pipes = &self.0.pipes;
        let made = || {
            let number = pipes.count.get();
            (number < PIPES_PER_SHARD).then(|| {
                pipes.count.set(number + 1);
                Front { number: number as u16, bytes: vec![0; HEADROOM_BYTES].into_boxed_slice() }
            })
        };
        let freed = pipes.free.borrow_mut().pop();
        let Front { number, bytes } = freed.or_else(made)?;
        let (start, end) = (bytes.len(), bytes.len());
        Some(Lease { bytes, start, end, home: Home::Pipe(self.clone(), Piped { number, left: 0 }) })
    }

    /// The number of a pipe that nobody holds and that is not empty, if there is one. Whoever asks empties it or puts
    /// another in its place, before the next is asked for or a pipe is leased.
    pub fn spoiled_pipe(&self) -> Option<usize> {
        let front = self.0.pipes.spoiled.borrow_mut().pop()?;
        let number = usize::from(front.number);
        self.0.pipes.free.borrow_mut().push(front);
        Some(number)
    }

    /// Takes back what a lease had of a pipe.
    pub(super) fn take_pipe_back(&self, piped: &Piped, bytes: Box<[u8]>) {
        self.0.in_use.set(self.0.in_use.get() - piped.left as usize);
        let list = if piped.left == 0 { &self.0.pipes.free } else { &self.0.pipes.spoiled };
        list.borrow_mut().push(Front { number: piped.number, bytes });
    }
}

impl Lease {
    /// Bytes behind the run that lie in a pipe.
    pub fn piped(&self) -> usize {
        match &self.home {
            Home::Pipe(_, piped) => piped.left as usize,
            Home::Hot(_) | Home::Chunk(..) | Home::Spare(_) | Home::Reserved(_) | Home::Own => 0,
        }
    }

    /// The number of its pipe, if it is one on a pipe.
    pub fn pipe(&self) -> Option<usize> {
        match &self.home {
            Home::Pipe(_, piped) => Some(usize::from(piped.number)),
            Home::Hot(_) | Home::Chunk(..) | Home::Spare(_) | Home::Reserved(_) | Home::Own => None,
        }
    }

    /// Bytes of the run and of the pipe behind it.
    pub fn size(&self) -> usize {
        self.len() + self.piped()
    }

    /// Takes `count` bytes into the lease that were put into its pipe. They count as memory in use until they leave it.
    ///
    /// # Panics
    /// If it is not a lease on a pipe, or no pipe holds so many.
    pub fn pipe_filled(&mut self, count: usize) {
        let Home::Pipe(pool, piped) = &mut self.home else { panic!("bytes are piped into a pipe") };
        let left = piped.left as usize + count;
        assert!(left <= PIPE_BYTES, "what is put into a pipe fits");
        piped.left = left as u32;
        pool.0.in_use.set(pool.0.in_use.get() + count);
    }

    /// Takes `count` bytes out of the lease that have left its pipe.
    ///
    /// # Panics
    /// If there are not so many, or it is not a lease on a pipe.
    pub fn pipe_drained(&mut self, count: usize) {
        let Home::Pipe(pool, piped) = &mut self.home else { panic!("bytes are piped out of a pipe") };
        let left = (piped.left as usize).checked_sub(count).expect("what leaves a pipe was in it");
        piped.left = left as u32;
        pool.0.in_use.set(pool.0.in_use.get() - count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::BUFFER_MEMORY_MIN;

    #[test]
    fn a_pipe_has_one_holder_and_comes_back_when_it_is_empty() {
        let pool = Pool::new(BUFFER_MEMORY_MIN);
        let mut all: Vec<Lease> = std::iter::from_fn(|| pool.pipe()).collect();
        assert_eq!(all.len(), PIPES_PER_SHARD);
        let mut numbers: Vec<usize> = all.iter().map(|it| it.pipe().expect("it has a pipe")).collect();
        numbers.dedup();
        assert_eq!(numbers, (0..PIPES_PER_SHARD).collect::<Vec<_>>());
        all.truncate(PIPES_PER_SHARD - 2);
        assert_eq!([pool.pipe(), pool.pipe(), pool.pipe()].iter().flatten().count(), 2);
        assert_eq!((pool.in_use(), pool.spoiled_pipe()), (0, None));
    }

    #[test]
    fn what_is_piped_counts_until_it_leaves_and_keeps_what_is_in_front() {
        let pool = Pool::new(BUFFER_MEMORY_MIN);
        let mut lease = pool.pipe().unwrap();
        lease.pipe_filled(1000);
        lease.prepend(b"header");
        assert_eq!((lease.len(), lease.piped(), lease.size(), pool.in_use()), (6, 1000, 1006, 1000));
        let mut lease = lease.kept().unwrap();
        assert_eq!((&*lease, pool.in_use()), (&b"header"[..], 1000));
        lease.advance(6);
        lease.pipe_drained(400);
        assert_eq!((lease.size(), pool.in_use()), (600, 600));
        lease.pipe_drained(600);
        drop(lease);
        assert_eq!((pool.in_use(), pool.spoiled_pipe()), (0, None));
    }

    #[test]
    fn a_pipe_that_was_dropped_full_is_leased_again_only_when_it_was_seen_to() {
        let pool = Pool::new(BUFFER_MEMORY_MIN);
        let mut all: Vec<Lease> = std::iter::from_fn(|| pool.pipe()).collect();
        let mut full = all.swap_remove(3);
        full.pipe_filled(7);
        drop(full);
        assert_eq!(pool.in_use(), 0);
        assert!(pool.pipe().is_none());
        assert_eq!((pool.spoiled_pipe(), pool.spoiled_pipe()), (Some(3), None));
        assert_eq!(pool.pipe().and_then(|it| it.pipe()), Some(3));
    }

    #[test]
    #[should_panic(expected = "was in it")]
    fn no_more_leaves_a_pipe_than_was_in_it() {
        let mut lease = Pool::new(BUFFER_MEMORY_MIN).pipe().unwrap();
        lease.pipe_filled(1);
        lease.pipe_drained(2);
    }
}
