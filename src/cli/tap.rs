//! The rows of the option table that are about watching sessions, and what is settled about them. `table` puts the rows
//! in their place.

use super::args::Tap;
use super::option::{Act, Category, Opt, Refusal};
use super::table::{file, free};
use super::values;
use crate::limits::{RECORD_BUFFER_BYTES_DEFAULT, RECORD_BUFFER_BYTES_MIN, RECORD_FILE_BYTES_MIN};
use crate::tape::Options;
use crate::tape::name::Pattern;
use std::path::Path;

pub(super) const RECORD: Opt = Category::Watching.row(
    "record",
    "record sessions to FILE.number",
    "Write what each session carries, in both directions and decrypted, to a file of its own, which noVNC's playback page \
     plays: an array of strings in JavaScript, one for each message of the client and each piece that was sent to it. \
     Numbers count the connections of the process, plain requests included, so a restart begins at 1 again and overwrites; \
     --record-name gives names that are never taken twice. Only the owner may read the files.\n\n\
     A file is whole at any moment, also after a crash or kill. A disk that is too slow delays no session: what cannot be \
     written in time is counted, marked in the file and told in the log. When the disk is full the recording ends and the \
     session goes on. A message of more than 1 MiB becomes several entries.\n\n\
     An empty FILE means that the option was not given.",
    "",
    "--record=/var/lib/recordings/desk 6080 localhost:5901",
    Act::Take(file("FILE"), |options, value| {
        options.tap.record = (!value.is_empty()).then(|| value.into());
        Ok(())
    }),
);

pub(super) const RECORD_NAME: Opt = Category::Watching.row(
    "record-name",
    "pattern for the names of recordings",
    "The name of each recording, with these fields: {name} is the last part of the path of --record, {number} the number of \
     the connection, {time} when it was opened in UTC, {token} a hash of its token that is good for this process, {client} \
     its address, {target} where it was carried to. What could mean something in a path becomes an underscore. A name that \
     is taken gets -2, -3 and so on behind it; nothing is overwritten. Recordings are put beside the path of --record or, \
     if that is a directory, into it. Names that end with .js are played by browsers that insist on a script's type.",
    "({name}.{number}, overwriting)",
    "--record=/var/lib/recordings --record-name={time}-{client}.js 6080 a:1",
    Act::Take(free("PATTERN"), |options, value| {
        let invalid = |why: &str| Refusal::Invalid { kind: "pattern", hint: why.into() };
        let text = value.to_str().ok_or_else(|| invalid("it is not UTF-8"))?;
        options.tap.name = Some(Pattern::parse(text).map_err(invalid)?);
        Ok(())
    }),
);

pub(super) const RECORD_SIZE: Opt = Category::Watching.row(
    "record-size",
    "size at which a recording's next file begins",
    "Most bytes of a file. The session then goes on in a next one, with .part2, .part3 and so on behind the name; each \
     names the other in a comment, and each is whole by itself. Only an entry that is longer alone makes a longer file.",
    "(no limit)",
    "--record=/var/lib/recordings/desk --record-size=1GiB 6080 localhost:5901",
    Act::Take(free("SIZE"), |options, value| {
        options.tap.file_bytes_max = Some(values::size(value, RECORD_FILE_BYTES_MIN..=usize::MAX)?);
        Ok(())
    }),
);

pub(super) const RECORD_BUFFER: Opt = Category::Watching.row(
    "record-buffer",
    "memory for what waits to be recorded",
    "Most bytes, of all sessions together, that may wait for the disk. What does not fit is lost to the recording, and to \
     nothing else.",
    "(64MiB)",
    "--record=/var/lib/recordings/desk --record-buffer=256MiB 6080 localhost:5901",
    Act::Take(free("SIZE"), |options, value| {
        options.tap.buffer_bytes = Some(values::size(value, RECORD_BUFFER_BYTES_MIN..=usize::MAX)?);
        Ok(())
    }),
);

pub(super) const TRAFFIC: Opt = Category::Watching.row(
    "traffic",
    "print a character for everything that passes",
    "On standard output: } for each message of a client and { for what its target sends, > and < when it has been sent \
     on; with a dot where it was a part. All sessions write to the same place, so this is for looking at one.",
    "",
    "--traffic 6080 localhost:5901",
    Act::Switch(|options| options.tap.traffic = true),
);

/// Where recordings go, if there are any. Looks whether the path is a directory, and makes it absolute.
///
/// # Errors
/// When there is no name in the path, or it is too long, or an option lacks the one it belongs to.
pub(super) fn settle(tap: &Tap) -> Result<Option<Options>, String> {
    let Some(path) = &tap.record else { return Ok(None) };
    let said = |what: &str| format!("option --record: {}: {what}", path.display());
    let absolute =
        std::path::absolute(path).map_err(|error| said(&format!("{error}; name an absolute path")))?;
    let base = absolute
        .file_name()
        .ok_or_else(|| said("there is no name of a file in it; write one behind the directory"))?
        .to_owned();
    let pattern = tap.name.clone().unwrap_or_default();
    if !pattern.fits(&base) {
        return Err(said("its last part is too long for the names of recordings; name a shorter one"));
    }
    let directory = match absolute.parent() {
        Some(parent) if tap.name.is_none() || !absolute.is_dir() => parent,
        _ => &*absolute,
    };
    Ok(Some(Options {
        directory: Path::to_owned(directory),
        base,
        pattern,
        unique: tap.name.is_some(),
        file_bytes_max: tap.file_bytes_max.map(|bytes| bytes as u64),
        buffer_bytes: tap.buffer_bytes.unwrap_or(RECORD_BUFFER_BYTES_DEFAULT),
    }))
}
