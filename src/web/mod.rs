//! Static files as decisions: a request in, a plan out. Pure.

/// How files are served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Show the names in a directory that has no index file.
    pub listings: bool,
    /// File served for a directory, tried before `index.html` and `index.htm`.
    pub index: Option<String>,
}
