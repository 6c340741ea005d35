//! Cases for what a process writes to standard error: its last line says why it is of no use, and holds no secret.

use super::tests::{ID, PATIENCE, READY, ask, hurried, start, status, until};
use super::*;
use crate::limits::{LOG_FIELD_BYTES_MAX, PLUGIN_IN_FLIGHT_MAX};
use crate::observe::log::{Kept, Level};

/// The error of a start that comes to nothing.
fn told(script: &str) -> String {
    start(script).expect_err("it is of no use")
}

/// A plugin that is ready, and then does `script` with each `$line`, and what is logged of it. It has time.
fn each(least: Level, script: &str) -> (Running, Kept) {
    let (log, kept) = Log::kept(least);
    let script = format!("{READY} while read -r line; do {ID} {script}; done");
    let plugin = Plugin { program: Program::Shell(script.into()), source: Some("the source".into()) };
    let mut desk = Desk::new(&plugin, Kind::Auth, log);
    desk.pace = hurried(&plugin, Kind::Auth).pace;
    (desk.pace.answer, desk.pace.start) = (PATIENCE, PATIENCE);
    let desk = Arc::new(desk);
    process::supervise(plugin, &desk).unwrap();
    desk.first_word(PATIENCE).unwrap();
    (Running { desk }, kept)
}

/// The first line that is logged with `what` in it.
fn logged(kept: &Kept, what: &str) -> String {
    let mut found = None;
    until(what, || {
        found = std::iter::from_fn(|| kept.pop()).map(|(_, line)| line).find(|line| line.contains(what));
        found.is_some()
    });
    found.unwrap()
}

#[test]
fn the_error_of_a_start_ends_with_the_last_complaint() {
    // More of them than are logged in a second.
    let many = "i=0; while [ $i -lt 100 ]; do echo \"line $i\" >&2; i=$((i+1)); done; ";
    for (script, expected) in [
        ("exit 3", "exit status: 3".to_owned()),
        (
            &format!("{many} printf 'no \"desks\"\\033[31m\\n\\n' >&2; exit 3"),
            "exit status: 3: no \\\"desks\\\"\\u{1b}[31m".into(),
        ),
        ("echo 'opening the source' >&2; exit 3", "exit status: 3: opening (secret)".into()),
        (&format!("{many} sleep 600"), "did not say {\"ready\":true} in time: line 99".into()),
        (
            "read -r hello; printf '%s\\n' '{\"error\":\"two\\nlines of the source\"}'; read -r line",
            "two\\u{a}lines of (secret)".into(),
        ),
    ] {
        assert_eq!(told(script), expected, "{script}");
    }
    let long = told("head -c 5000 /dev/zero | tr '\\0' x >&2; exit 3");
    assert!(long.ends_with("xxx...") && long.len() < LOG_FIELD_BYTES_MAX + 50, "{long}");
}

#[test]
fn what_is_said_before_it_is_ready_is_logged_when_it_is_and_else_not() {
    let begin = "read -r hello; echo 'the source is old' >&2; echo 'two' >&2";
    for (end, level, lines) in [
        ("echo '{\"ready\":true}'; read -r line", Level::Info, 2),
        ("exit 3", Level::Info, 0),
        ("exit 3", Level::Debug, 2),
    ] {
        let (log, kept) = Log::kept(level);
        let script = format!("{begin}; {end}");
        let plugin = Plugin { program: Program::Shell(script.into()), source: Some("the source".into()) };
        let started = Running::start(&plugin, Kind::Auth, PATIENCE, &log);
        match &started {
            Ok(_) => assert!(logged(&kept, " says=").ends_with(" says=\"(secret) is old\"")),
            Err(why) => assert!(why.contains("exit status: 3: two; "), "{why}"),
        }
        let rest: Vec<_> = std::iter::from_fn(|| kept.pop()).collect();
        let more = rest.iter().filter(|(own, line)| *own == level && line.contains(" says=")).count();
        // One was taken already where it began well, and the other may be under way yet.
        assert_eq!(lines > 0, more > 0 || started.is_ok(), "{rest:?}");
        assert!(rest.len() <= lines, "{rest:?}");
    }
}

#[test]
fn secrets_are_taken_out_of_the_words_of_a_process_and_not_of_ours() {
    let (running, kept) = each(Level::Error, "echo 'an exit of the source' >&2; exit 3");
    for _ in 0..2 {
        // The first word of what a status is told with.
        assert_eq!(status(&ask(&running, "exit")), 503);
        let (_, line) = kept.pop().expect("it is logged before who asked is told");
        assert!(line.ends_with(" ended=\"exit status: 3: an (secret) of (secret)\""), "{line}");
    }
}

#[test]
fn a_secret_in_the_last_complaint_stays_one_however_many_are_asked_about_since() {
    let (running, kept) = each(
        Level::Info,
        "case $line in *s3cret*) echo 'looking up s3cret' >&2;; *'\"end\"'*) kill -9 $$;; esac; \
         echo \"{\\\"id\\\":$id,\\\"allow\\\":{}}\"",
    );
    assert_eq!(status(&ask(&running, "s3cret")), 0);
    logged(&kept, " says=\"looking up (secret)\"");
    for number in 0..=PLUGIN_IN_FLIGHT_MAX {
        assert_eq!(status(&ask(&running, &format!("other-{number}"))), 0);
    }
    assert_eq!(status(&ask(&running, "end")), 503);
    let line = logged(&kept, " ended=");
    assert!(line.ends_with(" ended=\"signal: 9 (SIGKILL): looking up (secret)\""), "{line}");
}

#[test]
fn why_a_process_ended_is_told_however_much_it_has_said() {
    // More lines than are logged in a second.
    let many = "i=0; while [ $i -lt 100 ]; do echo \"line $i\" >&2; i=$((i+1)); done; exit 3";
    let (running, kept) = each(Level::Info, many);
    for _ in 0..2 {
        assert_eq!(status(&ask(&running, "x")), 503);
        let line = logged(&kept, " ended=");
        assert!(line.ends_with(" ended=\"exit status: 3: line 99\""), "{line}");
    }
}
