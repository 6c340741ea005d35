//! The HTTP front of the program, over raw sockets and on both engines: request heads in all shapes, the upgrade, and
//! static files. What happens behind a 101 is the conformance suite's matter.

mod support;

/// The chapters.
mod http {
    mod files;
    mod heads;
    mod upgrade;
}
