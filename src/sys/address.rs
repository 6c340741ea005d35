//! Where a socket can be connected to: a target after its names have been looked up.

use std::net::SocketAddr;
use std::path::PathBuf;

/// One place that can be dialled: a target after its names have been looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix stream socket in the file system.
    Unix(PathBuf),
    /// A Unix stream socket in the abstract namespace, without the leading `@`.
    Abstract(Vec<u8>),
}
