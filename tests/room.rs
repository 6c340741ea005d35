//! A whole shard on a calm simulated network, all places taken: who makes room at the very moment that counts. `bridge/room`
//! has the rest, on real sockets.

#[path = "support/settings.rs"]
mod settings;
#[path = "support/stage.rs"]
mod stage;

use stage::{Stage, TURNS_MAX};
use std::time::Duration;
use websplice::config::{Config, Timing};
use websplice::http::Response;
use websplice::limits::SHED_GRACE_MS;
use websplice::session::job::{Job, Verdict};
use websplice::sim::{Hand, Odds};
use websplice::web::{Body, Served};

const GET: &[u8] = b"GET /page HTTP/1.1\r\nHost: h\r\n\r\n";
/// The end of the answer to it.
const PAGE: &[u8] = b"the page";

/// Every page is the same.
fn verdict(job: Job) -> Verdict {
    let Job::Fetch(_) = job else { panic!("{job:?}") };
    let response = Response::new(200, "OK").length(PAGE.len() as u64);
    Verdict::Fetched(Served { response, body: Body::Bytes(PAGE.into()) })
}

/// A shard with so many places for clients that want pages; `odds` are calm ones.
fn stage(places: usize, odds: Odds) -> Stage {
    let config = Config {
        web: Some(Default::default()),
        sessions_max: Some(places),
        // Nobody goes by the clock.
        timing: Timing { close: Duration::from_secs(3600), ..Timing::default() },
        ..settings::config(None)
    };
    Stage::new(config, odds, verdict)
}

impl Stage {
    /// A client that sends this.
    fn client(&self, words: &[u8]) -> Hand {
        let client = self.world.client_connects(0);
        client.write(words);
        client
    }

    /// Goes on until that is so, in `turns` at most.
    #[track_caller]
    fn until(&mut self, turns: usize, what: &str, is_so: impl Fn() -> bool) {
        for _ in 0..turns {
            if is_so() {
                return;
            }
            self.turn();
        }
        panic!("in {turns} turns not: {what}");
    }

    /// The same until `client` has so many pages.
    #[track_caller]
    fn until_pages(&mut self, client: &Hand, count: usize) {
        self.until(TURNS_MAX, &format!("{count} pages"), || {
            client.read();
            pages(client) >= count
        });
    }
}

fn pages(client: &Hand) -> usize {
    client.received().windows(PAGE.len()).filter(|bytes| *bytes == PAGE).count()
}

#[test]
fn a_request_that_has_arrived_is_answered_before_its_client_makes_room() {
    let mut stage = stage(3, Odds::calm());
    let holders: Vec<Hand> = (0..3).map(|_| stage.client(GET)).collect();
    holders.iter().for_each(|holder| stage.until_pages(holder, 1));
    // A turn brings the newcomer, and bytes that the shard has not heard of when it looks for somebody to go.
    let newcomer = stage.client(GET);
    holders[..2].iter().for_each(|holder| holder.write(GET));
    stage.until_pages(&newcomer, 1);
    for (number, holder) in holders.iter().enumerate() {
        holder.read();
        let (got, is_idle) = (pages(holder), number == 2);
        assert_eq!((got, holder.is_over()), if is_idle { (1, true) } else { (2, false) }, "{number}");
    }
    assert_eq!(stage.shard.counters().idle_shed, 1);
    // Where all have sent something, all are answered first, and whoever then waits for longest goes.
    let newer = stage.client(GET);
    let all = [&holders[0], &holders[1], &newcomer];
    all.iter().for_each(|holder| holder.write(GET));
    stage.until_pages(&newer, 1);
    all.iter().zip([3, 3, 2]).for_each(|(holder, count)| stage.until_pages(holder, count));
    assert_eq!(all.iter().filter(|holder| holder.is_over()).count(), 1);
    assert_eq!((stage.shard.counters().idle_shed, stage.shard.counters().heads_shed), (2, 0));
    holders.iter().chain([&newcomer, &newer]).for_each(Hand::close);
    stage.stop();
}

#[test]
fn a_connection_with_the_beginning_of_a_request_has_the_time_of_a_head() {
    let mut stage = stage(2, Odds::calm());
    // It has been there for longer, and with its first request came a part of the next.
    let (begun, rest) = GET.split_at(7);
    let amid = stage.client(&[GET, begun].concat());
    stage.until_pages(&amid, 1);
    let idle = stage.client(GET);
    stage.until_pages(&idle, 1);
    let newcomer = stage.client(GET);
    stage.until_pages(&newcomer, 1);
    idle.read();
    assert!(idle.is_over());
    amid.write(rest);
    stage.until_pages(&amid, 2);
    assert_eq!((stage.shard.counters().idle_shed, stage.shard.counters().heads_shed), (1, 0));
    // That time has an end.
    amid.write(begun);
    newcomer.write(begun);
    let last = stage.client(GET);
    let since = stage.world.now();
    stage.until_pages(&last, 1);
    assert!(stage.world.now().0 - since.0 >= SHED_GRACE_MS);
    assert_eq!((stage.shard.counters().idle_shed, stage.shard.counters().heads_shed), (1, 1));
    [&amid, &idle, &newcomer, &last].into_iter().for_each(Hand::close);
    stage.stop();
}

#[test]
fn who_takes_the_last_answer_slowly_hides_nobody_who_has_it() {
    // A refusal does not fit into what the network holds.
    let mut stage = stage(2, Odds { buffer_bytes: 64, ..Odds::calm() });
    let bad = b"BAD\r\n\r\n";
    let slow = stage.client(bad);
    stage.until(TURNS_MAX, "the first is here", || slow.met_at().is_some());
    let answered = stage.client(bad);
    stage.until(TURNS_MAX, "the second has all", || {
        answered.read();
        answered.ended()
    });
    let grace = stage.world.now().0 + SHED_GRACE_MS + 1;
    let world = stage.world.clone();
    stage.until(TURNS_MAX, "time has passed", || world.now().0 >= grace);
    let newcomer = stage.client(GET);
    stage.until(200, "the newcomer has a place", || newcomer.met_at().is_some());
    stage.until_pages(&newcomer, 1);
    assert!(answered.is_left() && !slow.is_left());
    stage.until(TURNS_MAX, "the first has all", || {
        slow.read();
        slow.ended()
    });
    let said = String::from_utf8(slow.received()).expect("it is text");
    assert!(said.starts_with("HTTP/1.1 400 ") && said.contains("\r\n\r\n"), "{said}");
    [&slow, &answered, &newcomer].into_iter().for_each(Hand::close);
    stage.stop();
}
