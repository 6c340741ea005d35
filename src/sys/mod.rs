//! Kernel calls, one small safe function each; the one door behind which systems differ.
//!
//! Everything here is a single call or a single file of the system, with no policy in it: who calls decides what an
//! error means. It never logs and never retries.

pub mod address;
pub mod beneath;
pub mod bound;
pub mod cgroup;
pub mod cpu;
pub mod directory;
pub mod given;
pub mod locks;
pub mod memory;
pub mod pipe;
pub mod prefetch;
pub mod process;
pub mod resolve;
#[cfg(target_os = "linux")]
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod stdio;
pub mod turns;
pub mod user;
pub mod wake;
