//! The opening handshake of a WebSocket (RFC 6455 section 4.2).

/// How upgrades are judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Sub-protocols besides `binary` that are accepted and echoed, in order of preference.
    pub subprotocols: Vec<String>,
    /// Accept what sloppy proxies send: no `Connection: upgrade`, HTTP/1.0, an odd key.
    pub lenient: bool,
}
