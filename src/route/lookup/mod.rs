//! Look-ups: the helpers that take the steps of a route which wait for something.
//!
//! Owns the crews, one for each kind of waiting, and what they all have in common: how long a look-up may take, what a
//! client hears of trouble and what the operator hears. It never touches a session; an answer goes where the question
//! came from.

mod agent;
mod files;
mod flights;
mod forward;
mod guards;
mod http;
mod keys;
mod names;
mod passwords;
mod proxy;
mod redis;
mod stamp;
mod trouble;

use super::source::Source;
use super::token::{Place, Token};
use super::{Answer, Options, Pass, Question, Step, Tokens};
use crate::crew::{Crew, Standing};
use crate::http::Refusal;
use crate::limits::{
    HELPER_QUEUE_MAX, HTTP_THREADS, LOOKUP_QUEUE_MAX, LOOKUP_THREADS, REDIS_THREADS, TOKEN_LOOK_CHECK_MS,
    TOKEN_LOOK_START_MS,
};
use crate::names::Names;
use crate::observe::log::{Level, Log};
use crate::plugin::{Kind, Running};
use crate::session::job::{Reply, Verdict};
use crate::target::Target;
use flights::{Flights, Lookups};
use guards::Guards;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use trouble::{Trouble, Troubles};

/// What a source says of a token: what it leads to, that it is not known, or that the source is of no use just now.
type Found = Result<Option<Arc<Target>>, Trouble>;

/// A source of tokens as helpers use it.
trait Seek: Send + Sync {
    /// Looks a token up; waits no longer than until `wanted.until`.
    fn seek(&self, wanted: &Wanted) -> Found;

    /// Whether it is left in peace just now: nothing would be asked.
    fn rests(&self) -> bool {
        false
    }

    /// Looks whether the source is of any use yet, when the server starts. Says how far it came, if there was more to look at
    /// than could be until then.
    fn probe(&self, _until: Instant) -> Result<Option<String>, Trouble> {
        Ok(None)
    }
}

/// A token to be looked up.
struct Wanted {
    token: Token,
    /// The token is the name of a host, and compared as such.
    is_host: bool,
    /// When it is too late.
    until: Instant,
}

/// How sources are looked through when they are started with.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// For how long at most.
    pub time: Duration,
    /// Somebody asks for what comes of it, and so for how far it went.
    pub asked: bool,
}

impl Look {
    /// As a server starts: clients wait.
    pub const START: Look = Look { time: Duration::from_millis(TOKEN_LOOK_START_MS), asked: false };
    /// As somebody asks whether it would.
    pub const CHECK: Look = Look { time: Duration::from_millis(TOKEN_LOOK_CHECK_MS), asked: true };
}

/// The way to those who take steps; cheap to clone.
#[derive(Clone, Debug)]
pub struct Routes {
    tokens: Option<Way>,
    guards: Guards,
}

/// How a token gets to its source.
#[derive(Clone, Debug)]
enum Way {
    /// Each by itself: what lies on this machine is as it is now.
    Alone(Crew<(Wanted, Reply)>, Common),
    /// Together with others that ask for the same, and with what was answered before.
    Shared(Flights, Common),
    /// The same, to a process that is told the token alone; to one that is told the whole request, each by itself.
    Plugin(Lookups, Common),
}

/// What all questions of one source have in common.
#[derive(Clone, Copy, Debug)]
struct Common {
    is_host: bool,
    timeout: Duration,
}

impl Common {
    fn of(tokens: &Tokens) -> Common {
        Common { is_host: tokens.places.contains(&Place::Host), timeout: tokens.timeout }
    }

    /// When it is too late for a question. Beyond its session's time nobody would hear an answer.
    fn until(&self, question: &Question) -> Instant {
        Instant::now() + self.timeout.min(question.budget)
    }
}

impl Routes {
    /// Starts what `options` need. What is not there yet is only worth a warning: it may come later.
    ///
    /// # Errors
    /// When a thread cannot be started, and when a plugin, a password file, a proxy or the address of a service is of no use.
    pub fn start(options: &Options, log: &Log, names: &Names, look: Look) -> io::Result<Routes> {
        let tokens = options.tokens.as_ref().map(|tokens| Way::to(tokens, log, names, look)).transpose()?;
        Ok(Routes { tokens, guards: Guards::start(&options.guards, log, names)? })
    }

    /// Has every plugin replaced by a new process.
    pub fn renew(&self) {
        self.plugins().for_each(Running::renew);
        if let Some(Way::Plugin(lookups, _)) = &self.tokens {
            lookups.forget();
        }
    }

    /// Ends every plugin.
    pub fn stop(&self) {
        // All are told before one is waited for.
        self.plugins().for_each(Running::leave);
        self.plugins().for_each(Running::stop);
    }

    fn plugins(&self) -> impl Iterator<Item = &Running> {
        let tokens = match &self.tokens {
            Some(Way::Plugin(lookups, _)) => Some(lookups.plugin()),
            Some(Way::Alone(..) | Way::Shared(..)) | None => None,
        };
        tokens.into_iter().chain(self.guards.plugins())
    }

    /// Has a step taken; [`Verdict::Busy`] when too many questions wait.
    pub fn ask(&self, question: Question, reply: Reply) {
        match (question.step, &self.tokens) {
            (Step::Lookup, Some(way)) => way.go(question, reply),
            (Step::Lookup, None) => reply(Verdict::Busy),
            (Step::Guard(number), _) => self.guards.ask(number, question, reply),
            // A session takes it by itself, with those who know names and files.
            (Step::Reach, _) => reply(Verdict::Busy),
        }
    }
}

impl Way {
    fn to(tokens: &Tokens, log: &Log, names: &Names, look: Look) -> io::Result<Way> {
        let who = format!("tokens source={}", tokens.source.name());
        let troubles = Troubles::new(&who, tokens.option, log);
        let (seek, threads): (Arc<dyn Seek>, _) = match &tokens.source {
            Source::TokenFile { path, .. } => {
                (Arc::new(files::Files::new(path, troubles.clone())), LOOKUP_THREADS)
            }
            Source::TokenFileName(path) => {
                (Arc::new(names::Words::new(path, troubles.clone())), LOOKUP_THREADS)
            }
            Source::SocketDirectory(path) => {
                (Arc::new(names::Sockets::new(path, troubles.clone())), LOOKUP_THREADS)
            }
            Source::Jwt(path) => (Arc::new(keys::Keys::new(path, troubles.clone())), LOOKUP_THREADS),
            Source::Redis(redis) => {
                (Arc::new(redis::Redis::new(redis.clone(), names.clone())), REDIS_THREADS)
            }
            Source::Api(api) => {
                (Arc::new(http::Api::new(api.clone(), names.clone(), &troubles)?), HTTP_THREADS)
            }
            Source::Plugin(plugin) => {
                let running =
                    Running::start(plugin, Kind::Token, tokens.timeout, log).map_err(io::Error::other)?;
                return Ok(Way::Plugin(Lookups::new(running, tokens.cache), Common::of(tokens)));
            }
        };
        match seek.probe(Instant::now() + look.time) {
            Ok(Some(part)) if look.asked => troubles.answer(&part),
            Ok(Some(part)) => troubles.fault(Level::Debug, &part),
            Err(Trouble::Met(cause)) => {
                let until = "until then requests with tokens are refused with 503";
                troubles.fault(Level::Warn, &format!("{cause}; {until}"));
            }
            Ok(None) | Err(Trouble::Resting) => {}
        }
        let is_service = matches!(tokens.source, Source::Redis(_) | Source::Api(_));
        let common = Common::of(tokens);
        let (rester, counted) = (seek.clone(), troubles.clone());
        let settle = move |wanted: &Wanted| settle(&*seek, wanted, &troubles);
        Ok(if is_service {
            // Whoever comes during a rest needs no thread to be told so, and no lock is held for long on the way.
            let rests = move || {
                rester.rests() && {
                    counted.tell(&Trouble::Resting);
                    true
                }
            };
            Way::Shared(Flights::start(threads, LOOKUP_QUEUE_MAX, tokens.cache, rests, settle)?, common)
        } else {
            let work = move |(wanted, reply): (Wanted, Reply)| reply(Verdict::Routed(settle(&wanted)));
            Way::Alone(Crew::start("tokens", threads, HELPER_QUEUE_MAX, Standing::GivesWay, work)?, common)
        })
    }

    fn go(&self, question: Question, reply: Reply) {
        let token = match &question.token {
            None => return reply(Verdict::Routed(Err(Refusal::NO_TOKEN))),
            // What cannot be a token is not told apart from what is none.
            Some(token) if !token.is_plausible() => {
                return reply(Verdict::Routed(Err(Refusal::UNKNOWN_TOKEN)));
            }
            Some(token) => token.clone(),
        };
        let wanted = |common: &Common| Wanted {
            token: token.clone(),
            is_host: common.is_host,
            until: common.until(&question),
        };
        match self {
            Way::Alone(crew, common) => {
                if let Err((_, reply)) = crew.ask((wanted(common), reply)) {
                    reply(Verdict::Busy);
                }
            }
            Way::Shared(flights, common) => flights.ask(wanted(common), reply),
            Way::Plugin(lookups, common) => {
                let until = common.until(&question);
                lookups.ask(question, &token, until, reply);
            }
        }
    }
}

/// Has a token looked up, and says what its client hears. Whatever goes wrong, there is an answer.
fn settle(seek: &dyn Seek, wanted: &Wanted, troubles: &Troubles) -> Answer {
    // Its time is over, and there may be others whose is not.
    if Instant::now() >= wanted.until {
        return Err(Refusal::BUSY);
    }
    match catch_unwind(AssertUnwindSafe(|| seek.seek(wanted))) {
        Ok(Ok(Some(target))) => Ok(Pass { target: Some(target), ..Pass::default() }),
        Ok(Ok(None)) => Err(Refusal::UNKNOWN_TOKEN),
        Ok(Err(trouble)) => {
            troubles.tell(&trouble);
            Err(Refusal::BUSY)
        }
        Err(_) => Err(Refusal::INTERNAL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::sync::mpsc::{Receiver, channel};

    /// A source that does what its token says.
    struct Played;

    impl Seek for Played {
        fn seek(&self, wanted: &Wanted) -> Found {
            match wanted.token.secret() {
                "good" => Ok(Target::parse("h:1").ok().map(Arc::new)),
                "bad" => Ok(None),
                "broken" => Err(Trouble::Met("it is broken".into())),
                _ => panic!("a bug"),
            }
        }
    }

    fn told(token: &str, wait: Duration) -> u16 {
        let troubles = Troubles::new("Played", "--token-source", &Log::silent());
        let wanted = Wanted { token: Token::new(token), is_host: false, until: Instant::now() + wait };
        settle(&Played, &wanted, &troubles).map_or_else(|refusal| refusal.status(), |_| 101)
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_dropped() {
        use super::super::guard::Guard;
        let place = std::env::temp_dir().join(format!("websplice-late-{}", std::process::id()));
        std::fs::create_dir_all(&place).unwrap();
        let users = place.join("users");
        std::fs::write(&users, "me:$apr1$saltsalt$0000000000000000000000\n").unwrap();
        std::fs::write(place.join("desk"), "h:1").unwrap();
        let tokens = Tokens {
            source: Source::TokenFileName(place.clone()),
            option: "--token-source",
            places: vec![Place::Query],
            cache: Duration::ZERO,
            timeout: Duration::from_secs(60),
        };
        let guards = vec![Guard::Htpasswd(users)];
        let options = Options { tokens: Some(tokens), guards, ..Options::default() };
        let routes =
            Routes::start(&options, &Log::silent(), &Names::start(Duration::ZERO).unwrap(), Look::START)
                .unwrap();
        let request = Arc::new(crate::route::request::Request::bare(Vec::new()));
        let told = |step, budget| {
            let (tell, verdict) = channel();
            let token = Some(Token::new("desk"));
            let question = Question { step, request: request.clone(), token, target: None, budget };
            routes.ask(question, Box::new(move |verdict| tell.send(verdict).unwrap()));
            match verdict.recv_timeout(Duration::from_secs(10)).unwrap() {
                Verdict::Routed(Ok(_)) => 101,
                Verdict::Routed(Err(refusal)) => refusal.status(),
                Verdict::Busy => 503,
                _ => 0,
            }
        };
        for (step, status) in [(Step::Lookup, 101), (Step::Guard(0), 401)] {
            assert_eq!(told(step, Duration::from_secs(60)), status);
            assert_eq!(told(step, Duration::ZERO), 503);
        }
        std::fs::remove_dir_all(&place).unwrap();
    }

    #[test]
    fn what_cannot_be_looked_through_in_time_is_said() {
        let place = std::env::temp_dir().join(format!("websplice-look-{}", std::process::id()));
        std::fs::create_dir_all(&place).unwrap();
        ["one", "two", "three"].iter().for_each(|name| std::fs::write(place.join(name), "h:1").unwrap());
        // What can be no token takes its time as well.
        let dots = place.join("dots");
        std::fs::create_dir(&dots).unwrap();
        [".one", ".two"].iter().for_each(|name| std::fs::write(dots.join(name), "h:1").unwrap());
        let names = Names::start(Duration::ZERO).unwrap();
        let said = |place: &Path, time, asked| {
            let source = Source::TokenFileName(place.to_owned());
            let (places, cache, timeout) = (vec![Place::Query], Duration::ZERO, Duration::from_secs(60));
            let tokens = Tokens { source, option: "--token-source", places, cache, timeout };
            let options = Options { tokens: Some(tokens), ..Options::default() };
            let (log, kept) = Log::kept(Level::Debug);
            Routes::start(&options, &log, &names, Look { time, asked }).unwrap();
            kept.pop()
        };
        for (asked, level) in [(true, Level::Info), (false, Level::Debug)] {
            for (place, come_to) in [(&place, "only the first 1 of its"), (&dots, "none of its files")] {
                assert_eq!(said(place, Duration::from_secs(60), asked), None, "all of them");
                let (told, line) = said(place, Duration::ZERO, asked).unwrap();
                assert_eq!(told, level, "{line}");
                assert!(line.starts_with("--token-source: ") && line.contains(come_to), "{line}");
            }
        }
        std::fs::remove_dir_all(&place).unwrap();
    }

    #[test]
    fn whatever_happens_there_is_an_answer() {
        let soon = Duration::from_secs(10);
        for (token, status) in [("good", 101), ("bad", 404), ("broken", 503), ("panic", 500)] {
            assert_eq!(told(token, soon), status, "{token}");
        }
        assert_eq!(told("good", Duration::ZERO), 503, "its time is over before its turn");
    }

    fn wanted(token: &str) -> Wanted {
        Wanted { token: Token::new(token), is_host: false, until: Instant::now() + Duration::from_secs(60) }
    }

    /// A service that answers each question when it is let, and the way to ask it.
    fn service(keep: Duration) -> (Flights, std::sync::mpsc::Sender<()>, Receiver<String>) {
        let (go, wait) = channel::<()>();
        let (tell, asked) = channel();
        let wait = std::sync::Mutex::new(wait);
        let flights = Flights::start(
            1,
            1,
            keep,
            || false,
            move |wanted| {
                tell.send(wanted.token.secret().to_owned()).unwrap();
                let _ = wait.lock().unwrap().recv();
                Err(if wanted.token.secret() == "bad" { Refusal::UNKNOWN_TOKEN } else { Refusal::BUSY })
            },
        );
        (flights.unwrap(), go, asked)
    }

    #[test]
    fn who_waits_is_counted_and_everybody_is_told() {
        use crate::limits::LOOKUP_WAITERS_MAX;
        let (flights, go, asked) = service(Duration::ZERO);
        let (tell, verdicts) = channel();
        let ask = |token: &str| {
            let tell = tell.clone();
            flights.ask(
                wanted(token),
                Box::new(move |verdict| tell.send(matches!(verdict, Verdict::Busy)).unwrap()),
            );
        };
        ask("a");
        assert_eq!(asked.recv_timeout(Duration::from_secs(10)).unwrap(), "a");
        // One may wait for its turn, and no other.
        ask("b");
        assert!(verdicts.try_recv().is_err());
        ask("c");
        assert!(verdicts.try_recv().unwrap());
        for _ in 2..LOOKUP_WAITERS_MAX {
            ask("a");
        }
        assert!(verdicts.try_recv().is_err());
        ask("a");
        assert!(verdicts.try_recv().unwrap(), "one too many, though nobody new is asked about");
        drop(go);
        let answers: Vec<_> = verdicts.iter().take(LOOKUP_WAITERS_MAX).collect();
        assert!(answers.iter().all(|busy| !busy));
        ask("a");
        assert!(!verdicts.recv_timeout(Duration::from_secs(10)).unwrap(), "and there is room again");
        assert_eq!(asked.try_iter().collect::<Vec<_>>(), ["b", "a"]);
    }

    #[test]
    fn that_a_token_is_unknown_is_kept_and_trouble_is_not() {
        let (flights, go, asked) = service(Duration::from_secs(3600));
        drop(go);
        let (tell, verdicts) = channel();
        let ask = |token: &str| {
            let tell = tell.clone();
            flights.ask(wanted(token), Box::new(move |_| tell.send(()).unwrap()));
            verdicts.recv_timeout(Duration::from_secs(10)).unwrap();
        };
        ask("bad");
        ask("bad");
        ask("other");
        ask("other");
        assert_eq!(asked.try_iter().collect::<Vec<_>>(), ["bad", "other", "other"], "trouble is not kept");
    }
}
