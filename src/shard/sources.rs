//! Who has how many connections: the count for each source address over all shards.
//!
//! Owns that table and its bound. It is looked at when a connection begins and when it ends, never in between, and holds no more
//! entries than there are connections. It never closes anybody.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

/// The counts of all shards; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Sources(Option<Arc<Table>>);

#[derive(Debug)]
struct Table {
    /// Most connections of one source.
    most: usize,
    counts: Mutex<HashMap<Source, usize>>,
}

/// Whom addresses belong to. A network of IPv6 gives whoever it is lent to a whole /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Source {
    V4([u8; 4]),
    V6([u8; 8]),
}

impl Source {
    fn of(client: SocketAddr) -> Source {
        match client.ip().to_canonical() {
            IpAddr::V4(ip) => Source::V4(ip.octets()),
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, g, h, ..] = ip.octets();
                Source::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

impl Sources {
    /// For so many connections of each source; `None`: nobody counts.
    pub fn new(most: Option<usize>) -> Sources {
        Sources(most.map(|most| Arc::new(Table { most, counts: Mutex::default() })))
    }

    /// Counts one more connection of `client`; false if it would be one too many, or there is no memory to count it, and then it is not counted. Whoever comes by a
    /// Unix socket has no address and is always let in.
    pub fn admit(&self, client: Option<SocketAddr>) -> bool {
        let (Some(table), Some(client)) = (&self.0, client) else { return true };
        let mut counts = table.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.try_reserve(1).is_err() {
            return false;
        }
        match counts.entry(Source::of(client)) {
            Entry::Vacant(place) => {
                place.insert(1);
                true
            }
            Entry::Occupied(mut place) => {
                let has_room = *place.get() < table.most;
                *place.get_mut() += usize::from(has_room);
                has_room
            }
        }
    }

    /// Counts one connection of `client` less, which was admitted.
    pub fn leave(&self, client: Option<SocketAddr>) {
        let (Some(table), Some(client)) = (&self.0, client) else { return };
        let mut counts = table.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut place) = counts.entry(Source::of(client)) {
            *place.get_mut() -= 1;
            if *place.get() == 0 {
                place.remove();
            }
        }
    }

    /// Most connections of one source, where there is such a bound.
    pub fn most(&self) -> Option<usize> {
        self.0.as_ref().map(|table| table.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(word: &str) -> Option<SocketAddr> {
        Some(word.parse().unwrap())
    }

    /// How many entries there are.
    fn entries(sources: &Sources) -> usize {
        sources.0.as_ref().map_or(0, |table| table.counts.lock().unwrap().len())
    }

    #[test]
    fn each_source_has_its_own_bound() {
        let sources = Sources::new(Some(2));
        // Each of these rows is one source.
        let rows = [
            ["10.0.0.1:1", "10.0.0.1:2", "[::ffff:10.0.0.1]:3"],
            ["10.0.0.2:1", "[::ffff:10.0.0.2]:2", "10.0.0.2:3"],
            ["[2001:db8::1]:1", "[2001:db8::ffff:0:1]:1", "[2001:db8:0:0:ffff::]:1"],
            ["[2001:db8:0:1::1]:1", "[2001:db8:0:1::2]:1", "[2001:db8:0:1::3]:1"],
        ];
        for row in rows {
            assert_eq!(row.map(|word| sources.admit(client(word))), [true, true, false], "{row:?}");
        }
        assert_eq!((entries(&sources), sources.most()), (4, Some(2)));
        sources.leave(client(rows[0][2]));
        assert!(sources.admit(client(rows[0][0])) && !sources.admit(client(rows[0][1])));
        for word in rows.iter().flat_map(|row| &row[..2]) {
            sources.leave(client(word));
        }
        assert_eq!(entries(&sources), 0, "who is gone leaves nothing behind");
        // Nothing comes of one who was never let in.
        sources.leave(client("10.0.0.9:1"));
        assert!((0..2).all(|_| sources.admit(client("10.0.0.9:1"))) && !sources.admit(client("10.0.0.9:1")));
    }

    #[test]
    fn without_a_bound_or_an_address_nobody_is_counted() {
        let (open, bound) = (Sources::default(), Sources::new(Some(1)));
        assert!((0..9).all(|_| open.admit(client("10.0.0.1:1")) && bound.admit(None)));
        open.leave(client("10.0.0.1:1"));
        bound.leave(None);
        assert_eq!((entries(&open), entries(&bound), open.most()), (0, 0, None));
    }

    #[test]
    fn the_bound_holds_over_all_threads() {
        let sources = Sources::new(Some(7));
        let mut let_in = 0;
        std::thread::scope(|scope| {
            let threads = [(); 4]
                .map(|()| scope.spawn(|| (0..1000).filter(|_| sources.admit(client("10.0.0.1:1"))).count()));
            let_in = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        });
        assert_eq!(let_in, 7);
    }
}
