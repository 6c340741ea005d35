//! What recordings are called: patterns, and what their fields stand for.
//!
//! A name is one part of a path: whatever a client, a target or a token says, it neither leaves the directory nor hides in
//! it, and it is never longer than a system allows. What is checked of that when a pattern is read need not be at run time.

use crate::http::date;
use crate::limits::RECORD_NAMES_MAX;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::os::unix::ffi::OsStringExt;

/// Longest name that all systems take, in bytes.
const NAME_BYTES_MAX: usize = 255;
/// Longest that a target may be in a name, in bytes; the rest is cut.
const TARGET_BYTES_MAX: usize = 64;
/// Room kept for `-99` and `.part4294967295`.
const SUFFIX_BYTES_MAX: usize = 18;

/// How recordings are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
    /// What the name ends with, such as `.js`: what tells two names apart goes in front of it.
    extension: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(Field),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Name,
    Number,
    Time,
    Token,
    Client,
    Target,
}

/// What fields stand for.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The how many-th connection of the process it is, from 1.
    pub number: u64,
    /// When it was opened, in seconds since 1970.
    pub seconds: u64,
    /// A keyed hash of its token, as the log shows it.
    pub token: Option<u32>,
    /// Where the client is; `None` on a Unix socket.
    pub client: Option<IpAddr>,
    /// The target, as it is written in the log.
    pub target: String,
}

impl Field {
    const ALL: [(&'static str, Field, usize); 6] = [
        ("{name}", Field::Name, 0),
        ("{number}", Field::Number, 20),
        ("{time}", Field::Time, 16),
        ("{token}", Field::Token, 8),
        ("{client}", Field::Client, 45),
        ("{target}", Field::Target, TARGET_BYTES_MAX),
    ];
}

impl Default for Pattern {
    /// websockify's: the file that was named, a dot and the number.
    fn default() -> Pattern {
        let parts = vec![Part::Field(Field::Name), Part::Text(".".into()), Part::Field(Field::Number)];
        Pattern { parts, extension: String::new() }
    }
}

impl Pattern {
    /// Reads a pattern such as `{time}-{client}.js`.
    ///
    /// # Errors
    /// What is wrong with it, for a message: an unknown field, a slash or a byte that is not printable ASCII, a dot in
    /// front, nothing that tells two sessions apart, or more than fits a name.
    pub fn parse(text: &str) -> Result<Pattern, &'static str> {
        const FIELDS: &str = "the fields are {name}, {number}, {time}, {token}, {client}, {target}";
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some((word, field, _)) = Field::ALL.iter().find(|(word, ..)| rest.starts_with(word)) {
                parts.push(Part::Field(*field));
                rest = &rest[word.len()..];
                continue;
            }
            let end = rest.find('{').unwrap_or(rest.len());
            let (plain, behind) = rest.split_at(end);
            if end == 0 || plain.contains('}') {
                return Err(FIELDS);
            }
            if plain.bytes().any(|byte| byte == b'/' || !(b' '..=b'~').contains(&byte)) {
                return Err("it is the name of a file, without slashes and in printable ASCII");
            }
            parts.push(Part::Text(plain.to_owned()));
            rest = behind;
        }
        if !parts.iter().any(|part| matches!(part, Part::Field(field) if *field != Field::Name)) {
            return Err("it needs a field that tells sessions apart, such as {time} or {number}");
        }
        if text.starts_with('.') {
            return Err("it must not begin with a dot");
        }
        let mut extension = String::new();
        if let Some(Part::Text(last)) = parts.last_mut()
            && let Some(dot) = last.rfind('.')
            && last[dot + 1..].bytes().all(|byte| byte.is_ascii_alphanumeric())
        {
            extension = last.split_off(dot);
        }
        let pattern = Pattern { parts, extension };
        if pattern.longest(0) > NAME_BYTES_MAX {
            return Err("it is too long for the name of a file");
        }
        Ok(pattern)
    }

    /// Whether all its names fit a system where `{name}` is `base`.
    pub fn fits(&self, base: &OsStr) -> bool {
        self.longest(base.len()) <= NAME_BYTES_MAX
    }

    fn longest(&self, base: usize) -> usize {
        let len = |part: &Part| match part {
            Part::Text(text) => text.len(),
            Part::Field(Field::Name) => base,
            Part::Field(field) => Field::ALL.iter().find(|(_, own, _)| own == field).map_or(0, |row| row.2),
        };
        self.parts.iter().map(len).sum::<usize>() + self.extension.len() + SUFFIX_BYTES_MAX
    }

    /// The name of a session's `part`-th file, at the `attempt`-th try; both count from 1. Behind [`RECORD_NAMES_MAX`] tries
    /// it has the number of the connection and the time in it, which a client cannot use up as it can what tells of it.
    pub fn name(&self, base: &OsStr, facts: &Facts, part: u32, attempt: u32) -> OsString {
        let mut name = OsString::new();
        for piece in &self.parts {
            match piece {
                Part::Text(text) => name.push(text),
                Part::Field(Field::Name) => name.push(base),
                Part::Field(field) => name.push(value(*field, facts)),
            }
        }
        let mut suffix = String::new();
        let attempt = match attempt.checked_sub(RECORD_NAMES_MAX) {
            None | Some(0) => attempt,
            Some(attempt) => {
                let _ = write!(suffix, "-{}-{}", facts.number, value(Field::Time, facts));
                attempt
            }
        };
        if attempt > 1 {
            let _ = write!(suffix, "-{attempt}");
        }
        if part > 1 {
            let _ = write!(suffix, ".part{part}");
        }
        // Only what has all of that in it can be too long.
        let most = NAME_BYTES_MAX.saturating_sub(suffix.len() + self.extension.len());
        let mut name = name.into_vec();
        name.truncate(most);
        let mut name = OsString::from_vec(name);
        name.push(suffix);
        name.push(&self.extension);
        name
    }

    /// All names at once, for the banner: every field but `{name}` as `*`.
    pub fn any(&self, base: &OsStr) -> OsString {
        let mut name = OsString::new();
        for piece in &self.parts {
            match piece {
                Part::Text(text) => name.push(text),
                Part::Field(Field::Name) => name.push(base),
                Part::Field(_) => name.push("*"),
            }
        }
        name.push(&self.extension);
        name
    }
}

fn value(field: Field, facts: &Facts) -> String {
    match field {
        Field::Name => String::new(),
        Field::Number => facts.number.to_string(),
        Field::Time => date::rfc3339(facts.seconds).replace(['-', ':'], "") + "Z",
        Field::Token => facts.token.map_or_else(|| "none".into(), |hash| format!("{hash:08x}")),
        Field::Client => {
            facts.client.map_or_else(|| "unix".into(), |ip| tame(&ip.to_canonical().to_string()))
        }
        Field::Target => tame(&facts.target),
    }
}

/// Text from outside as a part of a name: nothing but letters, digits, dots and dashes, no dot in front, never empty.
fn tame(text: &str) -> String {
    let plain = |(at, character): (usize, char)| match character {
        '.' if at == 0 => '_',
        'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' => character,
        _ => '_',
    };
    let tamed: String = text.chars().take(TARGET_BYTES_MAX).enumerate().map(plain).collect();
    if tamed.is_empty() { "none".into() } else { tamed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;
    use std::path::{Component, Path};

    fn facts() -> Facts {
        Facts {
            number: 17,
            seconds: 1_795_275_000,
            token: Some(0xbeef),
            client: Some(IpAddr::from([192, 0, 2, 7])),
            target: "desk.example:5901".into(),
        }
    }

    #[test]
    fn names_are_made_of_fields() {
        let base = OsStr::new("vnc");
        for (pattern, part, attempt, expected) in [
            ("{name}.{number}", 1, 1, "vnc.17"),
            ("{name}.{number}", 2, 1, "vnc.17.part2"),
            ("{name}.{number}", 1, 3, "vnc.17-3"),
            ("{name}-{time}.js", 1, 1, "vnc-20261121T153000Z.js"),
            ("{time}.v2.js", 3, 2, "20261121T153000Z.v2-2.part3.js"),
            ("{token}_{client}_{target}.js", 1, 1, "0000beef_192.0.2.7_desk.example_5901.js"),
            ("{number}.with space", 2, 1, "17.with space.part2"),
            ("{client}.js", 1, RECORD_NAMES_MAX, "192.0.2.7-99.js"),
            ("{client}.js", 1, RECORD_NAMES_MAX + 1, "192.0.2.7-17-20261121T153000Z.js"),
            ("{client}.js", 2, RECORD_NAMES_MAX + 2, "192.0.2.7-17-20261121T153000Z-2.part2.js"),
        ] {
            let name = Pattern::parse(pattern).unwrap().name(base, &facts(), part, attempt);
            assert_eq!(name, expected, "{pattern}");
        }
        assert_eq!(Pattern::parse("{name}.{number}"), Ok(Pattern::default()));
        assert_eq!(Pattern::default().any(base), "vnc.*");
        assert_eq!(Pattern::parse("{time}-{name}.js").unwrap().any(base), "*-vnc.js");
    }

    #[test]
    fn patterns_that_make_no_name_are_refused() {
        for (pattern, why) in [
            ("", "tells sessions apart"),
            ("{name}.js", "tells sessions apart"),
            ("{date}", "the fields are"),
            ("{", "the fields are"),
            ("}{time}", "the fields are"),
            ("a/{time}", "without slashes"),
            ("../{time}", "without slashes"),
            ("{time}\n", "printable"),
            ("{time}\u{e9}", "printable"),
            (".{time}", "dot"),
            (&format!("{{time}}{}", "x".repeat(230)), "too long"),
            ("{target}{target}{target}{target}", "too long"),
        ] {
            let refused = Pattern::parse(pattern).unwrap_err();
            assert!(refused.contains(why), "{pattern:?}: {refused}");
        }
        assert!(Pattern::default().fits(OsStr::new(&"x".repeat(200))));
        assert!(!Pattern::default().fits(OsStr::new(&"x".repeat(250))));
    }

    #[test]
    fn no_name_leaves_its_directory() {
        let patterns =
            ["{target}", "{client}{target}", "{target}.{target}", "{token}{target}x", "{target}{number}"];
        let targets =
            ["", ".", "..", "../../etc/passwd", "/", "a\0b", "a\nb", "\u{202e}x", "-", &"/..".repeat(200)];
        let clients = [None, Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)), Some(IpAddr::from([1, 2, 3, 4]))];
        for pattern in patterns.map(|pattern| Pattern::parse(pattern).unwrap()) {
            for target in targets {
                for client in clients {
                    let facts = Facts { number: u64::MAX, client, target: target.into(), ..Facts::default() };
                    for attempt in [RECORD_NAMES_MAX, 2 * RECORD_NAMES_MAX] {
                        let name = pattern.name(OsStr::new("b"), &facts, u32::MAX, attempt);
                        let path = Path::new(&name);
                        let parts: Vec<_> = path.components().collect();
                        assert!(matches!(parts[..], [Component::Normal(only)] if only == name), "{name:?}");
                        assert!(name.len() <= NAME_BYTES_MAX && !name.as_encoded_bytes().starts_with(b"."));
                        assert!(name.as_encoded_bytes().iter().all(|byte| (b' '..=b'~').contains(byte)));
                    }
                }
            }
        }
    }
}
