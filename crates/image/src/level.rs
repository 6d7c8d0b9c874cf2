//! How hard zstd works: as told, or as hard as the slower end of the job leaves room for.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The level of compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// zstd's, 1 to 19.
    Fixed(i32),
    /// Chosen while the job runs.
    Auto,
}

impl Level {
    /// The one that a job begins with.
    pub fn first(self) -> i32 {
        match self {
            Self::Fixed(level) => level,
            Self::Auto => STEPS[0].0,
        }
    }

    /// For a manifest: `None` if it is chosen while the job runs.
    pub fn fixed(self) -> Option<i32> {
        match self {
            Self::Fixed(level) => Some(level),
            Self::Auto => None,
        }
    }
}

/// Levels to choose from, and the time that they take, as measured on short frames: in tenths of level 1.
const STEPS: [(i32, f64); 8] =
    [(1, 10.0), (3, 14.0), (4, 20.0), (6, 44.0), (9, 70.0), (12, 295.0), (15, 630.0), (19, 2460.0)];
/// Seconds of work of all workers between two choices.
const WINDOW: f64 = 0.5;
/// The share of the workers' time that compressing may take. What is left makes sure that they wait for
/// the disk and not the disk for them.
const ROOM: f64 = 0.7;

/// Chooses the level for all workers of a job. What is measured is the time that they have for a byte, and
/// the time that compressing one takes.
///
/// Every byte counts as one that will be compressed, also zeroes and media: after a region of these the
/// disk comes no faster than through it, and the level that is right then must not be found too late.
#[derive(Debug, Default)]
pub(crate) struct Pace(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    step: usize,
    seen: Work,
    /// Seconds a byte at a step of 1.0; unknown until something was compressed.
    cost: Option<f64>,
}

/// What one worker did since it was last asked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Work {
    /// Seconds, waiting included.
    pub(crate) seconds: f64,
    /// Bytes that came.
    pub(crate) bytes: f64,
    /// Seconds of compressing what became smaller.
    pub(crate) packing: f64,
    /// Bytes that became smaller.
    pub(crate) packed: f64,
}

impl Pace {
    /// Takes notice of `work`; the level for what comes next.
    pub(crate) fn next(&self, work: Work) -> i32 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.add(work);
        STEPS[state.step].0
    }
}

impl State {
    fn add(&mut self, work: Work) {
        let seen = &mut self.seen;
        seen.seconds += work.seconds;
        seen.bytes += work.bytes;
        seen.packing += work.packing;
        seen.packed += work.packed;
        if seen.seconds < WINDOW || seen.bytes == 0.0 {
            return;
        }
        let Work { seconds, bytes, packing, packed } = std::mem::take(seen);
        if packed > 0.0 {
            self.cost = Some(packing / packed / STEPS[self.step].1);
        }
        let Some(cost) = self.cost else { return };
        let fits = |(_, relative): &&(i32, f64)| cost * relative * bytes / seconds <= ROOM;
        let most = STEPS.iter().take_while(fits).count().saturating_sub(1);
        // Up by one step at a time: that far what is measured is to be trusted.
        self.step = most.min(self.step + 1);
    }
}

/// Measures one worker.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    since: Option<Instant>,
    packing: Duration,
    packed: usize,
}

impl Watch {
    /// Compresses `len` bytes by `pack`, which says whether they became smaller.
    pub(crate) fn pack<E>(&mut self, len: usize, pack: impl FnOnce() -> Result<bool, E>) -> Result<bool, E> {
        let began = Instant::now();
        let smaller = pack()?;
        if smaller {
            self.packing += began.elapsed();
            self.packed += len;
        }
        Ok(smaller)
    }

    /// A buffer of `bytes` bytes is done. What was before the first one does not count.
    pub(crate) fn done(&mut self, bytes: usize) -> Work {
        let now = Instant::now();
        let since = self.since.replace(now);
        let (packing, packed) = (std::mem::take(&mut self.packing), std::mem::take(&mut self.packed));
        #[expect(clippy::cast_precision_loss, reason = "bytes of a buffer, for a rate")]
        since.map_or(Work::default(), |since| Work {
            seconds: (now - since).as_secs_f64(),
            bytes: bytes as f64,
            packing: packing.as_secs_f64(),
            packed: packed as f64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: f64 = 1e6;

    /// The levels of a job of `seconds`: on `workers`, from a disk that gives `disk` bytes a second, of bytes
    /// that level 1 compresses at `speed` bytes a second, or that do not get smaller (0).
    fn levels(pace: &Pace, workers: f64, disk: f64, speed: f64, seconds: f64) -> Vec<i32> {
        let (mut levels, mut at) = (vec![], 0.0);
        while at < seconds {
            let step = pace.0.lock().unwrap().step;
            let cost = if speed > 0.0 { STEPS[step].1 / 10.0 / speed } else { 0.0 };
            // A worker's time for a byte: its share of the disk's, or all that it needs.
            let time = (workers / disk).max(cost);
            let bytes = 0.1 / time;
            let packed = if speed > 0.0 { bytes } else { 0.0 };
            levels.push(pace.next(Work { seconds: 0.1, bytes, packing: packed * cost, packed }));
            at += 0.1 / workers;
        }
        levels
    }

    #[test]
    fn a_slow_disk_leaves_room_and_a_fast_one_none() {
        for (disk, level) in
            [(2000.0 * MB, 1), (450.0 * MB, 3), (150.0 * MB, 6), (30.0 * MB, 9), (1.0 * MB, 19)]
        {
            let levels = levels(&Pace::default(), 2.0, disk, 500.0 * MB, 20.0);
            assert_eq!(*levels.last().unwrap(), level, "{disk} {levels:?}");
            assert!(levels.is_sorted(), "without trying what is too hard: {levels:?}");
        }
    }

    #[test]
    fn it_goes_back_at_once_when_there_is_no_room_any_more() {
        let pace = Pace::default();
        assert_eq!(levels(&pace, 2.0, 30.0 * MB, 500.0 * MB, 20.0).last(), Some(&9));
        let faster = levels(&pace, 2.0, 3000.0 * MB, 500.0 * MB, 1.0);
        assert_eq!(*faster.last().unwrap(), 1, "{faster:?}");
    }

    #[test]
    fn zeroes_and_media_leave_it_as_it_is() {
        let pace = Pace::default();
        assert_eq!(levels(&pace, 2.0, 100.0 * MB, 0.0, 20.0).last(), Some(&1), "nothing is known yet");
        let before = *levels(&pace, 2.0, 100.0 * MB, 500.0 * MB, 20.0).last().unwrap();
        assert_eq!(levels(&pace, 2.0, 100.0 * MB, 0.0, 60.0).last(), Some(&before));
    }
}
