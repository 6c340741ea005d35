//! What a day is like: how often what goes wrong, and how much memory there is.

use websplice::limits::{BUFFER_MEMORY_MIN, CHUNK_CLASSES};
use websplice::sim::{Dice, Odds};

/// Bytes of the smallest and the largest chunk. A few of the smallest are so little that receives have to wait.
const SMALLEST: usize = CHUNK_CLASSES[0];
const LARGEST: usize = CHUNK_CLASSES[3];

/// Whether nothing is ever late on such a day.
pub fn is_instant(odds: &Odds) -> bool {
    odds.delay_ms + odds.report_ms + odds.turn_ms == 0
}

/// The odds of a day, and the ceiling of buffer memory.
pub fn draw(dice: &mut Dice) -> (Odds, usize) {
    let mut odds = Odds::drawn(dice);
    if dice.chance(350) {
        // A day on which nothing is late, so that no deadline excuses anything.
        odds = Odds { delay_ms: 0, report_ms: 0, turn_ms: 0, ..odds };
    }
    // And one on which nothing fails by itself either, and memory is enough: everybody is to be served.
    let fair = is_instant(&odds) && dice.chance(600);
    if fair {
        odds = Odds { reset: 0, watch_fails: 0, connect_fails: 0, dial_ms: 0, ..odds };
    }
    let ceilings = [4 * SMALLEST, LARGEST, 2 * LARGEST, 3 * LARGEST, BUFFER_MEMORY_MIN, BUFFER_MEMORY_MIN];
    let ceiling = *dice.pick(&ceilings);
    (odds, if fair { BUFFER_MEMORY_MIN } else { ceiling })
}
