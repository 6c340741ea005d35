//! A start that fails: one line with option, value, cause and remedy; and `--check` says the same.
//!
//! Each row is a misconfiguration. What is looked at is what whoever typed it sees: standard error, and the status.

use crate::support::server::program;
use crate::support::temp::TempDir;
use nix::sys::stat::Mode;
use std::fs::{self, File};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// A user that owns nothing.
const NOBODY: u32 = 65_534;
/// How a remedy begins.
const REMEDIES: [&str; 5] = ["; ", " needs ", " must ", "(choose from ", "(such as "];

/// Words, separated by `|`, what the line names, and the status.
type Row = (&'static str, &'static [&'static str], i32);

/// A directory with everything that a row may trip over, for all to read.
fn place() -> TempDir {
    let dir = TempDir::new();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    dir.write("text", "no such thing\n");
    dir.write("empty", "");
    fs::create_dir(dir.join("folder")).expect("it is ours");
    symlink(dir.join("text"), dir.join("link")).expect("it is ours");
    fs::create_dir(dir.join("open")).expect("it is ours");
    fs::set_permissions(dir.join("open"), fs::Permissions::from_mode(0o777)).expect("it is ours");
    symlink(dir.join("text"), dir.join("open/link")).expect("it is ours");
    fs::hard_link(dir.join("text"), dir.join("open/second")).expect("it is ours");
    symlink("/dev/stdout", dir.join("out")).expect("it is ours");
    symlink("ring", dir.join("ring")).expect("it is ours");
    fs::create_dir(dir.join("shut")).expect("it is ours");
    fs::set_permissions(dir.join("shut"), fs::Permissions::from_mode(0o600)).expect("it is ours");
    nix::unistd::mkfifo(&dir.join("pipe"), Mode::S_IRWXU).expect("it is ours");
    let broken = dir.write("broken", "#!/no/such/interpreter\n");
    fs::set_permissions(&broken, fs::Permissions::from_mode(0o755)).expect("it is ours");
    dir
}

/// Status and standard error of the program in `dir`. As another user it is reached by its descriptor: its path may not be
/// for all to walk.
fn said(dir: &Path, user: Option<u32>, args: &[&str]) -> (Option<i32>, String) {
    let file = File::open(program()).expect("it is built");
    let mut command = match user {
        None => Command::new(program()),
        Some(user) => {
            let mut command = Command::new(format!("/proc/self/fd/{}", file.as_raw_fd()));
            command.arg0("websplice").uid(user);
            command
        }
    };
    let said = command.args(args).current_dir(dir).output().expect("it starts");
    (said.status.code(), String::from_utf8_lossy(&said.stderr).into_owned())
}

/// The one line of a failed start, without the program's name; a usage may stand in front of it, if the status says so.
#[track_caller]
fn line_of(args: &[&str], (status, said): (Option<i32>, String), expected: i32) -> String {
    assert_eq!(status, Some(expected), "{args:?}: {said}");
    let mut lines: Vec<_> = said.lines().collect();
    if expected == 2 {
        assert!(lines[0] == "Usage:" && lines[lines.len() - 2].is_empty(), "{args:?}: {said}");
        lines.drain(..lines.len() - 1);
    }
    // What a plugin writes itself is told where it was told.
    lines.retain(|line| !line.contains(" info plugin name="));
    let [line] = lines[..] else { panic!("{args:?} says more than one line:\n{said}") };
    let line = line.strip_prefix("websplice: ").unwrap_or_else(|| panic!("{args:?}: {said}"));
    let line = if expected == 2 { line.strip_prefix("error: ").expect("a usage error") } else { line };
    line.to_owned()
}

#[track_caller]
fn fails(dir: &Path, user: Option<u32>, words: &str, names: &[&str], status: i32) {
    let args: Vec<_> = words.split('|').collect();
    let line = line_of(&args, said(dir, user, &args), status);
    for name in names {
        assert!(line.contains(name), "{words}: {name:?} is missing in: {line}");
    }
    assert!(status == 2 || REMEDIES.iter().any(|how| line.contains(how)), "{words}: no remedy in: {line}");
    let before = fs::read_dir(dir).expect("it is there").count();
    let checked = [&["--check"], &args[..]].concat();
    let also = line_of(&checked, said(dir, user, &checked), 78);
    assert_eq!(also, line, "{words}");
    assert_eq!(fs::read_dir(dir).expect("it is there").count(), before, "{words}: a check makes nothing");
}

/// Each is completed with nothing: they stand as they are typed.
const ROWS: &[Row] = &[
    ("--web=absent|0|a:1", &["--web", "absent", "no such directory"], 1),
    ("--web=text|0|a:1", &["--web", "text", "not a directory"], 1),
    ("--log-file=absent/x|0|a:1", &["--log-file", "absent/x", "no such directory"], 1),
    ("--log-file=text/x|0|a:1", &["--log-file", "text/x", "not in a directory"], 1),
    ("--log-file=folder|0|a:1", &["--log-file", "folder", "is a directory"], 1),
    ("--log-file=open/link|0|a:1", &["--log-file", "open/link", "symbolic link", "others may write"], 1),
    ("--log-file=open/second|0|a:1", &["--log-file", "open/second", "others may write"], 1),
    ("--log-file=ring|0|a:1", &["--log-file", "ring", "symbolic links in a row"], 1),
    ("--log-file=pipe|0|a:1", &["--log-file", "pipe", "a named pipe", "/dev/fd/3"], 1),
    ("--log-file=/dev/fd/77|0|a:1", &["--log-file", "/dev/fd/77", "descriptor 77 is not open"], 1),
    ("--log-file=/dev/fd/0|0|a:1", &["--log-file", "/dev/fd/0", "is not open for writing"], 1),
    ("-D|--log-file=/dev/stdout|0|a:1", &["--log-file", "/dev/stdout", "a daemon", "--daemon"], 1),
    ("-D|--log-file=out|0|a:1", &["--log-file", "out", "a daemon", "--daemon"], 1),
    ("-D|--log-file=/dev/fd/1|0|a:1", &["--log-file", "/dev/fd/1", "a daemon", "--daemon"], 1),
    ("--inetd|--log-file=/dev/stderr|a:1", &["--log-file", "/dev/stderr", "--inetd", "a client"], 1),
    ("--inetd|--log-file=out|a:1", &["--log-file", "out", "--inetd", "a client"], 1),
    ("--pid-file=absent/x|0|a:1", &["--pid-file", "absent/x", "no such directory"], 1),
    ("--pid-file=link|0|a:1", &["--pid-file", "link", "symbolic link"], 1),
    ("--pid-file=pipe|0|a:1", &["--pid-file", "pipe", "no such file"], 1),
    ("--pid-file=text|0|a:1", &["--pid-file", "text", "no such file"], 1),
    ("--user=no-such-user|0|a:1", &["--user", "no-such-user", "no such user"], 1),
    ("--user=root:no-such|0|a:1", &["--user", "no-such", "no such group"], 1),
    ("--user=4000000123|0|a:1", &["--user", "4000000123", "no entry"], 1),
    ("--syslog=x.invalid:514|0|a:1", &["--syslog", "x.invalid:514", "lookup"], 1),
    ("0|--|no-such-program", &["-- COMMAND", "no-such-program", "PATH"], 1),
    ("0|--|/no/such/program", &["-- COMMAND", "/no/such/program", "no such program"], 1),
    ("0|--|./text", &["-- COMMAND", "./text", "may not be executed"], 1),
    ("--auth-plugin=Nope|0|a:1", &["--auth-plugin", "Nope", "no such plugin"], 1),
    ("--auth-plugin=HtpasswdAuth|0|a:1", &["--auth-plugin", "HtpasswdAuth", "--auth-source"], 1),
    (
        "--auth-plugin=HtpasswdAuth|--auth-source=absent|0|a:1",
        &["--auth-source", "absent", "No such file"],
        1,
    ),
    (
        "--auth-plugin=BasicHTTPAuth|--auth-source=@absent|0|a:1",
        &["--auth-source", "'absent'", "No such file"],
        1,
    ),
    ("--token-plugin=TokenRedis|--token-source=@empty|0", &["--token-source", "'empty'", "is empty"], 1),
    ("--token-plugin=TokenRedis|--token-source=@folder|0", &["--token-source", "'folder'", "directory"], 1),
    ("--auth-plugin=ForwardAuth|--auth-source=x|0|a:1", &["--auth-plugin", "'x'", "no URL"], 1),
    (
        "--auth-plugin=ClientCertCNAuth|--auth-source=x|0|a:1",
        &["--auth-plugin", "ClientCertCNAuth", "--verify-client"],
        1,
    ),
    ("--auth-plugin=exec:false|0|a:1", &["--auth-plugin", "false", "exit status: 1"], 1),
    ("--auth-plugin=exec:/no/such|0|a:1", &["--auth-plugin", "/no/such", "127"], 1),
    ("--auth-plugin=exec:|0|a:1", &["--auth-plugin", "exec:", "no command"], 1),
    ("--auth-plugin=a-b.C|0|a:1", &["--auth-plugin", "a-b.C", "no Python class"], 1),
    ("--token-plugin=a.B|--python=/no/python|0", &["--token-plugin", "a.B", "/no/python", "--python"], 1),
    ("--token-plugin=Nope|0", &["--token-plugin", "Nope", "no such plugin"], 1),
    ("--token-plugin=TokenFile|0", &["--token-plugin", "TokenFile", "--token-source"], 1),
    ("--token-plugin=TokenFileName|--token-source=absent|0", &["--token-source", "absent"], 1),
    ("--token-plugin=TokenRedis|--token-source=a:b|0", &["--token-source", "port of Redis"], 1),
    ("--token-plugin=BaseTokenAPI|--token-source=a|0", &["--token-source", "http://"], 1),
    ("--token-plugin=BaseTokenAPI|--token-source=http://a/|0", &["--token-source", "http://a/", "%s"], 1),
    ("--cert=absent|0|a:1", &["--cert", "absent", "does not exist"], 1),
    ("--cert=folder|0|a:1", &["--cert", "folder", "not a file"], 1),
    ("--cert=text|0|a:1", &["--cert", "text", "not PEM"], 1),
    ("--cert=empty|0|a:1", &["--cert", "empty", "it is empty"], 1),
    ("--key=text|0|a:1", &["--key: text: ", "self.pem not found", "; name one with --cert"], 1),
    ("--auth-plugin=BasicHTTPAuth|--auth-source=@/dev/zero|0|a:1", &["--auth-source", "no regular file"], 1),
    ("--verify-client|0|a:1", &["--verify-client", "self.pem", "--cert"], 1),
    ("--ssl-target|--ssl-target-ca=absent|0|a:1", &["--ssl-target-ca", "absent", "does not exist"], 1),
    ("--ssl-target|--ssl-target-cert=text|0|a:1", &["--ssl-target-cert", "text", "not PEM"], 1),
    ("--ssl-target|--ssl-target-name=a b|0|a:1", &["--ssl-target-name", "a b", "neither a host"], 1),
    ("192.0.2.1:6080|a:1", &["Opening socket failed: source_addr: 192.0.2.1:6080", "assign"], 1),
    ("[2001:db8::1]:6080|a:1", &["Opening socket failed: source_addr: ", "2001:db8::1"], 1),
    ("x.invalid:6080|a:1", &["Opening socket failed: source_addr: x.invalid", "lookup"], 1),
    ("--unix-listen=text|a:1", &["Opening socket failed: --unix-listen: ", "text", "no socket"], 1),
    ("--unix-listen=absent/x|a:1", &["Opening socket failed: --unix-listen: ", "absent/x", "No such"], 1),
    ("--record=absent/x|0|a:1", &["--record", "absent", "no such directory"], 1),
    ("--record=text/x|0|a:1", &["--record", "text", "not a directory"], 1),
    ("--record=/|0|a:1", &["--record", "/", "no name"], 1),
    ("--threads=64|--buffer-memory=8MiB|0|a:1", &["--buffer-memory", "64 threads", "256MiB"], 1),
    // A line that makes no sense shows the usage, too; its words are mostly websockify's.
    ("6080", &["Too few arguments"], 2),
    ("6080|a:1|b:2", &["Too many arguments"], 2),
    ("6080|nonsense", &["Error parsing target"], 2),
    ("6080|a:1|--nope", &["no such option: --nope"], 2),
    ("6080|a:1|--legacy-syslog", &["You must use --syslog to use --legacy-syslog"], 2),
    ("6080|a:1|--engine=nope", &["--engine", "'nope'", "(choose from 'auto', "], 2),
    ("6080|a:1|--heartbeat=x", &["--heartbeat", "'x'", "(such as 30, "], 2),
    ("6080|a:1|--pong-timeout=8d", &["--pong-timeout", "'8d'", "from 0 to 7d"], 2),
    ("6080|a:1|--ssl-only", &["SSL only and self.pem not found"], 2),
    // In websockify's order: the certificate is looked for before the words are counted.
    ("--ssl-only|6080|a:1|b", &["SSL only and self.pem not found"], 2),
    ("--ssl-only|6080", &["SSL only and self.pem not found"], 2),
    ("--ssl-only|--cert=absent|6080|a:1|b", &["SSL only and absent not found"], 2),
    ("--ssl-only|--cert=absent|6080|a:1", &["SSL only and absent not found"], 2),
    ("--ssl-only|--cert=ring|0|a:1", &["ring cannot be read", "symbolic link"], 1),
    ("6080|a:no-such-service", &["Error parsing target port", "'no-such-service'", "write a number"], 2),
    // A guard whose name got lost must not leave the door open.
    ("--auth-plugin=|0|a:1", &["--auth-plugin", "no name", "BasicHTTPAuth"], 1),
    ("--auth-plugin=SameOrigin|--auth-plugin=|0|a:1", &["--auth-plugin", "no name"], 1),
    ("--token-plugin=|0|a:1", &["--token-plugin", "no name"], 1),
    ("--ssl-only|--nope|6080", &["no such option: --nope"], 2),
    ("--ssl-only|--host-token|6080", &["You must use --token-plugin to use --host-token"], 2),
];

#[test]
fn every_misconfiguration_is_one_line_with_its_remedy_and_a_check_says_the_same() {
    let dir = place();
    for (words, names, status) in ROWS {
        fails(dir.path(), None, words, names, *status);
    }
    for option in ["--syslog", "--unix-listen", "--unix-target"] {
        let long = "x".repeat(108);
        for name in ["/", "@"] {
            if name == "@" && option != "--unix-target" {
                continue;
            }
            let words = format!("{option}={name}{long}|0|a:1");
            let words = if option == "--syslog" { &words } else { words.trim_end_matches("|a:1") };
            let words =
                if option == "--unix-listen" { words.replace("|0", "|a:1") } else { words.to_owned() };
            fails(dir.path(), None, &words, &[option, &long, "longer than 107 bytes"], 1);
        }
    }
}

#[test]
fn a_pid_file_that_a_server_holds_is_no_fault_of_a_configuration() {
    let dir = TempDir::new();
    let held = dir.arg("own.pid");
    let server = crate::support::server::Server::start("poll", &["--echo", "--pid-file", &held]);
    let args = ["--pid-file", &held, "127.0.0.1:0", "a:1"];
    let line = line_of(&args, said(dir.path(), None, &args), 1);
    let word = format!("--pid-file: {held}: process {} has it; end that first", server.pid());
    assert!(line.ends_with(&word), "{line}");
    // It may be the one to be replaced, as with ports.
    let checked = [&["--check"], &args[..]].concat();
    assert_eq!(said(dir.path(), None, &checked), (Some(0), String::new()));
    let number = fs::read_to_string(dir.join("own.pid")).expect("a check takes nothing away");
    assert_eq!(number, format!("{}\n", server.pid()));
    server.stop();
}

/// What root may do anyhow, another user may not.
#[test]
fn what_a_user_may_not_do_is_told_by_a_check_too() {
    let dir = place();
    let own = nix::unistd::geteuid();
    let user = if own.is_root() {
        Some(NOBODY)
    } else {
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o555)).expect("it is ours");
        None
    };
    fails(dir.path(), user, "--log-file=new.log|0|a:1", &["--log-file", "new.log", "Permission denied"], 1);
    fails(dir.path(), user, "--pid-file=new.pid|0|a:1", &["--pid-file", "new.pid", "Permission denied"], 1);
    let socket: &[_] = &["Opening socket failed: --unix-listen: ", "new.sock", "Permission denied"];
    fails(dir.path(), user, "--unix-listen=new.sock|a:1", socket, 1);
    fails(dir.path(), user, "--record=new|0|a:1", &["--record", "not writable"], 1);
    let shut: &[_] = &["shut/self.pem cannot be read", "Permission denied", "; check who owns it"];
    fails(dir.path(), user, "--ssl-only|--cert=shut/self.pem|0|a:1", shut, 1);
    let least = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    if least.trim().parse::<u16>().is_ok_and(|least| least > 1) {
        let port: &[_] = &["Opening socket failed: source_port: ", ":1: ", "Permission denied"];
        for words in ["127.0.0.1:1|a:1", "1|a:1"] {
            fails(dir.path(), user, words, port, 1);
        }
    }
    if user.is_some() {
        fails(dir.path(), user, "--user=root|0|a:1", &["--user", "0", "only root"], 1);
    }
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
}

/// A start cannot be compared where it fails by what a check must not look at: that somebody listens there, which may well be
/// the server that the next start takes the place of.
#[test]
fn a_port_that_is_taken_is_one_line_too() {
    let dir = TempDir::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it is bound").to_string();
    let args = [address.as_str(), "a:1"];
    let line = line_of(&args, said(dir.path(), None, &args), 1);
    let named = format!("Opening socket failed: source_port: {address}: Address already in use");
    assert!(line.starts_with(&named) && line.contains("; end the server that has it"), "{line}");
    let broken = place();
    let args = ["127.0.0.1:0", "--", "./broken"];
    let line = line_of(&args, said(broken.path(), None, &args), 1);
    assert!(
        line.starts_with("-- COMMAND: ") && line.contains("broken") && line.contains("; see that"),
        "{line}"
    );
    let args = ["--inetd", "a:1"];
    let line = line_of(&args, said(dir.path(), None, &args), 1);
    assert!(line.starts_with("Opening socket failed: --inetd: standard input: no socket; "), "{line}");
}

/// What a start would only warn of counts as wrong.
#[test]
fn warnings_of_a_start_are_told_by_a_check() {
    let dir = place();
    let rows: [(&str, &str, i32, &[&str]); 4] = [
        // What the system does not grant here it may grant a service.
        (
            "ulimit -n 256; ",
            "--max-sessions=1000|0|a:1",
            0,
            &["warning: max_sessions=", "instead of 1000", "--max-sessions"],
        ),
        ("", "--libserver|0|a:1", 0, &["warning: --libserver", "ignored", "; leave it out"]),
        (
            "",
            "--syslog=/no/where|0|a:1",
            78,
            &["--syslog", "/no/where", "No such file", "; start the server"],
        ),
        ("", "--syslog=text|0|a:1", 78, &["--syslog", "text", "not a socket; name the one of a server"]),
    ];
    for (limit, words, status, names) in rows {
        let args: Vec<_> = ["--check"].into_iter().chain(words.split('|')).collect();
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &format!("{limit}exec \"$0\" \"$@\"")]).arg(program()).args(&args);
        let said = shell.current_dir(dir.path()).output().expect("it starts");
        let said = (said.status.code(), String::from_utf8_lossy(&said.stderr).into_owned());
        let line = line_of(&args, said, status);
        for name in names {
            assert!(line.contains(name), "{words}: {name:?} is missing in: {line}");
        }
    }
}

/// Words, separated by `|`, and what the line names.
type Warned = (&'static str, &'static [&'static str]);

/// What a server can live with: it starts, and has one line for each.
const WARNED: &[Warned] = &[
    (
        "--token-plugin=TokenFile|--token-source=$/absent",
        &["--token-source", "absent", "No such", "; make it"],
    ),
    ("--target-config=$/absent", &["--target-config", "absent", "No such file", "; make it"]),
    (
        "--token-plugin=TokenFile|--token-source=$/tokens",
        &["--token-source", "Syntax error in ", "tokens on line 2; write token: host:port"],
    ),
    ("--target-config=$/tokens", &["--target-config", "Syntax error in ", "tokens on line 2; write"]),
    (
        "--token-plugin=ReadOnlyTokenFile|--token-source=$/lines",
        &["--token-source", "lines/b on line 2; write"],
    ),
    ("--token-plugin=TokenFile|--token-source=$/bytes", &["--token-source", "bytes is not UTF-8; save"]),
    (
        "--token-plugin=TokenFile|--token-source=$/pipe",
        &["--token-source", "pipe: ", "regular file; mend it"],
    ),
    (
        "--token-plugin=TokenFileName|--token-source=$/words",
        &["--token-source", "words: ", "not host:port; write"],
    ),
    (
        "--token-plugin=TokenFileName|--token-source=$/large",
        &["--token-source", "large: ", ") is larger than 65536 bytes; write"],
    ),
    (
        "--token-plugin=JWTTokenApi|--token-source=$/text",
        &["--token-source", "text: is neither PEM nor base64url; put the key"],
    ),
    (
        "--token-plugin=JWTTokenApi|--token-source=$/empty",
        &["--token-source", "empty: is empty; put the key"],
    ),
    (
        "--token-plugin=JWTTokenApi|--token-source=$/short",
        &["--token-source", "short: is a secret of 24 bytes", "HS256 takes 32", "HS384 48", "; put the key"],
    ),
    (
        "--token-plugin=JWTTokenApi|--token-source=$/set",
        &["--token-source", "set: is neither PEM nor base64url; put the key"],
    ),
    (
        "--token-plugin=JWTTokenApi|--token-source=$/absent",
        &["--token-source", "absent: No such", "; make it"],
    ),
    (
        "--token-plugin=UnixDomainSocketDirectory|--token-source=$/absent",
        &["--token-source", "absent: No such", "; make it"],
    ),
    (
        "--auth-plugin=HtpasswdAuth|--auth-source=$/users|a:1",
        &["--auth-source", "/users\" line=1 ignored: ", "; use htpasswd"],
    ),
    ("--ssl-ciphers=nonsense|a:1", &["--ssl-ciphers", "\"nonsense\"; known are "]),
    ("--cafile=$/absent|a:1", &["--cafile", "absent does not exist; make it"]),
    ("--cafile=$/text|a:1", &["--cafile", "text is not PEM; "]),
];

#[test]
fn what_a_server_can_live_with_is_one_line_and_a_check_does_not_pass() {
    let dir = place();
    dir.write("tokens", "one: h:1\nnonsense\n");
    dir.write("lines/a", "one: h:1\n\n\n");
    dir.write("lines/b", "two: h:1\nnonsense\nthree: h:1\n");
    dir.write("bytes", [0xff]);
    dir.write("words/hunter2", "no target\n");
    dir.write("large/hunter2", [b' '; 65_537]);
    dir.write("users", "me:plain\n");
    // Thirty-two letters that somebody typed are a secret of 24 bytes.
    dir.write("short", "hunter2hunter2hunter2hunter2hunt\n");
    dir.write("set", r#"{"keys":[{"kty":"oct","k":"hunter2"}]}"#);
    let path = dir.path().display().to_string();
    for (words, names) in WARNED {
        let words = words.replace('$', &path);
        let words: Vec<_> = words.split('|').collect();
        let args = [&["--check", "127.0.0.1:0"], &words[..]].concat();
        let line = line_of(&args, said(dir.path(), None, &args), 78);
        for name in *names {
            assert!(line.contains(name), "{words:?}: {name:?} is missing in: {line}");
        }
        assert!(!line.contains("hunter2"), "the name of a file that is a token: {line}");
        let server = crate::support::server::Server::start("poll", &words);
        server.wait_line(&line);
        let log = server.log();
        let warned = log.lines().filter(|line| line.contains(" warn ") || line.contains(" error ")).count();
        assert_eq!(warned, 1, "{words:?}: {log}");
        server.stop();
    }
}

/// As a container's profile does: io_uring_setup (425 everywhere) fails with EPERM for what is run behind it.
const FORBIDS_RING: &str = "\
import ctypes, os, struct, sys
libc = ctypes.CDLL(None)
rules = [(0x20, 0, 0, 0), (0x15, 0, 1, 425), (0x06, 0, 0, 0x50001), (0x06, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *rule) for rule in rules))
filter = ctypes.create_string_buffer(struct.pack('HP', len(rules), ctypes.addressof(code)))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, filter) == 0
os.execv(sys.argv[1], sys.argv[1:])
";

#[test]
fn an_engine_that_is_refused_is_told_by_a_check() {
    let dir = TempDir::new();
    let behind = |args: &[&str]| {
        let mut python = Command::new("python3");
        python.args(["-c", FORBIDS_RING]).arg(program()).args(args).current_dir(dir.path());
        let said = python.output().expect("there is Python");
        (
            said.status.code(),
            String::from_utf8_lossy(&said.stderr).replace(&*program().to_string_lossy(), "websplice"),
        )
    };
    let args = ["--check", "0", "a:1"];
    let line = line_of(&args, behind(&args), 0);
    assert!(
        line.starts_with("warning: --engine auto: engine=poll instead of ring: io_uring_setup: EPERM; "),
        "{line}"
    );
    assert!(line.ends_with("; say --engine poll if that is meant"), "{line}");
    let args = ["--engine=ring", "0", "a:1"];
    let line = line_of(&args, behind(&args), 1);
    assert!(line.starts_with("--engine ring: io_uring_setup: EPERM; ") && line.contains(" -> "), "{line}");
    let args = ["--check", "--engine=ring", "0", "a:1"];
    assert_eq!(line_of(&args, behind(&args), 78), line);
    let args = ["--check", "--engine=poll", "0", "a:1"];
    assert_eq!(behind(&args).0, Some(0));
}

/// Whoever looks at logs only finds there why there is no server.
#[test]
fn what_fails_before_the_first_thread_reaches_the_logs_that_are_open() {
    let dir = place();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it is bound").to_string();
    let (udp, local) = (UdpSocket::bind("127.0.0.1:0").expect("a port is free"), dir.join("device"));
    let device = UnixDatagram::bind(&local).expect("it is ours");
    for socket in [
        udp.set_read_timeout(Some(crate::support::wire::PATIENCE)),
        device.set_read_timeout(Some(crate::support::wire::PATIENCE)),
    ] {
        socket.expect("it is not zero");
    }
    let server = udp.local_addr().expect("it is bound").to_string();
    let mut buffer = [0; 4096];
    for (words, part) in [
        (vec![address.as_str(), "a:1"], "Opening socket failed: "),
        (vec!["--cert=text", "127.0.0.1:0", "a:1"], "not PEM"),
        (vec!["--pid-file=link", "127.0.0.1:0", "a:1"], "--pid-file: "),
        (vec!["--record=absent/x", "127.0.0.1:0", "a:1"], "--record: "),
    ] {
        let _ = fs::remove_file(dir.join("own.log"));
        let logs = ["--log-file=own.log", "--syslog", &server];
        let args = [&logs[..], &words].concat();
        let line = line_of(&args, said(dir.path(), None, &args), 1);
        assert!(line.contains(part), "{line}");
        let text = fs::read_to_string(dir.join("own.log")).expect("it is there");
        assert_eq!(text.trim_end(), line, "{args:?}");
        let count = udp.recv(&mut buffer).expect("a line comes");
        assert!(String::from_utf8_lossy(&buffer[..count]).ends_with(&line), "{args:?}");
    }
    // One that cannot be had is told to the other.
    let args = ["--log-file=open/link", "--syslog=device", "127.0.0.1:0", "a:1"];
    let line = line_of(&args, said(dir.path(), None, &args), 1);
    let count = device.recv(&mut buffer).expect("a line comes");
    assert!(line.starts_with("--log-file: "), "{line}");
    assert!(String::from_utf8_lossy(&buffer[..count]).ends_with(&line), "{line}");
}
