//! What the engine does when a watch ends by itself and takes the report with it that a socket can be written to again: a
//! kernel that tells so unasked has no other for that.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use websplice::engine::{Calls, Completion, Engine, Kernel, Lane, Moved, Ready, Token};
use websplice::pool::Pool;
use websplice::slab::Key;
use websplice::sys::address::Address;
use websplice::sys::wake::Waker;

/// One socket that is full, and whose only report is that it is not watched any more.
#[derive(Default)]
struct Forgetful {
    token: Option<Token>,
    watches: usize,
    is_empty: bool,
}

impl Calls for Forgetful {
    type Socket = ();
    type Pipe = ();

    fn is_local(&self, (): &()) -> bool {
        false
    }

    fn receive(&mut self, (): &(), _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn has_arrived(&mut self, (): &()) -> bool {
        false
    }

    fn send(&mut self, (): &(), bytes: &[u8], _: bool) -> io::Result<usize> {
        if self.is_empty { Ok(bytes.len()) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    fn pipe(&mut self, _: usize) -> io::Result<()> {
        unreachable!("nothing is received")
    }

    fn splice_in(&mut self, (): &(), (): &(), _: usize) -> io::Result<usize> {
        unreachable!("there is no pipe")
    }

    fn unblock(&mut self, (): &()) -> io::Result<()> {
        unreachable!("there is no pipe")
    }

    fn splice_out(&mut self, (): &(), (): &(), _: usize) -> io::Result<usize> {
        unreachable!("there is no pipe")
    }

    fn keep(&mut self, (): &()) {}

    fn shut(&mut self, (): &()) {}
}

impl Kernel for Forgetful {
    fn watch(&mut self, token: Token, (): &()) -> io::Result<()> {
        (self.token, self.watches) = (Some(token), self.watches + 1);
        Ok(())
    }

    fn want_write(&mut self, _: Token, (): &()) -> io::Result<()> {
        Ok(())
    }

    fn retire(&mut self, _: Token, (): (), _: bool) {}

    fn arm_accept(&mut self, _: usize) {}

    fn accept(&mut self, _: usize) -> io::Result<((), Option<SocketAddr>)> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn close_listener(&mut self, _: usize) {}

    fn turn(&mut self, _: Option<Duration>, ready: &mut Vec<Ready<()>>) -> io::Result<()> {
        ready.extend(self.token.take().map(Ready::Unwatched));
        Ok(())
    }

    fn moved(&mut self, _: Moved) {}

    fn waker(&self) -> Waker {
        Waker::silent()
    }

    fn connect(&mut self, _: Token, _: &Address) -> io::Result<()> {
        unreachable!("nobody dials")
    }

    fn connected(&mut self, _: Token, (): &()) -> io::Result<()> {
        unreachable!("nobody dials")
    }
}

#[test]
fn what_is_stuck_is_tried_again_when_a_watch_was_lost() {
    let mut engine = Engine::new(Forgetful::default(), Pool::new(1 << 23));
    let token = Token::new(Key { index: 0, generation: 0 }, Lane::First);
    engine.adopt(token, ()).expect("it can be watched");
    let mut lease = engine.pool().chunk(16).expect("there is memory");
    lease.append(b"stuck");
    engine.send(token, lease, false);
    assert!(engine.take().is_none(), "the socket is full");
    engine.kernel().is_empty = true;
    engine.wait(None).expect("it can be waited for");
    let done = engine.take();
    assert!(matches!(done, Some(Completion::Sent(sent)) if sent == token), "{done:?}");
    assert_eq!(engine.kernel().watches, 2, "and it is watched again");
}
