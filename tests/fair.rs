//! Whole shards on a calm simulated network: a session that makes much work does not keep others waiting for all of it.

use std::sync::Arc;
use std::time::Duration;
use websplice::config::{Config, EngineChoice, Listen, Timing, Verbosity};
use websplice::engine::{Engine, Kernel};
use websplice::framing::Framing;
use websplice::http::{secure::Plain, upgrade};
use websplice::limits::{
    BUFFER_MEMORY_MIN, FRAMING_MESSAGES_MANY, HOT_BYTES, MESSAGE_BYTES_DEFAULT, TURN_BYTES,
};
use websplice::observe::log::Log;
use websplice::pool::Pool;
use websplice::route::source::Source;
use websplice::route::token::Place;
use websplice::route::{self, Pass, Tokens};
use websplice::session::job::{Job, Verdict};
use websplice::shard::balance::Balance;
use websplice::shard::mailbox::{Mailbox, Note};
use websplice::shard::sources::Sources;
use websplice::shard::tap::Taps;
use websplice::shard::{Setup, Shard};
use websplice::sim::{Behaviour, Hand, Odds, SimKernel, World};
use websplice::sys::address::Address;
use websplice::target::Target;
use websplice::tls;

/// Turns in which anything here is over.
const TURNS_MAX: usize = 1_000;
/// What a client says whose session makes no work, and how it goes over the wire, masked with zeros.
const WORD: &[u8] = b"hello";
const WORD_FRAME: &[u8] = b"\x82\x85\0\0\0\0hello";
/// A message of nothing, of which a client can send the most.
const EMPTY_FRAME: &[u8] = b"\x82\x80\0\0\0\0";

/// A shard whose route says by the token whether messages are cut.
struct Stage {
    world: World,
    shard: Shard<SimKernel>,
    mailbox: Mailbox,
}

fn config() -> Config {
    Config {
        program: "websplice".into(),
        listen: Listen::Tcp { host: String::new(), port: 1, prefer_ipv6: false },
        target: None,
        route: route::Options {
            tokens: Some(Tokens {
                source: Source::TokenFile { path: "/nowhere".into(), read_only: false },
                option: "--token-source",
                places: vec![Place::Query],
                cache: Duration::ZERO,
                timeout: Duration::from_secs(2),
            }),
            ..Default::default()
        },
        web: None,
        web_root: None,
        tls: tls::Options::default(),
        plain: Plain::Served,
        hosts: Default::default(),
        server_header: "websplice".into(),
        upgrade: upgrade::Options::default(),
        timing: Timing { heartbeat: Duration::ZERO, ..Timing::default() },
        message_bytes_max: MESSAGE_BYTES_DEFAULT,
        engine: EngineChoice::Auto,
        threads: None,
        buffer_memory: None,
        sessions_max: 100,
        source_sessions_max: None,
        record: None,
        traffic: false,
        wrap: None,
        verbosity: Verbosity::Usual,
        process: Default::default(),
        logs: Default::default(),
    }
}

/// Lets everybody pass, and has messages cut of those whose token says so.
fn verdict(job: Job) -> Verdict {
    let Job::Route(question) = job else { panic!("{job:?}") };
    let is_cut = question.token.expect("clients here have one").secret() == "cut";
    let framing = is_cut.then(|| Framing::parse("newline", Some("lf")).expect("a framing"));
    let target = Target::parse("127.0.0.1:1").expect("a target");
    Verdict::Routed(Ok(Pass { target: Some(Arc::new(target)), framing, ..Pass::default() }))
}

impl Stage {
    fn new() -> Stage {
        // Sizes of buffers are drawn: in this world those that matter are roomy enough for several receives.
        let world = World::with_odds(5, Odds { buffer_bytes: usize::MAX / 2, ..Odds::calm() });
        let address = "127.0.0.1:1".parse().expect("an address");
        world.target(Address::Tcp(address), &[Behaviour::Hand]);
        let mut engine = Engine::new(world.kernel(), Pool::new(4 * BUFFER_MEMORY_MIN));
        let mailbox = Mailbox::new(engine.kernel().waker());
        let (notes, waker) = (mailbox.clone(), world.clone());
        let config = config();
        let setup = Setup {
            number: 0,
            listeners: 1,
            log: Log::silent(),
            balance: Balance::new(1, config.sessions_max),
            sources: Sources::default(),
            config: Arc::new(config),
            shelf: None,
            taps: Taps::default(),
            mailbox: mailbox.clone(),
            desk: Box::new(move |key, job| {
                notes.put(Note::Verdict(key, verdict(job)));
                waker.wake();
            }),
        };
        Stage { shard: Shard::new(engine, setup), world, mailbox }
    }

    fn turn(&mut self) {
        let world = self.world.clone();
        self.shard.turn(Some(Duration::from_millis(1)), || (world.now(), 1_700_000_000)).expect("a calm day");
    }

    /// A client and its target, connected.
    fn session(&mut self, token: &str) -> (Hand, Hand) {
        let before = self.world.dialled().len();
        let client = self.world.client_connects(0);
        let head = "Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        client.write(format!("GET /?token={token} HTTP/1.1\r\n{head}").as_bytes());
        for _ in 0..TURNS_MAX {
            self.turn();
            client.read();
            let target = self.world.dialled().get(before).cloned();
            if let Some(target) = target.filter(|target| target.met_at().is_some())
                && client.received().starts_with(b"HTTP/1.1 101 ")
            {
                (0..5).for_each(|_| self.turn());
                client.read();
                return (client, target);
            }
        }
        panic!("nobody was let in");
    }

    /// Goes on until `all` messages have passed, where one piece of work brings `most` of them: no turn brings twice that, for the
    /// last piece is done whole. As soon as the first have,
    /// the client of a session that makes no work sends a word: its target has it a few turns later, before all is done.
    fn shares(&mut self, readers: &[&Hand], quiet: &(Hand, Hand), all: u64, most: u64) {
        let count = |stage: &Stage| stage.shard.counters().messages_out + stage.shard.counters().messages_in;
        let began = count(self);
        let (mut said, mut heard, mut busiest) = (None, None, 0);
        for turn in 0..TURNS_MAX {
            let before = count(self);
            self.turn();
            let made = count(self) - before;
            assert!(made < 2 * most, "{made} messages in one turn");
            busiest = busiest.max(made);
            readers.iter().for_each(|hand| drop(hand.read()));
            if said.is_none() && made > 0 {
                quiet.0.write(WORD_FRAME);
                said = Some(turn);
            }
            if heard.is_none() && quiet.1.read() == WORD {
                heard = Some(turn);
                assert!(count(self) - began < all, "the word came when all was done");
            }
            if count(self) - began == all + 1 && heard.is_some() {
                assert!(busiest >= most, "no turn was full: {busiest} messages at most");
                let waited = heard.zip(said).map(|(heard, said)| heard - said);
                assert!(waited.is_some_and(|waited| waited <= 8), "{waited:?} turns");
                return;
            }
        }
        panic!("{} of {all} messages, heard: {heard:?}", count(self) - began);
    }

    fn leave(mut self, hands: &[(Hand, Hand)]) {
        self.mailbox.put(Note::Stop);
        self.world.wake();
        hands.iter().for_each(|(client, target)| {
            client.close();
            target.close();
        });
        for _ in 0..TURNS_MAX {
            if self.shard.is_done() && self.world.open_sockets() == 0 {
                assert_eq!(self.shard.counters().panics, 0);
                return;
            }
            self.turn();
        }
        panic!("{} sessions are left", self.shard.sessions());
    }
}

#[test]
fn messages_of_others_pass_between_those_that_are_cut_out() {
    let mut stage = Stage::new();
    let hands = [stage.session("cut"), stage.session("plain")];
    let all = 2 * HOT_BYTES;
    hands[0].1.write("\n".repeat(all).as_bytes());
    stage.shares(&[&hands[0].0], &hands[1], all as u64, FRAMING_MESSAGES_MANY as u64);
    let frames = b"\x81\x01\n".repeat(all);
    // The last of it is still on its way.
    let came = (0..5).any(|_| {
        stage.turn();
        hands[0].0.read();
        hands[0].0.received().ends_with(&frames)
    });
    assert!(came, "all of it, in order");
    stage.leave(&hands);
}

#[test]
fn messages_of_others_pass_between_those_of_several_that_are_cut_out() {
    let mut stage = Stage::new();
    let hands = [stage.session("cut"), stage.session("cut"), stage.session("cut"), stage.session("plain")];
    for (_, target) in &hands[..3] {
        target.write("\n".repeat(HOT_BYTES).as_bytes());
    }
    let readers = [&hands[0].0, &hands[1].0, &hands[2].0];
    stage.shares(&readers, &hands[3], 3 * HOT_BYTES as u64, FRAMING_MESSAGES_MANY as u64);
    stage.leave(&hands);
}

#[test]
fn messages_of_others_pass_between_a_flood_of_small_frames() {
    let mut stage = Stage::new();
    let hands = [stage.session("plain"), stage.session("plain")];
    let all = 2 * TURN_BYTES / EMPTY_FRAME.len();
    hands[0].0.write(&EMPTY_FRAME.repeat(all));
    stage.shares(&[], &hands[1], all as u64, (HOT_BYTES / EMPTY_FRAME.len()) as u64);
    stage.leave(&hands);
}
