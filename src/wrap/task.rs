//! What a warden is started to do, as the words of its command line. Pure.

use crate::config::WrapMode;
use std::ffi::{OsStr, OsString};
use std::os::fd::RawFd;
use std::path::PathBuf;

/// What a warden is called, as its first word: no file has this name, so nobody becomes a warden by being renamed.
pub const NAME: &str = "websplice (wrap)";

/// How binds of the program are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By the warden, which sees them by seccomp user notification.
    Seccomp,
    /// By the interposer, which the program's dynamic linker loads.
    Preload,
    /// They are not.
    Plain,
}

/// One warden's work. Descriptors are numbers that it was started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Where it talks with its server.
    pub control: RawFd,
    /// What holds the new port.
    pub holders: Vec<RawFd>,
    /// The server's port, from which binds are moved.
    pub old: u16,
    /// The port they are moved to.
    pub new: u16,
    /// How they are moved.
    pub way: Way,
    /// What the program's end means, and whether it stays when the server goes.
    pub mode: WrapMode,
    /// The program's limit of descriptors: the one that the server was started with, before it raised its own. Many programs
    /// close all there could be, or cannot wait for one with a high number.
    pub files: u64,
    /// The directory that belongs to it, to be removed when nobody can need it any more.
    pub scratch: Option<PathBuf>,
    /// The program to run; `None`: only try whether binds can be moved by seccomp.
    pub program: Option<(PathBuf, Vec<OsString>)>,
}

impl Task {
    /// The words, without [`NAME`].
    pub fn words(&self) -> Vec<OsString> {
        let holders: Vec<String> = self.holders.iter().map(RawFd::to_string).collect();
        let way = match self.way {
            Way::Seccomp => "seccomp",
            Way::Preload => "preload",
            Way::Plain => "plain",
        };
        let mode = match self.mode {
            WrapMode::Exit => "exit",
            WrapMode::Ignore => "ignore",
            WrapMode::Respawn => "respawn",
        };
        let mut words: Vec<OsString> = vec![
            self.control.to_string().into(),
            holders.join(",").into(),
            self.old.to_string().into(),
            self.new.to_string().into(),
            way.into(),
            mode.into(),
            self.files.to_string().into(),
            self.scratch.clone().unwrap_or_default().into(),
        ];
        if let Some((program, arguments)) = &self.program {
            words.push(program.into());
            words.extend(arguments.iter().cloned());
        }
        words
    }

    /// Reads the words of a command line; `None` if they are not a warden's.
    pub fn parse(argv: &[OsString]) -> Option<Task> {
        let [name, control, holders, old, new, way, mode, files, scratch, rest @ ..] = argv else {
            return None;
        };
        let number = |word: &OsStr| word.to_str()?.parse().ok();
        let port = |word: &OsStr| word.to_str()?.parse().ok();
        let holders = holders.to_str()?.split(',').filter(|word| !word.is_empty());
        if name != NAME {
            return None;
        }
        Some(Task {
            control: number(control)?,
            holders: holders.map(|word| number(OsStr::new(word))).collect::<Option<_>>()?,
            old: port(old)?,
            new: port(new)?,
            way: match way.to_str()? {
                "seccomp" => Way::Seccomp,
                "preload" => Way::Preload,
                "plain" => Way::Plain,
                _ => return None,
            },
            mode: match mode.to_str()? {
                "exit" => WrapMode::Exit,
                "ignore" => WrapMode::Ignore,
                "respawn" => WrapMode::Respawn,
                _ => return None,
            },
            files: files.to_str()?.parse().ok()?,
            scratch: (!scratch.is_empty()).then(|| scratch.into()),
            program: rest.split_first().map(|(program, words)| (program.into(), words.to_vec())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_written_are_read_the_same() {
        let run = Task {
            control: 5,
            holders: vec![6, 7],
            old: 5901,
            new: 40_000,
            way: Way::Seccomp,
            mode: WrapMode::Ignore,
            files: 1024,
            scratch: None,
            program: Some(("/bin/sh".into(), vec!["sh".into(), "-c".into(), "".into()])),
        };
        let other = Task {
            holders: Vec::new(),
            way: Way::Preload,
            mode: WrapMode::Respawn,
            scratch: Some("/run/a".into()),
            ..run.clone()
        };
        let trial = Task { way: Way::Plain, mode: WrapMode::Exit, program: None, ..run.clone() };
        for task in [run, other, trial] {
            let argv: Vec<_> = std::iter::once(NAME.into()).chain(task.words()).collect();
            assert_eq!(Task::parse(&argv), Some(task));
            assert_eq!(Task::parse(&argv[1..]), None);
            assert_eq!(Task::parse(&argv[..5]), None);
        }
        let argv = ["websplice", "5", "", "1", "2", "plain", "exit", "9", ""].map(OsString::from);
        assert_eq!(Task::parse(&argv), None, "a command line of the server");
    }
}
