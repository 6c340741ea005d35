//! What goes out: tried at once, parked when the kernel does not take it, resumed when it reports that it would.
//!
//! Owns the order in which a lease leaves: its run, then its pipe, then the end of the stream. It never decides what is sent.

use super::{Completion, Engine, Kernel, Operation, Token};
use crate::pool::Lease;
use std::io;

impl<K: Kernel> Engine<K> {
    /// Sends all of `lease`; with `last`, says end of stream behind it. Completes with `Sent` or `Failed`.
    pub fn send(&mut self, token: Token, lease: Lease, last: bool) {
        let entry = self.entry(token);
        assert!(!entry.sending, "one send in flight per socket");
        (entry.sending, entry.last) = (true, last);
        entry.parked = Some(lease);
        self.push_out(token);
    }

    /// Sends what is parked on `token`, as much as the kernel takes.
    pub(super) fn push_out(&mut self, token: Token) {
        let place = token.place();
        let mut lease = self.sockets[place].parked.take().expect("a send in flight has its bytes");
        let before = lease.size();
        let failure = loop {
            if lease.size() == 0 {
                return self.sent(token);
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
        let entry = &mut self.sockets[place];
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

    pub(super) fn parked_bytes(&self, token: Token) -> usize {
        self.sockets[token.place()].parked.as_ref().map_or(0, Lease::size)
    }

    /// Sends from the run of `lease` to the socket at `place`.
    fn copy_out(&mut self, place: usize, lease: &mut Lease) -> io::Result<()> {
        let entry = &self.sockets[place];
        let socket = entry.socket.as_ref().expect("a sending socket is open");
        let count = self.kernel.send(socket, lease, entry.last || lease.piped() > 0)?;
        lease.advance(count);
        Ok(())
    }

    /// All of the send in flight has gone.
    fn sent(&mut self, token: Token) {
        let entry = &mut self.sockets[token.place()];
        entry.sending = false;
        if let Some(socket) = entry.socket.as_ref().filter(|_| entry.last) {
            self.kernel.shut(socket);
        }
        self.done.push_back(Completion::Sent(token));
    }
}
