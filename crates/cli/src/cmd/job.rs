//! What save, verify and restore have in common: a context, its progress, and how a job ends.

use super::Tools;
use crate::args::JobArgs;
use crate::exit::Exit;
use crate::ui::progress::{self, Names};
use crate::ui::{json, say};
use block::{Folder, Result};
use engine::{Context, Event};
use image::Store;
use serde::Serialize;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

/// Runs a job on the grid of its backup, in view of the user. The first Ctrl-C cancels it.
pub(super) fn run<T>(
    tools: &Tools,
    args: JobArgs,
    names: Names,
    grid: u64,
    job: impl FnOnce(&Context) -> Result<T>,
) -> Result<T> {
    tools.monitor.begin()?;
    let (send, events) = mpsc::channel::<Event>();
    let send = Mutex::new(send);
    let ctx = Context::new(grid, move |event| {
        // Nobody watches any more only when the job is over.
        let _ = send.lock().unwrap_or_else(PoisonError::into_inner).send(event);
    });
    let ctx = ctx.cancelled_by(tools.signals.begin_job());
    progress::watch(args.progress, names, &ctx, events, &tools.signals, || job(&ctx))
}

/// Ends a job: the document or the lines of the answer, then the word and what to do next.
pub(super) fn end(
    args: JobArgs,
    exit: Exit,
    document: &impl Serialize,
    answer: &str,
    next: &str,
) -> Result<Exit> {
    if args.json {
        json::answer(document)?;
    } else if !answer.is_empty() {
        crate::ui::answer(answer)?;
    }
    let next = if next.is_empty() { String::new() } else { format!(". {next}") };
    say(&format!("{}{next}", exit.word()));
    Ok(exit)
}

/// The grid that a folder's backup has; the smallest for one whose manifest does not say.
pub(super) fn grid(folder: &Arc<dyn Folder>) -> u64 {
    Store::of(Arc::clone(folder)).peek().map_or(128 << 10, |manifest| manifest.grid)
}
