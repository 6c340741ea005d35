//! The step of a route that says whether its target may be connected to: found out before the 101, and before anything is dialled.
//!
//! Owns what has to be known of a target for that, and how it is kept: what was judged is what is dialled, whatever a name or a
//! path leads to a moment later. The rules are `route::reach`'s.

use super::job::Job;
use crate::route::reach::{Barred, Reach};
use crate::sys::address::Address;
use crate::target::{Port, Target};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

/// What is known of a target.
#[derive(Debug)]
pub(super) enum Known {
    /// It may be connected to, as this one.
    Open(Arc<Target>),
    /// Somebody has to say where it is.
    Ask(Job),
    /// It may not be: what is against it, and which place.
    Barred(Barred, String),
    /// Nobody can say where it is; why.
    Lost(String),
}

/// What can be said of `target` at once.
pub(super) fn look(target: &Arc<Target>, reach: &Reach) -> Known {
    match &**target {
        Target::Echo => Known::Open(target.clone()),
        Target::Abstract(name) => match reach.judge(&Address::Abstract(name.clone())) {
            Ok(()) => Known::Open(target.clone()),
            Err(barred) => Known::Barred(barred, target.to_string()),
        },
        Target::Tcp { host, port } => match (host.parse::<IpAddr>(), port) {
            (Ok(ip), Port::Number(port)) => found(target, &[SocketAddr::new(ip, *port)], reach),
            _ => Known::Ask(Job::Resolve { host: host.clone(), port: port.clone() }),
        },
        Target::Resolved { name, addresses } => found(name, addresses, reach),
        Target::Unix(_) | Target::Held(_) => Known::Ask(Job::Hold(target.clone())),
    }
}

/// The same of one whose name has these addresses: those that may not be connected to are left out.
pub(super) fn found(target: &Arc<Target>, addresses: &[SocketAddr], reach: &Reach) -> Known {
    let mut last = None;
    let mut open = addresses.to_vec();
    open.retain(|&address| match reach.judge(&Address::Tcp(address)) {
        Ok(()) => true,
        Err(barred) => {
            last = Some((barred, address));
            false
        }
    });
    match last {
        _ if !open.is_empty() => {
            Known::Open(Arc::new(Target::Resolved { name: target.clone(), addresses: open }))
        }
        Some((barred, address)) => Known::Barred(barred, shown(target, address.to_string())),
        None => Known::Lost(format!("{target} has no address")),
    }
}

/// The same of a name that was looked up.
pub(super) fn resolved(target: &Arc<Target>, answer: io::Result<Vec<SocketAddr>>, reach: &Reach) -> Known {
    match answer {
        Ok(addresses) => found(target, &addresses, reach),
        Err(error) => Known::Lost(error.to_string()),
    }
}

/// The same of a socket that was found, and is really there.
pub(super) fn held(target: &Target, answer: io::Result<(Target, PathBuf)>, reach: &Reach) -> Known {
    match answer {
        Ok((socket, real)) => match reach.judge(&Address::Unix(real.clone())) {
            Ok(()) => Known::Open(Arc::new(socket)),
            Err(barred) => Known::Barred(barred, shown(target, real.display().to_string())),
        },
        Err(error) => Known::Lost(error.to_string()),
    }
}

/// A place, and what led there if that is called otherwise.
fn shown(target: &Target, place: String) -> String {
    let name = target.to_string();
    if name == place { place } else { format!("{place}, where {name} leads") }
}
