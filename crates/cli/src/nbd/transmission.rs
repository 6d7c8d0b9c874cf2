//! Requests and their replies, several at a time.

use super::handshake::{ALLOCATION_ID, Agreed};
use super::wire::{MAX_PAYLOAD, Request, chunk, command, errno, simple, state, structured};
use block::{ByteRange, ErrorKind, ExtentKind, extents};
use std::io::{self, BufReader, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Bytes of a chunk of data: what a worker holds at most where the client takes chunks.
const PIECE: u64 = 1 << 20;
/// Extents of one reply.
const MAX_EXTENTS: usize = 4096;

/// Serves requests until the client says that it is done, or goes. `workers` threads take turns in reading a
/// request; each answers what it read, so that no request is handed from one thread to another.
pub(super) fn serve(
    input: BufReader<impl Read + Send>,
    output: impl Write + Send,
    agreed: &Agreed,
    workers: usize,
) {
    let (input, output, over) = (Mutex::new(input), Mutex::new(output), AtomicBool::new(false));
    let work = || {
        let mut buf = vec![];
        loop {
            let mut turn = input.lock().unwrap_or_else(PoisonError::into_inner);
            if over.load(Relaxed) {
                return;
            }
            let request = next(&mut *turn, &mut buf).inspect_err(|_| over.store(true, Relaxed));
            let Ok(request) = request else { return };
            // A client that waits for each answer is served by one thread, and nobody else is woken for it.
            let kept = turn.buffer().is_empty().then_some(turn);
            if (Reply { request, output: &output, agreed }).write(&mut buf).is_err() {
                over.store(true, Relaxed);
            }
            drop(kept);
        }
    };
    std::thread::scope(|scope| {
        (1..workers).for_each(|_| drop(scope.spawn(work)));
        work();
    });
}

/// The next request, what a write brings in `buf`; an error if there will be none.
fn next(input: &mut impl Read, buf: &mut Vec<u8>) -> io::Result<Request> {
    let gone = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let request =
        Request::read(input)?.filter(|request| request.command != command::DISC).ok_or_else(gone)?;
    if request.command == command::WRITE {
        // More than a client may send ends the connection: nothing else says so.
        let length = Some(request.length).filter(|length| *length <= MAX_PAYLOAD).ok_or_else(gone)?;
        buf.resize(usize::try_from(length).map_err(io::Error::other)?, 0);
        input.read_exact(buf)?;
    }
    Ok(request)
}

/// The reply to one request.
struct Reply<'a, W: Write> {
    request: Request,
    output: &'a Mutex<W>,
    agreed: &'a Agreed,
}

impl<W: Write> Reply<'_, W> {
    fn write(&self, buf: &mut Vec<u8>) -> io::Result<()> {
        let export = &*self.agreed.export;
        let Request { offset, length, flags, .. } = self.request;
        let inside = ByteRange::within(export.size(), offset, length.into()).ok();
        let wanted = inside.filter(|range| !range.is_empty());
        match (self.request.command, wanted) {
            (command::READ, Some(_)) if length > MAX_PAYLOAD => self.error(errno::EOVERFLOW),
            (command::READ, Some(range)) if self.agreed.structured => {
                self.chunks(range, flags & command::DF != 0, buf)
            }
            (command::READ, Some(range)) => self.whole(range, buf),
            (command::BLOCK_STATUS, Some(range)) if self.agreed.allocation => {
                self.status(range, flags & command::REQ_ONE != 0)
            }
            (command::CACHE, Some(range)) => self.cache(range, buf),
            (command::FLUSH | command::WRITE | command::TRIM | command::WRITE_ZEROES, wanted) => {
                self.write_command(wanted, buf)
            }
            (command::READ | command::BLOCK_STATUS | command::CACHE, _) => self.error(errno::EINVAL),
            _ => self.error(errno::ENOTSUP),
        }
    }

    /// Changes the overlay; without one nothing is changed, and nothing was written that could be lost.
    fn write_command(&self, wanted: Option<ByteRange>, bytes: &[u8]) -> io::Result<()> {
        let Request { command, flags, .. } = self.request;
        let done = match (&self.agreed.export.overlay, command, wanted) {
            (None, command::FLUSH, _) => Ok(()),
            (None, ..) => return self.error(errno::EPERM),
            (Some(overlay), command::FLUSH, _) => overlay.sync(),
            (Some(overlay), command::WRITE, Some(range)) => overlay.write_at(range.start(), bytes),
            (Some(overlay), command::WRITE_ZEROES, Some(range)) => overlay.write_zeroes(range),
            // It may be done or not.
            (Some(_), command::TRIM, Some(_)) => Ok(()),
            (Some(_), _, None) => return self.error(errno::EINVAL),
            (Some(_), ..) => return self.error(errno::ENOTSUP),
        };
        let durable = match &self.agreed.export.overlay {
            Some(overlay) if flags & command::FUA != 0 => done.and_then(|()| overlay.sync()),
            _ => done,
        };
        match durable {
            Ok(()) => self.send(&self.done()),
            Err(error) if error.kind() == ErrorKind::NoSpace => self.error(errno::ENOSPC),
            Err(_) => self.error(errno::EIO),
        }
    }

    /// Each message in one call: small ones are one packet.
    fn send(&self, message: &[u8]) -> io::Result<()> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner).write_all(message)
    }

    /// The head of a reply that has nothing to say.
    fn done(&self) -> Vec<u8> {
        match self.agreed.structured {
            true => structured(chunk::DONE, chunk::NONE, self.request.cookie, 0),
            false => simple(0, self.request.cookie),
        }
    }

    fn error(&self, code: u32) -> io::Result<()> {
        let cookie = self.request.cookie;
        if !self.agreed.structured {
            return self.send(&simple(code, cookie));
        }
        let head = structured(chunk::DONE, chunk::ERROR, cookie, 6);
        self.send(&[&head[..], &code.to_be_bytes(), &[0, 0]].concat())
    }

    /// All in one, so that it can still be an error. What the client may ask for bounds the memory.
    fn whole(&self, range: ByteRange, buf: &mut Vec<u8>) -> io::Result<()> {
        match self.read(range, &simple(0, self.request.cookie), buf) {
            Ok(()) => self.send(buf),
            Err(_) => self.error(errno::EIO),
        }
    }

    /// Reads a range into `buf`, behind the head of its message.
    fn read(&self, range: ByteRange, head: &[u8], buf: &mut Vec<u8>) -> block::Result<()> {
        buf.clear();
        buf.extend(head);
        buf.resize(head.len() + range.index(range.start()).len(), 0);
        self.agreed.export.source.read_at(range.start(), &mut buf[head.len()..])
    }

    /// In pieces, zeroes that are known without reading as holes. `one`: the client wants one piece.
    fn chunks(&self, range: ByteRange, one: bool, buf: &mut Vec<u8>) -> io::Result<()> {
        let cookie = self.request.cookie;
        let source = &*self.agreed.export.source;
        let pieces: Vec<ByteRange> = if one { vec![range] } else { range.pieces(PIECE).collect() };
        for piece in pieces {
            let flags = if piece.end() == range.end() { chunk::DONE } else { 0 };
            let at = piece.start().to_be_bytes();
            let zero = source
                .extent_at(piece.start())
                .is_ok_and(|extent| extent.kind == ExtentKind::Zero && extent.range.end() >= piece.end());
            if zero {
                let length = u32::try_from(piece.len()).map_err(io::Error::other)?;
                let head = structured(flags, chunk::OFFSET_HOLE, cookie, 12);
                self.send(&[&head[..], &at, &length.to_be_bytes()].concat())?;
                continue;
            }
            let length = u32::try_from(piece.len() + 8).map_err(io::Error::other)?;
            let head = [structured(flags, chunk::OFFSET_DATA, cookie, length), at.to_vec()].concat();
            if let Err(error) = self.read(piece, &head, buf) {
                let at = error.range().map_or(piece.start(), |bad| bad.start()).to_be_bytes();
                let head = structured(chunk::DONE, chunk::ERROR_OFFSET, cookie, 14);
                return self.send(&[&head[..], &errno::EIO.to_be_bytes(), &[0, 0], &at].concat());
            }
            self.send(buf)?;
        }
        Ok(())
    }

    /// The extents of a range, neighbours of one kind as one.
    fn status(&self, range: ByteRange, one: bool) -> io::Result<()> {
        let source = &*self.agreed.export.source;
        let most = if one { 1 } else { MAX_EXTENTS };
        let mut told: Vec<(u32, u32)> = vec![];
        for extent in extents(source, range) {
            let Ok(extent) = extent else { return self.error(errno::EIO) };
            let kind = match extent.kind {
                ExtentKind::Zero | ExtentKind::Absent => state::HOLE | state::ZERO,
                ExtentKind::Data | ExtentKind::Bad => 0,
            };
            // No longer than the range, whose length is a u32.
            let len = u32::try_from(extent.range.len()).map_err(io::Error::other)?;
            let full = told.len() == most;
            match told.last_mut() {
                Some((last, same)) if *same == kind => *last += len,
                _ if full => break,
                _ => told.push((len, kind)),
            }
        }
        let length = u32::try_from(4 + 8 * told.len()).map_err(io::Error::other)?;
        let mut message = structured(chunk::DONE, chunk::BLOCK_STATUS, self.request.cookie, length);
        message.extend(ALLOCATION_ID.to_be_bytes());
        told.iter().for_each(|(len, kind)| message.extend([len.to_be_bytes(), kind.to_be_bytes()].concat()));
        self.send(&message)
    }

    /// Decodes a range, so that reading it soon is quick.
    fn cache(&self, range: ByteRange, buf: &mut Vec<u8>) -> io::Result<()> {
        buf.resize(range.index(range.start()).len().min(64 << 10), 0);
        let pieces = range.pieces(buf.len() as u64);
        // Only a hint: what cannot be read is told by the read itself.
        for piece in pieces.take(32) {
            let _ = self.agreed.export.source.read_at(piece.start(), &mut buf[piece.index(piece.start())]);
        }
        self.send(&self.done())
    }
}
