//! Tests of where buffer bytes live: one hot buffer, chunks, the ceiling, and a system that gives nothing.

use super::*;
use crate::limits::BUFFER_MEMORY_MIN;

#[test]
fn hot_buffer_comes_home_when_dropped() {
    let pool = Pool::new(BUFFER_MEMORY_MIN);
    for _ in 0..3 {
        let mut lease = pool.hot();
        lease.spare_mut()[..5].copy_from_slice(b"hello");
        lease.extend_filled(5);
        lease.prepend(b"<<");
        assert_eq!(&*lease, b"<<hello");
        lease.advance(1);
        lease.narrow(1..4);
        assert_eq!(&*lease, b"hel");
    }
    assert_eq!(pool.in_use(), 0);
}

#[test]
#[should_panic(expected = "home between completions")]
fn hot_buffer_is_leased_once() {
    let pool = Pool::new(BUFFER_MEMORY_MIN);
    let _first = pool.hot();
    let _second = pool.hot();
}

#[test]
fn kept_bytes_leave_the_hot_buffer_and_count() {
    let pool = Pool::new(BUFFER_MEMORY_MIN);
    let mut lease = pool.hot();
    lease.append(&[7; 5000]);
    let kept = lease.kept().unwrap();
    assert_eq!(pool.in_use(), CHUNK_CLASSES[1]);
    assert_eq!(pool.hot().len(), 0);
    assert!(kept.iter().all(|&byte| byte == 7) && kept.len() == 5000);
    drop(kept);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn half_a_ceiling_makes_receives_sparing_and_all_of_it_stops_them() {
    let ceiling = 4 * LARGEST;
    let pool = Pool::new(ceiling);
    assert_eq!((pool.allowance(), pool.is_short()), (HOT_BYTES, false));
    let large = [pool.chunk(LARGEST).unwrap(), pool.chunk(LARGEST).unwrap()];
    assert_eq!((pool.allowance(), pool.is_short()), (SPARING_BYTES, true));
    assert!(pool.reserve(SMALLEST + 1).is_none() && pool.chunk_within(SMALLEST + 1).is_none());
    let mut small = Vec::new();
    while pool.allowance() > 0 {
        small.push(pool.chunk(SPARING_BYTES + HEADROOM_BYTES).unwrap());
    }
    assert!(pool.in_use() <= ceiling && pool.in_use() + SMALLEST > ceiling);
    assert!(pool.reserve(SMALLEST).is_none());
    small.pop();
    assert_eq!(pool.allowance(), SPARING_BYTES);
    drop((small, large));
    assert_eq!(pool.in_use(), 0);
    let reservation = pool.reserve(ceiling / 2).expect("half is for anything");
    assert_eq!(pool.in_use(), ceiling / 2);
    drop(Lease::reserved(vec![1; 3], reservation));
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn chunks_within_the_ceiling_count_whatever_their_size() {
    let pool = Pool::new(4 * LARGEST);
    let large = pool.chunk_within(2 * LARGEST).unwrap();
    assert_eq!((large.tailroom(), pool.in_use()), (2 * LARGEST, 2 * LARGEST));
    let small = pool.chunk_within(1).unwrap();
    assert!(pool.chunk_within(LARGEST).is_none());
    // What must have its place counts too.
    let larger = pool.chunk(2 * LARGEST).unwrap();
    assert_eq!((larger.tailroom(), pool.in_use()), (2 * LARGEST, 4 * LARGEST + SMALLEST));
    assert!(pool.is_short() && pool.allowance() == 0);
    drop((large, small, larger));
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn joining_grows_through_the_classes() {
    let pool = Pool::new(BUFFER_MEMORY_MIN);
    let mut lease = pool.chunk(1).unwrap();
    for byte in 0..20_000u32 {
        lease = lease.joined(&[byte as u8], &pool).unwrap();
    }
    assert_eq!(lease.len(), 20_000);
    assert!(lease.iter().enumerate().all(|(at, &byte)| byte == at as u8));
    assert_eq!(pool.in_use(), CHUNK_CLASSES[2]);
}

#[test]
fn what_the_system_does_not_give_makes_memory_short_and_ends_nothing() {
    /// More than any system has.
    const NOWHERE: usize = usize::MAX / 4;
    let pool = Pool::new(BUFFER_MEMORY_MIN);
    pool.set_aside();
    let spare = || pool.0.spare.borrow().len();
    assert_eq!((spare(), pool.is_backed(), pool.allowance()), (SPARE_CHUNKS, true, HOT_BYTES));
    drop(pool.chunk(LARGEST));
    assert_eq!(pool.0.cached.get(), LARGEST);
    let held = pool.chunk(1).unwrap();
    assert!(pool.chunk(NOWHERE).is_none());
    assert_eq!((pool.in_use(), pool.0.cached.get(), spare()), (SMALLEST, 0, SPARE_CHUNKS_LAST));

    // Nothing has come back since.
    assert!(pool.is_short() && !pool.is_backed());
    assert_eq!(pool.allowance(), SPARING_BYTES);
    assert!(pool.chunk_within(SMALLEST + 1).is_none() && pool.reserve(SMALLEST + 1).is_none());
    let small = pool.chunk_within(SMALLEST).unwrap();

    // What is received has its place in what is set aside, and what is only held has not.
    let last = || {
        let bytes = pool.0.spare.borrow_mut().pop()?;
        Some(pool.lent(bytes))
    };
    let taken: Vec<Lease> = std::iter::from_fn(last).collect();
    assert_eq!((taken.len(), pool.allowance()), (SPARE_CHUNKS_LAST, 0));
    drop(taken);
    assert_eq!(spare(), SPARE_CHUNKS_LAST);

    // It is all to be had again.
    assert!(pool.is_backed() && !pool.is_short());
    assert_eq!((spare(), pool.allowance()), (SPARE_CHUNKS, HOT_BYTES));
    drop((held, small));
    assert_eq!(pool.in_use(), 0);
}

/// A pool with all set aside, and the most bytes that its system gives at once.
fn stingy(ceiling: usize) -> (Pool, Rc<Cell<usize>>) {
    let most = Rc::new(Cell::new(usize::MAX));
    let gives = most.clone();
    let pool =
        Pool::over(ceiling, move |bytes| (bytes <= gives.get()).then(|| vec![0; bytes].into_boxed_slice()));
    pool.set_aside();
    assert!(!pool.lacks());
    (pool, most)
}

/// So many bytes as a receive brings them.
fn received(pool: &Pool, count: usize) -> Lease {
    let mut lease = pool.hot();
    lease.append(&vec![7; count]);
    lease
}

#[test]
fn what_is_held_takes_nothing_that_is_set_aside() {
    let (pool, most) = stingy(BUFFER_MEMORY_MIN);
    let spare = || pool.0.spare.borrow().len();
    most.set(0);
    assert!(received(&pool, 10).kept_to_hold().is_none());
    assert_eq!((pool.lacks(), spare(), pool.in_use()), (true, SPARE_CHUNKS_LAST, 0));
    // What goes on now may have it, and gives it back when it is to be held after all.
    let passing = received(&pool, 10).kept().unwrap();
    assert_eq!((spare(), pool.in_use()), (SPARE_CHUNKS_LAST - 1, LARGEST));
    assert!(passing.kept_to_hold().is_none());
    assert_eq!((spare(), pool.in_use()), (SPARE_CHUNKS_LAST, 0));
    // Where there is small change, what is held is in that.
    most.set(SMALLEST);
    let passing: Vec<Lease> = (0..SPARE_CHUNKS_LAST).map(|_| pool.chunk(LARGEST).unwrap()).collect();
    assert_eq!((spare(), pool.allowance()), (0, 0));
    for mut lease in passing {
        lease.append(b"held");
        let held = lease.kept_to_hold().unwrap();
        assert_eq!((&*held, held.tailroom()), (&b"held"[..], SMALLEST - 4));
    }
    assert_eq!((spare(), pool.in_use()), (SPARE_CHUNKS_LAST, 0));
}

#[test]
fn what_is_held_leaves_the_last_place_to_others() {
    let pool = Pool::new(4 * LARGEST);
    let mut taken: Vec<_> = std::iter::from_fn(|| pool.reserve(SMALLEST)).collect();
    taken.pop();
    assert_eq!(pool.allowance(), SPARING_BYTES);
    assert!(received(&pool, 10).kept_to_hold().is_none(), "it would be the last");
    assert_eq!(pool.allowance(), SPARING_BYTES);
    drop(received(&pool, 10).kept().expect("what passes may have it"));
    taken.pop();
    let held = received(&pool, 10).kept_to_hold().unwrap();
    assert_eq!((held.len(), pool.allowance()), (10, SPARING_BYTES));
    // What has memory already is not moved.
    let (at, own) = (held.as_ptr(), Lease::own(vec![1; 3]));
    assert_eq!(held.kept_to_hold().unwrap().as_ptr(), at);
    assert_eq!(&*own.kept_to_hold().unwrap(), [1; 3]);
}

#[test]
fn memory_is_gone_before_the_last_of_it_is() {
    let (pool, most) = stingy(BUFFER_MEMORY_MIN);
    let spare = || pool.0.spare.borrow().len();
    most.set(SPARE_CHUNKS * LARGEST - 1);
    let mut small = vec![pool.chunk(1).unwrap()];
    assert!(!pool.lacks(), "of little nobody asks at once");
    while !pool.lacks() {
        small.push(pool.chunk(1).expect("it is given"));
        assert!(small.len() * SMALLEST <= LARGEST + SMALLEST, "but of all together");
    }
    assert_eq!((spare(), pool.allowance()), (SPARE_CHUNKS_LAST, SPARING_BYTES));
    assert!(pool.chunk_to_hold(1).is_some() && pool.chunk_within(SMALLEST + 1).is_none());
    // Twice as much ends it.
    most.set(2 * SPARE_CHUNKS * LARGEST - 1);
    assert!(!pool.recovers());
    most.set(2 * SPARE_CHUNKS * LARGEST);
    assert!(pool.recovers());
    assert_eq!((spare(), pool.allowance()), (SPARE_CHUNKS, HOT_BYTES));
}

#[test]
fn memory_that_others_gave_back_is_found_by_those_who_seek_it() {
    let (pool, most) = stingy(BUFFER_MEMORY_MIN);
    let _held = pool.chunk_to_hold(1).unwrap();
    most.set(0);
    assert!(pool.chunk_to_hold(1).is_none() && pool.lacks() && !pool.recovers());
    // Others give it back: nothing of that is seen here.
    most.set(usize::MAX);
    assert!(!pool.is_backed() && pool.lacks() && pool.is_short());
    assert!(pool.recovers() && !pool.lacks() && !pool.is_short());
    // Small change is no sign of it.
    most.set(0);
    assert!(pool.chunk_to_hold(LARGEST).is_none());
    most.set(SPARE_CHUNKS * LARGEST - 1);
    assert!(!pool.recovers() && pool.lacks());
}
