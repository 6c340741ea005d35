//! What is replaced and what is not, who is believed to have it, and that nothing is left of what came to nothing.

use super::*;
use std::os::unix::fs::symlink;

/// A directory of this name and process.
fn place(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("websplice-pid-{name}-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    directory
}

/// Locks a file as everybody can who may read it.
fn locked(path: &Path) -> Locked {
    Locked::exclusively(File::open(path).unwrap()).unwrap()
}

/// Whether the draft can be had, as a start tries it.
fn claimed(draft: &Path) -> Option<PidFile> {
    let (file, is_new) = begin(draft).unwrap().unwrap();
    claim(draft, file, is_new).unwrap()
}

#[test]
fn only_a_leftover_is_replaced() {
    let directory = place("leftover");
    let path = directory.join("pid");
    let own = format!("{}\n", std::process::id());

    let first = PidFile::make(&path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), own);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o644);
    let refused = PidFile::make(&path).unwrap_err().to_string();
    assert_eq!(refused, format!("process {} has it; end that first", std::process::id()));
    // It may be the one to be replaced.
    PidFile::check(&path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), own, "a check leaves it there");
    drop(first);
    PidFile::check(&path).unwrap();
    assert!(!path.exists());

    for leftover in ["4194305\n", "12", ""] {
        fs::write(&path, leftover).unwrap();
        PidFile::check(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), leftover, "a check leaves it there");
        drop(PidFile::make(&path).unwrap());
        assert!(!path.exists(), "{leftover:?}");
    }
    for precious in ["key = value\n", "1234567890123456789012345678901234567890\n", "\n\n", "-1"] {
        fs::write(&path, precious).unwrap();
        let refused = PidFile::make(&path).unwrap_err().to_string();
        assert_eq!(PidFile::check(&path).unwrap_err().to_string(), refused, "{precious:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), precious);
    }
    fs::remove_file(&path).unwrap();
    fs::write(directory.join("other"), "12\n").unwrap();
    symlink(directory.join("other"), &path).unwrap();
    assert!(PidFile::make(&path).is_err_and(|error| error.to_string().contains("symbolic link")));
    assert_eq!(fs::read_to_string(directory.join("other")).unwrap(), "12\n");

    // Whoever has put another file there keeps it.
    fs::remove_file(&path).unwrap();
    let mine = PidFile::make(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, "theirs").unwrap();
    drop(mine);
    assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_lock_of_somebody_else_keeps_no_server_from_starting() {
    let directory = place("lock");
    let path = directory.join("pid");
    // The number of a process that has ended.
    let mut gone = std::process::Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    fs::write(&path, format!("{}\n", gone.id())).unwrap();
    let held = locked(&path);
    PidFile::check(&path).unwrap();
    let own = PidFile::make(&path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
    drop(held);
    let refused = PidFile::make(&path).unwrap_err().to_string();
    assert!(refused.contains("has it; end that first"), "{refused}");
    drop(own);
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0, "no draft is left");
    fs::remove_dir_all(&directory).unwrap();
}

/// Who is seen to have it counts, and not whether the number runs: that may be anybody's by now.
#[test]
fn a_number_that_runs_again_is_not_whoever_has_the_lock() {
    let directory = place("again");
    let path = directory.join("pid");
    // Process 1 is there everywhere, whosever it is.
    fs::write(&path, "1\n").unwrap();
    if holders(&File::open(&path).unwrap()).is_err() {
        eprintln!("skipped: this system does not tell who has a lock");
        fs::remove_dir_all(&directory).unwrap();
        return;
    }
    let held = locked(&path);
    drop(PidFile::make(&path).unwrap());
    drop(held);
    // Where somebody unseen may share it, whoever else is seen to tells nothing.
    fs::write(&path, "1\n").unwrap();
    let held = Locked::shared(File::open(&path).unwrap()).unwrap();
    let who = |is_shared| who_has(&File::open(&path).unwrap(), "1", is_shared);
    assert_eq!(who(false), None);
    let told = who(true).unwrap();
    assert!(
        told.starts_with("a process that cannot be seen from here has it, of another container"),
        "{told}"
    );
    assert!(told.contains("its number is 1; end that first, or name"), "{told}");
    drop(held);
    assert_eq!(who(false), who(true), "nobody is seen at all");
    assert!(who(false).is_some());
    fs::remove_dir_all(&directory).unwrap();
}

/// Under hidepid the system tells of no other user's process which number it has where it runs.
#[test]
fn who_is_hidden_is_believed_by_the_number_here_only() {
    let holder = |pid, own, is_alone| Holder { pid, own, is_alone };
    let rows = [
        (holder(12, Some(12), true), Some(Who::Process(12))),
        (holder(4711, Some(12), true), Some(Who::Process(4711))),
        (holder(12, None, true), Some(Who::Process(12))),
        // Somebody who keeps a leftover locked.
        (holder(4711, None, true), None),
        (holder(4711, None, false), None),
        (holder(4711, Some(4711), true), None),
    ];
    for (seen, expected) in rows {
        assert_eq!(believed(&[seen], 12, false), expected, "{seen:?}");
    }
    let stranger = holder(4711, None, true);
    assert_eq!(believed(&[stranger, holder(12, None, false)], 12, true), Some(Who::Process(12)));
    // Whoever is not seen at all is believed, where a stranger does not keep everybody else out.
    assert_eq!(believed(&[], 12, false), Some(Who::Unseen));
    assert_eq!(believed(&[holder(4711, None, false)], 12, true), Some(Who::Unseen));
    assert_eq!(believed(&[stranger], 12, true), None);
}

#[test]
fn nothing_is_kept_open_that_can_be_written_to() {
    let directory = place("read");
    let own = PidFile::make(&directory.join("pid")).unwrap();
    assert_eq!((&*own.file).write(b"1").unwrap_err().raw_os_error(), Some(libc::EBADF));
    drop(own);

    // Nor where a lock wants it.
    let draft = directory.join("draft");
    fs::write(&draft, format!("{}\n", std::process::id())).unwrap();
    let open = || OpenOptions::new().read(true).write(true).open(&draft).unwrap();
    let first = || PidFile { path: draft.clone(), file: Locked::exclusively(open()).unwrap() };
    let own = hand_down(first(), File::open(&draft).unwrap()).unwrap().unwrap();
    assert_eq!((&*own.file).write(b"1").unwrap_err().raw_os_error(), Some(libc::EBADF));
    assert!(Locked::exclusively(File::open(&draft).unwrap()).is_err(), "it is still held");
    drop(own);
    assert!(!draft.exists());

    // Whoever had it while there was no lock has written another number, and it is theirs.
    fs::write(&draft, "12\n").unwrap();
    assert!(hand_down(first(), File::open(&draft).unwrap()).unwrap().is_none());
    assert!(draft.exists());
    fs::remove_dir_all(&directory).unwrap();
}

/// A lock on a draft counts only as long as the draft has its name.
#[test]
fn of_those_who_make_it_at_once_one_has_it() {
    let directory = place("race");
    let (path, draft) = (directory.join("pid"), Process::draft_of(&directory.join("pid")));
    let (early, is_new) = begin(&draft).unwrap().unwrap();
    assert_eq!(early.metadata().unwrap().mode() & 0o777, 0o600, "nobody else may open it");
    fs::remove_file(&draft).unwrap();
    assert!(is_new && claim(&draft, early, true).unwrap().is_none());
    let (early, _) = begin(&draft).unwrap().unwrap();
    let other = PidFile::make(&path).unwrap();
    assert!(claim(&draft, early, true).unwrap().is_none(), "it is in its place, and held");
    drop(other);
    let held = claimed(&draft);
    assert!(held.is_some() && claimed(&draft).is_none());
    drop(held);
    assert!(!draft.exists(), "what comes to nothing is taken away");

    // One that was locked by somebody else before.
    fs::write(&path, "4194305\n").unwrap();
    let held = locked(&path);
    let start = std::sync::Barrier::new(8);
    let made: Vec<_> = std::thread::scope(|scope| {
        let make = || {
            start.wait();
            PidFile::make(&path)
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1, "{made:?}");
    drop((held, made));
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0, "nothing is left");
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_draft_that_is_none_is_told_by_a_check_too() {
    let directory = place("draft");
    let (path, draft) = (directory.join("pid"), Process::draft_of(&directory.join("pid")));
    let theirs = directory.join("theirs");
    fs::write(&theirs, "x").unwrap();
    let long = "1".repeat(33);
    let rows: [(&dyn Fn(), &str); 4] = [
        (&|| symlink(&theirs, &draft).unwrap(), "a symbolic link is in the way; move it"),
        (&|| fs::write(&draft, &long).unwrap(), FOREIGN_DRAFT),
        (&|| fs::hard_link(&theirs, &draft).unwrap(), FOREIGN_DRAFT),
        (&|| fs::create_dir(&draft).unwrap(), FOREIGN_DRAFT),
    ];
    for (put, why) in rows {
        put();
        let refused = PidFile::make(&path).unwrap_err().to_string();
        assert_eq!(refused, format!("{}: {why}", draft.display()));
        assert_eq!(PidFile::check(&path).unwrap_err().to_string(), refused);
        assert!(fs::remove_file(&draft).or_else(|_| fs::remove_dir(&draft)).is_ok(), "it was left alone");
    }
    assert_eq!(fs::read_to_string(&theirs).unwrap(), "x");

    // One that a server which was killed has left is no reason not to start, and one that somebody keeps is.
    fs::write(&draft, "12").unwrap();
    PidFile::check(&path).unwrap();
    let held = locked(&draft);
    for refused in [PidFile::check(&path).unwrap_err(), PidFile::make(&path).unwrap_err()] {
        assert!(refused.to_string().ends_with(CONTENDED), "{refused}");
    }
    drop(held);
    drop(PidFile::make(&path).unwrap());

    fs::remove_dir_all(&directory).unwrap();
}

/// Where root's files are somebody else's, they are known by what was just made.
#[test]
fn whose_a_file_is_goes_by_its_file_system() {
    let directory = place("owner");
    let path = directory.join("pid");
    fs::write(&path, "12\n").unwrap();
    let found = fs::metadata(&path).unwrap();
    assert!(is_own(&found, || panic!("it is not asked")));
    if !geteuid().is_root() {
        eprintln!("skipped in part: only root can give a file away");
        fs::remove_dir_all(&directory).unwrap();
        return;
    }
    std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
    let found = fs::metadata(&path).unwrap();
    for (made, own) in [(Some(65_534), true), (Some(0), false), (Some(65_533), false), (None, true)] {
        assert_eq!(is_own(&found, || made), own, "{made:?}");
    }
    assert_eq!(judge(&path, || Some(65_534)).unwrap(), None);
    let refused = PidFile::make(&path).unwrap_err().to_string();
    assert_eq!(refused, "what is there belongs to another user; move it");
    // This one has no owners of its own, so that is what a check says as well.
    assert_eq!(PidFile::check(&path).unwrap_err().to_string(), refused);
    let draft = Process::draft_of(&directory.join("other"));
    fs::write(&draft, "").unwrap();
    assert_eq!(owner_beside(&draft), Some(0));
    std::os::unix::fs::chown(&draft, Some(65_534), None).unwrap();
    let refused = PidFile::make(&directory.join("other")).unwrap_err().to_string();
    assert!(refused.ends_with(FOREIGN_DRAFT), "{refused}");
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 2, "no sample is left");
    fs::remove_dir_all(&directory).unwrap();
}
