//! Listeners: opened before anything else runs, and a Unix socket's file taken away again.
//!
//! Owns the way from a configured address to open sockets. It never removes a file that is not a stale socket, and never
//! accepts.

use crate::config::Listen;
use crate::sys::bound::Bound;
use crate::sys::socket::{Given, Listener};
use crate::sys::{directory, process, resolve, socket, stdio};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;

/// How often an ephemeral port is tried that has to be free on several addresses.
const PORT_TRIES: usize = 8;
/// What stands in front of why an address is not listened at while others are.
const LEFT_OUT: &str = "one address of the name is left out";

/// Open listeners.
#[derive(Debug)]
pub struct Listeners {
    /// One for each address.
    pub sockets: Vec<Arc<Listener>>,
    /// A client that somebody else accepted, instead of any listener; where it is, if it came by TCP.
    pub only: Option<(OwnedFd, Option<SocketAddr>)>,
    /// The real port; 0 for a Unix socket, and for one that somebody else has opened.
    pub port: u16,
    /// What an operator should know: a line on each address of the name that is not listened at.
    pub notices: Vec<String>,
    file: Option<SocketFile>,
}

/// The file of a Unix listener; removed when dropped, if it is still ours.
#[derive(Debug)]
struct SocketFile(Bound);

/// Opens what `listen` names. The file of a Unix socket belongs to the user and group of `owner`, if that is somebody else.
///
/// # Errors
/// When a name cannot be resolved or an address cannot be bound. The error says which.
pub fn open(listen: &Listen, owner: Option<(u32, u32)>) -> io::Result<Listeners> {
    match listen {
        Listen::Tcp { host, port, prefer_ipv6 } => open_tcp(host, *port, *prefer_ipv6),
        Listen::Unix { path, mode } => open_unix(path, *mode, owner),
        Listen::Inherited => inherit(),
    }
}

/// Finds out whether `listen` could be opened, as far as that can be told without doing so: a port or a socket may well be
/// somebody else's at the moment, most likely of the server that the next start takes the place of. Tells what an operator
/// should know, as [`Listeners::notices`] does.
///
/// # Errors
/// As of [`open`].
pub fn check(listen: &Listen) -> io::Result<Vec<String>> {
    match listen {
        Listen::Tcp { host, port, .. } if host.is_empty() => everywhere(*port, may_listen),
        Listen::Tcp { host, port, prefer_ipv6 } => {
            may_listen(&addresses(host, *port, *prefer_ipv6)?).map_err(|error| without_family(host, error))
        }
        Listen::Unix { path, .. } => {
            let named = |error| at_path(path, error);
            match std::fs::symlink_metadata(path) {
                Ok(found) if !found.file_type().is_socket() => return Err(named(in_the_way())),
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(named(error)),
                _ => {}
            }
            directory::admits(path).map_err(named)?;
            Ok(Vec::new())
        }
        // That is what it is when it is started in earnest.
        Listen::Inherited => Ok(Vec::new()),
    }
}

/// Takes over what somebody else has opened: the socket that standard input is, a listener or one client, or else those
/// that a service manager has handed over.
fn inherit() -> io::Result<Listeners> {
    const INPUT: &str = "--inetd: standard input";
    const REMEDY: &str =
        "no socket; have inetd or a socket unit start it, or leave --inetd out and name a port";
    const STREAM: &str = "hand over one of a stream that listens or is connected";
    match socket::examine(io::stdin()) {
        Ok(_) => take_over(vec![stdio::take_input()?]).map_err(|error| named(INPUT, error)),
        Err(error) if error.raw_os_error() == Some(libc::ENOTSOCK) => {
            let handed_over = process::handed_over().and_then(take_over);
            match handed_over.map_err(|error| named("--inetd: LISTEN_FDS", error))? {
                Listeners { sockets, only: None, .. } if sockets.is_empty() => {
                    Err(named(INPUT, io::Error::new(error.kind(), REMEDY)))
                }
                listeners => Ok(listeners),
            }
        }
        Err(error) => Err(named(INPUT, with_remedy(error, STREAM))),
    }
}

fn take_over(sockets: Vec<OwnedFd>) -> io::Result<Listeners> {
    let mut listeners =
        Listeners { sockets: Vec::new(), only: None, port: 0, notices: Vec::new(), file: None };
    for socket in sockets {
        match socket::examine(&socket)? {
            Given::Listening(address) => {
                socket::adapt(&socket, address)?;
                listeners.sockets.push(Arc::new(Listener::lent(socket)?));
            }
            Given::Connected(client) => {
                socket::adapt(&socket, client)?;
                listeners.only = Some((socket, client));
            }
        }
    }
    if listeners.only.is_some() && !listeners.sockets.is_empty() {
        let both = "both listeners and a client; hand over one or the other";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, both));
    }
    Ok(listeners)
}

fn open_tcp(host: &str, port: u16, prefer_ipv6: bool) -> io::Result<Listeners> {
    match host {
        "" => everywhere(port, open_all),
        _ => open_all(&addresses(host, port, prefer_ipv6)?).map_err(|error| without_family(host, error)),
    }
}

/// The addresses of a host that is not empty.
fn addresses(host: &str, port: u16, prefer_ipv6: bool) -> io::Result<Vec<SocketAddr>> {
    let unknown = |error| {
        named(&format!("source_addr: {host}"), with_remedy(error, "check the name, or write an address"))
    };
    let addresses = resolve::stream(host, &port.to_string()).map_err(unknown)?;
    // Where a name has addresses of both families, preferring one means listening on that one.
    let has_ipv6 = addresses.iter().any(SocketAddr::is_ipv6);
    let wanted = addresses.into_iter().filter(|address| address.is_ipv6() || !(prefer_ipv6 && has_ipv6));
    Ok(wanted.collect())
}

/// All interfaces: one dual-stack socket, or IPv4 alone where the system has no IPv6.
fn everywhere<T>(port: u16, open: impl Fn(&[SocketAddr]) -> io::Result<T>) -> io::Result<T> {
    match open(&[SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))]) {
        Err(error) if is_absent(&error) => open(&[SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))]),
        outcome => outcome,
    }
}

fn may_listen(addresses: &[SocketAddr]) -> io::Result<Vec<String>> {
    at_each(addresses, socket::may_listen).map(|(_, notices)| notices)
}

/// Does `work` at each address. One that this machine has not is passed over while there is another, and a line says so if
/// it is [missed](is_missed).
///
/// # Errors
/// That of the first address where `work` fails otherwise; or of the first of all, if the machine has none of them.
fn at_each<T>(
    addresses: &[SocketAddr],
    mut work: impl FnMut(SocketAddr) -> io::Result<T>,
) -> io::Result<(Vec<T>, Vec<String>)> {
    let (mut done, mut absent) = (Vec::new(), Vec::new());
    for &address in addresses {
        match work(address).map_err(|error| at_address(address, error)) {
            Ok(one) => done.push(one),
            Err(error) if is_absent(&error) => absent.push((address, error)),
            Err(error) => return Err(error),
        }
    }
    if done.is_empty() && !absent.is_empty() {
        return Err(absent.swap_remove(0).1);
    }
    let missed = absent.into_iter().filter(|(address, error)| is_missed(*address, error));
    Ok((done, missed.map(|(_, error)| format!("{LEFT_OUT}: {error}")).collect()))
}

/// Has this machine not the address, or its whole family?
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::AddrNotAvailable)
        || error.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

/// Whether somebody may wait at an absent address: the system may be given it later, and nobody would listen there even
/// then. A whole family is not given so, and `localhost` has an address of IPv6 where the system has none, as in many
/// containers.
fn is_missed(address: SocketAddr, error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable && address.ip() != Ipv6Addr::LOCALHOST
}

fn open_all(addresses: &[SocketAddr]) -> io::Result<Listeners> {
    let mut tries = PORT_TRIES;
    loop {
        match open_once(addresses) {
            // The port that the kernel chose for the first address may be taken on the next.
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse && is_shared_choice(addresses) && tries > 1 =>
            {
                tries -= 1;
            }
            outcome => return outcome,
        }
    }
}

fn is_shared_choice(addresses: &[SocketAddr]) -> bool {
    addresses.len() > 1 && addresses[0].port() == 0
}

fn open_once(addresses: &[SocketAddr]) -> io::Result<Listeners> {
    let mut port = 0;
    let (sockets, notices) = at_each(addresses, |mut address| {
        if address.port() == 0 {
            address.set_port(port);
        }
        let socket = socket::listen_tcp(address)?;
        port = socket::bound_to(&socket)?.map_or(0, |bound| bound.port());
        Ok(Arc::new(Listener::own(socket)))
    })?;
    if sockets.is_empty() {
        let none = "source_addr: the name has no address; write one";
        return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, none));
    }
    Ok(Listeners { sockets, only: None, port, notices, file: None })
}

fn open_unix(path: &Path, mode: u32, owner: Option<(u32, u32)>) -> io::Result<Listeners> {
    remove_stale(path).map_err(|error| at_path(path, error))?;
    directory::admits(path).map_err(|error| at_path(path, error))?;
    let (socket, bound) = socket::listen_unix(path, mode, owner).map_err(|error| at_path(path, error))?;
    let file = Some(SocketFile(bound));
    let sockets = vec![Arc::new(Listener::own(socket))];
    Ok(Listeners { sockets, only: None, port: 0, notices: Vec::new(), file })
}

/// Removes what is at `path` if it is a socket at which nobody answers; nothing else is ever removed.
fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if !found.file_type().is_socket() => Err(in_the_way()),
        Ok(_) if socket::answers(path) => {
            Err(io::Error::new(io::ErrorKind::AddrInUse, "another server answers there; stop it first"))
        }
        Ok(_) => std::fs::remove_file(path),
    }
}

fn in_the_way() -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket is in the way; move it")
}

fn named(what: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

fn with_remedy(error: io::Error, remedy: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{error}; {remedy}"))
}

/// Says of which host it is that the system has not its family.
fn without_family(host: &str, error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(_) => named(&format!("source_addr: {host}"), with_remedy(error, "name one of another family")),
        None => error,
    }
}

/// What is wrong with a TCP address: the word for the part that is to be changed, and how. A family that the system has not
/// is left as it is: whoever tries another one looks at its number.
fn at_address(address: SocketAddr, error: io::Error) -> io::Error {
    let (word, remedy) = match error.raw_os_error() {
        Some(libc::EAFNOSUPPORT) => return error,
        Some(libc::EADDRINUSE) => ("source_port", "end the server that has it, or name another port"),
        Some(libc::EACCES) => {
            ("source_port", "name a higher port, or start as root or with CAP_NET_BIND_SERVICE")
        }
        Some(libc::EADDRNOTAVAIL) => {
            ("source_addr", "name an address of this machine, or none for all of them")
        }
        _ => ("source_addr", "name another address or port"),
    };
    named(&format!("{word}: {address}"), with_remedy(error, remedy))
}

/// What is wrong with the path of a Unix socket. What the system says needs a remedy; our own words have theirs.
fn at_path(path: &Path, error: io::Error) -> io::Error {
    let error = match error.raw_os_error() {
        Some(_) => with_remedy(error, "check the directory and its permissions, or name another path"),
        None => error,
    };
    named(&format!("--unix-listen: {}", path.display()), error)
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = self.0.remove();
    }
}

impl Listeners {
    /// Takes the file of a Unix socket away; the sockets themselves close when the last shard lets go.
    ///
    /// # Errors
    /// When that is not permitted: with `--user` the directory may be another's.
    pub fn close(mut self) -> io::Result<()> {
        let Some(file) = self.file.take() else { return Ok(()) };
        file.0.remove().map_err(|error| {
            let remedy = "give the user of --user its directory; the next start replaces it";
            named(&format!("--unix-listen: {}", file.0.path().display()), with_remedy(error, remedy))
        })
    }

    /// Whether it has made a file.
    pub fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// Takes the file of a Unix socket away, if this process may, and leaves the sockets open.
    pub fn take_away(&self) {
        if let Some(SocketFile(bound)) = &self.file {
            let _ = bound.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn an_ephemeral_port_is_the_same_on_all_addresses() {
        let addresses =
            [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), SocketAddr::from((Ipv6Addr::LOCALHOST, 0))];
        let listeners = open_all(&addresses).unwrap();
        assert_eq!(listeners.sockets.len(), 2);
        for socket in &listeners.sockets {
            assert_eq!(socket::bound_to(socket).unwrap().unwrap().port(), listeners.port);
        }
    }

    #[test]
    fn an_address_that_this_machine_has_not_is_passed_over_with_a_word_while_there_is_another() {
        // Kept for documents (RFC 5737), so nobody's.
        let absent = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 0));
        let ours = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        for addresses in [[absent, ours], [ours, absent]] {
            let listeners = open_all(&addresses).unwrap();
            assert_eq!(listeners.sockets.len(), 1, "{addresses:?}");
            assert_ne!(listeners.port, 0);
            for notices in [listeners.notices, may_listen(&addresses).unwrap()] {
                let [notice] = &notices[..] else { panic!("{notices:?}") };
                assert!(notice.contains("left out: source_addr: 192.0.2.1:0: "), "{notice}");
                assert!(notice.ends_with("; name an address of this machine, or none for all of them"));
            }
        }
        let both = [ours, SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 0))];
        assert!(may_listen(&both).unwrap().is_empty(), "there is nothing to say");
        for error in [open_all(&[absent]).err().unwrap(), may_listen(&[absent]).unwrap_err()] {
            assert!(error.to_string().contains("192.0.2.1"), "{error}");
        }
    }

    #[test]
    fn what_no_system_is_given_later_is_passed_over_in_silence() {
        let ours = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let loopback = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
        let other = SocketAddr::from((Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 0));
        for (absent, code, told) in [
            (loopback, libc::EADDRNOTAVAIL, 0),
            (other, libc::EADDRNOTAVAIL, 1),
            (loopback, libc::EAFNOSUPPORT, 0),
            (other, libc::EAFNOSUPPORT, 0),
        ] {
            let work = |address: SocketAddr| match address == absent {
                true => Err(io::Error::from_raw_os_error(code)),
                false => Ok(()),
            };
            let (done, notices) = at_each(&[absent, ours], work).unwrap();
            assert_eq!((done.len(), notices.len()), (1, told), "{absent} {code}: {notices:?}");
            assert!(at_each(&[absent], work).is_err());
        }
    }

    #[test]
    fn only_a_stale_socket_is_removed() {
        let directory = std::env::temp_dir().join(format!("websplice-listen-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("socket");
        std::fs::write(&path, "mine").unwrap();
        assert_eq!(open_unix(&path, 0o600, None).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        std::fs::remove_file(&path).unwrap();

        let first = open_unix(&path, 0o640, None).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert_eq!(open_unix(&path, 0o600, None).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        first.close().unwrap();
        assert!(!path.exists());

        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        open_unix(&path, 0o600, None).unwrap().close().unwrap();
        assert!(!path.exists());
        std::fs::remove_dir(&directory).unwrap();
    }
}
