//! The rows of the argument matrix that are about tokens.

use super::{Check, run};
use std::time::Duration;
use websplice::cli::SecretWord;
use websplice::route::token::Place;

const OPTIONS: &[(&str, Check)] = &[
    ("--token-plugin=TokenFile", |o| o.route.token_plugin.as_deref() == Some("TokenFile")),
    ("--token-plugin=T --token-source x", |o| o.route.token_source == Some(SecretWord("x".into()))),
    ("--token-plugin=T --token-s=x", |o| o.route.token_source == Some(SecretWord("x".into()))),
    ("--token-plugin=T --ho", |o| o.route.host_token),
    ("--target-config=x", |o| o.route.target_config == Some("x".into()) && o.route.leads()),
    ("--target-config=x --token-from=query", |o| o.route.token_from == [Place::Query]),
    ("--target-config=x --token-from=path,query --token-from path,cookie", |o| {
        o.route.token_from == [Place::Path, Place::Query, Place::Cookie("token".into())]
    }),
    ("--target-config=x --token-from=header:X-A", |o| o.route.token_from == [Place::Header("X-A".into())]),
    ("--target-config=x --token-cache=0", |o| o.route.token_cache == Some(Duration::ZERO)),
    ("--target-config=x --token-timeout=1500ms", |o| {
        o.route.token_timeout == Some(Duration::from_millis(1500))
    }),
];

#[test]
fn a_token_stands_for_the_target_word() {
    for (line, check) in OPTIONS {
        for line in [format!("{line} 6080"), format!("6080 {line}"), format!("--unix-target=/x {line} 6080")]
        {
            let args = run(&line);
            assert!(check(&args.options), "{line:?} gives {:?}", args.options);
            assert!(args.target.is_none(), "{line:?} gives {:?}", args.target);
        }
    }
    // An empty word means that the option was not given.
    for line in ["--token-plugin=T --token-plugin= 6080 a:1", "--target-config=x --target-config= 6080 a:1"] {
        assert!(!run(line).options.route.leads() && run(line).target.is_some(), "{line}");
    }
}
