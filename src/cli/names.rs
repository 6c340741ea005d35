//! From what the user typed to an option: exact names, unambiguous prefixes, and names that only websockify has.
//!
//! Scripts abbreviate (`--verb`, `--heart=5`). So that a new option never takes an abbreviation away from them, a prefix
//! that fits exactly one of websockify's options means that one, whatever else it would fit.

use super::option::Opt;
use super::table::TABLE;

/// Every long option of websockify 0.13; a test holds the table to having them all.
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

/// Finds the option that a long name, without its dashes, stands for.
///
/// # Errors
/// The message, if there is none or there are several.
pub fn long(typed: &str) -> Result<&'static Opt, String> {
    if let Some(exact) = row(typed) {
        return Ok(exact);
    }
    let fits = |name: &&str| name.starts_with(typed);
    let theirs: Vec<_> = WEBSOCKIFY.into_iter().filter(fits).collect();
    if let [only] = theirs[..] {
        return row(only).ok_or_else(|| unknown(typed));
    }
    let mut all: Vec<_> = TABLE.iter().map(|opt| opt.long).filter(fits).collect();
    all.sort_unstable();
    match all[..] {
        [] => Err(unknown(typed)),
        [only] => row(only).ok_or_else(|| unknown(typed)),
        _ => Err(format!("ambiguous option: --{typed} (--{}?)", all.join(", --"))),
    }
}

/// Finds the option that a short name stands for.
///
/// # Errors
/// The message, if there is none.
pub fn short(typed: char) -> Result<&'static Opt, String> {
    let row = TABLE.iter().find(|opt| opt.short == Some(typed));
    row.ok_or_else(|| format!("no such option: -{}", printable(typed.encode_utf8(&mut [0; 4]))))
}

fn row(name: &str) -> Option<&'static Opt> {
    TABLE.iter().find(|opt| opt.long == name)
}

fn unknown(typed: &str) -> String {
    format!("no such option: --{}", printable(typed))
}

/// Names are shown as typed, but never move the cursor of a terminal.
fn printable(typed: &str) -> String {
    let mut out = String::new();
    for c in typed.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_of_websockify_is_there_by_each_prefix_that_it_has_there() {
        for name in WEBSOCKIFY {
            assert!(row(name).is_some(), "--{name}");
            for typed in (1..=name.len()).map(|len| &name[..len]) {
                let theirs = WEBSOCKIFY.iter().filter(|other| other.starts_with(typed)).count();
                if theirs == 1 || WEBSOCKIFY.contains(&typed) {
                    assert!(long(typed).is_ok(), "--{typed} for --{name}");
                } else {
                    assert!(long(typed).is_err_and(|why| why.starts_with("ambiguous")), "--{typed}");
                }
            }
        }
    }
}
