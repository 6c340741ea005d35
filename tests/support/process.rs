//! What the system tells of a process: memory, time on a core, open descriptors; and its limits, which may be moved.
//!
//! It reads `/proc`, so these tests need Linux. It owns nothing and changes nothing but limits.

use std::fs;
use std::process::Command;
use std::time::Duration;

/// Memory in use, in bytes.
pub fn resident_bytes(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

/// Time on a core so far, in user and kernel mode together (proc(5): fields 14 and 15 of `stat`, in hundredths of a
/// second).
pub fn cpu_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    let (_, fields) = stat.rsplit_once(") ").expect("the name stands in parentheses");
    let ticks: u64 =
        fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 10)
}

/// How many descriptors are open.
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("the process runs").count()
}

/// Sets the limit of open files of a running process; `false` where the tool for it is missing.
pub fn limit_descriptors(pid: u32, soft: usize, hard: usize) -> bool {
    let (pid, limits) = (pid.to_string(), format!("--nofile={soft}:{hard}"));
    Command::new("prlimit").args(["--pid", &pid, &limits]).status().is_ok_and(|status| status.success())
}
