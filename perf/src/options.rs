//! The command line.
//!
//! It turns words into checked values and knows the help text. It never opens or starts anything.

use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::{Long, Short, Value, ValueExt};

use crate::again;
use crate::extras;
use crate::floor::{By, Floor};
use crate::pace::Pace;
use crate::peers::{PEERS, Peer, Programs};
use crate::rows::{ROWS, Row};

/// Text of `--help`, but for the names of rows and peers.
const HELP: &str = "\
Measures websplice and its peers side by side, in interleaved rounds.

Usage: websplice-perf [options]
       websplice-perf compare OLD [NEW]
                           hold a saved run against another, row by row; exit with 1 if something of ours got
                           worse by more than the noise. NEW is the last run if it is not said.
       websplice-perf report FILE
                           write report and plots of a saved run again
       websplice-perf floor --listen ADDRESS --target ADDRESS [--splice] [--messages] [--paced]
                           the peer floor-epoll, with --splice floor-splice, with --messages floor-ws, with both floor-ws
                           of bulk down: relays with the needed
                           system calls alone; --paced leaves its sockets the system's congestion control
                           even where that is BBR

  --quick            short windows, and a choice of rows and peers: a first look in less than three minutes, in which
                     rows are left out and named when time runs short
  --rows A,B         only these rows; a star at the end of a name stands for anything
  --peers X,Y        only these peers
  --list             show what would be measured and how long it would take, and measure nothing
  --rounds N         rounds over all peers (default 3; at least 5, but with --quick, in desktops, latency,
                     down-16, echo-1000 with idle-20000+active-1000, setup and tokens-beside-*)
  --decide SECONDS   how long to go on with more rounds, 15 at most, in rows whose goals the first did not decide
                     (default 900, with --quick 0)
  --window MS        length of one measurement in milliseconds (default 700, quick 200; latency and desktops at
                     least 2000, but with --quick)
  --idle N           sessions of the idle rows (default 5000)
  --congestion NAME  run everything in a network namespace of its own with this congestion control as the
                     default (needs root), or with 'system' in the system's. Not said: cubic, or reno where a
                     namespace may not have that, and the system's where there can be no namespace
  --first            ask the scheduler to prefer this login session while the run lasts (needs root): for
                     machines that others use as well
  --bin FILE         the websplice binary (default target/release/websplice)
  --peer-dir DIR     what scripts/perf-peers.sh installed (default target/peers)
  --scratch DIR      peers' logs and configurations, and every sample in last.json (default target/perf)
  --json FILE        write every sample to FILE as well
  --out FILE         write the report to FILE (`-` for none), and plots beside it. Not said: target/perf/RESULTS.md,
                     and at the end perf/RESULTS.md if all rows ran with all peers in three rounds or more
  --check            exit with 1, after the report is written, unless all goals that the run can judge are met
  --let-untold       with --check: goals of which the run's figures scatter too widely to tell are no failure
  --help             this text

More peers can be told in the variable PERF_PEERS, as name=command or tcp:name=command, separated by semicolons.
In a command {listen} and {target} stand for addresses with ports, {port} and {target_port} for the ports alone,
on 127.0.0.1. Clients speak WebSocket and ask for /websockify, or with name/path=command for /path; after tcp: they
send bare payload.
";

/// The text of `--help`.
pub fn help() -> String {
    let rows: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
    let peers: Vec<&str> = PEERS.iter().map(|peer| peer.name()).collect();
    format!("{HELP}\nRows: {}\n\nPeers: {}\n", folded(&rows), folded(&peers))
}

/// Words in lines of at most a hundred letters.
fn folded(words: &[&str]) -> String {
    let (mut text, mut length) = (String::new(), 0);
    for word in words {
        if length + word.len() > 90 {
            text += "\n     ";
            length = 0;
        }
        text += word;
        text += " ";
        length += word.len() + 1;
    }
    text.trim_end().to_owned()
}

/// The pace of a short run.
pub const QUICK_WINDOW: Duration = Duration::from_millis(200);
pub const QUICK_WARM_UP: Duration = Duration::from_millis(100);
const WINDOW: Duration = Duration::from_millis(700);
const WARM_UP_MIN: Duration = Duration::from_millis(150);
const ROUNDS: usize = 3;

/// Which congestion control is the default of the run's sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Congestion {
    /// One that does not pace, where that can be.
    Usual,
    /// The system's.
    System,
    /// This one, or the run fails.
    Named(String),
}

/// Where the report goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Out {
    /// Beside the samples, and where reports are published if the run is whole.
    Usual,
    /// Into this file.
    File(PathBuf),
    /// Nowhere.
    Nowhere,
}

/// What is to be done.
#[derive(Debug)]
pub enum Errand {
    /// Show the help text.
    Help,
    /// Be a peer.
    Floor(Floor),
    /// Hold a saved run against another.
    Compare {
        /// The older one.
        old: PathBuf,
        /// The newer one.
        new: PathBuf,
    },
    /// Write the report of a saved run.
    Report(PathBuf),
    /// Measure.
    Measure(Box<Options>),
}

impl Errand {
    /// Reads the command line; `told` are further peers.
    pub fn parse(mut parser: lexopt::Parser, told: &str) -> Result<Self, lexopt::Error> {
        let mut plain = parser.clone();
        if let Some(Value(word)) = plain.next()? {
            match word.to_str() {
                Some("floor") => return floor(plain),
                Some("compare") => return compare(plain),
                Some("report") => {
                    let file = plain.next()?.map(|argument| path(argument)).transpose()?;
                    return Ok(Self::Report(file.ok_or("report needs a FILE")?));
                }
                _ => {}
            }
        }
        Ok(Options::parse(&mut parser, told)?.map_or(Self::Help, |options| Self::Measure(Box::new(options))))
    }
}

fn path(argument: lexopt::Arg<'_>) -> Result<PathBuf, lexopt::Error> {
    match argument {
        Value(word) => Ok(word.into()),
        other => Err(other.unexpected()),
    }
}

/// Where the samples of the last run are.
pub const LAST: &str = "target/perf/last.json";

fn compare(mut parser: lexopt::Parser) -> Result<Errand, lexopt::Error> {
    let mut files = Vec::new();
    while let Some(argument) = parser.next()? {
        files.push(path(argument)?);
    }
    let mut files = files.into_iter();
    match (files.next(), files.next(), files.next()) {
        (Some(old), new, None) => Ok(Errand::Compare { old, new: new.unwrap_or_else(|| LAST.into()) }),
        _ => Err("compare needs OLD, and perhaps NEW".into()),
    }
}

fn floor(mut parser: lexopt::Parser) -> Result<Errand, lexopt::Error> {
    let (mut listen, mut target) = (None, None);
    let (mut paced, mut splices, mut messages) = (false, false, false);
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(Errand::Help),
            Long("listen") => listen = Some(parser.value()?.parse()?),
            Long("target") => target = Some(parser.value()?.parse()?),
            Long("paced") => paced = true,
            Long("splice") => splices = true,
            Long("messages") => messages = true,
            other => return Err(other.unexpected()),
        }
    }
    let (Some(listen), Some(target)) = (listen, target) else {
        return Err("floor needs --listen and --target".into());
    };
    let way = match (messages, splices) {
        (false, false) => By::Copy,
        (false, true) => By::Splice,
        (true, false) => By::Message,
        (true, true) => By::BulkMessage,
    };
    Ok(Errand::Floor(Floor { listen, target, paced, way }))
}

/// How to measure.
#[derive(Debug)]
pub struct Options {
    /// The rows to run.
    pub rows: Vec<&'static Row>,
    /// The peers to run them with.
    pub peers: Vec<Peer>,
    /// How long things run, and how often.
    pub pace: Pace,
    /// How long to go on with rows whose goals are not decided.
    pub decide: Duration,
    /// Whether the scheduler is asked for preference.
    pub first: bool,
    /// The sockets' congestion control.
    pub congestion: Congestion,
    /// Where programs are.
    pub programs: Programs,
    /// Where the samples go.
    pub json: Option<PathBuf>,
    /// Where the report goes.
    pub out: Out,
    /// Whether a goal that is not met is a failure.
    pub check: bool,
    /// Whether one that cannot be told is none.
    pub let_untold: bool,
    /// Whether nothing is to be measured.
    pub list: bool,
}

impl Options {
    /// Reads the command line; `None` when help was asked for.
    fn parse(parser: &mut lexopt::Parser, told: &str) -> Result<Option<Self>, lexopt::Error> {
        let known: Vec<Peer> =
            PEERS.into_iter().chain(extras::all(told)?.into_iter().map(Peer::Extra)).collect();
        let (mut rows, mut peers): (_, Option<Vec<Peer>>) = (None, None);
        let (mut rounds, mut window, mut idle) = (None, None, 5000);
        let (mut quick, mut first, mut check, mut list) = (false, false, false, false);
        let (mut congestion, mut json, mut out) = (Congestion::Usual, None, Out::Usual);
        let (mut let_untold, mut decide) = (false, None);
        let mut programs = Programs {
            websplice: "target/release/websplice".into(),
            peers: "target/peers".into(),
            scratch: "target/perf".into(),
            sessions_max: 0,
        };
        while let Some(argument) = parser.next()? {
            match argument {
                Short('h') | Long("help") => return Ok(None),
                Long("quick") => quick = true,
                Long("first") => first = true,
                Long("check") => check = true,
                Long("list") => list = true,
                Long("rows") => {
                    let all: Vec<&'static Row> = ROWS.iter().collect();
                    rows = Some(picked(&parser.value()?.string()?, &all, |row| row.name)?);
                }
                Long("peers") => {
                    peers = Some(picked(&parser.value()?.string()?, &known, |peer| peer.name())?);
                }
                Long("let-untold") => let_untold = true,
                Long("rounds") => rounds = Some(parser.value()?.parse::<usize>()?.max(1)),
                Long("decide") => decide = Some(Duration::from_secs(parser.value()?.parse()?)),
                Long("window") => window = Some(Duration::from_millis(parser.value()?.parse()?)),
                Long("idle") => idle = parser.value()?.parse()?,
                Long("congestion") => congestion = congestion_of(parser.value()?.string()?),
                Long("bin") => programs.websplice = parser.value()?.into(),
                Long("peer-dir") => programs.peers = parser.value()?.into(),
                Long("scratch") => programs.scratch = parser.value()?.into(),
                Long("json") => json = Some(parser.value()?.into()),
                Long("out") => out = out_of(parser.value()?.into()),
                other => return Err(other.unexpected()),
            }
        }
        let rows = rows.unwrap_or_else(|| ROWS.iter().filter(|row| row.quick || !quick).collect());
        let peers = peers.unwrap_or_else(|| {
            let told = |peer: &Peer| matches!(peer, Peer::Extra(_));
            known.into_iter().filter(|peer| peer.quick() || told(peer) || !quick).collect()
        });
        let pace = pace_of(quick, rounds, window, idle);
        let decide = decide.unwrap_or(if quick { Duration::ZERO } else { again::LIMIT });
        Ok(Some(Self {
            rows,
            peers,
            pace,
            decide,
            first,
            congestion,
            programs,
            json,
            out,
            check,
            let_untold,
            list,
        }))
    }
}

/// How long things run and how often, where some of it is told.
fn pace_of(quick: bool, rounds: Option<usize>, window: Option<Duration>, idle_sessions: usize) -> Pace {
    let window = window.unwrap_or(if quick { QUICK_WINDOW } else { WINDOW });
    Pace {
        warm_up: (window / 3).max(if quick { QUICK_WARM_UP } else { WARM_UP_MIN }),
        window,
        rounds: rounds.unwrap_or(ROUNDS),
        quick,
        idle_sessions,
        sessions_max: 0,
    }
}

fn congestion_of(name: String) -> Congestion {
    if name == "system" { Congestion::System } else { Congestion::Named(name) }
}

fn out_of(path: PathBuf) -> Out {
    if path.as_os_str() == "-" { Out::Nowhere } else { Out::File(path) }
}

/// Those of `all` that are named in a list with commas, in the order of `all`.
fn picked<T: Copy>(list: &str, all: &[T], name: impl Fn(&T) -> &'static str) -> Result<Vec<T>, String> {
    let wanted: Vec<&str> = list.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
    let fits = |word: &str, name: &str| match word.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == word,
    };
    if let Some(word) = wanted.iter().find(|word| !all.iter().any(|each| fits(word, name(each)))) {
        let known: Vec<&str> = all.iter().map(&name).collect();
        return Err(format!("unknown name '{word}'; known are {}", known.join(" ")));
    }
    Ok(all.iter().filter(|each| wanted.iter().any(|word| fits(word, name(each)))).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Option<Options>, lexopt::Error> {
        Options::parse(&mut lexopt::Parser::from_args(words), "bridge=/x/bridge {listen} {target}")
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
        assert_eq!(whole.rows.len(), ROWS.len());
        assert!(whole.peers.len() > PEERS.len() && whole.peers.iter().any(|peer| peer.name() == "bridge"));
    }

    #[test]
    fn a_star_stands_for_anything_and_told_peers_can_be_picked() {
        let options = parse(&["--rows=size-*", "--peers=bridge"]).expect("legal").expect("no help");
        assert!(options.rows.len() > 3 && options.rows.iter().all(|row| row.name.starts_with("size-")));
        assert_eq!(options.peers.iter().map(|peer| peer.name()).collect::<Vec<_>>(), ["bridge"]);
        assert!(parse(&["--rows=nothing*"]).is_err());
    }

    #[test]
    fn a_comparison_has_one_or_two_files() {
        let errand = |words: &[&str]| Errand::parse(lexopt::Parser::from_args(words), "");
        let files = |words: &[&str]| match errand(words).expect("legal") {
            Errand::Compare { old, new } => [old, new].map(|file| file.to_string_lossy().into_owned()),
            other => panic!("{other:?}"),
        };
        assert_eq!(files(&["compare", "a"]), ["a", LAST]);
        assert_eq!(files(&["compare", "a", "b"]), ["a", "b"]);
        assert!(errand(&["compare"]).is_err() && errand(&["compare", "a", "b", "c"]).is_err());
        assert!(matches!(errand(&["report", "a"]), Ok(Errand::Report(_))));
        assert!(errand(&["report"]).is_err());
    }

    #[test]
    fn help_names_every_row_and_peer() {
        let text = help();
        assert!(ROWS.iter().all(|row| text.contains(row.name)));
        assert!(PEERS.iter().all(|peer| text.contains(peer.name())));
    }

    #[test]
    fn goals_are_checked_when_asked() {
        let check = |words: &[&str]| parse(words).expect("legal").expect("no help").check;
        assert_eq!([check(&["--check", "--quick"]), check(&["--quick"])], [true, false]);
    }

    #[test]
    fn the_usual_is_told_from_what_is_said() {
        let said = |words: &[&str]| parse(words).expect("legal").expect("no help");
        let usual = said(&[]);
        assert_eq!((usual.congestion, usual.out, usual.pace.rounds), (Congestion::Usual, Out::Usual, 3));
        let told = said(&["--congestion=cubic", "--out=x.md", "--let-untold"]);
        assert_eq!(told.congestion, Congestion::Named("cubic".into()));
        assert!(told.out == Out::File("x.md".into()) && told.let_untold);
        let none = said(&["--congestion=system", "--out=-", "--quick"]);
        assert_eq!((none.congestion, none.out, none.pace.quick), (Congestion::System, Out::Nowhere, true));
        assert_eq!((none.pace.window, none.pace.rounds), (QUICK_WINDOW, 3));
    }

    #[test]
    fn the_floor_is_an_errand_of_its_own() {
        let errand = |words: &[&str]| Errand::parse(lexopt::Parser::from_args(words), "");
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
