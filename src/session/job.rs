//! What a session may ask of a helper, and what comes back. Plain data that crosses threads.

use crate::route;
use crate::target::{Port, Target};
use crate::web::{Fetch, Served};
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Blocking work for a helper.
#[derive(Debug)]
pub enum Job {
    /// Look up the addresses of a target.
    Resolve {
        /// Host name; empty means loopback.
        host: String,
        /// Port number or service name.
        port: Port,
    },
    /// Find where a Unix socket really is, and hold it.
    Hold(Arc<Target>),
    /// Find a static file.
    Fetch(Box<Fetch>),
    /// Read a piece of one, at most [`crate::limits::FILE_READ_BYTES`].
    Read {
        /// The file, as it was found.
        file: Arc<File>,
        /// Where the piece begins.
        offset: u64,
        /// Bytes still wanted.
        len: u64,
    },
    /// Take a step of a request's route.
    Route(Box<route::Question>),
}

/// Takes a verdict to where it is waited for.
pub type Reply = Box<dyn FnOnce(Verdict) + Send>;

/// A helper's answer.
#[derive(Debug)]
pub enum Verdict {
    /// To [`Job::Resolve`].
    Addresses(io::Result<Vec<SocketAddr>>),
    /// To [`Job::Hold`]: the very socket, to be dialled, and its path without links.
    Held(io::Result<(Target, PathBuf)>),
    /// To [`Job::Fetch`].
    Fetched(Served),
    /// To [`Job::Read`]; empty means that the file is shorter than it was.
    Piece(io::Result<Vec<u8>>),
    /// To [`Job::Route`].
    Routed(route::Answer),
    /// The queue of helpers is full, or they are stopping.
    Busy,
}
