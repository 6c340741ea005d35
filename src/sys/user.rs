//! Users: looked up by name or number, and become for good.

use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, getgid, getuid, setegid, seteuid};
use std::io;

/// Who a process can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User number.
    pub user: u32,
    /// Number of the first group.
    pub group: u32,
    /// All groups.
    pub groups: Vec<u32>,
}

impl Identity {
    /// Finds `USER` or `USER:GROUP`, each a name or a number. The other groups of the user come with it.
    ///
    /// # Errors
    /// One line that says which of the two is unknown.
    pub fn find(word: &str) -> Result<Identity, String> {
        let (user, group) = match word.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (word, None),
        };
        let failed = |error: nix::Error| error.to_string();
        let known = match user.parse::<u32>() {
            Ok(number) => User::from_uid(Uid::from_raw(number)),
            Err(_) => User::from_name(user),
        };
        let known = known.map_err(failed)?;
        let number = match (&known, user.parse::<u32>()) {
            (Some(known), _) => known.uid.as_raw(),
            (None, Ok(number)) => number,
            (None, Err(_)) => return Err(format!("no such user: {user}; make it, or name another")),
        };
        let first = match group {
            Some(group) => match (group.parse::<u32>(), Group::from_name(group).map_err(failed)?) {
                (Ok(number), _) => number,
                (Err(_), Some(found)) => found.gid.as_raw(),
                (Err(_), None) => return Err(format!("no such group: {group}; make it, or name another")),
            },
            None => match &known {
                Some(known) => known.gid.as_raw(),
                None => return Err(format!("user {number} has no entry; name a group too, as USER:GROUP")),
            },
        };
        let groups = match &known {
            Some(known) => all_groups(&known.name, first).map_err(|error| error.to_string())?,
            None => vec![first],
        };
        Ok(Identity { user: number, group: first, groups })
    }

    /// Does `work` as this user, and comes back; as whoever this process is, if that is not root.
    ///
    /// # Errors
    /// When it cannot become this user, or cannot come back.
    pub fn try_on<T>(&self, work: impl FnOnce() -> T) -> io::Result<T> {
        if !geteuid().is_root() {
            return Ok(work());
        }
        let (groups, group) = (own_groups()?, getegid());
        let theirs: Vec<_> = self.groups.iter().copied().map(Gid::from_raw).collect();
        set_groups(&theirs)?;
        setegid(Gid::from_raw(self.group))?;
        seteuid(Uid::from_raw(self.user))?;
        let done = work();
        seteuid(Uid::from_raw(0))?;
        setegid(group)?;
        set_groups(&groups)?;
        Ok(done)
    }

    /// Whether this process becomes less than it is by becoming this user.
    #[must_use]
    pub fn changes(&self) -> bool {
        geteuid().is_root() && self.user != 0
    }

    /// Makes this process, with all its threads, this user, and makes sure that there is no way back.
    ///
    /// # Errors
    /// When that is not permitted, or a way back is left.
    pub fn take_on(&self) -> io::Result<()> {
        if !geteuid().is_root() {
            return self.is_already(getuid().as_raw() == self.user && geteuid().as_raw() == self.user);
        }
        let groups: Vec<_> = self.groups.iter().copied().map(Gid::from_raw).collect();
        set_groups(&groups)?;
        switch(Uid::from_raw(self.user), Gid::from_raw(self.group))?;
        if self.user != 0 && (nix::unistd::setuid(Uid::from_raw(0)).is_ok() || geteuid().is_root()) {
            return Err(io::Error::other(
                "root could be had again; start it with another user of the system",
            ));
        }
        lock(self.user)
    }

    /// Without root, nothing changes: user and group must be what they are to be.
    fn is_already(&self, is_user: bool) -> io::Result<()> {
        if !is_user {
            return Err(io::Error::other(
                "only root can become somebody else; start it as root, or leave --user out",
            ));
        }
        let (own, group) = ([getgid().as_raw(), getegid().as_raw()], self.group);
        if own != [group; 2] {
            return Err(io::Error::other(format!(
                "only root can change the group, from {} to {group}; name the one it has, as USER:GROUP",
                own[0]
            )));
        }
        Ok(())
    }
}

#[cfg(not(target_vendor = "apple"))]
fn all_groups(name: &str, first: u32) -> io::Result<Vec<u32>> {
    let name = std::ffi::CString::new(name)?;
    let groups = nix::unistd::getgrouplist(&name, Gid::from_raw(first))?;
    Ok(groups.into_iter().map(Gid::as_raw).collect())
}

#[cfg(target_vendor = "apple")]
fn all_groups(_: &str, first: u32) -> io::Result<Vec<u32>> {
    Ok(vec![first])
}

#[cfg(not(target_vendor = "apple"))]
fn own_groups() -> io::Result<Vec<Gid>> {
    Ok(nix::unistd::getgroups()?)
}

#[cfg(target_vendor = "apple")]
fn own_groups() -> io::Result<Vec<Gid>> {
    Ok(Vec::new())
}

#[cfg(not(target_vendor = "apple"))]
fn set_groups(groups: &[Gid]) -> io::Result<()> {
    Ok(nix::unistd::setgroups(groups)?)
}

#[cfg(target_vendor = "apple")]
fn set_groups(_: &[Gid]) -> io::Result<()> {
    Ok(())
}

/// Real, effective and saved numbers at once, so that none is left to go back to.
#[cfg(target_os = "linux")]
fn switch(user: Uid, group: Gid) -> io::Result<()> {
    nix::unistd::setresgid(group, group, group)?;
    nix::unistd::setresuid(user, user, user)?;
    Ok(())
}

/// As root, the plain calls set all of them.
#[cfg(not(target_os = "linux"))]
fn switch(user: Uid, group: Gid) -> io::Result<()> {
    nix::unistd::setgid(group)?;
    nix::unistd::setuid(user)?;
    Ok(())
}

/// No program that is started from here gets more than this user has, and no capability of root is left.
#[cfg(target_os = "linux")]
fn lock(user: u32) -> io::Result<()> {
    nix::sys::prctl::set_no_new_privs()?;
    match super::process::capabilities()? {
        0 => Ok(()),
        _ if user == 0 => Ok(()),
        kept => Err(io::Error::other(format!("capabilities of root are left: {kept:#x}"))),
    }
}

#[cfg(not(target_os = "linux"))]
fn lock(_: u32) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_by_number() {
        let root = Identity::find("root").unwrap();
        assert_eq!((root.user, root.group), (0, 0));
        assert!(root.groups.contains(&0));
        assert_eq!(Identity::find("0").unwrap(), root);
        let own_group = Identity::find("root:7").unwrap();
        assert_eq!((own_group.user, own_group.group), (0, 7));
        let bare = Identity { user: 4_000_000_123, group: 9, groups: vec![9] };
        assert_eq!(Identity::find("4000000123:9"), Ok(bare));
        for (word, complaint) in [
            ("no-such-user", "no such user: no-such-user; make it, or name another"),
            ("root:no-such-group", "no such group: no-such-group; make it, or name another"),
            ("", "no such user: ; make it, or name another"),
            ("4000000123", "user 4000000123 has no entry; name a group too, as USER:GROUP"),
        ] {
            assert_eq!(Identity::find(word), Err(complaint.to_owned()));
        }
    }

    #[test]
    fn without_root_a_group_is_not_passed_over() {
        let (user, group) = (getuid().as_raw(), getgid().as_raw());
        let own = Identity { user, group, groups: vec![group] };
        assert!(own.is_already(true).is_ok());
        assert!(own.is_already(false).is_err_and(|error| error.to_string().contains("somebody else")));
        let other = Identity { group: group + 1, ..own };
        let refused = other.is_already(true).unwrap_err().to_string();
        assert!(refused.contains(&format!("from {group} to {}", group + 1)), "{refused}");
    }
}
