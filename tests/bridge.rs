//! Sessions from end to end: clients carried to TCP and Unix targets that behave and misbehave, how each session ends,
//! and how the process starts and stops, on both engines.

mod support;

/// The chapters.
mod bridge {
    mod bounds;
    mod bulk;
    mod deadlines;
    mod ends;
    mod flow;
    mod listeners;
    mod resources;
    mod room;
    mod stopping;
    mod targets;
    mod words;
}
