//! How much memory and how many descriptors the process may have, and in which pages.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io;

/// Bytes of memory this process may hope for: the machine's, or the limit of its cgroup, or of one above, where that is less.
pub fn available() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().as_deref().and_then(total_of);
    let group = super::cgroup::least("memory", |group| {
        let file = |name| std::fs::read_to_string(group.join(name));
        file("memory.max").or_else(|_| file("memory.limit_in_bytes")).ok()?.trim().parse().ok()
    });
    match (machine, group) {
        (Some(machine), Some(group)) => Some(u64::min(machine, group)),
        (one, other) => one.or(other),
    }
}

fn total_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The descriptor limit that this process has, and that programs it starts would have.
pub fn descriptors() -> io::Result<u64> {
    Ok(getrlimit(Resource::RLIMIT_NOFILE)?.0)
}

/// Sets the descriptor limit, at most to the hard limit.
pub fn limit_descriptors(most: u64) -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, most.min(hard), hard)?)
}

/// Raises the descriptor limit to the hard limit and returns what it is now.
pub fn raise_descriptors() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() {
        return Ok(hard);
    }
    Ok(soft)
}

/// Lets the kernel give this process pages of 2 MiB, or not: an allocator asks for them, and then holds up to 2 MiB that nobody
/// uses for each arena. What is started from here inherits this. A kernel that knows no such pages gives none, which is no error.
#[cfg(target_os = "linux")]
pub fn huge_pages(wanted: bool) {
    let _ = nix::sys::prctl::set_thp_disable(!wanted);
}

/// Other systems decide by themselves.
#[cfg(not(target_os = "linux"))]
pub fn huge_pages(_: bool) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn huge_pages_are_given_up_and_taken_again() {
        let refused = || nix::sys::prctl::get_thp_disable().unwrap();
        huge_pages(false);
        assert!(refused());
        huge_pages(true);
        assert!(!refused());
    }

    #[test]
    fn reads_what_the_kernel_writes() {
        assert_eq!(total_of("MemTotal:       24559616 kB\nMemFree: 1 kB\n"), Some(24_559_616 * 1024));
        assert_eq!(total_of("MemFree: 1 kB\n"), None);
        assert!(available().unwrap() > 1 << 20);
    }

    #[test]
    fn the_descriptor_limit_is_raised_to_the_hard_one() {
        let limit = raise_descriptors().unwrap();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (limit, limit));
    }
}
