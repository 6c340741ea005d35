//! Guards that have to ask: a crew for passwords, one for services, and the processes of plugins.
//!
//! Owns who answers for which of the configured guards. Each kind waits by itself: a dead service holds no password up.

use super::forward::Service;
use super::passwords::{Users, Work};
use super::{Question, Reply};
use crate::crew::{Crew, Standing};
use crate::limits::{
    FORWARD_THREADS, HELPER_QUEUE_MAX, PASSWORD_QUEUE_MAX, PASSWORD_THREADS_MAX, PLUGIN_ANSWER_MS,
};
use crate::names::Names;
use crate::observe::log::Log;
use crate::plugin::{Kind, Running};
use crate::route::guard::Guard;
use crate::session::job::Verdict;
use crate::sys::cpu;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
    pub fn start(guards: &[Guard], log: &Log, names: &Names) -> io::Result<Guards> {
        let asked = guards.iter().map(|guard| {
            Ok(match guard {
                Guard::Htpasswd(path) => {
                    let users = Users::open(path, log).map_err(io::Error::other)?;
                    Some(Asked::Crew(passwords(users)?))
                }
                Guard::Forward(url) => {
                    let service = Service::new(url.secret(), names.clone(), log).map_err(io::Error::other)?;
                    let work = move |(question, reply, asked): (Question, Reply, Instant)| {
                        if asked.elapsed() >= question.budget {
                            return reply(Verdict::Busy);
                        }
                        reply(Verdict::Routed(service.answer(&question.request, asked)));
                    };
                    Some(Asked::Crew(Crew::start(
                        "forward",
                        FORWARD_THREADS,
                        HELPER_QUEUE_MAX,
                        Standing::GivesWay,
                        work,
                    )?))
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

/// Starts those who check passwords: one thread that looks, and others that hash, so that who is remembered does not wait
/// behind who guesses.
fn passwords(users: Users) -> io::Result<Crew<(Question, Reply, Instant)>> {
    let users = Arc::new(users);
    // Hashing takes whole cores, and whoever has no password can make us hash: half of them are enough.
    let threads = (cpu::allowed().len() / 2).clamp(1, PASSWORD_THREADS_MAX);
    let waiting = Arc::new(AtomicUsize::new(0));
    let hashing = users.clone();
    let hash = move |(work, reply, asked, _place): (Work, Reply, Instant, Place)| {
        reply(Verdict::Routed(hashing.settle(&work, asked)));
    };
    let hashers = Crew::start("passwords", threads, PASSWORD_QUEUE_MAX, Standing::Level, hash)?;
    Crew::start(
        "users",
        1,
        HELPER_QUEUE_MAX,
        Standing::GivesWay,
        move |(question, reply, asked): (Question, Reply, Instant)| {
            if asked.elapsed() >= question.budget {
                return reply(Verdict::Busy);
            }
            let work = match users.look(&question.request) {
                Ok(answer) => return reply(Verdict::Routed(answer)),
                Err(work) => work,
            };
            let ahead = waiting.fetch_add(1, Ordering::Relaxed) / threads;
            let piece = (work, reply, asked, Place(waiting.clone()));
            let refused = if users.has_time(ahead) { hashers.ask(piece).err() } else { Some(piece) };
            if let Some((_, reply, ..)) = refused {
                reply(Verdict::Busy);
            }
        },
    )
}

/// A place among those that wait for a hash, or have it made.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::Step;
    use crate::route::request::Request;
    use std::sync::mpsc::channel;

    #[test]
    fn who_is_remembered_does_not_wait_behind_who_guesses() {
        let path = std::env::temp_dir().join(format!("websplice-guards-{}", std::process::id()));
        // The first is of `pass:word`; nobody knows the other.
        let users = "me:$apr1$abcdefgh$N5CAXIbyFW2eta7OLGOUM0\n\
                     slow:$2y$10$h9DOUwOGhOMRiMxsxqyCpuj2ASmM/qJ3C4/o0Is1Sna7csmJcG5Ge\n";
        std::fs::write(&path, users).unwrap();
        let crew = passwords(Users::open(&path, &Log::silent()).unwrap()).unwrap();
        let (tell, told) = channel();
        let ask = |pair: &str| {
            let value = format!("Basic {}", base64_simd::STANDARD.encode_to_string(pair));
            let request = Request::bare(vec![("Authorization".into(), value.into_bytes().into())]);
            let budget = Duration::from_secs(60);
            let request = request.into();
            let question = Question { step: Step::Guard(0), request, token: None, target: None, budget };
            let tell = tell.clone();
            let reply: Reply = Box::new(move |verdict| drop(tell.send(verdict)));
            assert!(crew.ask((question, reply, Instant::now())).is_ok());
        };
        let next = || told.recv_timeout(Duration::from_secs(60)).unwrap();
        ask("me:pass:word");
        assert!(matches!(next(), Verdict::Routed(Ok(_))));
        let guesses = 2 * PASSWORD_QUEUE_MAX;
        (0..guesses).for_each(|number| ask(&format!("slow:{number}")));
        ask("me:pass:word");
        let mut hashed = 0;
        loop {
            match next() {
                Verdict::Routed(Ok(_)) => break,
                Verdict::Routed(Err(_)) => hashed += 1,
                // There was no room.
                _ => {}
            }
        }
        assert!(hashed < PASSWORD_QUEUE_MAX / 2, "{hashed} were hashed first");
        std::fs::remove_file(&path).unwrap();
    }
}
