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
        let asked = if config.process.once { Some(1) } else { config.sessions_max };
        let tls = &config.tls;
        let has_tls = !tls.pairs.is_empty() || tls.awaited.is_some() || tls.target.is_some();
        let in_memory = memory::left_by_limits().map(|left| Bound::of_memory(left, has_tls));
        let bounds = [Some(Bound::of_descriptors(descriptors, shards, per_session)), in_memory];
        let (sessions_max, notice) = sessions(asked, bounds.into_iter().flatten());
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

/// What a limit of the system leaves for sessions.
#[derive(Debug, PartialEq)]
struct Bound {
    /// So many, at least one.
    most: usize,
    /// Why, and what helps, for an operator.
    cause: String,
}

impl Bound {
    /// How many sessions `descriptors` are enough for.
    fn of_descriptors(descriptors: u64, shards: usize, per_session: usize) -> Bound {
        let reserved = DESCRIPTORS_RESERVED + shards * DESCRIPTORS_PER_SHARD;
        let free = usize::try_from(descriptors).unwrap_or(usize::MAX).saturating_sub(reserved);
        let cause =
            format!("only {descriptors} files may be open; raise the hard limit (ulimit -Hn, LimitNOFILE=)");
        Bound { most: (free / per_session).max(1), cause }
    }

    /// How many sessions there is memory for where limits of addresses and data leave `left` bytes.
    fn of_memory(left: u64, has_tls: bool) -> Bound {
        let each = SESSION_BYTES[usize::from(has_tls)];
        let cause = format!(
            "limits of memory leave this process {}MiB, half of it for sessions of {}KiB; raise them (ulimit -v, \
             ulimit -d, LimitAS=, LimitDATA=)",
            left >> 20,
            each >> 10
        );
        Bound { most: usize::try_from(left / 2 / each).unwrap_or(usize::MAX).max(1), cause }
    }
}

/// Most sessions of all shards together: as many as somebody asked for, or the default, as far as `bounds` permit; and a word
/// about it when that is less.
fn sessions(asked: Option<usize>, bounds: impl Iterator<Item = Bound>) -> (usize, Option<String>) {
    let wanted = asked.unwrap_or(SESSIONS_DEFAULT);
    let Some(Bound { most, cause }) = bounds.min_by_key(|bound| bound.most).filter(|it| it.most < wanted)
    else {
        return (wanted, None);
    };
    // Nobody asked for the default, so falling short of it is only worth a word where it is felt.
    let is_told = asked.is_some() || most < SESSIONS_AMPLE;
    let notice = || format!("max_sessions={most} instead of {wanted}: {cause} or lower --max-sessions");
    (most, is_told.then(notice))
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

    /// The same with one bound.
    fn bounded(asked: Option<usize>, bound: Bound) -> (usize, Option<String>) {
        sessions(asked, [bound].into_iter())
    }

    #[test]
    fn descriptors_bound_sessions_and_that_is_said() {
        let of = Bound::of_descriptors;
        assert_eq!(bounded(Some(100), of(1 << 20, 2, 2)), (100, None));
        assert_eq!(bounded(Some(433), of(1000, 2, 2)), (433, None));
        let (most, notice) = bounded(Some(434), of(1000, 2, 2));
        assert_eq!(most, 433);
        assert!(
            notice.is_some_and(|notice| notice.contains("max_sessions=433 instead of 434: only 1000 files"))
        );
        assert_eq!(bounded(Some(5), of(10, 2, 2)).0, 1);
        assert_eq!(bounded(Some(1000), of(1000, 2, 3)).0, 288, "a recording is a file, too");
    }

    #[test]
    fn limits_of_memory_bound_sessions_and_that_is_said() {
        let left = 2 * 1000 * SESSION_BYTES[1];
        assert_eq!(bounded(Some(1000), Bound::of_memory(left, true)), (1000, None));
        let (most, notice) = bounded(Some(1001), Bound::of_memory(left, true));
        assert_eq!(most, 1000);
        let notice = notice.expect("it was asked for");
        assert!(notice.starts_with("max_sessions=1000 instead of 1001: limits of memory leave"), "{notice}");
        assert!(notice.contains("125MiB") && notice.contains("64KiB") && notice.contains("ulimit -v"));
        assert!(notice.ends_with(" or lower --max-sessions"), "{notice}");
        assert_eq!(bounded(Some(1001), Bound::of_memory(left, false)), (1001, None));
        assert_eq!(bounded(Some(5), Bound::of_memory(0, false)).0, 1);
    }

    #[test]
    fn who_asked_is_told_of_any_less_and_who_did_not_where_it_is_felt() {
        let ample = || Bound { most: SESSIONS_AMPLE, cause: "so it is; change it".into() };
        let few = || Bound { most: SESSIONS_AMPLE - 1, cause: "less is left; change that".into() };
        assert_eq!(bounded(None, ample()), (SESSIONS_AMPLE, None));
        // The number of the default is asked for as well as any other.
        for asked in [SESSIONS_AMPLE + 1, SESSIONS_DEFAULT] {
            let told = format!(
                "max_sessions={SESSIONS_AMPLE} instead of {asked}: so it is; change it or lower --max-sessions"
            );
            assert_eq!(bounded(Some(asked), ample()), (SESSIONS_AMPLE, Some(told)));
        }
        // What is told is what counts, whichever it is.
        for asked in [None, Some(SESSIONS_DEFAULT)] {
            for bounds in [[few(), ample()], [ample(), few()]] {
                let (most, told) = sessions(asked, bounds.into_iter());
                assert_eq!(most, SESSIONS_AMPLE - 1);
                assert!(told.is_some_and(|told| told.contains("=4095 instead of 100000: less is left;")));
            }
        }
    }

    #[test]
    fn too_little_memory_is_refused() {
        assert_eq!(configured_share(2 * BUFFER_MEMORY_MIN, 2), Ok(BUFFER_MEMORY_MIN));
        assert!(configured_share(2 * BUFFER_MEMORY_MIN - 1, 2).is_err_and(|error| error.contains("8MiB")));
    }
}
