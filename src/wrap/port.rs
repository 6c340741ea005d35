//! The port that a wrapped program is moved to or told: chosen once, and held as far as the kernel lets two hold one.
//!
//! It is held with sockets that are bound and never listen, so no connection is taken and no port that the kernel chooses
//! for somebody, a client's included, is this one. While no program of ours may have the port they are exclusive, so
//! nobody can take it over either. Two windows remain. From the moment a moved program binds until all of it has gone they
//! are shared (`SO_REUSEADDR`, which then the program's socket has too): while it does not listen, any user's socket with
//! that option may have the port too, since Linux compares users for `SO_REUSEPORT` only. And a program that binds by
//! itself may do so without the option, so nothing is held from its start until all of it has gone. Who cannot live with
//! either is served by `{unix_socket}`.

use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

/// How often a port is tried that has to be free in both families.
const TRIES: usize = 16;

/// Chooses a port of the loopback other than `not`, and the sockets that hold it: one for IPv4, and one for IPv6 where
/// the system has it.
///
/// # Errors
/// When there is none to be had.
pub fn choose(not: u16) -> io::Result<(u16, Vec<OwnedFd>)> {
    let mut error = io::ErrorKind::AddrInUse.into();
    for _ in 0..TRIES {
        let first = bound((Ipv4Addr::LOCALHOST, 0).into())?;
        let port = first.local_addr()?.as_socket().map_or(0, |address| address.port());
        if port == not {
            continue;
        }
        match bound((Ipv6Addr::LOCALHOST, port).into()) {
            Ok(second) => return Ok((port, vec![first.into(), second.into()])),
            Err(taken) if taken.kind() == io::ErrorKind::AddrInUse => error = taken,
            // No IPv6 here, so nobody will bind to it either.
            Err(_) => return Ok((port, vec![first.into()])),
        }
    }
    Err(error)
}

/// Holds `port` again, as far as that can be had.
pub fn hold(port: u16) -> Vec<OwnedFd> {
    let again = |ip: IpAddr| {
        let address = SocketAddr::from((ip, port));
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // For what is left of its connections; then nobody else may.
        socket.set_reuse_address(true)?;
        socket.bind(&SockAddr::from(address))?;
        socket.set_reuse_address(false)?;
        io::Result::Ok(OwnedFd::from(socket))
    };
    let both = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
    both.into_iter().filter_map(|ip| again(ip).ok()).collect()
}

fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

/// Lets a socket with `SO_REUSEADDR` have the port too, or no longer.
///
/// # Errors
/// What the kernel says.
pub fn share(holders: &[OwnedFd], shared: bool) -> io::Result<()> {
    holders.iter().try_for_each(|socket| SockRef::from(socket).set_reuse_address(shared))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_port_is_exclusive_until_it_is_shared() {
        let (port, holders) = choose(0).unwrap();
        let taken = |reuse: bool| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_reuse_address(reuse).unwrap();
            socket.bind(&SockAddr::from(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))).map(|()| socket)
        };
        assert!(taken(true).is_err() && taken(false).is_err());
        share(&holders, true).unwrap();
        assert!(taken(false).is_err());
        let socket = taken(true).unwrap();
        socket.listen(1).unwrap();
        assert!(taken(true).is_err(), "it listens");
        drop(socket);
        share(&holders, false).unwrap();
        assert!(taken(true).is_err(), "held again");
    }

    #[test]
    fn nobody_answers_at_a_held_port() {
        let (port, _holders) = choose(0).unwrap();
        let refused = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_port_that_was_let_go_is_held_again() {
        let (port, holders) = choose(0).unwrap();
        drop(holders);
        let program = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let client = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        // The side that closes first keeps the port for a while.
        drop(program.accept().unwrap());
        drop(program);
        drop(client);
        let _holders = hold(port);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        assert!(socket.bind(&SockAddr::from(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))).is_err());
    }
}
