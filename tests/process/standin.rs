//! Answers of file systems and kernels that are not here: a library in front of libc, compiled once.

use crate::support::server::program;
use crate::support::temp::TempDir;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The library, and the word that has it loaded. `None`, and a word about it, where the program under test loads none.
pub(super) fn standin() -> Option<&'static str> {
    static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let file = FILE.get_or_init(|| {
        let file = compiled();
        let dir = TempDir::new();
        let mark = dir.join("loaded");
        let ran = Command::new(program())
            .arg("--version")
            .env("LD_PRELOAD", &file)
            .env("STANDIN_LOADED", &mark)
            .output()
            .expect("it starts");
        assert!(ran.status.success(), "{ran:?}");
        mark.exists().then_some(file)
    });
    if file.is_none() {
        eprintln!("skipped: the program is static, and loads nothing in front of libc");
    }
    file.as_deref().map(|file| file.to_str().expect("the build directory has a name that can be written"))
}

fn compiled() -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (made, file) =
        (place.join(format!("standin-{}.so", std::process::id())), place.join("process-standin.so"));
    let status = Command::new("cc")
        .args(["-O1", "-fPIC", "-shared", "-Wall", "-o"])
        .arg(&made)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/process/standin.c"))
        .arg("-ldl")
        .status()
        .expect("the compiler that links Rust is there");
    assert!(status.success(), "it compiles");
    // Another run of these tests may be using the file, so it is not written to but replaced.
    std::fs::rename(&made, &file).expect("the build directory is writable");
    file
}
