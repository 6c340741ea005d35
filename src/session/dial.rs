//! Dialling a target: names become addresses, addresses are tried in turn, each with its own deadline and all with one.

use super::framed::Framer;
use super::job::{Job, Verdict};
use super::{Core, Cx, End, Input, Operation, Side, lacks_memory};
use crate::limits::{DIAL_ADDRESS_TIMEOUT_MS, RETRY_MS};
use crate::sys::address::Address;
use crate::target::{Held, Port, Target};
use crate::timers::Time;
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// A dial that is going on.
#[derive(Debug)]
pub(super) struct Dial {
    /// Not yet tried.
    left: VecDeque<Address>,
    /// When all of it must be done.
    deadline: Time,
    /// When the address that is being tried is given up for the next, or tried again.
    address_deadline: Time,
    /// The address that is being tried.
    current: Option<Address>,
    /// It had no room for us and is tried again at `address_deadline`.
    again: bool,
    /// What keeps the address good that is dialled.
    _held: Option<Held>,
    /// What will cut what the target says, kept here for the bridge, which has no room for what few have.
    pub framer: Option<Box<Framer>>,
}

/// How a dial stands.
pub(super) enum Dialled {
    Pending,
    Connected,
    Failed(End),
}

impl Dial {
    /// Begins to dial `target`; `None` for one that needs no socket.
    pub fn begin(target: &Target, core: &mut Core, cx: &mut Cx<'_>) -> Option<Box<Dial>> {
        let mut dial = Dial {
            left: VecDeque::new(),
            deadline: cx.now + cx.config.timing.dial,
            address_deadline: cx.now + cx.config.timing.dial,
            current: None,
            again: false,
            _held: None,
            framer: None,
        };
        match target {
            Target::Echo => return None,
            Target::Unix(path) => dial.left.push_back(Address::Unix(path.clone())),
            Target::Held(held) => {
                dial.left.push_back(Address::Unix(held.way.clone()));
                // The session keeps its name only: the descriptor is for the dial.
                core.target = Some(Arc::new(Target::Unix(held.path.clone())));
                dial._held = Some(held.clone());
            }
            Target::Abstract(name) => dial.left.push_back(Address::Abstract(name.clone())),
            Target::Resolved { name, addresses } => {
                dial.left.extend(addresses.iter().copied().map(Address::Tcp));
                // As above: these are for the dial.
                core.target = Some(name.clone());
            }
            Target::Tcp { host, port } => match (host.parse::<IpAddr>(), port) {
                (Ok(ip), Port::Number(port)) => {
                    dial.left.push_back(Address::Tcp(SocketAddr::new(ip, *port)));
                }
                _ => core.ask(Job::Resolve { host: host.clone(), port: port.clone() }, cx),
            },
        }
        if !dial.left.is_empty() {
            dial.next(core, cx);
        }
        Some(Box::new(dial))
    }

    /// When [`Input::Expired`] means something to this dial; whoever owns it arms that.
    pub fn due(&self) -> Time {
        self.deadline.min(self.address_deadline)
    }

    /// Takes an input that is about the target.
    pub fn handle(&mut self, input: Input, core: &mut Core, cx: &mut Cx<'_>) -> Dialled {
        match input {
            Input::Connected => {
                if core.end.is_none() {
                    // What came of addresses before this one is no cause of anything that comes now.
                    core.detail = None;
                }
                Dialled::Connected
            }
            Input::Verdict(Verdict::Addresses(Ok(addresses))) => {
                self.left.extend(addresses.into_iter().map(Address::Tcp));
                self.next(core, cx)
            }
            Input::Verdict(Verdict::Addresses(Err(error))) => {
                core.detail = Some(error.to_string().into());
                Dialled::Failed(End::TargetRefused)
            }
            Input::Verdict(Verdict::Busy) => {
                core.detail = Some("too many name look-ups are waiting".into());
                Dialled::Failed(End::TargetRefused)
            }
            Input::Failed(Side::Target, Operation::Connect, error) if lacks_memory(&error) => {
                // No other address would do better.
                core.close(Side::Target, cx);
                Dialled::Failed(End::NoMemory)
            }
            Input::Failed(Side::Target, Operation::Connect, error) => {
                // The backlog of a Unix listener is full: no edge will tell when it no longer is.
                self.again = error.kind() == io::ErrorKind::WouldBlock;
                core.close(Side::Target, cx);
                Dialled::Pending
            }
            Input::Cancelled(Side::Target, _) => {
                core.close(Side::Target, cx);
                Dialled::Pending
            }
            Input::Closed(Side::Target) if self.again => {
                self.address_deadline = cx.now + Duration::from_millis(RETRY_MS);
                Dialled::Pending
            }
            Input::Closed(Side::Target) => self.next(core, cx),
            Input::Expired if cx.now >= self.deadline => Dialled::Failed(End::DialTimeout),
            Input::Expired if cx.now >= self.address_deadline && self.again => {
                self.left.extend(self.current.take());
                self.left.rotate_right(1);
                self.next(core, cx)
            }
            Input::Expired if cx.now >= self.address_deadline => {
                core.detail = Some("connect timed out".into());
                self.address_deadline = self.deadline;
                core.cancel(Side::Target, cx);
                Dialled::Pending
            }
            _ => Dialled::Pending,
        }
    }

    fn next(&mut self, core: &mut Core, cx: &mut Cx<'_>) -> Dialled {
        let Some(address) = self.left.pop_front() else { return Dialled::Failed(End::TargetRefused) };
        // The last address may use all the time that is left.
        self.address_deadline = match self.left.is_empty() {
            true => self.deadline,
            false => cx.now + Duration::from_millis(DIAL_ADDRESS_TIMEOUT_MS),
        };
        self.again = false;
        self.current = Some(address.clone());
        core.connect(address, cx);
        Dialled::Pending
    }
}
