//! Comparing what a stranger says with a secret: in a time that tells nothing about where they differ.
//!
//! Owns the one comparison that passwords, digests and tags go through; a test of the tree sees to it that they do. It never
//! hides how long a secret is: whoever minds compares digests.

use aws_lc_rs::constant_time::verify_slices_are_equal;

/// Whether both are the same bytes. All of them are looked at, unless one is longer than the other.
pub fn same(secret: &[u8], said: &[u8]) -> bool {
    verify_slices_are_equal(secret, said).is_ok()
}

#[cfg(test)]
mod tests {
    use super::same;

    #[test]
    fn every_byte_counts() {
        let secret = [7; 32];
        assert!(same(&secret, &secret) && same(b"", b""));
        assert!(!same(&secret, &secret[..31]) && !same(b"", b"x"));
        for at in 0..32 {
            let mut said = secret;
            said[at] ^= 1;
            assert!(!same(&secret, &said), "byte {at}");
        }
    }
}
