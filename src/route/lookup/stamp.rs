//! Stamps of files: whether a file is still what it was when it was read.
//!
//! A file is read again only when its stamp differs, or when it was changed so shortly before it was read that another
//! change might not show: file systems keep time in ticks.

use crate::limits::FILE_SETTLED_MS;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a file was like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    place: (u64, u64),
    bytes: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub fn of(metadata: &Metadata) -> Stamp {
        Stamp {
            place: (metadata.dev(), metadata.ino()),
            bytes: metadata.size(),
            written: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether the last change is so long ago that the next one will show.
    pub fn is_settled(&self) -> bool {
        let (seconds, nanoseconds) = self.changed;
        let (Ok(seconds), Ok(nanoseconds)) = (u64::try_from(seconds), u32::try_from(nanoseconds)) else {
            return true;
        };
        let changed = UNIX_EPOCH + Duration::new(seconds, nanoseconds);
        let settled = Duration::from_millis(FILE_SETTLED_MS);
        match SystemTime::now().duration_since(changed) {
            Ok(ago) => ago > settled,
            // Clocks of file servers run ahead; a time far off will not be met by another change.
            Err(ahead) => ahead.duration() > settled,
        }
    }
}

/// The stamp of the file at `path`, links followed.
pub(super) fn stamp(path: &Path) -> io::Result<Stamp> {
    Ok(Stamp::of(&fs::metadata(path)?))
}

/// The bytes of a file and its stamp at that time.
///
/// # Errors
/// Also when it is no regular file, larger than `most`, or changed while it was read.
pub(super) fn read(path: &Path, most: usize) -> io::Result<(Vec<u8>, Stamp)> {
    // A pipe would be waited for; it is none of ours to read.
    let mut file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let before = file.metadata()?;
    if !before.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let bytes = read_open(&mut file, most)?;
    let after = Stamp::of(&file.metadata()?);
    if after != Stamp::of(&before) {
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, "it changed while it was read"));
    }
    Ok((bytes, after))
}

/// The bytes of an open file, at most `most`.
pub(super) fn read_open(file: &mut File, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {most} bytes")));
    }
    Ok(bytes)
}
