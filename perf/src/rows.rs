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
    /// Both at once, in each session.
    Both,
    /// One message in flight per active session, echoed by the target; the other sessions rest.
    Echo,
    /// Desktops: each target sends 30 pictures a second, each client 60 small inputs, by the clock.
    Desktop,
    /// Messages are sent by the clock, at a share of what the peer can do, and echoed by the target.
    Latency,
    /// Sessions are opened, used for one echo, and closed, one after the other.
    Setup,
    /// Sessions are opened, used for one echo, and then held.
    Idle,
    /// The peer is started until it takes the first connection.
    Start,
    /// Sessions are opened, and the peer is asked how many each of its shards has.
    Shards,
    /// Handshakes without a token by the clock, beside requests that wait for a source of tokens in vain.
    Beside,
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

/// Who knows tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knower {
    /// Nobody: there is one target for all, and no tokens.
    Nobody,
    /// TokenFile, a file of many lines.
    File,
    /// TokenFileName, a directory of files.
    FileName,
    /// UnixDomainSocketDirectory.
    Directory,
    /// JWTTokenApi with a secret.
    Hs256,
    /// JWTTokenApi with a key on P-256.
    Es256,
    /// TokenRedis; whether answers may be used again.
    Redis(bool),
    /// BaseTokenAPI; whether answers may be used again.
    Web(bool),
    /// JSONTokenApi, whose answers are not used again.
    Json,
    /// A Python class.
    Python,
    /// A program that answers questions line by line.
    Exec,
    /// TokenRedis, which takes connections and never answers.
    DeafRedis,
    /// BaseTokenAPI, which takes 5 s for each answer.
    SlowWeb,
}

/// Who takes part in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cast {
    /// Everybody who can.
    All,
    /// Those whose growth is looked at, so that a whole run stays short.
    Few,
    /// Those that can be told how many threads to have.
    Scaling,
    /// Those that say how their shards share the sessions.
    Ours,
    /// Ours, and websockify where it has the row's source of tokens.
    Tokens,
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
    /// How many sessions carry data at once.
    pub sessions: usize,
    /// How many more are open and rest.
    pub idle: usize,
    /// Payload of a message of [`Kind::Echo`], in bytes.
    pub message: usize,
    /// Shards or threads of the peer. With more than one, or none said, it may use all cores.
    pub shards: usize,
    /// TLS between client and peer, if there is any.
    pub secure: Option<Secure>,
    /// Who knows tokens, where that is what the row is about.
    pub tokens: Option<Knower>,
    /// Who takes part.
    pub cast: Cast,
    /// Rows beside each other with the same word here are measured in the same rounds, because they are held against each
    /// other.
    pub together: &'static str,
    /// Whether the memory of its sessions is looked at.
    pub held: bool,
    /// Whether a short run takes it.
    pub quick: bool,
}

impl Row {
    /// Whether `next` is measured in the same rounds.
    pub fn is_beside(&self, next: &Self) -> bool {
        !self.together.is_empty() && self.together == next.together
    }

    /// Sessions that are open in the row.
    pub fn open(&self) -> usize {
        self.sessions + self.idle
    }

    /// Whether the peer may use every core, the load's included where there are only two.
    pub fn all_cores(&self) -> bool {
        self.shards > 1 || self.together == CORES
    }
}

/// Payload of a ping-pong message where the row does not say otherwise, in bytes.
pub const MESSAGE_BYTES: usize = 64;
/// Payload of an input of a desktop, in bytes.
const INPUT_BYTES: usize = 16;
/// Most messages in flight where sizes or numbers of sessions grow: one for each active session.
const ACTIVE: usize = 16;
/// Groups of rows that share their rounds.
const CROWD: &str = "crowd";
const CORES: &str = "cores";
const TOKENS: &str = "tokens";

const fn plain(name: &'static str, title: &'static str, kind: Kind, sessions: usize) -> Row {
    Row {
        name,
        title,
        kind,
        sessions,
        idle: 0,
        message: MESSAGE_BYTES,
        shards: 1,
        secure: None,
        tokens: None,
        cast: Cast::All,
        together: "",
        held: false,
        quick: false,
    }
}

const fn tls(name: &'static str, title: &'static str, kind: Kind, sessions: usize) -> Row {
    Row { secure: Some(Secure { key: Key::Ecdsa, resumed: false }), ..plain(name, title, kind, sessions) }
}

const fn handshakes(name: &'static str, title: &'static str, key: Key, resumed: bool) -> Row {
    let together = match key {
        Key::Ecdsa => "ecdsa",
        Key::Rsa => "rsa",
    };
    Row { secure: Some(Secure { key, resumed }), together, ..plain(name, title, Kind::Setup, 16) }
}

const fn few(row: Row) -> Row {
    Row { cast: Cast::Few, ..row }
}

const fn size(name: &'static str, title: &'static str, message: usize) -> Row {
    Row { message, ..few(plain(name, title, Kind::Echo, ACTIVE)) }
}

const fn held(name: &'static str, title: &'static str, open: usize) -> Row {
    let sessions = if open < ACTIVE { open } else { ACTIVE };
    Row { idle: open - sessions, held: true, ..few(plain(name, title, Kind::Echo, sessions)) }
}

const fn together(row: Row, together: &'static str) -> Row {
    Row { together, ..row }
}

const fn cores(name: &'static str, title: &'static str, shards: usize) -> Row {
    Row { shards, cast: Cast::Scaling, together: CORES, ..plain(name, title, Kind::Up, 16) }
}

const fn shards(name: &'static str, title: &'static str, sessions: usize) -> Row {
    Row { shards: 2, cast: Cast::Ours, ..plain(name, title, Kind::Shards, sessions) }
}

const fn tokens(name: &'static str, title: &'static str, knower: Knower) -> Row {
    let row = plain(name, title, Kind::Setup, 16);
    Row { tokens: Some(knower), cast: Cast::Tokens, together: TOKENS, ..row }
}

const fn beside(name: &'static str, title: &'static str, knower: Knower) -> Row {
    Row { tokens: Some(knower), cast: Cast::Ours, ..plain(name, title, Kind::Beside, 1) }
}

const fn quick(row: Row) -> Row {
    Row { quick: true, ..row }
}

/// All rows, in the order in which they run.
pub const ROWS: [Row; 59] = [
    quick(plain("down-1", "Bulk down, 1 session", Kind::Down, 1)),
    quick(plain("down-16", "Bulk down, 16 sessions", Kind::Down, 16)),
    quick(plain("up-1", "Bulk up in 16 KiB frames, 1 session", Kind::Up, 1)),
    plain("up-16", "Bulk up in 16 KiB frames, 16 sessions", Kind::Up, 16),
    plain("both-1", "Bulk both ways at once, 1 session", Kind::Both, 1),
    quick(plain("both-16", "Bulk both ways at once, 16 sessions", Kind::Both, 16)),
    plain("echo-1", "64-byte ping-pong, 1 session", Kind::Echo, 1),
    quick(plain("echo-64", "64-byte ping-pong, 64 sessions", Kind::Echo, 64)),
    together(plain("echo-1000", "64-byte ping-pong, 1,000 sessions", Kind::Echo, 1000), CROWD),
    together(
        few(Row {
            idle: 20_000,
            held: true,
            ..plain(
                "idle-20000+active-1000",
                "64-byte ping-pong, 1,000 sessions, beside 20,000 that rest",
                Kind::Echo,
                1000,
            )
        }),
        CROWD,
    ),
    quick(Row {
        message: INPUT_BYTES,
        ..plain("desktops", "50 desktops: 30 x 20 KiB down and 60 inputs up a second", Kind::Desktop, 50)
    }),
    quick(plain("latency", "64-byte messages by the clock, at 70 % of capacity", Kind::Latency, 64)),
    quick(plain("setup", "Set-up, one echo, close; 16 at a time", Kind::Setup, 16)),
    plain("idle", "Memory of an idle session", Kind::Idle, 5000),
    plain("start", "Start until the first connection is taken", Kind::Start, 1),
    few(plain("down-4", "Bulk down, 4 sessions", Kind::Down, 4)),
    few(plain("down-64", "Bulk down, 64 sessions", Kind::Down, 64)),
    few(plain("down-256", "Bulk down, 256 sessions", Kind::Down, 256)),
    size("size-1", "Ping-pong of 1 byte, 16 sessions", 1),
    size("size-16", "Ping-pong of 16 bytes, 16 sessions", 16),
    size("size-256", "Ping-pong of 256 bytes, 16 sessions", 256),
    size("size-4096", "Ping-pong of 4 KiB, 16 sessions", 4096),
    size("size-65536", "Ping-pong of 64 KiB, 16 sessions", 65_536),
    size("size-1048576", "Ping-pong of 1 MiB, 16 sessions", 1_048_576),
    held("held-1", "1 session open and active", 1),
    held("held-100", "100 sessions open, 16 active", 100),
    held("held-1000", "1,000 sessions open, 16 active", 1000),
    held("held-5000", "5,000 sessions open, 16 active", 5000),
    held("held-20000", "20,000 sessions open, 16 active", 20_000),
    cores("cores-up-1", "Bulk up, 16 sessions, one shard that may use all cores", 1),
    cores("cores-up-2", "Bulk up, 16 sessions, two shards that may use all cores", 2),
    shards("shards-16", "16 sessions shared by two shards", 16),
    shards("shards-64", "64 sessions shared by two shards", 64),
    shards("shards-1000", "1,000 sessions shared by two shards", 1000),
    tls("tls-down-1", "TLS: bulk down, 1 session", Kind::Down, 1),
    quick(tls("tls-down-16", "TLS: bulk down, 16 sessions", Kind::Down, 16)),
    tls("tls-up-1", "TLS: bulk up in 16 KiB frames, 1 session", Kind::Up, 1),
    tls("tls-up-16", "TLS: bulk up in 16 KiB frames, 16 sessions", Kind::Up, 16),
    quick(tls("tls-echo-64", "TLS: 64-byte ping-pong, 64 sessions", Kind::Echo, 64)),
    quick(handshakes("tls-full", "TLS: full handshake with ECDSA P-256, one echo, close", Key::Ecdsa, false)),
    handshakes("tls-resumed", "TLS: resumed by ticket, ECDSA P-256, one echo, close", Key::Ecdsa, true),
    handshakes("tls-full-rsa", "TLS: full handshake with RSA-2048, one echo, close", Key::Rsa, false),
    handshakes("tls-resumed-rsa", "TLS: resumed by ticket, RSA-2048, one echo, close", Key::Rsa, true),
    tls("tls-idle", "TLS: memory of an idle session", Kind::Idle, 5000),
    tokens("tokens-none", "Set-ups without tokens, one target for all", Knower::Nobody),
    quick(tokens("tokens-file", "Set-ups with tokens: TokenFile of 10,000 lines", Knower::File)),
    tokens(
        "tokens-file-name",
        "Set-ups with tokens: TokenFileName, a directory of 1,000 files",
        Knower::FileName,
    ),
    tokens(
        "tokens-directory",
        "Set-ups with tokens: UnixDomainSocketDirectory of 1,000 sockets",
        Knower::Directory,
    ),
    tokens("tokens-jwt-hs256", "Set-ups with tokens: JWTTokenApi, HS256", Knower::Hs256),
    tokens("tokens-jwt-es256", "Set-ups with tokens: JWTTokenApi, ES256", Knower::Es256),
    tokens("tokens-redis", "Set-ups with tokens: TokenRedis, 64 tokens in turn", Knower::Redis(true)),
    tokens(
        "tokens-redis-uncached",
        "Set-ups with tokens: TokenRedis, 10,000 tokens in turn, --token-cache=0",
        Knower::Redis(false),
    ),
    tokens("tokens-http", "Set-ups with tokens: BaseTokenAPI, 64 tokens in turn", Knower::Web(true)),
    tokens(
        "tokens-http-uncached",
        "Set-ups with tokens: BaseTokenAPI, 10,000 tokens in turn, --token-cache=0",
        Knower::Web(false),
    ),
    tokens(
        "tokens-json",
        "Set-ups with tokens: JSONTokenApi, 10,000 tokens in turn, --token-cache=0",
        Knower::Json,
    ),
    tokens("tokens-python", "Set-ups with tokens: a Python class", Knower::Python),
    tokens("tokens-exec", "Set-ups with tokens: a program in Python, asked line by line", Knower::Exec),
    beside(
        "tokens-beside-redis",
        "1,000 handshakes a second without a token, beside 50 that wait for a dead Redis",
        Knower::DeafRedis,
    ),
    beside(
        "tokens-beside-http",
        "1,000 handshakes a second without a token, beside 50 that wait for a web service that takes 5 s",
        Knower::SlowWeb,
    ),
];

/// The row of that name.
pub fn row(name: &str) -> &'static Row {
    ROWS.iter().find(|row| row.name == name).expect("tables name known rows")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_groups_are_in_one_piece() {
        for (at, row) in ROWS.iter().enumerate() {
            assert_eq!(ROWS.iter().position(|other| other.name == row.name), Some(at), "{}", row.name);
        }
        for word in [CROWD, CORES, TOKENS, "ecdsa", "rsa"] {
            let at: Vec<usize> = (0..ROWS.len()).filter(|&at| ROWS[at].together == word).collect();
            assert!(at.len() > 1 && at.windows(2).all(|two| two[1] == two[0] + 1), "{word}: {at:?}");
        }
    }

    #[test]
    fn only_what_is_told_to_shares_rounds() {
        assert!(row("echo-1000").is_beside(row("idle-20000+active-1000")));
        assert!(row("tls-full").is_beside(row("tls-resumed")));
        assert!(!row("tls-resumed").is_beside(row("tls-full-rsa")));
        assert!(!row("down-1").is_beside(row("down-16")));
        assert_eq!((row("held-1").open(), row("held-20000").open()), (1, 20_000));
        assert!(row("tokens-none").is_beside(row("tokens-file")));
        assert!(!row("tokens-python").is_beside(row("tokens-beside-redis")));
    }
}
