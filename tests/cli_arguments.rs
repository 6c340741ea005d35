//! The argument matrix: command lines in, meanings or complaints out.
//!
//! A row is one command line as it would be typed after the program's name, split at blanks; `''` stands for an empty word.
//! Complaints that websockify has too are in its words: the rows named after it were taken from websockify 0.13.0.

#[path = "cli_arguments/complaints.rs"]
mod complaints;
#[path = "cli_arguments/process.rs"]
mod process;
#[path = "cli_arguments/tokens.rs"]
mod tokens;

use complaints::DURATION;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::sync::Once;
use std::time::Duration;
use websplice::cli::{self, Args, Command, Document, Options, Outcome, WebRoot};
use websplice::config::{EngineChoice, Listen, Verbosity};
use websplice::limits;
use websplice::target::Target;
use websplice::tls::Version;

/// What a command line comes to in an empty directory: the program looks for a certificate where it is started, and what
/// lies about in a checkout is not part of a test.
fn dispatch(argv: Vec<OsString>) -> Outcome {
    static MOVED: Once = Once::new();
    MOVED.call_once(|| {
        let empty = Path::new(env!("CARGO_TARGET_TMPDIR")).join("empty");
        std::fs::create_dir_all(&empty).expect("the build directory is writable");
        std::env::set_current_dir(&empty).expect("it was just made");
    });
    cli::dispatch(argv)
}

fn argv(program: &str, line: &str) -> Vec<OsString> {
    let words = line.split_whitespace().map(|word| if word == "''" { "" } else { word });
    std::iter::once(program).chain(words).map(OsString::from).collect()
}

fn run(line: &str) -> Args {
    match cli::parse(argv("/usr/bin/websplice", line)) {
        Ok(Command::Run(args)) => *args,
        other => panic!("{line:?} gives {other:?}"),
    }
}

fn complaint(line: &str) -> String {
    match cli::parse(argv("/usr/bin/websplice", line)) {
        Err(error) => error.message,
        other => panic!("{line:?} gives {other:?}"),
    }
}

/// Where a command line listens and leads, in one short line.
fn way(args: &Args) -> String {
    let listen = match &args.listen {
        Listen::Tcp { host, port, prefer_ipv6 } => {
            format!("{host}|{port}{}", if *prefer_ipv6 { "|6" } else { "" })
        }
        Listen::Unix { path, mode } => format!("{}|{mode:o}", path.display()),
        Listen::Inherited => "inetd".to_owned(),
    };
    format!("{listen} {}", args.target.as_ref().map_or_else(|| "-".into(), ToString::to_string))
}

const WAYS: &[(&str, &str)] = &[
    ("6080 localhost:5901", "|6080 localhost:5901"),
    (":6080 localhost:5901", "|6080 localhost:5901"),
    ("[]:6080 localhost:5901", "|6080 localhost:5901"),
    ("0 localhost:5901", "|0 localhost:5901"),
    ("65535 localhost:65535", "|65535 localhost:65535"),
    ("127.0.0.1:6080 localhost:5901", "127.0.0.1|6080 localhost:5901"),
    ("gateway.example:6080 a:1", "gateway.example|6080 a:1"),
    ("[::1]:6080 [::1]:5901", "::1|6080 [::1]:5901"),
    ("::1:6080 ::1:5901", "::1|6080 [::1]:5901"),
    ("[::]:0 a:1", "::|0 a:1"),
    ("[fe80::1%eth0]:6080 a:1", "fe80::1%eth0|6080 a:1"),
    ("-6 6080 a:1", "|6080|6 a:1"),
    ("--prefer-ipv6 6080 a:1", "|6080|6 a:1"),
    ("6080 a:1 -6", "|6080|6 a:1"),
    ("6080 -v6 a:1", "|6080|6 a:1"),
    ("6080 :5901", "|6080 :5901"),
    ("6080 a:vnc", "|6080 a:vnc"),
    ("6080 a:0", "|6080 a:0"),
    ("6080 echo://", "|6080 echo://"),
    ("6080 --echo", "|6080 echo://"),
    ("--echo 6080", "|6080 echo://"),
    ("--unix-target=/run/x 6080", "|6080 /run/x"),
    ("--unix-target /run/x 6080", "|6080 /run/x"),
    ("--unix-target @vnc 6080", "|6080 @vnc"),
    ("--unix-target= 6080 a:1", "|6080 a:1"),
    ("--unix-target '' 6080 a:1", "|6080 a:1"),
    ("--unix-listen=/run/l a:1", "/run/l|600 a:1"),
    ("a:1 --unix-listen /run/l", "/run/l|600 a:1"),
    ("--unix-listen= 6080 a:1", "|6080 a:1"),
    ("--unix-listen=/run/l --unix-listen-mode=660 a:1", "/run/l|660 a:1"),
    ("--unix-listen=/run/l --unix-listen-mode=0777 a:1", "/run/l|777 a:1"),
    ("--unix-listen=/run/l --unix-listen-mode=0o640 a:1", "/run/l|640 a:1"),
    ("--unix-listen=/run/l --unix-listen-mode= a:1", "/run/l|600 a:1"),
    ("--unix-listen=/run/l --unix-target=/run/t", "/run/l|600 /run/t"),
    ("--unix-listen=/run/l --echo", "/run/l|600 echo://"),
    ("--unix-listen-mode=660 6080 a:1", "|6080 a:1"),
    ("--unix-listen-mode=rw 6080 a:1", "|6080 a:1"),
    ("--unix-listen -x a:1", "-x|600 a:1"),
    ("--unix-listen -- a:1", "--|600 a:1"),
    ("--unix-target=a=b 6080", "|6080 a=b"),
    ("--unix-t=/run/x 6080", "|6080 /run/x"),
];

#[test]
fn ways() {
    for (line, expected) in WAYS.iter().chain(process::WAYS) {
        assert_eq!(way(&run(line)), *expected, "{line:?}");
    }
}

/// A command line, its settings without those about TLS, and its last line.
type Banner = (&'static str, &'static [&'static str], &'static str);

type Check = fn(&Options) -> bool;

/// Each line is completed with `6080 a:1`, in front and behind.
const OPTIONS: &[(&str, Check)] = &[
    ("", |o| *o == Options::default()),
    ("-v", |o| o.verbosity == Verbosity::Verbose && !o.prefer_ipv6),
    ("--verbose", |o| o.verbosity == Verbosity::Verbose),
    ("--verb", |o| o.verbosity == Verbosity::Verbose),
    ("--quiet", |o| o.verbosity == Verbosity::Quiet),
    ("-v --quiet", |o| o.verbosity == Verbosity::Quiet),
    ("--quiet -v", |o| o.verbosity == Verbosity::Verbose),
    ("-v -v", |o| o.verbosity == Verbosity::Verbose),
    ("-6v", |o| o.verbosity == Verbosity::Verbose && o.prefer_ipv6),
    ("--web=/srv/www", |o| o.web == Some(WebRoot::Dir("/srv/www".into()))),
    ("--web www", |o| o.web == Some(WebRoot::Dir("www".into()))),
    ("--web=a --web=b", |o| o.web == Some(WebRoot::Dir("b".into()))),
    ("--web=", |o| o.web.is_none()),
    ("--web=builtin:", |o| o.web == Some(WebRoot::Builtin)),
    ("--web=./builtin:", |o| o.web == Some(WebRoot::Dir("./builtin:".into()))),
    ("--file-only", |o| o.file_only),
    ("--file", |o| o.file_only),
    ("--f", |o| o.file_only),
    ("--web=x --web-index=vnc.html", |o| o.web_index.as_deref() == Some("vnc.html")),
    ("--web=x --web-i vnc_lite.html", |o| o.web_index.as_deref() == Some("vnc_lite.html")),
    ("--heartbeat=5", |o| o.timing.heartbeat == Duration::from_secs(5)),
    ("--heart=5", |o| o.timing.heartbeat == Duration::from_secs(5)),
    ("--hea 5", |o| o.timing.heartbeat == Duration::from_secs(5)),
    ("--heartbeat 030", |o| o.timing.heartbeat == Duration::from_secs(30)),
    ("--heartbeat=0", |o| o.timing.heartbeat.is_zero()),
    ("--heartbeat=250ms", |o| o.timing.heartbeat == Duration::from_millis(250)),
    ("--heartbeat=2m", |o| o.timing.heartbeat == Duration::from_secs(120)),
    ("--heartbeat=1h", |o| o.timing.heartbeat == Duration::from_secs(3600)),
    ("--heartbeat=7d", |o| o.timing.heartbeat == Duration::from_millis(limits::DEADLINE_MS_MAX)),
    ("--pong-timeout=20", |o| o.timing.pong == Duration::from_secs(20)),
    ("--pong=500ms", |o| o.timing.pong == Duration::from_millis(500)),
    ("--pong-timeout 0", |o| o.timing.pong.is_zero()),
    ("--pong-timeout=7d", |o| o.timing.pong == Duration::from_millis(limits::DEADLINE_MS_MAX)),
    ("--head-timeout=1s", |o| o.timing.head == Duration::from_secs(1)),
    ("--dial-timeout=1ms", |o| o.timing.dial == Duration::from_millis(1)),
    ("--write-timeout=90", |o| o.timing.write == Duration::from_secs(90)),
    ("--close-timeout=2s", |o| o.timing.close == Duration::from_secs(2)),
    ("--drain-timeout=0", |o| o.timing.drain.is_zero()),
    ("--drain-timeout=0ms", |o| o.timing.drain.is_zero()),
    ("--max-message=1", |o| o.message_bytes_max == 1),
    ("--max-message=64KiB", |o| o.message_bytes_max == 65536),
    ("--max-message=16MiB", |o| o.message_bytes_max == 16 << 20),
    ("--max-message=1GiB", |o| o.message_bytes_max == limits::MESSAGE_BYTES_MAX),
    ("--buffer-memory=4MiB", |o| o.buffer_memory == Some(limits::BUFFER_MEMORY_MIN)),
    ("--buffer-memory=8GiB", |o| o.buffer_memory == Some(8 << 30)),
    ("--threads=1", |o| o.threads == Some(1)),
    ("--threads=256", |o| o.threads == Some(limits::SHARDS_MAX)),
    ("--max-sessions=5", |o| o.sessions_max == Some(5)),
    ("--max-per-source=5", |o| o.source_sessions_max == Some(5)),
    ("--max-per-source=5 --max-per-source=0", |o| o.source_sessions_max.is_none()),
    ("--allow-host=a,*.B:1 --allow-host=[::1]", |o| {
        o.hosts.0.len() == 3 && o.hosts.admit(Some(b"x.b:1"), false) && !o.hosts.admit(Some(b"b"), false)
    }),
    ("--allow-target=10.0.0.0/8 --allow-target=:22,/run", |o| {
        o.reach.allow.len() == 3 && o.reach.deny.is_empty()
    }),
    ("--deny-target=@x,loopback", |o| o.reach.deny.len() == 3 && o.reach.allow.is_empty()),
    ("--engine=auto", |o| o.engine == EngineChoice::Auto),
    ("--engine=ring", |o| o.engine == EngineChoice::Ring),
    ("--eng poll", |o| o.engine == EngineChoice::Poll),
    ("--subprotocol=chat", |o| o.subprotocols == ["chat"]),
    ("--subprotocol=b --subprotocol=a --subprotocol=b", |o| o.subprotocols == ["b", "a"]),
    ("--lenient-handshake", |o| o.lenient_handshake),
    ("--lenient", |o| o.lenient_handshake),
    ("--ssl-version=default", |o| o.tls.version == Version::Tls12),
    ("--ssl-version=tlsv1_1", |o| o.tls.version == Version::Tls12),
    ("--ssl-version=tlsv1_2", |o| o.tls.version == Version::Tls12),
    ("--ssl-version=tlsv1_3", |o| o.tls.version == Version::Tls13),
];

#[test]
fn options_stand_anywhere() {
    for (line, check) in OPTIONS.iter().chain(process::OPTIONS) {
        for line in [format!("{line} 6080 a:1"), format!("6080 {line} a:1"), format!("6080 a:1 {line}")] {
            let args = run(&line);
            assert!(check(&args.options), "{line:?} gives {:?}", args.options);
            assert!(way(&args).starts_with("|6080"), "{line:?} gives {:?}", args.listen);
        }
    }
}

/// What websockify says to the same words.
const WEBSOCKIFY_COMPLAINTS: &[(&str, &str)] = &[
    ("", "Too few arguments"),
    ("6080", "Too few arguments"),
    ("-v", "Too few arguments"),
    ("--web= 6080", "Too few arguments"),
    ("--unix-target=u", "Too few arguments"),
    ("--unix-listen=u", "Too few arguments"),
    ("6080 a:1 b", "Too many arguments"),
    ("6080 a:1 b:2 c", "Too many arguments"),
    ("--unix-target u 1 a:2", "Too many arguments"),
    ("--unix-listen u a:1 b:2", "Too many arguments"),
    ("abc a:1", "Error parsing listen port"),
    ("- a:1", "Error parsing listen port"),
    ("'' a:1", "Error parsing listen port"),
    ("host: a:1", "Error parsing listen port"),
    ("[::1] a:1", "Error parsing listen port"),
    (":: a:1", "Error parsing listen port"),
    ("60.80 a:1", "Error parsing listen port"),
    ("abc foo", "Error parsing listen port"),
    ("6080 foo", "Error parsing target"),
    ("6080 ''", "Error parsing target"),
    ("6080 5901", "Error parsing target"),
    ("--unix-listen u 6080", "Error parsing target"),
    ("6080 foo b:2", "Error parsing target"),
    ("6080 foo:", "Error parsing target port"),
    ("6080 foo:1.5", "Error parsing target port"),
    ("6080 foo:a/b", "Error parsing target port"),
    ("--unix-listen u --unix-listen-mode 9 a:1", "Error parsing listen unix socket mode"),
    ("--unix-listen u --unix-listen-mode rw a:1", "Error parsing listen unix socket mode"),
    ("--nope 1 a:2", "no such option: --nope"),
    ("--nope=3", "no such option: --nope"),
    ("--no-verbose", "no such option: --no-verbose"),
    ("--é", "no such option: --é"),
    ("-x", "no such option: -x"),
    ("-vx", "no such option: -x"),
    ("-é", "no such option: -é"),
    ("-v=3", "no such option: -="),
    ("-1 a:2", "no such option: -1"),
    ("--uni=x", "ambiguous option: --uni (--unix-listen, --unix-listen-mode, --unix-target?)"),
    (
        "--ssl",
        "ambiguous option: --ssl (--ssl-ciphers, --ssl-only, --ssl-target, --ssl-target-ca, --ssl-target-cert, \
         --ssl-target-insecure, --ssl-target-key, --ssl-target-name, --ssl-version?)",
    ),
    ("--web", "--web option requires 1 argument"),
    ("6080 a:1 --heartbeat", "--heartbeat option requires 1 argument"),
    ("--heartb", "--heartbeat option requires 1 argument"),
    ("--verbose=1", "--verbose option does not take a value"),
    ("--verb=", "--verbose option does not take a value"),
    ("--help=3", "--help option does not take a value"),
];

#[test]
fn complaints_in_websockifys_words() {
    for (line, expected) in WEBSOCKIFY_COMPLAINTS.iter().chain(process::WEBSOCKIFY_COMPLAINTS) {
        // Theirs, and behind a colon what is wrong and what to write.
        let said = complaint(line);
        let rest = said.strip_prefix(expected).unwrap_or_else(|| panic!("{line:?} gives {said:?}"));
        let remedied = rest.starts_with(": ") && (rest.contains("; write ") || rest.contains("; make "));
        assert!(rest.is_empty() || remedied, "{line:?} gives {said:?}");
        assert!(!rest.is_empty() || !expected.starts_with("Error parsing"), "{line:?} gives {said:?}");
    }
}

#[test]
fn complaints_of_our_own() {
    for (line, expected) in complaints::OWN.iter().chain(process::OWN_COMPLAINTS) {
        let message = complaint(line);
        assert!(message.starts_with(expected), "{line:?} gives {message:?}");
        let rest = &message[expected.len()..];
        assert!(rest.is_empty() || rest.starts_with([' ', ',', ':', ';']), "{line:?} gives {message:?}");
    }
    assert!(complaint("--heartbeat=x").ends_with(&format!("({DURATION} 0 to 7d)")));
    assert!(complaint("--pong-timeout=x").ends_with(&format!("({DURATION} 0 to 7d)")));
    assert!(complaint("--head-timeout=0").ends_with(&format!("({DURATION} 1ms to 7d)")));
    assert!(complaint("--max-message=0").ends_with("from 1 to 1GiB)"));
    assert!(complaint("--buffer-memory=0").ends_with("at least 4MiB)"));
    let many: String = (0..=limits::SUBPROTOCOLS_MAX).map(|n| format!("--subprotocol=p{n} ")).collect();
    assert_eq!(complaint(&many), "option --subprotocol: more than 16 names; leave some out");
}

#[test]
fn questions_end_parsing_where_they_stand() {
    let rows = [
        ("-h", Command::Help { long: false }),
        ("--help", Command::Help { long: true }),
        ("--hel", Command::Help { long: true }),
        ("-vh", Command::Help { long: false }),
        ("6080 --help --nope", Command::Help { long: true }),
        ("--version", Command::Version),
        ("--vers", Command::Version),
        ("--generate man", Command::Generate(Document::Man)),
        ("--generate=bash 1 2 3", Command::Generate(Document::Bash)),
        ("--gen=zsh", Command::Generate(Document::Zsh)),
        ("--generate=fish --nope", Command::Generate(Document::Fish)),
    ];
    for (line, expected) in rows {
        assert_eq!(cli::parse(argv("websplice", line)), Ok(expected), "{line:?}");
    }
    assert_eq!(complaint("--nope --help"), "no such option: --nope");
}

#[test]
fn any_bytes_are_input() {
    let odd = || OsString::from_vec(b"\xff\xfe".to_vec());
    let odd_option = OsString::from_vec(b"--\xff=\xff".to_vec());
    let odd_short = OsString::from_vec(b"-\xff".to_vec());
    let say = |words: Vec<OsString>| {
        let argv = std::iter::once("websplice".into()).chain(words);
        cli::parse(argv).map_err(|error| error.message)
    };
    let refused = |words, part| say(words).is_err_and(|message| message.contains(part));
    assert!(refused(vec![odd(), "a:1".into()], "Error parsing listen port: '"));
    assert!(refused(vec!["1".into(), odd()], "' is not UTF-8; write host:port"));
    assert_eq!(say(vec![odd_option]), Err("no such option: --\u{fffd}".into()));
    assert_eq!(say(vec![odd_short]), Err("no such option: -\u{fffd}".into()));
    assert!(matches!(say(vec!["--web".into(), odd(), "1".into(), "a:1".into()]), Ok(Command::Run(_))));
    assert!(say(vec!["--threads".into(), odd()]).is_err());
    assert!(cli::parse(Vec::new()).is_err_and(|error| error.program == "websplice"));
}

#[test]
fn a_usage_error_shows_the_usage_and_exits_with_2() {
    let Outcome::Exit(answer) = dispatch(argv("/opt/bin/websockify", "6080")) else { panic!() };
    assert_eq!((answer.status, answer.out.as_str()), (2, ""));
    let lines: Vec<_> = answer.err.lines().collect();
    assert_eq!(lines[0], "Usage:");
    assert_eq!(lines[1], "    websockify [options] [source_addr:]source_port target_addr:target_port");
    assert_eq!(
        lines[lines.len() - 2..],
        [
            "",
            "websockify: error: Too few arguments: no word is left for the target; write one, such as localhost:5901, or use \
         --token-plugin, --unix-target or -- COMMAND",
        ]
    );
    assert!(answer.err.ends_with("COMMAND\n"));
}

#[test]
fn a_bad_directory_is_one_line_and_exits_with_1() {
    let say = |line: &str| match dispatch(argv("websplice", line)) {
        Outcome::Exit(answer) => (answer.status, answer.err),
        Outcome::Run(config) => panic!("{line:?} gives {config:?}"),
    };
    let missing =
        (1, "websplice: --web: /no/such/dir: no such directory; make it, or name another\n".to_owned());
    assert_eq!(say("--web /no/such/dir 6080 a:1"), missing);
    assert_eq!(
        say("--web /dev/null 6080 a:1"),
        (1, "websplice: --web: /dev/null: not a directory; name another\n".into())
    );
    let long = "x".repeat(limits::SOCKET_PATH_BYTES_MAX);
    let path = format!("/{long}");
    assert_eq!(
        say(&format!("--unix-listen {path} a:1")),
        (1, format!("websplice: --unix-listen: {path}: longer than 107 bytes; name a shorter one\n"))
    );
    assert!(
        say(&format!("--unix-target @x{long} 1")).1.ends_with("longer than 107 bytes; name a shorter one\n")
    );
}

#[test]
fn the_name_of_the_program_decides_compatibility() {
    let rows = [
        ("websplice", "--web /", false, false),
        ("/usr/bin/websockify", "--web /", true, true),
        ("./run", "--web /", true, true),
        ("websockify", "--web / --file-only", true, false),
        ("websplice", "--web / --lenient-handshake", true, false),
        ("websockify.py", "--web /", false, false),
    ];
    for (program, line, lenient, listings) in rows {
        let Outcome::Run(config) = dispatch(argv(program, &format!("{line} 6080 a:1"))) else { panic!() };
        let web = config.web.expect("--web is in every row");
        assert_eq!((config.upgrade.lenient, web.listings), (lenient, listings), "{program} {line}");
    }
}

#[test]
fn a_configuration_is_complete() {
    let line = "--unix-listen l --unix-target t --web . --web-index vnc.html --subprotocol chat -v";
    let Outcome::Run(config) = dispatch(argv("websplice", line)) else { panic!() };
    let here = std::env::current_dir().unwrap();
    assert_eq!(config.listen, Listen::Unix { path: here.join("l"), mode: 0o600 });
    assert_eq!(config.target, Some(Target::Unix(here.join("t"))));
    assert_eq!(config.web_root, Some(here));
    assert_eq!(config.web.unwrap().index.as_deref(), Some("vnc.html"));
    assert_eq!(config.upgrade.subprotocols, ["chat"]);
    assert_eq!(config.verbosity, Verbosity::Verbose);
    let Outcome::Run(config) = dispatch(argv("websplice", "--web=builtin: --echo 0")) else { panic!() };
    assert_eq!((config.web.is_some(), config.web_root), (true, None));
}

#[test]
fn the_banner_is_websockifys() {
    let rows: &[Banner] = &[
        ("6080 localhost:5901", &["Listen on :6080"], "proxying from :6080 to localhost:5901"),
        ("10.0.0.1:6080 :1", &["Listen on 10.0.0.1:6080"], "proxying from 10.0.0.1:6080 to :1"),
        ("[::1]:6080 [::1]:1", &["Listen on [::1]:6080"], "proxying from [::1]:6080 to [::1]:1"),
        ("--web / 6080 a:1", &["Listen on :6080", "Web server. Web root: /"], "proxying from :6080 to a:1"),
        (
            "--web / --file-only 6080 a:1",
            &["Listen on :6080", "Web server (no directory listings). Web root: /"],
            "proxying from :6080 to a:1",
        ),
        ("--unix-listen /l --echo", &["Listen on unix socket /l"], "proxying from /l to echo://"),
        ("--unix-target /t 6080", &["Listen on :6080"], "proxying from :6080 to /t"),
        ("--cert /c.pem 6080 a:1", &["Listen on :6080"], "proxying from :6080 to a:1"),
        // One that is there; what is in it is looked at later.
        ("--cert /dev/null --ssl-only 6080 a:1", &["Listen on :6080"], "proxying from :6080 to a:1"),
        ("--ssl-target 6080 a:1", &["Listen on :6080"], "proxying from :6080 to a:1 (using SSL)"),
    ];
    for (line, settings, proxying) in rows.iter().chain(process::BANNERS) {
        let Outcome::Run(config) = dispatch(argv("websockify", line)) else { panic!("{line}") };
        let secure: &[&str] = match line.contains("--cert") {
            false => &["No SSL/TLS support (no cert file)"],
            true if line.contains("--ssl-only") => &["SSL/TLS support", "Deny non-SSL/TLS connections"],
            true => &["SSL/TLS support"],
        };
        let settings = settings.iter().chain(secure);
        let expected: Vec<_> = std::iter::once("WebSocket server settings:".to_owned())
            .chain(settings.map(|setting| format!("  - {setting}")))
            .collect();
        assert_eq!(cli::banner::settings(&config), expected, "{line}");
        assert_eq!(cli::banner::proxying(&config, 6080), format!("  - {proxying}"), "{line}");
    }
}
