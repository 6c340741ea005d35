//! Files in a directory made for each test: what is served, and what must never be.

use super::*;
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

/// A directory with `root/` to serve and `secret` beside it; gone at the end of the test.
struct Place(PathBuf);

impl Place {
    fn new() -> Place {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("websplice-files-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let place = Place(std::env::temp_dir().join(name));
        fs::create_dir_all(place.0.join("root/dir")).unwrap();
        fs::write(place.0.join("secret"), "secret").unwrap();
        place.file("a.txt", "0123456789").file("dir/b.js", "b").file(".hidden", "hidden")
    }

    fn file(self, name: &str, text: &str) -> Place {
        fs::write(self.path(name), text).unwrap();
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join("root").join(name)
    }

    fn root(&self, options: Options) -> Root {
        Root::open(&self.0.join("root"), options).unwrap()
    }

    /// Serves `path` with default options.
    fn get(&self, path: &str) -> (u16, String) {
        let served = self.root(Options::default()).serve(&fetch(path));
        (served.response.status(), text(&served))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn fetch(path: &str) -> Fetch {
    let names =
        path.split('/').filter(|name| !name.is_empty()).map(|name| name.as_bytes().to_vec()).collect();
    Fetch { names, directory: path.is_empty() || path.ends_with('/'), ..Fetch::default() }
}

fn text(served: &Served) -> String {
    let bytes = match &served.body {
        Body::None => Vec::new(),
        Body::Bytes(bytes) => bytes.to_vec(),
        Body::File { file, offset, len } => read_piece(file, *offset, *len).unwrap(),
    };
    String::from_utf8(bytes).unwrap()
}

#[test]
fn files_are_served() {
    let place = Place::new().file("empty", "");
    assert_eq!(place.get("a.txt"), (200, "0123456789".into()));
    assert_eq!(place.get("dir/b.js"), (200, "b".into()));
    assert_eq!(place.get("empty"), (200, String::new()));
    for path in ["absent", "a.txt/", "a.txt/x", "dir/absent", ""] {
        assert_eq!(place.get(path).0, 404, "{path:?}");
    }
    let long = "x".repeat(300);
    assert_eq!(place.get(&long).0, 404);
}

#[test]
fn links_stay_inside() {
    let place = Place::new();
    for (target, name) in [
        ("a.txt", "inside"),
        ("../secret", "outside"),
        ("/etc/passwd", "absolute"),
        ("..", "up"),
        ("/proc/self/root", "magic"),
        ("round", "round"),
        ("absent", "dangling"),
    ] {
        symlink(target, place.path(name)).unwrap();
    }
    assert_eq!(place.get("inside"), (200, "0123456789".into()));
    for path in ["outside", "absolute", "up/", "up/secret", "magic/etc/passwd", "round", "dangling"] {
        let (status, text) = place.get(path);
        assert_eq!(status, 404, "{path}");
        assert!(!text.contains("secret"));
    }
}

#[test]
fn names_of_a_hand_made_fetch_stay_inside() {
    let place = Place::new();
    for name in [&b".."[..], b"../secret", b"/etc/passwd", b"dir/../../secret", b"a\0b"] {
        let fetch = Fetch { names: vec![name.to_vec()], ..Fetch::default() };
        assert_eq!(place.root(Options::default()).serve(&fetch).response.status(), 404);
    }
}

#[test]
fn a_fifo_does_not_hang() {
    let place = Place::new();
    nix::unistd::mkfifo(&place.path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    nix::unistd::mkfifo(&place.path("index.html"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(place.get("fifo").0, 404);
    assert_eq!(place.get("").0, 404);
}

#[test]
fn head_range_and_304_send_what_they_should() {
    let place = Place::new();
    let root = place.root(Options::default());
    let served = root.serve(&Fetch { head_only: true, ..fetch("a.txt") });
    assert_eq!((served.response.announced(), text(&served)), (Some(10), String::new()));
    let tag = served.response.value("ETag").unwrap().as_bytes().to_vec();
    let served = root.serve(&Fetch { none_match: Some(vec![tag.clone()]), ..fetch("a.txt") });
    assert_eq!((served.response.status(), text(&served)), (304, String::new()));
    let range = Some(crate::web::plan::Range::From(3, Some(5)));
    let served = root.serve(&Fetch { range, if_range: Some(tag), ..fetch("a.txt") });
    assert_eq!((served.response.status(), text(&served)), (206, "345".into()));
    let served = root.serve(&Fetch { head_only: true, ..fetch("absent") });
    assert_eq!((served.response.status(), text(&served)), (404, String::new()));
}

#[test]
fn a_change_changes_the_tag() {
    let place = Place::new();
    let root = place.root(Options::default());
    let tag = || root.serve(&fetch("a.txt")).response.value("ETag").unwrap().to_owned();
    let before = tag();
    assert_eq!(before, tag());
    let file = File::options().write(true).open(place.path("a.txt")).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_nanos(1_000_000_001)).unwrap();
    assert_ne!(before, tag());
}

#[test]
fn the_gzip_form_is_chosen_and_never_stale() {
    let place = Place::new().file("x.css", "plain").file("x.css.gz", "packed");
    let root = place.root(Options::default());
    let now = SystemTime::now();
    let touch = |name: &str, age: u64| {
        let file = File::options().write(true).open(place.path(name)).unwrap();
        file.set_modified(now - Duration::from_secs(age)).unwrap();
    };
    touch("x.css", 5);
    touch("x.css.gz", 5);
    let served = root.serve(&Fetch { gzip: true, ..fetch("x.css") });
    assert_eq!(text(&served), "packed");
    assert_eq!(served.response.value("Content-Encoding"), Some("gzip"));
    assert_eq!(served.response.value("Content-Type"), Some("text/css; charset=utf-8"));
    let plain = root.serve(&fetch("x.css"));
    assert_eq!((text(&plain), plain.response.value("Vary")), ("plain".into(), Some("Accept-Encoding")));
    assert_ne!(plain.response.value("ETag"), served.response.value("ETag"));
    let itself = root.serve(&Fetch { gzip: true, ..fetch("x.css.gz") });
    assert_eq!(itself.response.value("Content-Encoding"), None);
    touch("x.css", 1);
    let served = root.serve(&Fetch { gzip: true, ..fetch("x.css") });
    assert_eq!((text(&served), served.response.value("Vary")), ("plain".into(), None));
    assert_eq!(root.serve(&fetch("a.txt")).response.value("Vary"), None);
}

#[test]
fn a_directory_has_an_index_a_list_or_nothing() {
    let place = Place::new();
    let served = place.root(Options::default()).serve(&Fetch { query: Some("q=1".into()), ..fetch("dir") });
    assert_eq!((served.response.status(), served.response.value("Location")), (301, Some("/dir/?q=1")));
    assert_eq!(place.get("dir/").0, 404);
    let place = place.file("dir/index.htm", "htm");
    assert_eq!(place.get("dir/"), (200, "htm".into()));
    let place = place.file("dir/index.html", "html");
    assert_eq!(place.get("dir/"), (200, "html".into()));
    let named = place.root(Options { index: Some("b.js".into()), ..Options::default() });
    let served = named.serve(&fetch("dir/"));
    assert_eq!(
        (text(&served), served.response.value("Content-Type")),
        ("b".into(), Some("text/javascript; charset=utf-8"))
    );
}

#[test]
fn a_list_shows_names_safely() {
    let place = Place::new().file("B", "").file("<b>&\"", "").file("javascript:x", "").file("c d%", "");
    symlink("a.txt", place.path("link")).unwrap();
    let served = place.root(Options { listings: true, index: None }).serve(&fetch(""));
    let page = text(&served);
    assert_eq!(served.response.value("Content-Type"), Some("text/html; charset=utf-8"));
    assert!(page.contains("<h1>Directory listing for /</h1>"));
    let items: Vec<&str> = page.lines().filter(|line| line.starts_with("<li>")).collect();
    assert_eq!(
        items,
        [
            "<li><a href=\"%3Cb%3E%26%22\">&lt;b&gt;&amp;&quot;</a></li>",
            "<li><a href=\"a.txt\">a.txt</a></li>",
            "<li><a href=\"B\">B</a></li>",
            "<li><a href=\"c%20d%25\">c d%</a></li>",
            "<li><a href=\"dir/\">dir/</a></li>",
            "<li><a href=\"javascript%3Ax\">javascript:x</a></li>",
            "<li><a href=\"link\">link@</a></li>",
        ]
    );
    let head =
        place.root(Options { listings: true, index: None }).serve(&Fetch { head_only: true, ..fetch("") });
    assert_eq!((head.response.announced(), text(&head)), (Some(page.len() as u64), String::new()));
    // Each listing reads from the start, though the directory itself stays open.
    assert_eq!(text(&place.root(Options { listings: true, index: None }).serve(&fetch(""))), page);
}

#[test]
fn long_lists_end() {
    let names: Vec<_> = (0..3).map(|at| (at.to_string(), at.to_string().into_bytes(), None)).collect();
    let page = listing(&fetch("a<b>/"), &names, true).unwrap();
    assert!(page.contains("Directory listing for /a&lt;b&gt;/") && page.contains("more names"));
}

#[test]
fn a_list_is_never_longer_than_it_was_made_room_for() {
    let none = listing(&fetch(""), &[], false).unwrap().len();
    for letter in [b"a", b"\"", b"&", b"\xff", b"\xc3"] {
        for kind in [Type::Directory, Type::Symlink, Type::File] {
            let names: Vec<_> = (0..10).map(|len| (String::new(), letter.repeat(len), Some(kind))).collect();
            let page = listing(&fetch(""), &names, true).unwrap();
            assert!(page.len() - none <= longest(0..10), "{page}");
        }
    }
}

#[test]
fn a_shortage_of_ours_is_told_as_one() {
    for error in [io::ErrorKind::OutOfMemory.into(), io::Error::from(Errno::ENOMEM), Errno::EMFILE.into()] {
        assert_eq!(refusal(&error), Refusal::BUSY, "{error}");
    }
}

#[test]
fn pieces_are_bounded_and_end_with_the_file() {
    let place = Place::new().file("big", &"x".repeat(FILE_READ_BYTES + 5));
    let file = File::open(place.path("big")).unwrap();
    assert_eq!(read_piece(&file, 0, u64::MAX).unwrap().len(), FILE_READ_BYTES);
    assert_eq!(read_piece(&file, FILE_READ_BYTES as u64, u64::MAX).unwrap().len(), 5);
    assert_eq!(read_piece(&file, 2, 3).unwrap(), b"xxx");
    assert_eq!(read_piece(&file, 1 << 40, 3).unwrap(), b"");
}

#[test]
fn a_root_is_a_directory() {
    let place = Place::new();
    assert!(Root::open(&place.path("a.txt"), Options::default()).is_err());
    assert!(Root::open(&place.path("absent"), Options::default()).is_err());
}

#[test]
fn plans_and_answers_cross_threads() {
    fn crosses<T: Send>() {}
    crosses::<Fetch>();
    crosses::<Served>();
    fn shared<T: Send + Sync>() {}
    shared::<Root>();
}
