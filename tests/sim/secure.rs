//! What must be true of TLS on any day, and what else on a day that leaves no excuse.

use super::client::{Client, Leaving, Manner};
use super::ends::Ends;
use super::target::{Manner as FarManner, Target};
use super::wire::{Wire, are_records};
use rustls::Error;
use std::time::Duration;
use websplice::http::secure::Plain;
use websplice::limits::{CLOSE_TIMEOUT_MS, DIAL_TIMEOUT_MS};
use websplice::timers::Time;

/// Records of every type there is: change of cipher, alert, handshake, payload.
const ANY: &[u8] = &[20, 21, 22, 23];
/// What is said to one who has not agreed to anything yet.
const BEFORE: &[u8] = &[21, 22];
/// How long after its session began nobody doubts that the shard has seen what a client said at once, in milliseconds.
const SURELY_MS: u64 = 3_000;

/// A target gets its handshake done in the time of a dial, or is closed when the client has been told so: its flushing and
/// its lingering have their time each.
pub fn check_handshakes(targets: &[Target], now: Time) {
    for (number, target) in targets.iter().enumerate() {
        let wire = &target.wire;
        let Some(met) = wire.hand.met_at().filter(|_| wire.is_secure() && !wire.is_open()) else { continue };
        let late = met + Duration::from_millis(DIAL_TIMEOUT_MS + 2 * CLOSE_TIMEOUT_MS + 1500);
        let gone = wire.hand.is_left() || wire.hand.is_broken();
        assert!(now < late || gone, "target {number} may stay in its handshake");
    }
}

/// What targets were told on any day.
pub fn check_targets(targets: &[Target], secured: bool) {
    for (number, Target { wire, part, .. }) in targets.iter().enumerate() {
        let heard = wire.hand.received();
        match part.manner {
            // It plays no TLS, so it never gets beyond a hello and an alert.
            FarManner::Plain if secured => {
                assert!(are_records(&heard, BEFORE), "target {number} got plaintext")
            }
            FarManner::Plain => {}
            FarManner::Good(_) | FarManner::Halves(_) | FarManner::Truncates(_) => {
                assert!(are_records(&heard, ANY), "target {number} got plaintext");
                assert_eq!(wire.failed, None, "target {number} did nothing wrong");
            }
            FarManner::Untrusted(_) => {
                assert!(are_records(&heard, ANY), "target {number} got plaintext");
                assert!(wire.read.is_empty(), "target {number} is trusted");
                assert!(is_alerted(wire) || wire.failed.is_none(), "target {number}: {:?}", wire.failed);
            }
            FarManner::Cut(..) => {
                assert!(are_records(&heard, ANY), "target {number} got plaintext");
                assert!(is_alerted(wire) || wire.failed.is_none(), "target {number}: {:?}", wire.failed);
            }
        }
    }
}

/// What clients were told on any day that has TLS for them.
pub fn check_clients(clients: &[Client], plain: Plain) {
    for (number, client) in clients.iter().enumerate() {
        let wire = &client.wire;
        let heard = wire.hand.received();
        let failed = &wire.failed;
        match client.manner {
            Manner::Plain => {
                assert!(!client.reader.open || plain == Plain::Served, "client {number} came without TLS");
                assert!(heard.is_empty() || plain != Plain::Closed, "client {number} is to hear nothing");
                continue;
            }
            Manner::Good if !client.garbles => assert_eq!(*failed, None, "client {number} did nothing wrong"),
            Manner::Good | Manner::Cut | Manner::Garbage => {
                assert!(is_alerted(wire) || failed.is_none(), "client {number}: {failed:?}");
            }
            Manner::Refused => {
                assert!(wire.read.is_empty(), "client {number} was served all the same");
            }
        }
        assert!(are_records(&heard, ANY), "client {number} got plaintext");
    }
}

/// What clients were told on a day that leaves no excuse but the word to stop, which came at `stopped`, and on a `crowded` one
/// that there was no place. Who had to make room was closed without a word, and so is cut from TLS.
pub fn check_served_clients(clients: &[Client], ends: &Ends, crowded: bool, stopped: Time) {
    for (number, client) in clients.iter().enumerate() {
        let wire = &client.wire;
        let Some(met) = wire.hand.met_at() else { continue };
        let Some(end) = ends.of(client) else {
            assert!(crowded || met >= stopped, "client {number} had no place: {}", client.words());
            assert!(wire.hand.received().is_empty(), "client {number} was told something");
            continue;
        };
        if !wire.is_secure() || !client.attentive || wire.hand.is_broken() || end.shed {
            continue;
        }
        let in_time = end.began + Duration::from_millis(SURELY_MS) < stopped;
        match client.manner {
            Manner::Plain | Manner::Cut => {}
            Manner::Garbage if in_time => {
                assert!(is_alerted(wire), "client {number} got no alert: {}", client.words())
            }
            Manner::Refused if in_time && client.leaving != Leaving::Rudely => {
                assert!(wire.failed.is_some(), "client {number} was not refused: {}", client.words())
            }
            Manner::Good if in_time && client.leaving != Leaving::Rudely => {
                assert!(wire.is_open(), "client {number}: the handshake was not done: {}", client.words());
            }
            Manner::Garbage | Manner::Refused | Manner::Good => {}
        }
        // Who ends its stream in the handshake takes it for done when the server does not yet.
        let agreed = client.leaving != Leaving::Rudely || !client.reader.answers.is_empty();
        if client.manner == Manner::Good && agreed && wire.is_open() && wire.hand.ended() {
            assert!(
                wire.dismissed || wire.failed.is_some(),
                "client {number} was told no close_notify: {}",
                client.words()
            );
        }
    }
}

/// What targets were told on a day that leaves no excuse.
pub fn check_served_targets(targets: &[Target]) {
    for (number, Target { wire, part, .. }) in targets.iter().enumerate() {
        if wire.is_secure() && part.is_kind() && wire.is_open() && wire.hand.ended() {
            assert!(
                wire.dismissed || wire.hand.is_broken(),
                "target {number} was told no close_notify: {part:?}"
            );
        }
    }
}

fn is_alerted(wire: &Wire) -> bool {
    matches!(wire.failed, Some(Error::AlertReceived(_)))
}
