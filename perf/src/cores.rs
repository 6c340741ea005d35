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
    let mut set = CpuSet::new();
    set.set(load)
        .and_then(|()| sched_setaffinity(this, &set))
        .map_err(|error| format!("cannot pin: {error}"))?;
    Ok(*CHOSEN.get_or_init(|| Cores { peer, load }))
}

/// The cores that [`settle`] chose.
pub fn chosen() -> Cores {
    *CHOSEN.get().expect("cores are settled before anything is measured")
}
