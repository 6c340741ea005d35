//! Names to addresses, through the system's own resolver. Blocks: for helpers and for start-up, never for a shard.

use crate::limits::TARGET_ADDRESSES_MAX;
use dns_lookup::{AddrInfoHints, SockType, getaddrinfo};
use std::io;
use std::net::SocketAddr;

/// All addresses of `host` and `service`, a port number or a service's name, in the resolver's order, each once, at most [`TARGET_ADDRESSES_MAX`].
/// An empty host is the loopback.
pub fn stream(host: &str, service: &str) -> io::Result<Vec<SocketAddr>> {
    let hints = AddrInfoHints { socktype: SockType::Stream.into(), ..AddrInfoHints::default() };
    let host = if host.is_empty() { None } else { Some(host) };
    let found = getaddrinfo(host, Some(service), Some(hints)).map_err(io::Error::from)?;
    let mut addresses = Vec::new();
    for one in found {
        let address = one?.sockaddr;
        if !addresses.contains(&address) && addresses.len() < TARGET_ADDRESSES_MAX {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_services_and_the_empty_host() {
        let port = "5900";
        assert_eq!(stream("127.0.0.1", port).unwrap(), ["127.0.0.1:5900".parse().unwrap()]);
        assert_eq!(stream("::1", port).unwrap(), ["[::1]:5900".parse().unwrap()]);
        assert!(stream("", port).unwrap().iter().all(|address| address.ip().is_loopback()));
        assert_eq!(stream("127.0.0.1", "http").unwrap()[0].port(), 80);
        assert!(stream("127.0.0.1", "no-such-service").is_err());
    }
}
