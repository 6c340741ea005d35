//! What a warden says to its server and the server to it: one line each over a socket pair. Pure.

use std::fmt;

/// A line from a warden.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The trial: binds can be moved.
    Able {
        /// At the price that nothing in the tree can gain privileges.
        no_new_privs: bool,
    },
    /// The trial: they cannot, for this reason.
    Unable(String),
    /// The program runs.
    Started(u32),
    /// It cannot be started, for this reason.
    Failed(String),
    /// It has ended.
    Ended(Exit),
    /// Worth a line of the log for whoever looks for something.
    Note(String),
    /// Worth a warning.
    Warning(String),
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Exit {
    /// The status with which a shell would pass it on: 128 and the number of a signal.
    pub fn status(self) -> u8 {
        let status = match self {
            Exit::Code(code) => code & 0xff,
            Exit::Signal(number) => (128 + number).min(255),
        };
        u8::try_from(status).unwrap_or(u8::MAX)
    }
}

impl fmt::Display for Exit {
    /// As Python writes it: a signal is a negative number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "{code}"),
            Exit::Signal(number) => write!(f, "-{number}"),
        }
    }
}

impl Said {
    /// As a line, its end included.
    pub fn line(&self) -> String {
        let (word, rest) = match self {
            Said::Able { no_new_privs } => ("able", u8::from(*no_new_privs).to_string()),
            Said::Unable(why) => ("unable", why.clone()),
            Said::Started(process) => ("started", process.to_string()),
            Said::Failed(why) => ("failed", why.clone()),
            Said::Ended(exit) => ("ended", exit.to_string()),
            Said::Note(text) => ("note", text.clone()),
            Said::Warning(text) => ("warning", text.clone()),
        };
        format!("{word} {}\n", rest.replace('\n', " "))
    }

    /// Reads a line without its end; `None` if it is nothing that a warden says.
    pub fn parse(line: &str) -> Option<Said> {
        let (word, rest) = line.split_once(' ')?;
        let text = || rest.to_owned();
        Some(match word {
            "able" => Said::Able { no_new_privs: rest == "1" },
            "unable" => Said::Unable(text()),
            "started" => Said::Started(rest.parse().ok()?),
            "failed" => Said::Failed(text()),
            "ended" => Said::Ended(match rest.strip_prefix('-') {
                Some(number) => Exit::Signal(number.parse::<u8>().ok()?.into()),
                None => Exit::Code(rest.parse::<u8>().ok()?.into()),
            }),
            "note" => Said::Note(text()),
            "warning" => Said::Warning(text()),
            _ => return None,
        })
    }
}

/// The server's only word: end the tree, and kill what is left after so many milliseconds.
pub fn stop_line(grace_ms: u64) -> String {
    format!("stop {grace_ms}\n")
}

/// Takes every whole [`stop_line`] out of what was `heard`; the most urgent counts. Two that follow each other closely come
/// together.
pub fn take_stops(heard: &mut Vec<u8>) -> Option<u64> {
    let end = heard.iter().rposition(|byte| *byte == b'\n')?;
    let lines: Vec<u8> = heard.drain(..=end).collect();
    let said = |line: &[u8]| std::str::from_utf8(line).ok()?.strip_prefix("stop ")?.parse().ok();
    lines.split(|byte| *byte == b'\n').filter_map(said).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_written_is_read_the_same() {
        let rows = [
            (Said::Able { no_new_privs: true }, "able 1\n"),
            (Said::Able { no_new_privs: false }, "able 0\n"),
            (Said::Unable("seccomp: EBUSY".into()), "unable seccomp: EBUSY\n"),
            (Said::Started(7), "started 7\n"),
            (Said::Failed("x: no such file".into()), "failed x: no such file\n"),
            (Said::Ended(Exit::Code(3)), "ended 3\n"),
            (Said::Ended(Exit::Signal(9)), "ended -9\n"),
            (Said::Note("".into()), "note \n"),
            (Said::Warning("w".into()), "warning w\n"),
        ];
        for (said, line) in rows {
            assert_eq!(said.line(), line);
            assert_eq!(Said::parse(line.trim_end_matches('\n')), Some(said));
        }
        assert_eq!(Said::Note("a\nended 0".into()).line(), "note a ended 0\n");
        for nonsense in ["", "able", "started x", "ended --1", "gone 1"] {
            assert_eq!(Said::parse(nonsense), None, "{nonsense:?}");
        }
    }

    #[test]
    fn all_that_was_heard_is_taken() {
        let mut heard = Vec::new();
        let mut hear = |text: &str| {
            heard.extend_from_slice(text.as_bytes());
            (take_stops(&mut heard), String::from_utf8(heard.clone()).unwrap())
        };
        for (text, urgent, left) in [
            (stop_line(250).as_str(), Some(250), ""),
            ("sto", None, "sto"),
            ("p 7", None, "stop 7"),
            ("0\nstop 0\nst", Some(0), "st"),
            ("op 5\nstop\nstop -1\ngo 1\n\n", Some(5), ""),
            ("stop x\n", None, ""),
        ] {
            assert_eq!(hear(text), (urgent, left.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn statuses_are_passed_on_as_shells_do() {
        for (exit, status) in [
            (Exit::Code(0), 0),
            (Exit::Code(3), 3),
            (Exit::Code(255), 255),
            (Exit::Signal(9), 137),
            (Exit::Signal(15), 143),
        ] {
            assert_eq!(exit.status(), status, "{exit}");
        }
    }
}
