//! The head parser on the upgrade request of a browser: in one piece, and cut in two.

use criterion::{Criterion, Throughput};
use std::hint::black_box;
use websplice::http::upgrade::{Options, judge};
use websplice::http::{Head, Progress, Scan};

const REQUEST: &[u8] = b"GET /websockify?token=desktop-17 HTTP/1.1\r\n\
Host: desktops.example.com:6080\r\n\
Connection: Upgrade\r\n\
Pragma: no-cache\r\n\
Cache-Control: no-cache\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36\r\n\
Upgrade: websocket\r\n\
Origin: https://desktops.example.com:6080\r\n\
Sec-WebSocket-Version: 13\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Accept-Language: en-GB,en-US;q=0.9,en;q=0.8\r\n\
Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\
Sec-WebSocket-Protocol: binary\r\n\r\n";

fn scan(cuts: &[usize]) -> usize {
    let mut scan = Scan::new();
    for &cut in cuts {
        assert_eq!(scan.feed(&black_box(REQUEST)[..cut]), Progress::Partial);
    }
    match scan.feed(black_box(REQUEST)) {
        Progress::Complete { len } => len,
        other => panic!("the request is complete, not {other:?}"),
    }
}

fn head(criterion: &mut Criterion) {
    let options = Options::default();
    let mut group = criterion.benchmark_group("head");
    group.throughput(Throughput::Bytes(REQUEST.len() as u64));
    group.bench_function("scan", |bench| bench.iter(|| scan(&[])));
    group.bench_function("scan in two pieces", |bench| bench.iter(|| scan(&[300])));
    group.bench_function("parse", |bench| {
        bench.iter(|| Head::parse(black_box(REQUEST)).map(|head| head.minor()))
    });
    group.bench_function("scan, parse and judge", |bench| {
        bench.iter(|| {
            let len = scan(&[]);
            let head = Head::parse(&REQUEST[..len]).expect("the request is right");
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
