//! Turns a session's actions into submissions, in their order.
//!
//! Most sends are done when they are submitted. A session is told of these at once, not by way of the engine's queue.

use super::Shard;
use super::waiters::Line;
use crate::engine::{Kernel, Lane, Token};
use crate::pool::Lease;
use crate::session::{Action, Side};
use crate::slab::Key;

/// To which sides bytes have gone of which nobody will tell, by [`Side`].
pub(super) type Gone = [bool; 2];

impl<K: Kernel> Shard<K> {
    /// Submits `actions`. The engine will tell the session how they end, but with `at_once` not of sends that are done here:
    /// that is for the caller, to whom they are returned.
    pub(super) fn perform(&mut self, key: Key, actions: &mut Vec<Action>, at_once: bool) -> Gone {
        let mut gone = Gone::default();
        let token = |side| {
            Token::new(
                key,
                match side {
                    Side::Client => Lane::First,
                    Side::Target => Lane::Second,
                },
            )
        };
        for action in actions.drain(..) {
            match action {
                Action::Receive(side, most) => self.engine.receive(token(side), most),
                Action::ReceiveUnseen(side, most) => self.engine.receive_unseen(token(side), most),
                Action::Send(side, lease) => {
                    gone[side as usize] = self.send(token(side), lease, false, at_once)
                }
                Action::SendLast(side, lease) => {
                    gone[side as usize] = self.send(token(side), lease, true, at_once)
                }
                Action::Connect(address) => self.engine.connect(token(Side::Target), &address),
                Action::KeepTarget => self.engine.keep(token(Side::Target)),
                Action::Cancel(side) => self.engine.cancel(token(side)),
                Action::Shut(side) => self.engine.shut(token(side)),
                Action::Close(side) => self.engine.close(token(side)),
                Action::Charge(bytes) => self.engine.charge(bytes),
                Action::Ask(job) => (self.setup.desk)(key, job),
                Action::Arm(due) => self.wheel.arm(key.index, due),
                Action::Opened(path) => {
                    self.log_opened(key, &path);
                    self.begin_tape(key);
                }
                Action::Answered(line, status) => self.log_answered(key, &line, status),
                Action::Tap(tap) => self.show(key, tap),
                Action::Waits(wait) => self.waiters.put(key.index, wait.map(Line::of), self.now),
                Action::Release => self.release(key),
            }
        }
        gone
    }

    /// Sends; true when all has gone and, with `at_once`, the engine will not say so.
    fn send(&mut self, token: Token, lease: Lease, last: bool, at_once: bool) -> bool {
        if at_once {
            return self.engine.send_now(token, lease, last);
        }
        self.engine.send(token, lease, last);
        false
    }

    #[inline(never)]
    fn release(&mut self, key: Key) {
        self.wheel.disarm(key.index);
        let shed = self.waiters.line(key.index) == Some(Line::Leaving);
        self.waiters.put(key.index, None, self.now);
        if let Some(session) = self.sessions.remove(key) {
            self.tapes.remove(&key);
            self.log_end(session.core());
            self.setup.sources.leave(session.core().client);
            self.give_place_back(shed);
            if self.setup.config.process.once && session.core().bridged {
                self.log_once(session.core());
                self.finish();
            }
        }
    }
}
