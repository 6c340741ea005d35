//! Guards that have to ask: a crew for passwords, one for services, and the processes of plugins.
//!
//! Owns who answers for which of the configured guards. Each kind waits by itself: a dead service holds no password up.

use super::forward::Service;
use super::passwords::Users;
use super::{Question, Reply};
use crate::crew::Crew;
use crate::limits::{
    FORWARD_THREADS, HELPER_QUEUE_MAX, PASSWORD_QUEUE_MAX, PASSWORD_THREADS_MAX, PLUGIN_ANSWER_MS,
};
use crate::observe::log::Log;
use crate::plugin::{Kind, Running};
use crate::route::guard::Guard;
use crate::session::job::Verdict;
use crate::sys::cpu;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Those who answer, in the order of the guards; `None` for guards that never ask.
#[derive(Clone, Debug)]
pub(super) struct Guards(Vec<Option<Asked>>);

/// Who answers for one guard.
#[derive(Clone, Debug)]
enum Asked {
    Crew(Crew<(Question, Reply, Instant)>),
    Plugin(Arc<Running>),
}

impl Guards {
    /// Starts what `guards` need.
    ///
    /// # Errors
    /// One line that says which option is of no use and why.
    pub fn start(guards: &[Guard], log: &Log) -> io::Result<Guards> {
        let asked = guards.iter().map(|guard| {
            Ok(match guard {
                Guard::Htpasswd(path) => {
                    let users = Users::open(path, log).map_err(io::Error::other)?;
                    let work = move |(question, reply, asked): (Question, Reply, Instant)| {
                        // Hashing is dear, and nobody would hear the answer.
                        if asked.elapsed() >= question.budget {
                            return reply(Verdict::Busy);
                        }
                        reply(Verdict::Routed(users.answer(&question.request)));
                    };
                    // Hashing takes whole cores, and whoever has no password can make us hash: half of them are enough.
                    let threads = (cpu::allowed().len() / 2).clamp(1, PASSWORD_THREADS_MAX);
                    Some(Asked::Crew(Crew::start("passwords", threads, PASSWORD_QUEUE_MAX, work)?))
                }
                Guard::Forward(url) => {
                    let service = Service::new(url, log).map_err(io::Error::other)?;
                    let work = move |(question, reply, asked): (Question, Reply, Instant)| {
                        if asked.elapsed() >= question.budget {
                            return reply(Verdict::Busy);
                        }
                        reply(Verdict::Routed(service.answer(&question.request, asked)));
                    };
                    Some(Asked::Crew(Crew::start("forward", FORWARD_THREADS, HELPER_QUEUE_MAX, work)?))
                }
                Guard::Plugin(plugin) => {
                    let time = Duration::from_millis(PLUGIN_ANSWER_MS);
                    let running = Running::start(plugin, Kind::Auth, time, log).map_err(io::Error::other)?;
                    Some(Asked::Plugin(Arc::new(running)))
                }
                Guard::Basic(_) | Guard::ExpectOrigin(_) | Guard::SameOrigin | Guard::ClientCertCn(_) => None,
            })
        });
        Ok(Guards(asked.collect::<io::Result<_>>()?))
    }

    /// Has the guard with this number asked.
    pub fn ask(&self, number: usize, question: Question, reply: Reply) {
        match self.0.get(number).and_then(Option::as_ref) {
            Some(Asked::Plugin(plugin)) => plugin.ask(question, reply),
            Some(Asked::Crew(crew)) => {
                if let Err((_, reply, _)) = crew.ask((question, reply, Instant::now())) {
                    reply(Verdict::Busy);
                }
            }
            None => reply(Verdict::Busy),
        }
    }

    /// The plugins among them.
    pub fn plugins(&self) -> impl Iterator<Item = &Running> {
        self.0.iter().filter_map(|asked| match asked {
            Some(Asked::Plugin(plugin)) => Some(&**plugin),
            Some(Asked::Crew(_)) | None => None,
        })
    }
}
