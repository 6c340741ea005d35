//! Temporary directories that go away with the value. Short paths, because socket names may only have 107 bytes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory of its own, removed on drop.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    /// Makes one.
    pub fn new() -> TempDir {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("websplice-{}-{count}", std::process::id()));
        fs::create_dir_all(&path).expect("the temporary directory is writable");
        TempDir(path.canonicalize().expect("it was just made"))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The path of a name in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The path of a name in it, as an argument of a command line.
    pub fn arg(&self, name: &str) -> String {
        self.join(name).to_str().expect("temporary paths are plain").to_owned()
    }

    /// Writes a file in it, with the directories it needs.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        fs::create_dir_all(path.parent().expect("a file lies in a directory")).expect("it is writable");
        fs::write(&path, content).expect("it is writable");
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // Nothing depends on it, and a panic here would hide the test's own.
        let _ = fs::remove_dir_all(&self.0);
    }
}
