//! The client's end of TLS: certificates that peers show, a client set-up, and one secured stream.
//!
//! It owns what belongs to one connection's TLS: the handshake, the part of a record that came so far, and what is
//! sealed but not yet sent. It never touches a socket. All peers meet the same client: TLS 1.3, AES-128-GCM, X25519, tickets
//! used once. The client knows the certificate and compares it; it does not verify signatures, which costs a client more
//! than the peer's signing costs the peer, and so would make the load the limit.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
    UnbufferedClientConnection,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, HandshakeKind, NamedGroup, SignatureScheme, version,
};

use crate::rows::{Key, Secure};

/// Most tickets that are kept; twice the sessions of a row are enough when a peer sends two a session.
const TICKETS_MAX: usize = 64;
/// What a record adds to its payload at most: header, content type and tag (RFC 8446 sections 5.2 and 5.3).
const RECORD_OVERHEAD: usize = 5 + 1 + 16;
/// Most payload of one record.
const RECORD_PAYLOAD_BYTES: usize = 16 * 1024;
/// Longest message of the client's handshake: the hello, with a ticket in it.
const HELLO_BYTES_MAX: usize = 4096;
/// Name in every certificate, and asked for by every client.
const NAME: &str = "localhost";

/// Where the certificate with `key`, and the key behind it, are kept.
pub fn certificate_file(scratch: &Path, key: Key) -> PathBuf {
    scratch.join(match key {
        Key::Ecdsa => "ecdsa.pem",
        Key::Rsa => "rsa.pem",
    })
}

/// Makes a self-signed certificate with `key`, valid for a month.
pub fn make_certificate(scratch: &Path, key: Key) -> Result<(), String> {
    let file = certificate_file(scratch, key);
    let told = |what: &dyn fmt::Display| format!("certificate {}: {what}", file.display());
    let kind: &[&str] = match key {
        Key::Ecdsa => &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
        Key::Rsa => &["-newkey", "rsa:2048"],
    };
    // Certificate and key go into one file, which is what most peers want.
    let output = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-days", "30", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", "-", "-out", "-"])
        .args(kind)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| told(&format!("openssl: {error}")))?;
    if !output.status.success() {
        return Err(told(&String::from_utf8_lossy(&output.stderr)));
    }
    fs::write(&file, &output.stdout).map_err(|error| told(&error))
}

/// The set-up of every client that meets a peer with the certificate of `secure`.
pub fn client(scratch: &Path, secure: Secure) -> Result<Arc<ClientConfig>, String> {
    let file = certificate_file(scratch, secure.key);
    let certificate =
        CertificateDer::from_pem_file(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let provider = CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&version::TLS13])
        .map_err(|error| format!("TLS: {error}"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned(certificate)))
        .with_no_client_auth();
    config.resumption =
        if secure.resumed { Resumption::store(Arc::new(Tickets::default())) } else { Resumption::disabled() };
    Ok(Arc::new(config))
}

/// Takes one certificate and no other.
#[derive(Debug)]
struct Pinned(CertificateDer<'static>);

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if *end_entity == self.0 {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::General("another certificate than the peer was given".into()))
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 was asked for".into()))
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256]
    }
}

/// Tickets of one peer, each used once. The store that rustls brings keeps eight, fewer than sessions are opened at once.
#[derive(Debug, Default)]
struct Tickets(Mutex<Vec<Tls13ClientSessionValue>>);

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _name: ServerName<'static>, _group: NamedGroup) {}

    fn kx_hint(&self, _name: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _name: ServerName<'static>, _value: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _name: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _name: ServerName<'static>, value: Tls13ClientSessionValue) {
        let mut tickets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tickets.len() < TICKETS_MAX {
            tickets.push(value);
        }
    }

    fn take_tls13_ticket(&self, _name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

/// One secured stream.
pub struct Seal {
    connection: UnbufferedClientConnection,
    /// What came of a record that is not whole yet.
    carried: Vec<u8>,
    /// Room for sealed bytes; `sent..filled` are still to be sent.
    outgoing: Vec<u8>,
    filled: usize,
    sent: usize,
    /// Whether data may be sealed.
    complete: bool,
}

impl fmt::Debug for Seal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Seal").field("complete", &self.complete).finish_non_exhaustive()
    }
}

impl Seal {
    /// A stream that has its first message to send.
    pub fn new(config: &Arc<ClientConfig>) -> Result<Self, String> {
        let name = ServerName::try_from(NAME).expect("the name is legal");
        let connection = UnbufferedClientConnection::new(config.clone(), name).map_err(told)?;
        let mut seal = Self {
            connection,
            carried: Vec::new(),
            outgoing: Vec::new(),
            filled: 0,
            sent: 0,
            complete: false,
        };
        seal.open(&mut [], |_| Ok(()))?;
        Ok(seal)
    }

    /// Whether the handshake is over; if so, whether it was a resumption.
    pub fn complete(&self) -> Option<bool> {
        self.complete.then(|| self.connection.handshake_kind() == Some(HandshakeKind::Resumed))
    }

    /// Puts what was left over at the front of `buffer`, to be followed by what comes; returns how much that is.
    pub fn begin(&self, buffer: &mut [u8]) -> usize {
        buffer[..self.carried.len()].copy_from_slice(&self.carried);
        self.carried.len()
    }

    /// Takes what came, left-overs first, and hands `each` its payload. What is to be answered is then to be sent.
    pub fn open(
        &mut self,
        bytes: &mut [u8],
        mut each: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut at = 0;
        loop {
            let UnbufferedStatus { mut discard, state } =
                self.connection.process_tls_records(&mut bytes[at..]);
            let mut rests = false;
            match state.map_err(told)? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(told)?;
                        discard += record.discard;
                        each(record.payload)?;
                    }
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    let room = room(&mut self.outgoing, self.filled, HELLO_BYTES_MAX);
                    self.filled += data.encode(room).map_err(|error| format!("TLS: {error}"))?;
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::WriteTraffic(_) => (self.complete, rests) = (true, true),
                ConnectionState::BlockedHandshake | ConnectionState::Closed => rests = true,
                ConnectionState::PeerClosed => {}
                other => return Err(format!("TLS: unexpected state {other:?}")),
            }
            at += discard;
            if rests {
                break;
            }
        }
        self.carried.clear();
        self.carried.extend_from_slice(&bytes[at..]);
        Ok(())
    }

    /// Seals `plain` behind what is still to be sent.
    pub fn seal(&mut self, plain: &[u8]) -> Result<(), String> {
        self.write(plain.len(), |traffic, room| traffic.encrypt(plain, room))
    }

    /// Says that nothing follows.
    pub fn close(&mut self) -> Result<(), String> {
        self.write(0, |traffic, room| traffic.queue_close_notify(room))
    }

    fn write(
        &mut self,
        length: usize,
        write: impl FnOnce(&mut Traffic<'_>, &mut [u8]) -> Result<usize, rustls::unbuffered::EncryptError>,
    ) -> Result<(), String> {
        let bytes = length + RECORD_OVERHEAD * (length / RECORD_PAYLOAD_BYTES + 1);
        let room = room(&mut self.outgoing, self.filled, bytes);
        match self.connection.process_tls_records(&mut []).state.map_err(told)? {
            ConnectionState::WriteTraffic(mut traffic) => {
                self.filled += write(&mut traffic, room).map_err(|error| format!("TLS: {error}"))?;
                Ok(())
            }
            other => Err(format!("TLS: cannot send in state {other:?}")),
        }
    }

    /// What is to be sent.
    pub fn outgoing(&self) -> &[u8] {
        &self.outgoing[self.sent..self.filled]
    }

    /// That `count` bytes of it went out.
    pub fn went(&mut self, count: usize) {
        self.sent += count;
        if self.sent == self.filled {
            (self.sent, self.filled) = (0, 0);
        }
    }
}

type Traffic<'c> = rustls::unbuffered::WriteTraffic<'c, rustls::client::ClientConnectionData>;

/// Room for `more` bytes behind the first `filled`.
fn room(bytes: &mut Vec<u8>, filled: usize, more: usize) -> &mut [u8] {
    if bytes.len() < filled + more {
        bytes.resize(filled + more, 0);
    }
    &mut bytes[filled..]
}

fn told(error: Error) -> String {
    format!("TLS: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::PrivateKeyDer;
    use rustls::{ServerConfig, ServerConnection};
    use std::io::{Read, Write};

    /// A folder with both certificates, removed again.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("websplice-perf-{name}-{}", std::process::id()));
            fs::create_dir_all(&folder).expect("a folder");
            for key in [Key::Ecdsa, Key::Rsa] {
                make_certificate(&folder, key).expect("a certificate");
            }
            Self(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn server(folder: &Path, key: Key) -> Arc<ServerConfig> {
        let file = certificate_file(folder, key);
        let certificate = CertificateDer::from_pem_file(&file).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(&file).expect("a key");
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("versions").with_no_client_auth();
        let mut config = config.with_single_cert(vec![certificate], key).expect("they belong together");
        config.ticketer = aws_lc_rs::Ticketer::new().expect("a ticketer");
        Arc::new(config)
    }

    /// Runs one session whose bytes towards the client come in pieces of `step`; whether it was resumed.
    fn session(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>, step: usize) -> Result<bool, String> {
        let mut far = ServerConnection::new(server.clone()).expect("a server");
        let mut near = Seal::new(client)?;
        let (mut buffer, mut got, mut asked) = (vec![0; 64 * 1024], Vec::new(), false);
        let answer: Vec<u8> = (0..40_000u32).map(|at| at as u8).collect();
        for _ in 0..10 {
            if near.complete().is_some() && !asked {
                near.seal(b"hello")?;
                asked = true;
            }
            let mut out = near.outgoing();
            while !out.is_empty() {
                far.read_tls(&mut out).expect("memory");
                far.process_new_packets().map_err(|error| error.to_string())?;
            }
            near.went(near.outgoing().len());
            let mut question = [0; 16];
            if matches!(far.reader().read(&mut question), Ok(length) if question[..length] == *b"hello") {
                far.writer().write_all(&answer).expect("memory");
            }
            let mut wire = Vec::new();
            while far.wants_write() {
                far.write_tls(&mut wire).expect("memory");
            }
            for piece in wire.chunks(step) {
                let kept = near.begin(&mut buffer);
                buffer[kept..kept + piece.len()].copy_from_slice(piece);
                near.open(&mut buffer[..kept + piece.len()], |plain| {
                    got.extend_from_slice(plain);
                    Ok(())
                })?;
            }
        }
        assert!(got == answer, "{} of {} bytes came", got.len(), answer.len());
        Ok(near.complete().expect("the handshake is over"))
    }

    #[test]
    fn streams_open_however_they_are_cut_and_resume_when_asked() {
        let folder = Folder::new("cuts");
        for key in [Key::Ecdsa, Key::Rsa] {
            let server = server(&folder.0, key);
            let full = client(&folder.0, Secure { key, resumed: false }).expect("a client");
            let resumed = client(&folder.0, Secure { key, resumed: true }).expect("a client");
            for (round, step) in [1, 2, 7, 1000, 17_000, 60_000].into_iter().enumerate() {
                assert_eq!(session(&full, &server, step), Ok(false));
                assert_eq!(session(&resumed, &server, step), Ok(round > 0));
            }
        }
    }

    #[test]
    fn another_certificate_is_refused() {
        let folder = Folder::new("pinned");
        let client = client(&folder.0, Secure { key: Key::Ecdsa, resumed: false }).expect("a client");
        let refused = session(&client, &server(&folder.0, Key::Rsa), 1000).expect_err("a refusal");
        assert!(refused.contains("another certificate"), "{refused}");
    }
}
