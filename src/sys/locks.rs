//! Locks on whole files, flock(2): had without waiting, and who else is seen to have one.
//!
//! Who has one is read in `/proc`, which other systems lack; there nobody is seen. It decides nothing from it.

use nix::fcntl::FlockArg;
use std::fs::{self, File};
use std::io;
use std::ops::Deref;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;

/// A file that is locked for as long as the value lives. That it cannot be unlocked is no error: its lock goes with the
/// descriptor.
#[derive(Debug)]
pub struct Locked(File);

impl Locked {
    /// Locks `file` for this value alone.
    ///
    /// # Errors
    /// The file, with what the system says: `WouldBlock` if somebody else has it locked, and `EBADF` where the file system
    /// makes such locks of others that want it open for writing, as NFS does.
    pub fn exclusively(file: File) -> Result<Locked, (File, io::Error)> {
        Locked::by(FlockArg::LockExclusiveNonblock, file)
    }

    /// Locks `file` beside others that do so.
    ///
    /// # Errors
    /// As of [`Locked::exclusively`]; it is enough that the file is open for reading.
    pub fn shared(file: File) -> Result<Locked, (File, io::Error)> {
        Locked::by(FlockArg::LockSharedNonblock, file)
    }

    fn by(kind: FlockArg, file: File) -> Result<Locked, (File, io::Error)> {
        match flock(&file, kind) {
            Ok(()) => Ok(Locked(file)),
            Err(error) => Err((file, error)),
        }
    }

    /// Lets others share it. For a moment there may be no lock at all.
    ///
    /// # Errors
    /// As of [`Locked::exclusively`]; it is not locked any more then.
    pub fn share(&self) -> io::Result<()> {
        flock(&self.0, FlockArg::LockSharedNonblock)
    }
}

impl Deref for Locked {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // A process that is being started may hold a copy of the descriptor for a moment, so closing it is not enough.
        let _ = flock(&self.0, FlockArg::Unlock);
    }
}

#[expect(deprecated, reason = "the form that is not unlocks when it is dropped, and panics where that fails")]
fn flock(file: &File, kind: FlockArg) -> io::Result<()> {
    Ok(nix::fcntl::flock(file.as_raw_fd(), kind)?)
}

/// A process that is seen to have a file locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its number here.
    pub pid: i32,
    /// Its number where it runs: another one, if that is a container and this is outside of it. `None` if it is not told.
    pub own: Option<i32>,
    /// It shares the lock with nobody.
    pub is_alone: bool,
}

/// Who has a lock on `file`. Nobody sees processes of a pid namespace beside or above its own, nor those of another machine.
///
/// # Errors
/// When the system does not tell.
pub fn holders(file: &File) -> io::Result<Vec<Holder>> {
    let place = place_of(file)?;
    let locks = fs::read_to_string("/proc/locks")?;
    let seen = locks.lines().filter_map(|line| holder_in(line, &place));
    Ok(seen.map(|(pid, is_alone)| Holder { pid, own: own_number(pid), is_alone }).collect())
}

/// Whose lock a line of `/proc/locks` tells of, if it is one on the file at `place`: number: FLOCK ADVISORY WRITE pid place
/// from to. Who waits for one has an arrow behind the first.
fn holder_in(line: &str, place: &str) -> Option<(i32, bool)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    match fields[..] {
        [_, "FLOCK", _, kind, pid, at, ..] if at == place => Some((pid.parse().ok()?, kind == "WRITE")),
        _ => None,
    }
}

/// A file as `/proc/locks` calls it. stat(2) may tell of another device, and where file systems lie over each other of another
/// number.
fn place_of(file: &File) -> io::Result<String> {
    let about = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd()))?;
    let field = |name: &str| about.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let number = match field("ino:") {
        Some(number) => number.to_owned(),
        // Linux before 5.14 does not tell.
        None => file.metadata()?.ino().to_string(),
    };
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let device = field("mnt_id:").and_then(|id| {
        let of_mount = |line: &&str| line.split(' ').next() == Some(id);
        let (major, minor) = mounts.lines().find(of_mount)?.split(' ').nth(2)?.split_once(':')?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    });
    let (major, minor) = device.ok_or(io::ErrorKind::NotFound)?;
    Ok(format!("{major:02x}:{minor:02x}:{number}"))
}

/// The number of a process in its own pid namespace.
fn own_number(pid: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    numbers.split_whitespace().next_back()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_system_are_read() {
        let line = "12: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF";
        assert_eq!(holder_in(line, "fe:00:1234"), Some((4711, true)));
        assert_eq!(holder_in(&line.replace("WRITE", "READ "), "fe:00:1234"), Some((4711, false)));
        for other in [line.replace("FLOCK", "POSIX"), line.replace(": ", ": -> "), line.replace("1234", "12")]
        {
            assert_eq!(holder_in(&other, "fe:00:1234"), None, "{other}");
        }
        assert_eq!(holder_in("", "fe:00:1234"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn who_has_a_lock_is_seen() {
        let path = std::env::temp_dir().join(format!("websplice-locks-{}", std::process::id()));
        fs::write(&path, "").unwrap();
        let open = || File::open(&path).unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        assert_eq!(holders(&open()).unwrap(), []);
        let alone = Locked::exclusively(open()).unwrap();
        assert_eq!(holders(&open()).unwrap(), [Holder { pid: own, own: own_number(own), is_alone: true }]);
        assert_eq!(Locked::shared(open()).unwrap_err().1.kind(), io::ErrorKind::WouldBlock);
        alone.share().unwrap();
        let beside = Locked::shared(open()).unwrap();
        assert_eq!(
            holders(&open()).unwrap().iter().map(|seen| seen.is_alone).collect::<Vec<_>>(),
            [false; 2]
        );
        drop((alone, beside));
        assert!(Locked::exclusively(open()).is_ok());
        fs::remove_file(&path).unwrap();
    }
}
