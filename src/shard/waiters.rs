//! Who could make room for others: lines of sessions that wait for their clients, whoever has waited longest in front.
//!
//! Owns which slot stands in which line, and since when. A slot stands in one line at most; joining, leaving and asking who
//! is first cost the same however many there are. It never decides who has to go.

use crate::session::Wait;
use crate::slab::Pages;
use crate::timers::Time;

const NONE: u32 = u32::MAX;

/// One of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// See [`Wait::Head`].
    Head = 0,
    /// See [`Wait::Request`].
    Request = 1,
    /// See [`Wait::Farewell`].
    Farewell = 2,
    /// Told to go for those who wait for places; they are gone in a moment.
    Leaving = 3,
}

impl Line {
    /// Where a session stands that waits like this.
    pub fn of(wait: Wait) -> Line {
        match wait {
            Wait::Head => Line::Head,
            Wait::Request => Line::Request,
            Wait::Farewell => Line::Farewell,
        }
    }
}

/// All lines.
#[derive(Debug)]
pub(super) struct Waiters {
    ends: [Ends; 4],
    /// By slot.
    links: Pages<Link>,
}

#[derive(Clone, Copy, Debug)]
struct Ends {
    first: u32,
    last: u32,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    since: Time,
    previous: u32,
    next: u32,
    line: Option<Line>,
}

impl Default for Link {
    fn default() -> Link {
        Link { since: Time::default(), previous: NONE, next: NONE, line: None }
    }
}

impl Default for Waiters {
    fn default() -> Waiters {
        Waiters { ends: [Ends { first: NONE, last: NONE, len: 0 }; 4], links: Pages::default() }
    }
}

impl Waiters {
    /// Takes `slot` out of the line in which it stands, and puts it at the end of `line`, if any.
    pub fn put(&mut self, slot: u32, line: Option<Line>, now: Time) {
        self.links.reach(slot as usize);
        self.take_out(slot);
        let Some(line) = line else { return };
        let previous = self.ends[line as usize].last;
        self.links[slot as usize] = Link { since: now, previous, next: NONE, line: Some(line) };
        match previous {
            NONE => self.ends[line as usize].first = slot,
            _ => self.links[previous as usize].next = slot,
        }
        self.ends[line as usize].last = slot;
        self.ends[line as usize].len += 1;
    }

    fn take_out(&mut self, slot: u32) {
        let Link { previous, next, line, .. } = std::mem::take(&mut self.links[slot as usize]);
        let Some(line) = line else { return };
        match previous {
            NONE => self.ends[line as usize].first = next,
            _ => self.links[previous as usize].next = next,
        }
        match next {
            NONE => self.ends[line as usize].last = previous,
            _ => self.links[next as usize].previous = previous,
        }
        self.ends[line as usize].len -= 1;
    }

    /// Who has stood in `line` for longest, and since when.
    pub fn first(&self, line: Line) -> Option<(u32, Time)> {
        let first = self.ends[line as usize].first;
        self.links.get(first as usize).filter(|_| first != NONE).map(|link| (first, link.since))
    }

    /// The line in which `slot` stands, if any.
    pub fn line(&self, slot: u32) -> Option<Line> {
        self.links.get(slot as usize)?.line
    }

    /// How many stand in `line`.
    pub fn len(&self, line: Line) -> usize {
        self.ends[line as usize].len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everybody in `line`, from the front, each taken out in turn.
    fn all(waiters: &mut Waiters, line: Line) -> Vec<(u32, u64)> {
        let len = waiters.len(line);
        let order: Vec<_> = std::iter::from_fn(|| {
            let (slot, since) = waiters.first(line)?;
            waiters.put(slot, None, Time(0));
            Some((slot, since.0))
        })
        .collect();
        assert_eq!((order.len(), waiters.len(line)), (len, 0));
        order
    }

    #[test]
    fn first_is_who_has_waited_longest() {
        let mut waiters = Waiters::default();
        for slot in 0..500 {
            waiters.put(slot, Some(Line::Head), Time(u64::from(slot)));
        }
        // From the front, from the back, from between, and to the back of the same line and of another.
        for slot in [0, 499, 250] {
            waiters.put(slot, None, Time(600));
            waiters.put(slot, None, Time(600));
        }
        waiters.put(1, Some(Line::Head), Time(600));
        assert_eq!([0, 1, 5000].map(|slot| waiters.line(slot)), [None, Some(Line::Head), None]);
        for slot in [2, 498, 300] {
            waiters.put(slot, Some(Line::Request), Time(700));
        }
        assert_eq!(all(&mut waiters, Line::Request), [(2, 700), (498, 700), (300, 700)]);
        let rest = (3..498).filter(|slot| ![250, 300].contains(slot)).map(|slot| (slot, u64::from(slot)));
        assert_eq!(all(&mut waiters, Line::Head), rest.chain([(1, 600)]).collect::<Vec<_>>());
        assert_eq!([Line::Farewell, Line::Leaving].map(|line| waiters.first(line)), [None, None]);
    }
}
