//! More is done by clients than a log can bear: lines are left out and counted, and none of those that matter.

use crate::support::frame::Frame;
use crate::support::on_both_engines;
use crate::support::server::Server;
use crate::support::wire::{Inbox, PATIENCE, soon};
use nix::sys::signal::Signal;
use std::io::Write;
use std::thread;
use std::time::Instant;

on_both_engines!(bad_requests_are_not_all_told_and_hide_no_session);

const THREADS: usize = 4;
const REQUESTS: usize = 1_000;
/// What the log takes of refused clients at once, and each second.
const BURST: usize = 2_000;
const PER_SECOND: usize = 200;

fn bad_requests_are_not_all_told_and_hide_no_session(engine: &str) {
    let mut server = Server::start(engine, &["--echo", "--threads=1"]);
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..REQUESTS {
                    let mut inbox = Inbox::new(server.wire());
                    inbox.wire.write_all(b"BAD\r\n\r\n").expect("the kernel takes it");
                    inbox.take_rest(soon()).expect("it is answered and closed");
                }
            });
        }
    });
    let seconds = begun.elapsed().as_secs() as usize + 1;
    let mut client = server.client();
    client.send(&Frame::binary("tick"));
    assert_eq!(client.expect_stream(4), b"tick");
    client.leave();
    // It does not wait for the next line: there may be none.
    server.wait_line(" lines_suppressed=");
    server.signal(Signal::SIGQUIT);
    let report = server.wait_line("report shard=0");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit(PATIENCE).code(), Some(0));
    let log = server.log();
    let said = log.matches(" status=400").count();
    let number = |line: &str| -> Option<usize> {
        line.split(' ').find_map(|field| field.strip_prefix("lines_suppressed=")?.parse().ok())
    };
    let told =
        log.lines().filter(|line| line.contains(" warn log shard=0 lines_suppressed=")).filter_map(number);
    let suppressed: usize = told.sum();
    assert_eq!(said + suppressed, THREADS * REQUESTS, "{said} said");
    assert!(said <= BURST + PER_SECOND * seconds, "{said} lines in {seconds} s");
    assert_eq!(number(&report), Some(suppressed), "{report}");
    for line in [" open id=", " end id="] {
        assert_eq!(log.matches(line).count(), 1, "{line}");
    }
}
