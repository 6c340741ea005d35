//! The memory of a day: as much as its ceiling says, or, where that is little, now and then none.

use std::cell::RefCell;
use websplice::limits::{BUFFER_MEMORY_MIN, CHUNK_CLASSES, SPARE_CHUNKS};
use websplice::pool::Pool;
use websplice::sim::Dice;

/// What may be in use above the ceiling where the system gives nothing: it was set aside before.
pub const LENT_MAX: usize = SPARE_CHUNKS * CHUNK_CLASSES[3];

/// Buffers for a day. A day of little memory excuses what comes of it, so only on such a day the system may give nothing.
pub fn pool(ceiling: usize, dice: &mut Dice) -> Pool {
    let (refusals, seed) = (*dice.pick(&[0, 20, 200]), dice.word());
    if refusals == 0 || ceiling >= BUFFER_MEMORY_MIN {
        return Pool::new(ceiling);
    }
    let dice = RefCell::new(Dice::new(seed));
    let pool = Pool::over(ceiling, move |bytes| {
        let gives = !dice.borrow_mut().chance(refusals);
        gives.then(|| vec![0; bytes].into_boxed_slice())
    });
    pool.set_aside();
    pool
}
