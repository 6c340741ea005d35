//! The letters of `--traffic`: one or two for everything that passes, on standard output, written by a thread of its own.
//!
//! A shard hands them over without ever waiting; what does not fit the bounded queue is left out. An output that nobody
//! reads any more ends the letters and nothing else.

use crate::limits::{LOG_STOP_MS, TRAFFIC_QUEUE_MAX};
use crate::session::Side;
use crate::session::tap::{Brought, Tap};
use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

/// What the letters mean; written when a target is connected.
const LEGEND: &str = "
Traffic Legend:
    }  - message from the client
    }. - something from the client, no whole message
    {  - data from the target
    >  - all sent to the target
    .> - a part sent to the target
    <  - all sent to the client
    <. - a part sent to the client
";

/// Takes letters from any thread; cheap to clone. The thread ends when the last clone is gone.
#[derive(Clone, Debug)]
pub struct Traffic(SyncSender<Token>);

#[derive(Debug)]
enum Token {
    Text(Cow<'static, str>),
    Stop(Sender<()>),
}

impl Traffic {
    /// Starts the thread.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start() -> io::Result<Traffic> {
        let (queue, tokens) = sync_channel(TRAFFIC_QUEUE_MAX);
        std::thread::Builder::new()
            .name("traffic".into())
            .spawn(move || write_all(&tokens, &mut io::stdout()))?;
        Ok(Traffic(queue))
    }

    /// Hands over the letters for what happened, if there is room.
    pub fn show(&self, tap: &Tap) {
        let _ = self.0.try_send(Token::Text(letters(tap)));
    }

    /// Waits until all that was handed over is written. A reader that has fallen asleep does not hold the process: after
    /// [`LOG_STOP_MS`] what is left is given up.
    pub fn finish(&self) {
        let (done, finished) = channel();
        if self.0.try_send(Token::Stop(done)).is_ok() {
            let _ = finished.recv_timeout(Duration::from_millis(LOG_STOP_MS));
        }
    }
}

fn letters(tap: &Tap) -> Cow<'static, str> {
    match tap {
        Tap::Connected => LEGEND.into(),
        Tap::Brought(brought) => received(brought),
        Tap::Sent(Side::Target) => ">".into(),
        Tap::Sent(Side::Client) => "<".into(),
        Tap::Moved(Side::Target) => ".>".into(),
        Tap::Moved(Side::Client) => "<.".into(),
    }
}

fn received(brought: &Brought) -> Cow<'static, str> {
    match (brought.from, brought.pieces.iter().filter(|piece| piece.ends).count()) {
        (Side::Client, 0) => "}.".into(),
        (Side::Client, 1) => "}".into(),
        (Side::Client, messages) => "}".repeat(messages).into(),
        (Side::Target, 1) => "{".into(),
        // Of a part of a message nothing is said but of the last.
        (Side::Target, messages) => "{".repeat(messages).into(),
    }
}

/// Writes letters until nobody reads them.
fn write_all(tokens: &Receiver<Token>, out: &mut impl Write) {
    let mut text = String::new();
    while let Ok(first) = tokens.recv() {
        let mut stop = None;
        for token in std::iter::once(first).chain(tokens.try_iter().take(TRAFFIC_QUEUE_MAX)) {
            match token {
                Token::Text(letters) => text.push_str(&letters),
                Token::Stop(done) => stop = Some(done),
            }
        }
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
            return;
        }
        text.clear();
        if let Some(done) = stop {
            let _ = done.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::tap::Piece;

    fn brought(from: Side, ends: &[bool]) -> Tap {
        let pieces = ends.iter().map(|&ends| Piece { len: 0, ends }).collect();
        Tap::Brought(Box::new(Brought { from, bytes: Vec::new(), pieces }))
    }

    #[test]
    fn letters_are_those_of_websockify() {
        let (queue, tokens) = sync_channel(100);
        let traffic = Traffic(queue);
        for tap in [
            brought(Side::Client, &[true]),
            Tap::Sent(Side::Target),
            brought(Side::Target, &[false]),
            brought(Side::Target, &[true]),
            Tap::Sent(Side::Client),
            brought(Side::Client, &[]),
            brought(Side::Client, &[false]),
            brought(Side::Client, &[true, true, false]),
            Tap::Moved(Side::Target),
            Tap::Moved(Side::Client),
        ] {
            traffic.show(&tap);
        }
        drop(traffic);
        let mut out = Vec::new();
        write_all(&tokens, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "}>{<}.}.}}.><.");
    }

    #[test]
    fn a_full_queue_and_a_closed_output_hold_nobody_up() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (queue, tokens) = sync_channel(1);
        let traffic = Traffic(queue);
        (0..5).for_each(|_| traffic.show(&Tap::Connected));
        write_all(&tokens, &mut Closed);
        drop(tokens);
        traffic.show(&Tap::Connected);
        traffic.finish();
    }
}
