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
/// When the kernel refuses, as it does for a thread with a policy that knows no turns.
#[cfg(target_os = "linux")]
pub fn shorten(turn: Duration) -> io::Result<()> {
    change(|attributes| attributes.sched_runtime = turn.as_nanos() as u64)
}

/// Has this thread give way to others of the process that want its core: it keeps a tenth of it beside one that always wants it
/// (a nice value higher by 10), and all of a core that nobody wants.
///
/// # Errors
/// When the kernel refuses.
#[cfg(target_os = "linux")]
pub fn give_way() -> io::Result<()> {
    change(|attributes| attributes.sched_nice = (attributes.sched_nice + NICER).min(NICE_MAX))
}

/// How much nicer who gives way becomes; each step is a tenth of the share. There is no nicer one than the highest.
#[cfg(target_os = "linux")]
const NICER: i32 = 10;
#[cfg(target_os = "linux")]
const NICE_MAX: i32 = 19;

#[cfg(target_os = "linux")]
fn change(what: impl FnOnce(&mut libc::sched_attr)) -> io::Result<()> {
    use nix::errno::Errno;
    // SAFETY: it is made of integers alone, for which zero is a value.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    let bytes = size_of::<libc::sched_attr>();
    // SAFETY: thread 0 is this one; the kernel writes no more than `bytes` into what is there for the whole call.
    let read = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, bytes, 0) };
    Errno::result(read)?;
    what(&mut attributes);
    // SAFETY: thread 0 is this one; the kernel reads what is there for the whole call, and its size is said in it.
    let set = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    Errno::result(set)?;
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
            let [policy, priority] = ["policy", "prio"].map(told);
            let priority: Option<i32> = priority.map(|text| text.parse().expect("a number"));
            shorten(Duration::from_micros(200)).expect("a thread of the normal kind");
            assert_eq!(told("prio"), priority.map(|number| number.to_string()));
            give_way().expect("nobody is refused to be nicer");
            assert_eq!(told("prio"), priority.map(|number| (number + NICER).min(139).to_string()));
            assert_eq!(told("policy"), policy);
            // The kernel tells since it knows turns of one's own.
            if let Some(slice) = told("se.slice") {
                assert_eq!(slice, "200000");
            }
        })
        .join()
        .unwrap();
    }
}
