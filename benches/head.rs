//! The head parser on the upgrade request of a browser: in one piece, and cut in two.

#[path = "samples/request.rs"]
mod request;

use criterion::{Criterion, Throughput};
use request::UPGRADE;
use std::hint::black_box;
use websplice::http::upgrade::{Options, judge};
use websplice::http::{Head, Progress, Scan};

fn scan(cuts: &[usize]) -> usize {
    let mut scan = Scan::new();
    for &cut in cuts {
        assert_eq!(scan.feed(&black_box(UPGRADE)[..cut]), Progress::Partial);
    }
    match scan.feed(black_box(UPGRADE)) {
        Progress::Complete { len } => len,
        other => panic!("the request is complete, not {other:?}"),
    }
}

fn head(criterion: &mut Criterion) {
    let options = Options::default();
    let mut group = criterion.benchmark_group("head");
    group.throughput(Throughput::Bytes(UPGRADE.len() as u64));
    group.bench_function("scan", |bench| bench.iter(|| scan(&[])));
    group.bench_function("scan in two pieces", |bench| bench.iter(|| scan(&[300])));
    group.bench_function("parse", |bench| {
        bench.iter(|| Head::parse(black_box(UPGRADE)).map(|head| head.minor()))
    });
    group.bench_function("scan, parse and judge", |bench| {
        bench.iter(|| {
            let len = scan(&[]);
            let head = Head::parse(&UPGRADE[..len]).expect("the request is right");
            judge(&head, &options).is_ok()
        });
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    head(&mut criterion);
    criterion.final_summary();
}
