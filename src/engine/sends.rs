//! What goes out: tried at once, parked when the kernel does not take it, resumed when it reports that it would.
//!
//! Owns the order in which a lease leaves: its run, then its pipe, then the end of the stream. It never decides what is sent.

use super::{Completion, Engine, Kernel, Operation, Token};
use crate::pool::Lease;
use std::io;

impl<K: Kernel> Engine<K> {
    /// Sends all of `lease`; with `last`, says end of stream behind it. Completes with `Sent` or `Failed`.
    pub fn send(&mut self, token: Token, lease: Lease, last: bool) {
        if self.send_now(token, lease, last) {
            self.done.push_back(Completion::Sent(token));
        }
    }

    /// Like [`Engine::send`], for whom can be told here: true when the kernel has taken all of it, and no `Sent` follows. Never in
    /// a turn that is used up: what would be done next is for another one.
    #[must_use]
    pub fn send_now(&mut self, token: Token, lease: Lease, last: bool) -> bool {
        let entry = self.entry(token);
        assert!(!entry.sending, "one send in flight per socket");
        (entry.sending, entry.last) = (true, last);
        let is_done = self.push_out(token, lease);
        if is_done && self.bytes_budget == 0 {
            self.done.push_back(Completion::Sent(token));
            return false;
        }
        is_done
    }

    /// Goes on with what is parked on `token`, which has something. Returns how many bytes are no longer.
    pub(super) fn resume(&mut self, token: Token) -> usize {
        let parked = self.sockets[token.place()].parked.take().expect("a send in flight has its bytes");
        let before = parked.size();
        if self.push_out(token, parked) {
            self.done.push_back(Completion::Sent(token));
        }
        before - self.sockets[token.place()].parked.as_ref().map_or(0, Lease::size)
    }

    /// Sends as much of `lease` as the kernel takes; true when that is all of it.
    fn push_out(&mut self, token: Token, mut lease: Lease) -> bool {
        let place = token.place();
        let before = lease.size();
        let failure = loop {
            if lease.size() == 0 {
                self.finish(place);
                return true;
            }
            let outcome = match lease.is_empty() {
                false => self.copy_out(place, &mut lease),
                true => self.splice_out(place, &mut lease),
            };
            match outcome {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break None,
                Err(error) => break Some(error),
                Ok(()) => {}
            }
        };
        self.park(token, lease, before, failure);
        false
    }

    /// Keeps what is left of `lease`, of which there was `before`, until the kernel takes more; not behind a `failure`.
    #[inline(never)]
    fn park(&mut self, token: Token, lease: Lease, before: usize, failure: Option<io::Error>) {
        let entry = &mut self.sockets[token.place()];
        let socket = entry.socket.as_ref().expect("a sending socket is open");
        let asked = match failure {
            Some(error) => Err(error),
            // A report that is still owed will do.
            None if entry.wanted => Ok(()),
            None => self.kernel.want_write(token, socket),
        };
        entry.wanted |= asked.is_ok();
        let is_less = lease.size() < before;
        let kept = asked.and_then(|()| lease.kept().ok_or_else(|| io::ErrorKind::OutOfMemory.into()));
        match kept {
            Ok(lease) => {
                if is_less {
                    self.done.push_back(Completion::Moved(token));
                }
                entry.parked = Some(lease);
            }
            Err(error) => {
                entry.sending = false;
                self.done.push_back(Completion::Failed(token, Operation::Send, error));
            }
        }
    }

    /// Sends from the run of `lease` to the socket at `place`.
    fn copy_out(&mut self, place: usize, lease: &mut Lease) -> io::Result<()> {
        let entry = &self.sockets[place];
        let socket = entry.socket.as_ref().expect("a sending socket is open");
        let count = self.kernel.send(socket, lease, entry.last || lease.piped() > 0)?;
        lease.advance(count);
        Ok(())
    }

    /// All of the send in flight at `place` has gone.
    fn finish(&mut self, place: usize) {
        let entry = &mut self.sockets[place];
        entry.sending = false;
        if let Some(socket) = entry.socket.as_ref().filter(|_| entry.last) {
            self.kernel.shut(socket);
        }
    }
}
