//! The rows of the argument matrix that are about tokens.

use super::{Check, run};
use std::time::Duration;
use websplice::route::token::Place;
use websplice::tls::Secret;

const OPTIONS: &[(&str, Check)] = &[
    ("--token-plugin=TokenFile", |o| o.route.token_plugin.as_deref() == Some("TokenFile")),
    ("--token-plugin=T --token-source x", |o| o.route.token_source == Some(Secret("x".into()))),
    ("--token-plugin=T --token-s=x", |o| o.route.token_source == Some(Secret("x".into()))),
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

pub const COMPLAINTS: &[(&str, &str)] = &[
    ("--token-source=x 6080 a:1", "You must use --token-plugin to use --token-source"),
    ("--host-token 6080 a:1", "You must use --token-plugin to use --host-token"),
    ("--host-token --target-config=x 6080", "You must use --token-plugin to use --host-token"),
    ("--token-from=path 6080 a:1", "You must use --token-plugin to use --token-from"),
    ("--token-cache=1 6080 a:1", "You must use --token-plugin to use --token-cache"),
    ("--token-timeout=1 6080 a:1", "You must use --token-plugin to use --token-timeout"),
    ("--token-plugin=TokenFile 6080 a:1", "Too many arguments"),
    ("--token-plugin=TokenFile --unix-target=/x 6080 a:1", "Too many arguments"),
    ("--target-config=x 6080 a:1", "Too many arguments"),
    ("--token-plugin=TokenFile", "Too few arguments"),
    ("--token-plugin= 6080", "Too few arguments"),
    ("--token-plugin=T --echo 6080", "You cannot use --echo together with --token-plugin"),
    (
        "--token-plugin=T --host-token --token-from=path 6080",
        "You cannot use --host-token together with --token-from",
    ),
    ("--token-plugin=T --token-from=nose 6080", "option --token-from: invalid place value: 'nose'"),
    ("--token-plugin=T --token-from=query,, 6080", "option --token-from: invalid place value: 'query,,'"),
    ("--token-plugin=T --token-timeout=0 6080", "option --token-timeout: invalid duration value: '0'"),
];
