//! Which core the peers have and which the load has.
//!
//! Chosen once, the first two that this process may use, so that both sides never share one. It only pins the caller;
//! peers are pinned by the command that starts them.

use std::sync::OnceLock;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The two cores.
#[derive(Clone, Copy, Debug)]
pub struct Cores {
    /// Runs the peer under test and nothing else of ours.
    pub peer: usize,
    /// Runs clients and targets.
    pub load: usize,
    /// The second core of a peer with two shards: one of its own where there are three, the load's otherwise.
    pub second: usize,
}

impl Cores {
    /// Where a peer may run: on its core alone, or on two.
    pub fn of_peer(self, both: bool) -> CpuSet {
        let mut set = CpuSet::new();
        let wanted = [Some(self.peer), both.then_some(self.second)];
        for core in wanted.into_iter().flatten() {
            set.set(core).expect("the core was in a set before");
        }
        set
    }

    /// Whether two shards and the load have three cores.
    pub fn apart(self) -> bool {
        self.second != self.load
    }

    /// Where the load runs, and whatever serves it.
    pub fn of_load(self) -> CpuSet {
        let mut set = CpuSet::new();
        set.set(self.load).expect("the core was in a set before");
        set
    }
}

static CHOSEN: OnceLock<Cores> = OnceLock::new();

/// Chooses the cores and pins the caller to the load's.
pub fn settle() -> Result<Cores, String> {
    let this = Pid::from_raw(0);
    let allowed =
        sched_getaffinity(this).map_err(|error| format!("cannot read the allowed cores: {error}"))?;
    let mut free = (0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or(false));
    let (Some(peer), Some(load)) = (free.next(), free.next()) else {
        return Err("two cores are needed: one for the peer, one for the load".into());
    };
    let second = free.next().unwrap_or(load);
    let mut set = CpuSet::new();
    set.set(load)
        .and_then(|()| sched_setaffinity(this, &set))
        .map_err(|error| format!("cannot pin: {error}"))?;
    Ok(*CHOSEN.get_or_init(|| Cores { peer, load, second }))
}

/// The cores that [`settle`] chose.
pub fn chosen() -> Cores {
    *CHOSEN.get().expect("cores are settled before anything is measured")
}

/// Chooses without pinning, for tests that measure nothing worth a figure.
#[cfg(test)]
pub fn settle_loosely() {
    CHOSEN.get_or_init(|| Cores { peer: 0, load: 0, second: 0 });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_core_is_the_loads_only_where_there_is_no_third() {
        for (second, apart) in [(1, false), (2, true)] {
            let cores = Cores { peer: 0, load: 1, second };
            assert_eq!(cores.apart(), apart);
            let has = |both: bool| -> Vec<usize> {
                (0..4).filter(|&core| cores.of_peer(both).is_set(core).unwrap_or(false)).collect()
            };
            assert_eq!((has(false), has(true)), (vec![0], vec![0, second]));
        }
    }
}
