//! The same over TLS: certificates, a client that plays ping-pong, and a target that returns every byte.
//!
//! Every message is one record on each leg, so that what a record costs can be told exactly.

use super::traffic;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use websplice::tls::{Options, Pair, TargetOptions};

const NAME: &str = "localhost";
/// A side that hangs fails the test instead of holding it.
const PATIENCE: Duration = Duration::from_secs(60);
/// Payload lengths, in turn: with frame header and mask, all of them fit in one record.
const LENGTHS: [usize; 5] = [1, 100, 1_000, 4_000, 16_000];

/// One certificate for all sides, in a file of its own that goes away with the value.
pub struct Identity {
    path: PathBuf,
    cert: String,
    key: String,
}

impl Identity {
    pub fn new(name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(vec![NAME.to_owned()]).unwrap().self_signed(&key).unwrap().pem();
        let path = std::env::temp_dir().join(format!("websplice-{}-{name}.pem", std::process::id()));
        let identity = Identity { path, cert, key: key.serialize_pem() };
        std::fs::write(&identity.path, format!("{}{}", identity.cert, identity.key)).unwrap();
        identity
    }

    /// TLS towards clients, and towards a target that shows this certificate if there is to be one.
    pub fn options(&self, to_target: bool) -> Options {
        let target =
            TargetOptions { ca: Some(self.path.clone()), name: Some(NAME.into()), ..Default::default() };
        Options {
            pairs: vec![Pair { cert: self.path.clone(), ..Pair::default() }],
            target: to_target.then_some(target),
            ..Options::default()
        }
    }

    fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.cert.as_bytes()).unwrap()
    }

    /// A target that returns every record to its one client until that ends.
    pub fn target(&self) -> (SocketAddr, JoinHandle<()>) {
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let config =
            ServerConfig::builder().with_no_client_auth().with_single_cert(vec![self.der()], key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = thread::spawn(move || {
            let (socket, _) = listener.accept().unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut stream = StreamOwned::new(ServerConnection::new(Arc::new(config)).unwrap(), socket);
            let mut bytes = vec![0; 64 * 1024];
            // The end of the session ends this too, in order or not.
            while let Ok(count @ 1..) = stream.read(&mut bytes) {
                stream.write_all(&bytes[..count]).unwrap();
            }
        });
        (address, thread)
    }

    /// A client whose upgrade was answered.
    pub fn client(&self, socket: TcpStream) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(self.der()).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        let connection = ClientConnection::new(Arc::new(config), NAME.try_into().unwrap()).unwrap();
        let mut stream = StreamOwned::new(connection, socket);
        stream.write_all(traffic::UPGRADE).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "));
        Client(stream)
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        // Nothing depends on it.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// An open WebSocket over TLS.
pub struct Client(StreamOwned<ClientConnection, TcpStream>);

impl Client {
    /// Sends so many messages, each when the one before has come back.
    pub fn exchange(&mut self, messages: usize) {
        let frames = LENGTHS.map(traffic::frame);
        let mut back = vec![0; LENGTHS[LENGTHS.len() - 1]];
        for turn in 0..messages {
            let place = turn % LENGTHS.len();
            self.0.write_all(&frames[place]).unwrap();
            let mut head = [0; 4];
            self.0.read_exact(&mut head[..2]).unwrap();
            if head[1] == 126 {
                self.0.read_exact(&mut head[2..]).unwrap();
            }
            self.0.read_exact(&mut back[..LENGTHS[place]]).unwrap();
        }
    }
}
