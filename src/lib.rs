//! websplice carries WebSocket clients to ordinary sockets.
//!
//! This library is the whole server; the binary only parses and starts it. It is a house of floors: a module imports
//! only from floors below its own, and `tests/tidy.rs` holds the table that says so. From the ground up:
//!
//! | floor | modules | what lives there |
//! |---|---|---|
//! | 0 | [`limits`] | every number with a name |
//! | 1 | [`pool`] [`slab`] [`timers`] [`observe::counters`] [`sys`] | matter: memory, slots, deadlines, kernel calls |
//! | 2 | [`ws`] [`http`] [`tls`] [`target`] [`tape`] [`framing`] | pure: slices in, events out |
//! | 3 | [`route`] [`web`] | pure: a request in, a decision or an answer out |
//! | 4 | [`config`] | the rooms' own option structs, put together |
//! | 5 | [`session`], and beside it [`engine`] [`ring`] [`poll`] [`sim`] | decisions, and completions; neither sees the other |
//! | 6 | [`shard`] [`helpers`] [`crew`] [`names`] `route::lookup` `web::files` `observe::log` `observe::record` `observe::traffic` `tls::material` `tls::renewal` [`plugin`] | the shells: here things really happen |
//! | 7 | [`cli`] [`listen`] [`wrap`] [`server`] | the process: start, stop |
//!
//! The words used throughout (client, target, session, bridge, pump, lease, shard, engine, turn, helper, job, verdict,
//! route, end) are defined in `ARCHITECTURE.md`, one meaning each.

// Tests of the library share words with those outside, who know it by its name.
#[cfg(test)]
extern crate self as websplice;

pub mod cli;
pub mod config;
pub mod crew;
pub mod engine;
pub mod framing;
pub mod helpers;
pub mod http;
pub mod limits;
pub mod listen;
pub mod names;
pub mod observe;
pub mod plugin;
pub mod poll;
pub mod pool;
#[cfg(target_os = "linux")]
pub mod ring;
pub mod route;
pub mod server;
pub mod session;
pub mod shard;
pub mod sim;
pub mod slab;
pub mod sys;
pub mod tape;
pub mod target;
pub mod timers;
pub mod tls;
pub mod web;
#[cfg(target_os = "linux")]
pub mod wrap;
#[cfg(not(target_os = "linux"))]
#[path = "wrap/elsewhere.rs"]
pub mod wrap;
pub mod ws;
