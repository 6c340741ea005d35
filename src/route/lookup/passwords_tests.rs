//! Tables for password files. The hashes were made by `openssl passwd`, `htpasswd` and crypt(3), not by this program.

use super::*;
use std::sync::atomic::{AtomicU32, Ordering};

const FILE: &str = "# staff\n\
    \n\
    apr1:$apr1$abcdefgh$N5CAXIbyFW2eta7OLGOUM0\n\
    empty:$apr1$xy$43..WIhbfuznGvwoCyUek/\n\
    long:$apr1$abcdefgh$bDOmTwwtVoDP5VlM5D6VI.\n\
    sha256:$5$saltstring$k5AkE8gbX1mS.W4GecYo2j82Sjq/zjkaTYVU.8TvmC5\r\n\
    sha512:$6$saltstring$4Fw7HxYz5s7ryeyM3BhJvT/jgTgAcDt6746lEVeM6II5BL78Ytbybl4HEBuk1FIAIZIc8IRgUDswjZRgA/L1j0\n\
    rounds:$6$rounds=1000$saltstring$L85Tqjj3XO/QxJqV54/3F/fHloigC/37sjLqZ5a6FuQCpKw6VdkC1R/mDGvmH9ksSEtmBNRAVewXNYjf/pRmw.\n\
    bcrypt:$2y$04$h9DOUwOGhOMRiMxsxqyCpuj2ASmM/qJ3C4/o0Is1Sna7csmJcG5Ge\n\
    plain:secret\n\
    des:rqXexS6ZhobKA\n\
    sha1:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n\
    costly:$2y$31$h9DOUwOGhOMRiMxsxqyCpuj2ASmM/qJ3C4/o0Is1Sna7csmJcG5Ge\n\
    slow:$5$rounds=999999999$saltstring$k5AkE8gbX1mS.W4GecYo2j82Sjq/zjkaTYVU.8TvmC5\n\
    none:\n\
    alone\n";

struct Scratch(PathBuf);

impl Scratch {
    fn new(text: &str) -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("websplice-passwords-{}-{number}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn request(pair: &str) -> Request {
    let value = format!("Basic {}", base64_simd::STANDARD.encode_to_string(pair));
    Request::bare(vec![("Authorization".into(), value.into_bytes().into())])
}

fn answer(users: &Users, pair: &str) -> Answer {
    users.look(&request(pair)).unwrap_or_else(|work| users.settle(&work, Instant::now()))
}

fn lets_in(users: &Users, pair: &str) -> bool {
    match answer(users, pair) {
        Ok(pass) => {
            let user = pair.split(':').next().unwrap();
            assert_eq!(pass.labels, [("user".into(), user.into())]);
            true
        }
        Err(refusal) => {
            assert_eq!(refusal.status(), 401);
            false
        }
    }
}

#[test]
fn every_kind_of_hash_that_is_taken() {
    let file = Scratch::new(FILE);
    let users = Users::open(&file.0, &Log::silent()).unwrap();
    let long = "long:a very long password that is longer than sixteen bytes";
    for pair in [
        "apr1:pass:word",
        "sha256:pass:word",
        "sha512:pass:word",
        "rounds:pass:word",
        "bcrypt:pass:word",
        "empty:",
        long,
    ] {
        // The second time it is remembered.
        assert!(lets_in(&users, pair) && lets_in(&users, pair), "{pair}");
        let (user, _) = pair.split_once(':').unwrap();
        for wrong in ["pass:wor", "pass:words", "Pass:word", " "] {
            assert!(!lets_in(&users, &format!("{user}:{wrong}")), "{user}:{wrong}");
        }
    }
    for pair in [
        "plain:secret",
        "des:secret",
        "sha1:secret",
        "costly:pass:word",
        "slow:pass:word",
        "none:",
        "alone:",
        ":",
        "nobody:pass:word",
    ] {
        assert!(!lets_in(&users, pair), "{pair}");
    }
    assert!(!lets_in(&users, &format!("empty:{}", "x".repeat(PASSWORD_BYTES_MAX + 1))));
}

#[test]
fn a_name_that_is_not_there_never_passes_with_the_password_of_another() {
    let file = Scratch::new("one:$apr1$abcdefgh$N5CAXIbyFW2eta7OLGOUM0\n");
    let users = Users::open(&file.0, &Log::silent()).unwrap();
    assert!(lets_in(&users, "one:pass:word"));
    // The only hash there is stands in for every other name.
    for name in ["two", "On", "", "one "] {
        assert!(!lets_in(&users, &format!("{name}:pass:word")), "{name}");
        assert!(!lets_in(&users, &format!("{name}:pass:word")), "{name}");
    }
}

#[test]
fn changes_act_at_once_and_a_lost_file_lets_nobody_in() {
    let file = Scratch::new("one:$apr1$abcdefgh$N5CAXIbyFW2eta7OLGOUM0\n");
    let users = Users::open(&file.0, &Log::silent()).unwrap();
    assert!(lets_in(&users, "one:pass:word"));
    std::fs::write(&file.0, "two:$apr1$abcdefgh$N5CAXIbyFW2eta7OLGOUM0\n").unwrap();
    assert!(!lets_in(&users, "one:pass:word"), "what was remembered is of no use without its line");
    assert!(lets_in(&users, "two:pass:word"));
    let text = std::fs::read(&file.0).unwrap();
    // What cannot be read changes nothing.
    std::fs::write(&file.0, vec![b'x'; PASSWORD_FILE_BYTES_MAX + 1]).unwrap();
    assert!(lets_in(&users, "two:pass:word"));
    std::fs::remove_file(&file.0).unwrap();
    for _ in 0..2 {
        assert_eq!(answer(&users, "two:pass:word").unwrap_err().status(), 503, "not even who is remembered");
    }
    std::fs::write(&file.0, text).unwrap();
    assert!(lets_in(&users, "two:pass:word"));
    std::fs::write(&file.0, "").unwrap();
    assert!(!lets_in(&users, "two:pass:word"));
}

#[test]
fn a_file_that_is_of_no_use_is_told_at_start() {
    let missing = Users::open(Path::new("/nonexistent/htpasswd"), &Log::silent()).err().unwrap();
    assert!(missing.starts_with("option --auth-source: password file /nonexistent/htpasswd: "), "{missing}");
    let directory = Users::open(&std::env::temp_dir(), &Log::silent()).err().unwrap();
    assert!(directory.contains("not a regular file"), "{directory}");
}

#[test]
fn what_is_remembered_is_bounded() {
    let file = Scratch::new(FILE);
    let users = Users::open(&file.0, &Log::silent()).unwrap();
    for number in 0..3 * PASSWORD_CACHE_MAX as u64 {
        users.keep(users.digest(&[&number.to_be_bytes()]));
        assert!(users.known.lock().unwrap().len() <= PASSWORD_CACHE_MAX);
    }
}

#[test]
fn who_is_remembered_needs_no_hash_and_who_is_late_gets_none() {
    let file = Scratch::new(FILE);
    let users = Users::open(&file.0, &Log::silent()).unwrap();
    let work = users.look(&request("bcrypt:pass:word")).expect_err("it has to be hashed");
    let late = Instant::now() - Duration::from_millis(PASSWORD_WAIT_MS);
    assert_eq!(users.settle(&work, late).unwrap_err().status(), 503);
    assert!(users.settle(&work, Instant::now()).is_ok());
    assert!(matches!(users.look(&request("bcrypt:pass:word")), Ok(Ok(_))));
    assert!(users.look(&request("bcrypt:wrong")).is_err());
    // Two seconds each: one may wait behind another, and no third.
    users.cost.store(2_000_000, Ordering::Relaxed);
    assert!(users.has_time(1) && !users.has_time(2));
}

#[test]
fn what_would_take_too_long_is_not_taken() {
    let hash = |cost: u32| format!("$2y${cost:02}$h9DOUwOGhOMRiMxsxqyCpuj2ASmM/qJ3C4/o0Is1Sna7csmJcG5Ge");
    assert!(Hash::parse(&hash(BCRYPT_COST_MAX)).is_ok());
    assert_eq!(Hash::parse(&hash(BCRYPT_COST_MAX + 1)), Err(TOO_COSTLY));
}

/// Not even a file that was never meant to be one fills the log.
#[test]
fn lines_of_no_use_are_told_up_to_a_number() {
    for (lines, told) in [(FAULTS_TOLD, FAULTS_TOLD), (FAULTS_TOLD + 7, FAULTS_TOLD + 1)] {
        let scratch = Scratch::new(&"nonsense\n".repeat(lines));
        let (log, kept) = Log::kept(Level::Warn);
        Users::open(&scratch.0, &log).unwrap();
        let said: Vec<_> = std::iter::from_fn(|| kept.pop()).map(|(_, text)| text).collect();
        assert_eq!(said.len(), told, "{said:?}");
        assert!(said[0].contains(" line=1 ignored: "), "{said:?}");
        assert_eq!(said[told - 1].ends_with("\" 7 more lines ignored"), told > FAULTS_TOLD, "{said:?}");
    }
}
