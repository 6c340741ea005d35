//! Reads what a client is sent, as strictly as a client may, and keeps what it means.

use super::frame::{BINARY, CLOSE, FIN, PING, PONG, TEXT};

/// What has come to one client.
#[derive(Debug, Default)]
pub struct Reader {
    unread: Vec<u8>,
    /// Status of each HTTP answer.
    pub answers: Vec<u16>,
    /// HEAD requests are answered without a body: which answers those are.
    pub bodiless: Vec<bool>,
    pub open: bool,
    pub payload: Vec<u8>,
    /// Type and length of each message.
    pub messages: Vec<(u8, usize)>,
    pub pongs: Vec<Vec<u8>>,
    pub pings: usize,
    /// The close frame: its code, if it has one.
    pub closed: Option<Option<u16>>,
}

impl Reader {
    /// Takes what came.
    ///
    /// # Panics
    /// If no server may send that.
    pub fn take(&mut self, bytes: &[u8]) {
        self.unread.extend(bytes);
        let mut from = 0;
        while let Some(len) = if self.open { self.frame(from) } else { self.answer(from) } {
            from += len;
        }
        self.unread.drain(..from);
    }

    /// Whether everything that came was whole.
    pub fn is_whole(&self) -> bool {
        self.unread.is_empty()
    }

    fn answer(&mut self, from: usize) -> Option<usize> {
        let bytes = &self.unread[from..];
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let text = std::str::from_utf8(&bytes[..head]).expect("a head is text");
        let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).expect("a status line");
        let status: u16 = status.parse().expect("a status");
        let length = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().expect("a length"))
        });
        let bodiless = self.bodiless.get(self.answers.len()).copied().unwrap_or(false);
        let body = match status {
            101 | 304 => 0,
            _ if bodiless => 0,
            _ => length.expect("an answer says how long it is"),
        };
        if bytes.len() < head + body {
            return None;
        }
        self.open = status == 101;
        self.answers.push(status);
        Some(head + body)
    }

    fn frame(&mut self, from: usize) -> Option<usize> {
        let bytes = &self.unread[from..];
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        assert!(self.closed.is_none(), "something came behind the close frame");
        assert_eq!((first & 0xf0, second & 0x80), (FIN, 0), "whole frames, no reserved bits, no mask");
        let (len, header) = match second {
            126 => {
                let len = u16::from_be_bytes(bytes.get(2..4)?.try_into().expect("two bytes")) as usize;
                assert!(len >= 126, "the shortest length");
                (len, 4)
            }
            127 => {
                let len = u64::from_be_bytes(bytes.get(2..10)?.try_into().expect("eight bytes"));
                assert!((0x1_0000..1 << 40).contains(&len), "the shortest length");
                (len as usize, 10)
            }
            len => (usize::from(len), 2),
        };
        let payload = bytes.get(header..header + len)?.to_vec();
        let opcode = first & 0x0f;
        assert!(opcode < CLOSE || len <= 125, "a control frame is short");
        match opcode {
            TEXT | BINARY => {
                self.messages.push((opcode, len));
                self.payload.extend(payload);
            }
            CLOSE => {
                assert!(len != 1, "a close payload of one byte");
                self.closed = Some(payload.get(..2).map(|code| u16::from_be_bytes([code[0], code[1]])));
            }
            PING => self.pings += 1,
            PONG => self.pongs.push(payload),
            _ => panic!("opcode {opcode}"),
        }
        Some(header + len)
    }
}
