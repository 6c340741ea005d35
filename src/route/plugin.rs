//! Plugins: processes that are asked about requests, as they are named on a command line.
//!
//! A name with a dot is a Python class, `exec:COMMAND` a command of the shell. Owns how they are named; what they are
//! asked and how they are kept running is `crate::plugin`'s. Pure.

use std::ffi::OsString;
use std::fmt;

/// A process that is asked.
#[derive(Clone, PartialEq, Eq)]
pub struct Plugin {
    /// What runs.
    pub program: Program,
    /// What it is told about itself: often the name of a file, and often a secret. Never shown.
    pub source: Option<Box<str>>,
}

/// What runs as a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// A class, such as `desks.Lookup`, loaded by this Python.
    Python {
        /// The program, looked for in `PATH`.
        python: OsString,
        /// Module and class, separated by the last dot.
        class: Box<str>,
    },
    /// A command for `/bin/sh`.
    Shell(Box<str>),
}

/// What begins the name of a command.
const COMMAND: &str = "exec:";

impl Plugin {
    /// The plugin that `name` stands for; `None` where it is the name of something built in.
    pub fn parse(name: &str, source: Option<&str>, python: &OsString) -> Option<Plugin> {
        let program = match name.strip_prefix(COMMAND) {
            Some(command) => Program::Shell(command.trim().into()),
            None if name.contains('.') => Program::Python { python: python.clone(), class: name.into() },
            None => return None,
        };
        Some(Plugin { program, source: source.map(Into::into) })
    }

    /// What is wrong with the way it is named.
    ///
    /// # Errors
    /// One line that says it.
    pub fn check(&self) -> Result<(), String> {
        let is_word = |word: &str| {
            let mut letters = word.chars();
            letters.next().is_some_and(|c| c.is_alphabetic() || c == '_')
                && letters.all(|c| c.is_alphanumeric() || c == '_')
        };
        match &self.program {
            Program::Shell(command) if command.is_empty() => {
                Err("exec: names no command; write one behind it".into())
            }
            Program::Python { class, .. } if !class.split('.').all(is_word) => {
                Err(format!("'{}' is no Python class; write module.Class", class.escape_debug()))
            }
            Program::Shell(_) | Program::Python { .. } => Ok(()),
        }
    }

    /// How it is called in messages.
    pub fn name(&self) -> &str {
        match &self.program {
            Program::Python { class, .. } => class,
            Program::Shell(command) => command,
        }
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plugin({:?})", self.program)
    }
}
