//! Progress on stderr: one thread samples the job's counters and passes its messages on.

use super::text::{count, duration, percent, printable, size};
use super::{json, say};
use crate::args::ProgressMode;
use crate::signals::Signals;
use block::Folder;
use engine::{Context, Event, Side};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::collections::VecDeque;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// Between two looks at the counters.
const SAMPLE: Duration = Duration::from_millis(250);
/// Samples between two plain lines, and between two JSON lines.
const PLAIN_EVERY: u32 = 20;
const JSON_EVERY: u32 = 4;
/// How far back "now" reaches, in samples: 5 s.
const WINDOW: usize = 20;
/// After this time a side that stands still is named.
const STILL: Duration = Duration::from_secs(30);

/// What the lines name besides numbers.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// What is read: "/dev/sdb".
    pub source: String,
    /// What is written; empty if nothing is.
    pub sink: String,
    /// Where free space is watched.
    pub dest: Option<Arc<dyn Folder>>,
    /// Bytes that each region adds to the pass over the disk, with its name, in the order they are read.
    pub regions: Vec<(u64, String)>,
}

/// Runs `job` while another thread shows its progress, and says so when a signal asks it to stop.
pub fn watch<T>(
    mode: ProgressMode,
    names: Names,
    ctx: &Context,
    events: Receiver<Event>,
    signals: &Signals,
    job: impl FnOnce() -> T,
) -> T {
    let (over, is_over) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut view = View::new(mode, names);
            while is_over.recv_timeout(SAMPLE) == Err(RecvTimeoutError::Timeout) {
                events.try_iter().for_each(|event| view.event(event));
                if signals.stop_asked() && !view.stopping {
                    view.stopping = true;
                    view.say("stopping; press again to leave at once");
                }
                view.sample(ctx);
            }
            view.bar.finish_and_clear();
            events.try_iter().for_each(|event| view.event(event));
            view.last(ctx);
        });
        let result = job();
        drop(over);
        result
    })
}

/// Where the job was at each of the last samples.
#[derive(Default)]
struct Rates(VecDeque<(Duration, u64, f64)>);

impl Rates {
    fn add(&mut self, at: Duration, moved: u64, fraction: f64) {
        if self.0.back().is_some_and(|(_, before, _)| *before > moved) {
            self.0.clear(); // a new phase counts from zero
        }
        self.0.push_back((at, moved, fraction));
        if self.0.len() > WINDOW {
            self.0.pop_front();
        }
    }

    /// Bytes a second in the window.
    fn now(&self) -> u64 {
        let (Some(first), Some(last)) = (self.0.front(), self.0.back()) else { return 0 };
        per_second(last.1 - first.1, last.0.saturating_sub(first.0))
    }

    /// Seconds left of the whole job: at the pace of the window, or of the job so far if that is slower.
    fn left(&self) -> Option<u64> {
        let (first, last) = (self.0.front()?, self.0.back()?);
        let pace = |share: f64, time: Duration| share / time.as_secs_f64().max(0.001);
        let slower = pace(last.2 - first.2, last.0.saturating_sub(first.0)).min(pace(last.2, last.0));
        let seconds = (1.0 - last.2) / slower;
        let known = self.0.len() > WINDOW / 2 && seconds.is_finite();
        known.then(|| Duration::try_from_secs_f64(seconds).map_or(u64::MAX, |left| left.as_secs()))
    }
}

fn per_second(bytes: u64, time: Duration) -> u64 {
    let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
    u64::try_from(u128::from(bytes) * 1000 / u128::from(ms)).unwrap_or(u64::MAX)
}

/// One look at the job, as `--progress=json` prints it. Bytes, seconds.
#[derive(Debug, Serialize)]
struct Sample {
    event: &'static str,
    phase: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    fraction: f64,
    moved: u64,
    of: u64,
    rate: u64,
    average: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<u64>,
    stored: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    free: Option<u64>,
}

/// A message, as `--progress=json` prints it.
#[derive(Debug, Serialize)]
struct Message<'a> {
    event: &'static str,
    text: &'a str,
}

impl Sample {
    /// As one line for people, without the share of the whole.
    fn line(&self) -> String {
        let mut line = format!("{}: {} of {}", self.phase, size(self.moved), size(self.of));
        if let Some(region) = &self.region {
            line += &format!(", {region}");
        }
        line += &format!(", {}/s now, {}/s average", size(self.rate), size(self.average));
        if self.stored > 0 {
            line += &format!(", stored {} ({})", size(self.stored), percent(self.stored, self.moved));
        }
        if let Some(free) = self.free {
            line += &format!(", {} free", size(free));
        }
        if let Some(left) = self.left {
            line += &format!(", {} left", duration(left));
        }
        line
    }
}

/// What is shown, and how.
struct View {
    mode: ProgressMode,
    bar: ProgressBar,
    names: Names,
    phase: String,
    of: u64,
    reads: Side,
    /// When it was last looked, and when before the phase began: what is shorter would flatter it.
    looked: Duration,
    phase_began: Duration,
    rates: Rates,
    samples: u32,
    still: [bool; 2],
    stopping: bool,
}

impl View {
    fn new(mode: ProgressMode, names: Names) -> Self {
        let mode = match mode {
            ProgressMode::Auto if !std::io::stderr().is_terminal() => ProgressMode::Plain,
            mode => mode,
        };
        let bar = ProgressBar::with_draw_target(Some(1000), ProgressDrawTarget::hidden());
        if mode == ProgressMode::Auto {
            // No colour in the template: NO_COLOR asks for nothing more.
            if let Ok(style) = ProgressStyle::with_template("{percent:>3} % [{bar:20}] {wide_msg}") {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        Self {
            mode,
            bar,
            names,
            phase: String::new(),
            of: 0,
            reads: Side::Source,
            looked: Duration::ZERO,
            phase_began: Duration::ZERO,
            rates: Rates::default(),
            samples: 0,
            still: [false; 2],
            stopping: false,
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Phase { title, bytes, reads } => {
                (self.phase, self.of, self.reads, self.phase_began) = (title, bytes, reads, self.looked);
                self.rates = Rates::default();
            }
            Event::Note(words) => self.message("note", &words),
            Event::Warning(words) => self.message("warning", &words),
        }
    }

    fn say(&self, words: &str) {
        self.message("note", words);
    }

    fn message(&self, event: &'static str, text: &str) {
        match self.mode {
            ProgressMode::Json => print(json::line(&Message { event, text })),
            _ if event == "warning" => self.bar.suspend(|| say(&format!("warning: {text}"))),
            _ => self.bar.suspend(|| say(text)),
        }
    }

    fn sample(&mut self, ctx: &Context) {
        self.name_who_stands_still(ctx);
        let elapsed = ctx.elapsed();
        self.looked = elapsed;
        if self.phase.is_empty() {
            return; // the job has not begun
        }
        let moved = ctx.moved();
        self.rates.add(elapsed, moved, ctx.fraction());
        let due = |every: u32| self.samples.is_multiple_of(every);
        let show = match self.mode {
            ProgressMode::Auto => true,
            ProgressMode::Plain => due(PLAIN_EVERY),
            ProgressMode::Json => due(JSON_EVERY),
            ProgressMode::None => false,
        };
        self.samples = self.samples.wrapping_add(1);
        if show {
            self.show(ctx, moved, elapsed);
        }
    }

    /// Where the job stood when it ended: who reads JSON gets a sample of the shortest job too.
    fn last(&mut self, ctx: &Context) {
        if self.mode == ProgressMode::Json && !self.phase.is_empty() {
            let (moved, elapsed) = (ctx.moved(), ctx.elapsed());
            self.rates.add(elapsed, moved, ctx.fraction());
            self.show(ctx, moved, elapsed);
        }
    }

    fn show(&self, ctx: &Context, moved: u64, elapsed: Duration) {
        let sample = Sample {
            event: "progress",
            phase: self.phase.clone(),
            region: region_at(&self.names.regions, self.of, moved),
            fraction: ctx.fraction(),
            moved,
            of: self.of,
            rate: self.rates.now(),
            average: per_second(moved, elapsed.saturating_sub(self.phase_began)),
            left: self.rates.left(),
            stored: ctx.stored_bytes(),
            free: self.names.dest.as_ref().and_then(|dest| Some(image::room(&**dest).ok()?.free)),
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0.0 to 1.0")]
        let permille = (sample.fraction * 1000.0) as u64;
        match self.mode {
            ProgressMode::Json => print(json::line(&sample)),
            ProgressMode::Plain => say(&format!("{} {}", percent(permille, 1000), sample.line())),
            _ => {
                self.bar.set_position(permille);
                self.bar.set_message(printable(&sample.line()));
            }
        }
    }

    fn name_who_stands_still(&mut self, ctx: &Context) {
        for (i, side) in [Side::Source, Side::Sink].into_iter().enumerate() {
            let still = ctx.stands_still(side).filter(|time| *time >= STILL);
            let Some(said) = self.still.get_mut(i) else { continue };
            if let Some(time) = still.filter(|_| !*said) {
                *said = true;
                let time = count(time.as_secs(), "second");
                let (source, sink) = (&self.names.source, &self.names.sink);
                let words = match (side, self.reads) {
                    (Side::Source, Side::Source) => format!("nothing was read from {source} for {time}"),
                    (Side::Source, Side::Sink) => format!("nothing was read from {sink} for {time}"),
                    (Side::Sink, _) => format!("nothing could be written to {sink} for {time}"),
                };
                self.message("warning", &words);
            } else {
                *said = still.is_some();
            }
        }
    }
}

fn print(line: block::Result<String>) {
    if let Ok(line) = line {
        say(&line);
    }
}

/// The region at work, if this phase is a pass over the regions in their order.
fn region_at(regions: &[(u64, String)], of: u64, moved: u64) -> Option<String> {
    if regions.iter().map(|(bytes, _)| bytes).sum::<u64>() != of {
        return None;
    }
    let mut end = 0_u64;
    let here = regions.iter().find(|(bytes, _)| {
        end = end.saturating_add(*bytes);
        moved < end
    });
    here.map(|(_, name)| name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_that_of_the_window_and_the_time_left_the_more_careful_one() {
        let mut rates = Rates::default();
        for step in 0..30_u32 {
            rates.add(SAMPLE * step, u64::from(step) * 1000, f64::from(step) / 100.0);
        }
        assert_eq!(rates.now(), 4000);
        assert_eq!(rates.left(), Some(17), "71 steps of a quarter second");
        rates.add(SAMPLE * 30, 10, 0.3);
        assert_eq!((rates.now(), rates.left()), (0, None), "a new phase");
    }

    #[test]
    fn the_region_at_work_is_known_in_a_pass_over_them_only() {
        let regions = [(100, "preamble".to_owned()), (50, "partition 1".to_owned())];
        assert_eq!(region_at(&regions, 150, 99).unwrap(), "preamble");
        assert_eq!(region_at(&regions, 150, 100).unwrap(), "partition 1");
        assert_eq!(region_at(&regions, 150, 150), None);
        assert_eq!(region_at(&regions, 70, 10), None);
    }
}
