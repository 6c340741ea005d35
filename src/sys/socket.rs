//! Stream sockets: opened, accepted, dialled, read and written without ever blocking.

use super::address::Address;
use super::bound::{self, Bound};
use crate::limits::BACKLOG;
use nix::sys::socket::MsgFlags;
use socket2::{Domain, SockAddr, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
#[cfg(target_os = "linux")]
use std::sync::OnceLock;
use std::time::Duration;

/// When keep-alive probes begin, how often they are repeated, and how many may go unanswered: a cut cable ends.
const KEEPALIVE_TIME: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;
/// How long sent bytes may stay unacknowledged before the kernel gives a connection up.
const USER_TIMEOUT: Duration = Duration::from_secs(60);

/// Lets what follows, the end of the stream for one, go in one segment with the bytes before it.
#[cfg(target_os = "linux")]
const AND_MORE: MsgFlags = MsgFlags::from_bits_retain(libc::MSG_MORE);
/// Elsewhere they go apart.
#[cfg(not(target_os = "linux"))]
const AND_MORE: MsgFlags = MsgFlags::empty();

/// What a poller is asked about a socket that is read: bytes, and an urgent mark in front of which a receive stops.
#[cfg(target_os = "linux")]
pub const READING: mio::Interest = mio::Interest::READABLE.add(mio::Interest::PRIORITY);
/// Elsewhere a poller is not asked about that.
#[cfg(not(target_os = "linux"))]
pub const READING: mio::Interest = mio::Interest::READABLE;

/// An open stream socket of a client or a target. Dropping it closes it.
#[derive(Debug)]
pub struct Stream {
    descriptor: OwnedFd,
    local: bool,
}

impl Stream {
    /// `descriptor`, which is a Unix socket if it is `local`, and of TCP otherwise.
    pub fn new(descriptor: OwnedFd, local: bool) -> Stream {
        Stream { descriptor, local }
    }

    /// Whether it is a Unix socket.
    pub fn is_local(&self) -> bool {
        self.local
    }

    /// Whether the system tells that it can be written to only after a call found that it could not, as Linux does of TCP.
    /// Else it tells so whenever the other end has taken something.
    pub fn is_quiet(&self) -> bool {
        cfg!(target_os = "linux") && !self.local
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}

/// Receives into `into`; 0 is the end of the stream.
pub fn receive(socket: impl AsFd, into: &mut [u8]) -> io::Result<usize> {
    Ok(nix::sys::socket::recv(socket.as_fd().as_raw_fd(), into, MsgFlags::MSG_DONTWAIT)?)
}

/// Sends from `bytes`; never raises SIGPIPE. With `more`, [`shut`] or more bytes follow at once.
pub fn send(socket: impl AsFd, bytes: &[u8], more: bool) -> io::Result<usize> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let flags = if more { flags | AND_MORE } else { flags };
    Ok(nix::sys::socket::send(socket.as_fd().as_raw_fd(), bytes, flags)?)
}

/// Says end of stream. An error means that the connection is gone already, which says the same.
pub fn shut(socket: impl AsFd) {
    let _ = SockRef::from(&socket).shutdown(std::net::Shutdown::Write);
}

/// Accepts one client, if one waits, and says where it is; `None` for one on a Unix socket. The socket itself may block:
/// no call here that moves bytes does.
pub fn accept(listener: impl AsFd) -> io::Result<(Stream, Option<SocketAddr>)> {
    let (socket, address) = SockRef::from(&listener).accept()?;
    let client = address.as_socket().map(plain);
    Ok((Stream::new(socket.into(), client.is_none()), client))
}

/// Opens a socket and starts to connect it. Nobody watches over it yet: see [`keep`].
pub fn connect(address: &Address) -> io::Result<Stream> {
    let (domain, address) = match address {
        Address::Tcp(address) => (Domain::for_address(*address), SockAddr::from(*address)),
        Address::Unix(path) => (Domain::UNIX, SockAddr::unix(path)?),
        Address::Abstract(name) => (Domain::UNIX, abstract_address(name)?),
    };
    let socket = open(domain)?;
    let there = address.as_socket();
    if let Some(there) = there {
        without_delay(&socket)?;
        unpace(&socket, there);
    }
    match socket.connect(&address) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(Stream::new(socket.into(), there.is_none()))
}

/// Connects to the Unix socket at `path`, which takes datagrams or else a stream; says whether it is a stream. Never waits.
pub fn connect_local(path: &Path) -> io::Result<(OwnedFd, bool)> {
    let connect = |kind| {
        let socket = Socket::new(Domain::UNIX, kind, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)?;
        Ok(OwnedFd::from(socket))
    };
    match connect(Type::DGRAM) {
        Err(error) if is_of_another_kind(&error) => Ok((connect(Type::STREAM)?, true)),
        outcome => Ok((outcome?, false)),
    }
}

fn is_of_another_kind(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EPROTOTYPE)
}

/// A stream socket whose connect does not block.
#[cfg(target_os = "linux")]
fn open(domain: Domain) -> io::Result<Socket> {
    Socket::new(domain, Type::STREAM.nonblocking(), None)
}

/// Not every system takes that wish with the socket.
#[cfg(not(target_os = "linux"))]
fn open(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// How a connect ended.
pub fn connected(socket: impl AsFd) -> io::Result<()> {
    match SockRef::from(&socket).take_error()? {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Opens a listener on `address`, dual-stack when that is the unspecified IPv6 address. What is set here is inherited by
/// every accepted socket.
pub fn listen_tcp(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if let SocketAddr::V6(v6) = address {
        socket.set_only_v6(*v6.ip() != Ipv6Addr::UNSPECIFIED)?;
    }
    socket.set_reuse_address(true)?;
    for_tcp(&socket)?;
    unpace(&socket, address);
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Finds out whether [`listen_tcp`] may have `address`, whoever has its port now. The kernel itself judges the address, with
/// all its routes and switches, and takes no port.
///
/// # Errors
/// What [`listen_tcp`] would meet: an address that is not this machine's, a family that it has not, or a port that is not for
/// this user.
#[cfg(target_os = "linux")]
pub fn may_listen(address: SocketAddr) -> io::Result<()> {
    /// `CAP_NET_BIND_SERVICE` of linux/capability.h.
    const BIND_SERVICE: u64 = 1 << 10;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::IpBindAddressNoPort, &true)?;
    let mut portless = address;
    portless.set_port(0);
    socket.bind(&portless.into())?;
    let least = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let least = least.ok().and_then(|text| text.trim().parse::<u16>().ok()).unwrap_or(1024);
    if address.port() != 0 && address.port() < least && super::process::capabilities()? & BIND_SERVICE == 0 {
        return Err(io::Error::from_raw_os_error(libc::EACCES));
    }
    Ok(())
}

/// Elsewhere that cannot be asked without taking a port.
#[cfg(not(target_os = "linux"))]
pub fn may_listen(_: SocketAddr) -> io::Result<()> {
    Ok(())
}

/// Opens a listener at `path`, which must not exist, with exactly the permission bits of `mode` (up to 0777), and gives its
/// file to the user and group of `owner`, if that is somebody else. To be called before the first thread: the mask of the
/// process is another one for a moment. The bits come from that, unless its directory has more to say, and what is changed
/// then or given away is known by more than its path: whoever may write in the directory could have put something else there.
///
/// # Errors
/// What the system says; and that something else is there by then.
pub fn listen_unix(path: &Path, mode: u32, owner: Option<(u32, u32)>) -> io::Result<(OwnedFd, Bound)> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let address = SockAddr::unix(path)?;
    let mode = mode & 0o777;
    let mask = nix::sys::stat::Mode::from_bits_truncate(!mode as libc::mode_t & 0o777);
    let before = nix::sys::stat::umask(mask);
    let outcome = socket.bind(&address);
    nix::sys::stat::umask(before);
    outcome?;
    let bound = bound::settle(path, mode, owner)?;
    socket.listen(BACKLOG).inspect_err(|_| drop(bound.remove()))?;
    Ok((socket.into(), bound))
}

/// A listening socket.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    lent: bool,
}

impl Listener {
    /// One that this process has opened.
    pub fn own(socket: OwnedFd) -> Listener {
        Listener { socket, lent: false }
    }

    /// One that somebody else has opened, and may go on with when this process has ended.
    ///
    /// # Errors
    /// When the socket cannot be told not to block.
    pub fn lent(socket: OwnedFd) -> io::Result<Listener> {
        SockRef::from(&socket).set_nonblocking(true)?;
        Ok(Listener { socket, lent: true })
    }

    /// Refuses newcomers from now on, whoever else in this process still holds the listener: closing one of several
    /// descriptors would not. Systems other than Linux may not know this for a listener; there it closes with its last
    /// descriptor. A socket that is lent goes on listening.
    pub fn stop(&self) {
        if !self.lent {
            let _ = SockRef::from(&self.socket).shutdown(std::net::Shutdown::Read);
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// What a socket is that somebody else has opened.
#[derive(Debug)]
pub enum Given {
    /// It listens; where, if it is TCP.
    Listening(Option<SocketAddr>),
    /// It is connected; where the other end is, if it is TCP.
    Connected(Option<SocketAddr>),
}

/// Finds out what `socket` is.
///
/// # Errors
/// `ENOTSOCK` where it is none, and `InvalidInput` where it is one that no client can be served on.
pub fn examine(socket: impl AsFd) -> io::Result<Given> {
    let socket = SockRef::from(&socket);
    if socket.r#type()? != Type::STREAM {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a stream socket"));
    }
    if listens(&socket)? {
        return Ok(Given::Listening(socket.local_addr()?.as_socket().map(plain)));
    }
    match socket.peer_addr() {
        Ok(address) => Ok(Given::Connected(address.as_socket().map(plain))),
        Err(_) => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "a socket that neither listens nor is connected"))
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
fn listens(socket: &SockRef<'_>) -> io::Result<bool> {
    socket.is_listener()
}

/// Where the socket cannot be asked, one that nobody is connected to is taken for a listener.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
fn listens(socket: &SockRef<'_>) -> io::Result<bool> {
    Ok(socket.peer_addr().is_err())
}

/// Sets for a TCP socket that somebody else has opened what is set for our own; a Unix socket has nothing to set.
pub fn adapt(socket: impl AsFd, address: Option<SocketAddr>) -> io::Result<()> {
    let socket = SockRef::from(&socket);
    let Some(address) = address else { return Ok(()) };
    for_tcp(&socket)?;
    unpace(&socket, address);
    Ok(())
}

/// Whether somebody answers at the Unix socket `path`.
pub fn answers(path: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(path).is_ok()
}

/// Where a listener really is: the port that the kernel chose, for one.
pub fn bound_to(listener: impl AsFd) -> io::Result<Option<SocketAddr>> {
    Ok(SockRef::from(&listener).local_addr()?.as_socket())
}

/// Has the system find out when the other end is gone, and end the connection then. That of a Unix socket cannot be gone
/// without a word.
pub fn keep(stream: &Stream) {
    if !stream.local {
        // A connection that is broken already may refuse; whoever uses it next is told.
        let _ = watch_over(&SockRef::from(stream));
    }
}

fn for_tcp(socket: &Socket) -> io::Result<()> {
    without_delay(socket)?;
    watch_over(socket)
}

fn without_delay(socket: &Socket) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    // An urgent byte is a byte of the stream (RFC 6093 section 3): telnet's data mark would be missing else.
    socket.set_out_of_band_inline(true)
}

fn watch_over(socket: &Socket) -> io::Result<()> {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_TIME).with_interval(KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive.with_retries(KEEPALIVE_RETRIES))?;
    user_timeout(socket)
}

/// Keeps pacing away from this machine's own loopback, where there is no queue to spare: BBR there costs up to four times
/// the CPU for a byte of what CUBIC or Reno do. Other paths keep what the system was set to. That none of them may be had
/// is no reason to fail.
#[cfg(target_os = "linux")]
fn unpace(socket: &Socket, address: SocketAddr) {
    static UNPACED: OnceLock<Option<&[u8]>> = OnceLock::new();
    if address.ip().is_loopback() {
        let unpaced = UNPACED.get_or_init(|| {
            let current = socket.tcp_congestion().ok()?;
            let paced = current.starts_with(b"bbr");
            [&b"cubic"[..], b"reno"].into_iter().find(|name| paced && socket.set_tcp_congestion(name).is_ok())
        });
        if let Some(name) = unpaced {
            let _ = socket.set_tcp_congestion(name);
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn unpace(_: &Socket, _: SocketAddr) {}

#[cfg(target_os = "linux")]
fn user_timeout(socket: &Socket) -> io::Result<()> {
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))
}

/// Elsewhere keep-alive alone ends a dead connection.
#[cfg(not(target_os = "linux"))]
fn user_timeout(_: &Socket) -> io::Result<()> {
    let _ = USER_TIMEOUT;
    Ok(())
}

/// The abstract namespace is Linux's own: a name that begins with NUL.
#[cfg(target_os = "linux")]
fn abstract_address(name: &[u8]) -> io::Result<SockAddr> {
    use std::os::unix::ffi::OsStrExt;
    SockAddr::unix(std::ffi::OsStr::from_bytes(&[b"\0", name].concat()))
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_: &[u8]) -> io::Result<SockAddr> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "abstract Unix sockets are Linux's own"))
}

/// An IPv4 client of a dual-stack listener shows as what it is.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
