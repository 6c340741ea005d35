//! Helpers: a few threads for work that blocks, so that a shard never does.
//!
//! Owns which crew does which [`Job`], and how. Names, files and routes have threads and a queue each, so that a name server
//! that does not answer holds no file up, nor a slow disk a name. A job carries where its verdict goes; who asked may be
//! gone by then. Helpers never touch a session and never wait for a shard.

use crate::config::Config;
use crate::crew::{Crew, Standing};
use crate::limits::{HELPER_QUEUE_MAX, HELPER_THREADS, NAME_CACHE_MS};
use crate::names::{Names, Said};
use crate::observe::log::Log;
use crate::route::lookup::{Look, Routes};
use crate::session::job::{Job, Reply, Verdict};
use crate::sys::beneath;
use crate::target::{Held, Target};
use crate::web::files::{self, Root};
use crate::web::{Fetch, Served, builtin};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The way to all helpers; cheap to clone.
#[derive(Clone, Debug)]
pub struct Helpers {
    names: Names,
    files: Crew<(Errand, Reply)>,
    routes: Routes,
}

/// Work with files.
enum Errand {
    Hold(Arc<Target>),
    Fetch(Box<Fetch>),
    Read { file: Arc<File>, offset: u64, len: u64 },
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
        // What a token leads to is used again for as long as where that is: both are answers of others.
        let keep = config.route.tokens.as_ref().map_or(Duration::MAX, |tokens| tokens.cache);
        let keep = keep.min(Duration::from_millis(NAME_CACHE_MS));
        let names = Names::start(keep)?;
        // Those of services have threads of their own: names of targets that are stuck may take all there are.
        let look = if config.process.check { Look::CHECK } else { Look::START };
        let routes = Routes::start(&config.route, log, &Names::start(keep)?, look)?;
        Ok(Helpers { names, files: files(root)?, routes })
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
        let errand = match job {
            Job::Route(question) => return self.routes.ask(*question, reply),
            Job::Resolve { host, port } => {
                let tell = move |said| {
                    reply(match said {
                        Said::Answer(addresses) => Verdict::Addresses(addresses),
                        Said::Busy => Verdict::Busy,
                    });
                };
                return self.names.ask((host, port.to_string()), Box::new(tell));
            }
            Job::Hold(target) => Errand::Hold(target),
            Job::Fetch(fetch) => Errand::Fetch(fetch),
            Job::Read { file, offset, len } => Errand::Read { file, offset, len },
        };
        if let Err((_, reply)) = self.files.ask((errand, reply)) {
            reply(Verdict::Busy);
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

/// Starts the threads for files.
fn files(root: Option<Root>) -> io::Result<Crew<(Errand, Reply)>> {
    Crew::start(
        "files",
        HELPER_THREADS,
        HELPER_QUEUE_MAX,
        Standing::GivesWay,
        move |(errand, reply): (Errand, Reply)| {
            reply(match errand {
                Errand::Hold(target) => Verdict::Held(hold(&target)),
                Errand::Fetch(fetch) => Verdict::Fetched(fetch_from(&fetch, root.as_ref())),
                Errand::Read { file, offset, len } => Verdict::Piece(files::read_piece(&file, offset, len)),
            });
        },
    )
}

/// The socket that a target is, whatever links lead there, held so that no other is dialled; and its path without links.
fn hold(target: &Target) -> io::Result<(Target, PathBuf)> {
    match target {
        Target::Held(held) => Ok((target.clone(), std::fs::read_link(&held.way)?)),
        Target::Unix(path) => {
            let (real, held) = beneath::find_socket(path)?;
            let found = match held {
                Some((socket, way)) => Target::Held(Held::new(path.clone(), way, socket)),
                None => Target::Unix(real.clone()),
            };
            Ok((found, real))
        }
        _ => Err(io::ErrorKind::InvalidInput.into()),
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
    use crate::target::Port;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::sync::mpsc::channel;

    #[test]
    fn work_that_breaks_off_is_answered() {
        let files = Crew::start("panics", 1, 1, Standing::GivesWay, |task: (Errand, Reply)| {
            let _task = task;
            panic!("a bug");
        });
        let names = Names::start(Duration::ZERO).unwrap();
        let routes = Routes::start(&Default::default(), &Log::silent(), &names, Look::START).unwrap();
        let helpers = Helpers { names, files: files.unwrap(), routes };
        let (tell, verdicts) = channel();
        // One thread: the second is answered by the one that panicked.
        for _ in 0..2 {
            let tell = tell.clone();
            helpers.ask(Job::Fetch(Box::default()), Box::new(move |verdict| tell.send(verdict).unwrap()));
            let verdict = verdicts.recv_timeout(Duration::from_secs(10)).unwrap();
            assert!(matches!(verdict, Verdict::Busy), "{verdict:?}");
        }
        // What is answered is answered once.
        let name = Job::Resolve { host: "127.0.0.1".into(), port: Port::Number(1) };
        helpers.ask(name, Box::new(move |verdict| tell.send(verdict).unwrap()));
        let verdict = verdicts.recv_timeout(Duration::from_secs(10));
        assert!(
            matches!(&verdict, Ok(Verdict::Addresses(Ok(addresses))) if addresses.len() == 1),
            "{verdict:?}"
        );
        assert!(verdicts.recv_timeout(Duration::from_secs(10)).is_err());
    }

    #[test]
    fn a_socket_is_held_where_it_really_is() {
        let place = std::env::temp_dir().join(format!("websplice-hold-{}", std::process::id()));
        std::fs::create_dir_all(place.join("inner")).unwrap();
        let place = place.canonicalize().unwrap();
        let (real, link) = (place.join("inner/desk"), place.join("link"));
        let listener = UnixListener::bind(&real).unwrap();
        std::os::unix::fs::symlink("inner/desk", &link).unwrap();
        let (found, path) = hold(&Target::Unix(link.clone())).unwrap();
        assert_eq!((found.to_string(), path), (link.display().to_string(), real.clone()));
        // What is held already is looked at again, and not looked for.
        std::fs::remove_file(&link).unwrap();
        std::fs::rename(&real, place.join("moved")).unwrap();
        let (again, path) = hold(&found).unwrap();
        assert_eq!((again == found, path), (true, place.join("moved")));
        let Target::Held(held) = &found else { panic!("{found:?}") };
        let _stream = UnixStream::connect(&held.way).unwrap();
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_ok());
        assert_eq!(hold(&Target::Unix(link)).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(hold(&Target::Unix(place.clone())).is_err(), "a directory is no socket");
        assert!(hold(&Target::Echo).is_err());
        std::fs::remove_dir_all(place).unwrap();
    }
}
