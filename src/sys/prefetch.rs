//! Asks the processor to bring memory near that is needed in a moment.

#![expect(unsafe_code, reason = "a prefetch takes an address")]

/// Bytes of a cache line, or less than one.
const LINE: usize = 64;

/// Begins to bring `value` into the caches, and does not wait for it. Where no such word is known, nothing happens.
#[inline]
pub fn prefetch<T>(value: &T) {
    let from = std::ptr::from_ref(value).cast::<i8>();
    for at in (0..size_of::<T>()).step_by(LINE) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: it reads nothing, whatever the address; and this one is within `value`.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(at));
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (from, at);
    }
}
