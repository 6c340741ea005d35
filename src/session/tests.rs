//! Tables for the session: inputs in, actions out.
