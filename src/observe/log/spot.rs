//! What the name of a log file stands for: a file, or a descriptor that whoever started the process has left open.
//!
//! Owns which symbolic links are followed: those of root or of the process itself, in a directory that belongs to one of them
//! and that not everybody may write to. Whoever can put a link there decides what is written to; the group of such a directory
//! is trusted as far as its owner trusts it, since directories of logs commonly have one. It opens nothing.

use nix::unistd::geteuid;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Links that are followed one after the other, at most: as many as make sense, and no ring.
const LINKS_MAX: usize = 8;

/// Where lines go.
#[derive(Debug, PartialEq, Eq)]
pub enum Spot {
    /// To the file of this name, which is no link; it may be absent, or something else.
    File(PathBuf),
    /// To this descriptor.
    Descriptor(i32),
}

/// The descriptor that an absolute path is a name of, whatever the file system has there.
pub fn descriptor(path: &Path) -> Option<i32> {
    match path.to_str()? {
        "/dev/stdin" => Some(0),
        "/dev/stdout" => Some(1),
        "/dev/stderr" => Some(2),
        name => {
            // A process that knows its own number, as the first one of a container does, names its output by that.
            let own = format!("/proc/{}/fd/", std::process::id());
            let digits =
                ["/dev/fd/", "/proc/self/fd/", &own].iter().find_map(|way| name.strip_prefix(way))?;
            let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|_| is_number)
        }
    }
}

/// Finds out what an absolute path stands for.
///
/// # Errors
/// A link that is not followed.
pub fn find(path: &Path) -> io::Result<Spot> {
    let mut path = path.to_owned();
    for _ in 0..=LINKS_MAX {
        if let Some(number) = descriptor(&path) {
            return Ok(Spot::Descriptor(number));
        }
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => path = led_to(&path, &found)?,
            // What is absent or out of reach is told by whoever opens it.
            Ok(_) | Err(_) => return Ok(Spot::File(path)),
        }
    }
    Err(io::Error::other(format!(
        "more than {LINKS_MAX} symbolic links in a row; name the file they lead to"
    )))
}

/// Where a link leads, if it is one to be trusted.
fn led_to(link: &Path, found: &Metadata) -> io::Result<PathBuf> {
    let directory = link.parent().unwrap_or(Path::new("/"));
    let around = fs::metadata(directory)?;
    let own = geteuid().as_raw();
    let is_trusted = |owner: u32| owner == 0 || owner == own;
    if !is_trusted(found.uid()) {
        return Err(refused("of another user"));
    }
    if !is_trusted(around.uid()) || around.mode() & 0o002 != 0 {
        return Err(refused("in a directory that others may write to"));
    }
    let target = fs::read_link(link)?;
    // What was read is what was judged, and no other in its place.
    let mark = |of: &Metadata| (of.dev(), of.ino(), of.ctime(), of.ctime_nsec());
    match mark(&fs::symlink_metadata(link)?) == mark(found) {
        true => Ok(directory.join(target)),
        false => Err(refused("that is being changed")),
    }
}

fn refused(which: &str) -> io::Error {
    io::Error::other(format!("a symbolic link {which} is not followed; name the file it leads to"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, lchown, symlink};

    #[test]
    fn descriptors_have_names() {
        for (name, number) in [
            ("/dev/stdout", Some(1)),
            ("/dev/stderr", Some(2)),
            ("/dev/fd/1", Some(1)),
            ("/proc/self/fd/17", Some(17)),
            ("/dev/fd/", None),
            ("/dev/fd/+1", None),
            ("/dev/fd/-1", None),
            ("/dev/fd/1/x", None),
            ("/dev/fd/99999999999", None),
            ("/dev/null", None),
            ("/var/log/stdout", None),
        ] {
            assert_eq!(descriptor(Path::new(name)), number, "{name}");
        }
        let (own, starter) = (std::process::id(), std::os::unix::process::parent_id());
        assert_eq!(descriptor(&PathBuf::from(format!("/proc/{own}/fd/1"))), Some(1));
        assert_eq!(descriptor(&PathBuf::from(format!("/proc/{starter}/fd/1"))), None, "it is of another");
    }

    #[test]
    fn links_are_followed_where_not_everybody_can_have_made_them() {
        let place = std::env::temp_dir().join(format!("websplice-spot-{}", std::process::id()));
        fs::create_dir_all(place.join("open")).unwrap();
        fs::set_permissions(&place, Permissions::from_mode(0o755)).unwrap();
        let at = |name: &str| place.join(name);
        symlink("own.log", at("near")).unwrap();
        symlink(at("near"), at("far")).unwrap();
        symlink("/dev/stdout", at("out")).unwrap();
        symlink(format!("/proc/{}/fd/2", std::process::id()), at("err")).unwrap();
        symlink("ring", at("ring")).unwrap();
        symlink("../own.log", at("open/link")).unwrap();
        symlink("open/link", at("through")).unwrap();
        fs::set_permissions(at("open"), Permissions::from_mode(0o1777)).unwrap();
        assert_eq!(find(&at("own.log")).unwrap(), Spot::File(at("own.log")));
        assert_eq!(find(&at("near")).unwrap(), Spot::File(at("own.log")));
        assert_eq!(find(&at("far")).unwrap(), Spot::File(at("own.log")));
        assert_eq!(find(&at("out")).unwrap(), Spot::Descriptor(1));
        assert_eq!(find(&at("err")).unwrap(), Spot::Descriptor(2));
        // As /var/log is in many places.
        fs::set_permissions(&place, Permissions::from_mode(0o775)).unwrap();
        assert_eq!(find(&at("near")).unwrap(), Spot::File(at("own.log")));
        for (name, word) in
            [("ring", "in a row"), ("open/link", "others may write"), ("through", "others may")]
        {
            let error = find(&at(name)).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("symbolic link"), "{name}: {error}");
        }
        // Only root can give a link away.
        if geteuid().is_root() {
            lchown(at("near"), Some(65_534), None).unwrap();
            for name in ["near", "far"] {
                let error = find(&at(name)).unwrap_err().to_string();
                assert!(error.contains("of another user"), "{name}: {error}");
            }
            lchown(at("near"), Some(0), None).unwrap();
            lchown(&place, Some(65_534), None).unwrap();
            assert!(find(&at("near")).is_err(), "whoever owns the directory can put links there");
        }
        fs::remove_dir_all(&place).unwrap();
    }
}
