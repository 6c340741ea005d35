//! The text of token files: lines in, a table of targets out. Pure.
//!
//! `token: host:port` on each line; blank lines and those that begin with `#` mean nothing. The colon behind the token is
//! followed by white space, exactly once in the line; a later line wins over an earlier one. What is no such line is
//! noted by its number, and the others count.

use super::leads;
use super::token::Token;
use crate::target::Target;
use std::collections::HashMap;
use std::sync::Arc;

/// Tokens and what they lead to.
#[derive(Debug, Default)]
pub struct Table {
    targets: HashMap<Box<str>, Arc<Target>>,
    /// Lines that could not be read, counted from 1 over all texts that were added.
    pub faults: Vec<usize>,
    /// Lines of all of them.
    pub lines: usize,
}

impl Table {
    /// Reads one more text. Lines end as those of all systems do, also of those that have nothing but a CR for it.
    pub fn add(&mut self, text: &str) {
        for line in text.lines().flat_map(|line| line.split('\r')) {
            self.lines += 1;
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match entry(line) {
                Some((token, target)) => {
                    self.targets.insert(token.into(), Arc::new(target));
                }
                None => self.faults.push(self.lines),
            }
        }
    }

    /// What `token` leads to. A token that is the name of a host is compared as names are, without regard to case.
    pub fn find(&self, token: &Token, is_host: bool) -> Option<Arc<Target>> {
        let exact = self.targets.get(token.secret());
        let same = || self.targets.iter().find(|(own, _)| own.eq_ignore_ascii_case(token.secret()));
        exact.or_else(|| if is_host { same().map(|(_, target)| target) } else { None }).cloned()
    }
}

fn entry(line: &str) -> Option<(&str, Target)> {
    let is_split = |(at, _): &(usize, &str)| line[at + 1..].starts_with(char::is_whitespace);
    let mut splits = line.match_indices(':').filter(is_split);
    let (Some((at, _)), None) = (splits.next(), splits.next()) else { return None };
    Some((&line[..at], leads::word(&line[at + 1..])?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        let mut table = Table::default();
        table.add(text);
        table
    }

    #[test]
    fn lines() {
        let table = table(
            "# comment: x:1\n\n  # indented\na: h:1\n  b:\th:2  \r\nmy own: ::1:3\nbr: [::1]:4\ns: unix_socket:/x\n\
             a: h:9\ncol:on: h:5\nlast: h:6",
        );
        assert!(table.faults.is_empty(), "{:?}", table.faults);
        for (token, target) in [
            ("a", "h:9"),
            ("b", "h:2"),
            ("my own", "[::1]:3"),
            ("br", "[::1]:4"),
            ("s", "/x"),
            ("col:on", "h:5"),
            ("last", "h:6"),
        ] {
            let found = table.find(&Token::new(token), false);
            assert_eq!(found.map(|target| target.to_string()).as_deref(), Some(target), "{token}");
        }
        for token in ["# comment", "A", " b", "c", ""] {
            assert_eq!(table.find(&Token::new(token), false), None, "{token}");
        }
        assert!(table.find(&Token::new("A"), true).is_some(), "names of hosts have no case");
    }

    #[test]
    fn faults_are_counted_over_all_texts_and_cost_nobody_else() {
        let mut table = table("a:h:1\nb: h: 1\nc: h\nd:\nok: h:1\n");
        table.add("\nnonsense\n");
        assert_eq!(table.faults, [1, 2, 3, 4, 7]);
        table.add("one: h:1\rtwo: h:2\r\nnonsense\r");
        assert_eq!(table.faults, [1, 2, 3, 4, 7, 10]);
        assert!(["one", "two"].iter().all(|token| table.find(&Token::new(*token), false).is_some()));
        assert!(table.find(&Token::new("ok"), false).is_some());
    }

    #[test]
    fn anything_may_stand_in_a_file() {
        for text in ["\u{0}", ":", ": ", ": :", "::", "\u{2028}: x:1", "a:\u{a0}h:1"] {
            table(text);
        }
    }
}
