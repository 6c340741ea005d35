//! The rules that need one file at a time: sizes, `unsafe`, opening words, banned words, attributes, platforms.
//!
//! Each takes a file's name and text and returns what is wrong with it; none reads the disk.

use crate::scan::{Token, code_only, is_name, tokens};

/// A broken rule: the line it was seen on, and what is wrong there.
pub type Finding = (usize, String);

/// Longest file, in lines. Beyond it there is a second room to find.
pub const FILE_LINES_MAX: usize = 500;
/// Longest function, in lines, from its `fn` to its closing brace.
pub const FUNCTION_LINES_MAX: usize = 70;
/// The only files that may say `unsafe`. The last two are no part of the server: the harness reads clocks and limits of
/// the system, and a counting allocator cannot be written without.
pub const UNSAFE_FILES: &[&str] = &[
    "src/ring/mod.rs",
    "src/sys/prefetch.rs",
    "src/sys/process.rs",
    "src/sys/seccomp.rs",
    "src/sys/turns.rs",
    "src/ws/mask.rs",
    "perf/src/sys.rs",
    "tests/allocations/counter.rs",
];
/// The only places that may ask which system they are built for; everything behind them is the same everywhere.
pub const PLATFORM_DOORS: &[&str] =
    &["src/lib.rs", "src/sys/", "src/server/engines.rs", "tests/allocations.rs", "tests/memory.rs"];
/// Words that may stand nowhere, in pieces so that this file may name them.
pub const BANNED: &[&str] = &[
    concat!("todo", "!"),
    concat!("unimplemented", "!"),
    concat!("dbg", "!"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/tmp", "/wt"),
];

/// Any source or script: not longer than a room.
pub fn long_file(text: &str) -> Vec<Finding> {
    let lines = text.lines().count();
    let why = format!("{lines} lines; at most {FILE_LINES_MAX} make one file");
    if lines > FILE_LINES_MAX { vec![(FILE_LINES_MAX + 1, why)] } else { Vec::new() }
}

/// Most words on a page that is to be read at one sitting.
const PAGE_WORDS_MAX: usize = 1_800;

/// A page: what is read as one stays one.
pub fn long_page(text: &str) -> Vec<Finding> {
    let words = text.split_whitespace().filter(|word| word.contains(char::is_alphanumeric)).count();
    let why = format!("{words} words; at most {PAGE_WORDS_MAX} make one page");
    if words > PAGE_WORDS_MAX { vec![(1, why)] } else { Vec::new() }
}

/// Any text: none of the banned words, taken as whole words.
pub fn banned_words(text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for word in BANNED.iter().filter(|word| has_word(line, word)) {
            found.push((index + 1, format!("`{word}` is a banned word")));
        }
    }
    found
}

fn has_word(line: &str, word: &str) -> bool {
    let joins = |letter: char| letter.is_alphanumeric() || letter == '_';
    line.match_indices(word).any(|(at, _)| {
        let (before, after) = (line[..at].chars().next_back(), line[at + word.len()..].chars().next());
        let open =
            !before.is_some_and(|letter| joins(letter) || (word.starts_with('/') && "./-}".contains(letter)));
        open && (word.ends_with('/') || !after.is_some_and(joins))
    })
}

/// Any source or script: opens by saying what it is.
pub fn opening(file: &str, text: &str) -> Vec<Finding> {
    let body = if text.starts_with("#!") { text.split_once('\n').map_or("", |(_, rest)| rest) } else { text };
    let sign = match file.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "rs" => "//! ",
        "py" => "\"\"\"",
        "js" | "mjs" => "//",
        "html" => return Vec::new(),
        _ => "# ",
    };
    let why = format!("opens without a `{}` paragraph on what it is", sign.trim_end());
    if body.trim_start().starts_with(sign) { Vec::new() } else { vec![(1, why)] }
}

/// Rust: no function longer than a page.
pub fn long_functions(source: &str) -> Vec<Finding> {
    let code = code_only(source);
    let tokens = tokens(&code);
    let starts =
        (0..tokens.len().saturating_sub(1)).filter(|&at| tokens[at].text == "fn" && is_name(&tokens[at + 1]));
    let lengths = starts.filter_map(|at| Some((at, body_end(&tokens[at..])? + 1 - tokens[at].line)));
    lengths
        .filter(|&(_, lines)| lines > FUNCTION_LINES_MAX)
        .map(|(at, lines)| {
            let name = tokens[at + 1].text;
            (
                tokens[at].line,
                format!("fn {name} has {lines} lines; at most {FUNCTION_LINES_MAX} make one function"),
            )
        })
        .collect()
}

/// Line of the brace that closes the function whose tokens these are; `None` if it has no body.
fn body_end(tokens: &[Token<'_>]) -> Option<usize> {
    let (mut inside, mut depth) = (0_i32, 0_i32);
    for token in tokens {
        match token.text {
            "(" | "[" => inside += 1,
            ")" | "]" => inside -= 1,
            ";" if inside == 0 && depth == 0 => return None,
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                if depth == 0 {
                    return Some(token.line);
                }
            }
            _ => {}
        }
    }
    None
}

/// Rust: `unsafe` in the named files only, each with its argument right above it.
pub fn unsafe_code(file: &str, source: &str) -> Vec<Finding> {
    let code = code_only(source);
    let tokens = tokens(&code);
    let lines: Vec<&str> = source.lines().collect();
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate().filter(|(_, token)| token.text == "unsafe") {
        let after = |ahead: usize| tokens.get(at + ahead).map_or("", |token| token.text);
        let pointer_type = after(1) == "fn" && after(2) == "("
            || after(1) == "extern" && after(4) == "fn" && after(5) == "(";
        if pointer_type {
            continue;
        }
        if !UNSAFE_FILES.contains(&file) {
            found.push((token.line, "`unsafe` outside the files that may hold it".to_owned()));
        }
        let contract = after(1) == "fn" && comment_above(&lines, token.line).contains("# Safety");
        if !contract && !comment_above(&lines, token.line).contains("SAFETY:") {
            found.push((token.line, "`unsafe` without a `// SAFETY:` comment right above".to_owned()));
        }
    }
    found
}

/// The comment that belongs to a line: above it, above its attributes, or above the statement it continues.
fn comment_above(lines: &[&str], line: usize) -> String {
    let mut comment = String::new();
    for text in lines[..line - 1].iter().rev().map(|text| text.trim()) {
        if text.starts_with("//") {
            comment.insert_str(0, text);
        } else if !comment.is_empty()
            || text.is_empty()
            || (text.ends_with([';', '{', '}', ',']) && !text.starts_with("#["))
        {
            break;
        }
    }
    comment
}

/// Rust: a lint is only switched off with a reason, inside the attribute or in a comment above it.
pub fn bare_allows(source: &str) -> Vec<Finding> {
    let code = code_only(source);
    let tokens = tokens(&code);
    let lines: Vec<&str> = source.lines().collect();
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate().filter(|(_, token)| matches!(token.text, "allow" | "expect"))
    {
        if at == 0 || tokens[at - 1].text != "[" {
            continue;
        }
        let mut words = tokens[at..].iter().take_while(|token| token.text != "]");
        if !words.any(|token| token.text == "reason") && comment_above(&lines, token.line).is_empty() {
            found.push((token.line, format!("`#[{}` without a reason", token.text)));
        }
    }
    found
}

/// Rust: questions about the operating system are asked at the doors only.
pub fn platform_questions(file: &str, source: &str) -> Vec<Finding> {
    if PLATFORM_DOORS.iter().any(|door| file == *door || (door.ends_with('/') && file.starts_with(door))) {
        return Vec::new();
    }
    let code = code_only(source);
    let asked = tokens(&code).into_iter().filter(|token| token.text == "target_os");
    asked.map(|token| (token.line, "`cfg(target_os` away from the door".to_owned())).collect()
}

/// Where secrets are compared with what strangers say.
const SECRET_ROOMS: [&str; 3] = ["src/route/guard.rs", "src/route/lookup/passwords.rs", "src/route/jwt/"];
/// The one comparison that they go through.
const SECRET_DOOR: &str = "src/route/equal.rs";
/// What secrets, and what is said in their place, are called there.
const SECRET_WORDS: [&str; 9] =
    ["secret", "secrets", "digest", "hash", "tag", "mac", "password", "made", "computed"];

/// Rust: secrets are compared at one place, in constant time.
pub fn hasty_comparisons(file: &str, source: &str) -> Vec<Finding> {
    let code = code_only(source);
    let mut found = Vec::new();
    for (index, line) in code.lines().enumerate() {
        if file != SECRET_DOOR && line.contains("verify_slices_are_equal") {
            found.push((index + 1, format!("a comparison of secrets away from {SECRET_DOOR}")));
        }
        let is_room = SECRET_ROOMS.iter().any(|room| file.starts_with(room)) && !file.ends_with("tests.rs");
        if is_room && ["==", "!=", ".eq(", ".ne("].iter().any(|sign| compares_secrets(line, sign)) {
            found.push((index + 1, "a secret is compared as fast as it goes".to_owned()));
        }
    }
    found
}

/// Whether one of the two operands of `sign` is called as secrets are; how long one is may be compared.
fn compares_secrets(line: &str, sign: &str) -> bool {
    let joins = |letter: char| letter.is_alphanumeric() || "_.()[]&*?:".contains(letter);
    let is_secret = |operand: &str| {
        let words = operand.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
        !operand.contains(".len()") && words.into_iter().any(|word| SECRET_WORDS.contains(&word))
    };
    line.match_indices(sign).any(|(at, _)| {
        let (left, right) = (line[..at].trim_end(), line[at + sign.len()..].trim_start());
        let left = left.trim_end_matches(joins).len().min(left.len());
        let right = &right[..right.len() - right.trim_start_matches(joins).len()];
        is_secret(&line[..at].trim_end()[left..]) || is_secret(right)
    })
}

/// The Makefile: every chore it offers says in one line what it does.
pub fn silent_chores(makefile: &str) -> Vec<Finding> {
    let phony = makefile
        .lines()
        .enumerate()
        .filter_map(|(index, line)| Some((index + 1, line.strip_prefix(".PHONY:")?)));
    let chores = phony.flat_map(|(line, words)| words.split_whitespace().map(move |word| (line, word)));
    let told = |chore: &str| {
        makefile
            .lines()
            .any(|line| line.starts_with(&format!("{chore}:")) && line.split_once("## ").is_some())
    };
    chores
        .filter(|(_, chore)| !told(chore))
        .map(|(line, chore)| (line, format!("chore `{chore}` has no `## ` line")))
        .collect()
}
