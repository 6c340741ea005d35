//! Frames and patterns: what is sent, what is found in what came.

use super::*;

#[test]
fn reader_skips_headers_at_every_split() {
    let mut wire = vec![0x82, 5];
    wire.extend(b"hello");
    wire.extend([0x89, 2, b'h', b'b', 0x82, 126, 0, 200]);
    wire.extend([7; 200]);
    wire.extend([0x82, 127, 0, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3, 0x88, 0]);
    for split in 0..=wire.len() {
        let (mut reader, mut got, mut closes) = (Reader::default(), Vec::new(), 0);
        for mut part in [&wire[..split], &wire[split..]] {
            while let Some(piece) = reader.next(&mut part).expect("legal frames") {
                match piece {
                    Piece::Payload(bytes) => got.extend_from_slice(bytes),
                    Piece::Close => closes += 1,
                }
            }
        }
        assert_eq!((got.len(), &got[..5], &got[205..], closes), (208, &b"hello"[..], &[1, 2, 3][..], 1));
    }
}

#[test]
fn reader_refuses_masked_frames() {
    assert!(Reader::default().next(&mut &[0x82u8, 0x85][..]).is_err());
}

/// So many bytes of a stream, taken in steps of `step`.
fn taken(stream: &mut Stream, pattern: &[u8], bytes: usize, step: usize) -> Vec<u8> {
    let mut wire = Vec::new();
    while wire.len() < bytes {
        let mut pieces = Vec::new();
        stream.next(pattern, step.min(bytes - wire.len()), &mut pieces, 8);
        let before = wire.len();
        pieces.iter().for_each(|piece| wire.extend_from_slice(piece));
        drop(pieces);
        stream.took(wire.len() - before);
    }
    wire
}

#[test]
fn follower_sees_shift_loss_and_damage() {
    let pattern = pattern();
    let wire = taken(&mut Stream::bare(5), &pattern, 3 * PATTERN_BYTES, 1 << 20);
    for step in [3, 777, 100_000] {
        let mut good = Follower::default();
        assert!(wire.chunks(step).all(|piece| good.follow(&pattern, piece, false)), "{step}");
        assert_eq!(good.number(), Some(5));
    }
    let mut shifted = Follower::default();
    assert!(shifted.follow(&pattern, &wire[..1000], false));
    assert!(!shifted.follow(&pattern, &wire[1001..2001], false));
    let mut damaged = wire[..2000].to_vec();
    damaged[1500] ^= 1;
    let mut sampled = Follower::default();
    assert!(sampled.follow(&pattern, &damaged[..1000], false));
    assert!(
        sampled.follow(&pattern, &damaged[1000..], false),
        "it is not sampled, which is why whole exists"
    );
    let mut whole = Follower::default();
    assert!(
        whole.follow(&pattern, &damaged[..1000], true) && !whole.follow(&pattern, &damaged[1000..], true)
    );
}

#[test]
fn a_swapped_buffer_of_any_size_is_seen() {
    let pattern = pattern();
    for bits in 10..=20 {
        let size = 1usize << bits;
        let wire = taken(&mut Stream::bare(1), &pattern, 20 * size, 1 << 20);
        for apart in 1..19 {
            let mut follower = Follower::default();
            assert!(follower.follow(&pattern, &wire[..size], false));
            let other = &wire[(1 + apart) * size..][..size];
            assert!(!follower.follow(&pattern, other, false), "{size} bytes, {apart} further on");
        }
    }
}

#[test]
fn buffers_swapped_inside_one_piece_are_seen() {
    let pattern = pattern();
    let mut wire = taken(&mut Stream::bare(9), &pattern, 300_000, 1 << 20);
    wire[100_000..110_000].rotate_left(5000);
    let (first, rest) = wire.split_at(1000);
    let mut follower = Follower::default();
    assert!(follower.follow(&pattern, first, false) && !follower.follow(&pattern, rest, false));
}

#[test]
fn bytes_of_another_session_are_seen() {
    let pattern = pattern();
    let begin = |number| taken(&mut Stream::bare(number), &pattern, 300_000, 1 << 20);
    let own = begin(0);
    for other in 1..50 {
        let mut follower = Follower::default();
        assert!(follower.follow(&pattern, &own[..4096], false));
        assert!(!follower.follow(&pattern, &begin(other)[4096..8192], false), "{other}");
    }
    let places: std::collections::HashSet<usize> = (0..20_000).map(offset).collect();
    assert_eq!(places.len(), 20_000);
}

#[test]
fn frames_are_the_same_however_they_are_taken() {
    let pattern = pattern();
    let masked = masked(&pattern);
    let bytes = 40 * FRAME_BYTES + 100;
    let whole = taken(&mut Stream::framed(77), &masked, bytes, usize::MAX);
    let payload = taken(&mut Stream::bare(77), &pattern, 41 * FRAME_PAYLOAD_BYTES, usize::MAX);
    for (frame, payload) in whole.chunks_exact(FRAME_BYTES).zip(payload.chunks(FRAME_PAYLOAD_BYTES)) {
        assert!(frame == client_frame(OPCODE_BINARY, payload));
    }
    for step in [1, 7, 16_383, 70_000] {
        assert!(taken(&mut Stream::framed(77), &masked, bytes, step) == whole, "{step}");
    }
}

#[test]
fn a_stream_counts_its_payload_and_ends_between_frames() {
    let mut stream = Stream::framed(0);
    assert!(stream.is_fresh() && stream.rest_of_frame() == 0);
    assert_eq!((stream.took(8), stream.rest_of_frame()), (0, FRAME_PAYLOAD_BYTES));
    assert_eq!(stream.took(FRAME_BYTES + 1), FRAME_PAYLOAD_BYTES as u64 + 1);
    assert_eq!(stream.rest_of_frame(), FRAME_BYTES - 9);
    let mut bare = Stream::bare(0);
    assert_eq!((bare.took(5), bare.rest_of_frame()), (5, FRAME_PAYLOAD_BYTES - 5));
}

#[test]
fn answers_are_told_apart() {
    let good = format!("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n\x02");
    assert_eq!(answer_end(good.as_bytes()), Ok(Some(good.len() - 1)));
    assert_eq!(answer_end(b"HTTP/1.1 101 Swi"), Ok(None));
    assert!(answer_end(b"HTTP/1.1 403 Forbidden\r\n\r\n").is_err());
}
