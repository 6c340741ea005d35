//! Taste as a test: reads the tree of the project and fails on what reviewers would otherwise have to say again and again.
//!
//! The floor table below *is* the rule of who may import whom; the documentation of the library repeats it, and a test
//! here keeps the two equal. Each rule is shown to fire in `tidy/selftest.rs`. Nothing here changes a file.

#[path = "tidy/floors.rs"]
mod floors;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/scan.rs"]
mod scan;
#[path = "tidy/selftest.rs"]
mod selftest;

use floors::Row;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The house, from the ground up. A room sees every lower floor; on its own floor it sees the rows above its own in this
/// listing, if they are of the same wing; and itself. Nothing else.
const FLOORS: &[Row] = &[
    Row { floor: 0, wing: "", rooms: &["limits"] },
    Row { floor: 1, wing: "", rooms: &["pool", "slab", "observe::counters", "sys"] },
    Row { floor: 1, wing: "", rooms: &["timers"] },
    Row { floor: 2, wing: "", rooms: &["ws", "http", "tls", "target"] },
    Row { floor: 2, wing: "", rooms: &["tape", "framing"] },
    Row { floor: 3, wing: "", rooms: &["route", "web"] },
    Row { floor: 4, wing: "", rooms: &["config"] },
    Row { floor: 5, wing: "decisions", rooms: &["session"] },
    Row { floor: 5, wing: "completions", rooms: &["engine"] },
    Row { floor: 5, wing: "completions", rooms: &["ring", "poll", "sim"] },
    Row {
        floor: 6,
        wing: "",
        rooms: &["web::files", "observe", "observe::log", "tls::material", "crew", "names"],
    },
    Row { floor: 6, wing: "", rooms: &["tls::renewal", "plugin"] },
    Row { floor: 6, wing: "", rooms: &["route::lookup"] },
    Row { floor: 6, wing: "", rooms: &["observe::record", "observe::traffic"] },
    Row { floor: 6, wing: "", rooms: &["helpers"] },
    Row { floor: 6, wing: "", rooms: &["shard"] },
    Row { floor: 7, wing: "", rooms: &["cli", "listen", "wrap"] },
    Row { floor: 7, wing: "", rooms: &["server"] },
    Row { floor: 7, wing: "", rooms: &["main"] },
];

/// Names of the table that the library's documentation does not list: the binary, and a folder that is only a face.
const UNLISTED: &[&str] = &["main", "observe"];
/// Folders that are made by tools or hold other people's work.
const SKIPPED: &[&str] =
    &[".git", "target", "node_modules", "__pycache__", ".pytest_cache", "corpus", "artifacts"];
/// What counts as text that people read.
const TEXTS: &[&str] =
    &["rs", "py", "js", "mjs", "html", "css", "sh", "md", "toml", "json", "yml", "yaml", "Makefile", "run"];
/// What counts as a source: it has a length limit and opens by saying what it is.
const SOURCES: &[&str] = &["rs", "py", "js", "mjs", "html", "sh"];
/// Where sources live.
const SOURCE_ROOTS: &[&str] = &["src/", "tests/", "benches/", "perf/", "scripts/"];

#[test]
fn tree_is_tidy() {
    let mut report = String::new();
    let mut files = 0;
    for path in tree() {
        let Ok(text) = fs::read_to_string(root().join(&path)) else { continue };
        files += 1;
        for (line, why) in findings(&path, &text) {
            report.push_str(&format!("{path}:{line}: {why}\n"));
        }
    }
    assert!(files > 20, "only {files} files were seen; is this the project's tree?");
    assert!(report.is_empty(), "\n{report}");
}

#[test]
fn floors_are_documented_as_they_are_enforced() {
    let documentation = fs::read_to_string(root().join("src/lib.rs")).expect("the library has a root");
    for floor in 0..=7 {
        let row = documentation.lines().find_map(|line| line.strip_prefix(&format!("//! | {floor} | ")));
        let cell = row.and_then(|row| row.split(" | ").next()).unwrap_or_default();
        let told: BTreeSet<&str> = cell.split('`').skip(1).step_by(2).collect();
        let rooms = FLOORS.iter().filter(|row| row.floor == floor).flat_map(|row| row.rooms).copied();
        let meant: BTreeSet<&str> = rooms.filter(|room| !UNLISTED.contains(room)).collect();
        assert_eq!(
            told, meant,
            "floor {floor}: left as src/lib.rs documents it, right as this test enforces it"
        );
    }
}

/// Everything that is wrong with one file.
fn findings(path: &str, text: &str) -> Vec<rules::Finding> {
    let mut found = rules::banned_words(text);
    let kind = kind(path);
    if path == "docs/migrating-from-websockify.md" {
        found.extend(rules::long_page(text));
    }
    if SOURCES.contains(&kind) && SOURCE_ROOTS.iter().any(|root| path.starts_with(root)) {
        found.extend(rules::long_file(text));
        found.extend(rules::opening(path, text));
    }
    if kind == "rs" {
        found.extend(rules::long_functions(text));
        found.extend(rules::unsafe_code(path, text));
        found.extend(rules::bare_allows(text));
        found.extend(rules::platform_questions(path, text));
        found.extend(rules::hasty_comparisons(path, text));
    }
    if kind == "rs" && path.starts_with("src/") {
        found.extend(floors::bad_edges(FLOORS, path, text).into_iter().map(|edge| (edge.line, edge.why)));
    }
    if kind == "Makefile" {
        found.extend(rules::silent_chores(text));
    }
    found
}

/// The extension of a file, or its whole name if it has none.
fn kind(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.').map_or(name, |(_, extension)| extension)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file of the project, by its path from the root, sorted.
fn tree() -> Vec<String> {
    let mut open: Vec<PathBuf> = vec![root().to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the tree can be read").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind_of_entry = entry.file_type().expect("an entry of the tree has a type");
            if kind_of_entry.is_dir() && !SKIPPED.contains(&name.as_str()) {
                open.push(entry.path());
            } else if kind_of_entry.is_file() && TEXTS.contains(&kind(&name)) {
                let path = entry.path();
                let inside = path.strip_prefix(root()).expect("the walk began at the root");
                files.push(inside.to_string_lossy().into_owned());
            }
        }
    }
    files.sort();
    files
}
