//! Directories that are made, held and removed; and nothing else in their places.

use super::*;

/// A directory that nobody holds.
fn base() -> PathBuf {
    let (directory, _) = for_socket().unwrap();
    directory.path().to_owned()
}

#[test]
fn a_socket_has_a_place_of_this_user_alone() {
    let (directory, socket) = for_socket().unwrap();
    assert_eq!(fs::metadata(directory.path()).unwrap().permissions().mode() & 0o777, 0o700);
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    directory.remove();
    assert!(!directory.path().exists());
}

#[test]
fn the_interposer_is_a_library_that_all_can_read_and_nobody_change() {
    let directory = for_interposer().unwrap();
    let file = interposer(directory.path());
    assert!(fs::read(&file).unwrap().starts_with(b"\x7fELF"));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o555);
    assert_eq!(fs::metadata(directory.path()).unwrap().permissions().mode() & 0o777, 0o711);
    directory.remove();
    assert!(!directory.path().exists());
}

#[test]
fn places_that_do_not_serve_are_passed_over_and_told() {
    let base = base();
    let full = make(&[base.join("absent"), base.clone()], |_| Ok(())).unwrap();
    assert_eq!(full.path().parent(), Some(base.as_path()));
    full.remove();
    let told = make(&[base.join("absent")], |_| Ok(())).unwrap_err();
    assert!(told.contains("absent: No such file"), "{told}");
    let told = make(std::slice::from_ref(&base), |_| Err(ErrorKind::StorageFull.into())).unwrap_err();
    assert!(told.contains("no storage space"), "{told}");
    assert!(!loadable(Path::new("/tmp/a b")) && !loadable(Path::new("/tmp/a:b")));
    fs::remove_dir(&base).unwrap();
}

#[test]
fn the_interposer_goes_where_others_can_get_to() {
    let closed = base();
    let within = closed.join("within");
    DirBuilder::new().mode(0o755).create(&within).unwrap();
    let open = PathBuf::from("/");
    let ordered = for_others(vec![closed.clone(), within.clone(), open.clone()]);
    assert_eq!(ordered, [open, closed.clone(), within.clone()]);
    fs::remove_dir(&within).unwrap();
    fs::remove_dir(&closed).unwrap();
}

#[test]
fn what_killed_servers_have_left_is_removed_unless_it_is_held() {
    let base = base();
    let mut ended = std::process::Command::new("true").spawn().unwrap();
    ended.wait().unwrap();
    let make = |name: String| {
        let directory = base.join(name);
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join(REBIND_NAME), REBIND).unwrap();
        directory
    };
    let stale = make(format!("websplice-{}-a1", ended.id()));
    let used = make(format!("websplice-{}-a2", ended.id()));
    let precious = make(format!("websplice-{}-a3", ended.id()));
    let own = make(format!("websplice-{}-a4", std::process::id()));
    let other = make(format!("websplice-{}-x", ended.id()));
    fs::write(precious.join("precious"), "").unwrap();
    let link = base.join(format!("websplice-{}-a5", ended.id()));
    std::os::unix::fs::symlink(&other, &link).unwrap();
    let held = Scratch::hold(&used).unwrap().unwrap();
    remove_stale(std::slice::from_ref(&base));
    assert!(!stale.exists());
    for directory in [&used, &own, &other] {
        assert!(interposer(directory).exists(), "{}", directory.display());
    }
    assert!(precious.join("precious").exists());
    drop(held);
    remove_stale(std::slice::from_ref(&base));
    assert!(!used.exists() && own.exists() && link.is_symlink());
    fs::remove_dir_all(&base).unwrap();
}

#[test]
fn only_a_socket_is_removed_before_a_start() {
    let (directory, socket) = for_socket().unwrap();
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    directory.remove_socket();
    assert!(!socket.exists());
    fs::write(&socket, "no socket").unwrap();
    directory.remove_socket();
    assert!(socket.exists());
    directory.remove();
}

/// Somebody who tidies up, in another container, sees no server and finds it before it is held.
#[test]
fn a_directory_that_is_removed_before_it_is_held_is_made_again() {
    let base = base();
    let tries = std::cell::Cell::new(0);
    let rivals: std::cell::RefCell<Vec<Locked>> = Vec::new().into();
    let made = make_held(&base, |path| {
        tries.set(tries.get() + 1);
        match tries.get() {
            1 => clear(&open(path)?, path),
            2 => rivals.borrow_mut().push(Locked::exclusively(open(path)?).map_err(|(_, error)| error)?),
            _ => {}
        }
        Scratch::hold(path)
    });
    let made = made.unwrap();
    assert_eq!(tries.get(), 3);
    assert!(made.path().exists());
    assert!(Locked::exclusively(open(made.path()).unwrap()).is_err(), "it is held");
    let never = make_held(&base, |_| Ok(None)).unwrap_err();
    assert!(never.to_string().starts_with("somebody else takes"), "{never}");
    drop((made, rivals));
    fs::remove_dir_all(&base).unwrap();
}

#[test]
fn what_was_put_in_its_place_is_left_alone() {
    let base = base();
    let made = make(std::slice::from_ref(&base), Scratch::add_interposer).unwrap();
    let (moved, theirs) = (base.join("moved"), base.join("theirs"));
    fs::create_dir(&theirs).unwrap();
    for name in [REBIND_NAME, SOCKET_NAME] {
        fs::write(theirs.join(name), "precious").unwrap();
    }
    fs::rename(made.path(), &moved).unwrap();
    std::os::unix::fs::symlink(&theirs, made.path()).unwrap();
    assert!(Scratch::hold(made.path()).is_err(), "a link is not followed");
    made.remove_socket();
    made.remove();
    assert_eq!(fs::read_dir(&theirs).unwrap().count(), 2);
    assert_eq!(fs::read_dir(&moved).unwrap().count(), 0, "what it has made is removed, wherever it is now");
    fs::remove_file(made.path()).unwrap();
    fs::create_dir(made.path()).unwrap();
    made.remove();
    assert!(made.path().exists(), "it is another one");
    if geteuid().is_root() {
        std::os::unix::fs::chown(&moved, Some(65_534), None).unwrap();
        assert!(Scratch::hold(&moved).unwrap().is_none(), "it is somebody else's");
    }
    fs::remove_dir_all(&base).unwrap();
}
