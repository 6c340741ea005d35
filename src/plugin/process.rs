//! The process behind a plugin: started, spoken with, ended, and started again.
//!
//! Owns its threads: one that reads what it says, one that writes what it is asked, one that takes what it complains about,
//! one that watches the time, and one that waits for its end and sees to that of all it has started. What is asked, and
//! what answers mean, is `desk`'s.

use super::desk::Desk;
use super::message;
use super::pipes::{Ear, Ended, Mouth};
use crate::limits::{PLUGIN_IN_FLIGHT_MAX, PLUGIN_LINE_BYTES_MAX, PLUGIN_SOUND_MS};
use crate::observe::log::Level;
use crate::route::plugin::{Plugin, Program};
use crate::sys::{memory, process};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What makes Python classes speak the protocol.
const HOST: &str = include_str!("host.py");
/// Runs the first line of standard input, so that the program is not a page long in every list of processes. Python puts
/// the current directory in front of where it looks for modules; anybody might have put some there. Questions move to a
/// descriptor that is closed in whatever the class starts, which would read some of them otherwise.
const PYTHON: &str = "import sys\nif sys.path and sys.path[0] == '': del sys.path[0]\nimport json, os\n\
                      questions = os.fdopen(os.dup(0), 'rb')\n\
                      nothing = os.open(os.devnull, os.O_RDONLY)\nos.dup2(nothing, 0)\nos.close(nothing)\n\
                      exec(compile(json.loads(questions.readline()), '<plugin host>', 'exec'))";
/// How often it is looked whether those are gone that a process has left behind.
const LEFT_LOOK: Duration = Duration::from_millis(10);

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
        if renewed || begun.elapsed() >= Duration::from_millis(PLUGIN_SOUND_MS) {
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
    if let Some(directory) = process::start_directory() {
        // Its own files are where they were when it was named.
        command.current_dir(directory);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    // This thread stays until its end; a server that is killed tells nobody to end.
    process::bind_to_thread(&mut command);
    // What we do without is not for others to do without.
    memory::huge_pages(true);
    let spawned = command.spawn();
    memory::huge_pages(false);
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return format!("cannot run {name}: {error}"),
    };
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
    let life = desk.began(pid);
    let ended = Ended::new();
    let threads = ended.as_ref().map_err(|error| io::Error::from(error.kind()));
    let threads = threads.and_then(|ended| attend(plugin, desk, life, &mut child, ended));
    if threads.is_err() {
        desk.signal(Signal::SIGKILL);
    }
    let status = farewell(&mut child, pid, desk);
    // Whoever holds its pipes holds nobody else up.
    drop(ended);
    match threads {
        Ok(threads) => {
            for thread in threads {
                let _ = thread.join();
            }
            status
        }
        Err(error) => error.to_string(),
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

/// Starts the threads that write to a process, listen to it and take its complaints.
fn attend(
    plugin: &Plugin,
    desk: &Arc<Desk>,
    life: u64,
    child: &mut Child,
    ended: &Ended,
) -> io::Result<[JoinHandle<()>; 3]> {
    let (Some(input), Some(output), Some(complaints)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(io::Error::other("no pipes"));
    };
    let mut opening = match &plugin.program {
        Program::Python { .. } => format!("{}\n", serde_json::Value::from(HOST)),
        Program::Shell(_) => String::new(),
    };
    let source = plugin.source.as_deref();
    opening.push_str(&message::hello(desk.kind, plugin.name(), source, PLUGIN_IN_FLIGHT_MAX));
    let (mut input, output, complaints) = (ended.mouth(input)?, ended.ear(output), ended.ear(complaints));
    let asker = desk.clone();
    let write = move || ask(&mut input, opening, &asker, life);
    let listener = desk.clone();
    let listen = move || listen(output, &listener, life);
    let desk = desk.clone();
    let complain = move || {
        each_line(complaints, |line| {
            let text = String::from_utf8_lossy(line.unwrap_or(b"(a line too long)"));
            if !text.trim_end().is_empty() {
                desk.complained(text.trim_end());
            }
        });
    };
    Ok([spawn("plugin-out", write)?, spawn("plugin-in", listen)?, spawn("plugin-err", complain)?])
}

/// Writes questions. A process that takes nothing any more has ended or is about to be; others learn of that.
fn ask(input: &mut Mouth<ChildStdin>, opening: String, desk: &Desk, life: u64) {
    let mut next = Some(opening);
    while let Some(mut line) = next {
        line.push('\n');
        if input.say(line.as_bytes()).is_err() {
            return;
        }
        next = desk.next(life);
    }
}

/// Takes answers until there are no more.
fn listen(output: Ear<ChildStdout>, desk: &Desk, life: u64) {
    each_line(output, |line| match line {
        Some(line) if line.trim_ascii().is_empty() => {}
        Some(line) => desk.heard(life, line),
        None => desk.tell(Level::Warn, "garbage", "a line that is too long", ""),
    });
    desk.mute(life);
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

/// Waits until a process has ended, ends all it has started and left behind in its group, and collects it last, so that
/// no signal can meet somebody else. Says how it ended.
fn farewell(child: &mut Child, pid: Pid, desk: &Desk) -> String {
    let told = |gone: io::Result<std::process::ExitStatus>| match gone {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    if process::await_end(pid).is_err() {
        // It can only be collected at once here.
        loop {
            if let Some(status) = desk.reap(|| child.try_wait().transpose().map(told)) {
                return status;
            }
            thread::sleep(LEFT_LOOK);
        }
    }
    let (begun, mut sent) = (Instant::now(), None);
    loop {
        let left = process::has_others(pid);
        let past = begun.elapsed();
        let signal = match left {
            Some(false) => break,
            Some(true) if past < desk.pace.stop / 2 => Signal::SIGTERM,
            Some(true) | None => Signal::SIGKILL,
        };
        if sent != Some(signal) {
            desk.signal(signal);
            sent = Some(signal);
        }
        if left.is_none() || past >= desk.pace.stop {
            break;
        }
        thread::sleep(LEFT_LOOK);
    }
    desk.reap(|| Some(told(child.wait()))).unwrap_or_default()
}
