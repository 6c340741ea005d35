//! What the server of a played session was told to do, and cases played with every cut of what the client sends.

use super::play::Play;
use crate::config::{Config, EngineChoice, Listen, Timing, Verbosity};
use crate::http;
use crate::route::source::Source;
use crate::route::token::Place;
use crate::route::{self, Tokens};
use crate::target::Target;
use std::time::Duration;

/// A configuration in which tokens lead to targets.
pub fn routed() -> Config {
    let source = Source::TokenFile { path: "/tokens".into(), read_only: false };
    let tokens = Tokens {
        source,
        option: "--token-source",
        places: vec![Place::Query],
        cache: Duration::ZERO,
        timeout: Duration::from_secs(2),
    };
    Config { route: route::Options { tokens: Some(tokens), ..Default::default() }, ..config("") }
}

/// The same with another place for tokens.
pub fn placed(place: Place) -> Config {
    let tokens = routed().route.tokens.map(|tokens| Tokens { places: vec![place], ..tokens });
    Config { route: route::Options { tokens, ..Default::default() }, ..routed() }
}

/// A configuration with `target`, if it is not empty, and default timing.
pub fn config(target: &str) -> Config {
    Config {
        program: "websplice".into(),
        listen: Listen::Tcp { host: String::new(), port: 0, prefer_ipv6: false },
        target: match target.strip_prefix("unix:") {
            _ if target.is_empty() => None,
            Some(name) => Target::parse_unix(name.as_ref()),
            None => Target::parse(target).ok(),
        },
        route: Default::default(),
        web: None,
        web_root: None,
        tls: Default::default(),
        hosts: Default::default(),
        server_header: "websplice".into(),
        plain: Default::default(),
        upgrade: http::upgrade::Options { subprotocols: Vec::new(), lenient: false },
        timing: Timing::default(),
        message_bytes_max: crate::limits::MESSAGE_BYTES_DEFAULT,
        engine: EngineChoice::Poll,
        threads: None,
        buffer_memory: None,
        sessions_max: 1,
        source_sessions_max: None,
        record: None,
        traffic: false,
        wrap: None,
        verbosity: Verbosity::Usual,
        process: Default::default(),
        logs: Default::default(),
    }
}

/// Plays `case` once with everything coming at once, once byte by byte, and once for each place where the client's
/// stream can be cut in two.
pub fn every_cut(target: &str, case: impl Fn(&mut Play)) {
    every_cut_of(|| config(target), case);
}

/// The same with any configuration.
pub fn every_cut_of(config: impl Fn() -> Config, case: impl Fn(&mut Play)) {
    let mut whole = Play::new(config());
    case(&mut whole);
    let mut bytewise = Play::new(config());
    bytewise.gulp = 1;
    case(&mut bytewise);
    for cut in 1..whole.sockets[0].taken {
        let mut play = Play::new(config());
        play.cut = cut;
        case(&mut play);
    }
}
