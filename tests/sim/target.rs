//! The far end of one dial: what a script plays in the open, or a target with TLS that does the same behind it.

use super::client::some_end;
use super::keys::DayKeys;
use super::wire::{Then, Wire};
use websplice::sim::{Behaviour, Dice, Hand};

/// How a target does its TLS.
#[derive(Clone, Debug)]
pub enum Manner {
    /// Not at all.
    Plain,
    /// As one should; which of the day's configurations.
    Good(usize),
    /// As one should, but its stream ends without close_notify.
    Truncates(usize),
    /// It says close_notify but not end of stream.
    Halves(usize),
    /// With a certificate that is not to be accepted.
    Untrusted(usize),
    /// What it writes is cut after so many bytes of its handshake.
    Cut(usize, Then),
}

/// What one dial meets.
#[derive(Clone, Debug)]
pub struct Part {
    pub behaviour: Behaviour,
    pub manner: Manner,
}

impl Part {
    /// What a dial meets that is to find `behaviour`.
    pub fn new(behaviour: Behaviour, keys: Option<&DayKeys>, calm: bool, dice: &mut Dice) -> Part {
        let manner = match keys {
            None => Manner::Plain,
            _ if matches!(behaviour, Behaviour::Refuse | Behaviour::Silent) => Manner::Plain,
            Some(keys) => {
                let which = dice.below(keys.targets.len());
                match if calm { 9 } else { dice.below(10) } {
                    0 => Manner::Plain,
                    1 => Manner::Truncates(which),
                    2 => Manner::Halves(which),
                    3 => Manner::Untrusted(dice.below(keys.bad_targets.len())),
                    4 => Manner::Cut(dice.below(700), some_end(dice)),
                    _ => Manner::Good(which),
                }
            }
        };
        Part { behaviour, manner }
    }

    /// What the network plays of it.
    pub fn script(&self) -> Behaviour {
        match self.manner {
            Manner::Plain => self.behaviour,
            _ => Behaviour::Hand,
        }
    }

    /// Whether it stays and takes all it is given.
    pub fn is_kind(&self) -> bool {
        let kind = matches!(self.behaviour, Behaviour::Echo | Behaviour::Sink | Behaviour::Source(_));
        kind && self.is_orderly()
    }

    /// Whether nothing is wrong with its TLS, on a day that has it or not.
    pub fn is_orderly(&self) -> bool {
        matches!(self.manner, Manner::Plain | Manner::Good(_) | Manner::Halves(_) | Manner::Truncates(_))
    }
}

/// A target that was dialled.
pub struct Target {
    pub wire: Wire,
    pub part: Part,
    begun: bool,
    over: bool,
    /// How often it changed its keys.
    rekeyed: usize,
}

/// Most changes of keys by one target; rustls takes 32 in a row.
const REKEYS_MAX: usize = 10;

impl Target {
    /// The target behind `hand`, which is to do `part`.
    pub fn new(hand: Hand, part: Part, keys: Option<&DayKeys>) -> Target {
        let wire = match (&part.manner, keys) {
            (Manner::Plain, _) | (_, None) => Wire::plain(hand),
            (Manner::Good(which) | Manner::Truncates(which) | Manner::Halves(which), Some(keys)) => {
                Wire::server(hand, &keys.targets[*which])
            }
            (Manner::Untrusted(which), Some(keys)) => Wire::server(hand, &keys.bad_targets[*which]),
            (Manner::Cut(after, then), Some(keys)) => {
                Wire::server(hand, &keys.targets[0]).cut(*after, then.clone())
            }
        };
        Target { wire, part, begun: false, over: false, rekeyed: 0 }
    }

    /// All payload it has got.
    pub fn received(&self) -> Vec<u8> {
        if self.wire.is_secure() { self.wire.read.clone() } else { self.wire.hand.received() }
    }

    /// All payload it has sent.
    pub fn written(&self) -> Vec<u8> {
        if self.wire.is_secure() { self.wire.written.clone() } else { self.wire.hand.written() }
    }

    /// Does what its behaviour is, behind its TLS; a plain one is played by the network.
    pub fn act(&mut self) {
        if !self.wire.is_secure() || self.over || self.wire.hand.met_at().is_none() {
            return;
        }
        if self.wire.is_open() && self.part.behaviour == Behaviour::Stall {
            return;
        }
        let plain = self.wire.read(usize::MAX);
        if self.wire.is_over() && self.wire.failed.is_some() {
            self.over = true;
            return;
        }
        if !self.wire.is_open() {
            if self.wire.hand.ended() {
                self.leave();
            }
            return;
        }
        if plain.len() % 3 == 1 && self.rekeyed < REKEYS_MAX {
            self.rekeyed += 2;
            self.wire.rekey();
            self.wire.rekey();
        }
        self.behave(&plain);
        if !self.over && self.wire.has_ended() {
            self.leave();
        }
    }

    fn behave(&mut self, plain: &[u8]) {
        let got = self.wire.read.len();
        let begins = !std::mem::replace(&mut self.begun, true);
        match self.part.behaviour {
            Behaviour::Echo if !plain.is_empty() => self.wire.write(plain),
            Behaviour::Source(count) if begins => {
                let bytes: Vec<u8> = (0..count).map(Behaviour::byte).collect();
                self.wire.write(&bytes);
                self.end();
            }
            Behaviour::CloseAfter(count) if got >= count => {
                self.end();
                self.wire.hand.close();
                self.over = true;
            }
            Behaviour::ResetAfter(count) if got >= count => {
                self.wire.hand.reset();
                self.over = true;
            }
            _ => {}
        }
    }

    /// Says its end, the way it does.
    fn end(&mut self) {
        if !matches!(self.part.manner, Manner::Truncates(_)) {
            self.wire.say_goodbye();
        }
        if !matches!(self.part.manner, Manner::Halves(_)) {
            self.wire.hand.shut();
        }
    }

    /// Ends after the other end.
    fn leave(&mut self) {
        if !matches!(self.part.behaviour, Behaviour::Source(_)) || !self.begun {
            self.end();
        }
        self.over = self.wire.hand.is_over();
    }
}
