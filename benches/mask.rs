//! Unmasking against `memcpy`: in place and slid, at the offsets that frame headers leave, tiny to bulk.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use websplice::ws::{unmask, unmask_slide};

const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
const SIZES: [usize; 8] = [2, 6, 16, 125, 1024, 16 * 1024, 64 * 1024, 256 * 1024];

/// Where payload lies within a cache line: aligned, behind the header of a small frame, behind that of a large one.
const OFFSETS: [usize; 3] = [0, 6, 14];

fn masks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mask");
    for size in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        let mut area = vec![1_u8; size + 128];
        let aligned = area.as_ptr().align_offset(64);
        let area = &mut area[aligned..];
        let mut copy = vec![0_u8; size];
        for offset in OFFSETS {
            let name = |what| BenchmarkId::new(format!("{what}, offset {offset}"), size);
            group.bench_function(name("memcpy"), |bencher| {
                bencher.iter(|| copy.copy_from_slice(&black_box(&*area)[offset..offset + size]));
                black_box(&copy);
            });
            group.bench_function(name("in place"), |bencher| {
                bencher.iter(|| unmask(&mut black_box(&mut *area)[offset..offset + size], KEY, 1));
            });
            group.bench_function(name("slid"), |bencher| {
                bencher.iter(|| unmask_slide(black_box(&mut *area), offset..offset + size, 0, KEY, 1));
            });
        }
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    masks(&mut criterion);
    criterion.final_summary();
}
