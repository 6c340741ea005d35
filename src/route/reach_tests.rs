//! Tables of lists and of what they let through, and lists by chance against another way of reckoning.

use super::*;
use std::path::Path;

fn rules(list: &str) -> Vec<Rule> {
    let mut rules = Vec::new();
    for item in list.split(',').filter(|item| !item.is_empty()) {
        Rule::read(item, &mut rules).unwrap();
    }
    rules
}

fn reach(allow: &str, deny: &str) -> Reach {
    Reach { allow: rules(allow), deny: rules(deny) }
}

/// `/path`, `@name` or an address with its port.
fn address(word: &str) -> Address {
    match word.strip_prefix('@') {
        Some(name) => Address::Abstract(name.into()),
        None if word.contains('/') => Address::Unix(Path::new(word).into()),
        None => Address::Tcp(word.parse().unwrap()),
    }
}

#[track_caller]
fn judged(allow: &str, deny: &str, word: &str) -> &'static str {
    reach(allow, deny).judge(&address(word)).map_or_else(Barred::option, |()| "passes")
}

const DENY: &str = "--deny-target";
const ALLOW: &str = "--allow-target";

#[test]
fn one_item_covers_what_it_says() {
    let rows: [(&str, &[&str], &[&str]); 17] = [
        (
            "10.0.0.0/8",
            &["10.0.0.0:1", "10.255.255.255:65535", "[::ffff:10.1.2.3]:5900"],
            &["11.0.0.0:1", "9.255.255.255:1", "[::a00:1]:1"],
        ),
        ("10.1.2.3", &["10.1.2.3:22"], &["10.1.2.2:22", "10.1.2.4:22"]),
        ("0.0.0.0/0", &["1.2.3.4:5", "[::ffff:1.2.3.4]:5"], &["[::1]:5", "/x", "@x"]),
        (
            "10.0.0.7:5900-5999",
            &["10.0.0.7:5900", "10.0.0.7:5999"],
            &["10.0.0.7:5899", "10.0.0.7:6000", "10.0.0.8:5900"],
        ),
        ("10.0.0.0/31:22", &["10.0.0.1:22"], &["10.0.0.2:22", "10.0.0.1:23"]),
        ("2001:db8::/32", &["[2001:db8:ffff::1]:1"], &["[2001:db9::]:1", "10.0.0.1:1"]),
        ("2001:db8::7", &["[2001:db8::7]:1"], &["[2001:db8::8]:1"]),
        ("[2001:db8::/32]:5900", &["[2001:db8::1]:5900"], &["[2001:db8::1]:5901"]),
        ("[2001:db8::7]", &["[2001:db8::7]:1"], &["[2001:db8::8]:1"]),
        ("::/0", &["[::1]:1", "[2001:db8::7]:1"], &["127.0.0.1:1", "[::ffff:127.0.0.1]:1"]),
        ("::ffff:10.0.0.0/104", &["10.1.2.3:1"], &["11.0.0.0:1"]),
        (":6080", &["127.0.0.1:6080", "[::1]:6080", "8.8.8.8:6080"], &["127.0.0.1:6081", "/x"]),
        (
            "loopback",
            &["127.0.0.1:1", "127.255.0.1:1", "[::1]:1", "0.0.0.0:1", "[::]:1", "[::ffff:0.0.0.0]:1"],
            &["128.0.0.1:1", "[::2]:1"],
        ),
        ("link-local", &["169.254.0.1:80", "[fe80::1]:1", "[febf::1]:1"], &["169.253.0.1:80", "[fec0::1]:1"]),
        (
            "metadata:80",
            &[
                "169.254.169.254:80",
                "[fd00:ec2::254]:80",
                "[::ffff:169.254.169.254]:80",
                "[fd00:c1::a9fe:a9fe]:80",
                "[fd00:42::42]:80",
                "169.254.42.42:80",
                "192.0.0.192:80",
                "169.254.0.23:80",
                "[fd00:a9fe:a9fe::1]:80",
                "[fd00:100::100:200]:80",
            ],
            &["169.254.169.254:81", "169.254.169.253:80"],
        ),
        (
            "/run/desks",
            &["/run/desks/1", "/run/desks/a/b", "/run/desks"],
            &["/run/desks-evil/1", "/run", "/other", "@run/desks/1"],
        ),
        ("@desk", &["@desk"], &["@desk1", "@", "/desk"]),
    ];
    for (item, inside, outside) in rows {
        for word in inside {
            assert_eq!(
                (judged(item, "", word), judged("", item, word)),
                ("passes", DENY),
                "{item} has {word}"
            );
        }
        for word in outside {
            assert_eq!(
                (judged(item, "", word), judged("", item, word)),
                (ALLOW, "passes"),
                "{item} has no {word}"
            );
        }
    }
    assert_eq!((judged("", "@", "@any"), judged("", "@", "/any")), (DENY, "passes"), "each of them");
    assert_eq!((judged("", "/", "/any"), judged("", "/", "@any")), (DENY, "passes"), "each of them");
}

#[test]
fn denying_counts_more_than_allowing() {
    assert!(Reach::default().is_open() && !reach("", ":1").is_open() && !reach(":1", "").is_open());
    assert_eq!(judged("", "", "127.0.0.1:1"), "passes");
    assert_eq!(judged("10.0.0.0/8,/run", "10.0.0.1", "10.0.0.1:1"), DENY);
    assert_eq!(judged("10.0.0.0/8,/run", "10.0.0.1", "10.0.0.2:1"), "passes");
    assert_eq!(judged("10.0.0.0/8,/run", "10.0.0.1", "/run/x"), "passes");
    assert_eq!(judged("10.0.0.0/8,/run", "10.0.0.1", "@x"), ALLOW, "what no item speaks of is not allowed");
}

#[test]
fn the_address_of_nobody_is_this_machine() {
    for word in ["0.0.0.0:1", "[::ffff:0.0.0.0]:1"] {
        assert_eq!(judged("", "127.0.0.1", word), DENY);
        // Who denies what is written means it, and who allows that allows no more than is meant by it.
        assert_eq!(judged("", "0.0.0.0/8", word), DENY);
        assert_eq!(judged("0.0.0.0/8", "", word), ALLOW);
    }
    assert_eq!((judged("", "::1", "[::]:1"), judged("::1", "", "[::]:1")), (DENY, "passes"));
}

#[test]
fn a_path_that_begins_nowhere_is_nowhere() {
    for (allow, deny) in [("/run", ""), ("", "/run"), ("", ":1")] {
        assert_eq!(
            reach(allow, deny).judge(&Address::Unix("(unreachable)/run/x".into())),
            Err(Barred::Denied)
        );
    }
}

#[test]
fn what_is_no_item_is_told_with_a_remedy() {
    let rows = [
        ("", "empty"),
        ("desk.example", "no address"),
        ("desk.example:5900", "no address"),
        ("Loopback", "no address"),
        ("10.0.0", "no address"),
        ("010.0.0.1", "no address"),
        ("fe80::1%eth0", "no address"),
        ("::1:x", "no address"),
        ("0.0.0.0", "write loopback"),
        ("0.0.0.0:5900", "write loopback"),
        ("0.0.0.0/32", "write loopback"),
        ("::", "write loopback"),
        ("[::]:5900", "write loopback"),
        ("::/128", "write loopback"),
        ("::ffff:0.0.0.0", "write loopback"),
        ("10.0.0.1/33", "write /0 to /32"),
        ("10.0.0.1/", "write /0 to /32"),
        ("10.0.0.1/+8", "write /0 to /32"),
        ("10.0.0.1/-1", "write /0 to /32"),
        ("::1/129", "write /0 to /128"),
        ("10.1.2.3/8", "write 10.0.0.0/8"),
        ("2001:db8::1/32", "write 2001:db8::/32"),
        ("10.0.0.1:", "no port"),
        ("10.0.0.1:0", "no port"),
        ("10.0.0.1:65536", "no port"),
        ("10.0.0.1:99999999999", "no port"),
        ("10.0.0.1:9-8", "no port"),
        ("10.0.0.1:+9", "no port"),
        ("10.0.0.1:9-", "no port"),
        (":", "no port"),
        (":vnc", "no port"),
        ("[10.0.0.1]:1", "brackets"),
        ("[loopback]:1", "brackets"),
        ("[::1", "brackets"),
        ("[::1]1", "brackets"),
        ("[]:1", "brackets"),
    ];
    for (item, part) in rows {
        let mut rules = Vec::new();
        let why = Rule::read(item, &mut rules).expect_err(item);
        assert!(why.contains(part) && why.contains("; write ") && rules.is_empty(), "{item:?}: {why}");
    }
}

/// Numbers that only look like chance, from a seed (xorshift64*).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// The first bits of an address, as letters.
fn bits(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("{:032b}", ip.to_bits()),
        IpAddr::V6(ip) => format!("{:0128b}", ip.to_bits()),
    }
}

#[test]
fn networks_by_chance_have_whoever_shares_their_bits() {
    let mut chance = Chance(7);
    for _ in 0..20_000 {
        let v4 = chance.next().is_multiple_of(2);
        let width = if v4 { 32 } else { 128 };
        let draw = |chance: &mut Chance| -> IpAddr {
            let number = u128::from(chance.next()) << 64 | u128::from(chance.next());
            // Not of the kind that is IPv4 in truth.
            if v4 {
                Ipv4Addr::from_bits((number as u32) | 1).into()
            } else {
                Ipv6Addr::from_bits(number | 1 << 127).into()
            }
        };
        let (length, one) = ((chance.next() % (width + 1)) as usize, draw(&mut chance));
        let mut other = draw(&mut chance);
        // Half of them are neighbours.
        if chance.next().is_multiple_of(2) {
            let far = 1_u128 << (chance.next() % width);
            other = match one {
                IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() ^ far as u32).into(),
                IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() ^ far).into(),
            };
        }
        let network = match one {
            IpAddr::V4(ip) => Network::V4(ip, length as u32),
            IpAddr::V6(ip) => Network::V6(ip, length as u32),
        };
        assert_eq!(network.has(other), bits(one)[..length] == bits(other)[..length], "{network:?} {other}");
        let text = format!("{}/{length}", network.first());
        let read = Network::parse(&text).unwrap();
        assert_eq!((read.first(), read.has(other)), (network.first(), network.has(other)), "{text}");
    }
}

#[test]
fn no_item_panics() {
    let mut chance = Chance(11);
    let letters: Vec<char> = "0123456789abcdef::://..[]-@%, é\0".chars().collect();
    for _ in 0..50_000 {
        let length = chance.next() % 20;
        let item: String = (0..length).map(|_| letters[chance.next() as usize % letters.len()]).collect();
        let mut rules = Vec::new();
        if Rule::read(&item, &mut rules).is_err() {
            assert!(rules.is_empty(), "{item:?}");
        }
        let reach = Reach { allow: rules.clone(), deny: rules };
        let _ = reach.judge(&address("10.0.0.1:1"));
    }
}
