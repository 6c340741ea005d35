//! Bulk on its way past this process: received into a pipe, sent out of it, never seen.
//!
//! A receive whose bytes nobody has to see ([`Engine::receive_unseen`]) is answered like any other. While its stream is
//! bulk the lease it brings has its payload in a pipe ([`Lease::piped`]); a send of it sends the run first, then the
//! pipe's bytes, and `Sent` comes when the pipe is empty. So all else holds as it does for bytes in a buffer: one send at
//! a time, back pressure, progress, cancel. Without a pipe to be had, and while memory is short, bytes are copied.
//!
//! Owns the pipes of a shard and the judgement which stream is bulk.

use super::{Engine, Kernel, Token};
use crate::limits::{
    HOT_BYTES, PIPE_BYTES, PIPES_PER_SHARD, SPLICE_ENOUGH_BYTES, SPLICE_FROM_BYTES, SPLICE_MEAGRE_MAX,
    SPLICE_REST,
};
use crate::pool::{Lease, Pool};
use std::io;

/// Whether a stream is bulk, by what its last receives brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Bulk {
    /// It is not.
    #[default]
    No,
    /// It is, until so many more receives in a row are meagre.
    Yes(u8),
    /// Its socket cannot do this.
    Never,
}

/// How many bytes make a stream bulk, and keep it so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measure {
    from: usize,
    enough: usize,
}

impl Default for Measure {
    fn default() -> Measure {
        Measure { from: SPLICE_FROM_BYTES, enough: SPLICE_ENOUGH_BYTES }
    }
}

impl Bulk {
    /// A receive copied `count` bytes.
    pub(super) fn copied(&mut self, count: usize, measure: Measure) {
        if *self == Bulk::No && count >= measure.from {
            *self = Bulk::Yes(SPLICE_MEAGRE_MAX);
        }
    }

    fn spliced(&mut self, count: usize, measure: Measure) {
        *self = match *self {
            Bulk::Yes(_) if count >= measure.enough => Bulk::Yes(SPLICE_MEAGRE_MAX),
            Bulk::Yes(left) if left > 1 => Bulk::Yes(left - 1),
            Bulk::Yes(_) | Bulk::No => Bulk::No,
            Bulk::Never => Bulk::Never,
        };
    }
}

/// The pipes of a shard, by their numbers; opened when first used.
pub(super) struct Pipes<P> {
    open: [Option<P>; PIPES_PER_SHARD],
    /// How often none is asked for yet, since one was refused.
    rest: u16,
}

impl<P> Default for Pipes<P> {
    fn default() -> Pipes<P> {
        Pipes { open: std::array::from_fn(|_| None), rest: 0 }
    }
}

impl<P> Pipes<P> {
    /// Pipes that nobody holds and that are not empty are closed; what is in them is gone.
    pub(super) fn see_to(&mut self, pool: &Pool) {
        while let Some(number) = pool.spoiled_pipe() {
            self.open[number] = None;
        }
    }

    /// Whether pipe `number` is open, or can be opened now. A refusal seldom ends at once, so it is believed for a while.
    fn has(&mut self, number: usize, open: impl FnOnce() -> io::Result<P>) -> bool {
        if self.open[number].is_some() {
            return true;
        }
        if self.rest > 0 {
            self.rest -= 1;
            return false;
        }
        match open() {
            Ok(pipe) => self.open[number] = Some(pipe),
            Err(_) => self.rest = SPLICE_REST,
        }
        self.rest == 0
    }

    /// The pipe of `lease`, which has one.
    fn of(&self, lease: &Lease) -> &P {
        let open = lease.pipe().and_then(|number| self.open[number].as_ref());
        open.expect("a lease on a pipe has an open one")
    }
}

impl<K: Kernel> Engine<K> {
    /// Receives up to `most` bytes that nobody has to see, at most a hot buffer. Completes as [`Engine::receive`] does, but
    /// the lease may have its payload in a pipe: an empty run, and [`Lease::piped`] bytes behind it.
    pub fn receive_unseen(&mut self, token: Token, most: usize) {
        self.receive(token, most);
        self.sockets[token.place()].unseen = true;
    }

    /// Takes a receive of `from` bytes for a sign of bulk, and one of half as many for a sign that it goes on, instead of what
    /// pays. For simulations, where that would never come.
    pub fn splice_from(&mut self, from: usize) {
        self.measure = Measure { from, enough: from / 2 };
    }

    /// Tries the receive that is armed at `place` by way of a pipe; `None` when it is to be copied.
    pub(super) fn splice_in(&mut self, place: usize, most: usize) -> Option<io::Result<Lease>> {
        let entry = &self.sockets[place];
        // Where memory is short, little is received at once; and little is cheaper copied.
        if !entry.unseen || !matches!(entry.bulk, Bulk::Yes(_)) || self.pool.allowance() < HOT_BYTES {
            return None;
        }
        self.fill_pipe(place, most)
    }

    #[inline(never)]
    fn fill_pipe(&mut self, place: usize, most: usize) -> Option<io::Result<Lease>> {
        let entry = &mut self.sockets[place];
        self.pipes.see_to(&self.pool);
        let mut lease = self.pool.pipe()?;
        if !self.pipes.has(lease.pipe()?, || self.kernel.pipe(PIPE_BYTES)) {
            // Small receives do not count for the rest.
            entry.bulk = Bulk::No;
            return None;
        }
        let socket = entry.socket.as_ref().expect("a receiving socket is open");
        match self.kernel.splice_in(socket, self.pipes.of(&lease), most.min(PIPE_BYTES)) {
            // A splice never passes an urgent mark and says for it what it says for nothing at all: only a receive knows.
            Ok(0) => None,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Ok(count) => {
                entry.bulk.spliced(count, self.measure);
                // A pipe has fewer places than bytes, so that it took little does not mean that little is there.
                entry.readable = true;
                lease.pipe_filled(count);
                Some(Ok(lease))
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                entry.bulk = Bulk::Never;
                None
            }
            Err(error) => Some(Err(error)),
        }
    }

    /// Sends from the pipe of `lease`, behind its run, to the socket at `place`.
    #[inline(never)]
    pub(super) fn splice_out(&mut self, place: usize, lease: &mut Lease) -> io::Result<()> {
        let entry = &mut self.sockets[place];
        let socket = entry.socket.as_ref().expect("a sending socket is open");
        if !entry.unblocked {
            self.kernel.unblock(socket)?;
            entry.unblocked = true;
        }
        match self.kernel.splice_out(self.pipes.of(lease), socket, lease.piped())? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            count => {
                lease.pipe_drained(count);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_large_receive_makes_bulk_and_only_meagre_ones_in_a_row_end_it() {
        let measure = Measure::default();
        let mut bulk = Bulk::No;
        bulk.copied(SPLICE_FROM_BYTES - 1, measure);
        assert_eq!(bulk, Bulk::No);
        bulk.copied(SPLICE_FROM_BYTES, measure);
        for _ in 0..3 {
            for _ in 1..SPLICE_MEAGRE_MAX {
                bulk.spliced(SPLICE_ENOUGH_BYTES - 1, measure);
                assert!(matches!(bulk, Bulk::Yes(_)));
            }
            bulk.spliced(SPLICE_ENOUGH_BYTES, measure);
            // A receive that had to be copied in between says nothing.
            bulk.copied(1, measure);
        }
        for _ in 0..SPLICE_MEAGRE_MAX {
            assert!(matches!(bulk, Bulk::Yes(_)));
            bulk.spliced(1, measure);
        }
        assert_eq!(bulk, Bulk::No);
    }

    #[test]
    fn a_socket_that_cannot_is_not_asked_again() {
        let mut bulk = Bulk::Never;
        bulk.copied(HOT_BYTES, Measure::default());
        assert_eq!(bulk, Bulk::Never);
    }

    #[test]
    fn a_pipe_that_was_refused_is_not_asked_for_with_every_receive() {
        let (mut pipes, mut asked) = (Pipes::default(), 0);
        for _ in 0..3 * (u32::from(SPLICE_REST) + 1) {
            let refuse = || {
                asked += 1;
                Err(io::ErrorKind::PermissionDenied.into())
            };
            assert!(!pipes.has(0, refuse));
        }
        assert_eq!(asked, 3);
        assert!(pipes.has(0, || Ok(())), "the rest is over");
        assert!(pipes.has(0, || unreachable!("it is open")));
        // One that is open serves while another is refused.
        assert!(!pipes.has(1, || Err(io::ErrorKind::PermissionDenied.into())));
        assert!(pipes.has(0, || unreachable!("it is open")) && !pipes.has(1, || unreachable!("it rests")));
    }

    /// A session has two entries. This is what one is today: larger is a decision.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn an_entry_is_small() {
        assert!(size_of::<crate::engine::entry::Entry<crate::sys::socket::Stream>>() <= 104);
    }
}
