//! Files from a directory: where plans are carried out. Blocking, for helper threads only.
//!
//! Owns opening, choosing the index and the gzip form, and listing. Every name goes through [`crate::sys::beneath`], so
//! the kernel keeps it inside; only regular files are served. It never writes and never decides what a request means.

use super::entity::{Answer, Body, Entity, Page, Served, answer};
use super::plan::encode;
use super::{Fetch, Options, media};
use crate::http::Refusal;
use crate::http::refusal::escape;
use crate::limits::{FILE_READ_BYTES, LISTING_ENTRIES_MAX};
use crate::sys::beneath;
use nix::dir::{Dir, Type};
use nix::errno::Errno;
use std::ffi::OsStr;
use std::fmt::Write;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A directory whose files are served.
#[derive(Debug)]
pub struct Root {
    directory: File,
    options: Options,
}

/// An open regular file and what the kernel says about it.
type Found = (File, Metadata);

impl Root {
    /// Opens the directory once; renaming it later changes nothing for us.
    ///
    /// # Errors
    ///
    /// When it does not open or is no directory.
    pub fn open(directory: &Path, options: Options) -> io::Result<Root> {
        let directory = File::open(directory)?;
        if !directory.metadata()?.is_dir() {
            return Err(io::Error::from(Errno::ENOTDIR));
        }
        Ok(Root { directory, options })
    }

    /// Carries out `fetch`. Every failure is an answer: names that lead nowhere 404, troubles of ours 500, and 503 when
    /// the process has no descriptor left.
    pub fn serve(&self, fetch: &Fetch) -> Served {
        self.find(fetch).unwrap_or_else(|error| Page::refuse(&refusal(&error), fetch.head_only).into())
    }

    fn find(&self, fetch: &Fetch) -> io::Result<Served> {
        let path: PathBuf = fetch.names.iter().map(|name| OsStr::from_bytes(name)).collect();
        let file = File::from(beneath::open(self.directory.as_fd(), &path)?);
        let facts = file.metadata()?;
        if facts.is_dir() {
            return if fetch.directory {
                self.directory(fetch, &path, file)
            } else {
                Ok(Page::redirect(fetch).into())
            };
        }
        if !facts.is_file() || fetch.directory {
            return Err(io::Error::from(Errno::ENOENT));
        }
        self.file(fetch, &path, (file, facts))
    }

    /// A directory asked for by its own name: its index, or its names.
    fn directory(&self, fetch: &Fetch, path: &Path, directory: File) -> io::Result<Served> {
        let indexes = self.options.index.as_deref().into_iter().chain(["index.html", "index.htm"]);
        for index in indexes {
            let index = path.join(index);
            match self.regular(&index) {
                Ok(found) => return self.file(fetch, &index, found),
                Err(error) if refusal(&error) == Refusal::NOT_FOUND => {}
                Err(error) => return Err(error),
            }
        }
        if !self.options.listings {
            return Err(io::Error::from(Errno::EISDIR));
        }
        Ok(Page::html(list(fetch, directory)?, fetch.head_only).into())
    }

    /// A regular file, or its gzip form if the client takes that.
    fn file(&self, fetch: &Fetch, path: &Path, plain: Found) -> io::Result<Served> {
        let name = path.as_os_str().as_bytes();
        let packed = self.packed(name, &plain.1);
        let varies = packed.is_some();
        let (gzipped, (file, facts)) = match packed {
            Some(packed) if fetch.gzip => (true, packed),
            _ => (false, plain),
        };
        let entity = Entity {
            size: facts.size(),
            etag: format!(
                "\"{:x}-{:x}.{:x}-{:x}\"",
                facts.size(),
                facts.mtime(),
                facts.mtime_nsec(),
                facts.ino()
            ),
            modified: u64::try_from(facts.mtime()).ok(),
            media: media::of(name),
            gzipped,
            varies,
        };
        Ok(match answer(fetch, &entity) {
            Answer::Whole(page) => page.into(),
            Answer::Part(response, _, 0) => Served { response, body: Body::None },
            Answer::Part(response, offset, len) => {
                Served { response, body: Body::File { file: Arc::new(file), offset, len } }
            }
        })
    }

    /// `name.gz` beside a file, unless the file was changed since: old content must not hide the new.
    fn packed(&self, name: &[u8], plain: &Metadata) -> Option<Found> {
        if name.ends_with(b".gz") {
            return None;
        }
        let packed = self.regular(Path::new(OsStr::from_bytes(&[name, b".gz"].concat()))).ok()?;
        (packed.1.modified().ok()? >= plain.modified().ok()?).then_some(packed)
    }

    fn regular(&self, path: &Path) -> io::Result<Found> {
        let file = File::from(beneath::open(self.directory.as_fd(), path)?);
        let facts = file.metadata()?;
        if facts.is_file() { Ok((file, facts)) } else { Err(io::Error::from(Errno::ENOENT)) }
    }
}

/// Reads at most `len` bytes, and at most [`FILE_READ_BYTES`], from `offset` on. Less comes only at the end of the file;
/// nothing comes behind it, as when the file was cut meanwhile.
///
/// # Errors
///
/// Those of pread(2).
pub fn read_piece(file: &File, offset: u64, len: u64) -> io::Result<Vec<u8>> {
    let bytes = usize::try_from(len).unwrap_or(usize::MAX).min(FILE_READ_BYTES);
    let mut piece = Vec::new();
    piece.try_reserve_exact(bytes)?;
    piece.resize(bytes, 0);
    let mut filled = 0;
    while filled < bytes {
        match file.read_at(&mut piece[filled..], offset.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    piece.truncate(filled);
    Ok(piece)
}

/// What a failed open means to the client.
fn refusal(error: &io::Error) -> Refusal {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(
            Errno::ENOENT
            | Errno::ENOTDIR
            | Errno::ELOOP
            | Errno::EXDEV
            | Errno::EACCES
            | Errno::ENAMETOOLONG
            | Errno::EINVAL
            | Errno::ENXIO
            | Errno::ENODEV,
        ) => Refusal::NOT_FOUND,
        // No open for reading says so: it is what a directory without an index is where none is listed.
        Some(Errno::EISDIR) => Refusal::NOT_LISTED,
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM) => Refusal::BUSY,
        _ if error.kind() == io::ErrorKind::OutOfMemory => Refusal::BUSY,
        // A NUL in the path never reaches the kernel; the standard library calls it invalid input.
        _ if error.kind() == io::ErrorKind::InvalidInput => Refusal::NOT_FOUND,
        _ => Refusal::INTERNAL,
    }
}

/// The names in a directory as a page, in the look of Python's file server.
fn list(fetch: &Fetch, directory: File) -> io::Result<String> {
    let mut directory = Dir::from_fd(directory.into())?;
    let mut names: Vec<(String, Vec<u8>, Option<Type>)> = Vec::new();
    let mut more = false;
    for entry in directory.iter() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name.starts_with(b".") {
            continue;
        }
        if names.len() == LISTING_ENTRIES_MAX {
            more = true;
            break;
        }
        names.push((String::from_utf8_lossy(name).to_lowercase(), name.to_vec(), entry.file_type()));
    }
    // By name without case; names that differ only by case keep one order too.
    names.sort_by(|one, other| (&one.0, &one.1).cmp(&(&other.0, &other.1)));
    listing(fetch, &names, more)
}

/// # Errors
/// When there is no memory for it.
fn listing(fetch: &Fetch, names: &[(String, Vec<u8>, Option<Type>)], more: bool) -> io::Result<String> {
    let mut shown = String::from("/");
    for name in &fetch.names {
        shown.push_str(&String::from_utf8_lossy(name));
        shown.push('/');
    }
    let shown = escape(&shown);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <title>Directory listing for {shown}</title>\n</head>\n<body>\n\
         <h1>Directory listing for {shown}</h1>\n<hr>\n<ul>\n"
    );
    page.try_reserve(longest(names.iter().map(|(_, name, _)| name.len())))?;
    for (_, name, kind) in names {
        let (link_end, mark) = match kind {
            Some(Type::Directory) => ("/", "/"),
            Some(Type::Symlink) => ("", "@"),
            _ => ("", ""),
        };
        page.push_str("<li><a href=\"");
        encode(name, &mut page);
        let text = String::from_utf8_lossy(name);
        writeln!(page, "{link_end}\">{}{mark}</a></li>", escape(&text))
            .expect("writing to a string does not fail");
    }
    page.push_str("</ul>\n<hr>\n");
    if more {
        page.push_str("<p>There are more names than are shown.</p>\n");
    }
    page.push_str("</body>\n</html>\n");
    Ok(page)
}

/// Most bytes that names of these lengths take in a page, with what is behind them: a byte is at most three in the link, and
/// six in the text.
fn longest(names: impl Iterator<Item = usize>) -> usize {
    names.map(|len| 9 * len + 32).sum::<usize>() + 128
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
