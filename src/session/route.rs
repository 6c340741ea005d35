//! Routing: a request that somebody else has to say something about takes its steps, one after the other.
//!
//! Owns what waits meanwhile: what the request wants, and the bytes behind it. Nothing is received until it is decided,
//! one deadline covers all steps, and whoever is asked is never waited for longer than that. Which steps there are, and
//! in which order, is `route`'s to say.

use super::answer::{Answer, Page};
use super::core::Told;
use super::job::{Job, Verdict};
use super::opening::{Opening, refuse};
use super::reach::{self, Known};
use super::{Core, Cx, End, Input, Next, Operation, Phase};
use crate::http::{After, Refusal};
use crate::pool::Lease;
use crate::route::guard::FORBIDDEN;
use crate::route::request::Request;
use crate::route::token::Token;
use crate::route::{Label, Pass, Question, Step, redact, token};
use crate::target::Target;
use crate::timers::Time;
use crate::web::Fetch;
use std::sync::Arc;

/// What a request wants.
#[derive(Debug)]
pub(super) enum Wish {
    /// A bridge.
    Bridge(Opening),
    /// A file.
    File(Box<Fetch>, After),
}

/// A request on its way through its steps.
#[derive(Debug)]
pub(super) struct Route {
    wish: Wish,
    request: Arc<Request>,
    /// Its token, where tokens lead to targets.
    token: Option<Token>,
    /// Method and request target, for the log.
    line: Box<str>,
    /// Requests answered on this connection before this one.
    answered: u32,
    /// Bytes behind the request.
    rest: Option<Lease>,
    /// Steps that are taken.
    taken: usize,
    /// What they brought.
    passed: Pass,
    /// When all of them must be taken.
    until: Time,
}

impl Route {
    /// Takes the first step, and as many as need nobody else.
    pub fn begin(
        wish: Wish,
        request: Request,
        line: Box<str>,
        answered: u32,
        rest: Option<Lease>,
        core: &mut Core,
        cx: &mut Cx<'_>,
    ) -> Next {
        let Some(rest) = rest.map_or(Some(None), |rest| rest.kept_to_hold().map(Some)) else {
            return refuse(&Refusal::BUSY, &*request.method == "HEAD", &line, core, cx);
        };
        let tokens = cx.config.route.tokens.as_ref().filter(|_| matches!(wish, Wish::Bridge(_)));
        let Ok(token) = tokens.map_or(Ok(None), |tokens| token::find(&request, &tokens.places)) else {
            return refuse(&Refusal::UNCLEAR_TOKEN, &*request.method == "HEAD", &line, core, cx);
        };
        core.token = token.as_ref().map(|token| cx.config.route.veil.mark(token.secret()));
        let until = cx.now + cx.config.timing.route;
        let mut route = Box::new(Route {
            wish,
            request: Arc::new(request),
            token,
            line,
            answered,
            rest,
            taken: 0,
            passed: Pass::default(),
            until,
        });
        core.arm(until, cx);
        match route.advance(core, cx) {
            Next::Stay => Next::Go(Phase::Route(route)),
            next => next,
        }
    }

    #[inline(never)]
    pub fn handle(&mut self, core: &mut Core, input: Input, cx: &mut Cx<'_>) -> Next {
        match input {
            Input::Verdict(Verdict::Routed(Ok(pass))) => self.take(pass, core, cx),
            Input::Verdict(Verdict::Routed(Err(refusal))) => self.refuse(&refusal, core, cx),
            Input::Verdict(Verdict::Addresses(answer)) => {
                let target = self.target(cx);
                let known = target.map(|target| reach::resolved(&target, answer, &cx.config.route.reach));
                self.reach(known, core, cx)
            }
            Input::Verdict(Verdict::Held(answer)) => {
                let target = self.target(cx);
                let known = target.map(|target| reach::held(&target, answer, &cx.config.route.reach));
                self.reach(known, core, cx)
            }
            Input::Verdict(Verdict::Busy) | Input::Stop => self.refuse(&Refusal::BUSY, core, cx),
            Input::Expired => self.refuse(&Refusal::NOT_DECIDED, core, cx),
            // Behind TLS the end can come in one receive with the request.
            Input::Failed(_, Operation::Receive, _) => Next::Leave(End::ClientReset),
            _ => Next::Stay,
        }
    }

    /// A step is taken: keeps what it brought and goes on.
    fn take(&mut self, pass: Pass, core: &mut Core, cx: &mut Cx<'_>) -> Next {
        self.passed.add(pass);
        self.taken += 1;
        self.advance(core, cx)
    }

    /// Takes steps until somebody else has to say something, and passes the request on when all are taken.
    fn advance(&mut self, core: &mut Core, cx: &mut Cx<'_>) -> Next {
        let options = &cx.config.route;
        let wants_bridge = matches!(self.wish, Wish::Bridge(_));
        loop {
            let Some(step) = options.steps(wants_bridge).nth(self.taken) else { return self.pass(core, cx) };
            let judged = match step {
                Step::Guard(number) => {
                    options.guards.get(number).and_then(|guard| guard.judge(&self.request))
                }
                Step::Lookup => None,
                Step::Reach => {
                    let known = self.target(cx).map(|target| reach::look(&target, &options.reach));
                    return self.reach(known, core, cx);
                }
            };
            match judged {
                Some(Ok(())) => self.taken += 1,
                Some(Err(refusal)) => return self.refuse(&refusal, core, cx),
                None => return self.ask(step, core, cx),
            }
        }
    }

    /// Where the request leads, as far as that is known.
    fn target(&self, cx: &Cx<'_>) -> Option<Arc<Target>> {
        self.passed.target.clone().or_else(|| cx.config.target.clone().map(Arc::new))
    }

    /// Goes on with what is known of where the target really is; without any target there is nothing to know.
    fn reach(&mut self, known: Option<Known>, core: &mut Core, cx: &mut Cx<'_>) -> Next {
        match known {
            None => self.take(Pass::default(), core, cx),
            Some(Known::Open(target)) => {
                self.take(Pass { target: Some(target), ..Pass::default() }, core, cx)
            }
            Some(Known::Ask(job)) => {
                core.ask(job, cx);
                Next::Stay
            }
            Some(Known::Barred(barred, place)) => {
                cx.counters.targets_refused += 1;
                self.bar(&FORBIDDEN, format!("{} refuses {place}", barred.option()), core, cx)
            }
            Some(Known::Lost(why)) => self.bar(&Refusal::UNREACHED, why, core, cx),
        }
    }

    /// Refuses a request for where it leads; `why` is for the operator.
    fn bar(&mut self, refusal: &Refusal, why: String, core: &mut Core, cx: &mut Cx<'_>) -> Next {
        let labels = std::mem::take(&mut self.passed.labels);
        core.told = self.told(self.target(cx).as_deref(), labels, core);
        core.detail = Some(why.into());
        self.refuse(refusal, core, cx)
    }

    /// Has a helper take a step.
    fn ask(&self, step: Step, core: &mut Core, cx: &mut Cx<'_>) -> Next {
        if step == Step::Lookup && self.token.is_none() {
            return self.refuse(&Refusal::NO_TOKEN, core, cx);
        }
        // Guards are told of the configured one for files too, as plugins of websockify are.
        let target = if step == Step::Lookup { self.passed.target.clone() } else { self.target(cx) };
        let (request, token) = (self.request.clone(), self.token.clone());
        let budget = self.until.since(cx.now);
        core.ask(Job::Route(Box::new(Question { step, request, token, target, budget })), cx);
        Next::Stay
    }

    fn pass(&mut self, core: &mut Core, cx: &mut Cx<'_>) -> Next {
        let Pass { target, framing, subprotocol, headers, labels } = std::mem::take(&mut self.passed);
        core.told = self.told(target.as_deref(), labels, core);
        core.target = target;
        let (answered, rest) = (self.answered, self.rest.take());
        match &mut self.wish {
            Wish::Bridge(opening) => {
                opening.add(subprotocol, headers, framing);
                opening.open(rest, core, cx)
            }
            Wish::File(fetch, after) => {
                let line = std::mem::take(&mut self.line);
                let page = Page { fetch: std::mem::take(fetch), headers, after: *after };
                Answer::begin(page, line, answered, rest, core, cx)
            }
        }
    }

    /// What is told of the session, and what is needed for telling it without the token. That is the one place where it is
    /// seen to that no target shows a token, whoever said where it leads.
    fn told(&self, target: Option<&Target>, mut labels: Vec<Label>, core: &Core) -> Option<Box<Told>> {
        let Some((token, mark)) = self.token.as_ref().zip(core.token) else { return Told::of(labels, None) };
        let redacted = |text: &str| redact::redacted(text, token.secret(), &mark.to_string()).into_owned();
        for (name, value) in &mut labels {
            (*name, *value) = (redacted(name).into(), redacted(value).into());
        }
        let shows = target.map(Target::to_string).is_some_and(|target| redacted(&target) != target);
        Told::of(labels, shows.then(|| token.clone()))
    }

    fn refuse(&self, refusal: &Refusal, core: &mut Core, cx: &mut Cx<'_>) -> Next {
        refuse(refusal, &*self.request.method == "HEAD", &self.line, core, cx)
    }
}
