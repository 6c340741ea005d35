//! The record transformer: ciphertext in, plaintext out, and back, for both roles.
//!
//! A [`Stream`] stands between a session's socket and its codec. It owns one rustls connection and at most one unfinished
//! record (or handshake message) of the peer. It never touches a socket, a file, a clock or a log; what is to be sent comes
//! out as a lease, and the caller sends those leases in the order in which it got them.
//!
//! The seam for TLS in the kernel is [`Stream::seal`]: where the kernel encrypts, plaintext would go to the socket as it
//! is, and everything around this file stays the same.

use super::records::{Out, Speech, process, say};
use super::words::words;
use crate::limits::{TLS_BUFFERED_MAX, TLS_RECORD_BYTES, TLS_RECORD_OVERHEAD_MAX};
use crate::pool::{Lease, Pool};
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::UnbufferedServerConnection;
use rustls::{ClientConfig, CommonState, HandshakeKind, ProtocolVersion, ServerConfig};
use std::fmt;
use std::io;
use std::sync::Arc;

/// Bytes of a record's header: type, version, length (RFC 8446 section 5.1).
const RECORD_HEADER_BYTES: usize = 5;
/// Room for an alert or the answer to a key update, as a record.
const SMALL_RECORD_BYTES: usize = 64;

/// One side's TLS: from the first byte of the handshake to close_notify.
pub struct Stream {
    role: Role,
    /// What of the peer's bytes cannot be used yet: one unfinished record, or the records of an unfinished handshake
    /// message. At most [`TLS_BUFFERED_MAX`] bytes, and no memory while there is none.
    carry: Option<Lease>,
    /// The handshake is done.
    established: bool,
    /// The peer said close_notify, or there was no memory for what it said; what comes behind it is dropped.
    closed: bool,
    /// Something was wrong with the peer's bytes, or some of ours are lost; nothing goes in or out any more.
    failed: bool,
    /// Our close_notify was handed out.
    said_goodbye: bool,
}

/// The connection lies here and not in a box of its own: whoever owns the stream has one block of memory for both, and
/// what the allocator would add to round up a block is used.
enum Role {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// What came of received bytes. All fields may be set together; they are to be acted upon in their order here.
#[derive(Debug, Default)]
pub struct Opened {
    /// The application data of all whole records, contiguous, with [`HEADROOM_BYTES`](crate::limits::HEADROOM_BYTES) in front. Never empty.
    pub plain: Option<Lease>,
    /// Handshake messages or alerts to send. Never empty.
    pub reply: Option<Lease>,
    /// The handshake was finished by these bytes.
    pub established: bool,
    /// The peer said close_notify (RFC 8446 section 6.1): no data follows.
    pub closed: bool,
    /// The peer's bytes are wrong. What is in `plain` was right; `reply` holds the alert that says so. Or there was no memory
    /// for them.
    pub failed: Option<Failure>,
}

/// Why a stream cannot go on.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// The protocol was broken, or no agreement was found.
    Tls(rustls::Error),
    /// A handshake message, or the answer to it, is longer than [`TLS_BUFFERED_MAX`].
    TooLong,
    /// The keys of this stream have encrypted as much as they may, and its version has no way to change them.
    Exhausted,
    /// Data was to be sent before the handshake was done or after the stream had ended.
    NotOpen,
    /// There is no memory for what came or what is to be sent. The peer has done nothing wrong.
    NoMemory,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Tls(error) => write!(f, "TLS: {}", words(error)),
            Failure::TooLong => f.write_str("TLS: handshake message too long"),
            Failure::Exhausted => f.write_str("TLS: the keys are used up"),
            Failure::NotOpen => f.write_str("TLS: the stream is not open"),
            Failure::NoMemory => f.write_str("TLS: out of buffer memory"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<Failure> for io::Error {
    /// Want of memory has a kind of its own, so that nobody takes it for the peer's fault.
    fn from(failure: Failure) -> io::Error {
        let kind = match failure {
            Failure::NoMemory => io::ErrorKind::OutOfMemory,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, failure)
    }
}

impl Stream {
    /// The server's end of a stream, for a client that was accepted.
    ///
    /// # Errors
    /// When `config` cannot be used at all, which its making has ruled out.
    pub fn server(config: Arc<ServerConfig>) -> Result<Stream, Failure> {
        let connection = UnbufferedServerConnection::new(config).map_err(Failure::Tls)?;
        Ok(Stream::new(Role::Server(connection)))
    }

    /// The client's end of a stream, for a target that is verified as `name`. Then [`Stream::hello`] says what to send.
    ///
    /// # Errors
    /// When `config` cannot be used at all, which its making has ruled out.
    pub fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Stream, Failure> {
        let connection = UnbufferedClientConnection::new(config, name).map_err(Failure::Tls)?;
        Ok(Stream::new(Role::Client(connection)))
    }

    fn new(role: Role) -> Stream {
        Stream { role, carry: None, established: false, closed: false, failed: false, said_goodbye: false }
    }

    /// The first bytes of the client's role.
    ///
    /// # Errors
    /// [`Failure::NotOpen`] in the server's role, which speaks second. [`Failure::NoMemory`].
    pub fn hello(&mut self, pool: &Pool) -> Result<Lease, Failure> {
        match self.role {
            Role::Server(_) => Err(Failure::NotOpen),
            Role::Client(_) => self.pending(pool),
        }
    }

    /// Whether bytes of the peer are kept that are no use yet.
    pub fn is_amid_record(&self) -> bool {
        self.carry.is_some()
    }

    /// Takes ciphertext as a receive brought it, cut anywhere, and gives back everything that is whole.
    ///
    /// Records are decrypted where they lie; of a record that is cut, only the bytes up to its end are moved. rustls 0.23
    /// hands plaintext out in memory of its own and holds on to the ciphertext meanwhile, so the one copy that joins the
    /// records goes to a chunk: that also takes the data off the hot buffer, and a send that blocks need not move it again.
    pub fn received(&mut self, mut lease: Lease, pool: &Pool) -> Opened {
        let mut opened = Opened::default();
        let carried = self.carry.as_ref().map_or(0, |carry| carry.len());
        let plain_most = carried + lease.len();
        let mut out = Out { pool, opened: &mut opened, plain_most, is_mute: false };
        while !lease.is_empty() && !self.closed && !self.failed {
            match self.carry.take() {
                None => {
                    let consumed = self.process(&mut lease, &mut out);
                    lease.advance(consumed);
                    if !lease.is_empty() {
                        self.keep(&lease, &mut out);
                    }
                    break;
                }
                Some(carry) => self.complete(carry, &mut lease, &mut out),
            }
        }
        if self.closed || self.failed {
            self.carry = None;
        }
        if self.failed {
            opened.failed.get_or_insert(Failure::NotOpen);
        }
        opened
    }

    /// Keeps what is not whole, in a chunk of the size of what has come.
    fn keep(&mut self, rest: &[u8], out: &mut Out<'_>) {
        if self.closed || self.failed {
            return;
        }
        if rest.len() > TLS_BUFFERED_MAX {
            return self.fail(Failure::TooLong, out);
        }
        let Some(mut chunk) = out.pool.chunk_to_hold(rest.len()) else {
            return self.lose(self.missing(rest), out);
        };
        chunk.append(rest);
        self.carry = Some(chunk);
    }

    /// Moves from `lease` to `carry` what completes its record, and processes that.
    fn complete(&mut self, carry: Lease, lease: &mut Lease, out: &mut Out<'_>) {
        let missing = self.missing(&carry);
        let taken = missing.min(lease.len()).min(TLS_BUFFERED_MAX - carry.len());
        if taken == 0 {
            return self.fail(Failure::TooLong, out);
        }
        let Some(mut carry) = carry.joined(&lease[..taken], out.pool) else {
            return self.lose(missing, out);
        };
        lease.advance(taken);
        let consumed = self.process(&mut carry, out);
        carry.advance(consumed);
        if !carry.is_empty() {
            self.carry = Some(carry);
        }
    }

    /// There is no memory for what has come, of which so many bytes are missing.
    fn lose(&mut self, missing: usize, out: &mut Out<'_>) {
        // Of a message in several records rustls has seen a part, and wants to see that again before it says anything.
        out.is_mute |= missing == usize::MAX;
        self.fail(Failure::NoMemory, out);
    }

    /// Bytes missing from `carry` to the end of its record. Where a handshake message spans records, rustls needs all of
    /// them in one piece, and how much more that will be is not known.
    fn missing(&self, carry: &[u8]) -> usize {
        if !self.established {
            return usize::MAX;
        }
        match carry {
            &[_, _, _, high, low, ref rest @ ..] => match usize::from(u16::from_be_bytes([high, low])) {
                length if length > rest.len() => length - rest.len(),
                _ => usize::MAX,
            },
            short => RECORD_HEADER_BYTES - short.len(),
        }
    }

    /// Has rustls work through `bytes`, and says how many are used up.
    fn process(&mut self, bytes: &mut [u8], out: &mut Out<'_>) -> usize {
        let result = match &mut self.role {
            Role::Server(connection) => process(&mut **connection, bytes, out),
            Role::Client(connection) => process(&mut **connection, bytes, out),
        };
        if !self.established && result.is_ok() && !self.state().is_handshaking() {
            self.established = true;
            out.opened.established = true;
        }
        self.closed |= out.opened.closed;
        match result {
            Ok(consumed) => consumed,
            Err(failure) => {
                self.fail(failure, out);
                bytes.len()
            }
        }
    }

    fn fail(&mut self, failure: Failure, out: &mut Out<'_>) {
        match failure {
            // What the peer said is lost, and nothing that we have to say.
            Failure::NoMemory if !out.is_mute => self.closed = true,
            _ => self.failed = true,
        }
        out.opened.failed.get_or_insert(failure);
    }

    /// Gives the stream up: nothing goes in or out any more, so that its end is no goodbye.
    pub fn abandon(&mut self) {
        self.failed = true;
    }

    /// Whether data can be sent.
    pub fn speaks(&self) -> bool {
        self.established && !self.failed && !self.said_goodbye
    }

    /// Plaintext as records, ready to send: as many records as it takes, in one lease.
    ///
    /// What rustls wants to say itself (such as its answer to a key update) goes in front, in the same lease.
    ///
    /// This is where TLS in the kernel would take over: it would hand `lease` back as it is, for a socket that encrypts.
    ///
    /// # Errors
    /// [`Failure::NotOpen`] before the handshake is done and after a failure or [`Stream::close_notify`];
    /// [`Failure::Exhausted`] when a TLS 1.2 stream has used up its keys: it must end. [`Failure::NoMemory`].
    pub fn seal(&mut self, lease: Lease, pool: &Pool) -> Result<Lease, Failure> {
        if !self.speaks() {
            return Err(Failure::NotOpen);
        }
        let records = lease.len() / TLS_RECORD_BYTES + 1;
        let room = lease.len() + records * TLS_RECORD_OVERHEAD_MAX + SMALL_RECORD_BYTES;
        self.say(Speech::Data(&lease), room, pool)
    }

    /// Our close_notify, once. `None` when it was said, before the handshake is done (then there is nothing to protect),
    /// and after a failure, whose alert has ended the stream.
    ///
    /// Data of the peer may still be received behind it (RFC 8446 section 6.1).
    pub fn close_notify(&mut self, pool: &Pool) -> Option<Lease> {
        if !self.speaks() {
            return None;
        }
        self.said_goodbye = true;
        self.say(Speech::Goodbye, 2 * SMALL_RECORD_BYTES, pool).ok()
    }

    fn say(&mut self, speech: Speech<'_>, room: usize, pool: &Pool) -> Result<Lease, Failure> {
        let carry = self.carry.as_deref_mut().unwrap_or_default();
        let sealed = pool.chunk(room).ok_or(Failure::NoMemory)?;
        let said = match &mut self.role {
            Role::Server(connection) => say(&mut **connection, carry, speech, sealed, pool),
            Role::Client(connection) => say(&mut **connection, carry, speech, sealed, pool),
        };
        // What rustls had to say itself may be lost with it.
        self.failed |= matches!(said, Err(Failure::Tls(_) | Failure::NoMemory));
        said
    }

    /// What rustls wants to send by itself.
    fn pending(&mut self, pool: &Pool) -> Result<Lease, Failure> {
        let mut opened = Opened::default();
        let mut carry = self.carry.take();
        let bytes = carry.as_deref_mut().unwrap_or_default();
        let mut out = Out { pool, opened: &mut opened, plain_most: bytes.len(), is_mute: false };
        let consumed = self.process(bytes, &mut out);
        if let Some(mut carry) = carry
            && consumed < carry.len()
        {
            carry.advance(consumed);
            self.carry = Some(carry);
        }
        match opened.failed {
            Some(failure) => Err(failure),
            None => opened.reply.ok_or(Failure::NotOpen),
        }
    }

    /// Whether the handshake is still going on.
    pub fn is_handshaking(&self) -> bool {
        !self.established && !self.failed
    }

    /// Bytes of the peer that are kept until the rest of them comes.
    pub fn carried(&self) -> usize {
        self.carry.as_ref().map_or(0, |carry| carry.len())
    }

    /// The protocol version, such as `TLSv1.3`, once it is agreed.
    pub fn version(&self) -> Option<&'static str> {
        match self.state().protocol_version()? {
            ProtocolVersion::TLSv1_3 => Some("TLSv1.3"),
            ProtocolVersion::TLSv1_2 => Some("TLSv1.2"),
            _ => None,
        }
    }

    /// The cipher suite by its OpenSSL name, once it is agreed.
    pub fn cipher(&self) -> Option<&'static str> {
        super::suites::name_of(self.state().negotiated_cipher_suite()?.suite())
    }

    /// The agreed application protocol (RFC 7301).
    pub fn alpn(&self) -> Option<&[u8]> {
        self.state().alpn_protocol()
    }

    /// The certificates the peer has shown, its own first. They were verified before the handshake was done, except where
    /// a target's are accepted unseen.
    pub fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.state().peer_certificates()
    }

    /// The common name in the certificate that the peer has proved to hold, if it has shown one and that has exactly one.
    pub fn certified(&self) -> Option<Box<str>> {
        // Before that its key has not been proved.
        if !self.established || self.failed {
            return None;
        }
        super::identity::common_name(self.peer_certificates()?.first()?)
    }

    /// Whether the session was resumed with a ticket.
    pub fn resumed(&self) -> bool {
        self.state().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    fn state(&self) -> &CommonState {
        match &self.role {
            Role::Server(connection) => connection,
            Role::Client(connection) => connection,
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match self.role {
            Role::Server(_) => "server",
            Role::Client(_) => "client",
        };
        write!(f, "Stream({role}, {}, {} carried)", self.version().unwrap_or("handshaking"), self.carried())
    }
}
