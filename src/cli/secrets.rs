//! Where secrets stand on the command line, so that they can be taken out of the list of processes.
//!
//! Pure: it reads words as the parser does, and where it cannot tell, takes them for a secret. What stands behind `@` is the
//! name of a file, which is none. It never looks at what is shown, and changes nothing.

use super::names;
use super::option::Act;
use crate::route::guard::Guard;
use crate::route::source;
use std::borrow::Cow;
use std::ffi::OsString;

/// Guards whose sources are no secret: names, and the place of a file.
const OPEN_GUARDS: [&str; 3] = ["ExpectOrigin", "ClientCertCNAuth", "HtpasswdAuth"];

/// The secret parts of a command line: in which word, the program's name being the first, and from which byte of it on.
pub fn secrets(argv: &[OsString]) -> Vec<(usize, usize)> {
    let said = said(argv);
    let of = |option| said.iter().filter(move |it| it.option == option).map(|it| &*it.value);
    let mut guards = of("auth-plugin").filter(|name| !name.is_empty() && Guard::takes_source(name));
    let tokens = of("token-plugin").next_back().unwrap_or_default();
    let mut found = Vec::new();
    for it in &said {
        let is_secret = match it.option {
            "key-password" => true,
            "auth-source" => guards.next().is_none_or(|name| !OPEN_GUARDS.contains(&name)),
            "token-source" => may_hold_password(tokens, &it.value),
            _ => false,
        };
        let is_file = it.value.starts_with('@') && !it.value.starts_with("@@");
        if is_secret && !is_file && !it.value.is_empty() {
            found.push(it.place);
        }
    }
    found
}

/// Whether the source of a token plugin may hold a password: that of a service or of somebody's own plugin.
fn may_hold_password(plugin: &str, place: &str) -> bool {
    match plugin {
        // host[:port[:db[:password[:namespace]]]]
        "TokenRedis" => place.matches(':').count() > 2,
        "BaseTokenAPI" | "JSONTokenApi" => true,
        name => !source::NAMES.contains(&name),
    }
}

/// An option that was given a value, and where that stands.
struct Said<'a> {
    option: &'static str,
    value: Cow<'a, str>,
    place: (usize, usize),
}

fn said(argv: &[OsString]) -> Vec<Said<'_>> {
    let mut said = Vec::new();
    let mut words = argv.iter().map(|word| word.as_encoded_bytes()).enumerate().skip(1);
    // No short option has a value.
    while let Some((number, word)) = words.next().filter(|(_, word)| word != b"--") {
        let Some(typed) = word.strip_prefix(b"--") else { continue };
        let sign = typed.iter().position(|byte| *byte == b'=');
        let name = String::from_utf8_lossy(&typed[..sign.unwrap_or(typed.len())]);
        let Ok(opt) = names::long(&name) else { continue };
        if !matches!(opt.act, Act::Take(..) | Act::AskFor(..)) {
            continue;
        }
        let (place, value) = match sign {
            Some(sign) => ((number, b"--".len() + sign + 1), &typed[sign + 1..]),
            None => match words.next() {
                Some((number, value)) => ((number, 0), value),
                None => break,
            },
        };
        said.push(Said { option: opt.long, value: String::from_utf8_lossy(value), place });
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::TABLE;

    #[test]
    fn secrets_are_found_however_they_are_written() {
        for (line, shown) in [
            ("--auth-source=me:sesame 6080 a:1", "--auth-source=* 6080 a:1"),
            ("--auth-so me:sesame 6080 a:1", "--auth-so * 6080 a:1"),
            ("-v --key-password=sesame --key-password sesame", "-v --key-password=* --key-password *"),
            ("--key-password=@file --key-password=@@sesame", "--key-password=@file --key-password=*"),
            ("--key-password= --auth-source", "--key-password= --auth-source"),
            (
                "--auth-plugin=ExpectOrigin --auth-source=https://a --auth-plugin=SameOrigin --auth-plugin=BasicHTTPAuth --auth-source=me:sesame",
                "--auth-plugin=ExpectOrigin --auth-source=https://a --auth-plugin=SameOrigin --auth-plugin=BasicHTTPAuth --auth-source=*",
            ),
            ("--auth-plugin=my.Own --auth-source=sesame", "--auth-plugin=my.Own --auth-source=*"),
            (
                "--token-source=h:1:0:sesame --token-plugin=TokenRedis",
                "--token-source=* --token-plugin=TokenRedis",
            ),
            ("--token-plugin=TokenRedis --token-source=h:1", "--token-plugin=TokenRedis --token-source=h:1"),
            ("--token-plugin=TokenFile --token-source=/a", "--token-plugin=TokenFile --token-source=/a"),
            (
                "--token-plugin BaseTokenAPI --token-source http://me:sesame@h/%s",
                "--token-plugin BaseTokenAPI --token-source *",
            ),
            ("--server-header -- --key-password=sesame", "--server-header -- --key-password=*"),
            (
                "--wrap-mode=exit 6080 -- run --key-password=x",
                "--wrap-mode=exit 6080 -- run --key-password=x",
            ),
            ("--nothing --web --key-password=sesame", "--nothing --web --key-password=sesame"),
        ] {
            let mut argv: Vec<OsString> =
                std::iter::once("websplice").chain(line.split(' ')).map(Into::into).collect();
            for (word, from) in secrets(&argv) {
                let text = argv[word].to_str().unwrap();
                argv[word] = format!("{}*", &text[..from]).into();
            }
            let after: Vec<_> = argv[1..].iter().map(|word| word.to_str().unwrap()).collect();
            assert_eq!(after.join(" "), shown);
        }
    }

    #[test]
    fn no_short_option_has_a_value() {
        let takes = |act: &Act| matches!(act, Act::Take(..) | Act::AskFor(..));
        assert!(TABLE.iter().all(|opt| opt.short.is_none() || !takes(&opt.act)));
    }
}
