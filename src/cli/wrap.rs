//! The command line of wrap mode: the rows of its options, what goes together with a command, and where it is found.

use super::args::Options;
use super::option::{Act, Category, Opt};
use super::table::choice;
use crate::config::{Wrap, WrapBind, WrapMode, says};
use crate::target::{Port, Target};
use nix::unistd::{AccessFlags, access};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Where programs are looked up if the environment has no PATH, as execvp(3) does.
const PATH_DEFAULT: &str = "/bin:/usr/bin";
/// What is said of a file that is no program.
const NOT_EXECUTABLE: &str = "may not be executed; chmod +x it, or name another program";

pub(super) const MODE: Opt = Opt {
    long: "wrap-mode",
    short: None,
    category: Category::Target,
    brief: "when COMMAND ends: exit, ignore it or respawn",
    detail: "Behind -- stands a program to run beside the server, and no target: the server takes the program's port, and \
             the program is moved to another port of this machine, without knowing it. To a program that can be told where \
             to listen, write {port} for that port, or {unix_socket} for the path of a Unix socket in a directory of \
             its own; with --unix-target the program listens there by itself.\n\n\
             exit: when the program ends, the server says goodbye to its sessions and ends with the same status, or with \
             128 and the number of the signal. ignore: the server goes on, for programs that leave a daemon behind. \
             respawn: the program is started again, after a wait if it ends again and again. When the server ends, so \
             does the program with everything it has started, except with ignore.",
    default: "exit",
    example: "--wrap-mode=respawn 2023 -- telnetd -debug 2023",
    act: Act::Take(choice("MODE", &["exit", "ignore", "respawn"]), |options, value| {
        options.wrap_mode = match value.to_str() {
            Some("ignore") => WrapMode::Ignore,
            Some("respawn") => WrapMode::Respawn,
            _ => WrapMode::Exit,
        };
        Ok(())
    }),
};

pub(super) const BIND: Opt = Opt {
    long: "wrap-bind",
    short: None,
    category: Category::Target,
    brief: "how COMMAND is moved to another port",
    detail: "seccomp: the server sees each bind() of the program and of all it starts, static ones too, and has those that \
             ask for its own TCP port go elsewhere. Unless the server runs as root, programs started so cannot gain \
             privileges: sudo and the like fail in them. preload: a library in the program does so, which does not reach \
             static programs nor those that change their user. auto takes seccomp where that works, tries it before it is \
             relied on, and says in the log why not. With none the program is not moved; the variables REBIND_OLD_PORT \
             and REBIND_NEW_PORT in its environment tell it where to listen.",
    default: "auto",
    example: "--wrap-bind=preload 5901 -- vncserver :1",
    act: Act::Take(choice("HOW", &["auto", "seccomp", "preload", "none"]), |options, value| {
        options.wrap_bind = match value.to_str() {
            Some("seccomp") => WrapBind::Seccomp,
            Some("preload") => WrapBind::Preload,
            Some("none") => WrapBind::None,
            _ => WrapBind::Auto,
        };
        Ok(())
    }),
};

/// Where clients of a wrapped command are carried, as far as that can be said before it is started. With tokens it is they
/// who say, as in websockify.
pub(super) fn target(options: &Options, command: &[OsString]) -> Result<Option<Target>, String> {
    if command.is_empty() {
        return Err("Too few arguments: there is no command behind --; write one, such as vncserver".into());
    }
    if options.echo {
        return Err("You cannot use --echo together with -- COMMAND".into());
    }
    let (port, socket) = (says(command, Wrap::PORT), says(command, Wrap::UNIX_SOCKET));
    if port && (socket || options.unix_target.is_some()) {
        let other = if socket { Wrap::UNIX_SOCKET } else { "--unix-target" };
        return Err(format!("You cannot use {{port}} in COMMAND together with {other}"));
    }
    if options.route.leads() {
        return Ok(None);
    }
    if let Some(target) = &options.unix_target {
        return Ok(Some(target.clone()));
    }
    let inherited = options.process.inetd.then_some("--inetd");
    let portless = inherited.or(options.unix_listen.as_ref().map(|_| "--unix-listen"));
    if let Some(option) = portless.filter(|_| !port && !socket) {
        return Err(format!(
            "You must use {{port}} or {{unix_socket}} in COMMAND, or --unix-target, to use {option} with -- COMMAND: \
             there is no port to move it from"
        ));
    }
    Ok(Some(Target::Tcp { host: String::new(), port: Port::Number(0) }))
}

/// The wrapped command, its program found.
pub(super) fn settle(words: &[OsString], options: &Options) -> Result<Wrap, String> {
    let name = words.first().map_or(OsStr::new(""), OsString::as_os_str);
    let program = find(name).map_err(|why| format!("-- COMMAND: {}: {why}", Path::new(name).display()))?;
    Ok(Wrap { program, words: words.to_vec(), mode: options.wrap_mode, bind: options.wrap_bind })
}

/// The absolute path of the file that a shell would run for this name.
pub(super) fn find(name: &OsStr) -> Result<PathBuf, &'static str> {
    if name.as_bytes().contains(&b'/') {
        let path =
            std::path::absolute(name).map_err(|_| "the working directory is gone; write an absolute path")?;
        return match path.is_file() {
            true if can_run(&path) => Ok(path),
            true => Err(NOT_EXECUTABLE),
            false if path.is_dir() => Err("a directory; name a program in it"),
            false => Err("no such program; check its path"),
        };
    }
    let places = std::env::var_os("PATH").unwrap_or_else(|| PATH_DEFAULT.into());
    let candidates =
        std::env::split_paths(&places).filter_map(|place| std::path::absolute(place.join(name)).ok());
    let files: Vec<_> = candidates.filter(|path| !name.is_empty() && path.is_file()).collect();
    match files.iter().find(|path| can_run(path)) {
        Some(path) => Ok(path.clone()),
        None if files.is_empty() => {
            Err("no such program in the directories of PATH; install it, or write its path")
        }
        None => Err(NOT_EXECUTABLE),
    }
}

fn can_run(path: &Path) -> bool {
    access(path, AccessFlags::X_OK).is_ok()
}
