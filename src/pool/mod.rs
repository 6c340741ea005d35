//! Where buffer bytes live: one hot buffer and a pool of chunks for each shard, handed out as leases.
//!
//! A [`Lease`] is the sole right to a run of bytes: it is neither `Copy` nor `Clone`, and dropping it gives the memory
//! back to where it came from. The payload of a lease may also lie in a pipe of the kernel, out of sight (`pipes`).
//! Owns all payload memory of a shard and its ceiling. It never grows past that ceiling on
//! behalf of a peer, never crosses threads, and never looks at what the bytes mean. Where the system gives less than the
//! ceiling allows, that is no end of the process: memory is short, or a lease is not to be had.

mod pipes;

use crate::limits::{
    CHUNK_CACHE_BYTES, CHUNK_CLASSES, HEADROOM_BYTES, HOT_BYTES, SPARE_CHUNKS, SPARE_CHUNKS_LAST,
};
use pipes::{Piped, Pipes};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::hint::black_box;
use std::ops::{Deref, DerefMut, Range};
use std::rc::Rc;
use zerocopy::FromZeros;

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
    /// Where chunks come from: so many zeros, or nothing where there is no memory.
    system: Box<dyn Fn(usize) -> Option<Box<[u8]>>>,
    /// Whether the system has so many bytes in one piece.
    has: Box<dyn Fn(usize) -> bool>,
    /// Bytes that came from the system since it was asked whether it has more.
    unasked: Cell<usize>,
    /// The hot buffer, while nobody holds it.
    hot: Cell<Option<Box<[u8]>>>,
    /// Freed chunks by class, last in first out, so that the warmest is used next.
    free: [RefCell<Vec<Box<[u8]>>>; CHUNK_CLASSES.len()],
    /// Bytes on `free`, at most [`CHUNK_CACHE_BYTES`].
    cached: Cell<usize>,
    /// Chunks of the largest class that are set aside, once they are: [`SPARE_CHUNKS`] of them, unless memory is `lacking`.
    spare: RefCell<Vec<Box<[u8]>>>,
    /// The system gave no memory when it was last asked.
    lacking: Cell<bool>,
    /// Memory came back since it was last sought in vain.
    came_back: Cell<bool>,
    pipes: Pipes,
    /// Bytes of chunks and reservations in use, and in pipes.
    in_use: Cell<usize>,
    /// Most bytes that may be in use while receives still go on.
    ceiling: usize,
}

impl Pool {
    /// A pool whose chunks in use stop receives at `ceiling` bytes. Allocates the hot buffer at once, chunks when needed.
    pub fn new(ceiling: usize) -> Pool {
        Pool::made(ceiling, Box::new(zeros), Box::new(is_there))
    }

    /// The same, whose chunks come from `system`: so many zeros, or nothing where it gives none.
    pub fn over(ceiling: usize, system: impl Fn(usize) -> Option<Box<[u8]>> + 'static) -> Pool {
        let system = Rc::new(system);
        let has = system.clone();
        Pool::made(ceiling, Box::new(move |bytes| system(bytes)), Box::new(move |bytes| has(bytes).is_some()))
    }

    fn made(
        ceiling: usize,
        system: Box<dyn Fn(usize) -> Option<Box<[u8]>>>,
        has: Box<dyn Fn(usize) -> bool>,
    ) -> Pool {
        Pool(Rc::new(Shelves {
            system,
            has,
            unasked: Cell::new(0),
            hot: Cell::new(Some(vec![0; HEADROOM_BYTES + HOT_BYTES].into_boxed_slice())),
            free: Default::default(),
            cached: Cell::new(0),
            spare: RefCell::new(Vec::with_capacity(SPARE_CHUNKS)),
            lacking: Cell::new(false),
            came_back: Cell::new(false),
            pipes: Pipes::default(),
            in_use: Cell::new(0),
            ceiling: ceiling.max(SMALLEST),
        }))
    }

    /// Sets aside what a server needs when the system gives nothing any more.
    pub fn set_aside(&self) {
        self.0.lacking.set(!self.fill());
    }

    fn fill(&self) -> bool {
        let mut spare = self.0.spare.borrow_mut();
        while spare.len() < SPARE_CHUNKS {
            let Some(bytes) = (self.0.system)(LARGEST) else {
                spare.truncate(SPARE_CHUNKS_LAST);
                return false;
            };
            spare.push(bytes);
        }
        true
    }

    /// How many bytes a receive may bring, so that they can be kept if they cannot be passed on: a hot buffer while half
    /// of the ceiling is free, then little, so that those who do not take their bytes cannot stop all the others, and
    /// nothing at the ceiling itself. Where the system gives no memory, little too, and nothing when the last that was set
    /// aside is in use.
    ///
    /// A receive brings at most one lease. Where at most one lease is kept for it, asking before the receive is enough for the
    /// ceiling to hold, but for the small change of control frames. Where messages are cut two can be kept: the frames that
    /// are on their way, and what is left of the receive. And what is sealed lies there twice until it is. So much can be
    /// in use above the ceiling.
    pub fn allowance(&self) -> usize {
        if self.fits(LARGEST) {
            HOT_BYTES
        } else if self.fits(SMALLEST) && (!self.0.lacking.get() || !self.0.spare.borrow().is_empty()) {
            SPARING_BYTES
        } else {
            0
        }
    }

    /// Whether half of the ceiling is in use, or the system gives no memory: what can wait or be refused should be.
    pub fn is_short(&self) -> bool {
        !self.fits(LARGEST)
    }

    /// Whether `bytes` more may be in use. The upper half of the ceiling is for small chunks, and so is what the system
    /// still has when it does not give all.
    fn fits(&self, bytes: usize) -> bool {
        let is_small = bytes <= SMALLEST;
        let ceiling = if is_small { self.0.ceiling } else { self.0.ceiling / 2 };
        self.0.in_use.get().checked_add(bytes).is_some_and(|sum| sum <= ceiling)
            && (is_small || self.is_backed())
    }

    /// Whether all is set aside that shall be. Once it had to be given back, it is sought again when memory came back; and
    /// only where there is twice as much, so that what runs on small change is not robbed of it at once.
    pub fn is_backed(&self) -> bool {
        let shelves = &self.0;
        if !shelves.lacking.get() {
            return true;
        }
        let in_vain = !shelves.came_back.replace(false) && shelves.in_use.get() > 0;
        let is_backed = !in_vain && (shelves.has)(2 * SPARE_CHUNKS * LARGEST) && self.fill();
        shelves.lacking.set(!is_backed);
        is_backed
    }

    /// Whether the system gave no memory when it was last asked.
    pub fn lacks(&self) -> bool {
        self.0.lacking.get()
    }

    /// Whether memory is to be had, also where others gave it back.
    pub fn recovers(&self) -> bool {
        self.0.came_back.set(true);
        self.is_backed()
    }

    /// Whether the system has as much again as is set aside, asked for now and then: what others take meanwhile (TLS, sessions)
    /// must not fail, so memory is gone before the last of it is.
    fn has_slack(&self, bytes: usize) -> bool {
        let unasked = self.0.unasked.get().saturating_add(bytes);
        let is_due = unasked >= LARGEST && !self.0.lacking.get();
        self.0.unasked.set(if is_due { 0 } else { unasked });
        !is_due || (self.0.has)(SPARE_CHUNKS * LARGEST)
    }

    /// Memory from the system. If it gives none, or has little more, it gets back what is only kept for later.
    fn allocated(&self, bytes: usize) -> Option<Box<[u8]>> {
        let found = (self.0.system)(bytes);
        if found.is_none() || !self.has_slack(bytes) {
            self.0.lacking.set(true);
            self.0.spare.borrow_mut().truncate(SPARE_CHUNKS_LAST);
            self.0.free.iter().for_each(|list| list.borrow_mut().clear());
            self.0.cached.set(0);
        }
        found
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
    /// counts as well. It is for bytes that go on as soon as a socket takes them, and may be one of those set aside. `None` when
    /// the system gives nothing, and nothing is set aside any more.
    pub fn chunk(&self, room: usize) -> Option<Lease> {
        self.chunk_to_hold(room).or_else(|| {
            let bytes = self.0.spare.borrow_mut().pop_if(|spare| spare.len() >= room)?;
            Some(self.lent(bytes))
        })
    }

    fn lent(&self, bytes: Box<[u8]>) -> Lease {
        self.0.in_use.set(self.0.in_use.get() + LARGEST);
        Lease { bytes, start: 0, end: 0, home: Home::Spare(self.clone()) }
    }

    /// The same, but never one of those set aside: for bytes that a peer can leave here for as long as it likes.
    pub fn chunk_to_hold(&self, room: usize) -> Option<Lease> {
        let Some(class) = CHUNK_CLASSES.iter().position(|&size| size >= room) else {
            let bytes = self.allocated(room)?;
            return Some(Lease { bytes, start: 0, end: 0, home: Home::Reserved(self.take(room)) });
        };
        let size = CHUNK_CLASSES[class];
        let freed = self.0.free[class].borrow_mut().pop();
        let bytes = match freed {
            Some(bytes) => {
                self.0.cached.set(self.0.cached.get() - size);
                bytes
            }
            None => self.allocated(size)?,
        };
        Some(self.leased(bytes, class))
    }

    fn leased(&self, bytes: Box<[u8]>, class: usize) -> Lease {
        self.0.in_use.set(self.0.in_use.get() + CHUNK_CLASSES[class]);
        Lease { bytes, start: 0, end: 0, home: Home::Chunk(self.clone(), class) }
    }

    /// An empty chunk as from [`Pool::chunk_to_hold`]; `None` also when it does not fit under the ceiling.
    pub fn chunk_within(&self, room: usize) -> Option<Lease> {
        let size = CHUNK_CLASSES.iter().copied().find(|&size| size >= room).unwrap_or(room);
        if self.fits(size) { self.chunk_to_hold(room) } else { None }
    }

    /// An empty lease on memory of just `room` bytes; `None` when it does not fit under the ceiling, or there is none.
    pub fn little(&self, room: usize) -> Option<Lease> {
        let reservation = self.reserve(room)?;
        let bytes = self.allocated(room)?;
        Some(Lease { bytes, start: 0, end: 0, home: Home::Reserved(reservation) })
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
        let size = CHUNK_CLASSES[class];
        self.0.in_use.set(self.0.in_use.get() - size);
        if self.0.lacking.get() {
            self.0.came_back.set(true);
            let mut spare = self.0.spare.borrow_mut();
            if size == LARGEST && spare.len() < SPARE_CHUNKS_LAST {
                spare.push(bytes);
            }
            return;
        }
        let mut free = self.0.free[class].borrow_mut();
        if self.0.cached.get() + size <= CHUNK_CACHE_BYTES && free.try_reserve(1).is_ok() {
            self.0.cached.set(self.0.cached.get() + size);
            free.push(bytes);
        }
    }
}

/// So many zeros, or nothing where the system gives none: addresses are limited, or it promises no more than it has.
fn zeros(bytes: usize) -> Option<Box<[u8]>> {
    <[u8]>::new_box_zeroed_with_elems(bytes).ok()
}

/// Whether the system has so many bytes in one piece. They are not touched.
fn is_there(bytes: usize) -> bool {
    let mut block = Vec::<u8>::new();
    // Without the box a compiler may do without memory that nobody uses.
    block.try_reserve_exact(bytes).is_ok() && black_box(block).capacity() >= bytes
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
        self.pool.0.came_back.set(true);
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
    /// A chunk of the largest class that had been set aside.
    Spare(Pool),
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

    /// The same bytes where they can stay beyond this completion: off the hot buffer, into a chunk of their size. `None`
    /// when there is none: see [`Pool::chunk`].
    #[must_use]
    pub fn kept(self) -> Option<Lease> {
        let Home::Hot(pool) = &self.home else { return Some(self) };
        let mut chunk = pool.chunk(self.len())?;
        let copied = chunk.append(&self);
        debug_assert_eq!(copied, self.len());
        Some(chunk)
    }

    /// The same for bytes that a peer can leave here for as long as it likes: never in a chunk that was set aside, nor in the
    /// last place, which is for those whose bytes only pass. `None` when there is nothing else.
    #[must_use]
    pub fn kept_to_hold(self) -> Option<Lease> {
        let pool = match &self.home {
            Home::Hot(pool) | Home::Spare(pool) | Home::Chunk(pool, _) | Home::Pipe(pool, _) => pool.clone(),
            Home::Reserved(_) | Home::Own => return Some(self),
        };
        let kept = match self.home {
            Home::Hot(_) | Home::Spare(_) => {
                let mut chunk = pool.chunk_to_hold(self.len())?;
                let copied = chunk.append(&self);
                debug_assert_eq!(copied, self.len());
                // Home at once, so that it counts as a place again.
                drop(self);
                chunk
            }
            _ => self,
        };
        (pool.allowance() > 0).then_some(kept)
    }

    /// This run with `more` behind it, moved to a larger chunk of `pool` when it has no room. `None` when there is none: see
    /// [`Pool::chunk_to_hold`].
    #[must_use]
    pub fn joined(mut self, more: &[u8], pool: &Pool) -> Option<Lease> {
        if self.tailroom() >= more.len() && !matches!(self.home, Home::Hot(_)) {
            self.append(more);
            return Some(self);
        }
        let mut larger = pool.chunk_to_hold(self.len() + more.len())?;
        larger.append(&self);
        larger.append(more);
        Some(larger)
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
            Home::Spare(pool) => pool.take_back(CHUNK_CLASSES.len() - 1, bytes),
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
            Home::Spare(_) => "spare",
            Home::Reserved(_) => "reserved",
            Home::Pipe(..) => "pipe",
            Home::Own => "own",
        };
        write!(f, "Lease({home}, {} bytes)", self.size())
    }
}

#[cfg(test)]
mod tests;
