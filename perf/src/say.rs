//! Words for whoever reads along: results on standard output, what is amiss on standard error.
//!
//! It owns the knowledge that nobody reads any more: a reader that left, as `head` does, is no fault and no panic. Nothing more is
//! printed then, and a run ends as if it were interrupted. It never decides what is said.

use std::fmt::Arguments;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::sys;

static GONE: AtomicBool = AtomicBool::new(false);

/// Prints a line of results.
macro_rules! say {
    ($($words:tt)*) => { $crate::say::out(format_args!($($words)*)) };
}

/// Prints a line of what is amiss.
macro_rules! complain {
    ($($words:tt)*) => { $crate::say::err(format_args!($($words)*)) };
}

pub(crate) use {complain, say};

/// Whether standard output has nobody left who reads it.
pub fn is_nobody_there() -> bool {
    GONE.load(Ordering::Relaxed)
}

/// See [`say!`].
pub fn out(words: Arguments<'_>) {
    if !is_nobody_there() && is_gone(line(io::stdout().lock(), words)) {
        GONE.store(true, Ordering::Relaxed);
        sys::interrupt();
    }
}

/// See [`complain!`]. Without a reader there is nobody to complain to.
pub fn err(words: Arguments<'_>) {
    let _ = line(io::stderr().lock(), words);
}

fn line(mut to: impl Write, words: Arguments<'_>) -> io::Result<()> {
    to.write_fmt(words)?;
    to.write_all(b"\n")?;
    to.flush()
}

/// Whether the reader left. That a disk is full is not to end a run: its results are in files too.
fn is_gone(written: io::Result<()>) -> bool {
    written.is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_left_is_noticed_and_no_panic() {
        let (reader, writer) = io::pipe().expect("a pipe");
        assert!(!is_gone(line(&writer, format_args!("one {}", 1))));
        drop(reader);
        assert!(is_gone(line(&writer, format_args!("two"))));
    }
}
