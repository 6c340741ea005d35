//! Guards on the command line: their rows of the option table, how they go together, and what is made of them.
//!
//! `table` puts the rows in their place, `settle` completes them. It opens nothing.

use super::args::Guards;
use super::option::{Act, Category, Complete, Opt, Refusal, Value};
use super::source_file;
use super::values::{quoted, text};
use crate::config::Config;
use crate::limits::GUARDS_MAX;
use crate::route::guard::{Guard, NAMES};
use crate::route::plugin::Plugin;
use std::ffi::OsStr;
use std::path::Path;

/// A free value; the option may be given several times.
const fn many(word: &'static str) -> Value {
    Value { word, choices: &[], complete: Complete::Choices, repeats: true }
}

pub(super) const AUTH_PLUGIN: Opt = Category::Access.row(
    "auth-plugin",
    "check who may connect; may be given repeatedly",
    "May be given several times; a client must pass all of them. BasicHTTPAuth asks for the user and password of its \
     source, USER:PASSWORD. HtpasswdAuth asks for a user and password of a file as htpasswd(1) makes it: bcrypt, SHA-crypt \
     or apr1. ExpectOrigin lets in pages from the origins of its source, separated by blanks, such as https://desk.example. \
     SameOrigin lets in pages from the host that is asked. ClientCertCNAuth lets in clients whose certificate, as verified by \
     --verify-client, is for one of the names of its source, separated by blanks. ForwardAuth asks the service at the URL \
     of its source.\n\n\
     A name with a dot is a Python class in the manner of websockify's plugins; exec:COMMAND is a command of the shell that \
     answers questions line by line.",
    "",
    "--auth-plugin=BasicHTTPAuth --auth-source=me:secret 6080 localhost:5901",
    Act::Take(many("NAME"), |options, value| {
        let name = text(value)?;
        if name.is_empty() {
            options.guards.unnamed = true;
        } else {
            options.guards.plugins.push(name);
        }
        if options.guards.plugins.len() > GUARDS_MAX {
            return Err(Refusal::Message(format!("option --auth-plugin: more than {GUARDS_MAX} guards; leave some out")));
        }
        Ok(())
    }),
);

pub(super) const AUTH_SOURCE: Opt = Category::Access.row(
    "auth-source",
    "password, file or names for the auth plugin",
    "The first --auth-source belongs to the first --auth-plugin that takes one, and so on; all but SameOrigin do. What each \
     takes is said at --auth-plugin. An empty one keeps its place: its guard has none. What may be secret is better \
     written in a file: @FILE stands for its first line, as it is. Other users of the machine may see it in the list of processes: \
     on Linux with /proc for the moment until the server has taken it out, elsewhere for as long as the server runs. What begins \
     with @ itself is written with @@.",
    "",
    "--auth-plugin=BasicHTTPAuth --auth-source=me:secret 6080 localhost:5901",
    Act::Take(many("SOURCE"), |options, value| {
        options.guards.sources.push(value.into());
        Ok(())
    }),
);

pub(super) const WEB_AUTH: Opt = Category::Access.row(
    "web-auth",
    "check who may get the files of --web, too",
    "Whoever wants a file must pass the guards as well, all but SameOrigin: browsers name no origin when they ask for pages, \
     which is why ExpectOrigin refuses them. A plugin is told of no target then.",
    "",
    "--web-auth --auth-plugin=BasicHTTPAuth --auth-source=me:secret --web=/usr/share/novnc 6080 a:1",
    Act::Switch(|options| options.guards.files = true),
);

pub(super) const PYTHON: Opt = Category::Access.row(
    "python",
    "Python that runs plugins written in it",
    "The program that loads classes named with a dot: a name that is looked for in PATH, or a path. Modules are found as that \
     Python finds them, so PYTHONPATH counts.",
    "python3",
    "--python=/opt/desk/venv/bin/python --auth-plugin=desk.Auth 6080 localhost:5901",
    Act::Take(
        Value { word: "PROGRAM", choices: &[], complete: Complete::Files, repeats: false },
        |options, value| {
            options.guards.python = match value.as_encoded_bytes() {
                b"" => "python3".into(),
                // A path is one from here, wherever the server goes; a name is looked for in PATH.
                path if path.contains(&b'/') => std::path::absolute(value).map_or(value.into(), Into::into),
                _ => value.to_owned(),
            };
            Ok(())
        },
    ),
);

/// Options that make no sense without another one, in websockify's words.
pub(super) fn check(guards: &Guards, web: bool) -> Result<(), String> {
    let plugins = &guards.plugins;
    let takers = plugins.iter().filter(|name| Guard::takes_source(name)).count();
    // An empty one keeps its place.
    let sources = guards.sources.iter().rposition(|source| !source.is_empty()).map_or(0, |last| last + 1);
    if plugins.is_empty() && sources > 0 {
        return Err("You must use --auth-plugin to use --auth-source".into());
    }
    if sources > takers {
        return Err("You must use an --auth-plugin that takes a source for each --auth-source".into());
    }
    if plugins.is_empty() && guards.files {
        return Err("You must use --auth-plugin to use --web-auth".into());
    }
    if guards.files && !web {
        return Err("You must use --web to use --web-auth".into());
    }
    Ok(())
}

/// Adds to `config` what was said.
///
/// # Errors
/// One line for a guard that there is not, or whose source is of no use.
pub(super) fn settle(said: &Guards, config: &mut Config) -> Result<(), String> {
    if said.unnamed {
        return Err(format!(
            "option --auth-plugin: no name; use one of {}, or leave it out",
            NAMES.join(", ")
        ));
    }
    let mut sources = said.sources.iter();
    for name in &said.plugins {
        let source = if Guard::takes_source(name) { sources.next() } else { None };
        let source = source.map(|source| source_file::said("--auth-source", source)).transpose()?;
        config.route.guards.push(guard(name, source.as_deref(), said, config)?);
    }
    config.route.guard_files = said.files;
    Ok(())
}

fn guard(name: &str, source: Option<&OsStr>, said: &Guards, config: &Config) -> Result<Guard, String> {
    let option = |error| format!("option --auth-plugin: {error}");
    let source = match source.map(|source| source.to_str().ok_or(source)).transpose() {
        Ok(source) => source,
        // A path may be of any bytes.
        Err(path) if name == "HtpasswdAuth" => {
            return Ok(Guard::Htpasswd(super::settle::absolute("--auth-source", Path::new(path))?));
        }
        Err(_) => return Err(source_file::not_text("--auth-source")),
    };
    if let Some(plugin) = Plugin::parse(name, source, &said.python) {
        plugin.check().map_err(option)?;
        return Ok(Guard::Plugin(plugin));
    }
    let Some(built_in) = Guard::built_in(name, source) else {
        let (name, known) = (quoted(OsStr::new(name)), NAMES.join(", "));
        return Err(format!(
            "option --auth-plugin: {name}: no such plugin; use one of {known}, a Python class with a dot, or exec:COMMAND"
        ));
    };
    match built_in.map_err(option)? {
        Guard::ClientCertCn(_) if !config.tls.verify_client => {
            Err(option("ClientCertCNAuth needs --verify-client; without it no name is verified".into()))
        }
        Guard::Htpasswd(path) => Ok(Guard::Htpasswd(super::settle::absolute("--auth-source", &path)?)),
        other => Ok(other),
    }
}
