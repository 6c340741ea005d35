//! Who comes first where threads want the same core: how long a thread's turns are, and whether it gives way.
//!
//! One of the few files that may hold `unsafe`: this system call has no safe form in any crate used here.
#![cfg_attr(target_os = "linux", expect(unsafe_code, reason = "sched_setattr(2) has no safe form"))]

use std::io;
use std::time::Duration;

/// Gives this thread turns of `turn` (0.1 to 100 ms): who has short ones gets the core sooner when it wakes up, from whoever
/// has longer ones, and is asked to leave it sooner. Its share of the core stays the same (Linux 6.12; before that, nothing comes
/// of it).
///
/// # Errors
/// When the kernel refuses. A thread of a real-time policy has no turns and nothing comes of it.
#[cfg(target_os = "linux")]
pub fn shorten(turn: Duration) -> io::Result<()> {
    change(|attributes| attributes.sched_runtime = turn.as_nanos() as u64)
}

/// Has this thread give way to others of its scheduling group: it is nicer by 10 than the process's first thread, which leaves
/// it a tenth of a core beside one that always wants it, and all of a core that nobody wants. Its turns are of the usual length.
///
/// # Errors
/// When the kernel refuses.
#[cfg(target_os = "linux")]
pub fn give_way() -> io::Result<()> {
    let first = attributes(nix::unistd::getpid().as_raw())?;
    change(|attributes| {
        attributes.sched_nice = (first.sched_nice + NICER).min(NICE_MAX);
        attributes.sched_runtime = 0;
    })
}

/// How much nicer who gives way is: each step divides the weight by 1.25. There is no nicer one than the highest.
#[cfg(target_os = "linux")]
const NICER: i32 = 10;
#[cfg(target_os = "linux")]
const NICE_MAX: i32 = 19;

/// How `thread` is scheduled; 0 is this one.
#[cfg(target_os = "linux")]
fn attributes(thread: libc::pid_t) -> io::Result<libc::sched_attr> {
    // SAFETY: it is made of integers alone, for which zero is a value.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    let bytes = size_of::<libc::sched_attr>();
    // SAFETY: the kernel writes no more than `bytes` into what is there for the whole call.
    let read = unsafe { libc::syscall(libc::SYS_sched_getattr, thread, &raw mut attributes, bytes, 0) };
    nix::errno::Errno::result(read)?;
    Ok(attributes)
}

#[cfg(target_os = "linux")]
fn change(what: impl FnOnce(&mut libc::sched_attr)) -> io::Result<()> {
    let mut attributes = attributes(0)?;
    what(&mut attributes);
    // SAFETY: thread 0 is this one; the kernel reads what is there for the whole call, and its size is said in it.
    let set = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    nix::errno::Errno::result(set)?;
    Ok(())
}

/// Without an interface for it, the system's scheduler decides.
#[cfg(not(target_os = "linux"))]
pub fn shorten(_: Duration) -> io::Result<()> {
    Ok(())
}

/// Without an interface for it, the system's scheduler decides.
#[cfg(not(target_os = "linux"))]
pub fn give_way() -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// A field of what the kernel tells of this thread's scheduling; `None` where it tells nothing.
    fn told(field: &str) -> Option<String> {
        let text = std::fs::read_to_string("/proc/thread-self/sched").ok()?;
        let line = text.lines().find(|line| line.split_whitespace().next() == Some(field))?;
        Some(line.rsplit(':').next()?.trim().to_owned())
    }

    #[test]
    fn turns_become_short_and_threads_give_way_and_nothing_else_changes() {
        std::thread::spawn(|| {
            let priority = told("prio").map(|text| text.parse::<i32>().expect("a number"));
            let policy = told("policy");
            // The kernel tells of turns since it knows those of one's own.
            let usual = told("se.slice");
            shorten(Duration::from_micros(200)).expect("a thread of the normal kind");
            assert_eq!(told("prio"), priority.map(|number| number.to_string()));
            assert_eq!(told("se.slice"), usual.as_ref().map(|_| "200000".to_owned()));
            for _ in 0..2 {
                give_way().expect("nobody is refused to be nicer");
                assert_eq!(told("prio"), priority.map(|number| (number + NICER).min(139).to_string()));
                assert_eq!(told("se.slice"), usual);
            }
            assert_eq!(told("policy"), policy);
        })
        .join()
        .unwrap();
    }
}
