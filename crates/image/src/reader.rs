//! The plain bytes of a stored file, every frame proved before a byte of it is passed on.

use crate::cache::Key;
use crate::frame::{self, Decompressor, Sort};
use crate::index::Index;
use crate::page::Frame;
use crate::tree::value_of;
use crate::{Encoding, Manifest};
use block::{Buf, ByteRange, Error, ErrorKind, Extent, ExtentKind, ReadAt, Result, Source};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Stored bytes that are read at once, at most: unless one frame is longer.
const READ: u64 = 4 << 20;
/// Reads of so many bytes are a copy passing through: nothing is kept of them.
const LARGE: u64 = 512 << 10;
/// Bytes in which frames begin that are decoded ahead of a sequential reader: little beside what is kept.
const AHEAD: u64 = 1 << 20;
/// Frames that `extent_at` looks at: what is longer comes in the next extent. Who reads a little here and there asks
/// before each read, so that each of these frames costs every read.
const LOOK: usize = 64;

/// What checking needs, used again.
#[derive(Default)]
pub struct Scratch {
    decompressor: Decompressor,
    plain: Vec<u8>,
}

/// What reading needs, used again.
#[derive(Default)]
struct Tools {
    decompressor: Decompressor,
    stored: Buf,
}

fn wrong() -> Error {
    Error::new(ErrorKind::Corrupt, "a frame is not what its digest says")
}

/// Proves plain bytes of a frame. `length`: plain bytes of the file.
fn prove(frame: &Frame, length: u64, pieces: &[&[u8]]) -> Result<()> {
    let proved = frame.digest.is_some_and(|digest| value_of(pieces, frame.plain.start(), length) == digest);
    if proved { Ok(()) } else { Err(wrong()) }
}

/// Decodes one frame that is not zero into all of `plain` and proves it. `length`: plain bytes of the file.
fn decode(
    frame: &Frame,
    encoding: Encoding,
    length: u64,
    stored: &[u8],
    plain: &mut [u8],
    decompressor: &mut Decompressor,
) -> Result<()> {
    match encoding {
        Encoding::Zst => decompressor.decode(frame.sort, stored, plain)?,
        Encoding::Raw if stored.len() == plain.len() => plain.copy_from_slice(stored),
        Encoding::Raw => return Err(wrong()),
    }
    prove(frame, length, &[plain])
}

/// The same into new memory.
fn decode_new(
    frame: &Frame,
    encoding: Encoding,
    length: u64,
    stored: &[u8],
    decompressor: &mut Decompressor,
) -> Result<Vec<u8>> {
    let len = frame.plain.index(frame.plain.start()).end;
    let plain = match (encoding, frame.sort) {
        (Encoding::Zst, Sort::Stored) => frame::stored_blocks(stored, frame.plain.len())?.concat(),
        (Encoding::Zst, _) => decompressor.decode_new(stored, len)?,
        (Encoding::Raw, _) if stored.len() == len => stored.to_vec(),
        (Encoding::Raw, _) => return Err(wrong()),
    };
    prove(frame, length, &[&plain])?;
    Ok(plain)
}

/// Proves a frame; its bytes are not wanted. `stored`: all of it, or any part of a zero one in a raw file.
pub(crate) fn check(
    frame: &Frame,
    encoding: Encoding,
    length: u64,
    stored: &[u8],
    scratch: &mut Scratch,
) -> Result<()> {
    match (encoding, frame.sort) {
        (_, Sort::Zero) => check_zero(frame, encoding, stored),
        (Encoding::Raw, _) if stored.len() as u64 == frame.plain.len() => prove(frame, length, &[stored]),
        (Encoding::Raw, _) => Err(wrong()),
        (Encoding::Zst, Sort::Stored) => {
            prove(frame, length, &frame::stored_blocks(stored, frame.plain.len())?)
        }
        (Encoding::Zst, Sort::Compressed) => {
            let Scratch { decompressor, plain } = scratch;
            plain.resize(frame.plain.index(frame.plain.start()).end, 0);
            decode(frame, encoding, length, stored, plain, decompressor)
        }
    }
}

/// Proves a zero frame by its form. Its plain bytes, up to 1 GiB, are never in memory. `stored`: all of it,
/// or any part of a raw one.
fn check_zero(frame: &Frame, encoding: Encoding, stored: &[u8]) -> Result<()> {
    match encoding {
        Encoding::Zst => frame::check_zero(stored, frame.plain.len()),
        Encoding::Raw if frame::is_zero(stored) => Ok(()),
        Encoding::Raw => Err(Error::new(ErrorKind::Corrupt, "bytes that must be zero are not")),
    }
}

/// The plain bytes of stored file `number`, proved frame by frame. `stored`: its stored bytes, all parts
/// joined. Fails with [`ErrorKind::Bug`] if the manifest has no such file.
pub fn plain(manifest: &Manifest, index: &Arc<Index>, number: usize, stored: Source) -> Result<Source> {
    let bug = || Error::new(ErrorKind::Bug, "no such stored file");
    let info = manifest.files.get(number).ok_or_else(bug)?;
    let number = u32::try_from(number).map_err(|_| bug())?;
    Ok(Arc::new_cyclic(|this| StoredFile {
        this: Weak::clone(this),
        name: info.name.clone(),
        number,
        encoding: info.encoding,
        length: info.length,
        grid: manifest.grid,
        index: Arc::clone(index),
        stored,
        tools: Mutex::default(),
        recent: Mutex::default(),
    }))
}

/// A stored file as a source.
struct StoredFile {
    /// For those who read ahead.
    this: Weak<Self>,
    name: String,
    number: u32,
    encoding: Encoding,
    length: u64,
    grid: u64,
    index: Arc<Index>,
    stored: Source,
    tools: Mutex<Vec<Tools>>,
    recent: Mutex<Recent>,
}

/// Where the latest small reads ended: who goes on there reads in order.
struct Recent {
    ends: [u64; 16],
    next: usize,
}

impl Default for Recent {
    fn default() -> Self {
        Self { ends: [u64::MAX; 16], next: 0 }
    }
}

impl Recent {
    /// Does a read go on where an earlier one ended?
    fn goes_on(&mut self, read: ByteRange) -> bool {
        let earlier = self.ends.iter().position(|end| *end == read.start());
        let place = earlier.unwrap_or(self.next);
        self.ends[place] = read.end();
        if earlier.is_none() {
            self.next = (self.next + 1) % self.ends.len();
        }
        earlier.is_some()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StoredFile {
    /// Runs `work` with what decoding needs.
    fn with_tools<T>(&self, work: impl FnOnce(&mut Tools) -> Result<T>) -> Result<T> {
        let mut tools = lock(&self.tools).pop().unwrap_or_default();
        let done = work(&mut tools);
        lock(&self.tools).push(tools);
        done
    }

    /// Stored bytes, read into memory that is made larger if it must.
    fn stored_bytes<'a>(&self, range: ByteRange, memory: &'a mut Buf) -> Result<&'a mut [u8]> {
        let len = range.index(range.start()).end;
        if memory.capacity() < len {
            // Frames have all lengths: not a new one for each that is a little longer.
            *memory = Buf::with_capacity(len.next_power_of_two());
        }
        memory.clear();
        let stored = memory.grow(len).ok_or_else(|| Error::new(ErrorKind::Bug, "no room for a frame"))?;
        self.stored.read_at(range.start(), stored)?;
        Ok(stored)
    }

    /// Adds to an error whose bytes could not be had.
    fn failed(&self, error: Error, plain: ByteRange) -> Error {
        error.context(&self.name).with_range(plain)
    }

    /// A large read, by one who copies: whole frames go where they are wanted, in groups whose stored bytes are
    /// read at once. A frame at its edge is kept, since the read that goes on from there wants the rest of it.
    fn read_proved(&self, want: ByteRange, buf: &mut [u8], tools: &mut Tools) -> Result<()> {
        let mut group: Vec<Frame> = vec![];
        let mut bytes = 0;
        for frame in self.index.frames_from(self.number, want.start()) {
            let frame = frame?;
            if frame.plain.start() >= want.end() {
                break;
            }
            if !want.covers(frame.plain) {
                self.read_piece(&frame, want, buf)?;
                continue;
            }
            if !group.is_empty() && bytes + frame.stored.len() > READ {
                self.read_group(&group, want, buf, tools)?;
                group.clear();
                bytes = 0;
            }
            bytes += frame.stored.len();
            group.push(frame);
        }
        self.read_group(&group, want, buf, tools)
    }

    fn read_group(&self, group: &[Frame], want: ByteRange, buf: &mut [u8], tools: &mut Tools) -> Result<()> {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { return Ok(()) };
        if let [frame] = group
            && frame.sort == Sort::Zero
        {
            return self.read_piece(frame, want, buf);
        }
        let all = ByteRange::span(first.stored.start(), last.stored.end());
        let Tools { decompressor, stored } = tools;
        let stored = self.stored_bytes(all, stored).map_err(|error| self.failed(error, first.plain))?;
        for frame in group {
            let here = &stored[frame.stored.index(all.start())];
            let place = &mut buf[frame.plain.index(want.start())];
            let decoded = if frame.sort == Sort::Zero {
                place.fill(0);
                check_zero(frame, self.encoding, here)
            } else {
                decode(frame, self.encoding, self.length, here, place, decompressor)
            };
            decoded.map_err(|error| self.failed(error, frame.plain))?;
        }
        Ok(())
    }

    /// A small read: a frame of which it wants a piece is kept for the next one; what is read whole, its reader
    /// has. Where it goes on into another frame from where a read ended, a sequential reader is at work.
    fn read_kept(&self, want: ByteRange, buf: &mut [u8]) -> Result<()> {
        let goes_on = lock(&self.recent).goes_on(want);
        for frame in self.index.frames_from(self.number, want.start()) {
            let frame = frame?;
            if frame.plain.start() >= want.end() {
                break;
            }
            if frame.sort != Sort::Zero && want.covers(frame.plain) {
                self.read_whole(&frame, &mut buf[frame.plain.index(want.start())])?;
            } else {
                self.read_piece(&frame, want, buf)?;
            }
            if goes_on && frame.plain.start() >= want.start() {
                self.read_ahead(frame.plain.end());
            }
        }
        Ok(())
    }

    /// All of a frame that is not zero: from the cache, where it is kept no longer, or decoded to where it is
    /// wanted.
    fn read_whole(&self, frame: &Frame, place: &mut [u8]) -> Result<()> {
        if let Some(plain) = self.index.cache().take::<Vec<u8>>(self.key(frame.plain.start())) {
            place.copy_from_slice(&plain);
            return Ok(());
        }
        let read = self.with_tools(|Tools { decompressor, stored }| {
            let stored = self.stored_bytes(frame.stored, stored)?;
            decode(frame, self.encoding, self.length, stored, place, decompressor)
        });
        read.map_err(|error| self.failed(error, frame.plain))
    }

    /// What a small read wants of one frame.
    fn read_piece(&self, frame: &Frame, want: ByteRange, buf: &mut [u8]) -> Result<()> {
        let hit = frame.plain.intersect(want);
        let place = &mut buf[hit.index(want.start())];
        if frame.sort == Sort::Zero && self.encoding == Encoding::Raw {
            let read = self.stored.read_at(hit.start(), place);
            let checked = read.and_then(|()| check_zero(frame, self.encoding, place));
            return checked.map_err(|error| self.failed(error, frame.plain));
        }
        let plain = self.frame(frame)?;
        match frame.sort {
            Sort::Zero => place.fill(0),
            _ => place.copy_from_slice(&plain[hit.index(frame.plain.start())]),
        }
        Ok(())
    }

    /// The plain bytes of one frame, proved; none of zeroes. From the cache, or decoded into it.
    fn frame(&self, frame: &Frame) -> Result<Arc<Vec<u8>>> {
        let decoded = self.index.cache().get(self.key(frame.plain.start()), || self.decoded(frame));
        decoded.map_err(|error| self.failed(error, frame.plain))
    }

    /// The same into new memory.
    fn decoded(&self, frame: &Frame) -> Result<Vec<u8>> {
        self.with_tools(|Tools { decompressor, stored }| {
            let stored = self.stored_bytes(frame.stored, stored)?;
            if frame.sort == Sort::Zero {
                check_zero(frame, self.encoding, stored)?;
                return Ok(vec![]);
            }
            decode_new(frame, self.encoding, self.length, stored, decompressor)
        })
    }

    fn key(&self, start: u64) -> Key {
        Key::Plain(self.number, start)
    }

    /// Others decode what a sequential reader will want, while it does something with what it has.
    fn read_ahead(&self, offset: u64) {
        let near = |next: &Frame| next.plain.start().saturating_sub(offset) < AHEAD;
        let behind = self.index.frames_from(self.number, offset).map_while(Result::ok).take_while(near);
        for next in behind.filter(|next| next.sort != Sort::Zero) {
            let key = self.key(next.plain.start());
            if !self.index.cache().plan(key) {
                continue;
            }
            let this = self.this.clone();
            let task = move || {
                this.upgrade()
                    .map_or(Ok(()), |this| this.index.cache().carry_out(key, || this.decoded(&next)))
            };
            if !self.index.ahead().soon(Box::new(task)) {
                self.index.cache().give_up(key);
                break;
            }
        }
    }

    /// What is known of a frame's bytes from `offset` on: the extent that starts there, cut to the frame.
    fn known(&self, frame: &Frame, offset: u64) -> Result<Extent> {
        let kind = if frame.sort == Sort::Zero { ExtentKind::Zero } else { ExtentKind::Data };
        let rest = ByteRange::span(offset, frame.plain.end());
        if !frame.partial {
            return Ok(Extent { range: rest, kind });
        }
        Ok(match self.index.first_lost(self.number, rest)? {
            Some(lost) if lost.range.start() == offset => lost,
            Some(lost) => Extent { range: ByteRange::span(offset, lost.range.start()), kind },
            None => Extent { range: rest, kind },
        })
    }
}

impl ReadAt for StoredFile {
    fn size(&self) -> u64 {
        self.length
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let want = ByteRange::within(self.length, offset, buf.len() as u64)?;
        if want.is_empty() {
            return Ok(());
        }
        let lost = self.index.first_lost(self.number, want)?;
        let good = ByteRange::span(offset, lost.map_or(want.end(), |lost| lost.range.start()));
        let place = &mut buf[good.index(offset)];
        if good.len() >= LARGE {
            self.with_tools(|tools| self.read_proved(good, place, tools))?;
        } else if !good.is_empty() {
            self.read_kept(good, place)?;
        }
        match lost {
            None => Ok(()),
            Some(Extent { range, kind: ExtentKind::Bad }) => {
                let words = "could not be read when the backup was made";
                Err(Error::new(ErrorKind::Media, words).with_range(range))
            }
            Some(Extent { range, .. }) => Err(Error::at(ErrorKind::Absent, range)),
        }
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        ByteRange::within(self.length, offset, 1)?;
        let mut found: Option<Extent> = None;
        for frame in self.index.frames_from(self.number, offset).take(LOOK) {
            let frame = frame?;
            let at = found.map_or(offset, |found| found.range.end());
            let known = self.known(&frame, at)?;
            match &mut found {
                None => found = Some(known),
                Some(so_far) if so_far.kind == known.kind => {
                    so_far.range = ByteRange::span(so_far.range.start(), known.range.end());
                }
                Some(_) => break,
            }
            if known.range.end() < frame.plain.end() {
                break;
            }
        }
        found.ok_or_else(|| Error::new(ErrorKind::Corrupt, "the index does not cover its file"))
    }

    fn concurrency(&self) -> usize {
        block::cores().max(2)
    }

    fn granule(&self) -> u64 {
        self.grid
    }
}
