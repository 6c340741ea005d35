//! What is written must not be written to by two: files of options that come to the same place are refused.
//!
//! Owns that comparison. It looks at links and directories, and opens nothing.

use crate::config::{Config, Listen, Process};
use crate::observe::log::{Spot, find};
use std::path::{Path, PathBuf};

/// Makes sure that log, pid file and its draft, socket and recordings are different files.
///
/// # Errors
/// One line with both options.
pub(super) fn check(config: &Config) -> Result<(), String> {
    let log = config.logs.file.as_deref().map(|path| ("--log-file", path));
    let pid = config.process.pid_file.as_deref().map(|path| ("--pid-file", path));
    // Before it is in its place it has another name.
    let draft = config.process.pid_file.as_deref().map(Process::draft_of);
    let draft = draft.as_deref().map(|path| ("--pid-file", path));
    let socket = match &config.listen {
        Listen::Unix { path, .. } => Some(("--unix-listen", &**path)),
        Listen::Tcp { .. } | Listen::Inherited => None,
    };
    let mut seen: Vec<(&str, PathBuf)> = Vec::new();
    for (option, path) in [log, pid, draft, socket].into_iter().flatten() {
        let Some(place) = place(path) else { continue };
        if let Some((other, _)) = seen.iter().find(|(_, there)| *there == place) {
            return Err(format!("{option}: {}: {other} has it already; name another", path.display()));
        }
        if let Some(record) = &config.record
            && place.parent() == record.directory.canonicalize().ok().as_deref()
            && place.file_name().is_some_and(|name| record.overwrites(name))
        {
            return Err(format!("{option}: {}: --record calls recordings so; name another", path.display()));
        }
        seen.push((option, place));
    }
    Ok(())
}

/// Where a path leads, by directories without links; `None` for a descriptor. Links that are refused elsewhere lead nowhere.
fn place(path: &Path) -> Option<PathBuf> {
    let path = match find(path) {
        Ok(Spot::Descriptor(_)) => return None,
        Ok(Spot::File(path)) => path,
        Err(_) => path.to_owned(),
    };
    let directory = path.parent().and_then(|directory| directory.canonicalize().ok());
    match (directory, path.file_name()) {
        (Some(directory), Some(name)) => Some(directory.join(name)),
        _ => Some(path),
    }
}
