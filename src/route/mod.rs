//! Route: whether a request may pass, and to which target.
//!
//! A request that wants a bridge, or a file that is guarded, takes [`Step`]s in one order, which [`Options::steps`] owns:
//! guards that need no target, the look-up of the token, guards that want to know the target. What can be judged from the
//! request alone is judged here, at once; what waits for a file, a service or a process is asked of helpers
//! (`route::lookup`). Owns the words of that conversation. It never waits and never opens anything.

pub mod form;
pub mod jwt;

pub mod leads;
pub mod lookup;
pub mod request;
pub mod source;
pub mod table;
pub mod token;
mod veiled;

use crate::http;
use crate::target::Target;
use request::Request;
use source::Source;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use token::{Place, Token, Veil};

/// How requests are routed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// Where targets come from; `None`: all go to the configured one.
    pub tokens: Option<Tokens>,
}

/// Tokens and the targets they stand for.
#[derive(Clone, Debug, PartialEq)]
pub struct Tokens {
    /// What knows them.
    pub source: Source,
    /// Where a request carries its token; the first place that has one counts.
    pub places: Vec<Place>,
    /// How long the answer of a service is kept; zero: not at all. Files are used as read until they change.
    pub cache: Duration,
    /// How long one look-up may take, the wait for its turn included. Not zero.
    pub timeout: Duration,
    /// The key of what is shown in place of tokens.
    pub veil: Veil,
}

impl Tokens {
    /// A request target as it may be logged: without what could be a token.
    pub fn veiled<'a>(&self, target: &'a str) -> Cow<'a, str> {
        veiled::veiled(target, &self.places, &self.veil)
    }
}

/// One step of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Have the token looked up.
    Lookup,
}

/// What a helper is asked about one request.
#[derive(Debug)]
pub struct Question {
    /// The step that is taken.
    pub step: Step,
    /// The request.
    pub request: Arc<Request>,
    /// Its token; there is one if the step is to look it up.
    pub token: Option<Token>,
    /// The target, once it is known.
    pub target: Option<Arc<Target>>,
}

/// What a helper answers: the step is taken, or the request is refused.
pub type Answer = Result<Pass, http::Refusal>;

/// What a step that was taken brings to the session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pass {
    /// The target.
    pub target: Option<Arc<Target>>,
}

impl Options {
    /// The steps of a request that wants a bridge, or of one that wants a file.
    pub fn steps(&self, wants_bridge: bool) -> impl Iterator<Item = Step> {
        (wants_bridge && self.tokens.is_some()).then_some(Step::Lookup).into_iter()
    }
}
