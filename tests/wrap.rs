//! Wrap mode from end to end: programs of every kind beside the server, moved to another port by both mechanisms, told where
//! to listen, started again, and ended with the server.
//!
//! The programs are one source of C, compiled when it is first needed: what is moved are system calls, and a test should
//! make exactly those it means.

mod support;

/// The chapters.
mod wrap {
    mod ends;
    mod modes;
    mod moved;
    mod program;
    mod told;
    mod words;
}
