//! The command line of wrap mode: where the command begins, and what goes with it.

use crate::support::server::run_to_end;
use crate::support::temp::TempDir;
use std::ffi::OsString;
use websplice::cli::{self, Args, Command, Outcome};
use websplice::config::{Verbosity, WrapBind, WrapMode};
use websplice::target::{Port, Target};

fn argv(line: &str) -> Vec<OsString> {
    std::iter::once("websplice").chain(line.split_whitespace()).map(OsString::from).collect()
}

fn parsed(line: &str) -> Result<Args, String> {
    match cli::parse(argv(line)) {
        Ok(Command::Run(args)) => Ok(*args),
        Ok(other) => panic!("{line:?} gives {other:?}"),
        Err(error) => Err(error.message),
    }
}

#[test]
fn the_command_is_every_word_after_the_first() {
    for (line, command) in [
        ("6080 -- vncserver :1", "vncserver :1"),
        ("-- 6080 vncserver :1", "vncserver :1"),
        ("6080 vncserver -- :1", "vncserver :1"),
        ("6080 vncserver :1 --", "vncserver :1"),
        ("6080 a:1 -v --", "a:1"),
        ("6080 -- cmd -v --echo --no-such-option", "cmd -v --echo --no-such-option"),
        ("6080 -- cmd -- more", "cmd -- more"),
        ("--unix-listen=/l --unix-target=/t -- cmd x", "cmd x"),
        ("--unix-target=/t 6080 -- cmd", "cmd"),
        ("--unix-target=/t --inetd -- cmd x", "cmd x"),
    ] {
        let args = parsed(line).unwrap_or_else(|message| panic!("{line}: {message}"));
        let words: Vec<_> = command.split(' ').map(OsString::from).collect();
        assert_eq!(args.wrap, Some(words), "{line}");
        let unknown = Target::Tcp { host: String::new(), port: Port::Number(0) };
        let fixed = line.contains("--unix-target");
        assert_eq!(args.target, Some(if fixed { Target::Unix("/t".into()) } else { unknown }), "{line}");
    }
    let tokens = parsed("--token-plugin=TokenFile --token-source=/t 6080 -- cmd").expect("it is complete");
    assert_eq!((tokens.wrap, tokens.target), (Some(vec!["cmd".into()]), None), "tokens lead elsewhere");
    assert_eq!(parsed("6080 a:1").unwrap().wrap, None);
    assert!(parsed("6080 -- -v").unwrap().options.verbosity == Verbosity::Usual, "it is the command's own");
}

#[test]
fn options_of_it() {
    let of = |line: &str| parsed(line).map(|args| (args.options.wrap_mode, args.options.wrap_bind));
    for (line, expected) in [
        ("6080 -- c", (WrapMode::Exit, WrapBind::Auto)),
        ("--wrap-mode=ignore 6080 -- c", (WrapMode::Ignore, WrapBind::Auto)),
        ("6080 --wrap-m respawn -- c", (WrapMode::Respawn, WrapBind::Auto)),
        ("--wrap-mode=exit --wrap-bind=none 6080 a:1", (WrapMode::Exit, WrapBind::None)),
        ("--wrap-bind=seccomp 6080 -- c", (WrapMode::Exit, WrapBind::Seccomp)),
        ("--wrap-bind preload 6080 -- c", (WrapMode::Exit, WrapBind::Preload)),
    ] {
        assert_eq!(of(line), Ok(expected), "{line}");
    }
    let complaint = "option --wrap-mode: invalid choice: 'x' (choose from 'exit', 'ignore', 'respawn')";
    assert_eq!(of("--wrap-mode=x 6080 -- c"), Err(complaint.into()));
}

#[test]
fn what_does_not_go_together() {
    let no_port = "You must use {port} or {unix_socket} in COMMAND, or --unix-target, to use --unix-listen with -- \
                   COMMAND: there is no port to move it from";
    let no_command = "Too few arguments: there is no command behind --; write one, such as vncserver";
    for (line, message) in [
        ("6080 --", no_command),
        ("--", "Too few arguments: no word is left for the port to listen on; write one, such as 6080"),
        ("--unix-listen=/l --", no_command),
        (
            "x -- cmd",
            "Error parsing listen port: 'x' is no number; write one, such as 6080 or localhost:6080",
        ),
        ("--echo 6080 -- cmd", "You cannot use --echo together with -- COMMAND"),
        ("6080 -- cmd {port} {unix_socket}", "You cannot use {port} in COMMAND together with {unix_socket}"),
        (
            "--unix-target=/t 6080 -- cmd {port}",
            "You cannot use {port} in COMMAND together with --unix-target",
        ),
        ("--unix-listen=/l -- cmd", no_port),
        ("--inetd -- cmd", &no_port.replace("--unix-listen", "--inetd")),
    ] {
        assert_eq!(parsed(line).map(|args| args.wrap), Err(message.into()), "{line}");
    }
}

#[test]
fn the_banner_names_the_command() {
    let Outcome::Run(mut config) = cli::dispatch(argv("5901 -- sh -c 100%")) else {
        panic!("it is complete")
    };
    let program = config.wrap.as_ref().map(|wrap| wrap.program.clone());
    assert!(program.is_some_and(|program| program.is_absolute() && program.ends_with("sh")));
    config.target = Some(Target::Tcp { host: String::new(), port: Port::Number(40_000) });
    assert_eq!(
        cli::banner::proxying(&config, 5901),
        "  - proxying from :5901 to 'sh -c 100%' (port 40000)\nStarting 'sh -c 100%'"
    );
    config.target = Some(Target::Unix("/run/s".into()));
    assert!(cli::banner::proxying(&config, 5901).contains("to 'sh -c 100%' (/run/s)\n"));
}

/// Whether a command line is refused at its start, and by a check of it, by this option and in one line.
#[track_caller]
fn is_refused(words: &[&str], option: &str, target: &str) {
    for (more, status) in [(None, 1), (Some("--check"), 78)] {
        let words: Vec<&str> = more.into_iter().chain(words.iter().copied()).collect();
        let (code, said) = run_to_end(&words);
        assert_eq!((code, said.lines().count()), (Some(status), 1), "{words:?}: {said}");
        let start = format!("{option}: refuses the target {target}");
        let rest = ", so that no client could be carried; change the list, or name another target";
        assert!(said.contains(&start) && said.contains(rest), "{words:?}: {said}");
    }
}

/// A command that is moved, told its port or told its socket has a target too, though the server chooses it.
#[test]
fn the_target_of_a_wrapped_command_is_judged() {
    let place = TempDir::new();
    let elsewhere = format!("--allow-target={}", place.path().display());
    for list in [
        "--deny-target=loopback",
        "--deny-target=loopback:1-6000,:5000-65535",
        "--deny-target=0.0.0.0/0,::/0",
    ] {
        for word in ["x", "{port}"] {
            is_refused(&[list, "0", "--", "true", word], "--deny-target", ":{port},");
        }
    }
    for list in ["--allow-target=10.0.0.0/8,@x", &elsewhere] {
        is_refused(&[list, "0", "--", "true"], "--allow-target", ":{port},");
    }
    for (list, option) in [
        ("--allow-target=loopback", "--allow-target"),
        (elsewhere.as_str(), "--allow-target"),
        ("--deny-target=/", "--deny-target"),
    ] {
        is_refused(&[list, "0", "--", "true", "{unix_socket}"], option, "/");
    }
    // A port that may be connected to is left, but the kernel does not choose it: only the start can tell.
    let (code, said) = run_to_end(&["--allow-target=loopback:1", "0", "--", "true", "{port}"]);
    assert_eq!((code, said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains("--allow-target: refuses the target :"), "{said}");
    for words in [
        &["--deny-target=loopback", "0", "--", "true", "{unix_socket}"][..],
        &["--deny-target=loopback:1-65534", "0", "--", "true"],
        &["--allow-target=loopback", "--deny-target=:1-1023", "0", "--", "true", "{port}"],
        &["--allow-target=/", "0", "--", "true", "{unix_socket}"],
    ] {
        let (code, said) = run_to_end(&[&["--check"], words].concat());
        assert_eq!(code, Some(0), "{words:?}: {said}");
    }
}
