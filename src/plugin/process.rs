//! The process behind a plugin: started, spoken with, ended, and started again.
//!
//! Owns its threads: one that reads what it says, one that writes what it is asked, one that takes what it complains about,
//! and one that watches the time. What is asked, and what answers mean, is `desk`'s.

use super::desk::Desk;
use super::message;
use crate::limits::{PLUGIN_IN_FLIGHT_MAX, PLUGIN_LINE_BYTES_MAX};
use crate::observe::log::Level;
use crate::route::plugin::{Plugin, Program};
use crate::sys::{memory, process};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What makes Python classes speak the protocol.
const HOST: &str = include_str!("host.py");
/// Runs the first line of standard input, so that the program is not a page long in every list of processes. Python puts
/// the current directory in front of where it looks for modules; anybody might have put some there.
const PYTHON: &str = "import sys\nif sys.path and sys.path[0] == '': del sys.path[0]\nimport json\n\
                      exec(compile(json.loads(sys.stdin.buffer.readline()), '<plugin host>', 'exec'))";
/// How often the end of a process is looked for once it has ended its output.
const REAP_LOOK: Duration = Duration::from_millis(5);
/// A process that lived this long starts its successor without delay.
const SOUND: Duration = Duration::from_secs(10);

/// Starts the threads that keep a plugin running until its desk is stopped.
///
/// # Errors
/// When a thread cannot be started.
pub fn supervise(plugin: Plugin, desk: &Arc<Desk>) -> io::Result<()> {
    let watched = desk.clone();
    spawn("plugin-time", move || watched.watch())?;
    let kept = desk.clone();
    let kept = spawn("plugin", move || {
        live(&plugin, &kept);
        kept.end();
    });
    if kept.is_err() {
        desk.end();
    }
    kept.map(drop)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.into()).spawn(work)
}

/// One process after the other.
fn live(plugin: &Plugin, desk: &Arc<Desk>) {
    let mut delay = desk.pace.restart_min;
    loop {
        let begun = Instant::now();
        let why = run(plugin, desk);
        let Some(renewed) = desk.over(&why) else { return };
        if renewed || begun.elapsed() >= SOUND {
            delay = desk.pace.restart_min;
        }
        if !desk.rest(if renewed { Duration::ZERO } else { delay }) {
            return;
        }
        delay = (delay * 2).min(desk.pace.restart_max);
    }
}

/// One process from start to end. Says how it ended.
fn run(plugin: &Plugin, desk: &Arc<Desk>) -> String {
    let (mut command, name) = command(plugin);
    process::HANDED_OVER_WORDS.iter().for_each(|name| {
        command.env_remove(name);
    });
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    // What we do without is not for others to do without.
    memory::huge_pages(true);
    let spawned = command.spawn();
    memory::huge_pages(false);
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return format!("cannot run {name}: {error}"),
    };
    let life = desk.began(Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX)));
    let last = Arc::<Mutex<String>>::default();
    let threads = match (child.stdin.take(), child.stderr.take()) {
        (Some(input), Some(complaints)) => attend(plugin, desk, life, input, complaints, last.clone()),
        _ => Err(io::Error::other("no pipes")),
    };
    match (threads, child.stdout.take()) {
        (Ok(threads), Some(output)) => {
            listen(output, desk);
            let status = end(&mut child, desk);
            for thread in threads {
                // What it has started may hold its pipes; that is no reason to wait.
                if thread.is_finished() {
                    let _ = thread.join();
                }
            }
            let last = last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.is_empty() { status } else { format!("{status}: {last}") }
        }
        (threads, _) => {
            desk.signal(Signal::SIGKILL);
            let _ = end(&mut child, desk);
            threads.err().map_or_else(|| "no pipes".into(), |error| error.to_string())
        }
    }
}

fn command(plugin: &Plugin) -> (Command, String) {
    match &plugin.program {
        Program::Shell(line) => {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", line]);
            (command, "/bin/sh".into())
        }
        Program::Python { python, .. } => {
            let mut command = Command::new(python);
            command.args(["-c", PYTHON]);
            (command, format!("{} (name another with --python)", python.display()))
        }
    }
}

/// Starts the threads that write to a process and take its complaints; the last of those is kept in `last`.
fn attend(
    plugin: &Plugin,
    desk: &Arc<Desk>,
    life: u64,
    mut input: ChildStdin,
    complaints: ChildStderr,
    last: Arc<Mutex<String>>,
) -> io::Result<[JoinHandle<()>; 2]> {
    let mut opening = match &plugin.program {
        Program::Python { .. } => format!("{}\n", serde_json::Value::from(HOST)),
        Program::Shell(_) => String::new(),
    };
    let source = plugin.source.as_deref();
    opening.push_str(&message::hello(desk.kind, plugin.name(), source, PLUGIN_IN_FLIGHT_MAX));
    opening.push('\n');
    let asker = desk.clone();
    let write = move || {
        let mut line = opening;
        // A process that takes nothing any more has ended or is about to be; the reader learns of it.
        while input.write_all(line.as_bytes()).is_ok() {
            let Some(next) = asker.next(life) else { return };
            line = next + "\n";
        }
    };
    let desk = desk.clone();
    let complain = move || {
        each_line(complaints, |line| {
            let text = String::from_utf8_lossy(line.unwrap_or(b"(a line too long)")).trim_end().to_owned();
            if !text.is_empty() {
                desk.spout.line(Level::Info, "says", &text);
                *last.lock().unwrap_or_else(PoisonError::into_inner) = text;
            }
        });
    };
    Ok([spawn("plugin-out", write)?, spawn("plugin-err", complain)?])
}

/// Takes answers until there are no more.
fn listen(output: ChildStdout, desk: &Desk) {
    each_line(output, |line| match line {
        Some(line) if line.trim_ascii().is_empty() => {}
        Some(line) => desk.heard(line),
        None => desk.spout.line(Level::Warn, "garbage", "a line that is too long"),
    });
}

/// Calls `take` with each line; with `None` for one that is too long.
fn each_line(from: impl Read, mut take: impl FnMut(Option<&[u8]>)) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    loop {
        line.clear();
        let most = PLUGIN_LINE_BYTES_MAX as u64;
        match from.by_ref().take(most).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) if line.last() == Some(&b'\n') || line.len() < PLUGIN_LINE_BYTES_MAX => take(Some(&line)),
            Ok(_) => {
                take(None);
                if from.skip_until(b'\n').is_err() {
                    return;
                }
            }
        }
    }
}

/// Sees a process off whose output has ended.
fn end(child: &mut Child, desk: &Desk) -> String {
    desk.signal(Signal::SIGTERM);
    let patience = Instant::now() + desk.pace.stop / 2;
    loop {
        let gone = desk.reap(|| match child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(status.to_string()),
            Err(error) => Some(error.to_string()),
        });
        if let Some(status) = gone {
            return status;
        }
        if Instant::now() >= patience {
            desk.signal(Signal::SIGKILL);
        }
        thread::sleep(REAP_LOOK);
    }
}
