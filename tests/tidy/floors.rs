//! The floor rule: finds every path from one room into another and asks the table whether it leads down.
//!
//! Reads `use` trees and paths written out in code, test modules included, and resolves `crate`, `self`, `super` and child
//! modules. It never follows re-exports: a path counts as what it says.

use crate::scan::{Token, code_only, is_name, tokens};

/// One row of the floor table. Rows are written from the ground up.
pub struct Row {
    /// The floor's number, as in the documentation of the library.
    pub floor: u8,
    /// Rooms of one floor see lower rows of the same wing only.
    pub wing: &'static str,
    /// Module paths; the longest that fits a module is its room.
    pub rooms: &'static [&'static str],
}

/// A path from a room that the table does not allow.
#[derive(Debug)]
pub struct Edge {
    pub line: usize,
    pub why: String,
}

/// The module a file is, as a path from the root of the crate; empty for `lib.rs`.
pub fn module_of(file: &str) -> Vec<String> {
    let inside = file.trim_start_matches("src/").trim_end_matches(".rs");
    let mut path: Vec<String> = inside.split('/').map(str::to_owned).collect();
    if path.last().is_some_and(|last| last == "mod" || last == "lib") {
        path.pop();
    }
    path
}

/// Row and name of the room that a module path belongs to.
pub fn room_of(table: &'static [Row], path: &[String]) -> Option<(usize, &'static str)> {
    let belongs = |room: &str| {
        let parts: Vec<&str> = room.split("::").collect();
        path.len() >= parts.len() && path.iter().zip(&parts).all(|(have, want)| have == want)
    };
    let rooms =
        table.iter().enumerate().flat_map(|(row, entry)| entry.rooms.iter().map(move |room| (row, *room)));
    rooms.filter(|(_, room)| belongs(room)).max_by_key(|(_, room)| room.len())
}

/// Every edge of one file that does not lead down.
pub fn bad_edges(table: &'static [Row], file: &str, source: &str) -> Vec<Edge> {
    let module = module_of(file);
    if module.is_empty() {
        return Vec::new();
    }
    let Some(home) = room_of(table, &module) else {
        return vec![Edge {
            line: 1,
            why: format!("{} is in no room of the floor table", module.join("::")),
        }];
    };
    let code = code_only(source);
    let mut edges = Vec::new();
    for (line, path) in Reader::new(&tokens(&code), module).paths() {
        match room_of(table, &path) {
            None => edges.push(Edge { line, why: format!("`crate::{}` is no room", path.join("::")) }),
            Some(there) if allowed(table, home, there) => {}
            Some(there) => edges.push(Edge {
                line,
                why: format!(
                    "{} (floor {}) may not see {} (floor {})",
                    home.1, table[home.0].floor, there.1, table[there.0].floor
                ),
            }),
        }
    }
    edges
}

fn allowed(table: &[Row], home: (usize, &str), there: (usize, &str)) -> bool {
    let (from, to) = (&table[home.0], &table[there.0]);
    home.1 == there.1
        || to.floor < from.floor
        || (to.floor == from.floor && there.0 < home.0 && to.wing == from.wing)
}

/// Walks the tokens of one file and collects paths that stay in this crate, made absolute.
struct Reader<'a> {
    tokens: &'a [Token<'a>],
    at: usize,
    module: Vec<String>,
    /// Brace depth at which each inline module was opened.
    inline: Vec<usize>,
    depth: usize,
    children: Vec<String>,
    found: Vec<(usize, Vec<String>)>,
}

impl<'a> Reader<'a> {
    fn new(tokens: &'a [Token<'a>], module: Vec<String>) -> Self {
        let children = tokens.windows(3).filter(|three| three[0].text == "mod" && three[2].text == ";");
        let children = children.map(|three| three[1].text.to_owned()).collect();
        Reader { tokens, at: 0, module, inline: Vec::new(), depth: 0, children, found: Vec::new() }
    }

    fn text(&self, ahead: usize) -> &'a str {
        self.tokens.get(self.at + ahead).map_or("", |token| token.text)
    }

    fn paths(mut self) -> Vec<(usize, Vec<String>)> {
        while self.at < self.tokens.len() {
            match self.text(0) {
                "{" => self.depth += 1,
                "}" => self.leave_block(),
                "mod" if self.text(2) == "{" => {
                    self.module.push(self.text(1).to_owned());
                    self.inline.push(self.depth);
                    self.at += 1;
                }
                "use" => {
                    self.at += 1;
                    self.tree(Vec::new());
                    continue;
                }
                _ if self.text(1) == "::" && self.heads_here() => {
                    self.tree(Vec::new());
                    continue;
                }
                _ => {}
            }
            self.at += 1;
        }
        self.found
    }

    fn leave_block(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        if self.inline.last() == Some(&self.depth) {
            self.inline.pop();
            self.module.pop();
        }
    }

    /// Whether the current word begins a path of this crate.
    fn heads_here(&self) -> bool {
        let continued = self.at > 0 && self.tokens[self.at - 1].text == "::";
        let word = self.text(0);
        !continued && (matches!(word, "crate" | "self" | "super" | "websplice") || self.is_child(word))
    }

    fn is_child(&self, word: &str) -> bool {
        self.inline.is_empty() && self.children.iter().any(|child| child == word)
    }

    /// Reads one path or use tree from here, with `prefix` in front of it.
    fn tree(&mut self, mut prefix: Vec<&'a str>) {
        let line = self.tokens.get(self.at).map_or(0, |token| token.line);
        loop {
            match self.text(0) {
                "{" => return self.branches(prefix),
                "*" if !prefix.is_empty() => {
                    self.at += 1;
                    break;
                }
                _ if self.tokens.get(self.at).is_some_and(is_name) => {
                    if prefix.is_empty() || self.text(0) != "self" {
                        prefix.push(self.text(0));
                    }
                    self.at += 1;
                }
                _ => break,
            }
            if self.text(0) != "::" || self.text(1) == "<" {
                break;
            }
            self.at += 1;
        }
        self.keep(line, &prefix);
    }

    fn branches(&mut self, prefix: Vec<&'a str>) {
        self.at += 1;
        while self.at < self.tokens.len() && self.text(0) != "}" {
            if self.text(0) == "as" {
                self.at += 2;
            } else if self.text(0) == "," {
                self.at += 1;
            } else {
                let before = self.at;
                self.tree(prefix.clone());
                self.at = self.at.max(before + 1);
            }
        }
        self.at += 1;
    }

    /// Makes a path absolute and keeps it, unless it leads out of this crate.
    fn keep(&mut self, line: usize, path: &[&str]) {
        let Some(&head) = path.first() else { return };
        let mut full = match head {
            "crate" => Vec::new(),
            "websplice" if self.module == ["main"] => Vec::new(),
            "self" | "super" => self.module.clone(),
            word if self.is_child(word) => {
                let mut full = self.module.clone();
                full.push(word.to_owned());
                full
            }
            _ => return,
        };
        for (index, word) in path.iter().enumerate() {
            match *word {
                "super" => drop(full.pop()),
                _ if index > 0 => full.push((*word).to_owned()),
                _ => {}
            }
        }
        self.found.push((line, full));
    }
}
