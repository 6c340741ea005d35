//! Goals: which are judged, by what, and what is said of them.

use super::*;
use crate::measure::Sample;

/// A cell with this much work per CPU second in each round; a negative one failed.
fn cell(row: &str, peer: &str, work: &[f64]) -> Cell {
    let round = |&work: &f64| match work {
        work if work < 0.0 => Err("it stalled".into()),
        work => Ok(Sample { work: work * 1e6, seconds: 1.0, peer_cpu: 1.0, ..Sample::default() }),
    };
    Cell { row: row.into(), peer: peer.into(), rounds: work.iter().map(round).collect() }
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

use Outcome::{AtTheFloor, Met, Missed};

#[test]
fn the_median_decides() {
    for (ours, expected) in [([80.0, 90.0, 95.0], Met), ([80.0, 89.0, 200.0], Missed)] {
        let run = run(&[(POLL, &ours), ("haproxy", &[100.0; 3])]);
        assert_eq!(outcomes(&run), [expected]);
        assert_eq!(check(&run).is_ok(), expected == Met);
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
        ([97.0, 97.0, 97.0], Met),
        ([96.0, 96.9, 99.9], Missed),
        ([80.0, 90.0, 100.0], Met),
        ([80.0, 90.0, 99.0], Missed),
    ] {
        let run = run(&[(RING, &ring), (POLL, &[100.0; 3])]);
        assert_eq!(outcomes(&run), [expected], "{ring:?}");
    }
    let text = table(&run(&[(RING, &[1.0]), (POLL, &[1.0])]));
    assert!(text.contains("at least 0.97 or the best round at least 1.00"), "{text}");
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
    let of = |row: &str, sample: Sample| {
        outcomes(&run_of(vec![Cell { row: row.into(), peer: RING.into(), rounds: vec![Ok(sample)] }]))
    };
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
        let two = Cell { row: "cores-2".into(), peer: RING.into(), rounds: vec![Ok(sample)] };
        outcomes(&run_of(vec![cell("cores-1", RING, &[100.0]), two]))
    };
    assert_eq!(of(95.0, vec![8.0, 8.0]), [Met]);
    assert_eq!(of(85.0, vec![8.0, 8.0]), [Missed]);
    assert_eq!(of(95.0, vec![9.0, 7.0]), [Missed]);
}

#[test]
fn a_check_says_what_is_missed() {
    let said = check(&run(&[(POLL, &[10.0]), ("haproxy", &[100.0])])).unwrap_err();
    assert!(said.contains("not met: 1\nwebsplice-poll | down-1 | 0.90 times haproxy | 0.100"), "{said}");
    assert!(check(&run(&[("haproxy", &[100.0])])).unwrap_err().contains("no goal"));
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
    assert_eq!(outcomes(&of(&[RING, POLL], [90.0, 110.0, 500.0])), [Met, Met]);
    assert_eq!(outcomes(&of(&[POLL], [90.0, 111.0, 112.0])), [Missed]);
    let text = table(&of(&[RING], [90.0, 105.0, 120.0]));
    assert!(text.contains("at most 1.1 p99 to that without | 1.05 (0.900–1.20) | yes"), "{text}");
}
