//! HTTP/1.1, server role, as far as a bridge needs it: heads in, answers out. Pure.

pub mod upgrade;
