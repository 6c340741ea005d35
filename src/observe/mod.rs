//! What an operator can see: counters that shards own, and the log.

pub mod counters;
pub mod log;
