//! The authorities that judge certificates where no option names any: those that the environment names, or the system's.
//!
//! Owns which variable counts for whom, and what is said of one that leads to nothing: it is never passed over for another or
//! for the system, which the operator did not mean. Blocking: it reads files. It keeps nothing.

use crate::sys::process;
use rustls::pki_types::CertificateDer;
use std::ffi::OsString;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Certificates of authorities, at least one; and what is wrong with others that were named beside them.
pub type Found = (Vec<CertificateDer<'static>>, Vec<String>);

/// What OpenSSL's programs look at: a file, and directories, beside each other.
const FILE: &str = "SSL_CERT_FILE";
/// See [`FILE`].
const DIRECTORIES: &str = "SSL_CERT_DIR";
/// What Python's `requests` looks at, websockify's own way to its token services: a file or a directory, the first one that
/// says anything.
const BUNDLES: [&str; 2] = ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"];

const NONE: &str = "the system has no certificate authorities; install ca-certificates, or name a file of them with SSL_CERT_FILE";
const BARREN: &str = "it holds no certificates";

/// Reads a variable of the environment.
type Get<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// For targets and clients: those of `SSL_CERT_FILE` and `SSL_CERT_DIR`, or the system's.
///
/// # Errors
/// When there are none: what is wrong, and the remedy.
pub fn of_peers() -> Result<Found, String> {
    peers(&|name| env::var_os(name))
}

/// For web services that are asked: those of `REQUESTS_CA_BUNDLE`, or of `CURL_CA_BUNDLE`, or those [`of_peers`].
///
/// # Errors
/// As there.
pub fn of_services() -> Result<Found, String> {
    services(&|name| env::var_os(name))
}

fn services(get: Get<'_>) -> Result<Found, String> {
    let Some((name, path)) = BUNDLES.into_iter().find_map(|name| Some((name, said(name, get)?))) else {
        return peers(get);
    };
    let path = process::as_started(path);
    match either(&path) {
        Ok(found) if found.is_empty() => Err(fault(name, &path, &BARREN)),
        Ok(found) => Ok((found, Vec::new())),
        Err(error) => Err(fault(name, &path, &error)),
    }
}

fn peers(get: Get<'_>) -> Result<Found, String> {
    let (file, directories) = (said(FILE, get), said(DIRECTORIES, get));
    if file.is_none() && directories.is_none() {
        let found = rustls_native_certs::load_native_certs().certs;
        return if found.is_empty() { Err(NONE.into()) } else { Ok((found, Vec::new())) };
    }
    let file = file.map(|path| (FILE, path));
    let directories = directories.iter().flat_map(env::split_paths).map(|path| (DIRECTORIES, path));
    let (mut found, mut faults, mut barren) = (Vec::new(), Vec::new(), Vec::new());
    for (name, path) in file.into_iter().chain(directories).filter(|(_, path)| !path.as_os_str().is_empty()) {
        let path = process::as_started(path);
        let read = if name == FILE { in_file(&path) } else { in_directory(&path) };
        match read {
            // A directory may well be there for what is to come.
            Ok(none) if none.is_empty() => barren.push(fault(name, &path, &BARREN)),
            Ok(some) => found.extend(some),
            Err(error) => faults.push(fault(name, &path, &error)),
        }
    }
    if found.is_empty() {
        let first = faults.into_iter().chain(barren).next();
        return Err(first.unwrap_or_else(|| NONE.into()));
    }
    found.sort_unstable_by(|one, other| one.as_ref().cmp(other.as_ref()));
    found.dedup();
    Ok((found, faults))
}

/// What a variable says; one that is empty says nothing.
fn said(name: &str, get: Get<'_>) -> Option<PathBuf> {
    get(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn fault(name: &str, path: &Path, why: &dyn Display) -> String {
    let remedy = "name authorities in PEM there, or unset it";
    format!("{name}='{}' in the environment: {why}; {remedy}", path.display())
}

fn either(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    if fs::metadata(path)?.is_dir() { in_directory(path) } else { in_file(path) }
}

/// The certificates in a file, at least one.
fn in_file(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    // A pipe would be waited for.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    fs::File::open(path)?;
    let found = rustls_native_certs::load_certs_from_paths(Some(path), None).certs;
    if found.is_empty() { Err(io::Error::other(BARREN)) } else { Ok(found) }
}

/// The certificates in the files of a directory; those that are odd are passed over.
fn in_directory(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    fs::read_dir(path)?;
    Ok(rustls_native_certs::load_certs_from_paths(None, Some(path)).certs)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with an authority in the file `one`, another in `more/two`, an empty directory, and a text.
    struct Place(PathBuf, [CertificateDer<'static>; 2]);

    impl Place {
        fn new(name: &str) -> Place {
            let place = env::temp_dir().join(format!("websplice-authorities-{name}-{}", std::process::id()));
            for directory in ["more", "empty"] {
                fs::create_dir_all(place.join(directory)).unwrap();
            }
            fs::write(place.join("text"), "no certificate\n").unwrap();
            let own = ["one", "more/two"].map(|file| {
                let key = rcgen::KeyPair::generate().unwrap();
                let params = rcgen::CertificateParams::new(vec!["authority.test".into()]).unwrap();
                let certificate = params.self_signed(&key).unwrap();
                fs::write(place.join(file), certificate.pem()).unwrap();
                certificate.der().clone()
            });
            Place(place, own)
        }

        /// What comes of these variables, their paths being in here; of what is found, which of our two.
        fn found(&self, variables: &[(&str, &str)], find: fn(Get<'_>) -> Result<Found, String>) -> Outcome {
            let value = |path: &str| match path {
                "" => OsString::new(),
                path => self.0.join(path).into(),
            };
            let get =
                |name: &str| variables.iter().find(|(own, _)| *own == name).map(|(_, path)| value(path));
            let (found, faults) = find(&get)?;
            assert!(!found.is_empty());
            Ok((self.1.iter().map(|own| found.contains(own)).collect(), faults.len()))
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    type Outcome = Result<(Vec<bool>, usize), String>;

    #[test]
    fn services_are_judged_by_the_first_bundle_that_says_anything() {
        let place = Place::new("services");
        for (variables, expected) in [
            (&[("REQUESTS_CA_BUNDLE", "one"), ("CURL_CA_BUNDLE", "more")][..], [true, false]),
            (&[("REQUESTS_CA_BUNDLE", ""), ("CURL_CA_BUNDLE", "more")], [false, true]),
            (&[("CURL_CA_BUNDLE", "more/two"), ("SSL_CERT_FILE", "one")], [false, true]),
            (&[("REQUESTS_CA_BUNDLE", "more"), ("SSL_CERT_FILE", "gone")], [false, true]),
            (&[("REQUESTS_CA_BUNDLE", ""), ("CURL_CA_BUNDLE", ""), ("SSL_CERT_FILE", "one")], [true, false]),
            (&[("SSL_CERT_FILE", "one"), ("SSL_CERT_DIR", "more")], [true, true]),
        ] {
            let found = place.found(variables, services);
            assert_eq!(found, Ok((expected.to_vec(), 0)), "{variables:?}");
        }
        // One that leads to nothing takes nobody's place: not the other one's, nor the system's.
        for (path, why) in
            [("gone", "No such file"), ("text", BARREN), ("empty", BARREN), ("one/x", "Not a directory")]
        {
            for (bad, good) in [(BUNDLES[0], BUNDLES[1]), (BUNDLES[0], FILE), (BUNDLES[1], FILE)] {
                let why_not = place.found(&[(bad, path), (good, "one")], services).unwrap_err();
                let begin = format!("{bad}='{}' in the environment: ", place.0.join(path).display());
                assert!(why_not.starts_with(&begin) && why_not.contains(why), "{why_not}");
                assert!(why_not.ends_with("; name authorities in PEM there, or unset it"), "{why_not}");
            }
        }
    }

    #[test]
    fn targets_and_clients_are_not_judged_by_bundles() {
        let place = Place::new("peers");
        for (variables, expected) in [
            (&[("REQUESTS_CA_BUNDLE", "gone"), ("SSL_CERT_FILE", "one")][..], (vec![true, false], 0)),
            (&[("CURL_CA_BUNDLE", "one"), ("SSL_CERT_DIR", "more")], (vec![false, true], 0)),
            (&[("SSL_CERT_FILE", "gone"), ("SSL_CERT_DIR", "more")], (vec![false, true], 1)),
            (&[("SSL_CERT_FILE", "one"), ("SSL_CERT_DIR", "empty")], (vec![true, false], 0)),
        ] {
            assert_eq!(place.found(variables, peers), Ok(expected), "{variables:?}");
        }
        let alone = place.found(&[("SSL_CERT_FILE", "gone")], peers).unwrap_err();
        assert!(alone.starts_with("SSL_CERT_FILE='") && alone.contains("No such file"), "{alone}");
    }
}
