//! One client of a day: what it will do, decided beforehand, and what it makes of what comes.

use super::frame::{self, BINARY, CONTINUATION, FIN, PING, PONG, TEXT};
use super::keys::DayKeys;
use super::reader::Reader;
use super::wire::{Then, Wire};
use std::collections::VecDeque;
use websplice::limits::{CLOSE_TIMEOUT_MS, HEAD_TIMEOUT_MS, SNIFF_TIMEOUT_MS};
use websplice::sim::{Dice, Hand};
use websplice::timers::Time;

/// One thing a client does.
#[derive(Clone, Debug)]
enum Act {
    Write(Vec<u8>),
    /// Past TLS, where there is one.
    WriteRaw(Vec<u8>),
    /// Changes the keys of its TLS.
    Rekey,
    /// Says close_notify, where there is TLS.
    Goodbye,
    /// Does nothing until the 101 has come, or nothing can come any more.
    AwaitOpen,
    /// Does nothing for so many milliseconds.
    Pause(u64),
    Shut,
    Close,
    Reset,
}

/// How a client means to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// With a close frame, this code in it.
    InOrder(Option<u16>),
    /// It breaks a rule that is answered with this code.
    BreaksRule(u16),
    /// Its stream ends, one way or the other, without a close frame.
    Rudely,
    /// Not by itself.
    Never,
}

/// How a client does its TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It has none.
    Plain,
    /// As one should, until it leaves.
    Good,
    /// What it writes is cut, or nothing that TLS is.
    Cut,
    /// It says nothing that can be TLS.
    Garbage,
    /// It cannot agree with the server.
    Refused,
}

/// A client.
pub struct Client {
    pub wire: Wire,
    pub manner: Manner,
    pub reader: Reader,
    pub leaving: Leaving,
    /// It asks for an upgrade.
    pub upgrades: bool,
    /// It never completes a head, so it is gone after so many milliseconds.
    pub patience: Option<u64>,
    /// It breaks its TLS when it leaves.
    pub garbles: bool,
    /// All payload it means to send, and the type and length of each message.
    pub payload: Vec<u8>,
    pub messages: Vec<(u8, usize)>,
    pings: Vec<Vec<u8>>,
    /// Most bytes read in a turn; 0: it never reads.
    pub appetite: usize,
    /// It read all that came, whenever it came.
    pub attentive: bool,
    acts: VecDeque<Act>,
    idle_until: Time,
}

const UPGRADE: &[u8] =
    b"GET /socket?x=1&token=a+b HTTP/1.1\r\nHost: a.example\r\nConnection: keep-alive, Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// What may come in place of a hello: too short a message, the format of SSL 2, HTTP behind the first byte, a record that is
/// longer than any, a record of no known type behind an empty one.
const GARBAGE: [&[u8]; 5] = [
    b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
    b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10",
    b"\x16GET / HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\xff\xff\x01\x00\x00\x01\x00",
    b"\x16\x03\x01\x00\x00\x63\x03\x03\x00\x01\x00",
];
/// A message that is longer than any. rustls has no alert for it: its sender is closed without a word.
const LONG_MESSAGE: &[u8] = b"\x16\x03\x01\x00\x08\x01\xff\xff\xff\x03\x03\x00\x00";
/// What no TLS accepts behind a handshake: bytes that nobody encrypted, an end of no length, plain HTTP, and a record that
/// is longer than any.
const BROKEN: [&[u8]; 4] = [
    b"\x17\x03\x03\x00\x20this is not what was agreed on!!",
    b"\x17\x03\x03\x00\x00",
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x17\x03\x03\xff\xff and so on",
];

impl Client {
    /// A client of some kind; `text` says that text messages are welcome, `most` how large pieces are worth while. With
    /// `keys` the server speaks TLS.
    pub fn new(hand: Hand, keys: Option<&DayKeys>, text: bool, most: usize, dice: &mut Dice) -> Client {
        let (wire, manner) = match keys {
            Some(keys) if dice.chance(750) => secure(hand, keys, dice),
            _ => (Wire::plain(hand), Manner::Plain),
        };
        let mut client = Client {
            wire,
            manner,
            reader: Reader::default(),
            leaving: Leaving::Never,
            upgrades: false,
            patience: None,
            garbles: false,
            payload: Vec::new(),
            messages: Vec::new(),
            pings: Vec::new(),
            appetite: *dice.pick(&[usize::MAX, usize::MAX, usize::MAX, 1 << 14, 100, 0]),
            attentive: false,
            acts: VecDeque::new(),
            idle_until: Time(0),
        };
        client.attentive = client.appetite == usize::MAX;
        match dice.below(10) {
            0 => client.is_nobody(dice),
            1 | 2 => client.is_plain(dice),
            _ => client.is_websocket(text, most, dice),
        }
        let never_begins = matches!(manner, Manner::Cut | Manner::Garbage);
        let never_asks = client.patience.is_some() || client.appetite == 0 || never_begins;
        if client.wire.is_secure() && never_asks {
            client.patience = Some(HEAD_TIMEOUT_MS + CLOSE_TIMEOUT_MS);
        }
        client
    }

    /// What it is and what became of it, in a line.
    pub fn words(&self) -> String {
        let Client { manner, leaving, upgrades, reader, wire, .. } = self;
        let (met, left) = (wire.hand.met_at(), wire.hand.is_left());
        format!(
            "{manner:?}, leaves {leaving:?}, upgrades: {upgrades}, answers {:?}, closed {:?}, met {met:?}, agreed: {}, {:?}, \
             dismissed: {}, left: {left}",
            reader.answers,
            reader.closed,
            wire.is_open(),
            wire.failed,
            wire.dismissed
        )
    }

    /// Whether it does nothing more by itself.
    pub fn has_acted(&self) -> bool {
        self.acts.is_empty() || self.wire.is_over()
    }

    fn is_nobody(&mut self, dice: &mut Dice) {
        let part = if dice.chance(200) { 0 } else { dice.below(UPGRADE.len() - 1) };
        // Behind TLS its hello is what it has said.
        let silent = part == 0 && self.manner == Manner::Plain;
        self.patience = Some(if silent { SNIFF_TIMEOUT_MS } else { HEAD_TIMEOUT_MS });
        self.acts.push_back(Act::Write(UPGRADE[..part].to_vec()));
    }

    fn is_plain(&mut self, dice: &mut Dice) {
        for _ in 0..dice.between(1, 4) {
            let (request, bodiless) = *dice.pick(&[
                ("GET /a HTTP/1.1\r\nHost: a\r\n\r\n", false),
                ("HEAD /b HTTP/1.1\r\nHost: a\r\n\r\n", true),
                ("GET /c HTTP/1.0\r\n\r\n", false),
                ("POST /d HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", false),
                ("GET /e HTTP/1.1\r\n\r\n", false),
                ("GET  /f HTTP/1.1\r\nHost: a\r\n\r\n", false),
                ("nonsense\r\n\r\n", false),
                ("GET /g HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false),
            ]);
            self.reader.bodiless.push(bodiless);
            self.acts.push_back(Act::Write(request.as_bytes().to_vec()));
            self.pause(dice);
        }
        self.leaves_rudely(dice);
    }

    fn is_websocket(&mut self, text: bool, most: usize, dice: &mut Dice) {
        self.upgrades = true;
        self.acts.push_back(Act::Write(UPGRADE.to_vec()));
        if dice.chance(700) {
            self.acts.push_back(Act::AwaitOpen);
        }
        for _ in 0..dice.below(12) {
            match dice.below(8) {
                3 if self.wire.is_secure() && dice.chance(400) => {
                    self.acts.extend((0..dice.between(1, 5)).map(|_| Act::Rekey));
                }
                0 => {
                    let number = self.pings.len() as u32;
                    let mut payload = number.to_be_bytes().to_vec();
                    payload.resize(dice.between(4, 125), b'p');
                    self.write(frame::frame(FIN | PING, &payload, dice));
                    self.pings.push(payload);
                }
                1 => self.write(frame::frame(FIN | PONG, b"unasked", dice)),
                2 => self.pause(dice),
                _ => self.sends_message(text, most, dice),
            }
        }
        match dice.below(8) {
            0..4 => {
                let code = *dice.pick(&[None, Some(1000), Some(1001), Some(3000), Some(4999)]);
                self.leaving = Leaving::InOrder(code);
                self.write(frame::close(code, dice));
                if dice.chance(300) {
                    self.goodbye(dice);
                    self.acts.push_back(Act::Shut);
                }
            }
            4 => {
                let (bytes, code) = match text {
                    false if dice.chance(300) => (frame::frame(FIN | TEXT, b"words", dice), 1003),
                    _ => frame::bad_frame(dice),
                };
                self.leaving = Leaving::BreaksRule(code);
                self.write(bytes);
            }
            5 | 6 => self.leaves_rudely(dice),
            _ => {}
        }
    }

    fn sends_message(&mut self, text: bool, most: usize, dice: &mut Dice) {
        let kind = if text && dice.chance(300) { TEXT } else { BINARY };
        let frames = dice.between(1, 4);
        let mut whole = 0;
        for number in 0..frames {
            let len = if dice.chance(100) { 0 } else { dice.size(most) };
            let bytes: Vec<u8> = (0..len).map(|_| b' ' + (dice.word() % 90) as u8).collect();
            let opcode = if number == 0 { kind } else { CONTINUATION };
            let fin = if number + 1 == frames { FIN } else { 0 };
            self.write(frame::frame(fin | opcode, &bytes, dice));
            whole += len;
            self.payload.extend(bytes);
        }
        self.messages.push((kind, whole));
    }

    fn leaves_rudely(&mut self, dice: &mut Dice) {
        self.leaving = Leaving::Rudely;
        self.pause(dice);
        if self.wire.is_secure() && dice.chance(200) {
            self.garbles = true;
            return self.acts.push_back(Act::WriteRaw(dice.pick(&BROKEN).to_vec()));
        }
        self.goodbye(dice);
        self.acts.push_back(match dice.below(3) {
            0 => Act::Shut,
            1 => Act::Close,
            _ => Act::Reset,
        });
    }

    /// Says close_notify before its end, more often than not.
    fn goodbye(&mut self, dice: &mut Dice) {
        if self.wire.is_secure() && dice.chance(700) {
            self.acts.push_back(Act::Goodbye);
        }
    }

    fn write(&mut self, bytes: Vec<u8>) {
        self.acts.push_back(Act::Write(bytes));
    }

    fn pause(&mut self, dice: &mut Dice) {
        let most = *dice.pick(&[1, 100, 5_000, 40_000]);
        self.acts.push_back(Act::Pause(dice.below(most) as u64));
    }

    /// Reads what came and does some of what it means to do.
    pub fn act(&mut self, now: Time, dice: &mut Dice) {
        let bytes = self.wire.read(self.appetite);
        self.reader.take(&bytes);
        self.check_control();
        while now >= self.idle_until && dice.chance(700) {
            match self.acts.front() {
                None => return,
                Some(Act::AwaitOpen) if !self.reader.open && !self.wire.is_over() && self.appetite > 0 => {
                    return;
                }
                // Only what is behind a handshake breaks the agreement.
                Some(Act::WriteRaw(_)) if self.is_agreeing() => return,
                // Who leaves in order sees to it that what it wrote is on its way.
                Some(Act::Goodbye | Act::Shut) if self.leaving != Leaving::Rudely && self.is_agreeing() => {
                    return;
                }
                _ => {}
            }
            match self.acts.pop_front() {
                Some(Act::Write(bytes)) => self.wire.write(&bytes),
                Some(Act::WriteRaw(bytes)) => self.wire.hand.write(&bytes),
                Some(Act::Rekey) => self.wire.rekey(),
                Some(Act::Goodbye) => self.wire.say_goodbye(),
                Some(Act::Pause(ms)) => self.idle_until = Time(now.0 + ms),
                Some(Act::Shut) => self.wire.hand.shut(),
                Some(Act::Close) => self.wire.hand.close(),
                Some(Act::Reset) => self.wire.hand.reset(),
                Some(Act::AwaitOpen) | None => {}
            }
        }
    }

    /// Whether its handshake is going on and may still be done.
    fn is_agreeing(&self) -> bool {
        !self.wire.is_open() && !self.wire.is_over() && !self.wire.hand.is_left()
    }

    /// Each pong answers a ping, the newer ones later; pings may be skipped.
    fn check_control(&self) {
        let mut pings = self.pings.iter();
        for pong in &self.reader.pongs {
            assert!(pings.any(|ping| ping == pong), "a pong answers a ping, in order");
        }
    }
}

/// The wire of a client that speaks TLS, or something like it.
fn secure(hand: Hand, keys: &DayKeys, dice: &mut Dice) -> (Wire, Manner) {
    match dice.below(10) {
        0 => {
            let wire = Wire::client(hand, dice.pick(&keys.clients));
            let (after, then) = match dice.chance(200) {
                true => (0, Then::Noise(LONG_MESSAGE.to_vec())),
                false => (dice.between(1, 60), some_end(dice)),
            };
            (wire.cut(after, then), Manner::Cut)
        }
        1 => {
            let wire = Wire::client(hand, dice.pick(&keys.clients));
            (wire.cut(0, Then::Noise(dice.pick(&GARBAGE).to_vec())), Manner::Garbage)
        }
        2 => (Wire::client(hand, dice.pick(&keys.bad_clients)), Manner::Refused),
        _ => (Wire::client(hand, dice.pick(&keys.clients)), Manner::Good),
    }
}

/// How it goes on behind a cut.
pub fn some_end(dice: &mut Dice) -> Then {
    match dice.below(6) {
        0 => Then::Silence,
        1 => Then::Shut,
        2 => Then::Reset,
        // An alert, and a record that is longer than any.
        3 => Then::Noise(b"\x15\x03\x03\x00\x02\x02\x28".to_vec()),
        4 => Then::Noise(b"\x17\x03\x03\xff\xff".to_vec()),
        _ => Then::Noise((0..dice.between(1, 400)).map(|_| dice.word() as u8).collect()),
    }
}
