//! The helpers' desk, played: jobs wait, then are answered as the day will have it.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use websplice::framing::Framing;
use websplice::http::{Refusal, Response};
use websplice::limits::FILE_READ_BYTES;
use websplice::route::reach::{Reach, Rule};
use websplice::route::source::Source;
use websplice::route::token::Place;
use websplice::route::{self, Pass, Tokens};
use websplice::session::job::{Job, Verdict};
use websplice::shard::mailbox::{Mailbox, Note};
use websplice::sim::Dice;
use websplice::slab::Key;
use websplice::target::Target;
use websplice::web::{Body, Served};

/// Jobs that nobody has answered yet.
pub type Waiting = Rc<RefCell<Vec<(Key, Job)>>>;

/// Tokens of a day on which they lead to the target; who knows them is the desk.
pub fn tokens() -> Tokens {
    Tokens {
        source: Source::TokenFile { path: "/nowhere".into(), read_only: false },
        option: "--token-source",
        places: vec![Place::Query],
        cache: Duration::ZERO,
        timeout: Duration::from_secs(2),
    }
}

/// How requests are routed. On some days the third address of a name, where it has one, may not be dialled.
pub fn route(routed: bool, dice: &mut Dice) -> route::Options {
    let mut reach = Reach::default();
    if dice.chance(200) {
        Rule::read("192.0.2.12", &mut reach.deny).expect("an address");
    }
    route::Options { tokens: routed.then(tokens), reach, ..Default::default() }
}

/// A framing that leaves all bytes as they are; on half of the days there is none.
pub fn framing(dice: &mut Dice) -> Option<Framing> {
    let (name, config) = match dice.below(8) {
        0 | 1 => ("fixedlength", (1 + dice.size(20_000)).to_string()),
        2 => ("newline", "lf".into()),
        3 => ("auto", "hold".into()),
        _ => return None,
    };
    Framing::parse(name, Some(&config)).ok()
}

/// The desk and its manners.
pub struct Desk {
    pub waiting: Waiting,
    /// What a name is found to be: nothing is an error.
    pub addresses: Vec<SocketAddr>,
    /// How often, in a thousand turns, a job is answered, and how often the answer is that everybody is busy.
    pub speed: usize,
    pub busy: usize,
    /// Where routes lead, and how often, in a thousand, one leads nowhere.
    pub leads: Option<Arc<Target>>,
    pub unknown: usize,
    /// How messages of targets are cut, where routes say so.
    pub framing: Option<Framing>,
    /// Routes that were let pass.
    pub passed: usize,
}

impl Desk {
    /// Answers some of the jobs; true when something was put into the mailbox.
    pub fn act(&mut self, mailbox: &Mailbox, dice: &mut Dice) -> bool {
        let mut answered = false;
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        let mut left = Vec::new();
        for (key, job) in waiting {
            if dice.chance(self.speed) {
                let verdict = if dice.chance(self.busy) { Verdict::Busy } else { self.verdict(job, dice) };
                mailbox.put(Note::Verdict(key, verdict));
                answered = true;
            } else {
                left.push((key, job));
            }
        }
        *self.waiting.borrow_mut() = left;
        answered
    }

    fn verdict(&mut self, job: Job, dice: &mut Dice) -> Verdict {
        match job {
            Job::Resolve { .. } if self.addresses.is_empty() => {
                Verdict::Addresses(Err(io::Error::other("no such name")))
            }
            Job::Resolve { .. } => Verdict::Addresses(Ok(self.addresses.clone())),
            Job::Hold(target) => panic!("no target here is a path: {target}"),
            Job::Read { len, .. } => {
                let most = (len as usize).min(FILE_READ_BYTES);
                Verdict::Piece(Ok(vec![b'f'; dice.between(most.min(1000), most)]))
            }
            Job::Fetch(fetch) => {
                let len = dice.size(20_000) as u64;
                let response = Response::new(200, "OK").length(len);
                let body = match dice.below(2) {
                    _ if fetch.head_only => Body::None,
                    0 => Body::Bytes(vec![b'b'; len as usize].into()),
                    // What would be read from it is made up above.
                    _ => Body::File {
                        file: Arc::new(File::open("/dev/null").expect("there is always nothing")),
                        offset: 0,
                        len,
                    },
                };
                Verdict::Fetched(Served { response, body })
            }
            Job::Route(question) => {
                let token = question.token.expect("clients of such days have one");
                assert_eq!(token.secret(), "a b");
                Verdict::Routed(if dice.chance(self.unknown) {
                    Err(Refusal::UNKNOWN_TOKEN)
                } else {
                    self.passed += 1;
                    let (target, framing) = (self.leads.clone(), self.framing.clone());
                    Ok(Pass { target, framing, ..Pass::default() })
                })
            }
        }
    }
}
