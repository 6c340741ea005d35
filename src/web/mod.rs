//! Static files as decisions: a request in, a plan out. Pure, but for [`files`], which carries plans out on a helper.
//!
//! Owns what a path, a range, a condition and an accepted coding mean ([`plan()`]), what is answered once the facts of a
//! file are known ([`entity`]), the media types ([`media`]) and the page that is built in ([`builtin`]). It never joins a
//! path to a directory as text: names go to the kernel piece by piece ([`crate::sys::beneath`]).

pub mod builtin;
pub mod entity;
pub mod files;
pub mod media;
pub mod plan;

pub use entity::{Body, Page, Served};
pub use plan::{Fetch, plan};

/// How files are served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Show the names in a directory that has no index file.
    pub listings: bool,
    /// File served for a directory, tried before `index.html` and `index.htm`.
    pub index: Option<String>,
}
