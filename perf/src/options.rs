//! The command line.
//!
//! It turns words into checked values and knows the help text. It never opens or starts anything.

use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::{Long, Short, Value, ValueExt};

use crate::floor::Floor;
use crate::measure::Pace;
use crate::peers::{PEERS, Peer, Programs};
use crate::rows::{ROWS, Row};

/// Text of `--help`.
pub const HELP: &str = "\
Measures websplice and its peers side by side, in interleaved rounds.

Usage: websplice-perf [options]
       websplice-perf floor --listen ADDRESS --target ADDRESS [--paced]
                           the peer floor-epoll: relays TCP with the needed system calls alone; --paced
                           leaves its sockets the system's congestion control even where that is BBR

  --quick            short windows, and a choice of rows and peers: a first look in about three minutes
  --rows A,B         only these rows: down-1 down-16 up-1 up-16 echo-1 echo-64 setup idle tls-down-1 tls-down-16
                     tls-up-1 tls-up-16 tls-echo-64 tls-full tls-resumed tls-full-rsa tls-resumed-rsa tls-idle
  --peers X,Y        only these peers: none floor-epoll websplice-ring websplice-poll haproxy nginx python websocat
  --rounds N         rounds over all peers (default 3)
  --window MS        length of one measurement in milliseconds (default 2000, quick 600)
  --idle N           sessions of the idle row (default 5000)
  --congestion NAME  run everything in a network namespace of its own with this congestion control as
                     the default (needs root); without it, peers keep the system's default
  --first            ask the scheduler to prefer this login session while the run lasts (needs root): for
                     machines that others use as well
  --bin FILE         the websplice binary (default target/release/websplice)
  --peer-dir DIR     what scripts/perf-peers.sh installed (default target/peers)
  --scratch DIR      peers' logs and configurations (default target/perf)
  --json FILE        write every sample to FILE
  --out FILE         write the report to FILE (default perf/RESULTS.md, `-` for none)
  --check            exit with 1, after the report is written, unless all goals that the run can judge are met
  --help             this text
";

/// What is to be done.
#[derive(Debug)]
pub enum Errand {
    /// Show the help text.
    Help,
    /// Be a peer.
    Floor(Floor),
    /// Measure.
    Measure(Box<Options>),
}

impl Errand {
    /// Reads the command line.
    pub fn parse(mut parser: lexopt::Parser) -> Result<Self, lexopt::Error> {
        let mut plain = parser.clone();
        if matches!(plain.next()?, Some(Value(word)) if word == "floor") {
            return floor(plain);
        }
        Ok(Options::parse(&mut parser)?.map_or(Self::Help, |options| Self::Measure(Box::new(options))))
    }
}

fn floor(mut parser: lexopt::Parser) -> Result<Errand, lexopt::Error> {
    let (mut listen, mut target, mut paced) = (None, None, false);
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(Errand::Help),
            Long("listen") => listen = Some(parser.value()?.parse()?),
            Long("target") => target = Some(parser.value()?.parse()?),
            Long("paced") => paced = true,
            other => return Err(other.unexpected()),
        }
    }
    let (Some(listen), Some(target)) = (listen, target) else {
        return Err("floor needs --listen and --target".into());
    };
    Ok(Errand::Floor(Floor { listen, target, paced }))
}

/// How to measure.
#[derive(Debug)]
pub struct Options {
    /// The rows to run.
    pub rows: Vec<&'static Row>,
    /// The peers to run them with.
    pub peers: Vec<Peer>,
    /// Rounds over all peers.
    pub rounds: usize,
    /// How long things run.
    pub pace: Pace,
    /// Whether the scheduler is asked for preference.
    pub first: bool,
    /// Congestion control of the run's own network namespace.
    pub congestion: Option<String>,
    /// Where programs are.
    pub programs: Programs,
    /// Where the samples go.
    pub json: Option<PathBuf>,
    /// Where the report goes.
    pub out: Option<PathBuf>,
    /// Whether a goal that is not met is a failure.
    pub check: bool,
}

impl Options {
    /// Reads the command line; `None` when help was asked for.
    fn parse(parser: &mut lexopt::Parser) -> Result<Option<Self>, lexopt::Error> {
        let (mut rows, mut peers): (_, Option<Vec<Peer>>) = (None, None);
        let (mut rounds, mut window, mut idle) = (3, None, 5000);
        let (mut quick, mut first, mut check) = (false, false, false);
        let (mut congestion, mut json, mut out) = (None, None, Some(PathBuf::from("perf/RESULTS.md")));
        let mut programs = Programs {
            websplice: "target/release/websplice".into(),
            peers: "target/peers".into(),
            scratch: "target/perf".into(),
        };
        while let Some(argument) = parser.next()? {
            match argument {
                Short('h') | Long("help") => return Ok(None),
                Long("quick") => quick = true,
                Long("first") => first = true,
                Long("check") => check = true,
                Long("rows") => {
                    let all: Vec<&'static Row> = ROWS.iter().collect();
                    rows = Some(picked(&parser.value()?.string()?, &all, |row| row.name)?);
                }
                Long("peers") => {
                    peers = Some(picked(&parser.value()?.string()?, &PEERS, |peer| peer.name())?);
                }
                Long("rounds") => rounds = parser.value()?.parse::<usize>()?.max(1),
                Long("window") => window = Some(Duration::from_millis(parser.value()?.parse()?)),
                Long("idle") => idle = parser.value()?.parse()?,
                Long("congestion") => congestion = Some(parser.value()?.string()?),
                Long("bin") => programs.websplice = parser.value()?.into(),
                Long("peer-dir") => programs.peers = parser.value()?.into(),
                Long("scratch") => programs.scratch = parser.value()?.into(),
                Long("json") => json = Some(parser.value()?.into()),
                Long("out") => {
                    out = Some(PathBuf::from(parser.value()?)).filter(|path| path.as_os_str() != "-")
                }
                other => return Err(other.unexpected()),
            }
        }
        let rows = rows.unwrap_or_else(|| ROWS.iter().filter(|row| row.quick || !quick).collect());
        let peers =
            peers.unwrap_or_else(|| PEERS.iter().copied().filter(|peer| peer.quick() || !quick).collect());
        let usual = Duration::from_millis(if quick { 600 } else { 2000 });
        let window = window.unwrap_or(usual);
        let warm_up = (window / 3).max(Duration::from_millis(200));
        let pace = Pace { warm_up, window, idle_sessions: idle };
        Ok(Some(Self { rows, peers, rounds, pace, first, congestion, programs, json, out, check }))
    }
}

/// Those of `all` that are named in a list with commas, in the order of `all`.
fn picked<T: Copy>(list: &str, all: &[T], name: impl Fn(&T) -> &'static str) -> Result<Vec<T>, String> {
    let wanted: Vec<&str> = list.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
    if let Some(word) = wanted.iter().find(|word| !all.iter().any(|each| name(each) == **word)) {
        let known: Vec<&str> = all.iter().map(&name).collect();
        return Err(format!("unknown name '{word}'; known are {}", known.join(" ")));
    }
    Ok(all.iter().filter(|each| wanted.contains(&name(each))).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Option<Options>, lexopt::Error> {
        Options::parse(&mut lexopt::Parser::from_args(words))
    }

    #[test]
    fn rows_and_peers_are_picked_in_their_own_order() {
        let options =
            parse(&["--rows", "echo-64,down-1", "--peers=python,haproxy"]).expect("legal").expect("no help");
        assert_eq!(options.rows.iter().map(|row| row.name).collect::<Vec<_>>(), ["down-1", "echo-64"]);
        assert_eq!(options.peers, [Peer::Haproxy, Peer::Python]);
    }

    #[test]
    fn a_short_run_takes_less_unless_told() {
        let quick = parse(&["--quick"]).expect("legal").expect("no help");
        assert!(quick.rows.len() < ROWS.len() && quick.peers.len() < PEERS.len());
        let told = parse(&["--quick", "--rows=idle", "--peers=websocat"]).expect("legal").expect("no help");
        assert_eq!((told.rows[0].name, &told.peers[..]), ("idle", &[Peer::Websocat][..]));
        let whole = parse(&[]).expect("legal").expect("no help");
        assert_eq!((whole.rows.len(), whole.peers.len()), (ROWS.len(), PEERS.len()));
    }

    #[test]
    fn goals_are_checked_when_asked() {
        let check = |words: &[&str]| parse(words).expect("legal").expect("no help").check;
        assert_eq!([check(&["--check", "--quick"]), check(&["--quick"])], [true, false]);
    }

    #[test]
    fn the_floor_is_an_errand_of_its_own() {
        let errand = |words: &[&str]| Errand::parse(lexopt::Parser::from_args(words));
        let told = errand(&["floor", "--listen", "127.0.0.1:1", "--target=[::1]:2"]).expect("legal");
        assert!(matches!(told, Errand::Floor(floor) if floor.target.port() == 2 && !floor.paced));
        assert!(errand(&["floor", "--listen", "127.0.0.1:1"]).is_err());
        assert!(matches!(errand(&["--help"]), Ok(Errand::Help)));
    }

    #[test]
    fn unknown_names_are_refused() {
        assert!(parse(&["--rows", "sideways"]).is_err());
        assert!(parse(&["--peers", "apache"]).is_err());
        assert!(parse(&["--fast"]).is_err());
    }
}
