//! Where buffer bytes live: one hot buffer and a pool of chunks for each shard, handed out as leases.
//!
//! A [`Lease`] is the sole right to a run of bytes: it is neither `Copy` nor `Clone`, and dropping it gives the memory
//! back to where it came from. The payload of a lease may also lie in a pipe of the kernel, out of sight (`pipes`).
//! Owns all payload memory of a shard and its ceiling. It never grows past that ceiling on
//! behalf of a peer, never crosses threads, and never looks at what the bytes mean.

mod pipes;

use crate::limits::{CHUNK_CACHE_BYTES, CHUNK_CLASSES, HEADROOM_BYTES, HOT_BYTES};
use pipes::{Piped, Pipes};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::{Deref, DerefMut, Range};
use std::rc::Rc;

/// Bytes of the smallest chunk; a receive that must not bring more than fits one is [`SPARING_BYTES`] long at most.
const SMALLEST: usize = CHUNK_CLASSES[0];
/// What is received at once while memory is short: with the headers that go in front it still fits the smallest chunk.
const SPARING_BYTES: usize = SMALLEST - HEADROOM_BYTES;
/// Bytes of the largest chunk: whatever a single receive brought, with its headroom, fits one.
const LARGEST: usize = CHUNK_CLASSES[CHUNK_CLASSES.len() - 1];

/// The buffers of one shard.
#[derive(Clone)]
pub struct Pool(Rc<Shelves>);

struct Shelves {
    /// The hot buffer, while nobody holds it.
    hot: Cell<Option<Box<[u8]>>>,
    /// Freed chunks by class, last in first out, so that the warmest is used next.
    free: [RefCell<Vec<Box<[u8]>>>; CHUNK_CLASSES.len()],
    /// Bytes on `free`, at most [`CHUNK_CACHE_BYTES`].
    cached: Cell<usize>,
    pipes: Pipes,
    /// Bytes of chunks and reservations in use, and in pipes.
    in_use: Cell<usize>,
    /// Most bytes that may be in use while receives still go on.
    ceiling: usize,
}

impl Pool {
    /// A pool whose chunks in use stop receives at `ceiling` bytes. Allocates the hot buffer at once, chunks when needed.
    pub fn new(ceiling: usize) -> Pool {
        Pool(Rc::new(Shelves {
            hot: Cell::new(Some(vec![0; HEADROOM_BYTES + HOT_BYTES].into_boxed_slice())),
            free: Default::default(),
            cached: Cell::new(0),
            pipes: Pipes::default(),
            in_use: Cell::new(0),
            ceiling: ceiling.max(SMALLEST),
        }))
    }

    /// How many bytes a receive may bring, so that they can be kept if they cannot be passed on: a hot buffer while half
    /// of the ceiling is free, then little, so that those who do not take their bytes cannot stop all the others, and
    /// nothing at the ceiling itself.
    ///
    /// A receive brings at most one lease. Where at most one lease is kept for it, asking before the receive is enough for the
    /// ceiling to hold, but for the small change of control frames. Where messages are cut two can be kept: the frames that
    /// are on their way, and what is left of the receive. And what is sealed lies there twice until it is. So much can be
    /// in use above the ceiling.
    pub fn allowance(&self) -> usize {
        if self.fits(LARGEST) {
            HOT_BYTES
        } else if self.fits(SMALLEST) {
            SPARING_BYTES
        } else {
            0
        }
    }

    /// Whether half of the ceiling is in use: what can wait or be refused should be.
    pub fn is_short(&self) -> bool {
        !self.fits(LARGEST)
    }

    /// Whether `bytes` more may be in use. The upper half of the ceiling is for small chunks.
    fn fits(&self, bytes: usize) -> bool {
        let ceiling = if bytes <= SMALLEST { self.0.ceiling } else { self.0.ceiling / 2 };
        self.0.in_use.get() + bytes <= ceiling
    }

    /// The hot buffer, empty, with [`HEADROOM_BYTES`] in front and [`HOT_BYTES`] of room behind.
    ///
    /// # Panics
    /// If the last lease on it is still held: one completion at a time is the engine's contract.
    pub fn hot(&self) -> Lease {
        let bytes = self.0.hot.take().expect("the hot buffer is home between completions");
        Lease { bytes, start: HEADROOM_BYTES, end: HEADROOM_BYTES, home: Home::Hot(self.clone()) }
    }

    /// An empty chunk with room for at least `room` bytes; more than the largest class gets memory of its own size, which
    /// counts as well.
    pub fn chunk(&self, room: usize) -> Lease {
        let Some(class) = CHUNK_CLASSES.iter().position(|&size| size >= room) else {
            let home = Home::Reserved(self.take(room));
            return Lease { bytes: vec![0; room].into_boxed_slice(), start: 0, end: 0, home };
        };
        let size = CHUNK_CLASSES[class];
        let bytes = match self.0.free[class].borrow_mut().pop() {
            Some(bytes) => {
                self.0.cached.set(self.0.cached.get() - size);
                bytes
            }
            None => vec![0; size].into_boxed_slice(),
        };
        self.0.in_use.set(self.0.in_use.get() + size);
        Lease { bytes, start: 0, end: 0, home: Home::Chunk(self.clone(), class) }
    }

    /// An empty chunk as from [`Pool::chunk`]; `None` when it does not fit under the ceiling.
    pub fn chunk_within(&self, room: usize) -> Option<Lease> {
        let size = CHUNK_CLASSES.iter().copied().find(|&size| size >= room).unwrap_or(room);
        self.fits(size).then(|| self.chunk(room))
    }

    /// Sets `bytes` of the ceiling aside for memory that somebody else allocates; `None` when it does not fit.
    pub fn reserve(&self, bytes: usize) -> Option<Reservation> {
        self.fits(bytes).then(|| self.take(bytes))
    }

    fn take(&self, bytes: usize) -> Reservation {
        self.0.in_use.set(self.0.in_use.get() + bytes);
        Reservation { pool: self.clone(), bytes }
    }

    /// Bytes of chunks and reservations in use, and in pipes.
    pub fn in_use(&self) -> usize {
        self.0.in_use.get()
    }

    fn take_back(&self, class: usize, bytes: Box<[u8]>) {
        self.0.in_use.set(self.0.in_use.get() - CHUNK_CLASSES[class]);
        if self.0.cached.get() + CHUNK_CLASSES[class] <= CHUNK_CACHE_BYTES {
            self.0.cached.set(self.0.cached.get() + CHUNK_CLASSES[class]);
            self.0.free[class].borrow_mut().push(bytes);
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("in_use", &self.in_use()).field("ceiling", &self.0.ceiling).finish()
    }
}

/// A part of the ceiling, given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    pool: Pool,
    bytes: usize,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.pool.0.in_use.set(self.pool.0.in_use.get() - self.bytes);
    }
}

/// Sole right to a run of buffer bytes, with room in front and behind.
pub struct Lease {
    bytes: Box<[u8]>,
    /// `start <= end <= bytes.len()`: the run is `bytes[start..end]`.
    start: usize,
    end: usize,
    home: Home,
}

enum Home {
    Hot(Pool),
    Chunk(Pool, usize),
    /// Memory of its own size that counts.
    Reserved(#[expect(dead_code, reason = "it gives the memory back when it is dropped")] Reservation),
    /// The run is what goes in front of payload in a pipe.
    Pipe(Pool, Piped),
    Own,
}

impl Lease {
    /// A lease on memory of its own, such as an answer written for one session.
    pub fn own(bytes: Vec<u8>) -> Lease {
        let bytes = bytes.into_boxed_slice();
        Lease { start: 0, end: bytes.len(), bytes, home: Home::Own }
    }

    /// A lease on memory that `reservation` was made for.
    pub fn reserved(bytes: Vec<u8>, reservation: Reservation) -> Lease {
        let bytes = bytes.into_boxed_slice();
        Lease { start: 0, end: bytes.len(), bytes, home: Home::Reserved(reservation) }
    }

    /// Bytes that can be put in front of the run.
    pub fn headroom(&self) -> usize {
        self.start
    }

    /// Bytes that can be put behind the run.
    pub fn tailroom(&self) -> usize {
        self.bytes.len() - self.end
    }

    /// Puts `front` in front of the run, without moving the run.
    ///
    /// # Panics
    /// If it is longer than [`Lease::headroom`].
    pub fn prepend(&mut self, front: &[u8]) {
        let start = self.start.checked_sub(front.len()).expect("a header fits the headroom");
        self.bytes[start..self.start].copy_from_slice(front);
        self.start = start;
    }

    /// Puts as much of `back` behind the run as there is room for and returns how much that was.
    pub fn append(&mut self, back: &[u8]) -> usize {
        let taken = back.len().min(self.tailroom());
        self.bytes[self.end..self.end + taken].copy_from_slice(&back[..taken]);
        self.end += taken;
        taken
    }

    /// Drops the first `count` bytes of the run.
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.len());
        self.start += count;
    }

    /// Keeps only `range` of the run.
    pub fn narrow(&mut self, range: Range<usize>) {
        assert!(range.start <= range.end && range.end <= self.len());
        self.end = self.start + range.end;
        self.start += range.start;
    }

    /// The free bytes behind the run, for a receive to fill; then [`Lease::extend_filled`] says how many it did.
    pub fn spare_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.end..]
    }

    /// Takes `count` bytes that were written into [`Lease::spare_mut`] into the run.
    pub fn extend_filled(&mut self, count: usize) {
        assert!(count <= self.tailroom());
        self.end += count;
    }

    /// The same bytes where they can stay beyond this completion: off the hot buffer, into a chunk of their size.
    #[must_use]
    pub fn kept(self) -> Lease {
        let Home::Hot(pool) = &self.home else { return self };
        let mut chunk = pool.chunk(self.len());
        let copied = chunk.append(&self);
        debug_assert_eq!(copied, self.len());
        chunk
    }

    /// This run with `more` behind it, moved to a larger chunk of `pool` when it has no room.
    #[must_use]
    pub fn joined(mut self, more: &[u8], pool: &Pool) -> Lease {
        if self.tailroom() >= more.len() && !matches!(self.home, Home::Hot(_)) {
            self.append(more);
            return self;
        }
        let mut larger = pool.chunk(self.len() + more.len());
        larger.append(&self);
        larger.append(more);
        larger
    }
}

impl Deref for Lease {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        match &self.home {
            Home::Hot(pool) => pool.0.hot.set(Some(bytes)),
            Home::Chunk(pool, class) => pool.take_back(*class, bytes),
            Home::Pipe(pool, piped) => pool.take_pipe_back(piped, bytes),
            Home::Reserved(_) | Home::Own => {}
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let home = match self.home {
            Home::Hot(_) => "hot",
            Home::Chunk(..) => "chunk",
            Home::Reserved(_) => "reserved",
            Home::Pipe(..) => "pipe",
            Home::Own => "own",
        };
        write!(f, "Lease({home}, {} bytes)", self.size())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::BUFFER_MEMORY_MIN;

    #[test]
    fn hot_buffer_comes_home_when_dropped() {
        let pool = Pool::new(BUFFER_MEMORY_MIN);
        for _ in 0..3 {
            let mut lease = pool.hot();
            lease.spare_mut()[..5].copy_from_slice(b"hello");
            lease.extend_filled(5);
            lease.prepend(b"<<");
            assert_eq!(&*lease, b"<<hello");
            lease.advance(1);
            lease.narrow(1..4);
            assert_eq!(&*lease, b"hel");
        }
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    #[should_panic(expected = "home between completions")]
    fn hot_buffer_is_leased_once() {
        let pool = Pool::new(BUFFER_MEMORY_MIN);
        let _first = pool.hot();
        let _second = pool.hot();
    }

    #[test]
    fn kept_bytes_leave_the_hot_buffer_and_count() {
        let pool = Pool::new(BUFFER_MEMORY_MIN);
        let mut lease = pool.hot();
        lease.append(&[7; 5000]);
        let kept = lease.kept();
        assert_eq!(pool.in_use(), CHUNK_CLASSES[1]);
        assert_eq!(pool.hot().len(), 0);
        assert!(kept.iter().all(|&byte| byte == 7) && kept.len() == 5000);
        drop(kept);
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn half_a_ceiling_makes_receives_sparing_and_all_of_it_stops_them() {
        let ceiling = 4 * LARGEST;
        let pool = Pool::new(ceiling);
        assert_eq!((pool.allowance(), pool.is_short()), (HOT_BYTES, false));
        let large = [pool.chunk(LARGEST), pool.chunk(LARGEST)];
        assert_eq!((pool.allowance(), pool.is_short()), (SPARING_BYTES, true));
        assert!(pool.reserve(SMALLEST + 1).is_none() && pool.chunk_within(SMALLEST + 1).is_none());
        let mut small = Vec::new();
        while pool.allowance() > 0 {
            small.push(pool.chunk(SPARING_BYTES + HEADROOM_BYTES));
        }
        assert!(pool.in_use() <= ceiling && pool.in_use() + SMALLEST > ceiling);
        assert!(pool.reserve(SMALLEST).is_none());
        small.pop();
        assert_eq!(pool.allowance(), SPARING_BYTES);
        drop((small, large));
        assert_eq!(pool.in_use(), 0);
        let reservation = pool.reserve(ceiling / 2).expect("half is for anything");
        assert_eq!(pool.in_use(), ceiling / 2);
        drop(Lease::reserved(vec![1; 3], reservation));
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn chunks_within_the_ceiling_count_whatever_their_size() {
        let pool = Pool::new(4 * LARGEST);
        let large = pool.chunk_within(2 * LARGEST).unwrap();
        assert_eq!((large.tailroom(), pool.in_use()), (2 * LARGEST, 2 * LARGEST));
        let small = pool.chunk_within(1).unwrap();
        assert!(pool.chunk_within(LARGEST).is_none());
        // What must have its place counts too.
        let larger = pool.chunk(2 * LARGEST);
        assert_eq!((larger.tailroom(), pool.in_use()), (2 * LARGEST, 4 * LARGEST + SMALLEST));
        assert!(pool.is_short() && pool.allowance() == 0);
        drop((large, small, larger));
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn joining_grows_through_the_classes() {
        let pool = Pool::new(BUFFER_MEMORY_MIN);
        let mut lease = pool.chunk(1);
        for byte in 0..20_000u32 {
            lease = lease.joined(&[byte as u8], &pool);
        }
        assert_eq!(lease.len(), 20_000);
        assert!(lease.iter().enumerate().all(|(at, &byte)| byte == at as u8));
        assert_eq!(pool.in_use(), CHUNK_CLASSES[2]);
    }
}
