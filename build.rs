//! Tells the program which commit it was built from, for `--version`, and builds the interposer that it carries for wrap
//! mode.
//!
//! `WEBSPLICE_COMMIT` in the environment wins, for packages that are built outside of a repository. Otherwise git is asked;
//! without git, or in an unpacked archive, there is simply no commit. The interposer needs the C compiler that other parts
//! of the build need as well.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The source of the interposer.
const REBIND: &str = "src/wrap/rebind.c";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={REBIND}");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux") {
        build_interposer();
    }
    name_commit();
}

/// A shared library that is linked against nothing, so that it goes with every libc.
fn build_interposer() {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo says where")).join("rebind.so");
    let mut build = cc::Build::new();
    build.opt_level(2).pic(true).warnings(true).warnings_into_errors(false);
    let mut compiler = build.get_compiler().to_command();
    compiler.args([
        "-shared",
        "-nostdlib",
        "-fvisibility=hidden",
        "-fno-stack-protector",
        "-U_FORTIFY_SOURCE",
    ]);
    compiler.args(["-Wl,-z,noexecstack", "-Wl,-z,now", "-Wl,-s", "-o"]).arg(&out).arg(REBIND);
    let status = compiler.status().unwrap_or_else(|error| panic!("cannot run {compiler:?}: {error}"));
    assert!(status.success(), "{compiler:?} failed: {status}");
}

fn name_commit() {
    println!("cargo::rerun-if-env-changed=WEBSPLICE_COMMIT");
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
