//! Helpers: a few threads for work that blocks, so that a shard never does.
//!
//! Owns which crew does which [`Job`], and how. Name look-ups and files have threads and a queue
//! each, so that a name server that does not answer holds no file up, nor a slow disk a name. A job carries where its
//! verdict goes; who asked may be gone by then. Helpers never touch a session and never wait for a shard.

use crate::config::Config;
use crate::crew::Crew;
use crate::limits::{HELPER_QUEUE_MAX, HELPER_THREADS};
use crate::observe::log::Log;
use crate::route::lookup::Routes;
use crate::session::job::{Job, Reply, Verdict};
use crate::sys::resolve;
use crate::web::files::{self, Root};
use crate::web::{Fetch, Served, builtin};
use std::io;

/// The way to all helpers; cheap to clone.
#[derive(Clone, Debug)]
pub struct Helpers {
    names: Crew<Task>,
    files: Crew<Task>,
    routes: Routes,
}

struct Task {
    job: Job,
    reply: Reply,
}

impl Helpers {
    /// Starts the threads. They end when the last clone of this is gone.
    ///
    /// # Errors
    /// When the web root cannot be opened, a source of tokens is of no use, or a thread cannot be started.
    pub fn start(config: &Config, log: &Log) -> io::Result<Helpers> {
        let root = match (&config.web, &config.web_root) {
            (Some(options), Some(directory)) => {
                let unreadable = |error: io::Error| {
                    let why = "let the user read it who serves, or name another";
                    io::Error::new(error.kind(), format!("--web: {}: {error}; {why}", directory.display()))
                };
                Some(Root::open(directory, options.clone()).map_err(unreadable)?)
            }
            _ => None,
        };
        Ok(Helpers {
            names: crew("names", None)?,
            files: crew("files", root)?,
            routes: Routes::start(&config.route, log)?,
        })
    }

    /// Has the processes of plugins replaced by new ones.
    pub fn renew(&self) {
        self.routes.renew();
    }

    /// Ends the processes of plugins.
    pub fn stop(&self) {
        self.routes.stop();
    }

    /// Has `job` done; its verdict, or [`Verdict::Busy`] when too many jobs wait or the work on it broke off, goes to `reply`.
    pub fn ask(&self, job: Job, reply: Reply) {
        let reply = owed(reply);
        let crew = match job {
            Job::Route(question) => return self.routes.ask(*question, reply),
            Job::Resolve { .. } => &self.names,
            Job::Fetch(_) | Job::Read { .. } => &self.files,
        };
        if let Err(task) = crew.ask(Task { job, reply }) {
            (task.reply)(Verdict::Busy);
        }
    }
}

/// A reply that is given whatever happens: [`Verdict::Busy`] when it is dropped.
struct Owed(Option<Reply>);

impl Drop for Owed {
    fn drop(&mut self) {
        if let Some(reply) = self.0.take() {
            reply(Verdict::Busy);
        }
    }
}

fn owed(reply: Reply) -> Reply {
    let mut owed = Owed(Some(reply));
    Box::new(move |verdict| {
        if let Some(reply) = owed.0.take() {
            reply(verdict);
        }
    })
}

/// Starts the threads of one kind.
fn crew(kind: &str, root: Option<Root>) -> io::Result<Crew<Task>> {
    Crew::start(kind, HELPER_THREADS, HELPER_QUEUE_MAX, move |task: Task| {
        (task.reply)(perform(task.job, root.as_ref()));
    })
}

fn perform(job: Job, root: Option<&Root>) -> Verdict {
    match job {
        Job::Resolve { host, port } => Verdict::Addresses(resolve::stream(&host, &port.to_string())),
        Job::Fetch(fetch) => Verdict::Fetched(fetch_from(&fetch, root)),
        Job::Read { file, offset, len } => Verdict::Piece(files::read_piece(&file, offset, len)),
        // These go to helpers of their own.
        Job::Route(_) => Verdict::Busy,
    }
}

fn fetch_from(fetch: &Fetch, root: Option<&Root>) -> Served {
    match root {
        Some(root) => root.serve(fetch),
        None => builtin::serve(fetch).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    #[test]
    fn work_that_breaks_off_is_answered() {
        let names = Crew::start("panics", 1, 1, |task: Task| {
            let _task = task;
            panic!("a bug");
        });
        let routes = Routes::start(&Default::default(), &Log::silent()).unwrap();
        let helpers = Helpers { names: names.unwrap(), files: crew("files", None).unwrap(), routes };
        let (tell, verdicts) = channel();
        // One thread: the second is answered by the one that panicked.
        for _ in 0..2 {
            let tell = tell.clone();
            let name = Job::Resolve { host: "localhost".into(), port: crate::target::Port::Number(1) };
            helpers.ask(name, Box::new(move |verdict| tell.send(verdict).unwrap()));
            let verdict = verdicts.recv_timeout(Duration::from_secs(10)).unwrap();
            assert!(matches!(verdict, Verdict::Busy), "{verdict:?}");
        }
        // What is answered is answered once.
        helpers.ask(Job::Fetch(Box::default()), Box::new(move |verdict| tell.send(verdict).unwrap()));
        assert!(matches!(verdicts.recv_timeout(Duration::from_secs(10)), Ok(Verdict::Fetched(_))));
        assert!(verdicts.recv_timeout(Duration::from_secs(10)).is_err());
    }

    #[test]
    fn stuck_names_hold_no_file_up() {
        // One name is being looked up for ever, and one waits.
        let (stuck, release) = channel::<()>();
        let release = std::sync::Mutex::new(release);
        let names = Crew::start("stuck", 1, 1, move |task: Task| {
            let _ = release.lock().unwrap().recv();
            (task.reply)(Verdict::Busy);
        });
        let routes = Routes::start(&Default::default(), &Log::silent()).unwrap();
        let helpers = Helpers { names: names.unwrap(), files: crew("files", None).unwrap(), routes };
        let (tell, verdicts) = channel();
        let ask = |job| {
            let tell = tell.clone();
            helpers.ask(job, Box::new(move |verdict| tell.send(verdict).unwrap()));
        };
        let name = || Job::Resolve { host: "localhost".into(), port: crate::target::Port::Number(1) };
        ask(name());
        ask(Job::Fetch(Box::default()));
        let first = verdicts.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(matches!(first, Verdict::Fetched(_)), "{first:?}");
        // The thread may or may not have taken the first by now, so the third at the latest finds no room.
        ask(name());
        ask(name());
        assert!(matches!(verdicts.try_recv(), Ok(Verdict::Busy)), "its own queue is full");
        drop(stuck);
    }
}
