//! Limits that the control groups of this process set, its own and those of all groups above, in both generations.

use std::path::Path;

/// Where groups are mounted: the unified hierarchy itself, or one directory for each controller of the first generation.
const ROOT: &str = "/sys/fs/cgroup";

/// The least limit along the way from this process's group to the root; `None` when there is none anywhere. `limit_at`
/// reads that of one group from its directory. `controller` names the hierarchy of the first generation.
pub fn least<T: Ord>(controller: &str, limit_at: impl Fn(&Path) -> Option<T>) -> Option<T> {
    let memberships = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    least_of(Path::new(ROOT), &memberships, controller, limit_at)
}

fn least_of<T: Ord>(
    root: &Path,
    memberships: &str,
    controller: &str,
    limit_at: impl Fn(&Path) -> Option<T>,
) -> Option<T> {
    let hierarchies = memberships.lines().filter_map(|line| {
        let (_, line) = line.split_once(':')?;
        let (controllers, own) = line.split_once(':')?;
        match controllers {
            "" => Some((root.to_owned(), own)),
            some if some.split(',').any(|name| name == controller) => Some((root.join(controller), own)),
            _ => None,
        }
    });
    let limits = hierarchies.filter_map(|(top, own)| {
        // Inside a container the own path reads as "/", or as one that is only there outside: the top counts in any case.
        let group = top.join(own.trim_start_matches('/'));
        group.ancestors().take_while(|path| path.starts_with(&top)).filter_map(&limit_at).min()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Tree {
            let root = std::env::temp_dir().join(format!("websplice-cgroup-{name}-{}", std::process::id()));
            Tree(root)
        }

        fn write(&self, file: &str, text: &str) {
            let file = self.0.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }

        fn least(&self, memberships: &str) -> Option<u64> {
            least_of(&self.0, memberships, "memory", |group| {
                fs::read_to_string(group.join("limit")).ok()?.trim().parse().ok()
            })
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn a_limit_anywhere_above_counts() {
        let tree = Tree::new("unified");
        tree.write("slice/service/limit", "max\n");
        assert_eq!(tree.least("0::/slice/service\n"), None);
        tree.write("slice/limit", "4096\n");
        tree.write("limit", "8192\n");
        assert_eq!(tree.least("0::/slice/service\n"), Some(4096));
        assert_eq!(tree.least("0::/\n"), Some(8192));
        tree.write("slice/service/limit", "1024\n");
        assert_eq!(tree.least("0::/slice/service\n"), Some(1024));
    }

    #[test]
    fn the_first_generation_has_a_directory_for_each_controller() {
        let tree = Tree::new("legacy");
        tree.write("memory/docker/abc/limit", "4096");
        tree.write("memory/limit", "8192");
        tree.write("limit", "1");
        let memberships = |memory: &str| format!("3:cpuset:/\n4:{memory}:/docker/abc\n");
        assert_eq!(tree.least(&memberships("memory")), Some(4096));
        assert_eq!(tree.least(&memberships("hugetlb,memory")), Some(4096));
        assert_eq!(tree.least(&memberships("pids")), None);
        assert_eq!(tree.least("4:memory:/elsewhere\n"), Some(8192));
    }
}
