//! Which certificate a client gets: by the name it asks for, else the first.
//!
//! Owns the table from names to keys. It never reads a file.

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::sync::Arc;

/// Certificates with their keys, by name.
#[derive(Debug)]
pub struct Resolver {
    /// What a client gets that asks for no name or an unknown one.
    first: Keys,
    /// Lower-case names; those of the form `*.example.org` match one label in front.
    names: HashMap<Box<str>, Keys>,
}

/// Keys of different kinds for the same names, best first. Never empty.
type Keys = Vec<Arc<CertifiedKey>>;

impl Resolver {
    /// A resolver that always answers with `key`, until more are added. `names` are those in its certificate.
    pub fn new(key: &Arc<CertifiedKey>, names: &[String]) -> Resolver {
        let mut resolver = Resolver { first: vec![key.clone()], names: HashMap::new() };
        resolver.name(key, names);
        resolver
    }

    /// Answers with `key` to whoever asks for one of `names`, which may begin with `*.`. Where earlier keys have a name,
    /// it is used only for clients that cannot verify those: so there can be an ECDSA and an RSA key for one name. The
    /// same goes for clients that ask for no name, when `names` has one in common with the first key.
    pub fn add(&mut self, key: &Arc<CertifiedKey>, names: &[String]) {
        let is_first = |keys: &Keys| Arc::ptr_eq(&keys[0], &self.first[0]);
        if names.iter().any(|name| self.names.get(name.to_ascii_lowercase().as_str()).is_some_and(is_first)) {
            self.first.push(key.clone());
        }
        self.name(key, names);
    }

    fn name(&mut self, key: &Arc<CertifiedKey>, names: &[String]) {
        for name in names {
            self.names.entry(name.to_ascii_lowercase().into()).or_default().push(key.clone());
        }
    }

    /// The keys for `name`: an exact name first, then a wildcard for its first label (RFC 6125 section 6.4.3).
    fn find(&self, name: &str) -> &Keys {
        let name = name.to_ascii_lowercase();
        let wildcard = || self.names.get(format!("*.{}", name.split_once('.')?.1).as_str());
        self.names.get(name.as_str()).or_else(wildcard).unwrap_or(&self.first)
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        let keys = name.map_or(&self.first, |name| self.find(name));
        let is_known = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        // A client that can verify none of them gets the first all the same, and an alert that says why it cannot go on.
        keys.iter().find(is_known).or(keys.first()).cloned()
    }
}
