//! What others may learn from the process: its arguments behind a loader, and its memory behind another user.

use super::standin::standin;
use crate::support::client::{Handshake, WsClient};
use crate::support::on_both_engines;
use crate::support::server::{Server, program};
use std::fs;
use std::os::unix::fs::MetadataExt;

on_both_engines!(a_loader_shows_no_secret, who_becomes_another_user_leaves_no_core);

/// The dynamic linker of this test, which is also that of the program: both are built alike.
fn loader() -> String {
    let maps = fs::read_to_string("/proc/self/maps").expect("we run");
    let mut paths = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    let is_loader = |path: &&str| path.rsplit('/').next().is_some_and(|name| name.starts_with("ld-"));
    paths.find(is_loader).expect("it was loaded").to_owned()
}

/// Its words stand in front of the program's, and it may be told another name for that.
fn a_loader_shows_no_secret(engine: &str) {
    if standin().is_none() {
        return;
    }
    let (loader, program) = (loader(), program().into_string().expect("a plain path"));
    let guard = ["--auth-plugin=BasicHTTPAuth", "--auth-source=me:secret", "--key-password", "secret"];
    let words = [&["--engine", engine, "--echo", "127.0.0.1:0"], &guard[..]].concat();
    for before in [&[program.as_str()][..], &["--argv0", "another", &program]] {
        let server = Server::launch(&loader, &[before, &words[..]].concat());
        let title = fs::read_to_string(format!("/proc/{}/cmdline", server.pid())).expect("it runs");
        let shown: Vec<&str> = title.split_terminator('\0').map(str::trim_end).collect();
        assert!(shown[0] == loader && shown[1..].starts_with(before), "{shown:?}");
        assert!(shown.ends_with(&["--auth-source=x", "--key-password", "x"]), "{shown:?}");
        assert!(!title.contains("secret"), "{title:?}");
        assert!(WsClient::try_open(server.wire(), &Handshake::new()).is_err());
        // Of me:secret.
        let me = Handshake::new().set("Authorization", "Basic bWU6c2VjcmV0");
        WsClient::open(server.wire(), &me).leave();
        server.stop();
    }
}

/// Where a system lets them, and the kernel makes the memory of who changes its user open again. Who owns the files of a process
/// in `/proc` tells.
fn who_becomes_another_user_leaves_no_core(engine: &str) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can become somebody else");
        return;
    }
    let Some(library) = standin() else { return };
    let preload = format!("LD_PRELOAD={library}");
    let binary = program().into_string().expect("a plain path");
    for (words, owner) in [(&["--echo"][..], 0), (&["--echo", "-v"], 65_534)] {
        let first = [
            &*preload,
            "STANDIN_SUID_DUMPABLE=1",
            &*binary,
            "--engine",
            engine,
            "--user=nobody",
            "127.0.0.1:0",
        ];
        let server = Server::launch("env", &[&first[..], words].concat());
        let found = fs::metadata(format!("/proc/{}/environ", server.pid())).expect("it runs");
        assert_eq!(found.uid(), owner, "{words:?}");
        server.stop();
    }
}
