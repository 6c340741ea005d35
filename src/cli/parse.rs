//! The grammar of the command line: `argv` in, a [`Command`] or a [`UsageError`] out. Pure.
//!
//! Options and words stand in any order, long options may be abbreviated, short ones clustered. Checks come in
//! websockify's order, so that a line with two faults gets the same complaint: options from left to right, how they go
//! together, the listen word, the target word, words too many.

use super::args::{Args, Command, Options, Tls, UsageError};
use super::option::{Act, Opt, Refusal, Value};
use super::route;
use super::values::quoted;
use super::{guards, names, wrap};
use crate::config::Listen;
use crate::limits::HOST_BYTES_MAX;
use crate::target::{self, Port, Target, TargetError};
use lexopt::{Arg, Parser};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Name in messages if `argv` is empty.
const PROGRAM: &str = env!("CARGO_PKG_NAME");

/// Reads a command line; the first word is the program's own name.
///
/// # Errors
/// [`UsageError`], whatever was written: any bytes are fine as input.
pub fn parse(argv: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    let mut argv = argv.into_iter();
    let program = program(argv.next().as_ref());
    let mut needs_certificates = Vec::new();
    parse_words(&program, argv, &mut needs_certificates).map_err(|message| UsageError {
        program,
        message,
        needs_certificates,
    })
}

/// The base name of `argv[0]`.
pub fn program(path: Option<&OsString>) -> String {
    path.and_then(|path| Path::new(path).file_name())
        .map_or_else(|| PROGRAM.into(), |name| name.to_string_lossy().into_owned())
}

/// Reads the words; when all that is wrong are those behind the options, `needs_certificates` are as in [`UsageError`].
fn parse_words(
    program: &str,
    words: impl Iterator<Item = OsString>,
    needs_certificates: &mut Vec<PathBuf>,
) -> Result<Command, String> {
    let mut parser = Parser::from_args(words);
    parser.set_short_equals(false);
    let mut options = Options::default();
    let mut words = Vec::new();
    let mut wrap = false;
    loop {
        // The two dashes mean something here, and only here: as the value of an option they are a value.
        wrap |= parser.try_raw_args().is_some_and(|rest| rest.peek() == Some(OsStr::new("--")));
        let met = match parser.next().map_err(|error| error.to_string())? {
            None => break,
            Some(Arg::Value(word)) => {
                words.push(word);
                continue;
            }
            Some(Arg::Long(name)) => Met { opt: names::long(name)?, long: true },
            Some(Arg::Short(name)) => Met { opt: names::short(name)?, long: false },
        };
        if let Some(command) = met.act(&mut parser, &mut options)? {
            return Ok(command);
        }
    }
    check_pairs(&options)?;
    *needs_certificates = options.tls.needs_certificates();
    let (listen, words) = listen_position(&options, words)?;
    let (target, wrap) = match wrap {
        true => (wrap::target(&options, &words)?, Some(words)),
        false => (target_position(&options, words)?, None),
    };
    Ok(Command::Run(Box::new(Args { program: program.to_owned(), listen, target, wrap, options })))
}

/// An option where it was met.
struct Met {
    opt: &'static Opt,
    /// Written by its long name?
    long: bool,
}

impl Met {
    /// Takes the value, if there is to be one, and does what the row says. A command ends parsing.
    fn act(&self, parser: &mut Parser, options: &mut Options) -> Result<Option<Command>, String> {
        match &self.opt.act {
            Act::Switch(update) => {
                self.refuse_value(parser)?;
                update(options);
                Ok(None)
            }
            Act::Maybe(word, update) => {
                let said = if self.long { parser.optional_value() } else { None };
                match said {
                    None => update(options, false),
                    Some(text) if text == *word => update(options, true),
                    Some(text) => {
                        let (name, text) = (self.spelled(), quoted(&text));
                        return Err(format!("option {name}: invalid choice: {text} (choose from '{word}')"));
                    }
                }
                Ok(None)
            }
            Act::Ask(command) => {
                self.refuse_value(parser)?;
                Ok(Some(command(self.long)))
            }
            Act::Take(value, update) => {
                let text = self.take_value(parser, value)?;
                update(options, &text).map_err(|refusal| self.explain(refusal, &text))?;
                Ok(None)
            }
            Act::AskFor(value, command) => Ok(Some(command(&self.take_value(parser, value)?))),
        }
    }

    fn spelled(&self) -> String {
        match self.opt.short {
            Some(short) if !self.long => format!("-{short}"),
            _ => format!("--{}", self.opt.long),
        }
    }

    fn refuse_value(&self, parser: &mut Parser) -> Result<(), String> {
        // After a short option the rest of the word is more short options, not a value.
        if self.long && parser.optional_value().is_some() {
            return Err(format!("{} option does not take a value", self.spelled()));
        }
        Ok(())
    }

    fn take_value(&self, parser: &mut Parser, value: &Value) -> Result<OsString, String> {
        let text = parser.value().map_err(|_| format!("{} option requires 1 argument", self.spelled()))?;
        if !value.choices.is_empty() && !value.choices.iter().any(|choice| text == *choice) {
            let name = self.spelled();
            let choices = value.choices.join("', '");
            return Err(format!(
                "option {name}: invalid choice: {} (choose from '{choices}')",
                quoted(&text)
            ));
        }
        Ok(text)
    }

    fn explain(&self, refusal: Refusal, text: &OsStr) -> String {
        match refusal {
            Refusal::Message(message) => message,
            Refusal::Invalid { kind, hint } => {
                format!("option {}: invalid {kind} value: {} ({hint})", self.spelled(), quoted(text))
            }
        }
    }
}

/// Options that make no sense without, or beside, another one.
fn check_pairs(options: &Options) -> Result<(), String> {
    route::check_pairs(&options.route)?;
    if options.web_index.is_some() && options.web.is_none() {
        return Err("You must use --web to use --web-index".into());
    }
    if options.process.legacy_syslog && options.process.syslog.is_none() {
        return Err("You must use --syslog to use --legacy-syslog".into());
    }
    guards::check(&options.guards, options.web.is_some())?;
    if options.echo && options.unix_target.is_some() {
        return Err("You cannot use --echo together with --unix-target".into());
    }
    if options.echo && options.tls.target.on {
        return Err("You cannot use --echo together with --ssl-target".into());
    }
    if options.echo && options.route.leads() {
        return Err("You cannot use --echo together with --token-plugin".into());
    }
    let needs_record = [
        (options.tap.name.is_some(), "--record-name"),
        (options.tap.file_bytes_max.is_some(), "--record-size"),
        (options.tap.buffer_bytes.is_some(), "--record-buffer"),
    ];
    if let Some((_, name)) = needs_record.iter().find(|(said, _)| *said && options.tap.record.is_none()) {
        return Err(format!("You must use --record to use {name}"));
    }
    check_tls(&options.tls, options.unix_target.is_some())
}

/// The same for options of TLS.
fn check_tls(tls: &Tls, unix_target: bool) -> Result<(), String> {
    if tls.keys.len() > tls.certs.len().max(1) {
        return Err("You must use --cert for each --key".into());
    }
    let target = &tls.target;
    let needs_target = [
        (target.ca.is_some(), "--ssl-target-ca"),
        (target.cert.is_some(), "--ssl-target-cert"),
        (target.key.is_some(), "--ssl-target-key"),
        (target.name.is_some(), "--ssl-target-name"),
        (target.insecure, "--ssl-target-insecure"),
    ];
    if let Some((_, name)) = needs_target.iter().find(|(said, _)| *said && !target.on) {
        return Err(format!("You must use --ssl-target to use {name}"));
    }
    if target.insecure && target.ca.is_some() {
        return Err("You cannot use --ssl-target-insecure together with --ssl-target-ca".into());
    }
    if target.key.is_some() && target.cert.is_none() {
        return Err("You must use --ssl-target-cert to use --ssl-target-key".into());
    }
    if target.on && unix_target && target.name.is_none() && !target.insecure {
        return Err("You must use --ssl-target-name or --ssl-target-insecure with --unix-target".into());
    }
    Ok(())
}

/// The listen word, unless an option stands for it; and the words behind it.
fn listen_position(options: &Options, mut words: Vec<OsString>) -> Result<(Listen, Vec<OsString>), String> {
    if options.process.inetd {
        return Ok((Listen::Inherited, words));
    }
    if let Some(path) = &options.unix_listen {
        let refused = |said: &OsString| {
            let said = quoted(said);
            format!(
                "Error parsing listen unix socket mode: {said} is not octal up to 777; write one, such as 660"
            )
        };
        let mode = *options.unix_listen_mode.as_ref().map_err(refused)?;
        return Ok((Listen::Unix { path: path.clone(), mode }, words));
    }
    if words.is_empty() {
        return Err(
            "Too few arguments: no word is left for the port to listen on; write one, such as 6080".into()
        );
    }
    Ok((listen_word(&words.remove(0), options.prefer_ipv6)?, words))
}

/// The target word, unless an option stands for it; there is no word behind it.
fn target_position(options: &Options, words: Vec<OsString>) -> Result<Option<Target>, String> {
    let mut words = words.into_iter();
    let target = match &options.unix_target {
        // What tokens lead to counts, as in websockify.
        _ if options.route.leads() => None,
        Some(target) => Some(target.clone()),
        None if options.echo => Some(Target::Echo),
        None => {
            let word = words.next().ok_or(
                "Too few arguments: no word is left for the target; write one, such as localhost:5901, or use \
                 --token-plugin, --unix-target or -- COMMAND",
            )?;
            Some(target_word(&word)?)
        }
    };
    if words.next().is_some() {
        return Err("Too many arguments".into());
    }
    Ok(target)
}

/// Reads the target; what is wrong with it begins in websockify's words.
fn target_word(word: &OsStr) -> Result<Target, String> {
    let no_target = |why: &str| {
        let said = quoted(word);
        format!("{}: {said} {why}; write host:port, such as localhost:5901", TargetError::Word)
    };
    let text = word.to_str().ok_or_else(|| no_target("is not UTF-8"))?;
    Target::parse(text).map_err(|error| match (error, target::split(text)) {
        (TargetError::Word, None) => no_target("has no colon"),
        (TargetError::Word, Some((host, _))) if host.len() > HOST_BYTES_MAX => {
            no_target(&format!("has a host of more than {HOST_BYTES_MAX} bytes"))
        }
        (TargetError::Word, Some((host, _))) => {
            no_target(&format!("has a host that cannot be one, {}", quoted(OsStr::new(host))))
        }
        (TargetError::Port, Some((_, port))) => {
            let said = quoted(OsStr::new(port));
            format!(
                "{}: {said} is neither a number nor a service; write one, such as 5901",
                TargetError::Port
            )
        }
        (error, _) => error.to_string(),
    })
}

/// Reads `[source_addr:]source_port`. Port 0 lets the kernel choose.
fn listen_word(word: &OsStr, prefer_ipv6: bool) -> Result<Listen, String> {
    const MESSAGE: &str = "Error parsing listen port";
    let no_port = |said: &OsStr| {
        let said = quoted(said);
        format!("{MESSAGE}: {said} is no number; write one, such as 6080 or localhost:6080")
    };
    let word = word.to_str().ok_or_else(|| no_port(word))?;
    let (host, port) = target::split(word).unwrap_or(("", word));
    let port = match Port::parse(port) {
        Ok(Port::Number(number)) => number,
        Ok(Port::Service(_)) | Err(TargetError::Port | TargetError::Word) => {
            return Err(no_port(OsStr::new(port)));
        }
        Err(TargetError::PortRange(text)) => return Err(format!("{MESSAGE}: {text} is above 65535")),
    };
    if !target::plausible_host(host) {
        return Err(format!(
            "Error parsing listen address: {} cannot be one; write a name or an address, such as [::1]:6080",
            quoted(OsStr::new(host))
        ));
    }
    Ok(Listen::Tcp { host: host.to_owned(), port, prefer_ipv6 })
}
