//! `@FILE` in place of the value of an option: how secrets stay out of the list of processes.
//!
//! Owns the one rule for it, which all options share. It opens that file and nothing else.

use super::values::quoted;
use crate::limits::{SOURCE_FILE_BYTES_MAX, SOURCE_FILE_WAIT_MS};
use crate::sys::given;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// The value itself, or the first line of the file that `@FILE` names, as it is written; a value that begins with the sign has
/// it doubled. Files have up to [`SOURCE_FILE_BYTES_MAX`] bytes of UTF-8. A pipe will do, such as a shell's `@<(COMMAND)` or
/// `@/dev/stdin`, if its line comes within [`SOURCE_FILE_WAIT_MS`].
///
/// # Errors
/// One line that names `option`, the file and what is wrong with it; nothing that stands in the file.
pub fn said(option: &str, value: &OsStr) -> Result<OsString, String> {
    let Some(name) = value.as_bytes().strip_prefix(b"@") else { return Ok(value.to_owned()) };
    let name = OsStr::from_bytes(name);
    if name.as_bytes().starts_with(b"@") {
        return Ok(name.to_owned());
    }
    let wrong = |why: &dyn std::fmt::Display| format!("option {option}: {}: {why}", quoted(name));
    let named =
        |error: &dyn std::fmt::Display| wrong(&format_args!("{error}; name a text file that can be read"));
    let patience = Duration::from_millis(SOURCE_FILE_WAIT_MS);
    let bytes = given::first_bytes(Path::new(name), SOURCE_FILE_BYTES_MAX + 1, patience)
        .map_err(|why| named(&why))?;
    let text = String::from_utf8(bytes).map_err(|_| named(&"is not UTF-8"))?;
    if text.len() as u64 > SOURCE_FILE_BYTES_MAX {
        return Err(wrong(&format_args!(
            "longer than {SOURCE_FILE_BYTES_MAX} bytes; put its first line into a file alone"
        )));
    }
    match text.lines().next().filter(|line| !line.trim().is_empty()) {
        Some(line) => Ok(line.into()),
        None => Err(wrong(&"its first line is empty; it must hold the value")),
    }
}

/// The same where it must be text.
///
/// # Errors
/// As of [`said`], and for other bytes than those of UTF-8; they may be a secret, and are not repeated.
pub fn text(option: &str, value: &OsStr) -> Result<String, String> {
    said(option, value)?.into_string().map_err(|_| not_text(option))
}

/// That a value is not text.
pub fn not_text(option: &str) -> String {
    format!("option {option}: it is not UTF-8; write it in UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(option: &str, value: &str) -> Result<String, String> {
        text(option, value.as_ref())
    }

    #[test]
    fn the_first_line_counts() {
        let place = std::env::temp_dir().join(format!("websplice-said-{}", std::process::id()));
        let word = format!("@{}", place.display());
        let full = SOURCE_FILE_BYTES_MAX as usize;
        for (text, expected) in [
            (b"a:b".to_vec(), Ok("a:b")),
            (b" a:b \r\nmore\n".to_vec(), Ok(" a:b ")),
            (b"\na:b\n".to_vec(), Err("first line is empty")),
            (b"".to_vec(), Err("first line is empty")),
            (b"\xff\n".to_vec(), Err("UTF-8")),
            (vec![b'\n'; full + 1], Err("longer than")),
        ] {
            std::fs::write(&place, text).unwrap();
            match (said("--x", &word), expected) {
                (Ok(line), Ok(expected)) => assert_eq!(line, expected),
                (Err(why), Err(part)) => {
                    assert!(why.starts_with("option --x: ") && why.contains(part), "{why}");
                }
                (got, expected) => panic!("{got:?} instead of {expected:?}"),
            }
        }
        std::fs::remove_file(&place).unwrap();
        assert!(said("--x", &word).unwrap_err().contains("No such file"));
        assert!(
            said("--x", "@/dev/zero").unwrap_err().contains("is no regular file; name"),
            "what never ends"
        );
        assert_eq!(said("--x", "a@b"), Ok("a@b".into()));
        assert_eq!(said("--x", "@@b:c"), Ok("@b:c".into()));
    }
}
