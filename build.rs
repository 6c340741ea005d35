//! Tells the program which commit it was built from, for `--version`.
//!
//! `WEBSPLICE_COMMIT` in the environment wins, for packages that are built outside of a repository. Otherwise git is asked;
//! without git, or in an unpacked archive, there is simply no commit. Nothing here can fail a build.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=WEBSPLICE_COMMIT");
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("WEBSPLICE_COMMIT").is_some() || !is_our_repository() {
        return;
    }
    // A commit moves the branch, a checkout moves HEAD, and both are noted in HEAD's log; `pack-refs` moves the branch into
    // another file. In a linked work tree these lie in different places, which only git knows. A path that does not exist
    // would make cargo run this at every build.
    let branch = git(&["rev-parse", "--symbolic-full-name", "HEAD"]);
    let names = ["HEAD", "logs/HEAD", "packed-refs"];
    for name in names.into_iter().chain(branch.as_deref()) {
        match git(&["rev-parse", "--git-path", name]) {
            Some(path) if Path::new(&path).exists() => println!("cargo::rerun-if-changed={path}"),
            _ => {}
        }
    }
    if let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) {
        println!("cargo::rustc-env=WEBSPLICE_COMMIT={commit}");
    }
}

/// Is this directory the top of a work tree? A copy of the sources inside somebody else's repository is not.
fn is_our_repository() -> bool {
    git(&["rev-parse", "--show-prefix"]).is_some_and(|prefix| prefix.is_empty())
}

/// The output of a git command, if it succeeds.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
