//! What there was of misfortunes and of TLS in some days, counted, so that a simulation which no longer meets something is
//! noticed.

use super::client::{Client, Manner};
use super::target::Target;
use rustls::ProtocolVersion;
use std::ops::AddAssign;
use websplice::observe::counters::Counters;
use websplice::sim::Faults;

/// Counts of things that have to happen now and then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// What struck the network.
    pub faults: Faults,
    /// Receives that had to wait for buffer memory.
    pub starved: u64,
    /// Clients that had to make room for others.
    pub shed: u64,
    /// Handshakes with clients that were done, in the older and the newer version, and those resumed among them.
    pub clients: [usize; 2],
    pub clients_resumed: usize,
    /// The same with targets.
    pub targets: [usize; 2],
    pub targets_resumed: usize,
    /// Bridges that were opened behind TLS.
    pub bridges: usize,
    /// Clients and targets that were told an alert.
    pub clients_alerted: usize,
    pub targets_alerted: usize,
    /// Clients and targets that were told close_notify.
    pub clients_dismissed: usize,
    pub targets_dismissed: usize,
    /// Requests with tokens that lead nowhere, and those that nobody decided in time.
    pub unknown: usize,
    pub undecided: usize,
    /// Clients whose handshake was never done though they began one.
    pub unfinished: usize,
}

impl Tally {
    /// Counts one day.
    pub fn of(faults: Faults, counters: &Counters, clients: &[Client], targets: &[Target]) -> Tally {
        let shed = counters.heads_shed + counters.idle_shed;
        let mut tally = Tally { faults, starved: counters.starved, shed, ..Tally::default() };
        let answers = clients.iter().flat_map(|client| &client.reader.answers);
        tally.unknown = answers.clone().filter(|status| **status == 404).count();
        tally.undecided = answers.filter(|status| **status == 504).count();
        for client in clients.iter().filter(|client| client.wire.is_secure()) {
            let wire = &client.wire;
            match wire.version().filter(|_| wire.is_open()) {
                Some(ProtocolVersion::TLSv1_2) => tally.clients[0] += 1,
                Some(_) => tally.clients[1] += 1,
                None => tally.unfinished += 1,
            }
            tally.clients_resumed += usize::from(wire.is_open() && wire.is_resumed());
            tally.bridges += usize::from(client.reader.open && client.manner == Manner::Good);
            tally.clients_alerted += usize::from(wire.failed.is_some());
            tally.clients_dismissed += usize::from(wire.dismissed);
        }
        for target in targets.iter().filter(|target| target.wire.is_secure()) {
            let wire = &target.wire;
            match wire.version().filter(|_| wire.is_open()) {
                Some(ProtocolVersion::TLSv1_2) => tally.targets[0] += 1,
                Some(_) => tally.targets[1] += 1,
                None => {}
            }
            tally.targets_resumed += usize::from(wire.is_open() && wire.is_resumed());
            tally.targets_alerted += usize::from(wire.failed.is_some());
            tally.targets_dismissed += usize::from(wire.dismissed);
        }
        tally
    }
}

impl Tally {
    /// # Panics
    /// If something was never met.
    pub fn check(&self) {
        let Faults { splits, delays, splices, resets, refusals, half_closes } = self.faults;
        let met = [splits, delays, splices, resets, refusals, half_closes[0], half_closes[1]];
        assert!(met.iter().all(|&count| count > 0) && self.starved > 0, "misfortunes: {self:#?}");
        let Tally { clients, targets, .. } = self;
        let counts =
            [clients[0], clients[1], self.clients_resumed, targets[0], targets[1], self.targets_resumed];
        assert!(counts.iter().all(|&count| count > 0), "kinds of handshakes: {self:#?}");
        let ends =
            [self.clients_alerted, self.targets_alerted, self.clients_dismissed, self.targets_dismissed];
        assert!(ends.iter().all(|&count| count > 0), "ends of streams: {self:#?}");
        assert!(self.unknown > 0 && self.undecided > 0, "routes: {self:#?}");
        assert!(self.shed > 0, "rooms: {self:#?}");
        assert!(self.bridges > 0 && self.unfinished > 0, "{self:#?}");
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.faults.splits += other.faults.splits;
        self.faults.delays += other.faults.delays;
        self.faults.splices += other.faults.splices;
        self.faults.resets += other.faults.resets;
        self.faults.refusals += other.faults.refusals;
        for side in 0..2 {
            self.faults.half_closes[side] += other.faults.half_closes[side];
        }
        self.starved += other.starved;
        self.shed += other.shed;
        for version in 0..2 {
            self.clients[version] += other.clients[version];
            self.targets[version] += other.targets[version];
        }
        self.clients_resumed += other.clients_resumed;
        self.targets_resumed += other.targets_resumed;
        self.bridges += other.bridges;
        self.clients_alerted += other.clients_alerted;
        self.targets_alerted += other.targets_alerted;
        self.clients_dismissed += other.clients_dismissed;
        self.targets_dismissed += other.targets_dismissed;
        self.unknown += other.unknown;
        self.undecided += other.undecided;
        self.unfinished += other.unfinished;
    }
}
