//! The one loop that moves bytes.

use crate::context::{Context, OnError, Side, permits};
use crate::plan::{Plan, Step};
use block::{Buf, Buffer, ByteRange, Encode, Error, ErrorKind, Extent, ExtentKind, ReadAt, Result, Sink};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError, mpsc};

/// What a copy says when it is done.
#[derive(Debug)]
pub struct Report<S> {
    /// Bad and Absent, ascending in plan order: what the sink did not get.
    pub missing: Vec<Extent>,
    /// The read errors that were passed over.
    pub errors: Vec<Error>,
    /// What the sink says.
    pub summary: S,
}

/// A buffer on its way, with what is still to be read into it.
struct Work {
    buffer: Buffer,
    /// Offset in its file behind what it stands for so far.
    end: u64,
    todo: Vec<Extent>,
    errors: Vec<Error>,
}

/// A buffer with its number in plan order.
type Numbered = (u64, Work);

/// One that went through a worker.
type Encoded<S> = (u64, Result<(Work, <<S as Sink>::Encoder as Encode>::Out)>);

/// Moves what `plan` visits from `source` to `sink`. See [`copy_steps`].
pub fn copy<S: Sink>(plan: &Plan, source: &dyn ReadAt, sink: S, ctx: &Context) -> Result<Report<S::Summary>> {
    copy_steps(plan.steps(source, ctx.buffer as u64), source, sink, ctx)
}

/// One thread walks the steps, readers read, workers encode, the caller's thread commits in order. Where the
/// source serves one read at a time, the walking thread is the reader, in the steps' order. No worker waits
/// for a disk: there are buffers for all of them to have one at hand.
///
/// The permits are the buffers' memory: 2 per worker + 2, taken before a read and given back after its
/// commit. So the channels need no bound, and dropping the permits is what stops everybody. The first
/// error in the steps' order wins, also a panic.
pub fn copy_steps<S: Sink>(
    steps: impl Iterator<Item = Result<Step>> + Send,
    source: &dyn ReadAt,
    mut sink: S,
    ctx: &Context,
) -> Result<Report<S::Summary>> {
    let in_order = source.concurrency() == 1;
    let workers = ctx.workers.max(1);
    let (give_back, memory) = mpsc::channel();
    for _ in 0..permits(workers) {
        let _ = give_back.send(buffer_memory(ctx.buffer));
    }
    let (to_read, to_be_read) = mpsc::channel();
    let (to_encode, to_be_encoded) = mpsc::channel();
    let (to_commit, encoded) = mpsc::channel();
    let (to_be_read, to_be_encoded) = (Mutex::new(to_be_read), Mutex::new(to_be_encoded));
    let (missing, errors) = std::thread::scope(|scope| {
        let (to_be_read, to_be_encoded) = (&to_be_read, &to_be_encoded);
        let failed = to_commit.clone();
        let pass_on = if in_order {
            to_encode
        } else {
            for _ in 0..source.concurrency().min(workers) {
                let (to_encode, failed) = (to_encode.clone(), to_commit.clone());
                scope.spawn(move || {
                    while let Some((count, mut work)) = next::<Numbered>(to_be_read) {
                        let _ = match caught(|| fill(&mut work, source, ctx)) {
                            Ok(()) => to_encode.send((count, work)).is_ok(),
                            Err(error) => failed.send((count, Err(error))).is_ok(),
                        };
                    }
                });
            }
            drop(to_encode); // so that the queue ends with the readers
            to_read
        };
        scope.spawn(move || {
            let mut count = 0;
            let walked = caught(|| {
                walk(steps, source, ctx, &memory, in_order, |work| {
                    let _ = pass_on.send((count, work));
                    count += 1;
                })
            });
            if let Err(error) = walked {
                let _ = failed.send((count, Err(error)));
            }
        });
        for _ in 0..workers {
            let (to_commit, mut encoder) = (to_commit.clone(), sink.encoder());
            scope.spawn(move || {
                while let Some((count, work)) = next::<Numbered>(to_be_encoded) {
                    let out = caught(|| encoder.encode(&work.buffer));
                    if to_commit.send((count, out.map(|out| (work, out)))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(to_commit);
        commit_in_order(encoded, give_back, &mut sink, ctx)
    })?;
    ctx.check_cancel()?;
    let summary = ctx.watched(Side::Sink, || sink.finish())?;
    Ok(Report { missing, errors, summary })
}

/// What comes next in a queue that several threads serve; `None` when it has ended.
fn next<T>(queue: &Mutex<mpsc::Receiver<T>>) -> Option<T> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

/// Aligned memory for one buffer, in huge pages where there are any.
fn buffer_memory(capacity: usize) -> Buf {
    let mut memory = Buf::with_capacity(capacity);
    if let Some(bytes) = memory.grow(capacity) {
        device::huge_pages(bytes);
    }
    memory.clear();
    memory
}

/// A panic is an error like others: the thread that waits for this result must hear of it.
fn caught<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        Err(Error::new(ErrorKind::Bug, format!("a mistake in selfsame itself: {words}")))
    })
}

/// Gathers the steps into buffers and passes on each that is complete.
fn walk(
    steps: impl Iterator<Item = Result<Step>>,
    source: &dyn ReadAt,
    ctx: &Context,
    memory: &mpsc::Receiver<Buf>,
    in_order: bool,
    mut pass_on: impl FnMut(Work),
) -> Result<()> {
    let mut open: BTreeMap<usize, Work> = BTreeMap::new(); // by stored file; in practice `.rest`
    for step in steps {
        let Step { file, offset, extent, ends } = step?;
        let waiting = match open.remove(&file) {
            Some(work) if work.end != offset => {
                pass_on(work); // the plan jumped
                None
            }
            other => other,
        };
        let mut work = match waiting {
            Some(work) => work,
            None => {
                let Ok(data) = memory.recv() else { return Ok(()) }; // the sink failed and says why
                let buffer = Buffer { file, offset, data, ..Buffer::default() };
                Work { buffer, end: offset, todo: vec![], errors: vec![] }
            }
        };
        let whole = ends && work.end == work.buffer.offset;
        work.end += extent.range.len();
        if whole && matches!(extent.kind, ExtentKind::Zero | ExtentKind::Absent) {
            work.buffer.extents.push(extent); // a run: no bytes
        } else {
            work.todo.push(extent);
        }
        if in_order {
            fill(&mut work, source, ctx)?;
        }
        if ends {
            pass_on(work);
        } else {
            open.insert(file, work);
        }
    }
    open.into_values().for_each(pass_on);
    Ok(())
}

/// Reads what is to do. No narrowing down: what the source could not read is Bad, on behind it.
fn fill(work: &mut Work, source: &dyn ReadAt, ctx: &Context) -> Result<()> {
    let buffer = &mut work.buffer;
    for Extent { range, kind } in work.todo.drain(..) {
        let Some(data) = usize::try_from(range.len()).ok().and_then(|len| buffer.data.grow(len)) else {
            return Err(Error::new(ErrorKind::Bug, "a step larger than a buffer").with_range(range));
        };
        let mut left = range;
        while kind == ExtentKind::Data && !left.is_empty() {
            let place = &mut data[left.index(range.start())];
            let Err(error) = ctx.watched(Side::Source, || source.read_at(left.start(), place)) else { break };
            let here = matches!(error.kind(), ErrorKind::Media | ErrorKind::Corrupt);
            if ctx.on_error == OnError::Stop || !here {
                return Err(error);
            }
            let hole = error.range().map(|range| range.intersect(left)).filter(|range| !range.is_empty());
            let hole = hole.unwrap_or(left);
            let [good, behind] = left.minus(hole);
            data[hole.index(range.start())].fill(0);
            Extent { range: good, kind }.append(&mut buffer.extents);
            Extent { range: hole, kind: ExtentKind::Bad }.append(&mut buffer.extents);
            work.errors.push(error);
            left = behind;
        }
        if kind != ExtentKind::Data {
            data.fill(0);
        }
        Extent { range: left, kind }.append(&mut buffer.extents);
    }
    Ok(())
}

fn commit_in_order<S: Sink>(
    encoded: mpsc::Receiver<Encoded<S>>,
    give_back: mpsc::Sender<Buf>,
    sink: &mut S,
    ctx: &Context,
) -> Result<(Vec<Extent>, Vec<Error>)> {
    let (mut next, mut early, mut missing, mut errors) = (0, BTreeMap::new(), vec![], vec![]);
    for (count, done) in encoded {
        early.insert(count, done);
        while let Some(done) = early.remove(&next) {
            let (work, out) = done?;
            ctx.check_cancel()?;
            ctx.watched(Side::Sink, || sink.commit(&work.buffer, out))?;
            ctx.advance(work.buffer.len());
            for extent in work.buffer.extents.iter().filter(|extent| extent.kind.is_lost()) {
                extent.append(&mut missing);
            }
            errors.extend(work.errors);
            let mut memory = work.buffer.data;
            memory.clear();
            let _ = give_back.send(memory);
            next += 1;
        }
    }
    Ok((missing, errors))
}

/// Bytes of a stored file as steps of their own: each range one buffer. For checking a backup as stored.
pub(crate) fn stored_steps(
    file: usize,
    pieces: impl Iterator<Item = Result<ByteRange>>,
) -> impl Iterator<Item = Result<Step>> {
    pieces.map(move |piece| {
        let range = piece?;
        let extent = Extent { range, kind: ExtentKind::Data };
        Ok(Step { file, offset: range.start(), extent, ends: true })
    })
}
