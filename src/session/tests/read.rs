//! What clients write and read: frames with a mask, and a strict reader of everything a session sends.
//!
//! Written from RFC 6455 and RFC 9112 alone, so that it shares no mistake with the rooms it reads after.

/// A request for an upgrade.
pub const UPGRADE: &str = "GET /x HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                           Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// A request for a file.
pub const GET: &str = "GET /f HTTP/1.1\r\nHost: h\r\n\r\n";

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A client's frame whose first byte is `first`.
pub fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..=125 => bytes.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend((len as u16).to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.into_iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// A whole binary message.
pub fn binary(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(0x82, payload)
}

/// A ping.
pub fn ping(payload: &str) -> Vec<u8> {
    frame(0x89, payload)
}

/// A close frame.
pub fn close(code: u16, reason: &str) -> Vec<u8> {
    frame(0x88, [&code.to_be_bytes(), reason.as_bytes()].concat())
}

/// Frames in a row.
pub fn row(frames: &[Vec<u8>]) -> Vec<u8> {
    frames.concat()
}

/// What a session sent to its client, in words that are joined by commas: `200:body`, `101`, `binary:x`, `text:x`,
/// `ping:x`, `pong:x`, `close`, `close:1000 reason`, and `...` for a last one that is cut off. Long payloads are given by
/// their length, as `binary:*70000`.
pub fn heard(mut bytes: &[u8], head_only: bool) -> String {
    let mut words = Vec::new();
    while !bytes.is_empty() {
        let upgraded = words.contains(&"101".to_owned());
        let next = if upgraded { server_frame(bytes) } else { answer(bytes, head_only) };
        let Some((word, len)) = next else {
            words.push("...".into());
            break;
        };
        words.push(word);
        bytes = &bytes[len..];
    }
    words.join(", ")
}

/// An answer in HTTP and its length.
fn answer(bytes: &[u8], head_only: bool) -> Option<(String, usize)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let status = head.strip_prefix("HTTP/1.1 ").unwrap().get(..3).unwrap();
    // The session's number is 1, and so its client is told the second of the times there are.
    assert_eq!(head.contains("\r\nRetry-After: 2\r\n"), status == "503", "{head}");
    if status == "101" {
        return Some((status.into(), end));
    }
    let len: usize =
        head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap().parse().unwrap();
    if head_only {
        return Some((format!("{status}:"), end));
    }
    let body = bytes.get(end..end + len)?;
    let word = if status == "200" { format!("200:{}", words_of(body)) } else { status.into() };
    Some((word, end + len))
}

/// A server's frame and its length.
fn server_frame(bytes: &[u8]) -> Option<(String, usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    assert_eq!(first & 0xf0, 0x80, "every frame of ours is final and has no reserved bit");
    assert_eq!(second & 0x80, 0, "a server never masks");
    let (len, at) = match second {
        126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap())), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()) as usize, 10),
        len => (usize::from(len), 2),
    };
    assert!(at == 2 || len > 125 && (at == 4 || len > 0xffff), "the shortest length is used");
    let payload = bytes.get(at..at + len)?;
    let word = match first & 0x0f {
        1 => format!("text:{}", std::str::from_utf8(payload).expect("text is UTF-8")),
        2 => format!("binary:{}", words_of(payload)),
        8 if payload.is_empty() => "close".into(),
        8 => {
            let code = u16::from_be_bytes(payload[..2].try_into().unwrap());
            format!("close:{code} {}", std::str::from_utf8(&payload[2..]).unwrap()).trim_end().into()
        }
        9 => format!("ping:{}", words_of(payload)),
        10 => format!("pong:{}", words_of(payload)),
        opcode => panic!("opcode {opcode}"),
    };
    Some((word, at + len))
}

/// Payload bytes of all whole data frames behind the 101, in a row.
pub fn payload(bytes: &[u8]) -> Vec<u8> {
    let mut at = bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(bytes.len(), |end| end + 4);
    let mut payload = Vec::new();
    while let Some((_, len)) = server_frame(&bytes[at..]) {
        let header = match bytes[at + 1] {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        if bytes[at] & 0x0f < 8 {
            payload.extend_from_slice(&bytes[at + header..at + len]);
        }
        at += len;
    }
    payload
}

fn words_of(payload: &[u8]) -> String {
    match payload.len() {
        0..=40 => String::from_utf8_lossy(payload).into_owned(),
        len => format!("*{len}"),
    }
}
