//! helpers.
