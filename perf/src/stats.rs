//! Medians, spreads and ratios.
//!
//! Pure arithmetic over the samples of a run: the data that goes to the JSON file, and what the report takes from it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::measure::{Sample, at};
use crate::rows::{Kind, Row};

/// One peer in one row: a sample a round, or why there is none.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cell {
    /// The row's name.
    pub row: String,
    /// The peer's name.
    pub peer: String,
    /// One entry a round, in order.
    pub rounds: Vec<Result<Sample, String>>,
}

/// Median and extremes, and how well the median is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Middle value; of an even number the mean of the middle two.
    pub median: f64,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// The interval in which the median of very many rounds is with a chance of 95 %, by the ranks of the values alone; of five
    /// and fewer, from the smallest to the largest, which is a chance of 94 % of five and of 75 % of three.
    pub low: f64,
    /// See `low`.
    pub high: f64,
    /// How many values.
    pub count: usize,
}

impl Spread {
    /// Of `values`; `None` when there are none or one is not a number.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        values.sort_by(f64::total_cmp);
        let (low, high) = ((values.len() - 1) / 2, values.len() / 2);
        let median = f64::midpoint(values[low], values[high]);
        let (count, last) = (values.len(), values.len() - 1);
        let cut = outside(count);
        Some(Self {
            median,
            min: values[0],
            max: values[last],
            low: values[cut],
            high: values[last - cut],
            count,
        })
    }

    /// Whether `bar` is inside the interval of the median.
    pub fn is_around(&self, bar: f64) -> bool {
        self.low < bar && bar < self.high
    }

    /// The median alone, as text.
    pub fn middle(&self) -> String {
        short(self.median)
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({}–{})", short(self.median), short(self.min), short(self.max))
    }
}

/// How many of `count` sorted values at each end are outside the interval of the median: as many as leave a chance of at most 5 %
/// that as few values or fewer are on one side of it (the sign test).
fn outside(count: usize) -> usize {
    let (mut cut, mut ways, mut fewer) = (0, 1.0, 0.0);
    loop {
        // The chance that `cut` or fewer are below the median, both ends together.
        fewer += ways;
        if 2.0 * fewer * 0.5f64.powf(count as f64) > 0.05 || 2 * cut + 2 > count {
            return usize::saturating_sub(cut, 1);
        }
        cut += 1;
        ways *= (count - cut + 1) as f64 / cut as f64;
    }
}

/// Three significant digits, no exponent.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// A figure taken from a sample.
#[derive(Clone, Copy)]
pub struct Figure {
    /// Head of its column.
    pub head: &'static str,
    /// How it is computed; not finite where it means nothing.
    pub of: fn(&Sample) -> f64,
}

/// CPU time charged to the peer: its process tree and the softirq thread of its core. Not a number without a peer.
fn cpu(sample: &Sample) -> f64 {
    tree(sample) + sample.softirq_cpu
}

/// CPU time of the peer's process tree. Not a number without a peer.
fn tree(sample: &Sample) -> f64 {
    if sample.peer_cpu > 0.0 { sample.peer_cpu } else { f64::NAN }
}

/// How busy the load's core was, in percent.
const LOAD: Figure = Figure { head: "load core %", of: |s| 100.0 * s.load_cpu / s.seconds };
/// Above this the load was the limit, in percent.
pub const LOAD_LIMIT: f64 = 97.0;

/// What a row is judged by, and whether more is better.
pub fn headline(kind: Kind) -> (Figure, bool) {
    match kind {
        Kind::Down | Kind::Up | Kind::Both => {
            (Figure { head: "MB per CPU s", of: |s| s.work / 1e6 / cpu(s) }, true)
        }
        Kind::Echo => (Figure { head: "CPU us per message", of: |s| cpu(s) * 1e6 / s.work }, false),
        Kind::Desktop => (Figure { head: "CPU us per frame", of: |s| cpu(s) * 1e6 / s.work }, false),
        Kind::Latency => (ADDED_P99, false),
        Kind::Setup => (Figure { head: "CPU us per session", of: |s| cpu(s) * 1e6 / s.work }, false),
        Kind::Idle => (MEMORY, false),
        Kind::Start => (Figure { head: "ms to the first session", of: |s| s.start_ms }, false),
        Kind::Shards => (IMBALANCE, false),
        Kind::Beside => (BESIDE, false),
    }
}

const MEMORY: Figure = Figure { head: "KiB per session (PSS)", of: |s| s.pss_each / 1024.0 };
const HELD: Figure = Figure { head: "sessions held", of: |s| s.sessions };
/// The most sessions of a shard against the mean of all; not a number where shards say nothing.
pub const IMBALANCE: Figure = Figure { head: "most to mean", of: |s| imbalance(&s.shards) };
/// Latency above that with nobody between.
pub const ADDED_P50: Figure = Figure { head: "added p50 us", of: |s| added(s, 0.5) };
/// See [`ADDED_P50`].
pub const ADDED_P99: Figure = Figure { head: "added p99 us", of: |s| added(s, 0.99) };
/// Latency at the 99th percentile.
pub const P99: Figure = Figure { head: "p99 us", of: |s| s.latency_p99 };

/// Latency at the 99th percentile, beside what waits in vain, as a multiple of that without.
pub const BESIDE: Figure =
    Figure { head: "p99 to that without", of: |s| at(&s.curve, 0.99) / at(&s.direct, 0.99) };

fn added(sample: &Sample, quantile: f64) -> f64 {
    at(&sample.curve, quantile) - at(&sample.direct, quantile)
}

fn imbalance(shares: &[f64]) -> f64 {
    let most = shares.iter().copied().fold(f64::NAN, f64::max);
    most * shares.len() as f64 / shares.iter().sum::<f64>()
}

/// What a peer with some shards could move if each had a core of its own, in MB a second: what it moves for a CPU second, on as
/// many cores, when the shard that has most to do is the first to be full. Where shards were held to a share of a core that is the
/// one that used most, and otherwise the one with the most sessions.
pub const fn capacity(shards: usize) -> Figure {
    let of: fn(&Sample) -> f64 = match shards {
        1 => |s| s.work / 1e6 / cpu(s),
        _ => |s| 2.0 * s.work / 1e6 / cpu(s) / fullest(s),
    };
    Figure { head: "capacity MB/s", of }
}

/// The most of a shard to the mean.
fn fullest(sample: &Sample) -> f64 {
    let shares = if sample.ration > 0.0 { &sample.threads } else { &sample.shards };
    if shares.is_empty() { 1.0 } else { imbalance(shares) }
}

/// What is beside the headline of [`Kind::Beside`].
fn beside() -> Vec<Figure> {
    vec![
        Figure { head: "p99 us", of: |s| at(&s.curve, 0.99) },
        Figure { head: "without p99 us", of: |s| at(&s.direct, 0.99) },
        Figure { head: "p50 us", of: |s| at(&s.curve, 0.5) },
        Figure { head: "without p50 us", of: |s| at(&s.direct, 0.5) },
        Figure { head: "p99.9 us", of: |s| at(&s.curve, 0.999) },
        Figure { head: "without p99.9 us", of: |s| at(&s.direct, 0.999) },
        Figure { head: "handshakes/s", of: |s| s.work / s.seconds },
        Figure { head: "without, p99 after to before", of: |s| s.drift },
        Figure { head: "sent late p99 us", of: |s| s.sent_late },
        Figure { head: "waited in vain", of: |s| s.sessions },
    ]
}

/// The other columns of a row: first what was reached, then what helps to judge it.
pub fn figures(row: &Row) -> Vec<Figure> {
    let latency = [Figure { head: "p50 us", of: |s| s.latency_p50 }, P99];
    let mut all = match row.kind {
        Kind::Down | Kind::Up | Kind::Both => vec![
            Figure { head: "MB/s", of: |s| s.work / 1e6 / s.seconds },
            Figure { head: "CPU s per GB", of: |s| cpu(s) * 1e9 / s.work },
            Figure { head: "of it tree", of: |s| tree(s) * 1e9 / s.work },
        ],
        Kind::Echo | Kind::Desktop => vec![
            Figure { head: "messages/s", of: |s| s.work / s.seconds },
            Figure { head: "of it tree", of: |s| tree(s) * 1e6 / s.work },
        ],
        Kind::Setup => vec![
            Figure { head: "sessions/s", of: |s| s.work / s.seconds },
            Figure { head: "of it tree", of: |s| tree(s) * 1e6 / s.work },
        ],
        Kind::Latency => vec![
            ADDED_P50,
            Figure { head: "added p90 us", of: |s| added(s, 0.9) },
            Figure { head: "added p99.9 us", of: |s| added(s, 0.999) },
            Figure { head: "p50 us", of: |s| at(&s.curve, 0.5) },
            Figure { head: "p99 us", of: |s| at(&s.curve, 0.99) },
            Figure { head: "none p50 us", of: |s| at(&s.direct, 0.5) },
            Figure { head: "none p99 us", of: |s| at(&s.direct, 0.99) },
            Figure { head: "messages/s", of: |s| s.rate },
        ],
        Kind::Beside => beside(),
        Kind::Idle => {
            return vec![Figure { head: "KiB per session (RSS)", of: |s| s.rss_each / 1024.0 }, HELD];
        }
        Kind::Start => return vec![Figure { head: "CPU ms by then", of: |s| 1e3 * tree(s) }],
        Kind::Shards => {
            return vec![
                Figure { head: "most", of: |s| s.shards.iter().copied().fold(f64::NAN, f64::max) },
                Figure { head: "least", of: |s| s.shards.iter().copied().fold(f64::NAN, f64::min) },
            ];
        }
    };
    if matches!(row.kind, Kind::Echo | Kind::Setup | Kind::Desktop) {
        all.extend(latency);
    }
    if row.held {
        all.extend([MEMORY, HELD]);
    }
    if row.all_cores() {
        let busiest = Figure {
            head: "busiest shard %",
            of: |s| 100.0 * s.threads.first().unwrap_or(&f64::NAN) / s.seconds,
        };
        let laziest = Figure {
            head: "laziest shard %",
            of: |s| 100.0 * s.threads.last().unwrap_or(&f64::NAN) / s.seconds,
        };
        let ration = Figure { head: "held to %", of: |s| 100.0 * s.ration };
        all.extend([capacity(row.shards), ration, IMBALANCE, busiest, laziest]);
    }
    all.push(Figure { head: "peer core %", of: |s| 100.0 * cpu(s) / s.seconds });
    all.push(Figure { head: "others there %", of: |s| 100.0 * (s.peer_core - cpu(s)).max(0.0) / s.seconds });
    all.push(LOAD);
    all
}

impl Cell {
    /// The spread of a figure over the rounds that worked.
    pub fn spread(&self, figure: Figure) -> Option<Spread> {
        Spread::of(self.rounds.iter().flatten().map(figure.of).collect())
    }

    /// The spread of this cell's figure divided by another cell's, round by round, so that what the machine did to a whole
    /// round falls out.
    pub fn ratio(&self, figure: Figure, other: &Self, figure_there: Figure) -> Option<Spread> {
        let pairs = self.rounds.iter().zip(&other.rounds);
        let ratios = pairs.filter_map(|(own, other)| {
            Some((figure.of)(own.as_ref().ok()?) / (figure_there.of)(other.as_ref().ok()?))
        });
        Spread::of(ratios.collect())
    }

    /// Whether the load was the limit in most rounds.
    pub fn is_load_bound(&self) -> bool {
        self.spread(LOAD).is_some_and(|spread| spread.median > LOAD_LIMIT)
    }

    /// The middle of a figure over the rounds that worked.
    pub fn median(&self, figure: Figure) -> Option<f64> {
        self.spread(figure).map(|spread| spread.median)
    }

    /// Why the first failed round failed.
    pub fn failure(&self) -> Option<&str> {
        self.rounds.iter().find_map(|round| round.as_ref().err().map(String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(work: &[f64]) -> Cell {
        let sample = |work: &f64| Sample { work: *work, seconds: 1.0, peer_cpu: 1.0, ..Sample::default() };
        Cell {
            row: "down-1".into(),
            peer: "none".into(),
            rounds: work.iter().map(|work| Ok(sample(work))).collect(),
        }
    }

    #[test]
    fn spread_has_a_middle() {
        let (low, high) = (1.0, 3.0);
        let of_three = Spread { median: 2.0, min: low, max: high, low, high, count: 3 };
        assert_eq!(Spread::of(vec![3.0, 1.0, 2.0]), Some(of_three));
        assert_eq!(Spread::of(vec![1.0, 2.0]).map(|spread| spread.median), Some(1.5));
        assert_eq!(Spread::of(vec![]), None);
        assert_eq!(Spread::of(vec![f64::INFINITY]), None);
    }

    #[test]
    fn a_median_is_known_better_by_more_rounds() {
        // The table of the sign test at 5 %: ranks 1 to 8, 2 to 8 of 9, 2 of 10, 3 of 12, 6 of 20, 18 of 50.
        for (count, cut) in
            [(1, 0), (3, 0), (5, 0), (6, 0), (8, 0), (9, 1), (10, 1), (12, 2), (20, 5), (50, 17)]
        {
            assert_eq!(outside(count), cut, "{count}");
        }
        let of = |count: i32| Spread::of((0..count).map(f64::from).collect()).expect("values");
        assert_eq!((of(9).low, of(9).high, of(5).low, of(5).high), (1.0, 7.0, 0.0, 4.0));
    }

    #[test]
    fn shards_that_share_alike_are_in_balance() {
        let sample = |shards: &[f64]| Sample { shards: shards.to_vec(), ..Sample::default() };
        assert_eq!((IMBALANCE.of)(&sample(&[5.0, 5.0])), 1.0);
        assert_eq!((IMBALANCE.of)(&sample(&[9.0, 3.0])), 1.5);
        assert!((IMBALANCE.of)(&sample(&[])).is_nan());
        let two = Sample { work: 1e6, peer_cpu: 1.0, ..sample(&[9.0, 3.0]) };
        assert_eq!(((capacity(1).of)(&two), (capacity(2).of)(&two)), (1.0, 2.0 / 1.5));
        let held = Sample { ration: 0.1, threads: vec![0.25, 0.15], ..two };
        assert_eq!((capacity(2).of)(&held), 2.0 / 1.25, "by what they used");
    }

    #[test]
    fn added_latency_is_above_nobodys() {
        let sample = Sample {
            curve: vec![(0.5, 30.0), (0.99, 90.0)],
            direct: vec![(0.5, 10.0), (0.99, 95.0)],
            ..Sample::default()
        };
        assert_eq!(((ADDED_P50.of)(&sample), (ADDED_P99.of)(&sample)), (20.0, -5.0));
        assert!((ADDED_P50.of)(&Sample::default()).is_nan());
        assert_eq!((BESIDE.of)(&sample), 90.0 / 95.0);
        assert!((BESIDE.of)(&Sample::default()).is_nan());
    }

    #[test]
    fn ratios_pair_rounds() {
        let figure = headline(Kind::Down).0;
        let ratio = cell(&[2e6, 40e6, 6e6]).ratio(figure, &cell(&[1e6, 10e6, 3e6]), figure);
        let ratio = ratio.expect("rounds");
        assert_eq!((ratio.median, ratio.min, ratio.max, ratio.count), (2.0, 2.0, 4.0, 3));
    }
}
