//! Shows every rule of tidy firing on a small bad source, and keeping quiet on its good twin.
//!
//! The sources are strings, which tidy blanks before it looks; so they cannot trip over themselves.

use crate::floors::bad_edges;
use crate::scan::{code_only, tokens};
use crate::{FLOORS, findings, rules};

fn edges(file: &str, source: &str) -> Vec<String> {
    bad_edges(FLOORS, file, source).into_iter().map(|edge| edge.why).collect()
}

#[track_caller]
fn leads_astray(file: &str, source: &str, room: &str) {
    let found = edges(file, source);
    assert!(found.iter().any(|why| why.contains(&format!("see {room} "))), "{file}: {source}\n{found:?}");
}

#[track_caller]
fn leads_down(file: &str, source: &str) {
    assert_eq!(edges(file, source), Vec::<String>::new(), "{file}: {source}");
}

#[track_caller]
fn fires(found: &[rules::Finding], line: usize, word: &str) {
    assert!(found.iter().any(|(at, why)| *at == line && why.contains(word)), "{word} at {line}: {found:?}");
}

#[test]
fn upward_edges_are_found() {
    leads_astray("src/ws/mod.rs", "use crate::session::Session;", "session");
    leads_astray("src/limits.rs", "use crate::ws;", "ws");
    leads_astray("src/ws/decode.rs", "fn f() -> crate::config::Config { g() }", "config");
    leads_astray("src/ws/decode.rs", "use crate::{limits, shard::{self, Shard}};", "shard");
    leads_astray("src/ws/decode.rs", "use super::super::session::Session;", "session");
    leads_astray("src/ws/decode.rs", "#[cfg(test)] mod tests { use super::*; use crate::sim::Sim; }", "sim");
    leads_astray("src/ws/mod.rs", "mod tests { use super::super::{server}; }", "server");
    leads_astray("src/web/mod.rs", "mod files; pub use files::open;", "web::files");
    leads_astray("src/web/mod.rs", "mod files; fn f() { self::files::open() }", "web::files");
    leads_astray("src/pool.rs", "impl crate::observe::log::Sink for Pool {}", "observe::log");
    leads_astray("src/server.rs", "use crate::main::run;", "main");
}

#[test]
fn sideways_edges_are_found() {
    leads_astray("src/ws/mod.rs", "use crate::http::Head;", "http");
    leads_astray("src/session/bridge.rs", "use crate::engine::Engine;", "engine");
    leads_astray("src/engine/mod.rs", "use crate::session::Session;", "session");
    leads_astray("src/ring/mod.rs", "use crate::session::Session;", "session");
    leads_astray("src/engine/mod.rs", "use crate::ring;", "ring");
    leads_astray("src/poll.rs", "use crate::ring::Ring;", "ring");
    leads_astray("src/helpers/mod.rs", "use crate::shard;", "shard");
}

#[test]
fn downward_edges_pass() {
    leads_down("src/ws/decode.rs", "use crate::limits; use super::mask; use std::mem;");
    leads_down(
        "src/ring/mod.rs",
        "use crate::engine::{Engine, Token as T}; use crate::{limits::HOT_BYTES, pool::*};",
    );
    leads_down("src/shard/mod.rs", "mod perform; use crate::{helpers, ring, session}; use perform::go;");
    leads_down("src/web/files.rs", "use super::Answer; pub(in crate::web) fn f() {}");
    leads_down("src/main.rs", "fn main() { websplice::cli::run() }");
    leads_down("src/ws/mod.rs", "// use crate::session;\nconst TEXT: &str = \"crate::session::x\";");
    leads_down("src/ws/mod.rs", "use http::Other; fn f<T>(x: impl Fn() + use<T>) { x.http::<T>() }");
    leads_down("src/config.rs", "mod a { mod b { use super::super::super::web; } } use crate::http;");
}

#[test]
fn paths_that_name_no_room_are_found() {
    assert_eq!(edges("src/ws/mod.rs", "use crate::Everything;"), ["`crate::Everything` is no room"]);
    assert_eq!(edges("src/ws/mod.rs", "use crate::*;"), ["`crate::` is no room"]);
    assert_eq!(edges("src/shed.rs", ""), ["shed is in no room of the floor table"]);
}

#[test]
fn sizes_are_measured() {
    let page = |lines: usize| format!("fn f() {{\n{}}}\n", "    g();\n".repeat(lines - 2));
    fires(&rules::long_functions(&format!("\n{}", page(71))), 2, "fn f has 71 lines");
    assert_eq!(rules::long_functions(&page(70)), []);
    assert_eq!(rules::long_functions("trait T { fn f(a: [u8; 4]) -> u8; }\ntype F = fn(u8);\n"), []);
    let nested = format!("mod tests {{ impl A {{ {} }} }}", page(80));
    fires(&rules::long_functions(&nested), 1, "fn f has 80 lines");
    fires(&rules::long_file(&"x\n".repeat(501)), 501, "501 lines");
    assert_eq!(rules::long_file(&"x\n".repeat(500)), []);
}

#[test]
fn unsafe_is_kept_in_its_files_and_argued() {
    let bare = "fn f() {\n    unsafe { g() }\n}";
    let argued = "// SAFETY: the slice was checked.\nlet x =\n    unsafe { g() };\n";
    fires(&rules::unsafe_code("src/pool.rs", argued), 3, "outside");
    fires(&rules::unsafe_code("src/ws/mask.rs", bare), 2, "SAFETY");
    fires(&rules::unsafe_code("src/ws/mask.rs", "unsafe impl Send for X {}"), 1, "SAFETY");
    fires(&rules::unsafe_code("src/ws/mask.rs", "// SAFETY: far away.\n\nunsafe fn f() {}"), 3, "SAFETY");
    fires(
        &rules::unsafe_code("src/ws/mask.rs", "// SAFETY: of one.\nunsafe { a() };\nunsafe { b() };"),
        3,
        "SAFETY",
    );
    assert_eq!(rules::unsafe_code("src/ws/mask.rs", argued), []);
    assert_eq!(
        rules::unsafe_code("src/ws/mask.rs", "/// # Safety\n/// Needs AVX2.\n#[inline]\nunsafe fn f() {}"),
        []
    );
    assert_eq!(
        rules::unsafe_code("src/pool.rs", "type F = unsafe fn(u8); // unsafe\nlet s = \"unsafe {\";"),
        []
    );
}

#[test]
fn openings_words_attributes_and_doors_are_checked() {
    fires(&rules::opening("src/x.rs", "use std::fs;\n"), 1, "//!");
    fires(&rules::opening("tests/x.py", "import os\n"), 1, "\"\"\"");
    fires(&rules::opening("scripts/x.sh", "#!/bin/sh\nset -e\n"), 1, "#");
    assert_eq!(rules::opening("scripts/x.sh", "#!/bin/sh\n# Does a thing.\n"), []);
    for word in rules::BANNED {
        fires(&rules::banned_words(&format!("fine\n    {word}")), 2, word);
        assert_eq!(rules::banned_words(&format!("a{word} mktemp {}", "X".repeat(6))), []);
    }
    fires(&rules::bare_allows("#[allow(dead_code)]\nfn f() {}"), 1, "reason");
    fires(&rules::bare_allows("#![allow(\n    dead_code\n)]"), 1, "reason");
    assert_eq!(rules::bare_allows("#[allow(dead_code, reason = \"seen by macros\")]\nfn expect() {}"), []);
    assert_eq!(
        rules::bare_allows("// Seen by macros only.\n#[allow(dead_code)]\nfn f() { [expect(1)] }"),
        []
    );
    fires(
        &rules::platform_questions("src/pool.rs", "#[cfg(not(target_os = \"linux\"))]\nfn f() {}"),
        1,
        "door",
    );
    assert_eq!(rules::platform_questions("src/sys/calls.rs", "#[cfg(target_os = \"linux\")]\nfn f() {}"), []);
    fires(&rules::silent_chores(".PHONY: test run\ntest: lint ## Tests.\nrun:\n"), 1, "`run`");
}

#[test]
fn secrets_are_compared_at_one_place() {
    let room = "src/route/lookup/passwords.rs";
    for line in [
        "made.as_bytes() == digest.as_bytes()",
        "if computed.as_ref()[..16] != *tag {",
        "known && said == self.secret",
        "Hash::Plain(text) => password.eq(text),",
    ] {
        fires(&rules::hasty_comparisons(room, &format!("\n{line}\n")), 2, "as fast as it goes");
        assert_eq!(rules::hasty_comparisons("src/web/mod.rs", line), []);
    }
    for line in
        ["if round % 2 == 1 { password } else { x }", "if tag.len() != TAG_BYTES {", "// made == digest"]
    {
        assert_eq!(rules::hasty_comparisons(room, line), [], "{line}");
    }
    let call = "verify_slices_are_equal(a, b)";
    fires(&rules::hasty_comparisons("src/route/guard.rs", call), 1, "away from src/route/equal.rs");
    assert_eq!(rules::hasty_comparisons("src/route/equal.rs", call), []);
}

#[test]
fn a_page_stays_a_page() {
    fires(&rules::long_page(&"word | ".repeat(1_801)), 1, "1801 words");
    assert_eq!(rules::long_page(&"word | ".repeat(1_800)), []);
}

#[test]
fn a_whole_file_meets_all_rules() {
    let bad = "use crate::server;\nfn f() { unsafe { g() } }\n#[allow(dead_code)]\n";
    let found = findings("src/ws/bad.rs", bad);
    for word in ["server", "SAFETY", "outside", "reason", "opens without"] {
        assert!(found.iter().any(|(_, why)| why.contains(word)), "{word}: {found:?}");
    }
}

#[test]
fn blanking_keeps_lines_and_code() {
    let source = "a('x', '\\'', \"s\\\"}\", r#\"raw \" }\"#, b'{', b\"{\", 'life: /* { /* n */ } */ b) // }\nr\"{\" 'é' r#type";
    let code = code_only(source);
    assert_eq!(code.lines().count(), source.lines().count());
    assert!(!code.contains(['{', '}', 's', 'w', 'x']), "{code}");
    let words: Vec<&str> = tokens(&code).into_iter().map(|token| token.text).collect();
    assert!(words.contains(&"life") && words.contains(&"type") && words.contains(&"a"), "{words:?}");
}
