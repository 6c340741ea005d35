//! One `bind()` of a wrapped program: whether it asks for the port that the server has, and where it goes instead.
//!
//! The program's socket is taken and bound here, so what was looked at is what is done: nothing of the address is read by
//! the kernel again. Everything that is not moved goes on as if nobody had looked.
//!
//! A bind is moved when it is for a TCP (or MPTCP) socket and the port is the old one, whatever the address. IPv4 goes to
//! 127.0.0.1, IPv6 to ::1: a socket that was asked for both families then has one, which is enough, as the server dials
//! both; and unlike ::ffff:127.0.0.1 that also suits a socket that takes IPv6 only, and leaves 127.0.0.1 to the program's
//! other socket, if it has one for each family. UDP is left alone: there the server has taken nothing away.

use super::port;
use crate::sys::seccomp::{self, Answer, Bind};
use nix::errno::Errno;
use nix::unistd::Pid;
use socket2::{Domain, Protocol, SockAddr, SockRef, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};

/// Longest address that the kernel takes (`struct sockaddr_storage`).
const ADDRESS_BYTES: usize = 128;

/// Moves binds from one port to another.
#[derive(Debug)]
pub struct Mover {
    old: u16,
    new: u16,
    /// What holds the new port.
    holders: Vec<OwnedFd>,
    /// A thread whose bind was done, but which was interrupted before it heard of it: it will ask again.
    unheard: Option<Pid>,
}

/// What became of a bind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was none of ours.
    Passed,
    /// It is bound here now.
    Moved(SocketAddr),
    /// It was to be moved, and that failed as a bind may fail.
    Failed(SocketAddr, Errno),
    /// It was to be moved and could not even be tried: this call was refused. The program went on by itself.
    Refused(&'static str, Errno),
}

impl Mover {
    /// Moves binds from port `old` to port `new`, which `holders` hold.
    pub fn new(old: u16, new: u16, holders: Vec<OwnedFd>) -> Mover {
        Mover { old, new, holders, unheard: None }
    }

    /// Lets a program have the new port that binds by itself.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open(&self) -> io::Result<()> {
        port::share(&self.holders, true)
    }

    /// Takes back what the program had: nobody else may have the new port.
    pub fn close(&self) {
        // What is refused here only leaves the port shared.
        let _ = port::share(&self.holders, false);
    }

    /// Looks at one bind and answers it.
    pub fn handle(&mut self, listener: BorrowedFd<'_>, bind: &Bind) -> Outcome {
        let outcome = self.decide(listener, bind);
        let answer = match outcome {
            Outcome::Passed | Outcome::Refused(..) => Answer::Continue,
            Outcome::Moved(_) => Answer::Done,
            Outcome::Failed(_, errno) => Answer::Failed(errno),
        };
        let heard = seccomp::answer(listener, bind, answer).is_ok();
        self.unheard = (!heard && answer == Answer::Done).then_some(bind.thread);
        outcome
    }

    fn decide(&self, listener: BorrowedFd<'_>, bind: &Bind) -> Outcome {
        let mut bytes = [0; ADDRESS_BYTES];
        let length = bind.length.min(ADDRESS_BYTES);
        let read = match seccomp::read_memory(bind.thread, bind.address, &mut bytes[..length]) {
            Ok(read) => read,
            // The kernel will find out the same.
            Err(Errno::EFAULT) => return Outcome::Passed,
            Err(errno) => return Outcome::Refused("process_vm_readv", errno),
        };
        let Some(asked) = parsed(&bytes[..read]).filter(|asked| asked.port() == self.old) else {
            return Outcome::Passed;
        };
        let socket = match seccomp::take_descriptor(bind.thread, bind.descriptor) {
            Ok(socket) => socket,
            Err((_, Errno::EBADF)) => return Outcome::Passed,
            Err((call, errno)) => return Outcome::Refused(call, errno),
        };
        // Until here the thread might have ended and its number be another's; now what we hold is surely its own.
        if !seccomp::still_waits(listener, bind) || !is_tcp(&socket) {
            return Outcome::Passed;
        }
        self.bind(&socket, moved(asked, self.new), bind.thread)
    }

    fn bind(&self, socket: &OwnedFd, to: SocketAddr, thread: Pid) -> Outcome {
        let socket = SockRef::from(socket);
        let bind = |to: SocketAddr| {
            port::share(&self.holders, true)?;
            socket.set_reuse_address(true)?;
            socket.bind(&SockAddr::from(to))
        };
        let error = match bind(to) {
            Ok(()) => return Outcome::Moved(to),
            Err(error) => errno_of(&error),
        };
        // A socket for both families is as good at 127.0.0.1 where there is no ::1.
        let mapped = SocketAddr::from((Ipv4Addr::LOCALHOST.to_ipv6_mapped(), self.new));
        if error == Errno::EADDRNOTAVAIL
            && to.is_ipv6()
            && socket.only_v6().is_ok_and(|only| !only)
            && bind(mapped).is_ok()
        {
            return Outcome::Moved(mapped);
        }
        let here = socket.local_addr().ok().and_then(|address| address.as_socket());
        if error == Errno::EINVAL && self.unheard == Some(thread) && here == Some(to) {
            return Outcome::Moved(to);
        }
        Outcome::Failed(to, error)
    }
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EACCES))
}

fn is_tcp(socket: &OwnedFd) -> bool {
    let socket = SockRef::from(socket);
    let protocol = || matches!(socket.protocol(), Ok(Some(Protocol::TCP | Protocol::MPTCP)));
    matches!(socket.domain(), Ok(Domain::IPV4 | Domain::IPV6))
        && matches!(socket.r#type(), Ok(Type::STREAM))
        && protocol()
}

/// Where a bind to the old port of `asked` goes.
fn moved(asked: SocketAddr, new: u16) -> SocketAddr {
    let address = match asked.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => {
            IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped())
        }
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    SocketAddr::new(address, new)
}

/// Reads a `struct sockaddr` of IPv4 or IPv6, as short as the kernel takes it.
fn parsed(bytes: &[u8]) -> Option<SocketAddr> {
    let family = i32::from(u16::from_ne_bytes(*bytes.first_chunk()?));
    let port = u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
    let four = || Some(Ipv4Addr::from(*bytes.get(4..16)?.first_chunk::<4>()?));
    match family {
        libc::AF_INET => Some((four()?, port).into()),
        // The kernel forgives this for the one address that has no family (inet_bind in net/ipv4/af_inet.c).
        libc::AF_UNSPEC => Some((four().filter(Ipv4Addr::is_unspecified)?, port).into()),
        libc::AF_INET6 => Some((Ipv6Addr::from(*bytes.get(8..24)?.first_chunk::<16>()?), port).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_goes_to_its_own_loopback() {
        for (asked, to) in [
            ("0.0.0.0:5901", "127.0.0.1:7"),
            ("127.0.0.1:5901", "127.0.0.1:7"),
            ("192.0.2.1:5901", "127.0.0.1:7"),
            ("[::]:5901", "[::1]:7"),
            ("[::1]:5901", "[::1]:7"),
            ("[2001:db8::1]:5901", "[::1]:7"),
            ("[::ffff:0.0.0.0]:5901", "[::ffff:127.0.0.1]:7"),
            ("[::ffff:192.0.2.1]:5901", "[::ffff:127.0.0.1]:7"),
        ] {
            assert_eq!(moved(asked.parse().unwrap(), 7), to.parse().unwrap(), "{asked}");
        }
    }

    #[test]
    fn addresses_are_read_as_the_kernel_reads_them() {
        let addresses = ["10.1.2.3:5901", "[2001:db8::7]:80", "[::]:1"];
        for text in addresses {
            let address: SocketAddr = text.parse().unwrap();
            let raw = SockAddr::from(address);
            let (family, port) = (raw.family().to_ne_bytes(), address.port().to_be_bytes());
            let mut bytes = [&family[..], &port].concat();
            match address.ip() {
                IpAddr::V4(ip) => bytes.extend([&ip.octets()[..], &[0; 8]].concat()),
                IpAddr::V6(ip) => bytes.extend([&[0; 4][..], &ip.octets(), &[0; 4]].concat()),
            }
            assert_eq!(parsed(&bytes), Some(address));
            let least = if address.is_ipv4() { 16 } else { 24 };
            for cut in 0..bytes.len() {
                assert_eq!(
                    parsed(&bytes[..cut]),
                    Some(address).filter(|_| cut >= least),
                    "{text} cut at {cut}"
                );
            }
        }
        let mut none = [0; 16];
        none[2..4].copy_from_slice(&80_u16.to_be_bytes());
        assert_eq!(parsed(&none), Some("0.0.0.0:80".parse().unwrap()));
        none[7] = 1;
        assert_eq!(parsed(&none), None, "an address without a family");
        none[..2].copy_from_slice(&(libc::AF_UNIX as u16).to_ne_bytes());
        assert_eq!(parsed(&none), None);
    }
}
