//! Reads recordings as a JavaScript engine does: strictly, so that what is no array of strings fails the test.

use std::path::{Path, PathBuf};

/// What a file says.
#[derive(Debug, Default)]
pub struct Recording {
    /// The entries, without the end.
    pub entries: Vec<Entry>,
    /// The comments, in order.
    pub comments: Vec<String>,
}

/// One message, or a part of one.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// From the client; else from the target.
    pub up: bool,
    /// Milliseconds since the session began.
    pub millis: u64,
    pub payload: Vec<u8>,
}

impl Recording {
    /// The recording at `path`.
    #[track_caller]
    pub fn of(path: &Path) -> Recording {
        let text = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        read(&text).unwrap_or_else(|why| panic!("{}: {why}: it ends with {:?}", path.display(), tail(&text)))
    }

    /// The payloads of the client's entries.
    pub fn up(&self) -> Vec<&[u8]> {
        self.entries.iter().filter(|entry| entry.up).map(|entry| &*entry.payload).collect()
    }

    /// All bytes from the target.
    pub fn down(&self) -> Vec<u8> {
        self.entries.iter().filter(|entry| !entry.up).flat_map(|entry| entry.payload.clone()).collect()
    }
}

/// The names in a directory that begin with `prefix`, sorted.
pub fn named(directory: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("the directory is there").flatten();
    let mut paths: Vec<_> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths
}

fn tail(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[text.len().saturating_sub(60)..]).into_owned()
}

/// Reads a whole file; or says what an engine would not take.
pub fn read(text: &[u8]) -> Result<Recording, String> {
    let mut rest = text.strip_prefix(b"var VNC_frame_data = [\n").ok_or("the first line is another")?;
    let mut recording = Recording::default();
    let (mut wanted, mut ended, mut done) = (true, false, false);
    while let Some((&first, behind)) = rest.split_first() {
        match first {
            b'\n' | b' ' => rest = behind,
            b'/' if behind.first() == Some(&b'/') => {
                rest = &rest[rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len())..];
            }
            b'/' if behind.first() == Some(&b'*') => {
                let end = rest[2..].windows(2).position(|two| two == b"*/").ok_or("an open comment")?;
                recording.comments.push(String::from_utf8_lossy(&rest[2..2 + end]).trim().to_owned());
                rest = &rest[end + 4..];
            }
            b'\'' if wanted && !done && !ended => {
                let (element, behind) = string(behind)?;
                match element == b"EOF" {
                    true => ended = true,
                    false => recording.entries.push(entry(&element)?),
                }
                (rest, wanted) = (behind, false);
            }
            b',' if !wanted && !done => (rest, wanted) = (behind, true),
            b']' if ended && !done => (rest, done) = (behind, true),
            b';' if done => rest = behind,
            other => return Err(format!("{:?} where it means nothing", char::from(other))),
        }
    }
    if done { Ok(recording) } else { Err("no end".into()) }
}

fn entry(element: &[u8]) -> Result<Entry, String> {
    let odd = || format!("an odd entry {:?}", tail(&element[..element.len().min(20)]));
    let (&mark, rest) = element.split_first().ok_or_else(odd)?;
    let end = rest.iter().position(|&byte| byte == mark).ok_or_else(odd)?;
    let millis = std::str::from_utf8(&rest[..end]).ok().and_then(|digits| digits.parse().ok());
    let payload = rest[end + 1..].to_vec();
    match mark {
        b'{' | b'}' => Ok(Entry { up: mark == b'}', millis: millis.ok_or_else(odd)?, payload }),
        _ => Err(odd()),
    }
}

/// The inside of a string, and what comes behind its end.
fn string(mut rest: &[u8]) -> Result<(Vec<u8>, &[u8]), String> {
    let mut inside = Vec::new();
    loop {
        match rest {
            [b'\'', behind @ ..] => return Ok((inside, behind)),
            [b'\\', b'x', digits @ ..] => {
                let (two, behind) = digits.split_at_checked(2).ok_or("half an escape")?;
                let two = std::str::from_utf8(two).map_err(|_| "an odd escape")?;
                inside.push(u8::from_str_radix(two, 16).map_err(|_| format!("\\x{two}"))?);
                rest = behind;
            }
            [b'\\', code, behind @ ..] => {
                inside.push(match code {
                    b't' => b'\t',
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b'\\' | b'\'' => *code,
                    _ => return Err(format!("\\{}", char::from(*code))),
                });
                rest = behind;
            }
            [byte @ b' '..=b'~', behind @ ..] => {
                inside.push(*byte);
                rest = behind;
            }
            [] => return Err("an open string".into()),
            [other, ..] => return Err(format!("byte {other} in a string")),
        }
    }
}
