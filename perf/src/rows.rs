//! The rows of the table: what is done to each peer, and what the figures of a row are called.
//!
//! Plain data. It never measures and never prints.

/// What a row's sessions do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The target sends without end, the client reads.
    Down,
    /// The client sends 16 KiB masked frames without end, the target reads.
    Up,
    /// One 64-byte message in flight per session, echoed by the target.
    Echo,
    /// Sessions are opened, used for one echo, and closed, one after the other.
    Setup,
    /// Sessions are opened, used for one echo, and then held.
    Idle,
}

/// The key of a peer's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// ECDSA on P-256.
    Ecdsa,
    /// RSA of 2048 bits.
    Rsa,
}

/// How the client's leg is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Secure {
    /// The key of the certificate that the peer shows.
    pub key: Key,
    /// Whether sessions are resumed by ticket; otherwise each handshake is a full one.
    pub resumed: bool,
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// How the row is picked on the command line.
    pub name: &'static str,
    /// How the row is headed in the report.
    pub title: &'static str,
    /// What its sessions do.
    pub kind: Kind,
    /// How many sessions are open at once.
    pub sessions: usize,
    /// TLS between client and peer, if there is any.
    pub secure: Option<Secure>,
    /// Whether a short run takes it.
    pub quick: bool,
}

impl Row {
    /// Whether `next` is measured in the same rounds, because the two are held against each other: what a resumption costs
    /// against what it saves.
    pub fn is_beside(&self, next: &Row) -> bool {
        match (self.secure, next.secure) {
            (Some(own), Some(other)) => {
                self.kind == Kind::Setup && own.key == other.key && !own.resumed && other.resumed
            }
            _ => false,
        }
    }
}

const fn plain(name: &'static str, title: &'static str, kind: Kind, sessions: usize) -> Row {
    Row { name, title, kind, sessions, secure: None, quick: false }
}

const fn tls(name: &'static str, title: &'static str, kind: Kind, sessions: usize) -> Row {
    let secure = Some(Secure { key: Key::Ecdsa, resumed: false });
    Row { name, title, kind, sessions, secure, quick: false }
}

const fn handshakes(name: &'static str, title: &'static str, key: Key, resumed: bool) -> Row {
    Row { name, title, kind: Kind::Setup, sessions: 16, secure: Some(Secure { key, resumed }), quick: false }
}

const fn quick(row: Row) -> Row {
    Row { quick: true, ..row }
}

/// All rows, in the order in which they run.
pub const ROWS: [Row; 18] = [
    quick(plain("down-1", "Bulk down, 1 session", Kind::Down, 1)),
    plain("down-16", "Bulk down, 16 sessions", Kind::Down, 16),
    quick(plain("up-1", "Bulk up in 16 KiB frames, 1 session", Kind::Up, 1)),
    plain("up-16", "Bulk up in 16 KiB frames, 16 sessions", Kind::Up, 16),
    plain("echo-1", "64-byte ping-pong, 1 session", Kind::Echo, 1),
    quick(plain("echo-64", "64-byte ping-pong, 64 sessions", Kind::Echo, 64)),
    quick(plain("setup", "Set-up, one echo, close; 16 at a time", Kind::Setup, 16)),
    plain("idle", "Memory of an idle session", Kind::Idle, 5000),
    quick(tls("tls-down-1", "TLS: bulk down, 1 session", Kind::Down, 1)),
    tls("tls-down-16", "TLS: bulk down, 16 sessions", Kind::Down, 16),
    quick(tls("tls-up-1", "TLS: bulk up in 16 KiB frames, 1 session", Kind::Up, 1)),
    tls("tls-up-16", "TLS: bulk up in 16 KiB frames, 16 sessions", Kind::Up, 16),
    quick(tls("tls-echo-64", "TLS: 64-byte ping-pong, 64 sessions", Kind::Echo, 64)),
    quick(handshakes("tls-full", "TLS: full handshake with ECDSA P-256, one echo, close", Key::Ecdsa, false)),
    handshakes("tls-resumed", "TLS: resumed by ticket, ECDSA P-256, one echo, close", Key::Ecdsa, true),
    handshakes("tls-full-rsa", "TLS: full handshake with RSA-2048, one echo, close", Key::Rsa, false),
    handshakes("tls-resumed-rsa", "TLS: resumed by ticket, RSA-2048, one echo, close", Key::Rsa, true),
    tls("tls-idle", "TLS: memory of an idle session", Kind::Idle, 5000),
];

/// The row of that name.
pub fn row(name: &str) -> &'static Row {
    ROWS.iter().find(|row| row.name == name).expect("tables name known rows")
}
