//! `--check`: everything that can be found out about a configuration without serving, in the order of a start and by its own
//! predicates. Nothing is made or removed, and no port of the configuration is bound: it may well be taken by the server
//! that the next start takes the place of. What a start would only warn of counts as wrong where it is said of the
//! configuration, and is but a warning where it is said of the system: a service may be granted what this shell is not.

use super::means::Means;
use super::{LIBSERVER, engines, opened};
use crate::cli::{EXIT_CONFIG, judge_target};
use crate::config::{Config, Listen};
use crate::helpers::Helpers;
use crate::observe::log::{Level, Log, one_line, say};
use crate::sys::memory;
use crate::tls::material;
use crate::wrap::Plan;
use std::io::Write as _;

/// Checks `config`, says what came of it, and returns the exit status.
pub fn run(config: &Config) -> u8 {
    match check(config) {
        Ok(()) => {
            // A reader that has gone wants to know nothing.
            let _ = writeln!(std::io::stdout(), "configuration ok");
            0
        }
        Err(message) => {
            say(&format!("{}: {}", config.program, one_line(&message)));
            EXIT_CONFIG
        }
    }
}

fn check(config: &Config) -> Result<(), String> {
    let files = memory::descriptors().map_err(|error| format!("descriptor limit: {error}"))?;
    let (shelf, left_out) = opened::check(config)?;
    let means = Means::find(config)?;
    let (_, notice) = engines::choose(config.engine)?;
    let unused = material::unused(&config.tls);
    let warnings = shelf.map(|shelf| shelf.current().warnings.clone()).unwrap_or_default();
    let (log, said) = Log::kept(Level::Warn);
    if let Some(wrap) = &config.wrap {
        // Which port the kernel would choose for 0 makes no difference to whether one can be had.
        let port = match config.listen {
            Listen::Tcp { port, .. } => Some(port.max(1)),
            Listen::Unix { .. } | Listen::Inherited => None,
        };
        let socket = Plan::check(wrap, port.unwrap_or(0), config.target.as_ref(), files, &log)?;
        socket.map_or(Ok(()), |socket| judge_target(&config.route.reach, &socket))?;
    }
    let helpers = Helpers::start(config, &log).map_err(|error| error.to_string())?;
    helpers.stop();
    let notes = judged(std::iter::from_fn(|| said.pop()));
    let doubts = config.process.doubts.iter().cloned();
    warnings.into_iter().chain(unused).chain(doubts).map(Err).next().unwrap_or(Ok(()))?;
    let notes = notes?;
    let engine = notice.map(|notice| format!("--engine auto: {notice}; say --engine poll if that is meant"));
    let libserver = config
        .process
        .libserver
        .then(|| format!("--libserver: {}; leave it out", LIBSERVER.trim_start_matches("warning: ")));
    for warning in left_out.into_iter().chain(engine).chain(means.notice).chain(libserver).chain(notes) {
        say(&format!("{}: warning: {}", config.program, one_line(&warning)));
    }
    Ok(())
}

/// What came of a start by the lines it has logged: the first that says that something is wrong, or the others.
fn judged(lines: impl Iterator<Item = (Level, String)>) -> Result<Vec<String>, String> {
    lines.map(|(level, text)| if level <= Level::Warn { Err(text) } else { Ok(text) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_only_noted_is_not_wrong() {
        let lines = |levels: &[Level]| judged(levels.iter().map(|level| (*level, format!("{level:?}"))));
        assert_eq!(lines(&[Level::Info, Level::Info]), Ok(vec!["Info".into(), "Info".into()]));
        assert_eq!(lines(&[Level::Info, Level::Warn, Level::Error]), Err("Warn".into()));
        assert_eq!(lines(&[Level::Error]), Err("Error".into()));
    }
}
