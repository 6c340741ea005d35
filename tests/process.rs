//! The process around the sessions: how it is handed its clients, how it ends by itself, how it becomes a daemon, and
//! where it tells what it does, on both engines.

mod support;

/// The chapters.
mod process {
    mod check;
    mod daemon;
    mod ends;
    mod files;
    mod flood;
    mod inetd;
    mod limits;
    mod logs;
    mod pid_files;
    mod secrets;
    mod standin;
    mod starter;
    mod starts;
    mod stops;
    mod trust;
    mod undone;
}
