//! Reach: which targets may be connected to, by the address that is really dialled and not by the name that was asked for.
//!
//! Owns the grammar of `--allow-target` and `--deny-target`, and the judgement of one address. A name has been looked up and
//! links have been followed before anything is judged here. Pure: it never looks anything up.

use crate::sys::address::Address;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// Words that stand for networks: what they are called and what they mean.
const WORDS: [(&str, &[&str]); 3] = [
    ("loopback", &["127.0.0.0/8", "::1"]),
    ("link-local", &["169.254.0.0/16", "fe80::/10"]),
    // Where clouds tell a machine who it is, and give it keys: those that are known to us.
    (
        "metadata",
        &[
            "169.254.169.254",
            "169.254.170.2",
            "169.254.170.23",
            "169.254.0.23",
            "169.254.42.42",
            "168.63.129.16",
            "100.100.100.200",
            "192.0.0.192",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "fd00:c1::a9fe:a9fe",
            "fd00:42::42",
            "fd00:a9fe:a9fe::1",
            "fd00:100::100:200",
            "fe80::a9fe:a9fe",
        ],
    ),
];

/// How an item is written, for complaints.
const FORMS: &str = "write such as 10.0.0.0/8, 10.0.0.7:5900-5999, [2001:db8::/32]:5900, :6080, link-local, /run/desks, @name";

/// Which targets may be connected to. Without any rule all may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// One of these has to cover a target; empty: none has to.
    pub allow: Vec<Rule>,
    /// None of these may.
    pub deny: Vec<Rule>,
}

/// Targets that an item of a list covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// TCP: addresses, and ports from the first to the last.
    Net(Network, u16, u16),
    /// Unix sockets anywhere beneath a directory, which is written without links.
    Beneath(PathBuf),
    /// A Unix socket of that name in the abstract namespace; an empty name: each of them.
    Abstract(Vec<u8>),
}

/// Addresses that share their first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// All of both families.
    All,
    /// Of IPv4: the first address and how many bits count, 0 to 32.
    V4(Ipv4Addr, u32),
    /// Of IPv6: the same, 0 to 128.
    V6(Ipv6Addr, u32),
}

/// Why a target may not be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barred {
    /// A rule denies it.
    Denied,
    /// There are rules that allow, and none allows it.
    NotAllowed,
}

impl Barred {
    /// The option that says so.
    pub fn option(self) -> &'static str {
        match self {
            Barred::Denied => "--deny-target",
            Barred::NotAllowed => "--allow-target",
        }
    }
}

impl Reach {
    /// Whether every target may be connected to.
    pub fn is_open(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }

    /// Judges a place that is to be connected to. The path of a Unix socket is one without links.
    ///
    /// # Errors
    /// Which list is against it; denying counts more than allowing.
    pub fn judge(&self, address: &Address) -> Result<(), Barred> {
        let any = |rules: &[Rule], address: &Address| rules.iter().any(|rule| rule.covers(address));
        let (written, real) = seen(address);
        // Of a path that begins nowhere nobody can say where it leads.
        let is_lost = matches!(address, Address::Unix(path) if !path.is_absolute());
        // What is written as another address than the one it leads to is denied by either.
        if is_lost || any(&self.deny, &written) || any(&self.deny, &real) {
            return Err(Barred::Denied);
        }
        let may = self.allow.is_empty() || any(&self.allow, &real);
        if may { Ok(()) } else { Err(Barred::NotAllowed) }
    }
}

/// An address as it is meant, IPv4 written as IPv6 being IPv4, and the one that the system connects to: nobody's address is
/// this machine.
fn seen(address: &Address) -> (Address, Address) {
    let Address::Tcp(socket) = address else { return (address.clone(), address.clone()) };
    let written = socket.ip().to_canonical();
    let real = match written {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let at = |ip| Address::Tcp(SocketAddr::new(ip, socket.port()));
    (at(written), at(real))
}

impl Rule {
    /// Reads an item of a list and adds the rules that it stands for to `rules`.
    ///
    /// # Errors
    /// What is wrong with it and how to write it.
    pub fn read(item: &str, rules: &mut Vec<Rule>) -> Result<(), String> {
        if item.is_empty() {
            return Err(format!("an item is empty; {FORMS}"));
        }
        if item.starts_with('/') {
            rules.push(Rule::Beneath(item.into()));
            return Ok(());
        }
        if let Some(name) = item.strip_prefix('@') {
            rules.push(Rule::Abstract(name.into()));
            return Ok(());
        }
        let (place, ports) =
            split(item).ok_or_else(|| format!("'{item}' has its colons or brackets wrong; {FORMS}"))?;
        let (first, last) = match ports {
            None => (0, u16::MAX),
            Some(ports) => range(ports).ok_or_else(|| {
                format!("'{item}' has no port behind its colon; write :5900 or :5900-5999, from 1 to 65535")
            })?,
        };
        if place.is_empty() {
            rules.push(Rule::Net(Network::All, first, last));
            return Ok(());
        }
        let word = WORDS.iter().find(|(word, _)| *word == place);
        for network in word.map_or(&[place][..], |(_, networks)| networks) {
            rules.push(Rule::Net(Network::parse(network)?, first, last));
        }
        Ok(())
    }

    fn covers(&self, address: &Address) -> bool {
        match (self, address) {
            (Rule::Net(network, first, last), Address::Tcp(socket)) => {
                (*first..=*last).contains(&socket.port()) && network.has(socket.ip())
            }
            // By components, not by letters.
            (Rule::Beneath(directory), Address::Unix(path)) => path.starts_with(directory),
            (Rule::Abstract(name), Address::Abstract(other)) => name.is_empty() || name == other,
            _ => false,
        }
    }
}

/// Splits an item into place and ports, if it has any: the place is in brackets where it has colons of its own.
fn split(item: &str) -> Option<(&str, Option<&str>)> {
    if let Some(inner) = item.strip_prefix('[') {
        let (place, behind) = inner.split_once(']')?;
        return match behind.strip_prefix(':') {
            // In brackets there is an address and nothing else.
            _ if !place.contains(':') => None,
            None if behind.is_empty() => Some((place, None)),
            None => None,
            ports => Some((place, ports)),
        };
    }
    match item.split_once(':') {
        Some((_, rest)) if rest.contains(':') => Some((item, None)),
        Some((place, ports)) => Some((place, Some(ports))),
        None => Some((item, None)),
    }
}

/// Reads `PORT` or `PORT-PORT`.
fn range(ports: &str) -> Option<(u16, u16)> {
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let port = |text| digits(text).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    let (first, last) = (port(first)?, port(last)?);
    (first <= last).then_some((first, last))
}

/// A number of decimal digits and nothing else.
fn digits(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then_some(text)?.parse().ok()
}

impl Network {
    /// Reads `ADDRESS` or `ADDRESS/BITS`. A network of IPv4 addresses written as IPv6 is one of IPv4. The address of nobody
    /// alone is refused: the item would not cover the machine that a target of this address leads to.
    fn parse(text: &str) -> Result<Network, String> {
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let ip: IpAddr = address
            .parse()
            .map_err(|_| format!("'{address}' is no address, and names are not looked up here; {FORMS}"))?;
        let most: u32 = if ip.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) => digits(bits)
                .filter(|bits| *bits <= most)
                .ok_or_else(|| format!("'{text}' has no length behind its slash; write /0 to /{most}"))?,
        };
        if bits == most && ip.to_canonical().is_unspecified() {
            return Err(format!(
                "'{text}' is nobody's address, and as a target it means this machine; write loopback"
            ));
        }
        let network = match ip {
            IpAddr::V4(ip) => Network::V4(ip, bits),
            IpAddr::V6(ip) => match (ip.to_ipv4_mapped(), bits.checked_sub(96)) {
                (Some(ip), Some(bits)) => Network::V4(ip, bits),
                _ => Network::V6(ip, bits),
            },
        };
        let first = network.first();
        if first == ip.to_canonical() {
            return Ok(network);
        }
        // Somebody means one of the two, and nobody can say which.
        let bits = match network {
            Network::V4(_, bits) | Network::V6(_, bits) => bits,
            Network::All => 0,
        };
        Err(format!("'{text}' has bits behind its length; write {first}/{bits}, or {address} alone"))
    }

    /// Its first address.
    fn first(self) -> IpAddr {
        match self {
            Network::All => Ipv6Addr::UNSPECIFIED.into(),
            Network::V4(ip, bits) => Ipv4Addr::from_bits(ip.to_bits() & mask4(bits)).into(),
            Network::V6(ip, bits) => Ipv6Addr::from_bits(ip.to_bits() & mask6(bits)).into(),
        }
    }

    fn has(self, ip: IpAddr) -> bool {
        match (self, ip) {
            (Network::All, _) => true,
            (Network::V4(first, bits), IpAddr::V4(ip)) => (first.to_bits() ^ ip.to_bits()) & mask4(bits) == 0,
            (Network::V6(first, bits), IpAddr::V6(ip)) => (first.to_bits() ^ ip.to_bits()) & mask6(bits) == 0,
            _ => false,
        }
    }
}

/// The first `bits` of 32.
fn mask4(bits: u32) -> u32 {
    u32::MAX.checked_shl(32 - bits.min(32)).unwrap_or(0)
}

/// The first `bits` of 128.
fn mask6(bits: u32) -> u128 {
    u128::MAX.checked_shl(128 - bits.min(128)).unwrap_or(0)
}

#[cfg(test)]
#[path = "reach_tests.rs"]
mod tests;
