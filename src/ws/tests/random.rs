//! Streams made by chance from fixed seeds: legal ones come out as they went in, and no bytes at all can do harm.

use super::*;

/// Marsaglia's xorshift: enough chance for a test, and the same each time.
struct Chance(u64);

impl Chance {
    fn seeded(seed: u64) -> Chance {
        Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 16) as usize % bound
    }

    /// A length: often none or small, sometimes around the edges of the length forms.
    fn len(&mut self) -> usize {
        match self.below(10) {
            0 => 0,
            1..=5 => self.below(20),
            6 | 7 => self.below(130),
            8 => 120 + self.below(20),
            _ => self.below(3000),
        }
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }

    fn key(&mut self) -> [u8; 4] {
        (self.next() as u32).to_ne_bytes()
    }

    /// Places to cut `len` bytes, in order.
    fn cuts(&mut self, len: usize) -> Vec<usize> {
        let mut cuts: Vec<usize> = (0..self.below(30)).map(|_| self.below(len + 1)).collect();
        cuts.sort_unstable();
        cuts
    }
}

/// Adds a control frame by chance.
fn interrupt(chance: &mut Chance, bytes: &mut Vec<u8>, line: &mut String) {
    if chance.below(3) > 0 {
        return;
    }
    let len = chance.below(126);
    let payload = chance.bytes(len);
    let (first, word) = if chance.below(2) == 0 { (PING, "ping") } else { (PONG, "pong") };
    bytes.extend(masked(first, &payload, chance.key()));
    *line += &format!("[{word} {}]", payload.escape_ascii());
}

/// Adds a message in up to five fragments, with controls before and between them.
fn message(chance: &mut Chance, bytes: &mut Vec<u8>, line: &mut String) {
    let (kind, word) = if chance.below(2) == 0 { (TXT, "text(") } else { (BIN, "bin(") };
    let fragments = 1 + chance.below(5);
    for at in 0..fragments {
        interrupt(chance, bytes, line);
        let len = chance.len();
        let payload = match kind {
            TXT => "aé€𐍈".repeat(len / 10).into_bytes(),
            _ => chance.bytes(len),
        };
        let first = if at == 0 { kind } else { CONT } | if at + 1 == fragments { FIN } else { 0 };
        bytes.extend(masked(first, &payload, chance.key()));
        *line += if at == 0 { word } else { "" };
        *line += &payload.escape_ascii().to_string();
    }
    *line += ")";
}

#[test]
fn legal_streams_come_out_as_they_went_in() {
    for seed in 0..150 {
        let mut chance = Chance::seeded(seed);
        let (mut bytes, mut line) = (Vec::new(), String::new());
        for _ in 0..1 + chance.below(12) {
            message(&mut chance, &mut bytes, &mut line);
        }
        if chance.below(2) == 0 {
            bytes.extend(close(1000, "done"));
            line += "[close 1000 done]";
        }
        for way in [Way::InPlace, Way::Slid] {
            let cuts = chance.cuts(bytes.len());
            assert_eq!(outcome(TEXT, &bytes, &cuts, way), line, "seed {seed}, {way:?}, cuts {cuts:?}");
        }
    }
}

#[test]
fn a_flipped_bit_does_no_harm_however_the_stream_is_cut() {
    for seed in 0..300 {
        let mut chance = Chance::seeded(seed);
        let (mut bytes, mut line) = (Vec::new(), String::new());
        for _ in 0..4 {
            message(&mut chance, &mut bytes, &mut line);
        }
        let at = chance.below(bytes.len());
        bytes[at] ^= 1 << chance.below(8);
        let whole = outcome(TEXT, &bytes, &[], Way::InPlace);
        let cuts = chance.cuts(bytes.len());
        assert_eq!(outcome(TEXT, &bytes, &cuts, Way::Slid), whole, "seed {seed}, bit in byte {at}");
    }
}

#[test]
fn rubbish_does_no_harm_however_it_is_cut() {
    for seed in 0..2000 {
        let mut chance = Chance::seeded(seed);
        let mut bytes = chance.bytes(300);
        // Most rubbish dies at its first byte; a legal beginning lets some of it live longer.
        if seed % 4 > 0 {
            bytes[0] = [FIN | BIN, TXT, PING][seed as usize % 3];
            bytes[1] |= 0x80;
        }
        let whole = outcome(TEXT, &bytes, &[], Way::InPlace);
        let cuts = chance.cuts(bytes.len());
        assert_eq!(outcome(TEXT, &bytes, &cuts, Way::Slid), whole, "seed {seed}");
    }
}
