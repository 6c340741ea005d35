//! The rows of the option table that are about limits of access, and what is settled about them. `table` puts the rows in
//! their place.

use super::option::{Act, Category, Opt, Refusal, Value};
use super::settle::reason;
use super::table::free;
use super::values::{count, text};
use crate::config::{Wrap, says};
use crate::http::host::Name;
use crate::limits::SESSIONS_MAX;
use crate::route::reach::{Reach, Rule};
use crate::sys::address::Address;
use crate::target::{Port, Target};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// A list; the option may be given several times.
const LIST: Value = Value { repeats: true, ..free("LIST") };

pub(super) const ALLOW_TARGET: Opt = Category::Access.row(
    "allow-target",
    "connect to no other targets than these",
    "Clients are carried to targets of this list only, whoever says where to: the command line, a token, a plugin. What counts \
     is the address that is really connected to, when names have been looked up and links followed; a client whose target has \
     none that is on the list gets 403, and nothing is connected to.\n\n\
     Items are separated by commas. 10.0.0.7 or 10.0.0.0/8 are addresses, 10.0.0.0/8:5900-5999 some of their ports, \
     2001:db8::/32 and [2001:db8::/32]:5900 the same of IPv6, :5900-5999 ports of any address; IPv4 written as IPv6 is IPv4. \
     A target 0.0.0.0 or :: counts as the loopback. loopback, link-local and metadata (where clouds known to us tell a machine its keys) stand for networks, \
     with or without ports. A directory, such as /run/desks, is for Unix sockets that really are beneath it; it has to be \
     there when the server starts. @NAME is a socket in the abstract namespace, @ each of them. --echo connects to nothing \
     and needs no item.",
    "(all)",
    "--allow-target=10.1.0.0/16:5900-5999,/run/desks --target-config=/etc/websplice/tokens 6080",
    Act::Take(LIST, |options, value| rules(value, &mut options.reach.allow)),
);

pub(super) const DENY_TARGET: Opt = Category::Access.row(
    "deny-target",
    "connect to none of these targets",
    "The opposite of --allow-target, with the same items; what is on both lists is denied. Where names or tokens lead is not \
     always in the operator's hands: denying loopback, link-local, metadata, the server's own port, here :6080, and Unix \
     sockets, / and @, keeps clients from services that trust this machine. Its other addresses are no part of the loopback: \
     add each, such as 192.0.2.7. A name that leads to several addresses keeps those that are not denied.",
    "(none)",
    "--deny-target=loopback,link-local,metadata,:6080,/,@ --target-config=/etc/websplice/tokens 6080",
    Act::Take(LIST, |options, value| rules(value, &mut options.reach.deny)),
);

pub(super) const ALLOW_HOST: Opt = Category::Access.row(
    "allow-host",
    "answer for these hosts only",
    "A well-formed request whose Host header names none of them, or is not there, gets 421 and nothing else, before any \
     question of access is asked; what is malformed gets its own refusal, such as 400 or 426, and nothing else either: a page of somebody else whose name was made to lead here is refused, though its browser may reach this \
     server. It holds for files and for WebSockets.\n\n\
     Items are separated by commas: gateway.example is that name, *.gateway.example any beneath it, 10.0.0.7 and [::1] are \
     addresses. Large and small letters are the same. With a port, as in gateway.example:6080, only that one counts, without \
     one any does; a request that names no port means 443 with TLS and 80 without. Let those who ask for health by address \
     have an item too.",
    "(all)",
    "--allow-host=gateway.example,*.desk.example 6080 localhost:5901",
    Act::Take(LIST, |options, value| {
        for item in text(value)?.split(',').map(str::trim) {
            let name = Name::parse(item).map_err(|hint| Refusal::Invalid { kind: "list", hint })?;
            options.hosts.0.push(name);
        }
        Ok(())
    }),
);

pub(super) const MAX_PER_SOURCE: Opt = Category::Resources.row(
    "max-per-source",
    "limit of connections of one address; 0: none",
    "Most connections that clients of one address have at the same time, over all threads; of IPv6 a /64 counts as one address. \
     One too many is closed as soon as it is accepted, before TLS and without an answer, so that whoever opens them holds \
     nothing. The log says so, and the report (SIGQUIT) counts them. Everybody behind the same proxy or address translation is \
     one address; clients of --unix-listen have none and are not counted.",
    "0",
    "--max-per-source=50 6080 localhost:5901",
    Act::Take(free("N"), |options, value| {
        let most = count(value, 0..=SESSIONS_MAX)?;
        options.source_sessions_max = (most > 0).then_some(most);
        Ok(())
    }),
);

/// Adds the items of a list.
fn rules(value: &OsStr, rules: &mut Vec<Rule>) -> Result<(), Refusal> {
    for item in text(value)?.split(',').map(str::trim) {
        Rule::read(item, rules).map_err(|hint| Refusal::Invalid { kind: "list", hint })?;
    }
    Ok(())
}

/// Completes what was said about targets; a configured `target` that may never be connected to is a mistake, and so is a
/// wrapped `command` that is moved to a port of the loopback, if no port of it may be.
///
/// # Errors
/// One line for a directory that is not there, and for such a target.
pub(super) fn settle(
    said: &Reach,
    target: Option<&Target>,
    command: Option<&[OsString]>,
) -> Result<Reach, String> {
    let mut reach = said.clone();
    for (option, rules) in [("--allow-target", &mut reach.allow), ("--deny-target", &mut reach.deny)] {
        for rule in rules {
            if let Rule::Beneath(directory) = rule {
                *directory = real(option, directory)?;
            }
        }
    }
    match (target, command) {
        // Which socket that will be is known only where its directory is.
        (Some(Target::Tcp { port: Port::Number(0), .. }), Some(words)) if says(words, Wrap::UNIX_SOCKET) => {}
        (Some(Target::Tcp { port: Port::Number(0), .. }), Some(_)) => {
            let ports = (1..=u16::MAX).flat_map(loopback);
            one_of(&reach, ports, &format_args!(":{}", Wrap::PORT))?;
        }
        (Some(target), _) => judge(&reach, target)?,
        (None, _) => {}
    }
    Ok(reach)
}

/// Judges a target that each client is carried to, as far as its addresses are known without asking anybody.
///
/// # Errors
/// One line if none of them may be connected to.
pub fn judge(reach: &Reach, target: &Target) -> Result<(), String> {
    one_of(reach, addresses(target).into_iter(), target)
}

/// Whether one of these places, if there are any, may be connected to.
fn one_of(
    reach: &Reach,
    places: impl Iterator<Item = Address>,
    target: &dyn fmt::Display,
) -> Result<(), String> {
    let mut barred = None;
    for address in places {
        match reach.judge(&address) {
            Ok(()) => return Ok(()),
            Err(why) => barred = Some(why),
        }
    }
    barred.map_or(Ok(()), |why| {
        Err(format!(
            "{}: refuses the target {target}, so that no client could be carried; change the list, or name another target",
            why.option()
        ))
    })
}

/// The path of a directory without links.
fn real(option: &str, directory: &Path) -> Result<PathBuf, String> {
    let found = directory.canonicalize();
    let found = found.map_err(|error| format!("{option}: {}: {}", directory.display(), reason(&error)))?;
    match found.is_dir() {
        true => Ok(found),
        false => Err(format!("{option}: {}: not a directory; name the one it is in", directory.display())),
    }
}

/// What an empty host means.
fn loopback(port: u16) -> [Address; 2] {
    let at = |ip: IpAddr| Address::Tcp(SocketAddr::new(ip, port));
    [at(Ipv4Addr::LOCALHOST.into()), at(Ipv6Addr::LOCALHOST.into())]
}

/// Where a target is, as far as that can be said without asking anybody: the loopback is known, and so is the directory of a socket
/// that may come later. A port that is still to be chosen may be any.
fn addresses(target: &Target) -> Vec<Address> {
    match target {
        Target::Tcp { port: Port::Number(0), .. } => Vec::new(),
        Target::Tcp { host, port: Port::Number(port) } => match host.parse() {
            Ok(ip) => vec![Address::Tcp(SocketAddr::new(ip, *port))],
            Err(_) if host.is_empty() => loopback(*port).into(),
            Err(_) => Vec::new(),
        },
        Target::Abstract(name) => vec![Address::Abstract(name.clone())],
        Target::Unix(path) => {
            let beside = || Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?));
            path.canonicalize().ok().or_else(beside).map(Address::Unix).into_iter().collect()
        }
        _ => Vec::new(),
    }
}
