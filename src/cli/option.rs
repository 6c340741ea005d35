//! The shape of an option: every facet it has, in one row.
//!
//! Parser, both helps, man page and three completions walk the same rows, so that an option cannot exist without being
//! documented, nor be documented without existing. The rows themselves are in `table`.

use super::args::{Command, Options};
use std::ffi::OsStr;

/// One option.
#[derive(Debug)]
pub struct Opt {
    /// Long name, without dashes.
    pub long: &'static str,
    /// Short name.
    pub short: Option<char>,
    /// Where it stands in the documents.
    pub category: Category,
    /// One line, at most 48 characters, no full stop.
    pub brief: &'static str,
    /// Everything there is to know, in paragraphs separated by an empty line; the example stands behind it.
    pub detail: &'static str,
    /// The default as it would be written, or an explanation in parentheses; empty for a switch that is off.
    pub default: &'static str,
    /// A command line that uses it, without the program's name; a test parses each of them.
    pub example: &'static str,
    /// What it does.
    pub act: Act,
}

/// What an option does when it is met.
#[derive(Debug)]
pub enum Act {
    /// Takes no value and updates the options.
    Switch(fn(&mut Options)),
    /// May be followed by `=` and this word, never by a word of its own; is told whether it was.
    Maybe(&'static str, fn(&mut Options, bool)),
    /// Takes a value and updates the options.
    Take(Value, fn(&mut Options, &OsStr) -> Result<(), Refusal>),
    /// Takes no value and ends parsing; is told whether it was written by its long name.
    Ask(fn(bool) -> Command),
    /// Takes a value and ends parsing.
    AskFor(Value, fn(&OsStr) -> Command),
}

/// The value of an option.
#[derive(Debug)]
pub struct Value {
    /// What it is called in the documents.
    pub word: &'static str,
    /// The only values there are; empty if it is free. The parser checks them before the option sees the value.
    pub choices: &'static [&'static str],
    /// What a shell offers for it.
    pub complete: Complete,
    /// May the option be given several times, each adding to the others? Otherwise the last one counts.
    pub repeats: bool,
}

/// What a shell offers for a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Complete {
    /// The choices, or nothing if the value is free.
    Choices,
    /// Files.
    Files,
    /// Directories.
    Directories,
}

/// Why an option refuses its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The value is no such thing: `option --heartbeat: invalid duration value: 'x'`, and a hint in parentheses.
    Invalid {
        /// What it should have been.
        kind: &'static str,
        /// How to write one.
        hint: String,
    },
    /// The whole message, where websockify has its own.
    Message(String),
}

/// A group of options in the documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// Where clients come in.
    Listening,
    /// Where they are carried.
    Target,
    /// WebSocket and messages.
    WebSocket,
    /// TLS on both sides.
    Tls,
    /// Who may pass, and where to.
    Access,
    /// Static files.
    Files,
    /// Recordings and letters.
    Watching,
    /// Deadlines.
    Timing,
    /// Threads, memory, engine.
    Resources,
    /// The process, and where it tells what it does.
    Program,
    /// What is answered without serving.
    Help,
}

impl Category {
    /// All of them, in the order of the documents.
    pub const ALL: [Category; 11] = [
        Category::Listening,
        Category::Target,
        Category::Files,
        Category::Tls,
        Category::Access,
        Category::WebSocket,
        Category::Timing,
        Category::Program,
        Category::Watching,
        Category::Resources,
        Category::Help,
    ];

    /// A row of this group without a short name.
    pub(super) const fn row(
        self,
        long: &'static str,
        brief: &'static str,
        detail: &'static str,
        default: &'static str,
        example: &'static str,
        act: Act,
    ) -> Opt {
        Opt { long, short: None, category: self, brief, detail, default, example, act }
    }

    /// Its heading.
    pub fn heading(self) -> &'static str {
        match self {
            Category::Listening => "Listening for clients",
            Category::Target => "Target",
            Category::WebSocket => "WebSocket and HTTP",
            Category::Tls => "TLS",
            Category::Access => "Tokens and authentication",
            Category::Files => "Web pages",
            Category::Watching => "Recording",
            Category::Timing => "Timeouts",
            Category::Resources => "Resources",
            Category::Program => "Process and logs",
            Category::Help => "Help",
        }
    }
}

impl Opt {
    /// Its value, if it takes one.
    pub fn value(&self) -> Option<&Value> {
        match &self.act {
            Act::Take(value, _) | Act::AskFor(value, _) => Some(value),
            Act::Switch(_) | Act::Maybe(..) | Act::Ask(_) => None,
        }
    }

    /// As the documents write it: `-v, --verbose`, `--web=DIR`.
    pub fn spelled(&self) -> String {
        let short = self.short.map(|short| format!("-{short}, ")).unwrap_or_default();
        let value = match (&self.act, self.value()) {
            (Act::Maybe(word, _), _) => format!("[={word}]"),
            (_, Some(value)) => format!("={}", value.word),
            (_, None) => String::new(),
        };
        format!("{short}--{}{value}", self.long)
    }
}
