//! Look-ups: the helpers that take the steps of a route which wait for something.
//!
//! Owns the crews, one for each kind of waiting. It never touches a session; an answer goes where the question came from.

use super::token::{Source, Token};
use super::{Answer, Options, Pass, Question, Step};
use crate::crew::Crew;
use crate::http::Refusal;
use crate::limits::{HELPER_QUEUE_MAX, HELPER_THREADS};
use crate::session::job::Verdict;
use crate::target::Target;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Takes a verdict to where it is waited for.
type Reply = Box<dyn FnOnce(Verdict) + Send>;

/// The way to those who take steps; cheap to clone.
#[derive(Clone, Debug)]
pub struct Routes {
    tokens: Option<Crew<(Question, Reply)>>,
}

impl Routes {
    /// Starts what `options` need.
    ///
    /// # Errors
    /// When a source is of no use or a thread cannot be started.
    pub fn start(options: &Options) -> io::Result<Routes> {
        let Some(tokens) = options.tokens.clone() else { return Ok(Routes { tokens: None }) };
        let work = move |(question, reply): (Question, Reply)| {
            reply(Verdict::Routed(answer(&question, &tokens.source)));
        };
        Ok(Routes { tokens: Some(Crew::start("tokens", HELPER_THREADS, HELPER_QUEUE_MAX, work)?) })
    }

    /// Has a step taken; [`Verdict::Busy`] when too many questions wait.
    pub fn ask(&self, question: Question, reply: Reply) {
        let crew = match question.step {
            Step::Lookup => &self.tokens,
            Step::Guard(_) => &None,
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
