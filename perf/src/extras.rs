//! Peers that the project does not install: those known to be there sometimes, and those that the user tells.
//!
//! Words in, templates out. It looks into PATH and never starts anything.

use crate::peers::found_in_path;

/// Bridges that are measured where they are found in PATH.
const KNOWN: [&str; 2] = [
    "websocksy=websocksy -l 127.0.0.1 -p {port} -c host=tcp://{target} -c framing=binary",
    "go-websockify/ws=go-websockify --bind-addr {listen} --remote-addr {target}",
];
/// What a name says in front of it when its clients speak bare TCP.
const TCP: &str = "tcp:";

/// A peer told by a template.
#[derive(Debug, PartialEq, Eq)]
pub struct Extra {
    /// How it is named.
    pub name: &'static str,
    /// What WebSocket clients ask for; `None` if its clients speak bare TCP.
    pub path: Option<&'static str>,
    /// The program and its arguments.
    pub words: Vec<String>,
}

impl Extra {
    /// Reads `[tcp:]name[/path]=program argument...`, where `{listen}` and `{target}` are addresses with ports, and `{port}` and
    /// `{target_port}` the ports alone; all of 127.0.0.1.
    ///
    /// # Errors
    /// What is wrong with the words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let told = |why: &str| {
            format!("peer '{text}': {why}; it is told as name=command with {{listen}} and {{target}}")
        };
        let (name, command) = text.split_once('=').ok_or_else(|| told("no '='"))?;
        let (tcp, name) = name.trim().strip_prefix(TCP).map_or((false, name.trim()), |name| (true, name));
        let (name, path) = name.split_once('/').unwrap_or((name, "websockify"));
        let legal = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        if name.is_empty() || !name.chars().all(legal) {
            return Err(told("a name has letters, digits, '-', '_' and '.'"));
        }
        let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        if words.is_empty() {
            return Err(told("no command"));
        }
        let says = |word: &str| command.contains(word);
        if !says("{listen}") && !says("{port}") || !says("{target}") && !says("{target_port}") {
            return Err(told("the command does not say where to listen and where to relay to"));
        }
        // Names live as long as the run, like those of all peers.
        let path = (!tcp).then(|| &*format!("/{path}").leak());
        Ok(Self { name: name.to_owned().leak(), path, words })
    }

    /// The arguments, with ports put in.
    pub fn arguments(&self, port: u16, target: u16) -> Vec<String> {
        let put = |word: &String| {
            word.replace("{listen}", &format!("127.0.0.1:{port}"))
                .replace("{target}", &format!("127.0.0.1:{target}"))
                .replace("{port}", &port.to_string())
                .replace("{target_port}", &target.to_string())
        };
        self.words[1..].iter().map(put).collect()
    }
}

/// Those of `told`, separated by semicolons, and the known ones that are in PATH and not told otherwise.
pub fn all(told: &str) -> Result<Vec<&'static Extra>, String> {
    let mut all = Vec::new();
    for text in told.split(';').map(str::trim).filter(|text| !text.is_empty()) {
        all.push(Extra::parse(text)?);
    }
    for text in KNOWN {
        let known = Extra::parse(text)?;
        if found_in_path(&known.words[0]).exists() && all.iter().all(|extra| extra.name != known.name) {
            all.push(known);
        }
    }
    Ok(all.into_iter().map(|extra| &*Box::leak(Box::new(extra))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_taken_apart_and_filled() {
        let extra = Extra::parse("bridge/ws=/opt/bridge --on {listen} --to {target} -p {port}:{target_port}")
            .expect("legal");
        assert_eq!((extra.name, extra.path, extra.words[0].as_str()), ("bridge", Some("/ws"), "/opt/bridge"));
        let filled = ["--on", "127.0.0.1:1", "--to", "127.0.0.1:2", "-p", "1:2"];
        assert_eq!(extra.arguments(1, 2), filled);
        assert_eq!(Extra::parse("tcp:relay=r {port} {target}").expect("legal").path, None);
        assert_eq!(Extra::parse("x=r {port} {target}").expect("legal").path, Some("/websockify"));
    }

    #[test]
    fn what_cannot_be_a_template_is_refused() {
        for bad in [
            "bridge",
            "=x {listen} {target}",
            "a b=x {listen} {target}",
            "x=",
            "x=prog {listen}",
            "x=prog {target}",
        ] {
            assert!(Extra::parse(bad).is_err(), "{bad}");
        }
        let told = all("one=a {listen} {target}; tcp:two=b {port} {target} ;").expect("legal");
        assert_eq!(told.iter().take(2).map(|extra| extra.name).collect::<Vec<_>>(), ["one", "two"]);
    }

    #[test]
    fn known_ones_are_legal() {
        assert!(KNOWN.iter().all(|text| Extra::parse(text).is_ok()));
    }
}
