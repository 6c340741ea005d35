//! Tables for the session: what the world does, in, and what the session makes of it, out.
//!
//! [`play`] is the vocabulary: a session with a shard and two sockets that are played, strictly by the engine's contract.
//! The other files hold the cases, one for each part of a session's life, and `walk` goes where no case thought of going.

mod answers;
mod dialling;
mod echo;
mod flow;
mod guards;
mod leaving;
mod opening;
mod play;
mod read;
mod routing;
mod secure;
mod secure_leaving;
mod secure_walk;
mod settings;
mod tap;
mod walk;
