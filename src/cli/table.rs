//! The option table: one row an option, in the order of the documents within each group.
//!
//! A row is the only place where an option is named. Where a default is a number of `limits`, a test parses the row's
//! text and compares it with the number.

use super::args::{Command, Document, WebRoot};
use super::guards;
use super::option::{Act, Category, Complete, Opt, Refusal, Value};
use super::process;
use super::route;
use super::values::{self, Zero};
use super::{access, secure, tap, wrap};
use crate::config::{EngineChoice, Verbosity};
use crate::limits;
use crate::target::Target;

/// A value of any form that a shell cannot help with.
pub(super) const fn free(word: &'static str) -> Value {
    Value { word, choices: &[], complete: Complete::Choices, repeats: false }
}

/// A value that names a file.
pub(super) const fn file(word: &'static str) -> Value {
    Value { word, choices: &[], complete: Complete::Files, repeats: false }
}

/// A value that is one of a few words.
pub(super) const fn choice(word: &'static str, choices: &'static [&'static str]) -> Value {
    Value { word, choices, complete: Complete::Choices, repeats: false }
}

/// All options.
pub const TABLE: &[Opt] = &[
    Opt {
        long: "prefer-ipv6",
        short: Some('6'),
        category: Category::Listening,
        brief: "prefer IPv6 when resolving source_addr",
        detail: "Where source_addr is a name with addresses of both families, listen on an IPv6 one. Without \
                 source_addr the server listens on all interfaces with both families, with or without this option.",
        default: "",
        example: "-6 gateway.example:6080 localhost:5901",
        act: Act::Switch(|options| options.prefer_ipv6 = true),
    },
    Opt {
        long: "unix-listen",
        short: None,
        category: Category::Listening,
        brief: "listen on a Unix socket instead of a port",
        detail: "Listen on a Unix stream socket at FILE, for a web server in front. The word \
                 [source_addr:]source_port is then left out. A socket that nobody listens on any more is replaced; \
                 anything else at FILE is left alone and is an error. The socket is removed again at exit, as far as \
                 the user who serves (--user) may.\n\n\
                 An empty FILE means that the option was not given.",
        default: "",
        example: "--unix-listen=/run/websplice.sock localhost:5901",
        act: Act::Take(file("FILE"), |options, value| {
            options.unix_listen = (!value.is_empty()).then(|| value.into());
            Ok(())
        }),
    },
    Opt {
        long: "unix-listen-mode",
        short: None,
        category: Category::Listening,
        brief: "permissions of the Unix socket, in octal",
        detail: "Who may connect to the socket of --unix-listen, as for chmod(1): 600 is its owner only, 660 also its \
                 group. A default access list (ACL) of its directory does not narrow them; users that it names may connect \
                 as far as the bits of the group go.",
        default: "600",
        example: "--unix-listen=/run/websplice.sock --unix-listen-mode=660 localhost:5901",
        act: Act::Take(free("OCTAL"), |options, value| {
            // Without --unix-listen it does not matter what it says, as in websockify.
            options.unix_listen_mode = values::mode(value).ok_or_else(|| value.into());
            Ok(())
        }),
    },
    process::INETD,
    Opt {
        long: "unix-target",
        short: None,
        category: Category::Target,
        brief: "carry clients to a Unix socket",
        detail: "A stream socket, at the path FILE; @NAME is one in the abstract namespace of Linux. \
                 The word target_addr:target_port is then left out.\n\n\
                 An empty FILE means that the option was not given.",
        default: "",
        example: "--unix-target=/run/vnc.sock 6080",
        act: Act::Take(file("FILE"), |options, value| {
            options.unix_target = Target::parse_unix(value);
            if options.unix_target.is_none() && !value.is_empty() {
                return Err(Refusal::Invalid {
                    kind: "socket name",
                    hint: "such as /run/vnc.sock or @vnc".into(),
                });
            }
            Ok(())
        }),
    },
    Opt {
        long: "echo",
        short: None,
        category: Category::Target,
        brief: "send each message back, without any target",
        detail: "Each message comes back to its client with its type and boundaries: for trying out, measuring and \
                 testing clients. The word target_addr:target_port is then left out; writing echo:// in its place \
                 means the same.",
        default: "",
        example: "--echo 127.0.0.1:6080",
        act: Act::Switch(|options| options.echo = true),
    },
    wrap::MODE,
    wrap::BIND,
    Opt {
        long: "subprotocol",
        short: None,
        category: Category::WebSocket,
        brief: "accept this sub-protocol besides binary",
        detail: "Choose NAME when a client offers it and does not offer binary, which always comes first. May be given \
                 several times; earlier names are preferred. A client that offers only other names is accepted \
                 without any.",
        default: "",
        example: "--subprotocol=chat --subprotocol=v1.stomp 6080 localhost:5901",
        act: Act::Take(Value { repeats: true, ..free("NAME") }, |options, value| {
            let name = values::token(value)?;
            if !options.subprotocols.contains(&name) {
                options.subprotocols.push(name);
            }
            if options.subprotocols.len() > limits::SUBPROTOCOLS_MAX {
                let most = limits::SUBPROTOCOLS_MAX;
                return Err(Refusal::Message(format!(
                    "option --subprotocol: more than {most} names; leave some out"
                )));
            }
            Ok(())
        }),
    },
    Opt {
        long: "lenient-handshake",
        short: None,
        category: Category::WebSocket,
        brief: "accept handshakes that proxies have mangled",
        detail: "Also accept an upgrade without \"Connection: upgrade\", over HTTP/1.0, or with an odd key. Always on \
                 when the program is called websockify or run.",
        default: "",
        example: "--lenient-handshake 6080 localhost:5901",
        act: Act::Switch(|options| options.lenient_handshake = true),
    },
    Opt {
        long: "server-header",
        short: None,
        category: Category::WebSocket,
        brief: "what the Server header says; empty: no header",
        detail: "Every answer says in its Server header what it comes from; the version is never said unless it is written \
                 here. An empty TEXT leaves the header out, for those who tell strangers nothing.",
        default: "websplice",
        example: "--server-header= 6080 localhost:5901",
        act: Act::Take(free("TEXT"), |options, value| {
            options.server_header = values::header(value)?.into();
            Ok(())
        }),
    },
    Opt {
        long: "max-message",
        short: None,
        category: Category::WebSocket,
        brief: "largest message that has to be buffered",
        detail: "The largest message where messages must be held, as for --echo and where a plugin names a framing: in \
                 bytes, or with KiB, MiB or GiB. A larger one closes its session with code 1009. What goes to a stream, \
                 such as TCP, passes as it comes and has no limit.",
        default: "1MiB",
        example: "--max-message=16MiB --echo 6080",
        act: Act::Take(free("SIZE"), |options, value| {
            options.message_bytes_max = values::size(value, 1..=limits::MESSAGE_BYTES_MAX)?;
            Ok(())
        }),
    },
    secure::CERT,
    secure::KEY,
    secure::KEY_PASSWORD,
    secure::SSL_ONLY,
    secure::SSL_VERSION,
    secure::SSL_CIPHERS,
    secure::VERIFY_CLIENT,
    secure::CAFILE,
    secure::SSL_TARGET,
    secure::SSL_TARGET_CA,
    secure::SSL_TARGET_CERT,
    secure::SSL_TARGET_KEY,
    secure::SSL_TARGET_NAME,
    secure::SSL_TARGET_INSECURE,
    route::TOKEN_PLUGIN,
    route::TOKEN_SOURCE,
    route::HOST_TOKEN,
    route::TOKEN_FROM,
    route::TOKEN_CACHE,
    route::TOKEN_TIMEOUT,
    route::TARGET_CONFIG,
    guards::AUTH_PLUGIN,
    guards::AUTH_SOURCE,
    guards::WEB_AUTH,
    guards::PYTHON,
    access::ALLOW_HOST,
    access::ALLOW_TARGET,
    access::DENY_TARGET,
    Opt {
        long: "web",
        short: None,
        category: Category::Files,
        brief: "serve files from DIR on the same port",
        detail: "Requests that are no WebSocket get files from DIR, and nothing outside of it. Without this option they \
                 are refused with 405. The word builtin: instead of a directory serves a small page from inside the \
                 program, which connects to it and shows round-trip times and throughput.\n\n\
                 An empty DIR means that the option was not given.",
        default: "",
        example: "--web=/usr/share/novnc 6080 localhost:5901",
        act: Act::Take(
            Value { word: "DIR", choices: &[], complete: Complete::Directories, repeats: false },
            |options, value| {
                options.web = match value.to_str() {
                    Some("") => None,
                    Some("builtin:") => Some(WebRoot::Builtin),
                    _ => Some(WebRoot::Dir(value.into())),
                };
                Ok(())
            },
        ),
    },
    Opt {
        long: "file-only",
        short: None,
        category: Category::Files,
        brief: "never list a directory",
        detail: "A directory without an index file answers 404 instead of showing what is in it. Listings are only made \
                 when the program is called websockify or run, so this option has an effect only there.",
        default: "",
        example: "--file-only --web=/usr/share/novnc 6080 localhost:5901",
        act: Act::Switch(|options| options.file_only = true),
    },
    Opt {
        long: "web-index",
        short: None,
        category: Category::Files,
        brief: "file served for a directory",
        detail: "The name of the file that stands for its directory, tried before index.html and index.htm.",
        default: "",
        example: "--web=/usr/share/novnc --web-index=vnc.html 6080 localhost:5901",
        act: Act::Take(file("FILE"), |options, value| {
            options.web_index = Some(values::file_name(value)?);
            Ok(())
        }),
    },
    tap::RECORD,
    tap::RECORD_NAME,
    tap::RECORD_SIZE,
    tap::RECORD_BUFFER,
    tap::TRAFFIC,
    Opt {
        long: "heartbeat",
        short: None,
        category: Category::Timing,
        brief: "ping each client this often; 0: never",
        detail: "Send a WebSocket ping this often. This keeps proxies and firewalls from cutting quiet sessions; --pong-timeout \
                 says what becomes of clients that do not answer. All durations take ms, s, m, h or d, and bare numbers are \
                 seconds.",
        default: "30s",
        example: "--heartbeat=45 6080 localhost:5901",
        act: Act::Take(free("SECONDS"), |options, value| {
            options.timing.heartbeat = values::duration(value, Zero::Allowed)?;
            Ok(())
        }),
    },
    Opt {
        long: "pong-timeout",
        short: None,
        category: Category::Timing,
        brief: "longest wait for a pong; 0: no limit",
        detail: "How long a client may send nothing at all after a ping of --heartbeat. Then its session is closed with code \
                 1008. The time counts from the ping, however often pings are sent, so a client that vanishes is gone within one \
                 interval of --heartbeat and this time, unless something is stuck on its way to it; then --write-timeout counts. A \
                 pong or any other byte is an answer, and so is taking what was stuck. 0 pings and never judges, as websockify \
                 does; so does a --heartbeat of 0, which sends no pings.",
        default: "15s",
        example: "--heartbeat=10 --pong-timeout=30s 6080 localhost:5901",
        act: Act::Take(free("DURATION"), |options, value| {
            options.timing.pong = values::duration(value, Zero::Allowed)?;
            Ok(())
        }),
    },
    Opt {
        long: "head-timeout",
        short: None,
        category: Category::Timing,
        brief: "longest wait for a complete request",
        detail: "How long a client may take from being accepted to the end of its request's head. Then it is closed \
                 without an answer; and so is one that has not sent a single byte, of TLS or of a request, after three \
                 seconds. A client that keeps its connection has this time for each further request too, from the answer \
                 before.",
        default: "10s",
        example: "--head-timeout=5s 6080 localhost:5901",
        act: Act::Take(free("DURATION"), |options, value| {
            options.timing.head = values::duration(value, Zero::Refused)?;
            Ok(())
        }),
    },
    Opt {
        long: "dial-timeout",
        short: None,
        category: Category::Timing,
        brief: "longest wait for a connection to the target",
        detail: "How long connecting to the target may take, all its addresses together. Then the session is closed \
                 with code 1011.",
        default: "10s",
        example: "--dial-timeout=3s 6080 localhost:5901",
        act: Act::Take(free("DURATION"), |options, value| {
            options.timing.dial = values::duration(value, Zero::Refused)?;
            Ok(())
        }),
    },
    Opt {
        long: "write-timeout",
        short: None,
        category: Category::Timing,
        brief: "longest wait while a send makes no progress",
        detail: "How long a client or a target may take nothing of what is sent to it. Then its session ends.",
        default: "1m",
        example: "--write-timeout=20s 6080 localhost:5901",
        act: Act::Take(free("DURATION"), |options, value| {
            options.timing.write = values::duration(value, Zero::Refused)?;
            Ok(())
        }),
    },
    Opt {
        long: "close-timeout",
        short: None,
        category: Category::Timing,
        brief: "longest wait for a client's close frame",
        detail: "How long a client may take to answer a close frame and end its stream. Then the socket is closed.",
        default: "5s",
        example: "--close-timeout=2s 6080 localhost:5901",
        act: Act::Take(free("DURATION"), |options, value| {
            options.timing.close = values::duration(value, Zero::Refused)?;
            Ok(())
        }),
    },
    Opt {
        long: "drain-timeout",
        short: None,
        category: Category::Timing,
        brief: "longest wait for sessions to end when stopped",
        detail: "After SIGTERM or SIGINT every session is closed with code 1001 and may take this long to say goodbye. \
                 0 closes all of them at once. A wrapped program gets SIGTERM when the sessions have ended, and SIGKILL if it is \
                 still there at the end of this time, or 1s after the SIGTERM if that is later.",
        default: "10s",
        example: "--drain-timeout=30s 6080 localhost:5901",
        act: Act::Take(free("DURATION"), |options, value| {
            options.timing.drain = values::duration(value, Zero::Allowed)?;
            Ok(())
        }),
    },
    process::RUN_ONCE,
    process::TIMEOUT,
    process::IDLE_TIMEOUT,
    Opt {
        long: "engine",
        short: None,
        category: Category::Resources,
        brief: "I/O engine: ring (io_uring) or poll (epoll)",
        detail: "ring is io_uring; poll is epoll, or what other systems have in its place. auto takes ring where the \
                 kernel allows it and poll elsewhere, and says why in the log; with ring a refusal is an error.",
        default: "auto",
        example: "--engine=poll 6080 localhost:5901",
        act: Act::Take(choice("ENGINE", &["auto", "ring", "poll"]), |options, value| {
            options.engine = match value.to_str() {
                Some("ring") => EngineChoice::Ring,
                Some("poll") => EngineChoice::Poll,
                _ => EngineChoice::Auto,
            };
            Ok(())
        }),
    },
    Opt {
        long: "threads",
        short: None,
        category: Category::Resources,
        brief: "threads that carry sessions",
        detail: "Each has its own share of the sessions. By default one for each core that the process may use, by \
                 affinity and by the cgroup's quota. When there is one for every core each is pinned to its own; \
                 otherwise the scheduler places them.",
        default: "(one per core)",
        example: "--threads=2 6080 localhost:5901",
        act: Act::Take(free("N"), |options, value| {
            options.threads = Some(values::count(value, 1..=limits::SHARDS_MAX)?);
            Ok(())
        }),
    },
    Opt {
        long: "buffer-memory",
        short: None,
        category: Category::Resources,
        brief: "limit of the memory for buffers",
        detail: "Bytes of all buffers together, at least 4MiB for each thread. When it is used up the server stops reading until \
                 something has been sent; nothing is lost. By default a quarter of the memory of the machine or of the \
                 cgroup, or of what a limit of addresses or of data (ulimit -v, ulimit -d) leaves.",
        default: "(a quarter of memory)",
        example: "--buffer-memory=64MiB 6080 localhost:5901",
        act: Act::Take(free("SIZE"), |options, value| {
            options.buffer_memory = Some(values::size(value, limits::BUFFER_MEMORY_MIN..=usize::MAX)?);
            Ok(())
        }),
    },
    Opt {
        long: "max-sessions",
        short: None,
        category: Category::Resources,
        brief: "limit of simultaneous clients",
        detail: "When there are this many, new clients wait, all but a few of them in the listen queue of the kernel, and the log says so. \
                 Who has come to no request within half a second, is between two requests, or stays behind its last \
                 answer has to go then; WebSockets never do. The limits of open files, of addresses and of data may permit \
                 fewer; that is said in the log at start, and by --check.",
        default: "(100000, or what limits permit)",
        example: "--max-sessions=500 6080 localhost:5901",
        act: Act::Take(free("N"), |options, value| {
            options.sessions_max = Some(values::count(value, 1..=limits::SESSIONS_MAX)?);
            Ok(())
        }),
    },
    access::MAX_PER_SOURCE,
    process::DAEMON,
    process::PID_FILE,
    process::USER,
    process::LOG_FILE,
    process::SYSLOG,
    process::LEGACY_SYSLOG,
    process::LIBSERVER,
    process::CHECK,
    Opt {
        long: "verbose",
        short: Some('v'),
        category: Category::Program,
        brief: "log more, to find a fault",
        detail: "Also log what is only useful when looking for something.",
        default: "",
        example: "-v6 6080 localhost:5901",
        act: Act::Switch(|options| options.verbosity = Verbosity::Verbose),
    },
    Opt {
        long: "quiet",
        short: None,
        category: Category::Program,
        brief: "log warnings and errors only",
        detail: "Log warnings and errors, the settings at the start, and the reports that SIGQUIT asks for, but no sessions. \
                 Of --quiet and --verbose the last one counts.",
        default: "",
        example: "--quiet 6080 localhost:5901",
        act: Act::Switch(|options| options.verbosity = Verbosity::Quiet),
    },
    Opt {
        long: "help",
        short: Some('h'),
        category: Category::Help,
        brief: "show help and exit; --help shows more than -h",
        detail: "Show help on standard output and exit: -h one line an option, --help everything.",
        default: "",
        example: "--help",
        act: Act::Ask(|long| Command::Help { long }),
    },
    Opt {
        long: "version",
        short: None,
        category: Category::Help,
        brief: "show name, version and commit, and exit",
        detail: "They go to standard output, on one line.",
        default: "",
        example: "--version",
        act: Act::Ask(|_| Command::Version),
    },
    Opt {
        long: "generate",
        short: None,
        category: Category::Help,
        brief: "print man page or shell completions, and exit",
        detail: "The man page is in roff. Completions are to be sourced, or put where the shell looks for them.",
        default: "",
        example: "--generate=bash",
        act: Act::AskFor(choice("KIND", &["man", "bash", "zsh", "fish"]), |value| {
            Command::Generate(match value.to_str() {
                Some("bash") => Document::Bash,
                Some("zsh") => Document::Zsh,
                Some("fish") => Document::Fish,
                _ => Document::Man,
            })
        }),
    },
];
