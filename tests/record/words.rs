//! What is said about recordings on a command line, and what is complained about.

use std::ffi::OsString;
use std::path::Path;
use websplice::cli::{self, Args, Command};

fn parse(line: &str) -> Result<Box<Args>, String> {
    let words = std::iter::once("websplice").chain(line.split(' ')).map(OsString::from);
    match cli::parse(words) {
        Ok(Command::Run(args)) => Ok(args),
        Ok(other) => panic!("{line:?} gives {other:?}"),
        Err(error) => Err(error.message),
    }
}

#[test]
fn complaints_name_option_value_and_remedy() {
    for (line, expected) in [
        ("--record-name={time} 6080 a:1", "You must use --record to use --record-name"),
        ("--record= --record-size=1MiB 6080 a:1", "You must use --record to use --record-size"),
        ("--record-buffer=1MiB 6080 a:1", "You must use --record to use --record-buffer"),
        (
            "--record=x --record-name=../{time} 6080 a:1",
            "option --record-name: invalid pattern value: '../{time}' (it is the name of a file, without slashes",
        ),
        (
            "--record=x --record-name=x.js 6080 a:1",
            "option --record-name: invalid pattern value: 'x.js' (it needs a field that tells sessions apart",
        ),
        (
            "--record=x --record-name={date} 6080 a:1",
            "option --record-name: invalid pattern value: '{date}' (the fields are {name}, {number}, {time}",
        ),
        ("--record=x --record-size=1 6080 a:1", "option --record-size: invalid size value: '1' (such as"),
        ("--record=x --record-buffer=1KiB 6080 a:1", "option --record-buffer: invalid size value: '1KiB'"),
        ("--traffic=x 6080 a:1", "--traffic option does not take a value"),
    ] {
        let message = parse(line).expect_err(line);
        assert!(message.contains(expected), "{line:?} gives {message:?}");
    }
}

#[test]
fn what_is_written_is_what_is_meant() {
    for line in ["--record x --traffic 6080 a:1", "--rec=x --traf 6080 a:1", "6080 a:1 --reco x --tr"] {
        let tap = parse(line).expect(line).options.tap;
        assert_eq!((tap.record.as_deref(), tap.traffic), (Some(Path::new("x")), true), "{line:?}");
    }
    assert_eq!(
        parse("--record= 6080 a:1").expect("it was made for this test").options.tap.record,
        None,
        "as if it was not given"
    );
    let config = |line: &str| cli::settle(&parse(line).expect("it was made for this test")).unwrap();
    let here = std::env::current_dir().expect("it was made for this test");
    let record = config("--record=x/y 6080 a:1").record.expect("it was made for this test");
    assert_eq!((record.directory, record.unique), (here.join("x"), false), "absolute before anybody moves");
    let into = format!("--record={} --record-name={{time}}.js 6080 a:1", std::env::temp_dir().display());
    let record = config(&into).record.expect("it was made for this test");
    assert_eq!((record.directory, record.unique), (std::env::temp_dir(), true));
}
