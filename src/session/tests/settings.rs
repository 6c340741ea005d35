//! What the server of a played session was told to do.

use crate::config::{Config, EngineChoice, Listen, Timing};
use crate::http;
use crate::target::Target;

/// A configuration with `target` and default timing.
pub fn config(target: &str) -> Config {
    Config {
        program: "websplice".into(),
        listen: Listen::Tcp { host: String::new(), port: 0, prefer_ipv6: false },
        target: match target.strip_prefix("unix:") {
            Some(name) => Target::parse_unix(name.as_ref()).unwrap(),
            None => Target::parse(target).unwrap(),
        },
        web: None,
        web_root: None,
        tls: Default::default(),
        plain: Default::default(),
        upgrade: http::upgrade::Options { subprotocols: Vec::new(), lenient: false },
        timing: Timing::default(),
        message_bytes_max: crate::limits::MESSAGE_BYTES_DEFAULT,
        engine: EngineChoice::Poll,
        threads: None,
        buffer_memory: None,
        sessions_max: 1,
        wrap: None,
        verbose: false,
    }
}
