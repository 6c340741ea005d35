//! One client of a day: what it will do, decided beforehand, and what it makes of what comes.

use super::frame::{self, BINARY, CONTINUATION, FIN, PING, PONG, TEXT};
use super::reader::Reader;
use std::collections::VecDeque;
use websplice::sim::{Dice, Hand};
use websplice::timers::Time;

/// One thing a client does.
#[derive(Clone, Debug)]
enum Act {
    Write(Vec<u8>),
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

/// A client.
pub struct Client {
    pub hand: Hand,
    pub reader: Reader,
    pub leaving: Leaving,
    /// It asks for an upgrade.
    pub upgrades: bool,
    /// It never completes a head.
    pub headless: bool,
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

const UPGRADE: &[u8] = b"GET /socket?x=1 HTTP/1.1\r\nHost: a.example\r\nConnection: keep-alive, Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

impl Client {
    /// A client of some kind; `echo` says that text messages are welcome, `most` how large pieces are worth while.
    pub fn new(hand: Hand, echo: bool, most: usize, dice: &mut Dice) -> Client {
        let mut client = Client {
            hand,
            reader: Reader::default(),
            leaving: Leaving::Never,
            upgrades: false,
            headless: false,
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
            _ => client.is_websocket(echo, most, dice),
        }
        client
    }

    /// Whether it does nothing more by itself.
    pub fn has_acted(&self) -> bool {
        self.acts.is_empty() || self.hand.is_over()
    }

    fn is_nobody(&mut self, dice: &mut Dice) {
        self.headless = true;
        let part = dice.below(UPGRADE.len() - 1);
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

    fn is_websocket(&mut self, echo: bool, most: usize, dice: &mut Dice) {
        self.upgrades = true;
        self.acts.push_back(Act::Write(UPGRADE.to_vec()));
        if dice.chance(700) {
            self.acts.push_back(Act::AwaitOpen);
        }
        for _ in 0..dice.below(12) {
            match dice.below(8) {
                0 => {
                    let number = self.pings.len() as u32;
                    let mut payload = number.to_be_bytes().to_vec();
                    payload.resize(dice.between(4, 125), b'p');
                    self.write(frame::frame(FIN | PING, &payload, dice));
                    self.pings.push(payload);
                }
                1 => self.write(frame::frame(FIN | PONG, b"unasked", dice)),
                2 => self.pause(dice),
                _ => self.sends_message(echo, most, dice),
            }
        }
        match dice.below(8) {
            0..4 => {
                let code = *dice.pick(&[None, Some(1000), Some(1001), Some(3000), Some(4999)]);
                self.leaving = Leaving::InOrder(code);
                self.write(frame::close(code, dice));
                if dice.chance(300) {
                    self.acts.push_back(Act::Shut);
                }
            }
            4 => {
                let (bytes, code) = match echo {
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

    fn sends_message(&mut self, echo: bool, most: usize, dice: &mut Dice) {
        let kind = if echo && dice.chance(300) { TEXT } else { BINARY };
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
        self.acts.push_back(match dice.below(3) {
            0 => Act::Shut,
            1 => Act::Close,
            _ => Act::Reset,
        });
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
        let bytes = self.hand.read_up_to(self.appetite);
        self.reader.take(&bytes);
        self.check_control();
        while now >= self.idle_until && dice.chance(700) {
            match self.acts.front() {
                None => return,
                Some(Act::AwaitOpen) if !self.reader.open && !self.hand.is_over() && self.appetite > 0 => {
                    return;
                }
                _ => {}
            }
            match self.acts.pop_front() {
                Some(Act::Write(bytes)) => self.hand.write(&bytes),
                Some(Act::Pause(ms)) => self.idle_until = Time(now.0 + ms),
                Some(Act::Shut) => self.hand.shut(),
                Some(Act::Close) => self.hand.close(),
                Some(Act::Reset) => self.hand.reset(),
                Some(Act::AwaitOpen) | None => {}
            }
        }
    }

    /// Each pong answers a ping, the newer ones later; pings may be skipped.
    fn check_control(&self) {
        let mut pings = self.pings.iter();
        for pong in &self.reader.pongs {
            assert!(pings.any(|ping| ping == pong), "a pong answers a ping, in order");
        }
    }
}
