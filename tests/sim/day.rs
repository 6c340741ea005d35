//! One day: a world, a shard in it, clients, targets, helpers; and what must be true.

use super::client::{Client, Leaving};
use super::desk::{self, Desk};
use super::ends::Ends;
use super::keys::{DayKeys, Keys};
use super::memory::{self, LENT_MAX};
use super::secure;
use super::tally::Tally;
use super::target::{Manner as FarManner, Part, Target as FarTarget};
use super::weather::{self, is_instant};
use super::wire::Then;
use crate::settings;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use websplice::config::{Config, Timing};
use websplice::engine::{Engine, Kernel};
use websplice::http::secure::Plain;
use websplice::limits::{BUFFER_MEMORY_MIN, CHUNK_CLASSES, MESSAGE_BYTES_DEFAULT};
use websplice::observe::counters::Counters;
use websplice::observe::log::Log;
use websplice::shard::balance::Balance;
use websplice::shard::mailbox::{Mailbox, Note};
use websplice::shard::sources::Sources;
use websplice::shard::tap::Taps;
use websplice::shard::{Setup, Shard};
use websplice::sim::{Behaviour, Dice, SimKernel, World};
use websplice::sys::address::Address;
use websplice::target::{Port, Target};
use websplice::timers::Time;
use websplice::tls::renewal::Shelf;
use websplice::web;

/// Most clients of one day.
const CLIENTS_MAX: usize = 12;
/// Listeners, each with its own accept in flight.
const LISTENERS: usize = 2;
/// Turns in which any day must be over.
const TURNS_MAX: usize = 400_000;

/// A day.
pub struct Day {
    world: World,
    shard: Shard<SimKernel>,
    mailbox: Mailbox,
    desk: Desk,
    dice: Dice,
    clients: Vec<Client>,
    /// How many clients will come.
    expected: usize,
    ceiling: usize,
    /// What there is of TLS, and on which sides.
    keys: DayKeys,
    to_clients: bool,
    to_target: bool,
    plain: Plain,
    /// What dials of each address will meet, all that any can meet, and what those did that were made.
    scripts: Vec<(Address, VecDeque<Part>)>,
    parts: Vec<Part>,
    targets: Vec<FarTarget>,
    echo: bool,
    heartbeat: bool,
    /// Most sessions at the same time: where there are more clients, some wait for a place, as long as it takes.
    places: usize,
    ends: Ends,
    /// Largest pieces that clients send.
    most: usize,
    /// In which turn the word to stop comes at the latest, and when it came.
    stop_turn: usize,
    stopped: Option<Time>,
    quiet_turns: usize,
}

impl Day {
    /// The day of `seed`, with certificates from `keys`.
    pub fn new(seed: u64, keys: &Keys, aloud: bool) -> Day {
        let mut dice = Dice::new(seed ^ 0xdada);
        let (odds, ceiling) = weather::draw(&mut dice);
        let world = World::with_odds(seed, odds);
        if aloud {
            eprintln!("{:#?}", world.odds());
            world.trace_aloud();
        }
        let mut engine = Engine::new(world.kernel(), memory::pool(ceiling, &mut dice));
        engine.splice_from(*dice.pick(&[1, 100, 2000]));
        let mailbox = Mailbox::new(engine.kernel().waker());
        let desk = Desk {
            waiting: Default::default(),
            addresses: Vec::new(),
            speed: *dice.pick(&[10, 500]),
            busy: *dice.pick(&[0, 0, 100]),
            leads: None,
            unknown: *dice.pick(&[0, 0, 200]),
            framing: None,
            passed: 0,
        };
        let (to_clients, to_target) =
            *dice.pick(&[(false, false), (true, false), (false, true), (true, true)]);
        let keys = keys.day(to_clients, to_target, &mut dice);
        let mut scripts = Vec::new();
        let (target, addresses) =
            set_target(&world, &mut scripts, Some(&keys).filter(|_| to_target), &mut dice);
        let echo = target == Target::Echo;
        let leads = dice.chance(300).then(|| Arc::new(target.clone()));
        let framing = if leads.is_some() && !echo { desk::framing(&mut dice) } else { None };
        let config = config(target, leads.is_some(), &keys, &mut dice);
        if aloud {
            eprintln!("TLS to clients: {to_clients}, to the target: {to_target}, {scripts:#?}");
        }
        let parts: Vec<Part> = scripts.iter().flat_map(|(_, script)| script.iter().cloned()).collect();
        let places = config.sessions_max.expect("it was picked");
        let heartbeat = !config.timing.heartbeat.is_zero();
        let plain = config.plain;
        let (log, ends) = Ends::new();
        let setup = setup(config, log, &mailbox, &desk);
        // Bytes that travel one by one, or late, are few.
        let roomy = is_instant(&world.odds()) && world.odds().buffer_bytes > 64;
        let most = if roomy { *dice.pick(&[100, 6_000]) } else { 200 };
        Day {
            shard: Shard::new(engine, setup),
            world,
            mailbox,
            desk: Desk { addresses, leads, framing, ..desk },
            clients: Vec::new(),
            expected: dice.between(1, CLIENTS_MAX),
            ceiling,
            keys,
            to_clients,
            to_target,
            plain,
            scripts,
            parts,
            targets: Vec::new(),
            echo,
            heartbeat,
            places,
            ends,
            most,
            stop_turn: if dice.chance(300) { dice.below(500) } else { 20_000 },
            stopped: None,
            quiet_turns: 0,
            dice,
        }
    }

    /// Plays it to its end.
    ///
    /// # Returns
    /// The hash of all that happened, and what there was of misfortunes and of TLS in it.
    pub fn play(mut self) -> (u64, Tally) {
        for turn in 0.. {
            self.turn();
            self.check_turn();
            if turn % 64 == 0 {
                self.check_bytes();
            }
            let all_acted = self.clients.len() == self.expected && self.clients.iter().all(Client::has_acted);
            self.quiet_turns = if all_acted { self.quiet_turns + 1 } else { 0 };
            if self.stopped.is_none() && (turn == self.stop_turn || self.quiet_turns > 60) {
                self.stopped = Some(self.world.now());
                self.mailbox.put(Note::Stop);
                // Deadlines are judged from here on, and helpers have none.
                self.desk.speed = 500;
                self.world.wake();
            }
            if self.shard.is_done() && self.world.open_sockets() == 0 {
                break;
            }
            assert!(turn < TURNS_MAX, "the day does not end: {} sessions", self.shard.sessions());
        }
        self.settle();
        self.check_bytes();
        self.check_ends();
        assert_eq!(self.shard.counters().panics, 0, "a session panicked");
        assert_eq!(self.shard.engine().pool().in_use(), 0, "buffers are left");
        let tally = Tally::of(self.world.faults(), self.shard.counters(), &self.clients, &self.targets);
        drop(self.shard);
        self.world.check();
        (self.world.trace_hash(), tally)
    }

    fn turn(&mut self) {
        if self.clients.len() < self.expected && self.dice.chance(200) {
            let hand = self.world.client_connects(self.dice.below(LISTENERS));
            let keys = Some(&self.keys).filter(|_| self.to_clients);
            let text = self.echo || self.desk.framing.is_some();
            self.clients.push(Client::new(hand, keys, text, self.most, &mut self.dice));
        }
        let now = self.world.now();
        for client in &mut self.clients {
            client.act(now, &mut self.dice);
        }
        self.targets_act();
        if self.desk.act(&self.mailbox, &mut self.dice) {
            self.world.wake();
        }
        let most = Duration::from_millis(self.dice.size(1000) as u64);
        let world = self.world.clone();
        self.shard.turn(Some(most), || (world.now(), 1_700_000_000)).expect("a simulated kernel turns");
        self.ends.read(world.now());
    }

    fn targets_act(&mut self) {
        for hand in self.world.dialled().into_iter().skip(self.targets.len()) {
            let address = hand.address().expect("a target has an address");
            let script = self.scripts.iter_mut().find(|(known, _)| *known == address);
            let part = match script {
                Some((_, script)) if script.len() > 1 => script.pop_front(),
                Some((_, script)) => script.front().cloned(),
                None => None,
            };
            let part = part.expect("only what has a script is dialled");
            self.targets.push(FarTarget::new(hand, part, Some(&self.keys)));
        }
        self.targets.iter_mut().for_each(FarTarget::act);
    }

    /// What was on its way when the last socket was closed still arrives and is read.
    fn settle(&mut self) {
        for client in &mut self.clients {
            client.appetite = usize::MAX;
        }
        for _ in 0..TURNS_MAX {
            let now = self.world.now();
            let before: usize = self.clients.iter().map(|client| client.wire.hand.received().len()).sum();
            self.clients.iter_mut().for_each(|client| client.act(now, &mut self.dice));
            self.targets_act();
            let after: usize = self.clients.iter().map(|client| client.wire.hand.received().len()).sum();
            if self.world.is_quiet() && before == after {
                return;
            }
            self.turn();
        }
        panic!("the network does not come to rest");
    }

    fn check_turn(&mut self) {
        let now = self.world.now();
        // A frame of our own making takes a chunk of the smallest class, and is not asked for a receive.
        let lent = if self.ceiling < BUFFER_MEMORY_MIN { LENT_MAX } else { 0 };
        let change = 2 * self.shard.sessions() * CHUNK_CLASSES[0] + lent;
        let in_use = self.shard.engine().pool().in_use();
        assert!(in_use <= self.ceiling + change, "{in_use} bytes in use of {}", self.ceiling);
        assert!(self.shard.sessions() <= self.places);
        for (number, client) in self.clients.iter().enumerate() {
            if let Some(code) = client.reader.closed {
                assert!(
                    self.may_close_with(client, code),
                    "client {number} was closed with {code:?}: {}",
                    client.words()
                );
            }
            // Where memory is short half a head is refused, and hearing that takes as long as the network likes.
            let judged = !self.is_crowded() && self.ceiling >= BUFFER_MEMORY_MIN;
            let patience = client.patience.filter(|_| judged);
            let (Some(met), Some(patience)) = (client.wire.hand.met_at(), patience) else { continue };
            let late = met + Duration::from_millis(patience + 1500);
            assert!(now < late || client.wire.hand.is_left(), "client {number} may stay without a head");
        }
        secure::check_handshakes(&self.targets, now);
        if let Some(stopped) = self.stopped {
            let odds = self.world.odds();
            let slow = (odds.delay_ms + odds.report_ms + 4 * odds.turn_ms) as u64 * 100;
            let late = stopped + Duration::from_secs(180 + slow);
            let left = self.shard.sessions();
            assert!(now < late || left == 0, "{left} sessions have not ended");
        }
    }

    fn is_crowded(&self) -> bool {
        self.places < CLIENTS_MAX
    }

    /// Whether something on this day can have caused this close code.
    fn may_close_with(&self, client: &Client, code: Option<u16>) -> bool {
        let odds = self.world.odds();
        let caused = match client.leaving {
            Leaving::InOrder(own) => own == code,
            Leaving::BreaksRule(own) => Some(own) == code,
            Leaving::Rudely | Leaving::Never => false,
        };
        let any = |which: fn(&Part) -> bool| self.parts.iter().any(which);
        let fails = self.parts.is_empty()
            || any(|it| !it.is_kind())
            || self.to_target && (!is_instant(&odds) || any(|it| matches!(it.manner, FarManner::Plain)))
            || odds.reset + odds.watch_fails + odds.connect_fails + odds.dial_ms / 2000 + self.desk.busy > 0;
        caused
            || match code {
                // A break that a send has met looks like an end to the receive behind it.
                Some(1000) => odds.reset > 0 || any(ends_by_itself),
                Some(1001) => self.stopped.is_some(),
                Some(1008) => self.heartbeat,
                Some(1013) if self.ceiling < BUFFER_MEMORY_MIN => true,
                Some(1009 | 1013) => self.echo || self.desk.framing.is_some(),
                // A target may also be slow enough to look stalled behind others who wait for memory.
                Some(1011) => !self.echo && (fails || self.ceiling < BUFFER_MEMORY_MIN),
                _ => false,
            }
    }

    /// Nobody got what nobody sent.
    fn check_bytes(&self) {
        let longest =
            self.parts.iter().map(|it| if let Behaviour::Source(count) = it.behaviour { count } else { 0 });
        let source: Vec<u8> = (0..longest.max().unwrap_or(0)).map(Behaviour::byte).collect();
        for (number, client) in self.clients.iter().enumerate() {
            let got = &client.reader.payload;
            assert!(
                client.payload.starts_with(got) || source.starts_with(got),
                "client {number} got other bytes"
            );
            if self.echo {
                let messages = &client.reader.messages;
                assert!(client.messages.starts_with(messages), "client {number} got other messages");
            }
        }
        for target in &self.targets {
            if target.wire.is_secure() != self.to_target {
                continue;
            }
            let got = target.received();
            let sent = self.clients.iter().any(|client| client.payload.starts_with(&got));
            assert!(sent, "a target got other bytes");
        }
    }

    /// Who behaved well was served well.
    fn check_ends(&self) {
        if self.desk.leads.is_some() {
            let open = self.clients.iter().filter(|client| client.reader.open).count();
            assert!(open <= self.desk.passed, "who was not let pass was let in");
            assert!(self.targets.is_empty() || self.desk.passed > 0, "somebody was dialled for nobody");
        }
        secure::check_targets(&self.targets, self.to_target);
        if self.to_clients {
            secure::check_clients(&self.clients, self.plain);
        }
        let odds = self.world.odds();
        let calm =
            is_instant(&odds) && odds.reset + odds.watch_fails + odds.connect_fails + odds.dial_ms == 0;
        let targets = &self.targets;
        let Counters { heads_shed, idle_shed, .. } = self.shard.counters();
        self.ends.check_shed(self.is_crowded(), heads_shed + idle_shed);
        if self.ceiling >= BUFFER_MEMORY_MIN {
            self.ends.check_patience(&self.clients);
        }
        if calm && self.ceiling == BUFFER_MEMORY_MIN {
            let stopped = self.stopped.unwrap_or_default();
            secure::check_served_clients(&self.clients, &self.ends, self.is_crowded(), stopped);
            secure::check_served_targets(&self.targets);
        }
        for (number, client) in self.clients.iter().enumerate() {
            let reader = &client.reader;
            let served = calm && self.ceiling == BUFFER_MEMORY_MIN && client.wire.hand.met_at().is_some();
            let polite = matches!(client.leaving, Leaving::InOrder(_)) && client.attentive;
            if served && polite && reader.open && !client.wire.hand.is_broken() {
                assert!(reader.closed.is_some(), "client {number} was left without a word");
            }
            let Some(code) = reader.closed else { continue };
            assert!(reader.is_whole());
            let in_order = matches!(client.leaving, Leaving::InOrder(own) if own == code);
            let ambiguous = matches!(code, Some(1000 | 1001));
            if served
                && in_order
                && !ambiguous
                && self.desk.busy == 0
                && !self.parts.is_empty()
                && self.parts.iter().all(Part::is_kind)
            {
                let whole = self.echo || targets.iter().any(|it| it.received() == client.payload);
                assert!(whole || client.payload.is_empty(), "client {number}: the target misses bytes");
            }
            if code == Some(1000) && !in_order && !self.echo {
                let whole =
                    targets.iter().any(|it| it.wire.hand.is_broken() || it.written() == reader.payload);
                assert!(whole, "client {number} misses bytes of a target that ended in order");
            }
        }
    }
}

fn ends_by_itself(part: &Part) -> bool {
    // The cut comes behind a handshake that is shorter, as one that is resumed.
    matches!(part.manner, FarManner::Cut(_, Then::Shut))
        || matches!(
            part.behaviour,
            Behaviour::Source(_) | Behaviour::CloseAfter(_) | Behaviour::ResetAfter(_)
        )
}

fn setup(config: Config, log: Log, mailbox: &Mailbox, desk: &Desk) -> Setup {
    let tls = &config.tls;
    let secured = !tls.pairs.is_empty() || tls.target.is_some();
    let shelf = secured.then(|| Shelf::load(tls.clone()).expect("the files are good"));
    let waiting = desk.waiting.clone();
    Setup {
        number: 0,
        listeners: LISTENERS,
        log,
        balance: Balance::new(1, config.sessions_max.expect("it was picked")),
        sources: Sources::default(),
        config: Arc::new(config),
        shelf,
        taps: Taps::default(),
        mailbox: mailbox.clone(),
        desk: Box::new(move |key, job| waiting.borrow_mut().push((key, job))),
    }
}

fn config(target: Target, routed: bool, keys: &DayKeys, dice: &mut Dice) -> Config {
    let plain = *dice.pick(&[Plain::Served, Plain::Served, Plain::Redirected, Plain::Refused, Plain::Closed]);
    let plain = if keys.options.pairs.is_empty() { Plain::Served } else { plain };
    let heartbeat = if dice.chance(500) { Duration::ZERO } else { Timing::default().heartbeat };
    // Short enough for a desk that takes its time to miss it now and then.
    let route = if dice.chance(300) { Duration::from_millis(300) } else { Timing::default().route };
    Config {
        route: desk::route(routed, dice),
        web: dice.chance(500).then(web::Options::default),
        tls: keys.options.clone(),
        plain,
        timing: Timing { heartbeat, route, ..Timing::default() },
        message_bytes_max: *dice.pick(&[1000, MESSAGE_BYTES_DEFAULT]),
        sessions_max: Some(*dice.pick(&[3, 1000, 1000])),
        // Nobody looks at the letters, but sessions show what they are for.
        traffic: dice.chance(200),
        ..settings::config((!routed).then_some(target))
    }
}

/// Decides what the target is and what becomes of those who dial it; gives back what its name will be found to be.
fn set_target(
    world: &World,
    scripts: &mut Vec<(Address, VecDeque<Part>)>,
    keys: Option<&DayKeys>,
    dice: &mut Dice,
) -> (Target, Vec<SocketAddr>) {
    let mut set = |address: Address, dice: &mut Dice| {
        let well = [Behaviour::Echo, Behaviour::Sink, Behaviour::Source(dice.size(4000))];
        let any = [
            Behaviour::Echo,
            Behaviour::Sink,
            Behaviour::Stall,
            Behaviour::Source(dice.size(4000)),
            Behaviour::CloseAfter(dice.below(300)),
            Behaviour::ResetAfter(dice.below(300)),
            Behaviour::Refuse,
            Behaviour::Silent,
        ];
        let calm = dice.chance(400);
        let choices = if calm { &well[..] } else { &any[..] };
        let part = |dice: &mut Dice| Part::new(*dice.pick(choices), keys, calm, dice);
        let script: VecDeque<Part> = (0..dice.between(1, 8)).map(|_| part(dice)).collect();
        let played: Vec<Behaviour> = script.iter().map(Part::script).collect();
        world.target(address.clone(), &played);
        scripts.push((address, script));
    };
    match dice.below(6) {
        0 => (Target::Echo, Vec::new()),
        1 => {
            let addresses: Vec<SocketAddr> = (0..dice.below(4))
                .map(|last| SocketAddr::from(([192, 0, 2, 10 + last as u8], 5900)))
                .collect();
            for &address in &addresses {
                set(Address::Tcp(address), dice);
            }
            (Target::Tcp { host: "a.example".into(), port: Port::Number(5900) }, addresses)
        }
        _ => {
            set(Address::Abstract(b"target".to_vec()), dice);
            (Target::Abstract(b"target".to_vec()), Vec::new())
        }
    }
}
