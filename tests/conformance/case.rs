//! One conformance case: what the client sends in which pieces, and what must come back.
//!
//! A case is built from frames and knows by itself what an echo server owes for the legal ones: each message comes
//! back with its type and content, in order; pings are answered in order, and a server may skip to the newest
//! (RFC 6455 section 5.5.3). How pongs and messages interleave is free. The case ends in one of three ways: a goodbye
//! that must be answered, which shows that the session is still healthy; a close of its own; or an offence.

use crate::support::brief;
use crate::support::client::{Handshake, Message, WsClient};
use crate::support::frame::{BINARY, CLOSE, CONTINUATION, Frame, PING, TEXT};
use crate::support::wire::{PATIENCE, Wire};
use std::net::{Shutdown, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

/// From the answer to the server's close until its end of stream: its own deadline of 5 s and some air.
const END_AFTER_OFFENCE: Duration = Duration::from_secs(7);
/// From the echo of our close until the server's end of stream: a server ends at once (RFC 6455 section 7.1.1).
const END_AFTER_CLOSE: Duration = Duration::from_secs(3);

/// One case.
#[derive(Clone)]
pub struct Case {
    name: String,
    rounds: Vec<Round>,
    ending: Ending,
    piece: usize,
    early: bool,
    roomy: bool,
    version: &'static str,
    begun: Option<(u8, Vec<u8>)>,
}

/// Bytes sent at once, and what they owe; the next round starts when it came.
#[derive(Clone, Default)]
struct Round {
    sent: Vec<u8>,
    messages: Vec<Message>,
    pings: Vec<Vec<u8>>,
}

#[derive(Clone)]
enum Ending {
    /// The session goes on; the runner says goodbye.
    Healthy,
    /// The case closes; this payload must come back.
    Closes(Vec<u8>),
    /// The case offends; the server must close with this code.
    Offends(u16),
}

impl Case {
    /// An empty case.
    pub fn new(name: impl Into<String>) -> Case {
        Case {
            name: name.into(),
            rounds: vec![Round::default()],
            ending: Ending::Healthy,
            piece: 0,
            early: false,
            roomy: false,
            version: "13",
            begun: None,
        }
    }

    /// Legal data, ping and pong frames.
    pub fn frames(mut self, frames: impl IntoIterator<Item = Frame>) -> Case {
        for frame in frames {
            let bytes = frame.bytes();
            let round = self.round();
            round.sent.extend_from_slice(&bytes);
            match frame.opcode {
                PING => round.pings.push(frame.payload),
                TEXT | BINARY => self.data(frame.fin, frame.opcode, frame.payload),
                CONTINUATION => {
                    let (opcode, mut payload) =
                        self.begun.take().expect("a legal continuation continues something");
                    payload.extend_from_slice(&frame.payload);
                    self.data(frame.fin, opcode, payload);
                }
                _ => {}
            }
        }
        self
    }

    /// One legal frame.
    pub fn frame(self, frame: Frame) -> Case {
        self.frames([frame])
    }

    /// A frame that the server must answer with this close code.
    pub fn offends(self, frame: Frame, code: u16) -> Case {
        self.offends_bytes(frame.bytes(), code)
    }

    /// Bytes that the server must answer with this close code.
    pub fn offends_bytes(mut self, bytes: impl AsRef<[u8]>, code: u16) -> Case {
        self.round().sent.extend_from_slice(bytes.as_ref());
        self.ending = Ending::Offends(code);
        self
    }

    /// A close frame that the server must give back verbatim.
    pub fn closes(mut self, frame: Frame) -> Case {
        let bytes = frame.bytes();
        self.round().sent.extend_from_slice(&bytes);
        self.ending = Ending::Closes(frame.payload);
        self
    }

    /// Bytes that the server must ignore, because it is over.
    pub fn ignored(mut self, bytes: impl AsRef<[u8]>) -> Case {
        self.round().sent.extend_from_slice(bytes.as_ref());
        self
    }

    /// What comes next is sent when all that is owed so far has come.
    pub fn then(mut self) -> Case {
        self.rounds.push(Round::default());
        self
    }

    /// Written in pieces of so many bytes.
    pub fn chopped(mut self, piece: usize) -> Case {
        self.piece = piece;
        self
    }

    /// The first round rides right behind the request, in the same write.
    pub fn early(mut self) -> Case {
        self.early = true;
        self
    }

    /// For a server that holds messages of 16 MiB.
    pub fn roomy(mut self) -> Case {
        self.roomy = true;
        self
    }

    /// With this `Sec-WebSocket-Version`.
    pub fn version(mut self, version: &'static str) -> Case {
        self.version = version;
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it needs the roomy server.
    pub fn is_roomy(&self) -> bool {
        self.roomy
    }

    fn round(&mut self) -> &mut Round {
        self.rounds.last_mut().expect("a case has a round from the start")
    }

    fn data(&mut self, fin: bool, opcode: u8, payload: Vec<u8>) {
        if !fin {
            self.begun = Some((opcode, payload));
        } else if opcode == TEXT {
            self.round().messages.push(Message::Text(payload));
        } else {
            self.round().messages.push(Message::Binary(payload));
        }
    }
}

impl Case {
    /// Plays it; the error tells everything needed to see what was wrong.
    pub fn play(&self, server: SocketAddr) -> Result<(), String> {
        self.play_rounds(server).map_err(|why| {
            let sent: Vec<_> = self.rounds.iter().map(|round| brief(&round.sent)).collect();
            format!("- {}\n    sent: {} (pieces of {})\n    {why}", self.name, sent.join(" | "), self.piece)
        })
    }

    fn play_rounds(&self, server: SocketAddr) -> Result<(), String> {
        let mut handshake = Handshake::new().set("Sec-WebSocket-Version", self.version);
        if self.early {
            handshake = handshake.early(&self.rounds[0].sent[..]).chopped(self.piece);
        }
        let mut client = WsClient::try_open(Wire::tcp(server), &handshake)?;
        let last = self.rounds.len() - 1;
        for (at, round) in self.rounds.iter().enumerate() {
            let ended = at == last && !matches!(self.ending, Ending::Healthy);
            let sent: &[u8] = if at == 0 && self.early { &[] } else { &round.sent };
            let mut writer = client.inbox.wire.twin();
            thread::scope(|scope| {
                // A server that closes early may break the write; what it answers is what counts.
                scope.spawn(move || writer.write_chopped(sent, self.piece));
                let outcome = self.judge(&mut client, round, ended);
                if outcome.is_err() {
                    client.inbox.wire.shut(Shutdown::Both);
                }
                outcome
            })?;
        }
        if matches!(self.ending, Ending::Healthy) { say_goodbye(&mut client) } else { Ok(()) }
    }

    /// Reads what a round owes; with `ended`, up to the end of the stream.
    fn judge(&self, client: &mut WsClient, round: &Round, ended: bool) -> Result<(), String> {
        let mut messages = round.messages.iter();
        let mut pings = round.pings.iter();
        let mut owed_pong = round.pings.last();
        let until = Instant::now() + PATIENCE;
        loop {
            if !ended && messages.len() == 0 && owed_pong.is_none() {
                return Ok(());
            }
            let next = messages.clone().next();
            let expected = || match next {
                Some(message) => format!("expected {message:?}"),
                None if owed_pong.is_some() && !ended => "expected the pong to the last ping".to_owned(),
                None => format!("expected {}", self.ending_words()),
            };
            let got = client.try_next(until).map_err(|fault| format!("{}, got {fault}", expected()))?;
            match &got {
                Message::Pong(payload) if pings.any(|ping| ping == payload) => {
                    if pings.len() == 0 {
                        owed_pong = None;
                    }
                }
                Message::Close(payload) if ended && next.is_none() => {
                    return self.judge_close(client, payload);
                }
                _ if next == Some(&got) => {
                    messages.next();
                }
                _ => return Err(format!("{}, got {got:?}", expected())),
            }
        }
    }

    fn judge_close(&self, client: &mut WsClient, payload: &[u8]) -> Result<(), String> {
        let got = Message::Close(payload.to_vec());
        let wrong = || Err(format!("expected {}, got {got:?}", self.ending_words()));
        let time = match &self.ending {
            Ending::Closes(sent) if sent == payload => END_AFTER_CLOSE,
            Ending::Offends(code) if payload.starts_with(&code.to_be_bytes()) => {
                if std::str::from_utf8(&payload[2..]).is_err() {
                    return Err(format!("a close reason that is not UTF-8: {got:?}"));
                }
                // The server may have ended already; only how it ends is judged.
                let _ = client.inbox.wire.write_chopped(&Frame::close(*code, "").bytes(), 0);
                END_AFTER_OFFENCE
            }
            _ => return wrong(),
        };
        expect_end(client, time)
    }

    fn ending_words(&self) -> String {
        match &self.ending {
            Ending::Healthy => "nothing more".to_owned(),
            Ending::Closes(payload) => format!("the echo of {:?}", Message::Close(payload.clone())),
            Ending::Offends(code) => format!("close {code}"),
        }
    }
}

fn say_goodbye(client: &mut WsClient) -> Result<(), String> {
    let goodbye = Frame::new(CLOSE, b"\x03\xe8bye".as_slice());
    client
        .inbox
        .wire
        .write_chopped(&goodbye.bytes(), 0)
        .map_err(|error| format!("cannot say goodbye: {error}"))?;
    let expected = Message::Close(goodbye.payload);
    match client.try_next(Instant::now() + PATIENCE) {
        Ok(got) if got == expected => expect_end(client, END_AFTER_CLOSE),
        Ok(got) => Err(format!("after the case: expected {expected:?}, got {got:?}")),
        Err(fault) => Err(format!("after the case: expected {expected:?}, got {fault}")),
    }
}

fn expect_end(client: &mut WsClient, time: Duration) -> Result<(), String> {
    let ended = client.inbox.end(Instant::now() + time);
    ended.map_err(|fault| {
        format!("after the close: expected the end of the stream within {time:?}, got {fault}")
    })
}
