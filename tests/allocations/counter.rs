//! An allocator that counts, for each thread by itself, how often it is asked for memory, and that can refuse large blocks.
//!
//! It passes everything else on to the system's allocator and never keeps anything.

#![allow(unsafe_code, reason = "an allocator is an unsafe trait; nothing else here is")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::null_mut;

thread_local! {
    // Neither needs memory when it is first touched nor anything to be done when the thread ends, so the allocator may
    // use it at any time.
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static MOST: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// From now on the calling thread gets no block of more than so many bytes.
pub fn refuse_above(bytes: usize) {
    MOST.set(bytes);
}

/// How often the calling thread has asked for memory.
pub fn count() -> u64 {
    COUNT.get()
}

/// The system's allocator, counted.
pub struct Counter;

// SAFETY: every call is passed on to `System` as it came, so its promises are kept by those of `System`, or answered with
// null, which every caller has to expect and which leaves a block to be grown as it is; counting touches no memory but the
// thread's own numbers.
unsafe impl GlobalAlloc for Counter {
    // SAFETY: the caller keeps what `GlobalAlloc` asks, and `System` asks the same.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        if layout.size() > MOST.get() {
            return null_mut();
        }
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: the caller keeps what `GlobalAlloc` asks, and `System` asks the same.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        if layout.size() > MOST.get() {
            return null_mut();
        }
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    // SAFETY: the caller keeps what `GlobalAlloc` asks, and `System` asks the same.
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        if size > MOST.get() {
            return null_mut();
        }
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, size) }
    }

    // SAFETY: the caller keeps what `GlobalAlloc` asks, and `System` asks the same.
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}
