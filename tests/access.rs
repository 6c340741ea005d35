//! Limits of access from end to end, on both engines: which targets may be connected to, how many connections a source may have,
//! and which hosts are answered for.

mod support;

/// The chapters.
mod access {
    mod hosts;
    mod sources;
    mod targets;
}

use nix::sys::signal::Signal;
use support::server::Server;

/// The sum of a counter over all shards, of which there are two.
#[track_caller]
fn counted(server: &Server, name: &str) -> u64 {
    let before = server.log().matches(" report shard=").count();
    server.signal(Signal::SIGQUIT);
    let reports = server.wait_lines(" report shard=", before + 2);
    let value =
        |line: &String| line.split(' ').find_map(|field| field.strip_prefix(name)?.parse::<u64>().ok());
    let reports = reports.iter().skip(before);
    reports.map(|line| value(line).unwrap_or_else(|| panic!("no {name} in {line}"))).sum()
}
