//! Which certificate a client gets: by the name it asks for, else the first.
//!
//! Owns the table from names to keys. It also notes the name that was asked for, because rustls' unbuffered connection
//! shows it to the resolver only. It never reads a file.

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

thread_local! {
    /// The name in the hello that was handled last on this thread. A handshake runs within one call of the stream, which
    /// takes the name out again before it returns.
    static ASKED: Cell<Option<Box<str>>> = const { Cell::new(None) };
}

/// The name that the hello asked for which was just handled on this thread, once.
pub(super) fn take_asked() -> Option<Box<str>> {
    ASKED.take()
}

/// Certificates with their keys, by name.
#[derive(Debug)]
pub struct Resolver {
    /// What a client gets that asks for no name or an unknown one.
    first: Arc<CertifiedKey>,
    /// Lower-case names; those of the form `*.example.org` match one label in front.
    names: HashMap<Box<str>, Arc<CertifiedKey>>,
}

impl Resolver {
    /// A resolver that always answers with `first`, until names are added.
    pub fn new(first: Arc<CertifiedKey>) -> Resolver {
        Resolver { first, names: HashMap::new() }
    }

    /// Answers with `key` to whoever asks for `name`, which may begin with `*.`, unless an earlier key has that name.
    pub fn add(&mut self, name: &str, key: &Arc<CertifiedKey>) {
        self.names.entry(name.to_ascii_lowercase().into()).or_insert_with(|| key.clone());
    }

    /// The key for `name`: an exact name first, then a wildcard for its first label (RFC 6125 section 6.4.3).
    pub fn find(&self, name: &str) -> &Arc<CertifiedKey> {
        let name = name.to_ascii_lowercase();
        let wildcard = || self.names.get(format!("*.{}", name.split_once('.')?.1).as_str());
        self.names.get(name.as_str()).or_else(wildcard).unwrap_or(&self.first)
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        ASKED.set(name.map(Into::into));
        Some(name.map_or(&self.first, |name| self.find(name)).clone())
    }
}
