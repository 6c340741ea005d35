//! A walk through sessions by chance: whatever the world does within the contract, no invariant of the play breaks.
