//! Tables for flights: who shares a question, whose time counts, and what is kept for how long.

use super::*;
use crate::observe::log::Log;
use crate::plugin::Kind;
use crate::route::Pass;
use crate::route::plugin::{Plugin, Program};
use crate::route::request::Request;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[test]
fn the_time_of_who_asked_first_is_not_that_of_all() {
    let (tell, asked) = std::sync::mpsc::channel();
    let (never, wait) = std::sync::mpsc::channel::<()>();
    let (wait, is_first) = (Mutex::new(wait), AtomicBool::new(true));
    let settle = move |wanted: &Wanted| {
        tell.send(wanted.until).unwrap();
        if !is_first.swap(false, Ordering::Relaxed) {
            return Ok(Pass::default());
        }
        // The first question gets no answer in its time.
        let left = wanted.until.saturating_duration_since(Instant::now());
        assert!(wait.lock().unwrap().recv_timeout(left).is_err());
        Err(Refusal::BUSY)
    };
    let flights = Flights::start(1, 1, Duration::ZERO, || false, settle).unwrap();
    let (note, verdicts) = std::sync::mpsc::channel();
    let begun = Instant::now();
    let ask = |name: &'static str, after: Duration| {
        let note = note.clone();
        let wanted = Wanted { token: Token::new("t"), is_host: false, until: begun + after };
        let reply = move |verdict| note.send((name, matches!(verdict, Verdict::Routed(Ok(_))))).unwrap();
        flights.ask(wanted, Box::new(reply));
    };
    ask("first", Duration::from_millis(500));
    ask("hurried", Duration::from_millis(300));
    ask("second", Duration::from_secs(60));
    let next = || verdicts.recv_timeout(Duration::from_secs(10)).unwrap();
    let all = [next(), next(), next()];
    assert_eq!(all, [("first", false), ("hurried", false), ("second", true)]);
    let rounds: Vec<_> = asked.try_iter().collect();
    drop(never);
    assert_eq!(rounds, [begun + Duration::from_millis(500), begun + Duration::from_secs(60)]);
}

#[test]
fn during_a_rest_only_what_is_known_is_answered() {
    let rests = Arc::new(AtomicBool::new(false));
    let seen = rests.clone();
    let good = |_: &Wanted| Ok(Pass::default());
    let flights =
        Flights::start(1, 1, Duration::from_secs(3600), move || seen.load(Ordering::Relaxed), good).unwrap();
    let ask = |token: &str| {
        let (note, verdict) = std::sync::mpsc::channel();
        let until = Instant::now() + Duration::from_secs(60);
        let wanted = Wanted { token: Token::new(token), is_host: false, until };
        flights.ask(wanted, Box::new(move |verdict| note.send(verdict).unwrap()));
        matches!(verdict.recv_timeout(Duration::from_secs(10)).unwrap(), Verdict::Routed(Ok(_)))
    };
    assert!(ask("known"));
    rests.store(true, Ordering::Relaxed);
    assert!(ask("known") && !ask("other"));
    rests.store(false, Ordering::Relaxed);
    assert!(ask("other"));
}

#[test]
fn a_second_round_has_time_too() {
    let (tell, asked) = std::sync::mpsc::channel();
    let settle = move |wanted: &Wanted| {
        tell.send(()).unwrap();
        std::thread::sleep(wanted.until.saturating_duration_since(Instant::now()));
        Err(Refusal::BUSY)
    };
    let flights = Flights::start(1, 1, Duration::ZERO, || false, settle).unwrap();
    let (note, verdicts) = std::sync::mpsc::channel();
    for millis in [300, 310] {
        let note = note.clone();
        let until = Instant::now() + Duration::from_millis(millis);
        let wanted = Wanted { token: Token::new("t"), is_host: false, until };
        flights.ask(wanted, Box::new(move |verdict| note.send(matches!(verdict, Verdict::Busy)).unwrap()));
    }
    let told = [(); 2].map(|()| verdicts.recv_timeout(Duration::from_secs(10)).unwrap());
    assert_eq!(told, [false, true], "the second is not asked about in the little time that it has left");
    assert_eq!(asked.try_iter().count(), 1);
}

#[test]
fn who_has_waited_for_half_the_time_is_not_asked_about() {
    let (tell, asked) = std::sync::mpsc::channel();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let settle = move |wanted: &Wanted| {
        tell.send(wanted.token.secret().to_owned()).unwrap();
        wait.lock().unwrap().recv_timeout(Duration::from_secs(10)).unwrap();
        Ok(Pass::default())
    };
    let flights = Flights::start(1, 4, Duration::ZERO, || false, settle).unwrap();
    let (note, verdicts) = std::sync::mpsc::channel();
    let ask = |token: &str, time: Duration| {
        let (note, name) = (note.clone(), token.to_owned());
        let wanted = Wanted { token: Token::new(token), is_host: false, until: Instant::now() + time };
        let reply = move |verdict| note.send((name, matches!(verdict, Verdict::Routed(Ok(_))))).unwrap();
        flights.ask(wanted, Box::new(reply));
    };
    let long = Duration::from_secs(60);
    ask("first", long);
    assert_eq!(asked.recv_timeout(Duration::from_secs(10)).unwrap(), "first");
    let begun = Instant::now();
    // Half of its time passes here, the whole does not.
    ask("late", Duration::from_secs(20));
    ask("both", Duration::ZERO);
    ask("both", long);
    ask("last", long);
    for waiter in flights.board.lock().waiting.values_mut().flatten() {
        waiter.turn_by -= Duration::from_secs(10);
    }
    (0..3).for_each(|_| go.send(()).unwrap());
    let mut told: Vec<_> = (0..5).map(|_| verdicts.recv_timeout(Duration::from_secs(10)).unwrap()).collect();
    assert!(begun.elapsed() < Duration::from_secs(10));
    let named = |name: &str, good| (name.to_owned(), good);
    assert_eq!(told.remove(0), named("first", true));
    told.sort();
    assert_eq!(told, [named("both", false), named("both", true), named("last", true), named("late", false)]);
    assert_eq!(asked.try_iter().collect::<Vec<_>>(), ["both", "last"]);
}

/// How often a plugin is asked for `t` and for `bad`, each three times before it answers and once after that.
fn asked(ready: &str, keep: Duration) -> (usize, Vec<u16>) {
    static PLACES: AtomicUsize = AtomicUsize::new(0);
    let number = PLACES.fetch_add(1, Ordering::Relaxed);
    let place = std::env::temp_dir().join(format!("websplice-flights-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&place).unwrap();
    let path = |name: &str| place.join(name).display().to_string();
    let script = format!(
        "read -r hello; echo '{{\"ready\":true{ready}}}'; while read -r line; do id=${{line#*:}}; id=${{id%%,*}}\n\
         echo x >> {}; while [ ! -e {} ]; do sleep 0.01; done; case $line in\n\
         *bad*) echo \"{{\\\"id\\\":$id,\\\"deny\\\":{{\\\"status\\\":410}}}}\";;\n\
         *) echo \"{{\\\"id\\\":$id,\\\"allow\\\":{{\\\"target\\\":\\\"h:1\\\"}}}}\";; esac; done",
        path("asked"),
        path("go"),
    );
    let program = Program::Shell(script.into());
    let plugin = Plugin { program, source: None };
    let time = Duration::from_secs(60);
    let running = Running::start(&plugin, Kind::Token, time, &Log::silent()).unwrap();
    let lookups = Lookups::new(running, keep);
    let (note, verdicts) = std::sync::mpsc::channel();
    let ask = |token: &str| {
        let note = note.clone();
        let token = Token::new(token);
        let request = Arc::new(Request::bare(Vec::new()));
        let question =
            Question { step: Step::Lookup, request, token: Some(token.clone()), target: None, budget: time };
        lookups.ask(question, &token, Instant::now() + time, Box::new(move |told| note.send(told).unwrap()));
    };
    let next = || match verdicts.recv_timeout(Duration::from_secs(20)).unwrap() {
        Verdict::Routed(answer) => answer.map_or_else(|refusal| refusal.status(), |_| 101),
        other => panic!("{other:?}"),
    };
    (0..3).for_each(|_| ["t", "bad"].into_iter().for_each(ask));
    assert!(verdicts.try_recv().is_err());
    std::fs::write(path("go"), "").unwrap();
    let mut statuses: Vec<u16> = (0..6).map(|_| next()).collect();
    ["t", "bad"].into_iter().for_each(ask);
    statuses.extend([next(), next()]);
    statuses.sort();
    let asked = std::fs::read_to_string(path("asked")).unwrap().lines().count();
    lookups.forget();
    ask("t");
    assert_eq!(next(), 101);
    let more = std::fs::read_to_string(path("asked")).unwrap().lines().count();
    assert_eq!(more, asked + 1, "what was known is forgotten");
    std::fs::remove_dir_all(&place).unwrap();
    (asked, statuses)
}

#[test]
fn who_answers_by_the_token_is_asked_once_for_all() {
    let all = [[101; 4], [410; 4]].concat();
    let (keep, by_token) = (Duration::from_secs(3600), ",\"by\":\"token\"");
    assert_eq!(asked(by_token, keep), (2, all.clone()));
    assert_eq!(asked("", keep), (8, all.clone()));
    assert_eq!(asked(by_token, Duration::ZERO), (8, all), "tokens may be good for once");
}

/// Forgetting is for flights that are in the air: one that never took off takes nothing of the next.
#[test]
fn what_was_forgotten_on_the_ground_does_not_spoil_the_next_answer() {
    type End = fn(&Board, Print);
    let ends: [(&str, End); 2] = [
        ("no room", |board, print| board.ground(print)),
        ("too late", |board, print| assert!(board.shed(print).is_none())),
    ];
    let (print, time) = ((1, 1), Duration::from_secs(3600));
    for (name, end) in ends {
        let board = Board::new(time);
        let join = |until| board.join(print, until, &|| false, Box::new(drop));
        assert!(join(Instant::now()), "{name}");
        board.lock().forget();
        end(&board, print);
        let until = Instant::now() + time;
        assert!(join(until), "{name}");
        assert!(board.land(print, Ok(Pass::default()), until).is_none(), "{name}");
        assert!(!join(until), "{name}: it is known");
        // One that is in the air brings what is not kept.
        board.lock().known.clear();
        assert!(join(until), "{name}");
        board.lock().forget();
        assert!(board.land(print, Ok(Pass::default()), until).is_none(), "{name}");
        assert!(join(until), "{name}: it is not known");
    }
}

#[test]
fn what_is_too_long_is_not_kept() {
    let pass =
        |length: usize| Pass { headers: vec![("x".into(), "y".repeat(length).into())], ..Pass::default() };
    let mut state = State::default();
    let keep = Duration::from_secs(3600);
    state.keep((1, 1), &Ok(pass(TOKEN_CACHE_ANSWER_BYTES_MAX - 1)), keep);
    state.keep((2, 2), &Ok(pass(TOKEN_CACHE_ANSWER_BYTES_MAX)), keep);
    let told = Refusal::told(404, "z".repeat(TOKEN_CACHE_ANSWER_BYTES_MAX + 1), Vec::new());
    state.keep((3, 3), &Err(told), keep);
    assert_eq!([1, 2, 3].map(|n| state.kept((n, n)).is_some()), [true, false, false]);
}

#[test]
fn what_is_kept_has_an_end() {
    let mut kept = HashMap::new();
    let room = |kept: &mut HashMap<Print, bool>| make_room(kept, |fresh| *fresh);
    for number in 0..TOKEN_CACHE_MAX as u64 {
        room(&mut kept);
        kept.insert((number, 0), number % 2 == 0);
    }
    assert_eq!(kept.len(), TOKEN_CACHE_MAX);
    room(&mut kept);
    assert_eq!(kept.len(), TOKEN_CACHE_MAX / 2, "what is too old goes first");
    for number in 0..TOKEN_CACHE_MAX as u64 {
        room(&mut kept);
        kept.insert((number, 1), true);
        assert!(kept.len() <= TOKEN_CACHE_MAX);
    }
}
