//! Renewal: a thread that looks at the files of the TLS options and publishes new material when they change.
//!
//! It owns the published [`Material`], which sessions take a reference of when they begin. Files are looked at by following
//! symbolic links, so that a renamed file, a rewritten one and a swapped directory link are all seen. Broken new files
//! change nothing but a report. It never touches a session.

use super::Options;
use super::material::{self, Material};
use crate::limits::TLS_RENEWAL_MS;
use arc_swap::ArcSwap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Where sessions find the material of the hour. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Shelf {
    material: Arc<ArcSwap<Material>>,
    options: Arc<Options>,
    /// What the files looked like just before they were read first.
    seen: Vec<Stamp>,
}

impl Shelf {
    /// Reads and checks everything that `options` names, and puts it on a shelf.
    ///
    /// # Errors
    /// One line with the file and the remedy.
    pub fn load(options: Options) -> Result<Shelf, String> {
        let seen = look(&files(&options));
        let material = Arc::new(ArcSwap::from_pointee(material::load(&options)?));
        Ok(Shelf { material, options: Arc::new(options), seen })
    }

    /// The same, where any side speaks TLS at all, or will when a certificate comes.
    ///
    /// # Errors
    /// As [`Shelf::load`].
    pub fn wanted(options: &Options) -> Result<Option<Shelf>, String> {
        let is_wanted = !options.pairs.is_empty() || options.awaited.is_some() || options.target.is_some();
        is_wanted.then(|| Shelf::load(options.clone())).transpose()
    }

    /// What a session that begins now shall use. Lock-free, without allocation.
    pub fn current(&self) -> Arc<Material> {
        self.material.load_full()
    }

    /// Makes `held` what a session that begins now shall use. Costs next to nothing while that is what it was.
    pub fn refresh(&self, held: &mut Option<Arc<Material>>) {
        let current = self.material.load();
        if !held.as_ref().is_some_and(|held| Arc::ptr_eq(held, &current)) {
            *held = Some(Arc::clone(&current));
        }
    }

    /// Reads everything anew and says what the operator should look at; `None` if there is nothing at all to read yet.
    fn renew(&self) -> Result<Option<Vec<String>>, String> {
        let material = material::load(&self.options)?;
        if let (None, Some(awaited)) = (&material.server, &self.options.awaited) {
            if self.current().server.is_some() {
                return Err(format!("--cert: certificate {} is gone; put it back", awaited.cert.display()));
            }
            if material.client.is_none() {
                return Ok(None);
            }
        }
        let warnings = material.warnings.clone();
        self.material.store(Arc::new(material));
        Ok(Some(warnings))
    }
}

/// What came of a look at changed files.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// New material is on the shelf; with what the operator should look at.
    Renewed(Vec<String>),
    /// The new files cannot be used, for this reason; what was on the shelf stays.
    Kept(String),
}

/// The watching thread; dropping it ends the thread.
#[derive(Debug)]
pub struct Watcher {
    wake: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Begins to watch the files of `shelf`. `report` is called on the watching thread.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn start(shelf: Shelf, report: impl FnMut(Report) + Send + 'static) -> io::Result<Watcher> {
        Watcher::every(Duration::from_millis(TLS_RENEWAL_MS), shelf, report)
    }

    fn every(
        interval: Duration,
        shelf: Shelf,
        report: impl FnMut(Report) + Send + 'static,
    ) -> io::Result<Watcher> {
        let (wake, woken) = mpsc::channel();
        let watch = move || watch(interval, &shelf, &woken, report);
        let thread = thread::Builder::new().name("tls-renewal".into()).spawn(watch)?;
        Ok(Watcher { wake: Some(wake), thread: Some(thread) })
    }

    /// Loads anew now, changed or not, as on SIGHUP. Does not wait for it.
    pub fn renew(&self) {
        if let Some(wake) = &self.wake {
            // It fails only when the thread is gone, and then the process is ending.
            let _ = wake.send(());
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.wake.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was shown when it happened; there is nothing to add at the end.
            let _ = thread.join();
        }
    }
}

fn watch(interval: Duration, shelf: &Shelf, woken: &Receiver<()>, mut report: impl FnMut(Report)) {
    let mut watch = Watch::new(shelf);
    loop {
        let asked = match woken.recv_timeout(interval) {
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => false,
            Ok(()) => true,
        };
        if let Some(news) = watch.turn(asked) {
            report(news);
        }
    }
}

/// What is remembered from one look to the next.
struct Watch<'a> {
    shelf: &'a Shelf,
    files: Vec<PathBuf>,
    seen: Vec<Stamp>,
    /// Certificate and key are often written one after the other, and do not fit together for a moment. So a complaint
    /// waits for one more look, and is dropped when that finds another change.
    complaint: Option<String>,
    /// What is wrong with the files as they are. They are tried again at every look: a certificate may be a few seconds
    /// early, or descriptors short for a moment.
    told: Option<String>,
}

impl<'a> Watch<'a> {
    fn new(shelf: &'a Shelf) -> Watch<'a> {
        Watch { shelf, files: files(&shelf.options), seen: shelf.seen.clone(), complaint: None, told: None }
    }

    /// Looks once. When that was `asked` for, everything is read, changed or not, and the outcome is told at once.
    fn turn(&mut self, asked: bool) -> Option<Report> {
        let now = look(&self.files);
        let changed = now != self.seen;
        if !asked && !changed {
            if let Some(reason) = self.complaint.take() {
                return Some(self.kept(reason));
            }
            // Files that failed are tried again, all others are as they were.
            self.told.as_ref()?;
        }
        // What changes while it is read shows at the next look.
        self.seen = now;
        self.complaint = None;
        match self.shelf.renew() {
            Ok(warnings) => {
                self.told = None;
                warnings.map(Report::Renewed)
            }
            Err(reason) if asked => Some(self.kept(reason)),
            Err(reason) => {
                let is_news = changed || self.told.as_ref() != Some(&reason);
                self.complaint = is_news.then_some(reason);
                None
            }
        }
    }

    fn kept(&mut self, reason: String) -> Report {
        self.told = Some(reason.clone());
        Report::Kept(reason)
    }
}

/// What tells one content of a file from another: device, inode, length, and both times to the nanosecond.
type Stamp = Option<[i64; 7]>;

fn look(files: &[PathBuf]) -> Vec<Stamp> {
    files.iter().map(|file| stamp(file)).collect()
}

fn stamp(file: &Path) -> Stamp {
    let status = fs::metadata(file).ok()?;
    let (device, inode, length) = (status.dev() as i64, status.ino() as i64, status.size() as i64);
    Some([device, inode, length, status.mtime(), status.mtime_nsec(), status.ctime(), status.ctime_nsec()])
}

/// All files that the options name.
fn files(options: &Options) -> Vec<PathBuf> {
    let target = options.target.iter();
    let pairs = options.pairs.iter().chain(&options.awaited);
    let pairs = pairs.chain(target.clone().filter_map(|target| target.pair.as_ref()));
    let of_pairs = pairs.flat_map(|pair| [Some(pair.cert.clone()), pair.key.clone()]);
    let authorities = [options.cafile.clone()].into_iter().chain(target.map(|target| target.ca.clone()));
    of_pairs.chain(authorities).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::material::tests::{Files, serial};
    use std::os::unix::fs::symlink;
    use std::sync::mpsc::Receiver;
    use std::time::{Instant, SystemTime, UNIX_EPOCH};

    fn watched(options: Options) -> (Shelf, Watcher, Receiver<Report>) {
        let shelf = Shelf::load(options).unwrap();
        let (send, reports) = mpsc::channel();
        let report = move |report| drop(send.send(report));
        let watcher = Watcher::every(Duration::from_millis(5), shelf.clone(), report).unwrap();
        (shelf, watcher, reports)
    }

    fn next(reports: &Receiver<Report>) -> Report {
        reports.recv_timeout(Duration::from_secs(20)).expect("a change is reported")
    }

    #[test]
    fn a_renamed_file_is_taken_up_and_a_broken_one_is_not() {
        let files = Files::new();
        let path = files.self_signed("cert.pem", 1);
        let (shelf, watcher, reports) = watched(Files::options(&path));
        assert_eq!(serial(&shelf.current()), [1]);
        let begun = shelf.current();

        let newer = files.self_signed("newer.pem", 2);
        fs::rename(newer, &path).unwrap();
        assert_eq!(next(&reports), Report::Renewed(Vec::new()));
        assert_eq!(serial(&shelf.current()), [2]);
        assert_eq!(serial(&begun), [1]);

        fs::write(&path, "nonsense").unwrap();
        let Report::Kept(reason) = next(&reports) else { panic!("nonsense was taken up") };
        assert!(reason.contains("cert.pem is not PEM"), "{reason}");
        assert_eq!(serial(&shelf.current()), [2]);

        fs::remove_file(&path).unwrap();
        let Report::Kept(reason) = next(&reports) else { panic!("nothing was taken up") };
        assert!(reason.contains("does not exist"), "{reason}");

        fs::rename(files.self_signed("newest.pem", 3), &path).unwrap();
        assert_eq!(next(&reports), Report::Renewed(Vec::new()));
        assert_eq!(serial(&shelf.current()), [3]);

        watcher.renew();
        assert_eq!(next(&reports), Report::Renewed(Vec::new()));
        drop(watcher);
        assert!(reports.try_recv().is_err());
    }

    #[test]
    fn a_key_that_comes_after_its_certificate_is_no_failure() {
        let files = Files::new();
        let (cert, key) = (files.path("cert.pem"), files.path("key.pem"));
        let [first, second, third] = [1, 2, 3].map(|number| files.self_signed(&number.to_string(), number));
        let put = |own: &Path, place: &Path| {
            fs::copy(own, place).unwrap();
        };
        put(&first, &cert);
        put(&first, &key);
        let mut options = Files::options(&cert);
        options.pairs[0].key = Some(key.clone());
        let shelf = Shelf::load(options).unwrap();
        let mut watch = Watch::new(&shelf);
        assert_eq!(watch.turn(false), None, "nothing has changed");
        put(&second, &cert);
        assert_eq!(watch.turn(false), None, "they do not fit, but the key may be on its way");
        put(&second, &key);
        assert_eq!(watch.turn(false), Some(Report::Renewed(Vec::new())));
        assert_eq!((watch.turn(false), serial(&shelf.current())), (None, vec![2]));

        put(&third, &cert);
        assert_eq!(watch.turn(false), None);
        let Some(Report::Kept(reason)) = watch.turn(false) else { panic!("no key came") };
        assert!(reason.contains("key.pem does not belong to"), "{reason}");
        assert_eq!((watch.turn(false), serial(&shelf.current())), (None, vec![2]), "it is told once");
        assert!(matches!(watch.turn(true), Some(Report::Kept(_))), "and again when asked");
        put(&third, &key);
        assert_eq!(watch.turn(false), Some(Report::Renewed(Vec::new())));
    }

    #[test]
    fn a_certificate_that_is_early_is_taken_up_when_its_time_comes() {
        let files = Files::new();
        let path = files.self_signed("cert.pem", 1);
        let shelf = Shelf::load(Files::options(&path)).unwrap();
        let mut watch = Watch::new(&shelf);
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["early.test".into()]).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        params.not_before = rcgen::date_time_ymd(1970, 1, 1) + now + Duration::from_secs(2);
        let cert = params.self_signed(&key).unwrap();
        fs::write(&path, cert.pem() + &key.serialize_pem()).unwrap();
        assert_eq!(watch.turn(false), None);
        let Some(Report::Kept(reason)) = watch.turn(false) else { panic!("it was taken up early") };
        assert!(reason.contains("not valid before"), "{reason}");
        let until = Instant::now() + Duration::from_secs(20);
        let news = loop {
            match watch.turn(false) {
                Some(news) => break news,
                None => assert!(Instant::now() < until, "its time has come"),
            }
        };
        assert_eq!(news, Report::Renewed(Vec::new()), "and nothing was told in between");
    }

    #[test]
    fn a_swapped_directory_link_is_taken_up() {
        let files = Files::new();
        for (directory, number) in [("first", 1), ("second", 2)] {
            fs::create_dir(files.path(directory)).unwrap();
            files.self_signed(&format!("{directory}/tls.pem"), number);
        }
        symlink("first", files.path("..data")).unwrap();
        symlink("..data/tls.pem", files.path("tls.pem")).unwrap();
        let (shelf, _watcher, reports) = watched(Files::options(&files.path("tls.pem")));
        assert_eq!(serial(&shelf.current()), [1]);
        symlink("second", files.path("..data_tmp")).unwrap();
        fs::rename(files.path("..data_tmp"), files.path("..data")).unwrap();
        assert_eq!(next(&reports), Report::Renewed(Vec::new()));
        assert_eq!(serial(&shelf.current()), [2]);
    }

    #[test]
    fn a_certificate_that_is_awaited_is_taken_up_when_it_comes() {
        let files = Files::new();
        let path = files.path("self.pem");
        let mut options = Files::options(&path);
        options.awaited = options.pairs.pop();
        let shelf = Shelf::wanted(&options).unwrap().expect("it may come");
        let mut held = None;
        shelf.refresh(&mut held);
        let mut watch = Watch::new(&shelf);
        assert!(held.as_ref().unwrap().server.is_none());
        assert_eq!((watch.turn(false), watch.turn(true)), (None, None), "there is nothing to tell");
        // Half of it is no failure yet.
        fs::write(&path, "").unwrap();
        assert_eq!(watch.turn(false), None);
        files.self_signed("self.pem", 1);
        assert_eq!(watch.turn(false), Some(Report::Renewed(Vec::new())));
        shelf.refresh(&mut held);
        assert_eq!(serial(held.as_ref().unwrap()), [1]);
        // From then on it is one like any other, and its end is not that of TLS.
        files.self_signed("self.pem", 2);
        assert_eq!(watch.turn(false), Some(Report::Renewed(Vec::new())));
        fs::remove_file(&path).unwrap();
        assert_eq!(watch.turn(false), None);
        let Some(Report::Kept(reason)) = watch.turn(false) else { panic!("its end is told") };
        assert!(reason.contains("self.pem is gone"), "{reason}");
        shelf.refresh(&mut held);
        assert_eq!(serial(held.as_ref().unwrap()), [2]);
    }
}
