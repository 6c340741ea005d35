//! Limits that the control group of this process sets, its own and those of all groups above it.

use std::path::Path;

/// Where the unified hierarchy is mounted.
const ROOT: &str = "/sys/fs/cgroup";

/// The least of what `file` says along the way from this process's group to the root; `None` when it sets no limit
/// anywhere. `parse` turns the text of one file into a number, or into `None` where it sets none.
pub fn least<T: Ord>(file: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
    let membership = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    // Inside a container the own path reads as "/".
    let own = membership.lines().find_map(|line| line.strip_prefix("0::"))?;
    least_of(Path::new(ROOT), own, file, parse)
}

fn least_of<T: Ord>(root: &Path, own: &str, file: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
    let group = root.join(own.trim_start_matches('/'));
    let along = group.ancestors().take_while(|path| path.starts_with(root));
    along.filter_map(|path| parse(&std::fs::read_to_string(path.join(file)).ok()?)).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_limit_anywhere_above_counts() {
        let root = std::env::temp_dir().join(format!("websplice-cgroup-{}", std::process::id()));
        let own = root.join("slice/service");
        fs::create_dir_all(&own).unwrap();
        let least = |own| least_of(&root, own, "memory.max", |text| text.trim().parse::<u64>().ok());
        assert_eq!(least("/slice/service"), None);
        fs::write(own.join("memory.max"), "max\n").unwrap();
        fs::write(root.join("slice/memory.max"), "4096\n").unwrap();
        fs::write(root.join("memory.max"), "8192\n").unwrap();
        assert_eq!(least("/slice/service"), Some(4096));
        assert_eq!(least("/"), Some(8192));
        fs::write(own.join("memory.max"), "1024\n").unwrap();
        assert_eq!(least("/slice/service"), Some(1024));
        fs::remove_dir_all(&root).unwrap();
    }
}
