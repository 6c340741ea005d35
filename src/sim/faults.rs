//! What has struck a simulated network so far, counted, so that a test which no longer meets something can notice.
//!
//! Owns the counts only: the network decides what happens and says so.

/// Counts of misfortunes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Arrivals of a part of what was on its way.
    pub splits: usize,
    /// Bytes or ends that took time to arrive.
    pub delays: usize,
    /// Splices that brought bytes.
    pub splices: usize,
    /// Streams that the network broke.
    pub resets: usize,
    /// Dials that were refused.
    pub refusals: usize,
    /// Sends to a far end that had ended its own direction, and arrivals from one behind the end that it was told.
    pub half_closes: [usize; 2],
}
