//! What a shard says: one line when a session opens, one when it ends, and its state when asked; of clients no more lines
//! than a log can bear.

use super::Shard;
use super::lines::Matter;
use crate::engine::Kernel;
use crate::observe::log::{Escaped, Level};
use crate::route::Label;
use crate::route::token::Mark;
use crate::session::{Core, End};
use crate::slab::Key;
use crate::target::Target;
use std::fmt::{self, Display, Write};
use std::io;
use std::net::SocketAddr;

/// A client's address as it is logged.
struct Client(Option<SocketAddr>);

impl Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("unix"),
        }
    }
}

/// What is shown of a token, if there was one.
struct Token(Option<Mark>);

impl Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(mark) => write!(f, " token={mark}"),
            None => Ok(()),
        }
    }
}

/// What a route said to log with a session. Their names have a word in front, so that none can be taken for ours.
struct Labels<'a>(&'a [Label]);

impl Display for Labels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, value)| write!(f, " label.{name}=\"{}\"", Escaped(value)))
    }
}

/// What the system, or whoever decided, said about a session, for the operator.
struct Detail<'a>(&'a Core);

impl Display for Detail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.detail {
            Some(detail) => write!(f, " detail=\"{}\"", Escaped(&self.0.veiled(detail))),
            None => Ok(()),
        }
    }
}

impl<K: Kernel> Shard<K> {
    /// Whether a line about a client is wanted and not one too many.
    fn may_say(&mut self, level: Level, matter: Matter) -> bool {
        if !self.setup.log.takes(level) {
            return false;
        }
        let may = self.lines.admit(matter, self.now);
        self.counters.lines_suppressed += u64::from(!may);
        may
    }

    /// Tells how many lines were not said, when it is time to, or the last to be said.
    pub(super) fn log_suppressed(&mut self) {
        if let Some(suppressed) = self.lines.suppressed(self.now, self.is_done()) {
            let shard = self.setup.number;
            self.setup.log.line(Level::Warn, format!("log shard={shard} lines_suppressed={suppressed}"));
        }
    }

    #[inline(never)]
    pub(super) fn log_opened(&mut self, key: Key, path: &str) {
        if !self.may_say(Level::Info, Matter::Session) {
            return;
        }
        let Some((_, session)) = self.sessions.at(key.index).filter(|(own, _)| *own == key) else { return };
        let core = session.core();
        let (id, client) = (core.id, Client(core.client));
        let (target, token, labels) = (self.shown_target(core), Token(core.token), Labels(core.labels()));
        let (target, path) = (Escaped(&target), Escaped(path));
        self.setup.log.line(
            Level::Info,
            format!("open id={id} client={client} target=\"{target}\" path=\"{path}\"{token}{labels}"),
        );
    }

    /// The target as it is logged, and as files are called after it: without the token.
    pub(super) fn shown_target(&self, core: &Core) -> String {
        let target = core.target(&self.setup.config).map(Target::to_string).unwrap_or_default();
        core.veiled(&target).into_owned()
    }

    #[inline(never)]
    pub(super) fn log_answered(&mut self, key: Key, line: &str, status: u16) {
        let (level, matter) = match status {
            400.. => (Level::Info, Matter::Stranger),
            _ => (Level::Debug, Matter::Detail),
        };
        if !self.may_say(level, matter) {
            return;
        }
        let Some(session) = self.sessions.get_mut(key) else { return };
        let core = session.core();
        let (id, client, token, labels) =
            (core.id, Client(core.client), Token(core.token), Labels(core.labels()));
        let detail = Detail(core);
        self.setup.log.line(
            level,
            format!(
                "http id={id} client={client} request=\"{}\" status={status}{token}{labels}{detail}",
                Escaped(line)
            ),
        );
    }

    /// The access line of a bridge, or of a client that needs a remedy; other connections leave one only when everything is
    /// wanted.
    #[inline(never)]
    pub(super) fn log_end(&mut self, core: &Core) {
        let (level, matter) = match core.end {
            _ if core.bridged => (Level::Info, Matter::Session),
            Some(End::NoCertificate) => (Level::Info, Matter::Stranger),
            _ => (Level::Debug, Matter::Detail),
        };
        if !self.may_say(level, matter) {
            return;
        }
        let target = if core.bridged { self.shown_target(core) } else { "-".into() };
        let mut line = format!(
            "end id={} client={} target=\"{}\" duration={:.3}s in_bytes={} out_bytes={} in_msgs={} out_msgs={} close=",
            core.id,
            Client(core.client),
            Escaped(&target),
            self.now.since(core.opened).as_secs_f64(),
            core.bytes_in,
            core.bytes_out,
            core.messages_in,
            core.messages_out,
        );
        let _ = match core.close_code {
            Some(code) => write!(line, "{code}"),
            None => line.write_char('-'),
        };
        let _ = match core.tls {
            Some((version, cipher)) => write!(line, " tls={version},{cipher}"),
            None => line.write_str(" tls=-"),
        };
        let _ = write!(line, "{}", Token(core.token));
        let _ = write!(line, " end={}", core.end.map_or("unknown", End::name));
        let _ = write!(line, "{}", Labels(core.labels()));
        let _ = write!(line, "{}", Detail(core));
        self.setup.log.line(level, line);
    }

    /// The word that `--run-once` has been fulfilled, as websockify gives it.
    pub(super) fn log_once(&self, core: &Core) {
        let client = core.client.map_or_else(|| "unix".to_owned(), |client| client.ip().to_string());
        self.setup.log.line(Level::Info, format!("{client}: exiting due to --run-once"));
    }

    /// Once in a while, however many shards find it out.
    pub(super) fn log_full(&self) {
        let balance = &self.setup.balance;
        // Where one client is served and no more, that is as it should be.
        if self.setup.config.process.once || !balance.may_tell_full(self.now) {
            return;
        }
        let places = balance.places();
        self.setup.log.line(
            Level::Warn,
            format!("accept all {places} places taken: raise --max-sessions or the limit of open files (ulimit -n)"),
        );
    }

    /// Counts a client that is one too many of its source, and tells of it as of other strangers.
    pub(super) fn turn_away(&mut self, client: Option<SocketAddr>) {
        self.counters.sources_refused += 1;
        if self.may_say(Level::Info, Matter::Stranger) {
            let most = self.setup.sources.most().unwrap_or_default();
            let client = Client(client);
            let why =
                format!("closed client={client}: its address has {most} connections (--max-per-source)");
            self.setup.log.line(Level::Info, why);
        }
    }

    pub(super) fn log_accept_failures(&self, failures: u64, error: &io::Error) {
        const SHORT: [i32; 4] = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
        let short = error.kind() == io::ErrorKind::OutOfMemory
            || error.raw_os_error().is_some_and(|code| SHORT.contains(&code));
        let remedy = if short {
            ": raise the limit (ulimit -n; of memory: ulimit -v, ulimit -d, the cgroup's) or lower --max-sessions"
        } else {
            ""
        };
        let shard = self.setup.number;
        self.setup
            .log
            .line(Level::Warn, format!("accept shard={shard} failures={failures} error=\"{error}\"{remedy}"));
    }

    pub(super) fn log_report(&self) {
        let counters = &self.counters;
        self.setup.log.answer(format!(
            "report shard={} sessions={} buffers_bytes={} {counters}",
            self.setup.number,
            self.sessions.len(),
            self.engine.pool().in_use()
        ));
    }
}
