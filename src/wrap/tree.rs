//! The processes below a warden: found and told to end.
//!
//! A warden is their subreaper, so whatever they do they stay below it. It never looks at anybody else's.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeSet;

/// Sends a signal to every process below `root`.
pub fn tell(root: Pid, signal: Signal) {
    for process in below(root.as_raw(), &parents()) {
        // One that has ended meanwhile, or has become somebody else's, cannot be told.
        let _ = kill(Pid::from_raw(process), signal);
    }
}

/// All processes and their parents, as far as they can be read.
fn parents() -> Vec<(i32, i32)> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let stat = |number: i32| parent_in(&std::fs::read_to_string(format!("/proc/{number}/stat")).ok()?);
    numbers.filter_map(|number| Some((number, stat(number)?))).collect()
}

/// The parent in a line of `/proc/N/stat` (proc(5): the fourth field; the name before it may contain anything).
fn parent_in(stat: &str) -> Option<i32> {
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(1)?.parse().ok()
}

/// Everyone whose parents lead to `root`, parents before children.
fn below(root: i32, parents: &[(i32, i32)]) -> Vec<i32> {
    let (mut found, mut seen) = (vec![root], BTreeSet::from([root]));
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        let children = parents.iter().filter(|(_, theirs)| *theirs == parent).map(|(child, _)| *child);
        found.extend(children.filter(|child| seen.insert(*child)));
        next += 1;
    }
    found.split_off(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_descendants_and_nobody_else() {
        let parents = [(1, 0), (2, 1), (3, 1), (4, 3), (5, 4), (6, 2), (7, 7)];
        for (root, expected) in
            [(3, vec![4, 5]), (2, vec![6]), (5, vec![]), (1, vec![2, 3, 6, 4, 5]), (7, vec![])]
        {
            assert_eq!(below(root, &parents), expected, "below {root}");
        }
    }

    #[test]
    fn names_of_processes_do_not_confuse() {
        assert_eq!(parent_in("12 (a) S 1 2) S 7 12 12 0"), Some(7));
        assert_eq!(parent_in("12 (a"), None);
        let own = parents().into_iter().find(|(number, _)| *number == std::process::id() as i32);
        assert_eq!(own.map(|(_, parent)| parent), Some(nix::unistd::getppid().as_raw()));
    }
}
