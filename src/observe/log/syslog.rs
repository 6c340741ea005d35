//! Syslog: the form of a message, and the way to a server that may be away.
//!
//! Messages have websockify's form, field by field. Nothing here ever waits: what a server does not take at once is
//! dropped and counted, and a local one that is away is tried again with the next lines. Only the log's thread is in here.

use super::Level;
use crate::config::{self, SyslogServer};
use crate::http::date;
use crate::limits::{SYSLOG_BYTES_MAX, SYSLOG_HOST_BYTES_MAX, SYSLOG_IDENT_BYTES_MAX};
use crate::sys::{resolve, socket};
use std::fmt::Write as _;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Facilities of RFC 5424 section 6.2.1.
const USER: u8 = 1;
const DAEMON: u8 = 3;

/// What stands around the text of every message.
#[derive(Debug)]
struct Form {
    facility: u8,
    legacy: bool,
    host: String,
    ident: String,
    pid: u32,
}

impl Form {
    /// One message: the header, the text with line ends made blanks, and a mark in front of it unless it is ASCII.
    fn message(&self, level: Level, time: SystemTime, text: &str) -> Vec<u8> {
        let severity = match level {
            Level::Error => 3,
            Level::Warn => 4,
            Level::Info => 6,
            Level::Debug => 7,
        };
        let Form { facility, host, ident, pid, .. } = self;
        let mut message = format!("<{}>", facility * 8 + severity);
        let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        // Writing to a string does not fail.
        let _ = match self.legacy {
            true => write!(message, "{ident}[{pid}]: "),
            false => write!(message, "1 {}Z {host} {ident} {pid} - - ", date::rfc3339(seconds)),
        };
        if !text.is_ascii() {
            message.push('\u{feff}');
        }
        message.extend(text.chars().map(|letter| if letter == '\n' { ' ' } else { letter }));
        while message.len() > SYSLOG_BYTES_MAX {
            message.pop();
        }
        message.into_bytes()
    }
}

/// The way to a server.
#[derive(Debug)]
pub struct Syslog {
    form: Form,
    way: Way,
    /// Messages that were dropped since that was last told.
    lost: u64,
    /// What was wrong when the first of them was.
    fault: Option<io::Error>,
    /// That it cannot be reached has been told.
    told: bool,
}

#[derive(Debug)]
enum Way {
    Udp(UdpSocket, SocketAddr),
    Local(Local),
}

/// A socket of this machine.
#[derive(Debug)]
struct Local {
    path: PathBuf,
    link: Option<Link>,
    /// It could not be reached, and is left alone until [`Syslog::again`].
    away: bool,
}

#[derive(Debug)]
struct Link {
    socket: OwnedFd,
    is_stream: bool,
    /// The end of a message that a stream has begun to take.
    rest: Vec<u8>,
}

impl Syslog {
    /// Finds the server. One on this machine may be away.
    ///
    /// # Errors
    /// When its name is unknown or no socket can be had.
    pub fn find(options: &config::Syslog) -> io::Result<Syslog> {
        let way = match &options.server {
            SyslogServer::Local(path) => Way::Local(Local { path: path.clone(), link: None, away: false }),
            SyslogServer::Udp { host, port } => {
                let found = resolve::stream(host, &port.to_string())?.into_iter().next();
                let to = found.ok_or_else(|| io::Error::other("the name has no address"))?;
                let from: SocketAddr = match to {
                    SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                    SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
                };
                let socket = UdpSocket::bind(from)?;
                socket.set_nonblocking(true)?;
                Way::Udp(socket, to)
            }
        };
        let host = nix::unistd::gethostname().unwrap_or_default();
        let form = Form {
            facility: if options.daemon { DAEMON } else { USER },
            legacy: options.legacy,
            host: word(&host.to_string_lossy(), SYSLOG_HOST_BYTES_MAX),
            ident: word(&options.ident, SYSLOG_IDENT_BYTES_MAX),
            pid: std::process::id(),
        };
        Ok(Syslog { form, way, lost: 0, fault: None, told: false })
    }

    /// Finds out whether somebody listens at a server of this machine, without a word to it. One at a UDP port cannot be asked.
    ///
    /// # Errors
    /// What the system says of it, and the remedy.
    pub fn reach(options: &config::Syslog) -> Result<(), String> {
        let SyslogServer::Local(path) = &options.server else { return Ok(()) };
        let Err(error) = socket::connect_local(path) else { return Ok(()) };
        Err(match std::fs::metadata(path) {
            // It is refused like a socket that nobody listens at.
            Ok(found) if !found.file_type().is_socket() => "not a socket; name the one of a server".into(),
            _ if error.kind() == ErrorKind::PermissionDenied => {
                format!("{error}; let the user write to it who serves, or name another")
            }
            _ => format!("{error}; start the server that listens there, or name another"),
        })
    }

    /// Sends a line, or counts it as lost. An empty one is nothing to send.
    pub fn send(&mut self, level: Level, time: SystemTime, text: &str) {
        if text.is_empty() {
            return;
        }
        let mut message = self.form.message(level, time, text);
        let outcome = match &mut self.way {
            Way::Udp(socket, to) => socket.send_to(&message, *to).map(|_| ()),
            Way::Local(local) => local.send(&mut message),
        };
        match outcome {
            Err(error) => {
                self.lost += 1;
                self.fault.get_or_insert(error);
            }
            // What was told is over, also for the line that told of it and was lost as well.
            Ok(()) if self.told => self.fault = None,
            Ok(()) => {}
        }
    }

    /// What was written together has been: a local server that was away is tried again with the next line. So one that comes
    /// back misses nothing that is said from then on, and nobody connects for each line of a crowd.
    pub fn again(&mut self) {
        if let Way::Local(local) = &mut self.way {
            local.away = false;
        }
    }

    /// What the other places should know: that lines are being lost, once, and how many were when that is over.
    pub fn news(&mut self) -> Option<String> {
        match self.fault.take() {
            Some(_) if self.told => None,
            Some(error) => {
                self.told = true;
                let server = match &self.way {
                    Way::Udp(_, to) => to.to_string(),
                    Way::Local(local) => local.path.display().to_string(),
                };
                let server = super::Escaped(&server);
                Some(format!("syslog not reached, lines are dropped: server=\"{server}\" error=\"{error}\""))
            }
            None if self.lost > 0 => {
                self.told = false;
                Some(format!("syslog lines_dropped={}", std::mem::take(&mut self.lost)))
            }
            None => None,
        }
    }
}

impl Local {
    /// Sends a message, over a new link if the one there is has broken.
    fn send(&mut self, message: &mut Vec<u8>) -> io::Result<()> {
        if let Some(link) = &mut self.link {
            match link.send(message) {
                Err(error) if is_broken(&error) => self.link = None,
                outcome => return outcome,
            }
        }
        if self.away {
            return Err(ErrorKind::NotConnected.into());
        }
        self.away = true;
        let mut link = Link::new(&self.path)?;
        let outcome = link.send(message);
        (self.link, self.away) = (Some(link), false);
        outcome
    }
}

impl Link {
    fn new(path: &Path) -> io::Result<Link> {
        let (socket, is_stream) = socket::connect_local(path)?;
        Ok(Link { socket, is_stream, rest: Vec::new() })
    }

    fn send(&mut self, message: &mut Vec<u8>) -> io::Result<()> {
        if !self.is_stream {
            return socket::send(&self.socket, message, false).map(|_| ());
        }
        if message.last() != Some(&b'\n') {
            message.push(b'\n');
        }
        // A message that was begun comes first, or two would run into one.
        while !self.rest.is_empty() {
            let taken = socket::send(&self.socket, &self.rest, false)?;
            self.rest.drain(..taken);
        }
        let taken = socket::send(&self.socket, message, false)?;
        self.rest.extend_from_slice(&message[taken..]);
        Ok(())
    }
}

/// Whether an error says that a new link is worth a try.
fn is_broken(error: &io::Error) -> bool {
    !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
        && !matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::EMSGSIZE))
}

/// A field of the header: printable ASCII without blanks, `-` if nothing is left (RFC 5424 section 6).
fn word(text: &str, most: usize) -> String {
    let word: String = text.chars().filter(char::is_ascii_graphic).take(most).collect();
    if word.is_empty() { "-".to_owned() } else { word }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
    use std::time::Duration;

    fn form(facility: u8, legacy: bool) -> Form {
        Form { facility, legacy, host: "desk".into(), ident: "websockify".into(), pid: 42 }
    }

    #[test]
    fn messages_have_websockifys_form() {
        let time = UNIX_EPOCH + Duration::from_millis(1_795_183_596_789);
        let rows = [
            (USER, false, Level::Info, "text", "<14>1 2026-11-20T14:06:36Z desk websockify 42 - - text"),
            (DAEMON, false, Level::Info, "text", "<30>1 2026-11-20T14:06:36Z desk websockify 42 - - text"),
            (USER, false, Level::Error, "a\nb\n", "<11>1 2026-11-20T14:06:36Z desk websockify 42 - - a b "),
            (
                USER,
                false,
                Level::Debug,
                "  - \u{e4}",
                "<15>1 2026-11-20T14:06:36Z desk websockify 42 - - \u{feff}  - \u{e4}",
            ),
            (USER, true, Level::Info, "text", "<14>websockify[42]: text"),
            (DAEMON, true, Level::Warn, "\u{20ac}", "<28>websockify[42]: \u{feff}\u{20ac}"),
        ];
        for (facility, legacy, level, text, expected) in rows {
            let message = form(facility, legacy).message(level, time, text);
            assert_eq!(String::from_utf8(message).unwrap(), expected);
        }
    }

    #[test]
    fn a_message_is_cut_between_letters() {
        let message = form(USER, true).message(Level::Info, UNIX_EPOCH, &"\u{20ac}".repeat(SYSLOG_BYTES_MAX));
        assert!(message.len() <= SYSLOG_BYTES_MAX && message.len() > SYSLOG_BYTES_MAX - 3);
        assert!(String::from_utf8(message).is_ok());
    }

    #[test]
    fn header_fields_are_words() {
        for (text, expected) in [("desk-1.example", "desk-1.example"), ("a b\n\u{e4}c", "abc"), ("", "-")] {
            assert_eq!(word(text, 48), expected);
        }
        assert_eq!(word("abcdef", 3), "abc");
    }

    /// A server of this machine, of either kind.
    enum Server {
        Datagrams(UnixDatagram),
        Stream(UnixListener, Option<UnixStream>),
    }

    impl Server {
        fn start(path: &Path, is_stream: bool) -> Server {
            let _ = std::fs::remove_file(path);
            match is_stream {
                true => Server::Stream(UnixListener::bind(path).unwrap(), None),
                false => Server::Datagrams(UnixDatagram::bind(path).unwrap()),
            }
        }

        /// What has come, of which there must be something.
        fn heard(&mut self) -> String {
            let mut buffer = [0; 1024];
            let patience = Some(Duration::from_secs(10));
            let count = match self {
                Server::Datagrams(socket) => {
                    socket.set_read_timeout(patience).unwrap();
                    socket.recv(&mut buffer).unwrap()
                }
                Server::Stream(listener, stream) => {
                    listener.set_nonblocking(true).unwrap();
                    let stream = stream.get_or_insert_with(|| listener.accept().unwrap().0);
                    stream.set_nonblocking(false).unwrap();
                    stream.set_read_timeout(patience).unwrap();
                    stream.read(&mut buffer).unwrap()
                }
            };
            String::from_utf8_lossy(&buffer[..count]).trim_end().rsplit(' ').next().unwrap().to_owned()
        }
    }

    #[test]
    fn a_server_that_restarts_misses_only_what_was_said_meanwhile() {
        let directory = std::env::temp_dir().join(format!("websplice-syslog-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        for is_stream in [false, true] {
            let path = directory.join("log");
            let server = SyslogServer::Local(path.clone());
            let options = config::Syslog { server, legacy: true, daemon: false, ident: "test".into() };
            let mut syslog = Syslog::find(&options).unwrap();
            let say = |syslog: &mut Syslog, text: &str| syslog.send(Level::Info, UNIX_EPOCH, text);
            let mut server = Server::start(&path, is_stream);
            say(&mut syslog, "one");
            assert_eq!((server.heard().as_str(), syslog.news()), ("one", None));
            // Nothing is said while it is away.
            drop(server);
            let mut server = Server::start(&path, is_stream);
            say(&mut syslog, "two");
            assert_eq!((server.heard().as_str(), syslog.news()), ("two", None));
            // This is said together while it is away, and it comes back at once.
            drop(server);
            std::fs::remove_file(&path).unwrap();
            say(&mut syslog, "three");
            say(&mut syslog, "four");
            let news = syslog.news().unwrap();
            assert!(news.contains("not reached") && news.contains("No such file"), "{news}");
            // That is a line too, and as lost.
            say(&mut syslog, &news);
            syslog.again();
            let mut server = Server::start(&path, is_stream);
            say(&mut syslog, "five");
            assert_eq!(server.heard(), "five");
            assert_eq!(syslog.news().unwrap(), "syslog lines_dropped=3");
            assert_eq!(syslog.news(), None);
        }
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
