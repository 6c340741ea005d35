//! Cases for guards: what they judge at once, what others are asked, in which order, and what is guarded.

use super::answers;
use super::play::{Client, Play};
use super::read::{GET, UPGRADE, binary};
use super::routing::{leads_to, upgrade};
use super::settings::{config, every_cut_of, routed};
use crate::config::Config;
use crate::http::Refusal;
use crate::http::host::{Hosts, Name};
use crate::route::guard::Guard;
use crate::route::plugin::Plugin;
use crate::route::{Pass, Step};
use crate::session::job::{Job, Verdict};
use crate::target::Target;
use crate::web;
use std::time::Duration;

/// `me:secret`, as a header.
const ME: &str = "Authorization: Basic bWU6c2VjcmV0\r\n";

fn basic() -> Guard {
    Guard::built_in("BasicHTTPAuth", Some("me:secret")).unwrap().unwrap()
}

fn origin() -> Guard {
    Guard::built_in("ExpectOrigin", Some("https://desk.test")).unwrap().unwrap()
}

fn plugin() -> Guard {
    Guard::Plugin(Plugin::parse("exec:ask", None, &"python3".into()).unwrap())
}

fn guarded(guards: Vec<Guard>) -> Config {
    let mut config = config("127.0.0.1:5900");
    config.web = Some(web::Options { listings: false, index: None });
    config.route.guards = guards;
    config
}

/// A request with more headers.
fn with(request: &str, more: &str) -> String {
    request.replace("Host: h\r\n", &format!("Host: h\r\n{more}"))
}

#[test]
fn what_the_request_says_is_judged_at_once() {
    every_cut_of(
        || guarded(vec![origin(), basic()]),
        |play| {
            let request = with(UPGRADE, &format!("{ME}Origin: https://desk.test\r\n"));
            play.client([request.into_bytes(), binary("early")].concat());
            assert_eq!((play.heard().as_str(), play.jobs.len()), ("101", 0), "nobody is asked");
            assert_eq!(play.connected().got(), "early");
        },
    );
    for (more, status) in [
        ("", "403"),
        ("Origin: https://desk.test\r\n", "401"),
        (ME, "403"),
        ("Origin: https://desk.test\r\nAuthorization: Basic bWU6d3Jvbmc=\r\n", "401"),
        (
            "Origin: https://desk.test\r\nAuthorization: Basic bWU6c2VjcmV0\r\nAuthorization: Basic bWU6c2VjcmV0\r\n",
            "400",
        ),
        ("Origin: https://desk.test\r\nOrigin: https://desk.test\r\n", "400"),
    ] {
        let mut play = Play::new(guarded(vec![origin(), basic()]));
        assert_eq!(play.client(with(UPGRADE, more)).heard(), status, "{more}");
        assert_eq!((play.dialled.len(), play.jobs.len(), play.fin(Client).end()), (0, 0, "refused"));
    }
}

#[test]
fn nothing_is_looked_up_for_those_who_may_not_pass() {
    let mut config = routed();
    config.route.guards = vec![plugin(), basic()];
    let mut play = Play::new(config.clone());
    assert_eq!(play.client(upgrade("t")).heard(), "401");
    assert_eq!(play.jobs.len(), 0);

    let mut play = Play::new(config);
    play.client(with(&upgrade("t"), ME));
    let Some(Job::Route(question)) = play.jobs.front() else { panic!("{:?}", play.jobs) };
    assert_eq!(question.step, Step::Lookup);
    let first = question.budget;
    play.wait(1_500);
    play.verdict(leads_to("10.0.0.9:1"));
    let Some(Job::Route(question)) = play.jobs.front() else { panic!("{:?}", play.jobs) };
    assert_eq!(
        (question.step, question.target.as_ref().unwrap().to_string().as_str()),
        (Step::Guard(0), "10.0.0.9:1")
    );
    assert_eq!(first - question.budget, Duration::from_millis(1_500), "one deadline for all");
    assert_eq!(play.verdict(Verdict::Routed(Ok(Pass::default()))).heard(), "101");
    assert_eq!(play.dialled, ["10.0.0.9:1"]);
}

#[test]
fn a_plugin_is_told_where_the_client_would_go_and_may_say_otherwise() {
    let mut play = Play::new(guarded(vec![plugin()]));
    play.client(UPGRADE);
    let Some(Job::Route(question)) = play.jobs.front() else { panic!("{:?}", play.jobs) };
    assert_eq!(question.target.as_ref().unwrap().to_string(), "127.0.0.1:5900");
    let pass = Pass {
        target: Target::parse("10.0.0.9:1").ok().map(Into::into),
        framing: None,
        subprotocol: Some("chat".into()),
        headers: vec![("X-Desk".into(), "7".into()), ("X-Bad".into(), "a\r\nX-Worse: b".into())],
        labels: vec![("user".into(), "me".into())],
    };
    assert_eq!(play.verdict(Verdict::Routed(Ok(pass))).heard(), "101");
    let answer = String::from_utf8_lossy(&play.sockets[0].got).into_owned();
    assert!(answer.contains("\r\nSec-WebSocket-Protocol: chat\r\nX-Desk: 7\r\n"), "{answer}");
    assert!(!answer.contains("Worse"), "{answer}");
    assert_eq!(play.dialled, ["10.0.0.9:1"]);
    assert_eq!(play.session.as_ref().unwrap().core().labels(), [("user".into(), "me".into())]);
}

#[test]
fn files_are_guarded_where_that_is_wanted() {
    for (files, head, status) in [
        (false, GET.to_owned(), "file"),
        (true, GET.to_owned(), "403"),
        (true, with(GET, "Origin: https://desk.test\r\n"), "401"),
        (true, with(GET, &format!("{ME}Origin: https://desk.test\r\n")), "file"),
        // Methods that files do not know have nothing to guard.
        (true, GET.replace("GET", "POST"), "405"),
    ] {
        let mut config = guarded(vec![origin(), basic(), Guard::SameOrigin]);
        config.route.guard_files = files;
        let mut play = Play::new(config);
        play.client(head);
        match status {
            "file" => assert!(matches!(play.jobs.front(), Some(Job::Fetch(_))), "{:?}", play.jobs),
            status => assert_eq!(play.heard(), status),
        }
    }
}

#[test]
fn a_plugin_that_guards_files_hears_of_the_configured_target() {
    let mut config = guarded(vec![plugin()]);
    config.route.guard_files = true;
    let mut play = Play::new(config);
    play.client(GET);
    let Some(Job::Route(question)) = play.jobs.front() else { panic!("{:?}", play.jobs) };
    assert_eq!(question.target.as_deref(), play.config.target.as_ref());
    play.verdict(Verdict::Routed(Ok(Pass::default())));
    assert!(matches!(play.jobs.front(), Some(Job::Fetch(_))), "{:?}", play.jobs);

    play = Play::new(guarded(vec![plugin()]));
    play.client(UPGRADE).verdict(Verdict::Routed(Err(Refusal::BUSY)));
    assert_eq!(play.heard(), "503");
}

#[test]
fn another_host_is_told_nothing_else() {
    let hosts = |item: &str| Hosts(vec![Name::parse(item).unwrap()]);
    let guarded = || Config { hosts: hosts("h:80"), ..guarded(vec![plugin(), basic()]) };
    let served = with(UPGRADE, ME);
    for (request, status) in [
        (served.replace("Host: h", "Host: evil.example"), "421"),
        (served.replace("Host: h", "Host: h:81"), "421"),
        (UPGRADE.replace("Host: h", "Host: evil.example"), "421"),
        (GET.replace("Host: h", "Host: evil.example"), "421"),
        (GET.replace("Host: h\r\n", "").replace("1.1", "1.0"), "421"),
        // What is no request is told so.
        (GET.replace("Host: h\r\n", ""), "400"),
        (UPGRADE.to_owned(), "401"),
        (UPGRADE.replace("Host: h", "Host: H.:80"), "401"),
    ] {
        let mut play = Play::new(guarded());
        assert_eq!(play.client(&request).heard(), status, "{request}");
        let is_counted = play.counters.hosts_refused;
        assert_eq!((is_counted, play.jobs.len()), (u64::from(status == "421"), 0), "{request}");
        assert_eq!((play.dialled.len(), play.fin(Client).end()), (0, "refused"));
    }
    let mut play = Play::new(guarded());
    play.client(&served);
    assert!(matches!(play.jobs.front(), Some(Job::Route(_))), "{:?}", play.jobs);
    // A later request on the same connection is no better known.
    let mut play = Play::new(Config { hosts: hosts("h"), ..guarded() });
    play.client(GET).verdict(answers::page("x"));
    assert_eq!(play.client(GET.replace("Host: h", "Host: i")).fin(Client).end(), "refused");
}
