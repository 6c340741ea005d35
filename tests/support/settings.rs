//! What a server is told where no command line tells it: nothing out of the ordinary, for each test to change.
//!
//! The one place where all settings are written out for tests, those of the library among them. It opens nothing.

use websplice::config::{Config, EngineChoice, Listen, Timing, Verbosity};
use websplice::limits::MESSAGE_BYTES_DEFAULT;
use websplice::target::Target;

/// A server that carries a few clients to `target`, or where their routes lead if there is none.
pub fn config(target: Option<Target>) -> Config {
    Config {
        program: "websplice".into(),
        listen: Listen::Tcp { host: String::new(), port: 1, prefer_ipv6: false },
        target,
        route: Default::default(),
        web: None,
        web_root: None,
        tls: Default::default(),
        hosts: Default::default(),
        server_header: "websplice".into(),
        plain: Default::default(),
        upgrade: Default::default(),
        timing: Timing::default(),
        message_bytes_max: MESSAGE_BYTES_DEFAULT,
        engine: EngineChoice::Auto,
        threads: None,
        buffer_memory: None,
        sessions_max: Some(100),
        source_sessions_max: None,
        record: None,
        traffic: false,
        wrap: None,
        verbosity: Verbosity::Usual,
        process: Default::default(),
        logs: Default::default(),
    }
}
