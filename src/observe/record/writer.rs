//! The thread that writes: which recordings there are, where their messages end, and what becomes of one that fails.

use super::file::Recording;
use super::{Fate, Shared, Work, cost, place};
use crate::limits::{RECORD_ENTRY_BYTES_MAX, RECORD_OVERHEAD_BYTES};
use crate::observe::log::{Escaped, Level, Log};
use crate::session::Side;
use crate::session::tap::Brought;
use crate::tape::line::{Line, loss};
use crate::tape::name::Facts;
use crate::tape::{From, Options};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What the thread owns.
#[derive(Debug)]
pub(super) struct Writer {
    options: Options,
    log: Log,
    shared: Arc<Shared>,
    tracks: HashMap<u64, Track>,
    /// Lent to the track that is worked on; kept for its capacity.
    line: Line,
}

/// The recording of one session.
#[derive(Debug)]
struct Track {
    /// `None`: it was given up.
    recording: Option<Recording>,
    /// Its file, or what was to be.
    path: PathBuf,
    facts: Box<Facts>,
    /// Lent while it is worked on.
    line: Line,
    /// Which of its files is being written, from 1.
    part: u32,
    /// The beginning of a message from each side whose end has not come.
    held: [Vec<u8>; 2],
    /// The rest of that message is what comes next: its beginning was written already.
    cut: [bool; 2],
    /// Bytes from each side that came here, and those of them that were written.
    came: [u64; 2],
    kept: [u64; 2],
    /// Bytes from each side that are not in it.
    lost: [u64; 2],
    /// The time of what came last.
    last: u64,
    /// It is ended in the middle of a message.
    unfinished: bool,
    fate: Arc<Fate>,
}

impl Writer {
    pub fn new(options: Options, log: Log, shared: Arc<Shared>) -> Writer {
        Writer { options, log, shared, tracks: HashMap::new(), line: Line::default() }
    }

    /// Does what the thread is asked.
    pub fn work(&mut self, work: Work) {
        let missed = self.shared.missed.swap(0, Ordering::Relaxed);
        if missed > 0 {
            let line = format!(
                "record not begun for {missed} sessions: too much waited to be written until they ended"
            );
            self.log.line(Level::Error, line);
        }
        match work {
            Work::Open(id, facts, fate) => self.open(id, facts, fate),
            Work::Keep(id, millis, brought, lost) => self.keep(id, millis, *brought, lost),
            Work::Close(id, lost) => {
                self.shared.give_back(2 * RECORD_OVERHEAD_BYTES);
                self.close(id, lost);
            }
            Work::Stop(done) => {
                self.end();
                let _ = done.send(());
            }
        }
    }

    fn open(&mut self, id: u64, facts: Box<Facts>, fate: Arc<Fate>) {
        let mut track = Track {
            recording: None,
            path: PathBuf::new(),
            facts,
            line: Line::default(),
            part: 1,
            held: [Vec::new(), Vec::new()],
            cut: [false; 2],
            came: [0; 2],
            kept: [0; 2],
            lost: [0; 2],
            last: 0,
            unfinished: false,
            fate,
        };
        match Recording::create(&self.options, &track.facts, 1) {
            Ok(recording) => {
                self.tell_opened(recording.path());
                track.path = recording.path().to_owned();
                track.recording = Some(recording);
                self.shared.open.fetch_add(1, Ordering::Relaxed);
            }
            Err((path, error)) => {
                track.fate.stopped.store(true, Ordering::Relaxed);
                self.tell(Level::Error, "record not begun", &path, &format!(" error=\"{error}\""));
                track.path = path;
            }
        }
        self.tracks.insert(id, track);
    }

    fn keep(&mut self, id: u64, millis: u64, brought: Brought, lost: [u64; 2]) {
        let cost = cost(&brought);
        let Some(mut track) = self.tracks.remove(&id) else { return self.shared.give_back(cost) };
        track.line = std::mem::take(&mut self.line);
        let before = track.holds();
        track.last = millis;
        track.came[place(brought.from)] += brought.bytes.len() as u64;
        let kept = self.mark(&mut track, lost).and_then(|()| self.write(&mut track, millis, &brought));
        if let Err(error) = kept {
            self.stop(&mut track, &error);
        }
        if track.recording.is_none() {
            self.count_lost(&mut track);
        }
        // What is held goes on counting.
        self.shared.give_back(cost + before - track.holds());
        self.line = std::mem::take(&mut track.line);
        self.tracks.insert(id, track);
    }

    /// Writes what came, message by message; the beginning of one is held until its end comes.
    fn write(&self, track: &mut Track, millis: u64, brought: &Brought) -> io::Result<()> {
        let side = place(brought.from);
        let mut bytes = &*brought.bytes;
        for piece in &brought.pieces {
            let (mut payload, behind) = bytes.split_at(piece.len);
            bytes = behind;
            if piece.ends && track.held[side].is_empty() {
                // Nothing is left of a message whose last piece is empty.
                if !(std::mem::take(&mut track.cut[side]) && payload.is_empty()) {
                    self.entry(track, brought.from, millis, payload)?;
                }
                continue;
            }
            while !payload.is_empty() {
                let room = RECORD_ENTRY_BYTES_MAX - track.held[side].len();
                let (now, later) = payload.split_at(payload.len().min(room));
                track.held[side].extend_from_slice(now);
                payload = later;
                if track.held[side].len() == RECORD_ENTRY_BYTES_MAX {
                    self.held(track, brought.from)?;
                    track.cut[side] = true;
                }
            }
            if !track.held[side].is_empty() && (piece.ends || self.shared.is_short()) {
                self.held(track, brought.from)?;
                track.cut[side] = true;
            }
            track.cut[side] &= !piece.ends;
        }
        Ok(())
    }

    /// Writes what is held of a message.
    fn held(&self, track: &mut Track, from: Side) -> io::Result<()> {
        let (held, millis) = (std::mem::take(&mut track.held[place(from)]), track.last);
        self.entry(track, from, millis, &held)
    }

    fn entry(&self, track: &mut Track, from: Side, millis: u64, payload: &[u8]) -> io::Result<()> {
        let Some(recording) = &mut track.recording else { return Ok(()) };
        let side = from;
        let from = match side {
            Side::Client => From::Client,
            Side::Target => From::Target,
        };
        let most = self.options.file_bytes_max;
        let written = match recording.entry(&mut track.line, from, millis, payload, most)? {
            Some(written) => written,
            None => {
                let mut recording = self.next_part(track)?;
                let written = recording.entry(&mut track.line, from, millis, payload, None);
                track.recording = Some(recording);
                written?.unwrap_or(0)
            }
        };
        track.kept[place(side)] += payload.len() as u64;
        self.shared.bytes.fetch_add(written, Ordering::Relaxed);
        Ok(())
    }

    /// Begins the next file of a session, and has each of the two name the other.
    fn next_part(&self, track: &mut Track) -> io::Result<Recording> {
        let part = track.part.saturating_add(1);
        let mut next = Recording::create(&self.options, &track.facts, part).map_err(|(_, error)| error)?;
        let name =
            |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().escape_default().to_string();
        next.comment(&mut track.line, &format!("goes on from {}", name(&track.path)))?;
        if let Some(last) = &mut track.recording {
            last.comment(&mut track.line, &format!("goes on in {}", name(next.path())))?;
        }
        self.tell_opened(next.path());
        track.part = part;
        next.path().clone_into(&mut track.path);
        Ok(next)
    }

    /// Marks in the file what was lost before what comes next.
    fn mark(&self, track: &mut Track, lost: [u64; 2]) -> io::Result<()> {
        for (sum, lost) in track.lost.iter_mut().zip(lost) {
            *sum += lost;
        }
        for side in [Side::Client, Side::Target] {
            // What was lost may be the end of a message, and what comes then the rest of another.
            if lost[place(side)] > 0 && !track.held[place(side)].is_empty() {
                self.held(track, side)?;
            }
        }
        let (client, target) = (lost[place(Side::Client)], lost[place(Side::Target)]);
        if client + target > 0
            && let Some(recording) = &mut track.recording
        {
            let written = recording.comment(&mut track.line, &loss(client, target))?;
            self.shared.bytes.fetch_add(written, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Gives a recording up that can no longer be written; its file stays whole.
    fn stop(&self, track: &mut Track, error: &io::Error) {
        track.fate.stopped.store(true, Ordering::Relaxed);
        track.held = [Vec::new(), Vec::new()];
        if let Some(mut recording) = track.recording.take() {
            let ending = format!(" error=\"{error}\": the session goes on");
            self.tell(Level::Error, "record stopped", &track.path, &ending);
            // There may be room for this much.
            let _ = recording.comment(&mut track.line, "stopped here, as no more could be written");
            self.shared.open.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Counts what came to a recording that takes nothing more.
    fn count_lost(&self, track: &mut Track) {
        for side in [0, 1] {
            let lost = std::mem::replace(&mut track.came[side], track.kept[side]) - track.kept[side];
            track.lost[side] += lost;
            self.shared.bytes_lost.fetch_add(lost, Ordering::Relaxed);
        }
    }

    /// Ends what sessions have open that are still there: what is held is written, what is lost told.
    fn end(&mut self) {
        let mut open: Vec<u64> = self.tracks.keys().copied().collect();
        open.sort_unstable();
        for id in open {
            let Some(track) = self.tracks.get_mut(&id) else { continue };
            // Whoever still comes counts what comes as lost.
            track.fate.stopped.store(true, Ordering::Relaxed);
            track.unfinished = track.holds() > 0 || track.cut != [false; 2];
            let lost = track.fate.take_lost();
            self.close(id, lost);
        }
    }

    fn close(&mut self, id: u64, lost: [u64; 2]) {
        let Some(mut track) = self.tracks.remove(&id) else { return };
        let holds = track.holds();
        track.line = std::mem::take(&mut self.line);
        // What a client sent of a message has been passed on, whether its end came or not; and what is held goes in front of
        // what was lost behind it. An echo gives back whole messages only.
        let ended = match track.held[place(Side::Client)].is_empty() {
            true => Ok(()),
            false => self.held(&mut track, Side::Client),
        };
        let marked = ended.and_then(|()| self.mark(&mut track, lost));
        if let Err(error) = marked.and_then(|()| mark_unfinished(&mut track)) {
            self.stop(&mut track, &error);
        }
        if track.recording.is_none() {
            self.count_lost(&mut track);
        }
        self.shared.give_back(holds);
        self.line = std::mem::take(&mut track.line);
        let [client, target] = track.lost;
        if client + target > 0 {
            let sums = format!(" client_bytes={client} target_bytes={target}");
            self.tell(Level::Warn, "record lacks", &track.path, &sums);
        }
        if track.recording.is_some() {
            self.shared.open.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// websockify's own line.
    fn tell_opened(&self, path: &Path) {
        let path = path.to_string_lossy();
        self.log.line(Level::Info, format!("opening record file: {}", Escaped(&path)));
    }

    fn tell(&self, level: Level, what: &str, path: &Path, rest: &str) {
        let path = path.to_string_lossy();
        self.log.line(level, format!("{what} file=\"{}\"{rest}", Escaped(&path)));
    }
}

/// Says in the file that a message goes on behind its end.
fn mark_unfinished(track: &mut Track) -> io::Result<()> {
    match &mut track.recording {
        Some(recording) if track.unfinished => {
            recording.comment(&mut track.line, "stopped here, in the middle of a message").map(|_| ())
        }
        _ => Ok(()),
    }
}

impl Track {
    /// Bytes of messages whose end has not come.
    fn holds(&self) -> usize {
        self.held.iter().map(Vec::len).sum()
    }
}
