//! A TLS client that seals records which no library would send: empty ones, over-long ones, of any kind.
//!
//! It takes over from a client whose handshake is done, with the keys of that. It knows nothing of WebSocket.

use crate::support::wire::{PATIENCE, Wire};
use rustls::crypto::cipher::{
    InboundOpaqueMessage, MessageDecrypter, MessageEncrypter, Nonce, OutboundChunks, OutboundPlainMessage,
};
use rustls::{ConnectionTrafficSecrets, ContentType, ProtocolVersion, StreamOwned, SupportedCipherSuite};
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

/// The client. Each side counts its records, from where the handshake left off.
pub struct Forger {
    /// The connection.
    pub socket: TcpStream,
    sealer: Box<dyn MessageEncrypter>,
    sealed: u64,
    opener: Box<dyn MessageDecrypter>,
    opened: u64,
}

impl Forger {
    /// Takes a connection over. What its client has received and not yet shown is lost, so this comes first.
    #[track_caller]
    pub fn new(wire: Wire) -> Forger {
        let Wire::Tls(stream) = wire else { panic!("a wire without TLS") };
        let StreamOwned { conn, sock: socket } = *stream;
        let suite = conn.negotiated_cipher_suite().expect("the handshake is done");
        let secrets = conn.dangerous_extract_secrets().expect("the client was made for this");
        let ((sealed, ours), (opened, theirs)) = (secrets.tx, secrets.rx);
        let (ConnectionTrafficSecrets::Aes128Gcm { key, iv }, ConnectionTrafficSecrets::Aes128Gcm { .. }) =
            (ours, &theirs)
        else {
            panic!("the server chose {suite:?}, which is not its first choice")
        };
        let ConnectionTrafficSecrets::Aes128Gcm { key: their_key, iv: their_iv } = theirs else {
            unreachable!("it was looked at above")
        };
        let (sealer, opener) = match suite {
            SupportedCipherSuite::Tls13(suite) => {
                (suite.aead_alg.encrypter(key, iv), suite.aead_alg.decrypter(their_key, their_iv))
            }
            SupportedCipherSuite::Tls12(suite) => {
                // Four bytes are the salt; the others go in front of each record (RFC 5288 section 3).
                let (iv, their_iv) = (Nonce::new(&iv, 0).0, Nonce::new(&their_iv, 0).0);
                let sealer = suite.aead_alg.encrypter(key, &iv[..4], &iv[4..]);
                (sealer, suite.aead_alg.decrypter(their_key, &their_iv[..4]))
            }
        };
        let mut forger = Forger { socket, sealer, sealed: 0, opener, opened };
        // The library takes the first nonce it sees for the first of all, so those that were used up are used again here,
        // for records that nobody sees.
        while forger.sealed < sealed {
            forger.record(ContentType::ApplicationData, b"");
        }
        forger
    }

    /// A sealed record of this kind, however long `plain` is.
    pub fn record(&mut self, kind: ContentType, plain: &[u8]) -> Vec<u8> {
        let payload = OutboundChunks::Single(plain);
        let message = OutboundPlainMessage { typ: kind, version: ProtocolVersion::TLSv1_2, payload };
        let sealed = self.sealer.encrypt(message, self.sealed).expect("anything can be encrypted");
        self.sealed += 1;
        sealed.encode()
    }

    /// Seals application data in one record and sends it.
    pub fn send(&mut self, plain: &[u8]) {
        let record = self.record(ContentType::ApplicationData, plain);
        self.send_raw(&record);
    }

    /// Sends bytes as they are. A server that has had enough may break the write; what it says counts.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes);
    }

    /// The next record, decrypted; `None` at the orderly end of the stream.
    pub fn read(&mut self) -> io::Result<Option<(ContentType, Vec<u8>)>> {
        self.socket.set_read_timeout(Some(PATIENCE))?;
        let mut head = [0; 5];
        match self.socket.read(&mut head[..1])? {
            0 => return Ok(None),
            _ => self.socket.read_exact(&mut head[1..])?,
        }
        let mut body = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
        self.socket.read_exact(&mut body)?;
        let sealed = InboundOpaqueMessage::new(head[0].into(), ProtocolVersion::TLSv1_2, &mut body);
        let wrong = |error| io::Error::new(ErrorKind::InvalidData, error);
        let plain = self.opener.decrypt(sealed, self.opened).map_err(wrong)?;
        self.opened += 1;
        Ok(Some((plain.typ, plain.payload.to_vec())))
    }

    /// Application data until there are so many bytes of it, or an alert (level and number), or the end.
    #[track_caller]
    pub fn hear(&mut self, enough: usize) -> (Vec<u8>, Option<u8>) {
        let mut data = Vec::new();
        while data.len() < enough {
            match self.read().unwrap_or_else(|error| panic!("after {} bytes: {error}", data.len())) {
                Some((ContentType::ApplicationData, bytes)) => data.extend_from_slice(&bytes),
                Some((ContentType::Alert, alert)) => return (data, Some(alert[1])),
                // Tickets.
                Some((ContentType::Handshake, _)) => {}
                Some((kind, _)) => panic!("{kind:?} from the server"),
                None => return (data, None),
            }
        }
        (data, None)
    }
}
