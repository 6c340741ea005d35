//! What the shard says of its sessions: when each began and ended, and who was told to go.

use super::client::Client;
use std::net::SocketAddr;
use std::time::Duration;
use websplice::limits::SHED_GRACE_MS;
use websplice::observe::log::{Kept, Level, Log};
use websplice::timers::Time;

/// A session that has ended.
pub struct End {
    client: SocketAddr,
    /// When it had its place, and for how long.
    pub began: Time,
    lasted: Duration,
    /// It had to make room.
    pub shed: bool,
}

/// All that is known of sessions that have ended.
pub struct Ends {
    lines: Kept,
    ends: Vec<End>,
    /// Clients that were answered, and those with whom a bridge was opened.
    answered: Vec<SocketAddr>,
    opened: Vec<SocketAddr>,
}

impl Ends {
    /// A log that tells of everything, and who reads it.
    pub fn new() -> (Log, Ends) {
        let (log, lines) = Log::kept(Level::Debug);
        (log, Ends { lines, ends: Vec::new(), answered: Vec::new(), opened: Vec::new() })
    }

    /// Reads what was said in the turn that is over.
    pub fn read(&mut self, now: Time) {
        while let Some((_, line)) = self.lines.pop() {
            let field = |name| line.split(' ').find_map(|field| field.strip_prefix(name));
            let Some(client) = field("client=").and_then(|client| client.parse().ok()) else { continue };
            match line.split(' ').next() {
                Some("open") => self.opened.push(client),
                Some("http") => self.answered.push(client),
                Some("end") => {
                    // Seconds with three digits, which are milliseconds without the point.
                    let lasted = field("duration=").and_then(|time| time.strip_suffix('s'));
                    let lasted = lasted.and_then(|time| time.replace('.', "").parse().ok());
                    let lasted: u64 = lasted.expect("an end says how long it lasted");
                    let (began, lasted) = (Time(now.0 - lasted), Duration::from_millis(lasted));
                    self.ends.push(End { client, began, lasted, shed: field("end=") == Some("shed") });
                }
                _ => {}
            }
        }
    }

    /// What became of a client, if it had a place.
    pub fn of(&self, client: &Client) -> Option<&End> {
        let own = client.wire.hand.peer();
        self.ends.iter().find(|end| Some(end.client) == own)
    }

    /// A client that never completes a head has a place no longer than its time, however long it has waited for that.
    pub fn check_patience(&self, clients: &[Client]) {
        for (number, client) in clients.iter().enumerate() {
            let (Some(patience), Some(end)) = (client.patience, self.of(client)) else { continue };
            let most = Duration::from_millis(patience + 1500);
            assert!(end.lasted <= most, "client {number} stayed without a head for {:?}", end.lasted);
        }
    }

    /// Only where places are few somebody had to go: never a bridge, and nobody who was not answered before its time was over.
    /// Of the `counted` ones those who have had their last answer ended for that.
    pub fn check_shed(&self, crowded: bool, counted: u64) {
        let shed: Vec<_> = self.ends.iter().filter(|end| end.shed).collect();
        assert!(crowded || counted == 0, "{counted} had to go while there were places");
        assert!(shed.len() as u64 <= counted, "{} had to go and {counted} were counted", shed.len());
        for End { client, lasted, .. } in shed {
            assert!(!self.opened.contains(client), "the bridge of {client} had to go");
            let had_time = *lasted >= Duration::from_millis(SHED_GRACE_MS);
            assert!(had_time || self.answered.contains(client), "{client} had {lasted:?}");
        }
    }
}
