//! Tables for the session: what the world does, in, and what the session makes of it, out.
//!
//! [`play`] is the vocabulary: a session with a shard and two sockets that are played, strictly by the engine's contract.
//! The other files hold the cases, one for each part of a session's life, and `walk` goes where no case thought of going.

mod answers;
mod charges;
mod dialling;
mod echo;
mod flow;
mod framed;
mod guards;
mod leaving;
mod memory;
mod opening;
mod play;
mod reach;
mod read;
mod routing;
mod secure;
mod secure_leaving;
mod secure_memory;
mod secure_walk;
mod settings;
mod socket;
mod tap;
mod waiting;
mod walk;

/// An idle session is what it costs to have many. These are what they are today: larger is a decision.
#[test]
#[cfg(target_pointer_width = "64")]
fn a_session_is_small() {
    assert!(size_of::<super::Session>() <= 456, "{}", size_of::<super::Session>());
    // A size class of the allocator, with rustls' connection in it; the next one is 1536.
    assert!(size_of::<super::wire::Wire>() <= 1280, "{}", size_of::<super::wire::Wire>());
}
