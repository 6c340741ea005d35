//! Names that are stuck, that are wanted by many, and that were asked for a moment ago.

use super::*;
use std::sync::mpsc::{Receiver, Sender, channel};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(10);

/// Names whose look-ups are noted, and which are stuck, from `stuck` on, until the sender is dropped.
struct Played {
    names: Names,
    asked: Receiver<String>,
    release: Option<Sender<()>>,
}

fn played(pace: Pace) -> Played {
    let (tell, asked) = channel();
    let (release, wait) = channel::<()>();
    let (tell, wait) = (Mutex::new(tell), Arc::new(Mutex::new(wait)));
    let names = Names::with(pace, move |(host, _)| {
        tell.lock().unwrap().send(host.clone()).unwrap();
        if host.starts_with("stuck") {
            // As long as one holds it the others wait for it: all end together.
            let _ = wait.lock().unwrap().recv();
        }
        match host.as_str() {
            "absent" => Err(io::Error::other("no such name")),
            "short" => Err(io::Error::from_raw_os_error(libc::EMFILE)),
            "panic" => panic!("a bug"),
            _ => Ok(vec!["10.0.0.9:1".parse().unwrap()]),
        }
    });
    Played { names: names.unwrap(), asked, release: Some(release) }
}

fn pace(patience: u64, keep: u64) -> Pace {
    let (patience, keep) = (Duration::from_millis(patience), Duration::from_millis(keep));
    Pace { patience, keep, threads: 4 }
}

impl Played {
    fn ask(&self, host: &str) -> Receiver<Said> {
        let (tell, said) = channel();
        self.names.ask((host.into(), "1".into()), Box::new(move |answer| drop(tell.send(answer))));
        said
    }

    /// What is said of a name, in one word.
    fn say(&self, host: &str) -> String {
        word(&self.ask(host))
    }

    fn asked(&self) -> String {
        self.asked.recv_timeout(PATIENCE).unwrap()
    }
}

fn word(said: &Receiver<Said>) -> String {
    match said.recv_timeout(PATIENCE) {
        Ok(Said::Answer(Ok(addresses))) => addresses[0].to_string(),
        Ok(Said::Answer(Err(error))) => error.to_string(),
        Ok(Said::Busy) => "busy".into(),
        Err(_) => "dropped".into(),
    }
}

#[test]
fn names_that_are_stuck_delay_no_other() {
    let mut played = played(pace(60_000, 0));
    let stuck: Vec<_> = (0..3).map(|number| played.ask(&format!("stuck-{number}"))).collect();
    for _ in &stuck {
        played.asked();
    }
    // One thread is left, and it is enough; each is asked, since nothing is kept.
    for _ in 0..20 {
        assert_eq!(played.say("other"), "10.0.0.9:1");
        assert_eq!(played.asked(), "other");
    }
    let last = played.ask("stuck-3");
    assert_eq!(played.asked(), "stuck-3");
    // Now all threads are taken. What this machine knows by itself is looked up all the same, other names wait.
    let other = played.ask("other");
    for _ in 0..20 {
        for host in ["localhost", "LocalHost.", ""] {
            assert_eq!(played.say(host), "10.0.0.9:1");
            assert_eq!(played.asked(), host);
        }
    }
    assert!(other.try_recv().is_err());
    played.release = None;
    assert_eq!(word(&other), "10.0.0.9:1");
    assert!(stuck.iter().chain([&last]).all(|said| word(said) == "10.0.0.9:1"));
}

#[test]
fn a_name_that_is_stuck_is_given_up_in_time_and_holds_one_thread() {
    let mut played = played(pace(300, 60_000));
    let begun = Instant::now();
    let first = played.ask("stuck");
    let second = played.ask("stuck");
    for said in [first, second] {
        assert_eq!(word(&said), "the name was not resolved in time");
    }
    assert!((300..5_000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    // Nobody waits for it again, and no other thread is spent on it.
    let begun = Instant::now();
    for _ in 0..20 {
        assert_eq!(played.say("stuck"), "the name was not resolved in time");
    }
    assert!(begun.elapsed() < Duration::from_millis(300), "{:?}", begun.elapsed());
    assert_eq!((played.asked(), played.asked.try_recv().ok()), ("stuck".into(), None));
    // Its answer comes late, and serves those who ask after it.
    played.release = None;
    let until = Instant::now() + PATIENCE;
    while played.say("stuck") != "10.0.0.9:1" {
        assert!(Instant::now() < until);
        thread::yield_now();
    }
    assert!(played.asked.try_recv().is_err(), "it was not asked again");
}

#[test]
fn who_never_had_a_turn_is_told_in_time() {
    let played = played(pace(300, 0));
    for number in 0..4 {
        played.ask(&format!("stuck-{number}"));
        played.asked();
    }
    assert_eq!(played.say("other"), "the name was not resolved in time");
    assert!(played.asked.try_recv().is_err());
    assert!(!played.names.0.0.lock().flights.contains_key(&("other".into(), "1".into())));
}

#[test]
fn equal_names_share_one_question_and_the_answer_is_kept_for_a_while() {
    let mut played = played(pace(60_000, 500));
    let all: Vec<_> = (0..100).map(|_| played.ask("stuck")).collect();
    assert_eq!(played.asked(), "stuck");
    played.release = None;
    assert!(all.iter().all(|said| word(said) == "10.0.0.9:1"));
    assert_eq!(played.say("stuck"), "10.0.0.9:1");
    assert_eq!(played.say("absent"), "no such name");
    assert_eq!(played.say("absent"), "no such name");
    assert_eq!((played.asked(), played.asked.try_recv().ok()), ("absent".into(), None), "kept");
    let until = Instant::now() + PATIENCE;
    while played.asked.try_recv().is_err() {
        assert!(Instant::now() < until, "it is asked again");
        assert_eq!(played.say("absent"), "no such name");
    }
    // What this machine was short of is no answer.
    for _ in 0..2 {
        assert!(played.say("short").contains("os error"));
        assert_eq!(played.asked(), "short");
    }
}

#[test]
fn there_is_an_end_to_what_waits_and_what_is_kept() {
    let mut played = played(pace(60_000, 60_000));
    for number in 0..4 {
        played.ask(&format!("stuck-{number}"));
        played.asked();
    }
    let all: Vec<_> = (0..HELPER_QUEUE_MAX).map(|number| played.ask(&format!("name-{number}"))).collect();
    assert_eq!(played.say("one-too-many"), "busy");
    assert!(all.iter().all(|said| said.try_recv().is_err()));
    played.release = None;
    assert!(all.iter().all(|said| word(said) == "10.0.0.9:1"));
    assert!((0..NAME_CACHE_MAX).all(|number| played.say(&format!("more-{number}")) == "10.0.0.9:1"));
    let state = played.names.0.0.lock();
    assert!(state.known.len() <= NAME_CACHE_MAX);
    assert!(state.threads <= 4 && state.waiters == 0, "{} {}", state.threads, state.waiters);
}

#[test]
fn a_look_up_that_breaks_off_costs_its_name_alone() {
    let played = played(pace(60_000, 0));
    for _ in 0..10 {
        assert_eq!(played.say("panic"), "dropped");
        assert_eq!(played.say("other"), "10.0.0.9:1");
    }
}

#[test]
fn threads_end_with_the_last_way_to_them() {
    let played = played(pace(60_000, 0));
    assert_eq!(played.say("other"), "10.0.0.9:1");
    let board = played.names.0.0.clone();
    drop(played);
    let until = Instant::now() + PATIENCE;
    while Arc::strong_count(&board) > 1 {
        assert!(Instant::now() < until);
        thread::yield_now();
    }
}

#[test]
fn what_this_machine_knows() {
    let hosts = "# desk9 10.0.0.1\n127.0.0.1\tlocalhost loop # not.this\n10.0.0.7  Desk7.Example desk7\n";
    for host in ["", "localhost", "LOOP", "desk7.example.", "desk7"] {
        assert!(is_local(host, hosts), "{host}");
    }
    for host in ["desk9", "not.this", "desk", "example", "other.test"] {
        assert!(!is_local(host, hosts), "{host}");
    }
}
