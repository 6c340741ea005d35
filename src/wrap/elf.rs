//! Whether a program file is one that the LD_PRELOAD interposer cannot reach: a static executable. Pure.

/// Magic of an ELF file.
const MAGIC: &[u8; 4] = b"\x7fELF";
/// Type of the program header that names a dynamic linker (gABI, "Program Header").
const PT_INTERP: u64 = 3;

/// Bytes from the start of a file that are enough to tell.
pub const HEAD_BYTES: usize = 16 * 1024;

/// Is this the head of an executable that no dynamic linker loads? Anything that is no ELF file of this machine's byte
/// order, such as a script, is not.
pub fn is_static(head: &[u8]) -> bool {
    headers(head).is_some_and(|types| !types.contains(&PT_INTERP))
}

/// Types of all program headers, or `None` if this is not such a file.
fn headers(head: &[u8]) -> Option<Vec<u64>> {
    let little = cfg!(target_endian = "little");
    if !head.starts_with(MAGIC) || *head.get(5)? != if little { 1 } else { 2 } {
        return None;
    }
    let wide = *head.get(4)? == 2;
    let number = |at: usize, bytes: usize| -> Option<u64> {
        let slice = head.get(at..at.checked_add(bytes)?)?;
        let fold = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Some(if little { slice.iter().rev().fold(0, fold) } else { slice.iter().fold(0, fold) })
    };
    let (table, size, count) = if wide {
        (number(32, 8)?, number(54, 2)?, number(56, 2)?)
    } else {
        (number(28, 4)?, number(42, 2)?, number(44, 2)?)
    };
    (0..count)
        .map(|index| number(usize::try_from(table.checked_add(index.checked_mul(size)?)?).ok()?, 4))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 64-bit file of this machine with these program headers.
    fn file(types: &[u32]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([2, if cfg!(target_endian = "little") { 1 } else { 2 }]);
        bytes.resize(64, 0);
        bytes[32..40].copy_from_slice(&64_u64.to_ne_bytes());
        bytes[54..56].copy_from_slice(&56_u16.to_ne_bytes());
        bytes[56..58].copy_from_slice(&(types.len() as u16).to_ne_bytes());
        for kind in types {
            bytes.extend(kind.to_ne_bytes());
            bytes.resize(bytes.len() + 52, 0);
        }
        bytes
    }

    #[test]
    fn the_header_for_a_linker_tells() {
        for (types, expected) in
            [(&[1, 1, 4][..], true), (&[6, 3, 1], false), (&[1, 2, 3], false), (&[], true)]
        {
            assert_eq!(is_static(&file(types)), expected, "{types:?}");
        }
    }

    #[test]
    fn what_is_no_program_of_this_machine_is_not_static() {
        for head in [&b"#!/bin/sh\n"[..], b"", b"\x7fELF", b"\x7fELF\x02"] {
            assert!(!is_static(head), "{head:?}");
        }
        let whole = file(&[1, 1]);
        for cut in 0..whole.len() - 52 {
            assert!(!is_static(&whole[..cut]), "cut at {cut}");
        }
        let mut far = whole.clone();
        far[32..40].copy_from_slice(&u64::MAX.to_ne_bytes());
        assert!(!is_static(&far));
    }

    #[test]
    fn this_test_is_dynamic_where_the_system_is() {
        let itself = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(is_static(&itself), cfg!(target_feature = "crt-static"));
    }
}
