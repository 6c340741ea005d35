//! Cases for plugins as processes: answers in any order, late ones, none; processes that end, hang, babble or never start.

use super::*;
use crate::http::Refusal;
use crate::limits::{PLUGIN_IN_FLIGHT_MAX, PLUGIN_LINE_BYTES_MAX};
use crate::route::plugin::Program;
use crate::route::request::Request;
use crate::route::token::Token;
use crate::route::{Pass, Step};
use crate::session::job::Verdict;
use pace::Pace;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Reads its first line and is ready.
pub(super) const READY: &str = "read -r hello; echo '{\"ready\":true}'; ";
/// Finds the number of the question in `$line`.
pub(super) const ID: &str = "id=${line#*:}; id=${id%%,*}; ";

/// A desk in a hurry.
pub(super) fn hurried(plugin: &Plugin, kind: Kind) -> Desk {
    let pace = Pace {
        answer: Duration::from_millis(1_000),
        silence: Duration::from_millis(1_500),
        start: Duration::from_millis(3_000),
        stop: Duration::from_millis(1_000),
        restart_min: Duration::from_millis(20),
        restart_max: Duration::from_millis(200),
    };
    let mut desk = Desk::new(plugin, kind, Log::silent());
    desk.pace = pace;
    desk
}

pub(super) fn start(script: &str) -> Result<Running, String> {
    start_at(script, |_| {})
}

/// With a pace of its own.
fn start_at(script: &str, pace: impl FnOnce(&mut Pace)) -> Result<Running, String> {
    start_as(script, Kind::Auth, pace)
}

fn start_as(script: &str, kind: Kind, pace: impl FnOnce(&mut Pace)) -> Result<Running, String> {
    let plugin = Plugin { program: Program::Shell(script.into()), source: Some("the source".into()) };
    let mut desk = hurried(&plugin, kind);
    pace(&mut desk.pace);
    let desk = Arc::new(desk);
    process::supervise(plugin, &desk).unwrap();
    let running = Running { desk: desk.clone() };
    desk.first_word(PATIENCE).map(|()| running)
}

/// A plugin that is ready, and then does `script` with each `$line`.
fn each(script: &str) -> Running {
    start(&format!("{READY} while read -r line; do {ID} {script}; done")).unwrap()
}

pub(super) fn ask(running: &Running, token: &str) -> Receiver<Verdict> {
    ask_for(running, token, Duration::from_secs(60))
}

/// For a session that has so much time left.
fn ask_for(running: &Running, token: &str, budget: Duration) -> Receiver<Verdict> {
    let (tell, answer) = channel();
    running.ask(question(token, budget), Box::new(move |verdict| drop(tell.send(verdict))));
    answer
}

fn question(token: &str, budget: Duration) -> Question {
    let request = Request::bare(Vec::new());
    let token = Some(Token::new(token));
    Question { step: Step::Guard(0), request: request.into(), token, target: None, budget }
}

/// The status of an answer: 0 for one that lets pass.
pub(super) fn status(answer: &Receiver<Verdict>) -> u16 {
    match answer.recv_timeout(PATIENCE).expect("there is always an answer") {
        Verdict::Routed(Ok(_)) => 0,
        Verdict::Routed(Err(refusal)) => refusal.status(),
        Verdict::Busy => Refusal::BUSY.status(),
        other => panic!("{other:?}"),
    }
}

fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("websplice-plugin-{}-{name}", std::process::id()))
}

/// Waits until `done` says so.
pub(super) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn answers_are_told_apart_by_their_numbers() {
    // Two questions at a time, answered the other way round: the second is let in, the first is not.
    let running = each(
        "first=$id; read -r line; id=${line#*:}; id=${id%%,*}; \
         echo \"{\\\"id\\\":$id,\\\"allow\\\":{\\\"labels\\\":{\\\"user\\\":\\\"b\\\"}}}\"; \
         echo \"{\\\"id\\\":$first,\\\"deny\\\":{\\\"status\\\":401}}\"",
    );
    for _ in 0..20 {
        let (first, second) = (ask(&running, "a"), ask(&running, "b"));
        assert_eq!(status(&first), 401);
        let verdict = second.recv_timeout(PATIENCE).unwrap();
        let Verdict::Routed(Ok(Pass { labels, .. })) = verdict else { panic!("{verdict:?}") };
        assert_eq!(labels, [("user".into(), "b".into())]);
    }
}

#[test]
fn a_process_is_told_its_source_and_what_it_is_for() {
    let running = start(
        "read -r hello; case $hello in '{\"hello\":{'*'\"kind\":\"auth\"'*'\"source\":\"the source\"'*) \
         echo '{\"ready\":true}';; *) echo '{\"error\":\"odd\"}';; esac; read -r line",
    );
    assert!(running.is_ok(), "{running:?}");
}

#[test]
fn what_is_of_no_use_is_told_at_start() {
    let told = |script: &str| start(script).err().unwrap();
    assert_eq!(told("read -r hello; echo '{\"error\":\"no such table\"}'; read -r line"), "no such table");
    let missing = told("/nonexistent/plugin");
    assert!(missing.contains("exit status: 127") && missing.contains("not found"), "{missing}");
    assert!(told("exit 3").contains("exit status: 3"));
    let begun = Instant::now();
    assert!(told("sleep 600").contains("in time"));
    assert!(begun.elapsed() < PATIENCE);
    let python = Program::Python { python: "/nonexistent/python".into(), class: "a.B".into() };
    let absent =
        Running::start(&Plugin { program: python, source: None }, Kind::Token, PATIENCE, &Log::silent())
            .unwrap_err();
    assert!(
        absent.starts_with("option --token-plugin: a.B: cannot run /nonexistent/python (name another"),
        "{absent}"
    );
}

#[test]
fn garbage_is_passed_over_and_its_question_refused() {
    let running = each(
        "case $line in *'\"token\":\"good\"'*) echo hello; echo; echo '[1]'; head -c 200000 /dev/zero; echo; \
         echo \"{\\\"id\\\":999,\\\"allow\\\":{}}\"; echo \"{\\\"id\\\":$id,\\\"allow\\\":{}}\";; \
         *'\"token\":\"odd\"'*) echo \"{\\\"id\\\":$id,\\\"allow\\\":{\\\"framing\\\":\\\"base64\\\"}}\";; \
         *) echo garbage;; esac",
    );
    assert_eq!(status(&ask(&running, "good")), 0);
    assert_eq!(status(&ask(&running, "odd")), 503);
    assert_eq!(status(&ask(&running, "bad")), 503);
    assert_eq!(status(&ask(&running, "good")), 0, "it is still the same process");
}

#[test]
fn late_answers_are_dropped() {
    // The first answer comes when its question has been given up, and must not be taken for that of another.
    let running = each(
        "case $line in *slow*) late=$id; sleep 1.2;; *) echo \"{\\\"id\\\":$late,\\\"allow\\\":{}}\"; \
         echo \"{\\\"id\\\":$id,\\\"deny\\\":{}}\";; esac",
    );
    assert_eq!(status(&ask(&running, "slow")), 503);
    assert_eq!(status(&ask(&running, "quick")), 403);
}

#[test]
fn a_process_that_ends_is_started_again() {
    let running =
        each("case $line in *die*) kill -9 $$;; *) echo \"{\\\"id\\\":$id,\\\"allow\\\":{}}\";; esac");
    for _ in 0..3 {
        assert_eq!(status(&ask(&running, "x")), 0);
        assert_eq!(status(&ask(&running, "die")), 503, "what it was asked is refused at once");
    }
    assert_eq!(status(&ask(&running, "x")), 0);
}

#[test]
fn a_process_that_hangs_is_killed_and_started_again() {
    let marks = scratch("hangs");
    let _ = std::fs::remove_file(&marks);
    let running = start(&format!(
        "trap '' TERM; {READY} echo x >> {}; while read -r line; do {ID} case $line in *hang*) sleep 600;; *) \
         echo \"{{\\\"id\\\":$id,\\\"allow\\\":{{}}}}\";; esac; done",
        marks.display()
    ))
    .unwrap();
    assert_eq!(status(&ask(&running, "x")), 0);
    assert_eq!(status(&ask(&running, "hang")), 503);
    until("it is started again", || {
        std::fs::read_to_string(&marks).is_ok_and(|text| text.lines().count() == 2)
    });
    until("it answers again", || status(&ask(&running, "x")) == 0);
    drop(running);
    std::fs::remove_file(&marks).unwrap();
}

#[test]
fn there_is_a_bound_to_what_is_asked_at_once_and_to_what_waits() {
    let seen = scratch("bound");
    let running = start(&format!("{READY} cat > {}", seen.display())).unwrap();
    let all: Vec<_> =
        (0..crate::limits::PLUGIN_QUEUE_MAX + PLUGIN_IN_FLIGHT_MAX + 8).map(|_| ask(&running, "x")).collect();
    let refused = all.iter().filter(|answer| matches!(answer.try_recv(), Ok(Verdict::Busy))).count();
    assert!((8..=8 + PLUGIN_IN_FLIGHT_MAX).contains(&refused), "{refused}");
    until("it is asked", || {
        std::fs::read_to_string(&seen).is_ok_and(|text| text.lines().count() == PLUGIN_IN_FLIGHT_MAX)
    });
    for answer in &all {
        // Those that were refused at once have been looked at.
        let _ = answer.recv_timeout(PATIENCE);
    }
    drop(running);
    std::fs::remove_file(&seen).unwrap();
}

#[test]
fn it_ends_with_its_plugin_and_all_it_has_started() {
    let pids = scratch("pids");
    for stubborn in ["", "trap '' TERM; "] {
        let script =
            format!("{stubborn}{READY} sleep 600 & echo $$ $! > {}; wait; sleep 600", pids.display());
        let running = start(&script).unwrap();
        until("it has begun", || std::fs::read_to_string(&pids).is_ok_and(|text| text.ends_with('\n')));
        let text = std::fs::read_to_string(&pids).unwrap();
        drop(running);
        for pid in text.split_whitespace() {
            let gone = || {
                let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
                stat.is_err() || stat.is_ok_and(|stat| stat.contains(") Z "))
            };
            until("it is gone", gone);
        }
        std::fs::remove_file(&pids).unwrap();
    }
}

#[test]
fn the_end_of_its_input_is_the_sign_to_end() {
    let told = scratch("told");
    let running =
        start(&format!("{READY} while read -r line; do :; done; echo end > {}", told.display())).unwrap();
    drop(running);
    assert_eq!(std::fs::read_to_string(&told).unwrap(), "end\n");
    std::fs::remove_file(&told).unwrap();
}

#[test]
fn a_new_process_takes_over_when_the_old_one_has_answered() {
    let running =
        each("sleep 0.2; echo \"{\\\"id\\\":$id,\\\"allow\\\":{\\\"labels\\\":{\\\"pid\\\":\\\"$$\\\"}}}\"");
    let pid = |answer: &Receiver<Verdict>| match answer.recv_timeout(PATIENCE) {
        Ok(Verdict::Routed(Ok(pass))) => pass.labels[0].1.clone(),
        other => panic!("{other:?}"),
    };
    let old = pid(&ask(&running, "x"));
    let before = ask(&running, "x");
    // It may not have been asked yet, and then the new one is: either way it is answered.
    running.renew();
    let after = ask(&running, "x");
    pid(&before);
    assert_ne!(pid(&after), old);
}

#[test]
fn who_does_not_read_holds_nobody_up() {
    let running = start(&format!("{READY} exec sleep 600")).unwrap();
    let long = "x".repeat(PLUGIN_LINE_BYTES_MAX / 2);
    let begun = Instant::now();
    let all: Vec<_> = (0..20).map(|_| ask(&running, &long)).collect();
    assert!(begun.elapsed() < Duration::from_millis(500), "asking never waits");
    for answer in &all {
        assert_eq!(status(answer), 503);
    }
}

#[test]
fn who_holds_its_output_does_not_keep_it_dead() {
    // What it leaves behind is in a session of its own, and so out of reach; the pipes are its own too.
    let marks = scratch("holds");
    let _ = std::fs::remove_file(&marks);
    let running = start(&format!(
        "{READY} echo x >> {0}; setsid sleep 600 & echo $! >> {0}.left; \
         while read -r line; do {ID} case $line in *die*) kill -9 $$;; *) \
         echo \"{{\\\"id\\\":$id,\\\"allow\\\":{{}}}}\";; esac; done",
        marks.display()
    ))
    .unwrap();
    assert_eq!(status(&ask(&running, "x")), 0);
    let begun = Instant::now();
    assert_eq!(status(&ask(&running, "die")), 503);
    assert_eq!(status(&ask(&running, "x")), 0);
    assert!(begun.elapsed() < Duration::from_millis(1_000), "{:?}", begun.elapsed());
    drop(running);
    let left = PathBuf::from(format!("{}.left", marks.display()));
    for pid in std::fs::read_to_string(&left).unwrap().lines() {
        let _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(pid.parse().unwrap()),
            nix::sys::signal::SIGKILL,
        );
    }
    std::fs::remove_file(&left).unwrap();
    std::fs::remove_file(&marks).unwrap();
}

#[test]
fn what_it_has_started_ends_with_it_however_it_ends() {
    // The leader goes at once; the other one does not heed SIGTERM, and holds none of its pipes.
    let pids = scratch("leader");
    let _ = std::fs::remove_file(&pids);
    let script = format!(
        "(trap '' TERM; exec sleep 600) </dev/null >/dev/null 2>&1 & echo $! > {}; {READY} read -r line",
        pids.display()
    );
    let running = start(&script).unwrap();
    until("it has begun", || std::fs::read_to_string(&pids).is_ok_and(|text| text.ends_with('\n')));
    let pid = std::fs::read_to_string(&pids).unwrap();
    drop(running);
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    assert!(stat.is_err() || stat.is_ok_and(|stat| stat.contains(") Z ")), "it is gone by then");
    std::fs::remove_file(&pids).unwrap();
}

#[test]
fn questions_that_hang_count_and_too_many_have_it_replaced() {
    let seen = scratch("hung");
    let _ = std::fs::remove_file(&seen);
    let begun = scratch("hung-begun");
    let _ = std::fs::remove_file(&begun);
    let running = start_at(
        &format!(
            "{READY} echo x >> {1}; while read -r line; do {ID} case $line in *hang*) echo x >> {0};; *) \
             echo \"{{\\\"id\\\":$id,\\\"allow\\\":{{}}}}\";; esac; done",
            seen.display(),
            begun.display()
        ),
        |pace| pace.silence = PATIENCE,
    )
    .unwrap();
    let lines = |path: &PathBuf| std::fs::read_to_string(path).map_or(0, |text| text.lines().count());
    let hang = |count: usize| {
        let all: Vec<_> = (0..count).map(|_| ask(&running, "hang")).collect();
        all.iter().for_each(|answer| assert_eq!(status(answer), 503));
    };
    hang(crate::limits::PLUGIN_HUNG_MAX);
    assert_eq!(status(&ask(&running, "x")), 0, "half of the places are left");
    assert_eq!(lines(&begun), 1);
    hang(1);
    until("it is replaced", || lines(&begun) == 2);
    assert_eq!(status(&ask(&running, "x")), 0);
    drop(running);
    for path in [seen, begun] {
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn one_question_that_hangs_for_ever_has_it_replaced_as_well() {
    let running = start_at(
        &format!(
            "{READY} while read -r line; do {ID} case $line in *hang*) ;; *) \
             echo \"{{\\\"id\\\":$id,\\\"allow\\\":{{\\\"labels\\\":{{\\\"pid\\\":\\\"$$\\\"}}}}}}\";; esac; done"
        ),
        |pace| (pace.answer, pace.silence) = (Duration::from_millis(300), PATIENCE),
    )
    .unwrap();
    let pid = || match ask(&running, "x").recv_timeout(PATIENCE) {
        Ok(Verdict::Routed(Ok(pass))) => pass.labels[0].1.clone(),
        _ => "".into(),
    };
    let old = pid();
    assert_eq!(status(&ask(&running, "hang")), 503);
    until("it is another one", || ![old.clone(), "".into()].contains(&pid()));
}

#[test]
fn a_question_that_hangs_keeps_no_new_process_away() {
    let marks = scratch("renewed");
    let _ = std::fs::remove_file(&marks);
    let running =
        start_at(&format!("{READY} echo x >> {}; while read -r line; do :; done", marks.display()), |pace| {
            pace.silence = PATIENCE * 2
        })
        .unwrap();
    let lines = || std::fs::read_to_string(&marks).map_or(0, |text| text.lines().count());
    until("it has begun", || lines() == 1);
    let hung = ask(&running, "x");
    running.renew();
    assert_eq!(status(&hung), 503);
    // Nobody asks anything that could wake it up.
    until("it is replaced", || lines() == 2);
    drop(running);
    std::fs::remove_file(&marks).unwrap();
}

#[test]
fn what_is_told_at_start_has_no_source() {
    let told = start("read -r hello; echo '{\"error\":\"cannot use the source of it\"}'; read -r line").err();
    assert_eq!(told.as_deref(), Some("cannot use (secret) of it"));
    let told = start("echo 'I hate the source' >&2; exit 3").err().unwrap();
    assert!(told.ends_with("exit status: 3: I hate (secret)"), "{told}");
}

#[test]
fn nobody_is_waited_for_longer_than_somebody_waits() {
    let running = start_at(
        &format!(
            "{READY} while read -r line; do {ID} case $line in *slow*) ;; *) \
             echo \"{{\\\"id\\\":$id,\\\"allow\\\":{{\\\"labels\\\":{{\\\"pid\\\":\\\"$$\\\"}}}}}}\";; esac; done"
        ),
        |pace| (pace.answer, pace.silence) = (PATIENCE * 3, PATIENCE * 6),
    )
    .unwrap();
    let pid = || match ask(&running, "x").recv_timeout(PATIENCE) {
        Ok(Verdict::Routed(Ok(pass))) => pass.labels[0].1.clone(),
        other => panic!("{other:?}"),
    };
    let old = pid();
    let begun = Instant::now();
    assert_eq!(status(&ask_for(&running, "x", Duration::ZERO)), 503);
    let budget = |number| Duration::from_millis(if number % 2 == 0 { 400 } else { 200 });
    let slow = |count: usize| {
        let all: Vec<_> = (0..count).map(|number| ask_for(&running, "slow", budget(number))).collect();
        assert!(all.iter().all(|answer| status(answer) == 503));
    };
    // They had little time: that is no reason to have the process replaced.
    slow(crate::limits::PLUGIN_HUNG_MAX + 4);
    assert_eq!(pid(), old);
    // More than may be asked at once: the others wait for their turn in vain.
    slow(PLUGIN_IN_FLIGHT_MAX);
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
}

#[test]
fn what_is_for_all_is_asked_of_those_who_answer_by_the_token() {
    let lives = scratch("lives");
    let _ = std::fs::remove_file(&lives);
    // Every other life answers by the token, the first among them.
    let script = format!(
        "read -r hello; echo x >> {0}; case $(wc -l < {0}) in *[13579]) echo '{{\"ready\":true,\"by\":\"token\"}}';; \
         *) echo '{{\"ready\":true}}';; esac; while read -r line; do {ID} case $line in *die*) kill -9 $$;; *) \
         echo \"{{\\\"id\\\":$id,\\\"allow\\\":{{\\\"target\\\":\\\"h:${{#line}}\\\"}}}}\";; esac; done",
        lives.display()
    );
    let running = start_as(&script, Kind::Token, |_| {}).unwrap();
    let for_all = |token: &str| {
        let (tell, answer) = channel();
        let question = question(token, Duration::from_secs(60));
        running.ask_for_all(question, Box::new(move |verdict| drop(tell.send(verdict))));
        answer
    };
    for is_by_token in [true, false, true] {
        until("it is there", || status(&ask(&running, "x")) == 0);
        assert_eq!(running.answers_by_token(), is_by_token);
        assert_eq!(status(&for_all("x")), if is_by_token { 0 } else { 503 });
        let verdict = ask(&running, "x").recv_timeout(PATIENCE).unwrap();
        let Verdict::Routed(Ok(Pass { target: Some(target), .. })) = verdict else { panic!("{verdict:?}") };
        let length: usize = target.to_string()[2..].parse().unwrap();
        assert_eq!(length < 50, is_by_token, "it is told the token alone: {length}");
        let last = for_all("die");
        assert_eq!(status(&last), 503);
        if !is_by_token {
            // That one was not asked.
            assert_eq!(status(&ask(&running, "die")), 503);
        }
    }
    drop(running);
    std::fs::remove_file(&lives).unwrap();
}

#[test]
fn a_process_says_once_what_it_answers_by() {
    let script = format!(
        "read -r hello; echo '{{\"ready\":true,\"by\":\"token\"}}'; while read -r line; do {ID} echo '{{\"ready\":true}}'; \
         echo \"{{\\\"id\\\":$id,\\\"allow\\\":{{\\\"target\\\":\\\"h:1\\\"}}}}\"; done"
    );
    let running = start_as(&script, Kind::Token, |_| {}).unwrap();
    for _ in 0..3 {
        assert_eq!(status(&ask(&running, "x")), 0);
        assert!(running.answers_by_token());
    }
}

#[test]
fn who_guards_is_not_asked_by_the_token() {
    let told = start("read -r hello; echo '{\"ready\":true,\"by\":\"token\"}'; read -r line").err().unwrap();
    assert!(told.contains("leave \"by\" out"), "{told}");
}
