//! Goals: which are judged, by what, and what is said of them.

use super::*;
use crate::measure::Sample;

/// A cell with this much work per CPU second in each round; a negative one failed.
fn cell(row: &str, peer: &str, work: &[f64]) -> Cell {
    let round = |&work: &f64| match work {
        work if work < 0.0 => Err("it stalled".into()),
        work => Ok(Sample { work: work * 1e6, seconds: 1.0, peer_cpu: 1.0, ..Sample::default() }),
    };
    // One figure stands for as many rounds as tell something.
    let times = if work.len() == 1 { 3 } else { 1 };
    Cell { row: row.into(), peer: peer.into(), rounds: work.repeat(times).iter().map(round).collect() }
}

/// A cell with the same sample in every round.
fn same(row: &str, peer: &str, sample: Sample) -> Cell {
    Cell { row: row.into(), peer: peer.into(), rounds: vec![Ok(sample); 3] }
}

fn run_of(cells: Vec<Cell>) -> Run {
    Run { cells, ..Run::default() }
}

fn run(cells: &[(&str, &[f64])]) -> Run {
    run_of(cells.iter().map(|(peer, work)| cell("down-1", peer, work)).collect())
}

/// What becomes of each goal, in order.
fn outcomes(run: &Run) -> Vec<Outcome> {
    verdicts(run).iter().map(|verdict| verdict.outcome).collect()
}

use Outcome::{AtTheFloor, Met, Missed, NotJudged, NotTold, WithinNoise};

#[test]
fn the_median_decides() {
    for (ours, expected) in [([80.0, 90.0, 95.0], Met), ([80.0, 89.0, 99.0], Missed)] {
        let run = run(&[(POLL, &ours), ("haproxy", &[100.0; 3])]);
        assert_eq!(outcomes(&run), [expected]);
        assert_eq!(check(&run, false).is_ok(), expected == Met);
        assert_eq!(table(&run).contains("**no**"), expected == Missed);
    }
}

#[test]
fn the_better_of_two_counts() {
    let of = |ours: f64| {
        let run = run(&[(RING, &[ours]), ("haproxy", &[100.0]), ("haproxy-splice", &[110.0])]);
        outcomes(&run)[0]
    };
    assert_eq!((of(133.0), of(131.0)), (Met, Missed));
}

#[test]
fn where_the_floor_misses_it_near_the_floor_is_enough() {
    const FLOOR: &str = "floor-epoll";
    let of = |ours: f64, floor: f64| {
        outcomes(&run(&[(RING, &[ours]), ("haproxy", &[100.0]), (FLOOR, &[floor])]))[0]
    };
    assert_eq!(of(130.0, 100.0), Met);
    assert_eq!(of(112.0, 117.0), AtTheFloor);
    assert_eq!(of(110.0, 117.0), Missed, "too far from the floor");
    assert_eq!(of(115.0, 121.0), Missed, "the floor reaches it");
    let two = run(&[(RING, &[112.0]), ("haproxy", &[100.0]), (FLOOR, &[90.0]), ("floor-splice", &[130.0])]);
    assert_eq!(outcomes(&two)[0], Missed, "the better of the floors reaches it");
}

#[test]
fn the_best_bridge_is_a_peer_to_beat() {
    let mut run = run(&[(RING, &[100.0]), ("python", &[90.0]), ("websocat", &[101.0]), ("nginx", &[500.0])]);
    run.bridges = vec!["python".into(), "websocat".into()];
    let said: Vec<String> = verdicts(&run).into_iter().map(|verdict| verdict.text).collect();
    assert!(said.iter().any(|text| text.contains("1.00 times websocat | 0.990")), "{said:?}");
}

#[test]
fn ring_may_be_behind_poll_by_noise() {
    for (ring, expected) in [
        (&[100.0, 100.0, 100.0][..], Met),
        (&[95.0, 98.0, 100.0], WithinNoise),
        (&[97.0, 97.0, 97.0], Missed),
        (&[96.0, 96.9, 110.0], Missed),
        (&[80.0, 90.0, 100.0], Missed),
        (&[60.0, 98.0, 150.0], NotTold),
        // What a few rounds may take for noise, many do not.
        (&[98.0, 98.0, 98.0, 98.0, 98.0, 98.0, 98.0, 98.0, 101.0], Missed),
    ] {
        let run = run(&[(RING, ring), (POLL, &vec![100.0; ring.len()])]);
        assert_eq!(outcomes(&run), [expected], "{ring:?}");
    }
    let text = table(&run(&[(RING, &[98.0, 99.0, 101.0]), (POLL, &[100.0; 3])]));
    assert!(text.contains("| 1.00 times websplice-poll | 0.990 (0.980–1.01) | within noise |"), "{text}");
}

#[test]
fn less_is_better_where_it_costs() {
    let of =
        |ours: f64| outcomes(&run_of(vec![cell("setup", POLL, &[ours]), cell("setup", "haproxy", &[1.0])]));
    // Work per CPU second, so half of the sessions are twice the price of each.
    assert_eq!((of(0.7), of(0.5)), (vec![Met], vec![Missed]));
}

#[test]
fn bounds_are_held() {
    let of = |row: &str, sample: Sample| outcomes(&run_of(vec![same(row, RING, sample)]));
    assert_eq!(of("start", Sample { start_ms: 10.0, ..Sample::default() }), [Met]);
    assert_eq!(of("start", Sample { start_ms: 10.1, ..Sample::default() }), [Missed]);
    assert_eq!(of("shards-64", Sample { shards: vec![33.0, 31.0], ..Sample::default() }), [Met]);
    assert_eq!(of("shards-64", Sample { shards: vec![44.0, 20.0], ..Sample::default() }), [Missed]);
    let added = |p50: f64, p99: f64| Sample {
        curve: vec![(0.5, 10.0 + p50), (0.99, 20.0 + p99)],
        direct: vec![(0.5, 10.0), (0.99, 20.0)],
        ..Sample::default()
    };
    assert_eq!(of("latency", added(30.0, 150.0)), [Met, Met]);
    assert_eq!(of("latency", added(31.0, 151.0)), [Missed, Missed]);
}

#[test]
fn two_shards_are_judged_by_what_they_could_move() {
    let of = |work: f64, shards: Vec<f64>| {
        let sample = Sample { work: work * 1e6, seconds: 1.0, peer_cpu: 1.0, shards, ..Sample::default() };
        let two = same("cores-up-2", RING, sample);
        outcomes(&run_of(vec![cell("cores-up-1", RING, &[100.0]), two]))
    };
    assert_eq!(of(95.0, vec![8.0, 8.0]), [Met]);
    assert_eq!(of(85.0, vec![8.0, 8.0]), [Missed]);
    assert_eq!(of(95.0, vec![9.0, 7.0]), [Missed]);
}

#[test]
fn a_check_says_what_is_missed() {
    let said = check(&run(&[(POLL, &[10.0]), ("haproxy", &[100.0])]), false).unwrap_err();
    assert!(said.contains("not met: 1\nwebsplice-poll | down-1 | 0.90 times haproxy | 0.100"), "{said}");
    assert!(check(&run(&[("haproxy", &[100.0])]), false).unwrap_err().contains("no goal"));
}

#[test]
fn without_a_figure_of_ours_a_goal_is_missed() {
    assert_eq!(outcomes(&run(&[(POLL, &[-1.0]), ("haproxy", &[100.0])])), [Missed]);
    assert_eq!(outcomes(&run(&[(POLL, &[1.0]), ("haproxy", &[-1.0])])), []);
    assert_eq!(outcomes(&run_of(vec![cell("idle", RING, &[-1.0])])), [Missed]);
}

#[test]
fn what_waits_in_vain_is_not_to_be_noticed_on_either_engine() {
    let round = |p99: f64| {
        let (curve, direct) = (vec![(0.99, p99)], vec![(0.99, 100.0)]);
        Ok(Sample { curve, direct, ..Sample::default() })
    };
    let of = |peers: &[&str], p99: [f64; 3]| {
        let rounds = p99.map(round).to_vec();
        let cell = |peer: &&str| Cell {
            row: "tokens-beside-redis".into(),
            peer: (*peer).into(),
            rounds: rounds.clone(),
        };
        run_of(peers.iter().map(cell).collect())
    };
    assert_eq!(outcomes(&of(&[RING, POLL], [90.0, 110.0, 112.0])), [Met, Met]);
    assert_eq!(outcomes(&of(&[POLL], [90.0, 111.0, 112.0])), [Missed]);
    assert_eq!(outcomes(&of(&[POLL], [90.0, 110.0, 500.0])), [NotTold]);
    let text = table(&of(&[RING], [100.0, 105.0, 109.0]));
    assert!(text.contains("at most 1.1 p99 to that without | 1.05 (1.00–1.09) | yes"), "{text}");
}

#[test]
fn what_scatters_too_widely_is_not_told_and_no_pass() {
    let wide = run(&[(POLL, &[50.0, 95.0, 200.0]), ("haproxy", &[100.0; 3])]);
    assert_eq!(outcomes(&wide), [NotTold]);
    assert!(check(&wide, false).unwrap_err().contains("goals that the figures do not tell: 1\n"));
    assert_eq!(check(&wide, true), Ok(()));
    assert!(table(&wide).contains("| **not told** |"));
    let few = run(&[(POLL, &[500.0, 500.0]), ("haproxy", &[100.0; 2])]);
    assert_eq!(outcomes(&few), [NotTold], "two rounds");
    let failed = run(&[(POLL, &[500.0, -1.0, -1.0]), ("haproxy", &[100.0; 3])]);
    assert_eq!(outcomes(&failed), [NotTold], "one round that worked");
    assert!(verdicts(&failed)[0].text.ends_with("; 2 rounds failed"));
}

#[test]
fn no_floor_excuses_one_engine_before_the_other_or_before_a_bridge() {
    let cells = [(RING, &[80.0][..]), (POLL, &[100.0]), ("python", &[90.0]), ("floor-epoll", &[70.0])];
    let of = |row: &str| {
        let cells = cells.iter().map(|(peer, work)| cell(row, peer, work)).collect();
        Run { bridges: vec!["python".into()], ..run_of(cells) }
    };
    assert_eq!(outcomes(&of("size-64")), [], "there is no such row");
    let run = of("size-16");
    assert_eq!(
        outcomes(&run),
        [Missed, Missed],
        "{:?}",
        verdicts(&run).iter().map(|it| &it.text).collect::<Vec<_>>()
    );
}

#[test]
fn a_share_of_the_floor_that_scatters_is_not_told() {
    let of = |ours: &[f64], floor: &[f64]| {
        outcomes(&run(&[(RING, ours), ("haproxy", &[100.0; 3]), ("floor-epoll", floor)]))[0]
    };
    assert_eq!(of(&[110.0; 3], &[112.0; 3]), AtTheFloor);
    assert_eq!(of(&[110.0; 3], &[60.0, 112.0, 117.0]), NotTold, "the share may be anything");
    assert_eq!(of(&[90.0; 3], &[112.0; 3]), Missed);
}

#[test]
fn desktops_are_to_be_no_later_and_that_is_all_of_it() {
    let of = |p99: f64| {
        let sample = |latency_p99: f64| Sample {
            work: 1e6,
            seconds: 1.0,
            peer_cpu: 1.0,
            latency_p99,
            ..Sample::default()
        };
        let cells = vec![same("desktops", RING, sample(p99)), same("desktops", "haproxy", sample(100.0))];
        let run = run_of(cells);
        let late = verdicts(&run).into_iter().find(|it| it.text.contains("p99")).expect("a goal");
        late.outcome
    };
    assert_eq!((of(100.0), of(101.0)), (Met, Missed));
    let cells = vec![
        cell("desktops", RING, &[75.0]),
        cell("desktops", "haproxy", &[100.0]),
        cell("desktops", "floor-ws", &[76.0]),
    ];
    let text = table(&run_of(cells));
    assert!(text.contains("0.750 (0.750–0.750); 0.987 (0.987–0.987) of floor | at the floor |"), "{text}");
}

#[test]
fn what_held_fewer_sessions_than_it_is_about_is_not_judged() {
    let mut run =
        run_of(["echo-1000", "idle-20000+active-1000"].map(|row| cell(row, RING, &[100.0])).to_vec());
    assert_eq!(outcomes(&run), [Met]);
    run.coverage.sessions_max = 9500;
    assert_eq!(outcomes(&run), [NotJudged]);
    assert!(table(&run).contains("| 9500 of 21000 sessions held: limit of descriptors | not judged |"));
    assert!(check(&run, false).unwrap_err().contains("no goal can be judged"));
}

#[test]
fn a_short_run_judges_no_tail() {
    let sample = Sample {
        curve: vec![(0.5, 11.0), (0.99, 21.0)],
        direct: vec![(0.5, 10.0), (0.99, 20.0)],
        ..Sample::default()
    };
    let mut run = run_of(vec![same("latency", RING, sample)]);
    assert_eq!(outcomes(&run), [Met, Met]);
    run.coverage.quick = true;
    assert_eq!(outcomes(&run), [Met, NotJudged]);
}

/// Rows and peers of what is undecided.
fn open(run: &Run) -> Vec<(Vec<&'static str>, Vec<String>)> {
    undecided(run).into_iter().map(|goal| (goal.rows, goal.peers)).collect()
}

#[test]
fn a_bar_inside_the_interval_is_undecided_whatever_the_median_says() {
    let of = |ours: &[f64]| {
        let haproxy = cell("setup", "haproxy", &vec![1.0; ours.len()]);
        open(&run_of(vec![cell("setup", RING, ours), haproxy]))
    };
    // The bars are 1 and, of both engines, two thirds.
    let one =
        |peers: &[&str]| (vec!["setup"], peers.iter().map(|peer| (*peer).to_owned()).collect::<Vec<_>>());
    assert_eq!(of(&[0.98, 0.99, 1.01]), [one(&[RING, "haproxy"])]);
    assert_eq!(of(&[0.98, 1.01, 1.02]), [one(&[RING, "haproxy"])]);
    assert_eq!(of(&[0.5, 0.9, 1.1]).len(), 2, "both are");
    for decided in [[1.01, 1.02, 1.03], [0.97, 0.98, 0.99], [0.5, 0.55, 0.6]] {
        assert!(of(&decided).is_empty(), "{decided:?}");
    }
    // The interval leaves the extremes out when there are more rounds.
    let many: Vec<f64> = (0..15).map(|at| if at < 3 { 0.9 } else { 1.1 }).collect();
    assert!(of(&many).is_empty());
}

#[test]
fn a_floor_takes_part_in_what_it_may_decide() {
    let of = |ours: &[f64], floor: &[f64]| {
        let cells = [("haproxy", &[1.0; 3][..]), (RING, ours), ("floor-epoll", floor), ("floor-ws", floor)];
        open(&run_of(cells.iter().map(|(peer, work)| cell("setup", peer, work)).collect()))
    };
    let with_floor = [(vec!["setup"], [RING, "haproxy", "floor-ws"].map(str::to_owned).to_vec())];
    assert_eq!(of(&[0.9, 0.91, 0.92], &[0.94, 0.95, 0.99]), with_floor, "its share is around 0.95");
    assert!(of(&[0.9, 0.91, 0.92], &[0.91, 0.92, 0.93]).is_empty(), "at the floor");
    assert!(of(&[0.8, 0.81, 0.82], &[0.95, 0.96, 0.97]).is_empty(), "missed");
    assert_eq!(of(&[0.9, 0.91, 0.92], &[0.5, 0.99, 1.5]), with_floor, "whether the floor reaches the bar");
    assert!(of(&[0.9, 0.91, 0.92], &[1.1, 1.2, 1.3]).is_empty(), "the floor reaches the bar");
}

#[test]
fn a_goal_within_two_rows_is_decided_by_both() {
    let cells = vec![cell("tls-full", RING, &[1.0; 3]), cell("tls-resumed", RING, &[0.9, 1.01, 1.1])];
    assert_eq!(open(&run_of(cells)), [(vec!["tls-resumed", "tls-full"], vec![RING.to_owned()])]);
}

#[test]
fn rounds_that_failed_are_made_up_for() {
    let of =
        |ours: &[f64]| open(&run_of(vec![cell("setup", RING, ours), cell("setup", "haproxy", &[1.0; 3])]));
    assert!(of(&[2.0, 2.1, 2.2]).is_empty());
    assert_eq!(of(&[2.0, -1.0, 2.2]).len(), 2, "for both of its goals");
}
