//! Cases for targets that may not be connected to: what is found out of them before the 101, and what is dialled then.

use super::play::{Client, Event, Play};
use super::read::{GET, UPGRADE, binary};
use super::routing::{leads_to, upgrade};
use super::settings::{config, every_cut_of, routed};
use crate::config::Config;
use crate::limits::ROUTE_TIMEOUT_MS;
use crate::route::reach::Rule;
use crate::session::job::{Job, Verdict};
use crate::target::Target;
use crate::web;
use std::io;
use std::path::PathBuf;

/// `config` with these lists.
fn with(mut config: Config, allow: &str, deny: &str) -> Config {
    for (list, rules) in [(allow, &mut config.route.reach.allow), (deny, &mut config.route.reach.deny)] {
        for item in list.split(',').filter(|item| !item.is_empty()) {
            Rule::read(item, rules).unwrap();
        }
    }
    config
}

/// A socket that was found, and is there.
fn held(name: &str, real: &str) -> Verdict {
    Verdict::Held(Ok((Target::Unix(name.into()), PathBuf::from(real))))
}

#[test]
fn what_is_written_is_judged_at_once() {
    let rows = [
        ("10.0.0.9:1", "10.0.0.0/8", "", "101"),
        ("10.0.0.9:1", "10.0.0.8", "", "403"),
        ("10.0.0.9:1", "", "10.0.0.0/8:2", "101"),
        ("10.0.0.9:1", "", "10.0.0.0/8", "403"),
        ("[::ffff:10.0.0.9]:1", "", "10.0.0.0/8", "403"),
        ("0.0.0.0:1", "", "loopback", "403"),
        ("unix:@x", "@x", "", "101"),
        ("unix:@x", "", "@", "403"),
        ("echo://", "10.0.0.0/8", ":1-65535", "101"),
    ];
    for (target, allow, deny, status) in rows {
        every_cut_of(
            || with(config(target), allow, deny),
            |play| {
                play.client(UPGRADE);
                assert_eq!((play.heard().as_str(), play.jobs.len()), (status, 0), "{target} {allow} {deny}");
                let is_dialled = status == "101" && target != "echo://";
                assert_eq!(play.dialled.len(), usize::from(is_dialled), "{target}");
            },
        );
    }
}

#[test]
fn who_is_refused_is_told_of_once_with_the_cause() {
    let mut play = Play::new(with(config("10.0.0.9:1"), "", "10.0.0.0/8"));
    assert_eq!(play.client(UPGRADE).heard(), "403");
    let core = play.session.as_ref().unwrap().core();
    assert_eq!(core.detail.as_deref(), Some("--deny-target refuses 10.0.0.9:1"));
    assert_eq!((play.counters.targets_refused, play.counters.bridged), (1, 0));
    assert_eq!((play.fin(Client).end(), &*play.lines), ("refused", &["GET /x 403".to_owned()][..]));
}

#[test]
fn a_name_is_judged_by_its_addresses_and_looked_up_once() {
    every_cut_of(
        || with(config("h:1"), "", "10.0.0.0/8"),
        |play| {
            play.client([UPGRADE.as_bytes().to_vec(), binary("early")].concat());
            assert!(matches!(&play.jobs[0], Job::Resolve { host, .. } if host == "h"), "{:?}", play.jobs);
            assert_eq!((play.heard().as_str(), play.dialled.len()), ("", 0), "nothing before it is known");
            play.resolved(&["10.0.0.1:1", "127.0.0.1:1", "[::ffff:10.0.0.2]:1", "127.0.0.2:1"]);
            assert_eq!((play.heard().as_str(), play.jobs.len()), ("101", 0));
            assert_eq!(play.refused().connected().got(), "early");
            assert_eq!(play.dialled, ["127.0.0.1:1", "127.0.0.2:1"], "and no other");
            let core = play.session.as_ref().unwrap().core();
            assert_eq!(core.target.as_deref(), Some(&Target::parse("h:1").unwrap()), "it goes by its name");
        },
    );
    let mut play = Play::new(with(config("h:1"), "", "10.0.0.0/8"));
    play.client(UPGRADE).resolved(&["10.0.0.1:1", "[::ffff:10.0.0.2]:1"]);
    assert_eq!((play.heard().as_str(), play.dialled.len()), ("403", 0));
    let core = play.session.as_ref().unwrap().core();
    let why = "--deny-target refuses [::ffff:10.0.0.2]:1, where h:1 leads";
    assert_eq!((core.detail.as_deref(), play.counters.targets_refused), (Some(why), 1));
}

#[test]
fn a_socket_is_judged_by_where_it_really_is() {
    let mut play = Play::new(with(config("unix:/run/link"), "/run/desks", ""));
    play.client(UPGRADE);
    assert!(
        matches!(&play.jobs[0], Job::Hold(target) if target.to_string() == "/run/link"),
        "{:?}",
        play.jobs
    );
    assert_eq!(play.verdict(held("/proc/7", "/run/desks/1")).heard(), "101");
    assert_eq!(play.dialled, ["unix:/proc/7"], "what was found and nothing else");

    for (real, why) in [
        ("/run/desks-evil/1", "--allow-target refuses /run/desks-evil/1, where /run/link leads"),
        ("/run/link", "--allow-target refuses /run/link"),
    ] {
        let mut play = Play::new(with(config("unix:/run/link"), "/run/desks", ""));
        play.client(UPGRADE).verdict(held("/proc/7", real));
        assert_eq!((play.heard().as_str(), play.dialled.len()), ("403", 0), "{real}");
        assert_eq!(play.session.as_ref().unwrap().core().detail.as_deref(), Some(why));
    }
}

#[test]
fn whoever_says_where_to_is_judged_behind_everybody_else() {
    let mut play = Play::new(with(routed(), "10.0.0.0/8", ""));
    assert_eq!(play.client(UPGRADE).heard(), "403", "without a token nobody is asked");
    assert_eq!(play.jobs.len(), 0);
    for (target, status) in [("10.0.0.9:1", "101"), ("11.0.0.9:1", "403"), ("echo://", "101")] {
        let mut play = Play::new(with(routed(), "10.0.0.0/8", ""));
        play.client(upgrade("t"));
        assert!(matches!(play.jobs.front(), Some(Job::Route(_))), "{:?}", play.jobs);
        assert_eq!(play.verdict(leads_to(target)).heard(), status, "{target}");
    }
    // Its name has the token in it, which nobody is shown.
    let mut play = Play::new(with(routed(), "10.0.0.0/8", ""));
    play.client(upgrade("secret-7")).verdict(leads_to("secret-7.example:1")).resolved(&["11.0.0.9:1"]);
    assert_eq!(play.heard(), "403");
    let core = play.session.as_ref().unwrap().core();
    let told = core.veiled(core.detail.as_deref().unwrap());
    assert!(told.starts_with("--allow-target refuses 11.0.0.9:1, where ~"), "{told}");
    assert!(told.ends_with(".example:1 leads") && !told.contains("secret-7"), "{told}");
}

#[test]
fn where_nobody_can_say_where_it_is_nothing_is_dialled() {
    let rows: [(&str, Event, &str); 7] = [
        ("h:1", |play| play.verdict(Verdict::Addresses(Err(io::ErrorKind::NotFound.into()))), "502"),
        ("h:1", |play| play.resolved(&[]), "502"),
        ("h:1", |play| play.verdict(Verdict::Busy), "503"),
        ("h:1", |play| play.wait(ROUTE_TIMEOUT_MS), "504"),
        ("h:1", |play| play.stop(), "503"),
        ("unix:/x", |play| play.verdict(Verdict::Held(Err(io::ErrorKind::NotFound.into()))), "502"),
        ("unix:/x", |play| play.verdict(Verdict::Busy), "503"),
    ];
    for (target, fails, status) in rows {
        let mut play = Play::new(with(config(target), "", "@none"));
        assert_eq!(fails(play.client(UPGRADE)).heard(), status, "{target}");
        assert_eq!((play.dialled.len(), play.fin(Client).end()), (0, "refused"));
    }
}

#[test]
fn files_lead_nowhere() {
    let mut config = with(config("10.0.0.9:1"), "", "10.0.0.0/8");
    config.web = Some(web::Options { listings: false, index: None });
    let mut play = Play::new(config);
    play.client(GET);
    assert!(matches!(play.jobs.front(), Some(Job::Fetch(_))), "{:?}", play.jobs);
}
