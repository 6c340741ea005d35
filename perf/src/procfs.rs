//! What the kernel says about processes and cores: CPU time, memory, listening ports.
//!
//! It reads `/proc` and the process clocks and adds things up over a process group and its descendants. It never starts
//! or ends anything.

use std::collections::{HashMap, HashSet};
use std::fs;

use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;

/// `/proc` counts in hundredths of a second whatever the kernel's own tick (USER_HZ of all Linux ABIs in use).
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Debug)]
struct Process {
    pid: i32,
    parent: i32,
    group: i32,
    zombie: bool,
    own_ticks: u64,
    reaped_ticks: u64,
}

fn process(pid: i32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold spaces and parentheses; what follows the last one is regular.
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    Some(Process {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        zombie: *fields.first()? == "Z",
        own_ticks: number(11)? + number(12)?,
        reaped_ticks: number(13)? + number(14)?,
    })
}

/// The processes of group `group` and all their descendants, zombies included.
fn tree(group: i32) -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let mut rest: Vec<Process> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(process)
        .collect();
    let mut inside = Vec::new();
    let mut pids = HashSet::new();
    loop {
        let (more, others): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|each| each.group == group || pids.contains(&each.parent));
        rest = others;
        if more.is_empty() {
            return inside;
        }
        pids.extend(more.iter().map(|each| each.pid));
        inside.extend(more);
    }
}

/// CPU seconds used so far by the group: all threads of its live processes to the nanosecond, zombies, and every child
/// that was waited for (in ticks of 10 ms, which the kernel adds up exactly before it rounds).
pub fn cpu_seconds(group: i32) -> f64 {
    tree(group).iter().map(|each| own_seconds(each) + each.reaped_ticks as f64 / TICKS_PER_SECOND).sum()
}

fn own_seconds(process: &Process) -> f64 {
    let clock = clock_getcpuclockid(Pid::from_raw(process.pid)).and_then(ClockId::now);
    match clock {
        Ok(time) if !process.zombie => time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9,
        _ => process.own_ticks as f64 / TICKS_PER_SECOND,
    }
}

/// CPU seconds used so far by the calling process.
pub fn own_cpu_seconds() -> f64 {
    ClockId::CLOCK_PROCESS_CPUTIME_ID
        .now()
        .map(|time| time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9)
        .unwrap_or_default()
}

/// The kernel thread that does a core's postponed network work, if it can be seen.
pub fn softirq_thread(core: usize) -> Option<i32> {
    let name = format!("ksoftirqd/{core}");
    fs::read_dir("/proc")
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .find(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim_end() == name))
}

/// CPU seconds of one thread, from its scheduler statistics.
pub fn thread_seconds(pid: i32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    text.split_ascii_whitespace().next().and_then(|field| field.parse::<f64>().ok()).unwrap_or_default() / 1e9
}

/// CPU seconds used so far by each thread of the group, by its number.
pub fn threads(group: i32) -> HashMap<i32, f64> {
    let of = |process: &Process| {
        fs::read_dir(format!("/proc/{}/task", process.pid)).into_iter().flatten().flatten()
    };
    let members = tree(group);
    let numbers = members.iter().flat_map(of).filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.map(|thread| (thread, thread_seconds(thread))).collect()
}

/// Seconds in which core `core` did anything at all, for anybody, in steps of 10 ms.
pub fn core_seconds(core: usize) -> f64 {
    let name = format!("cpu{core}");
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let Some(line) = text.lines().find(|line| line.split(' ').next() == Some(&name)) else { return 0.0 };
    let fields: Vec<f64> =
        line.split_ascii_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal: all but the two kinds of idling.
    [0, 1, 2, 5, 6, 7].iter().filter_map(|at| fields.get(*at)).sum::<f64>() / TICKS_PER_SECOND
}

/// Memory of a process group, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Proportional set size: shared pages are divided among those who share them.
    pub pss: u64,
    /// Resident set size, shared pages counted for everybody.
    pub rss: u64,
}

/// Memory of the group as it is now.
pub fn memory(group: i32) -> Memory {
    let mut sum = Memory::default();
    for process in tree(group) {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", process.pid)).unwrap_or_default();
        let bytes = |name: &str| {
            text.lines()
                .find_map(|line| {
                    line.strip_prefix(name)?.split_ascii_whitespace().next()?.parse::<u64>().ok()
                })
                .unwrap_or_default()
                * 1024
        };
        sum.pss += bytes("Pss:");
        sum.rss += bytes("Rss:");
    }
    sum
}

/// Whether somebody listens on TCP port `port`. Asking the kernel leaves no stray session behind, unlike connecting.
pub fn listening(port: u16) -> bool {
    const LISTEN: &str = "0A";
    let ending = format!(":{port:04X}");
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().any(|path| {
        fs::read_to_string(path).unwrap_or_default().lines().skip(1).any(|line| {
            let mut fields = line.split_ascii_whitespace().skip(1);
            let local = fields.next().unwrap_or_default();
            local.ends_with(&ending) && fields.nth(1) == Some(LISTEN)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_process_is_seen() {
        let own = process(std::process::id() as i32).expect("this process exists");
        assert!(tree(own.group).iter().any(|each| each.pid == own.pid));
        assert!(memory(own.group).pss > 0);
        assert!(own_cpu_seconds() > 0.0);
        assert!(threads(own.group).values().any(|seconds| *seconds > 0.0));
    }

    #[test]
    fn listening_port_is_seen() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        assert!(listening(port));
        drop(listener);
        assert!(!listening(port));
    }
}
