//! Turns a session's actions into submissions, in their order.

use super::Shard;
use super::waiters::Line;
use crate::engine::{Kernel, Lane, Token};
use crate::session::{Action, Side};
use crate::slab::Key;

impl<K: Kernel> Shard<K> {
    pub(super) fn perform(&mut self, key: Key, actions: &mut Vec<Action>) {
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
                Action::Send(side, lease) => self.engine.send(token(side), lease, false),
                Action::SendLast(side, lease) => self.engine.send(token(side), lease, true),
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
    }

    fn release(&mut self, key: Key) {
        self.wheel.disarm(key.index);
        self.waiters.put(key.index, None, self.now);
        if let Some(session) = self.sessions.remove(key) {
            self.tapes.remove(&key);
            self.log_end(session.core());
            self.give_place_back();
            self.setup.sources.leave(session.core().client);
            if self.setup.config.process.once && session.core().bridged {
                self.log_once(session.core());
                self.finish();
            }
        }
    }
}
