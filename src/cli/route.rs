//! The rows of the option table that are about who may pass and where to. `table` puts them in their place.

use super::args::{Hidden, Route};
use super::option::{Act, Category, Opt, Refusal, Value};
use super::source_file;
use super::table::{file, free};
use super::values::{self, Zero};
use crate::limits::{TOKEN_CACHE_MS, TOKEN_TIMEOUT_MS};
use crate::route::Tokens;
use crate::route::plugin::Plugin;
use crate::route::source::Source;
use crate::route::token::Place;
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

/// Text; an empty value means that the option was not given.
fn said(value: &OsStr) -> Result<Option<String>, Refusal> {
    Ok(Some(values::text(value)?).filter(|text| !text.is_empty()))
}

pub(super) const TOKEN_PLUGIN: Opt = Category::Access.row(
    "token-plugin",
    "find each client's target by its token",
    "Each WebSocket request carries a token, which leads to its target; the word target_addr:target_port is then left \
     out. The plugins are websockify's: TokenFile and ReadOnlyTokenFile (a file, or a directory of files, with lines \
     \"token: host:port\"), TokenFileName (a directory with a file for each token), BaseTokenAPI and JSONTokenApi (a web \
     service), JWTTokenApi (signed and encrypted tokens), TokenRedis, UnixDomainSocketDirectory. unix_socket in place of \
     a host is followed by the path of a Unix socket. docs/tokens.md has the formats.\n\n\
     A name with a dot is a Python class in the manner of websockify's plugins; exec:COMMAND is a command of the shell \
     that answers questions line by line. docs/plugins.md has the words.\n\n\
     A request without a token is refused with 403, with one that leads nowhere with 404, and with 503 while whoever \
     knows tokens cannot be asked.",
    "",
    "--token-plugin=TokenFile --token-source=/etc/websplice/tokens 6080",
    Act::Take(free("CLASS"), |options, value| {
        options.route.token_plugin = said(value)?;
        options.route.unnamed = value.is_empty();
        Ok(())
    }),
);

pub(super) const TOKEN_SOURCE: Opt = Category::Access.row(
    "token-source",
    "file, directory or service of the token plugin",
    "A file or directory; for BaseTokenAPI and JSONTokenApi an http:// or https:// address with %s where the token \
     goes; for JWTTokenApi the file of the key; for TokenRedis host[:port[:db[:password[:namespace]]]]. Files that \
     change act at once.\n\n\
     @FILE stands for the first line of FILE, which keeps a password out of the list of processes. Written here it can be \
     seen there: on Linux with /proc until the server has taken it out, elsewhere for as long as the server runs.",
    "",
    "--token-plugin=TokenRedis --token-source=localhost:6379 6080",
    Act::Take(file("ARG"), |options, value| {
        options.route.token_source = (!value.is_empty()).then(|| Hidden(value.into()));
        Ok(())
    }),
);

pub(super) const HOST_TOKEN: Opt = Category::Access.row(
    "host-token",
    "take the name in the Host header as the token",
    "The name counts in small letters and without port and brackets. Tokens in the query are not looked at then.",
    "",
    "--host-token --token-plugin=TokenFile --token-source=/etc/websplice/hosts 6080",
    Act::Switch(|options| options.route.host_token = true),
);

pub(super) const TARGET_CONFIG: Opt = Category::Access.row(
    "target-config",
    "the same as TokenFile with this source",
    "The old spelling of --token-plugin=TokenFile --token-source=PATH; it takes the place of both, and a warning says so where \
     they are given too.",
    "",
    "--target-config=/etc/websplice/tokens 6080",
    Act::Take(file("PATH"), |options, value| {
        options.route.target_config = (!value.is_empty()).then(|| value.into());
        Ok(())
    }),
);

pub(super) const TOKEN_FROM: Opt = Category::Access.row(
    "token-from",
    "where in a request the token is",
    "One or more of these, separated by commas; the first that has a token counts. query: the parameter token. cookie or \
     cookie:NAME: that cookie, or the one called token. header:NAME: that header, without Bearer in front. path: the \
     last segment of the path. subprotocol: an offered sub-protocol token.TOKEN, beside those that are meant. A request that \
     has the header or the cookie twice, or with what is no UTF-8, is answered with 400: a client does not overrule the \
     proxy in front that adds its own.",
    "(query)",
    "--token-from=header:Authorization,query --target-config=/etc/websplice/tokens 6080",
    Act::Take(Value { repeats: true, ..free("PLACES") }, |options, value| {
        let words = said(value)?.unwrap_or_default();
        for word in words.split(',').map(str::trim) {
            let place = Place::parse(word).ok_or_else(|| Refusal::Invalid {
                kind: "place",
                hint: "query, cookie, cookie:NAME, header:NAME, path or subprotocol, separated by commas"
                    .into(),
            })?;
            if !options.route.token_from.contains(&place) {
                options.route.token_from.push(place);
            }
        }
        Ok(())
    }),
);

pub(super) const TOKEN_CACHE: Opt = Category::Access.row(
    "token-cache",
    "how long answers of a token service are kept",
    "What Redis, a web service, a Python class or a command that answers by the token alone said of a token is used again \
     for this long, and that it knows nothing of one for a second at most. 0 asks for each request. Files are not kept: \
     they act as soon as they change. The addresses of targets with names are kept for this long too, but never for more than a second.",
    "(5s)",
    "--token-cache=0 --token-plugin=TokenRedis --token-source=localhost 6080",
    Act::Take(free("DURATION"), |options, value| {
        options.route.token_cache = Some(values::duration(value, Zero::Allowed)?);
        Ok(())
    }),
);

pub(super) const TOKEN_TIMEOUT: Opt = Category::Access.row(
    "token-timeout",
    "how long a look-up may take",
    "From the request to the answer of whoever knows tokens, connecting and waiting for a turn included. Then the client \
     is refused with 503. Others are not held up meanwhile.",
    "(2s)",
    "--token-timeout=500ms --token-plugin=TokenRedis --token-source=localhost 6080",
    Act::Take(free("DURATION"), |options, value| {
        options.route.token_timeout = Some(values::duration(value, Zero::Refused)?);
        Ok(())
    }),
);

/// Options that make no sense without, or beside, another one.
pub(super) fn check_pairs(route: &Route) -> Result<(), String> {
    let plugin = route.token_plugin.is_some();
    let either = plugin || route.target_config.is_some();
    let rules = [
        (route.token_source.is_some() && !plugin, "--token-source"),
        (route.host_token && !plugin, "--host-token"),
        (!route.token_from.is_empty() && !either, "--token-from"),
        (route.token_cache.is_some() && !either, "--token-cache"),
        (route.token_timeout.is_some() && !either, "--token-timeout"),
    ];
    if let Some((_, name)) = rules.iter().find(|(broken, _)| *broken) {
        return Err(format!("You must use --token-plugin to use {name}"));
    }
    if route.host_token && !route.token_from.is_empty() {
        return Err("You cannot use --host-token together with --token-from".into());
    }
    Ok(())
}

/// What was said about tokens, complete; `absolute` makes a path absolute, or says what is wrong with that.
pub(super) fn tokens(
    route: &Route,
    python: &OsString,
    absolute: impl Fn(&'static str, PathBuf) -> Result<PathBuf, String>,
) -> Result<Option<Tokens>, String> {
    if route.unnamed && route.target_config.is_none() {
        return Err("option --token-plugin: no name; use one, such as TokenFile, or leave it out".into());
    }
    let source = match (&route.target_config, &route.token_plugin) {
        (Some(path), _) => {
            Source::TokenFile { path: absolute("--target-config", path.clone())?, read_only: false }
        }
        (None, Some(plugin)) => {
            let place = route
                .token_source
                .as_ref()
                .map(|word| source_file::said("--token-source", &word.0))
                .transpose()?;
            let mut source = source(plugin, place.as_deref(), python)?;
            if let Some(path) = source.path_mut() {
                *path = absolute("--token-source", std::mem::take(path))?;
            }
            directory(&source)?;
            source
        }
        (None, None) => return Ok(None),
    };
    let mut places = route.token_from.clone();
    if places.is_empty() {
        places.push(if route.host_token { Place::Host } else { Place::Query });
    }
    Ok(Some(Tokens {
        source,
        option: if route.target_config.is_some() { "--target-config" } else { "--token-source" },
        places,
        cache: route.token_cache.unwrap_or(Duration::from_millis(TOKEN_CACHE_MS)),
        timeout: route.token_timeout.unwrap_or(Duration::from_millis(TOKEN_TIMEOUT_MS)),
    }))
}

/// What knows tokens. A path may be of any bytes.
fn source(plugin: &str, place: Option<&OsStr>, python: &OsString) -> Result<Source, String> {
    let text = match place.map(|place| place.to_str().ok_or(place)).transpose() {
        Ok(text) => text,
        Err(path) => {
            return Source::at(plugin, path.into()).ok_or_else(|| source_file::not_text("--token-source"));
        }
    };
    let Some(plugin) = Plugin::parse(plugin, text, python) else { return Source::parse(plugin, text) };
    plugin.check().map_err(|why| format!("--token-plugin: {why}"))?;
    Ok(Source::Plugin(plugin))
}

/// What must be a directory has to be one. Only that of sockets may come later, as it may in websockify.
fn directory(source: &Source) -> Result<(), String> {
    let (path, may_come) = match source {
        Source::TokenFileName(path) => (path, false),
        Source::SocketDirectory(path) => (path, true),
        _ => return Ok(()),
    };
    let error = match std::fs::read_dir(path) {
        Ok(_) => return Ok(()),
        // Who serves may be another one.
        Err(error) if may_come && error.kind() != ErrorKind::NotADirectory => return Ok(()),
        Err(error) => error,
    };
    Err(format!("--token-source: {}: {error}; {} needs a directory", path.display(), source.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_done() {
        let route = Route { target_config: Some("/x".into()), ..Route::default() };
        let tokens = tokens(&route, &"python3".into(), |_, path| Ok(path)).unwrap().unwrap();
        let written =
            |opt: &Opt| values::duration(opt.default.trim_matches(['(', ')']).as_ref(), Zero::Refused);
        assert_eq!(written(&TOKEN_CACHE).unwrap(), tokens.cache);
        assert_eq!(written(&TOKEN_TIMEOUT).unwrap(), tokens.timeout);
        assert_eq!(Place::parse(TOKEN_FROM.default.trim_matches(['(', ')'])), Some(tokens.places[0].clone()));
    }
}
