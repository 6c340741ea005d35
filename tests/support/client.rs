//! A WebSocket client that does exactly what it is told, legal or not.
//!
//! It never answers pings or closes by itself. Reading is strict: what a server must not send makes the test fail.

use super::brief;
use super::frame::{BINARY, CLOSE, CONTINUATION, Frame, PING, PONG, TEXT, bytes_of};
use super::http::{Response, read_response};
use super::wire::{Fault, Inbox, Wire, soon};
use std::fmt;
use std::io;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The key of every handshake here and the answer it must get (RFC 6455 section 1.3).
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// The answer to [`KEY`].
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The request that opens a WebSocket, each line free to be changed.
#[derive(Clone, Debug)]
pub struct Handshake {
    start: String,
    lines: Vec<(String, String)>,
    early: Vec<u8>,
    piece: usize,
}

impl Handshake {
    /// A correct one for `/`.
    pub fn new() -> Handshake {
        let lines = [
            ("Host", "gateway.test"),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", KEY),
            ("Sec-WebSocket-Version", "13"),
        ];
        let lines = lines.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Handshake { start: "GET / HTTP/1.1".to_owned(), lines, early: Vec::new(), piece: 0 }
    }

    /// Another request line.
    pub fn start(mut self, line: &str) -> Handshake {
        line.clone_into(&mut self.start);
        self
    }

    /// Replaces a header, or adds it.
    pub fn set(self, name: &str, value: &str) -> Handshake {
        self.without(name).add(name, value)
    }

    /// Adds a header, also a second one of its name.
    pub fn add(mut self, name: &str, value: &str) -> Handshake {
        self.lines.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Leaves a header out.
    pub fn without(mut self, name: &str) -> Handshake {
        self.lines.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// Bytes right behind the head, in the same write.
    pub fn early(mut self, bytes: impl Into<Vec<u8>>) -> Handshake {
        self.early = bytes.into();
        self
    }

    /// Write in pieces of so many bytes; zero: all at once.
    pub fn chopped(mut self, piece: usize) -> Handshake {
        self.piece = piece;
        self
    }

    /// Head and early bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{}\r\n", self.start);
        for (name, value) in &self.lines {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        [head.as_bytes(), &self.early].concat()
    }
}

/// A whole message, or a control frame.
#[derive(Clone, PartialEq, Eq)]
pub enum Message {
    /// Text, not checked.
    Text(Vec<u8>),
    /// Binary.
    Binary(Vec<u8>),
    /// A ping's payload.
    Ping(Vec<u8>),
    /// A pong's payload.
    Pong(Vec<u8>),
    /// A close frame's payload.
    Close(Vec<u8>),
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Text(payload) => write!(f, "text of {}", brief(payload)),
            Message::Binary(payload) => write!(f, "binary of {}", brief(payload)),
            Message::Ping(payload) => write!(f, "ping of {}", brief(payload)),
            Message::Pong(payload) => write!(f, "pong of {}", brief(payload)),
            Message::Close(payload) if payload.len() < 2 => write!(f, "close of {}", brief(payload)),
            Message::Close(payload) => {
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                write!(f, "close {code} \"{}\"", payload[2..].escape_ascii())
            }
        }
    }
}

/// An open WebSocket.
#[derive(Debug)]
pub struct WsClient {
    /// Bytes from the server.
    pub inbox: Inbox,
    /// The server's answer to the handshake.
    pub response: Response,
    begun: Option<(u8, Vec<u8>)>,
}

impl WsClient {
    /// Does the handshake; the answer must be a correct 101.
    #[track_caller]
    pub fn open(wire: Wire, handshake: &Handshake) -> WsClient {
        WsClient::try_open(wire, handshake).unwrap_or_else(|why| panic!("handshake failed: {why}"))
    }

    /// The same, saying what was wrong.
    pub fn try_open(mut wire: Wire, handshake: &Handshake) -> Result<WsClient, String> {
        // An early refusal may break the write; the answer tells more than that.
        let _ = wire.write_chopped(&handshake.bytes(), handshake.piece);
        WsClient::answered(Inbox::new(wire))
    }

    /// Takes over a connection on which the handshake was just written.
    pub fn answered(mut inbox: Inbox) -> Result<WsClient, String> {
        let response = read_response(&mut inbox, true, soon()).map_err(|fault| fault.to_string())?;
        if response.status != 101 {
            return Err(format!("expected 101, got {response:?}"));
        }
        let word = |name| response.header(name).unwrap_or("").to_ascii_lowercase();
        if word("upgrade") != "websocket" || word("connection") != "upgrade" {
            return Err(format!("a 101 without its Upgrade and Connection: {response:?}"));
        }
        if response.header("sec-websocket-extensions").is_some() {
            return Err(format!("an extension that is not implemented: {response:?}"));
        }
        Ok(WsClient { inbox, response, begun: None })
    }

    /// Sends one frame.
    #[track_caller]
    pub fn send(&mut self, frame: &Frame) {
        self.send_bytes(&frame.bytes());
    }

    /// Sends frames in one write.
    #[track_caller]
    pub fn send_all(&mut self, frames: &[Frame]) {
        self.send_bytes(&bytes_of(frames));
    }

    /// Sends bytes.
    #[track_caller]
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.inbox.wire.write_chopped(bytes, 0).unwrap_or_else(|error| panic!("cannot send: {error}"));
    }

    /// Sends bytes from another thread, so that this one can read meanwhile.
    pub fn send_beside(&self, bytes: Vec<u8>) -> JoinHandle<io::Result<()>> {
        let mut wire = self.inbox.wire.twin();
        thread::spawn(move || wire.write_chopped(&bytes, 0))
    }

    /// The next whole message or control frame; control frames inside a message come first.
    pub fn try_next(&mut self, until: Instant) -> Result<Message, Fault> {
        loop {
            let frame = Frame::read(&mut self.inbox, until)?;
            let (fin, payload) = (frame.fin, frame.payload);
            match (frame.opcode, self.begun.take()) {
                (PING, begun) => {
                    self.begun = begun;
                    return Ok(Message::Ping(payload));
                }
                (PONG, begun) => {
                    self.begun = begun;
                    return Ok(Message::Pong(payload));
                }
                (CLOSE, begun) => {
                    self.begun = begun;
                    return Ok(Message::Close(payload));
                }
                (opcode @ (TEXT | BINARY), None) if fin => return Ok(whole(opcode, payload)),
                (opcode @ (TEXT | BINARY), None) => self.begun = Some((opcode, payload)),
                (CONTINUATION, Some((opcode, mut begun))) => {
                    begun.extend_from_slice(&payload);
                    if fin {
                        return Ok(whole(opcode, begun));
                    }
                    self.begun = Some((opcode, begun));
                }
                (opcode, _) => {
                    return Err(Fault::Nonsense(format!("opcode 0x{opcode:x} out of order from the server")));
                }
            }
        }
    }

    /// The next message, with the usual patience.
    #[track_caller]
    pub fn next(&mut self) -> Message {
        self.try_next(soon()).unwrap_or_else(|fault| panic!("expected a message, got {fault}"))
    }

    /// This message and no other.
    #[track_caller]
    pub fn expect(&mut self, expected: &Message) {
        let got = self.next();
        assert!(got == *expected, "expected {expected:?}, got {got:?}");
    }

    /// So many bytes of binary messages, whatever their partition.
    #[track_caller]
    pub fn expect_stream(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count);
        while bytes.len() < count {
            match self.try_next(soon()) {
                Ok(Message::Binary(payload)) => bytes.extend_from_slice(&payload),
                Ok(Message::Ping(_)) => {}
                other => panic!("expected binary after {} of {count} bytes, got {other:?}", bytes.len()),
            }
        }
        bytes
    }

    /// A close with this code, after any data; its reason is returned.
    #[track_caller]
    pub fn expect_close(&mut self, code: u16) -> String {
        let until = soon();
        loop {
            match self.try_next(until) {
                Ok(Message::Binary(_) | Message::Text(_) | Message::Ping(_) | Message::Pong(_)) => {}
                Ok(Message::Close(payload)) if payload.starts_with(&code.to_be_bytes()) => {
                    return String::from_utf8(payload[2..].to_vec()).expect("a reason is UTF-8");
                }
                other => panic!("expected close {code}, got {other:?}"),
            }
        }
    }

    /// The orderly end of the stream, in time and with nothing before it.
    #[track_caller]
    pub fn expect_eof(&mut self, time: Duration) {
        let ended = self.inbox.end(Instant::now() + time);
        ended.unwrap_or_else(|fault| panic!("expected the end of the stream within {time:?}, got {fault}"));
    }

    /// Answers a close of the server and sees the end.
    #[track_caller]
    pub fn answer_close(mut self, code: u16) {
        // The server may be gone already; its orderly end is what counts.
        let _ = self.inbox.wire.write_chopped(&Frame::close(code, "").bytes(), 0);
        self.expect_eof(Duration::from_secs(7));
    }

    /// Says goodbye: the close must come back verbatim, then the end, at once.
    #[track_caller]
    pub fn leave(mut self) {
        let goodbye = Frame::close(1000, "done");
        self.send(&goodbye);
        self.expect(&Message::Close(goodbye.payload));
        self.expect_eof(Duration::from_secs(3));
    }
}

fn whole(opcode: u8, payload: Vec<u8>) -> Message {
    if opcode == TEXT { Message::Text(payload) } else { Message::Binary(payload) }
}
