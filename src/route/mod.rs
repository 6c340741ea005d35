//! Route: whether a request may pass, and to which target.
//!
//! A request that wants a bridge, or a file that is guarded, takes [`Step`]s in one order, which [`Options::steps`] owns:
//! guards that need no target, the look-up of the token, guards that want to know the target, and whether that may be
//! connected to. What can be judged from the request alone is judged here, at once; what waits for a file, a service or a
//! process is asked of helpers (`route::lookup`). Owns the words of that conversation. It never waits and never opens
//! anything.

pub mod authority;
mod equal;
pub mod form;
pub mod guard;
pub mod jwt;
pub mod leads;
pub mod lookup;
pub mod plugin;
pub mod reach;
pub mod redact;
pub mod request;
pub mod source;
pub mod table;
pub mod token;
mod veiled;

use crate::framing::Framing;
use crate::http::{self, refusal::Header};
use crate::limits::{
    FORWARD_MS, NAME_TIMEOUT_MS, PASSWORD_MS, PLUGIN_ANSWER_MS, ROUTE_SPARE_MS, ROUTE_TIMEOUT_MS,
};
use crate::target::Target;
use guard::Guard;
use reach::Reach;
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
    /// Who else has to let a request pass; all of them must.
    pub guards: Vec<Guard>,
    /// Whether files are guarded too.
    pub guard_files: bool,
    /// Which targets may be connected to.
    pub reach: Reach,
    /// The key of what is shown in place of tokens.
    pub veil: Veil,
}

/// Tokens and the targets they stand for.
#[derive(Clone, Debug, PartialEq)]
pub struct Tokens {
    /// What knows them.
    pub source: Source,
    /// The option that names the source, for messages.
    pub option: &'static str,
    /// Where a request carries its token; the first place that has one counts.
    pub places: Vec<Place>,
    /// How long the answer of a service is kept; zero: not at all. Files are used as read until they change.
    pub cache: Duration,
    /// How long one look-up may take, the wait for its turn included. Not zero.
    pub timeout: Duration,
}

/// One step of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Have the token looked up.
    Lookup,
    /// Have this one of [`Options::guards`] let the request pass.
    Guard(usize),
    /// Find out where the target really is, and whether it may be connected to.
    Reach,
}

/// What a helper is asked about one request.
#[derive(Debug)]
pub struct Question {
    /// The step that is taken.
    pub step: Step,
    /// The request.
    pub request: Arc<Request>,
    /// Its token, if it has one; it has if the step is to look it up.
    pub token: Option<Token>,
    /// The target, once it is known.
    pub target: Option<Arc<Target>>,
    /// How long its session waits from now on, for this step and those behind it. Then nobody hears an answer any more.
    pub budget: Duration,
}

/// What a helper answers: the step is taken, or the request is refused.
pub type Answer = Result<Pass, http::Refusal>;

/// What a step that was taken brings to the session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pass {
    /// The target.
    pub target: Option<Arc<Target>>,
    /// How what the target sends becomes messages; `None`: as it comes.
    pub framing: Option<Framing>,
    /// The sub-protocol to answer with; one that the client offered.
    pub subprotocol: Option<Box<str>>,
    /// Headers of the 101.
    pub headers: Vec<Header>,
    /// What is to be logged with the session: names and values.
    pub labels: Vec<Label>,
}

/// Name and value of something that is logged with a session.
pub type Label = (Box<str>, Box<str>);

impl Options {
    /// A request target as it may be logged: without what could be a token and, where tokens or guards decide who passes,
    /// without any value of the query.
    pub fn veiled<'a>(&self, target: &'a str) -> Cow<'a, str> {
        let places = self.tokens.as_ref().map_or(&[][..], |tokens| &tokens.places);
        let strict = self.tokens.is_some() || !self.guards.is_empty();
        veiled::veiled(target, veiled::Rule { places, strict }, &self.veil)
    }

    /// How long all steps of a request may take together: each that waits has its own time, and there is some between them.
    pub fn time(&self) -> Duration {
        let own = |step| match step {
            Step::Lookup => self.tokens.as_ref().map_or(Duration::ZERO, |tokens| tokens.timeout),
            Step::Guard(number) => self.guards.get(number).map_or(Duration::ZERO, |guard| match guard {
                Guard::Plugin(_) => Duration::from_millis(PLUGIN_ANSWER_MS),
                Guard::Forward(_) => Duration::from_millis(FORWARD_MS),
                Guard::Htpasswd(_) => Duration::from_millis(PASSWORD_MS),
                Guard::Basic(_) | Guard::ExpectOrigin(_) | Guard::SameOrigin | Guard::ClientCertCn(_) => {
                    Duration::ZERO
                }
            }),
            Step::Reach => Duration::from_millis(NAME_TIMEOUT_MS),
        };
        // A request for a file takes some of the same guards.
        let all: Duration = self.steps(true).map(own).sum();
        Duration::from_millis(ROUTE_TIMEOUT_MS).max(all + Duration::from_millis(ROUTE_SPARE_MS))
    }

    /// The steps of a request that wants a bridge, or of one that wants a file, in their order: guards that need no target,
    /// so that nobody learns anything from a look-up who may not pass; the look-up of the token; guards that want to know
    /// the target, which may name another one; whether it may be connected to.
    pub fn steps(&self, wants_bridge: bool) -> impl Iterator<Item = Step> {
        let guards = move |late: bool| {
            let guards = self.guards.iter().enumerate().filter(move |(_, guard)| {
                guard.wants_target() == late && (wants_bridge || (self.guard_files && guard.guards_files()))
            });
            guards.map(|(number, _)| Step::Guard(number))
        };
        let lookup = (wants_bridge && self.tokens.is_some()).then_some(Step::Lookup);
        let reach = (wants_bridge && !self.reach.is_open()).then_some(Step::Reach);
        guards(false).chain(lookup).chain(guards(true)).chain(reach)
    }
}

impl Pass {
    /// Adds what a later step brought; of what can be only once, the later one counts.
    pub fn add(&mut self, later: Pass) {
        self.target = later.target.or(self.target.take());
        self.framing = later.framing.or(self.framing.take());
        self.subprotocol = later.subprotocol.or(self.subprotocol.take());
        self.headers.extend(later.headers);
        self.labels.extend(later.labels);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_can_be_said_once_the_later_word_counts() {
        let says = |framing| Pass { framing, ..Pass::default() };
        let mut pass = says(Some(Framing::Text));
        pass.add(says(None));
        assert_eq!(pass.framing, Some(Framing::Text));
        pass.add(says(Some(Framing::Binary)));
        assert_eq!(pass.framing, Some(Framing::Binary));
    }

    #[test]
    fn where_a_target_leads_is_judged_last() {
        let plugin = plugin::Plugin { program: plugin::Program::Shell("true".into()), source: None };
        let mut options =
            Options { guards: vec![Guard::SameOrigin, Guard::Plugin(plugin)], ..Options::default() };
        let steps = |options: &Options, wants_bridge| options.steps(wants_bridge).collect::<Vec<_>>();
        assert_eq!(steps(&options, true), [Step::Guard(0), Step::Guard(1)]);
        options.reach.deny = vec![reach::Rule::Abstract(Vec::new())];
        assert_eq!(
            steps(&options, true),
            [Step::Guard(0), Step::Guard(1), Step::Reach],
            "plugins may say where to"
        );
        assert_eq!(steps(&options, false), []);
    }

    #[test]
    fn a_route_has_time_for_each_of_its_steps() {
        let tokens = |seconds| Tokens {
            source: Source::TokenFileName("/x".into()),
            option: "--token-source",
            places: vec![Place::Query],
            cache: Duration::ZERO,
            timeout: Duration::from_secs(seconds),
        };
        let forward = || Guard::built_in("ForwardAuth", Some("http://h/")).unwrap().unwrap();
        let plugin = || {
            let program = plugin::Program::Shell("true".into());
            Guard::Plugin(plugin::Plugin { program, source: None })
        };
        let usual = Duration::from_millis(ROUTE_TIMEOUT_MS);
        let time = |tokens, guards| Options { tokens, guards, ..Options::default() }.time();
        assert_eq!(time(None, vec![]), usual);
        assert_eq!(time(Some(tokens(2)), vec![]), usual);
        assert!(time(Some(tokens(60)), vec![]) > Duration::from_secs(60));
        assert_eq!(time(None, vec![Guard::SameOrigin; 16]), usual);
        let each = Duration::from_millis(FORWARD_MS + PLUGIN_ANSWER_MS + PASSWORD_MS);
        let guards = vec![forward(), plugin(), Guard::Htpasswd("/x".into())];
        assert!(time(Some(tokens(60)), guards) > each + Duration::from_secs(60));
    }
}
