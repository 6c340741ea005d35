//! What the process has to work with: shards and their cores, sessions, and memory for buffers.
//!
//! Owns the rules by which limits of the system and words of the command line become numbers. It starts nothing.

use crate::config::Config;
use crate::limits::{
    BUFFER_MEMORY_MIN, DESCRIPTORS_PER_SESSION, DESCRIPTORS_PER_SHARD, DESCRIPTORS_RESERVED, SESSION_BYTES,
    SESSIONS_AMPLE, SESSIONS_DEFAULT, SHARDS_MAX,
};
use crate::sys::{cpu, memory};

/// Numbers to start with.
#[derive(Debug)]
pub struct Means {
    /// For each shard the core it is pinned to, if it is.
    pub cores: Vec<Option<usize>>,
    /// Most sessions of all shards together.
    pub sessions_max: usize,
    /// Bytes of buffers that each shard may have.
    pub buffer_bytes: usize,
    /// What an operator should know about this.
    pub notice: Option<String>,
}

impl Means {
    /// Looks at the system and raises the limit of descriptors as far as it goes.
    ///
    /// # Errors
    /// When the limit cannot be read, or the memory that was configured is too little for so many shards.
    pub fn find(config: &Config) -> Result<Means, String> {
        let shards = shards(config);
        let cores = cores(shards, &cpu::allowed());
        let descriptors =
            memory::raise_descriptors().map_err(|error| format!("descriptor limit: {error}"))?;
        let per_session = DESCRIPTORS_PER_SESSION + usize::from(config.record.is_some());
        let wanted = if config.process.once { 1 } else { config.sessions_max };
        let (sessions_max, notice) = sessions(wanted, descriptors, shards, per_session);
        let tls = &config.tls;
        let has_tls = !tls.pairs.is_empty() || tls.awaited.is_some() || tls.target.is_some();
        let (sessions_max, fewer) = in_memory(sessions_max, memory::left_by_limits(), has_tls);
        let notice = fewer.or(notice);
        let buffer_bytes = match config.buffer_memory {
            Some(bytes) => configured_share(bytes, shards)?,
            // A quarter of what there is, if nothing was said.
            None => {
                let quarter = memory::available().map_or(0, |bytes| bytes / 4);
                (usize::try_from(quarter).unwrap_or(usize::MAX) / shards).max(BUFFER_MEMORY_MIN)
            }
        };
        Ok(Means { cores, sessions_max, buffer_bytes, notice })
    }
}

/// How many shards there are.
pub fn shards(config: &Config) -> usize {
    let allowed = cpu::allowed().len();
    // No more than the cgroup grants time for.
    let granted = cpu::quota().map_or(allowed, |quota| quota.min(allowed));
    let wanted = if config.process.once { 1 } else { config.threads.unwrap_or(granted) };
    wanted.clamp(1, SHARDS_MAX)
}

/// The core of each shard. Shards are pinned only where there is one for every core: with fewer, every process of the
/// machine that does so would sit on the same first ones.
fn cores(shards: usize, allowed: &[usize]) -> Vec<Option<usize>> {
    let pinned = shards == allowed.len();
    (0..shards).map(|number| allowed.get(number).copied().filter(|_| pinned)).collect()
}

/// How many sessions `descriptors` are enough for, at most `wanted`; and a word about it when that is less.
fn sessions(wanted: usize, descriptors: u64, shards: usize, per_session: usize) -> (usize, Option<String>) {
    let reserved = DESCRIPTORS_RESERVED + shards * DESCRIPTORS_PER_SHARD;
    let free = usize::try_from(descriptors).unwrap_or(usize::MAX).saturating_sub(reserved);
    let most = (free / per_session).max(1);
    if wanted <= most {
        return (wanted, None);
    }
    // Nobody asked for the default, so falling short of it is only worth a word where it is felt.
    if wanted == SESSIONS_DEFAULT && most >= SESSIONS_AMPLE {
        return (most, None);
    }
    let notice = format!(
        "max_sessions={most} instead of {wanted}: only {descriptors} files may be open; raise the hard limit \
         (ulimit -Hn, LimitNOFILE=) or lower --max-sessions"
    );
    (most, Some(notice))
}

/// How many sessions what the limits of addresses and data leave is enough for, at most `wanted`; and a word about it when
/// that is few.
fn in_memory(wanted: usize, left: Option<u64>, has_tls: bool) -> (usize, Option<String>) {
    let Some(left) = left else { return (wanted, None) };
    let most = usize::try_from(left / 2 / SESSION_BYTES[usize::from(has_tls)]).unwrap_or(usize::MAX).max(1);
    if wanted <= most {
        return (wanted, None);
    }
    let notice = format!(
        "max_sessions={most} instead of {wanted}: limits leave this process {}MiB; raise them (ulimit -v, ulimit -d, \
         LimitAS=, LimitDATA=) or lower --max-sessions",
        left >> 20
    );
    (most, Some(notice).filter(|_| most < SESSIONS_AMPLE))
}

fn configured_share(bytes: usize, shards: usize) -> Result<usize, String> {
    let share = bytes / shards;
    if share < BUFFER_MEMORY_MIN {
        let least = shards * BUFFER_MEMORY_MIN / (1024 * 1024);
        return Err(format!(
            "option --buffer-memory: {shards} threads need at least {least}MiB; give more or lower --threads"
        ));
    }
    Ok(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_pinned_when_there_is_one_for_every_core() {
        for (shards, allowed, expected) in [
            (1, &[0][..], vec![Some(0)]),
            (2, &[2, 5], vec![Some(2), Some(5)]),
            (1, &[0, 1], vec![None]),
            (3, &[0, 1], vec![None; 3]),
        ] {
            assert_eq!(cores(shards, allowed), expected);
        }
    }

    #[test]
    fn descriptors_bound_sessions_and_that_is_said() {
        assert_eq!(sessions(100, 1 << 20, 2, 2), (100, None));
        assert_eq!(sessions(433, 1000, 2, 2), (433, None));
        let (most, notice) = sessions(434, 1000, 2, 2);
        assert_eq!(most, 433);
        assert!(notice.is_some_and(|notice| notice.contains("max_sessions=433 instead of 434")));
        assert_eq!(sessions(5, 10, 2, 2).0, 1);
        assert_eq!(sessions(SESSIONS_DEFAULT, 20_000, 2, 2).1, None);
        assert!(sessions(SESSIONS_DEFAULT, 1024, 2, 2).1.is_some());
        assert_eq!(sessions(1000, 1000, 2, 3).0, 288, "a recording is a file, too");
    }

    #[test]
    fn limits_of_memory_bound_sessions_and_that_is_said_where_it_is_felt() {
        assert_eq!(in_memory(100_000, None, true), (100_000, None));
        let left = Some(2 * 1000 * SESSION_BYTES[1]);
        assert_eq!(in_memory(1000, left, true), (1000, None));
        let (most, notice) = in_memory(1001, left, true);
        assert_eq!(most, 1000);
        assert!(notice.is_some_and(|notice| notice.contains("max_sessions=1000 instead of 1001")));
        assert_eq!(in_memory(1001, left, false), (1001, None));
        let ample = Some(2 * SESSIONS_AMPLE as u64 * SESSION_BYTES[0]);
        assert_eq!(in_memory(SESSIONS_DEFAULT, ample, false), (SESSIONS_AMPLE, None));
        assert_eq!(in_memory(5, Some(0), false).0, 1);
    }

    #[test]
    fn too_little_memory_is_refused() {
        assert_eq!(configured_share(2 * BUFFER_MEMORY_MIN, 2), Ok(BUFFER_MEMORY_MIN));
        assert!(configured_share(2 * BUFFER_MEMORY_MIN - 1, 2).is_err_and(|error| error.contains("8MiB")));
    }
}
