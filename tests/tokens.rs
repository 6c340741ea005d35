//! Tokens from end to end, on both engines: every source that needs no other program, places of tokens, and what is shown.

mod support;

/// The chapters.
mod tokens {
    mod authorities;
    mod chance;
    mod files;
    mod keys;
    mod line;
    mod places;
    mod plugins;
    mod service;
    mod services;
    mod shown;
}
