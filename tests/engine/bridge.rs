//! A bridge as small as one can be, with a ledger of what is in flight.

use std::collections::BTreeSet;
use std::time::Duration;
use websplice::engine::{Completion, Engine, Lane, Operation, Token};
use websplice::limits::{CHUNK_CLASSES, HOT_BYTES, TURN_BYTES};
use websplice::pool::{Lease, Pool};
use websplice::sim::{Dice, Hand, SimKernel, SimSocket, World};
use websplice::slab::{Key, Slab};
use websplice::sys::address::Address;

/// Where all clients are led.
pub fn place() -> Address {
    Address::Abstract(b"target".to_vec())
}

/// One client and its target.
#[derive(Default)]
struct Pair {
    sides: [Side; 2],
    leaving: bool,
    /// Nothing failed and nothing was cancelled.
    well: bool,
    /// Bytes received, by the lane they came from.
    carried: [Vec<u8>; 2],
    /// Which client it is, in the order they came, and which dial.
    client: usize,
    target: Option<usize>,
}

#[derive(Default)]
struct Side {
    open: bool,
    ended: bool,
    closing: bool,
}

/// Carries bytes between clients and targets, over an engine.
pub struct Bridge {
    pub engine: Engine<SimKernel>,
    pairs: Slab<Pair>,
    /// What is in flight: submitted and not answered.
    ledger: BTreeSet<(u64, &'static str)>,
    accepting: bool,
    /// How many clients came and how many sessions are over.
    came: usize,
    over: usize,
    /// Turns since something submitted was last answered.
    pub quiet: usize,
    ceiling: usize,
    world: World,
    /// The far ends of all clients, in the order they came.
    pub clients: Vec<Hand>,
    dice: Dice,
    /// Bytes may come in pipes.
    unseen: bool,
    /// How often, in a thousand turns, somebody is given up. Most days nobody is, or a stuck one would be helped out.
    cancels: usize,
    /// How often, in a thousand, what came makes work.
    works: usize,
    /// Pairs that are over.
    gone: Vec<Pair>,
}

fn name(operation: Operation) -> &'static str {
    match operation {
        Operation::Receive => "receive",
        Operation::Send => "send",
        Operation::Connect => "connect",
    }
}

fn other(lane: Lane) -> Lane {
    if lane == Lane::First { Lane::Second } else { Lane::First }
}

impl Bridge {
    pub fn new(world: &World, ceiling: usize) -> Bridge {
        let mut dice = world.dice();
        let mut engine = Engine::new(world.kernel(), Pool::new(ceiling));
        engine.splice_from(*dice.pick(&[1, 50, 1000]));
        Bridge {
            engine,
            unseen: dice.chance(500),
            pairs: Slab::default(),
            ledger: BTreeSet::new(),
            accepting: false,
            came: 0,
            over: 0,
            quiet: 0,
            ceiling,
            world: world.clone(),
            clients: Vec::new(),
            cancels: *dice.pick(&[0, 0, 0, 5]),
            works: *dice.pick(&[0, 0, 100, 1000]),
            dice,
            gone: Vec::new(),
        }
    }

    pub fn is_idle(&self, clients: usize) -> bool {
        self.over == clients
    }

    pub fn describe(&self) -> String {
        format!("{} came, {} over, in flight {:?}", self.came, self.over, self.ledger)
    }

    pub fn turn(&mut self) {
        if !std::mem::replace(&mut self.accepting, true) {
            self.engine.arm_accept(0);
        }
        if self.dice.chance(self.cancels) {
            let keys: Vec<Key> = self.pairs.keys().collect();
            if !keys.is_empty() {
                let key = *self.dice.pick(&keys);
                self.leave(key);
            }
        }
        self.quiet += 1;
        self.engine.wait(Some(Duration::from_millis(50))).expect("the simulated kernel turns");
        while let Some(completion) = self.engine.take() {
            let held = match &completion {
                Completion::Received(_, lease) => lease.piped(),
                _ => 0,
            };
            self.check_pool(held);
            self.handle(completion);
            self.check_pool(0);
        }
    }

    /// Never more in use than allowed, nor more than one chunk for each send in flight and what has just come in a pipe.
    fn check_pool(&self, held: usize) {
        let in_use = self.engine.pool().in_use() - held;
        let sends = self.ledger.iter().filter(|(_, operation)| *operation == "send").count();
        assert!(in_use <= self.ceiling && in_use <= sends * CHUNK_CLASSES[3], "{in_use} for {sends} sends");
    }

    fn submit(&mut self, token: Token, operation: &'static str) {
        assert!(self.ledger.insert((token.word(), operation)), "{token:?} has a {operation} in flight");
    }

    fn answered(&mut self, token: Token, operation: &'static str) {
        self.quiet = 0;
        assert!(self.ledger.remove(&(token.word(), operation)), "nobody asked for {operation} of {token:?}");
    }

    fn handle(&mut self, completion: Completion<SimSocket>) {
        match completion {
            Completion::Accepted(_, socket, _) => self.accepted(socket),
            Completion::AcceptFailed(..) => self.accepting = false,
            Completion::Received(token, lease) => self.received(token, lease),
            Completion::Ended(token) => {
                self.answered(token, "receive");
                self.ended(token);
            }
            Completion::Sent(token) => {
                self.answered(token, "send");
                let from = Token::new(token.key(), other(token.lane()));
                if self.pair(token).leaving {
                    self.close_if_joined(token.key());
                } else {
                    self.receive(from);
                }
            }
            Completion::Moved(token) => assert!(self.pairs.get_mut(token.key()).is_some()),
            Completion::Connected(token) => {
                self.answered(token, "connect");
                if self.pair(token).leaving {
                    return self.close_if_joined(token.key());
                }
                self.receive(token);
                self.receive(Token::new(token.key(), other(token.lane())));
            }
            Completion::Failed(token, operation, _) => {
                self.answered(token, name(operation));
                self.leave(token.key());
                self.close_if_joined(token.key());
            }
            Completion::Cancelled(token, operation) => {
                self.answered(token, name(operation));
                self.close_if_joined(token.key());
            }
            Completion::Closed(token) => self.closed(token),
            Completion::Woken => {}
        }
    }

    fn pair(&mut self, token: Token) -> &mut Pair {
        self.pairs.get_mut(token.key()).expect("a completion finds its pair")
    }

    /// Who is at the far end.
    fn far(&mut self, token: Token) -> Hand {
        let Pair { client, target, .. } = *self.pair(token);
        match token.lane() {
            Lane::First => self.clients[client].clone(),
            Lane::Second => self.world.dialled()[target.expect("it was dialled")].clone(),
        }
    }

    fn accepted(&mut self, socket: SimSocket) {
        self.accepting = false;
        let client = self.came;
        self.came += 1;
        let key = self.pairs.insert_with(|_| Pair { well: true, client, ..Pair::default() });
        let first = Token::new(key, Lane::First);
        if self.engine.adopt(first, socket).is_err() {
            self.pairs.remove(key);
            self.over += 1;
            return;
        }
        let second = Token::new(key, Lane::Second);
        let before = self.world.dialled().len();
        self.engine.connect(second, &place());
        self.submit(second, "connect");
        let dialled = self.world.dialled().len();
        self.pair(first).target = dialled.checked_sub(1).filter(|_| dialled > before);
        self.pair(first).sides.iter_mut().for_each(|side| side.open = true);
    }

    fn receive(&mut self, token: Token) {
        let most = self.dice.size(HOT_BYTES);
        match self.unseen {
            true => self.engine.receive_unseen(token, most),
            false => self.engine.receive(token, most),
        }
        self.submit(token, "receive");
    }

    fn received(&mut self, token: Token, lease: Lease) {
        self.answered(token, "receive");
        assert!(lease.size() > 0 && lease.headroom() > 0);
        assert!(lease.piped() == 0 || lease.is_empty() && self.unseen);
        let lane = token.lane();
        let far = self.far(token);
        let pair = self.pair(token);
        if pair.leaving {
            drop(lease);
            return self.close_if_joined(token.key());
        }
        // What is in a pipe cannot be seen here. It has to be what comes next: the far ends compare.
        let carried = &mut pair.carried[lane as usize];
        let next = &far.written()[carried.len()..][..lease.size()];
        assert!(lease.piped() > 0 || *lease == *next, "other bytes came");
        carried.extend(next);
        let to = Token::new(token.key(), other(lane));
        if self.dice.chance(self.works) {
            self.engine.charge(self.dice.size(2 * TURN_BYTES));
        }
        self.engine.send(to, lease, false);
        self.submit(to, "send");
    }

    fn ended(&mut self, token: Token) {
        let to = Token::new(token.key(), other(token.lane()));
        let pair = self.pair(token);
        pair.sides[token.lane() as usize].ended = true;
        if pair.leaving {
            return self.close_if_joined(token.key());
        }
        if pair.sides.iter().all(|side| side.ended) {
            pair.leaving = true;
        }
        self.engine.shut(to);
        self.close_if_joined(token.key());
    }

    /// Gives up a pair: cancels what is in flight; the rest follows when that has come back.
    fn leave(&mut self, key: Key) {
        let Some(pair) = self.pairs.get_mut(key) else { return };
        pair.well = false;
        if std::mem::replace(&mut pair.leaving, true) {
            return;
        }
        self.engine.cancel(Token::new(key, Lane::First));
        self.engine.cancel(Token::new(key, Lane::Second));
        self.close_if_joined(key);
    }

    fn close_if_joined(&mut self, key: Key) {
        let tokens = [Token::new(key, Lane::First), Token::new(key, Lane::Second)];
        let Some(pair) = self.pairs.get_mut(key) else { return };
        let flying = |token: &Token| {
            ["receive", "send", "connect"].iter().any(|it| self.ledger.contains(&(token.word(), *it)))
        };
        if !pair.leaving || tokens.iter().any(flying) {
            return;
        }
        for token in tokens {
            let side = &mut self.pair(token).sides[token.lane() as usize];
            if side.open && !std::mem::replace(&mut side.closing, true) {
                self.engine.close(token);
                self.submit(token, "close");
            }
        }
    }

    fn closed(&mut self, token: Token) {
        self.answered(token, "close");
        let pair = self.pair(token);
        pair.sides[token.lane() as usize].open = false;
        if pair.sides.iter().all(|side| !side.open) {
            let pair = self.pairs.remove(token.key()).expect("it was just here");
            self.gone.push(pair);
            self.over += 1;
        }
    }

    /// Bytes came in order, nothing was made up, and nothing is missing where all ended well.
    pub fn check_bytes(&self) {
        assert!(self.ledger.is_empty() && self.pairs.is_empty(), "{}", self.describe());
        let dialled = self.world.dialled();
        for pair in &self.gone {
            let client = &self.clients[pair.client];
            assert!(client.written().starts_with(&pair.carried[0]), "client {}", pair.client);
            assert!(pair.carried[1].starts_with(&client.received()), "client {}", pair.client);
            let Some(target) = pair.target.map(|at| &dialled[at]) else { continue };
            assert!(target.written().starts_with(&pair.carried[1]), "client {}", pair.client);
            assert!(pair.carried[0].starts_with(&target.received()), "client {}", pair.client);
            if pair.well && !client.is_broken() && !target.is_broken() {
                assert!(client.written() == target.received(), "client {}", pair.client);
                assert!(target.written() == client.received(), "client {}", pair.client);
            }
        }
    }
}
