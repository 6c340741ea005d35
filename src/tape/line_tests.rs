//! Tables and random walks for the lines of recordings: every byte, every place in a page, every page of a write.

use super::*;

/// What a JavaScript engine makes of a file: the elements of its array, or `None` where it sees an error.
fn read(file: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut rest = file.strip_prefix(HEADER)?;
    let mut elements = Vec::new();
    // Where an element may come, behind one, and behind the array.
    let (mut wanted, mut done) = (true, false);
    while let Some((&first, behind)) = rest.split_first() {
        match first {
            b'\n' | b' ' => rest = behind,
            b'/' if behind.first() == Some(&b'/') => {
                let end = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
                rest = &rest[end..];
            }
            b'/' if behind.first() == Some(&b'*') => {
                let end = rest[2..].windows(2).position(|two| two == b"*/")?;
                rest = &rest[end + 4..];
            }
            b'\'' if wanted && !done => {
                let (element, behind) = string(behind)?;
                elements.push(element);
                (rest, wanted) = (behind, false);
            }
            b',' if !wanted && !done => (rest, wanted) = (behind, true),
            b']' if !done => (rest, done) = (behind, true),
            b';' if done => rest = behind,
            _ => return None,
        }
    }
    done.then_some(elements)
}

/// The inside of a string, and what comes behind its end.
fn string(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut inside = Vec::new();
    loop {
        match rest {
            [b'\'', behind @ ..] => return Some((inside, behind)),
            [b'\\', b'x', high, low, behind @ ..] => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).ok()?;
                inside.push(u8::from_str_radix(digits, 16).ok()?);
                rest = behind;
            }
            [b'\\', code, behind @ ..] => {
                inside.push(match code {
                    b't' => b'\t',
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b'\\' | b'\'' => *code,
                    _ => return None,
                });
                rest = behind;
            }
            [byte @ b' '..=b'~', behind @ ..] => {
                inside.push(*byte);
                rest = behind;
            }
            _ => return None,
        }
    }
}

/// A file whose writes can be watched page by page.
struct File {
    bytes: Vec<u8>,
    end: u64,
    line: Line,
    /// Pages that can still be written; then there is no room.
    room: usize,
}

impl File {
    fn new() -> File {
        let bytes = [HEADER, TERMINATOR].concat();
        File { end: HEADER.len() as u64, bytes, line: Line::default(), room: usize::MAX }
    }

    /// Writes the line that was made, and looks at the file behind every page.
    fn put(&mut self, mut look: impl FnMut(&[u8])) -> Result<(), ()> {
        let (bytes, room) = (&mut self.bytes, &mut self.room);
        let put = self.line.put(|at, text| {
            let mut at = at as usize;
            let mut text = text;
            while !text.is_empty() {
                *room = room.checked_sub(1).ok_or(())?;
                let now = text.len().min(PAGE as usize - at % PAGE as usize);
                bytes.resize(bytes.len().max(at + now), 0);
                bytes[at..at + now].copy_from_slice(&text[..now]);
                look(bytes);
                (at, text) = (at + now, &text[now..]);
            }
            Ok(())
        });
        match put {
            Ok(()) => self.end += self.line.size(),
            Err(()) => {
                let bytes = std::cell::RefCell::new(&mut self.bytes);
                mend(
                    self.end,
                    |len| {
                        bytes.borrow_mut().truncate(len as usize);
                        look(&bytes.borrow());
                        Ok::<(), ()>(())
                    },
                    |at, text| {
                        bytes.borrow_mut()[at as usize..][..text.len()].copy_from_slice(text);
                        Ok(())
                    },
                )
                .unwrap();
            }
        }
        put
    }
}

/// Elements without zeros in front of their times, which count for nothing.
fn plain(mut elements: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    for element in &mut elements {
        let zeros = element.iter().skip(1).take_while(|byte| **byte == b'0').count();
        let more = element.get(1 + zeros).is_some_and(u8::is_ascii_digit);
        element.drain(1..1 + if more { zeros } else { zeros.saturating_sub(1) });
    }
    elements
}

/// Whether these are the elements that are wanted, with the last but for the end cut somewhere.
fn is_between(read: &[Vec<u8>], wanted: &[Vec<u8>]) -> bool {
    let (Some((end, read)), Some((wanted_end, wanted))) = (read.split_last(), wanted.split_last()) else {
        return false;
    };
    end == wanted_end && read.len() == wanted.len() && read[..read.len() - 1] == wanted[..wanted.len() - 1]
}

fn whole(line: &mut Line) -> String {
    let mut all = Vec::new();
    line.put(|_, text| {
        all.extend_from_slice(text);
        Ok::<(), ()>(())
    })
    .unwrap();
    String::from_utf8(all).unwrap()
}

#[test]
fn entries_are_written_as_websockify_writes_them() {
    let mut line = Line::default();
    let all: Vec<u8> = (0..=255).collect();
    let escaped: String = all
        .iter()
        .map(|byte| match byte {
            b'\t' => "\\t".into(),
            b'\n' => "\\n".into(),
            b'\r' => "\\r".into(),
            b'\'' => "\\'".into(),
            b'\\' => "\\\\".into(),
            0x20..=0x7e => char::from(*byte).to_string(),
            _ => format!("\\x{byte:02x}"),
        })
        .collect();
    for (from, millis, payload, expected) in [
        (From::Target, 7, &b"RFB 003.008\n"[..], "'{7{RFB 003.008\\n',\n".to_owned()),
        (From::Client, 403, b"a'b\\c", "'}403}a\\'b\\\\c',\n".into()),
        (From::Client, 304, b"", "'}304}',\n".into()),
        (From::Target, 0, b"{<\x7f\x80\xff\0", "'{0{{<\\x7f\\x80\\xff\\x00',\n".into()),
        (From::Target, 1, &all, format!("'{{1{{{escaped}',\n")),
    ] {
        line.entry(HEADER.len() as u64, from, millis, payload);
        assert_eq!(whole(&mut line), format!("{expected}'EOF'];\n"));
    }
    line.comment(23, &loss(0, 5));
    let expected =
        "/* lost here, as they could not be written in time: 5 bytes from the target */\n'EOF'];\n";
    assert_eq!(whole(&mut line), expected);
}

/// Lines of every length near one and two pages, at every place of a page, with bytes that are escaped and bytes that are
/// not: whatever page is the last that was written, the file is whole, and has what it had.
#[test]
fn a_kill_between_any_two_pages_leaves_a_whole_file() {
    let mut seed = 1_u64;
    let mut dice = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut file = File::new();
    let mut expected: Vec<Vec<u8>> = vec![b"EOF".to_vec()];
    let mut pages = 0;
    for round in 0..2_500_u64 {
        let before = expected.clone();
        if round % 17 == 0 {
            file.line.comment(file.end, &loss(dice(1000), dice(1_000_000)));
        } else {
            let len = [dice(8), dice(100), dice(5_000), dice(12_000)][dice(4) as usize];
            let payload: Vec<u8> = (0..len).map(|_| b"\\'a\x00\xff{/*]"[dice(9) as usize]).collect();
            let (from, mark) = if dice(2) == 0 { (From::Client, '}') } else { (From::Target, '{') };
            let millis = round / 3;
            file.line.entry(file.end, from, millis, &payload);
            let text = [format!("{mark}{millis}{mark}").as_bytes(), &payload].concat();
            expected.insert(expected.len() - 1, text);
        }
        let put = file.put(|bytes| {
            let read = read(bytes).unwrap_or_else(|| panic!("round {round}: not whole"));
            pages += 1;
            let read = plain(read);
            assert!(read == before || read == expected || is_between(&read, &expected), "round {round}");
        });
        put.unwrap();
        assert!(plain(read(&file.bytes).unwrap()) == expected, "round {round}");
        assert!(file.bytes.ends_with(b"\n'EOF'];\n"), "round {round}");
        assert_eq!(file.bytes.len() as u64, file.end + TERMINATOR.len() as u64);
        // Reading all of a long file behind each page takes long.
        if file.bytes.len() > 24_000 {
            (file, expected) = (File::new(), vec![b"EOF".to_vec()]);
        }
    }
    assert!(pages > 4_000, "{pages}");
}

#[test]
fn a_write_without_room_leaves_what_was_there() {
    for room in 0..6 {
        let mut file = File::new();
        file.line.entry(file.end, From::Target, 1, &[b'a'; 4000]);
        file.put(|_| {}).unwrap();
        let before = file.bytes.clone();
        file.line.entry(file.end, From::Target, 2, &[0xff; 4000]);
        file.room = room;
        let put = file.put(|bytes| assert!(read(bytes).is_some()));
        assert_eq!((put, file.bytes == before), (Err(()), true), "room for {room} pages");
    }
}

#[test]
fn no_terminator_crosses_a_page() {
    let mut line = Line::default();
    for len in 3_900..4_200 {
        line.entry(23, From::Client, 5, &vec![b'x'; len]);
        let terminator = 23 + line.size();
        assert!(!crosses(terminator), "{len}");
        line.comment(23, &"x".repeat(len));
        assert!(!crosses(23 + line.size()), "{len}");
    }
}
