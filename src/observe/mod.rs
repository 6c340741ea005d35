//! observe.
/// Plain numbers a shard owns.
pub mod counters;
