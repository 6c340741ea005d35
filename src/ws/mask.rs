//! Unmasking (RFC 6455 section 5.3): the one step that touches every byte a client sends.
//!
//! A single kernel unmasks payload and slides it down over the headers between frames, because with the bytes in
//! registers the slide costs nothing; in place it is the same kernel with no distance to go. It is safe code that
//! the compiler turns into vectors, compiled twice: for what every machine has, and for AVX2, chosen at run time.
//! The only `unsafe` here is that choice. Owns no state: key and phase come from the caller, the next phase goes
//! back.
//!
//! Time relative to a `memcpy` of the same bytes into another buffer, with AVX2 (`benches/mask.rs`, on a busy
//! machine, so good for one digit; lower is better). The last column is what was tried and rejected: unmask a
//! block of 4 KiB in place, then move it.
//!
//! | bytes | aligned, in place | behind 6 bytes of header, in place | the same, slid | the same, slid in blocks |
//! |---|---|---|---|---|
//! | 125 | 3 | 3 | 4 | 6 |
//! | 1 KiB | 1.5 | 3 | 3 | 7 |
//! | 16 KiB | 1.7 | 3 | 2 | 4 |
//! | 64 KiB and more | 0.7 | 0.9 | 0.7 | 1.3 |
//!
//! From 64 KiB on a copy into a second buffer waits for memory longer than we do. Below, the factor at odd offsets
//! is mostly stores that cross cache lines. Without AVX2 the kernel takes 1.3 to 1.9 times as long up to 16 KiB.
//! Fewer than 16 bytes take 2 to 10 ns, one to two times a `memcpy`; the slow end is the same bytes unmasked over and
//! over, as only a bench does. There is no kernel for AVX-512: on the whole way of a byte it would win well under a
//! twentieth.

// One call needs it: into the function that is compiled for AVX2, after asking the processor.
#![allow(unsafe_code)]

use std::ops::Range;

/// From how many bytes on the look at the processor and the call pay for themselves.
#[cfg(target_arch = "x86_64")]
const WIDE_FROM_BYTES: usize = 256;

/// Bytes that are in registers at once: four SSE2 or NEON registers, or four of AVX2.
const BLOCK_BYTES: usize = 64;
#[cfg(target_arch = "x86_64")]
const WIDE_BLOCK_BYTES: usize = 128;

/// Bytes of a step behind the last block, and of the overlapping step at the end.
const STEP_BYTES: usize = 16;

/// Unmasks `bytes` where they lie. `phase` says which byte of `key` masks the first of them (it counts modulo 4, so a
/// position in the frame will do); the answer is the phase of the byte behind them, 0 to 3.
#[inline]
pub fn unmask(bytes: &mut [u8], key: [u8; 4], phase: usize) -> usize {
    let next = (phase + bytes.len()) & 3;
    shift(bytes, 0, word(key, phase));
    next
}

/// As [`unmask`], for `buf[src]`, and moves it so that it begins at `dst`, which must not be above `src.start`. The
/// bytes between its new end and its old one keep no promise.
///
/// # Panics
///
/// If `src` does not lie in `buf`, or `dst` is above `src.start`.
#[inline]
pub fn unmask_slide(buf: &mut [u8], src: Range<usize>, dst: usize, key: [u8; 4], phase: usize) -> usize {
    let next = (phase + src.len()) & 3;
    shift(&mut buf[dst..src.end], src.start - dst, word(key, phase));
    next
}

/// The key twice over, turned so that its first byte is the one at `phase`. The lowest byte comes first.
#[inline]
fn word(key: [u8; 4], phase: usize) -> u64 {
    let key = u32::from_le_bytes(key).rotate_right(8 * (phase as u32 & 3));
    u64::from(key) << 32 | u64::from(key)
}

/// The word for bytes that lie `len` behind those of `word`.
#[inline(always)]
fn later(word: u64, len: usize) -> u64 {
    word.rotate_right(8 * (len as u32 & 3))
}

/// Unmasks `area[gap..]` to the start of `area`.
#[inline]
fn shift(area: &mut [u8], gap: usize, word: u64) {
    let len = area.len() - gap;
    if len < STEP_BYTES {
        return shift_few(area, gap, word);
    }
    #[cfg(target_arch = "x86_64")]
    if len >= WIDE_FROM_BYTES && is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, as was just asked, and the function demands nothing else.
        return unsafe { shift_wide(area, gap, word) };
    }
    shift_many::<BLOCK_BYTES>(area, gap, word);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn shift_wide(area: &mut [u8], gap: usize, word: u64) {
    shift_many::<WIDE_BLOCK_BYTES>(area, gap, word);
}

/// At least [`STEP_BYTES`]. The last step overlaps the one before it instead of going on byte by byte, so it is read
/// first, while its bytes are still masked; every other step is read before anything is written over it, because the
/// way is only down.
#[inline(always)]
fn shift_many<const BLOCK: usize>(area: &mut [u8], gap: usize, word: u64) {
    let end = area.len() - gap - STEP_BYTES;
    let last: [u8; STEP_BYTES] = xor(get(area, gap + end), later(word, end));
    let mut at = 0;
    while at + BLOCK <= end + STEP_BYTES {
        put::<BLOCK>(area, at, xor(get(area, gap + at), word));
        at += BLOCK;
    }
    while at < end {
        put::<STEP_BYTES>(area, at, xor(get(area, gap + at), word));
        at += STEP_BYTES;
    }
    put(area, end, last);
}

/// Fewer than [`STEP_BYTES`], such as a key press: two overlapping words, both read before either is written.
#[inline(always)]
fn shift_few(area: &mut [u8], gap: usize, word: u64) {
    match area.len() - gap {
        len @ 8.. => {
            let first: [u8; 8] = xor(get(area, gap), word);
            let last: [u8; 8] = xor(get(area, gap + len - 8), later(word, len));
            put(area, 0, first);
            put(area, len - 8, last);
        }
        len @ 4.. => {
            let first = u32::from_le_bytes(get(area, gap)) ^ word as u32;
            let last = u32::from_le_bytes(get(area, gap + len - 4)) ^ later(word, len) as u32;
            put(area, 0, first.to_le_bytes());
            put(area, len - 4, last.to_le_bytes());
        }
        len => {
            let key = word.to_le_bytes();
            for at in 0..len {
                area[at] = area[gap + at] ^ key[at];
            }
        }
    }
}

#[inline(always)]
fn xor<const N: usize>(mut bytes: [u8; N], word: u64) -> [u8; N] {
    for eight in bytes.as_chunks_mut::<8>().0 {
        *eight = (u64::from_le_bytes(*eight) ^ word).to_le_bytes();
    }
    bytes
}

#[inline(always)]
fn get<const N: usize>(area: &[u8], at: usize) -> [u8; N] {
    *area[at..].first_chunk().expect("callers stay below the length")
}

#[inline(always)]
fn put<const N: usize>(area: &mut [u8], at: usize, bytes: [u8; N]) {
    *area[at..].first_chunk_mut().expect("callers stay below the length") = bytes;
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

    /// The definition, byte by byte.
    fn plainly(bytes: &[u8], phase: usize) -> Vec<u8> {
        bytes.iter().enumerate().map(|(at, byte)| byte ^ KEY[(phase + at) % 4]).collect()
    }

    fn some_bytes(len: usize) -> Vec<u8> {
        (0..len).map(|at| (at * 31 + at / 251) as u8).collect()
    }

    fn lengths() -> impl Iterator<Item = usize> {
        (0..300).chain([383, 384, 511, 512, 513, 1023, 4095, 4096, 4097, 5000, 65_535, 65_551])
    }

    #[test]
    fn in_place_as_defined() {
        for len in lengths() {
            for phase in 0..4 {
                let mut bytes = some_bytes(len);
                let expected = plainly(&bytes, phase);
                assert_eq!(unmask(&mut bytes, KEY, phase), (phase + len) % 4, "{len} {phase}");
                assert_eq!(bytes, expected, "{len} {phase}");
            }
        }
    }

    #[test]
    fn slid_as_in_place_whatever_the_distance() {
        for len in lengths() {
            for gap in (0..20).chain([31, 32, 33, 63, 64, 127, 128, 129, 1000, 5000]) {
                let dst = len % 7;
                let src = dst + gap..dst + gap + len;
                let before = some_bytes(src.end + 5);
                let mut buf = before.clone();
                assert_eq!(unmask_slide(&mut buf, src.clone(), dst, KEY, gap), (gap + len) % 4);
                assert_eq!(buf[dst..dst + len], plainly(&before[src.clone()], gap), "{len} by {gap}");
                assert_eq!(buf[..dst], before[..dst], "nothing below is touched, {len} by {gap}");
                assert_eq!(buf[src.end..], before[src.end..], "nothing above is touched, {len} by {gap}");
            }
        }
    }

    #[test]
    fn the_kernel_of_every_machine_agrees() {
        for len in lengths().filter(|len| *len >= STEP_BYTES) {
            for gap in [0, 1, 6, 14, 70] {
                let mut area = some_bytes(gap + len);
                let expected = plainly(&area[gap..], 1);
                shift_many::<BLOCK_BYTES>(&mut area, gap, word(KEY, 1));
                assert_eq!(area[..len], expected, "{len} by {gap}");
            }
        }
    }

    #[test]
    fn the_phase_goes_on_over_any_cut() {
        let bytes = some_bytes(600);
        let expected = plainly(&bytes, 0);
        for cut in 0..=600 {
            let mut bytes = bytes.clone();
            let (head, tail) = bytes.split_at_mut(cut);
            let phase = unmask(head, KEY, 0);
            unmask(tail, KEY, phase);
            assert_eq!(bytes, expected, "cut at {cut}");
        }
    }

    #[test]
    #[should_panic]
    fn up_is_refused() {
        unmask_slide(&mut [0; 8], 2..4, 3, KEY, 0);
    }
}
