//! Which core the peers have and which the load has.
//!
//! Chosen once, the first that this process may use and that are not two threads of one core, so that both sides share as little
//! as can be. It only pins the caller; peers are pinned by the command that starts them.

use std::fs;
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
    /// Whether peer and load are two threads of one core, for want of another.
    pub siblings: bool,
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
    let free: Vec<usize> =
        (0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or(false)).collect();
    let Some(cores) = choose(&free, siblings) else {
        return Err("two cores are needed: one for the peer, one for the load".into());
    };
    let mut set = CpuSet::new();
    set.set(cores.load)
        .and_then(|()| sched_setaffinity(this, &set))
        .map_err(|error| format!("cannot pin: {error}"))?;
    Ok(*CHOSEN.get_or_init(|| cores))
}

/// Of `free`, cores that share nothing where there are such; `siblings` are the threads of a core, itself included.
fn choose(free: &[usize], siblings: impl Fn(usize) -> Vec<usize>) -> Option<Cores> {
    let others = |taken: &[usize]| -> Vec<usize> {
        free.iter().copied().filter(|core| !taken.contains(core)).collect()
    };
    // One that shares nothing with those that are taken, and otherwise just another.
    let next = |taken: &[usize]| {
        let others = others(taken);
        let shares = |core: &&usize| siblings(**core).iter().any(|thread| taken.contains(thread));
        others.iter().find(|core| !shares(core)).or(others.first()).copied()
    };
    // With a free choice of the first one too: a pair that shares nothing may begin further on.
    let apart = free.iter().find(|&&peer| next(&[peer]).is_some_and(|load| !siblings(load).contains(&peer)));
    let peer = *apart.or(free.first())?;
    let load = next(&[peer])?;
    let second = next(&[peer, load]).unwrap_or(load);
    Some(Cores { peer, load, second, siblings: siblings(load).contains(&peer) })
}

/// The threads of the core that `core` is one of; alone where the kernel does not say.
fn siblings(core: usize) -> Vec<usize> {
    let path = format!("/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list");
    fs::read_to_string(path).map_or_else(|_| vec![core], |text| listed(&text))
}

/// Numbers as the kernel lists them: "0,2" or "0-1,8".
fn listed(text: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse::<usize>().ok()?..=last.trim().parse().ok()?)
    };
    text.split(',').filter_map(range).flatten().collect()
}

/// The cores that [`settle`] chose.
pub fn chosen() -> Cores {
    *CHOSEN.get().expect("cores are settled before anything is measured")
}

/// Chooses without pinning, for tests that measure nothing worth a figure.
#[cfg(test)]
pub fn settle_loosely() {
    CHOSEN.get_or_init(|| Cores { peer: 0, load: 0, second: 0, siblings: false });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_of_one_core_are_taken_only_for_want_of_others() {
        let of = |free: &[usize], pairs: fn(usize) -> Vec<usize>| {
            choose(free, pairs).map(|cores| (cores.peer, cores.load, cores.second, cores.siblings))
        };
        let alone = |core| vec![core];
        let neighbours = |core: usize| vec![core & !1, core | 1];
        let halves = |core: usize| vec![core % 4, core % 4 + 4];
        assert_eq!(of(&[0, 1], alone), Some((0, 1, 1, false)));
        assert_eq!(of(&[0, 1, 2, 3], neighbours), Some((0, 2, 1, false)));
        assert_eq!(of(&[0, 1, 2, 3, 4, 5], neighbours), Some((0, 2, 4, false)));
        assert_eq!(of(&[0, 1, 2, 3, 4, 5, 6, 7], halves), Some((0, 1, 2, false)));
        assert_eq!(of(&[0, 1], neighbours), Some((0, 1, 1, true)));
        assert_eq!(of(&[3], alone), None);
        assert_eq!((listed("0-1,8\n"), listed("2,6\n"), listed("x")), (vec![0, 1, 8], vec![2, 6], vec![]));
    }

    #[test]
    fn a_second_core_is_the_loads_only_where_there_is_no_third() {
        for (second, apart) in [(1, false), (2, true)] {
            let cores = Cores { peer: 0, load: 1, second, siblings: false };
            assert_eq!(cores.apart(), apart);
            let has = |both: bool| -> Vec<usize> {
                (0..4).filter(|&core| cores.of_peer(both).is_set(core).unwrap_or(false)).collect()
            };
            assert_eq!((has(false), has(true)), (vec![0], vec![0, second]));
        }
    }
}
