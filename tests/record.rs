//! Recordings and the letters of `--traffic` from end to end: equal to the traffic, whole at any moment, in nobody's way.

mod support;

/// The chapters.
mod record {
    mod faults;
    mod files;
    mod letters;
    mod reader;
    mod words;
}
