//! Which cores this process may use, how much of them, and pinning a thread to one.

use std::io;

/// Numbers of the cores in this thread's affinity mask, ascending; never empty.
#[cfg(target_os = "linux")]
pub fn allowed() -> Vec<usize> {
    use nix::sched::{CpuSet, sched_getaffinity};
    let this = nix::unistd::Pid::from_raw(0);
    let cores: Vec<usize> = match sched_getaffinity(this) {
        Ok(set) => (0..CpuSet::count()).filter(|&core| set.is_set(core).unwrap_or(false)).collect(),
        Err(_) => Vec::new(),
    };
    if cores.is_empty() { vec![0] } else { cores }
}

/// Keeps this thread on `core`.
#[cfg(target_os = "linux")]
pub fn pin(core: usize) -> io::Result<()> {
    let mut set = nix::sched::CpuSet::new();
    set.set(core)?;
    Ok(nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set)?)
}

#[cfg(not(target_os = "linux"))]
pub fn allowed() -> Vec<usize> {
    (0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get)).collect()
}

/// Without an interface to pin with, the system's scheduler decides.
#[cfg(not(target_os = "linux"))]
pub fn pin(_: usize) -> io::Result<()> {
    Ok(())
}

/// How many cores' worth of time the cgroup grants, rounded up; `None` when it sets no quota.
pub fn quota() -> Option<usize> {
    super::cgroup::least("cpu", |group| {
        let file = |name| std::fs::read_to_string(group.join(name)).ok();
        let legacy = || Some(format!("{} {}", file("cpu.cfs_quota_us")?.trim(), file("cpu.cfs_period_us")?));
        parse_quota(&file("cpu.max").or_else(legacy)?)
    })
}

/// Reads quota and period, as `cpu.max` has them: a quota of `max`, or of -1, is none.
fn parse_quota(text: &str) -> Option<usize> {
    let mut words = text.split_whitespace();
    let quota: u64 = words.next()?.parse().ok()?;
    let period: u64 = words.next()?.parse().ok()?;
    usize::try_from(quota.div_ceil(period.max(1)).max(1)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quota_rounds_up_and_max_is_none() {
        for (text, cores) in [
            ("max 100000", None),
            ("100000 100000", Some(1)),
            ("150000 100000", Some(2)),
            ("1000 100000", Some(1)),
            ("-1 100000", None),
            ("0 0", Some(1)),
            ("", None),
            ("x y", None),
        ] {
            assert_eq!(parse_quota(text), cores, "{text}");
        }
    }

    #[test]
    fn a_pinned_thread_is_allowed_one_core() {
        let cores = allowed();
        std::thread::spawn(move || {
            pin(cores[0]).unwrap();
            assert_eq!(allowed(), [cores[0]]);
        })
        .join()
        .unwrap();
    }
}
