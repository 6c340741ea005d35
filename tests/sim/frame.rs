//! Frames as a client sends them, good ones and bad ones.

use websplice::sim::Dice;

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;
pub const FIN: u8 = 0x80;

/// A masked frame; `first` is its first byte.
pub fn frame(first: u8, payload: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..126 => bytes.push(0x80 | len as u8),
        len @ 126..0x1_0000 => {
            bytes.push(0x80 | 126);
            bytes.extend((len as u16).to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    let key = (dice.word() as u32).to_be_bytes();
    bytes.extend(key);
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// A close frame; without a code it has no payload.
pub fn close(code: Option<u16>, dice: &mut Dice) -> Vec<u8> {
    let mut payload = code.map_or(Vec::new(), |code| code.to_be_bytes().to_vec());
    if code.is_some() {
        payload.extend(b"so long");
    }
    frame(FIN | CLOSE, &payload, dice)
}

/// A frame that breaks a rule between two messages, and the close code that answers it.
pub fn bad_frame(dice: &mut Dice) -> (Vec<u8>, u16) {
    match dice.below(8) {
        0 => (vec![FIN | BINARY, 3, b'a', b'b', b'c'], 1002),
        1 => (frame(FIN | 0x40 | BINARY, b"reserved bit", dice), 1002),
        2 => (frame(FIN | 3, b"reserved opcode", dice), 1002),
        3 => (frame(FIN | PING, &[b'x'; 126], dice), 1002),
        4 => (frame(PING, b"fragment", dice), 1002),
        5 => (frame(FIN | CONTINUATION, b"of nothing", dice), 1002),
        6 => (frame(FIN | CLOSE, &1005u16.to_be_bytes(), dice), 1002),
        _ => (frame(FIN | CLOSE, &[0x03, 0xe8, 0xff, 0xfe], dice), 1007),
    }
}
