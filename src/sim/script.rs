//! Targets that play themselves: what the far end of a dial does without a test's hand.
//!
//! A behaviour looks at what has arrived at its end and reads, writes, shuts or breaks. It never looks at the near end.

use super::link::Dial;
use super::network::{Event, Network};

/// What the far end of a dial does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// The test plays it.
    Hand,
    /// Sends everything back and ends after the other end.
    Echo,
    /// Reads everything and ends after the other end.
    Sink,
    /// Never reads anything, never ends.
    Stall,
    /// Writes so many bytes ([`Behaviour::byte`]), then ends; reads everything.
    Source(usize),
    /// Reads so many bytes, then closes both ways.
    CloseAfter(usize),
    /// Reads so many bytes, then breaks the stream.
    ResetAfter(usize),
    /// Refuses to be connected.
    Refuse,
    /// Never answers a connect.
    Silent,
}

impl Behaviour {
    /// The byte at `place` of what a [`Behaviour::Source`] writes.
    pub fn byte(place: usize) -> u8 {
        (place.wrapping_mul(167) >> 3) as u8
    }
}

impl Network {
    /// Lets the far end of `link` begin, once it is connected.
    pub(super) fn far_begins(&mut self, link: usize) {
        if let Behaviour::Source(count) = self.links[link].far.behaviour {
            let bytes: Vec<u8> = (0..count).map(Behaviour::byte).collect();
            self.far_write(link, &bytes);
            self.far_shut(link);
        }
        self.far_acts(link);
    }

    /// Lets the far end of `link` look at what has arrived there.
    pub(super) fn far_acts(&mut self, link: usize) {
        let far = &self.links[link].far;
        if far.gone || self.links[link].near.dial != Dial::Up {
            return;
        }
        let behaviour = far.behaviour;
        let (read, closes) = match behaviour {
            Behaviour::Hand | Behaviour::Stall | Behaviour::Refuse | Behaviour::Silent => return,
            Behaviour::CloseAfter(count) | Behaviour::ResetAfter(count) => {
                let left = count - far.read.len();
                (self.far_read(link, left), self.links[link].far.read.len() == count)
            }
            _ => (self.far_read(link, usize::MAX), false),
        };
        if behaviour == Behaviour::Echo && !read.is_empty() {
            self.far_write(link, &read);
        }
        if closes {
            match behaviour {
                Behaviour::ResetAfter(_) => self.plan(Event::Break(link)),
                _ => self.far_close(link),
            }
        } else if self.links[link].outward.ended && self.links[link].outward.inbox.is_empty() {
            self.far_shut(link);
        }
    }
}
