//! Getting a ring: which flags the kernel takes, which operations it knows, and what to say when it refuses.
//!
//! Features are tried, never guessed from a version number: vendor kernels back-port and disable.

use io_uring::{IoUring, Probe, opcode, squeue};
use nix::errno::Errno;
use std::fmt;
use std::io;

/// Requests that can be queued between two submissions; a full queue is submitted early.
const SUBMISSIONS: u32 = 256;
/// Completions that can wait for us, and how far that may be halved where locked memory is short.
const COMPLETIONS: u32 = 4096;
const COMPLETIONS_MIN: u32 = 1024;

/// Operations the ring kernel uses, with their names for messages.
const OPERATIONS: [(u8, &str); 2] =
    [(opcode::PollAdd::CODE, "POLL_ADD"), (opcode::AsyncCancel::CODE, "ASYNC_CANCEL")];

/// Why there is no io_uring here, in words for an operator.
#[derive(Debug)]
pub struct Refusal {
    /// The kernel's answer.
    pub error: io::Error,
    evidence: String,
    remedy: &'static str,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "io_uring_setup: {}; {} -> {}", error_name(&self.error), self.evidence, self.remedy)
    }
}

/// The error's short name, which is what operators search for, where the system gave it one.
pub fn error_name(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => format!("{:?}", Errno::from_raw(code)),
        None => error.to_string(),
    }
}

/// Whether a ring can be had, by having one for a moment.
///
/// # Errors
/// What the kernel answered; [`refusal_of`] tells whether that means "not here" or "not now".
pub fn supported() -> io::Result<()> {
    let mut ring = build()?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    if let Some((_, name)) = OPERATIONS.iter().find(|(code, _)| !probe.is_supported(*code)) {
        let error = io::Error::from_raw_os_error(libc::EINVAL);
        return Err(io::Error::new(error.kind(), format!("IORING_OP_{name} is unknown to this kernel")));
    }
    // A filter may allow the set-up and not the use.
    super::round_trip(&mut ring)
}

/// A ring with the best flags this kernel takes, for this thread only.
pub(super) fn build() -> io::Result<IoUring> {
    let mut completions = COMPLETIONS;
    loop {
        let outcome = build_with(completions, true).or_else(|error| match error.raw_os_error() {
            Some(libc::EINVAL) => build_with(completions, false),
            _ => Err(error),
        });
        match outcome {
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && completions > COMPLETIONS_MIN => {
                completions /= 2;
            }
            outcome => return outcome,
        }
    }
}

/// `NO_SQARRAY` (6.6) saves an indirection; the others (6.1) are what makes a ring cheaper than epoll at all.
fn build_with(completions: u32, no_sqarray: bool) -> io::Result<IoUring> {
    let mut builder = IoUring::<squeue::Entry>::builder();
    builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag().setup_submit_all();
    builder.setup_cqsize(completions).dontfork();
    if no_sqarray {
        builder.setup_no_sqarray();
    }
    builder.build(SUBMISSIONS)
}

/// What `error` says about this system, if it is one of the answers for which another engine is the remedy: unknown
/// (ENOSYS), forbidden (EPERM), too old (EINVAL). Everything else is a shortage and stays an error.
pub fn refusal_of(error: io::Error) -> Result<Refusal, io::Error> {
    let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let seccomp = status.lines().find_map(|line| line.strip_prefix("Seccomp:")).map(str::trim);
    match classify(error.raw_os_error(), error.kind(), disabled.as_deref().map(str::trim), seccomp) {
        Some((evidence, remedy)) => Ok(Refusal { error, evidence, remedy }),
        None => Err(error),
    }
}

fn classify(
    code: Option<i32>,
    kind: io::ErrorKind,
    disabled: Option<&str>,
    seccomp: Option<&str>,
) -> Option<(String, &'static str)> {
    let evidence = format!(
        "/proc/sys/kernel/io_uring_disabled={}, Seccomp: {}",
        disabled.unwrap_or("absent"),
        seccomp.unwrap_or("unknown")
    );
    let filtered = seccomp == Some("2");
    let remedy = match code {
        Some(libc::EPERM) if matches!(disabled, Some("1" | "2")) => {
            "the sysctl forbids it; set kernel.io_uring_disabled=0, or 1 and join kernel.io_uring_group"
        }
        Some(libc::EPERM | libc::ENOSYS) if filtered => {
            "a seccomp profile blocks it; allow io_uring_setup, io_uring_enter and io_uring_register in it"
        }
        Some(libc::EPERM) => "a security module forbids it; allow io_uring for this program",
        Some(libc::ENOSYS) => "this kernel is built without it; use Linux 6.1 or later with CONFIG_IO_URING",
        Some(libc::EINVAL) => "this kernel is too old for the engine; use Linux 6.1 or later",
        None if kind == io::ErrorKind::InvalidInput => {
            "this kernel is too old for the engine; use Linux 6.1 or later"
        }
        _ => return None,
    };
    Some((evidence, remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_three_answers_are_refusals() {
        let remedy = |code, disabled, seccomp| {
            classify(Some(code), io::ErrorKind::Other, Some(disabled), Some(seccomp))
                .map(|(_, remedy)| remedy)
        };
        assert!(remedy(libc::EPERM, "2", "0").unwrap().contains("sysctl"));
        assert!(remedy(libc::EPERM, "0", "2").unwrap().contains("seccomp"));
        assert!(remedy(libc::ENOSYS, "0", "2").unwrap().contains("seccomp"));
        assert!(remedy(libc::ENOSYS, "0", "0").unwrap().contains("built without"));
        assert!(remedy(libc::EPERM, "0", "0").unwrap().contains("security module"));
        assert!(remedy(libc::EINVAL, "0", "0").unwrap().contains("too old"));
        for shortage in [libc::ENOMEM, libc::EMFILE, libc::ENFILE] {
            assert_eq!(remedy(shortage, "0", "2"), None);
        }
    }

    #[test]
    fn evidence_names_sysctl_and_filter() {
        let (evidence, _) =
            classify(Some(libc::EPERM), io::ErrorKind::PermissionDenied, Some("2"), Some("0")).unwrap();
        assert_eq!(evidence, "/proc/sys/kernel/io_uring_disabled=2, Seccomp: 0");
    }
}
