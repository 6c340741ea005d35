//! Look-ups: the helpers that take the steps of a route which wait for something.
//!
//! Owns the crews, one for each kind of waiting. It never touches a session; an answer goes where the question came from.

mod forward;
mod guards;
mod passwords;
mod stamp;

use super::token::{Source, Token};
use super::{Answer, Options, Pass, Question, Step};
use crate::crew::Crew;
use crate::http::Refusal;
use crate::limits::{HELPER_QUEUE_MAX, HELPER_THREADS};
use crate::observe::log::Log;
use crate::plugin::Running;
use crate::session::job::Verdict;
use crate::target::Target;
use guards::Guards;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Takes a verdict to where it is waited for.
type Reply = Box<dyn FnOnce(Verdict) + Send>;

/// The way to those who take steps; cheap to clone.
#[derive(Clone, Debug)]
pub struct Routes {
    tokens: Option<Crew<(Question, Reply)>>,
    guards: Guards,
}

impl Routes {
    /// Starts what `options` need.
    ///
    /// # Errors
    /// When a source is of no use or a thread cannot be started.
    pub fn start(options: &Options, log: &Log) -> io::Result<Routes> {
        let guards = Guards::start(&options.guards, log)?;
        let Some(tokens) = options.tokens.clone() else { return Ok(Routes { tokens: None, guards }) };
        let work = move |(question, reply): (Question, Reply)| {
            reply(Verdict::Routed(answer(&question, &tokens.source)));
        };
        let tokens = Some(Crew::start("tokens", HELPER_THREADS, HELPER_QUEUE_MAX, work)?);
        Ok(Routes { tokens, guards })
    }

    /// Has every plugin replaced by a new process.
    pub fn renew(&self) {
        self.plugins().for_each(Running::renew);
    }

    /// Ends every plugin.
    pub fn stop(&self) {
        self.plugins().for_each(Running::stop);
    }

    fn plugins(&self) -> impl Iterator<Item = &Running> {
        self.guards.plugins()
    }

    /// Has a step taken; [`Verdict::Busy`] when too many questions wait.
    pub fn ask(&self, question: Question, reply: Reply) {
        let crew = match question.step {
            Step::Lookup => &self.tokens,
            Step::Guard(number) => return self.guards.ask(number, question, reply),
        };
        let refused = match crew {
            Some(crew) => crew.ask((question, reply)).err(),
            None => Some((question, reply)),
        };
        if let Some((_, reply)) = refused {
            reply(Verdict::Busy);
        }
    }
}

fn answer(question: &Question, source: &Source) -> Answer {
    let Some(token) = &question.token else { return Err(Refusal::NO_TOKEN) };
    let target = match source {
        Source::TokenFile(path) => in_file(path, token).map_err(|_| Refusal::INTERNAL)?,
    };
    let target = target.ok_or(Refusal::UNKNOWN_TOKEN)?;
    Ok(Pass { target: Some(Arc::new(target)), ..Pass::default() })
}

fn in_file(path: &Path, token: &Token) -> io::Result<Option<Target>> {
    let text = std::fs::read_to_string(path)?;
    let lines = text.lines().filter_map(|line| line.split_once(": "));
    let found = lines.rev().find(|(own, _)| own.trim() == token.secret());
    Ok(found.and_then(|(_, target)| Target::parse(target.trim()).ok()))
}
