//! From what the user typed to an option: exact names, unambiguous prefixes, and names that only websockify has.
//!
//! Scripts abbreviate (`--verb`, `--heart=5`). So that a new option never takes an abbreviation away from them, a prefix
//! that fits exactly one of websockify's options means that one, whatever else it would fit.

use super::option::Opt;
use super::table::TABLE;

/// Every long option of websockify 0.13. The ones that the table lacks are refused with a sentence of their own.
const WEBSOCKIFY: [&str; 37] = [
    "auth-plugin",
    "auth-source",
    "cafile",
    "cert",
    "daemon",
    "file-only",
    "heartbeat",
    "help",
    "host-token",
    "idle-timeout",
    "inetd",
    "key",
    "key-password",
    "legacy-syslog",
    "libserver",
    "log-file",
    "prefer-ipv6",
    "record",
    "run-once",
    "ssl-ciphers",
    "ssl-only",
    "ssl-target",
    "ssl-version",
    "syslog",
    "target-config",
    "timeout",
    "token-plugin",
    "token-source",
    "traffic",
    "unix-listen",
    "unix-listen-mode",
    "unix-target",
    "verbose",
    "verify-client",
    "web",
    "web-auth",
    "wrap-mode",
];

/// Every short option of websockify that the table lacks.
const WEBSOCKIFY_SHORT: [char; 1] = ['D'];

/// Finds the option that a long name, without its dashes, stands for.
///
/// # Errors
/// The message, if there is none or there are several.
pub fn long(typed: &str) -> Result<&'static Opt, String> {
    if is_name(typed) {
        return known(typed, typed);
    }
    let theirs: Vec<_> = WEBSOCKIFY.into_iter().filter(|name| name.starts_with(typed)).collect();
    if let [only] = theirs[..] {
        return known(only, typed);
    }
    let mut all: Vec<_> = TABLE.iter().map(|opt| opt.long).filter(|name| name.starts_with(typed)).collect();
    all.extend(theirs);
    all.sort_unstable();
    all.dedup();
    match all[..] {
        [] => Err(format!("no such option: --{}", printable(typed))),
        [only] => known(only, typed),
        _ => Err(format!("ambiguous option: --{typed} (--{}?)", all.join(", --"))),
    }
}

/// Finds the option that a short name stands for.
///
/// # Errors
/// The message, if there is none.
pub fn short(typed: char) -> Result<&'static Opt, String> {
    TABLE.iter().find(|opt| opt.short == Some(typed)).ok_or_else(|| {
        let why =
            if WEBSOCKIFY_SHORT.contains(&typed) { unsupported(&format!("-{typed}")) } else { String::new() };
        format!("no such option: -{}{why}", printable(typed.encode_utf8(&mut [0; 4])))
    })
}

fn is_name(typed: &str) -> bool {
    WEBSOCKIFY.contains(&typed) || TABLE.iter().any(|opt| opt.long == typed)
}

/// The row of a full name, which is in the table or only in websockify.
fn known(name: &str, typed: &str) -> Result<&'static Opt, String> {
    TABLE
        .iter()
        .find(|opt| opt.long == name)
        .ok_or_else(|| format!("no such option: --{typed}{}", unsupported(&format!("--{name}"))))
}

fn unsupported(name: &str) -> String {
    format!(" ({name}: not supported by this version)")
}

/// Names are shown as typed, but never move the cursor of a terminal.
fn printable(typed: &str) -> String {
    let mut out = String::new();
    for c in typed.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}
