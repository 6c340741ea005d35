//! Slots for sessions: dense, reused warm, and named by keys that go stale when a slot is given back.
//!
//! Owns values and their generations. A [`Key`] kept across a release finds nothing instead of a stranger. It never
//! shrinks: its memory is the most sessions a shard ever had at once.

use std::ops::{Index, IndexMut};

/// Bits of a generation that a [`Key`] carries; 16 million reuses of one slot before a number comes again.
pub const GENERATION_BITS: u32 = 24;

/// Names one value of a [`Slab`] for as long as it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Which slot.
    pub index: u32,
    /// Which use of it, below `1 << GENERATION_BITS`.
    pub generation: u32,
}

/// Elements of one page of [`Pages`].
const PAGE: usize = 128;

/// A table that grows by pages and never moves what is in it, so that its memory is what it holds: doubling a vector of
/// ten thousand sessions leaves half as much again behind.
#[derive(Debug)]
pub struct Pages<T>(Vec<Box<[T]>>);

impl<T> Default for Pages<T> {
    fn default() -> Pages<T> {
        Pages(Vec::new())
    }
}

impl<T: Default> Pages<T> {
    /// Grows so that `index` is there.
    pub fn reach(&mut self, index: usize) {
        while self.0.len() <= index / PAGE {
            self.0.push((0..PAGE).map(|_| T::default()).collect());
        }
    }
}

impl<T> Pages<T> {
    /// How many elements there are, a multiple of a page.
    pub fn len(&self) -> usize {
        self.0.len() * PAGE
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The element at `index`, if the table reaches that far.
    pub fn get(&self, index: usize) -> Option<&T> {
        Some(&self.0.get(index / PAGE)?[index % PAGE])
    }

    /// See [`Pages::get`].
    pub fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        Some(&mut self.0.get_mut(index / PAGE)?[index % PAGE])
    }
}

impl<T> Index<usize> for Pages<T> {
    type Output = T;
    fn index(&self, index: usize) -> &T {
        &self.0[index / PAGE][index % PAGE]
    }
}

impl<T> IndexMut<usize> for Pages<T> {
    fn index_mut(&mut self, index: usize) -> &mut T {
        &mut self.0[index / PAGE][index % PAGE]
    }
}

/// Values in slots.
#[derive(Debug)]
pub struct Slab<T> {
    slots: Pages<Slot<T>>,
    /// Slots that were ever used, all others are behind them.
    used: u32,
    /// Free slots, last in first out: the warmest is used next.
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Default for Slot<T> {
    fn default() -> Slot<T> {
        Slot { generation: 0, value: None }
    }
}

impl<T> Default for Slab<T> {
    fn default() -> Slab<T> {
        Slab { slots: Pages::default(), used: 0, free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// How many values there are.
    pub fn len(&self) -> usize {
        self.used as usize - self.free.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts in the value that `make` builds from its own key.
    pub fn insert_with(&mut self, make: impl FnOnce(Key) -> T) -> Key {
        let index = self.free.pop().unwrap_or_else(|| {
            self.used += 1;
            self.slots.reach(self.used as usize - 1);
            self.used - 1
        });
        let slot = &mut self.slots[index as usize];
        let key = Key { index, generation: slot.generation };
        slot.value = Some(make(key));
        key
    }

    /// The value of `key`, if it is still there.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation == key.generation { slot.value.as_mut() } else { None }
    }

    /// The value in slot `index` with its key, if the slot is in use.
    pub fn at(&self, index: u32) -> Option<(Key, &T)> {
        let slot = self.slots.get(index as usize)?;
        let value = slot.value.as_ref()?;
        Some((Key { index, generation: slot.generation }, value))
    }

    /// Takes the value of `key` out and makes the key stale.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = (slot.generation + 1) & ((1 << GENERATION_BITS) - 1);
        self.free.push(key.index);
        Some(value)
    }

    /// The keys of all values, in slot order.
    pub fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        (0..self.used).filter_map(|index| self.at(index).map(|(key, _)| key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_released_key_finds_nothing() {
        let mut slab = Slab::default();
        let first = slab.insert_with(|key| (key, 'a'));
        assert_eq!(slab.get_mut(first).map(|value| value.1), Some('a'));
        assert_eq!(slab.remove(first).map(|value| value.1), Some('a'));
        assert!(slab.is_empty() && slab.remove(first).is_none());
        let second = slab.insert_with(|key| (key, 'b'));
        assert_eq!(second.index, first.index);
        assert!(slab.get_mut(first).is_none());
        assert_eq!(slab.keys().collect::<Vec<_>>(), [second]);
    }

    #[test]
    fn the_last_freed_slot_is_used_first() {
        let mut slab = Slab::default();
        let keys: Vec<_> = (0..4).map(|n| slab.insert_with(|_| n)).collect();
        slab.remove(keys[1]);
        slab.remove(keys[3]);
        assert_eq!(slab.insert_with(|_| 9).index, 3);
        assert_eq!(slab.insert_with(|_| 9).index, 1);
        assert_eq!(slab.len(), 4);
    }
}
