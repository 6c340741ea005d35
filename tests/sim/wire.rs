//! A wire: the far end of a stream as clients and targets use it, plain or through a real TLS of rustls.
//!
//! Plaintext goes in and out here, and what the hand carries is what travels. Owns the TLS of one end, what it has said
//! and heard, and the one fault that may be planned for it: that everything it writes is cut at some byte. It never waits.

use rustls::{ClientConfig, ServerConfig};
use rustls::{ClientConnection, Connection, Error, HandshakeKind, ProtocolVersion, ServerConnection};
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use websplice::sim::Hand;

/// What becomes of a wire whose bytes are cut.
#[derive(Clone, Debug)]
pub enum Then {
    /// Nothing: it reads on.
    Silence,
    Shut,
    Reset,
    /// Other bytes follow.
    Noise(Vec<u8>),
}

/// The far end of a stream.
pub struct Wire {
    pub hand: Hand,
    tls: Option<Connection>,
    /// How many bytes of TLS are written before the cut, and what then.
    cut: Option<(usize, Then)>,
    /// Why TLS cannot go on.
    pub failed: Option<Error>,
    /// The other end said close_notify.
    pub dismissed: bool,
    /// All plaintext that was read and written here.
    pub read: Vec<u8>,
    pub written: Vec<u8>,
}

impl Wire {
    pub fn plain(hand: Hand) -> Wire {
        Wire {
            hand,
            tls: None,
            cut: None,
            failed: None,
            dismissed: false,
            read: Vec::new(),
            written: Vec::new(),
        }
    }

    pub fn client(hand: Hand, config: &Arc<ClientConfig>) -> Wire {
        let connection = ClientConnection::new(config.clone(), super::keys::name()).expect("a good config");
        Wire::secure(hand, connection.into())
    }

    pub fn server(hand: Hand, config: &Arc<ServerConfig>) -> Wire {
        let connection = ServerConnection::new(config.clone()).expect("a good config");
        Wire::secure(hand, connection.into())
    }

    fn secure(hand: Hand, mut tls: Connection) -> Wire {
        tls.set_buffer_limit(None);
        Wire { tls: Some(tls), ..Wire::plain(hand) }
    }

    /// Cuts what it writes after so many bytes of TLS.
    pub fn cut(mut self, after: usize, then: Then) -> Wire {
        self.cut = Some((after, then));
        self
    }

    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether payload can pass: the handshake is done, if there is one.
    pub fn is_open(&self) -> bool {
        self.tls.as_ref().is_none_or(|tls| !tls.is_handshaking())
    }

    /// Whether nothing will ever come here again that means anything.
    pub fn is_over(&self) -> bool {
        self.hand.is_over() || self.failed.is_some()
    }

    /// Whether the other end has said that nothing follows.
    pub fn has_ended(&self) -> bool {
        self.dismissed || self.hand.ended()
    }

    pub fn version(&self) -> Option<ProtocolVersion> {
        self.tls.as_ref()?.protocol_version()
    }

    pub fn is_resumed(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.handshake_kind() == Some(HandshakeKind::Resumed))
    }

    /// Takes what has come, up to `most` bytes of the stream, and says what TLS answers to it.
    pub fn read(&mut self, most: usize) -> Vec<u8> {
        let bytes = self.hand.read_up_to(most);
        let plain = match &mut self.tls {
            None => bytes,
            Some(_) if self.failed.is_some() => Vec::new(),
            Some(tls) => {
                let (plain, outcome) = open(tls, &bytes, &mut self.dismissed);
                self.failed = outcome.err();
                self.flush();
                if self.failed.is_some() {
                    self.hand.close();
                }
                plain
            }
        };
        self.read.extend(&plain);
        plain
    }

    pub fn write(&mut self, bytes: &[u8]) {
        match &mut self.tls {
            None => self.hand.write(bytes),
            Some(_) if self.failed.is_some() => return,
            Some(tls) => {
                tls.writer().write_all(bytes).expect("it takes all");
                self.flush();
            }
        }
        self.written.extend(bytes);
    }

    /// Changes the keys in both directions, where the version can.
    pub fn rekey(&mut self) {
        if let Some(tls) = self.tls.as_mut().filter(|_| self.failed.is_none())
            && tls.protocol_version() == Some(ProtocolVersion::TLSv1_3)
            && !tls.is_handshaking()
        {
            tls.refresh_traffic_keys().expect("keys can be changed");
            self.flush();
        }
    }

    /// Says close_notify, if it is a TLS whose handshake is done.
    pub fn say_goodbye(&mut self) {
        if let Some(tls) = self.tls.as_mut().filter(|_| self.failed.is_none())
            && !tls.is_handshaking()
        {
            tls.send_close_notify();
            self.flush();
        }
    }

    fn flush(&mut self) {
        let Some(tls) = &mut self.tls else { return };
        let mut bytes = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut bytes).expect("memory takes all");
        }
        let Some((left, then)) = &mut self.cut else { return self.hand.write(&bytes) };
        let count = bytes.len().min(*left);
        *left -= count;
        self.hand.write(&bytes[..count]);
        if *left == 0 {
            match std::mem::replace(then, Then::Silence) {
                Then::Silence => {}
                Then::Shut => self.hand.shut(),
                Then::Reset => self.hand.reset(),
                Then::Noise(noise) => self.hand.write(&noise),
            }
        }
    }
}

/// Feeds `bytes` and gives back the plaintext in them.
fn open(tls: &mut Connection, mut bytes: &[u8], dismissed: &mut bool) -> (Vec<u8>, Result<(), Error>) {
    let mut plain = Vec::new();
    assert!(bytes.is_empty() || !*dismissed, "something came behind close_notify");
    while !bytes.is_empty() {
        tls.read_tls(&mut bytes).expect("it takes bytes as long as it is emptied");
        let outcome = tls.process_new_packets();
        match tls.reader().read_to_end(&mut plain) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        match outcome {
            Ok(state) => *dismissed |= state.peer_has_closed(),
            Err(error) => return (plain, Err(error)),
        }
        if *dismissed {
            break;
        }
    }
    (plain, Ok(()))
}

/// Whether `bytes` are records of TLS (RFC 8446 section 5.1), the last of them perhaps cut, all of one of `types`.
pub fn are_records(mut bytes: &[u8], types: &[u8]) -> bool {
    while let [kind, rest @ ..] = bytes {
        let version_fits = rest.first().is_none_or(|&major| major == 3);
        let &[_, _, high, low, ..] = rest else { return types.contains(kind) && version_fits };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if !types.contains(kind) || !version_fits || length > (1 << 14) + 256 {
            return false;
        }
        bytes = &rest[rest.len().min(4 + length)..];
    }
    true
}
