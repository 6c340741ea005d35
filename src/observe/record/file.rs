//! One file of a recording: made, grown by a line at a time, and whole at any moment.
//!
//! Owns the descriptor and the place of the terminator. What goes into a line, and when, is for others to say.

use crate::limits::RECORD_NAMES_MAX;
use crate::tape::line::{HEADER, Line, TERMINATOR, mend};
use crate::tape::name::Facts;
use crate::tape::{From, Options};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Who may read recordings: their owner.
const MODE: u32 = 0o600;
/// A link is not followed, and a pipe or a device does not hold the thread up.
const FLAGS: i32 = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;

/// A file that is being written.
#[derive(Debug)]
pub(super) struct Recording {
    file: File,
    path: PathBuf,
    /// Where the terminator is.
    end: u64,
    /// Entries and comments behind the header.
    lines: u64,
}

impl Recording {
    /// Makes a session's `part`-th file, empty but whole.
    ///
    /// # Errors
    /// With the path, when it cannot be made.
    pub fn create(options: &Options, facts: &Facts, part: u32) -> Result<Recording, (PathBuf, io::Error)> {
        let mut attempt = 1;
        loop {
            let path = options.directory.join(options.pattern.name(&options.base, facts, part, attempt));
            match open(&path, options.unique) {
                Ok(file) => {
                    if part == 1 && !options.unique {
                        remove_parts(options, facts);
                    }
                    return Ok(Recording { file, path, end: HEADER.len() as u64, lines: 0 });
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists && attempt < 2 * RECORD_NAMES_MAX => {
                    attempt += 1;
                }
                Err(error) => return Err((path, error)),
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes `line` an entry and writes it, unless the file would then be longer than `most` and this is not its first line; tells how many
    /// bytes it took.
    ///
    /// # Errors
    /// When it cannot be written; the file is then what it was.
    pub fn entry(
        &mut self,
        line: &mut Line,
        from: From,
        millis: u64,
        payload: &[u8],
        most: Option<u64>,
    ) -> io::Result<Option<u64>> {
        line.entry(self.end, from, millis, payload);
        let len = self.end + line.size() + TERMINATOR.len() as u64;
        if self.lines > 0 && most.is_some_and(|most| len > most) {
            return Ok(None);
        }
        self.lines += 1;
        self.put(line).map(Some)
    }

    /// Makes `line` a comment and writes it.
    ///
    /// # Errors
    /// As above.
    pub fn comment(&mut self, line: &mut Line, text: &str) -> io::Result<u64> {
        line.comment(self.end, text);
        self.put(line)
    }

    fn put(&mut self, line: &mut Line) -> io::Result<u64> {
        let file = &self.file;
        let put = line.put(|at, bytes| file.write_all_at(bytes, at));
        match put {
            Ok(()) => {
                self.end += line.size();
                Ok(line.size())
            }
            Err(error) => {
                // What is cut and what is written again had its place on the disk before, so this seldom fails, and if it does
                // nothing better can be done.
                let _ = mend(self.end, |len| file.set_len(len), |at, bytes| file.write_all_at(bytes, at));
                Err(error)
            }
        }
    }
}

/// Removes the parts of the recording that has been overwritten: they would go on from this one.
fn remove_parts(options: &Options, facts: &Facts) {
    for part in 2..u32::MAX {
        let path = options.directory.join(options.pattern.name(&options.base, facts, part, 1));
        let is_file = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file());
        if !is_file || fs::remove_file(&path).is_err() {
            return;
        }
    }
}

/// Makes an empty recording at `path`: it is whole before it has that name.
fn open(path: &Path, unique: bool) -> io::Result<File> {
    match OpenOptions::new().write(true).custom_flags(FLAGS).open(path) {
        Ok(_) if unique => return Err(ErrorKind::AlreadyExists.into()),
        Ok(there) if !there.metadata()?.is_file() => {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                "there is something that is no regular file",
            ));
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        // Whatever it is, a name of which there may be many is taken.
        Err(_) if unique && fs::symlink_metadata(path).is_ok() => return Err(ErrorKind::AlreadyExists.into()),
        Err(error) => return Err(error),
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let new = path.with_file_name(format!(".websplice-{}-{now:x}", std::process::id()));
    let file = OpenOptions::new().write(true).create_new(true).mode(MODE).custom_flags(FLAGS).open(&new)?;
    let named = fill(&file).and_then(|()| match unique {
        false => fs::rename(&new, path),
        true => match fs::hard_link(&new, path) {
            // Not every file system has these.
            Err(error)
                if matches!(error.raw_os_error(), Some(libc::EPERM | libc::EOPNOTSUPP | libc::ENOSYS)) =>
            {
                OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
                fs::rename(&new, path)
            }
            outcome => outcome,
        },
    });
    if unique || named.is_err() {
        // After a link this is the name that is of no use any more; and else there is nothing better to do.
        let _ = fs::remove_file(&new);
    }
    named.map(|()| file)
}

/// Makes a new file an empty recording.
fn fill(file: &File) -> io::Result<()> {
    // The process may not allow its owner to write.
    file.set_permissions(Permissions::from_mode(MODE))?;
    file.write_all_at(&[HEADER, TERMINATOR].concat(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tape::name::Pattern;

    fn options(name: &str, pattern: Option<&str>) -> Options {
        let directory = std::env::temp_dir().join(format!("websplice-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        Options {
            directory,
            base: "r".into(),
            pattern: pattern.map_or_else(Pattern::default, |pattern| Pattern::parse(pattern).unwrap()),
            unique: pattern.is_some(),
            file_bytes_max: None,
            buffer_bytes: 1,
        }
    }

    #[test]
    fn the_scheme_overwrites_and_patterns_do_not() {
        let (scheme, facts) = (options("scheme", None), Facts { number: 3, ..Facts::default() });
        fs::write(scheme.directory.join("r.3"), "x".repeat(1000)).unwrap();
        fs::set_permissions(scheme.directory.join("r.3"), Permissions::from_mode(0o644)).unwrap();
        let (mut recording, mut line) = (Recording::create(&scheme, &facts, 1).unwrap(), Line::default());
        assert_eq!(recording.path(), scheme.directory.join("r.3"));
        recording.entry(&mut line, From::Target, 5, b"x", None).unwrap();
        let text = fs::read_to_string(recording.path()).unwrap();
        assert_eq!(text, "var VNC_frame_data = [\n'{5{x',\n'EOF'];\n");
        let mode = fs::metadata(recording.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "also where it was open to others");
        let unique = options("unique", Some("{name}{number}.js"));
        for expected in ["r3.js", "r3-2.js", "r3-3.js"] {
            let recording = Recording::create(&unique, &facts, 1).unwrap();
            assert_eq!(recording.path(), unique.directory.join(expected));
        }
        fs::remove_dir_all(scheme.directory).unwrap();
        fs::remove_dir_all(unique.directory).unwrap();
    }

    #[test]
    fn the_parts_of_what_is_overwritten_go() {
        let (options, facts) = (options("parts", None), Facts { number: 3, ..Facts::default() });
        for name in ["r.3", "r.3.part2", "r.3.part3", "r.30.part2", "r.4.part2"] {
            fs::write(options.directory.join(name), "old").unwrap();
        }
        Recording::create(&options, &facts, 1).unwrap();
        let left = || {
            let entries = fs::read_dir(&options.directory).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(left(), ["r.3", "r.30.part2", "r.4.part2"]);
        // Those of its own stay.
        for part in [2, 3] {
            Recording::create(&options, &facts, part).unwrap();
        }
        assert_eq!(left(), ["r.3", "r.3.part2", "r.3.part3", "r.30.part2", "r.4.part2"]);
        fs::remove_dir_all(options.directory).unwrap();
    }

    /// Whoever looks at a name finds a whole recording under it, the old one or the new one.
    #[test]
    fn a_recording_is_whole_before_it_has_its_name() {
        let (options, facts) = (options("whole", None), Facts { number: 1, ..Facts::default() });
        let path = options.directory.join("r.1");
        let old = "var VNC_frame_data = [\n'{0{old',\n'EOF'];\n";
        fs::write(&path, old).unwrap();
        let before = File::open(&path).unwrap();
        Recording::create(&options, &facts, 1).unwrap();
        assert_eq!(io::read_to_string(before).unwrap(), old, "what was there was not emptied");
        assert_eq!(fs::read_to_string(&path).unwrap(), "var VNC_frame_data = [\n'EOF'];\n");
        assert_eq!(fs::read_dir(&options.directory).unwrap().count(), 1, "nothing else is left");
        fs::remove_dir_all(options.directory).unwrap();
    }

    /// Whoever chooses what a name is made of cannot use all of them up.
    #[test]
    fn a_name_that_was_taken_often_has_the_number_in_it() {
        let options = options("often", Some("{client}.js"));
        for number in 1..=u64::from(RECORD_NAMES_MAX) + 3 {
            let facts = Facts { number, ..Facts::default() };
            Recording::create(&options, &facts, 1).unwrap();
        }
        let last = format!("unix-{}-19700101T000000Z.js", RECORD_NAMES_MAX + 3);
        assert!(options.directory.join(last).exists());
        fs::remove_dir_all(options.directory).unwrap();
    }

    #[test]
    fn links_pipes_and_directories_are_left_alone() {
        let (options, facts) = (options("odd", None), Facts { number: 1, ..Facts::default() });
        let at = options.directory.join("r.1");
        let refused = || Recording::create(&options, &facts, 1).unwrap_err().1;
        fs::write(options.directory.join("precious"), "precious").unwrap();
        std::os::unix::fs::symlink("precious", &at).unwrap();
        assert_eq!(refused().raw_os_error(), Some(libc::ELOOP));
        assert_eq!(fs::read_to_string(options.directory.join("precious")).unwrap(), "precious");
        fs::remove_file(&at).unwrap();
        nix::unistd::mkfifo(&at, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(refused().raw_os_error(), Some(libc::ENXIO));
        fs::remove_file(&at).unwrap();
        fs::create_dir(&at).unwrap();
        assert_eq!(refused().raw_os_error(), Some(libc::EISDIR));
        fs::remove_dir_all(options.directory).unwrap();
    }

    #[test]
    fn a_file_has_no_more_bytes_than_it_may() {
        let options = options("most", None);
        let mut line = Line::default();
        let mut recording = Recording::create(&options, &Facts::default(), 1).unwrap();
        let most = Some(100);
        assert!(
            recording.entry(&mut line, From::Target, 1, &[b'a'; 200], most).unwrap().is_some(),
            "the first goes in"
        );
        assert_eq!(recording.entry(&mut line, From::Target, 1, b"", most).unwrap(), None);
        fs::remove_dir_all(options.directory).unwrap();
    }
}
