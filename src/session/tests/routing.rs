//! Cases for routing: tokens that lead somewhere, that do not, that nobody answers for; and what the client hears.

use super::play::{Client, Play};
use super::read::{UPGRADE, binary};
use super::settings::{every_cut_of, placed, routed};
use crate::config::Config;
use crate::http::Refusal;
use crate::limits::ROUTE_TIMEOUT_MS;
use crate::route::Pass;
use crate::route::token::Place;
use crate::session::job::{Job, Verdict};
use crate::target::Target;
use std::sync::Arc;

/// An upgrade with a token.
pub fn upgrade(token: &str) -> String {
    UPGRADE.replace("/x", &format!("/x?token={token}"))
}

/// A target, as somebody who was asked says it.
pub fn leads_to(target: &str) -> Verdict {
    Verdict::Routed(Ok(Pass { target: Target::parse(target).ok().map(Arc::new), ..Pass::default() }))
}

#[test]
fn a_token_leads_to_its_target() {
    every_cut_of(routed, |play| {
        play.client([upgrade("t").into_bytes(), binary("early")].concat());
        assert_eq!((play.heard().as_str(), play.dialled.len()), ("", 0), "nothing before it is decided");
        assert_eq!(play.verdict(leads_to("10.0.0.9:1")).heard(), "101");
        assert_eq!(play.dialled, ["10.0.0.9:1"]);
        assert_eq!(play.connected().got(), "early");
    });
}

#[test]
fn who_is_asked_is_told_the_token() {
    let mut play = Play::new(routed());
    play.client(upgrade("t"));
    let Some(Job::Route(question)) = play.jobs.front() else { panic!("{:?}", play.jobs) };
    assert_eq!(question.token.as_ref().unwrap().secret(), "t");
    assert_eq!(question.request.first("host"), Some(&b"h"[..]));
}

#[test]
fn what_leads_nowhere_is_refused_before_anything_is_dialled() {
    every_cut_of(routed, |play| {
        assert_eq!(play.client(UPGRADE).heard(), "403");
        assert_eq!((play.jobs.len(), play.fin(Client).end()), (0, "refused"));
    });
    for (verdict, status) in [
        (Verdict::Routed(Err(Refusal::UNKNOWN_TOKEN)), "404"),
        (Verdict::Routed(Err(Refusal::told(418, "No".into(), Vec::new()))), "418"),
        (Verdict::Busy, "503"),
    ] {
        let mut play = Play::new(routed());
        assert_eq!(play.client(upgrade("t")).verdict(verdict).heard(), status);
        assert_eq!((play.dialled.len(), play.fin(Client).end()), (0, "refused"));
    }
}

#[test]
fn nobody_is_waited_for_without_end() {
    let mut play = Play::new(routed());
    assert_eq!(play.client(upgrade("t")).wait(ROUTE_TIMEOUT_MS - 100).heard(), "");
    assert_eq!(play.wait(200).heard(), "504");
    // What comes too late changes nothing.
    assert_eq!(play.verdict(leads_to("10.0.0.9:1")).dialled.len(), 0);

    let mut play = Play::new(routed());
    assert_eq!(play.client(upgrade("t")).stop().heard(), "503");
}

#[test]
fn a_token_is_found_where_it_is_looked_for_and_shown_nowhere() {
    let rows = [
        ("query", upgrade("s3cret")),
        ("cookie", UPGRADE.replace("\r\n\r\n", "\r\nCookie: a=b; token=s3cret\r\n\r\n")),
        ("header:x-desk", UPGRADE.replace("\r\n\r\n", "\r\nX-Desk: s3cret\r\n\r\n")),
        ("path", UPGRADE.replace("/x", "/x/s3cret")),
    ];
    for (word, request) in &rows {
        let config = || placed(Place::parse(word).unwrap());
        every_cut_of(config, |play| {
            assert_eq!(
                play.client(request.as_str()).verdict(leads_to("10.0.0.9:1")).heard(),
                "101",
                "{word}"
            );
            let mark = play.session.as_ref().unwrap().core().token.unwrap().to_string();
            let lines = play.lines.join("\n");
            assert!(!lines.contains("s3cret"), "{lines}");
            let told = !matches!(*word, "query" | "path") || lines.contains(&mark);
            assert!(told, "{lines}");
        });
        // A refusal shows as little, and a page that was asked for in vain.
        let mut play = Play::new(config());
        assert_eq!(play.client(request.as_str()).verdict(Verdict::Busy).heard(), "503");
        let mut page = Play::new(config());
        assert_eq!(
            page.client("GET /s3cret?a=b%26token%3Ds3cret HTTP/1.1\r\nHost: h\r\n\r\n").heard(),
            "405"
        );
        let veiled = if *word == "path" { 2 } else { 1 };
        let shown = page.lines.join("\n");
        assert_eq!(shown.matches("s3cret").count(), 2 - veiled, "{shown}");
        assert!(!play.lines.join("\n").contains("s3cret"), "{:?}", play.lines);
    }
    for (word, request) in &rows[1..] {
        assert_eq!(Play::new(routed()).client(request.as_str()).heard(), "403", "{word} is not looked at");
    }
}

#[test]
fn pages_need_no_token() {
    let mut play = Play::new(Config { web: Some(Default::default()), ..routed() });
    play.client("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(matches!(play.jobs.front(), Some(Job::Fetch(_))), "{:?}", play.jobs);
}

#[test]
fn who_leaves_while_others_are_asked_is_gone() {
    let mut play = Play::new(routed());
    play.client(upgrade("t")).reset(Client);
    assert_eq!(play.verdict(leads_to("10.0.0.9:1")).dialled.len(), 1, "nothing is received meanwhile");
    assert_eq!(play.end(), "client_reset");
}

#[test]
fn what_is_told_of_a_target_has_no_token() {
    let told = |token: &str, target: &str, text: &str| {
        let mut play = Play::new(routed());
        let labels = vec![("desk".into(), text.into())];
        let target = Target::parse(target).ok().map(Arc::new);
        let pass = Pass { target, labels, ..Pass::default() };
        play.client(upgrade(token)).verdict(Verdict::Routed(Ok(pass)));
        let core = play.session.as_ref().unwrap().core();
        let mark = core.token.unwrap().to_string();
        let label = core.labels()[0].1.replace(&mark, "*");
        (core.veiled(text).replace(&mark, "*"), label)
    };
    // As TLS says it of a certificate that is for somebody else.
    let text = "certificate not valid for name \"desk-17secret.test\"";
    let redacted = "certificate not valid for name \"*.test\"";
    assert_eq!(told("Desk-17Secret", "desk-17secret.test:1", text), (redacted.into(), redacted.into()));
    // A target that says nothing of it costs the session no copy of it; nor is anything said of it then.
    assert_eq!(told("Desk-17Secret", "10.0.0.9:1", text), (text.into(), redacted.into()));
    assert_eq!(told("other", "desk-17secret.test:1", text), (text.into(), text.into()));
}
