//! What a job shares with the one who watches it: sizes, counters, the cancel flag, events.

use block::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What a read error does to the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// It ends there.
    Stop,
    /// What could be read is kept, the rest of that extent is called Bad, and the job goes on behind it.
    Mark,
}

/// An end of the job, or of the pipeline in one of its phases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What is read.
    Source,
    /// What is written.
    Sink,
}

/// Something worth a line to a person, as data.
#[derive(Clone, Debug)]
pub enum Event {
    /// A new part of the job begins: "reading", "checking". Bytes that it will move.
    Phase {
        /// In words, for the progress line.
        title: String,
        /// Bytes it moves in all.
        bytes: u64,
        /// What it reads: a check at the end reads what was written.
        reads: Side,
    },
    /// A sentence about what was found or decided.
    Note(String),
    /// A sentence that asks for attention.
    Warning(String),
}

/// One side's activity: how many calls are under way, and when the last one began or ended.
#[derive(Default)]
struct Activity {
    under_way: AtomicUsize,
    changed_ms: AtomicU64,
}

/// Shared by the job's threads and its watchers.
pub struct Context {
    /// Bytes that a read moves: a multiple of every sink's frame.
    pub buffer: usize,
    /// Threads that encode.
    pub workers: usize,
    /// What a read error does.
    pub on_error: OnError,
    started: Instant,
    cancel: Arc<AtomicBool>,
    total: AtomicU64,
    done: AtomicU64,
    weight: AtomicU64,
    moved: AtomicU64,
    stored: Arc<AtomicU64>,
    source: Activity,
    sink: Activity,
    listener: Box<dyn Fn(Event) + Send + Sync>,
}

/// Bytes of memory that all buffers of a job may take together.
const MEMORY: usize = 40 << 20;
/// The largest buffer. Reads of this size into huge pages cost the least CPU.
const BUFFER: usize = 4 << 20;
/// What one unit of weight means: the work of moving a byte once is this many units.
pub(crate) const UNIT: u64 = 16;

impl Context {
    /// For a job with frames on this grid, on as many workers as the machine has cores. `listener` gets
    /// the events, from any thread.
    pub fn new(grid: u64, listener: impl Fn(Event) + Send + Sync + 'static) -> Self {
        let cores = block::cores();
        let grid = usize::try_from(grid).unwrap_or(BUFFER);
        let workers = cores.min(MEMORY / grid / 2).max(1);
        let mut buffer = BUFFER.max(grid);
        while buffer > grid && buffer * permits(workers) > MEMORY {
            buffer /= 2;
        }
        Self {
            buffer,
            workers,
            on_error: OnError::Stop,
            started: Instant::now(),
            cancel: Arc::default(),
            total: AtomicU64::new(0),
            done: AtomicU64::new(0),
            weight: AtomicU64::new(UNIT),
            moved: AtomicU64::new(0),
            stored: Arc::default(),
            source: Activity::default(),
            sink: Activity::default(),
            listener: Box::new(listener),
        }
    }

    /// Lets `flag` ask the job to stop at the next buffer: a signal handler may set it.
    #[must_use]
    pub fn cancelled_by(self, flag: Arc<AtomicBool>) -> Self {
        Self { cancel: flag, ..self }
    }

    /// Asks the job to stop at the next buffer.
    pub fn cancel(&self) {
        self.cancel.store(true, Relaxed);
    }

    /// Fails with [`ErrorKind::Cancelled`] once it was asked to stop.
    pub fn check_cancel(&self) -> Result<()> {
        match self.cancel.load(Relaxed) {
            true => Err(Error::new(ErrorKind::Cancelled, "interrupted")),
            false => Ok(()),
        }
    }

    /// Passes an event on.
    pub fn say(&self, event: Event) {
        (self.listener)(event);
    }

    /// A sentence about what was found or decided.
    pub fn note(&self, words: impl Into<String>) {
        self.say(Event::Note(words.into()));
    }

    /// A sentence that asks for attention.
    pub fn warn(&self, words: impl Into<String>) {
        self.say(Event::Warning(words.into()));
    }

    /// How much work the whole job is: bytes and weight (in [`UNIT`]s a byte) of each phase. So that the
    /// check at the end is inside the 100 %.
    pub(crate) fn expect(&self, phases: &[(u64, u64)]) {
        let total = phases.iter().map(|(bytes, weight)| bytes.saturating_mul(*weight)).sum();
        self.total.store(total, Relaxed);
    }

    /// A phase begins that reads this end of the job; each byte of it has this weight.
    pub(crate) fn phase(&self, title: &str, reads: Side, bytes: u64, weight: u64) {
        self.weight.store(weight, Relaxed);
        self.moved.store(0, Relaxed);
        self.say(Event::Phase { title: title.to_owned(), bytes, reads });
    }

    /// `bytes` more of this phase are done.
    pub(crate) fn advance(&self, bytes: u64) {
        self.moved.fetch_add(bytes, Relaxed);
        self.done.fetch_add(bytes.saturating_mul(self.weight.load(Relaxed)), Relaxed);
    }

    /// Where a writer counts what it stores.
    pub(crate) fn stored_counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.stored)
    }

    /// Share of the whole job that is done, 0.0 to 1.0.
    pub fn fraction(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a share for a progress bar")]
        match self.total.load(Relaxed) {
            0 => 0.0,
            total => (self.done.load(Relaxed) as f64 / total as f64).min(1.0),
        }
    }

    /// Bytes moved in this phase.
    pub fn moved(&self) -> u64 {
        self.moved.load(Relaxed)
    }

    /// Bytes stored so far.
    pub fn stored_bytes(&self) -> u64 {
        self.stored.load(Relaxed)
    }

    /// Since the job began.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// For how long this side has had a call under way without one beginning or ending.
    pub fn stands_still(&self, side: Side) -> Option<Duration> {
        let activity = self.activity(side);
        let changed = Duration::from_millis(activity.changed_ms.load(Relaxed));
        (activity.under_way.load(Relaxed) > 0).then(|| self.elapsed().saturating_sub(changed))
    }

    /// Runs one call to a side, in view of [`Context::stands_still`].
    pub(crate) fn watched<T>(&self, side: Side, call: impl FnOnce() -> T) -> T {
        let activity = self.activity(side);
        let now = || u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX);
        activity.changed_ms.store(now(), Relaxed);
        activity.under_way.fetch_add(1, Relaxed);
        let result = call();
        activity.under_way.fetch_sub(1, Relaxed);
        activity.changed_ms.store(now(), Relaxed);
        result
    }

    fn activity(&self, side: Side) -> &Activity {
        match side {
            Side::Source => &self.source,
            Side::Sink => &self.sink,
        }
    }
}

/// Buffers that exist at once: what bounds the memory of a job.
pub(crate) const fn permits(workers: usize) -> usize {
    2 * workers + 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_stay_within_the_memory_whatever_the_grid() {
        for grid in [128 << 10, 1 << 20, 8 << 20] {
            let ctx = Context::new(grid, |_| {});
            assert!(ctx.buffer as u64 >= grid && (ctx.buffer as u64).is_multiple_of(grid));
            assert!(ctx.buffer * permits(ctx.workers) <= MEMORY || ctx.workers <= 2);
        }
    }

    #[test]
    fn the_check_is_inside_the_hundred_per_cent() {
        let ctx = Context::new(128 << 10, |_| {});
        ctx.expect(&[(100, UNIT), (100, UNIT / 4)]);
        ctx.phase("reading", Side::Source, 100, UNIT);
        ctx.advance(100);
        assert!((ctx.fraction() - 0.8).abs() < 1e-9);
        ctx.phase("checking", Side::Sink, 100, UNIT / 4);
        ctx.advance(100);
        assert!((ctx.fraction() - 1.0).abs() < 1e-9);
    }
}
