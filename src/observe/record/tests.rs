//! The recorder without its thread: what a queue that is full makes of what comes, and what the thread makes of the rest.

use super::*;
use crate::limits::{RECORD_BUFFER_BYTES_MIN, RECORD_ENTRY_BYTES_MAX};
use crate::session::tap::Piece;
use crate::tape::name::Pattern;
use std::fs;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;

/// A recorder whose thread is this one.
struct Bench {
    recorder: Recorder,
    works: Receiver<Work>,
    writer: Writer,
    directory: PathBuf,
}

impl Bench {
    fn new(name: &str) -> Bench {
        let directory = std::env::temp_dir().join(format!("websplice-bench-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let options = Options {
            directory: directory.clone(),
            base: "r".into(),
            pattern: Pattern::default(),
            unique: false,
            file_bytes_max: None,
            buffer_bytes: RECORD_BUFFER_BYTES_MIN,
        };
        let shared = Arc::new(Shared::new(&options));
        let (works, asked) = channel();
        let writer = Writer::new(options, Log::silent(), shared.clone());
        Bench { recorder: Recorder { works, shared }, works: asked, writer, directory }
    }

    fn open(&self, number: u64) -> Tape {
        self.recorder.open(Time(1_000), number, None, None, String::new())
    }

    /// Lets the thread do what it was asked.
    fn work(&mut self) {
        while let Ok(work) = self.works.try_recv() {
            self.writer.work(work);
        }
    }

    fn text(&self, number: u64) -> String {
        fs::read_to_string(self.directory.join(format!("r.{number}"))).unwrap()
    }

    fn waiting(&self) -> usize {
        self.recorder.shared.waiting.load(Ordering::Relaxed)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn brought(from: Side, pieces: &[(&str, bool)]) -> Box<Brought> {
    let bytes = pieces.iter().map(|(text, _)| *text).collect::<String>().into_bytes();
    let pieces = pieces.iter().map(|(text, ends)| Piece { len: text.len(), ends: *ends }).collect();
    Box::new(Brought { from, bytes, pieces })
}

#[test]
fn what_does_not_fit_is_counted_and_marked_where_it_is_missing() {
    let mut bench = Bench::new("loss");
    let mut tape = bench.open(1);
    tape.keep(Time(1_001), brought(Side::Target, &[("a", true)]));
    tape.keep(Time(1_002), brought(Side::Client, &[("begin", false)]));
    let large = "x".repeat(RECORD_BUFFER_BYTES_MIN);
    tape.keep(Time(1_003), brought(Side::Client, &[(&large[..100], true), (&large, true), ("y", false)]));
    tape.keep(Time(1_004), brought(Side::Target, &[(&large, true)]));
    bench.work();
    tape.keep(Time(1_005), brought(Side::Client, &[("end", true), ("", true)]));
    bench.work();
    tape.keep(Time(1_006), brought(Side::Target, &[(&large, true)]));
    drop(tape);
    bench.work();
    let (client, target) = (RECORD_BUFFER_BYTES_MIN + 101, RECORD_BUFFER_BYTES_MIN);
    let lost = "lost here, as they could not be written in time:";
    let expected = format!(
        "var VNC_frame_data = [\n'{{1{{a',\n'}}5}}begin',\n/* {lost} {client} bytes from the client, {target} bytes from \
         the target */\n'}}5}}end',\n'}}5}}',\n/* {lost} {target} bytes from the target */\n'EOF'];\n"
    );
    assert_eq!(bench.text(1), expected);
    assert_eq!(bench.waiting(), 0, "all was given back");
    let shared = &bench.recorder.shared;
    assert_eq!(shared.bytes_lost.load(Ordering::Relaxed), (client + 2 * target) as u64);
    assert_eq!(shared.open.load(Ordering::Relaxed), 0);
}

#[test]
fn what_there_was_no_memory_for_is_counted_and_marked_too() {
    let mut bench = Bench::new("torn");
    let mut tape = bench.open(1);
    let torn = |from, pieces| {
        let mut torn = brought(from, pieces);
        torn.bytes.clear();
        torn
    };
    assert!(tape.keep(Time(1_001), torn(Side::Client, &[("begin", false)])), "it goes on");
    assert!(tape.keep(Time(1_002), torn(Side::Target, &[("", true), ("four", true)])));
    assert!(tape.keep(Time(1_003), brought(Side::Client, &[("end", true)])));
    drop(tape);
    bench.work();
    let lost =
        "lost here, as they could not be written in time: 5 bytes from the client, 4 bytes from the target";
    assert_eq!(bench.text(1), format!("var VNC_frame_data = [\n/* {lost} */\n'}}3}}end',\n'EOF'];\n"));
    assert_eq!(bench.recorder.shared.bytes_lost.load(Ordering::Relaxed), 9);
}

#[test]
fn what_waits_is_bounded_whatever_is_asked() {
    let mut bench = Bench::new("bound");
    let fit = RECORD_BUFFER_BYTES_MIN / RECORD_OVERHEAD_BYTES / 2;
    let mut tapes: Vec<Tape> = (1..=fit as u64).map(|number| bench.open(number)).collect();
    assert!(tapes.iter().all(|tape| tape.unasked.is_none()));
    tapes[0].keep(Time(1_001), brought(Side::Target, &[("", true)]));
    // Only what is asked is given back; what a recording's end costs is kept for it.
    bench.work();
    assert!(bench.open(0).unasked.is_some(), "as many as fit are open");
    assert_eq!(bench.recorder.shared.missed.load(Ordering::Relaxed), 1, "its session has ended");
    tapes.clear();
    bench.work();
    assert_eq!(bench.recorder.shared.missed.load(Ordering::Relaxed), 0, "and that was told");
    assert!(bench.open(0).unasked.is_none());
}

#[test]
fn a_session_that_finds_no_room_is_recorded_from_when_there_is() {
    let mut bench = Bench::new("late");
    let mut first = bench.open(1);
    let large = "x".repeat(RECORD_BUFFER_BYTES_MIN - 4 * RECORD_OVERHEAD_BYTES);
    first.keep(Time(1_001), brought(Side::Target, &[(&large, true)]));
    // What is left is less than a recording's beginning and end.
    let rest = std::iter::from_fn(|| bench.recorder.shared.claim(1).then_some(())).count();
    let mut second = bench.open(2);
    second.keep(Time(1_002), brought(Side::Target, &[("lost", true)]));
    bench.recorder.shared.give_back(rest);
    bench.work();
    second.keep(Time(1_003), brought(Side::Client, &[("kept", true)]));
    drop(second);
    bench.work();
    let expected = "var VNC_frame_data = [\n/* lost here, as they could not be written in time: 4 bytes from the target */\n\
                    '}3}kept',\n'EOF'];\n";
    assert_eq!(bench.text(2), expected);
    assert_eq!(bench.recorder.shared.bytes_lost.load(Ordering::Relaxed), 4);
    drop(first);
    bench.work();
    assert_eq!(bench.waiting(), 0);
}

/// Messages that do not end hold a part of what may wait; that part has a bound, too.
#[test]
fn messages_that_do_not_end_leave_room_for_others() {
    let mut bench = Bench::new("held");
    let piece = "x".repeat(RECORD_BUFFER_BYTES_MIN / 8);
    let mut tapes: Vec<Tape> = (1..=16).map(|number| bench.open(number)).collect();
    for _ in 0..4 {
        for tape in &mut tapes {
            tape.keep(Time(1_001), brought(Side::Client, &[(&piece, false)]));
            bench.work();
        }
    }
    assert_eq!(bench.recorder.shared.bytes_lost.load(Ordering::Relaxed), 0, "there was always room");
    assert!(bench.waiting() <= RECORD_BUFFER_BYTES_MIN * 3 / 4);
    tapes.clear();
    bench.work();
    assert_eq!(bench.waiting(), 0);
    for number in 1..=16 {
        let kept = bench.text(number).matches('x').count();
        assert_eq!(kept, 4 * piece.len(), "{number}");
    }
}

#[test]
fn a_message_is_cut_at_the_bound_of_an_entry() {
    let mut bench = Bench::new("cut");
    let mut tape = bench.open(1);
    let piece = "x".repeat(RECORD_ENTRY_BYTES_MAX / 8);
    for _ in 0..8 {
        tape.keep(Time(1_001), brought(Side::Client, &[(&piece, false)]));
        bench.work();
    }
    tape.keep(Time(1_002), brought(Side::Client, &[("", true), ("", true), ("last", true)]));
    drop(tape);
    bench.work();
    let text = bench.text(1);
    assert_eq!(text.matches('x').count(), RECORD_ENTRY_BYTES_MAX);
    // The empty end of what was written is no message of its own; the empty message behind it is.
    assert!(text.ends_with("x',\n'}2}',\n'}2}last',\n'EOF'];\n"), "{}", &text[text.len() - 60..]);
}

/// The process may end before its sessions do: what they have shown so far is in their files by then.
#[test]
fn a_stop_writes_what_is_held_and_what_was_lost() {
    let mut bench = Bench::new("stop");
    let mut tape = bench.open(1);
    let whole = bench.open(2);
    tape.keep(Time(1_001), brought(Side::Client, &[("begin", false)]));
    let large = "x".repeat(RECORD_BUFFER_BYTES_MIN);
    tape.keep(Time(1_002), brought(Side::Target, &[(&large, true)]));
    let (done, stopped) = channel();
    bench.recorder.works.send(Work::Stop(done)).unwrap();
    bench.work();
    stopped.try_recv().unwrap();
    let end = format!(
        "'}}1}}begin',\n/* lost here, as they could not be written in time: {} bytes from the target */\n/* stopped here, \
         in the middle of a message */\n'EOF'];\n",
        large.len()
    );
    assert!(bench.text(1).ends_with(&end), "{}", bench.text(1));
    assert_eq!(bench.text(2), "var VNC_frame_data = [\n'EOF'];\n");
    let shared = bench.recorder.shared.clone();
    assert_eq!(shared.open.load(Ordering::Relaxed), 0);
    // What comes yet is lost, and counted, also by those who copy nothing any more.
    let mut end = brought(Side::Client, &[("end", true)]);
    end.bytes.clear();
    assert!(!tape.keep(Time(1_003), end));
    drop((tape, whole));
    bench.work();
    assert_eq!(shared.bytes_lost.load(Ordering::Relaxed), large.len() as u64 + 3);
    assert_eq!(bench.waiting(), 0);
}
