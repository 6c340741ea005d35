//! Our conformance suite for RFC 6455, server role: every case against the program's echo target, on both engines.
//!
//! The cases are tables in `conformance/`, one file per chapter. Each is played on a connection of its own; a few run
//! at a time. It never looks at how the server partitions its answers into frames, only at the messages.

mod support;

/// The chapters, and what a case is.
mod conformance {
    pub mod case;
    pub mod chopping;
    pub mod closing;
    pub mod control;
    pub mod fragments;
    pub mod framing;
    pub mod utf8;
}

use conformance::case::Case;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use support::server::Server;

/// Cases played at the same time.
const AT_ONCE: usize = 8;
/// Failures that are printed; the rest is counted.
const SHOWN: usize = 40;

support::on_both_engines!(rfc6455);

fn rfc6455(engine: &str) {
    let cases = all_cases();
    let default = Server::echo(engine);
    let roomy = Server::start(engine, &["--echo", "--max-message", "16MiB"]);
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let server = if case.is_roomy() { &roomy } else { &default };
                    if let Err(why) = case.play(server.address()) {
                        failures.lock().expect("no holder panics").push(why);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no holder panicked");
    // Written past the test runner's capture, so that the count shows whether it passes or not.
    let passed = cases.len() - failures.len();
    writeln!(std::io::stdout().lock(), "conformance {engine}: {passed} passed, {} failed", failures.len())
        .expect("standard output is open");
    let shown = failures.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} failures, of which:\n{shown}", failures.len());
    default.stop();
    roomy.stop();
}

/// Every case, or those whose name contains the words of `CONFORMANCE_ONLY`.
fn all_cases() -> Vec<Case> {
    let chapters = [
        conformance::framing::cases(),
        conformance::control::cases(),
        conformance::fragments::cases(),
        conformance::utf8::cases(),
        conformance::closing::cases(),
        conformance::chopping::cases(),
    ];
    let mut cases = chapters.concat();
    if let Ok(words) = std::env::var("CONFORMANCE_ONLY") {
        cases.retain(|case| case.name().contains(&words));
    }
    cases
}

#[test]
fn at_least_three_hundred_cases_each_with_its_own_name() {
    let cases = all_cases();
    let mut names: Vec<_> = cases.iter().map(Case::name).collect();
    names.sort_unstable();
    let doubled: Vec<_> = names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    assert!(doubled.is_empty(), "names used twice: {doubled:?}");
    assert!(
        cases.len() >= 300 || std::env::var_os("CONFORMANCE_ONLY").is_some(),
        "only {} cases",
        cases.len()
    );
}
