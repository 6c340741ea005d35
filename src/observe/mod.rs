//! What an operator can see: counters that shards own, the log, recordings, and the letters of `--traffic`.

pub mod counters;
pub mod log;
pub mod record;
pub mod traffic;
