//! Chance from a seed: the dice of a world and how often each misfortune strikes in it.
//!
//! Owns a small generator (SplitMix64). It never asks the system for randomness.

/// A seeded source of numbers.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice that fall the same way for the same `seed`.
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// Any number.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    /// A number below `bound`, which must not be zero.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.word() % bound as u64) as usize
    }

    /// A number from `low` to `high`, both possible.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// True in `per_mille` of a thousand cases. Impossible things use up no chance, so a seed replays alike when an odd
    /// is set to zero only up to the first time it would have struck.
    pub fn chance(&mut self, per_mille: usize) -> bool {
        per_mille > 0 && self.below(1000) < per_mille
    }

    /// One of `choices`, which must not be empty.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// A size from 1 to `most`, small ones as likely as large ones.
    pub fn size(&mut self, most: usize) -> usize {
        let bits = self.below(most.ilog2() as usize + 1);
        self.between(1, most.min(2 << bits))
    }
}

/// How often each misfortune strikes, in cases of a thousand, and how large and late things are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Odds {
    /// What is on its way arrives in part.
    pub split: usize,
    /// The end of a stream arrives together with its last bytes.
    pub end_with_bytes: usize,
    /// A receive brings less than has arrived.
    pub short_receive: usize,
    /// A send takes less than there is room for.
    pub short_send: usize,
    /// A receive or send says `WouldBlock` although it could have been done.
    pub again: usize,
    /// A receive or send is interrupted.
    pub interrupt: usize,
    /// An edge is reported for nothing.
    pub spurious: usize,
    /// Edges that could be reported as one are reported one by one.
    pub unmerged: usize,
    /// Watching ends by itself when something arrives.
    pub unwatch: usize,
    /// A socket cannot be watched at all.
    pub watch_fails: usize,
    /// A stream breaks when something is about to arrive.
    pub reset: usize,
    /// A pipe cannot be had.
    pub pipe_fails: usize,
    /// A socket turns out to be one that cannot be spliced from.
    pub splice_fails: usize,
    /// An accept fails.
    pub accept_fails: usize,
    /// A connect fails at once, before anything is sent.
    pub connect_fails: usize,
    /// The shard is woken for nothing.
    pub wake: usize,
    /// Most milliseconds something is on its way.
    pub delay_ms: usize,
    /// Most milliseconds between an arrival and its report.
    pub report_ms: usize,
    /// Most milliseconds a connect takes that is answered at all.
    pub dial_ms: usize,
    /// Most milliseconds that pass while the shard works, per turn.
    pub turn_ms: usize,
    /// Most bytes that a receive buffer or a send buffer holds; each is drawn from 1 to this, unless it is `usize::MAX`: then all
    /// are without bounds.
    pub buffer_bytes: usize,
}

impl Odds {
    /// A good day: nothing fails, nothing is late, buffers are roomy.
    pub fn calm() -> Odds {
        Odds {
            split: 0,
            end_with_bytes: 0,
            short_receive: 0,
            short_send: 0,
            again: 0,
            interrupt: 0,
            spurious: 0,
            unmerged: 0,
            unwatch: 0,
            watch_fails: 0,
            reset: 0,
            pipe_fails: 0,
            splice_fails: 0,
            accept_fails: 0,
            connect_fails: 0,
            wake: 0,
            delay_ms: 0,
            report_ms: 0,
            dial_ms: 0,
            turn_ms: 0,
            buffer_bytes: 1 << 18,
        }
    }

    /// Some kind of bad day: about half of the misfortunes are about, each at its own rate.
    pub fn drawn(dice: &mut Dice) -> Odds {
        fn often(dice: &mut Dice) -> usize {
            *dice.pick(&[0, 0, 20, 100, 500])
        }
        fn seldom(dice: &mut Dice) -> usize {
            *dice.pick(&[0, 0, 0, 2, 10])
        }
        Odds {
            split: often(dice),
            end_with_bytes: often(dice),
            short_receive: often(dice),
            short_send: often(dice),
            again: often(dice),
            interrupt: often(dice),
            spurious: often(dice),
            unmerged: often(dice),
            unwatch: often(dice),
            watch_fails: seldom(dice),
            reset: *dice.pick(&[0, 0, 0, 0, 1, 3]),
            pipe_fails: often(dice),
            splice_fails: seldom(dice),
            accept_fails: often(dice),
            connect_fails: *dice.pick(&[0, 0, 0, 100]),
            wake: often(dice),
            delay_ms: *dice.pick(&[0, 0, 1, 20, 300]),
            report_ms: *dice.pick(&[0, 0, 1, 30]),
            dial_ms: *dice.pick(&[0, 1, 500, 4000]),
            turn_ms: *dice.pick(&[0, 0, 1, 5]),
            buffer_bytes: *dice.pick(&[3, 64, 1 << 12, 1 << 16, 1 << 18]),
        }
    }
}
