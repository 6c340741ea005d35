//! TLS from end to end, on both engines: clients and targets that speak it, those that do it wrong, and its files.

mod support;

/// The chapters.
mod tls {
    mod authorities;
    mod clients;
    mod files;
    mod forger;
    mod records;
    mod targets;
}
