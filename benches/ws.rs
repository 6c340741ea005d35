//! The codec: streams of client frames of one size decoded to their last event, and headers written.

#[path = "samples/frames.rs"]
mod samples;

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use samples::{decode, frames};
use websplice::ws::{ControlFrame, ControlPayload, Opcode, accept_key, header};

/// Payload of a batch: as much as one receive brings.
const BATCH_BYTES: usize = 256 * 1024;

/// Frames of `size` bytes, as many as make a batch, and how many they are.
fn batch(first: u8, size: usize) -> (Vec<u8>, usize) {
    let one = frames(first, size, 1);
    let count = (BATCH_BYTES / one.len()).max(1);
    (one.repeat(count), count)
}

fn decoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ws/decode");
    for size in [6, 64, 125, 1024, 16 * 1024, 256 * 1024] {
        for (name, first, slide) in
            [("binary in place", 0x82, false), ("binary slid", 0x82, true), ("text slid", 0x81, true)]
        {
            let (bytes, count) = batch(first, size);
            // One element is one frame.
            group.throughput(Throughput::Elements(count as u64));
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter_batched_ref(
                    || bytes.clone(),
                    |bytes| decode(bytes, slide),
                    BatchSize::LargeInput,
                );
            });
        }
    }
    let (bytes, count) = batch(0x89, 8);
    group.throughput(Throughput::Elements(count as u64));
    group.bench_function("ping/8", |bencher| {
        bencher.iter_batched_ref(|| bytes.clone(), |bytes| decode(bytes, true), BatchSize::LargeInput);
    });
    group.finish();
}

fn encoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ws/encode");
    for len in [6_u64, 1024, 256 * 1024] {
        group.bench_function(BenchmarkId::new("header", len), |bencher| {
            bencher.iter(|| header(Opcode::Binary, true, black_box(len)));
        });
    }
    let payload = ControlPayload::new(&[7; 8]).expect("eight bytes fit");
    group.bench_function("pong/8", |bencher| bencher.iter(|| ControlFrame::pong(black_box(&payload))));
    group.bench_function("accept key", |bencher| {
        bencher.iter(|| accept_key(black_box(b"dGhlIHNhbXBsZSBub25jZQ==")));
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    decoding(&mut criterion);
    encoding(&mut criterion);
    criterion.final_summary();
}
