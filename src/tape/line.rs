//! The lines of a recording, byte for byte, and the order in which their bytes are written.
//!
//! A file ends with [`TERMINATOR`] at any moment, also after the process was killed in the middle of a write. A kill
//! interrupts a write between two pages, never within one. So a line that stays within a page is one write over the
//! terminator. A longer one is written behind it first, as a comment; then its first eight bytes take the place of the
//! terminator that hid it. For that no terminator may cross a page: a line that would end so is made a few bytes longer,
//! with zeros in front of its time, which count for nothing.

use super::From;

/// First line of a file.
pub const HEADER: &[u8] = b"var VNC_frame_data = [\n";
/// Last line of a file.
pub const TERMINATOR: &[u8; 8] = b"'EOF'];\n";
/// What a kill cannot divide; pages of all systems are whole numbers of this.
const PAGE: u64 = 4096;
/// Where the terminator is opened into a comment, and how.
const OPENED: (u64, &[u8; 2]) = (6, b"//");

/// A line and the terminator behind it, and the place in the file that they are for.
#[derive(Debug, Default)]
pub struct Line {
    at: u64,
    text: Vec<u8>,
}

impl Line {
    /// Makes this the entry that says that `payload` came at `millis` since the session began, for place `at`.
    pub fn entry(&mut self, at: u64, from: From, millis: u64, payload: &[u8]) {
        let mark = match from {
            From::Client => '}',
            From::Target => '{',
        };
        self.begin(at, &format!("'{mark}{millis}{mark}"));
        escape(payload, &mut self.text);
        self.end("',\n", b'0');
    }

    /// Makes this a comment, for place `at`. `text` is printable and does not end a comment.
    pub fn comment(&mut self, at: u64, text: &str) {
        debug_assert!(!text.contains("*/") && !text.contains('\n'));
        self.begin(at, "/* ");
        self.text.extend_from_slice(text.as_bytes());
        self.end(" */\n", b' ');
    }

    /// Bytes of the line alone: how far the terminator moves.
    pub fn size(&self) -> u64 {
        (self.text.len() - TERMINATOR.len()) as u64
    }

    /// Writes it over the terminator at its place. In front of each call of `write`, and behind each page that it
    /// writes, the file is whole.
    ///
    /// # Errors
    /// That of `write`; then [`mend`] makes the file what it was.
    pub fn put<E>(&mut self, mut write: impl FnMut(u64, &[u8]) -> Result<(), E>) -> Result<(), E> {
        let (at, text) = (self.at, &mut self.text);
        let last = at + text.len() as u64 - 1;
        if at / PAGE == last / PAGE {
            return write(at, text);
        }
        write(at + OPENED.0, OPENED.1)?;
        // The new terminator is a part of the comment for now, and of the line for another moment.
        let newline = text.len() - TERMINATOR.len() - 1;
        text[newline] = b' ';
        write(at + TERMINATOR.len() as u64, &text[TERMINATOR.len()..])?;
        write(at, &text[..TERMINATOR.len()])?;
        write(at + newline as u64, b"\n")
    }

    fn begin(&mut self, at: u64, front: &str) {
        debug_assert!(!crosses(at), "no terminator crosses a page");
        self.at = at;
        self.text.clear();
        self.text.extend_from_slice(front.as_bytes());
    }

    fn end(&mut self, back: &str, padding: u8) {
        self.text.extend_from_slice(back.as_bytes());
        let terminator = self.at + self.text.len() as u64;
        if crosses(terminator) {
            let missing = (PAGE - terminator % PAGE) as usize;
            self.text.splice(2..2, std::iter::repeat_n(padding, missing));
        }
        self.text.extend_from_slice(TERMINATOR);
    }
}

/// Makes a file whole whose write for place `at` failed: cuts it behind the terminator, then writes that.
///
/// # Errors
/// That of `cut` or `write`.
pub fn mend<E>(
    at: u64,
    cut: impl FnOnce(u64) -> Result<(), E>,
    write: impl FnOnce(u64, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    cut(at + TERMINATOR.len() as u64)?;
    write(at, TERMINATOR)
}

/// Whether a terminator at `at` lies in two pages.
fn crosses(at: u64) -> bool {
    at % PAGE > PAGE - TERMINATOR.len() as u64
}

/// How each byte is written in a string of JavaScript, and how many bytes that takes.
const CODES: [([u8; 4], u8); 256] = codes();

const fn codes() -> [([u8; 4], u8); 256] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut codes = [([0; 4], 0); 256];
    let mut byte = 0;
    while byte < 256 {
        let itself = byte as u8;
        codes[byte] = match itself {
            b'\\' => (*b"\\\\\0\0", 2),
            b'\'' => (*b"\\'\0\0", 2),
            b'\t' => (*b"\\t\0\0", 2),
            b'\n' => (*b"\\n\0\0", 2),
            b'\r' => (*b"\\r\0\0", 2),
            b' '..=b'~' => ([itself, 0, 0, 0], 1),
            _ => ([b'\\', b'x', HEX[byte >> 4], HEX[byte & 15]], 4),
        };
        byte += 1;
    }
    codes
}

/// Puts `payload` behind `out` as the inside of a string: one character for each byte, all of it ASCII.
fn escape(payload: &[u8], out: &mut Vec<u8>) {
    let mut at = out.len();
    // Room for the worst, so that each byte is one copy of four; what is too much of it is cut off again.
    out.resize(at + 4 * payload.len() + 4, 0);
    for &byte in payload {
        let (code, len) = &CODES[usize::from(byte)];
        out[at..at + 4].copy_from_slice(code);
        at += usize::from(*len);
    }
    out.truncate(at);
}

/// What a comment says about bytes that are not there.
pub fn loss(client: u64, target: u64) -> String {
    let sums = [(client, "client"), (target, "target")];
    let told = sums.iter().filter(|(bytes, _)| *bytes > 0);
    let told: Vec<String> = told.map(|(bytes, whose)| format!("{bytes} bytes from the {whose}")).collect();
    format!("lost here, as they could not be written in time: {}", told.join(", "))
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
