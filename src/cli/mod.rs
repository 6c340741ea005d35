//! The command line: what was typed, what it means, and everything the program says about itself.
//!
//! One constant table of options (`table`) feeds the parser, both helps, the man page and the completions of three shells.
//! Arguments have two levels: [`parse()`] gives typed [`Args`] and touches nothing; [`settle()`] turns them into a
//! [`Config`] and may look at the file system. Nothing here starts a server or prints:
//! [`dispatch`] says what to print and with which status to exit.

mod access;
mod apart;
mod args;
pub mod banner;
mod complete;
mod guards;
mod help;
mod man;
mod names;
mod option;
mod parse;
mod process;
mod route;
mod secrets;
mod secure;
mod settle;
mod source_file;
mod table;
mod tap;
mod values;
mod wrap;

pub use access::judge as judge_target;
pub use args::{Args, Command, Document, Options, SecretWord, UsageError, WebRoot};
pub use option::{Act, Category, Complete, Opt, Refusal, Value};
pub use parse::parse;
pub use secrets::secrets;
pub use settle::{StartError, settle};
pub use table::TABLE;

use crate::config::Config;
use crate::observe::log::one_line;
use std::ffi::OsString;

/// Exit status of a server that could not start or failed.
pub const EXIT_FAILURE: u8 = 1;
/// Exit status of a command line that makes no sense.
pub const EXIT_USAGE: u8 = 2;

/// Exit status of `--check` where something is wrong (EX_CONFIG of sysexits.h).
pub const EXIT_CONFIG: u8 = 78;

/// What a command line comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// A server to run.
    Run(Box<Config>),
    /// Something to print, and then to exit.
    Exit(Answer),
}

/// Last words of a process that serves nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// For standard output, final line end included; may be empty.
    pub out: String,
    /// For standard error, final line end included; may be empty.
    pub err: String,
    /// Exit status.
    pub status: u8,
}

/// Reads a command line and answers it, as far as that can be done without serving.
pub fn dispatch(argv: impl IntoIterator<Item = OsString>) -> Outcome {
    let argv: Vec<OsString> = argv.into_iter().collect();
    let program = parse::program(argv.first());
    let checks = asks_for_check(&argv);
    let command = match parse(argv) {
        Ok(command) => command,
        Err(mut error) => {
            // The one complaint about options that needs a look at the system, and so comes behind those about words.
            if let Some(first) = settle::uncertified(&error.needs_certificates) {
                error.message = first;
            }
            if checks {
                return refuted(&program, &error.message);
            }
            return Outcome::Exit(Answer {
                err: format!("{error}\n"),
                status: EXIT_USAGE,
                ..Answer::default()
            });
        }
    };
    let out = match command {
        Command::Run(args) => {
            return match settle(&args) {
                Ok(config) => Outcome::Run(Box::new(config)),
                Err(error) if checks => refuted(&program, &error.message),
                Err(error) => Outcome::Exit(Answer {
                    err: format!("{error}\n"),
                    status: if error.usage { EXIT_USAGE } else { EXIT_FAILURE },
                    ..Answer::default()
                }),
            };
        }
        Command::Help { long: false } => help::short(&program),
        Command::Help { long: true } => help::long(&program),
        Command::Version => format!("{}\n", version()),
        Command::Generate(document) => generate(document),
    };
    Outcome::Exit(Answer { out, ..Answer::default() })
}

/// Whether a command line that may make no sense asks for `--check`, in any of its spellings.
fn asks_for_check(argv: &[OsString]) -> bool {
    let words = argv.iter().skip(1).map_while(|word| word.to_str().filter(|word| *word != "--"));
    words
        .filter_map(|word| word.strip_prefix("--"))
        .any(|name| names::long(name).is_ok_and(|opt| opt.long == "check"))
}

/// What `--check` says of a command line that would not start.
fn refuted(program: &str, message: &str) -> Outcome {
    Outcome::Exit(Answer {
        err: format!("{program}: {}\n", one_line(message)),
        status: EXIT_CONFIG,
        ..Answer::default()
    })
}

/// Name, version and commit: `websplice 0.1.0 (1a2b3c4)`. The commit is absent if it was not known when building.
pub fn version() -> String {
    let name = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"));
    match option_env!("WEBSPLICE_COMMIT") {
        Some(commit) if !commit.is_empty() => format!("{name} ({commit})"),
        _ => name.to_owned(),
    }
}

/// The text of a document made from the option table; the same for every build of a version.
pub fn generate(document: Document) -> String {
    match document {
        Document::Man => man::page(),
        Document::Bash => complete::bash(),
        Document::Zsh => complete::zsh(),
        Document::Fish => complete::fish(),
    }
}
