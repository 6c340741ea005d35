//! What a source says a token leads to: words, pairs and JSON become targets. Pure.
//!
//! All sources share one grammar, kinder than websockify's: blanks around are nothing, IPv6 addresses may have brackets or
//! not, and `unix_socket` in place of a host is followed by the path of a socket. `unix:` in front of an absolute path or an
//! abstract name means the same, and cannot be taken for a host, for no port begins like that.

use crate::limits::SOCKET_PATH_BYTES_MAX;
use crate::target::{self, Port, Target};
use serde_json::{Map, Value};
use std::os::unix::ffi::OsStrExt;

/// In place of a host: the rest is the path of a Unix socket.
const UNIX: &str = "unix_socket";

/// The same in a word, where more than a name follows.
const UNIX_SHORT: &str = "unix:";

/// What some systems put in front of a text to say that it is UTF-8.
const MARK: &str = "\u{feff}";

/// `host:port`, split at the last colon, or `unix_socket:/path`, or `unix:/path`.
pub fn word(text: &str) -> Option<Target> {
    let text = text.trim_start_matches(MARK).trim();
    let short = || text.strip_prefix(UNIX_SHORT).filter(|path| path.trim_start().starts_with(['/', '@']));
    match text.strip_prefix(UNIX).and_then(|rest| rest.strip_prefix(':')).or_else(short) {
        Some(path) => socket(path),
        None => {
            let (host, port) = text.rsplit_once(':')?;
            tcp(host, port)
        }
    }
}

/// Host and port apart.
pub fn pair(host: &str, port: &str) -> Option<Target> {
    match host.trim() {
        UNIX => socket(port),
        host => tcp(host, port),
    }
}

/// A JSON object with `host` and `port`, the latter a number or a string.
pub fn object(object: &Map<String, Value>) -> Option<Target> {
    let host = object.get("host")?.as_str()?;
    match object.get("port")? {
        Value::String(port) => pair(host, port),
        Value::Number(port) => pair(host, &port.as_u64()?.to_string()),
        _ => None,
    }
}

/// The text of such an object.
pub fn json(text: &[u8]) -> Option<Target> {
    object(&serde_json::from_slice(text.strip_prefix(MARK.as_bytes()).unwrap_or(text)).ok()?)
}

/// What Redis keeps: `host:port`, or a JSON object whose `host` is that.
pub fn value(text: &str) -> Option<Target> {
    let text = text.trim();
    if !text.starts_with('{') {
        return word(text);
    }
    let object: Map<String, Value> = serde_json::from_str(text).ok()?;
    match object.get("port") {
        Some(_) => self::object(&object),
        None => word(object.get("host")?.as_str()?),
    }
}

fn tcp(host: &str, port: &str) -> Option<Target> {
    let host = host.trim();
    let bare = match host.strip_prefix('[') {
        Some(literal) => literal.strip_suffix(']')?,
        None => host,
    };
    let port = Port::parse(port.trim()).ok()?;
    let plausible = target::plausible_host(bare) && !bare.contains(['/', '[', ']', '@']);
    plausible.then(|| Target::Tcp { host: bare.to_owned(), port })
}

fn socket(path: &str) -> Option<Target> {
    let target = Target::parse_unix(path.trim().as_ref())?;
    let (Target::Unix(name), false) = (&target, path.contains('\0')) else {
        return Some(target).filter(|target| matches!(target, Target::Abstract(_)));
    };
    (name.as_os_str().as_bytes().len() <= SOCKET_PATH_BYTES_MAX).then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(target: Option<Target>) -> String {
        target.map_or_else(|| "-".into(), |target| target.to_string())
    }

    #[test]
    fn words() {
        for (text, expected) in [
            ("host:1", "host:1"),
            (" host:1\r\n", "host:1"),
            ("\u{feff}host:1\r\n", "host:1"),
            ("host : 1", "host:1"),
            (":1", ":1"),
            ("::1:5900", "[::1]:5900"),
            ("[::1]:5900", "[::1]:5900"),
            ("[fe80::1%eth0]:1", "[fe80::1%eth0]:1"),
            ("host:vnc", "host:vnc"),
            ("unix_socket:/run/x y", "/run/x y"),
            ("unix_socket: /run/x:1", "/run/x:1"),
            ("unix_socket:@x", "@x"),
            ("unix:/run/x:1", "/run/x:1"),
            ("unix: /run/x", "/run/x"),
            ("unix:@x", "@x"),
            ("unix:5900", "unix:5900"),
            ("unix:run/x", "-"),
            ("unix:", "-"),
            ("unix_socket:", "-"),
            ("unix_socket", "-"),
            ("host", "-"),
            ("host:", "-"),
            ("host:65536", "-"),
            ("[::1:5900", "-"),
            ("::1]:5900", "-"),
            ("a:b:1", "-"),
            ("echo://", "-"),
            ("http://h:1", "-"),
            ("u@h:1", "-"),
            ("a b:1", "-"),
            ("", "-"),
        ] {
            assert_eq!(shown(word(text)), expected, "{text:?}");
        }
        assert_eq!(word(&format!("unix_socket:/{}", "x".repeat(SOCKET_PATH_BYTES_MAX))), None);
    }

    #[test]
    fn objects() {
        for (text, expected) in [
            (r#"{"host":"h","port":1}"#, "h:1"),
            (r#"{"host":"::1","port":"5900","more":[]}"#, "[::1]:5900"),
            (r#"{"host":"unix_socket","port":"/run/x"}"#, "/run/x"),
            (r#"{"host":"h","port":1.5}"#, "-"),
            (r#"{"host":"h","port":-1}"#, "-"),
            (r#"{"host":"h","port":65536}"#, "-"),
            (r#"{"host":"h","port":null}"#, "-"),
            (r#"{"host":1,"port":1}"#, "-"),
            (r#"{"host":"h"}"#, "-"),
            (r#"["h",1]"#, "-"),
            ("h:1", "-"),
            ("", "-"),
        ] {
            assert_eq!(shown(json(text.as_bytes())), expected, "{text}");
        }
        assert_eq!(json(b"{\"host\":\"\xff\",\"port\":1}"), None);
    }

    #[test]
    fn values() {
        for (text, expected) in [
            ("h:1\n", "h:1"),
            (r#" {"host":"h:1"}"#, "h:1"),
            (r#"{"host":"unix_socket:/x"}"#, "/x"),
            (r#"{"host":"h","port":2}"#, "h:2"),
            (r#"{"host":"h"}"#, "-"),
            (r#"{"h":1}"#, "-"),
            ("{", "-"),
            ("h", "-"),
        ] {
            assert_eq!(shown(value(text)), expected, "{text}");
        }
    }
}
