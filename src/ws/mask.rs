//! Unmasking (RFC 6455 section 5.3).

use std::ops::Range;

/// Unmasks `bytes` where they lie.
pub fn unmask(bytes: &mut [u8], key: [u8; 4], phase: usize) -> usize {
    let len = bytes.len();
    unmask_slide(bytes, 0..len, 0, key, phase)
}

/// Unmasks and slides.
pub fn unmask_slide(buf: &mut [u8], src: Range<usize>, dst: usize, key: [u8; 4], phase: usize) -> usize {
    let len = src.len();
    for i in 0..len {
        buf[dst + i] = buf[src.start + i] ^ key[(phase + i) & 3];
    }
    (phase + len) & 3
}
