//! Helpers: a few threads for work that blocks, so that a shard never does.
//!
//! Owns the threads, their bounded queues, and how each [`Job`] is done. Name look-ups and files have threads and a queue
//! each, so that a name server that does not answer holds no file up, nor a slow disk a name. A job carries where its
//! verdict goes; who asked may be gone by then. Helpers never touch a session and never wait for a shard.

use crate::config::Config;
use crate::limits::{HELPER_QUEUE_MAX, HELPER_THREADS};
use crate::session::job::{Job, Verdict};
use crate::sys::resolve;
use crate::web::files::{self, Root};
use crate::web::{Fetch, Served, builtin};
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// Takes a verdict to where it is waited for.
pub type Reply = Box<dyn FnOnce(Verdict) + Send>;

/// The way to all helpers; cheap to clone.
#[derive(Clone, Debug)]
pub struct Helpers {
    names: SyncSender<Task>,
    files: SyncSender<Task>,
}

struct Task {
    job: Job,
    reply: Reply,
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.job.fmt(f)
    }
}

impl Helpers {
    /// Starts the threads. They end when the last clone of this is gone.
    ///
    /// # Errors
    /// When the web root cannot be opened or a thread cannot be started.
    pub fn start(config: &Config) -> io::Result<Helpers> {
        let root = match (&config.web, &config.web_root) {
            (Some(options), Some(directory)) => Some(Root::open(directory, options.clone())?),
            _ => None,
        };
        let root = Arc::new(root);
        Ok(Helpers { names: crew("names", &root)?, files: crew("files", &root)? })
    }

    /// Has `job` done; its verdict, or [`Verdict::Busy`] when too many jobs wait, goes to `reply`.
    pub fn ask(&self, job: Job, reply: Reply) {
        let queue = match job {
            Job::Resolve { .. } => &self.names,
            Job::Fetch(_) | Job::Read { .. } => &self.files,
        };
        if let Err(refused) = queue.try_send(Task { job, reply }) {
            let (std::sync::mpsc::TrySendError::Full(task)
            | std::sync::mpsc::TrySendError::Disconnected(task)) = refused;
            (task.reply)(Verdict::Busy);
        }
    }
}

/// Starts the threads of one kind and returns the way to them.
fn crew(kind: &str, root: &Arc<Option<Root>>) -> io::Result<SyncSender<Task>> {
    let (queue, tasks) = sync_channel(HELPER_QUEUE_MAX);
    let tasks = Arc::new(Mutex::new(tasks));
    for number in 0..HELPER_THREADS {
        let (tasks, root) = (tasks.clone(), root.clone());
        let thread = std::thread::Builder::new().name(format!("{kind}-{number}"));
        thread.spawn(move || serve(&tasks, root.as_ref().as_ref()))?;
    }
    Ok(queue)
}

fn serve(tasks: &Mutex<Receiver<Task>>, root: Option<&Root>) {
    loop {
        // A helper that panicked held nothing but the lock, so what it guarded is as good as before.
        let next = tasks.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Task { job, reply }) = next else { return };
        reply(perform(job, root));
    }
}

fn perform(job: Job, root: Option<&Root>) -> Verdict {
    match job {
        Job::Resolve { host, port } => Verdict::Addresses(resolve::stream(&host, &port.to_string())),
        Job::Fetch(fetch) => Verdict::Fetched(fetch_from(&fetch, root)),
        Job::Read { file, offset, len } => Verdict::Piece(files::read_piece(&file, offset, len)),
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
    fn stuck_names_hold_no_file_up() {
        let root = Arc::new(None);
        // A queue of names that nobody works off.
        let (names, _stuck) = sync_channel(1);
        let helpers = Helpers { names, files: crew("files", &root).unwrap() };
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
        ask(name());
        assert!(matches!(verdicts.try_recv(), Ok(Verdict::Busy)), "its own queue is full");
    }
}
