//! Reading Rust without a compiler: blanks what is not code, and cuts the rest into tokens.
//!
//! Good enough to find paths, functions and key words in sources that compile; it never judges anything, and it reports
//! nothing about sources that do not.

/// One word or sign of a source, with the line it stands on, counted from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    pub text: &'a str,
    pub line: usize,
}

/// The source with comments, and the insides of strings and characters, turned into spaces. Lines stay where they are.
pub fn code_only(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    let mut in_word = false;
    while at < bytes.len() {
        let (skip, end) = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => (0, line_end(bytes, at)),
            b'/' if bytes[at..].starts_with(b"/*") => (0, block_end(bytes, at)),
            b'"' => (1, string_end(bytes, at + 1)),
            b'r' | b'b' | b'c' if !in_word => match raw_string(bytes, at) {
                Some((open, end)) => (open, end),
                None => (0, at),
            },
            b'\'' => match char_end(bytes, at) {
                Some(end) => (1, end),
                None => (0, at),
            },
            _ => (0, at),
        };
        in_word = end == at && is_word(bytes[at]);
        if end == at {
            at += 1;
            continue;
        }
        for byte in &mut out[at + skip..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    for byte in &mut out {
        if !byte.is_ascii() {
            *byte = b'_';
        }
    }
    String::from_utf8(out).expect("only ASCII is left")
}

/// Cuts blanked code into words, `::` and single signs.
pub fn tokens(code: &str) -> Vec<Token<'_>> {
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < bytes.len() {
        let length = match bytes[at] {
            byte if is_word(byte) => bytes[at..].iter().take_while(|&&byte| is_word(byte)).count(),
            b':' if bytes[at..].starts_with(b"::") => 2,
            _ => 1,
        };
        match bytes[at] {
            b'\n' => line += 1,
            byte if byte.is_ascii_whitespace() => {}
            _ => found.push(Token { text: &code[at..at + length], line }),
        }
        at += length;
    }
    found
}

/// Whether a token is a name or a key word.
pub fn is_name(token: &Token<'_>) -> bool {
    token.text.as_bytes().first().is_some_and(|&byte| is_word(byte) && !byte.is_ascii_digit())
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |length| at + length)
}

/// End of a block comment; they nest.
fn block_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0;
    let mut at = start;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

/// Index of the quote that closes a plain string whose text begins at `at`; the quote itself stays visible.
fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// A string with a prefix at `at` (`r"`, `r#"`, `b"`, `br"`, `c"`, `cr#"`): length of its opening, and its end.
fn raw_string(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let letters = bytes[at..].iter().take_while(|&&byte| matches!(byte, b'r' | b'b' | b'c')).count();
    let raw = bytes[at + letters - 1] == b'r';
    let hashes = bytes[at + letters..].iter().take_while(|&&byte| byte == b'#').count();
    let open = letters + hashes + 1;
    if letters > 2 || bytes.get(at + open - 1) != Some(&b'"') || (hashes > 0 && !raw) {
        return None;
    }
    if !raw {
        return Some((open, string_end(bytes, at + open)));
    }
    let mut close = vec![b'#'; hashes + 1];
    close[0] = b'"';
    let body = &bytes[at + open..];
    let length = body.windows(close.len()).position(|window| window == close).unwrap_or(body.len());
    Some((open, (at + open + length + close.len()).min(bytes.len())))
}

/// End of a character literal at `at`, or `None` for a lifetime.
fn char_end(bytes: &[u8], at: usize) -> Option<usize> {
    let first = *bytes.get(at + 1)?;
    if first == b'\\' {
        let close = bytes[at + 3..].iter().position(|&byte| byte == b'\'')?;
        return Some(at + 3 + close + 1);
    }
    let width = match first {
        0..0x80 => 1,
        0xC0..0xE0 => 2,
        0xE0..0xF0 => 3,
        _ => 4,
    };
    (bytes.get(at + 1 + width) == Some(&b'\'')).then_some(at + width + 2)
}
