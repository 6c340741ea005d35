//! How much memory and how many descriptors the process may have, and in which pages.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io;

/// Bytes of memory this process may hope for: the machine's, or the limit of its cgroup, or of one above, or what its own
/// limits (`RLIMIT_AS`, `RLIMIT_DATA`) leave it, whichever is least.
pub fn available() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().as_deref().and_then(total_of);
    let group = super::cgroup::least("memory", |group| {
        let file = |name| std::fs::read_to_string(group.join(name));
        file("memory.max").or_else(|_| file("memory.limit_in_bytes")).ok()?.trim().parse().ok()
    });
    [machine, group, left_by_limits()].into_iter().flatten().min()
}

/// What the limits of this process leave it beyond what it has taken already: they count addresses, of which programs,
/// libraries and the allocator take many that are no memory yet. `None` without limits.
#[cfg(target_os = "linux")]
pub fn left_by_limits() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(4096);
    let taken = |field: usize| {
        let pages: Option<u64> = statm.split_whitespace().nth(field).and_then(|pages| pages.parse().ok());
        pages.unwrap_or(0).saturating_mul(page.unsigned_abs())
    };
    // The fields are those of proc(5): all addresses, and data with stacks.
    let limits = [(Resource::RLIMIT_AS, 0), (Resource::RLIMIT_DATA, 5)];
    let left = |(limit, field)| {
        let (soft, _) = getrlimit(limit).ok()?;
        (soft != nix::sys::resource::RLIM_INFINITY).then(|| soft.saturating_sub(taken(field)))
    };
    limits.into_iter().filter_map(left).min()
}

/// Elsewhere the kernel does not tell both.
#[cfg(not(target_os = "linux"))]
pub fn left_by_limits() -> Option<u64> {
    None
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
