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
}

/// All rows, in the order in which they run.
pub const ROWS: [Row; 8] = [
    Row { name: "down-1", title: "Bulk down, 1 session", kind: Kind::Down, sessions: 1 },
    Row { name: "down-16", title: "Bulk down, 16 sessions", kind: Kind::Down, sessions: 16 },
    Row { name: "up-1", title: "Bulk up in 16 KiB frames, 1 session", kind: Kind::Up, sessions: 1 },
    Row { name: "up-16", title: "Bulk up in 16 KiB frames, 16 sessions", kind: Kind::Up, sessions: 16 },
    Row { name: "echo-1", title: "64-byte ping-pong, 1 session", kind: Kind::Echo, sessions: 1 },
    Row { name: "echo-64", title: "64-byte ping-pong, 64 sessions", kind: Kind::Echo, sessions: 64 },
    Row { name: "setup", title: "Set-up, one echo, close; 16 at a time", kind: Kind::Setup, sessions: 16 },
    Row { name: "idle", title: "Memory of an idle session", kind: Kind::Idle, sessions: 5000 },
];
